"""Reads the nodes and the fabric pools of a dump with their devices, in a form in which similar nodes are equal."""

import json
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from topology.checks.node_selection import reaches
from topology.kubernetes.feature_gates import FEATURES
from topology.kubernetes.naming import natural_key
from topology.kubernetes.objects import given
from topology.kubernetes.quantities import canonical, number
from topology.objects.kwok_stages import ATTACH_FAILS
from topology.objects.nodes import CLIQUE_LABEL
from twin.blocks import in_order, wire
from twin.configuration import Written
from twin.device_objects import Reach, SliceSpec
from twin.dump import Dump, DumpError
from twin.identities import Identities, Wire
from twin.labels import HOSTNAME, KeptLabels, kept_taints
from twin.notes import Notes
from twin.objects import Node, Taint
from twin.pod_objects import NodeSelector
from twin.slices import PoolName, note_unpublished, usable

# The declared features of a kubelet that affect devices.
_DECLARED = {FEATURES[name].gate for name in ("node allocatable resources", "optional node operations")}
# What a twin gives to nodes itself.
_NOT_KEPT = {CLIQUE_LABEL, HOSTNAME, "metadata.name"}
_IN_BYTES = ("memory", "ephemeral-storage")
_GIBIBYTE = 2**30


@dataclass
class DriverDevices:
    """The devices that a driver publishes on a node or in a fabric pool, without faults; identities are masked."""

    driver: str
    devices: list[Wire]
    counter_sets: Mapping[str, Mapping[str, str]]
    sorted_by_name: bool = False
    skip_node_operations: Sequence[str] = ()


@dataclass
class Published:
    """A node or a fabric pool, with the faults of its devices."""

    name: str
    drivers: list[DriverDevices] = field(default_factory=list)
    tainted: Sequence[tuple[str, str, Taint]] = ()
    """The taints of devices, with the driver and the device's name."""
    failing: Sequence[tuple[str, str]] = ()
    """Drivers and names of devices that cannot be attached."""


@dataclass
class Fabric(Published):
    """A pool whose devices are not devices of one node."""

    reach: Mapping[tuple[str, str], Written] = field(default_factory=dict)
    """The keys of the configuration that say which nodes can use a device, by driver and device."""


@dataclass
class FleetNode(Published):
    """A node with what scheduling considers; if the dump does not have the Node, only its devices are known."""

    labels: Mapping[str, str] = field(default_factory=dict)
    capacity: Mapping[str, str] = field(default_factory=dict)
    taints: list[Taint] | None = None
    declared_features: list[str] | None = None
    not_ready: bool = False
    clique: str | None = None
    clique_size: int = 0

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


class Fleet(NamedTuple):
    """The nodes that can use devices, sorted by name, those of a clique side by side; and the fabric pools."""

    nodes: list[FleetNode]
    fabrics: list[Fabric]
    devices: Mapping[PoolName, set[str]]
    """The names of the devices, by their driver and pool."""
    slices: list[SliceSpec]
    """All slices of the dump whose devices can be allocated."""

    @property
    def drivers(self) -> set[str]:
        """The drivers of the devices."""
        return {driver.driver for source in (*self.nodes, *self.fabrics) for driver in source.drivers}


def fleet(dump: Dump, kept: KeptLabels, identities: Identities, notes: Notes) -> Fleet:
    """Return the nodes that can use devices, and the fabric pools.

    Raises:
        DumpError: no node can use devices.
    """
    specs = usable(dump.slices, notes)
    note_unpublished(dump.slices, dump.claims, notes)
    known = {node.name: node for node in dump.nodes}
    by_node = _of_nodes(specs, known, notes)
    reaches = _Reaches({name: node.metadata.labels for name, node in known.items()} or {name: {} for name in by_node})
    by_fabric, reach = _of_fabrics(specs, reaches, notes)
    published = [(name, found, _by_driver(found)) for some in (by_node, by_fabric) for name, found in some.items()]
    identities.learn_from_devices((one.driver, name, one.devices) for name, _, found in published for one in found)
    masked = [_published(*one, identities) for one in published]
    own = {one.name: one for one in masked[: len(by_node)] if one.drivers}
    names = sorted(own.keys() | reaches.labels, key=natural_key)
    nodes = [_node(own.get(name) or Published(name), known.get(name), kept, reaches.labels[name]) for name in names]
    if not nodes:
        needed = "no node in the dump has devices: a twin needs all ResourceSlices, and the nodes that can use them"
        raise DumpError("; ".join([needed, *notes.lines()]))
    _note_left_out(dump, set(names), notes)
    fabrics = [Fabric(**vars(one), reach=reach[one.name]) for one in masked[len(by_node) :] if one.drivers]
    devices: dict[PoolName, set[str]] = defaultdict(set)
    for spec in (spec for _, found, _ in published for spec in found):
        devices[spec.driver, spec.pool.name] |= {device.name for device in spec.devices}
    return Fleet(_with_cliques(nodes), fabrics, devices, specs)


def _note_left_out(dump: Dump, kept: Set[str], notes: Notes) -> None:
    left = {node.name for node in dump.nodes} - kept
    with_devices = {entry.spec.node_name for entry in dump.slices if entry.spec.devices}
    if without := len(left - with_devices):
        notes.add(f"nodes without devices are left out: {without} of {len(dump.nodes)}")
    if unusable := len(left & with_devices):
        notes.add(f"nodes whose devices are all left out are left out too: {unusable} of {len(dump.nodes)}")


