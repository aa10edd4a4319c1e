"""What has changed since the last `make status`."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from topology.status.report import Report
from views import wording

COUNTED = ("nodes", "devices", "allocated", "free")

Numbers = dict[str, dict[str, int]]


def numbers(report: Report) -> Numbers:
    """Return the counts of each pool and its drivers, and of the claims of each workload by state."""
    counted = {
        f"pool {pool['name']}{driver and f', {driver}'}": {name: int(row[name]) for name in COUNTED if name in row}
        for pool in report.pools
        for driver, row in wording.rows(pool)
    }
    if isinstance(report.claims, dict):
        counts = {str(workload): dict(states) for workload, states in report.claims["counts"].items()}
    else:
        states = Counter((str(claim["workload"]), str(claim["state"])) for claim in report.claims)
        counts = {}
        for (workload, state), count in states.items():
            counts.setdefault(workload, {})[state] = count
    return counted | {f"claims of {workload}": states for workload, states in counts.items()}


def changes(before: Numbers, now: Numbers) -> Iterator[tuple[str, str]]:
    """Yield each pool or workload whose counts have changed, with the old and the new numbers."""
    for name in sorted(before.keys() | now.keys(), key=lambda name: (name not in before, name)):
        was, found = before.get(name, {}), now.get(name, {})
        keys = [key for key in {**was, **found} if was.get(key, 0) != found.get(key, 0)]
        if keys:
            yield name, ", ".join(f"{key} {was.get(key, 0)} → {found.get(key, 0)}" for key in keys)


def remembered(file: Path) -> Numbers:
    """Return the counts of the last time; empty if they are not known."""
    try:
        found: Numbers = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def remember(file: Path, counted: Numbers) -> None:
    """Save the counts for the next time."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(counted), encoding="utf-8")
