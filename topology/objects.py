"""The Kubernetes objects of a topology, as plain dictionaries in wire format.

Objects of resource.k8s.io go out as v1, the newest version that every supported kube-apiserver serves
(`limits.KUBERNETES_MINOR_MIN` and up).
"""

import hashlib
from typing import Any, TypeAlias

from topology.configuration import Claim, DeviceClass, DeviceRequest, NodePool, Workload
from topology.gpu import DeviceAttribute, GpuModel, fill

Manifest: TypeAlias = dict[str, Any]

RESOURCE_API_VERSION = "resource.k8s.io/v1"
NAMESPACE = "default"
"""Where all workloads live."""

# Node, toleration and affinity: https://kwok.sigs.k8s.io/docs/examples/dra/
NODE_CAPACITY = {"cpu": "96", "memory": "1T", "pods": "110"}
NODE_TAINT = {"effect": "NoSchedule", "key": "kwok.x-k8s.io/node", "value": "fake"}
NODE_TYPE = {"type": "kwok"}


def device_class(configuration: DeviceClass) -> Manifest:
    """Render a DeviceClass."""
    return {
        "apiVersion": RESOURCE_API_VERSION,
        "kind": "DeviceClass",
        "metadata": {"name": configuration.name},
        "spec": {"selectors": _selectors(configuration.selectors)},
    }


def node(pool: NodePool, name: str) -> Manifest:
    """Render the Node `name` of `pool`, as KWOK's page has it.

    The page's empty `nodeInfo` values are left out: the API server stores the same, and KWOK fills some of them in.
    """
    capacity = NODE_CAPACITY | pool.gpu.node_capacity | pool.capacity
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {"node.alpha.kubernetes.io/ttl": "0", "kwok.x-k8s.io/node": "fake"},
            "labels": {
                "beta.kubernetes.io/arch": "amd64",
                "beta.kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/role": "agent",
                "node-role.kubernetes.io/agent": "",
                **NODE_TYPE,
            },
        },
        "spec": {"taints": [NODE_TAINT]},
        "status": {
            "allocatable": capacity,
            "capacity": capacity,
            "nodeInfo": {
                "architecture": "amd64",
                "kubeProxyVersion": "fake",
                "kubeletVersion": "fake",
                "operatingSystem": "linux",
            },
            "phase": "Running",
        },
    }


def resource_slice(pool: NodePool, node_name: str) -> Manifest:
    """Render the ResourceSlice with all devices of one node; the node's name is the pool's name, as real drivers do."""
    gpu = pool.gpu
    suffix = hashlib.sha256(f"{node_name}/{gpu.driver}/0".encode()).hexdigest()[:5]
    return {
        "apiVersion": RESOURCE_API_VERSION,
        "kind": "ResourceSlice",
        "metadata": {"name": fill(gpu.slice_name, {"node": node_name, "driver": gpu.driver, "suffix": suffix})},
        "spec": {
            "driver": gpu.driver,
            "nodeName": node_name,
            "pool": {"name": node_name, "generation": 0, "resourceSliceCount": 1},
            "devices": [_device(gpu, node_name, index) for index in range(pool.gpus_per_node)],
        },
    }


def resource_claim_template(workload: Workload, claim: Claim) -> Manifest:
    """Render the ResourceClaimTemplate from which each pod of `workload` gets its `claim`."""
    return {
        "apiVersion": RESOURCE_API_VERSION,
        "kind": "ResourceClaimTemplate",
        "metadata": {"name": workload.template_name(claim), "namespace": NAMESPACE},
        "spec": {"spec": {"devices": {"requests": [_request(request) for request in claim.requests]}}},
    }


def deployment(workload: Workload) -> Manifest:
    """Render the Deployment of `workload`: fake pods for KWOK's nodes, whose one container uses every claim."""
    labels = {"app": workload.name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": workload.name, "namespace": NAMESPACE},
        "spec": {
            "replicas": workload.replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": _pod_spec(workload)},
        },
    }


def _pod_spec(workload: Workload) -> Manifest:
    type_is_kwok = [{"key": key, "operator": "In", "values": [value]} for key, value in NODE_TYPE.items()]
    node_selector = {"nodeSelectorTerms": [{"matchExpressions": type_is_kwok}]}
    return {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": node_selector}},
        "tolerations": [{"key": NODE_TAINT["key"], "operator": "Exists", "effect": NODE_TAINT["effect"]}],
        "containers": [
            {
                "name": "fake-container",
                "image": "fake-image",
                "resources": {"claims": [{"name": claim.name} for claim in workload.claims]},
            }
        ],
        "resourceClaims": [
            {"name": claim.name, "resourceClaimTemplateName": workload.template_name(claim)}
            for claim in workload.claims
        ],
    }


def _device(gpu: GpuModel, node_name: str, index: int) -> Manifest:
    values = {"index": index, "node": node_name}
    return {
        "name": fill(gpu.device_name, values),
        "attributes": {name: _attribute(attribute, values) for name, attribute in gpu.attributes.items()},
        "capacity": {name: {"value": quantity} for name, quantity in gpu.capacity.items()},
    }


def _attribute(attribute: DeviceAttribute, values: dict[str, object]) -> Manifest:
    ((kind, value),) = attribute.model_dump(by_alias=True, exclude_unset=True).items()
    if kind == "int":
        value = int(fill(str(value), values))
    elif kind == "string":
        value = fill(value, values)
    return {kind: value}


def _request(request: DeviceRequest) -> Manifest:
    exactly: Manifest = {
        "deviceClassName": request.device_class,
        "allocationMode": "ExactCount",
        "count": request.count,
    }
    if request.selectors:
        exactly["selectors"] = _selectors(request.selectors)
    return {"name": request.name, "exactly": exactly}


def _selectors(expressions: list[str]) -> list[Manifest]:
    return [{"cel": {"expression": expression}} for expression in expressions]
