"""The report of a stack, from live objects as kubectl prints them."""

import random
from typing import Any

import pytest

from topology.checks.validation import load
from topology.schema.stack import Existing, Topology
from topology.status.report import kinds, report

Object = dict[str, Any]
DRIVER = "gpu.kwok.x-k8s"
UNSCHEDULABLE = "0/1 nodes are available: 1 cannot allocate all claims."
SHORT = UNSCHEDULABLE.removesuffix(".")


def live(kind: str, name: str, spec: Object | None = None, status: Object | None = None, **metadata: Any) -> Object:
    """Return an object of the `default` namespace."""
    return {
        "kind": kind,
        "metadata": {"name": name, "namespace": "default", "uid": f"uid of {name}"} | metadata,
        "spec": spec or {},
        "status": status or {},
    }


def node(name: str, driver: str = DRIVER, devices: int = 1) -> list[Object]:
    """Return a node and its slice."""
    spec = {"driver": driver, "pool": {"name": name}, "devices": [{"name": f"gpu-{n}"} for n in range(devices)]}
    return [live("Node", name), live("ResourceSlice", f"{name}-{driver}", spec)]


def pod(name: str, node: str = "", app: str = "fake-pod", claim: str | None = None, **metadata: Any) -> Object:
    """Return a pod that uses `claim` as its `gpu0`; it runs if it has a node, else the scheduler has refused it."""
    conditions = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": UNSCHEDULABLE}]
    status: Object = {"phase": "Running"} if node else {"phase": "Pending", "conditions": conditions}
    if claim:
        status["resourceClaimStatuses"] = [{"name": "gpu0", "resourceClaimName": claim}]
    spec: Object = {
        "containers": [{"name": "fake-container"}],
        "resourceClaims": [{"name": "gpu0", "resourceClaimTemplateName": "single-gpu"}],
    }
    owners = [{"kind": "Deployment", "name": app, "uid": f"uid of {app}"}]
    placed = {"nodeName": node} if node else {}
    return live("Pod", name, spec | placed, status, **{"ownerReferences": owners} | metadata)


def claim(name: str, *devices: tuple[str, str], driver: str = DRIVER, **metadata: Any) -> Object:
    """Return a claim, allocated and reserved if it has `devices`: pool and name."""
    results = [{"request": "gpu", "driver": driver, "pool": pool, "device": device} for pool, device in devices]
    allocated = {"allocation": {"devices": {"results": results}}, "reservedFor": [{"name": "a pod"}]}
    return live("ResourceClaim", name, {}, allocated if devices else {}, **metadata)


def deployment(name: str, updated: int, generation: int = 1, observed: int = 1) -> Object:
    """Return a Deployment with `updated` pods, of which its controller has `observed` that generation."""
    status = {"observedGeneration": observed, "updatedReplicas": updated}
    return live("Deployment", name, {"replicas": updated}, status, generation=generation)


@pytest.fixture
def topology(dev: Object) -> Topology:
    return load(dev)


@pytest.fixture
def working() -> list[Object]:
    """The dev stack as it should be."""
    return [
        *node("kwok-node-0"),
        deployment("fake-pod", updated=1),
        pod("fake-pod-1", node="kwok-node-0", claim="fake-pod-1-gpu0-x"),
        claim("fake-pod-1-gpu0-x", ("kwok-node-0", "gpu-0")),
    ]


@pytest.fixture
def pending() -> list[Object]:
    """The dev stack whose pod cannot be scheduled."""
    return [
        *node("kwok-node-0"),
        deployment("fake-pod", updated=1),
        pod("fake-pod-1", claim="fake-pod-1-gpu0-x"),
        claim("fake-pod-1-gpu0-x"),
    ]


def listed(topology: Topology, objects: list[Object]) -> list[Object]:
    """Return the claims of a report that lists them."""
    claims = report(topology, objects).claims
    assert isinstance(claims, list)
    return claims


def test_an_allocated_claim(topology: Topology, working: list[Object]) -> None:
    found = report(topology, working)
    assert found.claims == [
        {
            "name": "fake-pod-1-gpu0-x",
            "namespace": "default",
            "workload": "fake-pod",
            "pod": "fake-pod-1",
            "podPhase": "Running",
            "node": "kwok-node-0",
            "state": "allocated,reserved",
            "devices": [{"request": "gpu", "driver": DRIVER, "pool": "kwok-node-0", "device": "gpu-0"}],
        }
    ]
    assert found.pools == [{"name": "kwok-node", "nodes": 1, "devices": 1, "allocated": 1, "free": 0}]
    assert found.summary == "1 of 1 claims allocated, 1 of 1 pods running, 1 of 1 devices in use on 1 node"
    assert found.unexpected == []


def test_a_pending_claim(topology: Topology, pending: list[Object]) -> None:
    found = report(topology, pending)
    assert found.claims == [
        {
            "name": "fake-pod-1-gpu0-x",
            "namespace": "default",
            "workload": "fake-pod",
            "pod": "fake-pod-1",
            "podPhase": "Pending",
            "node": "",
            "state": "pending",
            "devices": [],
            "reason": UNSCHEDULABLE,
        }
    ]
    assert found.leftovers == []
    assert found.pools == [{"name": "kwok-node", "nodes": 1, "devices": 1, "allocated": 0, "free": 1}]
    assert found.summary == "0 of 1 claims allocated, 0 of 1 pods running (1 waiting), 0 of 1 devices in use on 1 node"
    assert found.unexpected == [
        "workload fake-pod: 0 of 1 pods run after 120 s (kwok-dra:workloads readyTimeoutSeconds)",
        f"  pod fake-pod-1: {UNSCHEDULABLE}",
    ]


def test_a_wait_that_was_given_up(topology: Topology) -> None:
    (message, _) = report(topology, [pod("fake-pod-1")], quiet=15).unexpected
    still = "nothing has changed for 15 s, and nothing is under way that could change it"
    assert message == f"workload fake-pod: 0 of 1 pods run; {still} (kwok-dra:workloads readyTimeoutSeconds)"


def test_a_claim_that_is_not_created_yet(topology: Topology) -> None:
    waiting = pod("fake-pod-1")
    del waiting["status"]["conditions"]
    (found,) = listed(topology, [waiting])
    assert (found["name"], found["state"], found["reason"]) == ("", "pending", "not yet considered by the scheduler")


@pytest.mark.parametrize(
    ("status", "metadata", "state"),
    [
        ({}, {}, "pending"),
        ({"allocation": {}}, {}, "pending"),
        ({"allocation": {"devices": {"results": []}}}, {}, "allocated"),
        ({"allocation": {"devices": {}}, "reservedFor": [{"name": "a pod"}]}, {}, "allocated,reserved"),
        ({}, {"deletionTimestamp": "now"}, "deleted"),
        ({"allocation": {"devices": {}}, "reservedFor": []}, {"deletionTimestamp": "now"}, "deleted,allocated"),
    ],
)
def test_states_are_those_that_kubectl_prints(topology: Topology, status: Object, metadata: Object, state: str) -> None:
    objects = [pod("fake-pod-1", claim="c"), live("ResourceClaim", "c", status=status, **metadata)]
    assert listed(topology, objects)[0]["state"] == state
    assert report(topology, objects).summary.startswith(f"{int('allocated' in state)} of 1 claims allocated, ")


def test_without_pods_no_workload_runs(topology: Topology) -> None:
    found = report(topology, [])
    assert found.claims == []
    assert found.summary == "0 of 0 claims allocated, 0 of 0 pods running, 0 of 0 devices in use on 0 nodes"
    assert [line.split(" pods")[0] for line in found.unexpected] == ["workload fake-pod: 0 of 1"]


