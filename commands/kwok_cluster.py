"""Makes, repairs and removes the cluster of a `KwokCluster`.

    python -m commands.kwok_cluster create|update|delete

`create` and `update` print one JSON object: the cluster's `id`, its `kubeconfig`, the path of that file and kwokctl's
`workdir`. `update` repairs the cluster too: after a restart of the machine its files are there, its processes are not.
Input comes from the environment, never from a command line:

    KWOK_DRA_CLUSTER         name of the cluster
    KWOK_DRA_OWNER           the stack it belongs to
    KWOK_DRA_ID              the cluster's id: another one is another cluster
    KWOK_DRA_REPAIRS         how often it has been repaired, this time included
    KWOK_DRA_KWOKCTL_CONFIG  the KwokctlConfiguration, in YAML
    KWOK_DRA_STAGES          the Stages that its kwok-controller plays too, in YAML
    KWOK_DRA_KUBE_VERSION    Kubernetes release, such as 1.37.2
    KWOK_DRA_APISERVER_PORT  port of kube-apiserver, empty for any
    KWOK_DRA_READY_TIMEOUT   seconds until the cluster has to be ready
    KWOK_DRA_TOOLS           (of the shell) folder of the built toolchain
    KWOK_WORKDIR             (of the shell) kwokctl's folder; .state/kwok of the project if not set
"""

import os
import signal
import sys
import time
from pathlib import Path

from cluster.local import programs
from cluster.local.kwok_cluster import PORT_TAKEN, ClusterError, LocalCluster, one_at_a_time, parse, reserved_ports
from cluster.local.paths import workdir


def create() -> None:
    """Create the cluster, wait until it is ready and print it; on failure leave nothing behind.

    Another program may take a port that has been found free: then it is tried again, with other ports.
    """
    cluster = _from_environment()
    for tries_left in (2, 1, 0):
        cluster.claim_name(os.environ["KWOK_DRA_ID"])
        try:
            with reserved_ports() as options:
                cluster.start(
                    os.environ["KWOK_DRA_KWOKCTL_CONFIG"], options, os.environ["KWOK_DRA_STAGES"], _deadline()
                )
            cluster.describe()
            cluster.mark(state="created")
            return
        except BaseException as error:
            _clean_up(cluster, error)
            if not tries_left or PORT_TAKEN not in str(error):
                raise


def _clean_up(cluster: LocalCluster, error: BaseException) -> None:
    """Remove what a failed create made; if that fails too, say both."""
    try:
        cluster.remove()
    except ClusterError as second:
        raise ClusterError(f"{error}\n{second}") from error


def update() -> None:
    """Repair the cluster if it is broken, and print it again: nothing else about it changes in place."""
    cluster = _from_environment()
    if not cluster.folder.exists():
        raise ClusterError(
            f"cluster {cluster.name} is gone: its folder {cluster.folder} does not exist. `pulumi up` makes it anew"
        )
    if cluster.is_broken():
        cluster.mark(broken=True)  # until it is repaired, whatever comes between
        kubeconfig = parse(os.environ.get("PULUMI_COMMAND_STDOUT", "")).get("kubeconfig", "")
        with one_at_a_time(cluster.workdir):
            cluster.repair(kubeconfig, _deadline())
    cluster.mark(repairs=int(os.environ["KWOK_DRA_REPAIRS"]), broken=False)
    cluster.describe()


def delete() -> None:
    """Delete the cluster that the previous output describes, where it was created.

    It is fine if it is gone; then processes of it may be left. A cluster that somebody else made in its place is left
    alone.
    """
    previous = parse(os.environ.get("PULUMI_COMMAND_STDOUT", ""))
    folder = Path(previous.get("workdir") or workdir())
    cluster = LocalCluster(folder, os.environ["KWOK_DRA_CLUSTER"], os.environ["KWOK_DRA_OWNER"])
    if previous and cluster.folder.exists() and previous.get("id") != cluster.note().get("id"):
        return
    cluster.remove()


def _from_environment() -> LocalCluster:
    return LocalCluster(workdir(), os.environ["KWOK_DRA_CLUSTER"], os.environ["KWOK_DRA_OWNER"])


def _deadline() -> float:
    return time.monotonic() + float(os.environ["KWOK_DRA_READY_TIMEOUT"])


def main() -> None:
    """Run one verb; an error that the user has to know is one message on stderr."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    try:
        if missing := programs.missing():
            raise ClusterError(missing)
        {"create": create, "update": update, "delete": delete}[sys.argv[1]]()
    except ClusterError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
