"""Changes of the configuration: each updates in place or replaces as it must, and the cluster really has it afterwards.

The tests of this file build on each other, in their order.
"""

from collections.abc import Callable

import pytest

from tests.e2e.project import Project

COMMAND = "command:local:Command kwok-dra-dev"
DEPLOYMENT = "kubernetes:apps/v1:Deployment fake-pod"
NODE = "kubernetes:core/v1:Node kwok-node-0"
GENERATION = "command:local:Command kwok-node-gpu.kwok.x-k8s"
REMOVALS = "command:local:Command removals"
TEMPLATE = "kubernetes:resource.k8s.io/v1:ResourceClaimTemplate single-gpu"


@pytest.fixture(scope="module")
def project(new_project: Callable[[], Project]) -> Project:
    """Return a project whose stack is up."""
    project = new_project()
    project.up()
    return project


@pytest.fixture(autouse=True)
def second_up_changes_nothing(project: Project) -> None:
    """Begin each test with a stack that is settled: as the one before, which ended with an update, has left it."""
    project.up("--expect-no-changes")


def pods(project: Project) -> dict[str, str]:
    """Return the pods and the version of each that the API server has."""
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in project.get("pods")}


def allocated(project: Project) -> list[str]:
    """Return the devices that the claims in the cluster hold."""
    results = [
        claim["status"]["allocation"]["devices"]["results"]
        for claim in project.get("resourceclaims")
        if claim.get("status", {}).get("allocation")
    ]
    return sorted(f"{result['pool']}/{result['device']}" for devices in results for result in devices)


def devices(project: Project) -> list[str]:
    """Return the names of all devices in the cluster's slices."""
    return sorted(device["name"] for entry in project.get("resourceslices") for device in entry["spec"]["devices"])


def generations(project: Project) -> list[int]:
    """Return the generation of the pool of each slice."""
    return [entry["spec"]["pool"]["generation"] for entry in project.get("resourceslices")]


def test_a_change_of_pods_replaces_them_where_every_device_is_in_use(project: Project) -> None:
    """A rolling update would wait for the device of the pod whose place the new one is to take."""
    before = pods(project)
    with project.configuration() as config:
        config["workloads"][0]["tolerations"] = [{"key": "example.com/any", "operator": "Exists"}]
    assert project.planned() == {DEPLOYMENT: "replace"}
    project.up()
    assert allocated(project) == ["kwok-node-0/gpu-0"]
    assert not before.keys() & pods(project).keys()


def test_more_gpus_per_node_update_the_slice(project: Project) -> None:
    assert generations(project) == [0]
    with project.configuration() as config:
        config["nodePools"][0]["gpusPerNode"] = 4
    planned = project.planned()
    assert planned.pop(GENERATION) == "update"
    (operation,) = planned.items()
    assert operation[0].startswith("kubernetes:resource.k8s.io/v1:ResourceSlice") and operation[1] == "update"
    project.up()
    assert generations(project) == [1]
    assert devices(project) == ["gpu-0", "gpu-1", "gpu-2", "gpu-3"]
    assert project.outputs()["pools"] == [{"name": "kwok-node", "nodes": 1, "devices": 4, "allocated": 1, "free": 3}]


def test_replicas_update_the_deployment(project: Project) -> None:
    before = pods(project)
    with project.configuration() as config:
        config["workloads"][0]["replicas"] = 3
    assert project.planned() == {DEPLOYMENT: "update"}
    project.up()
    assert before.items() <= pods(project).items()
    assert len(allocated(project)) == 3
    assert [claim["state"] for claim in project.outputs()["claims"]] == ["allocated,reserved"] * 3


def test_fewer_replicas_release_devices(project: Project) -> None:
    with project.configuration() as config:
        config["workloads"][0]["replicas"] = 1
    project.up()
    assert len(project.outputs()["claims"]) == 1
    assert project.outputs()["pools"][0]["free"] == 3


def test_node_capacity_replaces_the_node(project: Project) -> None:
    with project.configuration() as config:
        config["nodePools"][0]["capacity"] = {"cpu": 48}
    assert project.planned() == {NODE: "replace"}
    project.up()
    (node,) = project.get("nodes")
    assert node["status"]["capacity"]["cpu"] == node["status"]["allocatable"]["cpu"] == "48"
    assert node["status"]["capacity"]["memory"] == "1T"
    assert project.outputs()["claims"][0]["node"] == "kwok-node-0"


