"""Several stacks on one machine."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.e2e.project import Project


def test_clusters_that_are_created_at_once_get_ports_of_their_own(new_project: Callable[[], Project]) -> None:
    """`kwokctl` looks for free ports and takes them later."""
    projects = [new_project() for _ in range(4)]
    with ThreadPoolExecutor(len(projects)) as pool:
        list(pool.map(Project.up, projects))
    for project in projects:
        assert project.outputs()["claims"][0]["state"] == "allocated,reserved"
        project.destroy()
