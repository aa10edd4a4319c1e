"""Restores devices that claims hold and no ResourceSlice has: some drivers withdraw a device while a pod uses it.

DRANET does so with network interfaces:
https://github.com/kubernetes-sigs/dranet/tree/main/examples/oci_oke_examples/BM.GPU.H100.8
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from topology.kubernetes.naming import natural_key
from twin.device_objects import ResourceSlice, SliceDevice
from twin.dump import Dump
from twin.notes import Notes
from twin.slices import PoolName
from twin.templates import common_prefix

# A PCI address in the name of a device.
_IN_NAME = re.compile(r"([0-9a-f]{4})-([0-9a-f]{2})-([0-9a-f]{2})-([0-7])$")
_OF_PCI = re.compile(r"(pci)?[0-9a-f]{4}:[0-9a-f]{2}(:[0-9a-f]{2}\.[0-7])?")
_NUMBERS = re.compile(r"[0-9a-f]+")
# The last number of a text, except for the length of an IP prefix.
_LAST_NUMBER = re.compile(r"[0-9]+(?=[^0-9/]*(/[0-9]+)?$)")


def with_withdrawn(dump: Dump, notes: Notes) -> Dump:
    """Return the dump with devices that are withdrawn, if their names and the other devices of the pool tell all."""
    slices: dict[PoolName, list[ResourceSlice]] = defaultdict(list)
    for entry in sorted(dump.slices, key=lambda entry: entry.spec.pool.generation):
        slices[entry.spec.driver, entry.spec.pool.name].append(entry)
    made = {}
    for pool, found in slices.items():
        siblings = [device for entry in found for device in entry.spec.devices]
        held = {one.device for claim in dump.claims for one in claim.results if (one.driver, one.pool) == pool}
        more = [_restored(name, siblings) for name in sorted(held - {device.name for device in siblings})]
        if devices := [device for device in more if device]:
            notes.add(
                "devices that claims hold and no ResourceSlice has are made like others",
                *((pool, one.name) for one in devices),
            )
            devices = sorted([*found[-1].spec.devices, *devices], key=lambda device: natural_key(device.name))
            spec = found[-1].spec.model_copy(update={"devices": devices})
            made[found[-1].name] = found[-1].model_copy(update={"spec": spec})
    return dump._replace(slices=[made.get(entry.name, entry) for entry in dump.slices])


def _restored(name: str, siblings: Sequence[SliceDevice]) -> SliceDevice | None:
    """Return a device of that name that is like its siblings; None if they do not tell what it is."""
    shapes = [one.model_copy(update={"name": "", "attributes": [*one.attributes], "taints": []}) for one in siblings]
    if len(siblings) < 2 or siblings[0].consumes_counters or any(shape != shapes[0] for shape in shapes):
        return None
    near = max(siblings, key=lambda device: len(common_prefix([device.name, name])))
    names = sorted([name, *(device.name for device in siblings)], key=natural_key)
    distance = names.index(name) - names.index(near.name)
    attributes = {
        key: _value(name, near, value, [device.attributes[key] for device in siblings], distance)
        for key, value in near.attributes.items()
    }
    is_known = all(attributes.values()) and _NUMBERS.sub("", name) == _NUMBERS.sub("", near.name)
    return near.model_copy(update={"name": name, "attributes": attributes, "taints": []}) if is_known else None


def _value(name: str, near: SliceDevice, own: Any, values: Sequence[Any], distance: int) -> Any:
    """Return an attribute that is `own` on the nearest device, one of those with these `values`; None if unknown."""
    ((kind, value),) = own.items()
    address, other = _address(name), _address(near.name)
    if address[:-1] != other[:-1]:
        return None  # Nothing tells where another card is.
    if address and value == other:
        return {kind: address}
    is_of_several = any(values.count(one) > 1 for one in values) or _OF_PCI.fullmatch(str(value))
    if all(one == own for one in values) or (is_of_several and address):
        return own
    moved = None if is_of_several else _moved(value, distance)
    return None if moved is None or {kind: moved} in values else {kind: moved}


def _address(name: str) -> str:
    """Return the PCI address in the name of a device; empty if there is none."""
    match = _IN_NAME.search(name)
    return "{}:{}:{}.{}".format(*match.groups()) if match else ""


def _moved(value: Any, distance: int) -> Any:
    """Return the value of a device that is so many places further; None if that is unknown."""
    if type(value) is int:
        return value + distance if value + distance >= 0 else None
    match = _LAST_NUMBER.search(value) if isinstance(value, str) else None
    if match is None or int(match[0]) + distance < 0:
        return None
    return f"{value[: match.start()]}{int(match[0]) + distance:0{len(match[0])}}{value[match.end() :]}"
