"""ResourceSlices: the devices of a node or a fabric pool, split within the API's limits as the real drivers do."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from topology.kubernetes import limits
from topology.kubernetes.objects import given
from topology.objects.device_taints import taint
from topology.objects.inventory import Device, DevicePool, PhysicalDevice, device_pools
from topology.schema.placeholders import fill
from topology.schema.stack import Pool

Manifest = dict[str, Any]

# The characters of names that the API server generates, in the order in which names are sorted.
# https://github.com/kubernetes/apimachinery/blob/v0.37.2/pkg/util/rand/rand.go
_ALPHANUMERIC = "2456789bcdfghjklmnpqrstvwxz"
SLICES_MAX = len(_ALPHANUMERIC) ** 2
"""The maximum number of distinct slice names of a pool."""

COUNTERS_WITH_DEVICES_UNTIL = 34
"""Up to this minor version of Kubernetes, counters are in the slice of the devices that consume them; in later versions
they have their own slices. NVIDIA's driver checks the server's version too: `shouldUseSplitResourceSlices` in
https://github.com/kubernetes-sigs/dra-driver-nvidia-gpu/blob/main/cmd/gpu-kubelet-plugin/driver.go
"""


@dataclass
class _Content:
    """The content of one slice."""

    counter_sets: dict[str, Any] = field(default_factory=dict)
    devices: list[Device] = field(default_factory=list)


def resource_slices(pool: Pool, name: str, minor: int = limits.KUBERNETES_MINOR_MAX) -> list[Manifest]:
    """Render the ResourceSlices of one of the `pool_names` of `pool` for Kubernetes 1.`minor`, driver by driver.

    A pool of resource.k8s.io has the name of its node, as with the real drivers. The scheduler examines a pool's slices
    by name and their devices in order, so the order of the names is that of the devices.
    """
    reach = pool.reach(name)
    return [
        _resource_slice(devices, name, reach, ordinal, content, count=len(contents))
        for devices in device_pools(pool, name)
        for contents in (list(_contents(devices, minor)),)
        for ordinal, content in enumerate(contents)
    ]


def owner_reference(node: str, uid: object) -> Manifest:
    """Render the owner reference of a slice to its Node, as k8s.io/dynamic-resource-allocation/resourceslice does."""
    return {"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid, "controller": True}


def is_owned_by_node(pool: Pool, driver: str) -> bool:
    """Tell whether the slices of `driver` name their Node as owner."""
    return all(devices.model.owned_by_node for devices in pool.all_devices() if devices.model.driver == driver)


def first_generation(pool: Pool, driver: str) -> int:
    """Return the first generation of the pools of `driver`."""
    return next(devices.first_generation for devices in device_pools(pool, pool.name) if devices.driver == driver)


def content_digest(pool: Pool, driver: str, minor: int) -> str:
    """Return a digest of everything that `driver` publishes on each node, or in the fabric pool."""
    slices = [entry for entry in resource_slices(pool, pool.name, minor) if entry["spec"]["driver"] == driver]
    faults = [fault.model_dump() for fault in pool.faults if not fault.not_ready]
    return hashlib.sha256(json.dumps([slices, *faults], sort_keys=True).encode()).hexdigest()


def _resource_slice(
    pool: DevicePool, name: str, reach: Manifest, ordinal: int, content: _Content, count: int
) -> Manifest:
    spec: Manifest = {
        "driver": pool.driver,
        **reach,
        "pool": {"name": name, "generation": pool.first_generation, "resourceSliceCount": count},
    }
    if content.counter_sets:
        spec["sharedCounters"] = [
            {"name": name, "counters": _counters(counters)} for name, counters in content.counter_sets.items()
        ]
    if content.devices or not content.counter_sets:
        spec["devices"] = [device_manifest(device) for device in content.devices]
    spec |= given(skipNodeOperations=pool.skip_node_operations)
    values = {"node": name, "driver": pool.driver, "suffix": _suffix(pool.driver, name, ordinal)}
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceSlice",
        "metadata": {"name": fill(pool.slice_name, values)},
        "spec": spec,
    }


def _suffix(driver: str, node: str, ordinal: int) -> str:
    base = len(_ALPHANUMERIC)
    digest = hashlib.sha256(f"{node}/{driver}/{ordinal}".encode()).digest()
    places = (ordinal // base, ordinal % base, *digest[:3])
    return "".join(_ALPHANUMERIC[place % base] for place in places)


def _contents(pool: DevicePool, minor: int) -> Iterator[_Content]:
    together = minor <= COUNTERS_WITH_DEVICES_UNTIL
    if not together:
        yield from _counter_slices(pool.physical_devices)
    for group in _groups(pool.physical_devices):
        for content in _device_slices(group, together):
            if pool.sorted_by_name:
                content.devices.sort(key=lambda device: device.name)
            yield content


def _counter_slices(physical_devices: Iterable[PhysicalDevice]) -> Iterator[_Content]:
    # Parts of one device that are for different nodes are entries with the same counter set.
    sets = list({name: one for physical in physical_devices for name, one in physical.counter_sets.items()}.items())
    for begin in range(0, len(sets), limits.SLICE_COUNTER_SETS_MAX):
        yield _Content(counter_sets=dict(sets[begin : begin + limits.SLICE_COUNTER_SETS_MAX]))


def _groups(physical_devices: Sequence[PhysicalDevice]) -> Iterator[list[PhysicalDevice]]:
    """Yield the devices that share slices first, then each device that needs its own."""
    if common := [physical for physical in physical_devices if not physical.own_slice]:
        yield common
    yield from ([physical] for physical in physical_devices if physical.own_slice)


def _device_slices(group: Iterable[PhysicalDevice], together: bool) -> Iterator[_Content]:
    content = _Content()
    for physical in group:
        if content.devices and not _fits(content, physical):
            yield content
            content = _Content()
        content.devices.extend(physical.devices)
        if together:
            content.counter_sets.update(physical.counter_sets)
    if content.devices:
        yield content


def _fits(content: _Content, physical: PhysicalDevice) -> bool:
    devices = content.devices + physical.devices
    advanced = any(device.is_advanced for device in devices)
    most = limits.SLICE_ADVANCED_DEVICES_MAX if advanced else limits.SLICE_DEVICES_MAX
    # Counter sets are only here if they share a slice with their devices.
    sets = {**content.counter_sets, **physical.counter_sets}
    counters = sum(len(counters) for counters in sets.values())
    return len(devices) <= most and len(sets) <= limits.SLICE_COUNTER_SETS_MAX and counters <= limits.SLICE_COUNTERS_MAX


def device_manifest(device: Device) -> Manifest:
    """Render a device of a ResourceSlice."""
    manifest: Manifest = {"name": device.name, **device.selection}
    if device.attributes:
        manifest["attributes"] = device.attributes
    if device.capacity:
        manifest["capacity"] = device.capacity
    if device.allow_multiple_allocations:
        manifest["allowMultipleAllocations"] = True
    manifest |= given(nodeAllocatableResources=device.node_allocatable_resources)
    if device.taints:
        manifest["taints"] = [taint(entry) for entry in device.taints]
    manifest |= given(
        bindsToNode=device.binds_to_node,
        bindingConditions=list(device.binding_conditions),
        bindingFailureConditions=list(device.binding_failure_conditions),
    )
    if device.consumes_counters:
        manifest["consumesCounters"] = [
            {"counterSet": counter_set, "counters": _counters(counters)}
            | given(compatibilityGroups=device.compatibility_groups)
            for counter_set, counters in device.consumes_counters.items()
        ]
    return manifest


def _counters(counters: Any) -> Manifest:
    return {name: {"value": value} for name, value in counters.items()}
