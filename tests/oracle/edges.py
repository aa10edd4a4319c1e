"""Small stacks at the edges of the allocator's rules, each of which somebody once got wrong."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tests.oracle.stacks import ADMIN, CLASSES, DRIVERS, WORN, Configuration

DRIVER = DRIVERS[0]
NUMA = f"{DRIVER}/numa"


class Edge(NamedTuple):
    """A stack, and which of its workloads an empty node can serve."""

    stack: Configuration
    served: Mapping[str, bool]


def _devices(count: int, **model: Any) -> Configuration:
    attributes = {"numa": {"int": 0}, "index": {"int": "{index}"}}
    kept = {"driver": DRIVER, "deviceName": "dev-{index}", "attributes": attributes, "capacity": {"memory": "8Gi"}}
    return {"count": count, "model": kept | model}


def _pool(count: int = 1, **model: Any) -> Configuration:
    return {"name": "pa", "devices": [_devices(count, **model)]}


def _cut(**model: Any) -> Configuration:
    sizes = {"whole": "8Gi", "half-0": "4Gi", "half-1": "4Gi"}
    parts = [
        {"deviceName": f"cut-{{index}}-{name}", "capacity": {"memory": size}, "consumesCounters": {"memory": size}}
        for name, size in sizes.items()
    ]
    return _pool(counterSet="cut-{index}", counters={"memory": "8Gi"}, partitions=parts, capacity={}, **model)


def _request(name: str, **more: Any) -> Configuration:
    return {"name": name, "deviceClass": DRIVER} | more


def _either(name: str, **alternatives: Configuration) -> Configuration:
    return {"name": name, "firstAvailable": [_request(one, **more) for one, more in alternatives.items()]}


def _admin(name: str) -> Configuration:
    return _request(name, adminAccess=True)


def _claim(*requests: Configuration, **constraint: Any) -> Configuration:
    return {"name": "c", "requests": list(requests), "constraints": [constraint] if constraint else []}


def _edge(
    pool: Configuration,
    *claims: Configuration,
    served: Sequence[bool],
    beside: Sequence[Any] = (),
    fabrics: Sequence[Any] = (),
) -> Edge:
    workloads = [
        {"name": f"w{'ab'[place]}", "kind": "Pod", "replicas": 1, "claims": [claim]}
        | ({"namespace": ADMIN} if any("adminAccess" in request for request in claim["requests"]) else {})
        for place, claim in enumerate(claims)
    ]
    stack = {
        "cluster": {"name": "edge"},
        "deviceClasses": CLASSES,
        "nodePools": [pool, *beside],
        "fabricPools": list(fabrics),
        "claims": [],
        "workloads": workloads,
    }
    names = [str(entry["name"]) for entry in workloads]
    return Edge(stack, dict(zip(names, served, strict=True)))


_shared: Configuration = {"allowMultipleAllocations": True}
_a_bit: Configuration = {"capacity": {"memory": "1Gi"}}
_all: Configuration = {"allocationMode": "All"}

EDGES = {
    "a request gets a shared device once": _edge(
        _pool(**_shared), _claim(_request("r0", count=2, **_a_bit)), served=[False]
    ),
    "two requests may get the same shared device": _edge(
        _pool(**_shared), _claim(_request("r0", **_a_bit), _request("r1", **_a_bit)), served=[True]
    ),
    "all shared partitions are too many for their counters": _edge(
        _cut(**_shared), _claim(_request("r0", **_all)), served=[False]
    ),
    "all as an alternative, one of which has a taint": _edge(
        {
            **_pool(),
            "devices": [_devices(2), _devices(1, driver=DRIVERS[1])],
            "faults": [{"taint": {"key": WORN}, "devices": ["dev-1"]}],
        },
        _claim(_either("r0", x={"deviceClass": DRIVERS[1]}, y=_all), distinctAttribute=f"{DRIVER}/index"),
        served=[False],
    ),
    "a claim gets a device with admin access once": _edge(_pool(), _claim(_admin("r0"), _admin("r1")), served=[False]),
    "a device with admin access is not for another request": _edge(
        _pool(), _claim(_admin("r0"), _request("r1")), served=[False]
    ),
    "a constraint on devices with admin access": _edge(
        _pool(2), _claim(_admin("r0"), _admin("r1"), distinctAttribute=NUMA), served=[False]
    ),
    "admin access to a shared device that is used up": _edge(
        _pool(**_shared), _claim(_request("r0")), _claim(_admin("r1")), served=[True, True]
    ),
    "admin access to partitions without counters": _edge(
        _cut(),
        _claim(
            _request("r0", count=2, selectors=[f"device.capacity['{DRIVER}'].memory.compareTo(quantity('4Gi')) >= 0"])
        ),
        _claim(_admin("r1")),
        served=[True, True],
    ),
    "the scheduler stops where a constraint excludes one of all devices": _edge(
        {**_pool(), "devices": [_devices(1), _devices(1, attributes={"numa": {"int": 1}})]},
        _claim(_request("r0", **_all), matchAttribute=NUMA),
        served=[False],
        beside=[_pool() | {"name": "pb"}],
    ),
    "devices of a fabric are beside those of a node, and of other nodes": _edge(
        _pool(),
        _claim(_request("r0", count=2)),
        _claim(_request("r0", count=3)),
        served=[True, False],
        beside=[_pool() | {"name": "pb", "labels": {"zone": "b"}}],
        fabrics=[
            {"name": "every", "allNodes": True, "devices": [_devices(1)]},
            {"name": "none", "nodeSelector": {"zone": "c"}, "devices": [_devices(1)]},
        ],
    ),
    "a constraint on one alternative": _edge(
        _pool(2),
        _claim(_either("r0", x={"count": 3}, y={"count": 2}), distinctAttribute=NUMA, requests=["r0/x"]),
        served=[True],
    ),
}
