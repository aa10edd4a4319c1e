"""Finds the host of a node pool: the places of its devices on PCIe, as a host of the catalogue or a new one."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from topology.objects.inventory import addresses
from topology.schema.hosts import Host
from twin.blocks import Place
from twin.configuration import Written
from twin.recognition import Entry, Models, used_of_place


class _Used(NamedTuple):
    """The place of a device, and the placeholders for it that its model uses."""

    place: Place
    names: set[str]


def host_of(entries: Sequence[Entry], models: Models, hosts: Mapping[str, Host]) -> str | Written | None:
    """Return the `host` of a pool with these entries: the name of a known host, or a new host.

    None if no `host` is needed, as the default host of the devices' model fits.
    """
    used = _used(entries, models)
    default = next((host for entry in entries if (host := models.known[entry.model].host)), None)
    if not used or (default and _fits(default, used)):
        return None
    return next((name for name, host in hosts.items() if _fits(host, used)), None) or {"slots": _slots(used)}


def _used(entries: Sequence[Entry], models: Models) -> dict[str, list[_Used]]:
    """Return the places of the devices in order, by kind of slot."""
    found: dict[str, list[_Used]] = {"gpu": [], "nic": []}
    for entry in entries:
        if entry.slot:
            names = used_of_place(models.known[entry.model], entry.attributes)
            found[entry.slot] += [_Used(place, names) for place in entry.places]
    return {slot: used for slot, used in found.items() if any(one.names for one in used)}


def _fits(host: Host, used: Mapping[str, Sequence[_Used]]) -> bool:
    return all(
        len(found) <= len(host.addresses[slot])
        and all(_is_at(host, slot, index, one) for index, one in enumerate(found))
        for slot, found in used.items()
    )


def _is_at(host: Host, slot: str, index: int, used: _Used) -> bool:
    of_host, of_device = addresses(host, slot, index), used.place.placeholders
    return all(of_host[name] == of_device.get(name) for name in used.names)


def _slots(used: Mapping[str, Sequence[_Used]]) -> list[Written]:
    """Return the slots: each GPU with the NIC of the same number if all such pairs share a NUMA node, else separate."""
    gpus, nics = ([one.place for one in used.get(slot, [])] for slot in ("gpu", "nic"))
    if len(gpus) == len(nics) and all(one.numa_node == other.numa_node for one, other in zip(gpus, nics, strict=True)):
        return [
            _slot(gpu, gpu=gpu.bus_id, nic=nic.bus_id)
            | ({"nicPcieRoot": nic.root} if nic.root and nic.root != gpu.root else {})
            for gpu, nic in zip(gpus, nics, strict=True)
        ]
    return [*(_slot(gpu, gpu=gpu.bus_id) for gpu in gpus), *(_slot(nic, nic=nic.bus_id) for nic in nics)]


def _slot(place: Place, **addresses: str | None) -> Written:
    return {"pcieRoot": place.complete.root, "numaNode": place.complete.numa_node, **addresses}