@pytest.mark.parametrize(
    "ignored",
    [
        pytest.param([pod("fake-pod-2", node="kwok-node-0", claim="d", deletionTimestamp="now")], id="terminating"),
        pytest.param([pod("else-1", app="else", claim="d"), claim("d")], id="other people's pod"),
        pytest.param(
            [live("Pod", "bare", {"resourceClaims": [{"name": "x"}], "containers": []}, {})], id="pod without labels"
        ),
        pytest.param([live("Pod", "plain", {"containers": []}, labels={"app": "plain"})], id="pod without claims"),
        pytest.param([claim("mine")], id="claim that somebody made"),
        pytest.param([claim("fake-pod-1-gpu0-x", namespace="else")], id="namesake in another namespace"),
        pytest.param([pod("fake-pod-9", "kwok-node-0", claim="c", namespace="else")], id="owner in another namespace"),
        pytest.param([live("Deployment", "fake-pod", namespace="else", generation=1)], id="namesake of the owner"),
        pytest.param(node("else-0"), id="other people's node"),
        pytest.param(node("kwok-node-1"), id="node of another size of the pool"),
        pytest.param([live("ConfigMap", "x")], id="another kind"),
    ],
)
def test_objects_that_are_not_the_stack_s(topology: Topology, working: list[Object], ignored: list[Object]) -> None:
    assert report(topology, [*working, *ignored]) == report(topology, [*ignored, *working]) == report(topology, working)


def test_pools_count_the_devices_of_their_driver(dev: Object) -> None:
    """A node may have slices of several drivers, and several slices of one driver."""
    dev["nodePools"] = [
        {"name": "b", "nodes": 3, "gpu": "kwok-l4", "gpusPerNode": 4},
        {"name": "a", "nodes": 1, "gpu": {"driver": "gpu.example.com"}},
    ]
    second = {"driver": DRIVER, "pool": {"name": "b-0"}, "devices": [{"name": "gpu-4"}]}
    objects = [
        *node("a-0", "gpu.example.com"),
        *node("b-0", devices=4),
        live("ResourceSlice", "b-0-second", second),
        live("ResourceSlice", "b-0-empty", second | {"devices": []}),
        *node("b-0", "gpu.example.com", devices=8),
        *node("b-1", devices=4),
        pod("fake-pod-1", node="b-0", claim="two"),
        claim("two", ("b-0", "gpu-1"), ("b-0", "gpu-0")),
        pod("fake-pod-2", node="b-0", claim="other"),
        claim("other", ("b-0", "gpu-0"), driver="gpu.example.com"),
        pod("fake-pod-3", node="b-1", claim="one"),
        claim("one", ("b-1", "gpu-0")),
    ]
    assert report(load(dev), objects).pools == [
        {"name": "a", "nodes": 1, "devices": 1, "allocated": 0, "free": 1},
        {"name": "b", "nodes": 2, "devices": 9, "allocated": 3, "free": 6},
    ]


def test_all_pods_are_counted_also_those_without_claims(topology: Topology, working: list[Object]) -> None:
    for phase in ("Running", "Succeeded", "Succeeded", "Pending", "Unknown"):
        plain = pod(f"{phase}-{len(working)}", node="kwok-node-0")
        plain["spec"] |= {"resourceClaims": []}
        plain["status"] |= {"phase": phase}
        working.append(plain)
    assert report(topology, working).summary == (
        "1 of 1 claims allocated, 2 of 6 pods running (2 ended, 2 waiting), 1 of 1 devices in use on 1 node"
    )


def test_a_pool_of_several_drivers_has_the_counts_of_each(dev: Object) -> None:
    models = [{"driver": driver} for driver in (DRIVER, "gpu.example.com", "gpu.empty")]
    dev["nodePools"] = [{"name": "a", "nodes": 2, "devices": [{"model": model} for model in models]}]
    objects = [
        *node("a-0", devices=4),
        *node("a-0", "gpu.example.com", devices=2),
        *node("a-1", "gpu.example.com", devices=2),
        claim("one", ("a-0", "gpu-0")),
        claim("two", ("a-0", "gpu-0"), ("a-1", "gpu-1"), driver="gpu.example.com"),
    ]
    objects[3]["spec"]["devices"][1]["taints"] = [TAINT]
    assert report(load(dev), objects).pools == [
        {
            "name": "a",
            "nodes": 2,
            "devices": 8,
            "allocated": 3,
            "free": 4,
            "tainted": 1,
            "drivers": {
                "gpu.empty": {"devices": 0, "allocated": 0, "free": 0},
                "gpu.example.com": {"devices": 4, "allocated": 2, "free": 1, "tainted": 1},
                DRIVER: {"devices": 4, "allocated": 1, "free": 3},
            },
        }
    ]


def consuming(*places: tuple[str, str], **consumed: str) -> Object:
    """Return a claim that consumes as much of each device."""
    made = claim(f"held-{places}", *places, namespace="else")
    for result in made["status"]["allocation"]["devices"]["results"]:
        result |= {"shareID": "s", "consumedCapacity": consumed}
    return made


def shared(*devices: str, driver: str = DRIVER, **capacity: str) -> list[Object]:
    """Return a node and its slice of devices that claims share."""
    found = node("kwok-node-0", driver)
    values = {"capacity": {name: {"value": value} for name, value in capacity.items()}}
    found[1]["spec"]["devices"] = [{"name": name, "allowMultipleAllocations": True} | values for name in devices]
    return found


def test_a_shared_device_is_free_until_it_is_used_up(topology: Topology) -> None:
    objects = shared("gpu-0", "gpu-1", "gpu-2", memory="23028Mi", cores="100")
    used_up, used = ("kwok-node-0", "gpu-0"), ("kwok-node-0", "gpu-1")
    objects += [consuming(used_up, used, cores="30", memory="4Gi"), consuming(used_up, cores="70", memory="4Gi")]
    found = report(topology, objects)
    (pool,) = found.pools
    assert {name: pool[name] for name in ("devices", "allocated", "free")} == {"devices": 3, "allocated": 2, "free": 2}
    assert pool["left"] == {"kwok-node-0/gpu-1": {"cores": "70", "memory": "18932Mi"}}
    assert found.summary.endswith("2 of 3 devices in use on 1 node")


@pytest.mark.parametrize(("count", "more"), [(10, None), (12, 2)])
def test_at_most_ten_shared_devices_are_listed(topology: Topology, count: int, more: int | None) -> None:
    names = [f"gpu-{number}" for number in range(count)]
    held = consuming(*(("kwok-node-0", name) for name in names), memory="1Gi")
    (pool,) = report(topology, [*shared(*names, memory="2Gi"), held]).pools
    assert pool["left"] == {f"kwok-node-0/gpu-{number}": {"memory": "1Gi"} for number in range(10)}
    assert list(pool["left"])[1:3] == ["kwok-node-0/gpu-1", "kwok-node-0/gpu-2"]
    assert pool.get("leftNotListed") == more


def test_what_is_left_is_told_with_its_driver(dev: Object) -> None:
    models = [{"driver": driver} for driver in (DRIVER, "other")]
    dev["nodePools"] = [{"name": "kwok-node", "devices": [{"model": model} for model in models]}]
    objects = [*shared("gpu-0", memory="2Gi"), *shared("gpu-0", driver="other")]
    held = [consuming(("kwok-node-0", "gpu-0"), memory="1Gi"), claim("c", ("kwok-node-0", "gpu-0"), driver="other")]
    (pool,) = report(load(dev), [*objects, *held]).pools
    assert {driver: row["left"] for driver, row in pool["drivers"].items()} == {
        DRIVER: {"kwok-node-0/gpu-0": {"memory": "1Gi"}},
        "other": {"kwok-node-0/gpu-0": {}},
    }
    assert "left" not in pool


def test_a_node_that_is_gone_has_no_devices(topology: Topology, working: list[Object]) -> None:
    """The slice of a deleted node may stay for a while."""
    gone = [entry for entry in working if entry["kind"] != "Node"]
    assert report(topology, gone).pools == [{"name": "kwok-node", "nodes": 0, "devices": 0, "allocated": 0, "free": 0}]


