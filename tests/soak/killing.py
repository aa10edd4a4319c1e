"""Runs commands of a project that are killed at a point of their way, and runs them again as a user would."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tests.e2e.project import TOOLS, Project, processes_of
from tests.soak.tracer import Operation, Point

UP = ("pulumi", "up", "--yes", "--skip-preview")
DESTROY = ("pulumi", "destroy", "--yes", "--skip-preview")
COMPONENTS = 5
NODES = 12

LOCKED = "the stack is currently locked"
CANCEL = "pulumi cancel"
EMPTY_LOCK = "unexpected end of JSON input"
"""What Pulumi says of a lock that it was killed at before it wrote it: docs/reliability.md."""

TRACER = Path(__file__).with_name("tracer.py")
SHIM = """#!/bin/sh
# Runs {program}, under the tracer if it is what is to be killed.
case "{name} $*" in
    $KILLED) exec {python} {tracer} {program} "$@" ;;
esac
exec {program} "$@"
"""


class Kills:
    """Runs commands of a project and kills them, or what they run."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.hit = project.folder / "killed.json"
        project.log.touch()
        shims = project.folder / "shims"
        shims.mkdir()
        for name, program in {"python": sys.executable, "kwokctl": TOOLS / "bin" / "kwokctl"}.items():
            text = SHIM.format(name=name, program=program, python=sys.executable, tracer=TRACER)
            (shims / name).write_text(text)
            (shims / name).chmod(0o755)
        project.environment["PATH"] = f"{shims}:{project.environment['PATH']}"
        project.environment["PULUMI_PYTHON_CMD"] = str(shims / "python")

    def at(self, command: tuple[str, ...], killed: str, **point: Any) -> Operation | None:
        """Run the command until the program `killed`, a pattern, is killed at the point, or to its end.

        Return what that was about to do; None if it never came to the point.
        """
        environment = {"KILLED": killed, "KILL_POINT": json.dumps(Point(str(self.hit), **point)._asdict())}
        found = self._run(command, environment)
        if not found and self._is_locked(self.project.log.read_text()):
            self._cancel()
            found = self._run(command, environment)
        return found

    def _run(self, command: tuple[str, ...], environment: Mapping[str, str]) -> Operation | None:
        self.hit.unlink(missing_ok=True)
        tracer = (sys.executable, str(TRACER)) if fnmatch(command[0], environment["KILLED"]) else ()
        with self.project.started(*tracer, *command, environment=environment) as process:
            process.wait()
        return Operation(**json.loads(self.hit.read_text())) if self.hit.exists() else None

    def after(self, command: tuple[str, ...], seconds: float, strike: Callable[[int], None]) -> bool:
        """Run the command and strike at its session after some time; tell whether it had not ended by then."""
        with self.project.started(*command) as process:
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                strike(process.pid)
                process.wait()
                return True
        said = self.project.log.read_text()
        if process.returncode and self._is_locked(said):
            self._cancel()
            return self.after(command, seconds, strike)
        assert process.returncode == 0, f"it ends by itself, and says:\n{said}"
        return False

    def again(self, command: tuple[str, ...]) -> None:
        """Run the command again, after what it says is to be done; it has to succeed."""
        first = self.project.log.read_text()
        done = self.project.run(*command, check=False)
        if self._is_locked(done.stdout + done.stderr):
            self._cancel()
            done = self.project.run(*command, check=False)
        said = done.stdout + done.stderr
        assert done.returncode == 0, f"after this:\n{first}\nthe same command says:\n{said}"

    def _cancel(self) -> None:
        self.project.run("pulumi", "cancel", "--yes")

    def _is_locked(self, said: str) -> bool:
        return (LOCKED in said and CANCEL in said) or EMPTY_LOCK in said


def configure(project: Project, nodes: int, old_api: bool) -> None:
    """Set the size of a pool made in bulk, beside one that is not, and whether the cluster serves an old API."""
    with project.configuration() as config:
        pool = {"name": "many", "nodes": nodes, "gpu": "kwok-l4", "provisioning": "bulk"}
        config["nodePools"] = [*(entry for entry in config["nodePools"] if entry["name"] != "many"), pool]
        config["cluster"]["kubeRuntimeConfig"] = {"resource.k8s.io/v1beta1": old_api}


def assert_up(project: Project, nodes: int) -> None:
    """Check that all of the stack is there, in one cluster, and nothing else."""
    outputs: dict[str, Any] = project.outputs()
    assert [claim["state"] for claim in outputs["claims"]] == ["allocated,reserved"]
    assert {pool["name"]: pool["nodes"] for pool in outputs["pools"]} == {"kwok-node": 1, "many": nodes}
    assert len(project.get("nodes")) == len(project.get("resourceslices")) == nodes + 1
    assert len(processes_of(project.clusters)) == COMPONENTS
    assert len(list(project.clusters.iterdir())) == 1
    project.up("--expect-no-changes")


def assert_gone(project: Project) -> None:
    """Check that nothing of the stack is left."""
    assert not processes_of(project.clusters)
    assert list((project.folder / "state" / "kwok").rglob("*")) == [project.clusters]
    assert not project.resources()
