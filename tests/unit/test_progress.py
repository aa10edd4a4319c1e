"""How far a workload has come, told from live objects as kubectl prints them."""

from typing import Any

import pytest

from topology.progress import FIT, Expected, Standing, Unfit, claim_names, pods_of, standing

Object = dict[str, Any]

REFUSED = {"type": "PodScheduled", "status": "False"}
SCHEDULED = {"type": "PodScheduled", "status": "True"}
CONTAINERS = [{"name": "x"}]
ASKING = [{"name": "x"}, {"name": "y", "resources": {"limits": {"cpu": "1", "example.com/gpu": "2"}}}]


def live(kind: str, name: str, **values: Any) -> Object:
    """Return an object of the namespace `n`."""
    metadata = {"name": name, "namespace": "n", "uid": f"uid of {name}", "generation": 1} | values.pop("metadata", {})
    return {"kind": kind, "metadata": metadata, "spec": {}, "status": {}} | values


def pod(name: str, phase: str = "Running", *claims: str, **values: Any) -> Object:
    """Return a pod of the workload `job` whose claims, called by numbers, are the given ones."""
    statuses = [{"name": str(place), "resourceClaimName": claim} for place, claim in enumerate(claims) if claim]
    entries = [{"name": str(place), "resourceClaimTemplateName": "t"} for place in range(len(claims))]
    place = {} if phase == "Pending" else {"nodeName": "node-0"}
    metadata = {"labels": {"app": "job"}} | values.pop("metadata", {})
    status = {"phase": phase, "resourceClaimStatuses": statuses} | values.pop("status", {})
    spec = {"containers": CONTAINERS, "resourceClaims": entries} | place | values
    return live("Pod", name, metadata=metadata, spec=spec, status=status)


def refused(name: str, *claims: str, **values: Any) -> Object:
    """Return a pod that the scheduler has found no place for."""
    return pod(name, "Pending", *claims, status={"conditions": [REFUSED]}, **values)


def claim(name: str, *devices: str, **result: Any) -> Object:
    """Return a claim, which is allocated if it has devices."""
    results = [{"driver": "d", "pool": "node-0", "device": device} | result for device in devices]
    return live("ResourceClaim", name, status={"allocation": {"devices": {"results": results}}} if devices else {})


def reserved(name: str, pod: str) -> Object:
    """Return an allocated claim that a pod uses."""
    found = claim(name, "gpu-0")
    found["status"]["reservedFor"] = [{"resource": "pods", "name": pod, "uid": f"uid of {pod}"}]
    return found


def deployment(updated: int = 1, generation: int = 1, observed: int | None = 1) -> Object:
    """Return the deployment of the workload."""
    status = {"observedGeneration": observed, "updatedReplicas": updated} if observed else {}
    return live("Deployment", "job", metadata={"generation": generation}, status=status)


def owned(uid: str) -> Object:
    """Return the metadata of a pod that a job has made."""
    return {"ownerReferences": [{"kind": "Job", "uid": uid}]}


def expected(kind: str = "Deployment", pods: int = 1, allocated: int = 1, pending: int = 0) -> Expected:
    return Expected("job", "n", kind, pods, allocated, pending, 5)


HELD = claim("c", "gpu-0")
FREE = claim("c")


