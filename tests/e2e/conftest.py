"""Fixtures of the end-to-end tests. They need the built toolchain: without it the run fails, it never skips."""

import compileall
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.page import KUBERNETES
from tests.e2e.project import PACKAGES, ROOT, TOOLS, Project, python_in


@pytest.fixture(scope="session", autouse=True)
def toolchain(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Fail at once, with the remedy, where a program is missing; prepare Python."""
    needed = [TOOLS / "bin" / name for name in ("pulumi", "kwokctl", "kubectl")]
    needed += [TOOLS / "kubernetes" / version / "kube-apiserver" for version in (KUBERNETES, "v1.36.3")]
    needed += [TOOLS / "kueue/v0.19.2/kueue", TOOLS / "jobset/v0.12.0/jobset"]
    missing = [str(program) for program in needed if not program.exists()]
    remedy = "run `make tools tools-1.36 tools-kueue tools-jobset`, or the tests with `make test`"
    assert not missing, f"not built: {missing}; {remedy}"
    for package in PACKAGES:  # once for all copies of the program, whatever PYTHONDONTWRITEBYTECODE says
        compileall.compile_dir(ROOT / package, quiet=1)
    Project.python = python_in(tmp_path_factory.mktemp("python"))


@pytest.fixture(scope="module")
def new_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Project]]:
    """Make projects that are gone after the module, also when a test failed."""
    projects: list[Project] = []

    def make(stack: str = "dev") -> Project:
        project = Project(Path(tmp_path_factory.mktemp("e2e")) / "p")
        projects.append(project)
        project.select(stack)
        return project

    yield make
    for project in projects:
        project.close()


@pytest.fixture(scope="module")
def project(new_project: Callable[[], Project]) -> Project:
    """Return one project for the whole module, with the dev stack selected and nothing created."""
    return new_project()
