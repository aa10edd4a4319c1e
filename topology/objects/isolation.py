"""What keeps a fleet apart from all else in a cluster that is not its own.

Real pods stay off fake nodes because these have KWOK's taint, and fake pods stay on the nodes of their own stack
because they select its label: https://kwok.sigs.k8s.io/docs/user/kwok-manage-nodes-and-pods/
"""

import copy
from typing import Any
from uuid import uuid4

from topology.kubernetes.objects import Manifest
from topology.kubernetes.reading import entries, pod_spec
from topology.objects.nodes import FAKE, KWOK_TOLERATION, NODE_TYPE, node_taints
from topology.schema.hosts import Taint
from topology.schema.manifests import Document, Manifests
from topology.schema.stack import NodePool, Topology
from topology.schema.workloads import Workload

FLEET = "kwok-dra/fleet"
"""The label of all objects of a stack, with the name of its fleet: `cluster.name`."""

PROBE = "kwok-dra/probe"
"""The label of a fake node that is there for a moment; the fleet's name too."""

KWOK_TAINT = Taint(key="kwok.x-k8s.io/node", value="fake", effect="NoSchedule")

NO_LOAD = {"node.kubernetes.io/exclude-from-external-load-balancers": ""}
"""https://kubernetes.io/docs/reference/labels-annotations-taints/"""


def mark(topology: Topology) -> dict[str, str]:
    """Return the label of the stack's objects; a cluster of its own needs none."""
    return {FLEET: topology.cluster.name} if topology.cluster.existing else {}


def kept_apart(topology: Topology) -> Topology:
    """Return the topology with taints on its nodes and selectors in its pods, those of manifests included."""
    fleet = mark(topology)
    return topology.model_copy(
        update={
            "node_pools": [_pool(pool, fleet) for pool in topology.node_pools],
            "workloads": [_workload(workload, fleet) for workload in topology.workloads],
            "manifests": [_manifests(entry, fleet) for entry in topology.manifests],
        }
    )


def _pool(pool: NodePool, fleet: dict[str, str]) -> NodePool:
    taints = [taint for taint in node_taints(pool) if taint.key != KWOK_TAINT.key]
    return pool.amended(labels=pool.labels | NO_LOAD | NODE_TYPE | fleet, taints=[*taints, KWOK_TAINT])


def _workload(workload: Workload, fleet: dict[str, str]) -> Workload:
    return workload.amended(node_selector=workload.node_selector | fleet)


def _manifests(manifests: Manifests, fleet: dict[str, str]) -> Manifests:
    files = [
        file._replace(documents=[Document(place, _object(found, fleet)) for place, found in file.documents])
        for file in manifests.files
    ]
    return manifests.model_copy(update={"files": files})


def _object(found: Any, fleet: dict[str, str]) -> Any:
    """Return an object of a file; what is none, and is told to be so later on, stays as it is."""
    if not isinstance(found, dict) or not isinstance(found.get("kind"), str):
        return found
    found = copy.deepcopy(found)
    if found["kind"] == "Node" and found.get("apiVersion") == "v1":
        _keep_pods_off(found, fleet)
    elif spec := pod_spec(found | {"apiVersion": str(found.get("apiVersion"))}):
        spec["nodeSelector"] = (spec.get("nodeSelector") or {}) | fleet
        spec["tolerations"] = [*(spec.get("tolerations") or []), KWOK_TOLERATION]
    return found


def _keep_pods_off(node: Manifest, fleet: dict[str, str]) -> None:
    metadata = node.setdefault("metadata", {})
    metadata["annotations"] = (metadata.get("annotations") or {}) | FAKE
    metadata["labels"] = (metadata.get("labels") or {}) | NO_LOAD | NODE_TYPE | fleet
    spec = node.setdefault("spec", {})
    taints = [taint for taint in entries(spec, "taints") if taint.get("key") != KWOK_TAINT.key]
    spec["taints"] = [*taints, KWOK_TAINT.model_dump(by_alias=True)]


def probe(fleet: str) -> Manifest:
    """Render a fake node that tells whether there is a KWOK to play it."""
    node: Manifest = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"kwok-dra-probe-{uuid4().hex[:8]}"}}
    _keep_pods_off(node, {PROBE: fleet})
    return node
