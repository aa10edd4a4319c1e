"""Waits until workloads are as expected: the Command of a workload that other workloads name in `after`.

Stdin: a JSON object with KWOK_DRA_EXPECTED, a list of `Expected`, KWOK_DRA_UNFIT, an `Unfit`, KWOK_DRA_ALONE, whether
nothing else changes the cluster meanwhile (null: the cluster is not the stack's), KWOK_DRA_GIVES_WAY, whether those
that come later may preempt the pods, so that all of them may run until then, and KWOK_DRA_QUEUES, whether Kueue may
hold them. Environment: KUBECONFIG. It prints the workloads that are not as expected in time, with the reason, on
stderr.
"""

import os
import sys
import time
from pathlib import Path

from cluster.api.api_server import ApiServer
from cluster.fleet.standstill import Standstill
from cluster.fleet.waiting import wait
from cluster.local.errors import ClusterError
from cluster.local.kwok_cluster import settle
from commands.inputs import values
from topology.status.evictions import Unfit
from topology.status.workload_progress import Expected


def main() -> int:
    """Wait, and return 1 if a workload is not as expected in time."""
    expected, unfit, alone, gives_way, queues = values(
        "KWOK_DRA_EXPECTED", "KWOK_DRA_UNFIT", "KWOK_DRA_ALONE", "KWOK_DRA_GIVES_WAY", "KWOK_DRA_QUEUES"
    )
    awaited = [Expected.from_json(entry)._replace(gives_way=gives_way) for entry in expected]
    standstill = None if alone is None else Standstill(alone)
    try:
        settle(Path(os.environ["KUBECONFIG"]), max(entry.seconds for entry in awaited))
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1
    late = wait(ApiServer(), awaited, Unfit(*unfit), lambda _: None, time.monotonic(), standstill, queues)
    if late:
        print("\n".join([*late, "workloads that come after it are not created"]), file=sys.stderr)
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