@pytest.mark.parametrize(
    ("objects", "allocated", "pending", "settled"),
    [
        ([], 0, 0, True),
        ([pod("a", "Running", "c"), HELD], 1, 0, True),
        # Claims are not made yet, or not seen yet.
        ([pod("a", "Pending", "")], 0, 1, False),
        ([pod("a", "Pending", "c")], 0, 1, False),
        ([pod("a", "Pending", "c"), FREE], 0, 1, False),
        ([pod("a", "Pending", "c", status={"conditions": [SCHEDULED]}), FREE], 0, 1, False),
        ([refused("a", "c"), FREE], 0, 1, True),
        # What it was refused for is there now, or its node is about to start it.
        ([refused("a", "c"), HELD], 1, 0, False),
        ([refused("a", "c", "d"), HELD, claim("d")], 1, 1, True),
        ([pod("a", "Pending", "c"), HELD], 1, 0, False),
        # Who has run to the end needs its claims no more.
        ([pod("a", "Succeeded", "c")], 1, 0, True),
        ([pod("a", "Succeeded", "c"), FREE], 1, 0, True),
        # On their way out.
        ([pod("a", "Failed", "c"), FREE], 0, 0, True),
        ([pod("a", "Running", "c", metadata={"deletionTimestamp": "now"}), HELD], 0, 0, True),
        # Not ours.
        ([pod("a", "Pending", "c", metadata={"namespace": "else"}), FREE], 0, 0, True),
        ([pod("a", "Pending", "c", metadata={"labels": {"app": "else"}}), FREE], 0, 0, True),
        ([pod("a", "Running", "c"), HELD | {"metadata": {"name": "c", "namespace": "else"}}], 0, 1, True),
    ],
)
def test_pods_and_their_claims(objects: list[Object], allocated: int, pending: int, settled: bool) -> None:
    found = standing(expected("Pod"), objects)
    assert found == Standing(len(pods_of("job", "n", objects)), allocated, pending, settled)


@pytest.mark.parametrize(
    ("found", "meets"),
    [
        (Standing(2, 1, 1, True), True),
        (Standing(2, 1, 1, False), False),
        (Standing(3, 1, 1, True), False),
        (Standing(2, 2, 0, True), False),
        (Standing(2, 1, 2, True), False),
    ],
)
def test_what_meets_an_expectation(found: Standing, meets: bool) -> None:
    assert found.meets(expected(pods=2, allocated=1, pending=1)) == meets


@pytest.mark.parametrize(
    ("kind", "controllers", "pods", "settled"),
    [
        ("Deployment", [], [], False),
        ("Deployment", [deployment(0, observed=None)], [], False),
        ("Deployment", [deployment(0)], [], True),
        ("Deployment", [deployment(1)], [pod("a")], True),
        # What the status says is about the deployment as it was before the update.
        ("Deployment", [deployment(1, generation=2)], [pod("a")], False),
        ("Deployment", [deployment(1, generation=2, observed=2)], [pod("a")], True),
        # A pod of an older version is there still.
        ("Deployment", [deployment(1)], [pod("a"), pod("b")], False),
        ("Deployment", [deployment(0)], [pod("a")], False),
        ("Deployment", [deployment(1) | {"kind": "Job"}], [pod("a")], False),
        ("Deployment", [live("Deployment", "else", status={"observedGeneration": 1})], [], False),
        ("Job", [], [], False),
        ("Job", [live("Job", "job")], [], True),
        ("Job", [live("Job", "job")], [pod("a", "Succeeded", metadata=owned("uid of job"))], True),
        # It is to run to its end, and its claim to be given back.
        ("Job", [live("Job", "job")], [pod("a", metadata=owned("uid of job"))], False),
        (
            "Job",
            [live("Job", "job"), reserved("c", "a")],
            [pod("a", "Succeeded", "c", metadata=owned("uid of job"))],
            False,
        ),
        (
            "Job",
            [live("Job", "job"), reserved("c", "b")],
            [pod("a", "Succeeded", "c", metadata=owned("uid of job"))],
            True,
        ),
        ("Job", [live("Job", "job")], [refused("a", "c", metadata=owned("uid of job"))], True),
        # A replaced job leaves pods behind for a while.
        (
            "Job",
            [live("Job", "job")],
            [pod("a", "Succeeded", metadata=owned("uid of job")), pod("b", "Succeeded", metadata=owned("x"))],
            False,
        ),
        ("Job", [live("Job", "job")], [pod("a", "Succeeded")], False),
        ("Pod", [], [pod("a")], True),
    ],
)
def test_when_a_controller_is_done(kind: str, controllers: list[Object], pods: list[Object], settled: bool) -> None:
    assert standing(expected(kind), [*pods, *controllers]).settled == settled


MADE = {"extendedResourceClaimStatus": {"resourceClaimName": "e"}}


