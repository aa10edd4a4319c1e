"""The provisioners of nodes with their slices, and of bare pods, with an API server in memory."""

from typing import Any

import pytest

from cluster.api.api_server import RefusedError
from cluster.fleet import drift
from cluster.fleet.provisioning import (
    Drift,
    NodeProvisioner,
    PodProvisioner,
    Provisioner,
    batches,
    is_empty,
    node_digest,
    provisioners,
    remove_node,
    remove_pod,
)
from tests.unit.fake_api_server import FakeApiServer, Object, managed_by
from topology.checks.validation import load
from topology.schema.stack import NodePool, Topology

NODE = "/api/v1/nodes/gpu-0"
KINDS = {"nodes": "Node", "pods": "Pod", "resourceslices": "ResourceSlice"}
SLICES = "/apis/resource.k8s.io/v1/resourceslices"


def topology(workloads: list[Object] | None = None, **more: Any) -> Topology:
    """Return a stack of one pool with `provisioning: bulk`."""
    pool = {"name": "gpu", "nodes": 2, "gpu": "example-gpu", "provisioning": "bulk"} | more
    return load({"cluster": {"name": "x"}, "nodePools": [pool], "workloads": workloads or []})


def pool(**more: Any) -> NodePool:
    """Return that pool."""
    return topology(**more).node_pools[0]


def fleet(generation: int = 1, **more: Any) -> NodeProvisioner:
    """Return the provisioner of the pool."""
    return NodeProvisioner(pool(**more), {"gpu.example.com": generation}, minor=37)


def made(*fleets: NodeProvisioner) -> FakeApiServer:
    """Return an API server with all nodes of these provisioners, and no requests recorded."""
    api = FakeApiServer()
    for one in fleets:
        for name in one.pool.node_names():
            one.create(api, name)
    api.asked.clear()
    return api


def slice_of(api: FakeApiServer, node: str = "gpu-0") -> str:
    """Return the path of the slice of a node."""
    (path,) = (path for path, entry in api.objects.items() if entry["spec"].get("nodeName") == node)
    return path


def found(api: FakeApiServer, *wanted: Provisioner) -> list[Drift]:
    """Return the drift from what these provisioners created."""
    drifts = drift.find(wanted, api.objects.values())
    return [entry for entries in drifts.values() for entry in entries]


# Creation.


def test_a_node_and_then_its_slice() -> None:
    api = FakeApiServer()
    fleet().create(api, "gpu-0")
    node, resource_slice = api.objects.values()
    assert api.asked == ["POST /api/v1/nodes", f"POST {SLICES}"]
    assert node["status"]["capacity"]["cpu"] == "96"
    assert resource_slice["metadata"]["ownerReferences"][0]["uid"] == node["metadata"]["uid"]
    assert resource_slice["spec"]["pool"]["generation"] == 1
    assert {entry["metadata"]["managedFields"][0]["manager"] for entry in api.objects.values()} == {"kwok-dra"}


def test_slices_are_created_in_the_version_of_the_cluster() -> None:
    api = FakeApiServer()
    NodeProvisioner(pool(), {"gpu.example.com": 1}, minor=37, resource_api="v1beta1").create(api, "gpu-0")
    assert api.asked[-1] == "POST /apis/resource.k8s.io/v1beta1/resourceslices"
    assert "basic" in api.objects[slice_of(api)]["spec"]["devices"][0]


def test_a_slice_without_owner() -> None:
    api = FakeApiServer()
    NodeProvisioner(pool(gpu="kwok-l4"), {"gpu.kwok.x-k8s": 0}, minor=37).create(api, "gpu-0")
    assert "ownerReferences" not in api.objects[slice_of(api)]["metadata"]


def test_features_that_kubelets_declare() -> None:
    api = FakeApiServer()
    fleet(declaredFeatures=["B", "A"]).create(api, "gpu-0")
    assert api.objects[NODE]["status"]["declaredFeatures"] == ["A", "B"]


def test_an_interrupted_creation_is_resumed() -> None:
    api = made(fleet())
    del api.objects[slice_of(api)]
    fleet().create(api, "gpu-0")
    assert api.written == ["POST /api/v1/nodes", f"POST {SLICES}"]
    assert found(api, fleet()) == []


# Reconciliation.


def test_nothing_is_written_without_differences() -> None:
    api = made(fleet(labels={"a": "b"}))
    fleet(labels={"a": "b"}).reconcile(api, "gpu-0")
    assert api.written == []


