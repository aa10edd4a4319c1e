"""Random drivers: they publish devices in different ways, with identities of all kinds and scopes."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from hypothesis import strategies as st

Object = dict[str, Any]

SCOPES = ("device", "node", "pair", "all")
"""What an identity is of: a device, its node, two nodes, or all nodes."""


def _digest(*names: object) -> str:
    return hashlib.sha256("/".join(map(str, names)).encode()).hexdigest()


def _uuid(*names: object) -> str:
    digits = _digest(*names)
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32]))


def _letters(*names: object) -> str:
    return f"nn-{_digest(*names)[:16]}9751"


def _serial(*names: object) -> str:
    return f"SN{int(_digest(*names)[:12], 16):015}"


FORMS = {"uuid": _uuid, "letters": _letters, "serial": _serial}


class Identity(NamedTuple):
    """An attribute of each device that is an identity."""

    name: str
    form: str
    scope: str

    def of(self, node: int, device: int) -> str:
        """Return the value on a device."""
        scopes: Mapping[str, tuple[object, ...]] = {
            "device": (node, device),
            "node": (node,),
            "pair": (node // 2,),
            "all": (),
        }
        return FORMS[self.form](self.name, *scopes[self.scope])


class Driver(NamedTuple):
    """A driver, and what it publishes on each node."""

    name: str
    kind: str
    numbers: Sequence[int]
    """The numbers of its devices, which may have gaps."""
    identities: Sequence[Identity]
    build: str
    """A version of four numbers."""

    @property
    def device_class(self) -> str:
        """The name of its DeviceClass."""
        return f"class-of-{self.kind}-8"

    def devices(self, node: int, name: str) -> list[Object]:
        """Return what it publishes for the physical devices of a node."""
        return [device for number in self.numbers for device in KINDS[self.kind](self, node, name, number)]

    def attributes(self, node: int, number: int) -> Object:
        """Return the attributes that all devices have."""
        own = {one.name: {"string": one.of(node, number)} for one in self.identities}
        return own | {
            "model": {"string": f"Model {self.kind.upper()}-{len(self.numbers)}"},
            "index": {"int": number},
            "firmwareVersion": {"string": self.build},
            "driverVersion": {"version": "580.1.2"},
        }


def _address(number: int) -> str:
    return f"0000:{16 + 8 * number:02x}:00.0"


def _places(number: int) -> Object:
    return {
        "resource.kubernetes.io/pciBusID": {"string": _address(number)},
        "resource.kubernetes.io/pcieRoot": {"string": f"pci0000:{15 + 8 * number:02x}"},
        "resource.kubernetes.io/numaNode": {"int": number // 2},
    }


def _whole(driver: Driver, node: int, name: str, number: int) -> Iterator[Object]:
    attributes = driver.attributes(node, number) | {"uuid": {"string": f"GPU-{_uuid(driver.name, node, number)}"}}
    capacity = {"memory": {"value": "80Gi"}}
    yield {"name": f"gpu-{number}", "attributes": attributes | _places(number), "capacity": capacity}


def _parts(driver: Driver, node: int, name: str, number: int) -> Iterator[Object]:
    parent = f"GPU-{_uuid(driver.name, node, number)}"
    for part, share in (("whole", "40Gi"), ("half-0", "20Gi"), ("half-1", "20Gi")):
        own = {"uuid": {"string": parent if part == "whole" else f"MIG-{_uuid(driver.name, node, number, part)}"}}
        yield {
            "name": f"gpu-{number}-{part}",
            "attributes": driver.attributes(node, number) | own | {"parentUUID": {"string": parent}},
            "capacity": {"memory": {"value": share}},
            "consumesCounters": [{"counterSet": f"set-{number}", "counters": {"memory": {"value": share}}}],
        }


def _nic(driver: Driver, node: int, name: str, number: int) -> Iterator[Object]:
    mac = ":".join(_digest(driver.name, node, number)[place : place + 2] for place in range(0, 12, 2))
    own = {
        "ifName": {"string": f"rdma{number}"},
        "mac": {"string": mac},
        "ipv4": {"string": f"10.{node}.{number}.9/24"},
        "host": {"string": name},
        "rdma": {"bool": True},
    }
    yield {
        "name": "pci-" + _address(number).replace(":", "-").replace(".", "-"),
        "attributes": driver.attributes(node, number) | own | _places(number),
    }


def _siblings(driver: Driver, node: int, name: str, number: int) -> Iterator[Object]:
    common = driver.attributes(node, number) | _places(number) | {"uuid": {"string": _uuid(driver.name, node, number)}}
    for kind in ("gpu", "vfio"):
        yield {"name": f"{kind}-{number}", "attributes": common | {"type": {"string": kind}}}


def _shared(driver: Driver, node: int, name: str, number: int) -> Iterator[Object]:
    policy = {"default": "100", "validRange": {"min": "1", "step": "1"}}
    yield {
        "name": f"dev{number:03}",
        "attributes": driver.attributes(node, number),
        "capacity": {"cores": {"value": "100", "requestPolicy": policy}, "slices": {"value": "4"}},
        "allowMultipleAllocations": True,
    }


def _listed(driver: Driver, node: int, name: str, number: int) -> Iterator[Object]:
    roots = {"resource.kubernetes.io/pcieRoot": {"strings": [f"pci0000:{place:02x}" for place in (0, number + 1)]}}
    core = {"coreID": {"int": number // 2}, "threads": {"ints": [number, number + 8]}}
    yield {"name": f"cpudev{number:03}", "attributes": driver.attributes(node, number) | roots | core}


def _named(driver: Driver, node: int, name: str, number: int) -> Iterator[Object]:
    """Yield a device whose name is its UUID."""
    uuid = _uuid(driver.name, node, number)
    yield {"name": f"dev-{uuid}", "attributes": driver.attributes(node, number) | {"uuid": {"string": uuid}}}


KINDS = {
    "whole": _whole,
    "parts": _parts,
    "nic": _nic,
    "siblings": _siblings,
    "shared": _shared,
    "listed": _listed,
    "named": _named,
}

_names = st.sampled_from(
    ["rackId", "boardId", "placementGroupId", "sid", "serialNumber", "blockId", "corp.example/island", "groupId"]
)
_identities = st.lists(
    st.builds(Identity, _names, st.sampled_from(sorted(FORMS)), st.sampled_from(SCOPES)),
    max_size=3,
    unique_by=lambda one: one.name,
)
_numbers = st.lists(st.integers(0, 5), min_size=1, max_size=4, unique=True).map(sorted)
_builds = st.tuples(*[st.integers(0, 30)] * 4).map(lambda parts: ".".join(map(str, parts)))


@st.composite
def drivers(draw: st.DrawFn, kind: str) -> list[Driver]:
    """Return a driver of a kind, and perhaps one of another kind."""
    others = st.sampled_from(sorted(KINDS.keys() - {kind}))
    kinds = [kind, *draw(st.lists(others, max_size=1))]
    return [Driver(f"{one}.example.org", one, draw(_numbers), draw(_identities), draw(_builds)) for one in kinds]
