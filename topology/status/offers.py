"""What each node offers a request of a pod: the devices that match, and what keeps some of them from it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from topology.checks.allocation import Candidate, Constraint, Counters, DeviceKey, Room, consumed, has_capacity
from topology.checks.device_matching import Alternative, is_selected, with_derived
from topology.checks.node_selection import fits, may_run, tolerates
from topology.checks.requests import Request
from topology.checks.satisfiability import at_once
from topology.kubernetes import cel
from topology.kubernetes.objects import Object
from topology.kubernetes.quantities import written
from topology.status.live_objects import LiveObjects, of_kind
from topology.status.occupancy import Holdings, Occupancy, PoolName, blocking, room_beside

IN_USE = "is in use"
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
        usable = self.usable
        shared = any(candidate.device.allow_multiple_allocations for candidate in usable)
        return shared or len(usable) >= self.wanted.count


@dataclass(frozen=True)
class NodeDevices:
    """The devices of a node, with their taints and the claims that hold them; the Node itself, if it is there."""

    name: str
    node: Object | None
    candidates: Sequence[Candidate]
    taints: Mapping[DeviceKey, Sequence[str]]
    counters: Counters
    held: Holdings
    lost: bool = False
    _matching: dict[object, list[Candidate]] = field(default_factory=dict)

    @cached_property
    def room(self) -> Room:
        """What the claims that hold devices leave."""
        return room_beside(self.counters, self.candidates, self.held)

    def without(self, claims: Iterable[tuple[str, str]]) -> "NodeDevices":
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
        labels = (self.node or {"metadata": {}})["metadata"].get("labels") or {}
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

    def satisfies(self, requests: Sequence[Request], constraints: Sequence[Constraint]) -> bool | None:
        """Tell whether all requests can be satisfied at once; None if that is too hard."""
        return at_once(requests, constraints, lambda wanted: self.offer(wanted).usable, self.room)

    def _blocked(self, candidate: Candidate, wanted: Alternative, admin_access: bool) -> str:
        """Return what keeps a matching device from being allocated; an empty text if nothing does."""
        for taint in blocking(self.taints[candidate.key]):
            if not any(tolerates(entry, taint_of(taint)) for entry in wanted.tolerations):
                return f"has taint {taint}"
        if admin_access or self.room.has(candidate, wanted.amounts):
            return ""
        if candidate.device.allow_multiple_allocations and self.room.is_taken(candidate):
            return self._used_up(candidate, wanted.amounts)
        return IN_USE if self.room.is_taken(candidate) else NO_ROOM

    def _used_up(self, candidate: Candidate, amounts: Mapping[str, str]) -> str:
        """Return which capacity of a shared device is used up."""
        for name, left in self.room.left(candidate).items():
            capacity = candidate.device.capacity[name]
            if consumed(capacity, amounts.get(name)) > left:
                return f"has {written(left, capacity['value'])} of {name} left"
        return NO_ROOM


def nodes_with_devices(
    objects: Iterable[Object], live: LiveObjects, pools: Mapping[PoolName, Occupancy], held: Holdings
) -> tuple[dict[str, NodeDevices], list[Candidate]]:
    """Return the nodes that have devices, by name, and the devices that several nodes can reach."""
    names: dict[str, list[PoolName]] = defaultdict(list)
    of_no_node: list[Candidate] = []
    for pool, spec in {_pool(entry): entry["spec"] for entry in of_kind(objects, "ResourceSlice")}.items():
        if spec.get("allNodes") or spec.get("nodeSelector") or spec.get("perDeviceNodeSelection"):
            of_no_node += pools[pool].candidates.values()
        else:
            names[spec.get("nodeName") or pool[1]].append(pool)
    return {name: _node(name, live, [pools[pool] for pool in found], held) for name, found in names.items()}, of_no_node


def _pool(resource_slice: Object) -> PoolName:
    spec = resource_slice["spec"]
    return spec["driver"], spec["pool"]["name"]


def _node(name: str, live: LiveObjects, pools: Sequence[Occupancy], held: Holdings) -> NodeDevices:
    candidates = [candidate for pool in pools for candidate in pool.candidates.values()]
    taints = {candidate.key: pool.taints[device] for pool in pools for device, candidate in pool.candidates.items()}
    counters = {name: value for pool in pools for name, value in pool.counters.items()}
    here = {candidate.key: held[candidate.key] for candidate in candidates if candidate.key in held}
    return NodeDevices(name, live.nodes.get(name), candidates, taints, counters, here, any(pool.lost for pool in pools))


def matched(candidate: Candidate, wanted: Alternative) -> Candidate | None:
    """Return a device that matches, with its derived attributes; one that an expression fails for does not."""
    try:
        if not all(is_selected(selector, candidate) for selector in (*wanted.class_selectors, *wanted.selectors)):
            return None
        for derived in wanted.derived:
            candidate = with_derived(derived, candidate)
    except cel.UncheckedError:
        pass  # Only Kubernetes can derive the attribute.
    except cel.CelError:
        return None
    return candidate if has_capacity(candidate.device.capacity, wanted.amounts) else None


def taint_of(text: str) -> dict[str, str]:
    """Return a taint from its form in kubectl, `key=value:effect`."""
    name, _, effect = text.rpartition(":")
    taint_key, _, value = name.partition("=")
    return {"key": taint_key, "value": value, "effect": effect}
