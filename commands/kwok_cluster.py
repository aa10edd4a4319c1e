"""Creates, repairs and deletes the cluster of a `KwokCluster`.

    python -m commands.kwok_cluster create|update|delete

`create` and `update` print one JSON object: the cluster's `id`, its `kubeconfig`, the path of that file and kwokctl's
`workdir`. `update` also repairs the cluster: after a restart of the machine its files exist, but its processes do not.
Input comes from the environment, never from a command line:

    KWOK_DRA_CLUSTER         name of the cluster
    KWOK_DRA_OWNER           the stack that owns it
    KWOK_DRA_ID              the cluster's id: a new id means a new cluster
    KWOK_DRA_REPAIRS         number of repairs, including this one
    KWOK_DRA_KWOKCTL_CONFIG  the KwokctlConfiguration, in YAML
    KWOK_DRA_STAGES          the Stages that its kwok-controller plays too, in YAML
    KWOK_DRA_KUBE_VERSION    Kubernetes release, such as 1.37.2
    KWOK_DRA_APISERVER_PORT  port of kube-apiserver, empty for any free one
    KWOK_DRA_READY_TIMEOUT   seconds within which the cluster must be ready
    KWOK_DRA_TUNING          (optional) `stock`: without the settings of topology/objects/tuning.py
    KWOK_DRA_TOOLS           (of the shell) folder of the built toolchain
    KWOK_WORKDIR             (of the shell) kwokctl's folder; .state/kwok of the project if not set
"""

import os
import signal
import sys
import time
from pathlib import Path

from cluster.local import ports, programs
from cluster.local.cluster_record import parse
from cluster.local.errors import ClusterError
from cluster.local.kwok_cluster import LocalCluster, Tuning
from cluster.local.paths import workdir
from topology.objects import tuning

PORT_TAKEN = "bind: address already in use"
"""What a component says about a port that another program uses."""


def create() -> None:
    """Create the cluster, wait until it is ready and print it; a failed create leaves nothing behind.

    If another program takes one of the ports in the meantime, it tries again with other ports.
    """
    cluster = _cluster()
    for tries_left in (2, 1, 0):
        cluster.claim_name(os.environ["KWOK_DRA_OWNER"], os.environ["KWOK_DRA_ID"])
        try:
            _start(cluster)
            cluster.describe()
            cluster.record.update(state="created")
            return
        except BaseException as error:
            _clean_up(cluster, error)
            if not tries_left or PORT_TAKEN not in str(error):
                raise


def _start(cluster: LocalCluster) -> None:
    port = os.environ.get("KWOK_DRA_APISERVER_PORT", "")
    try:
        with ports.reserved({"kubeApiserverPort": int(port)} if port else {}) as options:
            configuration, stages = os.environ["KWOK_DRA_KWOKCTL_CONFIG"], os.environ["KWOK_DRA_STAGES"]
            cluster.start(configuration, options, stages, _deadline(), _tuning())
    except ports.PortTakenError as error:
        raise ClusterError(
            f"kwok-dra:cluster.kubeApiserverPort: {error}. Choose another port, or omit the key to get a free one"
        ) from None


def _tuning() -> Tuning | None:
    if os.environ.get("KWOK_DRA_TUNING") == tuning.STOCK:
        return None
    variables = tuning.variables(machine_memory())
    return Tuning(tuning.extra_args(tuning.FLAGS), tuning.component_patches(variables))


def machine_memory() -> int:
    """Return the bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _clean_up(cluster: LocalCluster, error: BaseException) -> None:
    """Remove what a failed create made; if that fails too, report both errors."""
    try:
        cluster.remove()
    except ClusterError as second:
        raise ClusterError(f"{error}\n{second}") from error


def update() -> None:
    """Repair the cluster if it is broken, and print it again: nothing else about it changes in place."""
    cluster = _cluster()
    if not cluster.folder.exists():
        raise ClusterError(
            f"cluster {cluster.name} is gone: its folder {cluster.folder} does not exist. `pulumi up` recreates it"
        )
    if cluster.is_broken():
        cluster.record.update(broken=True)  # stays so if the repair is interrupted
        cluster.repair(_previous_output().get("kubeconfig", ""), _deadline())
    cluster.record.update(repairs=int(os.environ["KWOK_DRA_REPAIRS"]), broken=False)
    cluster.describe()


def delete() -> None:
    """Delete the cluster that the previous output describes, in the folder in which it was created.

    Succeeds if the cluster is gone; processes of it may remain, and are killed. Leaves a cluster alone that somebody
    else has created in its place.
    """
    previous = _previous_output()
    cluster = _cluster(previous.get("workdir", ""))
    if previous and cluster.folder.exists() and previous.get("id") != cluster.record.read().get("id"):
        return
    cluster.remove()


def _previous_output() -> dict[str, str]:
    return parse(os.environ.get("PULUMI_COMMAND_STDOUT", ""))


def _cluster(folder: str = "") -> LocalCluster:
    return LocalCluster(Path(folder) if folder else workdir(), os.environ["KWOK_DRA_CLUSTER"])


def _deadline() -> float:
    return time.monotonic() + float(os.environ["KWOK_DRA_READY_TIMEOUT"])


def main() -> None:
    """Run one verb; a ClusterError becomes one message on stderr."""
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
