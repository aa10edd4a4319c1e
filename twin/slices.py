"""Selects the ResourceSlices of a dump whose devices the scheduler can allocate."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from twin.claim_objects import ResourceClaim
from twin.device_objects import ResourceSlice, SliceSpec
from twin.notes import Notes

PoolName = tuple[str, str]
"""A driver, and the name of one of its pools."""


def usable(slices: Iterable[ResourceSlice], notes: Notes) -> list[SliceSpec]:
    """Return the slices of the newest generation of each pool, sorted by name, if the pool is complete and valid.

    https://github.com/kubernetes/dynamic-resource-allocation/blob/v0.37.2/structured/internal/incubating/pools_incubating.go
    """
    pools: dict[PoolName, list[ResourceSlice]] = defaultdict(list)
    for entry in sorted(slices, key=lambda entry: entry.name):
        pools[entry.spec.driver, entry.spec.pool.name].append(entry)
    return [_noted(spec, notes) for pool, found in pools.items() for spec in _usable(pool, found, notes)]


def _usable(pool: PoolName, slices: Sequence[ResourceSlice], notes: Notes) -> list[SliceSpec]:
    generation = max(entry.spec.pool.generation for entry in slices)
    if older := [entry.name for entry in slices if entry.spec.pool.generation < generation]:
        notes.add(f"ResourceSlices of {pool[0]} of an older generation are left out", *older)
    newest = [entry.spec for entry in slices if entry.spec.pool.generation == generation]
    devices = [(pool, device.name) for spec in newest for device in spec.devices]
    if len(newest) < newest[0].pool.resource_slice_count:
        notes.add(f"devices of {pool[0]} in incomplete pools are left out, as the scheduler allocates none", *devices)
        return []
    if len(set(devices)) < len(devices):
        notes.add(f"devices of {pool[0]} in pools that use a name twice are left out, as by the scheduler", *devices)
        return []
    return newest


def _noted(spec: SliceSpec, notes: Notes) -> SliceSpec:
    """Return the slice with the first counter set of each device only."""
    more = [device.name for device in spec.devices if len(device.consumes_counters) > 1]
    if not more:
        return spec
    notes.add("counters of further counter sets of a device are left out", *((spec.pool.name, name) for name in more))
    first = [device.model_copy(update={"consumes_counters": device.consumes_counters[:1]}) for device in spec.devices]
    return spec.model_copy(update={"devices": first})


def note_unpublished(slices: Iterable[ResourceSlice], claims: Iterable[ResourceClaim], notes: Notes) -> None:
    """Note the devices that claims hold and that no slice has: some drivers withdraw a device while it is in use."""
    published = {(entry.spec.driver, entry.spec.pool.name, one.name) for entry in slices for one in entry.spec.devices}
    held = {(result.driver, result.pool, result.device) for claim in claims for result in claim.results}
    for driver, pool, device in sorted(held - published):
        notes.add(f"devices of {driver} that claims hold and that are in no ResourceSlice are left out", (pool, device))
