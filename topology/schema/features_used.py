"""The features of Kubernetes that a stack uses, and the feature gates and APIs that its cluster therefore needs."""

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

from topology.kubernetes.feature_gates import FEATURES, gates_for, runtime_config_for
from topology.kubernetes.objects import IMPLICIT_EXTENDED_RESOURCE, RESOURCE_API_VERSION, Manifest
from topology.kubernetes.reading import entries, is_of_resource_api, part, pod_spec
from topology.schema.claims import ClaimSpec
from topology.schema.stack import Cluster, Devices, Topology
from topology.schema.workloads import Workload

_INCLUDES = re.compile(r"\.\s*includes\s*\(")

_CLAIM_KEYS = {
    "adminAccess": "admin access",
    "capacity": "consumable capacity",
    "distinctAttribute": "consumable capacity",
    "firstAvailable": "prioritized list",
    "tolerations": "device taints",
}
_SLICE_KEYS = {
    "allowMultipleAllocations": "consumable capacity",
    "bindingConditions": "binding conditions",
    "consumesCounters": "partitionable devices",
    "perDeviceNodeSelection": "partitionable devices",
    "sharedCounters": "partitionable devices",
    "taints": "device taints",
}
# The features that the keys of manifests use, by kind; `kind` itself if every object of the kind uses one.
_KEYS: Mapping[str, Mapping[str, str]] = {
    "DeviceClass": {"extendedResourceName": "extended resources"},
    "DeviceTaintRule": {"kind": "device taint rules", "taint": "device taints"},
    "ResourceClaim": _CLAIM_KEYS,
    "ResourceClaimTemplate": _CLAIM_KEYS,
    "ResourcePoolStatusRequest": {"kind": "resource pool status"},
    "ResourceSlice": _SLICE_KEYS,
}


def features_used(topology: Topology) -> dict[str, str]:
    """Return the names of the `FEATURES` that the stack uses, each with the first key that uses it."""
    return dict(reversed(list(_of_stack(topology))))


def apis_written(topology: Topology) -> dict[str, str]:
    """Return the versions of resource.k8s.io that manifests use, except v1, each with the key of a file."""
    return {
        document.content["apiVersion"]: f"manifests[{index}].files[{number}]"
        for index, entry in enumerate(topology.manifests)
        for number, document in entry.documents()
        if is_of_resource_api(document.content) and document.content["apiVersion"] != RESOURCE_API_VERSION
    }


def completed(cluster: Cluster, features: dict[str, str], apis: Iterable[str] = ()) -> Cluster:
    """Return `cluster` with the gates and APIs that `features` and `apis` need; the user's settings override these."""
    gates = gates_for(features, cluster.minor)
    served = dict.fromkeys(sorted(apis), True) | apis_needed(cluster, features)
    return cluster.model_copy(
        update={
            "kube_feature_gates": gates | cluster.kube_feature_gates,
            "kube_runtime_config": served | cluster.kube_runtime_config,
        }
    )


def apis_needed(cluster: Cluster, features: Iterable[str]) -> dict[str, bool]:
    """Return the APIs to serve for the `features`, and for those that the user enables by their gates.

    The control plane waits forever for an API that is not served.
    """
    enabled = {name for name, feature in FEATURES.items() if cluster.kube_feature_gates.get(feature.gate)}
    return runtime_config_for(enabled.union(features), cluster.served_resource_api, cluster.minor)


def has_list_attributes(topology: Topology) -> bool:
    """Tell whether the API server supports lists in CEL: the stack uses them, or their gate is set."""
    gate = FEATURES["list attributes"].gate
    return topology.cluster.kube_feature_gates.get(gate, False) or "list attributes" in features_used(topology)


def _of_stack(topology: Topology) -> Iterator[tuple[str, str]]:
    for index, device_class in enumerate(topology.device_classes):
        if device_class.extended_resource_name:
            yield "extended resources", f"deviceClasses[{index}].extendedResourceName"
        if _use_lists(device_class.selectors):
            yield "list attributes", f"deviceClasses[{index}].selectors"
    for path, pool in topology.pools.items():
        for devices in pool.all_devices():
            yield from ((feature, path) for feature in _of_devices(devices))
        if any(fault.taint for fault in pool.faults):
            yield "device taints", f"{path}.faults"
    if topology.device_taint_rules:
        yield "device taints", "deviceTaintRules"
        yield "device taint rules", "deviceTaintRules"
    lists = {name for pool in topology.pools.values() for devices in pool.all_devices() for name in _lists(devices)}
    for index, shared in enumerate(topology.claims):
        yield from ((feature, f"claims[{index}]") for feature in _of_claim(shared, lists))
    for index, workload in enumerate(topology.workloads):
        for place, claim in enumerate(workload.claims):
            yield from ((feature, f"workloads[{index}].claims[{place}]") for feature in _of_claim(claim, lists))
        if workload.extended_resources:
            yield "extended resources", f"workloads[{index}].containers"
        yield from _of_pod_group(workload, f"workloads[{index}].podGroup")
    for index, entry in enumerate(topology.manifests):
        for number, document in entry.documents():
            yield from ((feature, f"manifests[{index}].files[{number}]") for feature in _of_manifest(document.content))


