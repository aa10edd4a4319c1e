"""Finds the identities of a dump, which a twin must not contain, by other means than the program.

An identity is a UUID, a MAC or IP address, the serial number of a device, or the id of a rack or a block: a long
sequence of letters and digits. PCI addresses, products and versions are none.
"""

import ipaddress
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from tests.twins.cluster import Cluster

UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
MAC = re.compile(r"(?<![0-9a-f:])(?:[0-9a-f]{2}:){5}[0-9a-f]{2}(?![0-9a-f:])", re.IGNORECASE)
IPV4 = re.compile(r"(?<![0-9.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9.])")
_WORD = re.compile(r"[0-9A-Za-z]+")
_VERSION = re.compile(r"version|release|firmware", re.IGNORECASE)
_SERIAL = re.compile(r"serial(number)?$|[gu]uid$|(^|[^a-z])(sid|sn|mac)$", re.IGNORECASE)
_LONG, _SHORT = 16, 5


def is_identity(text: str, private: Iterable[str]) -> bool:
    """Tell whether a text may be an identity, or contains one, so that a twin may replace it."""
    if UUID.search(text) or MAC.search(text) or _is_address(text) or IPV4.search(text):
        return True
    return any(_is_id(word) for word in _WORD.findall(text)) or any(name.lower() in text.lower() for name in private)


def _is_id(word: str, length: int = 8) -> bool:
    return len(word) >= length and sum(letter.isdigit() for letter in word) >= 4


def _is_address(text: str) -> bool:
    try:
        return bool(ipaddress.ip_interface(text))
    except ValueError:
        return False


def identities(objects: Iterable[Any], dump: Cluster) -> set[str]:
    """Return the identities in a dump's objects: what occurs in a twin of it is a leak."""
    texts = [(name, text) for entry in objects for name, text in _texts(entry)]
    versions = {text for name, text in texts if _VERSION.search(name)}
    found = {match for _, text in texts for pattern in (UUID, MAC) for match in pattern.findall(text)}
    addresses = {match for _, text in texts for match in IPV4.findall(text) if _is_address(match)}
    addresses |= {text for _, text in texts if ":" in text and _is_address(text)}
    return found | (addresses - versions) | set(_of_devices(dump)) | serials(dump)


def serials(dump: Cluster) -> set[str]:
    """Return the texts that tell a device from all others by the name of the attribute, however short."""
    named = [text for (_, name), values in _by_attribute(dump).items() if _SERIAL.search(name) for text in values]
    return {text for text in named if len(text) >= _SHORT and re.search("[0-9]", text)}


def _texts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield all texts in an object, each with the name of its field or attribute."""
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from _texts(entry, name if key in ("string", "strings", "version", "versions") else key)
    elif isinstance(value, list):
        for entry in value:
            yield from _texts(entry, name)
    elif isinstance(value, str):
        yield name, value


def _of_devices(dump: Cluster) -> Iterator[str]:
    """Yield the serial numbers of devices, and the ids of what they belong to."""
    for (_, name), values in _by_attribute(dump).items():
        texts = [text for text in values if text and not _VERSION.search(name)]
        words = {word for text in texts for word in _WORD.findall(text)}
        is_serial = _SERIAL.search(name) or (len(set(texts)) == len(values) > 1)
        yield from (word for word in words if _is_id(word, 8 if is_serial else _LONG))


def _by_attribute(dump: Cluster) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for device in dump.devices.values():
        for name, value in (device.published.get("attributes") or {}).items():
            if "string" in value:
                found[device.key[0], name].append(value["string"])
    return found


def leaked(private: Iterable[str], text: str) -> list[str]:
    """Return the private texts that occur in a text as whole words."""
    lower = text.lower()
    return sorted(name for name in private if name.lower() in lower and _as_word(name).search(text))


def _as_word(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![0-9A-Za-z]){re.escape(name)}(?![0-9A-Za-z])", re.IGNORECASE)


# Names.

PSEUDONYM = re.compile(r"(twin-)?[a-z]+(-[a-z]+)*-[0-9]+")
_NAMED = ("Node", "Pod", "ResourceClaim", "ResourceClaimTemplate", "PodGroup", "DeviceTaintRule", "DeviceClass")
_PUBLIC_KEY = re.compile(
    r"(^|[./-])(kubernetes\.io|k8s\.io|nvidia\.com|amd\.com|intel\.com|google\.com|azure\.com|amazonaws\.com)(/|$)|^twin/"
)


def names(objects: Iterable[Any], dump: Cluster, public: Iterable[str]) -> set[str]:
    """Return the names that a dump's owner gave: of objects, of their owners and parts, and of labels and taints.

    Names that any other thing may have are left out, and those that are words of what drivers publish or of `public`.
    """
    found = {name for entry in objects for name in all_names(entry)}
    found = {name for name in found if len(name) >= 5 and re.search(r"[-.0-9]", name)}
    known = "\n".join([*public, *_published(dump)])
    return {name for name in found if not _as_word(name).search(known)}


def all_names(entry: Any) -> Iterator[str]:
    """Yield all names of an object: those of a ResourceSlice are the driver's."""
    if entry["kind"] not in _NAMED:
        return
    metadata, spec = entry["metadata"], entry.get("spec") or {}
    yield metadata["name"]
    yield metadata.get("namespace") or ""
    yield from (owner["name"] for owner in metadata.get("ownerReferences") or [])
    yield from (
        part["name"] for key in ("containers", "initContainers", "resourceClaims") for part in spec.get(key) or []
    )
    pairs = [*(metadata.get("labels") or {}).items()]
    pairs += [(taint["key"], taint.get("value") or "") for taint in spec.get("taints") or []]
    yield from (text for key, value in pairs if not _PUBLIC_KEY.search(key) for text in (key, value))


def _published(dump: Cluster) -> Iterator[str]:
    """Yield what drivers publish under names that nobody replaces."""
    for device in dump.devices.values():
        attributes = device.published.get("attributes") or {}
        yield from (device.key[0], device.key[2], *attributes, *(device.published.get("capacity") or {}))
        texts = [str(value) for attribute in attributes.values() for value in attribute.values()]
        yield from (text for text in texts if not is_identity(text, dump.nodes))
    yield from (spec.get("extendedResourceName") or "" for spec in dump.classes.values())
    for name, node in dump.nodes.items():
        yield from dump.capacity(name)
        labels = node["metadata"].get("labels") or {}
        yield from (value for key, value in labels.items() if _PUBLIC_KEY.search(key) and value != name)
