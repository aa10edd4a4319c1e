"""Recognises the devices of a driver on a node as entries of `devices`, with known models or new ones.

A model is the right one if the program's own code renders it to exactly these devices.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from topology.objects import mig
from topology.objects.inventory import Device, PhysicalDevice, physical_device, stable_uuid
from topology.objects.slices import device_manifest
from topology.schema.devices import Attributes, DeviceAttribute, DeviceModel
from topology.schema.placeholders import ADDRESS_PLACEHOLDERS, used_in
from topology.schema.stack import Devices, MigDevices
from twin.blocks import Block, Place
from twin.configuration import Written
from twin.identities import Identities, Wire, alike, renumbered
from twin.templates import device_model, on_blocks

_NODE = "node-of-the-twin"
_WRITTEN_TRIED_MAX = 16


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
        name = unused(_slug(written), self.known)
        self.known[name] = DeviceModel.model_validate(written)
        self.written[name] = written
        self.identities.learn_from_models([self.known[name]])
        return name


def unused(name: str, taken: Mapping[str, object] | set[str]) -> str:
    """Return the name, or the first of `name-b`, `name-c`, … that is not taken."""
    if name not in taken:
        return name
    number = 1
    while f"{name}-{_letters(number)}" in taken:
        number += 1
    return f"{name}-{_letters(number)}"


def _letters(number: int) -> str:
    """Return a, b, …, z, ba, bb, … for 0, 1, …, 25, 26, 27, …."""
    rest, digit = divmod(number, 26)
    return (_letters(rest) if rest else "") + chr(ord("a") + digit)


def _slug(written: Written) -> str:
    """Return a name for a model from its product, or else from its driver."""
    attributes = written.get("attributes", {})
    texts = [
        attributes.get(name, {}).get("string") for name in ("productName", "model", "product", "dra.net/pciDevice")
    ]
    found = next((text for text in texts if text and "{" not in text), written["driver"].partition(".")[0])
    letters = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in found.lower())
    return "-".join(filter(None, letters.split("-")))[:40].strip("-") or "device"


def entries(driver: str, found: Sequence[Block], models: Models, hints: Written) -> list[Entry]:
    """Return the entries that render the blocks of `driver` in order; `hints` are further keys of new models.

    Raises:
        ValueError: no model renders a device.
    """
    shared = on_blocks(found)
    numbers: Counter[str] = Counter()
    entries: list[Entry] = []
    rest = list(found)
    while rest:
        entry = _next(driver, rest, shared, models, numbers, hints)
        numbers[models.known[entry.model].device_name] += entry.count
        entries.append(entry)
        rest = rest[entry.count :]
    return _merged(entries, models)


def _next(
    driver: str,
    rest: Sequence[Block],
    shared: Mapping[str, int],
    models: Models,
    numbers: Counter[str],
    hints: Written,
) -> Entry:
    """Return the entry for the first of the blocks and those after it that follow the same pattern."""
    known = models.of_driver(driver)
    slot = next((model.slot for model in known.values() if model.slot), "gpu")
    size, written = _longest(driver, rest, shared, slot, numbers)
    run = rest[:size]
    best: Entry | None = None
    for name, model in known.items():
        entry = _as(name, model, run, written, numbers[model.device_name], models.identities)
        if entry and (best is None or len(entry.attributes) < len(best.attributes)):
            best = entry
    if best:
        return best
    places = [block.place for block in run] if "slot" in written else []
    return Entry(models.add(written | hints), size, {}, None, written.get("slot"), places)


def _longest(
    driver: str, rest: Sequence[Block], shared: Mapping[str, int], slot: str, numbers: Mapping[str, int]
) -> tuple[int, Written]:
    """Return how many of the first blocks follow the same pattern, and the model that renders them.

    A node can have thousands of devices, so the number is doubled as long as there is a model, then bisected.
    """
    found = {1: device_model(driver, rest[:1], shared, slot, numbers)}
    size = 1
    while found[size] is not None and size < len(rest):
        size = min(2 * size + 1, len(rest))
        found[size] = device_model(driver, rest[:size], shared, slot, numbers)
    most = max((size for size, written in found.items() if written is not None), default=0)
    least_too_many = size if found[size] is None else size + 1
    while least_too_many - most > 1:
        size = (most + least_too_many) // 2
        found[size] = device_model(driver, rest[:size], shared, slot, numbers)
        most, least_too_many = (size, least_too_many) if found[size] is not None else (most, size)
    written = found.get(most)
    if written is None:
        raise ValueError(f"no device model can describe the device {rest[0].devices[0]['name']} of {driver}")
    return most, written


# Known models.


def _as(
    name: str, model: DeviceModel, run: Sequence[Block], written: Written, start: int, identities: Identities
) -> Entry | None:
    """Return the entry that renders the blocks as devices of `model`, numbered from `start`; None if there is none."""
    cuts = _cuts(model, run[0])
    if cuts is None:
        return None
    attributes = _needed(model, run, written, start, identities, cuts)
    if attributes is None:
        return None
    over: Attributes = {key: DeviceAttribute.model_validate(value) for key, value in attributes.items()}
    made = Devices.model_construct(model=model, count=len(run), mig=cuts, attributes=over)
    if not _same(made, run, start, identities):
        return None
    places = [block.place for block in run] if model.slot else []
    return Entry(name, len(run), attributes, _written_cuts(cuts), model.slot, places)


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


def _needed(
    model: DeviceModel, run: Sequence[Block], written: Written, start: int, identities: Identities, cuts: Any
) -> dict[str, Any] | None:
    """Return the attributes that have to override the model's: versions, and attributes that the model does not have.

    None if anything else differs, as the model is then another one.
    """
    made = Devices.model_construct(model=model, count=len(run), mig=cuts, attributes={})
    needed: dict[str, Any] = {}
    for device, wanted in _pairs(made, run[:1], start, identities):
        have, want = device.get("attributes", {}), wanted.get("attributes", {})
        if device["name"] != wanted["name"] or not have.keys() <= want.keys():
            return None
        for key in want:
            if key not in have or alike(have[key]) != alike(want[key]):
                needed[key] = None
    common: Mapping[str, Any] = written.get("attributes", {})
    for key in needed:
        if key not in common or not _may_differ(model, key) or (cuts and key not in mig.PARENT_ATTRIBUTES):
            return None
        needed[key] = common[key]
    return needed


def _may_differ(model: DeviceModel, name: str) -> bool:
    """Return whether an attribute can differ between devices of the same model."""
    attribute = model.attributes.get(name)
    return attribute is None or attribute.version is not None or f"attributes.{name}" in model.unverified


def _same(made: Devices, run: Sequence[Block], start: int, identities: Identities) -> bool:
    rendered, wanted = zip(*_pairs(made, run, start, identities), strict=True)
    return renumbered(rendered) == renumbered(wanted)


def _pairs(made: Devices, run: Sequence[Block], start: int, identities: Identities) -> Iterator[tuple[Wire, Wire]]:
    """Yield each device that `made` renders with its counterpart in the blocks, up to a block that has none."""
    seen: dict[str, str] = {}
    for place, block in enumerate(run):
        physical = physical_device(made, place, _values(made, block, start + place))
        rendered = identities.masked(_wires(physical, made.model), made.model.driver, _NODE, seen)
        if len(rendered) != len(block.devices) or dict(physical.counter_sets) != _sets(block):
            yield {"name": ""}, block.devices[0]
            return
        yield from zip(rendered, block.devices, strict=True)


def _sets(block: Block) -> dict[str, Any]:
    return {} if block.counter_set is None else {block.counter_set: dict(block.counters)}


def _values(made: Devices, block: Block, number: int) -> dict[str, object]:
    driver = made.model.driver
    values: dict[str, object] = {
        "node": _NODE,
        "driver": driver,
        "nodeUuid": stable_uuid(_NODE, driver),
        "count": made.count,
        "index": number,
        "numaNode": number,
    }
    if made.model.slot and block.place.bus_id:
        values |= block.place.complete.placeholders
    return values


def _wires(physical: PhysicalDevice, model: DeviceModel) -> list[Wire]:
    return [device_manifest(_bound(device, model)) for device in physical.devices]


def _bound(device: Device, model: DeviceModel) -> Device:
    return replace(
        device,
        binding_conditions=model.binding_conditions,
        binding_failure_conditions=model.binding_failure_conditions,
        binds_to_node=model.binds_to_node,
    )


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
    return any("count" in used_in(text) for part in parts for one in part.values() for text in _texts(one))


def _texts(attribute: DeviceAttribute) -> list[str]:
    return [*attribute.texts, str(attribute.int_)]


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
        texts += [text for attribute in part.values() for text in _texts(attribute)]
    texts += [str(value) for attribute in attributes.values() for value in attribute.values()]
    return {name for text in texts for name in used_in(text)} & (ADDRESS_PLACEHOLDERS | {"numaNode"})