@pytest.mark.parametrize(
    "more",
    [
        {"labels": {"team": "a"}},
        {"capacity": {"cpu": "8"}},
        {"capacity": {"example.com/widget": "8"}},
        {"taints": [{"key": "team"}]},
        {"faults": [{"nodes": [0], "notReady": True}]},
        {"declaredFeatures": ["A"]},
        {"gpusPerNode": 2},
        {"faults": [{"devices": ["gpu-0"], "taint": {"key": "broken"}}]},
    ],
)
def test_changes_are_applied_and_reverted(more: dict[str, Any]) -> None:
    """A revert leaves nothing of the change, and a second reconciliation writes nothing."""
    api = made(fleet())
    before = api.objects[NODE]
    changed = fleet(2, **more)
    assert found(api, changed)
    for wanted in (changed, fleet(3)):
        wanted.reconcile(api, "gpu-0")
        wanted.reconcile(api, "gpu-1")
        assert found(api, wanted) == []
        api.asked.clear()
        wanted.reconcile(api, "gpu-0")
        assert api.written == []
    node = api.objects[NODE]
    for field in ("uid", "labels", "annotations"):
        assert node["metadata"][field] == before["metadata"][field]
    assert node["status"] == before["status"]
    assert node["spec"].get("taints", []) == before["spec"].get("taints", [])


