"""What the pods of a stack take of its devices, as far as that decides who else finds some."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from typing import NamedTuple

from topology.checks.allocation import (
    Candidate,
    Constraint,
    Counters,
    DeviceKey,
    Room,
    Values,
    Wanted,
    attribute_of,
    consumed,
)
from topology.checks.device_matching import Alternative
from topology.checks.node_kinds import NodeKind, node_kinds
from topology.checks.node_selection import repelling
from topology.checks.requests import Declarations, PodClaim, extended_resources, node_resources
from topology.kubernetes.feature_gates import FEATURES
from topology.kubernetes.objects import Object
from topology.kubernetes.quantities import number
from topology.objects.nodes import declared_features
from topology.schema.claims import DeviceRequest
from topology.schema.stack import NodePool, Topology
from topology.schema.workloads import Workload

NODE = "kubernetes.io/node"
"""An attribute that devices have here alone: the names of the nodes that can use them."""

SHARED_BY_MAX = 1_000_000
"""How many pods can share a device without capacities; no stack has more."""

Place = tuple[str, ...]
NO_VALUE: Values = frozenset({("none", None)})
_NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


class UnknownError(Exception):
    """It is too hard to tell what a pod takes."""


class Node(NamedTuple):
    """A node, and what it has in common with others."""

    name: str
    kind: NodeKind


class Way(NamedTuple):
    """An alternative of a request: `size` of the candidates, and what it consumes of shared devices."""

    name: str
    size: int
    candidates: Sequence[Candidate]
    amounts: Mapping[str, str]

    def consumed(self, candidate: Candidate) -> dict[str, Decimal]:
        """Return how much it consumes of each capacity of a device."""
        return {name: consumed(entry, self.amounts.get(name)) for name, entry in candidate.device.capacity.items()}


@dataclass(frozen=True, eq=False)
class Need:
    """A request of a pod, with those alternatives that some node can satisfy, and the counters of their devices."""

    name: str
    ways: Sequence[Way]
    counters: Counters

    @cached_property
    def count(self) -> int:
        """The number of devices that it takes at least."""
        return min((way.size for way in self.ways), default=1)

    @cached_property
    def candidates(self) -> Mapping[DeviceKey, Candidate]:
        """The devices of which it takes some."""
        return {one.key: one for way in self.ways for one in way.candidates}

    @cached_property
    def places(self) -> Mapping[Place, list[Candidate]]:
        """The devices by place: those that share counters are at one, others each at its own."""
        found: dict[Place, list[Candidate]] = defaultdict(list)
        for one in self.candidates.values():
            sets = tuple(sorted(one.device.consumes_counters))
            found[(*one.key[:2], "counters", *sets) if sets else one.key].append(one)
        return found

    @cached_property
    def is_shared(self) -> bool:
        """Whether several pods can have one device."""
        return any(one.device.allow_multiple_allocations for one in self.candidates.values())

    @cached_property
    def uses_nodes(self) -> bool:
        """Whether its devices use cpu or memory of their node, which may be used up."""
        return any(one.device.node_allocatable_resources for one in self.candidates.values())

    @cached_property
    def is_of_fabric(self) -> bool:
        """Whether several nodes can use a device."""
        return any(len(nodes_of(one)) > 1 for one in self.candidates.values())

    @cached_property
    def is_exact(self) -> bool:
        """Whether nothing but the number of devices decides how often there is room for it."""
        return all(len(place) == 1 for place in self.places.values()) and len(self.ways) == 1 and not self.is_of_fabric

    def is_fixed_for(self, pods: int) -> bool:
        """Tell whether so many pods take all candidates: each another one, or all of them a share of each."""
        taken = self.count * (1 if self.is_shared else pods)
        return len(self.ways) == 1 and len(self.candidates) == taken

    def left_in(self, room: Room) -> "Need":
        """Return what is left of it: the free devices of nodes that have enough of them."""
        ways = []
        for way in self.ways:
            free = [one for one in way.candidates if room.has(one, way.amounts)]
            counts = Counter(node for one in free for node in nodes_of(one))
            least = 1 if self.is_shared else way.size
            enough = [one for one in free if any(counts[node] >= least for node in nodes_of(one))]
            ways += [way._replace(candidates=enough)] if enough else []
        return replace(self, ways=ways)

    @cached_property
    def shares(self) -> Mapping[Place, int]:
        """How many such requests a place can satisfy at least, one device each."""
        return {place: self._shares(some) for place, some in self.places.items()}

    def _shares(self, devices: Sequence[Candidate]) -> int:
        if len(devices) > 1:
            return len(devices) if self._fit_together(devices) else 1
        (one,) = devices
        if not one.device.allow_multiple_allocations:
            return 1
        amounts = self.ways[0].consumed(one).items()
        rooms = [int(number(one.device.capacity[name]["value"]) // amount) for name, amount in amounts if amount]
        return min(rooms, default=SHARED_BY_MAX)

    def _fit_together(self, devices: Sequence[Candidate]) -> bool:
        """Tell whether devices with counters do not exclude each other."""
        room = Room(self.counters)
        for one in devices:
            if one.device.allow_multiple_allocations or not room.has(one, {}):
                return False
            room.take(one, {})
        return True

    def rooms(self, matched: str | None) -> Counter[object]:
        """Return how often there is room for it, by pool and value of the attribute that its devices must share.

        Raises:
            UnknownError: a device has several values.
        """
        found: Counter[object] = Counter()
        for place, devices in self.places.items():
            values = attribute_of(devices[0], matched) if matched else NO_VALUE
            if len(values) > 1 or (matched and any(attribute_of(one, matched) != values for one in devices)):
                raise UnknownError
            if values:
                found[devices[0].pool, values] += self.shares[place]
        return Counter({group: shares // self.count for group, shares in found.items()})

    def taken_by(self, other: "Need") -> int:
        """Return how many shares one device of another request takes away at most."""
        common = [place for place in self.places if place in other.places]
        if self.is_shared and other.is_shared:
            pairs = [(self.ways[0].consumed(one), other.ways[0].consumed(one)) for one in self._alone(common)]
            if len(pairs) == len(common):
                amounts = [(own.get(name), theirs[name]) for own, theirs in pairs for name in theirs]
                return int(max((-(-amount // own) for own, amount in amounts if own), default=0))
        return max((self.shares[place] for place in common), default=0)

    def wanted(self, pod: str, way: Way) -> list[Wanted]:
        """Return each device that a pod takes in one of the ways."""
        name = f"{self.name}/{way.name}" if way.name else self.name
        return [Wanted(pod, name, way.candidates, way.amounts)] * way.size

    def _alone(self, places: Iterable[Place]) -> list[Candidate]:
        """Return the devices that are shared and the only ones at their place."""
        found = [self.places[place] for place in places]
        return [devices[0] for devices in found if len(devices) == 1 and devices[0].device.allow_multiple_allocations]


class NeedReader:
    """Reads what pods take."""

    def __init__(self, topology: Topology) -> None:
        """Index the nodes, devices and classes of a stack."""
        self.topology = topology
        self.declarations = Declarations(topology)
        self._kinds = node_kinds(topology)
        self._kind_of = {name: kind for kind in self._kinds for name in kind.names}
        self._faulty = {name: pool for pool in topology.pools.values() if pool.faults for name in pool.pool_names()}
        self._seen: dict[tuple[str, int], Candidate] = {}

    @cached_property
    def counters(self) -> Counters:
        """The counters of all devices."""
        return {
            (driver, pool or name, counter_set, counter): value
            for kind in self._kinds
            for name in kind.names
            for (driver, pool, counter_set, counter), value in kind.devices.counters.items()
        }

    def nodes(self, workload: Workload) -> list[Node]:
        """Return the nodes on which pods may start, by labels and taints."""
        host = workload.node_selector.get("kubernetes.io/hostname")
        kinds = self._kinds if host is None else [self._kind_of[host]] if host in self._kind_of else []
        stays_away = bool(repelling([dict(toleration) for toleration in workload.tolerations], [_NOT_READY]))
        return [
            Node(name, kind)
            for kind in kinds
            if kind.may_run(workload) and _can_prepare(kind.pool)
            for name in kind.names_for(workload)
            if not (stays_away and kind.pool.is_not_ready(name))
        ]

    def resources(self, workload: Workload) -> dict[str, Decimal]:
        """Return what each pod requests of its node: all resources but those that only devices serve."""
        found = dict(node_resources(workload))
        for name, count in extended_resources(workload).items():
            if self._is_of_nodes(name) or name not in self.declarations.extended_resources:
                found[name] = Decimal(count)
        return found

    def _is_of_nodes(self, resource: str) -> bool:
        return any(resource in kind.capacity for kind in self._kinds)

    def needs(self, claims: Iterable[PodClaim], nodes: Sequence[Node]) -> tuple[list[Need], list[Constraint]]:
        """Return what some claims of a pod take on these nodes, and what is to be true of the devices.

        Raises:
            AbortedError: an expression fails for a device.
            UncheckedError: only Kubernetes can evaluate an expression.
            UnknownError: nodes differ in how much it is.
        """
        needs: list[Need] = []
        constraints = []
        for claim in claims:
            for request, spec in zip(self.declarations.requests(claim), claim.spec.requests, strict=True):
                if not request.admin_access:
                    ways = list(zip(request.alternatives, _tolerations(spec), strict=True))
                    needs.append(self._need(f"{claim.name} {request.name}", ways, nodes))
            for constraint in claim.constraints():
                names = constraint.requests or [request.name for request in claim.spec.requests]
                constraints.append(constraint._replace(claim="", requests=[f"{claim.name} {name}" for name in names]))
        return needs, constraints

    def extended_needs(self, workload: Workload, nodes: Sequence[Node]) -> list[Need]:
        """Return what a pod takes by its extended resources; errors are those of `needs`."""
        return [
            self._need(
                name.replace("/", " "), [(Alternative("", entry, count, self.declarations.classes[entry]), [])], nodes
            )
            for name, count in extended_resources(workload).items()
            if (entry := self.declarations.extended_resources.get(name)) and not self._is_of_nodes(name)
        ]

    def _need(self, name: str, ways: Sequence[tuple[Alternative, Sequence[Object]]], nodes: Sequence[Node]) -> Need:
        found = [self._way(wanted, tolerations, nodes) for wanted, tolerations in ways]
        return Need(name, [way for way in found if way.candidates], self.counters)

    def _way(self, wanted: Alternative, tolerations: Sequence[Object], nodes: Sequence[Node]) -> Way:
        reached: dict[DeviceKey, tuple[Candidate, list[str]]] = {}
        sizes = set()
        for node in nodes:
            matching = node.kind.matching(wanted)
            usable = [one for one in matching if not self._is_barred(one, node, tolerations)]
            is_shared = any(one.device.allow_multiple_allocations for one in usable)
            if len(usable) < (wanted.count or len(matching)) and not is_shared:
                continue
            sizes.add(len(usable))
            for one in usable:
                reached.setdefault((one.driver, one.pool or node.name, one.device.name), (one, []))[1].append(node.name)
        if wanted.count is None and len(sizes - {0}) > 1:
            raise UnknownError
        candidates = [self._located(one, pool, names) for (_, pool, _), (one, names) in reached.items()]
        return Way(wanted.name, wanted.count or max(sizes, default=1), candidates, wanted.amounts)

    def _located(self, candidate: Candidate, pool: str, nodes: list[str]) -> Candidate:
        """Return a device with its pool and its nodes."""
        if candidate.pool or (pool, id(candidate.device)) not in self._seen:
            attributes = {**candidate.device.attributes, NODE: {"strings": nodes}}
            self._seen[pool, id(candidate.device)] = candidate._replace(
                pool=pool, device=replace(candidate.device, attributes=attributes)
            )
        return self._seen[pool, id(candidate.device)]

    def _is_barred(self, candidate: Candidate, node: Node, tolerations: Sequence[Object]) -> bool:
        """Tell whether a device has a taint that keeps claims away, or cannot be attached."""
        driver, pool, device = candidate.driver, candidate.pool or node.name, candidate.device.name
        faults = self._faulty[pool].faults_on(pool) if pool in self._faulty else []
        faults = [fault for fault in faults if fault.is_of(driver, device)]
        taints = [fault.taint for fault in faults if fault.taint]
        taints += [rule.taint for rule in self.topology.device_taint_rules if rule.selects(driver, pool, device)]
        repelled = repelling(tolerations, [dict(taint) for taint in taints if taint.effect != "None"])
        return bool(repelled) or any(fault.attach_fails for fault in faults)


def _can_prepare(pool: NodePool) -> bool:
    """Tell whether the kubelets can skip the operations that the drivers skip: else the scheduler avoids the nodes."""
    skips = any(devices.model.skip_node_operations for devices in pool.all_devices())
    return not skips or FEATURES["optional node operations"].gate in declared_features(pool)


def nodes_of(candidate: Candidate) -> list[str]:
    """Return the nodes that can use a device."""
    names: list[str] = candidate.device.attributes[NODE]["strings"]
    return names


def _tolerations(request: DeviceRequest) -> list[list[Object]]:
    return [[dict(one) for one in selection.tolerations] for selection in request.alternatives()]
