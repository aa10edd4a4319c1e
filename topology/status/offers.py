"""What each node offers a request of a pod: the devices that match, and what keeps some of them from it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from topology.checks.allocation import Candidate, Constraint, Counters, DeviceKey, Room, consumed, has_capacity
from topology.checks.device_matching import Alternative, Selector, is_selected, with_derived
from topology.checks.node_selection import fits, may_run, tolerates
from topology.checks.requests import Request
from topology.checks.satisfiability import at_once
from topology.kubernetes import cel
from topology.kubernetes.naming import natural_key
from topology.kubernetes.objects import Key, Object
from topology.kubernetes.quantities import written
from topology.kubernetes.reading import part
from topology.status.live_objects import LiveObjects, is_not_ready
from topology.status.occupancy import Holdings, Occupancy, PoolName, blocking, room_beside

HAS_TAINT = "has taint "
IN_USE = "is in use"
INCOMPLETE = "is in a pool of which slices are missing"
NO_ROOM = "does not fit beside the devices in use"


class Offer(NamedTuple):
    """The devices of a node that match a request, and why some of them cannot be allocated to it."""

    node: str
    wanted: Alternative
    matching: Sequence[Candidate]
    blocked: Mapping[DeviceKey, str]

    @property
    def usable(self) -> list[Candidate]:
        """The devices that can be allocated."""
        return [candidate for candidate in self.matching if candidate.key not in self.blocked]

    @property
    def serves(self) -> bool:
        """Whether the node has as many devices as the request wants."""
        if self.wanted.count is None:
            return bool(self.matching) and not self.blocked
        return len(self.usable) >= self.wanted.count


@dataclass(frozen=True)
class NodeDevices:
    """The devices that a node can use, their taints and the claims that hold them; the Node itself, if it is there."""

    name: str
    node: Object | None
    candidates: Sequence[Candidate]
    taints: Mapping[DeviceKey, Sequence[str]]
    counters: Counters
    held: Holdings
    incomplete: Collection[PoolName] = ()
    lost: bool = False
    _matching: dict[object, list[Candidate]] = field(default_factory=dict)

    @cached_property
    def room(self) -> Room:
        """What the claims that hold devices leave."""
        return room_beside(self.counters, self.candidates, self.held)

    def without(self, claims: Iterable[Key]) -> "NodeDevices":
        """Return the same devices, as if these claims did not hold any."""
        gone = set(claims)
        held = {
            place: left
            for place, holdings in self.held.items()
            if (left := [holding for holding in holdings if holding.claim not in gone])
        }
        return replace(self, held=held)

    def may_run(self, pod: Object, terms: Sequence[Sequence[Object]]) -> bool:
        """Tell whether the pod's selectors and tolerations, and its claims that are allocated, let it run here."""
        return self.node is None or (may_run(pod["spec"], self.node) and self.has_devices_of(terms))

    def has_devices_of(self, terms: Sequence[Sequence[Object]]) -> bool:
        """Tell whether this is a node of every allocated claim, given the node selector terms of each."""
        labels = part(self.node, "metadata", "labels") or {}
        return all(any(fits(term, labels, self.name) for term in of_claim) for of_claim in terms)

    def offer(self, wanted: Alternative, admin_access: bool = False) -> Offer:
        """Return what the node offers an alternative of a request."""
        matching = self.matching(wanted)
        reasons = {candidate.key: self._blocked(candidate, wanted, admin_access) for candidate in matching}
        return Offer(self.name, wanted, matching, {place: why for place, why in reasons.items() if why})

    def matching(self, wanted: Alternative) -> list[Candidate]:
        """Return the devices that match, in use or not, with their derived attributes."""
        if wanted.criteria not in self._matching:
            self._matching[wanted.criteria] = [
                found for candidate in self.candidates if (found := matched(candidate, wanted))
            ]
        return self._matching[wanted.criteria]

    def is_open(self, wanted: Alternative) -> bool:
        """Tell whether it is unknown here what the node offers: only Kubernetes can tell, or it may soon change."""
        return self.lost or (not is_checked(wanted) and bool(self.matching(wanted)))

    def lacks(self, request: Request) -> bool:
        """Tell whether the node cannot satisfy a request, by itself, in any way."""
        return not any(
            self.is_open(one) or self.offer(one, request.admin_access).serves for one in request.alternatives
        )

    def satisfies(self, requests: Sequence[Request], constraints: Sequence[Constraint]) -> bool | None:
        """Tell whether all requests can be satisfied at once; None if that is too hard to decide or unknown here."""
        if any(self.is_open(one) for request in requests for one in request.alternatives):
            return None
        answer = at_once(requests, constraints, self._usable, self.room)
        # `at_once` leaves out admin access: such devices count in constraints, and are not for later requests.
        return None if answer and any(request.admin_access for request in requests) else answer

    def _usable(self, wanted: Alternative) -> list[Candidate]:
        offer = self.offer(wanted)
        return offer.usable if offer.serves else []

    def _blocked(self, candidate: Candidate, wanted: Alternative, admin_access: bool) -> str:
        """Return what keeps a matching device from being allocated; an empty text if nothing does."""
        if candidate.key[:2] in self.incomplete:
            return INCOMPLETE
        for taint in blocking(self.taints[candidate.key]):
            if not any(tolerates(entry, taint_of(taint)) for entry in wanted.tolerations):
                return f"{HAS_TAINT}{taint}"
        if self.room.is_used_up(candidate) and not admin_access:
            return IN_USE
        return "" if self.room.fits(candidate, wanted.amounts) else self._used_up(candidate, wanted.amounts)

    def _used_up(self, candidate: Candidate, amounts: Mapping[str, str]) -> str:
        """Return which capacity of a shared device is used up, if that is what is in the way."""
        for name, left in self.room.left(candidate).items():
            capacity = candidate.device.capacity[name]
            if consumed(capacity, amounts.get(name)) > left:
                return f"has {written(left, capacity['value'])} of {name} left"
        return NO_ROOM


