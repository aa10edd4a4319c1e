"""Faults of a pool that would have no effect, or that the API server would refuse."""

from collections.abc import Iterator

from topology.kubernetes import limits
from topology.objects.inventory import device_pools
from topology.schema.base import Problem
from topology.schema.faults import Fault
from topology.schema.stack import Cluster, NodePool, Pool


def fault_problems(pool: Pool, path: str, cluster: Cluster) -> Iterator[Problem]:
    """Yield the faults of the pool at `path` that would have no effect."""
    for index, fault in enumerate(pool.faults):
        key = f"{path}.faults[{index}]"
        if fault.not_ready and (lack := missing_for_stages(cluster)):
            yield Problem(f"{key}.notReady", f"needs {lack} the fault")
        if fault.attach_fails:
            yield from _attach_fails(pool, f"{key}.attachFails")
        if fault.driver not in (None, *pool.drivers):
            drivers = ", ".join(pool.drivers) or "none"
            yield Problem(f"{key}.driver", f"the pool has no device of {fault.driver}; its drivers: {drivers}")
        if isinstance(pool, NodePool):
            yield from _unknown_nodes(fault, pool, key)
        elif fault.not_ready or fault.nodes is not None:
            yield Problem(key, "is about nodes, and a fabric pool has none: use taint, gone or attachFails of devices")


def _unknown_nodes(fault: Fault, pool: NodePool, path: str) -> Iterator[Problem]:
    for node in fault.nodes or []:
        if node >= pool.nodes:
            yield Problem(f"{path}.nodes", f"there is no node {node}: the pool has {numbered('node', pool.nodes)}")


def missing_for_stages(cluster: Cluster) -> str:
    """Return what KWOK needs to play the program's own Stages and what to do, up to `remove`; empty if it plays them.

    The Stages of claims would apply to all claims of a cluster, including real ones.
    """
    if cluster.existing:
        return (
            "a cluster that the stack creates, where KWOK plays the stack's Stages, but the cluster is existing: remove"
        )
    if cluster.runtime == "binary":
        return ""
    return f"cluster.runtime: binary, but it is {cluster.runtime}: set it to binary, or remove"


def numbered(what: str, count: int) -> str:
    """Name `count` numbered things: `nodes 0 to 3`, `only node 0`, `no nodes`."""
    return f"{what}s 0 to {count - 1}" if count > 1 else f"only {what} 0" if count else f"no {what}s"


def _attach_fails(pool: Pool, path: str) -> Iterator[Problem]:
    models = [devices.model for devices in pool.all_devices()]
    most = limits.BINDING_FAILURE_CONDITIONS_MAX
    if not any(model.binding_conditions for model in models):
        yield Problem(path, "applies to devices with bindingConditions, but the pool has none: remove the fault")
    elif any(len(model.binding_failure_conditions) == most for model in models):
        yield Problem(
            path, f"adds a condition to bindingFailureConditions; the Kubernetes API allows at most {most}: remove one"
        )


def too_many_taints(pool: Pool, path: str) -> Iterator[Problem]:
    """Yield the first device to which the faults give more taints than the API allows."""
    most = limits.DEVICE_TAINTS_MAX
    if sum(fault.taint is not None for fault in pool.faults) <= most:
        return
    for name in pool.pool_names():
        for device in (device for devices in device_pools(pool, name) for device in devices.devices):
            if len(device.taints) > most:
                yield Problem(
                    f"{path}.faults",
                    f"give device {device.name} of {name} {len(device.taints)} taints; the Kubernetes API "
                    f"allows at most {most} per device: remove some",
                )
                return
