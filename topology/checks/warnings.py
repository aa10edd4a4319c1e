"""What a valid stack says, and what Kubernetes does otherwise: the user is warned.

https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#extended-resource
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from topology.checks.device_matching import AbortedError, Alternative, NodeDevices, Selector
from topology.checks.fabric_pools import unusable_devices
from topology.checks.manifests import manifest_objects
from topology.kubernetes.limits import SUPPORTED_NODES_MAX
from topology.kubernetes.objects import IMPLICIT_EXTENDED_RESOURCE
from topology.kubernetes.quantities import number
from topology.kubernetes.reading import entries, is_of_resource_api, limited_resources, part, pod_spec
from topology.objects import nodes
from topology.objects.inventory import Device, device_pools
from topology.schema.devices import DeviceClass
from topology.schema.stack import NodePool, Topology

FIRST_WITH_NODE_ALLOCATABLE_EXTENDED_RESOURCES = 38
"""Before, the API server refuses the name of the claim in the status that the scheduler writes for the pod.

https://github.com/kubernetes/kubernetes/pull/141556
"""


def warnings_of(topology: Topology) -> Iterator[str]:
    """Yield the warnings about a valid topology, whose device classes include those of drivers."""
    classes = [*topology.device_classes, *_classes_of_manifests(topology)]
    yield from _many_nodes(topology)
    yield from unusable_devices(topology)
    yield from _shared_names(classes)
    requested = set(_requested(topology))
    for pool in topology.node_pools:
        for entry in classes if pool.node_names() else ():
            for name in (entry.extended_resource_name, f"{IMPLICIT_EXTENDED_RESOURCE}/{entry.name}"):
                if name and number(nodes.node_capacity(pool).get(name, "0")):
                    yield from _hidden_devices(pool, entry, name)
                elif name and (name == entry.extended_resource_name or name in requested):
                    yield from _refused_status(pool, entry, name, topology.cluster.minor)


def _many_nodes(topology: Topology) -> Iterator[str]:
    nodes_of_stack = sum(pool.nodes for pool in topology.node_pools)
    if nodes_of_stack > SUPPORTED_NODES_MAX:
        yield (
            f"the stack has {nodes_of_stack} nodes, and Kubernetes supports at most {SUPPORTED_NODES_MAX} in a "
            "cluster (https://kubernetes.io/docs/setup/best-practices/cluster-large/): a real cluster of this size may "
            "behave differently. docs/performance.md says how much memory it needs"
        )


def _classes_of_manifests(topology: Topology) -> Iterator[DeviceClass]:
    for entry in manifest_objects(topology):
        if is_of_resource_api(entry.content, "DeviceClass"):
            spec = entry.content.get("spec")
            selectors = [str(part(found, "cel", "expression")) for found in entries(spec, "selectors")]
            name = part(spec, "extendedResourceName")
            yield DeviceClass.model_construct(
                name=entry.name[3], selectors=selectors, extended_resource_name=str(name) if name else None
            )


def _requested(topology: Topology) -> Iterator[str]:
    """Yield the names of the resources that pods request."""
    for workload in topology.workloads:
        yield from workload.extended_resources
    for entry in manifest_objects(topology):
        yield from limited_resources(pod_spec(entry.content))


def _shared_names(classes: Sequence[DeviceClass]) -> Iterator[str]:
    """Yield the extended resources that several classes provide.

    https://github.com/kubernetes/dynamic-resource-allocation/blob/v0.37.2/deviceclass/extendedresourcecache
    """
    providers: dict[str, list[str]] = defaultdict(list)
    for entry in classes:
        if entry.extended_resource_name:
            providers[entry.extended_resource_name].append(entry.name)
    for name, names in providers.items():
        if len(names) > 1:
            yield (
                f"device classes {' and '.join(sorted(names))} have one extendedResourceName, {name}: the scheduler "
                "uses only the newest of them, or the first by name if they were created in the same second"
            )


def _hidden_devices(pool: NodePool, entry: DeviceClass, name: str) -> Iterator[str]:
    """Warn of a resource that the nodes themselves have: the scheduler allocates devices only where a node has none.

    https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/scheduler/framework/plugins/dynamicresources/extendeddynamicresources.go
    """
    if _devices(pool, entry):
        yield (
            f"the nodes of pool {pool.name} have {name} in their capacity, and device class {entry.name} provides it "
            f"too: to pods that request {name}, the scheduler gives this capacity and never the devices of these "
            f"nodes. To have it allocate the devices, set {name}: 0 in the pool's capacity"
        )


def _refused_status(pool: NodePool, entry: DeviceClass, name: str, minor: int) -> Iterator[str]:
    """Warn of devices that use resources of their node, and that pods can get by an extended resource.

    https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/apis/core/validation/validation.go,
    validateNodeAllocatableResourceClaimStatus
    """
    uses_node = any(devices.model.node_allocatable_resources for devices in pool.all_devices())
    if not uses_node or minor >= FIRST_WITH_NODE_ALLOCATABLE_EXTENDED_RESOURCES:
        return
    if any(device.node_allocatable_resources for device in _devices(pool, entry)):
        yield (
            f"Kubernetes 1.{minor} cannot run pods that request {name} with the devices of device class {entry.name} "
            f"in pool {pool.name}, which have nodeAllocatableResources: the API server refuses the status that the "
            f"scheduler writes for such pods. Request these devices with claims. Kubernetes 1."
            f"{FIRST_WITH_NODE_ALLOCATABLE_EXTENDED_RESOURCES} corrects this: "
            "https://github.com/kubernetes/kubernetes/pull/141556"
        )


def _devices(pool: NodePool, entry: DeviceClass) -> list[Device]:
    """Return the devices of the pool's first node that the class matches; none if its expressions fail for one."""
    sound = pool.model_copy(update={"faults": []})
    wanted = Alternative("", entry.name, 1, [Selector("", expression) for expression in entry.selectors])
    try:
        found = NodeDevices(device_pools(sound, f"{pool.name}-0")).matching(wanted, pool)
    except AbortedError:
        return []
    return [candidate.device for candidate in found]
