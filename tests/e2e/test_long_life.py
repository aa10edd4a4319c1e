"""Cycles of up, change, refresh and destroy leave what one of them leaves: nothing grows.

`CYCLES=100 make test ARGS=tests/e2e/test_long_life.py` goes through more of them.
"""

import json
import os
from pathlib import Path
from typing import NamedTuple

from tests.e2e.project import Project, processes_of

CYCLES = int(os.environ.get("CYCLES", "3"))
KEPT_BY_PULUMI = ("history", "backups")
"""What its local backend keeps of each update: https://www.pulumi.com/docs/iac/concepts/state-and-backends/"""


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


def cycle(project: Project, number: int) -> tuple[Size, Size]:
    """Go through one cycle, and return what the stack takes when it is up and when it is gone."""
    replicas, nodes = 1 + number % 2, 2
    with project.configuration() as config:
        config["workloads"][0]["replicas"] = 1
        config["nodePools"][0]["nodes"] = nodes
    project.up()
    with project.configuration() as config:
        config["workloads"][0]["replicas"] = replicas
        config["nodePools"][0]["capacity"] = {"cpu": 8 + number % 2}
    project.up()
    project.run("pulumi", "refresh", "--yes", "--skip-preview")
    project.up("--expect-no-changes")
    with project.configuration() as config:
        config["workloads"][0]["replicas"] = 1
        config["nodePools"][0]["capacity"] = {"cpu": 8}
    project.up()
    up = size(project)
    project.destroy()
    return up, size(project)


def test_nothing_grows(project: Project) -> None:
    sizes = [cycle(project, number) for number in range(CYCLES)]
    first_up, first_gone = sizes[0]
    for up, gone in sizes[1:]:
        assert up.resources == first_up.resources
        assert abs(up.state_bytes - first_up.state_bytes) < 1000  # names and numbers of other lengths
        assert up.processes == first_up.processes
        assert up.files == first_up.files
        assert gone == first_gone
