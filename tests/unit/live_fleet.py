"""Live objects of a whole fleet, as kubectl prints them: what the program renders, and claims that hold some of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from topology.checks.validation import load
from topology.objects.nodes import node
from topology.objects.slices import resource_slices
from topology.schema.stack import Topology

Object = dict[str, Any]
DRIVER = "gpu.nvidia.com"


def topology(*pools: Object, workloads: Sequence[str] = ("training",), device_class: str = DRIVER) -> Topology:
    """Return a stack with these pools and workloads."""
    claims = [{"name": "c", "requests": [{"name": "gpu", "deviceClass": device_class}]}]
    asking = [{"name": name, "claims": claims} for name in workloads]
    return load({"cluster": {"name": "fleet"}, "nodePools": list(pools), "workloads": asking})


def objects(described: Topology) -> list[Object]:
    """Return the nodes and the slices of all pools."""
    found: list[Object] = []
    for pool in described.node_pools:
        for name in pool.node_names():
            found += [node(pool, name), *resource_slices(pool, name)]
    for fabric in described.fabric_pools:
        found += resource_slices(fabric, fabric.name)
    return found


def result(pool: str, device: str, driver: str = DRIVER, **more: object) -> Object:
    """Return an allocated device."""
    return {"request": "gpu", "driver": driver, "pool": pool, "device": device, **more}


def claimed(workload: str, *results: Object, name: str = "x", reason: str = "no place") -> list[Object]:
    """Return a pod of `workload` with its claim: running where there are `results`, else pending for the `reason`."""
    condition = {"type": "PodScheduled", "status": "False", "message": reason}
    status: Object = {"phase": "Running"} if results else {"phase": "Pending", "conditions": [condition]}
    status["resourceClaimStatuses"] = [{"name": "c", "resourceClaimName": f"{workload}-{name}-c"}]
    spec = {"resourceClaims": [{"name": "c", "resourceClaimTemplateName": "t"}], "containers": []}
    placed = {"nodeName": results[0]["pool"]} if results else {}
    owners = [{"kind": "Deployment", "name": workload}]
    pod = live("Pod", f"{workload}-{name}", spec | placed, status, ownerReferences=owners)
    return [pod, claim(f"{workload}-{name}-c", *results)]


def claim(name: str, *results: Object, **metadata: object) -> Object:
    """Return a claim, allocated if it has `results`."""
    allocated = {"allocation": {"devices": {"results": list(results)}}, "reservedFor": [{"name": "p"}]}
    return live("ResourceClaim", name, {}, allocated if results else {}, **metadata)


def live(kind: str, name: str, spec: Mapping[str, Any], status: Mapping[str, Any], **metadata: object) -> Object:
    """Return an object of the default namespace."""
    named = {"name": name, "namespace": "default", "uid": f"uid of {name}"}
    return {"kind": kind, "metadata": named | metadata, "spec": dict(spec), "status": dict(status)}
