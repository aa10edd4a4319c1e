"""Cycles of up, change, refresh and destroy leave what one of them leaves: nothing grows.

`CYCLES=100 make test ARGS=tests/e2e/test_long_life.py` goes through more of them.
"""

import json
import os
from pathlib import Path
from typing import NamedTuple

from tests.e2e.project import Project, processes_of

CYCLES = int(os.environ.get("CYCLES", "2"))
KEPT_BY_PULUMI = ("history", "backups", "logs")
"""What it keeps of each update: https://www.pulumi.com/docs/iac/concepts/state-and-backends/, and logs for a week."""


class Size(NamedTuple):
    """What a stack takes."""

    resources: int
    state_bytes: int
    processes: int
    files: frozenset[Path]


def size(project: Project) -> Size:
    """Measure the stack as it is now."""
    state = project.run("pulumi", "stack", "export").stdout
    resources = json.loads(state)["deployment"].get("resources", [])
    files = {path.relative_to(project.folder) for path in project.folder.rglob("*") if path.is_file()}
    lasting = {path for path in files if not set(KEPT_BY_PULUMI) & set(path.parts) and "etcd" not in path.parts}
    return Size(len(resources), len(state), len(processes_of(project.folder)), frozenset(lasting))


def configure(project: Project, replicas: int, cpu: int) -> None:
    """Edit the stack: one workload on two nodes."""
    with project.configuration() as config:
        config["workloads"][0]["replicas"] = replicas
        config["nodePools"][0] |= {"nodes": 2, "capacity": {"cpu": cpu}}


def cycle(project: Project) -> tuple[Size, Size]:
    """Go through one cycle, and return what the stack takes when it is up and when it is gone."""
    configure(project, 1, 8)
    project.up()
    configure(project, 2, 9)  # nodes are replaced
    project.up()
    project.run("pulumi", "refresh", "--yes", "--skip-preview")
    project.up("--expect-no-changes")
    configure(project, 1, 8)
    project.up()
    up = size(project)
    project.destroy()
    return up, size(project)


def test_nothing_grows(project: Project) -> None:
    first_up, first_gone = cycle(project)
    for number in range(1, CYCLES):
        up, gone = cycle(project)
        print(f"cycle {number + 1}: {up.state_bytes} bytes of state, {up.processes} processes, {len(up.files)} files")
        for now, then in ((up, first_up), (gone, first_gone)):
            assert now._replace(state_bytes=then.state_bytes) == then
            assert now.state_bytes < 1.2 * then.state_bytes  # times, and what conditions there are yet, vary
