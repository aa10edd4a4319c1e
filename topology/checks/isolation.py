"""What would reach beyond the fleet in an existing cluster."""

from collections.abc import Iterator
from typing import Any

from topology.kubernetes.reading import is_of_resource_api, part, pod_spec
from topology.schema.base import Problem
from topology.schema.stack import Topology

BEYOND = "which would reach beyond the stack in a cluster that is there already"


def beyond(topology: Topology) -> Iterator[Problem]:
    """Yield what a stack must not have in a cluster that is not its own."""
    nodes = _nodes(topology)
    for index, workload in enumerate(topology.workloads):
        if workload.pod_group:
            yield Problem(
                f"workloads[{index}].podGroup",
                f"needs a MutatingAdmissionPolicy for all pods, {BEYOND}: leave it out",
            )
    for index, rule in enumerate(topology.device_taint_rules):
        if rule.pool not in nodes:
            yield Problem(f"deviceTaintRules[{index}].pool", _of_no_node("rule"))
    for index, entry in enumerate(topology.manifests):
        for number, (place, found) in entry.documents():
            if message := _beyond(found, nodes):
                yield Problem(f"manifests[{index}].files[{number}]", f"{place}: {message}")


def _nodes(topology: Topology) -> set[str]:
    found = [document.content for entry in topology.manifests for _, document in entry.documents()]
    return {
        *(name for pool in topology.node_pools for name in pool.node_names()),
        *(str(part(entry, "metadata", "name")) for entry in found if part(entry, "kind") == "Node"),
    }


def _beyond(found: Any, nodes: set[str]) -> str:
    if not isinstance(found, dict) or not isinstance(found.get("apiVersion"), str):
        return ""
    if is_of_resource_api(found, "DeviceTaintRule") and part(found, "spec", "deviceSelector", "pool") not in nodes:
        return _of_no_node("DeviceTaintRule")
    node = (pod_spec(found) or {}).get("nodeName")
    if node and node not in nodes:
        return f"its pods have nodeName: {node}, which is no node of the stack: leave it out"
    return ""


def _of_no_node(what: str) -> str:
    return f"has to be a node of the stack: the {what} taints devices of others else, {BEYOND}"
