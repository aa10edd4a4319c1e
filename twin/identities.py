"""Finds and masks identities: values that tell a device, a node, or the nodes of a rack or a fabric from others.

A value that only one node has becomes a mark such as `<uuid:a0>`: its kind, a letter for the attribute, and its number
among the node's values of that attribute. Nodes that differ only in such values are therefore equal. A value that
several nodes have becomes a constant, the same wherever the value is.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

from topology.kubernetes.naming import natural_key
from topology.objects.inventory import stable_uuid
from topology.schema.devices import DeviceModel
from topology.schema.placeholders import used_in

Wire = dict[str, Any]
"""A device as on the wire, without its taints."""

MARK = re.compile(r"(<(?:uuid|mac|id|node):[a-z]+[0-9]+>)")
NODE_MARK = "<node>"
UUID = re.compile(r"([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})")
_PLACEHOLDERS = {"uuid", "deviceUuid", "nodeUuid", "hex", "mac"}

# Forms of values: PCI addresses and IDs; MAC addresses and GUIDs; IP addresses, also with a port or a prefix; serial
# numbers and hashes.
_OF_PCI = re.compile(r"(pci)?([0-9a-f]{4,8}[:-])?[0-9a-f]{2}([:-][0-9a-f]{2}([.-][0-7])?)?|0x[0-9a-f]{1,8}|[0-9a-f]{4}")
_MAC = re.compile(r"([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}")
_HEX_GROUPS = re.compile(r"[0-9a-fA-F]{0,4}(:[0-9a-fA-F]{0,4}){3,}")
_ADDRESS = re.compile(r"\[?([0-9a-fA-F:.]+)(?:%\w+)?\]?([:/][0-9]+)?")
_QUAD = re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w.])")
_TOKEN = re.compile(r"\b(?:0x)?(?=(?:[A-Za-z]*[0-9]){6})(?:[0-9A-Z]{10,}|[0-9a-f]{12,}|[0-9a-z]{24,})\b")
_OPAQUE_MIN, _ID_MIN, _NUMBER_MIN = 15, 6, 5

# Words in the names of attributes.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SECRET = {"uuid", "guid", "serial", "serialnumber", "sid", "sn", "wwn", "wwid", "eui", "asset"}
_DESCRIBES = {"version", "ver", "driver", "firmware", "fw", "bios", "release", "build", "revision", "profile", "type"}
_DESCRIBES |= {"product", "model", "family", "architecture", "brand", "vendor"}
_OF_ADDRESS = {"ip", "ips", "ipv", "addr", "address", "addresses", "cidr", "gateway", "subnet", "endpoint", "host"}
_GROUP = {"rack", "chassis", "island", "block", "leaf", "spine", "switch", "cluster", "clique", "fabric", "group"}
_ID, _NAME = {"id", "ids", "identifier"}, {"name", "number"}
_PUBLIC_ID = {"pci", "pcie", "device", "vendor", "subsystem", "class", "type", "product", "numa", "socket", "core"}


class Identities:
    """Masks identities."""

    def __init__(self) -> None:
        """Start without any."""
        self.attributes: set[tuple[str, str]] = set()
        """The attributes that hold identities, as driver and name."""
        self._public: set[tuple[str, str, str]] = set()
        self._whole: set[str] = set()
        self._constants: dict[str, str] = {}
        self._of_several_drivers: set[str] = set()
        self._marks: dict[str, dict[str, str]] = defaultdict(dict)
        self._letters: dict[str, str] = {}
        self._numbers: Counter[tuple[str, str]] = Counter()

    def learn_from_models(self, models: Iterable[DeviceModel]) -> None:
        """Add the attributes that the models fill in for each device; their other texts are public."""
        for model in models:
            for part in (model.attributes, *(partition.attributes for partition in model.partitions)):
                for name, attribute in part.items():
                    self._public |= {(model.driver, name, text) for text in attribute.texts}
                    if any(_PLACEHOLDERS & used_in(text) for text in attribute.texts):
                        self.attributes.add((model.driver, name))

    def learn_from_devices(self, found: Iterable[tuple[str, str, Iterable[Wire]]]) -> None:
        """Find the identities of a dump, and which nodes share them; `found` has driver, node and devices."""
        found_texts = [
            (driver, node, name, _without(node, text))
            for driver, node, devices in sorted(found, key=lambda one: natural_key(one[1]))
            for device in devices
            for name, attribute in device.get("attributes", {}).items()
            for text in texts(attribute)
        ]
        self._find_whole(found_texts)
        places: dict[str, set[tuple[str, str]]] = defaultdict(set)
        names: dict[str, str] = {}
        for driver, node, name, text in found_texts:
            for value in self._split(driver, name, text)[1::2]:
                self.attributes.add((driver, name))
                places[value].add((driver, node))
                names.setdefault(value, name)
        for value, found_in in places.items():
            if len({node for _, node in found_in}) > 1:
                self.constant(value, names[value])
        self._of_several_drivers = {value for value, found_in in places.items() if len(found_in) > 1}

    def _find_whole(self, found: Sequence[tuple[str, str, str, str]]) -> None:
        """Find the texts that are identities as a whole."""
        nodes: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for driver, node, name, text in found:
            nodes[driver, name][text].append(node)
        hosts = {name for _, node, _, _ in found for name in (node, node.partition(".")[0]) if _is_name(name)}
        for attribute, nodes_of in nodes.items():
            known = attribute in self.attributes
            self._whole |= {
                text
                for text in nodes_of
                if text and NODE_MARK not in text
                if known or text in hosts or _identifies(attribute[1], text, nodes_of)
            }

    def constant(self, value: str, name: str = "id") -> str:
        """Return the pseudonym of a value that several nodes have, or none; `name` is that of its attribute."""
        if value not in self._constants:
            kind = _kind(value)
            label = re.sub("[^a-z0-9]", "", name.rpartition("/")[2].lower()) if kind == "id" else kind
            self._numbers["", label] += 1
            number = self._numbers["", label]
            forms = {"uuid": stable_uuid("twin", number), "mac": (0x02 << 40 | number).to_bytes(6).hex(":")}
            self._constants[value] = forms.get(kind, f"{label}-{number}")
        return self._constants[value]

    def masked(self, devices: Iterable[Wire], driver: str, node: str) -> list[Wire]:
        """Return the devices of a node with a mark or a constant for each identity."""

        def mask(name: str, text: str) -> str:
            pieces = self._split(driver, name, _without(node, text))
            pieces[1::2] = [self._constants.get(value) or self._mark(value, name, node) for value in pieces[1::2]]
            return "".join(pieces)

        return [_with_texts(device, mask) for device in devices]

    def _split(self, driver: str, name: str, text: str) -> list[str]:
        """Return the text in pieces, every second of which is an identity."""
        if (driver, name, text) in self._public:
            return [text]
        pieces = UUID.split(text)
        return ["", text, ""] if len(pieces) == 1 and text in self._whole else pieces

    def _mark(self, value: str, name: str, node: str) -> str:
        marks = self._marks[node]
        if value not in marks:
            letter = self._letters.setdefault(name, letters(len(self._letters)))
            kind = "node" if value in self._of_several_drivers else _kind(value)
            marks[value] = f"<{kind}:{letter}{self._numbers[node, letter]}>"
            self._numbers[node, letter] += 1
        return marks[value]


def is_opaque(text: str, length: int = _OPAQUE_MIN) -> bool:
    """Return whether a text has the form of a UUID, a GUID, a MAC address, a serial number or a hash."""
    if UUID.search(text) or _HEX_GROUPS.fullmatch(text):
        return True
    return any(len(token[0]) >= length for token in _TOKEN.finditer(text))


def _kind(value: str) -> str:
    return "uuid" if UUID.fullmatch(value) else "mac" if _MAC.fullmatch(value) else "id"


def _identifies(name: str, text: str, nodes_of: Mapping[str, list[str]]) -> bool:
    """Return whether a text is an identity, by its attribute's name, its form, and how the attribute's texts differ.

    `nodes_of` has all texts of the attribute, with the node of each device.
    """
    words, digits = _words(name), len(re.findall("[0-9]", text))
    if _is_serial(words, text):
        return True
    if _is_public(text) or not _DESCRIBES.isdisjoint(words):
        return False
    differ = all(len(nodes) == 1 for nodes in nodes_of.values())
    if differ and _is_not_by_chance(len(nodes_of), len({nodes[0] for nodes in nodes_of.values()}), digits):
        return True
    is_of_node = len(nodes_of) > 1 and len(set(nodes_of[text])) == 1
    return digits > 0 and (
        _is_address(text, not _OF_ADDRESS.isdisjoint(words) or len(nodes_of) > 1)
        or _names_an_id(words, text)
        or is_opaque(text, 0 if is_of_node else _OPAQUE_MIN)
    )


@lru_cache
def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name.rpartition("/")[2])]


def _is_public(text: str) -> bool:
    return _OF_PCI.fullmatch(text) is not None or re.fullmatch(f"[0-9]{{0,{_NUMBER_MIN - 1}}}", text) is not None


def _is_serial(words: list[str], text: str) -> bool:
    """Return whether an attribute's name says that a text tells a device from all others."""
    return not _SECRET.isdisjoint(words) and not _is_public(text) and re.search("[0-9]", text) is not None


