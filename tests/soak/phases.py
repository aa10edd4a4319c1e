"""The way of the dev stack through which it is killed: each phase begins where the one before has ended."""

from collections.abc import Callable
from typing import NamedTuple

from tests.e2e.project import Project, kill, processes_of, wait_until
from tests.soak.killing import DESTROY, NODES, UP, assert_gone, assert_up, configure


class Phase(NamedTuple):
    """A command, what makes it do something, and what has to be so afterwards."""

    name: str
    command: tuple[str, ...]
    prepare: Callable[[Project], None]
    check: Callable[[Project], None]


def damage(project: Project) -> None:
    """End all components and delete the kubeconfig."""
    for pid in project.pids().values():
        kill(pid)
    wait_until(lambda: not processes_of(project.clusters))
    for kubeconfig in project.clusters.glob("*/kubeconfig.yaml"):
        kubeconfig.unlink()


PHASES = (
    Phase("create", UP, lambda p: configure(p, NODES, old_api=True), lambda p: assert_up(p, NODES)),
    Phase("change", UP, lambda p: configure(p, NODES + 3, old_api=True), lambda p: assert_up(p, NODES + 3)),
    Phase("replace", UP, lambda p: configure(p, NODES + 3, old_api=False), lambda p: assert_up(p, NODES + 3)),
    Phase("repair", UP, damage, lambda p: assert_up(p, NODES + 3)),
    Phase("destroy", DESTROY, lambda _: None, assert_gone),
)
