"""Derives a device model, with placeholders in its texts, from devices that follow one pattern."""

import re
from collections import ChainMap, Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from topology.kubernetes.objects import given
from topology.schema.placeholders import Formula
from twin.blocks import NUMA, PCI_NAME, Block, Place
from twin.configuration import Written
from twin.identities import MARK, NODE_MARK, Wire, texts

_LARGE_STEPS_MIN = 3
_DIGITS_MAX = 9
_BUS = re.compile("pci.*(root|bus)", re.IGNORECASE)
_IDENTITY = {"uuid": "{uuid}", "mac": "{mac}", "id": "{hex}"}


class _Spot(NamedTuple):
    """A device of a template: its number, the values of the placeholders for its place, and the texts for its marks."""

    number: int
    place: Mapping[str, object]
    marks: Mapping[str, str]


def device_model(
    driver: str, blocks: Sequence[Block], of_node: dict[str, str], slot: str, numbers: Mapping[str, int]
) -> Written | None:
    """Return a model of these blocks in this order; None if they follow no common pattern.

    `of_node` has the texts for the marks that do not belong to one block, `slot` the kind of slot that devices with a
    place on PCIe use, `numbers` the number of preceding devices by the template of their name.
    """
    first = blocks[0]
    if any(len(block.devices) != len(first.devices) or block.is_whole != first.is_whole for block in blocks):
        return None
    places = [block.place for block in blocks]
    if any(place.bus_id is None for place in places):
        places = [Place()] * len(places)
    spots = [_Spot(0, place.placeholders, _marks(block, of_node)) for place, block in zip(places, blocks, strict=True)]
    written = _model(driver, blocks, _numbered(spots, 0))
    start = numbers.get(written["deviceName"], 0) if written else 0
    if start:
        written = _model(driver, blocks, _numbered(spots, start))
    if written and places[0].bus_id:
        written["slot"] = slot
    return written


def _numbered(spots: Iterable[_Spot], start: int) -> list[_Spot]:
    return [spot._replace(number=number) for number, spot in enumerate(spots, start)]


def texts_of_node(blocks: Sequence[Block], everywhere: bool = False) -> dict[str, str]:
    """Return the text for each mark of several blocks or drivers, with placeholders of the node.

    With `everywhere`, those of one block have such a text too.
    """
    found: dict[str, str] = {}
    blocks_with = Counter(mark for block in blocks for mark in dict.fromkeys(_marks_in(block.devices)))
    for mark, number in blocks_with.items():
        kind, _, name = mark[1:-1].partition(":")
        if kind == "node":
            found[mark] = f"{{node}}-{name}"
        elif kind == "uuid" and number == len(blocks) > 1 and "{nodeUuid}" not in found.values():
            found[mark] = "{nodeUuid}"
        elif number > 1 or everywhere:
            found[mark] = f"{{nodeUuid}}-{name}"
    return found


def _marks(block: Block, of_node: dict[str, str]) -> Mapping[str, str]:
    """Return the text for each mark, with placeholders of the node, the physical device, or its partition.

    A further value of a device has a number after the placeholder.
    """
    devices_with = Counter(mark for device in block.devices for mark in dict.fromkeys(_marks_in([device])))
    found: dict[str, str] = {}
    used: Counter[tuple[int, str]] = Counter()
    for place, device in enumerate(block.devices):
        for mark in _marks_in([device]):
            if mark not in found and mark not in of_node:
                own = not block.is_whole and devices_with[mark] == 1
                text = "{deviceUuid}" if own else _IDENTITY[mark[1:-1].partition(":")[0]]
                used[place if own else -1, text] += 1
                number = used[place if own else -1, text]
                found[mark] = text if number == 1 else f"{text}-{number}"
    return ChainMap(found, of_node)


def _marks_in(devices: Iterable[Wire]) -> Iterator[str]:
    """Yield the marks in the devices' texts in their order."""
    for device in devices:
        for value in device.get("attributes", {}).values():
            for text in texts(value):
                if "<" in text:
                    yield from MARK.findall(text)


def _model(driver: str, blocks: Sequence[Block], spots: Sequence[_Spot]) -> Written | None:
    parts = [_part([block.devices[index] for block in blocks], spots) for index in range(len(blocks[0].devices))]
    if any(part is None for part in parts):
        return None
    found = [part for part in parts if part is not None]
    if blocks[0].is_whole:
        return {"driver": driver, **found[0]}
    return _partitioned(driver, blocks, spots, found)


def _part(devices: Sequence[Wire], spots: Sequence[_Spot]) -> Written | None:
    """Return what devices of several blocks have in common, with the keys of a model; None if they differ."""
    name = _text([device["name"] for device in devices], spots)
    rests = [_rest(device) for device in devices]
    names = devices[0].get("attributes", {}).keys()
    if name is None or any(rest != rests[0] for rest in rests[1:]):
        return None
    if any(device.get("attributes", {}).keys() != names for device in devices[1:]):
        return None
    attributes = {key: _attribute(key, [device["attributes"][key] for device in devices], spots) for key in names}
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
    is_whole = stem.count("{") == stem.count("}") and (_has_number(stem) or not _has_number(names[0]))
    return stem if stem and is_whole else names[0]


