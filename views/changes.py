"""What is different from the last time that somebody looked."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from topology.status.report import Report

COUNTED = ("nodes", "devices", "allocated", "free")

Numbers = dict[str, dict[str, int]]


def numbers(report: Report) -> Numbers:
    """Return what is counted of each pool, and of the claims of each workload by state."""
    counted = {f"pool {pool['name']}": {name: int(pool[name]) for name in COUNTED} for pool in report.pools}
    if isinstance(report.claims, dict):
        counts = {str(workload): dict(states) for workload, states in report.claims["counts"].items()}
    else:
        states = Counter((str(claim["workload"]), str(claim["state"])) for claim in report.claims)
        counts = {}
        for (workload, state), count in states.items():
            counts.setdefault(workload, {})[state] = count
    return counted | {f"claims of {workload}": states for workload, states in counts.items()}


def changes(before: Numbers, now: Numbers) -> Iterator[tuple[str, str]]:
    """Yield what is counted differently now: of what, and each number as it was and as it is."""
    for name in sorted(before.keys() | now.keys(), key=lambda name: (name not in before, name)):
        was, found = before.get(name, {}), now.get(name, {})
        keys = [key for key in {**was, **found} if was.get(key, 0) != found.get(key, 0)]
        if keys:
            yield name, ", ".join(f"{key} {was.get(key, 0)} → {found.get(key, 0)}" for key in keys)


def remembered(file: Path) -> Numbers:
    """Return what was counted the last time; nothing where that is not known."""
    try:
        found: Numbers = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def remember(file: Path, counted: Numbers) -> None:
    """Write down what was counted, for the next time."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(counted), encoding="utf-8")
