"""Provisioners while others change the same objects, and when the API server refuses requests."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from cluster.api.api_server import Answer, RefusedError
from cluster.fleet import provisioning
from cluster.fleet.provisioning import NodeProvisioner, PodProvisioner, is_empty, provisioners, remove_node, remove_pod
from tests.unit.fake_api_server import FakeApiServer, Object, managed_by
from topology.checks.validation import load
from topology.schema.stack import Topology

NODE, SLICES, POD = "/api/v1/nodes/gpu-0", "/apis/resource.k8s.io/v1/resourceslices", "/api/v1/namespaces/a/pods/job-0"
DRIVER = "gpu.example.com"
REFUSED = Answer(422, b'{"message": "it is invalid"}')


def topology(**more: Any) -> Topology:
    """Return a stack of a pool and a workload of pods, both with `provisioning: bulk`."""
    pool = {"name": "gpu", "nodes": 1, "gpu": "example-gpu", "provisioning": "bulk"} | more
    claims = [{"name": "gpu", "requests": [{"name": "gpu", "deviceClass": DRIVER}]}]
    job = {"name": "job", "kind": "Pod", "namespace": "a", "provisioning": "bulk", "claims": claims}
    return load({"cluster": {"name": "x"}, "nodePools": [pool], "workloads": [job]})


def fleet(**more: Any) -> NodeProvisioner:
    """Return the provisioner of the pool."""
    return NodeProvisioner(topology(**more).node_pools[0], {DRIVER: 1}, minor=37)


@pytest.fixture
def pods() -> PodProvisioner:
    """Return the provisioner of the pods."""
    return PodProvisioner(topology().workloads[0])


@pytest.fixture
def api() -> FakeApiServer:
    """Return an API server with the node."""
    found = FakeApiServer()
    fleet().create(found, "gpu-0")
    found.asked.clear()
    return found


def slice_of(api: FakeApiServer) -> str:
    """Return the path of the slice."""
    return f"{SLICES}/{api.names('resourceslices')[0]}"


def another(api: FakeApiServer, manager: str = "kwok-dra") -> str:
    """Add a second slice of the node, and return its path."""
    entry = {"kind": "ResourceSlice", "metadata": {"name": "another"}, "spec": {"nodeName": "gpu-0"}}
    api.objects[f"{SLICES}/another"] = managed_by(manager, entry)
    return f"{SLICES}/another"


# Between two requests.


def test_a_slice_that_is_deleted_before_its_patch_is_created(api: FakeApiServer) -> None:
    path = slice_of(api)
    api.objects[path]["spec"]["devices"] = []
    api.before[f"PATCH {path}"] = lambda: api.objects.pop(path)
    fleet().reconcile(api, "gpu-0")
    assert api.written == [f"PATCH {path}", f"POST {SLICES}"]
    assert api.objects[path]["spec"]["devices"]


def test_a_slice_that_is_created_before_its_creation_is_patched(api: FakeApiServer) -> None:
    path = slice_of(api)
    theirs = api.objects.pop(path) | {"spec": {"nodeName": "gpu-0"}}
    api.before[f"POST {SLICES}"] = lambda: api.objects.update({path: theirs})
    fleet().reconcile(api, "gpu-0")
    assert api.written == [f"POST {SLICES}", f"PATCH {path}"]
    assert api.objects[path]["spec"]["devices"]


def test_a_slice_that_appears_and_vanishes_is_given_up(api: FakeApiServer) -> None:
    path = slice_of(api)
    del api.objects[path]
    api.before[f"POST {SLICES}"] = lambda: Answer(409, b'{"message": "it is there already"}')
    with pytest.raises(RefusedError, match="it is there already"):
        fleet().reconcile(api, "gpu-0")
    assert api.written == [f"POST {SLICES}"] * provisioning.TRIES


def test_objects_may_vanish_before_their_deletion(api: FakeApiServer) -> None:
    surplus = another(api)
    api.before["DELETE"] = api.objects.clear
    fleet().reconcile(api, "gpu-0")
    assert api.written == [f"DELETE {surplus}"]
    fleet().create(api, "gpu-0")
    api.asked.clear()
    path = slice_of(api)
    remove_node(api, "gpu-0", {})
    assert api.written == [f"DELETE {path}", f"DELETE {NODE}"]


def test_a_pod_is_replaced_when_its_deletion_is_complete(
    api: FakeApiServer, pods: PodProvisioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provisioning, "SECONDS_BETWEEN_LOOKS", 0)
    pods.create(api, "job-0")
    left = [Answer(200, b"{}")] * 2
    api.before["DELETE"] = lambda: left.pop() if left else None
    uid = api.objects[POD]["metadata"]["uid"]
    pods.reconcile(api, "job-0")
    assert api.written[1:] == [*[f"DELETE {POD}"] * 4, f"POST {POD.removesuffix('/job-0')}"]
    assert api.objects[POD]["metadata"]["uid"] != uid


def test_a_pod_that_is_not_deleted(api: FakeApiServer, pods: PodProvisioner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provisioning, "POD_SECONDS", 0)
    pods.create(api, "job-0")
    api.before["DELETE"] = lambda: Answer(200, b"{}")
    with pytest.raises(RefusedError, match=r"^pod a/job-0 still exists 0 s after its deletion$"):
        remove_pod(api, "a", "job-0", {})


# Refusals.


@pytest.mark.parametrize(
    ("request_", "act"),
    [
        ("POST /api/v1/nodes", lambda api: fleet().create(api, "gpu-0")),
        (f"POST {SLICES}", lambda api: fleet().create(api, "gpu-1")),
        (f"POST {SLICES}", lambda api: fleet().reconcile(api, "gpu-0")),
        (f"GET {NODE}", lambda api: fleet().reconcile(api, "gpu-0")),
        (f"GET {SLICES}", lambda api: fleet().reconcile(api, "gpu-0")),
        (f"PATCH {NODE}?", lambda api: fleet(labels={"a": "b"}).reconcile(api, "gpu-0")),
        (f"PATCH {NODE}/status", lambda api: fleet(capacity={"cpu": "8"}).reconcile(api, "gpu-0")),
        (f"DELETE {SLICES}", lambda api: remove_node(api, "gpu-0", {})),
        (f"DELETE {SLICES}", lambda api: fleet().reconcile(api, "gpu-0")),
        (f"DELETE {NODE}", lambda api: remove_node(api, "gpu-0", {})),
    ],
)
def test_a_refused_request_is_an_error(api: FakeApiServer, request_: str, act: Callable[[FakeApiServer], None]) -> None:
    if request_.startswith("POST"):
        del api.objects[slice_of(api)]
    else:
        another(api)
    api.before[request_] = lambda: REFUSED
    with pytest.raises(RefusedError, match="it is invalid"):
        act(api)


@pytest.mark.parametrize("request_", ["GET", "POST", "DELETE"])
def test_a_refused_request_for_a_pod_is_an_error(api: FakeApiServer, pods: PodProvisioner, request_: str) -> None:
    pods.create(api, "job-0")
    api.before[request_] = lambda: REFUSED
    with pytest.raises(RefusedError, match="it is invalid"):
        pods.reconcile(api, "job-0")


@pytest.fixture
def forbidden(api: FakeApiServer) -> list[str]:
    """Have the API server forbid the creation of the slice, with one of these messages each time."""
    del api.objects[slice_of(api)]
    messages: list[str] = []
    api.before[f"POST {SLICES}"] = lambda: (
        Answer(403, json.dumps({"message": messages.pop(0)}).encode()) if messages else None
    )
    return messages


def test_a_new_node_that_admission_does_not_know_yet(api: FakeApiServer, forbidden: list[str]) -> None:
    forbidden += ['resourceslices "x" is forbidden: node "gpu-0" not found for device "gpu-0"'] * 2
    fleet().reconcile(api, "gpu-0")
    assert api.written == [f"POST {SLICES}"] * 3
    assert api.objects[slice_of(api)]["spec"]["nodeName"] == "gpu-0"


def test_a_slice_that_is_forbidden(api: FakeApiServer, forbidden: list[str]) -> None:
    forbidden += ["resourceslices is forbidden: not allowed", "not asked again"]
    with pytest.raises(RefusedError, match="not allowed"):
        fleet().reconcile(api, "gpu-0")
    assert forbidden == ["not asked again"]


# Edits of others.


def test_edits_of_a_slice_are_reverted(api: FakeApiServer) -> None:
    path = slice_of(api)
    before = api.objects[path]["spec"]
    api.edit(path, spec={"allNodes": True, "pool": {"generation": 7}})
    fleet().reconcile(api, "gpu-0")
    assert api.objects[path]["spec"] == before


def test_fields_that_the_api_server_drops_are_not_written_again(api: FakeApiServer) -> None:
    del api.objects[NODE]["status"]["declaredFeatures"]
    api.objects[NODE]["status"]["nodeInfo"]["machineID"] = "KWOK says"
    fleet().reconcile(api, "gpu-0")
    assert api.written == []


def test_an_annotation_that_left_the_stack_is_removed(api: FakeApiServer) -> None:
    before = dict(api.objects[NODE]["metadata"]["annotations"])
    fleet(faults=[{"nodes": [0], "notReady": True}]).reconcile(api, "gpu-0")
    assert api.objects[NODE]["metadata"]["annotations"] != before
    api.edit(NODE, metadata={"annotations": {"mine": "yes"}})
    fleet().reconcile(api, "gpu-0")
    assert api.objects[NODE]["metadata"]["annotations"] == before | {"mine": "yes"}


# Provisioners and empty clusters.


def test_pods_are_provisioned_after_nodes() -> None:
    assert [type(entry) for entry in provisioners(topology(), {"gpu": {DRIVER: 1}})] == [
        NodeProvisioner,
        PodProvisioner,
    ]


@pytest.mark.parametrize("path", [NODE, f"{SLICES}/s", POD])
def test_a_cluster_with_any_object_is_not_empty(path: str) -> None:
    entry: Object = {"metadata": {}, "spec": {}}
    assert not is_empty(FakeApiServer({path: entry}))


# Several fleets in one existing cluster.


def of_fleet(name: str) -> NodeProvisioner:
    """Return the provisioner of the pool in the fleet `name`."""
    return fleet(labels={"kwok-dra/fleet": name})


def pods_of_fleet(name: str) -> PodProvisioner:
    """Return the provisioner of the pods in the fleet `name`."""
    return PodProvisioner(topology().workloads[0].amended(node_selector={"kwok-dra/fleet": name}))


def mark(name: str) -> dict[str, str]:
    return {"kwok-dra/fleet": name}


def test_every_object_has_the_label_of_its_fleet() -> None:
    api = FakeApiServer()
    of_fleet("mine").create(api, "gpu-0")
    pods_of_fleet("mine").create(api, "job-0")
    assert len(api.objects) == 3
    for entry in api.objects.values():
        assert entry["metadata"]["labels"]["kwok-dra/fleet"] == "mine"


@pytest.mark.parametrize("theirs", ["nodes", "resourceslices"])
def test_nodes_and_slices_of_another_fleet_are_not_touched(theirs: str) -> None:
    api = FakeApiServer()
    of_fleet("theirs").create(api, "gpu-0")
    api.objects = {path: entry for path, entry in api.objects.items() if f"/{theirs}/" in path}
    before = json.dumps(api.objects)
    with pytest.raises(RefusedError, match="already exists, and this stack did not create it"):
        of_fleet("mine").create(api, "gpu-0")
    assert json.dumps({path: api.objects[path] for path in json.loads(before)}) == before
    remove_node(api, "gpu-0", mark("mine"))
    assert json.loads(before).keys() <= api.objects.keys()
    remove_node(api, "gpu-0", mark("theirs"))
    assert not json.loads(before).keys() & api.objects.keys()


def test_pods_of_another_fleet_are_not_touched() -> None:
    api = FakeApiServer()
    pods_of_fleet("theirs").create(api, "job-0")
    before = json.dumps(api.objects)
    with pytest.raises(RefusedError, match="pod job-0 already exists, and this stack did not create it"):
        pods_of_fleet("mine").create(api, "job-0")
    remove_pod(api, "a", "job-0", mark("mine"))
    assert json.dumps(api.objects) == before
    remove_pod(api, "a", "job-0", mark("theirs"))
    assert api.objects == {}
