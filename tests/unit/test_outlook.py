"""Whether stacks turn out as expected whatever the scheduler chooses; the values are worked out by hand."""

from typing import Any

import pytest

from topology.checks import outlook as checked
from topology.checks.outlook import Outlook, outlook
from topology.checks.validation import load
from topology.schema.stack import Topology

Object = dict[str, Any]
CLASS = "gpu.example.com"


def model(**fields: Any) -> Object:
    attributes = {"size": {"string": "large"}, "place": {"int": "{index}"}}
    return {"driver": CLASS, "deviceName": "gpu-{index}", "attributes": attributes, **fields}


def pool(gpus: int = 2, nodes: int = 1, *, name: str = "a", **fields: Any) -> Object:
    """Return nodes with so many devices, of which two have one root."""
    devices = [
        {"model": model(), "count": min(2, gpus - first), "attributes": {"root": {"string": f"root-{first}"}}}
        for first in range(0, gpus, 2)
    ]
    return {"name": name, "nodes": nodes, "devices": devices, **fields}


def request(count: int = 1, *selectors: str, **fields: Any) -> Object:
    return {"name": "gpu", "deviceClass": CLASS, "count": count, "selectors": list(selectors), **fields}


def at(*places: int) -> str:
    """Return the expression for the devices at these places."""
    return f"device.attributes['{CLASS}'].place in {list(places)}"


def workload(name: str, replicas: int, *requests: Object, running: int | None = None, **fields: Any) -> Object:
    """Return a workload of which so many pods are expected to run, and all others to wait."""
    claim = {"name": "gpus", "requests": list(requests) or [request()]} | fields.pop("claim", {})
    waiting = 0 if running is None else replicas - running
    expect = {"expect": {"allocated": running, "pending": waiting}} if waiting else {}
    return {"name": name, "replicas": replicas, "claims": [claim], **expect, **fields}


def stack(pools: list[Object], *workloads: Object, **fields: Any) -> Topology:
    classes = [{"name": CLASS, "selectors": [f"device.driver == '{CLASS}'"]}]
    raw = {"cluster": {"name": "x"}, "deviceClasses": classes, "nodePools": pools, "workloads": list(workloads)}
    return load(raw | fields)


