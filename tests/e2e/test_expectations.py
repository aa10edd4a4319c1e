"""Expectations that do not hold: said once and clearly, and the next update repairs the stack.

The tests of this file build on each other, in their order.
"""

import re
import signal
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.project import PATIENCE_SECONDS, Project, kill, session, wait_until
from topology.status.live_objects import is_refused

STACK = "oversubscribed"
NO_PLACE = "nodes are available: 2 cannot allocate all claims"
NONE_FREE = "request gpu wants 1 of gpu.example.com, but no node has more than 0 free of 2 that match"


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project]) -> Project:
    """Return a project for all tests, whose stack has four GPUs on two nodes."""
    return new_project(STACK)


def workload(name: str, replicas: int, *, seconds: int = PATIENCE_SECONDS, **more: Any) -> dict[str, Any]:
    """Return a workload whose pods want a GPU each, with a time limit that it only reaches if it has to."""
    claims = [{"name": "gpu", "requests": [{"name": "gpu", "deviceClass": "gpu.example.com"}]}]
    return {"name": name, "replicas": replicas, "claims": claims, "readyTimeoutSeconds": seconds, **more}


def configure(project: Project, *workloads: dict[str, Any], nodes: int = 2) -> None:
    """Let the stack have these workloads and nodes."""
    with project.configuration(STACK) as config:
        config["nodePools"][0]["nodes"] = nodes
        config["workloads"] = list(workloads)


def diagnostics(said: str) -> str:
    """Return the end of what a failed update printed: its errors, without what stands above each resource's."""
    return said.partition("\nDiagnostics:\n")[2].partition("\nOutputs:\n")[0].partition("\nResources:\n")[0]


def states(project: Project) -> Counter[tuple[str, str]]:
    """Return how many claims of each workload are in which state, as the outputs say."""
    return Counter((claim["workload"], claim["state"]) for claim in project.outputs()["claims"])


def standing(project: Project) -> Counter[str]:
    """Return how many pods are in which phase; those that the scheduler found no place for have one of their own."""
    return Counter("refused" if is_refused(pod) else pod["status"]["phase"] for pod in project.get("pods"))


def settles(project: Project, expected: dict[tuple[str, str], int]) -> None:
    """Check that an update succeeds, with these claims in the end, and that there is nothing more to do."""
    project.up()
    assert states(project) == expected
    project.up("--expect-no-changes")


def test_workloads_that_want_more_than_there_is_together(project: Project) -> None:
    """Each alone would have enough, so nothing is refused before the run."""
    configure(project, workload("one", 3, seconds=5), workload("two", 2, seconds=5, expect={"allocated": 2}))
    project.fails()
    wait_until(lambda: standing(project) == {"Running": 4, "refused": 1})
    said = project.fails()  # now that all has come as far as it can
    errors = diagnostics(said)
    (late,) = re.findall(r"workload (one|two): (\d) of (\d) pods run after 5 s", errors)
    assert int(late[1]) == int(late[2]) - 1
    assert re.search(rf"  pod {late[0]}-[a-z0-9-]+: 0/2 {NO_PLACE}; {NONE_FREE}\n", errors)
    assert errors.count(NO_PLACE) == 1
    assert "waiting for " in said.partition("Diagnostics:")[0]
    assert "waiting for " not in errors
    # Pulumi has no outputs after that, but who looks why sees everything.
    status = project.run(sys.executable, "-m", "views", "--stack", STACK, "status").stdout
    assert "Why claims are pending" in status
    assert NONE_FREE in " ".join(status.split())


def test_more_nodes_repair_it(project: Project) -> None:
    configure(project, workload("one", 3), workload("two", 2, expect={"allocated": 2}), nodes=3)
    settles(project, {("one", "allocated,reserved"): 3, ("two", "allocated,reserved"): 2})


def test_more_is_allocated_than_expected(project: Project) -> None:
    configure(project, workload("one", 3, seconds=2, expect={"pending": 1}), workload("two", 2), nodes=3)
    errors = diagnostics(project.fails())
    assert (
        "error: workload one: 3 of 3 claims are allocated and 0 pending after 2 s, but it expects 2 allocated and "
        "1 pending (kwok-dra:workloads expect, readyTimeoutSeconds)\n"
    ) in errors
    assert errors.count("workload ") == 1


def test_a_better_expectation_repairs_it(project: Project) -> None:
    configure(project, workload("one", 3, expect={"allocated": 3}), workload("two", 2), nodes=3)
    settles(project, {("one", "allocated,reserved"): 3, ("two", "allocated,reserved"): 2})


