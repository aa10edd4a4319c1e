"""Kills at random moments: whatever is interrupted, the same command again brings the stack to where it should be."""

import random
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.project import Project, kill, processes_of, session

ROUNDS = 17
"""Of three kills each: in an update that creates, in one that changes and in a destroy."""

COMPONENTS = 5
NODES = 12
LOCKED = "the stack is currently locked"
CANCEL = "pulumi cancel"
UP = ("pulumi", "up", "--yes", "--skip-preview")
DESTROY = ("pulumi", "destroy", "--yes", "--skip-preview")


def interrupt_cli(leader: int, _: random.Random) -> None:
    """Interrupt the CLI, as ^C does."""
    kill(leader, signal.SIGINT)


def kill_cli(leader: int, _: random.Random) -> None:
    """Kill the CLI."""
    kill(leader)


def kill_one(leader: int, chance: random.Random) -> None:
    """Kill the CLI or one of its plugins, the program, a command of it or kwokctl."""
    kill(chance.choice(session(leader) or [leader]))


def kill_all(leader: int, _: random.Random) -> None:
    """Kill them all at once, as a container that is stopped does."""
    for pid in session(leader):
        kill(pid)


WAYS = (interrupt_cli, kill_cli, kill_one, kill_one, kill_all)


class Kills:
    """Runs commands of a project and kills them."""

    def __init__(self, project: Project, chance: random.Random) -> None:
        self.project = project
        self.chance = chance
        self.count = 0
        self.seconds: dict[tuple[str, ...], float] = {}

    def run(self, command: tuple[str, ...], phase: str) -> None:
        """Start the command, kill it at some moment and run it again as a user would; it has to succeed."""
        way = self.chance.choice(WAYS)
        moment = self.chance.uniform(0, self.seconds.get((*command, phase), 6))
        with self.project.started(*command) as process:
            time.sleep(moment)
            way(process.pid, self.chance)
            process.wait()
        self.count += 1
        print(f"kill {self.count}: {phase}, {way.__name__} after {moment:.1f} s", flush=True)
        self._again(command, phase)

    def _again(self, command: tuple[str, ...], phase: str) -> None:
        began = time.monotonic()
        done = self.project.run(*command, check=False)
        if LOCKED in done.stdout + done.stderr:
            assert CANCEL in done.stdout + done.stderr
            self.project.run("pulumi", "cancel", "--yes")
            began = time.monotonic()
            done = self.project.run(*command, check=False)
        said = done.stdout + done.stderr
        first = self.project.log.read_text()
        assert done.returncode == 0, f"after this:\n{first}\nthe same command says:\n{said}"
        self.seconds[(*command, phase)] = time.monotonic() - began


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
    assert not list(project.clusters.iterdir())
    assert not project.resources()


@pytest.mark.parametrize("seed", [1])
def test_kills_at_random_moments(new_project: Callable[[], Project], seed: int) -> None:
    project = new_project()
    kills = Kills(project, random.Random(seed))
    for number in range(ROUNDS):
        configure(project, NODES, old_api=True)
        kills.run(UP, "create")
        assert_up(project, NODES)
        configure(project, NODES + 3, old_api=bool(number % 4))  # where it changes, the cluster is replaced
        kills.run(UP, "change" if number % 4 else "replace")
        assert_up(project, NODES + 3)
        kills.run(DESTROY, "destroy")
        assert_gone(project)
    assert kills.count >= 50
