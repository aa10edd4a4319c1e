"""Fabric pools: which nodes can use their devices, and what is wrong with that."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from topology.checks.node_selection import reaches
from topology.kubernetes.feature_gates import FEATURES
from topology.objects import nodes
from topology.objects.inventory import DevicePool, device_pools
from topology.schema.base import Problem
from topology.schema.stack import FabricDevices, FabricPool, NodePool, Topology


def _using(fabric: FabricPool, devices: FabricDevices, pool: NodePool) -> Iterator[str]:
    """Yield the nodes of a pool that can use devices of a fabric pool."""
    selection = devices.selection or fabric.selection
    return (name for name in pool.node_names() if reaches(selection, nodes.node_labels(pool, name), name))


class Fabrics:
    """The devices of the fabric pools, as nodes see them; faults of devices are ignored."""

    def __init__(self, fabrics: Sequence[FabricPool]) -> None:
        """Render the devices of each pool once."""
        self._fabrics = fabrics
        self._pools = [
            (fabric, replace(pool, fabric=fabric.name))
            for fabric in fabrics
            for pool in device_pools(fabric.model_copy(update={"faults": []}), fabric.name)
        ]

    def groups(self, pool: NodePool) -> list[list[str]]:
        """Return the nodes of a pool, those together that can use the same devices."""
        using = [set(_using(fabric, devices, pool)) for fabric in self._fabrics for devices in fabric.devices]
        groups: dict[tuple[bool, ...], list[str]] = {}
        for name in pool.node_names():
            groups.setdefault(tuple(name in some for some in using), []).append(name)
        return list(groups.values())

    def usable_on(self, pool: NodePool, node: str) -> list[DevicePool]:
        """Return the devices that a node of `pool` can use, by their pool."""
        labels = nodes.node_labels(pool, node)
        found = []
        for fabric, devices in self._pools:
            usable = [
                replace(
                    physical,
                    devices=[
                        one for one in physical.devices if reaches(one.selection or fabric.selection, labels, node)
                    ],
                )
                for physical in devices.physical_devices
            ]
            found.append(replace(devices, physical_devices=usable))
        return found


def fabric_pool_problems(topology: Topology) -> Iterator[Problem]:
    """Yield the fabric pools whose name is that of a node, and devices that the API server refuses for some nodes."""
    pools = {name: pool.name for pool in topology.node_pools for name in pool.node_names()}
    for index, fabric in enumerate(topology.fabric_pools):
        path = f"fabricPools[{index}]"
        if fabric.name in pools:
            yield Problem(
                f"{path}.name",
                f"{fabric.name!r} is also a node of pool {pools[fabric.name]}, whose devices are in a pool of that "
                "name: choose another name",
            )
        for place, devices in enumerate(fabric.devices):
            if devices.model.node_allocatable_resources:
                yield from _undeclared(fabric, devices, f"{path}.devices[{place}]", topology)


def _undeclared(fabric: FabricPool, devices: FabricDevices, path: str, topology: Topology) -> Iterator[Problem]:
    gate = FEATURES["node allocatable resources"].gate
    for pool in topology.node_pools:
        if gate not in nodes.declared_features(pool) and any(_using(fabric, devices, pool)):
            yield Problem(
                path,
                f"has nodeAllocatableResources, but nodes of pool {pool.name}, which can use the devices, do not "
                f"declare {gate}, and the API server refuses such devices: add it to the pool's declaredFeatures",
            )


def unusable_devices(topology: Topology) -> Iterator[str]:
    """Yield a warning about each fabric pool with devices that no node of the stack can use."""
    for fabric in topology.fabric_pools:
        unused = sum(
            devices.count
            for devices in fabric.devices
            if not any(any(_using(fabric, devices, pool)) for pool in topology.node_pools)
        )
        if unused:
            yield (
                f"no node of kwok-dra:nodePools can use {unused} devices of fabric pool {fabric.name}: none has all "
                "labels of nodeSelector, or the name in nodeName"
            )
