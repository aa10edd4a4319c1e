"""The changes since the last `make status`."""

from pathlib import Path
from typing import Any

import pytest

from topology.status.report import Report
from views import changes

POOL = {"name": "h100", "nodes": 2, "devices": 16, "allocated": 6, "free": 10}


def claim(workload: str, state: str) -> dict[str, Any]:
    """Return the fields of a claim that are counted."""
    return {"workload": workload, "state": state}


def report(claims: Any, *pools: dict[str, Any]) -> Report:
    """Return a report of claims and pools."""
    return Report(claims, list(pools), [], "", [])


CLAIMS = [*[claim("a", "allocated,reserved")] * 2, claim("a", "pending"), claim("b", "pending")]
COUNTS = {"counts": {"a": {"allocated,reserved": 2, "pending": 1}, "b": {"pending": 1}}, "unsatisfied": []}


@pytest.mark.parametrize("claims", [CLAIMS, COUNTS], ids=["claims", "counts of many claims"])
def test_numbers(claims: Any) -> None:
    assert changes.numbers(report(claims, POOL)) == {
        "pool h100": {"nodes": 2, "devices": 16, "allocated": 6, "free": 10},
        "claims of a": {"allocated,reserved": 2, "pending": 1},
        "claims of b": {"pending": 1},
    }


def test_changes() -> None:
    before = changes.numbers(report(CLAIMS, POOL))
    later = POOL | {"nodes": 3, "devices": 24, "free": 18}
    now = changes.numbers(report([*CLAIMS[:2], claim("c", "pending")], later))
    assert list(changes.changes(before, now)) == [
        ("claims of a", "pending 1 → 0"),
        ("claims of b", "pending 1 → 0"),
        ("pool h100", "nodes 2 → 3, devices 16 → 24, free 10 → 18"),
        ("claims of c", "pending 0 → 1"),
    ]


def test_each_driver_of_a_pool_is_counted() -> None:
    drivers = {"dra.net": {"devices": 8, "allocated": 0, "free": 8, "left": {"h100-0/nic-0": {"vfs": "9"}}}}
    found = changes.numbers(report([], POOL | {"drivers": drivers}))
    assert found == {
        "pool h100": {"nodes": 2, "devices": 16, "allocated": 6, "free": 10},
        "pool h100, dra.net": {"devices": 8, "allocated": 0, "free": 8},
    }


def test_no_changes() -> None:
    counted = changes.numbers(report(CLAIMS, POOL))
    assert list(changes.changes(counted, counted)) == []


def test_numbers_are_remembered(tmp_path: Path) -> None:
    file = tmp_path / "state" / "dev.status.json"
    assert changes.remembered(file) == {}
    changes.remember(file, changes.numbers(report(CLAIMS, POOL)))
    assert changes.remembered(file) == changes.numbers(report(CLAIMS, POOL))
    file.write_text("garbage")
    assert changes.remembered(file) == {}
