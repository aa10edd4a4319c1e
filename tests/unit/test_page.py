"""The Kubernetes objects of the dev stack, compared with the documentation page that it reproduces."""

import copy
import re
from typing import Any

import pytest

from tests.seed_page import manifests
from topology.checks.validation import load
from topology.kubernetes.objects import Manifest
from topology.objects import claims, nodes, pods
from topology.objects.slices import resource_slices
from topology.schema.stack import Topology

Configuration = dict[str, Any]


SUFFIX = re.compile(r"[a-z0-9]+$")  # of a ResourceSlice's name; random on the page


def rendered(topology: Topology) -> list[Manifest]:
    """Render everything, in the order of the page."""
    pools = [(pool, name) for pool in topology.node_pools for name in pool.node_names()]
    return [
        *(claims.device_class(device_class) for device_class in topology.device_classes),
        *(nodes.node(*node) for node in pools),
        *(entry for pool, name in pools for entry in resource_slices(pool, name)),
        *(
            claims.resource_claim_template(workload, claim)
            for workload in topology.workloads
            for claim in workload.claims
        ),
        *(pods.workload_objects(workload)[0] for workload in topology.workloads),
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
    """Remove the random part of a name on the page."""
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
