"""Why a pod waits, node by node, and with which changes it would run."""

import json
from typing import Any

import pytest
from rich.console import Console

from tests.unit import live_fleet as live
from topology.schema.stack import Topology
from topology.status.report import details
from topology.status.why import Verdict
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
    _, changes = said(topology, [*objects, *waiting(exactly(), nodeSelector={"a": "b"})])
    assert changes == ["without the nodeSelector of the pod, on n-1"]


def test_constraints(topology: Topology, objects: list[Object]) -> None:
    constraint = {"matchAttribute": f"{DRIVER}/uuid"}
    nodes, changes = said(topology, [*objects[:-4], *waiting(exactly(count=2), constraints=[constraint])])
    line = f"no devices that are free on {{}} meet the constraint matchAttribute {DRIVER}/uuid"
    assert nodes == {name: [line.format(name)] for name in ("n-0", "n-1")}
    assert changes == [f"without the constraint matchAttribute {DRIVER}/uuid, on n-0, n-1"]


def test_a_node_that_could_run_it(topology: Topology, objects: list[Object]) -> None:
    nodes, _ = said(topology, [*objects, *waiting(exactly())])
    assert nodes["n-1"] == []


def test_no_change_is_proposed_if_nothing_known_is_in_the_way(topology: Topology, objects: list[Object]) -> None:
    assert said(topology, [*objects, *waiting(exactly())])[1] == []


def test_a_holder_is_a_pod_with_all_its_claims(topology: Topology, objects: list[Object]) -> None:
    more = live.claim("more", live.result("n-1", "gpu-1"))
    more["status"]["reservedFor"] = objects[-1]["status"]["reservedFor"]
    nodes, changes = said(topology, [*objects, more, *waiting(exactly(count=2))])
    assert nodes["n-1"][0].endswith("0 of 2 that match can be allocated; gpu-0, gpu-1: in use by pod training-second")
    assert changes[:2] == [
        f"without pod training-{name}, on n-{place}" for place, name in enumerate(("first", "second"))
    ]


def test_a_pod_is_not_to_do_without_its_own_claims(topology: Topology, objects: list[Object]) -> None:
    pod, claim = waiting(exactly(count=2))
    pod["spec"]["resourceClaims"].append({"name": "own", "resourceClaimName": "own"})
    own = live.claim("own", live.result("n-1", "gpu-1"))
    nodes, changes = said(topology, [*objects[:-2], own, pod, claim])
    assert nodes["n-1"][0].endswith("1 of 2 that match can be allocated; gpu-1: in use by claim own")
    assert not any("own" in change for change in changes)


def test_more_devices_for_one_request_are_not_enough_for_two(topology: Topology, objects: list[Object]) -> None:
    """The device that is free on n-1 can serve either request."""
    _, changes = said(topology, [*objects, *waiting(exactly(count=2), exactly("other"))])
    assert not any("more free device" in change for change in changes)


def test_a_toleration_that_is_proposed_is_for_that_taint(topology: Topology, objects: list[Object]) -> None:
    taints = [{"key": "worn", "effect": effect} for effect in ("NoSchedule", "NoExecute")]
    for entry in objects:
        if entry["kind"] == "ResourceSlice":
            for device in entry["spec"]["devices"]:
                device["taints"] = taints
    assert not any("tolerates" in change for change in said(topology, [*objects[:-4], *waiting(exactly())])[1])


