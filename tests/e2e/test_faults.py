"""Faults as configuration: an edit and an update show eviction and rescheduling, and undone it heals.

The tests of this file build on each other, in their order.
"""

from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.project import Project

TAINT = {"key": "gpu.example.com/xid", "value": "79", "effect": "NoExecute"}
Place = tuple[str, str]


ON_ONE = pytest.mark.parametrize("fleet", ["1.37.2"], indirect=True, scope="module")
ON_BOTH = pytest.mark.parametrize("fleet", ["1.37.2", "1.36.3"], indirect=True, scope="module")
"""For what is in another version of the API on the older Kubernetes: rules."""


@pytest.fixture(scope="module")
def fleet(new_project: Callable[[], Project], request: pytest.FixtureRequest) -> Project:
    """Return two nodes with two GPUs each, on which three pods have one each."""
    project = new_project()
    with project.configuration() as config:
        config.clear()
        config["cluster"] = {"kubeVersion": request.param}
        config["nodePools"] = [{"name": "node", "nodes": 2, "gpu": "example-gpu", "gpusPerNode": 2}]
        one_gpu = {"name": "gpu", "requests": [{"name": "gpu", "deviceClass": "gpu.example.com"}]}
        config["workloads"] = [{"name": "job", "replicas": 3, "claims": [one_gpu]}]
    project.up()
    return project


def held(project: Project) -> list[Place]:
    """Return the devices that the outputs say are held."""
    return sorted(
        (device["pool"], device["device"]) for claim in project.outputs()["claims"] for device in claim["devices"]
    )


def set_faults(project: Project, *faults: dict[str, Any], **more: Any) -> None:
    """Give the pool other faults, and the workload other keys."""
    with project.configuration() as config:
        config["nodePools"][0]["faults"] = list(faults)
        config["workloads"][0].pop("expect", None)
        config["workloads"][0] |= more


@ON_BOTH
def test_a_taint_evicts_and_the_pod_goes_elsewhere(fleet: Project) -> None:
    node, device = held(fleet)[0]
    set_faults(fleet, {"nodes": [int(node[-1])], "devices": [device], "taint": TAINT})
    fleet.up()
    assert len(held(fleet)) == 3
    assert (node, device) not in held(fleet)
    (pool,) = fleet.outputs()["pools"]
    assert pool | {"tainted": 1, "free": 0, "allocated": 3, "devices": 4} == pool
    fleet.up("--expect-no-changes")


@ON_ONE
def test_with_too_few_left_one_waits(fleet: Project) -> None:
    set_faults(fleet, {"nodes": [0], "taint": TAINT}, expect={"allocated": 2, "pending": 1})
    fleet.up()
    assert {node for node, _ in held(fleet)} == {"node-1"}
    (pending,) = (claim for claim in fleet.outputs()["claims"] if not claim["devices"])
    assert "cannot allocate all claims" in pending["reason"]
    assert "no node has more than 0 free of 2 that match" in pending["reason"]


@ON_ONE
def test_undone_it_heals(fleet: Project) -> None:
    set_faults(fleet)
    fleet.up()
    assert len(held(fleet)) == 3
    assert "tainted" not in fleet.outputs()["pools"][0]


@ON_ONE
def test_a_device_that_is_gone(fleet: Project) -> None:
    set_faults(fleet, {"devices": ["gpu-1"], "gone": True}, expect={"allocated": 3, "pending": 0})
    fleet.up()
    assert fleet.outputs()["pools"][0]["devices"] == 2
    devices = [device for claim in fleet.outputs()["claims"] for device in claim["devices"]]
    assert {device.get("gone", False) for device in devices if device["device"] == "gpu-1"} == {True}
    set_faults(fleet)
    fleet.up()
    assert fleet.outputs()["pools"][0]["devices"] == 4


@ON_BOTH
def test_a_rule_of_the_administrator(fleet: Project) -> None:
    node, device = held(fleet)[0]
    set_faults(fleet)
    with fleet.configuration() as config:
        rule = {"name": "broken", "driver": "gpu.example.com", "pool": node, "device": device, "taint": TAINT}
        config["deviceTaintRules"] = [rule]
    fleet.up()
    assert (node, device) not in held(fleet)
    assert len(held(fleet)) == 3
    assert fleet.outputs()["pools"][0]["tainted"] == 1
    with fleet.configuration() as config:
        config["deviceTaintRules"] = []
    fleet.up()
    assert "tainted" not in fleet.outputs()["pools"][0]


def nodes(project: Project) -> dict[str, str]:
    """Return the UIDs of the Nodes and of their slices, by name."""
    return {entry["metadata"]["name"]: entry["metadata"]["uid"] for entry in project.get("nodes,resourceslices")}


