"""Plain `pulumi up` of somebody who has the programs on PATH and has never heard of the toolchain or its activation."""

import sys
from collections.abc import Callable
from pathlib import Path

from tests.e2e.page import KUBERNETES
from tests.e2e.project import TOOLS, Project

OURS = ("KWOK_DRA_TOOLS", "KWOK_WORKDIR", "KUBECONFIG", "KUBECACHEDIR", "PULUMI_PYTHON_CMD")


def test_programs_on_path(new_project: Callable[[], Project], tmp_path: Path) -> None:
    for folder in (TOOLS / "bin", TOOLS / "kubernetes" / KUBERNETES):
        for program in folder.iterdir():
            (tmp_path / program.name).symlink_to(program)
    project = new_project()
    for name in OURS:
        del project.environment[name]
    project.environment["PATH"] = f"{tmp_path}:{Path(sys.executable).parent}:/usr/bin:/bin"
    project.clusters = project.source / ".state" / "kwok" / "clusters"
    try:
        project.up()
        assert project.outputs()["claims"][0]["state"] == "allocated,reserved"
        assert [folder.name for folder in project.clusters.iterdir()] == ["kwok-dra-dev"]
    finally:
        project.destroy()
    assert list(project.clusters.iterdir()) == []
    assert list((project.folder / "home").iterdir()) == []
