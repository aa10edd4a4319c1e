"""Groups similar nodes into node pools, and makes fabric pools."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple, TypeVar

from topology.kubernetes import limits
from topology.kubernetes.naming import natural_key
from topology.kubernetes.objects import given
from topology.kubernetes.quantities import canonical
from topology.objects import nodes as node_objects
from topology.objects.slices import resource_slices
from topology.schema.catalogue import Catalogue
from topology.schema.hosts import Host
from topology.schema.stack import FabricPool, NodePool, Pool
from twin.blocks import Block, blocks
from twin.configuration import Written
from twin.counterparts import counterparts
from twin.fleet import DriverDevices, Fabric, Fleet, FleetNode, Published
from twin.hosts import host_of
from twin.identities import Wire
from twin.labels import KeptLabels
from twin.notes import Notes
from twin.pseudonyms import Names
from twin.recognition import Entry, Models, entries, slug, unused
from twin.templates import common_prefix

_REACH = ("nodeName", "nodeSelector", "allNodes")
BULK_FROM = 101
"""The number of nodes or pods from which on they are provisioned in bulk: `pulumi up` warns about more than a hundred
objects with a resource each."""


_AnyPool = TypeVar("_AnyPool", bound=Pool)


class Pools(NamedTuple):
    """The pools of a twin, and their hosts that are not in the catalogue."""

    pools: list[Written]
    fabrics: list[Written]
    hosts: dict[str, Written]
    nodes: dict[str, str]
    """The twin's name of each node."""
    fabric_names: dict[str, str]
    """The twin's name of each fabric pool."""


class _Group(NamedTuple):
    """Nodes of a pool."""

    nodes: list[FleetNode]
    name: str | None
    """The pool's name in the dump, if names are kept and the nodes are named after it."""


