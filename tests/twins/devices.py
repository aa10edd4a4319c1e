"""Compares the devices of a twin with those of its dump: everything that the scheduler sees of them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from tests.twins.cluster import Cluster, Device
from tests.twins.identities import is_identity
from tests.twins.selection import Object, Taint
from topology.kubernetes.quantities import number


class Pair(NamedTuple):
    """A device of the dump and its counterpart in the twin."""

    original: Device
    copy: Device

    @property
    def where(self) -> str:
        """The name of the device and its node."""
        return f"{self.original.key[2]} of {self.original.key[1]}"


class Differences:
    """What differs, each with the places at which it does."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = defaultdict(list)

    def add(self, what: str, where: str) -> None:
        """Add a difference, and a place."""
        self._found[what].append(where)

    def lines(self) -> list[str]:
        """Return a line for each difference."""
        return [f"{what}: {where[0]}{_more(len(where) - 1)}" for what, where in self._found.items()]


def _more(count: int) -> str:
    return f" and {count} more" if count else ""


# Counterparts.

_Group = tuple[str, bool, frozenset[str]]
"""Devices of a driver that can be used on the same nodes of the twin."""


def paired(dump: Cluster, twin: Cluster, nodes: Mapping[str, str]) -> tuple[list[Pair], list[Device], list[Device]]:
    """Return the devices with their counterparts, and those of the dump and of the twin that have none."""
    originals = _grouped(dump.devices.values(), nodes)
    copies = _grouped(twin.devices.values(), {name: name for name in twin.nodes})
    pairs: list[Pair] = []
    missing: list[Device] = []
    extra: list[Device] = []
    for group in {**originals, **copies}:
        found, left, right = _matched(originals.get(group, []), copies.get(group, []))
        pairs += found
        missing += left
        extra += right
    return pairs, missing, extra


def _grouped(devices: Iterable[Device], nodes: Mapping[str, str]) -> dict[_Group, list[Device]]:
    found: dict[_Group, list[Device]] = defaultdict(list)
    for device in devices:
        reached = frozenset(nodes[name] for name in device.nodes if name in nodes)
        if reached:
            found[device.key[0], device.is_of_node, reached].append(device)
    return found


def _matched(originals: Sequence[Device], copies: Sequence[Device]) -> tuple[list[Pair], list[Device], list[Device]]:
    """Match devices by name, then the others in their order."""
    by_name: dict[str, list[Device]] = defaultdict(list)
    for device in copies:
        by_name[device.key[2]].append(device)
    pairs = [Pair(one, by_name[one.key[2]].pop(0)) for one in originals if by_name[one.key[2]]]
    taken = {pair.original.key for pair in pairs}
    left = [one for one in originals if one.key not in taken]
    right = [one for rest in by_name.values() for one in rest]
    pairs += [Pair(one, other) for one, other in zip(left, right, strict=False)]
    return pairs, left[len(right) :], right[len(left) :]


# Facts.


def compare(pairs: Sequence[Pair], private: Iterable[str], *, empty_may_go: bool) -> list[str]:
    """Return what differs between devices and their counterparts, apart from identities, which may be replaced.

    `private` are the names of nodes, which may be replaced in texts too. With `empty_may_go`, attributes whose text is
    empty may be missing.
    """
    found = Differences()
    private = list(private)
    for pair in pairs:
        old, new = pair
        if old.key[2] != new.key[2] and not is_identity(old.key[2], private):
            found.add(f"the device is called {new.key[2]}", pair.where)
        for what in _facts(old.published, new.published):
            found.add(what, pair.where)
        if old.skipped != new.skipped:
            found.add(f"devices skip {old.skipped} in the dump, but {new.skipped} in the twin", pair.where)
        for what in _attributes(old, new, private, empty_may_go):
            found.add(what, pair.where)
    return [*found.lines(), *_counters(pairs), *_patterns(pairs)]


def _facts(old: Object, new: Object) -> Iterator[str]:
    """Yield what differs, except in what is compared elsewhere."""
    elsewhere = ("name", "attributes", "taints", "consumesCounters", "nodeName", "nodeSelector", "allNodes")
    before, after = (canonical({key: one[key] for key in one if key not in elsewhere}) for one in (old, new))
    for key in before | after:
        if before.get(key) != after.get(key):
            yield f"{key} of devices is {old.get(key)} in the dump, but {new.get(key)} in the twin"


_UNORDERED = ("bindingConditions", "bindingFailureConditions", "compatibilityGroups", "validValues")


def canonical(value: Any, name: str = "") -> Any:
    """Return a value without what is empty, with quantities as numbers."""
    if isinstance(value, Mapping):
        found = {key: canonical(entry, key) for key, entry in value.items()}
        return {key: entry for key, entry in found.items() if entry not in (None, "", [], {}) and entry is not False}
    if isinstance(value, list):
        found_list = [canonical(entry) for entry in value]
        return sorted(found_list, key=str) if name in _UNORDERED else found_list
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return _amount(str(value))
    return value


def _amount(text: str) -> str | Decimal:
    try:
        return number(text)
    except ValueError:
        return text