def told(pools: list[Object], *workloads: Object, **fields: Any) -> Outlook:
    topology = stack(pools, *workloads, **fields)
    running = {entry.name: entry.expected_allocated // entry.claims_per_pod for entry in topology.workloads}
    return outlook(topology, running)


CERTAIN = Outlook({}, set(), {})
SAME_ROOT = {"constraints": [{"requests": ["gpu"], "matchAttribute": f"{CLASS}/root"}]}


# Pods that are expected to wait.


def test_a_pod_waits_if_all_devices_are_taken() -> None:
    assert told([pool(2)], workload("a", 3, running=2)) == CERTAIN


def test_a_pod_waits_if_no_device_matches() -> None:
    other = f"device.attributes['{CLASS}'].size == 'small'"
    assert told([pool(2)], workload("a", 1), workload("b", 1, request(1, other), running=0)) == CERTAIN


def test_a_pod_waits_for_two_devices_of_one_root_or_not() -> None:
    """Two pods may leave a root free, or not."""
    pair = workload("pair", 1, request(2), running=0, claim=SAME_ROOT)
    assert told([pool(4)], workload("a", 2), pair).undecided == {"pair": {"a"}}
    fixed = [workload("a", 1, request(1, at(0))), workload("b", 1, request(1, at(2)))]
    assert told([pool(4)], *fixed, pair) == CERTAIN


def test_a_pod_that_has_room_in_any_case_runs() -> None:
    fixed = workload("a", 1, request(1, at(0)))
    assert told([pool(2)], fixed, workload("b", 1, running=0)) == Outlook({}, {"b"}, {})
    # It hangs on others if these have a choice, and cannot be told if only some of the pods have room.
    assert told([pool(2)], workload("a", 1), workload("b", 1, running=0)).undecided == {"b": {"a"}}
    assert told([pool(2)], fixed, workload("b", 2, running=0)).undecided == {"b": {"a"}}


def test_two_pods_do_not_both_get_the_last_device() -> None:
    waiting = [workload(name, 1, running=0) for name in "bc"]
    found = told([pool(2)], workload("a", 1, request(1, at(0))), *waiting)
    assert (found.running, found.undecided) == ({"b"}, {"c": {"a"}})


@pytest.mark.parametrize(
    ("fault", "tolerations", "running"),
    [
        ({"devices": ["gpu-1"], "taint": {"key": "sick"}}, [], set()),
        ({"devices": ["gpu-1"], "taint": {"key": "sick", "effect": "None"}}, [], {"b"}),
        ({"devices": ["gpu-1"], "taint": {"key": "sick"}}, [{"key": "sick", "operator": "Exists"}], {"b"}),
        ({"devices": ["gpu-0"], "taint": {"key": "sick"}}, [], {"b"}),
    ],
)
def test_tainted_devices_are_for_those_that_tolerate_them(
    fault: Object, tolerations: list[Object], running: set[str]
) -> None:
    fixed = workload("a", 1, request(1, at(0), tolerations=[{"operator": "Exists"}]))
    waiting = workload("b", 1, request(1, tolerations=tolerations), running=0)
    assert told([pool(2, faults=[fault])], fixed, waiting) == Outlook({}, running, {})


def test_rules_taint_devices_too() -> None:
    fixed, waiting = (
        workload("a", 1, request(1, at(0), tolerations=[{"operator": "Exists"}])),
        workload("b", 1, running=0),
    )
    rule = {"name": "r", "pool": "a-0", "device": "gpu-1", "taint": {"key": "sick"}}
    assert told([pool(2)], fixed, waiting, deviceTaintRules=[rule]) == CERTAIN


def test_all_devices_means_that_none_is_tainted() -> None:
    everything = {"name": "gpu", "deviceClass": CLASS, "allocationMode": "All"}
    assert told([pool(2)], workload("b", 1, everything, running=0)) == Outlook({}, {"b"}, {})
    tainted = pool(2, faults=[{"devices": ["gpu-1"], "taint": {"key": "sick"}}])
    assert told([tainted], workload("b", 1, everything, running=0)) == CERTAIN


def test_nodes_that_are_not_ready_start_no_pods() -> None:
    lost = pool(2, faults=[{"notReady": True}])
    waiting = workload("b", 1, running=0)
    assert told([lost], waiting) == CERTAIN
    tolerations = [{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}]
    assert told([lost], waiting | {"tolerations": tolerations}) == Outlook({}, {"b"}, {})


def using(cpu: str) -> list[Object]:
    """Return a container that requests so much."""
    return [{"name": "c", "claims": [{"name": "gpus"}], "resources": {"cpu": cpu}}]


def test_a_pod_waits_for_want_of_cpu() -> None:
    """The pod that runs can only be on this node, and takes 3 of 4 CPUs."""
    fixed = workload("a", 1, request(1, at(0)), containers=using("3"))
    waiting = workload("b", 1, running=0, containers=using("2"))
    assert told([pool(2, capacity={"cpu": "4"})], fixed, waiting) == CERTAIN
    assert told([pool(2, capacity={"cpu": "5"})], fixed, waiting) == Outlook({}, {"b"}, {})


def test_a_shared_claim_is_held_once() -> None:
    shared: Object = {"claims": [{"name": "s", "requests": [request()]}]}
    users = {"name": "users", "replicas": 3, "claims": [{"name": "c", "claim": "s"}]}
    assert told([pool(2)], users, workload("b", 2, running=1), **shared) == CERTAIN


def test_a_pod_that_shares_a_claim_waits_with_its_own() -> None:
    """The shared device is on the first node, whose other device is taken."""
    nodes = [pool(2, name="a"), pool(1, name="b")]
    on_a: Object = {"nodeSelector": {"kubernetes.io/hostname": "a-0"}}
    shared: Object = {"claims": [{"name": "s", "requests": [request()]}]}
    user = {"name": "user", "claims": [{"name": "c", "claim": "s"}], **on_a}
    both: Object = {"name": "both", "claims": [{"name": "c", "claim": "s"}, {"name": "d", "requests": [request()]}]}
    both |= {"expect": {"allocated": 1, "pending": 1}}
    topology = stack(nodes, user, workload("a", 1, **on_a), both, **shared)
    assert outlook(topology, {"user": 1, "a": 1, "both": 0}) == CERTAIN


def test_extended_resources_are_devices() -> None:
    classes = [{"name": CLASS, "selectors": [f"device.driver == '{CLASS}'"], "extendedResourceName": "example.com/gpu"}]
    containers = [{"name": "c", "resources": {"example.com/gpu": 2}}]
    waiting = {"name": "b", "containers": containers, "expect": {"allocated": 0, "pending": 1}}
    assert told([pool(2)], workload("a", 1), waiting, deviceClasses=classes) == CERTAIN
    assert told([pool(3)], workload("a", 1), waiting, deviceClasses=classes).undecided == {"b": {"a"}}


def test_alternatives_are_tried() -> None:
    """Each of the two that run has one device or two; the third never has two."""
    alternatives = [
        {"name": "one", "deviceClass": CLASS, "selectors": [at(0)]},
        {"name": "two", "deviceClass": CLASS, "selectors": [at(1, 2, 3)], "count": 2},
    ]
    pods = [workload(name, 1, {"name": "gpu", "firstAvailable": alternatives}) for name in "ab"]
    waiting = workload("c", 1, {"name": "gpu", "firstAvailable": alternatives}, running=0)
    assert "c" not in told([pool(4)], *pods, waiting).undecided
    assert "c" in told([pool(5)], *pods, workload("c", 1, running=0)).undecided


def test_too_many_devices_are_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the pods leaves one device of its root."""
    pods = [workload("a", 1, request(1, at(0, 1))), workload("b", 1, request(1, at(2, 3)))]
    pair = workload("pair", 1, request(2), running=0, claim=SAME_ROOT)
    assert told([pool(4)], *pods, pair) == CERTAIN
    monkeypatch.setattr(checked, "SEARCHED_MAX", 3)
    assert told([pool(4)], *pods, pair).undecided == {"pair": {"a", "b"}}


def test_an_expression_that_fails_keeps_its_pod_waiting() -> None:
    wrong = f"device.attributes['{CLASS}'].absent == 'x'"
    assert told([pool(2)], workload("b", 1, request(1, wrong), running=0)) == CERTAIN


# Pods that are expected to run.


def test_pods_that_are_alike_do_not_take_each_others_room() -> None:
    assert told([pool(4, 2)], workload("a", 3), workload("b", 5)) == CERTAIN
    assert told([pool(4)], workload("a", 2, request(2), claim=SAME_ROOT)) == CERTAIN


def test_large_pods_come_first() -> None:
    """Small pods could be on both nodes, and leave none to the large one."""
    found = told(
        [pool(8, 2)], workload("small", 4), workload("large", 1, request(8)), workload("medium", 2, request(2))
    )
    assert not found.undecided
    assert found.order["large"] < found.order["medium"] < found.order["small"]


def test_few_small_pods_leave_room_for_large_ones() -> None:
    assert told([pool(8, 5)], workload("small", 2), workload("large", 2, request(8))) == CERTAIN


def test_a_pod_with_one_choice_comes_first() -> None:
    assert told([pool(2)], workload("any", 1), workload("one", 1, request(1, at(1)))).order == {"one": 0, "any": 1}


def test_sizes_that_do_not_divide_each_other() -> None:
    """If one of three is on each node, none has room for the pair of two."""
    pods = [workload("three", 2, request(3)), workload("two", 2, request(2))]
    assert set(told([pool(5, 2)], *pods).undecided) == {"two"}


def test_workloads_of_which_some_pods_wait_compete() -> None:
    """Each has one device now; two pods of one of them could have both."""
    first = workload("a", 2, running=1)
    second = workload("b", 2, request(1, f"device.attributes['{CLASS}'].size == 'large'"), running=1)
    assert told([pool(2)], first, second).undecided == {"b": {"a", "b"}}


def test_workloads_of_which_some_pods_wait_start_last() -> None:
    """The pod that runs has one choice, but starts after all that run; by then, its device may be taken."""
    found = told([pool(2)], workload("any", 1), workload("one", 2, request(1, at(1)), running=1))
    assert (found.undecided, found.order) == ({"one": {"any", "one"}}, {})


def test_numbers_decide_about_large_fleets() -> None:
    """Each of fifty nodes has one device left, and a pod wants two."""
    assert told([pool(3, 50)], workload("a", 51, request(2), running=50)) == CERTAIN


# Devices that exclude each other, or that several pods share.


def in_parts(*sizes: int, gpus: int = 2) -> Object:
    """Return a node whose devices of 4 slices are published whole, and in parts of these sizes."""
    parts = [
        {
            "deviceName": f"gpu-{{index}}-{place}",
            "attributes": {"part": {"int": size}},
            "consumesCounters": {"slices": str(size)},
        }
        for place, size in enumerate(sizes)
    ]
    whole = {"deviceName": "gpu-{index}", "attributes": {"part": {"int": 4}}}
    divided = {
        "driver": CLASS,
        "deviceName": "gpu-{index}",
        "counterSet": "gpu-{index}",
        "counters": {"slices": "4"},
        "partitions": [whole, *parts],
    }
    return {"name": "a", "gpu": divided, "gpusPerNode": gpus}


def part(size: int) -> Object:
    return request(1, f"device.attributes['{CLASS}'].part == {size}")


def test_whole_devices_come_before_parts() -> None:
    """Parts on both devices would leave none whole."""
    pods = [workload("quarter", 3, part(1)), workload("whole", 1, part(4))]
    assert told([in_parts(1, 1, 1, 1)], *pods) == Outlook({}, set(), {"whole": 0, "quarter": 1})


def test_what_parts_leave_does_not_hang_on_their_place() -> None:
    """Half of the device is free whichever quarter is taken; two quarters can be in two halves."""
    waiting = workload("other", 1, part(2), running=0)
    assert (
        told([in_parts(1, 1, 2, 2, gpus=1)], workload("a", 1, part(1)), workload("b", 1, part(2)), waiting) == CERTAIN
    )


def test_parts_of_one_device_that_exclude_each_other() -> None:
    pods = [workload("three", 1, part(3)), workload("two", 1, part(2))]
    assert told([in_parts(3, 2, 2)], *pods) == CERTAIN
    assert set(told([in_parts(3, 2, 2)], *pods, workload("one", 1, part(4))).undecided)


def test_parts_of_which_some_exclude_several_others() -> None:
    """Three pods fit if they have a part each that consumes one counter."""
    divided = model(counterSet="gpu-{index}", counters=dict.fromkeys("abc", "1"))
    divided["partitions"] = [
        {"deviceName": f"gpu-{{index}}-{names}", "consumesCounters": dict.fromkeys(names, "1")}
        for names in ("ab", "bc", "a", "b", "c")
    ]
    assert set(told([{"name": "a", "gpu": divided}], workload("w", 3)).undecided) == {"w"}


def shared(name: str, replicas: int, cores: int, **fields: Any) -> Object:
    return workload(name, replicas, request(capacity={"cores": str(cores)}), **fields)


def test_shares_of_devices() -> None:
    """Five of 20 fill a device of 100; 60 has room beside two of them."""
    several = pool(1)
    several["devices"][0]["model"] |= {"allowMultipleAllocations": True, "capacity": {"cores": "100"}}
    assert told([several], shared("a", 6, 20, running=5)) == CERTAIN
    assert told([several], shared("a", 2, 20), shared("b", 1, 60)) == CERTAIN
    assert told([several], shared("a", 3, 20), shared("b", 1, 60, running=0)) == CERTAIN


def test_devices_that_use_cpu_of_their_node_are_left_to_the_scheduler() -> None:
    several = pool(2)
    for devices in several["devices"]:
        devices["model"] |= {"nodeAllocatableResources": {"cpu": {"mapping": {"deviceMultiplier": "1"}}}}
    fixed, waiting = workload("a", 1, request(1, at(0))), workload("b", 1, running=0)
    assert told([several], fixed, waiting).undecided == {"b": {"a"}}


def test_devices_of_a_fabric() -> None:
    """Both nodes can use the two devices; the pod that runs takes one of them."""
    nodes = [{"name": "a", "nodes": 2, "labels": {"fabric": "x"}}]
    fabric = {"name": "f", "nodeSelector": {"fabric": "x"}, "devices": [{"model": model(), "count": 2}]}
    one, two = workload("a", 1), workload("b", 1, request(2), running=0)
    assert told(nodes, one, two, fabricPools=[fabric]) == CERTAIN
    assert told(nodes, one, workload("b", 1, running=0), fabricPools=[fabric]).undecided == {"b": {"a"}}
