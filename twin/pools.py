"""Groups similar nodes into node pools."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from topology.kubernetes import limits
from topology.kubernetes.naming import natural_key
from topology.kubernetes.objects import given
from topology.kubernetes.quantities import canonical
from topology.objects import nodes as node_objects
from topology.objects.slices import resource_slices
from topology.schema.catalogue import Catalogue
from topology.schema.hosts import Host
from topology.schema.stack import NodePool
from twin.blocks import blocks
from twin.configuration import Written
from twin.fleet import FleetNode
from twin.hosts import host_of
from twin.identities import renumbered
from twin.labels import KeptLabels
from twin.notes import Notes
from twin.pseudonyms import Names
from twin.recognition import Entry, Models, entries, unused
from twin.templates import common_prefix

BULK_FROM = 101
"""The number of nodes or pods from which on they are provisioned in bulk: `pulumi up` warns about more than a hundred
objects with a resource each."""


class Pools(NamedTuple):
    """The pools of a twin, their hosts that are not in the catalogue, and the twin's name of each node."""

    pools: list[Written]
    hosts: dict[str, Written]
    nodes: dict[str, str]


class _Group(NamedTuple):
    """Nodes of a pool."""

    nodes: list[FleetNode]
    name: str | None
    """The pool's name in the dump, if names are kept and the nodes are named after it."""


class Pooling:
    """Makes node pools."""

    def __init__(self, catalogue: Catalogue, models: Models, names: Names, kept: KeptLabels, notes: Notes) -> None:
        """Start without hosts of the twin's own."""
        self._catalogue = catalogue
        self._models = models
        self._names = names
        self._kept = kept
        self._notes = notes
        self._hosts: dict[str, Written] = {}

    def pools(self, nodes: Sequence[FleetNode]) -> Pools:
        """Return the pools of the nodes."""
        groups = _groups(nodes, self._names.kept)
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
        if len(nodes) >= BULK_FROM:
            pools = [pool | {"provisioning": "bulk"} for pool in pools]
        return Pools(pools, self._hosts, new_names)

    def _base(self, nodes: Sequence[FleetNode], found: Sequence[Entry]) -> str:
        prefix = _prefix([node.name for node in nodes]) if self._names.kept else ""
        return prefix or found[0].model

    def _recognised(self, node: FleetNode) -> list[Entry]:
        found = []
        for driver in node.drivers:
            if len(driver.devices) > limits.NODE_DEVICES_MAX:
                raise ValueError(
                    f"a node has {len(driver.devices)} devices of {driver.driver}; the maximum is "
                    f"{limits.NODE_DEVICES_MAX}"
                )
            hints = given(sortedByName=driver.sorted_by_name, skipNodeOperations=list(driver.skip_node_operations))
            found += entries(driver.driver, blocks(driver.devices, driver.counter_sets), self._models, hints)
        return found

    def _pool(self, name: str, nodes: Sequence[FleetNode], found: Sequence[Entry]) -> Written:
        node = nodes[0]
        pool: Written = {"name": name, "nodes": len(nodes), **_devices(found)}
        pool |= given(host=self._host(found, name), nodesPerClique=node.clique_size)
        plain = self._validated(pool)
        pool |= self._labels(plain, node) | self._capacity(plain, node) | self._taints(plain, node)
        if node.declared_features not in (None, node_objects.declared_features(plain)):
            pool["declaredFeatures"] = node.declared_features
        pool |= given(faults=_faults(nodes, self._names))
        self._compare(pool, node)
        return pool

    def _host(self, found: Sequence[Entry], name: str) -> str | None:
        known: dict[str, Host] = dict(self._catalogue.hosts)
        known |= {other: Host.model_validate(host) for other, host in self._hosts.items()}
        host = host_of(found, self._models, known)
        if not isinstance(host, dict):
            return host
        own = unused(f"{name}-host", known)
        self._hosts[own] = host
        return own

    def _validated(self, pool: Written) -> NodePool:
        hosts = {name: Host.model_validate(host) for name, host in self._hosts.items()}
        context = {"models": self._models.known, "hosts": {**self._catalogue.hosts, **hosts}}
        return NodePool.model_validate(pool, context=context)

    def _labels(self, plain: NodePool, node: FleetNode) -> Written:
        there = node_objects.node_labels(plain, f"{plain.name}-0")
        labels = {
            self._names.label_key(key, self._kept): self._names.label_value(key, value, self._kept)
            for key, value in node.labels.items()
            if there.get(key) != value
        }
        return given(labels=labels)

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

    def _compare(self, pool: Written, node: FleetNode) -> None:
        """Note the drivers whose devices differ from those that the program renders for the pool."""
        sound = self._validated({key: value for key, value in pool.items() if key != "faults"})
        name = f"{sound.name}-0"
        made: dict[str, list[Written]] = defaultdict(list)
        for entry in resource_slices(sound, name):
            made[entry["spec"]["driver"]] += entry["spec"].get("devices", [])
        seen: dict[str, str] = {}
        for driver in node.drivers:
            again = self._models.identities.masked(made[driver.driver], driver.driver, name, seen)
            if _by_name(renumbered(_by_name(again))) != _by_name(renumbered(_by_name(driver.devices))):
                self._notes.add(
                    f"the twin's pool {sound.name} does not reproduce the devices of {driver.driver} on "
                    f"{self._names.of('node', node.name)} exactly"
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
    return re.sub(r"[^a-z0-9]+", "-", common_prefix(names))[:40].strip("-")


def _devices(found: Sequence[Entry]) -> Written:
    """Return the configuration of the entries: of the first by `gpu` and `gpusPerNode`, of others by `devices`."""
    first, *others = found
    return {"gpu": first.model, "gpusPerNode": first.count, **_options(first)} | given(
        devices=[{"model": entry.model, "count": entry.count, **_options(entry)} for entry in others]
    )


def _options(entry: Entry) -> Written:
    return given(mig=entry.mig, attributes=dict(entry.attributes))


def _faults(nodes: Sequence[FleetNode], names: Names) -> list[Written]:
    """Return the faults of nodes and devices, each with all nodes and devices that have it."""
    found: dict[str, tuple[Written, dict[int, list[str]]]] = {}
    for index, node in enumerate(nodes):
        for device, entry in node.tainted:
            fault = {"taint": names.taint(entry)}
            found.setdefault(json.dumps(fault), (fault, {}))[1].setdefault(index, []).append(device)
        for device in node.failing:
            found.setdefault("fails", ({"attachFails": True}, {}))[1].setdefault(index, []).append(device)
        if node.not_ready:
            found.setdefault("not ready", ({"notReady": True}, {}))[1].setdefault(index, [])
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
