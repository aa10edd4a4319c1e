"""The Kubernetes objects of a topology, the dev stack's compared with the page it reproduces."""

import copy
import re
from typing import Any

import pytest

from tests.seed_page import manifests
from topology import objects
from topology.configuration import Topology
from topology.objects import Manifest
from topology.slices import resource_slices
from topology.validation import load

Configuration = dict[str, Any]
SUFFIX = re.compile(r"[a-z0-9]+$")  # of a ResourceSlice's name; random on the page


@pytest.fixture
def bigger(dev: Configuration) -> Topology:
    """Two nodes with four devices each, and a claim with two requests."""
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
        "node": {"capacity": {"example.com/gpu": 2, "cpu": 8}},
    }
    requests = [
        {"name": "one", "deviceClass": "kwok.x-k8s.io"},
        {"name": "more", "deviceClass": "kwok.x-k8s.io", "count": 3, "selectors": ["true", "1 == 1"]},
    ]
    dev["deviceClasses"][0]["selectors"] = []
    dev["nodePools"] = [{"name": "big", "nodes": 2, "gpusPerNode": 4, "gpu": gpu, "capacity": {"cpu": 4, "pods": "7"}}]
    dev["workloads"] = [{"name": "job", "replicas": 3, "claims": [{"name": "a", "requests": requests}]}]
    return load(dev)


def rendered(topology: Topology) -> list[Manifest]:
    """Render everything, in the order of the page."""
    pools = [(pool, name) for pool in topology.node_pools for name in pool.node_names()]
    return [
        *(objects.device_class(device_class) for device_class in topology.device_classes),
        *(objects.node(*node) for node in pools),
        *(entry for pool, name in pools for entry in resource_slices(pool, name)),
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
            "pool": {"name": node, "generation": 1, "resourceSliceCount": 1},
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
                for index in range(4)
            ],
        }
        for node in ("big-0", "big-1")
    ]


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
    dev["nodePools"][0]["gpusPerNode"] = 2
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


def test_an_extended_resource(dev: Configuration) -> None:
    dev["deviceClasses"][0] |= {"selectors": [], "extendedResourceName": "example.com/gpu"}
    assert objects.device_class(load(dev).device_classes[0])["spec"] == {
        "selectors": [],
        "extendedResourceName": "example.com/gpu",
    }


def test_a_node_gets_what_its_devices_its_host_and_its_pool_say(dev: Configuration) -> None:
    def shape(**values: Any) -> Configuration:
        return {"driver": f"{values['labels']['by']}.example.com", "node": values}

    slots = [{"pcieRoot": "pci0000:16", "numaNode": 0, "gpu": "0000:18:00.0", "nic": "0000:19:00.0"}]
    dev["workloads"] = []
    dev["nodePools"] = [
        {
            "name": "big",
            "gpu": shape(labels={"by": "gpu", "gpus": "{count}", "on": "{node}"}, capacity={"x.y/a": 1, "x.y/b": 1}),
            "gpusPerNode": 3,
            "devices": [
                {"model": shape(labels={"by": "nic"}, capacity={"x.y/b": 2, "x.y/c": 2}), "count": 2},
            ],
            "host": {
                "slots": slots,
                "node": {"labels": {"by": "host", "host": "h-{count}"}, "capacity": {"x.y/a": 7, "x.y/h": 7}},
            },
            "labels": {"kubernetes.io/arch": "arm64", "mine": ""},
            "capacity": {"x.y/c": 3},
        }
    ]
    node = objects.node(load(dev).node_pools[0], "big-0")
    page = objects.node(load(dev | {"nodePools": [{"name": "big", "gpu": "kwok-l4"}]}).node_pools[0], "big-0")
    labels = {"by": "nic", "gpus": "3", "on": "big-0", "host": "h-5", "kubernetes.io/arch": "arm64", "mine": ""}
    assert node["metadata"]["labels"] == page["metadata"]["labels"] | labels
    amounts = {"x.y/a": "1", "x.y/b": "2", "x.y/c": "3", "x.y/h": "7"}
    assert node["status"]["capacity"] == objects.NODE_CAPACITY | amounts