def _of_devices(devices: Devices) -> Iterator[str]:
    if devices.model.binding_conditions:
        yield "binding conditions"
        # Devices that fail to attach get a taint.
        yield "device taints"
        yield "device taint rules"
    if consumes_counters(devices) or devices.selection:
        yield "partitionable devices"
    if any(partition.compatibility_groups for partition in devices.model.partitions):
        yield "compatibility groups"
    if devices.model.node_allocatable_resources:
        yield "node allocatable resources"
    if devices.model.skip_node_operations:
        yield "optional node operations"
    if devices.model.allow_multiple_allocations or any(
        partition.allow_multiple_allocations for partition in devices.model.partitions
    ):
        yield "consumable capacity"
    if any(_lists(devices)):
        yield "list attributes"


def _lists(devices: Devices) -> Iterator[str]:
    """Yield the fully qualified names of the attributes that are lists."""
    model = devices.merged
    for attributes in (model.attributes, *(partition.attributes for partition in model.partitions)):
        for name, attribute in attributes.items():
            if attribute.is_list:
                yield name if "/" in name else f"{model.driver}/{name}"


def consumes_counters(devices: Devices) -> bool:
    """Tell whether the partitions of a device share counters."""
    return devices.mig == "dynamic" or bool(devices.model.counters)


def _of_pod_group(workload: Workload, path: str) -> Iterator[tuple[str, str]]:
    if workload.pod_group:
        yield "pod groups", path
        if workload.pod_group.min_count:
            yield "gang scheduling", f"{path}.minCount"
        if workload.pod_group.claims:
            yield "workload resource claims", f"{path}.claims"


def _of_claim(claim: ClaimSpec, lists: Set[str]) -> Iterator[str]:
    selections = [selection for request in claim.requests for selection in request.alternatives()]
    distinct = any(constraint.distinct_attribute for constraint in claim.constraints)
    if distinct or any(selection.capacity for selection in selections):
        yield "consumable capacity"
    if any(selection.derived_attributes for selection in selections):
        yield "derived attributes"
    if any(selection.tolerations for selection in selections):
        yield "device taints"
    if any(request.first_available for request in claim.requests):
        yield "prioritized list"
    if any(request.admin_access for request in claim.requests):
        yield "admin access"
    if any(_use_lists(selection.expressions) for selection in selections):
        yield "list attributes"
    if any({constraint.match_attribute, constraint.distinct_attribute} & lists for constraint in claim.constraints):
        yield "list attributes in constraints"


def _use_lists(expressions: Iterable[str]) -> bool:
    """Tell whether CEL expressions use `includes`, the function for list attributes."""
    return any(_INCLUDES.search(expression) for expression in expressions)


def _of_manifest(manifest: Manifest) -> Iterator[str]:
    if is_of_resource_api(manifest):
        features = _KEYS.get(manifest["kind"], {})
        yield from (features[key] for key in _keys(manifest) if key in features)
    spec = pod_spec(manifest) or {}
    if any(toleration.get("operator") in ("Lt", "Gt") for toleration in entries(spec, "tolerations")):
        yield "toleration comparisons"
    for container in entries(spec, "containers"):
        limits = part(container, "resources", "limits")
        if isinstance(limits, dict) and any(str(name).startswith(f"{IMPLICIT_EXTENDED_RESOURCE}/") for name in limits):
            yield "extended resources"


def _keys(value: Any) -> Iterator[str]:
    """Yield the keys of an object, at all levels, that have a value; skip opaque parameters of drivers."""
    if isinstance(value, dict):
        for key, held in value.items():
            if held and key != "opaque":
                yield key
                yield from _keys(held)
    elif isinstance(value, list):
        for held in value:
            yield from _keys(held)
