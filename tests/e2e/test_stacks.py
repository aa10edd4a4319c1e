"""Every stack of the repository on the real control plane: up, all claims allocated, nothing to do again, and away."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.project import PATIENCE_SECONDS, STACKS, Project, processes_of

ON_THE_OLDER_KUBERNETES = ("a100-mig", "dev")
KINDS = ("nodes", "deviceclasses", "resourceslices", "resourceclaimtemplates", "deployments")


@pytest.mark.parametrize(
    ("stack", "version"),
    [(stack, "1.37.2") for stack in STACKS] + [(stack, "1.36.3") for stack in ON_THE_OLDER_KUBERNETES],
)
def test_stack(new_project: Callable[[str], Project], stack: str, version: str) -> None:
    project = new_project(stack)
    with project.configuration(stack) as config:
        config.setdefault("cluster", {})["kubeVersion"] = version
        for workload in config["workloads"]:
            workload["readyTimeoutSeconds"] = PATIENCE_SECONDS
    said = project.up()
    assert "warning" not in said
    assert project.kubectl("get", "--raw", "/version")["gitVersion"] == f"v{version}"
    check_claims(project, config)
    check_pools(project, config)
    project.up("--expect-no-changes")
    project.destroy()
    assert project.resources() == []
    assert processes_of(project.clusters) == []
    assert list(project.clusters.iterdir()) == []


def check_claims(project: Project, config: dict[str, Any]) -> None:
    """Check that the cluster has exactly the pods of the stack, that all run, and that each claim has its devices."""
    pods = project.get("pods")
    assert Counter(pod["metadata"]["labels"]["app"] for pod in pods) == {
        workload["name"]: workload.get("replicas", 1) for workload in config["workloads"]
    }
    assert {pod["status"]["phase"] for pod in pods} == {"Running"}
    asked = [
        sum(request.get("count", 1) for request in claim["requests"])
        for workload in config["workloads"]
        for claim in workload["claims"]
        for _ in range(workload.get("replicas", 1))
    ]
    claims = project.get("resourceclaims")
    given = [claim["status"]["allocation"]["devices"]["results"] for claim in claims]
    assert sorted(map(len, given)) == sorted(asked)
    assert f"{len(asked)} of {len(asked)} claims allocated" in project.outputs()["summary"]
    exclusive = [
        (result["driver"], result["pool"], result["device"])
        for results in given
        for result in results
        if "shareID" not in result
    ]
    assert len(exclusive) == len(set(exclusive))


def check_pools(project: Project, config: dict[str, Any]) -> None:
    """Check that nodes are as many as configured, and that each pool of slices is complete and of one generation."""
    nodes = project.get("nodes")
    assert len(nodes) == sum(pool.get("nodes", 1) for pool in config["nodePools"])
    pools: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for entry in project.get("resourceslices"):
        owners = entry["metadata"].get("ownerReferences", [])
        if entry["spec"]["driver"] != "gpu.kwok.x-k8s":  # the page's slice has no owner
            assert [(owner["kind"], owner["name"]) for owner in owners] == [("Node", entry["spec"]["nodeName"])]
        pools.setdefault((entry["spec"]["driver"], entry["spec"]["pool"]["name"]), []).append(entry["spec"]["pool"])
    for described in pools.values():
        assert {pool["resourceSliceCount"] for pool in described} == {len(described)}
        assert len({pool["generation"] for pool in described}) == 1
