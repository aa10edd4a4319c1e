"""Reads the nodes of a dump with their devices, in a form in which similar nodes are equal."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from topology.kubernetes.feature_gates import FEATURES
from topology.kubernetes.naming import natural_key
from topology.kubernetes.quantities import canonical, number
from topology.objects.kwok_stages import ATTACH_FAILS
from topology.objects.nodes import CLIQUE_LABEL
from twin.blocks import in_order, wire
from twin.device_objects import SliceSpec
from twin.dump import Dump, DumpError
from twin.identities import Identities, Wire
from twin.labels import KeptLabels, kept_taints
from twin.notes import Notes
from twin.objects import Node, Taint

# The declared features of a kubelet that affect devices.
_DECLARED = {FEATURES[name].gate for name in ("node allocatable resources", "optional node operations")}
_IN_BYTES = ("memory", "ephemeral-storage")
_GIBIBYTE = 2**30


@dataclass
class DriverDevices:
    """The devices that a driver publishes on a node, without faults; identities are masked."""

    driver: str
    devices: list[Wire]
    counter_sets: Mapping[str, Mapping[str, str]]
    sorted_by_name: bool = False
    skip_node_operations: Sequence[str] = ()


@dataclass
class FleetNode:
    """A node with what scheduling considers; if the dump does not have the Node, only its devices are known."""

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
        """A text that is equal for nodes that differ only in name and faults."""
        drivers = [
            [entry.driver, entry.devices, entry.counter_sets, entry.sorted_by_name, list(entry.skip_node_operations)]
            for entry in self.drivers
        ]
        taints = [[taint.key, taint.value, taint.effect] for taint in self.taints or []]
        own = [self.labels, self.capacity, taints, self.declared_features, self.clique_size]
        return json.dumps([drivers, own], sort_keys=True)


def fleet(dump: Dump, kept: KeptLabels, identities: Identities, notes: Notes) -> list[FleetNode]:
    """Return the nodes that have devices, sorted by name; the nodes of a clique follow each other.

    Raises:
        DumpError: no node has devices.
    """
    by_node = _slices_by_node(dump, notes)
    published = {name: _published(specs, notes) for name, specs in by_node.items()}
    identities.learn_from_devices(
        (entry.driver, name, entry.devices) for name, drivers in published.items() for entry in drivers
    )
    known = {node.name: node for node in dump.nodes}
    nodes = [
        _node(name, known.get(name), published[name], by_node[name], kept, identities)
        for name in sorted(published, key=natural_key)
        if any(entry.devices for entry in published[name])
    ]
    if not nodes:
        raise DumpError(
            "no node in the dump has devices: a twin needs ResourceSlices with a nodeName, and the nodes that they name"
        )
    if without := len(known.keys() - published.keys()):
        notes.add(f"nodes without devices are left out: {without} of {len(known)}")
    return _with_cliques(nodes)


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
        notes.add(f"ResourceSlices of {driver} without a nodeName are left out: {count}")
    if absent:
        notes.add(f"nodes that have ResourceSlices but are not in the dump are left out: {len(absent)}")
    return found


def _published(specs: Sequence[SliceSpec], notes: Notes) -> list[DriverDevices]:
    """Return what each driver publishes on a node; GPU drivers first, as they determine the host."""
    by_pool: dict[tuple[str, str], list[SliceSpec]] = defaultdict(list)
    for spec in specs:
        by_pool[spec.driver, spec.pool.name].append(spec)
    by_driver: dict[str, list[SliceSpec]] = defaultdict(list)
    for (driver, _), found in by_pool.items():
        by_driver[driver] += _newest(found, notes)
    drivers = sorted(by_driver, key=lambda driver: (not driver.startswith("gpu."), driver))
    return [_of_driver(driver, by_driver[driver]) for driver in drivers]


def _newest(specs: Sequence[SliceSpec], notes: Notes) -> list[SliceSpec]:
    """Return the slices of the latest generation."""
    generation = max(spec.pool.generation for spec in specs)
    found = [spec for spec in specs if spec.pool.generation == generation]
    if len(found) < found[0].pool.resource_slice_count:
        notes.add(
            f"some pools of {found[0].driver} are incomplete: only the devices of the ResourceSlices in the dump are "
            "in the twin"
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
        replace(entry, devices=identities.masked(entry.devices, entry.driver, name, seen))
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
    """Return what pods can request of a node.

    Kubelets report memory that differs by some KiB on equal machines, so it is rounded down to whole GiB.
    """
    amounts = node.status.allocatable or node.status.capacity
    return {name: _whole(amount) if name in _IN_BYTES else canonical(amount) for name, amount in amounts.items()}


def _whole(amount: str) -> str:
    if not amount.endswith(("Ki", "Mi")) and not amount.isdigit():
        return canonical(amount)
    return canonical(f"{int(number(amount)) // _GIBIBYTE}Gi") if number(amount) >= _GIBIBYTE else canonical(amount)


def _with_cliques(nodes: list[FleetNode]) -> list[FleetNode]:
    """Set the size of each node's NVLink clique, and return the nodes with those of a clique side by side."""
    sizes = Counter(node.clique for node in nodes)
    first: dict[str | None, int] = {}
    for place, node in enumerate(nodes):
        node.clique_size = sizes[node.clique] if node.clique else 0
        first.setdefault(node.clique, place)
    return sorted(nodes, key=lambda node: first[node.clique] if node.clique else -1)