def test_a_node_that_is_not_ready_keeps_its_pods_but_gets_none(topology: Topology, working: list[Object]) -> None:
    live_node, live_slice = working[:2]
    live_node["status"] = {"conditions": [{"type": "Ready", "status": "False"}]}
    live_slice["spec"]["nodeName"] = "kwok-node-0"
    live_slice["spec"]["devices"].append({"name": "gpu-1"})
    found = report(topology, working)
    assert found.pools == [
        {"name": "kwok-node", "nodes": 1, "notReady": 1, "devices": 2, "allocated": 1, "free": 0},
    ]
    assert [claim.get("nodeNotReady") for claim in listed(topology, working)] == [True]
    live_node["status"]["conditions"][0]["status"] = "True"
    found = report(topology, working)
    assert found.pools == [{"name": "kwok-node", "nodes": 1, "devices": 2, "allocated": 1, "free": 1}]
    assert not any("nodeNotReady" in claim for claim in listed(topology, working))


def test_the_order_of_live_objects_does_not_matter(dev: Object) -> None:
    """A second `pulumi up` shows no change, in whatever order the API server lists the objects."""
    names = ("job-a", "job-b")
    claims = dev["workloads"][0]["claims"]
    dev["workloads"] = [{"name": name, "claims": [claims[0] | {"template": name}]} for name in names]
    objects = [entry for number in range(3) for entry in node(f"kwok-node-{number}")]
    for name in names:
        objects += [deployment(name, updated=4)]
        for number in range(4):
            objects.append(
                pod(f"{name}-{number}", app=name, node="kwok-node-0" if number % 2 else "", claim=f"{name}-{number}")
            )
            devices = [(f"kwok-node-{device}", "gpu-0") for device in range(number)]
            objects.append(claim(f"{name}-{number}", *devices))
    topology = load(dev)
    expected = report(topology, objects)
    assert isinstance(expected.claims, list)
    assert [entry["pod"] for entry in expected.claims] == [f"{name}-{number}" for name in names for number in range(4)]
    for seed in range(20):
        random.Random(seed).shuffle(objects)
        for entry in objects:
            random.Random(seed).shuffle(entry["status"].get("allocation", {}).get("devices", {}).get("results", []))
        assert report(topology, objects) == expected


@pytest.mark.parametrize(("pods", "form"), [(100, list), (101, dict)])
def test_past_a_hundred_claims_there_are_counts(topology: Topology, pods: int, form: type) -> None:
    objects = [pod(f"fake-pod-{number:03}", node="kwok-node-0", claim=f"c-{number}") for number in range(pods - 1)]
    objects += [claim(f"c-{number}", ("kwok-node-0", f"gpu-{number}")) for number in range(pods - 1)]
    objects += [pod("fake-pod-last", claim="c-last"), claim("c-last")]
    found = report(topology, objects)
    assert isinstance(found.claims, form)
    if isinstance(found.claims, dict):
        assert found.claims["counts"] == {"fake-pod": {"allocated,reserved": pods - 1, "pending": 1}}
        assert [entry["pod"] for entry in found.claims["unsatisfied"]] == ["fake-pod-last"]
    assert found.summary.startswith(f"{pods - 1} of {pods} claims allocated, {pods - 1} of {pods} pods running")


def test_at_most_a_hundred_unsatisfied_claims_are_listed(topology: Topology) -> None:
    claims = report(topology, [pod(f"fake-pod-{number:03}") for number in range(150)]).claims
    assert isinstance(claims, dict)
    assert claims["counts"] == {"fake-pod": {"pending": 150}}
    assert [entry["pod"] for entry in claims["unsatisfied"]] == [f"fake-pod-{number:03}" for number in range(100)]


def test_a_reason_is_listed_once_with_at_most_five_pods(dev: Object) -> None:
    dev["nodePools"][0]["nodes"] = 9
    dev["workloads"][0] |= {"replicas": 9, "readyTimeoutSeconds": 7}
    running = [pod(f"fake-pod-{number}", "kwok-node-0", claim=f"c-{number}") for number in (7, 8)]
    claims = [claim(f"c-{number}", ("kwok-node-0", f"gpu-{number}")) for number in (7, 8)]
    refused = [pod(f"fake-pod-{number}") for number in range(7)]
    found = report(load(dev), [deployment("fake-pod", updated=9), *running, *claims, *refused])
    assert found.unexpected == [
        "workload fake-pod: 2 of 9 pods run after 7 s (kwok-dra:workloads readyTimeoutSeconds)",
        f"  pods {', '.join(f'fake-pod-{number}' for number in range(5))} and 2 more: {UNSCHEDULABLE}",
    ]


def test_devices_that_others_hold_are_not_free(topology: Topology) -> None:
    others = claim("mine", ("kwok-node-0", "gpu-0"), namespace="else")
    (pool,) = report(topology, [*node("kwok-node-0"), others]).pools
    assert (pool["allocated"], pool["free"]) == (1, 0)


def test_devices_of_a_pod_that_is_gone_are_free(topology: Topology) -> None:
    left: Any = claim("left", ("kwok-node-0", "gpu-0"))
    left["metadata"]["ownerReferences"] = [{"kind": "Pod", "uid": "uid of fake-pod-1"}]
    going = pod("fake-pod-1", node="kwok-node-0", claim="left", deletionTimestamp="2026-01-01T00:00:00Z")
    for objects in ([left], [left, going]):
        (pool,) = report(topology, [*node("kwok-node-0"), *objects]).pools
        assert (pool["allocated"], pool["free"]) == (0, 1)


def test_a_workload_of_no_replicas_runs(dev: Object) -> None:
    dev["workloads"][0]["replicas"] = 0
    assert report(load(dev), [deployment("fake-pod", updated=0)]).unexpected == []


def test_an_unfinished_rollout_is_unexpected(topology: Topology, working: list[Object]) -> None:
    working[2] = deployment("fake-pod", updated=0, generation=2)
    assert report(topology, working).unexpected == [
        "workload fake-pod: 1 of 1 pods run after 120 s (kwok-dra:workloads readyTimeoutSeconds)",
        "  but the rollout is unfinished: older pods remain, or some will be evicted from their node or device",
    ]


# Why a claim is pending.


def wanting(*requests: Object) -> list[Object]:
    """Return the dev stack's pod, refused, and its claim with these requests."""
    waiting = claim("c")
    waiting["spec"] = {"devices": {"requests": list(requests)}}
    return [pod("fake-pod-1", claim="c"), waiting]


def exactly(name: str = "any", **values: Any) -> Object:
    return {"name": "r", "exactly": {"deviceClassName": name} | values}


def selecting(*expressions: str) -> Object:
    return {"selectors": [{"cel": {"expression": expression}} for expression in expressions]}


CLASSES = [live("DeviceClass", "any"), live("DeviceClass", "none", selecting("false"))]
HELD = claim("held", ("kwok-node-0", "gpu-0"), namespace="else")


@pytest.mark.parametrize(
    ("request_", "shortage"),
    [
        (exactly(count=2), None),
        (exactly(), None),
        (exactly(count=3), "3 of any, but no node has more than 2 free of 3 that match"),
        (
            exactly(**selecting("device.driver == 'gpu.kwok.x-k8s'"), count=4),
            "4 of any, but no node has more than 2 free of 3 that match",
        ),
        (exactly(**selecting("device.driver == 'x'")), "1 of any, but no device matches"),
        (exactly("none"), "1 of none, but no device matches"),
        # A selector that fails at run time matches nothing.
        (exactly(**selecting("device.attributes['x'].y == 1")), "1 of any, but no device matches"),
        ({"name": "r", "firstAvailable": [exactly("none")["exactly"], exactly()["exactly"]]}, None),
        (
            {"name": "r", "firstAvailable": [exactly("none")["exactly"], exactly(count=3)["exactly"]]},
            "1 of none, but no device matches, or 3 of any, but no node has more than 2 free of 3 that match",
        ),
    ],
)
def test_the_reason_names_a_request_that_no_node_satisfies(
    topology: Topology, request_: Object, shortage: str | None
) -> None:
    objects = [*node("kwok-node-0", devices=3), *node("kwok-node-1"), *CLASSES, HELD, *wanting(request_)]
    (found,) = listed(topology, objects)
    assert found["reason"].startswith(f"{SHORT}; request r wants {shortage}" if shortage else f"{SHORT}; yet ")


