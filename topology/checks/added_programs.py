"""Checks of the schedulers and controllers that a stack runs."""

from collections.abc import Iterator

from topology.schema.base import Problem
from topology.schema.programs import READY_MADE, Program
from topology.schema.stack import Topology

COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok-controller")
"""The components that kwokctl itself starts."""


def program_problems(topology: Topology) -> Iterator[Problem]:
    """Yield what is wrong with the schedulers and controllers of a topology whose parts are valid by themselves."""
    programs: dict[str, Program] = {f"schedulers[{index}]": one for index, one in enumerate(topology.schedulers)}
    programs |= {f"controllers[{index}]": one for index, one in enumerate(topology.controllers)}
    first: dict[str, str] = {}
    for path, program in programs.items():
        if topology.cluster.runtime != "binary":
            yield Problem(
                path,
                f"is a process beside those of the cluster, which runs in containers with runtime "
                f"{topology.cluster.runtime}: remove kwok-dra:cluster.runtime, or the program",
            )
        if program.name in COMPONENTS:
            yield Problem(
                f"{path}.name",
                f"{program.name!r} is a component of the cluster itself: use another name"
                f"{', or default-scheduler to configure the kube-scheduler there is' * ('scheduler' in path)}",
            )
        if (holder := first.setdefault(program.name, path)) != path:
            yield Problem(f"{path}.name", f"{program.name!r} is already the name of {holder}: give each its own")
    for index, controller in enumerate(topology.controllers):
        if not controller.binary and controller.name not in READY_MADE:
            yield Problem(
                f"controllers[{index}]",
                f"has no binary, and {controller.name!r} is not a ready-made controller: set binary to a program, or "
                f"name one of {', '.join(READY_MADE)}",
            )
