"""Pools and bare pods with `provisioning: bulk`: the same objects as one by one, changed in place and healed.

The tests of `fleet` build on each other, in their order.
"""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster.api.api_server import NODES, ApiServer
from tests.e2e.project import Project, kill, session, wait_until

Object = dict[str, Any]

STACK = "example-driver"
CLASS = "gpu.example.com"
SET_BY_THE_SERVER = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid")

# 36 nodes: with taints, faults, MIG, several drivers, slices without owners, declared features and cliques.
POOLS: list[Object] = [
    {"name": "plain", "nodes": 12, "gpu": "h100", "gpusPerNode": 8, "nodesPerClique": 4},
    {
        "name": "broken",
        "nodes": 8,
        "gpu": "h100",
        "gpusPerNode": 8,
        "labels": {"team": "a"},
        "taints": [{"key": "team", "value": "a"}],
        "faults": [
            {"nodes": [0], "devices": ["gpu-1"], "taint": {"key": "example.com/broken", "effect": "NoExecute"}},
            {"nodes": [1], "devices": ["gpu-2"], "gone": True},
            {"nodes": [2], "gone": True},
            {"nodes": [3], "notReady": True},
        ],
    },
    {"name": "cut", "nodes": 2, "gpu": "a100-40gb", "gpusPerNode": 2, "mig": "dynamic"},
    {
        "name": "several",
        "nodes": 6,
        "gpu": "h100",
        "gpusPerNode": 8,
        "devices": [{"model": "connectx-7", "count": 8}, {"model": "dra-cpu-112", "count": 2}],
    },
    {"name": "page", "nodes": 4, "gpu": "kwok-l4"},
    {"name": "declared", "nodes": 4, "gpu": "example-gpu", "declaredFeatures": ["DRAOptionalNodeOperations"]},
]


def provisioned(provisioning: str) -> list[Object]:
    """Return the pools with that provisioning."""
    return [pool | {"provisioning": provisioning} for pool in POOLS]


def stored(project: Project) -> dict[str, Object]:
    """Return nodes and slices as the cluster has them, without what the server and KWOK have set."""
    uids = {node["metadata"]["uid"]: node["metadata"]["name"] for node in project.get("nodes")}
    found = {}
    for entry in [*project.get("nodes"), *project.get("resourceslices")]:
        metadata = {key: value for key, value in entry["metadata"].items() if key not in SET_BY_THE_SERVER}
        for owner in metadata.get("ownerReferences", []):
            owner["uid"] = uids[owner["uid"]]
        annotations = metadata.get("annotations", {}).items()
        metadata["annotations"] = {key: value for key, value in annotations if not key.startswith("pulumi.com/")}
        for condition in entry.get("status", {}).get("conditions", []):
            condition.pop("lastHeartbeatTime")
            condition.pop("lastTransitionTime")
        entry.get("status", {}).pop("daemonEndpoints", None)  # KWOK's port, another one in each cluster
        devices = entry["spec"].get("devices", [])
        for taint in [taint for tainted in (entry["spec"], *devices) for taint in tainted.get("taints", [])]:
            taint.pop("timeAdded", None)
        found[f"{entry['kind']} {metadata['name']}"] = entry | {"metadata": metadata}
    return found


def ready(project: Project) -> Callable[[], bool]:
    """Return a function that tells whether all nodes have said how they are, and the controllers have seen it."""

    def all_told() -> bool:
        nodes = project.get("nodes")
        statuses = {
            node["metadata"]["name"]: {entry["type"]: entry["status"] for entry in node["status"].get("conditions", [])}
            for node in nodes
        }
        taints = [taint["key"] for node in nodes for taint in node["spec"].get("taints", [])]
        wanted = {name: "False" if name == "broken-3" else "True" for name in statuses}
        not_ready = [taint for taint in taints if taint.startswith("node.kubernetes.io/not-ready")]
        return {name: status.get("Ready") for name, status in statuses.items()} == wanted and len(not_ready) == 2

    return all_told