def node_devices(live: LiveObjects, pools: Mapping[PoolName, Occupancy], held: Holdings) -> dict[str, NodeDevices]:
    """Return what each node can use, by name in natural order; also of nodes that have slices but are not there."""
    by_node: dict[str, list[Occupancy]] = {name: [] for name in live.nodes}
    for pool in pools.values():
        by_node.setdefault(pool.node, []).append(pool)
    of_several = by_node.pop("", [])
    return {name: _node(name, live, [*by_node[name], *of_several], held) for name in sorted(by_node, key=natural_key)}


def _node(name: str, live: LiveObjects, pools: Sequence[Occupancy], held: Holdings) -> NodeDevices:
    node = live.nodes.get(name)
    labels = part(node, "metadata", "labels") or {}
    candidates = [candidate for pool in pools for candidate in pool.usable_on(name, labels)]
    return NodeDevices(
        name,
        node,
        candidates,
        {candidate.key: pool.taints[device] for pool in pools for device, candidate in pool.candidates.items()},
        {counter: value for pool in pools for counter, value in pool.counters.items()},
        {candidate.key: held[candidate.key] for candidate in candidates if candidate.key in held},
        {candidate.key[:2] for pool in pools if pool.incomplete for candidate in pool.candidates.values()},
        node is not None and is_not_ready(node),
    )


def matched(candidate: Candidate, wanted: Alternative) -> Candidate | None:
    """Return the device with its derived attributes, or None if it does not match."""
    if not all(selected(selector, candidate) for selector in wanted.all_selectors):
        return None
    with suppress(cel.CelError):  # The scheduler derives an attribute when a constraint names it.
        for derived in wanted.derived:
            candidate = with_derived(derived, candidate)
    return candidate if has_capacity(candidate.device.capacity, wanted.amounts) else None


def selected(selector: Selector, candidate: Candidate) -> bool:
    """Tell whether a selector selects a device; one whose evaluation fails does not."""
    try:
        return is_selected(selector, candidate)
    except cel.CelError:
        return False


def taint_of(text: str) -> dict[str, str]:
    """Return a taint from its form in kubectl, `key=value:effect`."""
    name, _, effect = text.rpartition(":")
    taint_key, _, value = name.partition("=")
    return {"key": taint_key, "value": value, "effect": effect}


def is_checked(wanted: Alternative) -> bool:
    """Tell whether every expression can be evaluated without Kubernetes."""
    try:
        for selector in wanted.all_selectors:
            cel.compile_selector(selector.expression, list_attributes=True)
        for derived in wanted.derived:
            cel.compile_derived(derived.expression, list_attributes=True)
    except cel.CelError as error:
        return not isinstance(error, cel.UncheckedError)
    return True
