"""What is found by trying everything: the rules of the allocator, and that wrong answers are noticed."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.oracle.brute_force import Device, Object, evaluated
from tests.oracle.edges import DRIVER, EDGES
from tests.oracle.judge import can_run, judge_pods, judge_refusal
from tests.oracle.run import drawn, refused
from tests.oracle.stacks import patient
from tests.rendering import rendered
from topology.checks.validation import load
from topology.schema.base import Problem

STACKS = 100


@pytest.mark.parametrize("name", EDGES)
def test_edges(name: str) -> None:
    """What is expected is what the allocator's code says; the scheduler says it in tests/e2e/test_answers.py."""
    topology = load(patient(EDGES[name].stack))
    objects = rendered(topology)
    found = {entry.name: can_run(topology, objects, place) for place, entry in enumerate(topology.workloads)}
    assert found == EDGES[name].served


@pytest.mark.parametrize("name", EDGES)
def test_edges_are_refused_only_if_no_node_can_serve_them(name: str) -> None:
    topology = load(patient(EDGES[name].stack))
    assert judge_refusal(topology, rendered(topology), refused(EDGES[name].stack)).disagreements == []


def test_no_stack_is_refused_that_nodes_can_serve() -> None:
    count = 0
    for number in range(STACKS):
        topology = load(patient(drawn(number)))
        problems = refused(drawn(number))
        count += bool(problems)
        assert judge_refusal(topology, rendered(topology), problems).disagreements == [], number
    assert STACKS / 4 < count < STACKS


def test_a_stack_has_a_number() -> None:
    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)


@pytest.mark.parametrize(("path", "wrong"), [("workloads[0].claims", True), ("workloads[0].replicas", False)])
def test_a_refusal_in_vain_is_noticed(path: str, wrong: bool) -> None:
    """One of two pods can run, but not both."""
    stack = EDGES["a request gets a shared device once"].stack
    stack = stack | {"workloads": [stack["workloads"][0] | {"replicas": 2}]}
    stack["workloads"][0]["claims"] = [{"name": "c", "requests": [{"name": "r0", "deviceClass": DRIVER}]}]
    topology = load(patient(stack))
    found = judge_refusal(topology, rendered(topology), [Problem(path, "is refused")])
    assert bool(found.disagreements) == wrong


# Reasons.


def live(*held: str, taints: Sequence[Object] = (), asks: Sequence[str] = ("c",), left: str = "") -> list[Object]:
    """Return a node with two devices, claims that hold some of them, and a pod that waits for one of each class.

    If something is `left` of the capacity of the devices that are held, they are shared.
    """
    shared = {"allowMultipleAllocations": True, "capacity": {"memory": {"value": "8Gi"}}} if left else {}
    devices = [{"name": f"dev-{place}", "taints": list(taints)} | shared for place in range(2)]
    slices = {"driver": "d", "nodeName": "n-0", "pool": {"name": "n-0"}, "devices": devices}
    elsewhere = {"driver": "d", "nodeName": "other-0", "pool": {"name": "other-0"}, "devices": [{"name": "far"}]}
    pod = {
        "spec": {"resourceClaims": [{"name": "c", "resourceClaimTemplateName": "t"}]},
        "status": {"resourceClaimStatuses": [{"name": "c", "resourceClaimName": "mine"}]},
    }
    return [
        named("Node", "n-0", spec={}),
        named("Node", "other-0", spec={"taints": [{"key": "k", "effect": "NoSchedule"}]}),
        named("DeviceClass", "c", spec={}),
        named("DeviceClass", "none", spec={"selectors": [{"cel": {"expression": "device.driver == 'x'"}}]}),
        named("ResourceSlice", "s", spec=slices),
        named("ResourceSlice", "t", spec=elsewhere),
        named("ResourceClaim", "mine", spec=asking(*asks)),
        *(named("ResourceClaim", f"of-{name}", spec=asking("c"), status=allocated(name, left)) for name in held),
        named("Pod", "p", **pod),
    ]


def named(kind: str, name: str, **content: Any) -> Object:
    return {"kind": kind, "metadata": {"name": name, "namespace": "default"}} | content