def test_the_same_objects_and_answers_as_one_by_one(new_project: Callable[[str], Project]) -> None:
    found, outputs = {}, {}
    for provisioning in ("objects", "bulk"):
        project = new_project(STACK)
        with project.configuration(STACK) as config:
            config["nodePools"] = provisioned(provisioning)
            claims = [{"name": "gpu", "requests": [{"name": "gpu", "deviceClass": "gpu.nvidia.com"}]}]
            node = {"kubernetes.io/hostname": "plain-0"}  # where the scheduler is not free, it decides the same
            config["workloads"] = [{"name": "all", "replicas": 5, "claims": claims, "nodeSelector": node}]
        project.up()
        wait_until(ready(project))
        found[provisioning] = stored(project)
        outputs[provisioning] = {key: project.outputs()[key] for key in ("pools", "drift", "leftovers", "summary")}
        project.up("--expect-no-changes")
        project.destroy()
    assert len([key for key in found["bulk"] if key.startswith("Node ")]) == 35  # one is gone, as a fault says
    assert json.dumps(found["bulk"], sort_keys=True) == json.dumps(found["objects"], sort_keys=True)
    assert outputs["bulk"] == outputs["objects"]


# One pool and what becomes of it.


@pytest.fixture(scope="module")
def fleet(new_project: Callable[[str], Project]) -> Project:
    return new_project(STACK)


def configure(project: Project, *pools: Object, workloads: list[Object] | None = None) -> None:
    """Give the stack just these pools, and these workloads."""
    with project.configuration(STACK) as config:
        config["nodePools"] = [{"provisioning": "bulk"} | pool for pool in pools]
        config["workloads"] = workloads or []


def pool(nodes: int, **more: Any) -> Object:
    """Return a pool of example GPUs."""
    return {"name": "gpu", "nodes": nodes, "gpu": "example-gpu", "gpusPerNode": 2} | more


def workload(replicas: int, **more: Any) -> Object:
    """Return a workload of pods with a GPU each."""
    claims = [{"name": "gpu", "requests": [{"name": "gpu", "deviceClass": CLASS}]}]
    return {"name": "job", "replicas": replicas, "claims": claims} | more


def names(project: Project, kind: str) -> list[str]:
    """Return the names of all objects of a kind."""
    return sorted(entry["metadata"]["name"] for entry in project.get(kind))


def versions(project: Project) -> dict[str, str]:
    """Return which slice of which version there is; nodes have another one with every heartbeat."""
    slices = {
        entry["metadata"]["name"]: entry["metadata"]["resourceVersion"] for entry in project.get("resourceslices")
    }
    return slices | {node["metadata"]["name"]: node["metadata"]["uid"] for node in project.get("nodes")}


def devices(project: Project) -> dict[str, set[str]]:
    """Return the values of the devices' attribute `driverVersion`, by node."""
    return {
        entry["spec"]["nodeName"]: {
            device["attributes"]["driverVersion"]["version"] for device in entry["spec"]["devices"]
        }
        for entry in project.get("resourceslices")
    }


def test_few_resources_whose_inputs_are_what_is_configured(fleet: Project) -> None:
    configure(fleet, pool(6))
    fleet.up()
    assert names(fleet, "nodes") == [f"gpu-{index}" for index in range(6)]
    assert len(names(fleet, "resourceslices")) == 6
    assert not [kind for kind in fleet.resources() if kind.endswith((":Node", ":ResourceSlice"))]
    configure(fleet, pool(8))
    shown = fleet.run("pulumi", "preview", "--diff").stdout
    assert "~ nodes       : 6 => 8" in shown
    assert '~ KWOK_DRA_NODES: "0-5" => "0-7"' in shown


def test_growing_and_shrinking_touch_the_nodes_concerned(fleet: Project) -> None:
    before = versions(fleet)
    configure(fleet, pool(8))
    fleet.up()
    grown = versions(fleet)
    assert len(grown) == 16
    assert before.items() <= grown.items()
    configure(fleet, pool(5))
    fleet.up()
    assert versions(fleet) == {name: version for name, version in grown.items() if int(name.split("-")[1]) < 5}
    fleet.up("--expect-no-changes")


def test_another_driver_in_place(fleet: Project) -> None:
    configure(fleet, pool(5), workloads=[workload(10)])
    fleet.up()
    held = fleet.outputs()["claims"]
    configure(fleet, pool(5, attributes={"driverVersion": {"version": "9.9.9"}}), workloads=[workload(10)])
    fleet.up()
    assert devices(fleet) == {f"gpu-{index}": {"9.9.9"} for index in range(5)}
    assert {entry["spec"]["pool"]["generation"] for entry in fleet.get("resourceslices")} == {2}
    assert fleet.outputs()["claims"] == held
    fleet.up("--expect-no-changes")