def _of_nodes(specs: Iterable[SliceSpec], known: Container[str], notes: Notes) -> dict[str, list[SliceSpec]]:
    """Return the slices of each node; if the dump has Nodes, only those of these."""
    found: dict[str, list[SliceSpec]] = defaultdict(list)
    for spec in specs:
        if spec.node_name and known and spec.node_name not in known:
            notes.add("nodes that have ResourceSlices but are not in the dump are left out", spec.node_name)
        elif spec.node_name:
            found[spec.node_name].append(spec)
    return found


# Fabric pools.

_Reach = dict[tuple[str, str], Written]


class _Reaches:
    """The nodes that can use the devices of fabric pools, and the labels by which a stack says so."""

    def __init__(self, nodes: Mapping[str, Mapping[str, str]]) -> None:
        """Take the labels of each node."""
        self._nodes = nodes
        self._known: dict[str, Written] = {}
        self.labels: dict[str, dict[str, str]] = defaultdict(dict)
        """The labels that nodes need, by the name of each node that can use devices."""

    def of(self, reach: Reach) -> Written:
        """Return the keys of the configuration that say which nodes can use devices; empty if none can."""
        key = json.dumps(reach.selection, sort_keys=True)
        if key not in self._known:
            self._known[key] = self._of(reach)
        return self._known[key]

    def _of(self, reach: Reach) -> Written:
        using = [name for name, labels in self._nodes.items() if reaches(reach.selection, labels, name)]
        selector = reach.node_selector
        wanted = (_as_labels(selector) or {f"twin/fabric-{len(self._known) + 1}": "true"}) if selector else {}
        for name in using:
            self.labels[name] |= wanted
        return given(nodeSelector=wanted, nodeName=reach.node_name, allNodes=reach.all_nodes) if using else {}


def _as_labels(selector: NodeSelector) -> dict[str, str] | None:
    """Return the labels that a selector asks for; None if these are not all, or twins cannot have one of them."""
    asked = [one for term in selector.node_selector_terms for one in (*term.match_expressions, *term.match_fields)]
    labels = {one.key: one.values[0] for one in asked if one.operator == "In" and len(one.values) == 1}
    is_plain = len(selector.node_selector_terms) == 1 and not labels.keys() & _NOT_KEPT
    return labels if is_plain and len(labels) == len(asked) else None


def _of_fabrics(
    specs: Iterable[SliceSpec], reaches: _Reaches, notes: Notes
) -> tuple[dict[str, list[SliceSpec]], dict[str, _Reach]]:
    """Return the slices of each pool that is not of one node, with the devices that a node of the dump can use."""
    found: dict[str, list[SliceSpec]] = defaultdict(list)
    reach: dict[str, _Reach] = defaultdict(dict)
    for spec in (spec for spec in specs if not spec.node_name):
        devices = []
        for device in spec.devices:
            if selection := reaches.of(device if spec.per_device_node_selection else spec):
                reach[spec.pool.name][spec.driver, device.name] = selection
                devices.append(device)
            else:
                note = f"devices of {spec.driver} that no node of the dump can use are left out"
                notes.add(note, (spec.pool.name, device.name))
        found[spec.pool.name].append(spec.model_copy(update={"devices": devices}))
    return found, reach


# What is published.


def _by_driver(specs: Sequence[SliceSpec]) -> list[DriverDevices]:
    """Return what each driver publishes on a node; GPU drivers first, as they determine the host."""
    by_driver: dict[str, list[SliceSpec]] = defaultdict(list)
    for spec in specs:
        by_driver[spec.driver].append(spec)
    drivers = sorted(by_driver, key=lambda driver: (not driver.startswith("gpu."), driver))
    return [_of_driver(driver, by_driver[driver]) for driver in drivers]


def _of_driver(driver: str, specs: Sequence[SliceSpec]) -> DriverDevices:
    sets = {
        entry.name: {name: canonical(amount.value) for name, amount in entry.counters.items()}
        for spec in specs
        for entry in spec.shared_counters
    }
    devices = [wire(device) for spec in specs for device in spec.devices]
    ordered, sorted_by_name = in_order(devices)
    return DriverDevices(driver, ordered, sets, sorted_by_name, specs[0].skip_node_operations)


def _published(
    name: str, specs: Sequence[SliceSpec], drivers: Sequence[DriverDevices], identities: Identities
) -> Published:
    """Return what is published on a node or in a fabric pool, with masked identities."""
    devices = [(spec.driver, device) for spec in specs for device in spec.devices]
    return Published(
        name,
        [
            replace(entry, devices=identities.masked(entry.devices, entry.driver, name))
            for entry in drivers
            if entry.devices
        ],
        [(driver, device.name, taint) for driver, device in devices for taint in device.taints],
        [(driver, device.name) for driver, device in devices if ATTACH_FAILS in device.binding_failure_conditions],
    )


def _node(published: Published, node: Node | None, kept: KeptLabels, further: dict[str, str]) -> FleetNode:
    """Return a node, with the labels that a twin keeps, and `further` ones."""
    if node is None:
        return FleetNode(**vars(published))
    features = node.status.declared_features
    return FleetNode(
        **vars(published),
        labels=kept.of(node.metadata.labels) | further,
        capacity=_capacity(node),
        taints=kept_taints(node.spec.taints, node.spec.unschedulable),
        declared_features=None if features is None else sorted(_DECLARED.intersection(features)),
        not_ready=any(one.type == "Ready" and one.status != "True" for one in node.status.conditions),
        clique=node.metadata.labels.get(CLIQUE_LABEL),
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
