"""The names of the objects that a stack creates."""

from topology.kubernetes.api_versions import RESOURCE_API_GROUP
from topology.kubernetes.objects import DEFAULT_NAMESPACE
from topology.objects import namespaces
from topology.objects.priorities import SCHEDULING_API_GROUP
from topology.objects.slices import resource_slices
from topology.schema.stack import Topology

Name = tuple[str, str, str, str]
"""API group, kind, namespace (`default` if it has none) and name."""


def described(name: Name) -> str:
    """Return the kind, namespace and name of an object, as messages have them."""
    _, kind, namespace, own = name
    return f"{kind} {own}" if namespace == DEFAULT_NAMESPACE else f"{kind} {namespace}/{own}"


def created_by_stack(topology: Topology, kinds: set[str]) -> dict[Name, str]:
    """Return the objects that the stack creates, each with its key in the configuration.

    ResourceSlices, which take long to render, are only included if they are one of `kinds`.
    """
    created = [
        ("", "Node", "", name, f"nodePools[{index}]")
        for index, pool in enumerate(topology.node_pools)
        for name in pool.node_names()
    ]
    created += [
        (RESOURCE_API_GROUP, "DeviceClass", "", entry.name, "the drivers of its devices, or deviceClasses")
        for entry in topology.device_classes
    ]
    created += [
        ("", "Namespace", "", entry["metadata"]["name"], "a workload or claim in it")
        for entry in namespaces.namespaces(topology)
    ]
    created += [
        (RESOURCE_API_GROUP, "DeviceTaintRule", "", rule.name, f"deviceTaintRules[{index}]")
        for index, rule in enumerate(topology.device_taint_rules)
    ]
    created += [
        (RESOURCE_API_GROUP, "ResourceClaim", claim.namespace, claim.name, f"claims[{index}]")
        for index, claim in enumerate(topology.claims)
    ]
    created += [
        (SCHEDULING_API_GROUP, "PriorityClass", "", entry.name, f"priorityClasses[{index}]")
        for index, entry in enumerate(topology.priority_classes)
    ]
    groups = {"Deployment": "apps", "Job": "batch", "Pod": ""}
    for index, workload in enumerate(topology.workloads):
        path = f"workloads[{index}]"
        created += [
            (RESOURCE_API_GROUP, "ResourceClaimTemplate", workload.namespace, workload.template_name(claim), path)
            for claim in workload.claims
            if not claim.claim
        ]
        created += [(groups[kind], kind, namespace, name, path) for kind, namespace, name in workload.makers()]
    if "ResourceSlice" in kinds:
        created += [
            (RESOURCE_API_GROUP, "ResourceSlice", "", entry["metadata"]["name"], path)
            for path, pool in topology.pools.items()
            for name in pool.pool_names()
            for entry in resource_slices(pool, name, topology.cluster.minor)
        ]
    return {(group, kind, namespace or DEFAULT_NAMESPACE, name): path for group, kind, namespace, name, path in created}
