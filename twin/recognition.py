"""The devices of a driver on a node as entries of `devices`: of models that are known, or written out here.

Whether a model is the right one is found by rendering it with the program's own code and comparing what comes out.
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
from twin.identities import Identities, Wire, alike, renumbered
from twin.templates import Written, device_model, on_blocks

_NODE = "node-of-the-twin"
_WRITTEN_TRIED_MAX = 16


@dataclass(frozen=True)
class Entry:
    """An entry of `devices`: so many of a model, what goes over its attributes, how it is cut, and where they are."""

    model: str
    count: int
    attributes: Mapping[str, Any] = field(default_factory=dict)
    mig: Any = None
    slot: str | None = None
    places: Sequence[Place] = ()


@dataclass
class Models:
    """The models that a twin can name: those of the catalogue, and those that are written out for it, by name."""

    known: dict[str, DeviceModel]
    written: dict[str, Written] = field(default_factory=dict)
    identities: Identities = field(init=False)
    """Which attributes hold identities."""

    def __post_init__(self) -> None:
        """Learn from the models which attributes are filled in for each device."""
        self.identities = Identities()
        self.identities.know(self.known.values())

    def of_driver(self, driver: str) -> dict[str, DeviceModel]:
        """Return the models of a driver that may be the right ones: of those that are written out, the latest."""
        found = {name: model for name, model in self.known.items() if model.driver == driver}
        latest = [name for name in found if name in self.written][-_WRITTEN_TRIED_MAX:]
        return {name: model for name, model in found.items() if name not in self.written or name in latest}

    def add(self, written: Written) -> str:
        """Add a model, which gets a name by what it is, unless the same one is there already."""
        for other, known in self.written.items():
            if known == written:
                return other
        name = unused(_slug(written), self.known)
        self.known[name] = DeviceModel.model_validate(written)
        self.written[name] = written
        self.identities.know([self.known[name]])
        return name


def unused(name: str, taken: Mapping[str, object] | set[str]) -> str:
    """Return the name, or the first of `name-b`, `name-c` and so on that is not taken."""
    if name not in taken:
        return name
    number = 1
    while f"{name}-{_letters(number)}" in taken:
        number += 1
    return f"{name}-{_letters(number)}"


def _letters(number: int) -> str:
    """Return a, b, … z, ba, bb and so on for 0, 1, …, 25, 26."""
    rest, digit = divmod(number, 26)
    return (_letters(rest) if rest else "") + chr(ord("a") + digit)


def _slug(written: Written) -> str:
    """Name a model by the product that it is, or else by its driver."""
    attributes = written.get("attributes", {})
    texts = [
        attributes.get(name, {}).get("string") for name in ("productName", "model", "product", "dra.net/pciDevice")
    ]
    found = next((text for text in texts if text and "{" not in text), written["driver"].partition(".")[0])
    letters = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in found.lower())
    return "-".join(filter(None, letters.split("-")))[:40].strip("-") or "device"


def entries(driver: str, found: Sequence[Block], models: Models, hints: Written) -> list[Entry]:
    """Return the entries that give the blocks of `driver`, in order.

    `hints` are what a model that is written out has besides: how its driver sorts devices.
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
    return merged(entries, models)


def _next(
    driver: str,
    rest: Sequence[Block],
    shared: Mapping[str, int],
    models: Models,
    numbers: Counter[str],
    hints: Written,
) -> Entry:
    """Return the entry for the first of the blocks and for as many after it as are made alike."""
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
    """Return how many of the blocks are made alike, often all, and the model that makes them.

    Twice as many and one more are tried each time, and then what is between: a node may have thousands of devices.
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
        raise ValueError(f"device {rest[0].devices[0]['name']} of {driver} cannot be written down")
    return most, written


# What is known: a model is the right one if it gives the same.


def _as(
    name: str, model: DeviceModel, run: Sequence[Block], written: Written, start: int, identities: Identities
) -> Entry | None:
    """Return the entry that gives the blocks as devices of `model`, numbered from `start` on; None if none does."""
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
    """Return how a GPU of the model is cut into these devices: `dynamic`, a list, `[]` if it is whole; None if not."""
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
    """Return what has to go over the model's attributes: versions, and what the model does not have.

    None if other things than these differ: then it is another model.
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
    common = _common(written)
    for key in needed:
        if key not in common or not _may_differ(model, key) or (cuts and key not in mig.PARENT_ATTRIBUTES):
            return None
        needed[key] = common[key]
    return needed


def _common(written: Written) -> Mapping[str, Any]:
    found: Mapping[str, Any] = written.get("attributes", {})
    return found


def _may_differ(model: DeviceModel, name: str) -> bool:
    """Tell whether an attribute can be another one without the device being another one."""
    attribute = model.attributes.get(name)
    return attribute is None or attribute.version is not None or f"attributes.{name}" in model.unverified


def _same(made: Devices, run: Sequence[Block], start: int, identities: Identities) -> bool:
    rendered, wanted = zip(*_pairs(made, run, start, identities), strict=True)
    return renumbered(rendered) == renumbered(wanted)


def _pairs(made: Devices, run: Sequence[Block], start: int, identities: Identities) -> Iterator[tuple[Wire, Wire]]:
    """Go through what `made` gives for each device of the blocks, and the device; {} where there is no counterpart."""
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
    place = block.place
    if made.model.slot and place.bus_id:
        root = place.root or "pci0000:00"
        values |= {
            "pciBusID": place.bus_id,
            "pciName": place.bus_id.replace(":", "-").replace(".", "-"),
            "pcieRoot": root,
            "pcieBus": root.removeprefix("pci").partition(":")[2],
            "numaNode": place.numa_node or 0,
        }
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


# Entries one after the other that are of one model are one entry.


def merged(entries: Sequence[Entry], models: Models) -> list[Entry]:
    """Put entries together that differ only in how GPUs are cut."""
    found: list[Entry] = []
    for entry in entries:
        if found and _goes_with(found[-1], entry, models):
            found[-1] = _together(found[-1], entry)
        else:
            found.append(_with_gpus(entry))
    return [replace(entry, mig=_without_needless_gpus(entry)) for entry in found]


def _goes_with(one: Entry, other: Entry, models: Models) -> bool:
    same = (one.model, one.attributes) == (other.model, other.attributes)
    return same and "dynamic" not in (one.mig, other.mig) and not counts(models.known[one.model])


def counts(model: DeviceModel) -> bool:
    """Tell whether a model's devices say how many they are."""
    parts = [model.attributes, *(partition.attributes for partition in model.partitions)]
    return any("count" in used_in(text) for part in parts for one in part.values() for text in _texts(one))


def _texts(attribute: DeviceAttribute) -> list[str]:
    return [*attribute.texts, str(attribute.int_)]


def _with_gpus(entry: Entry, begin: int = 0) -> Entry:
    """Say of which GPUs, counted from `begin` on, each cut is."""
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
    """Return what of their places on PCIe devices of the model tell, with what goes over its attributes."""
    texts = [model.device_name, *(partition.device_name for partition in model.partitions)]
    for part in (model.attributes, *(partition.attributes for partition in model.partitions)):
        texts += [text for attribute in part.values() for text in _texts(attribute)]
    texts += [str(value) for attribute in attributes.values() for value in attribute.values()]
    return {name for text in texts for name in used_in(text)} & (ADDRESS_PLACEHOLDERS | {"numaNode"})