class Pooling:
    """Makes pools."""

    def __init__(self, catalogue: Catalogue, models: Models, names: Names, kept: KeptLabels, notes: Notes) -> None:
        """Start without hosts of the twin's own."""
        self._catalogue = catalogue
        self._models = models
        self._names = names
        self._kept = kept
        self._notes = notes
        self._hosts: dict[str, Written] = {}

    def pools(self, fleet: Fleet) -> Pools:
        """Return the pools of the fleet."""
        groups = _groups(fleet.nodes, self._names.kept)
        recognised = [(group, self._recognised(group.nodes[0])) for group in groups]
        recognised.sort(key=lambda entry: natural_key(entry[0].name or self._base(entry[0].nodes, entry[1])))
        taken: set[str] = {group.name for group in groups if group.name}
        pools: list[Written] = []
        new_names: dict[str, str] = {}
        for group, found in recognised:
            name = group.name or unused(self._base(group.nodes, found), taken)
            taken.add(name)
            pools.append(self._pool(name, group.nodes, found))
            new_names |= {node.name: f"{name}-{index}" for index, node in enumerate(group.nodes)}
        if len(fleet.nodes) >= BULK_FROM:
            pools = [pool | {"provisioning": "bulk"} for pool in pools]
        fabric_names: dict[str, str] = {}
        for fabric in fleet.fabrics:
            name = unused(slug(self._names.of("fabric", fabric.name), 60) or "fabric", {*taken, *new_names.values()})
            taken.add(name)
            fabric_names[fabric.name] = name
        fabrics = [self._fabric(fabric_names[fabric.name], fabric, new_names) for fabric in fleet.fabrics]
        return Pools(pools, fabrics, self._hosts, new_names, fabric_names)

    def _base(self, nodes: Sequence[FleetNode], found: Sequence[Entry]) -> str:
        prefix = _prefix([node.name for node in nodes]) if self._names.kept else ""
        return prefix or (found[0].model.partition("@")[0] if found else "node")

    def _recognised(self, node: FleetNode) -> list[Entry]:
        of_drivers = [self._entries(driver, blocks(driver.devices, driver.counter_sets)) for driver in node.drivers]
        return [entry for found in of_drivers for entry in found]

    def _entries(self, driver: DriverDevices, found: Sequence[Block]) -> list[Entry]:
        if len(driver.devices) > limits.NODE_DEVICES_MAX:
            raise ValueError(
                f"a node has {len(driver.devices)} devices of {driver.driver}; the maximum is {limits.NODE_DEVICES_MAX}"
            )
        hints = given(sortedByName=driver.sorted_by_name, skipNodeOperations=list(driver.skip_node_operations))
        return entries(driver.driver, found, self._models, hints)

    def _fabric(self, name: str, fabric: Fabric, nodes: Mapping[str, str]) -> Written:
        found = [
            (entry, self._selection(selection, nodes))
            for driver in fabric.drivers
            for parts, reach in [_cut_by_reach(driver, fabric)]
            for entry, selection in _by_reach(self._entries(driver, parts), reach)
        ]
        first = found[0][1]
        common = first if "nodeName" not in first and all(selection == first for _, selection in found) else {}
        devices = [_device(entry) | ({} if common else selection) for entry, selection in found]
        pool: Written = {"name": name, **common, "devices": devices}
        pool |= given(host=self._host([entry for entry, _ in found], name))
        self._compare(self._validated(pool, FabricPool), name, fabric)
        return pool | given(faults=_faults([fabric], self._names))

    def _selection(self, reach: Written, nodes: Mapping[str, str]) -> Written:
        """Return which nodes can use devices with the twin's labels and names of nodes."""
        labels = {"nodeSelector": self._renamed(reach["nodeSelector"])} if "nodeSelector" in reach else {}
        return reach | labels | ({"nodeName": nodes[reach["nodeName"]]} if "nodeName" in reach else {})

    def _pool(self, name: str, nodes: Sequence[FleetNode], found: Sequence[Entry]) -> Written:
        node = nodes[0]
        pool: Written = {"name": name, "nodes": len(nodes), **_devices(found)}
        pool |= given(host=self._host(found, name), nodesPerClique=node.clique_size)
        plain = self._validated(pool, NodePool)
        pool |= self._labels(plain, node) | self._capacity(plain, node) | self._taints(plain, node)
        if node.declared_features not in (None, node_objects.declared_features(plain)):
            pool["declaredFeatures"] = node.declared_features
        self._compare(self._validated(pool, NodePool), f"{name}-0", node)
        return pool | given(faults=_faults(nodes, self._names))

    def _host(self, found: Sequence[Entry], name: str) -> str | None:
        known: dict[str, Host] = dict(self._catalogue.hosts)
        known |= {other: Host.model_validate(host) for other, host in self._hosts.items()}
        host = host_of(found, self._models, known)
        if not isinstance(host, dict):
            return host
        own = unused(f"{name}-host", known)
        self._hosts[own] = host
        return own

    def _validated(self, pool: Written, kind: type[_AnyPool]) -> _AnyPool:
        hosts = {name: Host.model_validate(host) for name, host in self._hosts.items()}
        context = {"models": self._models.known, "hosts": {**self._catalogue.hosts, **hosts}}
        return kind.model_validate(pool, context=context)

    def _labels(self, plain: NodePool, node: FleetNode) -> Written:
        there = node_objects.node_labels(plain, f"{plain.name}-0")
        own = {key: value for key, value in node.labels.items() if there.get(key) != value}
        return given(labels=self._renamed(own))

    def _renamed(self, labels: Mapping[str, str]) -> dict[str, str]:
        """Return labels with the twin's keys and values."""
        return {
            self._names.label_key(key, self._kept): self._names.label_value(key, value, self._kept)
            for key, value in labels.items()
        }

    def _capacity(self, plain: NodePool, node: FleetNode) -> Written:
        if not node.capacity:
            return {}
        there = node_objects.node_capacity(plain)
        capacity = {name: amount for name, amount in node.capacity.items() if _other(there.get(name, "0"), amount)}
        # Extended resources that only the catalogue's nodes have.
        capacity |= {name: "0" for name in there if "/" in name and name not in node.capacity}
        return given(capacity=capacity)

    def _taints(self, plain: NodePool, node: FleetNode) -> Written:
        if node.taints is None:
            return {}
        there = [(taint.key, taint.value, taint.effect) for taint in node_objects.node_taints(plain)]
        if sorted(there) == sorted((taint.key, taint.value, taint.effect) for taint in node.taints):
            return {}
        return {"taints": [self._names.taint(taint) for taint in node.taints]}

    def _compare(self, pool: Pool, name: str, published: Published) -> None:
        """Note the drivers whose devices differ from those that the program renders for a node or a fabric pool."""
        made: dict[str, list[Written]] = defaultdict(list)
        for entry in resource_slices(pool, name):
            made[entry["spec"]["driver"]] += [
                {key: value for key, value in device.items() if key not in _REACH}
                for device in entry["spec"].get("devices", [])
            ]
        for driver in published.drivers:
            if counterparts(_by_name(made[driver.driver]), _by_name(driver.devices), name) is None:
                kind = "node" if isinstance(published, FleetNode) else "fabric"
                self._notes.add(
                    f"the twin's pool {pool.name} does not reproduce the devices of {driver.driver} on "
                    f"{self._names.of(kind, published.name)} exactly"
                )


def _by_name(devices: Sequence[Written]) -> list[Written]:
    return sorted(devices, key=lambda device: str(device["name"]))


