"""Isolates a fleet from everything else in an existing cluster.

KWOK's taint keeps real pods off fake nodes, and a node selector keeps fake pods on the nodes of their own stack. Only
these can use the devices of fabric pools:
https://kwok.sigs.k8s.io/docs/user/kwok-manage-nodes-and-pods/
"""

import copy
from typing import Any
from uuid import uuid4

from topology.kubernetes.objects import Manifest
from topology.kubernetes.reading import entries, pod_spec
from topology.objects.nodes import FAKE, KWOK_TOLERATION, NODE_TYPE, node_taints
from topology.schema.hosts import Taint
from topology.schema.manifests import Document, Manifests
from topology.schema.reach import Reach
from topology.schema.stack import FabricPool, NodePool, Topology
from topology.schema.workloads import Workload

FLEET = "kwok-dra/fleet"
"""The label of all objects of a stack; its value is the name of the fleet, `cluster.name`."""

PROBE = "kwok-dra/probe"
"""The label of a temporary fake node; its value is the name of the fleet."""

KWOK_TAINT = Taint(key="kwok.x-k8s.io/node", value="fake", effect="NoSchedule")

NO_LOAD = {"node.kubernetes.io/exclude-from-external-load-balancers": ""}
"""https://kubernetes.io/docs/reference/labels-annotations-taints/"""


def mark(topology: Topology) -> dict[str, str]:
    """Return the label of the stack's objects; empty in a cluster that the stack creates."""
    return {FLEET: topology.cluster.name} if topology.cluster.existing else {}


def isolated(topology: Topology) -> Topology:
    """Return the topology with taints on its nodes and selectors in its pods, including those of manifests."""
    fleet = mark(topology)
    return topology.model_copy(
        update={
            "node_pools": [_pool(pool, fleet) for pool in topology.node_pools],
            "fabric_pools": [_fabric_pool(pool, fleet) for pool in topology.fabric_pools],
            "workloads": [_workload(workload, fleet) for workload in topology.workloads],
            "manifests": [_manifests(entry, fleet) for entry in topology.manifests],
        }
    )


def _pool(pool: NodePool, fleet: dict[str, str]) -> NodePool:
    taints = [taint for taint in node_taints(pool) if taint.key != KWOK_TAINT.key]
    return pool.amended(labels=pool.labels | NO_LOAD | NODE_TYPE | fleet, taints=[*taints, KWOK_TAINT])


def _fabric_pool(pool: FabricPool, fleet: dict[str, str]) -> FabricPool:
    """Return the pool with devices that only nodes of the fleet can use."""

    def only_fleet(reach: Reach) -> dict[str, Any]:
        own = reach.all_nodes or reach.node_selector
        return {"all_nodes": False, "node_selector": reach.node_selector | fleet} if own else {}

    devices = [entry.model_copy(update=only_fleet(entry)) for entry in pool.devices]
    return pool.model_copy(update={"devices": devices, **only_fleet(pool)})


def _workload(workload: Workload, fleet: dict[str, str]) -> Workload:
    return workload.amended(node_selector=workload.node_selector | fleet)


def _manifests(manifests: Manifests, fleet: dict[str, str]) -> Manifests:
    files = [
        file._replace(documents=[Document(place, _object(found, fleet)) for place, found in file.documents])
        for file in manifests.files
    ]
    return manifests.model_copy(update={"files": files})


def _object(found: Manifest, fleet: dict[str, str]) -> Manifest:
    """Return an isolated object of a file, which `topology/checks/isolation.py` has checked."""
    found = copy.deepcopy(found)
    if found["kind"] == "Node" and found["apiVersion"] == "v1":
        _keep_pods_off(found, fleet)
    elif spec := pod_spec(found):
        spec["nodeSelector"] = (spec.get("nodeSelector") or {}) | fleet
        spec["tolerations"] = [*(spec.get("tolerations") or []), KWOK_TOLERATION]
    return found


def _keep_pods_off(node: Manifest, fleet: dict[str, str]) -> None:
    metadata = node.setdefault("metadata", {})
    metadata["annotations"] = (metadata.get("annotations") or {}) | FAKE
    metadata["labels"] = (metadata.get("labels") or {}) | NO_LOAD | NODE_TYPE | fleet
    spec = node["spec"] = node.get("spec") or {}
    taints = [taint for taint in entries(spec, "taints") if taint.get("key") != KWOK_TAINT.key]
    spec["taints"] = [*taints, KWOK_TAINT.model_dump(by_alias=True)]


def probe(fleet: str) -> Manifest:
    """Render a fake node that shows whether KWOK runs in the cluster."""
    node: Manifest = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"kwok-dra-probe-{uuid4().hex[:8]}"}}
    _keep_pods_off(node, {PROBE: fleet})
    return node
