"""The devices of a driver on a node as physical ones: a GPU, or all the parts of one, and where it is on PCIe."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from topology.kubernetes.objects import given
from topology.kubernetes.quantities import canonical
from topology.objects.kwok_stages import ATTACH_FAILS
from twin.identities import MARK, Wire
from twin.objects import Amount, Device

BUS_ID = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
PCI_NAME = re.compile(r"(?<![0-9a-z])([0-9a-f]{4})-([0-9a-f]{2})-([0-9a-f]{2})-([0-7])(?![0-9a-z])")
ROOT = re.compile(r"pci[0-9a-f]{4}:[0-9a-f]{2}")
_NUMA = re.compile(r"numa_?node(_?id)?$", re.IGNORECASE)
_STANDARD_BUS_ID = "resource.kubernetes.io/pciBusID"


class Place(NamedTuple):
    """Where a device is on PCIe, as far as it is known."""

    bus_id: str | None = None
    root: str | None = None
    numa_node: int | None = None


@dataclass(frozen=True)
class Block:
    """A physical device: what is published of it, the counters that its parts share, and its place."""

    devices: list[Wire]
    counter_set: str | None = None
    counters: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether it is one device, and not in parts."""
        return len(self.devices) == 1 and self.counter_set is None

    @property
    def place(self) -> Place:
        """Where it is on PCIe: what its first device says."""
        return place_of(self.devices[0])


def wire(device: Device) -> Wire:
    """Return a device as on the wire, with quantities as the API server writes them, and without faults."""
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
    """Write all quantities in `value` as the API server does; whatever is none stays as it is."""
    if isinstance(value, dict):
        return {name: _canonical(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_canonical(entry) for entry in value]
    try:
        return canonical(str(value)) if type(value) in (str, int, float) else value
    except ValueError:
        return value


def place_of(device: Wire) -> Place:
    """Return where a device is on PCIe: as its attributes say, or else its name."""
    attributes = device.get("attributes", {})
    texts = [value["string"] for value in attributes.values() if "string" in value]
    standard = attributes.get(_STANDARD_BUS_ID, {}).get("string", "")
    bus_ids = [text for text in (standard, *texts) if BUS_ID.fullmatch(text)]
    bus_ids += [f"{name[1]}:{name[2]}:{name[3]}.{name[4]}" for name in PCI_NAME.finditer(device["name"])]
    roots = [text for text in texts if ROOT.fullmatch(text)]
    numbers = [value["int"] for name, value in attributes.items() if _NUMA.search(name) and value.get("int", -1) >= 0]
    return Place(*(found[0] if found else None for found in (bus_ids, roots, numbers)))


def in_order(devices: Sequence[Wire]) -> tuple[list[Wire], bool]:
    """Return devices by number, and whether their driver sorts them by name, so that gpu-16 comes before gpu-8.

    Drivers that have them in no order at all, as a Go map, get one. Devices of several kinds stay as they are.
    """
    names = [device["name"] for device in devices]
    if len({_skeleton(name) for name in names}) > 1:
        return list(devices), False
    by_number = sorted(devices, key=lambda device: _natural(device["name"]))
    return by_number, names == sorted(names) and names != [device["name"] for device in by_number]


def _skeleton(name: str) -> str:
    return re.sub(r"[0-9]+", "#", PCI_NAME.sub("pci", name))


def _natural(name: str) -> list[Any]:
    if PCI_NAME.search(name):
        return [name]
    return [int(part) if part.isdigit() else part for part in re.split(r"([0-9]+)", name)]


def blocks(devices: Sequence[Wire], counter_sets: Mapping[str, Mapping[str, str]]) -> list[Block]:
    """Put the parts of each physical device together: what shares counters, a bus id, or is of one parent."""
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


def _key(device: Wire) -> str:
    if consumed := device.get("consumesCounters"):
        return f"counters {consumed[0]['counterSet']}"
    if bus_id := place_of(device).bus_id:
        return f"bus {bus_id}"
    for name, value in device.get("attributes", {}).items():
        if "parent" in name.lower() and MARK.search(value.get("string", "")):
            return f"parent {value['string']}"
    return f"name {device['name']}"
