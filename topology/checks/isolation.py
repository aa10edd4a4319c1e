"""What a stack must not change outside its own fleet in an existing cluster."""

import json
from collections.abc import Iterator

from topology.checks.manifests import ManifestObject, manifest_objects
from topology.kubernetes.objects import Manifest
from topology.kubernetes.reading import POD_SPECS, group_of, is_of_resource_api, part, pod_spec
from topology.schema.base import Problem
from topology.schema.stack import Topology

_TYPES: dict[type, str] = {dict: "a mapping", list: "a list", str: "a string"}
_NODE_FIELDS = {
    ("metadata", "annotations"): dict,
    ("metadata", "labels"): dict,
    ("spec",): dict,
    ("spec", "taints"): list,
}
_POD_FIELDS = {"nodeName": str, "nodeSelector": dict, "tolerations": list}
_FOREIGN_DEVICES = (
    "must name a node or a fabric pool of this stack; otherwise the rule also taints other people's devices"
)


def malformed_fields(topology: Topology) -> Iterator[Problem]:
    """Yield the fields of manifests that isolation reads or changes and whose type the API does not allow."""
    for entry in manifest_objects(topology):
        for path, allowed in _fields(entry.content):
            value = part(entry.content, *path)
            if value is not None and not isinstance(value, allowed):
                yield entry.problem(f"{'.'.join(path)} must be {_TYPES[allowed]}, but is {json.dumps(value)}")


def _fields(found: Manifest) -> Iterator[tuple[tuple[str, ...], type]]:
    name = (group_of(found), found["kind"])
    if name == ("", "Node"):
        yield from _NODE_FIELDS.items()
    if path := POD_SPECS.get(name):
        yield from ((path[:depth], dict) for depth in range(1, len(path) + 1))
        yield from (((*path, field), allowed) for field, allowed in _POD_FIELDS.items())
    if is_of_resource_api(found, "DeviceTaintRule"):
        yield ("spec", "deviceSelector", "pool"), str


def isolation_problems(topology: Topology) -> Iterator[Problem]:
    """Yield what would affect other people's pods, devices or nodes in an existing cluster."""
    nodes = _nodes(topology)
    pools = nodes.union(pool.name for pool in topology.fabric_pools)
    for index, workload in enumerate(topology.workloads):
        if workload.pod_group:
            yield Problem(
                f"workloads[{index}].podGroup",
                "needs a MutatingAdmissionPolicy, which would also apply to other people's pods in an existing "
                "cluster: remove it",
            )
    for index, fabric in enumerate(topology.fabric_pools):
        for place, devices in enumerate(fabric.devices):
            if devices.node_name and devices.node_name not in nodes:
                yield Problem(f"fabricPools[{index}].devices[{place}].nodeName", "must name a node of this stack")
    for index, rule in enumerate(topology.device_taint_rules):
        if rule.pool not in pools:
            yield Problem(f"deviceTaintRules[{index}].pool", _FOREIGN_DEVICES)
    for entry in manifest_objects(topology):
        yield from _problems_of(entry, nodes, pools)


def _nodes(topology: Topology) -> set[str]:
    return {
        *(name for pool in topology.node_pools for name in pool.node_names()),
        *(entry.name[3] for entry in manifest_objects(topology) if entry.content["kind"] == "Node"),
    }


def _problems_of(entry: ManifestObject, nodes: set[str], pools: set[str]) -> Iterator[Problem]:
    pool = part(entry.content, "spec", "deviceSelector", "pool")
    if is_of_resource_api(entry.content, "DeviceTaintRule") and pool not in pools:
        yield entry.problem(f"spec.deviceSelector.pool of {entry} {_FOREIGN_DEVICES}")
    node = (pod_spec(entry.content) or {}).get("nodeName")
    if node and node not in nodes:
        yield entry.problem(f"pods of {entry} have nodeName: {node}, which is not a node of this stack: remove it")