def test_a_node_that_is_not_ready(topology: Topology, objects: list[Object]) -> None:
    for entry in objects:
        if entry["kind"] == "Node":
            entry["spec"]["taints"] = [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]
            entry["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]
    nodes, changes = said(topology, [*objects, *waiting(exactly())])
    assert nodes["n-1"][0] == "is not ready"
    assert changes == []


def test_devices_that_several_nodes_can_use_serve_any_of_them(topology: Topology, objects: list[Object]) -> None:
    spec = {"driver": DRIVER, "allNodes": True, "pool": {"name": "net"}, "devices": [{"name": "net-0"}]}
    net = live.live("ResourceSlice", "net", spec, {})
    nodes, changes = said(topology, [*objects, net, *waiting(exactly(count=2))])
    assert nodes["n-1"] == []  # One device of its own, and that of the network.
    assert nodes["n-0"][0].startswith("request gpu wants 2 of gpu.nvidia.com: 1 of 3 that match can be allocated")
    assert changes == []
    held = live.claim("far-net", live.result("net", "net-0"))
    nodes, changes = said(topology, [*objects, net, held, *waiting(exactly(count=2))])
    assert [reasons[0].partition(":")[2][:35] for reasons in nodes.values()] == [
        " 0 of 3 that match can be allocated",
        " 1 of 3 that match can be allocated",
    ]
    assert "without claim far-net, on n-1" in changes


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"deviceClassName": "gone"}, "wants 1 of gone: there is no class gone"),
        (
            {"capacity": {"requests": {"memory": "1Ti"}}},
            f"wants 1 of {DRIVER} with memory 1Ti: no device matches; 2 of 2 devices do not offer memory 1Ti",
        ),
        (
            {"selectors": [{"cel": {"expression": "1 ==\n  2"}}]},
            f"wants 1 of {DRIVER}: no device matches; selector 1 == 2 excludes 2 of 2 devices",
        ),
    ],
)
def test_why_no_device_matches(topology: Topology, objects: list[Object], asked: Object, reason: str) -> None:
    nodes, _ = said(topology, [*objects, *waiting(exactly(**asked))])
    assert nodes["n-1"] == [f"request gpu {reason}"]


def test_who_uses_up_a_shared_device(topology: Topology, objects: list[Object]) -> None:
    for entry in objects:
        if entry["kind"] == "ResourceSlice":
            for device in entry["spec"]["devices"]:
                device |= {"allowMultipleAllocations": True, "capacity": {"memory": {"value": "8Gi"}}}
    for result in objects[-1]["status"]["allocation"]["devices"]["results"]:
        result |= {"shareID": "s", "consumedCapacity": {"memory": "6Gi"}}
    asked = waiting(exactly(count=2, capacity={"requests": {"memory": "4Gi"}}))
    nodes, _ = said(topology, [*objects, *asked])
    assert nodes["n-1"][0].endswith("gpu-0: has 2Gi of memory left, in use by pod training-second")


@pytest.mark.parametrize(
    ("spec", "left"),
    [
        ({"affinity": {"podAntiAffinity": {"x": 1}, "podAffinity": {}}}, ", subject to the podAntiAffinity of the pod"),
        ({"topologySpreadConstraints": [{}]}, ", subject to the topologySpreadConstraints of the pod"),
    ],
)
def test_what_is_not_examined_is_said(topology: Topology, objects: list[Object], spec: Object, left: str) -> None:
    _, changes = said(topology, [*objects, *waiting(exactly(count=2), **spec)])
    assert changes[0] == f"without pod training-second, on n-1{left}"


def container(cpu: str, **more: object) -> Object:
    return {"name": "c", "resources": {"requests": {"cpu": cpu}}, **more}


@pytest.mark.parametrize(
    ("spec", "requests"),
    [
        ({"containers": [container("300"), container("1")]}, "301"),
        ({"containers": [container("1")], "resources": {"requests": {"cpu": "300"}}}, "300"),
        ({"containers": [container("300")], "resources": {"requests": {"cpu": "1"}}}, None),
        ({"containers": [], "resources": {"requests": {"cpu": "300"}}, "overhead": {"cpu": "2"}}, "302"),
        ({"containers": [container("1")], "initContainers": [container("300")]}, "300"),
        (
            {"containers": [], "initContainers": [container("5", restartPolicy="Always"), container("300")]},
            "305",
        ),
        ({"containers": [container("0")], "initContainers": None}, None),
    ],
)
def test_what_a_pod_requests_of_a_node(
    topology: Topology, objects: list[Object], spec: Object, requests: str | None
) -> None:
    """Pods that hold more than all of the cpu of n-0 leave none, but a pod that requests none may run there."""
    objects[-4]["spec"] |= {"containers": [container("1k")]}
    nodes, _ = said(topology, [*objects, *waiting(exactly(), **spec)])
    told = [reason.rpartition(" ")[2] for reason in nodes["n-1"] if "of cpu left" in reason]
    assert told == ([requests] if requests else [])
    assert any("of cpu left" in reason for reason in nodes["n-0"]) == (spec["containers"] != [container("0")])