def test_gpu_model_updates_the_slice(project: Project) -> None:
    with project.configuration() as config:
        config["nodePools"][0]["gpu"] = {
            "driver": "gpu.kwok.x-k8s",
            "sliceName": "{node}.internal-gpu.kwok.{suffix}",
            "attributes": {"productName": {"string": "Kwok H100"}, "index": {"int": "{index}"}},
            "capacity": {"memory": "80Gi"},
            "node": {"capacity": {"kwok.x-k8s.io/gpu": 8}, "taints": [{"key": "kwok.x-k8s.io/node", "value": "fake"}]},
        }
    planned = project.planned()
    assert planned.pop(GENERATION) == "update"
    (operation,) = planned.items()
    assert operation[0].startswith("kubernetes:resource.k8s.io/v1:ResourceSlice") and operation[1] == "update"
    project.up()
    assert generations(project) == [2]
    (resource_slice,) = project.get("resourceslices")
    assert resource_slice["spec"]["devices"][3] == {
        "name": "gpu-3",
        "attributes": {"productName": {"string": "Kwok H100"}, "index": {"int": 3}},
        "capacity": {"memory": {"value": "80Gi"}},
    }


def test_driver_roll_updates_the_slice_under_running_pods(project: Project) -> None:
    before = pods(project)
    with project.configuration() as config:
        config["nodePools"][0]["attributes"] = {"driverVersion": {"version": "580.95.5"}}
    project.up()
    (resource_slice,) = project.get("resourceslices")
    assert resource_slice["spec"]["pool"] == {"name": "kwok-node-0", "generation": 3, "resourceSliceCount": 1}
    assert {device["attributes"]["driverVersion"]["version"] for device in resource_slice["spec"]["devices"]} == {
        "580.95.5"
    }
    assert pods(project) == before


def test_many_gpus_per_node_are_split_into_slices(project: Project) -> None:
    with project.configuration() as config:
        config["nodePools"][0]["gpusPerNode"] = 200
    project.up()
    pool = {"name": "kwok-node-0", "generation": 4, "resourceSliceCount": 2}
    assert [entry["spec"]["pool"] for entry in project.get("resourceslices")] == [pool, pool]
    assert project.outputs()["pools"][0]["devices"] == 200
    with project.configuration() as config:
        config["nodePools"][0]["gpusPerNode"] = 4
    project.up()
    assert len(project.get("resourceslices")) == 1
    assert generations(project) == [5]


def test_driver_replaces_the_slice(project: Project) -> None:
    with project.configuration() as config:
        config["nodePools"][0]["gpu"]["driver"] = "gpu.example.com"
        config["deviceClasses"][0]["selectors"] = ["device.driver == 'gpu.example.com'"]
        config["workloads"][0]["replicas"] = 0
    slices = [operation for name, operation in project.planned().items() if "ResourceSlice" in name]
    assert sorted(slices) == ["create", "delete"]  # a slice's name depends on its driver, as real drivers' do
    project.up()
    with project.configuration() as config:
        config["workloads"][0]["replicas"] = 1
    project.up()
    assert project.outputs()["claims"][0]["devices"][0]["driver"] == "gpu.example.com"


def test_claim_requests_replace_template_and_pods(project: Project) -> None:
    before = pods(project)
    with project.configuration() as config:
        config["workloads"][0]["claims"][0]["requests"][0] |= {
            "count": 2,
            "selectors": ["device.attributes['gpu.example.com'].index >= 2"],
        }
    assert project.planned() == {TEMPLATE: "replace", DEPLOYMENT: "replace"}
    project.up()
    assert not before.keys() & pods(project).keys()
    assert allocated(project) == ["kwok-node-0/gpu-2", "kwok-node-0/gpu-3"]
    assert [device["device"] for device in project.outputs()["claims"][0]["devices"]] == ["gpu-2", "gpu-3"]


def test_a_second_pool_comes_and_goes(project: Project) -> None:
    with project.configuration() as config:
        config["nodePools"].append({"name": "more", "nodes": 2, "gpu": "kwok-l4", "gpusPerNode": 8})
    planned = project.planned()
    assert planned.pop(REMOVALS) == "update"
    assert set(planned.values()) == {"create"}
    project.up()
    assert {node["metadata"]["name"] for node in project.get("nodes")} == {"kwok-node-0", "more-0", "more-1"}
    assert [(pool["name"], pool["devices"]) for pool in project.outputs()["pools"]] == [("kwok-node", 4), ("more", 16)]
    with project.configuration() as config:
        config["nodePools"].pop()
    project.up()
    assert len(project.get("nodes")) == len(project.get("resourceslices")) == 1


