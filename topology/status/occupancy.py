"""The occupancy of the pools of resource.k8s.io: their devices, those that claims hold, and those still available."""

import re
from collections import defaultdict
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from typing import NamedTuple

from topology.checks import node_selection
from topology.checks.allocation import Candidate, Counters, DeviceKey, Room
from topology.kubernetes.objects import Key, Object, key
from topology.kubernetes.quantities import number, written
from topology.objects.inventory import Device
from topology.schema.faults import DeviceTaintRule
from topology.status.live_objects import LiveObjects, allocated_devices

PoolName = tuple[str, str]
"""A driver, and the name of one of its pools."""


class Holding(NamedTuple):
    """A claim that holds a device, and how much of the capacity of a shared device it consumes."""

    claim: Key
    amounts: Mapping[str, str]


Holdings = Mapping[DeviceKey, Sequence[Holding]]
"""The claims that hold each device."""


class Occupancy(NamedTuple):
    """How many devices a pool has, how many of them claims hold, and which ones are available.

    A device is neither allocated nor available if other devices have used up its counters, if its compatibility groups
    exclude an allocated device, if it has a NoSchedule or NoExecute taint, whether claims tolerate it or not, or if its
    pool is incomplete. A shared device is available until one of its capacities is used up. `fits` is for devices that
    share counters: how many devices of each kind, such as a MIG profile, could be allocated if no other kind were
    requested.
    """

    candidates: Mapping[str, Candidate]
    """The devices, by name."""
    counters: Counters
    allocated: int
    available: frozenset[str]
    fits: Mapping[str, int]
    taints: Mapping[str, list[str]]
    """The taints of each device, in the form of kubectl: `key=value:effect`."""
    left: Mapping[str, Mapping[str, str]]
    """What is left of each capacity of the shared devices that claims hold, and that are not used up."""
    node: str
    """The node of the devices; empty if they are not all of one node."""
    reach: Mapping[str, Object]
    """The fields of the slice of each device, or of the device itself, that say which nodes can use it."""
    incomplete: bool
    """Whether slices are missing; the scheduler then allocates none of the devices."""
    lost: bool
    """Whether the pool's node is not ready, and so gets no pods."""

    def usable_on(self, node: str, labels: Mapping[str, str]) -> list[Candidate]:
        """Return the devices that the `node` with these labels can use."""
        if self.node:
            return list(self.candidates.values()) if node == self.node else []
        return [
            candidate
            for device, candidate in self.candidates.items()
            if node_selection.reaches(self.reach[device], labels, node)
        ]

    @property
    def devices(self) -> int:
        """The number of devices."""
        return len(self.candidates)

    @property
    def tainted(self) -> int:
        """The number of devices that have a taint."""
        return sum(1 for taints in self.taints.values() if taints)

    @property
    def free(self) -> int:
        """The number of available devices."""
        return len(self.available)


def holdings(live: LiveObjects, orphaned: bool = False) -> Holdings:
    """Return the claims that hold each device, other people's claims included; admin access holds none.

    With `orphaned`, also claims whose pod is gone: no other claim gets their devices until the controller deletes them.
    """
    found: dict[DeviceKey, list[Holding]] = defaultdict(list)
    for claim in live.claims.values():
        for result in [] if live.is_orphaned(claim) and not orphaned else allocated_devices(claim):
            if not result.get("adminAccess"):
                place = result["driver"], result["pool"], result["device"]
                found[place].append(Holding(key(claim), result.get("consumedCapacity") or {}))
    return found


def occupancy(
    slices: Iterable[Object],
    held: Holdings,
    rules: Sequence[DeviceTaintRule] = (),
    lost: Container[str] = (),
) -> dict[PoolName, Occupancy]:
    """Return the occupancy of every pool that has `slices`, given the claims that hold its devices.

    No device is available on nodes that are `lost`.
    """
    specs: dict[PoolName, list[Object]] = defaultdict(list)
    for resource_slice in slices:
        spec = resource_slice["spec"]
        specs[spec["driver"], spec["pool"]["name"]].append(spec)
    return {name: _occupancy(name, newest(of_pool), held, rules, lost) for name, of_pool in specs.items()}


def _node(specs: Iterable[Object]) -> str:
    several = ("allNodes", "nodeSelector", "perDeviceNodeSelection")
    nodes = {"" if any(map(spec.get, several)) else spec.get("nodeName") or spec["pool"]["name"] for spec in specs}
    return str(nodes.pop()) if len(nodes) == 1 else ""


