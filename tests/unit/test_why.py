"""Why a pod waits, node by node, and with which changes it would run."""

import json
from typing import Any

import pytest
from rich.console import Console

from tests.unit import live_fleet as live
from topology.schema.stack import Topology
from topology.status.report import details
from views import why

Object = dict[str, Any]
DRIVER = "gpu.nvidia.com"
SELECTOR = f"device.attributes['{DRIVER}'].index == 9"


@pytest.fixture
def topology() -> Topology:
    return live.topology({"name": "n", "nodes": 2, "gpu": "l4", "gpusPerNode": 2})


@pytest.fixture
def objects(topology: Topology) -> list[Object]:
    """Two nodes, of which a pod holds all devices of one and half of the other."""
    return [
        *live.objects(topology),
        live.live("DeviceClass", DRIVER, {}, {}),
        *holder("first", "n-0", 0, 1),
        *holder("second", "n-1", 0),
    ]


def holder(name: str, node: str, *gpus: int) -> list[Object]:
    """Return a pod that runs and the claim that holds its GPUs."""
    pod, claim = live.claimed("training", *(live.result(node, f"gpu-{gpu}") for gpu in gpus), name=name)
    claim["status"]["reservedFor"] = [{"resource": "pods", "name": pod["metadata"]["name"]}]
    return [pod, claim]


def waiting(*requests: Object, constraints: list[Object] | None = None, **spec: object) -> list[Object]:
    """Return a pod that the scheduler has refused, and its claim."""
    pod, claim = live.claimed("training", name="late", reason="0/2 nodes are available: 2 cannot allocate all claims.")
    pod["spec"] |= spec
    claim["spec"] = {"devices": {"requests": list(requests), "constraints": constraints or []}}
    return [pod, claim]


def exactly(name: str = "gpu", **values: Any) -> Object:
    return {"name": name, "exactly": {"deviceClassName": DRIVER} | values}


def answer(topology: Topology, objects: list[Object], pod: str = "training-late") -> why.Answer:
    """Return the only answer about a pod."""
    (found,) = why.answers(details(topology, objects), pod, "")
    return found


def said(topology: Topology, objects: list[Object]) -> tuple[dict[str, list[str]], list[str]]:
    """Return what each node says about the pod that waits, and the changes."""
    found = answer(topology, objects)
    return {verdict.node: verdict.reasons for verdict in found.nodes}, list(found.changes)


def test_who_holds_the_devices(topology: Topology, objects: list[Object]) -> None:
    nodes, changes = said(topology, [*objects, *waiting(exactly(count=2))])
    wants = f"request gpu wants 2 of {DRIVER}"
    first, second = (f"pod training-{name}" for name in ("first", "second"))
    assert nodes == {
        "n-0": [f"{wants}: 0 of 2 that match can be allocated; gpu-0, gpu-1: in use by {first}"],
        "n-1": [f"{wants}: 1 of 2 that match can be allocated; gpu-0: in use by {second}"],
    }
    assert changes == [  # the holder of one device first
        f"without {second}, on n-1",
        f"without {first}, on n-0",
        "with 1 more free device for request gpu, on n-1",
    ]


def test_the_selector_that_excludes_all(topology: Topology, objects: list[Object]) -> None:
    selected = exactly(selectors=[{"cel": {"expression": SELECTOR}}])
    nodes, changes = said(topology, [*objects, *waiting(selected)])
    excludes = f"no device matches; selector {SELECTOR} excludes 2 of 2 devices"
    assert nodes == {name: [f"request gpu wants 1 of {DRIVER}: {excludes}"] for name in ("n-0", "n-1")}
    assert changes == [f"without the selector {SELECTOR} of request gpu, on n-1"]


def test_taints_of_nodes_and_devices(topology: Topology, objects: list[Object]) -> None:
    for entry in objects:
        if entry["kind"] == "Node" and entry["metadata"]["name"] == "n-1":
            entry["spec"]["taints"] = [{"key": "k", "value": "v", "effect": "NoSchedule"}]
        if entry["kind"] == "ResourceSlice" and entry["spec"]["nodeName"] == "n-0":
            for device in entry["spec"]["devices"]:
                device["taints"] = [{"key": "worn", "effect": "NoExecute"}]
    nodes, changes = said(topology, [*objects[:-4], *waiting(exactly())])
    has = f"request gpu wants 1 of {DRIVER}: 0 of 2 that match can be allocated"
    assert nodes == {
        "n-0": [f"{has}; gpu-0, gpu-1: has taint worn:NoExecute"],
        "n-1": ["has taint k=v:NoSchedule, which the pod does not tolerate"],
    }
    assert changes == [
        "if the pod tolerates k=v:NoSchedule, on n-1",
        "if request gpu tolerates worn:NoExecute, on n-0",
        "with 1 more free device for request gpu, on n-0",
    ]


