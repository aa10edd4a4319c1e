"""Derives a device model, with placeholders in its texts, from devices that follow one pattern."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from topology.kubernetes.objects import given
from twin.blocks import PCI_NAME, Block, Place
from twin.configuration import Written
from twin.identities import MARK, NODE_MARK, Wire

_LARGE_STEPS_MIN = 3


class _Spot(NamedTuple):
    """A device of a template: its number, its place, and the placeholders for its marks."""

    number: int
    place: Place
    marks: Mapping[str, str]


def device_model(
    driver: str, blocks: Sequence[Block], shared: Mapping[str, int], slot: str, numbers: Mapping[str, int]
) -> Written | None:
    """Return the model that renders exactly these blocks in this order; None if they follow no common pattern.

    `shared` is the number of blocks of the driver that have a mark, `slot` the kind of slot that devices with a place
    on PCIe use, `numbers` the number of preceding devices by the template of their name.
    """
    first = blocks[0]
    if any(len(block.devices) != len(first.devices) or block.is_whole != first.is_whole for block in blocks):
        return None
    places = [block.place for block in blocks]
    if any(place.bus_id is None for place in places):
        places = [place._replace(bus_id=None, root=None, numa_node=None) for place in places]
    written = _model(driver, blocks, _spots(blocks, places, shared, 0))
    start = numbers.get(written["deviceName"], 0) if written else 0
    if start:
        written = _model(driver, blocks, _spots(blocks, places, shared, start))
    if written and places[0].bus_id:
        written["slot"] = slot
    return written


def _spots(
    blocks: Sequence[Block], places: Sequence[Place], shared: Mapping[str, int], start: int
) -> list[list[_Spot]]:
    """Return a spot for each device of each block."""
    return [
        [_Spot(start + number, place, _marks(block, device, shared)) for device in block.devices]
        for number, (block, place) in enumerate(zip(blocks, places, strict=True))
    ]


def _marks(block: Block, device: Wire, shared: Mapping[str, int]) -> dict[str, str]:
    """Return the placeholder for each mark: of the node, of the physical device, or of its partition."""
    others = {mark for other in block.devices if other is not device for mark in _marks_of(other)}
    found = {}
    for mark in _marks_of(device):
        kind = mark[1:].partition(":")[0]
        if kind == "uuid" and shared[mark] > 1:
            found[mark] = "{nodeUuid}"
        elif kind == "uuid":
            found[mark] = "{uuid}" if block.is_whole or mark in others else "{deviceUuid}"
        else:
            found[mark] = "{mac}" if kind == "mac" else "{hex}"
    return found


def _marks_of(device: Wire) -> set[str]:
    texts = [value["string"] for value in device.get("attributes", {}).values() if "string" in value]
    return {match[0] for text in texts for match in MARK.finditer(text)}


def on_blocks(blocks: Sequence[Block]) -> dict[str, int]:
    """Return the number of blocks that have each mark."""
    return Counter(
        mark for block in blocks for mark in {mark for device in block.devices for mark in _marks_of(device)}
    )


def _model(driver: str, blocks: Sequence[Block], spots: Sequence[Sequence[_Spot]]) -> Written | None:
    parts = [
        _part([block.devices[index] for block in blocks], [spot[index] for spot in spots])
        for index in range(len(blocks[0].devices))
    ]
    if any(part is None for part in parts):
        return None
    found = [part for part in parts if part is not None]
    if blocks[0].is_whole:
        return {"driver": driver, **found[0]}
    return _partitioned(driver, blocks, [spot[0] for spot in spots], found)


def _part(devices: Sequence[Wire], spots: Sequence[_Spot]) -> Written | None:
    """Return what devices of several blocks have in common, with the keys of a model; None if they differ."""
    name = _text([device["name"] for device in devices], spots)
    rests = [_rest(device) for device in devices]
    names = devices[0].get("attributes", {}).keys()
    if name is None or any(rest != rests[0] for rest in rests[1:]):
        return None
    if any(device.get("attributes", {}).keys() != names for device in devices[1:]):
        return None
    attributes = {key: _attribute([device["attributes"][key] for device in devices], spots) for key in names}
    if any(attribute is None for attribute in attributes.values()):
        return None
    return {"deviceName": name} | given(attributes=attributes) | rests[0]


def _rest(device: Wire) -> Wire:
    """Return a device without its name and attributes, with the keys of a model."""
    rest = {key: value for key, value in device.items() if key not in ("name", "attributes", "consumesCounters")}
    if "capacity" in rest:
        rest["capacity"] = {
            name: amount if "requestPolicy" in amount else amount["value"] for name, amount in rest["capacity"].items()
        }
    return rest | _consumed(device)


def _consumed(device: Wire) -> Wire:
    if not device.get("consumesCounters"):
        return {}
    consumption = device["consumesCounters"][0]
    counters = {name: amount["value"] for name, amount in consumption["counters"].items()}
    return {"consumesCounters": counters} | given(compatibilityGroups=consumption.get("compatibilityGroups"))


_PARTITION_KEYS = ("deviceName", "attributes", "capacity", "consumesCounters", "compatibilityGroups")


def _partitioned(
    driver: str, blocks: Sequence[Block], spots: Sequence[_Spot], parts: Sequence[Written]
) -> Written | None:
    """Return a model with partitions, which has the attributes that all of them share."""
    common = {
        name: value
        for name, value in parts[0].get("attributes", {}).items()
        if all(part.get("attributes", {}).get(name) == value for part in parts)
    }
    flags = {key: value for key, value in parts[0].items() if key not in _PARTITION_KEYS}
    if any({key: value for key, value in part.items() if key not in _PARTITION_KEYS} != flags for part in parts):
        shared = [part.get("allowMultipleAllocations", False) for part in parts]
        flags.pop("allowMultipleAllocations", None)
        parts = [part | {"allowMultipleAllocations": one} for part, one in zip(parts, shared, strict=True)]
    written: Written = {"driver": driver, "deviceName": _stem([part["deviceName"] for part in parts]), **flags}
    if common:
        written["attributes"] = common
    counters = blocks[0].counters
    if blocks[0].counter_set is not None:
        name = _text([str(block.counter_set) for block in blocks], spots)
        if name is None or any(block.counters != counters for block in blocks):
            return None
        written |= {"counterSet": name, "counters": dict(counters)}
    written["partitions"] = [_partition(part, common, counters) for part in parts]
    return written


def _partition(part: Written, common: Mapping[str, Any], counters: Mapping[str, str]) -> Written:
    own = {name: value for name, value in part.get("attributes", {}).items() if name not in common}
    keys = (*_PARTITION_KEYS, "allowMultipleAllocations")
    kept = {key: part[key] for key in keys if key in part and key != "attributes"}
    if kept.get("consumesCounters") == counters:
        del kept["consumesCounters"]  # A partition consumes all counters by default.
    return {"deviceName": kept.pop("deviceName")} | given(attributes=own) | kept


def common_prefix(names: Sequence[str]) -> str:
    """Return what all of the names start with."""
    first, last = min(names), max(names)
    length = next((place for place, letter in enumerate(first) if letter != last[place : place + 1]), len(first))
    return first[:length]


def _stem(names: Sequence[str]) -> str:
    """Return the common prefix of the names up to a dash, such as `gpu-{index}`."""
    prefix = common_prefix(names)
    stem = prefix if prefix in names else prefix.rpartition("-")[0]
    # The stem identifies a device, so it needs a number where names have one.
    is_whole = stem.count("{") == stem.count("}") and ("{" in stem or "{" not in names[0])
    return stem if stem and is_whole else names[0]


def _attribute(values: Sequence[Mapping[str, Any]], spots: Sequence[_Spot]) -> dict[str, Any] | None:
    """Return an attribute that has each of the values at its spot; None if there is none."""
    first = values[0]
    (kind,) = first
    if any(value.keys() != first.keys() for value in values[1:]):
        return None
    if kind == "string":
        text = _text([value["string"] for value in values], spots)
        return None if text is None else {"string": text}
    if all(value == first for value in values[1:]) and not _is_numa_node(values, spots):
        return dict(first)
    if kind == "int":
        return _number([value["int"] for value in values], spots)
    return None


def _is_numa_node(values: Sequence[Mapping[str, Any]], spots: Sequence[_Spot]) -> bool:
    """Return whether the values are the NUMA nodes of the devices' places, and not all equal."""
    numa_nodes = [spot.place.numa_node for spot in spots]
    return len(set(numa_nodes)) > 1 and [value.get("int") for value in values] == numa_nodes