def _is_not_by_chance(devices: int, nodes: int, digits: int) -> bool:
    """Return whether texts that differ on so many devices of so many nodes are identities."""
    return (nodes > 2 and devices > 7) or (nodes > 1 and devices > max(3, nodes) and digits > 2)


def _is_address(text: str, likely: bool) -> bool:
    """Return whether a text is or has an IP address; public ones look like versions, so they must be likely."""
    match = _ADDRESS.fullmatch(text)
    for found in [match[1]] if match else _QUAD.findall(text):
        with suppress(ValueError):
            address = ip_address(found)
            return address.is_private or address.version == 6 or bool(match and (likely or match[2]))
    return False


def _names_an_id(words: list[str], text: str) -> bool:
    """Return whether an attribute's name says that it is the ID of a device or of a group of nodes."""
    of = [word for word in words if word not in _ID | _NAME]
    if of and of[-1] in _GROUP:
        return True
    return bool(words) and words[-1] in _ID and _PUBLIC_ID.isdisjoint(words) and len(text) >= _ID_MIN


@lru_cache
def _node_name(node: str) -> re.Pattern[str]:
    """Return a pattern that finds the node's name in a text; it finds nothing if the name can be any word, as `gpu`."""
    return re.compile(rf"(?<![A-Za-z0-9]){re.escape(node)}(?![A-Za-z0-9])" if _is_name(node) else r"(?!)")


