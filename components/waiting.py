"""Waits until workloads stand as expected, and prints what there is; run as a program.

Environment: KWOK_DRA_EXPECTED, a JSON list of `Expected`; KWOK_DRA_UNFIT, an `Unfit` in JSON, where there are faults;
KWOK_DRA_KINDS, what to print in the end, as kubectl names it (nothing, if empty); KWOK_DRA_NOT_READY, a JSON list of
the nodes that are to be printed as not ready; and whatever kubectl needs. It is no error if the time is up: who reads
the objects will see. With KWOK_DRA_STRICT it is, and the message says which workload does not stand as expected.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from topology.progress import KINDS, Expected, Standing, Unfit, is_not_ready, standing

UNREACHABLE = "unreachable"
FEWEST_SECONDS_BETWEEN_READS = 0.2
NODES_SECONDS = 30


def main() -> int:
    """Wait, then print."""
    expected = [Expected(*entry) for entry in json.loads(os.environ["KWOK_DRA_EXPECTED"])]
    late = wait(expected, Unfit(*json.loads(os.environ.get("KWOK_DRA_UNFIT", "[]"))))
    if kinds := os.environ.get("KWOK_DRA_KINDS"):
        sys.stdout.write(
            read_with_nodes(kinds, json.loads(os.environ.get("KWOK_DRA_NOT_READY", "null"))) or UNREACHABLE
        )
    if late and os.environ.get("KWOK_DRA_STRICT"):
        print("; ".join(late), file=sys.stderr)
        return 1
    return 0


def wait(expected: list[Expected], unfit: Unfit) -> list[str]:
    """Return what does not stand as expected when its time is up."""
    begin = time.monotonic()
    late = []
    while expected:
        asked = time.monotonic()
        text = read(KINDS)
        objects: list[Any] = json.loads(text)["items"] if text else []
        found = {entry: standing(entry, objects, unfit) for entry in expected}
        expected = [entry for entry in expected if not found[entry].meets(entry)]
        for entry in [entry for entry in expected if asked - begin > entry.seconds or not text]:
            expected.remove(entry)
            late.append(_late(entry, found[entry]))
        if expected:
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


def _late(expected: Expected, found: Standing) -> str:
    unsettled = "" if found.settled else ", which are still to change"
    return (
        f"workload {expected.workload}: {found.allocated} claims are allocated and {found.pending} pending after "
        f"{expected.seconds} s, of {found.pods} pods{unsettled}; what comes after it waits for {expected.allocated} "
        f"and {expected.pending}, of {expected.pods} (kwok-dra:workloads expect, readyTimeoutSeconds)"
    )


def read(kinds: str) -> str:
    """Return the objects of `kinds` as JSON, or nothing if the cluster does not answer."""
    command = ["kubectl", "get", kinds, "--all-namespaces", "--output", "json", "--request-timeout", "60s"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else ""


if __name__ == "__main__":
    sys.exit(main())
