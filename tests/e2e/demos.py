"""Demos of vendors: pods, their claims and DeviceClasses, and what comes of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Manifest = dict[str, Any]
Container = list[str] | dict[str, int]
"""The claims that a container uses, each with its request where it uses that alone, or its extended resources."""

NO_DEVICES = "cannot allocate all claims"
"""What the scheduler says of a pod for whose claims it finds no devices."""


@dataclass(frozen=True)
class Case:
    """Pods, the claims that they use and DeviceClasses by name, and what comes of them.

    `devices` is how many are allocated for each request, `distinct` how many different ones at most (default: all are),
    `pending` why the scheduler leaves a pod pending.
    """

    demo: str
    pods: Mapping[str, Sequence[Container]]
    templates: Mapping[str, Manifest] = field(default_factory=dict)
    claims: Mapping[str, Manifest] = field(default_factory=dict)
    classes: Mapping[str, Manifest] = field(default_factory=dict)
    devices: Mapping[str, int] = field(default_factory=dict)
    distinct: int | None = None
    pending: Mapping[str, str] = field(default_factory=dict)
    pool: str | None = None
    tolerates: str | None = None
    admin: bool = False


def exactly(name: str, device_class: str, *cel: str, **more: Any) -> Manifest:
    """Write a request; `more` are further fields of it."""
    return {"name": name, "exactly": subrequest(device_class, *cel, **more)}


def subrequest(device_class: str, *cel: str, **more: Any) -> Manifest:
    """Write what a request, or one of its alternatives, is about."""
    selectors = {"selectors": [{"cel": {"expression": expression}} for expression in cel]} if cel else {}
    return {"deviceClassName": device_class, **selectors, **more}


def claim(*requests: Manifest, match: str = "", differ: str = "", config: Sequence[Manifest] = ()) -> Manifest:
    """Write the specification of a claim; `match` and `differ` are attributes of all its devices."""
    constraints = [{"matchAttribute": match}] if match else [{"distinctAttribute": differ}] if differ else []
    devices = {"requests": list(requests), "constraints": constraints, "config": list(config)}
    return {"devices": {key: value for key, value in devices.items() if value}}


def opaque(request: str, driver: str, parameters: Manifest) -> Manifest:
    """Write what the driver is to do with the devices of a request, which only the driver understands."""
    return {"requests": [request], "opaque": {"driver": driver, "parameters": parameters}}


def taking(name: str, device_class: str, **capacity: str) -> Manifest:
    """Claim a part of a device that several share."""
    return claim(exactly(name, device_class, capacity={"requests": capacity}))