def _number(values: Sequence[int], spots: Sequence[_Spot]) -> dict[str, Any] | None:
    if values == [spot.place.numa_node for spot in spots]:
        return {"int": "{numaNode}"}
    made = _linear(values, spots)
    return None if made is None else {"int": made}


def _text(texts: Sequence[str], spots: Sequence[_Spot]) -> str | None:
    """Return the template that renders each of the texts at its spot; None if there is none."""
    replaced = [_replaced(text, spot) for text, spot in zip(texts, spots, strict=True)]
    if all(text == replaced[0] for text in replaced[1:]):
        return replaced[0]
    pieces = [re.split(r"(\{\w+\}|0+(?=[0-9])|[0-9]+)", text) for text in replaced]
    if any(len(piece) != len(pieces[0]) for piece in pieces):
        return None
    found = [_piece(column, spots) for column in zip(*pieces, strict=True)]
    return None if any(piece is None for piece in found) else "".join(filter(None, found))


def _piece(values: Sequence[str], spots: Sequence[_Spot]) -> str | None:
    if all(value == values[0] for value in values[1:]):
        return values[0]
    if all(value.isdecimal() and str(int(value)) == value for value in values):
        return _linear([int(value) for value in values], spots)
    return None


def _linear(values: Sequence[int], spots: Sequence[_Spot]) -> str | None:
    """Return a template such as `{index*8+128}` that renders the values.

    None if there is none, or if only two devices suggest a step above 1, which any two numbers do.
    """
    numbers = [spot.number for spot in spots]
    step, rest = divmod(values[1] - values[0], numbers[1] - numbers[0])
    begin = values[0] - step * numbers[0]
    if rest or step < 1 or begin < 0 or (step > 1 and len(values) < _LARGE_STEPS_MIN):
        return None
    if any(value != step * number + begin for value, number in zip(values, numbers, strict=True)):
        return None
    return f"{{index{f'*{step}' if step > 1 else ''}{f'+{begin}' if begin else ''}}}"


def _replaced(text: str, spot: _Spot) -> str:
    """Return the text with placeholders for the place of the device, its marks and its node."""
    if spot.place.bus_id:
        values = spot.place.placeholders
        for name in ("pciBusID", "pcieRoot", "pcieBus"):
            if text == values[name]:
                return f"{{{name}}}"
        text = PCI_NAME.sub(lambda match: "{pciName}" if match[0] == values["pciName"] else match[0], text)
    text = MARK.sub(lambda match: spot.marks[match[0]], text)
    return text.replace(NODE_MARK, "{node}")
