"""The nodes of a dump with their devices, in a form in which nodes that are alike are equal."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from topology.kubernetes.feature_gates import FEATURES
from topology.kubernetes.quantities import canonical, number
from topology.objects.kwok_stages import ATTACH_FAILS
from topology.objects.nodes import CLIQUE_LABEL
from twin.blocks import in_order, wire
from twin.dump import Dump, DumpError
from twin.identities import Identities, Wire
from twin.labels import KeptLabels, kept_taints
from twin.notes import Notes
from twin.objects import Node, SliceSpec, Taint

# Of a kubelet's declared features, those that decide about devices.
_DECLARED = {FEATURES[name].gate for name in ("node allocatable resources", "optional node operations")}
_IN_BYTES = ("memory", "ephemeral-storage")
_GIBIBYTE = 2**30


@dataclass
class DriverDevices:
    """What a driver publishes on a node, without faults; identities are masked."""

    driver: str
    devices: list[Wire]
    counter_sets: Mapping[str, Mapping[str, str]]
    sorted_by_name: bool = False
    skip_node_operations: Sequence[str] = ()


@dataclass
class FleetNode:
    """A node with what scheduling looks at; of one that is not in the dump, only devices are known."""

    name: str
    labels: Mapping[str, str]
    capacity: Mapping[str, str]
    taints: list[Taint] | None
    declared_features: list[str] | None
    drivers: list[DriverDevices]
    tainted: Sequence[tuple[str, Taint]] = ()
    """The taints of devices, with the device's name."""
    failing: Sequence[str] = ()
    """Devices that cannot be attached."""
    not_ready: bool = False
    clique: str | None = None
    clique_size: int = field(default=0)

    @cached_property
    def shape(self) -> str:
        """The same text for nodes that are alike but for faults."""
        drivers = [
            [entry.driver, entry.devices, entry.counter_sets, entry.sorted_by_name, list(entry.skip_node_operations)]
            for entry in self.drivers
        ]
        taints = [[taint.key, taint.value, taint.effect] for taint in self.taints or []]
        own = [self.labels, self.capacity, taints, self.declared_features, self.clique_size]
        return json.dumps([drivers, own], sort_keys=True)


def fleet(dump: Dump, kept: KeptLabels, identities: Identities, notes: Notes) -> list[FleetNode]:
    """Return the nodes that have devices, by name.

    Raises:
        DumpError: there is none.
    """
    by_node = _slices_by_node(dump, notes)
    published = {name: _published(specs, notes) for name, specs in by_node.items()}
    identities.learn((entry.driver, name, entry.devices) for name, drivers in published.items() for entry in drivers)
    known = {node.name: node for node in dump.nodes}
    nodes = [
        _node(name, known.get(name), published[name], by_node[name], kept, identities)
        for name in sorted(published, key=natural)
        if any(entry.devices for entry in published[name])
    ]
    if not nodes:
        raise DumpError(
            "no node of the dump has devices: a twin is made of ResourceSlices with a nodeName, and of their nodes"
        )
    if without := len(known.keys() - published.keys()):
        notes.add(f"{without} of {len(known)} nodes have no devices and are left out")
    return _with_cliques(nodes)