TAINT = {"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}  # kwok-l4's


@pytest.mark.parametrize(
    ("pool", "taints"),
    [
        ({"gpu": "kwok-l4"}, [TAINT]),
        # The API server refuses a node that has one twice.
        ({"gpu": "kwok-l4", "devices": [{"model": "kwok-l4"}]}, [TAINT]),
        ({"gpu": {"driver": "gpu.example.com"}}, None),
        ({"gpu": "kwok-l4", "taints": []}, None),
        ({"gpu": "kwok-l4", "taints": [{"key": "mine"}]}, [{"key": "mine", "effect": "NoSchedule"}]),
        (
            {"gpu": "kwok-l4", "taints": [{"key": "a", "value": "b", "effect": "NoExecute"}]},
            [{"key": "a", "value": "b", "effect": "NoExecute"}],
        ),
    ],
)
def test_taints(dev: Configuration, pool: Configuration, taints: list[Manifest] | None) -> None:
    dev |= {"workloads": [], "nodePools": [{"name": "big"} | pool]}
    assert objects.node(load(dev).node_pools[0], "big-0")["spec"].get("taints") == taints


def test_nodes_share_a_clique(dev: Configuration) -> None:
    dev["workloads"] = []
    dev["nodePools"] = [{"name": name, "nodes": 5, "gpu": "kwok-l4", "nodesPerClique": 2} for name in ("a", "b")]
    pools = load(dev).node_pools
    cliques = [objects.node_labels(pool, name)["nvidia.com/gpu.clique"] for pool in pools for name in pool.node_names()]
    assert [cliques.index(clique) for clique in cliques] == [0, 0, 2, 2, 4, 5, 5, 7, 7, 9]
    assert all(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.0", clique) for clique in cliques)


def test_a_claim_with_everything(dev: Configuration) -> None:
    requests = [
        {"name": "one", "deviceClass": "kwok.x-k8s.io", "capacity": {"memory": "10Gi", "example.com/cores": 2}},
        {"name": "two", "deviceClass": "kwok.x-k8s.io"},
    ]
    constraints = [
        {"matchAttribute": "resource.kubernetes.io/pcieRoot"},
        {"requests": ["two"], "distinctAttribute": "gpu.example.com/index"},
    ]
    dev["workloads"][0] |= {
        "replicas": 0,
        "claims": [{"name": "all", "requests": requests, "constraints": constraints}],
    }
    workload = load(dev).workloads[0]
    assert objects.resource_claim_template(workload, workload.claims[0])["spec"]["spec"]["devices"] == {
        "requests": [
            {
                "name": "one",
                "exactly": {
                    "deviceClassName": "kwok.x-k8s.io",
                    "allocationMode": "ExactCount",
                    "count": 1,
                    "capacity": {"requests": {"memory": "10Gi", "example.com/cores": "2"}},
                },
            },
            {
                "name": "two",
                "exactly": {"deviceClassName": "kwok.x-k8s.io", "allocationMode": "ExactCount", "count": 1},
            },
        ],
        "constraints": constraints,
    }


def test_where_pods_may_run(dev: Configuration) -> None:
    dev["workloads"][0] |= {
        "replicas": 0,
        "nodeSelector": {"pool": "big"},
        "tolerations": [{"operator": "Exists"}, {"key": "a", "value": "b", "effect": "NoExecute"}],
    }
    pod = objects.deployment(load(dev).workloads[0])["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"pool": "big"}
    assert pod["tolerations"] == [
        {"key": "kwok.x-k8s.io/node", "operator": "Exists", "effect": "NoSchedule"},
        {"operator": "Exists"},
        {"key": "a", "operator": "Equal", "value": "b", "effect": "NoExecute"},
    ]