def test_faults_labels_and_capacity_in_place(fleet: Project) -> None:
    before = {node["metadata"]["name"]: node["metadata"]["uid"] for node in fleet.get("nodes")}
    faults = [{"nodes": [4], "gone": True}, {"nodes": [0], "devices": ["gpu-0"], "gone": True}]
    configure(fleet, pool(5, labels={"team": "a"}, capacity={"cpu": "8"}, faults=faults))
    fleet.up()
    nodes = {node["metadata"]["name"]: node for node in fleet.get("nodes")}
    assert {name: node["metadata"]["uid"] for name, node in nodes.items()} == {
        name: uid for name, uid in before.items() if name != "gpu-4"
    }
    assert {node["metadata"]["labels"].get("team") for node in nodes.values()} == {"a"}
    assert {node["status"]["allocatable"]["cpu"] for node in nodes.values()} == {"8"}
    (pool_entry,) = fleet.outputs()["pools"]
    assert (pool_entry["nodes"], pool_entry["devices"]) == (4, 7)
    configure(fleet, pool(5))
    fleet.up()
    assert not [node for node in fleet.get("nodes") if "team" in node["metadata"]["labels"]]
    assert fleet.outputs()["pools"][0]["devices"] == 10
    fleet.up("--expect-no-changes")


def test_what_others_do_is_found_and_put_right(fleet: Project) -> None:
    slices = {entry["spec"]["nodeName"]: entry["metadata"]["name"] for entry in fleet.get("resourceslices")}
    before = stored(fleet)
    fleet.run("kubectl", "delete", "node", "gpu-1")
    fleet.run("kubectl", "delete", "resourceslice", slices["gpu-2"])
    fleet.run("kubectl", "label", "node", "gpu-3", "type=real", "--overwrite")
    fleet.run("kubectl", "label", "node", "gpu-4", "mine=yes")
    patch = '[{"op": "remove", "path": "/spec/devices/0"}]'
    fleet.run("kubectl", "patch", "resourceslice", slices["gpu-0"], "--type", "json", "--patch", patch)
    wait_until(lambda: slices["gpu-1"] not in names(fleet, "resourceslices"))
    drift = [
        {"kind": "Node", "name": "gpu-1", "was": "deleted"},
        {"kind": "Node", "name": "gpu-3", "was": "edited"},
        {"kind": "ResourceSlice", "name": slices["gpu-0"], "was": "edited"},
        {"kind": "ResourceSlice", "name": slices["gpu-1"], "was": "deleted"},
        {"kind": "ResourceSlice", "name": slices["gpu-2"], "was": "deleted"},
    ]
    assert "5 objects to be put right" in fleet.run("pulumi", "preview").stdout
    assert "gpu-1" not in names(fleet, "nodes")
    fleet.up("--expect-no-changes")
    outputs = fleet.outputs()
    assert sorted(outputs["drift"], key=lambda entry: (entry["kind"], entry["name"])) == drift
    assert outputs["summary"].endswith("5 objects put right")
    before["Node gpu-4"]["metadata"]["labels"]["mine"] = "yes"
    wait_until(lambda: stored(fleet).keys() == before.keys() and stored(fleet)["Node gpu-1"] == before["Node gpu-1"])
    assert stored(fleet) == before
    fleet.up("--expect-no-changes")
    assert fleet.outputs()["drift"] == []


def test_a_pool_that_goes_takes_its_own_objects_with_it(fleet: Project) -> None:
    slices = names(fleet, "resourceslices")
    configure(fleet, pool(5), {"name": "page", "nodes": 2, "gpu": "kwok-l4"})
    fleet.up()
    manifest = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceSlice",
        "metadata": {"name": "own"},
        "spec": {
            "driver": "own.example.com",
            "nodeName": "page-0",
            "pool": {"name": "own", "generation": 1, "resourceSliceCount": 1},
            "devices": [{"name": "d"}],
        },
    }
    file = fleet.folder / "own.json"
    file.write_text(json.dumps(manifest))
    fleet.run("kubectl", "create", "--filename", str(file))
    configure(fleet, pool(5))
    fleet.up()
    assert names(fleet, "nodes") == [f"gpu-{index}" for index in range(5)]
    assert names(fleet, "resourceslices") == sorted([*slices, "own"])
    fleet.run("kubectl", "delete", "resourceslice", "own")


