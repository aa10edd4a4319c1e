"""Kills and repeats until nothing is left to kill: `make soak`. It takes hours, and goes on where it was stopped.

KILLS=1000  kills at random moments; SEED=1 says which
CYCLES=100  cycles of up, change, refresh and destroy
PHASES=     kills in these only: "create change destroy" for instance; usually in all five
ORACLE=500  random stacks, compared with what is found by trying everything; SEED=1 says which
TWINS=all   each stack through its dump and back, and with `tuning: stock`; none with TWINS=, nor the scenarios on 1.36
JOBS=2      stacks that are killed at the same time
MINUTES=    it stops after that many

Besides, each program is killed at each of its operations on files. Results: .state/soak.jsonl; what was not survived
leaves its logs in .state/soak-failed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, count
from pathlib import Path
from threading import Lock

from tests.e2e.project import ROOT, SCENARIOS, STACKS, Project
from tests.soak.killing import Kills
from tests.soak.phases import PHASES, Phase
from tests.soak.results import OPERATIONS, Result, Results
from tests.soak.strikes import PROGRAMS, AtOperation, AtRandom, Strike

RESULTS = ROOT / ".state" / "soak.jsonl"
SAID_MAX = 4000
ON_THE_OLDER = "test_scenario_on_the_older_kubernetes"
USUAL_SECONDS = 6.0
"""Of a phase that has not been timed yet."""


class Plan:
    """Hands out the strikes that are still to be made, each once."""

    def __init__(self, results: Results, seed: int, kills: int, minutes: float, phases: Sequence[str]) -> None:
        self.results = results
        self.seed = seed
        self.kills = kills
        self.end = time.monotonic() + 60 * minutes
        self.lock = Lock()
        self.strikes = [
            chain(self._at_random(number), self._at_operations(phase)) if phase.name in phases else iter(())
            for number, phase in enumerate(PHASES)
        ]

    def next(self) -> list[Strike | None]:
        """Return the next strike of each phase; an empty list if there is none at all, or no time."""
        with self.lock:
            found = [next(strikes, None) for strikes in self.strikes] if time.monotonic() < self.end else []
        return found if any(found) else []

    def stop(self) -> None:
        """Hand out nothing more."""
        self.end = 0

    def _at_random(self, first: int) -> Iterator[Strike]:
        part = AtRandom(self.seed, 0).part
        known = self.results.survived(part=part)
        for number in count(first, len(PHASES)):
            if self.results.times(part=part) >= self.kills:
                return
            if number not in known:
                yield AtRandom(self.seed, number)

    def _at_operations(self, phase: Phase) -> Iterator[Strike]:
        """Yield the first operation of each program, then the second, until each has come to its end."""
        left = list(PROGRAMS)
        for number in count(1):
            left = [program for program in left if not self._survived(phase, program, times=0)]
            if not left:
                return
            for program in left:
                if number not in self._survived(phase, program):
                    yield AtOperation(program, number)

    def _survived(self, phase: Phase, program: str, **wanted: object) -> set[int]:
        return self.results.survived(part=OPERATIONS, program=program, phase=phase.name, **wanted)


class Lane:
    """One stack after the other that is killed, each until a kill is not survived."""

    def __init__(self, plan: Plan, results: Results) -> None:
        self.plan = plan
        self.results = results
        self.seconds: dict[str, float] = {}

    def run(self) -> None:
        """Go through rounds until there is nothing left to do."""
        while strikes := self.plan.next():
            folder = Path(tempfile.mkdtemp(prefix="kwok-dra-soak-"))
            project = Project(folder / "p")
            try:
                project.select()
                kills = Kills(project)
                while strikes and self._round(kills, strikes):
                    strikes = self.plan.next()
            finally:
                project.close()
                shutil.rmtree(folder)

    def _round(self, kills: Kills, strikes: Sequence[Strike | None]) -> bool:
        """Go from create to destroy, through what is to be interrupted; tell whether every kill was survived."""
        ends = (PHASES[0], PHASES[-1])
        chosen = [(phase, strike) for phase, strike in zip(PHASES, strikes, strict=True) if strike or phase in ends]
        return all(self._phase(kills, phase, strike) for phase, strike in chosen)

    def _phase(self, kills: Kills, phase: Phase, strike: Strike | None) -> bool:
        began = time.monotonic()
        result: Result = {"times": 1, "survived": True}
        try:
            phase.prepare(kills.project)
            if strike:
                result |= strike(kills, phase, self.seconds.get(phase.name, USUAL_SECONDS))
            repeated = time.monotonic()
            kills.again(phase.command)
            self.seconds[phase.name] = time.monotonic() - repeated
            phase.check(kills.project)
        except Exception as error:
            result |= {"survived": False, "said": str(error)[-SAID_MAX:] or repr(error), "kept": keep(kills.project)}
        if strike or not result["survived"]:
            named = strike.named(phase) if strike else {"part": "none", "program": "", "phase": phase.name, "number": 0}
            self.results.add({**named, **result, "seconds": round(time.monotonic() - began, 1)})
        return bool(result["survived"])


def keep(project: Project) -> str:
    """Keep the logs of a stack that did not survive, and return where."""
    kept = RESULTS.parent / "soak-failed" / str(time.time_ns())
    kept.mkdir(parents=True)
    for logs in project.clusters.glob("*/logs"):
        shutil.copytree(logs, kept / logs.parent.name)
    shutil.copy(project.log, kept / "killed.log")
    return str(kept)


def run_tests(results: Results, names: Mapping[str, object], test: str, **environment: str) -> None:
    """Run a test, unless it has passed already."""
    if results.survived(**names):
        return
    began = time.monotonic()
    command = [sys.executable, "-m", "pytest", "--quiet", test]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)
    passed = done.returncode == 0
    said = {} if passed else {"said": done.stdout[-SAID_MAX:]}
    results.add({**names, "survived": passed, "seconds": round(time.monotonic() - began, 1), **said})


def main() -> int:
    """Do all of it, and show what it has come to."""
    usual = {"KILLS": "1000", "SEED": "1", "JOBS": "2", "PHASES": " ".join(phase.name for phase in PHASES)}
    given = {name: os.environ.get(name) or value for name, value in usual.items()}
    results = Results(RESULTS)
    minutes = float(os.environ.get("MINUTES") or "inf")
    plan = Plan(results, int(given["SEED"]), int(given["KILLS"]), minutes, given["PHASES"].split())
    print(f"{given}, {len(results.found)} results so far in {RESULTS}", flush=True)
    with ThreadPoolExecutor() as lanes:
        try:
            for lane in [lanes.submit(Lane(plan, results).run) for _ in range(int(given["JOBS"]))]:
                lane.result()
        except KeyboardInterrupt:
            print("It ends after this round.", flush=True)
            plan.stop()
    if time.monotonic() < plan.end:
        tests(results)
    print(results.table())
    return 0 if all(result["survived"] for result in results.latest()) else 1


def tests(results: Results) -> None:
    """Run the tests that take long."""
    cycles = int(os.environ.get("CYCLES") or "100")
    if cycles:
        names = {"part": "cycles", "program": "", "phase": "", "number": cycles, "times": cycles}
        run_tests(results, names, "tests/e2e/test_long_life.py", CYCLES=str(cycles))
    stacks = int(os.environ.get("ORACLE") or "500")
    if stacks:
        part = f"oracle, seed {os.environ.get('SEED') or '1'}"
        names = {"part": part, "program": "", "phase": "", "number": stacks, "times": stacks}
        run_tests(results, names, "tests/e2e/test_answers.py::test_random_stacks", ORACLE=str(stacks))
    if os.environ.get("TWINS", "all") != "all":
        return
    names = {"part": "scenarios", "program": "", "phase": "", "number": 0, "times": 1}
    run_tests(results, names, f"tests/e2e/test_scenarios.py::{ON_THE_OLDER}", SCENARIOS="all")
    for number, stack in enumerate(sorted({*STACKS, *SCENARIOS})):
        names = {"program": stack, "phase": "", "number": number, "times": 1}
        run_tests(results, names | {"part": "twins"}, f"tests/e2e/test_twin.py::test_round_trip[{stack}]", TWINS="all")
        test = f"tests/e2e/test_tuning.py::test_the_same_allocations[{stack}]"
        run_tests(results, names | {"part": "tuning"}, test, TUNING="all")


if __name__ == "__main__":
    sys.exit(main())
