"""The fleet as the picture shows it: pools, their nodes, the devices of each node, and the claims that hold them."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from itertools import takewhile
from typing import Any, Literal

from topology.kubernetes.naming import natural_key
from topology.kubernetes.objects import Key, Object, key
from topology.kubernetes.quantities import number
from topology.objects import mig
from topology.schema.stack import NodePool, Pool, Topology
from topology.status.live_objects import allocated_devices, is_not_ready, of_kind
from topology.status.occupancy import Occupancy, PoolName, newest
from topology.status.report import Report, details, report_of

OTHERS = ""
"""The workload of claims that are not the stack's."""

Place = tuple[PoolName, str]
"""The pool and the name of a device."""

State = Literal["held", "free", "taken", "tainted", "gone"]
"""`taken`: other parts of the same GPU are in use; `gone`: held, but no longer published."""

_SLICE_COUNTER = re.compile(r"memory-?[sS]lice-?([0-9]+)")


@dataclass(frozen=True)
class Share:
    """What a claim holds of a device: all of it, or the `amounts` of its capacities."""

    claim: Key
    workload: str
    pods: tuple[str, ...]
    admin: bool
    amounts: Mapping[str, str]


@dataclass(frozen=True)
class ShownDevice:
    """A device of a ResourceSlice, with the claims that hold it; `spec` is empty for one that is gone."""

    name: str
    driver: str
    spec: Mapping[str, Any]
    state: State
    shares: Sequence[Share]
    taints: Sequence[str]
    left: Mapping[str, str] | None = None
    """What is left of each capacity of a shared device that claims hold; None if other claims cannot have it."""

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
        """The memory slices that a MIG device takes of its GPU."""
        names = [*self.spec.get("capacity", {}), *self.counters]
        return sorted(int(found[1]) for name in names if (found := _SLICE_COUNTER.fullmatch(name)))

    @cached_property
    def counters(self) -> dict[str, Decimal]:
        """How much it consumes of each counter that it shares with other parts of its GPU."""
        consumed = [entry["counters"] for entry in self.spec.get("consumesCounters", [])]
        return {name: number(counter["value"]) for counters in consumed for name, counter in counters.items()}

    @property
    def holders(self) -> list[Share]:
        """The shares that keep other claims off it; admin access does not."""
        return [share for share in self.shares if not share.admin]

    def used(self) -> dict[str, Decimal]:
        """Return how much of each capacity of a shared device is consumed, from 0 to 1."""
        consumed: dict[str, Decimal] = defaultdict(Decimal)
        for share in self.holders:
            for name, amount in share.amounts.items():
                consumed[name] += number(amount)
        capacity = self.spec.get("capacity", {})
        wholes = {name: number(capacity[name]["value"]) for name in sorted(consumed) if name in capacity}
        return {name: min(consumed[name] / whole, Decimal(1)) for name, whole in wholes.items() if whole}


@dataclass(frozen=True)
class Physical:
    """A piece of hardware: one device, or a GPU that is published in parts."""

    name: str
    driver: str
    parts: Sequence[ShownDevice]
    memory_slices: int = 0
    """How many memory slices a GPU in MIG mode has; 0 for all else."""

    @property
    def is_partitionable(self) -> bool:
        """Whether its parts share counters, so that an allocated one makes others unavailable."""
        return any(part.counters for part in self.parts)

    def fraction(self, device: ShownDevice) -> float:
        """Return how much of it one of its parts is, from 0 to 1."""
        if self.memory_slices:
            return (len(device.memory_slices) or self.memory_slices) / self.memory_slices
        whole = {name: max(part.counters.get(name, Decimal(0)) for part in self.parts) for name in device.counters}
        sizes = [float(value / whole[name]) for name, value in device.counters.items() if whole[name]]
        return max(sizes, default=1 / len(self.parts))


@dataclass(frozen=True)
class ShownNode:
    """A node of a pool, or a fabric pool; `notes` list what is wrong with it."""

    name: str
    physical: Sequence[Physical]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class ShownPool:
    """A pool, with its row of the report."""

    row: Mapping[str, Any]
    nodes: Sequence[ShownNode]


@dataclass(frozen=True)
class ShownFleet:
    """Everything on the page."""

    name: str
    report: Report
    pools: Sequence[ShownPool]
    workloads: Sequence[str]
    """The workloads that hold or await devices, sorted; `OTHERS` comes last."""
    held: Mapping[str, int]
    """How many devices each workload holds, alone or shared."""

    def devices(self) -> Iterator[ShownDevice]:
        """Yield every device."""
        for pool in self.pools:
            for node in pool.nodes:
                for physical in node.physical:
                    yield from physical.parts


