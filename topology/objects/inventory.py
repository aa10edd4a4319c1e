"""The devices of a node or a fabric pool: the device models of its pool, with every placeholder filled in.

All values derive from names, so the same stack has the same UUIDs and addresses on every run.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

from topology.kubernetes.objects import given
from topology.objects import mig
from topology.objects.kwok_stages import ATTACH_FAILS
from topology.objects.shares import with_shares
from topology.schema.devices import DeviceAttribute, DeviceModel, MigProfile, Partition, Sibling
from topology.schema.faults import DeviceTaint, Fault
from topology.schema.hosts import Host
from topology.schema.placeholders import fill
from topology.schema.stack import Devices, Pool

Values = dict[str, object]
PCI_DOMAINS_PER_HOST = 0x1000


@dataclass(frozen=True)
class Device:
    """A device of a ResourceSlice: attributes and capacity as in the Kubernetes API, counters by counter set."""

    name: str
    attributes: Mapping[str, Mapping[str, Any]]
    capacity: Mapping[str, Mapping[str, Any]]
    consumes_counters: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    allow_multiple_allocations: bool = False
    taints: Sequence[DeviceTaint] = field(default_factory=list)
    compatibility_groups: Sequence[str] = field(default_factory=list)
    node_allocatable_resources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    binding_conditions: Sequence[str] = field(default_factory=list)
    binding_failure_conditions: Sequence[str] = field(default_factory=list)
    binds_to_node: bool = False
    selection: Mapping[str, Any] = field(default_factory=dict)
    """The fields that say which nodes can use it, if its ResourceSlice does not."""

    @cached_property
    def is_advanced(self) -> bool:
        """Whether it has counters, taints or lists, so that the API allows fewer such devices per slice."""
        if self.consumes_counters or self.taints:
            return True
        return any(isinstance(value, list) for attribute in self.attributes.values() for value in attribute.values())


@dataclass(frozen=True)
class PhysicalDevice:
    """A device in the machine: one published device, or its partitions and the counters that they share."""

    devices: list[Device]
    counter_sets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    own_slice: bool = False


@dataclass(frozen=True)
class DevicePool:
    """The devices of one driver on one node, or in a fabric pool: a pool of resource.k8s.io, named after that."""

    driver: str
    slice_name: str
    first_generation: int
    physical_devices: list[PhysicalDevice]
    sorted_by_name: bool = False
    skip_node_operations: Sequence[str] = ()
    fabric: str = ""
    """The name of a fabric pool; empty for the devices of a node."""

    @property
    def devices(self) -> list[Device]:
        """All devices, in order."""
        return [device for physical in self.physical_devices for device in physical.devices]


def device_pools(pool: Pool, name: str) -> list[DevicePool]:
    """Return the devices of the node `name` of a node pool, or those of the fabric pool of that name, by driver."""
    by_driver: dict[str, list[PhysicalDevice]] = {}
    first: dict[str, DeviceModel] = {}
    faults = pool.faults_on(name)
    for devices, place, values in _places(pool, name):
        first.setdefault(devices.model.driver, devices.model)
        physical = physical_device(devices, place, values)
        by_driver.setdefault(devices.model.driver, []).append(_with_faults(physical, devices.model.driver, faults))
    return [
        DevicePool(
            driver,
            first[driver].slice_name,
            first[driver].first_generation,
            physical,
            first[driver].sorted_by_name,
            first[driver].skip_node_operations,
        )
        for driver, physical in by_driver.items()
    ]


def _with_conditions(physical: PhysicalDevice, devices: Devices) -> PhysicalDevice:
    """Add the conditions that the scheduler waits for before it binds a pod, and the nodes that can use the devices."""
    model = devices.model
    common = given(
        binding_conditions=model.binding_conditions,
        binding_failure_conditions=model.binding_failure_conditions,
        binds_to_node=model.binds_to_node,
        selection=devices.selection,
    )
    if not common:
        return physical
    return replace(physical, devices=[replace(device, **common) for device in physical.devices])


def _with_faults(physical: PhysicalDevice, driver: str, faults: Sequence[Fault]) -> PhysicalDevice:
    if not faults:
        return physical
    found = [(device, [fault for fault in faults if fault.is_of(driver, device.name)]) for device in physical.devices]
    there = [(device, own) for device, own in found if not any(fault.gone for fault in own)]
    return replace(physical, devices=[_faulty(device, own) for device, own in there])


def _faulty(device: Device, faults: Sequence[Fault]) -> Device:
    """Return a device with its own faults."""
    taints = [fault.taint for fault in faults if fault.taint]
    failures = list(device.binding_failure_conditions)
    if failures and any(fault.attach_fails for fault in faults):
        failures.append(ATTACH_FAILS)
    return replace(device, taints=taints, binding_failure_conditions=failures)


def host_of(pool: Pool) -> Host | None:
    """Return the host of the pool's devices: the one that the pool names, or that of the first device with one."""
    hosts = [devices.model.host for devices in pool.all_devices() if devices.model.host]
    return pool.host or (hosts[0] if hosts else None)


