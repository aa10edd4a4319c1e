"""Whether an empty node can satisfy the claims of a pod: a small version of the scheduler's allocator.

https://github.com/kubernetes/kubernetes/tree/v1.37.2/staging/src/k8s.io/dynamic-resource-allocation/structured
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from topology.kubernetes.counters import are_compatible
from topology.kubernetes.quantities import number
from topology.objects.inventory import Device, DevicePool

STEPS_MAX = 20_000
"""The search gives up after this many steps and leaves the answer to the scheduler."""

DeviceKey = tuple[str, str, str]
"""The names of a driver, of one of its pools, and of a device in it; the pool of a configured node has none."""


class Candidate(NamedTuple):
    """A device of a driver, in one of its pools."""

    driver: str
    device: Device
    pool: str = ""

    @property
    def key(self) -> DeviceKey:
        """The identity of the device; requests may derive different attributes for it."""
        return self.driver, self.pool, self.device.name


class Wanted(NamedTuple):
    """One device that a claim requests, out of `candidates`; `amounts` is what it consumes of a shared device."""

    claim: str
    request: str
    candidates: Sequence[Candidate]
    amounts: Mapping[str, str]


class Constraint(NamedTuple):
    """Devices of a claim's `requests` (default: all) must have a value of `attribute` in common; `distinct`: none.

    `request/alternative` names one alternative of a request.
    """

    claim: str
    requests: Sequence[str]
    attribute: str
    distinct: bool

    def covers(self, wanted: Wanted) -> bool:
        """Tell whether the constraint applies to this device."""
        names = {wanted.request, wanted.request.partition("/")[0]}
        return wanted.claim == self.claim and (not self.requests or not names.isdisjoint(self.requests))


Values = frozenset[tuple[str, Any]]
"""The values of an attribute, each with its type, `("int", 1)`."""


def attribute_of(candidate: Candidate, name: str) -> Values:
    """Return the values of an attribute by its full name: one value or those of a list; empty if it is missing."""
    domain, _, plain = name.rpartition("/")
    attributes = candidate.device.attributes
    return values_of(attributes.get(name) or (attributes.get(plain) if domain == candidate.driver else None) or {})


def values_of(attribute: Mapping[str, Any]) -> Values:
    """Return the values of an attribute of the Kubernetes API, `{"ints": [0, 1]}` or `{"int": 0}`.

    Constraints treat a single value as a list of one: `attributeAsSet` in
    https://github.com/kubernetes/dynamic-resource-allocation/blob/v0.37.2/structured/internal/experimental/allocator_experimental.go
    """
    return frozenset(
        (kind.removesuffix("s"), value)
        for kind, some in attribute.items()
        for value in (some if isinstance(some, list) else [some])
    )


Counters = dict[tuple[str, str, str, str], Decimal]
"""Values by driver, pool, counter set and counter."""


class Room:
    """What is left of the devices of a node: counters, capacity of shared devices, and the devices not taken."""

    def __init__(self, counters: Counters, one_share_each: bool = False) -> None:
        """Begin with all `counters`, and with no device taken.

        With `one_share_each`, a request gets no device twice: since Kubernetes 1.36, not even a shared one.
        """
        self.one_share_each = one_share_each
        self._left = defaultdict(Decimal, counters)
        self._taken: list[tuple[Candidate, Counters]] = []
        self._times: Counter[DeviceKey] = Counter()

    def has(self, candidate: Candidate, amounts: Mapping[str, str]) -> bool:
        """Tell whether a device can be taken; `amounts` are what a request consumes if the device is shared."""
        return not self.is_used_up(candidate) and self.fits(candidate, amounts)

    def fits(self, candidate: Candidate, amounts: Mapping[str, str]) -> bool:
        """Tell whether a device, in use or not, fits beside those that are taken: all that admin access needs."""
        costs = self._costs(candidate, amounts)
        return all(self._left[name] >= cost for name, cost in costs.items()) and self._compatible(candidate)

    def take(self, candidate: Candidate, amounts: Mapping[str, str]) -> None:
        """Take a device, or a share of it."""
        costs = self._costs(candidate, amounts)
        self._taken.append((candidate, costs))
        self._times[candidate.key] += 1
        self._spend(costs, 1)

    def give_back(self) -> None:
        """Give back what was taken last."""
        candidate, costs = self._taken.pop()
        self._times[candidate.key] -= 1
        self._spend(costs, -1)

    def is_used_up(self, candidate: Candidate) -> bool:
        """Tell whether a device that only one request can have is taken."""
        return not candidate.device.allow_multiple_allocations and self.is_taken(candidate)

    def is_taken(self, candidate: Candidate) -> bool:
        """Tell whether a device, or a share of it, is taken."""
        return bool(self._times[candidate.key])

    def left(self, candidate: Candidate) -> dict[str, Decimal]:
        """Return how much is left of each capacity of a shared device."""
        names = candidate.device.capacity
        return {name: self._left.get(_of_device(candidate, name), number(names[name]["value"])) for name in names}

    def _costs(self, candidate: Candidate, amounts: Mapping[str, str]) -> Counters:
        driver, device, pool = candidate
        costs: Counters = {}
        if device.consumes_counters and not (device.allow_multiple_allocations and self.is_taken(candidate)):
            for counter_set, counters in device.consumes_counters.items():
                costs |= {(driver, pool, counter_set, counter): number(value) for counter, value in counters.items()}
        if device.allow_multiple_allocations:
            for name, capacity in device.capacity.items():
                costs[_of_device(candidate, name)] = consumed(capacity, amounts.get(name))
                self._left.setdefault(_of_device(candidate, name), number(capacity["value"]))
        return costs

    def _spend(self, costs: Counters, sign: int) -> None:
        for name, cost in costs.items():
            self._left[name] -= sign * cost

    def _compatible(self, candidate: Candidate) -> bool:
        return all(
            are_compatible(
                [
                    _groups(one.device, counter_set)
                    for one in (*(taken for taken, _ in self._taken), candidate)
                    if one.key[:2] == candidate.key[:2] and counter_set in one.device.consumes_counters
                ]
            )
            for counter_set in candidate.device.consumes_counters
        )


def _groups(device: Device, counter_set: str) -> list[str]:
    """Return the compatibility groups for a counter set; `set/group` is for one set, `group` for all."""
    return [group for group in device.compatibility_groups if group.rpartition("/")[0] in ("", counter_set)]


def _of_device(candidate: Candidate, capacity: str) -> tuple[str, str, str, str]:
    return candidate.driver, candidate.pool, f"capacity of {candidate.device.name}", capacity


def counters(pools: Sequence[DevicePool]) -> Counters:
    """Return the counters of configured pools."""
    return {
        (pool.driver, pool.fabric, counter_set, counter): number(value)
        for pool in pools
        for physical in pool.physical_devices
        for counter_set, values in physical.counter_sets.items()
        for counter, value in values.items()
    }


def satisfiable(wanted: Sequence[Wanted], constraints: Sequence[Constraint], room: Room) -> bool | None:
    """Tell whether a node with this `room` has a device for each of the `wanted` at once; None if that is too hard."""
    if not _enough(wanted) or not all(_can_hold(constraint, wanted) for constraint in constraints):
        return False
    # Those with the fewest candidates come first.
    search = _Search(sorted(wanted, key=lambda one: len(one.candidates)), constraints, room)
    try:
        return search.run(0)
    except _TooHard:
        return None


# Quick checks that reject most impossible requests before a search over all permutations.


def _enough(wanted: Sequence[Wanted]) -> bool:
    """Tell whether each wanted device can be a different one, regardless of constraints and counters."""
    names = {id(one.candidates): _exclusive_names(one.candidates) for one in wanted}
    return _matched([found for one in wanted if (found := names[id(one.candidates)]) is not None])


def _exclusive_names(candidates: Sequence[Candidate]) -> set[Any] | None:
    if any(candidate.device.allow_multiple_allocations for candidate in candidates):
        return None
    return {candidate.key for candidate in candidates}


def _can_hold(constraint: Constraint, wanted: Sequence[Wanted]) -> bool:
    """Tell whether the wanted devices can have one value, or different ones, regardless of other constraints."""
    covered = [one for one in wanted if constraint.covers(one)]
    by_value = {id(one.candidates): _by_value(constraint.attribute, one.candidates) for one in covered}
    choices = [by_value[id(one.candidates)] for one in covered]
    if constraint.distinct:
        return _matched([set(values) for values in choices])
    common = set.intersection(*map(set, choices)) if choices else set()
    return not choices or any(
        _enough([one._replace(candidates=values[value]) for one, values in zip(covered, choices, strict=True)])
        for value in common
    )


def _by_value(attribute: str, candidates: Sequence[Candidate]) -> dict[Any, list[Candidate]]:
    by_value: dict[Any, list[Candidate]] = {}
    for candidate in candidates:
        for value in attribute_of(candidate, attribute):
            by_value.setdefault(value, []).append(candidate)
    return by_value


def _matched(choices: Sequence[set[Any]]) -> bool:
    """Tell whether each can have a choice of its own: a bipartite matching by augmenting paths."""
    owner: dict[Any, int] = {}

    def give(one: int, seen: set[Any]) -> bool:
        for choice in choices[one] - seen:
            seen.add(choice)
            if choice not in owner or give(owner[choice], seen):
                owner[choice] = one
                return True
        return False

    return all(give(one, set()) for one in range(len(choices)))


class _TooHard(Exception):
    pass


@dataclass
class _Search:
    """A depth-first search: it assigns a device to one wanted device after the other, and backtracks when stuck."""

    wanted: Sequence[Wanted]
    constraints: Sequence[Constraint]
    room: Room

    def __post_init__(self) -> None:
        self.steps = 0
        self.taken: list[Candidate] = []

    def run(self, place: int) -> bool:
        """Tell whether the wanted devices from this place on can be found; the room is afterwards as it was."""
        if place == len(self.wanted):
            return True
        amounts = self.wanted[place].amounts
        for candidate in self._choices(place):
            self.steps += 1
            if self.steps > STEPS_MAX:
                raise _TooHard
            if self.room.fits(candidate, amounts) and self._constraints_hold(place, candidate):
                with self._taking(candidate, amounts):
                    if self.run(place + 1):
                        return True
        return False

    @contextmanager
    def _taking(self, candidate: Candidate, amounts: Mapping[str, str]) -> Iterator[None]:
        self.room.take(candidate, amounts)
        self.taken.append(candidate)
        try:
            yield
        finally:
            self.taken.pop()
            self.room.give_back()

    def _choices(self, place: int) -> Iterator[Candidate]:
        """Return the devices that may be taken; those of one request in their order, which avoids permutations."""
        wanted = self.wanted[place]
        candidates = wanted.candidates
        before = self.wanted[place - 1] if place else None
        if before and (before.claim, before.request) == (wanted.claim, wanted.request):
            candidates = candidates[candidates.index(self.taken[-1]) + self.room.one_share_each :]
        return (candidate for candidate in candidates if not self.room.is_used_up(candidate))

    def _constraints_hold(self, place: int, candidate: Candidate) -> bool:
        return all(
            self._holds(constraint, candidate)
            for constraint in self.constraints
            if constraint.covers(self.wanted[place])
        )

    def _holds(self, constraint: Constraint, candidate: Candidate) -> bool:
        values = attribute_of(candidate, constraint.attribute)
        others = [
            attribute_of(taken, constraint.attribute)
            for taken, wanted in zip(self.taken, self.wanted, strict=False)
            if constraint.covers(wanted)
        ]
        if constraint.distinct:
            return bool(values) and all(values.isdisjoint(other) for other in others)
        return bool(values.intersection(*others))


def has_capacity(capacity: Mapping[str, Mapping[str, Any]], amounts: Mapping[str, str]) -> bool:
    """Tell whether the `capacity` of an unused device is enough for the `amounts` of a request."""
    return all(
        name in capacity and consumed(capacity[name], amount) <= number(capacity[name]["value"])
        for name, amount in amounts.items()
    )


def consumed(capacity: Mapping[str, Any], requested: str | None) -> Decimal:
    """Return how much of a device's `capacity` a request consumes: what it asks for, rounded up by the policy.

    https://github.com/kubernetes/kubernetes/blob/v1.37.2/staging/src/k8s.io/dynamic-resource-allocation/structured/internal/incubating/consumable_capacity.go
    """
    policy = capacity.get("requestPolicy") or {}
    whole = number(capacity["value"])
    if requested is None:
        return number(policy["default"]) if "default" in policy else whole
    amount = number(requested)
    if values := policy.get("validValues"):
        return min((number(value) for value in values if number(value) >= amount), default=whole + 1)
    if valid := policy.get("validRange"):
        return _in_range(amount, valid, whole)
    return amount


def _in_range(amount: Decimal, valid: Mapping[str, str], whole: Decimal) -> Decimal:
    least = number(valid["min"])
    amount = max(amount, least)
    if step := number(valid.get("step", "0")):
        whole_steps, rest = divmod(amount - least, step)
        amount = least + (whole_steps + bool(rest)) * step
    return amount if amount <= number(valid.get("max", str(whole))) else whole + 1