def test_additions_of_others_stay() -> None:
    api = made(fleet())
    taint = {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute", "timeAdded": "now"}
    api.edit(NODE, metadata={"labels": {"mine": "yes"}}, spec={"taints": [taint]})
    fleet().reconcile(api, "gpu-0")
    assert api.written == []
    fleet(taints=[{"key": "team"}]).reconcile(api, "gpu-0")
    assert api.objects[NODE]["metadata"]["labels"]["mine"] == "yes"
    assert [entry["key"] for entry in api.objects[NODE]["spec"]["taints"]] == ["team", taint["key"]]


def test_taints_of_the_pool_may_have_keys_of_kubernetes() -> None:
    wanted = fleet(taints=[{"key": "node.kubernetes.io/out-of-service"}])
    api = made(wanted)
    wanted.reconcile(api, "gpu-0")
    assert api.written == []


def test_a_ttl_annotation_that_a_controller_edits_is_no_drift() -> None:
    api = made(fleet())
    api.edit(NODE, metadata={"annotations": {"node.alpha.kubernetes.io/ttl": "60"}})
    assert found(api, fleet()) == []


def test_a_deleted_node_is_created_again() -> None:
    api = made(fleet())
    del api.objects[NODE]
    fleet().reconcile(api, "gpu-0")
    assert api.objects[slice_of(api)]["metadata"]["ownerReferences"][0]["uid"] == api.objects[NODE]["metadata"]["uid"]
    assert found(api, fleet()) == []


def test_only_surplus_slices_of_the_stack_are_deleted() -> None:
    api = made(NodeProvisioner(pool(gpu="kwok-l4"), {"gpu.kwok.x-k8s": 0}, minor=37))
    theirs = managed_by(
        "kubectl", {"kind": "ResourceSlice", "metadata": {"name": "own"}, "spec": {"nodeName": "gpu-0"}}
    )
    api.objects[f"{SLICES}/own"] = theirs
    fleet().reconcile(api, "gpu-0")
    drivers = [
        entry["spec"].get("driver") for entry in api.objects.values() if entry["spec"].get("nodeName") == "gpu-0"
    ]
    assert drivers == [None, "gpu.example.com"]


# Removal.


def test_a_node_is_deleted_with_the_slices_of_the_stack() -> None:
    api = made(fleet())
    theirs = managed_by(
        "kubectl", {"kind": "ResourceSlice", "metadata": {"name": "own"}, "spec": {"nodeName": "gpu-0"}}
    )
    api.objects[f"{SLICES}/own"] = theirs
    remove_node(api, "gpu-0", {})
    assert api.names("nodes") == ["gpu-1"]
    assert [entry["spec"]["nodeName"] for entry in api.objects.values() if "nodeName" in entry["spec"]] == [
        "gpu-1",
        "gpu-0",
    ]


def test_the_deletion_of_a_node_that_no_longer_exists() -> None:
    remove_node(FakeApiServer(), "gpu-0", {})


# Objects that are Pulumi resources.


def test_a_node_that_is_a_pulumi_resource_is_refused() -> None:
    api = made(fleet())
    api.objects[NODE] = managed_by("pulumi-kubernetes-1a2b", api.objects[NODE])
    before = dict(api.objects)
    for act in (fleet().create, fleet().reconcile):
        with pytest.raises(RefusedError) as raised:
            act(api, "gpu-0")
        assert str(raised.value) == (
            "node gpu-0 is a Pulumi resource, created with `provisioning: objects`, and Pulumi would delete it at the "
            "end of this update. Change provisioning of gpu in kwok-dra:nodePools together with its name; or remove it "
            "from the stack, run `pulumi up`, and add it again"
        )
    remove_node(api, "gpu-0", {})
    assert api.objects == before


def test_objects_of_others_are_refused() -> None:
    api = made(fleet())
    pods().create(api, "job-0")
    api.objects = {
        path: managed_by("kubectl-create", entry | {"kind": KINDS[path.split("/")[-2]]})
        for path, entry in api.objects.items()
    }
    before = dict(api.objects)
    with pytest.raises(RefusedError) as raised:
        fleet().create(api, "gpu-0")
    assert str(raised.value) == (
        "node gpu-0 already exists, and this stack did not create it. Give gpu in kwok-dra:nodePools another name, or "
        "delete the node gpu-0 if nobody needs it"
    )
    with pytest.raises(RefusedError, match="pod job-0 already exists"):
        pods().create(api, "job-0")
    remove_node(api, "gpu-0", {})
    remove_pod(api, "a", "job-0", {})
    assert api.objects == before


# Drift.


def test_unchanged_objects_have_not_drifted() -> None:
    wanted = fleet(taints=[{"key": "team"}], declaredFeatures=["A"], faults=[{"nodes": [1], "gone": True}])
    assert found(made(wanted), wanted) == []


def test_the_time_of_a_device_taint_is_no_drift() -> None:
    wanted = fleet(faults=[{"devices": ["gpu-0"], "taint": {"key": "broken"}}])
    api = made(wanted)
    for entry in api.objects.values():
        for device in entry["spec"].get("devices", []):
            device["taints"][0]["timeAdded"] = "2026-01-01T00:00:00Z"
    assert found(api, wanted) == []
    api.objects[slice_of(api)]["spec"]["devices"][0]["taints"][0]["key"] = "other"
    assert [entry.was for entry in found(api, wanted)] == ["edited"]


# Bare pods.


def pods(**more: Any) -> PodProvisioner:
    """Return the provisioner of two bare pods."""
    claims = [{"name": "gpu", "requests": [{"name": "gpu", "deviceClass": "gpu.example.com"}]}]
    job = {"name": "job", "kind": "Pod", "replicas": 2, "namespace": "a", "provisioning": "bulk", "claims": claims}
    return PodProvisioner(topology([job | more]).workloads[0])


def test_pods_are_created_and_replaced() -> None:
    api = FakeApiServer()
    pods().create(api, "job-0")
    path = "/api/v1/namespaces/a/pods/job-0"
    uid = api.objects[path]["metadata"]["uid"]
    pods().create(api, "job-0")  # an interrupted update may have created it from another spec
    second = api.objects[path]["metadata"]["uid"]
    assert second != uid
    pods().reconcile(api, "job-0")
    assert api.objects[path]["metadata"]["uid"] not in (uid, second)
    assert found(api, pods()) == [Drift("job-1", "Pod", "a/job-1", "deleted")]
    remove_pod(api, "a", "job-0", {})
    assert api.objects == {}


def test_a_pod_that_is_a_pulumi_resource_is_refused() -> None:
    api = FakeApiServer()
    pods().create(api, "job-0")
    path = "/api/v1/namespaces/a/pods/job-0"
    api.objects[path] = managed_by("pulumi-kubernetes-1a2b", api.objects[path])
    remove_pod(api, "a", "job-0", {})
    with pytest.raises(RefusedError, match=r"pod job-0 is a Pulumi resource, created with .*kwok-dra:workloads"):
        pods().create(api, "job-0")
    assert path in api.objects


# Provisioners, batches and digests.


def test_provisioners_of_pools() -> None:
    assert [type(entry) for entry in provisioners(topology(), {"gpu": {"gpu.example.com": 1}})] == [NodeProvisioner]
    assert provisioners(topology(provisioning="objects"), {}) == []


@pytest.mark.parametrize(
    ("count", "numbers"),
    [
        (0, []),
        (1, ["0-0"]),
        (1000, ["0-999"]),
        (1001, ["0-999", "1000-1000"]),
        (2500, ["0-999", "1000-1999", "2000-2499"]),
    ],
)
def test_batches(count: int, numbers: list[str]) -> None:
    assert batches(count) == numbers


def test_the_digest_of_nodes_changes_with_the_nodes() -> None:
    digest = node_digest(pool())
    for same in ({"nodes": 7}, {"gpusPerNode": 1}, {"faults": [{"nodes": [0], "devices": ["gpu-0"], "gone": True}]}):
        assert node_digest(pool(**same)) == digest
    for other in (
        {"labels": {"a": "b"}},
        {"nodesPerClique": 2},
        {"declaredFeatures": ["A"]},
        {"faults": [{"nodes": [0], "notReady": True}]},
    ):
        assert node_digest(pool(**other)) != digest
    assert node_digest(pool(nodesPerClique=2)) != node_digest(pool(nodesPerClique=1))


def test_an_empty_cluster() -> None:
    assert is_empty(FakeApiServer())
    assert not is_empty(made(fleet()))