@pytest.mark.parametrize(
    ("found", "names", "allocated", "pending"),
    [
        (pod("a", "Pending", containers=ASKING), {"extended resources": ""}, 0, 1),
        (pod("a", "Pending", containers=ASKING, status=MADE), {"extended resources": "e"}, 0, 1),
        (pod("a", "Running", "c", containers=ASKING, status=MADE), {"0": "", "extended resources": "e"}, 1, 1),
        (pod("a", "Succeeded", containers=ASKING, status=MADE), {"extended resources": "e"}, 1, 0),
        # The node has them by itself: then there is no claim.
        (pod("a", "Running", containers=ASKING), {"extended resources": ""}, 1, 0),
        (pod("a", "Running", containers=[{"name": "x", "resources": {"limits": {"cpu": "1"}}}]), {}, 0, 0),
        (pod("a", "Running", containers=[{"name": "x", "resources": {}}]), {}, 0, 0),
    ],
)
def test_extended_resources(found: Object, names: dict[str, str], allocated: int, pending: int) -> None:
    assert claim_names(found).keys() == names.keys()
    assert claim_names(found).get("extended resources") == names.get("extended resources")
    where = standing(expected("Pod"), [found, HELD])
    assert (where.allocated, where.pending) == (allocated, pending)


def test_claims_that_the_pod_names_itself() -> None:
    shared = pod("a", resourceClaims=[{"name": "x", "resourceClaimName": "c"}])
    assert claim_names(shared) == {"x": "c"}
    other = shared | {"metadata": shared["metadata"] | {"name": "b"}}
    assert standing(expected("Pod"), [shared, other, HELD]) == Standing(2, 2, 0, True)


def tolerating(seconds: int | None, **values: Any) -> Object:
    """Return a toleration of a node that is not ready."""
    time = {} if seconds is None else {"tolerationSeconds": seconds}
    key = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}
    return key | time | values


@pytest.mark.parametrize(
    ("tolerations", "settled"),
    [
        ([], False),
        ([tolerating(4)], False),
        ([tolerating(5)], True),
        ([tolerating(300)], True),
        ([tolerating(None)], True),
        # The first one that is about it counts.
        ([tolerating(4), tolerating(None)], False),
        ([tolerating(4, key="else"), tolerating(None)], True),
        ([tolerating(4, effect="NoSchedule"), tolerating(None)], True),
        ([tolerating(4, operator="Equal", value="x"), tolerating(None)], True),
        ([tolerating(4, operator="Equal"), tolerating(None)], False),
        ([{"operator": "Exists"}], True),
    ],
)
def test_pods_on_a_node_that_is_not_ready(tolerations: list[Object], settled: bool) -> None:
    """They are awaited if they will be evicted within the time that there is: 5 s."""
    objects = [pod("a", "Running", "c", tolerations=tolerations), HELD]
    assert standing(expected("Pod"), objects, Unfit(not_ready=["node-0"])).settled == settled
    assert standing(expected("Pod"), objects, Unfit(not_ready=["node-1"])).settled


@pytest.mark.parametrize(
    ("unfit", "result", "settled"),
    [
        (FIT, {}, True),
        (Unfit(nodes=["node-1"]), {}, True),
        (Unfit(nodes=["node-0"]), {}, False),
        (Unfit(devices=[("", "", "", "broken", "")]), {}, False),
        (Unfit(devices=[("d", "node-0", "gpu-0", "broken", "")]), {}, False),
        (Unfit(devices=[("e", "", "", "broken", "")]), {}, True),
        (Unfit(devices=[("", "node-1", "", "broken", "")]), {}, True),
        (Unfit(devices=[("", "", "gpu-1", "broken", "")]), {}, True),
        (Unfit(devices=[("", "", "", "broken", "")]), {"tolerations": [{"operator": "Exists"}]}, True),
        (Unfit(devices=[("", "", "", "broken", "x")]), {"tolerations": [{"key": "broken", "value": "x"}]}, True),
        (Unfit(devices=[("", "", "", "broken", "x")]), {"tolerations": [{"key": "broken", "value": "y"}]}, False),
        (
            Unfit(devices=[("", "", "", "broken", "")]),
            {"tolerations": [{"operator": "Exists", "tolerationSeconds": 5}]},
            False,
        ),
    ],
)
def test_pods_that_cannot_stay(unfit: Unfit, result: Object, settled: bool) -> None:
    objects = [pod("a", "Running", "c"), claim("c", "gpu-0", **result)]
    assert standing(expected("Pod"), objects, unfit).settled == settled
