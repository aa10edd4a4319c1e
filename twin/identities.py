"""Masks identities: values that are unique to a device or node (UUIDs, serial numbers, addresses).

A mark such as `<uuid:3>` replaces a value. On a node, the same value gets the same number, so that devices that share a
value, such as the partitions of a GPU, still share it.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from topology.schema.devices import DeviceAttribute, DeviceModel
from topology.schema.placeholders import used_in

Wire = dict[str, Any]
"""A device as on the wire, without its taints."""

_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_MAC = r"(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}"
_IPV4 = r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?:/[0-9]{1,2})?"
_IPV6 = r"[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){3,7}(?:/[0-9]{1,3})?"
_LONG_NUMBER = r"[0-9]{15,}"
_PATTERN = re.compile(rf"(?P<uuid>{_UUID})|(?P<mac>^{_MAC}$)|(?P<id>^(?:{_IPV4}|{_IPV6}|{_LONG_NUMBER})$)")
MARK = re.compile(r"<(uuid|mac|id):([0-9]+)>")
NODE_MARK = "<node>"
_PLACEHOLDERS = {"uuid", "deviceUuid", "nodeUuid", "hex", "mac"}
_SERIAL = re.compile(r"serial(number)?$", re.IGNORECASE)
_OF_PCI = re.compile(r"(pci)?[0-9a-f]{4}[:-][0-9a-f]{2}([:-][0-9a-f]{2}[.-][0-7])?")
_DEVICES_MIN, _NODES_MIN = 8, 3


def is_identity(attribute: DeviceAttribute) -> bool:
    """Return whether an attribute of a model is unique to each device or node."""
    return any(_PLACEHOLDERS & used_in(text) for text in attribute.texts)


class Identities:
    """Masks identities: values of known attributes, and values that look like an identity."""

    def __init__(self) -> None:
        """Start without known attributes, which are kept by driver and name."""
        self._names: set[tuple[str, str]] = set()

    def learn_from_models(self, models: Iterable[DeviceModel]) -> None:
        """Add the attributes that the models fill in for each device."""
        self._names |= {
            (model.driver, name)
            for model in models
            for attributes in (model.attributes, *(partition.attributes for partition in model.partitions))
            for name, attribute in attributes.items()
            if attribute.texts and is_identity(attribute)
        }

    def learn_from_devices(self, found: Iterable[tuple[str, str, Iterable[Wire]]]) -> None:
        """Add the attributes whose values differ on all devices of the dump; `found` has driver, node and devices.

        On a few devices, or on those of one or two nodes, all values can differ by chance.
        """
        values: dict[tuple[str, str], list[str]] = defaultdict(list)
        nodes: dict[tuple[str, str], set[str]] = defaultdict(set)
        for driver, node, devices in found:
            for device in devices:
                for name, value in device.get("attributes", {}).items():
                    if "string" in value and not _OF_PCI.fullmatch(value["string"]):
                        values[driver, name].append(value["string"])
                        nodes[driver, name].add(node)
        self._names |= {
            key
            for key, texts in values.items()
            if len(texts) == len(set(texts)) >= _DEVICES_MIN and len(nodes[key]) >= _NODES_MIN
        }

    def masked(self, devices: Iterable[Wire], driver: str, node: str, seen: dict[str, str]) -> list[Wire]:
        """Return the devices with a mark for each identity, and add the marks to the node's in `seen`."""

        def mask(name: str, text: str) -> str:
            return self._text(text, driver, name, node, seen)

        return [_with_texts(device, mask) for device in devices]

    def _text(self, text: str, driver: str, name: str, node: str, seen: dict[str, str]) -> str:
        def mark(kind: str, value: str) -> str:
            return seen.setdefault(value, f"<{kind}:{len(seen)}>")

        found = _PATTERN.sub(lambda match: mark(str(match.lastgroup), match[0]), text)
        if found != text:
            return found
        if text and ((driver, name) in self._names or _SERIAL.search(name)):
            return mark("id", text)
        return _name_of(node).sub(NODE_MARK, text) if node in text else text


@lru_cache
def _name_of(node: str) -> re.Pattern[str]:
    """Return a pattern that finds the node's name in a text; it finds nothing if the name can be any word, as `gpu`."""
    is_name = "-" in node or "." in node
    return re.compile(rf"(?<![A-Za-z0-9]){re.escape(node)}(?![A-Za-z0-9])" if is_name else r"(?!)")


def renumbered(devices: Iterable[Wire]) -> list[Wire]:
    """Return the devices with their marks renumbered from 0 in order of appearance."""
    numbers: dict[str, str] = {}

    def number(match: re.Match[str]) -> str:
        return numbers.setdefault(match[0], f"<{match[1]}:{len(numbers)}>")

    return [_with_texts(device, lambda _, text: MARK.sub(number, text)) for device in devices]


def alike(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an attribute whose marks have neither kind nor number."""
    return {"string": MARK.sub("<>", value["string"])} if "string" in value else value


def _with_texts(device: Wire, change: Callable[[str, str], str]) -> Wire:
    """Return the device with each string attribute changed by `change`, which takes its name and value."""
    if "attributes" not in device:
        return device
    return device | {
        "attributes": {
            name: {"string": change(name, value["string"])} if "string" in value else value
            for name, value in device["attributes"].items()
        }
    }