def _has_number(name: str) -> bool:
    return re.search("[{0-9]", name) is not None


def _attribute(name: str, values: Sequence[Mapping[str, Any]], spots: Sequence[_Spot]) -> dict[str, Any] | None:
    """Return an attribute that has each of the values at its spot; None if there is none."""
    (kind,) = values[0]
    if any(value.keys() != values[0].keys() for value in values[1:]):
        return None
    found = [value[kind] for value in values]
    made: Any = found[0] if all(value == found[0] for value in found[1:]) else None
    if kind == "string":
        made = _place(name, found, spots) or _text(found, spots)
    elif kind == "strings":
        made = _list(name, found, spots)
    elif kind == "int":
        made = _number(found, spots, name)
    return None if made is None else {kind: made}


def _list(name: str, values: Sequence[Sequence[str]], spots: Sequence[_Spot]) -> list[str] | None:
    if any(len(value) != len(values[0]) for value in values):
        return None
    texts = [_place(name, column, spots) or _text(column, spots) for column in zip(*values, strict=True)]
    return [text for text in texts if text is not None] if None not in texts else None


def _number(values: Sequence[int], spots: Sequence[_Spot], name: str) -> int | str | None:
    """Return a number or a placeholder; that for a NUMA node only if the name says so, or no computation fits."""
    is_numa_node = values == [spot.place.get("numaNode") for spot in spots]
    if is_numa_node and NUMA.search(name):
        return "{numaNode}"
    if all(value == values[0] for value in values):
        return values[0]
    return _computed(values, spots) or ("{numaNode}" if is_numa_node else None)


def _place(name: str, texts: Sequence[str], spots: Sequence[_Spot]) -> str | None:
    """Return the placeholder for a place if an attribute is one; None if it is not."""
    for key in ("pciBusID", "pcieRoot", "pcieBus"):
        # The two digits of a bus can be anything, so the name has to say it, or several devices.
        is_sure = key != "pcieBus" or len(set(texts)) > 1 or _BUS.search(name)
        if is_sure and all(text == spot.place.get(key) for text, spot in zip(texts, spots, strict=True)):
            return f"{{{key}}}"
    return None


def _text(texts: Sequence[str], spots: Sequence[_Spot]) -> str | None:
    """Return the template that renders each of the texts at its spot; None if there is none."""
    replaced = [_replaced(text, spot) for text, spot in zip(texts, spots, strict=True)]
    pieces = [re.split(r"(\{\w+\}|[0-9]+)", text) for text in replaced]
    if any(len(piece) != len(pieces[0]) for piece in pieces):
        return None
    found = [_piece(column, spots) for column in zip(*pieces, strict=True)]
    return None if None in found else "".join(filter(None, found))


def _replaced(text: str, spot: _Spot) -> str:
    """Return the text with placeholders for the name of the device's place, its marks and its node."""
    if name := spot.place.get("pciName"):
        text = PCI_NAME.sub(lambda match: "{pciName}" if match[0] == name else match[0], text)
    return MARK.sub(lambda match: spot.marks[match[0]], text).replace(NODE_MARK, "{node}")


def _piece(values: Sequence[str], spots: Sequence[_Spot]) -> str | None:
    if all(value == values[0] for value in values[1:]):
        return values[0]
    if not all(value.isdecimal() for value in values):
        return None
    width = len(values[0]) if any(value != str(int(value)) for value in values) else 0
    if width > _DIGITS_MAX or (width and any(len(value) != width for value in values)):
        return None
    return _computed([int(value) for value in values], spots, width)


def _computed(values: Sequence[int], spots: Sequence[_Spot], width: int = 0) -> str | None:
    """Return a placeholder such as `{index*8+128}` or `{index//4}` that computes the values; None if there is none."""
    numbers = [spot.number for spot in spots]
    changes = [place for place in range(1, len(values)) if values[place] != values[place - 1]]
    length = changes[1] - changes[0] if len(changes) > 1 else numbers[changes[0]]
    for divisor in (1, length):
        formula = _formula(values, numbers, divisor, width)
        if formula and all(formula.of(number) == value for number, value in zip(numbers, values, strict=True)):
            return formula.placeholder("index")
    return None


def _formula(values: Sequence[int], numbers: Sequence[int], divisor: int, width: int) -> Formula | None:
    """Return the formula that these values of numbers divided by `divisor` suggest."""
    steps = {number // divisor: value for number, value in zip(numbers, values, strict=True)}
    quotients = sorted(steps)
    falls = [one for one in quotients[1:] if steps[one] < steps[one - 1]]
    modulus = falls[1] - falls[0] if len(falls) > 1 else falls[0] if falls else None
    factor = steps[quotients[1]] - steps[quotients[0]]
    addend = steps[quotients[0]] - factor * (quotients[0] % modulus if modulus else quotients[0])
    # Any two numbers suggest a factor.
    is_likely = factor == 1 or (factor > 1 and len(values) >= _LARGE_STEPS_MIN)
    is_written = addend >= 0 and max(factor, addend) < 10**_DIGITS_MAX
    return Formula(divisor, modulus, factor, addend, width) if is_likely and is_written else None
