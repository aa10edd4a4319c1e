"""Schedules the pods of a twin many times, each time in another order and on other nodes, as the scheduler may do.

The devices of a node are those that the allocator finds first: see tests/oracle/brute_force.py.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tests.oracle import brute_force
from tests.oracle.brute_force import ConstraintError, Device, Request, Taken, TooManyError
from tests.twins.cluster import Claim, Cluster, Pod, amounts_of, devices_of
from tests.twins.cluster import Device as ClusterDevice
from tests.twins.pods import alternatives
from tests.twins.selection import Object
from topology.kubernetes.counters import are_compatible
from topology.kubernetes.feature_gates import FEATURES
from topology.kubernetes.quantities import number
from topology.objects.kwok_stages import ATTACH_FAILS
from topology.schema.stack import Topology
from topology.schema.workloads import Workload

_SKIPS = FEATURES["optional node operations"].gate


class Fleet(brute_force.Fleet):
    """The nodes of a cluster with their devices, of which CEL expressions select."""

    def __init__(self, cluster: Cluster) -> None:
        """Take the nodes and devices, of which none is held."""
        super().__init__([])
        self._cluster = cluster
        self.nodes = dict(cluster.nodes)
        self.classes = dict(cluster.classes)
        self.devices = {name: [] for name in self.nodes}
        self._matching: dict[Any, list[Device]] = {}
        for device in cluster.devices.values():
            taints = [dict(zip(("key", "value", "effect"), taint, strict=True)) for taint in device.taints]
            for node in _usable(device, cluster):
                self.devices[node].append(Device(device.key, {**device.published, "taints": taints}))
            for set_name, counters in device.counter_sets.items():
                for name, counter in counters.items():
                    self.counters[device.key[:2]][set_name, name] = number(str(counter["value"]))

    def matching(self, node: str, selection: Object) -> list[Device]:
        """Return the devices of a node that a selection selects.

        Raises:
            ConstraintError: an expression fails for a device before it is true for another one.
        """
        expressions, amounts = self._cluster.expressions(selection), amounts_of(selection)
        key = (node, *expressions, *sorted(amounts.items()))
        if key not in self._matching:
            found = self._cluster.selected(expressions)
            devices = [one for one in self.devices[node] if one.place in found.true | found.failing]
            if devices and devices[0].place in found.failing:
                raise ConstraintError
            sound = [one for one in devices if one.place in found.true]
            self._matching[key] = [one for one in sound if one.amounts(amounts) is not None]
        return self._matching[key]

    def allocations(self, node: str, pod: brute_force.Pod) -> Iterator[list[Taken]]:
        """Yield each way to satisfy all requests of a pod on a node, without incompatible devices on one counter set.

        Raises:
            ConstraintError: the allocator gives up there.
            TooManyError: there are too many ways.
        """
        return (taken for taken in super().allocations(node, pod) if self._are_compatible(taken))

    def _are_compatible(self, taken: Sequence[Taken]) -> bool:
        places = {place for place, _ in self.held} | {one.device.place for one in taken}
        groups: dict[Any, list[list[str]]] = defaultdict(list)
        for place in places:
            for entry in self._cluster.devices[place].published.get("consumesCounters") or []:
                groups[place[:2], entry["counterSet"]].append(entry.get("compatibilityGroups") or [])
        return all(are_compatible(some) for some in groups.values())


def _usable(device: ClusterDevice, cluster: Cluster) -> list[str]:
    """Return the nodes on which a device can be used: none if it cannot be attached."""
    if ATTACH_FAILS in (device.published.get("bindingFailureConditions") or []):
        return []
    return [node for node in device.nodes if not device.skipped or _SKIPS in (cluster.declared(node) or [])]


def outcome_is_certain(topology: Topology, cluster: Cluster, times: int) -> list[str]:
    """Return the expectations of workloads that may not be met, each with what was allocated instead."""
    if _is_beyond(topology, cluster):
        return []
    found: dict[str, None] = {}
    for seed in range(times):
        run = _Run(topology, cluster, random.Random(seed))
        try:
            run.schedule()
        except TooManyError:
            return []
        found |= dict.fromkeys(run.unmet())
    return list(found)


def _is_beyond(topology: Topology, cluster: Cluster) -> bool:
    """Tell whether a twin has what is not simulated: pod groups, queues, derived attributes, constraints on lists."""
    specs = [devices_of(claim.spec) for pod in cluster.pods for claim in pod.claims]
    constraints = [str(entry) for spec in specs for entry in spec.get("constraints") or []]
    lists = {
        name
        for device in cluster.devices.values()
        for name, value in (device.published.get("attributes") or {}).items()
        if any(isinstance(entry, list) for entry in value.values())
    }
    return (
        any(workload.pod_group or workload.queue for workload in topology.workloads)
        or "derivedAttributes" in str(specs)
        or any(name in text for name in lists for text in constraints)
    )


class _Run:
    """One order in which pods come, and nodes are chosen."""

    def __init__(self, topology: Topology, cluster: Cluster, chance: random.Random) -> None:
        self._topology = topology
        self._cluster = cluster
        self._chance = chance
        self._fleet: brute_force.Fleet = Fleet(cluster)
        self._left = {name: dict(cluster.capacity(name)) for name in cluster.nodes}
        self._pods = {pod.name: pod for pod in cluster.pods}
        self._allocated: dict[str, int] = defaultdict(int)

    def schedule(self) -> None:
        """Create the workloads in their order, and place each pod as soon as there is a place for it."""
        waiting: list[tuple[Workload, Pod]] = []
        done: set[str] = set()
        left = list(self._topology.workloads)
        while left:
            ready = [workload for workload in left if set(workload.after) <= done]
            waiting += [(workload, pod) for workload in ready for pod in self._of(workload)]
            waiting = self._placed(waiting)
            done |= {workload.name for workload in ready}
            left = [workload for workload in left if workload not in ready]

    def _of(self, workload: Workload) -> list[Pod]:
        return [self._pods[workload.namespace, f"{workload.name}-{number}"] for number in range(workload.replicas)]

    def _placed(self, waiting: Sequence[tuple[Workload, Pod]]) -> list[tuple[Workload, Pod]]:
        """Place the pods in any order; return those that have to wait."""
        pods = list(waiting)
        self._chance.shuffle(pods)
        return [(workload, pod) for workload, pod in pods if not self._place(workload, pod)]

    def _place(self, workload: Workload, pod: Pod) -> bool:
        asks = _asks(pod, self._fleet.bound)
        nodes = sorted(
            self._cluster.admitting(pod.spec) & (self._cluster.nodes.keys() if asks.nodes is None else asks.nodes)
        )
        try:
            ways = {node: next(self._fleet.allocations(node, asks), None) for node in nodes}
        except ConstraintError:
            return False
        costs = {node: _costs(pod, way) for node, way in ways.items() if way is not None}
        fitting = [node for node, cost in costs.items() if self._has_room(node, cost)]
        if not fitting:
            return False
        node = self._chance.choice(fitting)
        self._fleet = self._fleet._after(node, asks, ways[node] or [])
        for name, amount in costs[node].items():
            self._left[node][name] = self._left[node].get(name, 0) - amount
        self._allocated[workload.name] += len(pod.claims)
        return True

    def _has_room(self, node: str, cost: Mapping[str, Any]) -> bool:
        left = self._left[node]
        return not left or all(left.get(name, 0) >= amount for name, amount in cost.items())

    def unmet(self) -> Iterable[str]:
        """Yield the workloads that do not have the claims that they are expected to have."""
        for workload in self._topology.workloads:
            found = self._allocated[workload.name]
            wanted = sum(claim.allocated for pod in self._of(workload) for claim in pod.claims)
            if found != wanted:
                yield f"{workload.name}: {found} claims are allocated instead of {wanted}"


def _costs(pod: Pod, way: Sequence[Taken]) -> dict[str, Any]:
    """Return what a pod and its devices take of the node's resources."""
    found: dict[str, Any] = defaultdict(int, pod.resources)
    for one in way:
        for name, entry in (one.device.published.get("nodeAllocatableResources") or {}).items():
            mapping = entry.get("mapping") or {}
            found[name] += number(str(mapping.get("deviceMultiplier", 0)))
            if key := mapping.get("capacityKey"):
                found[name] += number(str(mapping["capacityMultiplier"])) * one.amounts[key]
    return found


def _asks(pod: Pod, bound: Mapping[str, frozenset[str]]) -> brute_force.Pod:
    """Return what a pod needs apart from its shared claims that are allocated, which bind it to nodes."""
    requests: list[Request] = []
    constraints: list[tuple[int, Object]] = []
    nodes: frozenset[str] | None = None
    shared: list[str] = []
    for place, claim in enumerate(pod.claims):
        name = "/".join(claim.shared or ())
        if name in bound:
            nodes = bound[name] if nodes is None else nodes & bound[name]
            continue
        requests += _requests(place, claim)
        constraints += [(place, entry) for entry in devices_of(claim.spec).get("constraints") or []]
        shared += [name] if name else []
    return brute_force.Pod(pod.spec, requests, constraints, nodes, shared)


def _requests(place: int, claim: Claim) -> list[Request]:
    return [
        Request(place, request["name"], [(one.get("name", ""), one) for one in alternatives(request)])
        for request in devices_of(claim.spec)["requests"]
    ]