def test_the_reason_names_each_such_request(topology: Topology) -> None:
    requests = [exactly("none") | {"name": name} for name in ("a", "b")]
    (found,) = listed(topology, [*node("kwok-node-0"), *CLASSES, *wanting(*requests, exactly())])
    assert found["reason"] == f"{SHORT}; " + "; ".join(
        f"request {name} wants 1 of none, but no device matches" for name in ("a", "b")
    )


def blocked(*devices: Object, node_name: str = "n-0", taints: list[Object] | None = None) -> list[Object]:
    """Return a node with a slice of these devices."""
    spec = {"driver": DRIVER, "nodeName": node_name, "pool": {"name": node_name}, "devices": list(devices)}
    return [live("Node", node_name, {"taints": taints or []}), live("ResourceSlice", node_name, spec)]


TAINT = {"key": "worn", "value": "yes", "effect": "NoSchedule"}
TOLERATION: Any = {"tolerations": [{"key": "worn", "operator": "Exists"}]}
ALL: Any = {"allocationMode": "All"}
WORN: list[Object] = [{"name": "gpu-0"}, {"name": "gpu-1", "taints": [TAINT]}]
SHARED: list[Object] = [
    {"name": "gpu-0", "allowMultipleAllocations": True, "capacity": {"memory": {"value": "20475Mi"}}}
]
FOUR: Any = {"capacity": {"requests": {"memory": "4Gi"}}}


def sharing(node_name: str, memory: str) -> Object:
    held = claim("held", (node_name, "gpu-0"), namespace="else")
    held["status"]["allocation"]["devices"]["results"][0]["consumedCapacity"] = {"memory": memory}
    return held


@pytest.mark.parametrize(
    ("objects", "request_", "shortage"),
    [
        (blocked(*WORN), exactly(**ALL), "all 2 of any on n-0, but gpu-1 has taint worn=yes:NoSchedule"),
        (blocked(*WORN), exactly(**ALL, **TOLERATION), None),
        (blocked(*WORN), exactly(), None),
        (
            blocked(*WORN),
            exactly(count=2),
            "2 of any, but no node has more than 1 free of 2 that match: on n-0, gpu-1 has taint worn=yes:NoSchedule",
        ),
        (blocked(*WORN), exactly(count=2, **TOLERATION), None),
        ([*blocked(*WORN[:1]), sharing("n-0", "0")], exactly(**ALL), "all 1 of any on n-0, but gpu-0 is in use"),
        ([*blocked(*SHARED), sharing("n-0", "12Gi")], exactly(**FOUR), None),
        (
            [*blocked(*SHARED), sharing("n-0", "16Gi")],
            exactly(**FOUR),
            "1 of any with memory 4Gi, but no node has more than 0 free of 1 that match: on n-0, gpu-0 has 4091Mi of "
            "memory left",
        ),
        (
            [*blocked(*SHARED), sharing("n-0", "20475Mi")],
            exactly(**ALL),
            "all 1 of any on n-0, but gpu-0 has 0 of memory left",
        ),
        (
            blocked(*SHARED),
            exactly(capacity={"requests": {"memory": "30Gi"}}),
            "1 of any with memory 30Gi, but no device matches",
        ),
    ],
)
def test_the_reason_says_what_blocks_devices(
    topology: Topology, objects: list[Object], request_: Object, shortage: str | None
) -> None:
    (found,) = listed(topology, [*objects, *CLASSES, *wanting(request_)])
    assert found["reason"].startswith(f"{SHORT}; request r wants {shortage}" if shortage else f"{SHORT}; yet ")


def test_an_error_of_the_scheduler_stands_alone(topology: Topology) -> None:
    waiting, short = wanting(exactly(count=9))
    waiting["status"]["conditions"][0]["message"] = error = 'running "DynamicResources" filter plugin: too bad'
    assert listed(topology, [*blocked({"name": "gpu-0"}), *CLASSES, waiting, short])[0]["reason"] == error


def test_a_request_gets_a_shared_device_once(topology: Topology) -> None:
    twice, each = [exactly(count=2, **FOUR)], [exactly(**FOUR) | {"name": name} for name in ("r", "s")]
    for objects in (blocked(*SHARED), [*blocked(*SHARED), sharing("n-0", "4Gi")]):
        (found,) = listed(topology, [*objects, *CLASSES, *wanting(*twice)])
        assert found["reason"].endswith("2 of any with memory 4Gi, but no node has more than 1 free of 1 that match")
        (found,) = listed(topology, [*objects, *CLASSES, *wanting(*each)])
        assert found["reason"].startswith(f"{SHORT}; yet n-0 has free devices for it")


def test_a_pool_of_which_slices_are_missing(topology: Topology) -> None:
    objects = blocked({"name": "gpu-0"}, node_name="kwok-node-0")
    objects[1]["spec"]["pool"] |= {"generation": 2, "resourceSliceCount": 2}
    found = report(topology, [*objects, *CLASSES, *wanting(exactly())])
    assert isinstance(found.claims, list)
    assert found.claims[0]["reason"].endswith("on kwok-node-0, gpu-0 is in a pool of which slices are missing")
    assert [pool["free"] for pool in found.pools] == [0]


def test_a_claim_that_is_about_to_be_deleted_still_holds_its_device(topology: Topology) -> None:
    left = of_pod("left", "gone", ("n-0", "gpu-0"), namespace="else")
    (found,) = listed(topology, [*blocked({"name": "gpu-0"}), left, *CLASSES, *wanting(exactly())])
    assert found["reason"].endswith("no node has more than 0 free of 1 that match")


def test_a_class_that_is_gone_has_no_devices(topology: Topology) -> None:
    (found,) = listed(topology, [*blocked({"name": "gpu-0"}), *wanting(exactly("gone"))])
    assert found["reason"] == f"{SHORT}; request r wants 1 of gone, but no device matches"


def test_the_nearest_node_is_the_one_whose_devices_are_counted(topology: Topology) -> None:
    objects = [*blocked({"name": "gpu-0"}), *blocked({"name": "gpu-0"}, {"name": "gpu-1"}, node_name="n-1")]
    held = claim("held", ("n-1", "gpu-0"), ("n-1", "gpu-1"), namespace="else")
    (found,) = listed(topology, [*objects, held, *CLASSES, *wanting(exactly(count=2))])
    assert found["reason"].endswith("no node has more than 1 free of 1 that match")


def test_a_derived_attribute_that_fails_does_not_exclude_a_device(topology: Topology) -> None:
    derived = {"name": "x.io/y", "expression": f"device.attributes['{DRIVER}'].missing"}
    asking = exactly(count=2, derivedAttributes=[derived])
    (found,) = listed(topology, [*blocked({"name": "gpu-0"}), *CLASSES, *wanting(asking)])
    assert found["reason"].endswith("no node has more than 1 free of 1 that match")


PAIRED: list[Object] = [
    {"name": f"gpu-{number}", "attributes": {"numa": {"int": number}, "kind": {"string": "abb"[number]}}}
    for number in range(3)
]
OF_KIND_B: Any = selecting(f"device.attributes['{DRIVER}'].kind == 'b'")