@lru_cache(maxsize=64)
def stable_uuid(*names: object) -> str:
    """Return a UUID that depends only on the names; cached, as all devices of a node need that of the node."""
    return _uuid(_digest(*names))


def _uuid(digest: str) -> str:
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"


def _digest(*names: object) -> str:
    return hashlib.sha256("/".join(map(str, names)).encode()).hexdigest()


def _places(pool: Pool, node: str) -> Iterator[tuple[Devices, int, Values]]:
    """Yield each physical device of a node or fabric pool: the entry, its place there, the values of its placeholders.

    Devices of a driver with the same template of their names are numbered together, regardless of their model.
    """
    host = host_of(pool)
    numbers: Counter[tuple[str, str]] = Counter()
    slots: Counter[str] = Counter()
    for devices in pool.all_devices():
        model = devices.model
        for place in range(devices.count):
            key = (model.driver, model.device_name)
            values = values_without_place(devices, node, numbers[key])
            if host and model.slot:
                values |= addresses(host, model.slot, slots[model.slot])
                slots[model.slot] += 1
            numbers[key] += 1
            yield devices, place, values


def values_without_place(devices: Devices, node: str, number: int) -> Values:
    """Return the values of the placeholders of device `number` on `node`, which is not at a place of a host."""
    driver = devices.model.driver
    return {
        "node": node,
        "driver": driver,
        "nodeUuid": stable_uuid(node, driver),
        "count": devices.count,
        "index": number,
        "numaNode": number,
    }


def addresses(host: Host, kind: str, index: int) -> Values:
    """Return the PCI addresses of slot `index`; after the host's last slot, they repeat in further PCI domains."""
    places = host.addresses[kind]
    round_, place = divmod(index, len(places))
    slot, address = places[place]
    root = (slot.nic_pcie_root if kind == "nic" else None) or slot.pcie_root
    return {**_values_at(address, root, round_), "numaNode": slot.numa_node}


@lru_cache(maxsize=4096)
def _values_at(address: str, root: str, round_: int) -> Values:
    """Return the values of a place; cached, as all nodes of a fleet have the same places."""
    root = _shifted(root.removeprefix("pci"), round_)
    return {"pcieRoot": f"pci{root}", "pcieBus": root.partition(":")[2], **address_values(_shifted(address, round_))}


def address_values(address: str) -> Values:
    """Return the values of the placeholders for a PCI address, such as `0000:10:1b.0`."""
    _, bus, device = address.partition(".")[0].split(":")
    return {
        "pciBusID": address,
        "pciName": re.sub("[:.]", "-", address),
        "busNumber": int(bus, 16),
        "deviceNumber": int(device, 16),
    }


def _shifted(address: str, round_: int) -> str:
    domain, _, rest = address.partition(":")
    return f"{int(domain, 16) + round_ * PCI_DOMAINS_PER_HOST & 0xFFFF:04x}:{rest}"


def physical_device(devices: Devices, place: int, values: Values) -> PhysicalDevice:
    """Return device number `place` of the entry `devices`, with the values of its placeholders."""
    model = devices.merged
    physical = _with_conditions(_unshared(devices, model, place, values), devices)
    if model.consumable_shares is None:
        return physical
    return replace(physical, devices=[_shared(device, model.consumable_shares) for device in physical.devices])


def _unshared(devices: Devices, model: DeviceModel, place: int, values: Values) -> PhysicalDevice:
    whole = _device(model, values)
    if devices.mig == "dynamic":
        return _dynamic_mig(model, whole)
    if devices.mig:
        return PhysicalDevice(_static_mig(whole, mig_profiles_on(devices, place), values))
    if model.partitions:
        return _partitioned(model, values)
    return PhysicalDevice([whole, *(_sibling(model, sibling, values) for sibling in model.siblings)])


def _sibling(model: DeviceModel, sibling: Sibling, values: Values) -> Device:
    own = {"device_name": sibling.device_name, "attributes": sibling.attributes, "capacity": sibling.capacity}
    none = {"allow_multiple_allocations": False, "node_allocatable_resources": {}}
    return _device(model.model_copy(update=own | none), values)


def _shared(device: Device, shares: int | str) -> Device:
    if "memory" not in device.capacity:  # The driver shares no devices for virtual machines.
        return device
    return replace(device, capacity=with_shares(device.capacity, shares), allow_multiple_allocations=True)


def _device(model: DeviceModel, values: Values) -> Device:
    name = fill(model.device_name, values)
    identity = _identity(values, name)
    values = {**identity, **values, "device": name, "deviceUuid": identity["uuid"]}
    return Device(
        name,
        {
            key: _filled_in(attribute, values) if attribute.has_placeholders else attribute.wire
            for key, attribute in model.attributes.items()
        },
        {key: capacity.wire for key, capacity in model.capacity.items()},
        allow_multiple_allocations=model.allow_multiple_allocations,
        node_allocatable_resources={
            name: entry.model_dump(by_alias=True, exclude_none=True)
            for name, entry in model.node_allocatable_resources.items()
        },
    )


