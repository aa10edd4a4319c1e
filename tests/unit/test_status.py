"""The stack's answer, from live objects as kubectl prints them."""

import random
from typing import Any

import pytest

from topology.configuration import Topology
from topology.status import report
from topology.validation import load

Object = dict[str, Any]
DRIVER = "gpu.kwok.x-k8s"
UNSCHEDULABLE = "0/1 nodes are available: 1 cannot allocate all claims."


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


def pod(name: str, node: str = "", app: str = "fake-pod", claim: str | None = None, **metadata: str) -> Object:
    """Return a pod that uses `claim` as its `gpu0`; it runs if it has a node, else the scheduler has refused it."""
    conditions = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": UNSCHEDULABLE}]
    status: Object = {"phase": "Running"} if node else {"phase": "Pending", "conditions": conditions}
    if claim:
        status["resourceClaimStatuses"] = [{"name": "gpu0", "resourceClaimName": claim}]
    spec = {"resourceClaims": [{"name": "gpu0", "resourceClaimTemplateName": "single-gpu"}]}
    return live("Pod", name, spec | ({"nodeName": node} if node else {}), status, labels={"app": app}, **metadata)


def claim(name: str, *devices: tuple[str, str], driver: str = DRIVER, **metadata: str) -> Object:
    """Return a claim, allocated and reserved if it has `devices`: pool and name."""
    results = [{"request": "gpu", "driver": driver, "pool": pool, "device": device} for pool, device in devices]
    allocated = {"allocation": {"devices": {"results": results}}, "reservedFor": [{"name": "a pod"}]}
    return live("ResourceClaim", name, {}, allocated if devices else {}, **metadata)


def deployment(name: str, available: int, generation: int = 1, observed: int = 1) -> Object:
    """Return a deployment, whose controller has `observed` that generation of it."""
    return live(
        "Deployment",
        name,
        status={"observedGeneration": observed, "availableReplicas": available},
        generation=generation,
    )


@pytest.fixture
def topology(dev: Object) -> Topology:
    return load(dev)


@pytest.fixture
def working() -> list[Object]:
    """The dev stack as it should be."""
    return [
        *node("kwok-node-0"),
        deployment("fake-pod", available=1),
        pod("fake-pod-1", node="kwok-node-0", claim="fake-pod-1-gpu0-x"),
        claim("fake-pod-1-gpu0-x", ("kwok-node-0", "gpu-0")),
    ]


