"""What kind of server nodes are: where their devices are on PCIe, as a host of the catalogue or written out."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from topology.objects.inventory import addresses
from topology.schema.hosts import Host
from twin.blocks import Place
from twin.recognition import Entry, Models, used_of_place

Written = dict[str, Any]


class _Used(NamedTuple):
    """The place of a device, and what of it the device tells."""

    place: Place
    names: set[str]


def host_of(entries: Sequence[Entry], models: Models, hosts: Mapping[str, Host]) -> str | Written | None:
    """Return what a pool with these entries has to say about its host: the name of a known one, or a host.

    That is nothing where the host of its devices' model is the right one.
    """
    used = _used(entries, models)
    default = next((host for entry in entries if (host := models.known[entry.model].host)), None)
    if not used or (default and _fits(default, used)):
        return None
    return next((name for name, host in hosts.items() if _fits(host, used)), None) or {"slots": _slots(used)}


def _used(entries: Sequence[Entry], models: Models) -> dict[str, list[_Used]]:
    """Return the places of devices by kind of slot, in order."""
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
    there = addresses(host, slot, index)
    place = used.place
    told = {"pciBusID": place.bus_id, "pciName": place.bus_id and place.bus_id.replace(":", "-").replace(".", "-")}
    told |= {"pcieRoot": place.root, "pcieBus": place.root and place.root.removeprefix("pci").partition(":")[2]}
    numbers = {"numaNode": place.numa_node}
    return all(there[name] == (told | numbers)[name] for name in used.names)


def _slots(used: Mapping[str, Sequence[_Used]]) -> list[Written]:
    """Write slots: each GPU with the NIC of the same number where all of these are at one NUMA node, or else apart."""
    gpus, nics = ([one.place for one in used.get(slot, [])] for slot in ("gpu", "nic"))
    if len(gpus) == len(nics) and all(one.numa_node == other.numa_node for one, other in zip(gpus, nics, strict=True)):
        return [
            _slot(gpu, gpu=gpu.bus_id, nic=nic.bus_id)
            | ({"nicPcieRoot": nic.root} if nic.root and nic.root != gpu.root else {})
            for gpu, nic in zip(gpus, nics, strict=True)
        ]
    return [*(_slot(gpu, gpu=gpu.bus_id) for gpu in gpus), *(_slot(nic, nic=nic.bus_id) for nic in nics)]


def _slot(place: Place, **addresses: str | None) -> Written:
    """Write a slot. What no device tells has to be there nevertheless."""
    return {"pcieRoot": place.root or "pci0000:00", "numaNode": place.numa_node or 0, **addresses}