@pytest.mark.parametrize(
    ("requests", "constraint", "reason"),
    [
        ([exactly(count=2)], {"matchAttribute": f"{DRIVER}/kind"}, None),
        (
            [exactly(count=2)],
            {"matchAttribute": f"{DRIVER}/numa"},
            f"no devices that are free on n-0 meet the constraint matchAttribute {DRIVER}/numa",
        ),
        (
            [exactly(count=3)],
            {"distinctAttribute": f"{DRIVER}/kind", "requests": ["r"]},
            f"no devices that are free on n-0 meet the constraint distinctAttribute {DRIVER}/kind",
        ),
        (
            [exactly(count=2, **OF_KIND_B), exactly(count=2) | {"name": "s"}],
            {},
            "requests r and s want the same devices of n-0, or devices that exclude each other",
        ),
        # All of the devices of an alternative, one of which has a taint, are not to be had.
        (
            [
                {"name": "r", "firstAvailable": [exactly(**ALL)["exactly"], exactly(count=4, **TOLERATION)["exactly"]]},
                exactly(**OF_KIND_B) | {"name": "s"},
            ],
            {},
            "requests r and s want the same devices of n-0, or devices that exclude each other",
        ),
    ],
)
def test_the_reason_is_about_all_requests_together(
    topology: Topology, requests: list[Object], constraint: Object, reason: str | None
) -> None:
    waiting, short = wanting(*requests)
    short["spec"]["devices"]["constraints"] = [constraint] if constraint else []
    worn = {"name": "gpu-9", "taints": [TAINT]}
    (found,) = listed(topology, [*blocked(*PAIRED, worn), *CLASSES, waiting, short])
    assert found["reason"].startswith(f"{SHORT}; {reason or 'yet '}")


def test_a_constraint_on_one_alternative_does_not_exclude_another(topology: Topology) -> None:
    waiting, short = wanting({"name": "r", "firstAvailable": [exactly(count=2)["exactly"] | {"name": n} for n in "ab"]})
    short["spec"]["devices"]["constraints"] = [{"matchAttribute": f"{DRIVER}/numa", "requests": ["r/a"]}]
    (found,) = listed(topology, [*blocked(*PAIRED), *CLASSES, waiting, short])
    assert found["reason"].startswith(f"{SHORT}; yet n-0 has free devices for it")


def test_the_reason_names_the_claims_of_requests_of_one_name(topology: Topology) -> None:
    waiting, short = wanting(exactly())
    waiting["spec"]["resourceClaims"].append({"name": "other", "resourceClaimName": "other"})
    other: Any = claim("other")
    other["spec"] = short["spec"]
    (found, _) = listed(topology, [*blocked({"name": "gpu-0"}), *CLASSES, waiting, short, other])
    assert "; requests r of claim gpu0 and r of claim other want the same devices of n-0" in found["reason"]


def test_nothing_contradicts_the_scheduler_about_a_pod_of_a_group(topology: Topology) -> None:
    waiting, short = wanting(exactly())
    waiting["spec"]["schedulingGroup"] = {"podGroupName": "four"}
    (found,) = listed(topology, [*blocked({"name": "gpu-0"}), *CLASSES, waiting, short])
    assert found["reason"] == UNSCHEDULABLE


def test_the_reason_names_what_the_nearest_node_lacks(topology: Topology) -> None:
    """Each request can be satisfied, but on different nodes."""
    objects = [*blocked({"name": "gpu-0"}), *blocked({"name": "big"}, {"name": "gpu-1"}, node_name="n-1")]
    objects[1]["spec"]["driver"] = "other"
    of_other = exactly(**selecting("device.driver == 'other'")) | {"name": "s"}
    (found,) = listed(topology, [*objects, *CLASSES, *wanting(exactly(count=2), of_other)])
    assert found["reason"] == f"{SHORT}; no node can satisfy all its requests: n-0 lacks devices for r"