def _attributes(old: Device, new: Device, private: Sequence[str], empty_may_go: bool) -> Iterator[str]:
    before, after = (one.published.get("attributes") or {} for one in (old, new))
    for name in before | after:
        was, now = before.get(name), after.get(name)
        if was == now or (now is None and was == {"string": ""} and empty_may_go):
            continue
        if was is None or now is None or was.keys() != now.keys():
            yield f"the attribute {name} of {old.key[0]} is {was} in the dump, but {now} in the twin"
            continue
        for text, other in zip(_texts(was), _texts(now), strict=False):
            if text != other and not is_identity(text, private):
                yield f"the attribute {name} of {old.key[0]} was {text!r} and is {other!r}, but is no identity"
        if len(_texts(was)) != len(_texts(now)) or not _texts(was):
            yield f"the attribute {name} of {old.key[0]} is {was} in the dump, but {now} in the twin"


def _texts(attribute: Object) -> list[str]:
    """Return the texts of an attribute; none if it is of another type."""
    found = attribute.get("strings") or ([attribute["string"]] if "string" in attribute else [])
    return list(found)


# Counters: sets may have other names.


def _counters(pairs: Sequence[Pair]) -> list[str]:
    found = Differences()
    names: dict[tuple[Any, ...], set[tuple[Any, ...]]] = defaultdict(set)
    back: dict[tuple[Any, ...], set[tuple[Any, ...]]] = defaultdict(set)
    for pair in pairs:
        old, new = (list(_consumed(device)) for device in pair)
        if [entry[1:] for entry in old] != [entry[1:] for entry in new]:
            found.add(f"a device consumes {_told(old)} in the dump, but {_told(new)} in the twin", pair.where)
            continue
        for (mine, *_), (other, *_) in zip(old, new, strict=True):
            names[pair.original.key[0], pair.original.key[1], mine].add((pair.copy.key[1], other))
            back[pair.copy.key[0], pair.copy.key[1], other].add((pair.original.key[1], mine))
    for split in (found for found in (*names.values(), *back.values()) if len(found) > 1):
        found.add("devices share a counter set in one of the two only", str(sorted(split)))
    return found.lines()


_Consumed = tuple[str, Any, Any, Any]


def _consumed(device: Device) -> Iterator[_Consumed]:
    """Yield what a device consumes: the set, its counters, what is consumed of them, and the compatibility groups."""
    entries = [
        (
            entry["counterSet"],
            canonical(device.counter_sets.get(entry["counterSet"], {})),
            {name: amount for name, amount in canonical(entry.get("counters") or {}).items() if amount["value"]},
            sorted(entry.get("compatibilityGroups") or []),
        )
        for entry in device.published.get("consumesCounters") or []
    ]
    return iter(sorted(entries, key=lambda entry: str(entry[1:])))


def _told(consumed: Sequence[_Consumed]) -> str:
    return str([(name, {key: str(one["value"]) for key, one in counters.items()}) for name, _, counters, _ in consumed])


# Texts: equal in the twin exactly where they are equal in the dump.


def _patterns(pairs: Sequence[Pair]) -> Iterator[str]:
    """Yield where equal texts became different ones, or different texts equal ones.

    Texts are compared in one attribute on all devices and, on each node, in all attributes of a driver.
    """
    there: dict[Any, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    back: dict[Any, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for old, new in pairs:
        after = new.published.get("attributes") or {}
        for name, value in (old.published.get("attributes") or {}).items():
            qualified = name if "/" in name else f"{old.key[0]}/{name}"
            for text, other in zip(_texts(value), _texts(after.get(name, {})), strict=False):
                of_node = (old.key[0], old.nodes) if is_identity(text, ()) else None
                for scope in (f"attribute {qualified}", of_node):
                    if scope:
                        there[scope][text].add(other)
                        back[scope][other].add(text)
    for scope in there:
        yield from (
            f"{_scope(scope)}: {text!r} became {_some(others)}"
            for text, others in there[scope].items()
            if len(others) > 1
        )
        yield from (
            f"{_scope(scope)}: {_some(texts)} became {text!r}" for text, texts in back[scope].items() if len(texts) > 1
        )


def _scope(scope: Any) -> str:
    return scope if isinstance(scope, str) else f"attributes of {scope[0]} on {'/'.join(sorted(scope[1]))}"


def _some(texts: Iterable[str]) -> str:
    found = sorted(texts)
    return f"{', '.join(map(repr, found[:3]))}{_more(len(found) - 3 if len(found) > 3 else 0)}"


# Taints: they may have other keys and values.


def compare_taints(
    original: Mapping[Any, Iterable[Taint]], copy: Mapping[Any, Iterable[Taint]], *, kept: bool
) -> list[str]:
    """Return which taints are not on the same devices or nodes; both by the name in the twin."""
    before, after = _by_taint(original), _by_taint(copy)
    public = Counter((taint, where) for taint, where in after.items() if kept or not taint[0].startswith("twin/"))
    wrong = [
        f"the taint {taint} is not on these in the dump: {_places(where)}"
        for taint, where in public
        if before.get(taint) != where
    ]
    shapes = [Counter((taint[2], where) for taint, where in one.items()) for one in (before, after)]
    wrong += [f"a taint {effect} is missing on {_places(where)}" for effect, where in shapes[0] - shapes[1]]
    return wrong + [
        f"a taint {effect} is only in the twin, on {_places(where)}" for effect, where in shapes[1] - shapes[0]
    ]


def _by_taint(tainted: Mapping[Any, Iterable[Taint]]) -> dict[Taint, frozenset[Any]]:
    found: dict[Taint, set[Any]] = defaultdict(set)
    for place, taints in tainted.items():
        for taint in taints:
            found[taint].add(place)
    return {taint: frozenset(places) for taint, places in found.items()}


def _places(places: Iterable[Any]) -> str:
    return _some(place if isinstance(place, str) else f"{place[2]} of {place[1]}" for place in places)
