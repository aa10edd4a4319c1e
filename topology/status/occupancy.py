"""How full the pools of resource.k8s.io are: their devices, those that claims hold, and those still to be had."""

import re
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from topology.kubernetes.counters import go_together
from topology.kubernetes.quantities import number
from topology.schema.faults import DeviceTaintRule

Object = Mapping[str, Any]
Counter = tuple[str, str]
PoolName = tuple[str, str]
"""The driver and the pool's name."""


class Occupancy(NamedTuple):
    """How many devices a pool has; how many of them claims hold; which ones a claim could still get.

    A device whose counters are used up by others is neither allocated nor available, nor is one whose compatibility
    groups are not those of others that are allocated, nor one whose taints keep claims away, whether they tolerate them
    or not. `fits` is for devices that share counters: how many of each kind, such as a MIG profile, could be had if no
    other kind were asked for.
    """

    devices: int
    allocated: int
    available: frozenset[str]
    fits: Mapping[str, int]
    taints: Mapping[str, list[str]]
    """Of each device, as kubectl writes them: `key=value:effect`."""
    lost: bool = False
    """Whether the node that has them takes no pods, because it is not ready."""

    @property
    def tainted(self) -> int:
        """How many devices have a taint."""
        return sum(1 for taints in self.taints.values() if taints)

    @property
    def free(self) -> int:
        """How many devices a claim could still get."""
        return len(self.available)


def occupancy(
    slices: Iterable[Object],
    allocated: Mapping[PoolName, set[str]],
    rules: Sequence[DeviceTaintRule] = (),
    lost: Container[str] = (),
) -> dict[PoolName, Occupancy]:
    """Return the occupancy of every pool that has `slices`, given the names of the `allocated` devices by pool.

    On nodes that are `lost` nothing is available.
    """
    specs: dict[PoolName, list[Object]] = defaultdict(list)
    for resource_slice in slices:
        spec = resource_slice["spec"]
        specs[spec["driver"], spec["pool"]["name"]].append(spec)
    found = {
        name: _occupancy(newest(found), allocated.get(name, set()), [rule for rule in rules if _may_select(rule, name)])
        for name, found in specs.items()
    }
    return {
        name: occupied._replace(available=frozenset(), fits={}, lost=True)
        if specs[name][0].get("nodeName") in lost
        else occupied
        for name, occupied in found.items()
    }


def _may_select(rule: DeviceTaintRule, name: PoolName) -> bool:
    return rule.selects(*name, rule.device or "")


def newest(specs: list[Object]) -> list[Object]:
    """Leave out the slices of older generations, which are about to be deleted, of the `specs` of one pool."""
    newest = max(spec["pool"].get("generation", 0) for spec in specs)
    return [spec for spec in specs if spec["pool"].get("generation", 0) == newest]


def _occupancy(specs: list[Object], allocated: set[str], rules: Sequence[DeviceTaintRule]) -> Occupancy:
    devices = [device for spec in specs for device in spec.get("devices", [])]
    held = [device for device in devices if device["name"] in allocated]
    left = _counters(specs)
    for device in held:
        for counter, value in _consumed(device).items():
            left[counter] = left.get(counter, Decimal(0)) - value
    taints = {device["name"]: _taints(device, rules) for device in devices}
    free = [
        device
        for device in devices
        if device["name"] not in allocated
        and not any(taint.endswith((":NoSchedule", ":NoExecute")) for taint in taints[device["name"]])
        and all(left.get(counter, Decimal(0)) >= value for counter, value in _consumed(device).items())
        and _goes_with(device, held)
    ]
    return Occupancy(
        len(devices),
        len(held),
        frozenset(device["name"] for device in free),
        _fits(free, left, held) if left else {},
        taints,
    )


def _taints(device: Object, rules: Sequence[DeviceTaintRule]) -> list[str]:
    taints = [(taint["key"], taint.get("value", ""), taint["effect"]) for taint in device.get("taints", [])]
    taints += [
        (rule.taint.key, rule.taint.value, rule.taint.effect) for rule in rules if rule.device in (None, device["name"])
    ]
    return sorted(f"{key}{'=' if value else ''}{value}:{effect}" for key, value, effect in taints)


def _goes_with(device: Object, others: Sequence[Object]) -> bool:
    return all(
        go_together(
            [
                other.get("compatibilityGroups", [])
                for one in (device, *others)
                for other in one.get("consumesCounters", [])
                if other["counterSet"] == own["counterSet"]
            ]
        )
        for own in device.get("consumesCounters", [])
    )


def _fits(free: list[Object], left: Mapping[Counter, Decimal], held: Sequence[Object]) -> dict[str, int]:
    """Take of each kind as many as possible, in order; kinds differ in how much they take, not in what of."""
    fits: dict[str, int] = {}
    for kind in sorted({_kind(device) for device in free}):
        rest = dict(left)
        taken = list(held)
        for device in (device for device in free if _kind(device) == kind):
            consumed = _consumed(device)
            enough = all(rest.get(counter, Decimal(0)) >= value for counter, value in consumed.items())
            if enough and _goes_with(device, taken):
                taken.append(device)
                rest |= {counter: rest[counter] - value for counter, value in consumed.items()}
                fits[kind] = fits.get(kind, 0) + 1
    return fits


def _kind(device: Object) -> str:
    """Name a kind of partition: its MIG profile, or else its name without the numbers."""
    profile: str | None = device.get("attributes", {}).get("profile", {}).get("string")
    return profile or re.sub(r"-?[0-9]+", "", device["name"])


def _counters(specs: Iterable[Object]) -> dict[Counter, Decimal]:
    return {
        (counter_set["name"], name): number(counter["value"])
        for spec in specs
        for counter_set in spec.get("sharedCounters", [])
        for name, counter in counter_set["counters"].items()
    }


def _consumed(device: Object) -> dict[Counter, Decimal]:
    return {
        (consumption["counterSet"], name): number(counter["value"])
        for consumption in device.get("consumesCounters", [])
        for name, counter in consumption["counters"].items()
    }