def test_nothing_is_said_of_what_is_not_known(topology: Topology) -> None:
    """Selectors that only Kubernetes evaluates, a node that is not ready."""
    not_ready = blocked({"name": "gpu-0"})
    not_ready[0]["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
    url = selecting("isURL('http://x')")
    for objects, request in (
        (blocked({"name": "gpu-0"}), exactly(**url)),
        (blocked(*WORN), exactly(**url, **ALL)),
        (not_ready, exactly(**ALL)),
        ([*blocked({"name": "gpu-0"}), claim("held", ("n-0", "gpu-0"))], exactly(adminAccess=True)),
    ):
        (found,) = listed(topology, [*objects, *CLASSES, *wanting(request)])
        assert found["reason"] == UNSCHEDULABLE


def test_devices_of_two_drivers_may_have_one_name(topology: Topology) -> None:
    other = live("ResourceSlice", "other", {"driver": "other", "nodeName": "n-0", "pool": {"name": "n-0"}})
    other["spec"]["devices"] = [{"name": "gpu-0"}]
    held = [claim("held", ("n-0", "gpu-0")), claim("also", ("n-0", "gpu-0"), driver="other")]
    (found,) = listed(topology, [*blocked({"name": "gpu-0"}), other, *held, *CLASSES, *wanting(exactly())])
    assert found["reason"].endswith("wants 1 of any, but no node has more than 0 free of 2 that match")


def test_a_node_is_known_by_its_name_whatever_its_labels(topology: Topology) -> None:
    objects = blocked({"name": "gpu-0"})
    objects[0]["metadata"]["labels"] = {"kubernetes.io/hostname": "host-1"}
    waiting, short = wanting(exactly(count=2))
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n-0"]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    waiting["spec"]["affinity"] = {"nodeAffinity": required}
    (found,) = listed(topology, [*objects, *CLASSES, waiting, short])
    assert found["reason"].endswith("wants 2 of any, but no node has more than 1 free of 1 that match")


def test_an_extended_resource_of_nodes_needs_no_device(topology: Topology) -> None:
    waiting = pod("fake-pod-1")
    waiting["spec"] |= {"resourceClaims": [], "containers": [{"resources": {"limits": {"example.com/gpu": "3"}}}]}
    classes = [live("DeviceClass", "any", {"extendedResourceName": "example.com/gpu"})]
    objects = node("n-0")
    objects[0]["status"]["allocatable"] = {"example.com/gpu": "4"}
    assert [found["reason"] for found in listed(topology, [*objects, *classes, waiting])] == [UNSCHEDULABLE]


def test_devices_that_do_not_fit_beside_those_in_use(topology: Topology) -> None:
    counters = [{"name": "memory", "counters": {"size": {"value": "1"}}}]
    uses = {"consumesCounters": [{"counterSet": "memory", "counters": {"size": {"value": "1"}}}]}
    objects = blocked({"name": "gpu-0"} | uses, {"name": "gpu-1"} | uses)
    objects[1]["spec"]["sharedCounters"] = counters
    held = claim("held", ("n-0", "gpu-0"), namespace="else")
    (found,) = listed(topology, [*objects, held, *CLASSES, *wanting(exactly(**ALL))])
    assert found["reason"].endswith(
        "wants all 2 of any on n-0, but gpu-0 is in use, gpu-1 does not fit beside the devices in use"
    )
    # Not even admin access to the device that is in use fits.
    (found,) = listed(topology, [*objects, held, *CLASSES, *wanting(exactly(adminAccess=True))])
    assert found["reason"].endswith("1 of any, but no node has more than 0 free of 2 that match")
    (found,) = listed(topology, [*objects, *CLASSES, *wanting(exactly(count=2))])
    assert found["reason"].endswith("; request r wants devices of n-0 that exclude each other")


def test_compatibility_groups_are_those_of_a_counter_set(topology: Topology) -> None:
    """The devices share one counter set, for which neither has a group."""
    sets = [{"name": name, "counters": {"size": {"value": "9"}}} for name in ("x", "y")]
    uses = [{"counterSet": name, "counters": {"size": {"value": "1"}}} for name in ("x", "y")]
    both = [uses[0], uses[1] | {"compatibilityGroups": ["a"]}]
    objects = blocked({"name": "gpu-0", "consumesCounters": both}, {"name": "gpu-1", "consumesCounters": uses[:1]})
    objects[1]["spec"]["sharedCounters"] = sets
    (found,) = listed(topology, [*objects, *CLASSES, *wanting(exactly(count=2))])
    assert found["reason"].startswith(f"{SHORT}; yet n-0 has free devices for it")


def test_the_reason_is_about_nodes_that_the_pod_may_run_on(topology: Topology) -> None:
    tainted = blocked({"name": "gpu-0"}, node_name="n-1", taints=[{"key": "k", "effect": "NoSchedule"}])
    objects = [*blocked({"name": "gpu-0"}), *tainted, *CLASSES, claim("held", ("n-0", "gpu-0"), namespace="else")]
    (found,) = listed(topology, [*objects, *wanting(exactly())])
    wanted = "request r wants 1 of any, but no node that the pod may run on has more than 0 free of 1 that match"
    assert found["reason"] == f"{SHORT}; {wanted}"


def test_the_reason_is_about_the_node_of_a_claim_that_is_allocated(topology: Topology) -> None:
    """The scheduler allocates the pod's other claims on the same node, or none. A pod has one reason."""
    on_n_0 = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n-0"]}]}
    other: Any = claim("other", ("n-0", "gpu-0"))
    other["status"]["allocation"]["nodeSelector"] = {"nodeSelectorTerms": [on_n_0]}
    waiting, short = wanting(exactly())
    waiting["spec"]["resourceClaims"].append({"name": "other", "resourceClaimName": "other"})
    objects = [*blocked({"name": "gpu-0"}), *blocked({"name": "gpu-0"}, node_name="n-1"), *CLASSES, other]
    reasons = {entry["name"]: entry["reason"] for entry in listed(topology, [*objects, waiting, short])}
    wanted = "request r wants 1 of any, but no node that the pod may run on has more than 0 free of 1 that match"
    assert reasons == dict.fromkeys(("c", "other"), f"{SHORT}; {wanted}")


@pytest.mark.parametrize(("times", "used"), [(("1", "1"), "any"), (("1", "2"), "none"), (("2", "1"), "any")])
def test_of_several_classes_the_newest_provides_an_extended_resource(
    topology: Topology, times: tuple[str, str], used: str
) -> None:
    waiting = pod("fake-pod-1")
    waiting["spec"] |= {"resourceClaims": [], "containers": [{"resources": {"limits": {"example.com/gpu": "3"}}}]}
    name = {"extendedResourceName": "example.com/gpu"}
    classes = [
        live("DeviceClass", "any", name, creationTimestamp=times[0]),
        live("DeviceClass", "none", selecting("false") | name, creationTimestamp=times[1]),
    ]
    (found,) = listed(topology, [*node("n-0", devices=2), *classes, waiting])
    assert f"request example.com/gpu wants 3 of {used}, but no" in found["reason"]


def test_the_reason_resolves_an_extended_resource(topology: Topology) -> None:
    waiting = pod("fake-pod-1")
    waiting["spec"] |= {"resourceClaims": [], "containers": [{"resources": {"limits": {"example.com/gpu": "3"}}}]}
    classes = [live("DeviceClass", "any", {"extendedResourceName": "example.com/gpu"})]
    (found,) = listed(topology, [*node("n-0", devices=2), *classes, waiting])
    wanted = "request example.com/gpu wants 3 of any, but no node has more than 2 free of 2 that match"
    assert found["reason"] == f"{SHORT}; {wanted}"


ALWAYS = {"restartPolicy": "Always"}


@pytest.mark.parametrize(
    ("init", "containers", "count"),
    [
        ([], [1, 2], 3),
        ([(2, {})], [], 2),
        ([(2, {})], [3], None),  # Two devices of the container serve it before.
        ([(4, {}), (3, {})], [2], 4),
        ([(2, ALWAYS)], [1], 3),
        ([(2, ALWAYS), (2, {})], [1], 4),  # The sidecar keeps its devices.
        ([(1, {}), (2, ALWAYS)], [1], 3),
    ],
)
def test_extended_resources_of_init_containers(
    topology: Topology, init: list[tuple[int, Object]], containers: list[int], count: int | None
) -> None:
    def container(amount: int) -> Object:
        return {"name": "x", "resources": {"limits": {"example.com/gpu": str(amount)}}}

    waiting = pod("fake-pod-1")
    waiting["spec"] |= {
        "resourceClaims": [],
        "initContainers": [container(amount) | more for amount, more in init],
        "containers": [{"name": "main", "resources": None}, *map(container, containers)],
    }
    classes = [live("DeviceClass", "any", {"extendedResourceName": "example.com/gpu"})]
    (found,) = listed(topology, [*node("n-0", devices=(count or 3) - (count is not None)), *classes, waiting])
    assert ("yet " if count is None else f"request example.com/gpu wants {count} of any") in found["reason"]


def test_a_pod_that_was_created_on_a_node_gets_no_devices(topology: Topology) -> None:
    (found,) = listed(topology, [pod("fake-pod-1", node="n-0", claim="c"), claim("c")])
    why = "the scheduler allocates claims only for pods that have no node yet"
    assert found["reason"] == f"its pod is on node n-0: {why}"


def test_pods_that_run_without_their_devices(topology: Topology) -> None:
    """As schedulers leave them that know nothing of claims."""
    (line, *_) = report(topology, [pod("fake-pod-1", node="n-0", claim="c"), claim("c")]).unexpected
    assert line.startswith("workload fake-pod: 0 of 1 claims are allocated and 1 pending")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (f"{UNSCHEDULABLE} still not schedulable, preemption: 0/1 nodes are available", UNSCHEDULABLE),
        (f"{UNSCHEDULABLE} preemption: 0/1 nodes are available: 1 Preemption is not helpful.", UNSCHEDULABLE),
        ("", "Unschedulable"),
    ],
)
def test_the_reason_omits_preemption(topology: Topology, message: str, reason: str) -> None:
    waiting = pod("fake-pod-1", claim="c")
    waiting["status"]["conditions"] = [
        {"type": "Ready", "status": "False", "message": "else"},
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message},
    ]
    assert listed(topology, [waiting, claim("c")])[0]["reason"] == reason


# The devices of claims.


def test_a_shared_claim_is_listed_for_each_pod_and_its_devices_count_once(topology: Topology) -> None:
    pods = [pod(f"fake-pod-{number}", node="kwok-node-0") for number in range(3)]
    for entry in pods:
        entry["spec"]["resourceClaims"] = [{"name": "gpu0", "resourceClaimName": "one"}]
    found = report(topology, [*node("kwok-node-0"), *pods, claim("one", ("kwok-node-0", "gpu-0"))])
    assert isinstance(found.claims, list)
    assert [(entry["pod"], entry["name"]) for entry in found.claims] == [(f"fake-pod-{n}", "one") for n in range(3)]
    assert found.pools == [{"name": "kwok-node", "nodes": 1, "devices": 1, "allocated": 1, "free": 0}]
    assert found.leftovers == []


def test_admin_access_leaves_a_device_free(topology: Topology) -> None:
    watching = claim("c", ("kwok-node-0", "gpu-0"))
    watching["status"]["allocation"]["devices"]["results"][0]["adminAccess"] = True
    found = report(topology, [*node("kwok-node-0"), pod("fake-pod-1", node="kwok-node-0", claim="c"), watching])
    assert isinstance(found.claims, list)
    assert found.claims[0]["devices"] == [
        {"request": "gpu", "driver": DRIVER, "pool": "kwok-node-0", "device": "gpu-0", "adminAccess": True}
    ]
    assert found.pools == [{"name": "kwok-node", "nodes": 1, "devices": 1, "allocated": 0, "free": 1}]


