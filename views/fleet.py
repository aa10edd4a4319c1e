"""The fleet as a picture needs it: pools, their nodes, each node's devices, and who holds them."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal

from topology.kubernetes.objects import Key, Object, key
from topology.kubernetes.quantities import number
from topology.objects import mig
from topology.schema.stack import NodePool, Topology
from topology.status.occupancy import Occupancy, PoolName, newest
from topology.status.report import Report, details, report

OTHERS = ""
"""Stands for the workload of claims that are not the stack's."""

State = Literal["held", "free", "taken", "tainted", "gone"]
"""`taken` is a part of a GPU whose place others have; `gone` is held, but not published any more."""

_SLICE_COUNTER = re.compile(r"memory-?[sS]lice-?([0-9]+)")


@dataclass(frozen=True)
class Share:
    """What a claim has of a device: all of it, or the `amounts` of its capacities."""

    claim: Key
    workload: str
    pods: tuple[str, ...]
    admin: bool
    amounts: Mapping[str, str]


@dataclass(frozen=True)
class Device:
    """A device of a ResourceSlice, and who holds it; `spec` is empty for one that is gone."""

    name: str
    driver: str
    spec: Mapping[str, Any]
    state: State
    shares: Sequence[Share]
    taints: Sequence[str]

    @property
    def shared(self) -> bool:
        """Whether several claims can hold it."""
        return bool(self.spec.get("allowMultipleAllocations"))

    @property
    def profile(self) -> str | None:
        """Its MIG profile."""
        profile: str | None = self.spec.get("attributes", {}).get("profile", {}).get("string")
        return profile

    @cached_property
    def memory_slices(self) -> list[int]:
        """Which memory slices of its GPU it takes, for MIG."""
        names = [*self.spec.get("capacity", {}), *self.counters]
        return sorted(int(found[1]) for name in names if (found := _SLICE_COUNTER.fullmatch(name)))

    @cached_property
    def counters(self) -> dict[str, Decimal]:
        """How much it takes of each counter that it shares with other parts of its GPU."""
        consumed = [entry["counters"] for entry in self.spec.get("consumesCounters", [])]
        return {name: number(counter["value"]) for counters in consumed for name, counter in counters.items()}

    @property
    def holders(self) -> list[Share]:
        """Who keeps others from it; who has admin access does not."""
        return [share for share in self.shares if not share.admin]

    def used(self) -> dict[str, Decimal]:
        """Return how much of each capacity is taken of a shared device, from 0 to 1."""
        taken: dict[str, Decimal] = defaultdict(Decimal)
        for share in self.holders:
            for name, amount in share.amounts.items():
                taken[name] += number(amount)
        capacity = self.spec.get("capacity", {})
        wholes = {name: number(capacity[name]["value"]) for name in sorted(taken) if name in capacity}
        return {name: min(taken[name] / whole, Decimal(1)) for name, whole in wholes.items() if whole}


@dataclass(frozen=True)
class Physical:
    """What is in the machine: one device, or a GPU that is published in parts."""

    name: str
    driver: str
    parts: Sequence[Device]
    memory_slices: int = 0
    """How many memory slices a GPU in MIG mode has; none for others."""

    @property
    def is_cut_on_demand(self) -> bool:
        """Whether its parts share counters, so that each takes its place away from others."""
        return any(part.counters for part in self.parts)

    def part(self, device: Device) -> float:
        """Return how much of it one of its parts is, from 0 to 1."""
        if self.memory_slices:
            return (len(device.memory_slices) or self.memory_slices) / self.memory_slices
        whole = {name: max(part.counters.get(name, Decimal(0)) for part in self.parts) for name in device.counters}
        sizes = [float(value / whole[name]) for name, value in device.counters.items() if whole[name]]
        return max(sizes, default=1 / len(self.parts))


@dataclass(frozen=True)
class Node:
    """A node of a pool; `notes` say what is wrong with it."""

    name: str
    physical: Sequence[Physical]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Pool:
    """A node pool, with its row of the report."""

    row: Mapping[str, Any]
    nodes: Sequence[Node]


@dataclass(frozen=True)
class Fleet:
    """All there is to show."""

    name: str
    report: Report
    pools: Sequence[Pool]
    workloads: Sequence[str]
    """Those that hold devices or wait for some, sorted; claims of others come last, as `OTHERS`."""
    held: Mapping[str, int] = field(default_factory=dict)
    """How many devices each workload holds, alone or with others."""

    def devices(self) -> Iterator[Device]:
        """Go through all devices."""
        for pool in self.pools:
            for node in pool.nodes:
                for physical in node.physical:
                    yield from physical.parts


def fleet(topology: Topology, objects: Sequence[Object]) -> Fleet:
    """Put together what the live `objects` of all `topology.status.kinds` say about the stack."""
    told = report(topology, objects)
    claims, occupied, *_ = details(topology, objects)
    shares = _shares(objects, claims, {(entry["namespace"], entry["name"]) for entry in told.leftovers})
    devices = _devices(objects, occupied, shares)
    live = {entry["metadata"]["name"]: entry for entry in objects if entry["kind"] == "Node"}
    rows = {row["name"]: row for row in told.pools}
    held = Counter(
        workload for found in shares.values() for workload in {share.workload for share in found if not share.admin}
    )
    return Fleet(
        topology.cluster.name,
        told,
        [
            Pool(rows[pool.name], [_node(pool, name, live.get(name), devices) for name in _node_names(pool)])
            for pool in sorted(topology.node_pools, key=lambda pool: pool.name)
        ],
        sorted({entry["workload"] for entry in claims} | held.keys(), key=lambda name: (name == OTHERS, name)),
        held,
    )


