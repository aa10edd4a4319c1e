"""Waits until workloads stand as expected, and prints what there is; run as a program.

Environment: KWOK_DRA_EXPECTED, a JSON list of `Expected`; KWOK_DRA_UNFIT, an `Unfit` in JSON, where there are faults;
KWOK_DRA_KINDS, what to print in the end, as kubectl names it (nothing, if empty); KWOK_DRA_NOT_READY, a JSON list of
the nodes that are to be printed as not ready; and whatever kubectl needs. What it waits for goes to stderr, whenever
that changes. It is no error if the time is up: who reads the objects will see. With KWOK_DRA_STRICT it is, and stderr
has nothing but which workload does not stand as expected, and why.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from topology.progress import (
    KINDS,
    Expected,
    Standing,
    Unfit,
    is_not_ready,
    is_refused,
    pods_of,
    reasons,
    refusal,
    standing,
    unmet,
)

UNREACHABLE = "unreachable"
UNANSWERED = "the cluster does not answer"
WORKLOADS_TOLD_MAX = 3
FEWEST_SECONDS_BETWEEN_READS = 0.2
NODES_SECONDS = 30


def main() -> int:
    """Wait, then print."""
    expected = [Expected(*entry) for entry in json.loads(os.environ["KWOK_DRA_EXPECTED"])]
    strict = bool(os.environ.get("KWOK_DRA_STRICT"))
    late = wait(expected, Unfit(*json.loads(os.environ.get("KWOK_DRA_UNFIT", "[]"))), quiet=strict)
    if kinds := os.environ.get("KWOK_DRA_KINDS"):
        sys.stdout.write(
            read_with_nodes(kinds, json.loads(os.environ.get("KWOK_DRA_NOT_READY", "null"))) or UNREACHABLE
        )
    if late and strict:
        print("\n".join([*late, "what comes after it is not made"]), file=sys.stderr)
        return 1
    return 0


def wait(expected: list[Expected], unfit: Unfit, *, quiet: bool) -> list[str]:
    """Return what does not stand as expected when its time is up, and why."""
    begin = time.monotonic()
    late: list[str] = []
    told = ""
    while expected:
        asked = time.monotonic()
        text = read(KINDS)
        objects: list[Any] = json.loads(text)["items"] if text else []
        found = {entry: standing(entry, objects, unfit) for entry in expected}
        expected = [entry for entry in expected if not found[entry].meets(entry)]
        for entry in [entry for entry in expected if asked - begin > entry.seconds or not text]:
            expected.remove(entry)
            late += _late(entry, found[entry], objects) if text else [f"workload {entry.workload}: {UNANSWERED}"]
        if expected:
            if not quiet and told != (told := _awaited(expected, found)):
                print(told, file=sys.stderr, flush=True)
            # Reading many pods takes a while; the API server has better to do.
            time.sleep(max(FEWEST_SECONDS_BETWEEN_READS, 2 * (time.monotonic() - asked)))
    return late


def read_with_nodes(kinds: str, not_ready: list[str] | None) -> str:
    """Read the objects when just the given nodes are not ready: KWOK gets to know of a change like everybody else.

    It ends without that after a while; None stands for whatever there is.
    """
    end = time.monotonic() + NODES_SECONDS
    while text := read(kinds):
        if not_ready is None or _stand(json.loads(text)["items"], not_ready) or time.monotonic() > end:
            break
        time.sleep(FEWEST_SECONDS_BETWEEN_READS)
    return text


def _stand(objects: list[Any], not_ready: list[str]) -> bool:
    nodes = [entry for entry in objects if entry["kind"] == "Node"]
    return all(is_not_ready(node) == (node["metadata"]["name"] in not_ready) for node in nodes)


def _late(expected: Expected, found: Standing, objects: Sequence[Any]) -> list[str]:
    pods = pods_of(expected.workload, expected.namespace, objects)
    refused = [(pod["metadata"]["name"], refusal(pod)) for pod in pods if is_refused(pod)]
    return [*unmet(expected, found, objects), *reasons(refused)]


def _awaited(expected: Sequence[Expected], found: Mapping[Expected, Standing]) -> str:
    lines = [
        f"{entry.workload} ({found[entry].allocated} claims are allocated and {found[entry].pending} pending, "
        f"to be {entry.allocated} and {entry.pending})"
        for entry in expected[:WORKLOADS_TOLD_MAX]
    ]
    more = len(expected) - len(lines)
    return f"waiting for {', '.join(lines)}{f' and {more} more' if more else ''}"


def read(kinds: str) -> str:
    """Return the objects of `kinds` as JSON, or nothing if the cluster does not answer."""
    command = ["kubectl", "get", kinds, "--all-namespaces", "--output", "json", "--request-timeout", "60s"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else ""


if __name__ == "__main__":
    sys.exit(main())