def _without(node: str, text: str, mark: str = NODE_MARK) -> str:
    return _node_name(node).sub(mark, text) if node and node in text else text


def without_identities(name: str, node: str, attributes: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a device's name with `#` for each identity in it, its serial number, and the name of its node."""
    for key, value in attributes.items():
        for text in texts(value):
            if text and text.lower() in name and _is_serial(_words(key), text):
                name = re.sub(rf"(?<![a-z0-9]){re.escape(text.lower())}(?![a-z0-9])", "#", name)
    return _TOKEN.sub("#", UUID.sub("#", _without(node, name, "#")))


def _is_name(node: str) -> bool:
    return "-" in node or "." in node


def letters(number: int) -> str:
    """Return a, b, …, z, ba, bb, … for 0, 1, …, 25, 26, 27, …."""
    rest, digit = divmod(number, 26)
    return (letters(rest) if rest else "") + chr(ord("a") + digit)


def texts(attribute: Mapping[str, Any]) -> list[str]:
    """Return the texts of an attribute."""
    return [attribute["string"]] if "string" in attribute else attribute.get("strings", [])


def _with_texts(device: Wire, change: Callable[[str, str], str]) -> Wire:
    """Return the device with each text of its attributes changed by `change`, which takes the attribute's name too."""
    attributes = dict(device.get("attributes", {}))
    for name, value in attributes.items():
        if "string" in value:
            attributes[name] = {"string": change(name, value["string"])}
        elif "strings" in value:
            attributes[name] = {"strings": [change(name, text) for text in value["strings"]]}
    return device | ({"attributes": attributes} if attributes else {})
