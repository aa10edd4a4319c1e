"""Whether a stack turns out as expected whichever devices the scheduler gives to pods, and in whichever order.

A pod that is expected to wait may find room if others take other devices than they could, and one that is expected to
run may find none. Workloads of which that is possible, or too hard to tell, are undecided. All that is not about
devices is assumed to be there for the pods that are expected to run.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from itertools import combinations, product
from math import comb, prod
from typing import NamedTuple

from topology.checks.allocation import Constraint, Room, satisfiable
from topology.checks.device_matching import AbortedError
from topology.checks.pod_needs import NODE, Need, NeedReader, Node, Place, UnknownError, nodes_of
from topology.checks.requests import PodClaim
from topology.checks.satisfiability import CHOICES_MAX
from topology.kubernetes import cel
from topology.kubernetes.quantities import number
from topology.schema.stack import Topology
from topology.schema.workloads import Workload

SEARCHED_MAX = 100
"""A search gives at most so many devices to pods; of more, only the numbers are compared."""


class Outlook(NamedTuple):
    """What comes of workloads, by name."""

    undecided: dict[str, set[str]]
    """Workloads that may turn out otherwise, each with those that decide that by the devices that they take."""
    running: set[str]
    """Workloads whose pods all run, though some of them are expected to wait."""
    order: dict[str, int]
    """Workloads that turn out as expected if those with the smaller numbers start first."""


@dataclass(frozen=True, eq=False)
class _Pods:
    """Pods of a workload that are alike: what each of them takes on one of the `nodes`."""

    workload: str
    count: int
    needs: Sequence[Need]
    constraints: Sequence[Constraint]
    nodes: Sequence[Node]

    @cached_property
    def places(self) -> frozenset[Place]:
        """The places from which each pod takes some."""
        return frozenset(place for need in self.needs for place in need.places)

    @cached_property
    def devices(self) -> int:
        """How many devices each pod takes at least."""
        return sum(need.count for need in self.needs)

    @cached_property
    def signature(self) -> object:
        """What is equal for pods that take the same."""
        ways = [
            [(way.size, way.amounts, [one.key for one in way.candidates]) for way in need.ways] for need in self.needs
        ]
        return ways, self.constraints

    @cached_property
    def is_simple(self) -> bool:
        """Whether each pod leaves room for one less of its kind, whichever devices it takes."""
        if any(len(need.ways) > 1 or (need.count > 1 and (need.is_shared or need.is_of_fabric)) for need in self.needs):
            return False
        names = {need.name for need in self.needs}
        if len(self.constraints) > 1 or any(one.distinct or not names <= {*one.requests} for one in self.constraints):
            return False
        return len(self.places) == sum(len(need.places) for need in self.needs)

    @cached_property
    def rooms(self) -> int:
        """How many such pods have room on nodes without others: at least 1, as the checks of a stack make sure."""
        if not self.is_simple or not self.needs:
            return 1
        matched = self.constraints[0].attribute if self.constraints else None
        try:
            first, *others = (need.rooms(matched) for need in self.needs)
        except UnknownError:
            return 1
        return max(sum(min([room, *(other[group] for other in others)]) for group, room in first.items()), 1)

    @property
    def is_exact(self) -> bool:
        """Whether there is never room for more than `rooms` such pods."""
        return self.is_simple and all(need.is_exact for need in self.needs)

    @cached_property
    def have_no_choice(self) -> bool:
        """Whether it is certain which devices they take together."""
        return all(need.is_fixed_for(self.count) for need in self.needs)

    def left_in(self, room: Room) -> "_Pods":
        """Return the same pods with the devices that are left."""
        return replace(self, needs=[need.left_in(room) for need in self.needs])

    def can_be_on(self, node: Node) -> bool:
        """Tell whether the node has devices for the pods."""
        return all(any(node.name in nodes_of(one) for one in need.candidates.values()) for need in self.needs)

    def takes(self, other: "_Pods") -> int:
        """Return for how many of the other pods, at most, one of these takes away the room."""
        if self.signature == other.signature and self.is_simple:
            return 1
        shares = sum(need.count * theirs.taken_by(need) for need in self.needs for theirs in other.needs)
        return -(-shares // other.devices) if len(other.needs) == 1 and not other.constraints else shares

    def find_room(self, others: Iterable["_Pods"]) -> bool:
        """Tell whether all of these pods find devices, whatever the others have taken before."""
        if not self.needs:
            return True
        left = self.rooms - sum(other.count * other.takes(self) for other in others)
        return left - (self.count - 1) * (1 if self.is_simple else self.devices) > 0

    @cached_property
    def requests(self) -> list[tuple[str, Need]]:
        """What all of these pods take, each with a name of the pod."""
        return [(f"{id(self)} {number}", need) for number in range(self.count) for need in self.needs]

    @cached_property
    def all_constraints(self) -> list[Constraint]:
        """The constraints of all of these pods: the devices of each are on one node."""
        each = [Constraint("", [], NODE, distinct=False), *self.constraints]
        return [one._replace(claim=name) for name in dict.fromkeys(name for name, _ in self.requests) for one in each]


class _Parties(NamedTuple):
    """The pods that are expected to run, those that are expected to wait, and workloads of which nothing is known."""

    holders: list[_Pods]
    waiting: list[_Pods]
    unknown: set[str]
    aborted: set[str]
    """Workloads that are expected to run, and on whose pods the scheduler gives up."""


def outlook(topology: Topology, running: Mapping[str, int]) -> Outlook:
    """Return what comes of the workloads; `running` says of each how many of its pods are expected to get devices."""
    reader = NeedReader(topology)
    parties = _Reading(reader, running).parties()
    found = Outlook({name: {pods.workload for pods in parties.holders} for name in parties.unknown}, set(), {})
    found.undecided.update((name, {name}) for name in parties.aborted)
    _tell_of_waiting(parties, reader, found)
    _tell_of_holders(parties, reader, found)
    return found


def _tell_of_waiting(parties: _Parties, reader: NeedReader, found: Outlook) -> None:
    rivals = _Rivals(parties.holders)
    more: list[_Pods] = []
    for pods in parties.waiting:
        around = rivals.around(pods)
        if _fits_beside(around, replace(pods, count=1), reader) is False:
            continue
        if all(other.have_no_choice for other in around) and _fits_beside([*around, *more], pods, reader):
            found.running.add(pods.workload)
            more.append(pods)
        else:
            found.undecided[pods.workload] = {other.workload for other in around}


def _tell_of_holders(parties: _Parties, reader: NeedReader, found: Outlook) -> None:
    partly = {pods.workload for pods in parties.waiting} & {pods.workload for pods in parties.holders}
    # Those of which some wait start after the others, and all of their pods at once.
    first = sorted(parties.holders, key=lambda pods: (pods.workload in partly, pods.rooms, -pods.devices))
    places = {pods.workload: place for place, pods in reversed([*enumerate(first)])}
    before, together = _Rivals(first), _Rivals([*first, *(one for one in parties.waiting if one.workload in partly)])
    for pods in first:
        others = (together if pods.workload in partly else before).of(pods)
        if pods.find_room(others) or _find_room_always(pods, others, reader):
            continue
        if pods.find_room(one for one in others if places[one.workload] < places[pods.workload]):
            found.order.update({one.workload: places[one.workload] for one in (pods, *others)})
        else:
            found.undecided[pods.workload] = {one.workload for one in (pods, *others)}


class _Rivals:
    """Pods by the places from which they take devices."""

    def __init__(self, everybody: Iterable[_Pods]) -> None:
        """Index the pods."""
        self._at: dict[Place, list[_Pods]] = defaultdict(list)
        for pods in everybody:
            for place in pods.places:
                self._at[place].append(pods)

    def of(self, pods: _Pods) -> list[_Pods]:
        """Return the pods of other workloads that take from the same places."""
        found = {one: None for place in pods.places for one in self._at[place]}
        return [one for one in found if one.workload != pods.workload]

    def around(self, pods: _Pods) -> list[_Pods]:
        """Return the pods that take from the same places, those that take from the places of these, and so on."""
        found: dict[_Pods, None] = {}
        places, seen = set(pods.places), set[Place]()
        while places:
            seen |= places
            more = {one: None for place in places for one in self._at[place] if one not in found}
            found |= more
            places = {place for one in more for place in one.places} - seen
        return list(found)


def _find_room_always(pods: _Pods, rivals: Sequence[_Pods], reader: NeedReader) -> bool:
    """Tell whether all of these pods find devices, by trying what rivals may choose; False if that is too much."""
    others = [(need, way) for one in rivals for _, need in one.requests for way in need.ways[:1]]
    others += [(need, way) for need in pods.needs for way in need.ways[:1]] * (pods.count - 1)
    if any(len(need.ways) > 1 for need, _ in others):
        return False
    if prod(comb(len(way.candidates), way.size) for _, way in others) > CHOICES_MAX:
        return False
    last = replace(pods, count=1)
    for choice in product(*(combinations(way.candidates, way.size) for _, way in others)):
        room = Room(reader.counters, reader.declarations.one_share_each)
        for (_, way), devices in zip(others, choice, strict=True):
            for one in devices:
                if room.has(one, way.amounts):
                    room.take(one, way.amounts)
        if not _all_fit([last], room):
            return False
    return True


def _fits_beside(holders: Sequence[_Pods], pods: _Pods, reader: NeedReader) -> bool | None:
    """Tell whether there are devices for these pods too, if the holders take others than they could; None: too hard."""
    if not pods.nodes or any(_is_used_up(need, holders) for need in pods.needs):
        return False
    alike = sum(other.count for other in holders if other.signature == pods.signature)
    if pods.is_exact and alike and alike >= pods.rooms:
        return False
    room = Room(reader.counters, reader.declarations.one_share_each)
    for need, (way,) in ((need, need.ways) for one in holders if one.have_no_choice for _, need in one.requests):
        for device in way.candidates:
            if need.is_shared or not room.is_taken(device):
                room.take(device, way.amounts)
    everyone = [*(one for one in holders if not one.have_no_choice), pods.left_in(room)]
    if sum(one.count * one.devices for one in everyone) > SEARCHED_MAX:
        return None
    fits = _all_fit(everyone, room)
    return None if fits and any(need.uses_nodes for need in pods.needs) else fits


def _all_fit(everyone: Sequence[_Pods], room: Room) -> bool | None:
    """Tell whether there are devices for all of these pods at once; None if that is too hard."""
    requests = [request for one in everyone for request in one.requests]
    constraints = [constraint for one in everyone for constraint in one.all_constraints]
    if prod(len(need.ways) for _, need in requests) > CHOICES_MAX:
        return None
    answers = []
    for ways in product(*(need.ways for _, need in requests)):
        found = zip(requests, ways, strict=True)
        wanted = [one for (pod, need), way in found for one in need.wanted(pod, way)]
        answers.append(satisfiable(wanted, constraints, room))
    return True if True in answers else None if None in answers else False


def _is_used_up(need: Need, holders: Iterable[_Pods]) -> bool:
    """Tell whether holders that can have no other devices leave too few."""
    if need.is_shared:
        return not need.candidates
    confined = [
        other
        for other in holders
        if other.needs and all(one.candidates.keys() <= need.candidates.keys() for one in other.needs)
    ]
    return len(need.candidates) - sum(other.count * other.devices for other in confined) < need.count


class _Reading:
    """Reads which pods are expected to run, and which to wait."""

    def __init__(self, reader: NeedReader, running: Mapping[str, int]) -> None:
        """Start without claims that several pods share."""
        self._reader = reader
        self._running = running
        self._shared: dict[object, _Pods] = {}
        self._requested: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))

    def parties(self) -> _Parties:
        """Return the pods; each claim that pods share counts as one of them."""
        found = _Parties([], [], set(), set())
        workloads = list(enumerate(self._reader.topology.workloads))
        for read, parties in ((self._holders, found.holders), (self._waiting, found.waiting)):
            for index, workload in workloads:
                if not self._reader.topology.filters_as_stock(workload.scheduler):
                    found.unknown.add(workload.name)
                    continue
                if workload.queue and read == self._waiting:
                    continue  # It is not known whether they wait for devices or for quota.
                claims = self._reader.declarations.claims(workload, f"workloads[{index}]")
                try:
                    parties.extend(read(workload, claims))
                except AbortedError:  # The scheduler gives up on such pods.
                    found.aborted.update({workload.name} if read == self._holders else ())
                except (cel.UncheckedError, UnknownError):
                    found.unknown.add(workload.name)
        return found

    def _holders(self, workload: Workload, claims: Sequence[PodClaim]) -> Iterator[_Pods]:
        count = self._running.get(workload.name, 0)
        if not count:
            return
        nodes = self._reader.nodes(workload)
        own = self._pods(workload, count, [claim for claim in claims if not claim.shared], nodes, extended=True)
        if len(nodes) == 1:
            for name, amount in self._reader.resources(workload).items():
                self._requested[nodes[0].name][name] += count * amount
        yield own
        shared = [claim for claim in claims if claim.shared]
        for claim in shared:
            if (key := _key(workload, claim)) not in self._shared:
                self._shared[key] = self._pods(workload, 1, [claim], nodes)
                yield self._shared[key]
        if shared and own.needs and count > 1 and len(nodes) > 1:
            raise UnknownError  # The node of the shared devices must have room for all of these pods.

    def _waiting(self, workload: Workload, claims: Sequence[PodClaim]) -> Iterator[_Pods]:
        count = workload.replicas - self._running.get(workload.name, 0)
        if not count:
            return
        nodes = [node for node in self._reader.nodes(workload) if self._has_room(node, workload)]
        pending = []
        for claim in claims:
            held = self._shared.get(_key(workload, claim)) if claim.shared else None
            if held:
                nodes = [node for node in nodes if held.can_be_on(node)]
            else:
                pending.append(claim)
        yield self._pods(workload, count, pending, nodes, extended=True)

    def _has_room(self, node: Node, workload: Workload) -> bool:
        requested = self._requested[node.name]
        return all(
            number(node.kind.capacity.get(name, "0")) - requested[name] >= amount
            for name, amount in self._reader.resources(workload).items()
        )

    def _pods(
        self, workload: Workload, count: int, claims: Sequence[PodClaim], nodes: Sequence[Node], extended: bool = False
    ) -> _Pods:
        needs, constraints = self._reader.needs(claims, nodes)
        needs += self._reader.extended_needs(workload, nodes) if extended else []
        return _Pods(workload.name, count, needs, constraints, nodes)


def _key(workload: Workload, claim: PodClaim) -> object:
    """Return what is equal for claims that are one."""
    shared = next(one.claim for one in workload.claims if one.name == claim.name)
    return workload.namespace, shared or (workload.name, claim.name)
