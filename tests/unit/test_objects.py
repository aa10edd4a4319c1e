"""The Kubernetes objects of a topology, the dev stack's compared with the page it reproduces."""

import copy
import re
from typing import Any

import pytest

from tests.seed_page import manifests
from topology import objects
from topology.configuration import Topology
from topology.objects import Manifest
from topology.validation import load

Configuration = dict[str, Any]
SUFFIX = re.compile(r"[a-z0-9]+$")  # of a ResourceSlice's name; random on the page


@pytest.fixture
def bigger(dev: Configuration) -> Topology:
    """Two nodes with two devices each, and a claim with two requests."""
    gpu = {
        "driver": "gpu.example.com",
        "deviceName": "dev{index}",
        "attributes": {
            "index": {"int": "{index}"},
            "generation": {"int": 3},
            "uuid": {"string": "{node}/{index}"},
            "healthy": {"bool": False},
            "gpu.example.com/driver": {"version": "1.2.3"},
        },
        "capacity": {"memory": "80Gi", "cores": 132},
        "nodeCapacity": {"example.com/gpu": 2, "cpu": 8},
    }
    requests = [
        {"name": "one", "deviceClass": "kwok.x-k8s.io"},
        {"name": "more", "deviceClass": "kwok.x-k8s.io", "count": 3, "selectors": ["true", "1 == 1"]},
    ]
    dev["nodePools"] = [{"name": "big", "nodes": 2, "gpusPerNode": 2, "gpu": gpu, "capacity": {"cpu": 4, "pods": "7"}}]
    dev["workloads"] = [{"name": "job", "replicas": 3, "claims": [{"name": "a", "requests": requests}]}]
    return load(dev)


def rendered(topology: Topology) -> list[Manifest]:
    """Render everything, in the order of the page."""
    pools = [(pool, name) for pool in topology.node_pools for name in pool.node_names()]
    return [
        *(objects.device_class(device_class) for device_class in topology.device_classes),
        *(objects.node(*node) for node in pools),
        *(objects.resource_slice(*node) for node in pools),
        *(
            objects.resource_claim_template(workload, claim)
            for workload in topology.workloads
            for claim in workload.claims
        ),
        *(objects.deployment(workload) for workload in topology.workloads),
    ]


def as_v1(manifest: Manifest) -> Manifest:
    """Convert an object of the page as the API server would: v1beta1 to v1, with the defaults and without empty values.

    https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/ and
    https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/apis/resource/v1beta1/conversion.go
    """
    manifest = copy.deepcopy(manifest)
    if manifest["apiVersion"] == "resource.k8s.io/v1beta1":
        manifest["apiVersion"] = "resource.k8s.io/v1"
    spec = manifest["spec"]
    match manifest["kind"]:
        case "Node":
            status = manifest["status"]
            for amounts in (status["allocatable"], status["capacity"]):
                amounts.update({name: str(amount) for name, amount in amounts.items()})
            status["nodeInfo"] = {key: value for key, value in status["nodeInfo"].items() if value}
        case "ResourceSlice":
            spec["devices"] = [{"name": device["name"], **device["basic"]} for device in spec["devices"]]
            spec["pool"]["generation"] = 0
        case "ResourceClaimTemplate":
            manifest["metadata"]["namespace"] = "default"
            exactly = {"allocationMode": "ExactCount", "count": 1}
            requests = spec["spec"]["devices"]["requests"]
            for request in requests:
                request["exactly"] = exactly | {"deviceClassName": request.pop("deviceClassName")}
    return manifest


def without_suffix(manifest: Manifest) -> Manifest:
    """Leave out what is random on the page."""
    if manifest["kind"] != "ResourceSlice":
        return manifest
    name = SUFFIX.sub("", manifest["metadata"]["name"])
    return manifest | {"metadata": manifest["metadata"] | {"name": name}}


def fields(value: object, path: str = "") -> dict[str, object]:
    """Flatten to one entry per field, with the value's type, so that `1`, `True` and `"1"` differ."""
    if isinstance(value, dict) and value:
        return {key: found for name in value for key, found in fields(value[name], f"{path}.{name}").items()}
    if isinstance(value, list) and value:
        return {
            key: found for index, entry in enumerate(value) for key, found in fields(entry, f"{path}[{index}]").items()
        }
    return {path: (type(value).__name__, value)}


