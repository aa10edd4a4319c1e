"""The nodes of a stack as the scheduler sees them. Nodes that no expression tells apart are examined as one kind."""

from collections.abc import ItemsView, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from topology.checks.allocation import Candidate
from topology.checks.device_matching import Alternative, NodeDevices
from topology.checks.fabric_pools import Fabrics
from topology.checks.node_selection import TOLERATIONS_OF_EVERY_POD, repelling
from topology.checks.requests import selections
from topology.kubernetes.quantities import number
from topology.objects import nodes
from topology.objects.inventory import DevicePool, device_pools
from topology.schema.stack import NodePool, Topology
from topology.schema.workloads import Workload

NO_NODE = ""
"""The name of no node: devices that are rendered for it differ between pools, but not between nodes."""


@dataclass(frozen=True)
class NodeKind:
    """The nodes `names` of a pool, which have the same devices."""

    pool: NodePool
    names: list[str]
    devices: NodeDevices

    @cached_property
    def _labels(self) -> list[ItemsView[str, str]]:
        """The labels of each node, computed once: many workloads may have a nodeSelector."""
        return [nodes.node_labels(self.pool, name).items() for name in self.names]

    @cached_property
    def capacity(self) -> dict[str, str]:
        """The capacity of each node, without devices, and without extended resources of which it has none."""
        amounts = nodes.node_capacity(self.pool)
        return {name: amount for name, amount in amounts.items() if "/" not in name or number(amount)}

    def matching(self, wanted: Alternative) -> list[Candidate]:
        """Return the devices of a node that match; errors are those of `NodeDevices.matching`."""
        return self.devices.matching(wanted, self.pool)

    def may_run(self, workload: Workload) -> bool:
        """Tell whether the labels and taints of a node let the pods of `workload` run there."""
        if not any(self._selected(workload)):
            return False
        tolerations = [nodes.KWOK_TOLERATION, *TOLERATIONS_OF_EVERY_POD, *map(dict, workload.tolerations)]
        return not repelling(tolerations, map(dict, nodes.node_taints(self.pool)))

    def count_for(self, workload: Workload) -> int:
        """Return how many of the nodes the nodeSelector of `workload` selects."""
        return sum(self._selected(workload)) if workload.node_selector else len(self.names)

    def names_for(self, workload: Workload) -> list[str]:
        """Return the nodes that the nodeSelector of `workload` selects."""
        return [name for name, selected in zip(self.names, self._selected(workload), strict=True) if selected]

    def _selected(self, workload: Workload) -> Iterator[bool]:
        selector = nodes.NODE_TYPE.items() | workload.node_selector.items()
        return (selector <= labels for labels in self._labels)


def node_kinds(topology: Topology) -> list[NodeKind]:
    """Return the kinds of nodes, in the order of the pools.

    The nodes of a pool that can use the same devices are one kind, or one kind per node if an expression names an
    attribute that differs between them. Faults of devices are ignored: pods that already have such devices may keep
    them.
    """
    expressions = [text for entry in topology.device_classes for text in entry.selectors]
    expressions += [text for _, selection in selections(topology) for text in selection.expressions]
    shared: dict[str, NodeDevices] = {}
    fabrics = Fabrics(topology.fabric_pools)
    return [
        kind
        for pool in topology.node_pools
        for names in fabrics.groups(pool)
        for kind in _kinds(pool, names, fabrics.usable_on(pool, names[0]), expressions, shared)
    ]


def _kinds(
    pool: NodePool,
    names: list[str],
    of_fabrics: Sequence[DevicePool],
    expressions: Sequence[str],
    shared: dict[str, NodeDevices],
) -> list[NodeKind]:
    """Return the kinds of the nodes `names`, which can also use the devices `of_fabrics`."""
    sound = pool.model_copy(update={"faults": []})
    first, of_no_node = device_pools(sound, names[0]), device_pools(sound, NO_NODE)
    differing = _differing(first, of_no_node)
    if any(attribute in expression for attribute in differing for expression in expressions):
        return [NodeKind(pool, [name], NodeDevices([*device_pools(sound, name), *of_fabrics])) for name in names]
    devices = NodeDevices([*first, *of_fabrics])
    return [NodeKind(pool, names, shared.setdefault(repr([*of_no_node, *of_fabrics]), devices))]


def _differing(one: Sequence[DevicePool], other: Sequence[DevicePool]) -> set[str]:
    """Return the attributes, without their domain, that differ between the devices of two nodes, such as UUIDs."""
    pairs = zip(
        (device for pool in one for device in pool.devices),
        (device for pool in other for device in pool.devices),
        strict=True,
    )
    return {
        name.rpartition("/")[2]
        for device, counterpart in pairs
        for name, value in device.attributes.items()
        if value != counterpart.attributes[name]
    }
