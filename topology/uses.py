"""What of DRA a stack uses, and what its cluster therefore has to be told."""

from collections.abc import Iterable, Iterator

from topology.configuration import Cluster, Devices, Topology
from topology.features import FEATURES, gates_for, runtime_config_for
from topology.workloads import ClaimSpec, Workload


def features_used(topology: Topology) -> dict[str, str]:
    """Return the features of `topology.features.FEATURES` that the stack uses, each with a key that uses it."""
    return dict(reversed(list(_uses(topology))))


def completed(cluster: Cluster, features: dict[str, str]) -> Cluster:
    """Return `cluster` with the feature gates and APIs that the `features` need; what the user says goes over them."""
    gates = gates_for(features, cluster.minor)
    apis = apis_needed(cluster, features)
    return cluster.model_copy(
        update={
            "kube_feature_gates": gates | cluster.kube_feature_gates,
            "kube_runtime_config": apis | cluster.kube_runtime_config,
        }
    )


def apis_needed(cluster: Cluster, features: Iterable[str]) -> dict[str, bool]:
    """Return the APIs to serve for the `features`, and for those that the user turns on by their gates.

    Without one of them the control plane would wait for it for good.
    """
    turned_on = {name for name, feature in FEATURES.items() if cluster.kube_feature_gates.get(feature.gate)}
    return runtime_config_for(turned_on.union(features), cluster.served_resource_api, cluster.minor)


def _uses(topology: Topology) -> Iterator[tuple[str, str]]:
    for index, device_class in enumerate(topology.device_classes):
        if device_class.extended_resource_name:
            yield "extended resources", f"deviceClasses[{index}].extendedResourceName"
    for index, pool in enumerate(topology.node_pools):
        for devices in pool.all_devices():
            yield from ((feature, f"nodePools[{index}]") for feature in _of_devices(devices))
        if any(fault.taint for fault in pool.faults):
            yield "device taints", f"nodePools[{index}].faults"
    if topology.device_taint_rules:
        yield "device taints", "deviceTaintRules"
        yield "device taint rules", "deviceTaintRules"
    for index, shared in enumerate(topology.claims):
        yield from ((feature, f"claims[{index}]") for feature in _of_claim(shared))
    for index, workload in enumerate(topology.workloads):
        for place, claim in enumerate(workload.claims):
            yield from ((feature, f"workloads[{index}].claims[{place}]") for feature in _of_claim(claim))
        if workload.extended_resources:
            yield "extended resources", f"workloads[{index}].containers"
        yield from _of_pod_group(workload, f"workloads[{index}].podGroup")


def _of_devices(devices: Devices) -> Iterator[str]:
    if consumes_counters(devices):
        yield "partitionable devices"
    if devices.model.allow_multiple_allocations or any(
        partition.allow_multiple_allocations for partition in devices.model.partitions
    ):
        yield "consumable capacity"


def consumes_counters(devices: Devices) -> bool:
    """Tell whether parts of a device share counters."""
    return devices.mig == "dynamic" or bool(devices.model.counters)


def _of_pod_group(workload: Workload, path: str) -> Iterator[tuple[str, str]]:
    if workload.pod_group:
        yield "pod groups", path
        if workload.pod_group.min_count:
            yield "gang scheduling", f"{path}.minCount"
        if workload.pod_group.claims:
            yield "workload resource claims", f"{path}.claims"


def _of_claim(claim: ClaimSpec) -> Iterator[str]:
    selections = [selection for request in claim.requests for selection in request.alternatives()]
    distinct = any(constraint.distinct_attribute for constraint in claim.constraints)
    if distinct or any(selection.capacity for selection in selections):
        yield "consumable capacity"
    if any(selection.tolerations for selection in selections):
        yield "device taints"
    if any(request.first_available for request in claim.requests):
        yield "prioritized list"
    if any(request.admin_access for request in claim.requests):
        yield "admin access"
