"""How both views word the contents of a report."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any


def devices_by_request(devices: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return each request with its devices, consecutive numbers merged: `gpu-0 to gpu-7`."""
    by_request: dict[str, list[str]] = {}
    for device in devices:
        by_request.setdefault(device["request"], []).append(_with_marks(device))
    return [(request, ", ".join(_runs(names))) for request, names in by_request.items()]


def _with_marks(device: Mapping[str, Any]) -> str:
    marks = [", ".join(device["taints"])] if device.get("taints") else []
    marks += ["gone"] if device.get("gone") else []
    marks += ["admin access"] if device.get("adminAccess") else []
    marks += [f"{name} {amount}" for name, amount in sorted((device.get("consumedCapacity") or {}).items())]
    return f"{device['device']} ({', '.join(marks)})" if marks else str(device["device"])


def _runs(names: Iterable[str]) -> list[str]:
    """Merge three or more names that end in consecutive numbers."""
    found = {name: re.fullmatch(r"(.*?)(0|[1-9][0-9]{0,8})", name) for name in names}
    numbered = sorted((match[1], int(match[2])) for match in found.values() if match)
    told = []
    for _, run in groupby(enumerate(numbered), key=lambda entry: (entry[1][0], entry[1][1] - entry[0])):
        together = [f"{prefix}{number}" for _, (prefix, number) in run]
        told += [f"{together[0]} to {together[-1]}"] if len(together) > 2 else together
    return told + [name for name, match in found.items() if not match]


def rows(pool: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the counts of a pool, under an empty name, and those of each driver of a pool with several."""
    yield "", pool
    yield from pool.get("drivers", {}).items()


def left(row: Mapping[str, Any]) -> list[str]:
    """Return what is left of each shared device that a row lists, and how many more such devices there are."""
    told = [f"{device}: {amounts(capacity)}" for device, capacity in row.get("left", {}).items()]
    return [*told, f"{row['leftNotListed']} more"] if "leftNotListed" in row else told


def amounts(capacity: Mapping[str, str]) -> str:
    """Return the capacity that is left of a shared device; nothing limits a device without capacity."""
    return ", ".join(f"{name} {amount}" for name, amount in sorted(capacity.items())) or "no limit"


def fits(row: Mapping[str, Any]) -> str:
    """Return how many devices of each kind still fit on a pool's partitionable GPUs."""
    return ", ".join(f"{kind}: {count}" for kind, count in row.get("fits", {}).items())


def reasons(claims: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, list[str]]]:
    """Return the workload, the reason and the pods of pending claims, each reason once per workload."""
    found: dict[tuple[str, str], list[str]] = {}
    for claim in claims:
        if "reason" in claim:
            found.setdefault((claim["workload"], claim["reason"]), []).append(claim["pod"])
    return [(workload, reason, list(dict.fromkeys(pods))) for (workload, reason), pods in found.items()]


def first(names: Sequence[str], count: int) -> str:
    """Return at most `count` of the names, and whether there are more."""
    return ", ".join(names[:count]) + (" …" if len(names) > count else "")


def listed(claims: list[dict[str, Any]] | dict[str, Any]) -> list[dict[str, Any]]:
    """Return the claims that a report lists individually."""
    unsatisfied: list[dict[str, Any]] = claims["unsatisfied"] if isinstance(claims, dict) else claims
    return unsatisfied