def asking(*classes: str) -> Object:
    exactly = [{"deviceClassName": name, "count": 1} for name in classes]
    return {"devices": {"requests": [{"name": f"r{place}", "exactly": one} for place, one in enumerate(exactly)]}}


def allocated(device: str, left: str) -> Object:
    pool = "other-0" if device == "far" else "n-0"
    fields = [{"key": "metadata.name", "operator": "In", "values": [pool]}]
    results = [{"request": "r0", "driver": "d", "pool": pool, "device": device}]
    if left:
        results[0] |= {"consumedCapacity": {"memory": f"{8 - int(left)}Gi"}}  # type: ignore[dict-item]
    selector = {"nodeSelectorTerms": [{"matchFields": fields}]}
    return {"allocation": {"nodeSelector": selector, "devices": {"results": results}}}


BOTH = ("dev-0", "dev-1")
WORN = {"key": "w", "effect": "NoSchedule"}
NODES = "0/2 nodes are available: 1 cannot allocate all claims"


@pytest.mark.parametrize(
    ("objects", "reason", "wrong"),
    [
        (live(*BOTH), "request r0 wants 1 of c, but no node has more than 0 free of 2 that match", ""),
        (live(*BOTH), "request r0 wants 1 of c, but no node has more than 1 free of 2 that match", "('0', '2')"),
        (live(asks=["c", "none"]), "request r1 wants 1 of none, but no device matches", ""),
        (live(asks=["c", "none"]), "request r0 wants 1 of c, but no device matches", "r0 can be satisfied"),
        (live(*BOTH), "dev-0 of n-0 is held by of-dev-0", ""),
        (live(*BOTH, "far"), "a device of n-0 is held by of-far", "of-far holds nothing there"),
        (live(*BOTH), "on n-0, dev-0 is in use", ""),
        (live("dev-0", taints=[WORN]), "on n-0, dev-0 is in use, dev-1 is in use", "dev-1 is not in use"),
        (live("dev-0", taints=[WORN]), "on n-0, dev-1 has taint w:NoSchedule", ""),
        (live("dev-0", taints=[WORN]), "on n-0, dev-1 has taint w:NoExecute", "dev-1 has ['w:NoSchedule']"),
        (live(*BOTH, left="3"), "on n-0, dev-0 has 3Gi of memory left", ""),
        (live(*BOTH, left="3"), "on n-0, dev-0 has 4Gi of memory left", "of memory left"),
        (live(*BOTH), "on other-0, request r0 wants 1", "other-0 is not for the pod"),
        (live(*BOTH), "yet n-0 has free devices for it", "no node has devices for it"),
        (live(*BOTH), "no devices of n-0 meet the constraint matchAttribute d/x", "no constraint is in the way"),
        (live(*BOTH), "there is too little", "it names nothing"),
        (live(*BOTH), "", "it names nothing"),
        (live("dev-0"), "request r0 wants 1 of c, but no node has more than 0 free", "n-0 can serve it"),
    ],
)
def test_a_wrong_reason_is_noticed(objects: list[Object], reason: str, wrong: str) -> None:
    found = judge_pods(objects, {"p": f"{NODES}; {reason}" if reason else NODES})
    assert bool(found.disagreements) == bool(wrong)
    assert wrong in "".join(found.disagreements)


def test_selectors() -> None:
    published = {"attributes": {"m": {"string": "x"}, "i": {"int": 1}}, "capacity": {"memory": {"value": "4Gi"}}}
    device = Device(("d", "n-0", "dev-0"), published)
    memory = "device.capacity['d'].memory.compareTo(quantity('{}')) >= 0"
    right = ["device.driver == 'd'", "device.attributes['d'].m == 'x'", "device.attributes['d'].i == 1"]
    assert all(evaluated(expression, device) for expression in [*right, memory.format("4Gi")])
    wrong = ["device.driver == 'e'", "device.attributes['d'].m == 'y'", "device.attributes['d'].i == 0"]
    assert not any(evaluated(expression, device) for expression in [*wrong, memory.format("5Gi")])
    with pytest.raises(ValueError, match="none of the forms"):
        evaluated("true", device)