@pytest.mark.parametrize("position", range(5), ids=[manifest["kind"] for manifest in manifests()])
def test_the_dev_stack_is_the_page(dev: Configuration, position: int) -> None:
    made, page = rendered(load(dev)), manifests()
    assert len(made) == len(page)
    assert fields(without_suffix(made[position])) == fields(without_suffix(as_v1(page[position])))


def test_each_node_has_its_names(bigger: Topology) -> None:
    nodes = [manifest for manifest in rendered(bigger) if manifest["kind"] == "Node"]
    assert [node["metadata"]["name"] for node in nodes] == ["big-0", "big-1"]
    assert [node["metadata"]["labels"]["kubernetes.io/hostname"] for node in nodes] == ["big-0", "big-1"]


def test_the_pool_overrides_the_model_and_that_the_page(bigger: Topology) -> None:
    status = objects.node(bigger.node_pools[0], "big-0")["status"]
    expected = {"cpu": "4", "memory": "1T", "pods": "7", "example.com/gpu": "2"}
    assert status["capacity"] == status["allocatable"] == expected


def test_a_slice_has_the_devices_of_its_node(bigger: Topology) -> None:
    slices = [manifest["spec"] for manifest in rendered(bigger) if manifest["kind"] == "ResourceSlice"]
    assert slices == [
        {
            "driver": "gpu.example.com",
            "nodeName": node,
            "pool": {"name": node, "generation": 0, "resourceSliceCount": 1},
            "devices": [
                {
                    "name": f"dev{index}",
                    "attributes": {
                        "index": {"int": index},
                        "generation": {"int": 3},
                        "uuid": {"string": f"{node}/{index}"},
                        "healthy": {"bool": False},
                        "gpu.example.com/driver": {"version": "1.2.3"},
                    },
                    "capacity": {"memory": {"value": "80Gi"}, "cores": {"value": "132"}},
                }
                for index in range(2)
            ],
        }
        for node in ("big-0", "big-1")
    ]


def test_the_names_of_slices_are_stable(bigger: Topology) -> None:
    """A name that changes from run to run, or with Python's hash seed, would replace the slice on each of them."""
    names = [objects.resource_slice(bigger.node_pools[0], node)["metadata"]["name"] for node in ("big-0", "big-1")]
    assert names == ["big-0-gpu.example.com-d0420", "big-1-gpu.example.com-9933a"]


def test_all_placeholders_of_a_slice_name(dev: Configuration) -> None:
    gpu = {"driver": "gpu.example.com", "sliceName": "{suffix}.{driver}.{node}.{suffix}"}
    dev["nodePools"][0]["gpu"] = gpu
    name = objects.resource_slice(load(dev).node_pools[0], "kwok-node-0")["metadata"]["name"]
    assert re.fullmatch(r"([0-9a-f]{5})\.gpu\.example\.com\.kwok-node-0\.\1", name)


def test_the_requests_of_a_claim(bigger: Topology) -> None:
    workload = bigger.workloads[0]
    template = objects.resource_claim_template(workload, workload.claims[0])
    assert template["metadata"] == {"name": "job-a", "namespace": "default"}
    assert template["spec"]["spec"]["devices"]["requests"] == [
        {
            "name": "one",
            "exactly": {"deviceClassName": "kwok.x-k8s.io", "allocationMode": "ExactCount", "count": 1},
        },
        {
            "name": "more",
            "exactly": {
                "deviceClassName": "kwok.x-k8s.io",
                "allocationMode": "ExactCount",
                "count": 3,
                "selectors": [{"cel": {"expression": "true"}}, {"cel": {"expression": "1 == 1"}}],
            },
        },
    ]


def test_a_pod_uses_each_of_its_claims(dev: Configuration) -> None:
    request = dev["workloads"][0]["claims"][0]["requests"]
    dev["workloads"] = [
        {
            "name": "job",
            "replicas": 3,
            "claims": [{"name": "a", "requests": request}, {"name": "b", "template": "given", "requests": request}],
        }
    ]
    deployment = objects.deployment(load(dev).workloads[0])
    assert deployment["spec"]["replicas"] == 3
    pod = deployment["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"] == {"claims": [{"name": "a"}, {"name": "b"}]}
    assert pod["resourceClaims"] == [
        {"name": "a", "resourceClaimTemplateName": "job-a"},
        {"name": "b", "resourceClaimTemplateName": "given"},
    ]


def test_a_class_without_selectors(dev: Configuration) -> None:
    dev["deviceClasses"][0]["selectors"] = []
    assert objects.device_class(load(dev).device_classes[0])["spec"] == {"selectors": []}