def natural(name: str) -> list[tuple[int, str]]:
    """Sort `node-10` after `node-2`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", name)]


def _slices_by_node(dump: Dump, notes: Notes) -> dict[str, list[SliceSpec]]:
    known = {node.name for node in dump.nodes}
    found: dict[str, list[SliceSpec]] = defaultdict(list)
    absent: set[str] = set()
    elsewhere: Counter[str] = Counter()
    for entry in sorted(dump.slices, key=lambda entry: entry.name):
        node = entry.spec.node_name
        if node is None:
            elsewhere[entry.spec.driver] += 1
        elif known and node not in known:
            absent.add(node)
        else:
            found[node].append(entry.spec)
    for driver, count in elsewhere.items():
        notes.add(f"{count} ResourceSlices of {driver} are of no single node, which no pool can have: left out")
    if absent:
        notes.add(f"ResourceSlices of {len(absent)} nodes that are not in the dump are left out")
    return found


def _published(specs: Sequence[SliceSpec], notes: Notes) -> list[DriverDevices]:
    """Return what each driver publishes on a node; GPUs first, as they say what kind of host it is."""
    by_pool: dict[tuple[str, str], list[SliceSpec]] = defaultdict(list)
    for spec in specs:
        by_pool[spec.driver, spec.pool.name].append(spec)
    by_driver: dict[str, list[SliceSpec]] = defaultdict(list)
    for (driver, _), found in by_pool.items():
        by_driver[driver] += _newest(found, notes)
    drivers = sorted(by_driver, key=lambda driver: (not driver.startswith("gpu."), driver))
    return [_of_driver(driver, by_driver[driver]) for driver in drivers]


def _newest(specs: Sequence[SliceSpec], notes: Notes) -> list[SliceSpec]:
    """Leave out the slices of older generations."""
    generation = max(spec.pool.generation for spec in specs)
    found = [spec for spec in specs if spec.pool.generation == generation]
    if len(found) < found[0].pool.resource_slice_count:
        notes.add(
            f"of some pools of {found[0].driver} not all ResourceSlices are there; the twin has the devices of these"
        )
    return found


def _of_driver(driver: str, specs: Sequence[SliceSpec]) -> DriverDevices:
    sets = {
        entry.name: {name: canonical(amount.value) for name, amount in entry.counters.items()}
        for spec in specs
        for entry in spec.shared_counters
    }
    devices = [wire(device) for spec in specs for device in spec.devices]
    ordered, sorted_by_name = in_order(devices)
    return DriverDevices(driver, ordered, sets, sorted_by_name, specs[0].skip_node_operations)


def _node(
    name: str,
    node: Node | None,
    published: Iterable[DriverDevices],
    specs: Sequence[SliceSpec],
    kept: KeptLabels,
    identities: Identities,
) -> FleetNode:
    seen: dict[str, str] = {}
    drivers = [
        DriverDevices(
            entry.driver,
            identities.masked(entry.devices, entry.driver, name, seen),
            entry.counter_sets,
            entry.sorted_by_name,
            entry.skip_node_operations,
        )
        for entry in published
        if entry.devices
    ]
    devices = [device for spec in specs for device in spec.devices]
    tainted = [(device.name, taint) for device in devices for taint in device.taints]
    failing = [device.name for device in devices if ATTACH_FAILS in device.binding_failure_conditions]
    if node is None:
        return FleetNode(name, {}, {}, None, None, drivers, tainted, failing)
    return FleetNode(
        name,
        kept.of(node.metadata.labels),
        _capacity(node),
        kept_taints(node.spec.taints, node.spec.unschedulable),
        sorted(_DECLARED.intersection(node.status.declared_features)),
        drivers,
        tainted,
        failing,
        any(condition.type == "Ready" and condition.status != "True" for condition in node.status.conditions),
        node.metadata.labels.get(CLIQUE_LABEL),
    )


def _capacity(node: Node) -> dict[str, str]:
    """Return what the scheduler can give away of a node.

    Of two machines of a kind, kubelets find some KiB more memory on one: whole GiB are left of it.
    """
    amounts = node.status.allocatable or node.status.capacity
    return {name: _whole(amount) if name in _IN_BYTES else canonical(amount) for name, amount in amounts.items()}


def _whole(amount: str) -> str:
    if not amount.endswith(("Ki", "Mi")) and not amount.isdigit():
        return canonical(amount)
    return canonical(f"{int(number(amount)) // _GIBIBYTE}Gi") if number(amount) >= _GIBIBYTE else canonical(amount)


def _with_cliques(nodes: list[FleetNode]) -> list[FleetNode]:
    """Tell each node how many are in its NVLink clique, and put those of a clique together."""
    sizes = Counter(node.clique for node in nodes)
    first: dict[str | None, int] = {}
    for place, node in enumerate(nodes):
        node.clique_size = sizes[node.clique] if node.clique else 0
        first.setdefault(node.clique, place)
    return sorted(nodes, key=lambda node: first[node.clique] if node.clique else -1)