def test_resources_and_selectors_of_nodes(topology: Topology, objects: list[Object]) -> None:
    containers = [{"name": "c", "resources": {"requests": {"cpu": "1k"}}}]
    nodes, changes = said(topology, [*objects, *waiting(exactly(), containers=containers, nodeSelector={"a": "b"})])
    assert nodes["n-1"][0] == "does not match the nodeSelector or the node affinity of the pod"
    assert nodes["n-1"][1].endswith("of cpu left, and the pod requests 1k")
    assert changes == []


def test_constraints(topology: Topology, objects: list[Object]) -> None:
    constraint = {"matchAttribute": f"{DRIVER}/uuid"}
    nodes, changes = said(topology, [*objects[:-4], *waiting(exactly(count=2), constraints=[constraint])])
    line = f"no devices that are free on {{}} meet the constraint matchAttribute {DRIVER}/uuid"
    assert nodes == {name: [line.format(name)] for name in ("n-0", "n-1")}
    assert changes == [f"without the constraint matchAttribute {DRIVER}/uuid, on n-0, n-1"]


def test_a_node_that_could_run_it(topology: Topology, objects: list[Object]) -> None:
    nodes, _ = said(topology, [*objects, *waiting(exactly())])
    assert nodes["n-1"] == []


def test_a_claim_of_another_namespace_that_no_pod_uses(topology: Topology, objects: list[Object]) -> None:
    objects[-1]["metadata"]["namespace"] = "else"
    objects[-1]["status"]["reservedFor"] = []
    nodes, changes = said(topology, [*objects[:-2], objects[-1], *waiting(exactly(count=2))])
    assert nodes["n-1"][0].endswith("gpu-0: in use by claim else/training-second-c")
    assert "without claim else/training-second-c, on n-1" in changes


def test_pods_that_do_not_wait_for_a_node(topology: Topology, objects: list[Object]) -> None:
    assert answer(topology, objects, "training-first").state == "is Running on node n-0"
    gated, claim = waiting(exactly(), schedulingGates=[{"name": "example.com/quota"}])
    assert "example.com/quota" in answer(topology, [*objects, gated, claim]).state
    new, claim = waiting(exactly())
    new["status"]["conditions"] = []
    assert "has not considered it yet" in answer(topology, [*objects, new, claim]).state


def test_a_claim_is_asked_for_by_its_name(topology: Topology, objects: list[Object]) -> None:
    found = details(topology, [*objects, *waiting(exactly(count=2))])
    (of_claim,) = why.answers(found, "", "default/training-late-c")
    assert of_claim == why.answers(found, "default/training-late", "")[0]


@pytest.mark.parametrize(
    ("pod", "claim", "message"),
    [
        (
            "training-lat",
            "",
            "there is no pod training-lat in the cluster; did you mean 'training-late'? See make status",
        ),
        ("", "x", "there is no claim x in the cluster. See make status"),
        ("", "spare", "claim spare is pending, and no pod uses it: a claim is allocated only for a pod"),
    ],
)
def test_an_unknown_name(topology: Topology, objects: list[Object], pod: str, claim: str, message: str) -> None:
    found = details(topology, [*objects, *waiting(exactly()), live.claim("spare")])
    with pytest.raises(why.UnknownNameError) as error:
        why.answers(found, pod, claim)
    assert str(error.value) == message


def test_nodes_with_the_same_reasons_are_shown_together(topology: Topology, objects: list[Object]) -> None:
    selected = exactly(selectors=[{"cel": {"expression": "false"}}])
    console = Console(width=200)
    with console.capture() as capture:
        console.print(why.text(answer(topology, [*objects, *waiting(selected)])))
    assert [line.strip() for line in capture.get().splitlines()] == [
        "Pod default/training-late waits. The scheduler says: 0/2 nodes are available: 2 cannot allocate all claims.",
        "",
        "n-0, n-1",
        f"request gpu wants 1 of {DRIVER}: no device matches; selector false excludes 2 of 2 devices",
        "",
        "It would run",
        "without the selector false of request gpu, on n-1",
    ]


def test_the_answer_for_programs(topology: Topology, objects: list[Object]) -> None:
    told = answer(topology, [*objects, *waiting(exactly(count=2))]).as_json()
    assert json.loads(json.dumps(told)) == told
    assert [*told] == ["pod", "state", "nodes", "wouldRun"]
