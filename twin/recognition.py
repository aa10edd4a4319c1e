"""Recognises the devices of a driver on a node as entries of `devices`, with known models or new ones.

A model is the right one if the program's own code renders it to exactly these devices.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from topology.objects import mig
from topology.objects.inventory import physical_device, values_without_place
from topology.objects.slices import device_manifest
from topology.schema.devices import Attributes, DeviceAttribute, DeviceModel
from topology.schema.placeholders import ADDRESS_PLACEHOLDERS, fill, used_in
from topology.schema.stack import Devices, MigDevices
from twin.blocks import Block, Place
from twin.configuration import Written
from twin.counterparts import counterparts
from twin.identities import Identities, Wire, letters
from twin.templates import device_model, texts_of_node

_NODE = "node-of-the-twin"
_WRITTEN_TRIED_MAX = 16
_PRODUCTS = ("productName", "model", "product", "dra.net/pciDevice")


@dataclass(frozen=True)
class Entry:
    """An entry of `devices`: the model, the number of devices, overriding attributes, MIG devices and PCIe places."""

    model: str
    count: int
    attributes: Mapping[str, Any] = field(default_factory=dict)
    mig: Any = None
    slot: str | None = None
    places: Sequence[Place] = ()


@dataclass
class Models:
    """The models that a twin can use, by name: those of the catalogue, and new ones."""

    known: dict[str, DeviceModel]
    written: dict[str, Written] = field(default_factory=dict)
    identities: Identities = field(init=False)
    """Masks the identities of devices."""

    def __post_init__(self) -> None:
        """Learn from the models which attributes are identities."""
        self.identities = Identities()
        self.identities.learn_from_models(self.known.values())

    def of_driver(self, driver: str) -> dict[str, DeviceModel]:
        """Return the models to try for a driver; of new models only the latest, to limit the time."""
        found = {name: model for name, model in self.known.items() if model.driver == driver}
        latest = [name for name in found if name in self.written][-_WRITTEN_TRIED_MAX:]
        return {name: model for name, model in found.items() if name not in self.written or name in latest}

    def add(self, written: Written) -> str:
        """Add a model unless there is an equal one, and return its name."""
        for other, known in self.written.items():
            if known == written:
                return other
        name = unused(_model_name(written), self.known)
        self.known[name] = DeviceModel.model_validate(written)
        self.written[name] = written
        return name


def unused(name: str, taken: Mapping[str, object] | set[str]) -> str:
    """Return the name, or the first of `name-b`, `name-c`, … that is not taken."""
    if name not in taken:
        return name
    number = 1
    while f"{name}-{letters(number)}" in taken:
        number += 1
    return f"{name}-{letters(number)}"


def slug(text: str, most: int) -> str:
    """Return a text as a name of at most so many small letters, digits and dashes."""
    return re.sub("[^a-z0-9]+", "-", text)[:most].strip("-")


def _model_name(written: Written) -> str:
    """Return a name for a model from its product, or else from its driver."""
    attributes = written.get("attributes", {})
    texts = [attributes.get(name, {}).get("string") for name in _PRODUCTS]
    found = next((text for text in texts if text and "{" not in text), written["driver"].partition(".")[0])
    return slug(found.lower(), 40) or "device"


def entries(driver: str, found: Sequence[Block], models: Models, hints: Written) -> list[Entry]:
    """Return the entries that render the blocks of `driver` in order; `hints` are further keys of new models.

    Raises:
        ValueError: no model describes a device.
    """
    recognition = _Recognition(driver, found, models, hints)
    entries: list[Entry] = []
    rest = list(found)
    while rest:
        entries.append(recognition.next(rest))
        rest = rest[entries[-1].count :]
    return _merged(entries, models)


class _New(NamedTuple):
    """A new model, and the twin's texts for all marks up to the devices that it renders."""

    written: Written
    texts: dict[str, str]