def test_from_one_provisioning_to_the_other(fleet: Project) -> None:
    before = versions(fleet)
    configure(fleet, pool(5, provisioning="objects"))
    fleet.up()
    assert {name for name in versions(fleet)} == set(before)
    assert fleet.resources().count("kubernetes:core/v1:Node") == 5
    fleet.up("--expect-no-changes")
    configure(fleet, pool(5))
    said = fleet.fails()
    assert "is a Pulumi resource, created with `provisioning: objects`" in said
    assert "together with its name" in said
    configure(fleet, pool(5, provisioning="objects"))
    fleet.up()
    assert set(versions(fleet)) == set(before)


def test_bare_pods(fleet: Project) -> None:
    bulk = {"kind": "Pod", "provisioning": "bulk"}
    configure(fleet, pool(5), workloads=[workload(4, **bulk)])
    with fleet.configuration(STACK) as config:
        config["nodePools"] = [pool(5, provisioning="objects")]
    fleet.up()
    uids = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in fleet.get("pods")}
    assert list(uids) == ["job-0", "job-1", "job-2", "job-3"]
    with fleet.configuration(STACK) as config:
        config["workloads"] = [workload(6, **bulk)]
    fleet.up()
    grown = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in fleet.get("pods")}
    assert len(grown) == 6 and uids.items() <= grown.items()
    fleet.run("kubectl", "delete", "pod", "job-2")
    fleet.up("--expect-no-changes")
    assert fleet.outputs()["drift"] == [{"kind": "Pod", "name": "default/job-2", "was": "deleted"}]
    with fleet.configuration(STACK) as config:
        two = [{"name": "gpu", "requests": [{"name": "gpu", "deviceClass": CLASS, "count": 2}]}]
        config["workloads"] = [workload(3, **bulk) | {"claims": two}]
    fleet.up()
    assert [len(claim["devices"]) for claim in fleet.outputs()["claims"]] == [2, 2, 2]
    fleet.destroy()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_update_that_is_interrupted_is_completed_by_the_next(
    new_project: Callable[[str], Project], number: signal.Signals
) -> None:
    project = new_project(STACK)
    configure(project)
    project.up()
    configure(project, pool(600))
    api = ApiServer(Path(project.outputs()["kubeconfigPath"]))
    with project.started("pulumi", "up", "--yes", "--skip-preview") as update:
        wait_until(lambda: len(api.get(f"{NODES}?limit=51").checked().object["items"]) > 50)
        kill(update.pid, number)
        update.wait()
        wait_until(lambda: number == signal.SIGKILL or session(update.pid) == [])
    api.close()
    assert 50 < len(names(project, "nodes")) < 600
    project.run("pulumi", "cancel", "--yes", check=False)
    project.up()
    (entry,) = project.outputs()["pools"]
    assert (entry["nodes"], entry["devices"]) == (600, 1200)
    project.up("--expect-no-changes")
    project.destroy()


def test_more_than_one_batch(new_project: Callable[[str], Project]) -> None:
    """A claim on the last node; the second batch shrinks to nothing."""
    project = new_project(STACK)
    selector = {"kubernetes.io/hostname": "gpu-1049"}
    configure(project, pool(1050), workloads=[workload(1, nodeSelector=selector)])
    project.up()
    assert fleet_batches(project) == 2
    assert [claim["node"] for claim in project.outputs()["claims"]] == ["gpu-1049"]
    (entry,) = project.outputs()["pools"]
    assert (entry["nodes"], entry["devices"], entry["free"]) == (1050, 2100, 2099)
    wait_until(lambda: all(is_ready(node) for node in project.get("nodes")))
    project.up("--expect-no-changes")
    configure(project, pool(1000))
    project.up()
    assert fleet_batches(project) == 1
    assert len(names(project, "nodes")) == len(names(project, "resourceslices")) == 1000
    project.destroy()


def fleet_batches(project: Project) -> int:
    """Return how many batches of nodes there are in the state."""
    state = json.loads(project.run("pulumi", "stack", "export").stdout)
    return len([entry for entry in state["deployment"]["resources"] if "::gpu-batch-" in entry["urn"]])


def is_ready(node: Object) -> bool:
    """Tell whether a node says that it is ready."""
    return ("Ready", "True") in {(entry["type"], entry["status"]) for entry in node["status"].get("conditions", [])}
