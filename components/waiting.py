"""Waits until workloads stand as expected, and prints what there is; run as a program.

Environment: KWOK_DRA_EXPECTED, a JSON list of `Expected`; KWOK_DRA_UNFIT, an `Unfit` in JSON, where there are faults;
KWOK_DRA_KINDS, what to print in the end (nothing, if empty); KWOK_DRA_NOT_READY, a JSON list of the nodes that are to
be printed as not ready; and whatever kubectl needs. What it waits for goes to stderr, whenever that changes. It is no
error if the time is up: who reads the objects will see. With KWOK_DRA_STRICT it is, and stderr has nothing but which
workload does not stand as expected, and why.
"""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from topology import snapshot
from topology.progress import (
    Expected,
    Live,
    Standing,
    Unfit,
    is_not_ready,
    is_refused,
    kinds,
    reasons,
    refusal,
    standing,
    unmet,
)

UNREACHABLE = "unreachable"
UNANSWERED = "the cluster does not answer"
WORKLOADS_TOLD_MAX = 3
FEWEST_SECONDS_BETWEEN_READS = 0.1
LONG_READ_SECONDS = 1
NODES_SECONDS = 30


def main() -> int:
    """Wait, then print."""
    expected = [Expected.from_json(entry) for entry in json.loads(os.environ["KWOK_DRA_EXPECTED"])]
    unfit = Unfit(*json.loads(os.environ.get("KWOK_DRA_UNFIT", "[]")))
    strict = bool(os.environ.get("KWOK_DRA_STRICT"))
    begin = time.monotonic()
    late: list[str] = []
    if printed := os.environ.get("KWOK_DRA_KINDS"):
        objects = read_with_nodes(printed.split(","), json.loads(os.environ.get("KWOK_DRA_NOT_READY", "null")))
        while objects is not None and not late and _not_as_expected(expected, unfit, Live(objects)):
            # What was waited for may be gone again, and others are to come in its place.
            late = wait(expected, unfit, begin, quiet=strict)
            objects = snapshot.read(printed.split(","))
        sys.stdout.write(UNREACHABLE if objects is None else json.dumps({"items": objects}))
    else:
        late = wait(expected, unfit, begin, quiet=strict)
    if late and strict:
        print("\n".join([*late, "what comes after it is not made"]), file=sys.stderr)
        return 1
    return 0


def wait(expected: list[Expected], unfit: Unfit, begin: float, *, quiet: bool) -> list[str]:
    """Return what does not stand as expected when its time, since `begin`, is up, and why."""
    late: list[str] = []
    told = ""
    while expected:
        asked = time.monotonic()
        objects = snapshot.read(kinds(maker for entry in expected for maker in entry.makers))
        live = Live(objects or [])
        found = _not_as_expected(expected, unfit, live)
        for entry in [entry for entry in found if asked - begin > entry.seconds or objects is None]:
            stands = found.pop(entry)
            late += [f"workload {entry.workload}: {UNANSWERED}"] if objects is None else _late(entry, stands, live)
        expected = list(found)
        if expected:
            if not quiet and told != (told := _awaited(found)):
                print(told, file=sys.stderr, flush=True)
            # Reading many pods takes a while; the API server has better to do.
            seconds = time.monotonic() - asked
            time.sleep(2 * seconds if seconds > LONG_READ_SECONDS else FEWEST_SECONDS_BETWEEN_READS)
    return late


def read_with_nodes(printed: Sequence[str], not_ready: list[str] | None) -> list[Any] | None:
    """Read the objects when just the given nodes are not ready: KWOK gets to know of a change like everybody else.

    It ends without that after a while; None stands for whatever there is.
    """
    end = time.monotonic() + NODES_SECONDS
    while (objects := snapshot.read(printed)) and not_ready is not None and not _stand(objects, not_ready):
        if time.monotonic() > end:
            break
        time.sleep(FEWEST_SECONDS_BETWEEN_READS)
    return objects


def _stand(objects: Sequence[Any], not_ready: list[str]) -> bool:
    nodes = [entry for entry in objects if entry["kind"] == "Node"]
    return all(is_not_ready(node) == (node["metadata"]["name"] in not_ready) for node in nodes)


def _not_as_expected(expected: Sequence[Expected], unfit: Unfit, live: Live) -> dict[Expected, Standing]:
    found = {entry: standing(entry, live, unfit) for entry in expected}
    return {entry: stands for entry, stands in found.items() if not stands.meets(entry)}


def _late(expected: Expected, found: Standing, live: Live) -> list[str]:
    pods = live.pods_of(expected.makers)
    refused = [(pod["metadata"]["name"], refusal(pod)) for pod in pods if is_refused(pod)]
    return [*unmet(expected, found, live), *reasons(refused)]


def _awaited(found: Mapping[Expected, Standing]) -> str:
    lines = [
        f"{entry.workload} ({stands.allocated} claims are allocated and {stands.pending} pending, "
        f"to be {'all' if entry.allocated is None else entry.allocated} and {entry.pending})"
        for entry, stands in list(found.items())[:WORKLOADS_TOLD_MAX]
    ]
    more = len(found) - len(lines)
    return f"waiting for {', '.join(lines)}{f' and {more} more' if more else ''}"


if __name__ == "__main__":
    sys.exit(main())