def test_devices_use_cpu_of_their_node(topology: Topology, objects: list[Object]) -> None:
    """https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#node-allocatable-resources."""
    capacity = next(entry for entry in objects if entry["kind"] == "Node")["status"]["allocatable"]["cpu"]
    mapped = {"mapping": [{"name": "cpu", "quantity": "2"}], "containers": ["a", "b"]}
    mapped["overhead"] = [{"name": "cpu", "perPod": "1", "perContainer": "500m"}]
    objects[-2]["status"]["nodeAllocatableResourceClaimStatuses"] = [mapped, {"resources": {"cpu": "1"}}]
    nodes, _ = said(topology, [*objects, *waiting(exactly(), containers=[container("1k")])])
    left = {name: int(reasons[0].split(" ")[1]) for name, reasons in nodes.items()}
    assert left == {"n-0": left["n-1"] + 5, "n-1": int(capacity) - 5}


def test_a_node_has_an_extended_resource_that_is_devices_elsewhere(topology: Topology, objects: list[Object]) -> None:
    for entry in objects:
        if entry["kind"] == "DeviceClass":
            entry["spec"]["extendedResourceName"] = "example.com/gpu"
        if entry["kind"] == "Node":
            amount = "1" if entry["metadata"]["name"] == "n-0" else "0"
            entry["status"]["allocatable"] = {"pods": "9", "example.com/gpu": amount}
    spec = {"containers": [{"name": "c", "resources": {"limits": {"example.com/gpu": "2"}}}], "resourceClaims": []}
    nodes, _ = said(topology, [*objects, *waiting(**spec)])
    assert nodes == {"n-0": ["has 1 of example.com/gpu left, and the pod requests 2"], "n-1": []}


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
    held, claim = waiting(exactly(), schedulingGates=[{"name": "kueue.x-k8s.io/admission"}])
    held["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "a"}
    assert answer(topology, [*objects, held, claim]).state == "waits. queue a has not decided on it yet"
    new, claim = waiting(exactly())
    new["status"]["conditions"] = []
    assert "has not considered it yet" in answer(topology, [*objects, new, claim]).state
    new["status"]["phase"] = "Failed"
    assert answer(topology, [*objects, new, claim]).state == "is Failed"
    new["spec"]["nodeName"] = "n-1"
    assert answer(topology, [*objects, new, claim]).state == (
        "is Failed on node n-1, but it has no devices for training-late-c: the scheduler allocates claims only for "
        "pods that have no node yet"
    )


def test_a_claim_is_asked_for_by_its_name(topology: Topology, objects: list[Object]) -> None:
    found = details(topology, [*objects, *waiting(exactly(count=2))])
    (of_claim,) = why.answers(found, "", "default/training-late-c")
    assert of_claim == why.answers(found, "default/training-late", "")[0]


def test_a_claim_of_this_name_in_each_namespace(topology: Topology, objects: list[Object]) -> None:
    there = waiting(exactly(count=2))
    for entry in there:
        entry["metadata"]["namespace"] = "there"
    found = details(topology, [*objects, *waiting(exactly(count=2)), *there])
    assert [entry.pod for entry in why.answers(found, "", "training-late-c")] == [
        "default/training-late",
        "there/training-late",
    ]


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
        ("", "used", "claim used is allocated, but no pod uses it"),
    ],
)
def test_an_unknown_name(topology: Topology, objects: list[Object], pod: str, claim: str, message: str) -> None:
    used = live.claim("used", live.result("n-1", "gpu-1"))
    found = details(topology, [*objects, *waiting(exactly()), live.claim("spare"), used])
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


def test_only_some_of_many_nodes_are_shown(topology: Topology, objects: list[Object]) -> None:
    verdicts = [Verdict(f"n-{number}", [f"reason {number}"]) for number in range(23)]
    console = Console(width=40)
    with console.capture() as capture:
        console.print(why.text(why.Answer("default/p", "waits", verdicts)))
    lines = capture.get().splitlines()
    assert [line.strip() for line in lines[-2:]] == ["reason 19", "and 3 more (FORMAT=json lists all)"]