def test_shares_of_a_device(topology: Topology) -> None:
    sharing = claim("c", ("kwok-node-0", "gpu-0"), ("kwok-node-0", "gpu-0"))
    shares = [
        {"shareID": share, "consumedCapacity": {"memory": amount}} for share, amount in (("b", "2Gi"), ("a", "1Gi"))
    ]
    for result, share in zip(sharing["status"]["allocation"]["devices"]["results"], shares, strict=True):
        result.update(share)
    (found,) = listed(topology, [*node("kwok-node-0"), pod("fake-pod-1", node="kwok-node-0", claim="c"), sharing])
    plain = {"request": "gpu", "driver": DRIVER, "pool": "kwok-node-0", "device": "gpu-0"}
    assert found["devices"] == [plain | shares[1], plain | shares[0]]


def test_a_completed_pod_has_released_its_claim(dev: Object) -> None:
    dev["workloads"][0] |= {"kind": "Job", "replicas": 2}
    job = live("Job", "fake-pod", {"completions": 2, "parallelism": 2}, generation=1)
    owner: Object = {"ownerReferences": [{"kind": "Job", "name": "fake-pod", "uid": "uid of fake-pod"}]}
    pods: list[Any] = [
        pod(f"fake-pod-{number}", node="kwok-node-0", claim=f"c-{number}", **owner) for number in range(2)
    ]
    for entry in pods:
        entry["status"]["phase"] = "Succeeded"
    shared = claim("c-1", ("kwok-node-0", "gpu-0"))  # by a pod that still runs
    found = report(load(dev), [*node("kwok-node-0"), job, *pods, claim("c-0"), shared])
    assert isinstance(found.claims, list)
    assert [(entry["name"], entry["state"], entry["devices"], "reason" in entry) for entry in found.claims] == [
        ("", "released", [], False)
    ] * 2
    told = "2 of 2 claims allocated (2 released), 0 of 2 pods running (2 ended), 1 of 1 devices in use on 1 node"
    assert found.summary == told
    assert found.unexpected == []


def test_a_group_keeps_its_claim_when_its_pods_have_completed(topology: Topology) -> None:
    done = pod("fake-pod-1", node="kwok-node-0", claim="c")
    done["status"]["phase"] = "Succeeded"
    of_group = claim("c", ("kwok-node-0", "gpu-0"))
    of_group["metadata"]["ownerReferences"] = [{"kind": "PodGroup", "uid": "uid of fake-pod"}]
    of_group["status"]["reservedFor"] = [{"resource": "podgroups", "name": "fake-pod"}]
    found = report(topology, [*node("kwok-node-0"), done, of_group])
    assert isinstance(found.claims, list)
    (entry,) = found.claims
    assert (entry["name"], entry["state"], len(entry["devices"])) == ("c", "allocated,reserved", 1)
    assert found.pools == [{"name": "kwok-node", "nodes": 1, "devices": 1, "allocated": 1, "free": 0}]
    assert found.leftovers == []


def test_extended_resources(dev: Object) -> None:
    """The scheduler creates a claim for them, unless the node itself provides them."""
    dev["deviceClasses"][0]["extendedResourceName"] = "example.com/gpu"
    containers = [{"name": "x", "resources": {"example.com/gpu": 1}}]
    dev["workloads"] = [{"name": "fake-pod", "containers": containers}]
    made = pod("fake-pod-1", node="kwok-node-0")
    made["spec"] |= {
        "resourceClaims": [],
        "containers": [{"name": "x", "resources": {"limits": {"example.com/gpu": "1"}}}],
    }
    objects = [*node("kwok-node-0"), deployment("fake-pod", updated=1), made, claim("e", ("kwok-node-0", "gpu-0"))]
    by_itself = report(load(dev), objects)
    assert (by_itself.claims, by_itself.unexpected) == ([], [])
    made["status"]["extendedResourceClaimStatus"] = {"resourceClaimName": "e"}
    found = report(load(dev), objects)
    assert isinstance(found.claims, list)
    assert [(entry["name"], entry["state"]) for entry in found.claims] == [("e", "allocated,reserved")]
    assert found.unexpected == []


# Leftover claims.


def of_pod(name: str, owner: str, *devices: tuple[str, str], **metadata: Any) -> Object:
    """Return a claim that was created for a pod."""
    return claim(name, *devices, ownerReferences=[{"kind": "Pod", "name": owner, "uid": f"uid of {owner}"}], **metadata)


def test_claims_that_no_pod_uses(topology: Topology, working: list[Object]) -> None:
    going = pod("fake-pod-0", node="kwok-node-0", claim="used", deletionTimestamp="now")
    objects = [
        *working,
        of_pod("second", "fake-pod-1"),
        of_pod("orphan", "fake-pod-9", ("kwok-node-0", "gpu-0"), deletionTimestamp="now"),
        of_pod("elsewhere", "pod-8", namespace="else"),
        # A pod uses these, or they were not created for a pod.
        going,
        of_pod("used", "fake-pod-0"),
        of_pod("fake-pod-1-gpu0-x", "fake-pod-1"),
        claim("mine"),
        claim("shared", ownerReferences=[{"kind": "Job", "uid": "uid"}]),
    ]
    for order in (objects, objects[::-1]):
        assert report(topology, order).leftovers == [
            {"name": "orphan", "namespace": "default", "state": "deleted,allocated,reserved", "why": "its pod is gone"},
            {"name": "second", "namespace": "default", "state": "pending", "why": "duplicate"},
            {"name": "elsewhere", "namespace": "else", "state": "pending", "why": "its pod is gone"},
        ]


@pytest.mark.parametrize(("name", "why"), [("gpu0", []), ("gpu1", ["duplicate"]), (None, ["duplicate"])])
def test_a_claim_that_its_pod_does_not_name_yet(topology: Topology, name: str | None, why: list[str]) -> None:
    annotations = {"resource.kubernetes.io/pod-claim-name": name} if name else {}
    objects = [pod("fake-pod-1"), of_pod("new", "fake-pod-1", annotations=annotations)]
    assert [entry["why"] for entry in report(topology, objects).leftovers] == why


@pytest.mark.parametrize(("phase", "why"), [("Running", ["duplicate"]), ("Succeeded", [])])
def test_a_claim_that_is_created_again_for_a_completed_pod(topology: Topology, phase: str, why: list[str]) -> None:
    """Its controller deletes it, like the pod's first one."""
    ended = pod("fake-pod-1", node="kwok-node-0", claim="used")
    ended["status"]["phase"] = phase
    assert [entry["why"] for entry in report(topology, [ended, of_pod("again", "fake-pod-1")]).leftovers] == why


# What still fits.


def partition(name: str, memory: int, **attributes: str) -> Object:
    """Return a part of a GPU with this much memory, in GiB."""
    return {
        "name": name,
        "attributes": {key: {"string": value} for key, value in attributes.items()},
        "consumesCounters": [{"counterSet": "gpu-0", "counters": {"memory": {"value": f"{memory}Gi"}}}],
    }


@pytest.mark.parametrize(
    ("held", "fits"),
    [
        ([], {"gpu": 1, "small": 4, "part": 2}),
        (["gpu-0-small-0"], {"small": 3, "part": 1}),
        (["gpu-0-small-0", "gpu-0-part-1"], {"small": 1}),
        (["gpu-0"], {}),
    ],
)
def test_how_many_parts_still_fit(topology: Topology, held: list[str], fits: dict[str, int]) -> None:
    devices = [
        partition("gpu-0", 8),
        *(partition(f"gpu-0-small-{n}", 2, profile="small") for n in range(5)),
        *(partition(f"gpu-0-part-{n}", 4, profile="part") for n in range(2)),
    ]
    pool = {"driver": DRIVER, "pool": {"name": "kwok-node-0"}}
    counters = [{"name": "gpu-0", "counters": {"memory": {"value": "8Gi"}}}]
    objects = [
        live("Node", "kwok-node-0"),
        live("ResourceSlice", "counters", pool | {"sharedCounters": counters}),
        live("ResourceSlice", "devices", pool | {"devices": devices}),
        claim("held", *(("kwok-node-0", name) for name in held), namespace="else"),
    ]
    (found,) = report(topology, objects).pools
    assert found.get("fits", {}) == fits
    assert (found["devices"], found["allocated"]) == (8, len(held))