def _shares(
    objects: Iterable[Object], claims: Iterable[Mapping[str, Any]], leftovers: set[Key]
) -> dict[tuple[PoolName, str], list[Share]]:
    """Return who holds each device; a claim whose pod is gone is about to give its devices back."""
    users: dict[Key, list[Mapping[str, Any]]] = defaultdict(list)
    for entry in claims:
        users[entry["namespace"], entry["name"]].append(entry)
    shares: dict[tuple[PoolName, str], list[Share]] = defaultdict(list)
    for claim in sorted((entry for entry in objects if entry["kind"] == "ResourceClaim"), key=key):
        if key(claim) in leftovers:
            continue
        pods = tuple(sorted(entry["pod"] for entry in users[key(claim)]))
        workload = min((entry["workload"] for entry in users[key(claim)]), default=OTHERS)
        for result in claim.get("status", {}).get("allocation", {}).get("devices", {}).get("results") or []:
            share = Share(
                key(claim), workload, pods, bool(result.get("adminAccess")), result.get("consumedCapacity") or {}
            )
            shares[(result["driver"], result["pool"]), result["device"]].append(share)
    return shares


def _devices(
    objects: Iterable[Object],
    occupied: Mapping[PoolName, Occupancy],
    shares: Mapping[tuple[PoolName, str], Sequence[Share]],
) -> dict[PoolName, list[Device]]:
    slices: dict[PoolName, list[Object]] = defaultdict(list)
    for entry in sorted((entry for entry in objects if entry["kind"] == "ResourceSlice"), key=key):
        slices[entry["spec"]["driver"], entry["spec"]["pool"]["name"]].append(entry["spec"])
    devices = {
        name: [
            _device(name, device, occupied[name], shares.get((name, device["name"]), []))
            for spec in newest(specs)
            for device in spec.get("devices") or []
        ]
        for name, specs in sorted(slices.items())
    }
    for (name, device), found in sorted(shares.items()):
        if device not in {known.name for known in devices.setdefault(name, [])}:
            devices[name].append(Device(device, name[0], {}, "gone", found, []))
    return devices


def _device(pool: PoolName, spec: Object, occupied: Occupancy, shares: Sequence[Share]) -> Device:
    taints = occupied.taints.get(spec["name"], [])
    state: State = "taken"
    if any(not share.admin for share in shares):
        state = "held"
    elif spec["name"] in occupied.available:
        state = "free"
    elif taints or occupied.lost:
        state = "tainted"
    return Device(spec["name"], pool[0], spec, state, shares, taints)


def _node_names(pool: NodePool) -> list[str]:
    """Return the names of all nodes that were configured, those that a fault has taken away included."""
    return [f"{pool.name}-{index}" for index in range(pool.nodes)]


def _node(pool: NodePool, name: str, node: Object | None, devices: Mapping[PoolName, Sequence[Device]]) -> Node:
    if node is None:
        return Node(name, [], ["not in the cluster"])
    physical = [entry for driver in pool.drivers for entry in _physical(pool, devices.get((driver, name), []))]
    return Node(name, physical, list(_notes(node)))


def _notes(node: Object) -> Iterator[str]:
    if node.get("spec", {}).get("unschedulable"):
        yield "cordoned"
    for condition in node.get("status", {}).get("conditions") or []:
        if condition["type"] == "Ready" and condition["status"] != "True":
            yield "not ready"


def _physical(pool: NodePool, devices: Sequence[Device]) -> Iterator[Physical]:
    """Put the parts of a GPU together: they share counters, or name the same parent or the same place on PCIe."""
    groups: dict[tuple[str, str], list[Device]] = {}
    for device in devices:
        groups.setdefault(_parent(device), []).append(device)
    configured = [entry for entry in pool.all_devices() if entry.mig]
    for parts in groups.values():
        driver = parts[0].driver
        in_use = max((place + 1 for part in parts for place in part.memory_slices), default=0)
        whole = [mig.memory_slices(entry.model.mig) for entry in configured if entry.model.driver == driver]
        yield Physical(_common_name(parts), driver, parts, max([in_use, *whole]) if in_use else 0)


def _parent(device: Device) -> tuple[str, str]:
    for consumption in device.spec.get("consumesCounters", []):
        return "counters", consumption["counterSet"]
    attributes = device.spec.get("attributes", {})
    for name in ("parentUUID", "resource.kubernetes.io/pciBusID"):
        if value := attributes.get(name, {}).get("string"):
            return name, value
    return "name", device.name


def _common_name(parts: Sequence[Device]) -> str:
    """Return the name of a GPU's whole device, or else what the names of its parts have in common."""
    names = [part.name for part in parts]
    if len(names) == 1:
        return names[0]
    whole = min(names, key=len)
    if all(name.startswith(whole) for name in names):
        return whole
    common = 0
    while len({name[: common + 1] for name in names}) == 1:
        common += 1
    if parent := re.match(r"(.+?)-mig-", names[0][: common + 1]):
        return parent[1]
    return re.sub(r"[^A-Za-z0-9]*[A-Za-z]*[^A-Za-z0-9]*$", "", names[0][:common]) or names[0][:common]