def _other(there: str, amount: str) -> bool:
    return canonical(there) != canonical(amount)


def _groups(nodes: Sequence[FleetNode], by_name: bool) -> list[_Group]:
    """Group similar nodes; with `by_name`, nodes that are named after a pool form a group of their own."""
    pools = _pools_by_name(nodes) if by_name else {}
    groups: dict[tuple[str, str | None], list[FleetNode]] = defaultdict(list)
    for node in nodes:
        groups[node.shape, pools.get(node.name)].append(node)
    return [_Group(found, name) for (_, name), found in groups.items()]


def _pools_by_name(nodes: Sequence[FleetNode]) -> dict[str, str]:
    """Return the pool of each node that is named as nodes of pools are: `<pool>-0` and up, all of them similar."""
    by_prefix: dict[str, list[FleetNode]] = defaultdict(list)
    for node in nodes:
        if match := re.fullmatch(r"(.+)-(0|[1-9][0-9]*)", node.name):
            by_prefix[match[1]].append(node)
    return {
        node.name: prefix
        for prefix, found in by_prefix.items()
        if [node.name for node in found] == [f"{prefix}-{index}" for index in range(len(found))]
        and len({node.shape for node in found}) == 1
        and "." not in prefix
        for node in found
    }


def _prefix(names: Sequence[str]) -> str:
    """Return the common prefix of the names, as the name of a pool."""
    return slug(common_prefix(names), 40)


def _cut_by_reach(driver: DriverDevices, fabric: Fabric) -> tuple[list[Block], list[Written]]:
    """Return the physical devices, cut into the parts that the same nodes can use, and which nodes these are."""
    found: dict[tuple[int, str], list[Wire]] = {}
    whole = blocks(driver.devices, driver.counter_sets)
    for place, block in enumerate(whole):
        for part in block.devices:
            reach = json.dumps(fabric.reach[driver.driver, part["name"]], sort_keys=True)
            found.setdefault((place, reach), []).append(part)
    parts = [replace(whole[place], devices=some) for (place, _), some in found.items()]
    return parts, [json.loads(reach) for _, reach in found]


def _by_reach(found: Sequence[Entry], reach: Sequence[Written]) -> Iterator[tuple[Entry, Written]]:
    """Yield the entries with the nodes that can use their devices, and cut them where other nodes can."""
    rest = iter(reach)
    for entry in found:
        begin = 0
        for _, run in groupby((next(rest) for _ in range(entry.count)), lambda one: json.dumps(one, sort_keys=True)):
            same = list(run)
            places = entry.places[begin : begin + len(same)]
            yield replace(entry, count=len(same), places=places), same[0]
            begin += len(same)


def _devices(found: Sequence[Entry]) -> Written:
    """Return the configuration of the entries: of the first by `gpu` and `gpusPerNode`, of others by `devices`."""
    gpu = {"gpu": found[0].model, "gpusPerNode": found[0].count, **_options(found[0])} if found else {}
    return gpu | given(devices=[_device(entry) for entry in found[1:]])


def _device(entry: Entry) -> Written:
    return {"model": entry.model, "count": entry.count, **_options(entry)}


def _options(entry: Entry) -> Written:
    return given(mig=entry.mig, attributes=dict(entry.attributes))


def _faults(nodes: Sequence[FleetNode | Fabric], names: Names) -> list[Written]:
    """Return the faults of nodes and devices, each with all nodes and devices that have it."""
    found: dict[str, tuple[Written, dict[int, list[str]]]] = {}

    def add(fault: Written, index: int, *devices: str) -> None:
        found.setdefault(json.dumps(fault), (fault, {}))[1].setdefault(index, []).extend(devices)

    for index, node in enumerate(nodes):
        of_name = Counter(device["name"] for entry in node.drivers for device in entry.devices)
        for driver, device, taint in node.tainted:
            add(given(driver=of_name[device] > 1 and driver) | {"taint": names.taint(taint)}, index, device)
        for driver, device in node.failing:
            add(given(driver=of_name[device] > 1 and driver) | {"attachFails": True}, index, device)
        if isinstance(node, FleetNode) and node.not_ready:
            add({"notReady": True}, index)
    return [
        _where(indexes, devices, len(nodes)) | fault
        for fault, by_node in found.values()
        for devices, indexes in _by_devices(by_node).items()
    ]


def _by_devices(by_node: Mapping[int, list[str]]) -> dict[tuple[str, ...], list[int]]:
    found: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, devices in by_node.items():
        found[tuple(sorted(devices))].append(index)
    return found


def _where(indexes: list[int], devices: Sequence[str], total: int) -> Written:
    return given(nodes=None if len(indexes) == total else indexes, devices=list(devices))