def not_ready_for(seconds: int) -> dict[str, Any]:
    """Return a toleration of nodes that are not ready."""
    return {
        "key": "node.kubernetes.io/not-ready",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": seconds,
    }


@ON_ONE
def test_pods_stay_on_a_node_that_is_not_ready_as_long_as_they_tolerate_it(fleet: Project) -> None:
    """By default 300 s, which no update waits for."""
    before = nodes(fleet)
    devices = held(fleet)
    set_faults(fleet, {"nodes": [0], "notReady": True})
    fleet.up()
    assert held(fleet) == devices
    assert nodes(fleet) == before
    marked = {claim["node"]: claim.get("nodeNotReady", False) for claim in fleet.outputs()["claims"]}
    assert marked == {"node-0": True, "node-1": False}
    (pool,) = fleet.outputs()["pools"]
    free_on_the_other = 2 - [node for node, _ in devices].count("node-1")
    assert pool == {
        "name": "node",
        "nodes": 2,
        "notReady": 1,
        "devices": 4,
        "allocated": 3,
        "free": free_on_the_other,
    }
    fleet.up("--expect-no-changes")
    set_faults(fleet)
    fleet.up()
    assert held(fleet) == devices
    assert nodes(fleet) == before
    assert "notReady" not in fleet.outputs()["pools"][0]
    fleet.up("--expect-no-changes")


@ON_ONE
def test_pods_are_evicted_from_a_node_that_is_not_ready(fleet: Project) -> None:
    """At the same time the pool has taints of its own: the controller's are in the same list."""
    with fleet.configuration() as config:
        config["nodePools"][0]["taints"] = [{"key": "gpu"}]
        config["workloads"][0]["tolerations"] = [{"key": "gpu"}, not_ready_for(2)]
    fleet.up()
    before = nodes(fleet)
    set_faults(fleet, {"nodes": [0], "notReady": True}, expect={"allocated": 2, "pending": 1})
    fleet.up()
    assert {node for node, _ in held(fleet)} == {"node-1"}
    (pending,) = (claim for claim in fleet.outputs()["claims"] if not claim["devices"])
    assert "1 node(s) had untolerated taint(s)" in pending["reason"]
    assert "no node that the pod may run on has more than 0 free of 2 that match" in pending["reason"]
    assert fleet.outputs()["pools"][0] | {"notReady": 1, "free": 0, "allocated": 2} == fleet.outputs()["pools"][0]
    fleet.up("--expect-no-changes")
    set_faults(fleet)
    fleet.up()
    assert len(held(fleet)) == 3
    assert nodes(fleet) == before
    assert {
        tuple((taint["key"], taint["effect"]) for taint in node["spec"]["taints"]) for node in fleet.get("nodes")
    } == {(("gpu", "NoSchedule"),)}
    fleet.up("--expect-no-changes")


@ON_ONE
def test_a_node_that_is_gone(fleet: Project) -> None:
    set_faults(fleet, {"nodes": [0], "gone": True}, expect={"allocated": 2, "pending": 1})
    fleet.up()
    assert [pod["spec"].get("nodeName") for pod in fleet.get("pods")].count("node-1") == 2
    assert fleet.outputs()["pools"][0]["nodes"] == 1
    set_faults(fleet)
    fleet.up()
    assert len(held(fleet)) == 3
    fleet.destroy()


@pytest.mark.parametrize("version", ["1.37.2", "1.36.3"])
def test_a_device_that_cannot_be_attached(new_project: Callable[[], Project], version: str) -> None:
    """It heals when the fault is taken out; whoever has a device keeps it when there is a fault again."""
    project = new_project()
    with project.configuration() as config:
        config.clear()
        config["cluster"] = {"kubeVersion": version}
        config["nodePools"] = [{"name": "node", "gpu": "example-gpu-attached", "gpusPerNode": 2}]
        one_gpu = {"name": "gpu", "requests": [{"name": "gpu", "deviceClass": "gpu.example.com"}]}
        config["workloads"] = [{"name": "job", "replicas": 2, "claims": [one_gpu]}]
    set_faults(project, {"devices": ["gpu-0"], "attachFails": True}, expect={"allocated": 1, "pending": 1})
    project.up()
    assert held(project) == [("node-0", "gpu-1")]
    assert project.outputs()["pools"][0]["tainted"] == 1
    project.up("--expect-no-changes")
    set_faults(project)
    project.up()
    both = [("node-0", "gpu-0"), ("node-0", "gpu-1")]
    assert held(project) == both
    assert "tainted" not in project.outputs()["pools"][0]
    assert project.get("devicetaintrules") == []
    set_faults(project, {"attachFails": True})
    project.up()
    assert held(project) == both
    assert "tainted" not in project.outputs()["pools"][0]
    project.up("--expect-no-changes")
    project.destroy()
