"""Replaces identities in the names of devices and counter sets: models cannot derive them from the name of a node."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import count
from typing import TypeVar

from topology.kubernetes.naming import natural_key
from twin.blocks import place_of, wire
from twin.claim_objects import ResourceClaim
from twin.device_objects import DeviceTaintRule, ResourceSlice, SliceDevice
from twin.dump import Dump
from twin.identities import without_identities
from twin.objects import Part

_AnyPart = TypeVar("_AnyPart", bound=Part)
_Names = dict[tuple[str, str, str], str]
"""New names of devices and counter sets, by driver, pool and old name."""


def with_plain_names(dump: Dump) -> Dump:
    """Return the dump with a number for each identity in a name, such as `gpu-0` for `gpu-<UUID>`."""
    names = _new_names(dump.slices)
    if not names:
        return dump
    return dump._replace(
        slices=[_slice(entry, names) for entry in dump.slices],
        claims=[_claim(claim, names) for claim in dump.claims],
        rules=[_rule(rule, names) for rule in dump.rules],
    )


def _new_names(slices: Iterable[ResourceSlice]) -> _Names:
    """Return the new names, numbered in the order of the devices' places, so that similar nodes have the same names."""
    devices: dict[tuple[str, str, str], list[SliceDevice]] = defaultdict(list)
    for spec in (entry.spec for entry in slices):
        devices[spec.driver, spec.pool.name, spec.node_name or ""] += spec.devices
    found: _Names = {}
    for (driver, pool, node), some in devices.items():
        # A node can be called `gpu-0`, so that this is in the names of the devices of other nodes too.
        others = (one.name for (_, _, other), of_other in devices.items() if other != node for one in of_other)
        is_named = all(node in one.name for one in some) and next((node not in name for name in others), False)
        found |= {(driver, pool, old): new for old, new in _numbered(some, node if is_named else "").items()}
    return found


def _numbered(devices: Sequence[SliceDevice], node: str) -> dict[str, str]:
    """Return the new names for those of some devices, and of their counter sets, that have an identity."""
    plain = {name: without_identities(name, node, one.attributes) for one in devices for name in _names_of(one)}
    if all(old == name for old, name in plain.items()):
        return {}
    found: dict[str, str] = {}
    numbers: Counter[str] = Counter()
    for device in sorted(devices, key=lambda one: natural_key(place_of(wire(one)).bus_id or "")):
        for old in _names_of(device):
            name = plain[old]
            if old not in found and name != old:
                number = next(one for one in count(numbers[name]) if name.replace("#", str(one)) not in plain)
                found[old] = name.replace("#", str(number))
                numbers[name] = number + 1
    return found


def _names_of(device: SliceDevice) -> list[str]:
    return [device.name, *(entry.counter_set for entry in device.consumes_counters)]


def _slice(entry: ResourceSlice, names: _Names) -> ResourceSlice:
    spec = entry.spec

    def renamed(part: _AnyPart, key: str, **others: object) -> _AnyPart:
        old = getattr(part, key)
        return part.model_copy(update={key: names.get((spec.driver, spec.pool.name, old), old), **others})

    devices = [
        renamed(one, "name", consumes_counters=[renamed(entry, "counter_set") for entry in one.consumes_counters])
        for one in spec.devices
    ]
    sets = [renamed(one, "name") for one in spec.shared_counters]
    return entry.model_copy(update={"spec": spec.model_copy(update={"devices": devices, "shared_counters": sets})})


def _claim(claim: ResourceClaim, names: _Names) -> ResourceClaim:
    allocation = claim.status.allocation
    if allocation is None:
        return claim
    new = [names.get((one.driver, one.pool, one.device), one.device) for one in claim.results]
    results = [one.model_copy(update={"device": name}) for one, name in zip(claim.results, new, strict=True)]
    devices = allocation.devices.model_copy(update={"results": results})
    status = claim.status.model_copy(update={"allocation": allocation.model_copy(update={"devices": devices})})
    return claim.model_copy(update={"status": status})


def _rule(rule: DeviceTaintRule, names: _Names) -> DeviceTaintRule:
    selector = rule.spec.device_selector
    new = [name for (_, _, old), name in names.items() if selector and old == selector.device]
    if not selector or not new:
        return rule
    spec = rule.spec.model_copy(update={"device_selector": selector.model_copy(update={"device": new[0]})})
    return rule.model_copy(update={"spec": spec})
