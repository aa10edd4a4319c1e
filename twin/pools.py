"""Node pools: nodes that are alike, folded together."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from topology.kubernetes import limits
from topology.kubernetes.quantities import canonical
from topology.objects import nodes as node_objects
from topology.objects.slices import resource_slices
from topology.schema.catalogue import Catalogue
from topology.schema.hosts import Host
from topology.schema.stack import NodePool
from twin.blocks import blocks
from twin.fleet import FleetNode, natural
from twin.hosts import host_of
from twin.identities import renumbered
from twin.labels import KeptLabels, is_public_taint
from twin.notes import Notes
from twin.objects import Taint
from twin.pseudonyms import Names
from twin.recognition import Entry, Models, entries, unused

Written = dict[str, Any]
BULK_FROM = 101
"""So many nodes are provisioned in bulk: past a hundred, `pulumi up` warns of Pulumi's own work for each object."""


class Pools(NamedTuple):
    """The pools of a twin, the hosts that are written out for them, and the twin's name of each node."""

    pools: list[Written]
    hosts: dict[str, Written]
    nodes: dict[str, str]


@dataclass
class _Folded:
    """Nodes that are alike."""

    nodes: list[FleetNode]
    name: str | None = None
    """The pool's own name, which all nodes begin with, where names are kept."""


class Pooling:
    """Makes pools, with what they have in common."""

    def __init__(self, catalogue: Catalogue, models: Models, names: Names, kept: KeptLabels, notes: Notes) -> None:
        """Take what is known."""
        self._catalogue = catalogue
        self._models = models
        self._names = names
        self._kept = kept
        self._notes = notes
        self._hosts: dict[str, Written] = {}

    def pools(self, nodes: Sequence[FleetNode]) -> Pools:
        """Return the pools of the nodes, and the hosts that are not in the catalogue."""
        folded = _folded(nodes, self._names.kept)
        recognised = [(group, self._recognised(group.nodes[0])) for group in folded]
        recognised.sort(key=lambda entry: natural(entry[0].name or self._base(entry[0].nodes, entry[1])))
        taken: set[str] = {group.name for group in folded if group.name}
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
                    f"a node has {len(driver.devices)} devices of {driver.driver}; {limits.NODE_DEVICES_MAX} are the "
                    "most"
                )
            hints = ({"sortedByName": True} if driver.sorted_by_name else {}) | (
                {"skipNodeOperations": list(driver.skip_node_operations)} if driver.skip_node_operations else {}
            )
            found += entries(driver.driver, blocks(driver.devices, driver.counter_sets), self._models, hints)
        return found

    def _pool(self, name: str, nodes: Sequence[FleetNode], found: Sequence[Entry]) -> Written:
        node = nodes[0]
        pool: Written = {"name": name, "nodes": len(nodes), **_devices(found)}
        host = self._host(found, name)
        if host:
            pool["host"] = host
        if node.clique_size:
            pool["nodesPerClique"] = node.clique_size
        plain = self._validated(pool)
        pool |= self._labels(plain, node) | self._capacity(plain, node) | self._taints(plain, node)
        if node.declared_features not in (None, node_objects.declared_features(plain)):
            pool["declaredFeatures"] = node.declared_features
        if faults := _faults(nodes, self._taint):
            pool["faults"] = faults
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
        return {"labels": labels} if labels else {}

    def _capacity(self, plain: NodePool, node: FleetNode) -> Written:
        if not node.capacity:
            return {}
        there = node_objects.node_capacity(plain)
        capacity = {name: amount for name, amount in node.capacity.items() if _other(there.get(name, "0"), amount)}
        # What the catalogue's nodes have and these do not.
        capacity |= {name: "0" for name in there if "/" in name and name not in node.capacity}
        return {"capacity": capacity} if capacity else {}

    def _taints(self, plain: NodePool, node: FleetNode) -> Written:
        if node.taints is None:
            return {}
        there = [(taint.key, taint.value, taint.effect) for taint in node_objects.node_taints(plain)]
        if sorted(there) == sorted((taint.key, taint.value, taint.effect) for taint in node.taints):
            return {}
        return {"taints": [self._taint(taint) for taint in node.taints]}

    def _taint(self, taint: Taint) -> Written:
        key, value = self._names.taint(taint.key, taint.value, is_public_taint(taint.key))
        return {"key": key} | ({"value": value} if value else {}) | {"effect": taint.effect}

    def _compare(self, pool: Written, node: FleetNode) -> None:
        """Say which drivers' devices are not the same when the program makes them of what is written."""
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
                    f"the devices of {driver.driver} on {self._names.of('node', node.name)} are not exactly the same "
                    f"in the twin's pool {sound.name}"
                )


def _by_name(devices: Sequence[Written]) -> list[Written]:
    return sorted(devices, key=lambda device: str(device["name"]))


def _other(there: str, amount: str) -> bool:
    return canonical(there) != canonical(amount)


def _folded(nodes: Sequence[FleetNode], by_name: bool) -> list[_Folded]:
    """Put nodes together that are alike; where names are kept, only those whose names have a pool's form."""
    pools = _pools_by_name(nodes) if by_name else {}
    groups: dict[tuple[str, str | None], list[FleetNode]] = defaultdict(list)
    for node in nodes:
        groups[node.shape, pools.get(node.name)].append(node)
    return [_Folded(found, name) for (_, name), found in groups.items()]


def _pools_by_name(nodes: Sequence[FleetNode]) -> dict[str, str]:
    """Return the pool of each node that is called as the nodes of pools are: `<pool>-0` and up, all of them alike."""
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
    """Return what the names begin with alike, as the name of a pool."""
    first, last = min(names), max(names)
    length = next((place for place, letter in enumerate(first) if letter != last[place : place + 1]), len(first))
    return re.sub(r"[^a-z0-9]+", "-", first[:length])[:40].strip("-")


def _devices(found: Sequence[Entry]) -> Written:
    """Write the entries; the first one in short."""
    first, *others = found
    written: Written = {"gpu": first.model, "gpusPerNode": first.count}
    written |= _options(first)
    if others:
        written["devices"] = [{"model": entry.model, "count": entry.count, **_options(entry)} for entry in others]
    return written


def _options(entry: Entry) -> Written:
    return ({"mig": entry.mig} if entry.mig else {}) | (
        {"attributes": dict(entry.attributes)} if entry.attributes else {}
    )


def _faults(nodes: Sequence[FleetNode], taint: Any) -> list[Written]:
    """Write what is wrong with some of the nodes and devices: the same fault once for all that have it."""
    found: dict[str, tuple[Written, dict[int, list[str]]]] = {}
    for index, node in enumerate(nodes):
        for device, entry in node.tainted:
            fault = {"taint": taint(entry)}
            found.setdefault(json.dumps(fault), (fault, {}))[1].setdefault(index, []).append(device)
        for device in node.failing:
            found.setdefault("fails", ({"attachFails": True}, {}))[1].setdefault(index, []).append(device)
        if node.not_ready:
            found.setdefault("not ready", ({"notReady": True}, {}))[1].setdefault(index, [])
    return [
        _where(indexes, devices, len(nodes)) | fault
        for fault, by_node in found.values()
        for devices, indexes in _alike(by_node).items()
    ]


def _alike(by_node: Mapping[int, list[str]]) -> dict[tuple[str, ...], list[int]]:
    found: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, devices in by_node.items():
        found[tuple(sorted(devices))].append(index)
    return found


def _where(indexes: list[int], devices: Sequence[str], total: int) -> Written:
    where: Written = {} if len(indexes) == total else {"nodes": indexes}
    return where | ({"devices": list(devices)} if devices else {})