@pytest.fixture
def pending() -> list[Object]:
    """The dev stack whose pod cannot be scheduled."""
    return [
        *node("kwok-node-0"),
        deployment("fake-pod", available=0),
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
    assert found.summary == "1 of 1 claims allocated, 1 of 1 pods running, 1 of 1 devices in use on 1 nodes"
    assert found.not_running == []


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
    assert found.pools == [{"name": "kwok-node", "nodes": 1, "devices": 1, "allocated": 0, "free": 1}]
    assert found.summary == "0 of 1 claims allocated, 0 of 1 pods running, 0 of 1 devices in use on 1 nodes"
    assert found.not_running == [
        "workload fake-pod: 0 of 1 pods run after 120 s (kwok-dra:workloads readyTimeoutSeconds)",
        f"  pod fake-pod-1: {UNSCHEDULABLE}",
    ]


def test_a_claim_that_is_not_made_yet(topology: Topology) -> None:
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


def test_without_pods_there_is_nothing_to_tell(topology: Topology) -> None:
    """But that the workload does not run."""
    found = report(topology, [])
    assert found.claims == []
    assert found.summary == "0 of 0 claims allocated, 0 of 0 pods running, 0 of 0 devices in use on 0 nodes"
    assert [line.split(" pods")[0] for line in found.not_running] == ["workload fake-pod: 0 of 1"]


@pytest.mark.parametrize(
    "ignored",
    [
        pytest.param([pod("fake-pod-2", node="kwok-node-0", claim="d", deletionTimestamp="now")], id="terminating"),
        pytest.param([pod("else-1", app="else", claim="d"), claim("d")], id="other people's pod"),
        pytest.param([live("Pod", "bare", {"resourceClaims": [{"name": "x"}]}, {})], id="pod without labels"),
        pytest.param([live("Pod", "plain", labels={"app": "fake-pod"})], id="pod without claims"),
        pytest.param([claim("fake-pod-1-gpu0-y")], id="duplicate claim that no pod uses"),
        pytest.param([claim("fake-pod-1-gpu0-x", namespace="else")], id="namesake in another namespace"),
        pytest.param(node("else-0"), id="other people's node"),
        pytest.param(node("kwok-node-1"), id="node of another size of the pool"),
        pytest.param([live("ConfigMap", "x")], id="another kind"),
    ],
)
def test_what_does_not_count(topology: Topology, working: list[Object], ignored: list[Object]) -> None:
    assert report(topology, [*working, *ignored]) == report(topology, [*ignored, *working]) == report(topology, working)


def test_pools_count_the_devices_of_their_driver(dev: Object) -> None:
    """A node may carry several drivers' slices, and a driver several slices per node."""
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


def test_a_node_that_is_gone_has_no_devices(topology: Topology, working: list[Object]) -> None:
    """The slice of a deleted node may stay for a while."""
    gone = [entry for entry in working if entry["kind"] != "Node"]
    assert report(topology, gone).pools == [{"name": "kwok-node", "nodes": 0, "devices": 0, "allocated": 0, "free": 0}]


def test_the_order_of_live_objects_does_not_matter(dev: Object) -> None:
    """A second `pulumi up` shows no change, in whatever order the API server lists the objects."""
    names = ("job-a", "job-b")
    claims = dev["workloads"][0]["claims"]
    dev["workloads"] = [{"name": name, "claims": [claims[0] | {"template": name}]} for name in names]
    objects = [entry for number in range(3) for entry in node(f"kwok-node-{number}")]
    for name in names:
        objects += [deployment(name, available=1)]
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


def test_at_most_five_reasons_are_told(dev: Object) -> None:
    dev["workloads"][0] |= {"replicas": 9, "readyTimeoutSeconds": 7}
    found = report(
        load(dev), [deployment("fake-pod", available=2), *(pod(f"fake-pod-{number}") for number in range(7))]
    )
    assert found.not_running == [
        "workload fake-pod: 2 of 9 pods run after 7 s (kwok-dra:workloads readyTimeoutSeconds)",
        *(f"  pod fake-pod-{number}: {UNSCHEDULABLE}" for number in range(5)),
    ]


@pytest.mark.parametrize(
    ("available", "generation", "observed", "running"),
    [
        (1, 2, 2, True),
        (3, 1, 1, True),
        (0, 1, 1, False),
        # What the status says is about the deployment as it was before the update.
        (1, 2, 1, False),
    ],
)
def test_when_a_workload_runs(
    topology: Topology, available: int, generation: int, observed: int, running: bool
) -> None:
    not_running = report(topology, [deployment("fake-pod", available, generation, observed)]).not_running
    assert bool(not_running) is not running


@pytest.mark.parametrize(
    "stranger",
    [
        pytest.param(pod("fake-pod-9", node="kwok-node-0", claim="c", namespace="else"), id="pod of the same label"),
        pytest.param(live("Deployment", "fake-pod", namespace="else", generation=1), id="deployment of the same name"),
    ],
)
def test_other_namespaces_are_not_ours(topology: Topology, working: list[Object], stranger: Object) -> None:
    alone = report(topology, working)
    assert report(topology, [*working, stranger]) == report(topology, [stranger, *working]) == alone


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


def test_a_deployment_that_nobody_has_looked_at_yet(topology: Topology) -> None:
    assert report(topology, [live("Deployment", "fake-pod", generation=1)]).not_running


def test_a_workload_of_no_replicas_runs(dev: Object) -> None:
    dev["workloads"][0]["replicas"] = 0
    assert report(load(dev), []).not_running == []