def fabric_slices(project: Project) -> list[tuple[dict[str, object], int]]:
    """Return the pool of each slice without a node, and how many devices it has."""
    specs = [entry["spec"] for entry in project.get("resourceslices") if "nodeName" not in entry["spec"]]
    return sorted(((spec["pool"], len(spec["devices"])) for spec in specs), key=lambda entry: -entry[1])


def test_a_fabric_pool_comes_shrinks_and_goes(project: Project) -> None:
    model = {"driver": "gpu.example.com", "attributes": {"index": {"int": "{index}"}}}
    with project.configuration() as config:
        config["fabricPools"] = [{"name": "fabric", "allNodes": True, "devices": [{"model": model, "count": 130}]}]
        claims = [{"name": "gpu", "requests": config["workloads"][0]["claims"][0]["requests"]}]
        config["workloads"].append({"name": "further", "claims": claims})
    project.up()
    pool = {"name": "fabric", "generation": 1, "resourceSliceCount": 2}
    assert fabric_slices(project) == [(pool, 128), (pool, 2)]
    held = [f"{pool}/gpu-{index}" for pool in ("fabric", "kwok-node-0") for index in (2, 3)]
    assert allocated(project) == held
    with project.configuration() as config:
        config["fabricPools"][0] |= {"allNodes": False, "nodeSelector": {"type": "kwok"}}
        config["fabricPools"][0]["devices"][0]["count"] = 4
    project.up()
    assert fabric_slices(project) == [(pool | {"generation": 2, "resourceSliceCount": 1}, 4)]
    assert allocated(project) == held
    with project.configuration() as config:
        del config["fabricPools"], config["workloads"][1]
    project.up()
    assert fabric_slices(project) == []
    assert allocated(project) == held[2:]


def test_a_time_limit_changes_nothing_in_the_cluster(project: Project) -> None:
    pids = project.pids()
    with project.configuration() as config:
        config["cluster"]["readyTimeoutSeconds"] = 200
    assert project.planned()[COMMAND] == "update"
    assert "1 updated" in project.up()
    assert project.pids() == pids


def test_cluster_flags_replace_the_cluster_and_all_in_it(project: Project) -> None:
    pids = project.pids()
    with project.configuration() as config:
        config["cluster"]["kubeRuntimeConfig"]["resource.k8s.io/v1beta2"] = True
    planned = project.planned()
    assert planned.pop("pulumi:providers:kubernetes kwok-dra-dev") == "update"
    assert COMMAND in planned
    assert set(planned.values()) == {"replace"}
    project.up()
    assert not set(pids.values()) & set(project.pids().values())
    assert "resource.k8s.io/v1beta2" in project.run("kubectl", "api-versions").stdout
    assert allocated(project) == ["kwok-node-0/gpu-2", "kwok-node-0/gpu-3"]


def test_cluster_version_replaces_the_cluster(project: Project) -> None:
    with project.configuration() as config:
        config["cluster"]["kubeVersion"] = "1.36.3"
    assert project.planned()[COMMAND] == "replace"
    project.up()
    assert project.kubectl("get", "--raw", "/version")["gitVersion"] == "v1.36.3"
    assert allocated(project) == ["kwok-node-0/gpu-2", "kwok-node-0/gpu-3"]


def test_cluster_name_moves_the_cluster(project: Project) -> None:
    with project.configuration() as config:
        config["cluster"] |= {"name": "moved", "kubeVersion": "1.37.2"}
    project.up()
    assert [folder.name for folder in project.clusters.iterdir()] == ["moved"]
    assert project.outputs()["clusterName"] == "moved"
    assert project.run("kubectl", "config", "get-contexts", "--output", "name").stdout.split() == ["kwok-moved"]
    assert allocated(project) == ["kwok-node-0/gpu-2", "kwok-node-0/gpu-3"]


def test_drift_is_seen_by_refresh_and_healed(project: Project) -> None:
    project.run("kubectl", "delete", "resourceslices", "--all")
    assert "1 deleted" in project.run("pulumi", "refresh", "--yes").stdout
    assert list(project.planned().values()) == ["create"]
    project.up()
    assert len(devices(project)) == 4
