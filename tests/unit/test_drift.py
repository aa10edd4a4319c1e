"""The drift of nodes, slices and pods with `provisioning: bulk`: how it is found, listed and repaired."""

from collections.abc import Iterable
from typing import Any

import pytest

from cluster.api.api_server import Answer, RefusedError
from cluster.fleet import drift
from cluster.fleet.drift import Drifts
from cluster.fleet.provisioning import NodeProvisioner, PodProvisioner, Provisioner
from tests.unit.fake_api_server import FakeApiServer, Object
from topology.checks.validation import load
from topology.schema.stack import Topology

NODES, SLICES, PODS = "/api/v1/nodes", "/apis/resource.k8s.io/v1/resourceslices", "/api/v1/namespaces/default/pods"
DRIVER = "gpu.example.com"


def topology(**more: Any) -> Topology:
    """Return a stack of two pools and a workload of pods, all with `provisioning: bulk`."""
    pools = [{"name": name, "nodes": 2, "gpu": "example-gpu", "provisioning": "bulk"} | more for name in ("b", "a")]
    claims = [{"name": "gpu", "requests": [{"name": "gpu", "deviceClass": DRIVER}]}]
    job = {"name": "job", "kind": "Pod", "replicas": 2, "provisioning": "bulk", "claims": claims}
    return load({"cluster": {"name": "x"}, "nodePools": pools, "workloads": [job]})


def provisioners(**more: Any) -> list[Provisioner]:
    """Return the provisioners of that stack."""
    found = topology(**more)
    fleets = [NodeProvisioner(pool, {DRIVER: 1}, minor=37) for pool in found.node_pools]
    return [*fleets, *(PodProvisioner(workload) for workload in found.workloads)]


def made(wanted: Iterable[Provisioner]) -> FakeApiServer:
    """Return an API server with all objects of the provisioners, and no requests recorded."""
    api = FakeApiServer()
    for provisioner in wanted:
        for name in (
            provisioner.pool.node_names()
            if isinstance(provisioner, NodeProvisioner)
            else provisioner.workload.pod_names()
        ):
            provisioner.create(api, name)
    api.asked.clear()
    return api


def found(api: FakeApiServer, **more: Any) -> Drifts:
    """Return the drift of the objects, in the form in which `snapshot` reads them."""
    live = [
        entry | {"metadata": {key: value for key, value in entry["metadata"].items() if key != "managedFields"}}
        for entry in api.objects.values()
    ]
    return drift.find(provisioners(**more), live)


def slice_of(api: FakeApiServer, node: str) -> str:
    """Return the name of the slice of a node."""
    (name,) = (entry["metadata"]["name"] for entry in api.objects.values() if entry["spec"].get("nodeName") == node)
    return str(name)


def entry(kind: str, name: str, was: str) -> dict[str, str]:
    """Return an entry of the stack's output."""
    return {"kind": kind, "name": name, "was": was}


def test_deleted_and_edited_objects_are_listed_by_node_and_pod() -> None:
    api = made(provisioners())
    first, second = slice_of(api, "a-0"), slice_of(api, "b-1")
    del api.objects[f"{NODES}/a-1"], api.objects[f"{SLICES}/{second}"], api.objects[f"{PODS}/job-1"]
    api.edit(f"{NODES}/b-1", metadata={"labels": {"type": "real"}})
    api.edit(f"{SLICES}/{first}", spec={"devices": []})
    assert drift.listed(found(api)) == [
        entry("ResourceSlice", first, "edited"),
        entry("Node", "a-1", "deleted"),
        entry("ResourceSlice", slice_of(api, "a-1"), "edited"),  # its owner no longer exists
        entry("Node", "b-1", "edited"),
        entry("ResourceSlice", second, "deleted"),
        entry("Pod", "default/job-1", "deleted"),
    ]


@pytest.mark.parametrize(
    "parts",
    [
        {"metadata": {"labels": {"type": None}}},
        {"metadata": {"annotations": {"kwok.x-k8s.io/node": "real"}}},
        {"spec": {"taints": [{"key": "mine", "effect": "NoSchedule"}]}},
    ],
)
def test_an_edited_node(parts: dict[str, Any]) -> None:
    api = made(provisioners())
    api.edit(f"{NODES}/a-0", **parts)
    assert drift.listed(found(api)) == [entry("Node", "a-0", "edited")]


