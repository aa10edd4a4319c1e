"""The occupancy of the pools of resource.k8s.io: their devices, those that claims hold, and those still available."""

import re
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from topology.kubernetes.counters import are_compatible
from topology.kubernetes.objects import Object
from topology.kubernetes.quantities import number
from topology.schema.faults import DeviceTaintRule

Counters = dict[tuple[str, str], Decimal]
"""Values, by the names of a counter set and of a counter in it."""

PoolName = tuple[str, str]
"""A driver, and the name of one of its pools."""


class Occupancy(NamedTuple):
    """How many devices a pool has, how many of them claims hold, and which ones are available.

    A device is neither allocated nor available if other devices have used up its counters, if its compatibility groups
    exclude an allocated device, or if it has a NoSchedule or NoExecute taint, whether claims tolerate it or not. `fits`
    is for devices that share counters: how many devices of each kind, such as a MIG profile, could be allocated if no
    other kind were requested.
    """

    devices: int
    allocated: int
    available: frozenset[str]
    fits: Mapping[str, int]
    taints: Mapping[str, list[str]]
    """The taints of each device, in the form of kubectl: `key=value:effect`."""
    allocatable: frozenset[str] = frozenset()
    """The devices that would be available without their taints."""
    lost: bool = False
    """Whether the pool's node is not ready, and so gets no pods."""

    @property
    def tainted(self) -> int:
        """The number of devices that have a taint."""
        return sum(1 for taints in self.taints.values() if taints)

    @property
    def free(self) -> int:
        """The number of available devices."""
        return len(self.available)


def occupancy(
    slices: Iterable[Object],
    allocated: Mapping[PoolName, set[str]],
    rules: Sequence[DeviceTaintRule] = (),
    lost: Container[str] = (),
) -> dict[PoolName, Occupancy]:
    """Return the occupancy of every pool that has `slices`, given the names of the `allocated` devices by pool.

    No device is available on nodes that are `lost`.
    """
    specs: dict[PoolName, list[Object]] = defaultdict(list)
    for resource_slice in slices:
        spec = resource_slice["spec"]
        specs[spec["driver"], spec["pool"]["name"]].append(spec)
    found = {}
    for name, of_pool in specs.items():
        selecting = [rule for rule in rules if rule.selects(*name, rule.device or "")]
        found[name] = _occupancy(newest(of_pool), allocated.get(name, set()), selecting)
        if of_pool[0].get("nodeName") in lost:
            found[name] = found[name]._replace(available=frozenset(), allocatable=frozenset(), fits={}, lost=True)
    return found


def newest(specs: list[Object]) -> list[Object]:
    """Return the slices of the newest generation among the `specs` of one pool; older ones are about to be deleted."""
    newest = max(spec["pool"].get("generation", 0) for spec in specs)
    return [spec for spec in specs if spec["pool"].get("generation", 0) == newest]


def _occupancy(specs: list[Object], allocated: set[str], rules: Sequence[DeviceTaintRule]) -> Occupancy:
    devices = [device for spec in specs for device in spec.get("devices", [])]
    held = [device for device in devices if device["name"] in allocated]
    left = _counters(counter_set for spec in specs for counter_set in spec.get("sharedCounters", []))
    for device in held:
        _consume(device, left)
    taints = {device["name"]: _taints(device, rules) for device in devices}
    allocatable = [
        device for device in devices if device["name"] not in allocated and _is_allocatable(device, left, held)
    ]
    free = [
        device
        for device in allocatable
        if not any(taint.endswith((":NoSchedule", ":NoExecute")) for taint in taints[device["name"]])
    ]
    return Occupancy(
        len(devices),
        len(held),
        frozenset(device["name"] for device in free),
        _fits(free, left, held) if left else {},
        taints,
        frozenset(device["name"] for device in allocatable),
    )


def _taints(device: Object, rules: Sequence[DeviceTaintRule]) -> list[str]:
    taints = [(taint["key"], taint.get("value", ""), taint["effect"]) for taint in device.get("taints", [])]
    taints += [
        (rule.taint.key, rule.taint.value, rule.taint.effect) for rule in rules if rule.device in (None, device["name"])
    ]
    return sorted(f"{key}{'=' if value else ''}{value}:{effect}" for key, value, effect in taints)


def _is_compatible(device: Object, others: Sequence[Object]) -> bool:
    return all(
        are_compatible(
            [
                other.get("compatibilityGroups", [])
                for one in (device, *others)
                for other in one.get("consumesCounters", [])
                if other["counterSet"] == own["counterSet"]
            ]
        )
        for own in device.get("consumesCounters", [])
    )


def _is_allocatable(device: Object, left: Counters, held: Sequence[Object]) -> bool:
    has_room = all(left.get(counter, 0) >= value for counter, value in _consumed(device).items())
    return has_room and _is_compatible(device, held)


def _consume(device: Object, left: Counters) -> None:
    for counter, value in _consumed(device).items():
        left[counter] = left.get(counter, Decimal(0)) - value


def _fits(free: list[Object], left: Counters, held: Sequence[Object]) -> dict[str, int]:
    """Allocate as many devices of each kind as possible, in order; devices of one kind consume equal amounts."""
    fits: dict[str, int] = {}
    for kind in sorted({_kind(device) for device in free}):
        rest = dict(left)
        taken = list(held)
        for device in (device for device in free if _kind(device) == kind):
            if _is_allocatable(device, rest, taken):
                taken.append(device)
                _consume(device, rest)
                fits[kind] = fits.get(kind, 0) + 1
    return fits


def _kind(device: Object) -> str:
    """Return the kind of a partition: its MIG profile, or else its name without numbers."""
    profile: str | None = device.get("attributes", {}).get("profile", {}).get("string")
    return profile or re.sub(r"-?[0-9]+", "", device["name"])


def _counters(sets: Iterable[Object], named_by: str = "name") -> Counters:
    return {
        (found[named_by], name): number(counter["value"])
        for found in sets
        for name, counter in found["counters"].items()
    }


def _consumed(device: Object) -> Counters:
    return _counters(device.get("consumesCounters", []), named_by="counterSet")
