"""How a phase is interrupted: at the n-th file operation of one program, or at random moments."""

import random
import signal
from functools import partial
from typing import Protocol

from tests.e2e.project import kill, session
from tests.soak.killing import Kills
from tests.soak.phases import Phase
from tests.soak.results import OPERATIONS, Result

PROGRAMS = {
    "the program": "python *pulumi-language-python-exec *",
    "commands.kwok_cluster create": "python -m commands.kwok_cluster create",
    "commands.kwok_cluster update": "python -m commands.kwok_cluster update",
    "commands.kwok_cluster delete": "python -m commands.kwok_cluster delete",
    "commands.batch": "python -m commands.batch *",
    "commands.removals": "python -m commands.removals*",
    "kwokctl create": "kwokctl * create cluster*",
    "kwokctl start": "kwokctl * start cluster*",
    "kwokctl delete": "kwokctl * delete cluster*",
    "pulumi": "pulumi",
}
"""What is killed at each of its file operations: the pattern of its command line."""

CHAIN = 3
"""At most so many random kills, each of the same command again, before it may come to its end."""


class Strike(Protocol):
    """An interruption of a phase."""

    def named(self, phase: Phase) -> Result:
        """Return what this is called."""

    def __call__(self, kills: Kills, phase: Phase, seconds: float) -> Result:
        """Interrupt the phase, which takes that long, and return how many times that was, and where."""


class AtOperation:
    """Kills one program at its n-th operation on a file of the project."""

    def __init__(self, program: str, number: int) -> None:
        self.program = program
        self.number = number

    def named(self, phase: Phase) -> Result:
        """Return what this is called."""
        return {"part": OPERATIONS, "program": self.program, "phase": phase.name, "number": self.number}

    def __call__(self, kills: Kills, phase: Phase, seconds: float) -> Result:
        watched = f"^{kills.project.folder}/(state|pulumi|home|project)/"
        hit = kills.at(phase.command, PROGRAMS[self.program], path=watched, nth=self.number)
        if not hit:
            return {"times": 0}
        return {"times": 1, "at": f"{hit.name} {hit.path.removeprefix(f'{kills.project.folder}/')}"}


def interrupt_cli(_: random.Random, leader: int) -> None:
    """Interrupt the CLI, as ^C does."""
    kill(leader, signal.SIGINT)


def kill_cli(_: random.Random, leader: int) -> None:
    """Kill the CLI."""
    kill(leader)


def kill_one(chance: random.Random, leader: int) -> None:
    """Kill the CLI or one of its plugins, the program, a command of it or kwokctl."""
    kill(chance.choice(session(leader) or [leader]))


def kill_all(_: random.Random, leader: int) -> None:
    """Kill them all at once, as a container that is stopped does."""
    for pid in session(leader):
        kill(pid)


WAYS = (interrupt_cli, kill_cli, kill_one, kill_one, kill_all)


class AtRandom:
    """Kills something at some moment, then the same command again, a few times; seed and number say what and when."""

    def __init__(self, seed: int, number: int) -> None:
        self.part = f"random, seed {seed}"
        self.seed = seed
        self.number = number

    def named(self, phase: Phase) -> Result:
        """Return what this is called."""
        return {"part": self.part, "program": "any", "phase": phase.name, "number": self.number}

    def __call__(self, kills: Kills, phase: Phase, seconds: float) -> Result:
        chance = random.Random(f"{self.seed} {self.number}")
        done = []
        for _ in range(chance.randint(1, CHAIN)):
            way, moment = chance.choice(WAYS), chance.uniform(0, seconds)
            if not kills.after(phase.command, moment, partial(way, chance)):
                break
            done.append(f"{way.__name__} after {moment:.1f} s")
        return {"times": len(done), "at": "; ".join(done)}