# Expectations.


@pytest.mark.parametrize(
    ("expect", "running", "pending", "unexpected"),
    [
        ({"pending": 1}, 1, 1, []),
        (
            {"allocated": 2},
            1,
            2,
            [
                "workload fake-pod: 1 of 2 pods run after 120 s (kwok-dra:workloads readyTimeoutSeconds)",
                "  but the rollout is unfinished: older pods remain, or some will be evicted from their node or device",
                f"  pods fake-pod-1, fake-pod-2: {UNSCHEDULABLE}",
            ],
        ),
        (
            {"pending": 1},
            2,
            0,
            [
                "workload fake-pod: 2 of 2 claims are allocated and 0 pending after 120 s, but it expects 1 allocated "
                "and 1 pending (kwok-dra:workloads expect, readyTimeoutSeconds)"
            ],
        ),
        (
            {"allocated": 0, "pending": 2},
            1,
            1,
            [
                "workload fake-pod: 1 of 2 claims are allocated and 1 pending after 120 s, but it expects 0 allocated "
                "and 2 pending (kwok-dra:workloads expect, readyTimeoutSeconds)",
                f"  pod fake-pod-1: {UNSCHEDULABLE}",
            ],
        ),
    ],
)
def test_expectations(dev: Object, expect: Object, running: int, pending: int, unexpected: list[str]) -> None:
    dev["nodePools"][0]["nodes"] = 2
    dev["workloads"][0] |= {"replicas": 2, "expect": expect}
    objects = [deployment("fake-pod", updated=2)]
    for number in range(running + pending):
        runs = number < running
        objects.append(pod(f"fake-pod-{number}", node="kwok-node-0" if runs else "", claim=f"c-{number}"))
        objects.append(claim(f"c-{number}", *([("kwok-node-0", "gpu-0")] if runs else [])))
    assert report(load(dev), objects).unexpected == unexpected


def test_conditions_of_devices_that_are_attached(topology: Topology, working: list[Object]) -> None:
    """Only those of the same share of the same device, sorted by name."""
    *_, held = working
    condition = {"lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "Attached", "message": ""}
    mine = {"driver": DRIVER, "pool": "kwok-node-0", "device": "gpu-0"}
    conditions = [condition | {"type": "b", "status": "False"}, condition | {"type": "a", "status": "True"}]
    held["status"]["devices"] = [
        mine | {"device": "gpu-1", "conditions": [condition | {"type": "c", "status": "True"}]},
        mine | {"shareID": "other", "conditions": [condition | {"type": "d", "status": "True"}]},
        mine | {"conditions": conditions},
    ]
    (found,) = listed(topology, working)
    assert list(found["devices"][0]["conditions"].items()) == [("a", "True"), ("b", "False")]


def test_live_taint_rules_of_others_count_too(topology: Topology, working: list[Object]) -> None:
    taint = {"key": "kwok-dra/attach-failed", "effect": "NoSchedule", "timeAdded": "2026-01-01T00:00:00Z"}
    selector = {"driver": DRIVER, "pool": "kwok-node-0", "device": "gpu-0"}
    rule = live("DeviceTaintRule", "x", {"taint": taint, "deviceSelector": selector})
    other = live("DeviceTaintRule", "y", {"taint": taint, "deviceSelector": selector | {"device": "gpu-1"}})
    found = report(topology, [*working, rule, other])
    assert found.pools[0]["tainted"] == 1
    assert listed(topology, [*working, rule])[0]["devices"][0]["taints"] == ["kwok-dra/attach-failed:NoSchedule"]


@pytest.mark.parametrize(
    ("version", "selector", "tainted"),
    [
        ("1.36.3", {}, 1),
        ("1.37.0", {}, 1),
        ("1.37.1", {}, None),
        ("1.38.0", {}, None),
        ("1.37.0", {"deviceSelector": {}}, 1),
        ("1.38.0", {"deviceSelector": {}}, 1),
    ],
)
def test_taint_rules_without_a_selector(
    dev: Object, working: list[Object], version: str, selector: Object, tainted: int | None
) -> None:
    """In older versions, a rule without a selector selects everything, like an empty one.

    https://github.com/kubernetes/dynamic-resource-allocation/blob/v0.37.0/resourceslice/tracker/tracker.go
    https://github.com/kubernetes/dynamic-resource-allocation/blob/v0.37.1/resourceslice/tracker/tracker.go
    """
    dev["cluster"]["kubeVersion"] = version
    rule = live("DeviceTaintRule", "z", {"taint": {"key": "k", "effect": "NoSchedule"}} | selector)
    assert report(load(dev), [*working, rule]).pools[0].get("tainted") == tainted


@pytest.mark.parametrize(("minor", "version"), [(36, "v1beta2"), (37, "v1")])
def test_taint_rules_are_read_only_if_the_stack_has_any(dev: Object, minor: int, version: str) -> None:
    """Other clusters may not serve them."""
    dev["cluster"] = {"name": "c", "kubeVersion": f"1.{minor}.0"}
    plain = ["Pod", "ResourceClaim", "Deployment", "ReplicaSet", "DeviceClass", "Node", "ResourceSlice"]
    assert kinds(load(dev)) == plain
    dev["deviceTaintRules"] = [{"name": "r", "taint": {"key": "k"}}]
    path = f"/apis/resource.k8s.io/{version}/devicetaintrules"
    assert kinds(load(dev)) == [*plain, f"DeviceTaintRule={path}"]
    dev["deviceTaintRules"] = []
    dev["nodePools"][0]["devices"] = [{"model": "example-gpu-attached"}]
    assert kinds(load(dev))[len(plain) :] == [f"DeviceTaintRule={path}"]


# An existing cluster.


@pytest.fixture
def existing(topology: Topology) -> Topology:
    there = Existing(kubeconfig="k", context="c", allow=True)
    return topology.model_copy(update={"cluster": topology.cluster.model_copy(update={"existing": there})})


def test_only_the_stack_s_nodes_are_read(existing: Topology, topology: Topology) -> None:
    (nodes,) = (kind for kind in kinds(existing) if kind.startswith("Node"))
    assert nodes == "Node=/api/v1/nodes?labelSelector=kwok-dra%2Ffleet%3Dkwok-dra-dev"
    assert [kind for kind in kinds(existing) if kind != nodes] == [kind for kind in kinds(topology) if kind != "Node"]


OURS = ("kwok-node-0", "gpu-0")


@pytest.mark.parametrize(
    ("left", "is_ours"),
    [
        pytest.param([of_pod("a", "fake-pod-0", OURS)], True, id="holds a device of the stack"),
        pytest.param([of_pod("a", "fake-pod-0", ("real-node", "gpu-0"))], False, id="holds another device"),
        pytest.param([of_pod("a", "fake-pod-0", OURS, driver="else")], False, id="holds another driver's device"),
        pytest.param([of_pod("a", "fake-pod-0")], False, id="holds nothing"),
        pytest.param([pod("trainer"), of_pod("a", "trainer")], True, id="of a pod of the stack, whatever its name"),
        pytest.param(
            [pod("fake-pod-x", app="fake-pod-frontend"), of_pod("a", "fake-pod-x")], False, id="of a pod of others"
        ),
    ],
)
def test_leftovers_of_others_are_not_reported(
    existing: Topology, topology: Topology, left: list[Object], is_ours: bool
) -> None:
    """A claim belongs to the owner of its pod or, when the pod is gone, to the stack whose device it holds."""
    objects = [*left, claim("shared")]
    assert [entry["name"] for entry in report(existing, objects).leftovers] == (["a"] if is_ours else [])
    assert report(topology, objects).leftovers