def newest(specs: list[Object]) -> list[Object]:
    """Return the slices of the newest generation among the `specs` of one pool; older ones are about to be deleted."""
    newest = max(spec["pool"].get("generation", 0) for spec in specs)
    return [spec for spec in specs if spec["pool"].get("generation", 0) == newest]


def blocking(taints: Iterable[str]) -> list[str]:
    """Return the taints that keep claims without a toleration from a device."""
    return [taint for taint in taints if taint.endswith((":NoSchedule", ":NoExecute"))]


def room_beside(counters: Counters, candidates: Iterable[Candidate], held: Holdings) -> Room:
    """Return the room that the claims which hold some of the devices leave."""
    room = Room(counters, one_share_each=True)
    for candidate in candidates:
        for holding in held.get(candidate.key, ()):
            room.take(candidate, holding.amounts)
    return room


def _occupancy(
    name: PoolName, specs: list[Object], held: Holdings, rules: Sequence[DeviceTaintRule], lost: Container[str]
) -> Occupancy:
    driver, pool = name
    node = _node(specs)
    is_incomplete = len(specs) != specs[0]["pool"].get("resourceSliceCount", len(specs))
    is_lost = node in lost
    entries = [entry for spec in specs for entry in _devices(spec)]
    candidates = {entry["name"]: Candidate(driver, _device(entry), pool) for entry in entries}
    counters = _counters(name, specs)
    room = room_beside(counters, candidates.values(), held)
    taints = {entry["name"]: _taints(name, entry, rules) for entry in entries}
    free = {
        device: candidate
        for device, candidate in candidates.items()
        if not (is_incomplete or is_lost or blocking(taints[device])) and has_room(room, candidate)
    }
    return Occupancy(
        candidates,
        counters,
        sum(map(room.is_taken, candidates.values())),
        frozenset(free),
        _fits(free.values(), room) if counters else {},
        taints,
        {device: _left(room, candidate) for device, candidate in free.items() if room.is_taken(candidate)},
        node,
        {one["name"]: one if spec.get("perDeviceNodeSelection") else spec for spec in specs for one in _devices(spec)},
        is_incomplete,
        is_lost,
    )


def _devices(spec: Object) -> Sequence[Object]:
    return spec.get("devices") or []


def has_room(room: Room, candidate: Candidate) -> bool:
    """Tell whether some request can still have the device; for a shared one, whether there is some of it left."""
    if candidate.device.allow_multiple_allocations and room.is_taken(candidate):
        return all(room.left(candidate).values())
    return room.has(candidate, {})


def _left(room: Room, candidate: Candidate) -> dict[str, str]:
    capacity = candidate.device.capacity
    return {name: written(amount, capacity[name]["value"]) for name, amount in room.left(candidate).items()}


def _device(entry: Object) -> Device:
    """Return a device of a live slice, as far as it decides what requests can have it."""
    used = entry.get("consumesCounters") or []
    return Device(
        entry["name"],
        entry.get("attributes") or {},
        entry.get("capacity") or {},
        {found["counterSet"]: _values(found) for found in used},
        bool(entry.get("allowMultipleAllocations")),
        compatibility_groups=[
            f"{found['counterSet']}/{group}" for found in used for group in found.get("compatibilityGroups") or []
        ],
    )


def _values(counters: Object) -> dict[str, str]:
    return {name: counter["value"] for name, counter in (counters.get("counters") or {}).items()}


def _counters(pool: PoolName, specs: Iterable[Object]) -> Counters:
    return {
        (*pool, found["name"], name): number(value)
        for spec in specs
        for found in spec.get("sharedCounters") or []
        for name, value in _values(found).items()
    }


def _taints(pool: PoolName, device: Object, rules: Iterable[DeviceTaintRule]) -> list[str]:
    of_rules = [rule.taint.model_dump() for rule in rules if rule.selects(*pool, device["name"])]
    return sorted(map(node_selection.written, [*(device.get("taints") or []), *of_rules]))


def _fits(free: Collection[Candidate], room: Room) -> dict[str, int]:
    """Take as many devices of each kind as possible, in order; devices of one kind consume equal amounts."""
    fits: dict[str, int] = {}
    for kind in sorted({_kind(candidate) for candidate in free}):
        for candidate in free:
            if _kind(candidate) == kind and has_room(room, candidate):
                room.take(candidate, {})
                fits[kind] = fits.get(kind, 0) + 1
        for _ in range(fits.get(kind, 0)):
            room.give_back()
    return fits


def _kind(candidate: Candidate) -> str:
    """Return the kind of a partition: its MIG profile, or else its name without numbers."""
    profile: str | None = candidate.device.attributes.get("profile", {}).get("string")
    return profile or re.sub(r"-?[0-9]+", "", candidate.device.name)
