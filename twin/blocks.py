"""Groups the devices of a driver on a node into physical devices, such as a GPU with all of its partitions."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from topology.kubernetes.naming import natural_key
from topology.kubernetes.objects import given
from topology.kubernetes.quantities import canonical
from topology.objects.inventory import address_values
from topology.objects.kwok_stages import ATTACH_FAILS
from twin.device_objects import Amount, SliceDevice
from twin.identities import MARK, Wire

BUS_ID = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
PCI_NAME = re.compile(r"(?<![0-9a-z])([0-9a-f]{4})-([0-9a-f]{2})-([0-9a-f]{2})-([0-7])(?![0-9a-z])")
ROOT = re.compile(r"pci[0-9a-f]{4}:[0-9a-f]{2}")
NUMA = re.compile(r"numa_?node(_?id)?$", re.IGNORECASE)
_STANDARD_BUS_ID = "resource.kubernetes.io/pciBusID"


class Place(NamedTuple):
    """The place of a device on PCIe, as far as it is known."""

    bus_id: str | None = None
    root: str | None = None
    numa_node: int | None = None

    @property
    def placeholders(self) -> dict[str, object]:
        """The values of the placeholders for a place."""
        return {
            **(address_values(self.bus_id) if self.bus_id else {}),
            "pcieRoot": self.root,
            "pcieBus": self.root and self.root.partition(":")[2],
            "numaNode": self.numa_node,
        }

    @property
    def complete(self) -> "Place":
        """The place with defaults for what no device publishes."""
        return self._replace(root=self.root or "pci0000:00", numa_node=self.numa_node or 0)


@dataclass(frozen=True)
class Block:
    """A physical device: the devices that are published for it, and the counters that they share."""

    devices: list[Wire]
    counter_set: str | None = None
    counters: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether it is published as one device without partitions."""
        return len(self.devices) == 1 and self.counter_set is None

    @property
    def place(self) -> Place:
        """Its place on PCIe, as its first device publishes it."""
        return place_of(self.devices[0])


def wire(device: SliceDevice) -> Wire:
    """Return a device as on the wire, with canonical quantities and without faults."""
    failures = [name for name in device.binding_failure_conditions if name != ATTACH_FAILS]
    return {"name": device.name} | given(
        attributes=dict(device.attributes),
        capacity={name: _amount(amount) for name, amount in device.capacity.items()},
        allowMultipleAllocations=device.allow_multiple_allocations,
        nodeAllocatableResources=_canonical(device.node_allocatable_resources),
        bindsToNode=device.binds_to_node,
        bindingConditions=device.binding_conditions,
        bindingFailureConditions=failures,
        consumesCounters=[
            {"counterSet": entry.counter_set, "counters": {n: _amount(a) for n, a in entry.counters.items()}}
            | given(compatibilityGroups=entry.compatibility_groups)
            for entry in device.consumes_counters
        ],
    )


def _amount(amount: Amount) -> dict[str, Any]:
    return {"value": canonical(amount.value)} | given(requestPolicy=_canonical(amount.request_policy))


def _canonical(value: Any) -> Any:
    """Return `value` with its quantities as the API server writes them; everything else is unchanged."""
    if isinstance(value, dict):
        return {name: _canonical(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_canonical(entry) for entry in value]
    try:
        return canonical(str(value)) if type(value) in (str, int, float) else value
    except ValueError:
        return value


def place_of(device: Wire) -> Place:
    """Return the place of a device on PCIe from its attributes, or else from its name."""
    attributes = device.get("attributes", {})
    texts = [value["string"] for value in attributes.values() if "string" in value]
    standard = attributes.get(_STANDARD_BUS_ID, {}).get("string", "")
    bus_ids = [text for text in (standard, *texts) if BUS_ID.fullmatch(text)]
    bus_ids += [f"{name[1]}:{name[2]}:{name[3]}.{name[4]}" for name in PCI_NAME.finditer(device["name"])]
    roots = [text for text in texts if ROOT.fullmatch(text)]
    numa = [value for name, value in attributes.items() if NUMA.search(name)]
    numbers = [number for value in numa for number in value.get("ints", [value.get("int", -1)]) if number >= 0]
    return Place(*(found[0] if found else None for found in (bus_ids, roots, numbers)))


def in_order(devices: Sequence[Wire]) -> tuple[list[Wire], bool]:
    """Return devices sorted by number, and whether their driver sorts them by name (gpu-16 before gpu-8).

    Drivers that list devices in the random order of a Go map get this order too. Devices of several kinds keep theirs.
    """
    names = [device["name"] for device in devices]
    if len({_skeleton(name) for name in names}) > 1:
        return list(devices), False
    by_number = sorted(devices, key=lambda device: _by_number(device["name"]))
    return by_number, names == sorted(names) and names != [device["name"] for device in by_number]


def _skeleton(name: str) -> str:
    return re.sub(r"[0-9]+", "#", PCI_NAME.sub("pci", name))


def _by_number(name: str) -> list[tuple[int, str]]:
    return [(0, name)] if PCI_NAME.search(name) else natural_key(name)


def blocks(devices: Sequence[Wire], counter_sets: Mapping[str, Mapping[str, str]]) -> list[Block]:
    """Group devices into physical ones: those that share counters, a PCI bus ID or a parent."""
    together: dict[str, list[Wire]] = {}
    for device in devices:
        together.setdefault(_key(device), []).append(device)
    return [_block(found, counter_sets) for found in together.values()]


def _block(devices: list[Wire], counter_sets: Mapping[str, Mapping[str, str]]) -> Block:
    consumed = devices[0].get("consumesCounters")
    if not consumed:
        return Block(devices)
    name = consumed[0]["counterSet"]
    return Block(devices, name, counter_sets.get(name, {}))


# What a model says of all of its parts; nodeAllocatableResources are of devices without parts.
_OF_WHOLE = ("bindsToNode", "bindingConditions", "bindingFailureConditions")


def _key(device: Wire) -> str:
    """Return a text that is equal for the parts of one physical device."""
    if consumed := device.get("consumesCounters"):
        return f"counters {consumed[0]['counterSet']}"
    if "nodeAllocatableResources" in device:
        return f"name {device['name']}"
    common = [device.get(key) for key in _OF_WHOLE]
    if bus_id := place_of(device).bus_id:
        return f"bus {bus_id} {common}"
    for name, value in device.get("attributes", {}).items():
        if "parent" in name.lower() and MARK.search(value.get("string", "")):
            return f"parent {value['string']} {common}"
    return f"name {device['name']}"
