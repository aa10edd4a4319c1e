"""Waits until workloads stand as expected: the Command of a workload that others come after.

Environment: KWOK_DRA_EXPECTED, a JSON list of `Expected`; KWOK_DRA_UNFIT, an `Unfit` in JSON, where there are faults;
KUBECONFIG. Who does not stand as expected when its time is up, and why, goes to stderr.
"""

import json
import os
import sys
import time

from cluster.api.api_server import ApiServer
from cluster.fleet.waiting import wait
from topology.status.workload_progress import Expected, Unfit


def main() -> int:
    """Wait, and fail if something is not as expected when its time is up."""
    expected = [Expected.from_json(entry) for entry in json.loads(os.environ["KWOK_DRA_EXPECTED"])]
    unfit = Unfit(*json.loads(os.environ.get("KWOK_DRA_UNFIT", "[]")))
    late = wait(ApiServer(), expected, unfit, lambda _: None, time.monotonic())
    if late:
        print("\n".join([*late, "what comes after it is not made"]), file=sys.stderr)
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