@pytest.mark.parametrize(
    "status",
    [
        {"capacity": {"cpu": "1"}},
        {"allocatable": {"cpu": None}},
        {"capacity": {"example.com/mine": "1"}},
        {"nodeInfo": {"architecture": "arm64"}},
        {"declaredFeatures": ["Mine"]},
    ],
)
def test_an_edited_node_status(status: dict[str, Any]) -> None:
    api = made(provisioners())
    api.edit(f"{NODES}/a-0/status", status=status)
    assert drift.listed(found(api)) == [entry("Node", "a-0", "edited")]


def test_an_edited_owner_of_a_slice() -> None:
    api = made(provisioners())
    name = slice_of(api, "a-0")
    api.edit(f"{SLICES}/{name}", metadata={"ownerReferences": None})
    assert drift.listed(found(api)) == [entry("ResourceSlice", name, "edited")]


def test_additions_by_kubernetes_kwok_and_users_are_no_drift() -> None:
    taints = [{"key": "team", "effect": "PreferNoSchedule"}]
    api = made(provisioners(taints=taints))
    at = "2026-01-01T00:00:00Z"
    lifecycle = {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute", "timeAdded": at}
    ours = taints[0] | {"timeAdded": at}
    metadata = {"labels": {"mine": "yes"}, "annotations": {"mine": "yes"}, "resourceVersion": "9"}
    api.edit(f"{NODES}/a-0", metadata=metadata, spec={"taints": [lifecycle, ours], "podCIDR": "10.0.0.0/24"})
    status = {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"machineID": "1"}}
    api.edit(f"{NODES}/a-0/status", status=status | {"declaredFeatures": None})
    api.edit(f"{SLICES}/{slice_of(api, 'a-0')}", metadata={"labels": {"mine": "yes"}, "generation": 2})
    assert drift.listed(found(api, taints=taints)) == []


def test_objects_of_others_are_no_drift() -> None:
    api = made(provisioners())
    own = {"driver": "own.example.com", "nodeName": "a-0", "pool": {"name": "own"}}
    others: dict[str, Object] = {
        f"{NODES}/a-2": {"kind": "Node", "metadata": {"name": "a-2"}, "spec": {}, "status": {}},
        f"{SLICES}/own": {"kind": "ResourceSlice", "metadata": {"name": "own"}, "spec": own},
        "/api/v1/namespaces/x/pods/job-0": {"kind": "Pod", "metadata": {"name": "job-0", "namespace": "x"}, "spec": {}},
    }
    api.objects |= others
    assert drift.listed(found(api)) == []
    del api.objects[f"{PODS}/job-0"]
    assert drift.listed(found(api)) == [entry("Pod", "default/job-0", "deleted")]


def test_each_node_is_repaired_once_and_other_nodes_are_not_touched() -> None:
    api = made(provisioners())
    del api.objects[f"{NODES}/a-0"], api.objects[f"{SLICES}/{slice_of(api, 'a-0')}"], api.objects[f"{PODS}/job-1"]
    name = slice_of(api, "b-1")
    api.edit(f"{SLICES}/{name}", spec={"devices": []})
    assert drift.heal(api, found(api))
    reads = [f"GET {NODES}/a-0", f"GET {NODES}/b-1"]
    assert sorted(line for line in api.asked if line.startswith(f"GET {NODES}")) == reads
    writes = {f"POST {NODES}", f"POST {SLICES}", f"PATCH {SLICES}/{name}", f"DELETE {PODS}/job-1", f"POST {PODS}"}
    assert sorted(api.written) == sorted(writes)
    assert drift.listed(found(api)) == []


def test_without_drift_there_are_no_requests() -> None:
    api = made(provisioners())
    assert not drift.heal(api, found(api))
    assert api.asked == []


def test_a_refused_repair_is_an_error() -> None:
    api = made(provisioners())
    api.edit(f"{NODES}/a-0", metadata={"labels": {"type": "real"}})
    api.before["PATCH"] = lambda: Answer(403, b'{"message": "you may not"}')
    with pytest.raises(RefusedError, match="you may not"):
        drift.heal(api, found(api))
