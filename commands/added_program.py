"""Starts, restarts and removes a scheduler or a controller beside the components of a cluster; run as a program.

    python -m commands.added_program create|update|delete

Stdin has the program in JSON, as `cluster.fleet.added_program.Wanted`. Environment:

    KUBECONFIG              the kubeconfig of the cluster, in the folder in which kwokctl keeps the cluster
    KWOK_DRA_PROGRAM        the name of the component
    KWOK_DRA_REPAIRS        number of times that the program has been started again, including this one
    KWOK_DRA_READY_TIMEOUT  seconds within which it must be ready
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from cluster.fleet.added_program import AddedProgram, Wanted
from cluster.local.errors import ClusterError


def main() -> None:
    """Run one verb; a ClusterError becomes one message on stderr."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    program = AddedProgram(Path(os.environ["KUBECONFIG"]), os.environ["KWOK_DRA_PROGRAM"])
    try:
        if sys.argv[1] == "delete":
            program.remove()
        else:
            deadline = time.monotonic() + float(os.environ["KWOK_DRA_READY_TIMEOUT"])
            program.put(Wanted(**json.load(sys.stdin)), deadline, int(os.environ["KWOK_DRA_REPAIRS"]))
    except ClusterError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