def shown_fleet(topology: Topology, objects: Sequence[Object]) -> ShownFleet:
    """Return the fleet of a stack, from the live `objects` of all `report.kinds`."""
    found = details(topology, objects)
    told = report_of(topology, found)
    claims, occupied, live, *_ = found
    shares = _shares(live.claims, claims, {(entry["namespace"], entry["name"]) for entry in told.leftovers})
    devices = _devices(objects, occupied, shares)
    rows = {row["name"]: row for row in told.pools}
    held = Counter(
        workload for found in shares.values() for workload in {share.workload for share in found if not share.admin}
    )
    return ShownFleet(
        topology.cluster.name,
        told,
        [
            ShownPool(rows[pool.name], list(_nodes(pool, live.nodes, devices)))
            for pool in sorted(topology.pools.values(), key=lambda pool: natural_key(pool.name))
        ],
        sorted(
            {entry["workload"] for entry in claims} | held.keys(), key=lambda name: (name == OTHERS, natural_key(name))
        ),
        held,
    )


def _shares(
    live: Mapping[Key, Object], claims: Iterable[Mapping[str, Any]], leftovers: set[Key]
) -> dict[Place, list[Share]]:
    """Return the shares of each device, without those of leftover claims, which are about to be released."""
    users: dict[Key, list[Mapping[str, Any]]] = defaultdict(list)
    for entry in claims:
        users[entry["namespace"], entry["name"]].append(entry)
    shares: dict[Place, list[Share]] = defaultdict(list)
    for name in sorted(live.keys() - leftovers):
        pods = tuple(sorted((entry["pod"] for entry in users[name]), key=natural_key))
        workload = min((entry["workload"] for entry in users[name]), default=OTHERS)
        for result in allocated_devices(live[name]):
            share = Share(name, workload, pods, bool(result.get("adminAccess")), result.get("consumedCapacity") or {})
            shares[(result["driver"], result["pool"]), result["device"]].append(share)
    return shares


def _devices(
    objects: Iterable[Object], occupied: Mapping[PoolName, Occupancy], shares: Mapping[Place, Sequence[Share]]
) -> dict[PoolName, list[ShownDevice]]:
    slices: dict[PoolName, list[Object]] = defaultdict(list)
    for entry in sorted(of_kind(objects, "ResourceSlice"), key=key):
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
            devices[name].append(ShownDevice(device, name[0], {}, "gone", found, []))
    return devices


def _device(pool: PoolName, spec: Object, occupied: Occupancy, shares: Sequence[Share]) -> ShownDevice:
    taints = occupied.taints.get(spec["name"], [])
    state: State = "taken"
    if any(not share.admin for share in shares):
        state = "held"
    elif spec["name"] in occupied.available:
        state = "free"
    elif taints or occupied.lost or occupied.incomplete:
        state = "tainted"
    return ShownDevice(spec["name"], pool[0], spec, state, shares, taints, occupied.left.get(spec["name"]))


def _nodes(
    pool: Pool, live: Mapping[str, Object], devices: Mapping[PoolName, Sequence[ShownDevice]]
) -> Iterator[ShownNode]:
    """Yield the configured nodes of the pool, of which a fault may have removed some; or a fabric pool as one."""
    names = [f"{pool.name}-{index}" for index in range(pool.nodes)] if isinstance(pool, NodePool) else [pool.name]
    for name in names:
        physical = [entry for driver in pool.drivers for entry in _physical(pool, devices.get((driver, name), []))]
        if not isinstance(pool, NodePool):
            yield ShownNode(name, physical)
        elif name in live:
            notes = {"cordoned": live[name]["spec"].get("unschedulable"), "not ready": is_not_ready(live[name])}
            yield ShownNode(name, physical, [note for note, applies in notes.items() if applies])
        else:
            yield ShownNode(name, [], ["not in the cluster"])


def _physical(pool: Pool, devices: Sequence[ShownDevice]) -> Iterator[Physical]:
    """Group the parts of each GPU: they share counters, or have the same parent or PCI bus ID."""
    groups: dict[tuple[str, str], list[ShownDevice]] = {}
    for device in devices:
        groups.setdefault(_parent(device), []).append(device)
    configured = [entry for entry in pool.all_devices() if entry.mig]
    for parts in groups.values():
        driver = parts[0].driver
        in_use = max((place + 1 for part in parts for place in part.memory_slices), default=0)
        whole = [mig.memory_slices(entry.model.mig) for entry in configured if entry.model.driver == driver]
        yield Physical(_common_name(parts), driver, parts, max([in_use, *whole]) if in_use else 0)


def _parent(device: ShownDevice) -> tuple[str, str]:
    for consumption in device.spec.get("consumesCounters", []):
        return "counters", consumption["counterSet"]
    attributes = device.spec.get("attributes", {})
    for name in ("parentUUID", "resource.kubernetes.io/pciBusID"):
        if value := attributes.get(name, {}).get("string"):
            return name, value
    return "name", device.name


def _common_name(parts: Sequence[ShownDevice]) -> str:
    """Return the name of the whole GPU if it is among its `parts`, else the common beginning of their names."""
    names = [part.name for part in parts]
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    common = "".join(letters[0] for letters in same)
    if common in names:
        return common
    if parent := re.match(r"(.+?)-mig-", common):
        return parent[1]
    return re.sub(r"[^A-Za-z0-9]*[A-Za-z]*[^A-Za-z0-9]*$", "", common) or common
