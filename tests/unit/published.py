"""What the driver of a node publishes for the devices of a pool, as the program renders it."""

from typing import Any

from topology.checks.validation import load
from topology.objects import nodes
from topology.objects.slices import resource_slices

Manifest = dict[str, Any]

UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def pool_of(**pool: Any) -> Any:
    return load({"cluster": {"name": "c"}, "nodePools": [{"name": "n", "nodes": 1, **pool}]})


def slices(**pool: Any) -> list[Manifest]:
    return resource_slices(pool_of(**pool).node_pools[0], "n-0")


def devices(driver: str, **pool: Any) -> list[Manifest]:
    found = [entry for entry in slices(**pool) if entry["spec"]["driver"] == driver]
    return [device for entry in found for device in entry["spec"].get("devices", [])]


def names(found: list[Manifest]) -> list[str]:
    return [device["name"] for device in found]


def values(device: Manifest, attribute: str) -> Any:
    ((_, value),) = device["attributes"][attribute].items()
    return value


def capacity(device: Manifest) -> Manifest:
    return {name: entry["value"] for name, entry in device["capacity"].items()}


def node(**pool: Any) -> Manifest:
    return nodes.node(pool_of(**pool).node_pools[0], "n-0")


def typed(**kinds: Manifest) -> Manifest:
    """Return attributes as a ResourceSlice has them, from their values by type: `typed(int={"index": 0})`."""
    return {name: {kind: value} for kind, found in kinds.items() for name, value in found.items()}


def shared(amount: str, default: str, least: str, step: str) -> Manifest:
    """Return a capacity of which claims request some, at least `least` and at most all of it."""
    policy = {"default": default, "validRange": {"min": least, "max": amount, "step": step}}
    return {"value": amount, "requestPolicy": policy}