def test_what_comes_after_an_expectation_that_does_not_hold(project: Project) -> None:
    expected = {"allocated": 3, "pending": 1}
    settled = {("one", "allocated,reserved"): 3, ("two", "allocated,reserved"): 3, ("two", "pending"): 1}
    configure(project, workload("one", 3), workload("two", 4, after=["one"], expect=expected), nodes=3)
    settles(project, settled)
    configure(
        project,
        workload("one", 3),
        workload("two", 4, seconds=2, after=["one"]),
        workload("three", 1, after=["two"]),
        nodes=3,
    )
    errors = diagnostics(project.fails())
    assert "command:local:Command (two):\n" in errors
    assert "    workload two: 3 of 4 pods run after 2 s (kwok-dra:workloads readyTimeoutSeconds)\n" in errors
    assert re.search(r"      pod two-[a-z0-9-]+: 0/3 nodes are available: 3 cannot allocate all claims\.\n", errors)
    assert "workloads that come after it are not created\n" in errors
    assert errors.count("workload ") == errors.count("cannot allocate") == 1
    assert {entry["metadata"]["name"] for entry in project.get("deployments")} == {"one", "two"}


def test_pods_that_are_to_wait_are_not_waited_for(project: Project) -> None:
    """With its limit of hours an update would not end here if it waited."""
    hours = 3 * 3600
    configure(
        project,
        workload("one", 3, seconds=hours),
        workload("two", 4, seconds=hours, after=["one"], expect={"allocated": 3, "pending": 1}),
        workload("three", 1, seconds=hours, after=["two"], expect={"allocated": 0, "pending": 1}),
        nodes=3,
    )
    settled = {("two", "allocated,reserved"): 3, ("two", "pending"): 1, ("three", "pending"): 1}
    settles(project, {("one", "allocated,reserved"): 3} | settled)


def test_an_update_that_is_interrupted_while_it_waits(project: Project) -> None:
    waiting = (workload("one", 3, seconds=3600), workload("two", 4, seconds=3600))
    configure(project, *waiting, workload("three", 0), nodes=3)
    with project.started("pulumi", "up", "--yes", "--skip-preview") as update:
        wait_until(lambda: "waiting for 1 of 4 pods of two: two-" in project.log.read_text())
        kill(update.pid, signal.SIGINT)
        assert update.wait() != 0
        wait_until(lambda: session(update.pid) == [])
    assert "error: update canceled" in project.log.read_text()
    configure(project, *waiting, workload("three", 0), nodes=4)
    settles(project, {("one", "allocated,reserved"): 3, ("two", "allocated,reserved"): 4})


def test_what_goes_leaves_its_devices_to_others_in_the_same_update(project: Project) -> None:
    """Pulumi itself deletes when everything has been waited for."""
    configure(project, workload("one", 8), nodes=4)
    settles(project, {("one", "allocated,reserved"): 8})
    configure(project, workload("one", 8, kind="Pod"), nodes=4)
    settles(project, {("one", "allocated,reserved"): 8})
    configure(project, workload("one", 7, kind="Pod"), workload("two", 1), nodes=4)
    settles(project, {("one", "allocated,reserved"): 7, ("two", "allocated,reserved"): 1})


def test_nodes_that_go_are_drained_first(project: Project) -> None:
    configure(project, workload("one", 4), nodes=4)
    settles(project, {("one", "allocated,reserved"): 4})
    configure(project, workload("one", 4), nodes=2)
    settles(project, {("one", "allocated,reserved"): 4})
    assert {claim["node"] for claim in project.outputs()["claims"]} == {"gpu-0", "gpu-1"}


def test_pods_for_which_nodes_have_no_cpu(project: Project) -> None:
    """There are devices enough; the claims of the third pod wait with it."""
    containers = [{"name": "main", "claims": [{"name": "gpu"}], "resources": {"cpu": 60, "memory": "200Gi"}}]
    configure(project, workload("one", 3, containers=containers))
    assert "is 3, but gpu can hold at most 2 such pods: ask for fewer" in project.fails()
    expected = {"allocated": 2, "pending": 1}
    configure(project, workload("one", 3, containers=containers, expect=expected))
    settles(project, {("one", "allocated,reserved"): 2, ("one", "pending"): 1})
    assert "Insufficient cpu" in project.run("pulumi", "stack", "output", "claims").stdout


def test_a_pod_that_waits_although_its_claim_is_allocated(project: Project) -> None:
    """The shared claim binds both pods to one node, which has cpu for one. The remedy of the message works."""
    containers = [{"name": "main", "claims": [{"name": "gpu"}], "resources": {"cpu": 60}}]
    both = {"name": "both", "replicas": 2, "claims": [{"name": "gpu", "claim": "shared"}], "containers": containers}
    with project.configuration(STACK) as config:
        config["claims"] = [{"name": "shared", "requests": [{"name": "gpu", "deviceClass": "gpu.example.com"}]}]
        config["workloads"] = [both]
    assert "declare that the rest stay pending with expect: {running: 1}" in project.fails()
    configure(project, both | {"expect": {"running": 1}})
    settles(project, {("both", "allocated,reserved"): 2})
    outputs = project.outputs()
    assert sorted(claim["podPhase"] for claim in outputs["claims"]) == ["Pending", "Running"]
    assert [claim["reason"] for claim in outputs["claims"] if "reason" in claim] == [
        "0/2 nodes are available: 1 Insufficient cpu, 1 resourceclaim not available on the node."
    ]
    project.destroy()