def _identity(values: Values, name: str) -> Values:
    digest = _digest(values["node"], values["driver"], name)
    mac = f"02:{digest[40:42]}:{digest[42:44]}:{digest[44:46]}:{digest[46:48]}:{digest[48:50]}"
    return {"uuid": _uuid(digest), "hex": digest[-16:], "mac": mac}


def _filled_in(attribute: DeviceAttribute, values: Values) -> dict[str, Any]:
    ((kind, value),) = attribute.wire.items()
    if attribute.is_list:
        return {kind: [_filled(kind.removesuffix("s"), item, values) for item in value]}
    return {kind: _filled(kind, value, values)}


def _filled(kind: str, value: Any, values: Values) -> Any:
    if kind == "int":
        return int(fill(str(value), values))
    return fill(value, values) if kind == "string" else value


def _quantities(capacity: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    return {name: {"value": value} for name, value in capacity.items()}


# Partitionable devices.


def _partitioned(model: DeviceModel, values: Values) -> PhysicalDevice:
    sets = {fill(model.counter_set, values): model.counters} if model.counter_set else {}
    # The partitions share the identity of their device.
    values = values | _identity(values, fill(model.device_name, values))
    return PhysicalDevice([_partition(model, partition, values, sets) for partition in model.partitions], sets)


def _partition(
    model: DeviceModel, partition: Partition, values: Values, counter_sets: Mapping[str, Mapping[str, str]]
) -> Device:
    shared = partition.allow_multiple_allocations
    part = model.model_copy(
        update={
            "device_name": partition.device_name,
            "attributes": model.attributes | partition.attributes,
            "capacity": partition.capacity,
            "allow_multiple_allocations": model.allow_multiple_allocations if shared is None else shared,
        }
    )
    taken = partition.consumes_counters
    consumed = {name: counters if taken is None else taken for name, counters in counter_sets.items()}
    return replace(
        _device(part, values), consumes_counters=consumed, compatibility_groups=partition.compatibility_groups
    )


def _dynamic_mig(model: DeviceModel, whole: Device) -> PhysicalDevice:
    counter_set = f"{whole.name}-counter-set"
    everything = mig.whole_capacity(model.mig)
    counters = mig.counters(everything, 0, mig.memory_slices(model.mig))
    gpu = Device(whole.name, whole.attributes, _quantities(everything), {counter_set: counters})
    devices = [
        _mig_device(whole, profile, placement, {counter_set: taken})
        for profile in model.mig
        for placement in profile.placements
        for taken in (mig.counters(mig.capacity(profile), placement, profile.size),)
    ]
    devices.sort(key=lambda device: device.name)
    return PhysicalDevice(
        devices if model.mig_needs_reset else [gpu, *devices], {counter_set: counters}, own_slice=True
    )


def _static_mig(whole: Device, wanted: list[MigProfile], values: Values) -> list[Device]:
    """Return the MIG devices of a GPU, or the whole GPU if there are none."""
    if not wanted:
        return [whole]
    made = []
    for profile, placement in mig.placed(wanted) or []:
        slices = {f"memorySlice{place}": "1" for place in range(placement, placement + profile.size)}
        device = _mig_device(whole, profile, placement, {}, slices)
        uuid = stable_uuid(values["node"], values["driver"], device.name)
        made.append(Device(device.name, {**device.attributes, "uuid": {"string": f"MIG-{uuid}"}}, device.capacity))
    return sorted(made, key=lambda device: device.name)


def mig_profiles_on(devices: Devices, index: int) -> list[MigProfile]:
    """Return the profile of each static MIG device of GPU `index`."""
    profiles = {profile.name: profile for profile in devices.model.mig}
    return [
        profiles[name]
        for cut in (devices.mig if isinstance(devices.mig, list) else [])
        if cut.gpus is None or index in cut.gpus
        for name, count in cut.profiles.items()
        for _ in range(count)
    ]


def _mig_device(
    gpu: Device,
    profile: MigProfile,
    placement: int,
    consumes_counters: Mapping[str, Mapping[str, str]],
    memory_slices: Mapping[str, str] | None = None,
) -> Device:
    inherited = {name: value for name, value in gpu.attributes.items() if name in mig.PARENT_ATTRIBUTES}
    return Device(
        mig.device_name(gpu.name, profile, placement),
        {
            "type": {"string": "mig"},
            "profile": {"string": profile.name},
            "parentUUID": gpu.attributes.get("uuid", {"string": ""}),
            **inherited,
        },
        _quantities({**mig.capacity(profile), **(memory_slices or {})}),
        consumes_counters,
    )
