"""The Kubernetes objects of a topology, as plain dictionaries in wire format.

Objects of resource.k8s.io are in version v1; `api_versions.convert` turns them into the older ones.
"""

from typing import Any, TypeAlias

from topology.configuration import Claim, DeviceConstraint, DeviceRequest, NodePool, Toleration, Workload
from topology.devices import DeviceClass, Taint
from topology.inventory import host_of, stable_uuid
from topology.placeholders import fill

Manifest: TypeAlias = dict[str, Any]

RESOURCE_API_VERSION = "resource.k8s.io/v1"
NAMESPACE = "default"
"""Where all workloads live."""

# Node, toleration and affinity: https://kwok.sigs.k8s.io/docs/examples/dra/
NODE_CAPACITY = {"cpu": "96", "memory": "1T", "pods": "110"}
KWOK_TOLERATION = {"key": "kwok.x-k8s.io/node", "operator": "Exists", "effect": "NoSchedule"}
NODE_TYPE = {"type": "kwok"}
# `<cluster UUID>.<clique id>`, as GPU feature discovery sets it:
# https://github.com/kubernetes-sigs/dra-driver-nvidia-gpu/blob/main/site/content/docs/install.md
CLIQUE_LABEL = "nvidia.com/gpu.clique"


def device_class(configuration: DeviceClass) -> Manifest:
    """Render a DeviceClass."""
    return {
        "apiVersion": RESOURCE_API_VERSION,
        "kind": "DeviceClass",
        "metadata": {"name": configuration.name},
        "spec": {"selectors": _selectors(configuration.selectors)}
        | _given(extendedResourceName=configuration.extended_resource_name),
    }


def node(pool: NodePool, name: str) -> Manifest:
    """Render the Node `name` of `pool`, as KWOK's page has it.

    The page's empty `nodeInfo` values are left out: the API server stores the same, and KWOK fills some of them in.
    """
    capacity = _node_capacity(pool)
    labels = node_labels(pool, name)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {"node.alpha.kubernetes.io/ttl": "0", "kwok.x-k8s.io/node": "fake"},
            "labels": labels,
        },
        "spec": _given(taints=[_taint(taint) for taint in node_taints(pool)]),
        "status": {
            "allocatable": capacity,
            "capacity": capacity,
            "nodeInfo": {
                "architecture": labels["kubernetes.io/arch"],
                "kubeProxyVersion": "fake",
                "kubeletVersion": "fake",
                "operatingSystem": "linux",
            },
            "phase": "Running",
        },
    }


def _node_capacity(pool: NodePool) -> dict[str, str]:
    host = host_of(pool)
    capacity = NODE_CAPACITY | (host.node.capacity if host else {})
    for devices in pool.all_devices():
        capacity |= devices.model.node.capacity
    return capacity | pool.capacity


def node_labels(pool: NodePool, name: str) -> dict[str, str]:
    """Return the labels of the Node `name` of `pool`."""
    host = host_of(pool)
    labels = {
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/role": "agent",
        "node-role.kubernetes.io/agent": "",
        **NODE_TYPE,
    }
    shapes = [(devices.model.node, devices.count) for devices in pool.all_devices()]
    if host:
        shapes.insert(0, (host.node, sum(count for _, count in shapes)))
    for shape, count in shapes:
        labels |= {key: fill(value, {"node": name, "count": count}) for key, value in shape.labels.items()}
    if pool.nodes_per_clique:
        domain = int(name.rpartition("-")[2]) // pool.nodes_per_clique
        labels[CLIQUE_LABEL] = f"{stable_uuid(pool.name, 'clique', domain)}.0"
    return labels | pool.labels


def node_taints(pool: NodePool) -> list[Taint]:
    """Return the taints of the pool's nodes: its own if it says any, or else those of its host and devices."""
    if pool.taints is not None:
        return pool.taints
    host = host_of(pool)
    shapes = [*([host.node] if host else []), *(devices.model.node for devices in pool.all_devices())]
    # The API server wants each key and effect once.
    return list({(taint.key, taint.effect): taint for shape in shapes for taint in shape.taints}.values())


def _taint(taint: Taint) -> Manifest:
    return {"key": taint.key, "effect": taint.effect} | _given(value=taint.value)


def resource_claim_template(workload: Workload, claim: Claim) -> Manifest:
    """Render the ResourceClaimTemplate from which each pod of `workload` gets its `claim`."""
    return {
        "apiVersion": RESOURCE_API_VERSION,
        "kind": "ResourceClaimTemplate",
        "metadata": {"name": workload.template_name(claim), "namespace": NAMESPACE},
        "spec": {
            "spec": {
                "devices": {"requests": [_request(request) for request in claim.requests]}
                | _given(constraints=[_constraint(constraint) for constraint in claim.constraints])
            }
        },
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
    return _given(nodeSelector=workload.node_selector) | {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": node_selector}},
        "tolerations": [KWOK_TOLERATION, *(_toleration(toleration) for toleration in workload.tolerations)],
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


def _request(request: DeviceRequest) -> Manifest:
    exactly: Manifest = {
        "deviceClassName": request.device_class,
        "allocationMode": "ExactCount",
        "count": request.count,
    }
    exactly |= _given(
        selectors=_selectors(request.selectors),
        capacity=_given(requests=request.capacity),
    )
    return {"name": request.name, "exactly": exactly}


def _constraint(constraint: DeviceConstraint) -> Manifest:
    return _given(
        requests=constraint.requests,
        matchAttribute=constraint.match_attribute,
        distinctAttribute=constraint.distinct_attribute,
    )


def _toleration(toleration: Toleration) -> Manifest:
    return toleration.model_dump(by_alias=True, exclude_none=True)


def _given(**fields: Any) -> Manifest:
    """Return the fields that hold something."""
    return {name: value for name, value in fields.items() if value}


def _selectors(expressions: list[str]) -> list[Manifest]:
    return [{"cel": {"expression": expression}} for expression in expressions]
