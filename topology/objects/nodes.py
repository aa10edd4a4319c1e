"""The Nodes of a pool."""

from topology.kubernetes.feature_gates import FEATURES
from topology.kubernetes.objects import NOT_READY, Manifest, given
from topology.objects.inventory import host_of, stable_uuid
from topology.schema.hosts import Taint
from topology.schema.placeholders import fill
from topology.schema.stack import NodePool

# Node, toleration and affinity: https://kwok.sigs.k8s.io/docs/examples/dra/
NODE_CAPACITY = {"cpu": "96", "memory": "1T", "pods": "110"}
KWOK_TOLERATION = {"key": "kwok.x-k8s.io/node", "operator": "Exists", "effect": "NoSchedule"}
NODE_TYPE = {"type": "kwok"}
FAKE = {"kwok.x-k8s.io/node": "fake"}
"""The annotation of the nodes that KWOK simulates."""
# `<cluster UUID>.<clique id>`, as GPU feature discovery sets it:
# https://github.com/kubernetes-sigs/dra-driver-nvidia-gpu/blob/main/site/content/docs/install.md
CLIQUE_LABEL = "nvidia.com/gpu.clique"


def node(pool: NodePool, name: str) -> Manifest:
    """Render the Node `name` of `pool`, as in KWOK's example.

    The example's empty `nodeInfo` values are omitted: the API server stores the same, and KWOK sets some of them.
    """
    capacity = node_capacity(pool)
    labels = node_labels(pool, name)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {"node.alpha.kubernetes.io/ttl": "0"}
            | FAKE
            | (NOT_READY if pool.is_not_ready(name) else {}),
            "labels": labels,
        },
        "spec": given(taints=[_taint(taint) for taint in node_taints(pool)]),
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


def declared_features(pool: NodePool) -> list[str]:
    """Return the features that the pool's nodes declare: those that it sets, or by default those that its devices need.

    Kubelets declare what their gates turn on, but fake nodes have no kubelet. The API server checks the features when
    slices with node allocatable resources are created, and the scheduler for operations that are skipped:
    https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/scheduler/framework/plugins/dynamicresources/dynamicresources.go
    """
    if pool.declared_features is not None:
        return sorted(pool.declared_features)
    models = [devices.model for devices in pool.all_devices()]
    needed = {
        "node allocatable resources": any(model.node_allocatable_resources for model in models),
        "optional node operations": any(model.skip_node_operations for model in models),
    }
    return [FEATURES[feature].gate for feature, used in needed.items() if used]


def node_capacity(pool: NodePool) -> dict[str, str]:
    """Return the capacity of the pool's nodes."""
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
    """Return the taints of the pool's nodes: its own if it sets any, or by default those of its host and devices."""
    if pool.taints is not None:
        return pool.taints
    host = host_of(pool)
    shapes = [*([host.node] if host else []), *(devices.model.node for devices in pool.all_devices())]
    # The API server accepts each key and effect once.
    return list({(taint.key, taint.effect): taint for shape in shapes for taint in shape.taints}.values())


def _taint(taint: Taint) -> Manifest:
    return {"key": taint.key, "effect": taint.effect} | given(value=taint.value)
