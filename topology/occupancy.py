"""How full the pools of resource.k8s.io are: their devices, those that claims hold, and those still to be had."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from topology.quantities import number

Object = Mapping[str, Any]
PoolName = tuple[str, str]
"""The driver and the pool's name."""


class Occupancy(NamedTuple):
    """How many devices a pool has; how many of them claims hold; how many a claim could still get.

    A device whose counters are used up by others is neither allocated nor free.
    """

    devices: int
    allocated: int
    free: int


def occupancy(slices: Iterable[Object], allocated: Mapping[PoolName, set[str]]) -> dict[PoolName, Occupancy]:
    """Return the occupancy of every pool that has `slices`, given the names of the `allocated` devices by pool."""
    specs: dict[PoolName, list[Object]] = defaultdict(list)
    for resource_slice in slices:
        spec = resource_slice["spec"]
        specs[spec["driver"], spec["pool"]["name"]].append(spec)
    return {name: _occupancy(_newest(found), allocated.get(name, set())) for name, found in specs.items()}


def _newest(specs: list[Object]) -> list[Object]:
    """Leave out the slices of older generations, which are about to be deleted."""
    newest = max(spec["pool"].get("generation", 0) for spec in specs)
    return [spec for spec in specs if spec["pool"].get("generation", 0) == newest]


def _occupancy(specs: list[Object], allocated: set[str]) -> Occupancy:
    devices = [device for spec in specs for device in spec.get("devices", [])]
    held = [device for device in devices if device["name"] in allocated]
    left = _counters(specs)
    for device in held:
        for counter, value in _consumed(device).items():
            left[counter] = left.get(counter, Decimal(0)) - value
    free = [
        device
        for device in devices
        if device["name"] not in allocated
        and all(left.get(counter, Decimal(0)) >= value for counter, value in _consumed(device).items())
    ]
    return Occupancy(len(devices), len(held), len(free))


def _counters(specs: Iterable[Object]) -> dict[tuple[str, str], Decimal]:
    return {
        (counter_set["name"], name): number(counter["value"])
        for spec in specs
        for counter_set in spec.get("sharedCounters", [])
        for name, counter in counter_set["counters"].items()
    }


def _consumed(device: Object) -> dict[tuple[str, str], Decimal]:
    return {
        (consumption["counterSet"], name): number(counter["value"])
        for consumption in device.get("consumesCounters", [])
        for name, counter in consumption["counters"].items()
    }
