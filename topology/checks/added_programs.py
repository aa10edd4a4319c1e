"""Checks of the schedulers and controllers that a stack runs."""

import os
from collections.abc import Iterator
from pathlib import Path

from topology.objects.added_programs import built_kueue
from topology.objects.tuning import COMPONENTS
from topology.schema.base import Problem
from topology.schema.programs import READY_MADE, Controller, Scheduler, located
from topology.schema.stack import Topology


def program_problems(topology: Topology) -> Iterator[Problem]:
    """Yield what is wrong with the schedulers and controllers of a topology whose parts are valid by themselves."""
    for path, program in topology.programs.items():
        if topology.cluster.runtime != "binary":
            yield Problem(
                path,
                f"is a process beside those of the cluster, which runs in containers with runtime "
                f"{topology.cluster.runtime}: remove kwok-dra:cluster.runtime, or the program",
            )
        if program.name in COMPONENTS:
            remedy = ", or default-scheduler to configure the kube-scheduler there is"
            yield Problem(
                f"{path}.name",
                f"{program.name!r} is a component of the cluster itself: use another name"
                f"{remedy if isinstance(program, Scheduler) else ''}",
            )
        if isinstance(program, Controller) and not program.binary and program.name not in READY_MADE:
            yield Problem(
                path,
                f"has no binary, and {program.name!r} is not a ready-made controller: set binary to a program, or "
                f"name one of {', '.join(READY_MADE)}",
            )


def missing_programs(topology: Topology, folder: Path, tools: Path) -> Iterator[Problem]:
    """Yield the programs that an update could not start: binaries that are not there, and Kueue if it is not built.

    Binaries are relative to `folder`, ready-made controllers in `tools`. Nothing is started in an existing cluster.
    """
    for path, program in topology.programs.items() if not topology.cluster.existing else ():
        name = program.binary or ""
        if name and not located(name, folder):
            where = "relative to the project's folder" if os.sep in name else "on PATH"
            yield Problem(
                f"{path}.binary",
                f"there is no program {name!r} {where} that can be executed: name a file with a path, such as "
                f"./{Path(name).name}, or a program on PATH",
            )
        elif not name and isinstance(program, Controller) and not built_kueue(tools):
            yield Problem(path, "Kueue is not built: run `make tools-kueue`, which takes some minutes, once")