class _Recognition:
    """Recognises the devices of a driver on a node, entry by entry."""

    def __init__(self, driver: str, found: Sequence[Block], models: Models, hints: Written) -> None:
        """Start before the first device."""
        self._driver, self._models, self._hints = driver, models, hints
        self._of_node = texts_of_node(found)
        self._numbers: Counter[str] = Counter()
        # The texts that the twin has for marks so far; those of several drivers are the same for all of them.
        self._texts = {mark: fill(text, {"node": _NODE}) for mark, text in self._of_node.items() if "{node}" in text}

    def next(self, rest: Sequence[Block]) -> Entry:
        """Return the entry for the first of the blocks and those after it that follow the same pattern."""
        known = self._models.of_driver(self._driver)
        slot = next((model.slot for model in known.values() if model.slot), "gpu")
        size, (written, texts) = self._longest(rest, slot)
        run = rest[:size]
        candidates = [found for name, model in known.items() if (found := self._known(name, model, run, written))]
        if candidates:
            entry, texts = min(candidates, key=lambda found: len(found[0].attributes))
        else:
            places = [block.place for block in run] if "slot" in written else []
            name = self._models.add(written | self._hints)
            entry = Entry(name, size, slot=written.get("slot"), places=places)
        self._texts = texts
        self._numbers[self._models.known[entry.model].device_name] += size
        return entry

    def _longest(self, rest: Sequence[Block], slot: str) -> tuple[int, _New]:
        """Return how many of the first blocks follow the same pattern, and the model that renders them.

        A node can have thousands of devices, so the number is doubled as long as there is a model, then bisected.
        """
        most, best = 1, self._new(rest[:1], slot, self._of_node) or self._literal(rest[:1], slot)
        too_many = len(rest) + 1
        while most + 1 < too_many:
            size = min(2 * most + 1, len(rest)) if too_many > len(rest) else (most + too_many) // 2
            if found := self._new(rest[:size], slot, self._of_node):
                most, best = size, found
            else:
                too_many = size
        return most, best

    def _literal(self, run: Sequence[Block], slot: str) -> _New:
        """Return a model whose identities do not depend on the names of devices; it can be inexact."""
        everywhere = texts_of_node(run, everywhere=True) | self._of_node
        written = device_model(self._driver, run, everywhere, slot, self._numbers)
        if written is None:
            raise ValueError(f"no device model can describe the device {run[0].devices[0]['name']} of {self._driver}")
        return self._new(run, slot, everywhere) or _New(written, self._texts)

    def _new(self, run: Sequence[Block], slot: str, of_node: dict[str, str]) -> _New | None:
        """Return a new model that renders the blocks; None if they follow no common pattern."""
        written = device_model(self._driver, run, of_node, slot, self._numbers)
        if written is None:
            return None
        texts = self._rendered(_devices(DeviceModel.model_validate(written), len(run)), run)
        return None if texts is None else _New(written, texts)

    def _known(
        self, name: str, model: DeviceModel, run: Sequence[Block], written: Written
    ) -> tuple[Entry, dict[str, str]] | None:
        """Return the entry that renders the blocks as devices of `model`, and the texts for marks, or else None."""
        cuts = _cuts(model, run[0])
        if cuts is None or _is_another_product(model, run[0].devices[0]):
            return None
        attributes = self._needed(_devices(model, len(run), cuts), run[0], written.get("attributes", {}))
        if attributes is None:
            return None
        over: Attributes = {key: DeviceAttribute.model_validate(value) for key, value in attributes.items()}
        texts = self._rendered(_devices(model, len(run), cuts, over), run)
        places = [block.place for block in run] if model.slot else []
        entry = Entry(name, len(run), attributes, _written_cuts(cuts), model.slot, places)
        return None if texts is None else (entry, texts)

    def _needed(self, made: Devices, block: Block, common: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the attributes that have to override the model's, of the `common` ones of all devices.

        None if anything else differs, as the model is then another one.
        """
        devices, _ = self._wires(made, block, 0)
        if [device["name"] for device in devices] != [device["name"] for device in block.devices]:
            return None
        needed = {}
        for device, wanted in zip(devices, block.devices, strict=True):
            have, want = device.get("attributes", {}), wanted.get("attributes", {})
            if not have.keys() <= want.keys():
                return None
            for key in want:
                if key not in have or not self._alike(made.model.attributes.get(key), have[key], want[key]):
                    if key not in common or not self._may_differ(made, key):
                        return None
                    needed[key] = common[key]
        return needed

    def _alike(self, attribute: DeviceAttribute | None, have: Wire, want: Wire) -> bool:
        """Return whether a value is as wanted, or an identity as the model makes it."""
        is_fixed = attribute is not None and not attribute.has_placeholders
        return have == want if is_fixed else counterparts(have, want, _NODE, self._texts) is not None

    def _may_differ(self, made: Devices, name: str) -> bool:
        """Return whether an attribute can differ between devices of the same model: versions and identities can."""
        attribute = made.model.attributes.get(name)
        return (not made.mig or name in mig.PARENT_ATTRIBUTES) and (
            attribute is None
            or attribute.version is not None
            or f"attributes.{name}" in made.model.unverified
            or (self._driver, name) in self._models.identities.attributes
        )

    def _rendered(self, made: Devices, run: Sequence[Block]) -> dict[str, str] | None:
        """Return the twin's text for each mark so far if `made` renders exactly these blocks, else None."""
        found = [self._wires(made, block, place) for place, block in enumerate(run)]
        wanted = [(block.devices, _sets(block)) for block in run]
        return counterparts(found, wanted, _NODE, self._texts)

    def _wires(self, made: Devices, block: Block, place: int) -> tuple[list[Wire], Mapping[str, Any]]:
        """Return the devices and counter sets that `made` renders in the place of a block."""
        values = values_without_place(made, _NODE, self._numbers[made.model.device_name] + place)
        if made.model.slot and block.place.bus_id:
            values |= block.place.complete.placeholders
        physical = physical_device(made, place, values)
        return [device_manifest(device) for device in physical.devices], physical.counter_sets


def _devices(model: DeviceModel, count: int, cuts: Any = (), attributes: Attributes | None = None) -> Devices:
    return Devices.model_construct(model=model, count=count, mig=cuts or None, attributes=attributes or {})


def _is_another_product(model: DeviceModel, device: Wire) -> bool:
    """Return whether a device's product is surely another one, as rendering all models of a driver takes long."""
    for name in _PRODUCTS:
        known, found = model.attributes.get(name), device.get("attributes", {}).get(name)
        is_fixed = not model.partitions and f"attributes.{name}" not in model.unverified
        if known and found and is_fixed and not known.has_placeholders and found != {"string": known.string}:
            return True
    return False


def _cuts(model: DeviceModel, block: Block) -> Any:
    """Return the `mig` with which a GPU of the model has these devices: `[]` if it is whole, None if there is none."""
    if not model.mig:
        return []
    if block.is_whole and not _profile(block.devices[0]):
        return []
    if block.counter_set is not None:
        return "dynamic"
    profiles = Counter(_profile(device) for device in block.devices)
    if not profiles.keys() <= {profile.name for profile in model.mig}:
        return None
    return [MigDevices(profiles={str(name): count for name, count in profiles.items()})]


def _profile(device: Wire) -> str | None:
    profile: str | None = device.get("attributes", {}).get("profile", {}).get("string")
    return profile


def _written_cuts(cuts: Any) -> Any:
    if not isinstance(cuts, list):
        return cuts
    return [{"profiles": dict(cut.profiles)} for cut in cuts] or None


def _sets(block: Block) -> dict[str, Any]:
    return {} if block.counter_set is None else {block.counter_set: dict(block.counters)}


# Successive entries of one model become one entry.


def _merged(entries: Sequence[Entry], models: Models) -> list[Entry]:
    """Merge successive entries that differ only in their MIG devices."""
    found: list[Entry] = []
    for entry in entries:
        if found and _can_merge(found[-1], entry, models):
            found[-1] = _together(found[-1], entry)
        else:
            found.append(_with_gpus(entry))
    return [replace(entry, mig=_without_needless_gpus(entry)) for entry in found]


def _can_merge(one: Entry, other: Entry, models: Models) -> bool:
    same = (one.model, one.attributes) == (other.model, other.attributes)
    return same and "dynamic" not in (one.mig, other.mig) and not _has_count(models.known[one.model])


def _has_count(model: DeviceModel) -> bool:
    """Return whether a model's devices publish their number."""
    parts = [model.attributes, *(partition.attributes for partition in model.partitions)]
    return any("count" in used_in(str(attribute.wire)) for part in parts for attribute in part.values())


def _with_gpus(entry: Entry, begin: int = 0) -> Entry:
    """Add the numbers of the GPUs, counted from `begin`, to the MIG devices."""
    if not isinstance(entry.mig, list):
        return entry
    gpus = list(range(begin, begin + entry.count))
    return replace(entry, mig=[{"gpus": gpus, "profiles": cut["profiles"]} for cut in entry.mig])


def _together(one: Entry, other: Entry) -> Entry:
    cuts = [*(one.mig or [])]
    for cut in _with_gpus(other, one.count).mig or []:
        if cuts and cuts[-1]["profiles"] == cut["profiles"]:
            cuts[-1] = {"gpus": [*cuts[-1]["gpus"], *cut["gpus"]], "profiles": cut["profiles"]}
        else:
            cuts.append(cut)
    places = [*one.places, *other.places]
    return replace(one, count=one.count + other.count, mig=cuts or None, places=places)


def _without_needless_gpus(entry: Entry) -> Any:
    if not isinstance(entry.mig, list):
        return entry.mig
    everywhere = list(range(entry.count))
    return [{"profiles": cut["profiles"]} if cut["gpus"] == everywhere else cut for cut in entry.mig]


def used_of_place(model: DeviceModel, attributes: Mapping[str, Any]) -> set[str]:
    """Return the placeholders for a place on PCIe that the model and the overriding attributes use."""
    texts = [model.device_name, *(partition.device_name for partition in model.partitions)]
    for part in (model.attributes, *(partition.attributes for partition in model.partitions)):
        texts += [str(attribute.wire) for attribute in part.values()]
    texts += [str(value) for attribute in attributes.values() for value in attribute.values()]
    return {name for text in texts for name in used_in(text)} & (ADDRESS_PLACEHOLDERS | {"numaNode"})
