"""The ports of a cluster's components on this machine: each cluster keeps its own, even while it does not run."""

import errno
import os
import random
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

OF_COMPONENTS = {
    "etcd": ("etcdPort", "etcdPeerPort"),
    "kube-apiserver": ("kubeApiserverPort",),
    "kube-controller-manager": ("kubeControllerManagerPort",),
    "kube-scheduler": ("kubeSchedulerPort",),
    "kwok-controller": ("kwokControllerPort",),
}
"""The kwokctl options for the ports on which each component listens: https://kwok.sigs.k8s.io/docs/generated/apis/."""

RANGE = range(10000, 32000)
"""kwokctl takes the highest free ports below 32767: those of clusters made by hand are above this range."""

EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
"""The ports that Linux assigns to connections: https://docs.kernel.org/networking/ip-sysctl.html."""


class PortTakenError(Exception):
    """No component can listen on a fixed port."""

    def __init__(self, port: int, reason: str) -> None:
        """Name the port, and the reason in the system's words."""
        super().__init__(f"port {port} cannot be used ({reason})")


@contextmanager
def reserved(fixed: dict[str, int]) -> Iterator[dict[str, int]]:
    """Provide a port for each kwokctl option: the `fixed` ones, and random free ones for the others.

    No other cluster gets one of them during the block, in which the components start to listen on them.
    kwokctl itself would choose the ports of the last cluster whose processes have exited. That cluster could not start
    again; or, if only its etcd had exited, its API server would continue with the etcd of the new cluster.
    Raises PortTakenError if a fixed port is not free.
    """
    with ExitStack() as marks:
        for port in fixed.values():
            if reason := taken(port) if _marked(port, marks) else os.strerror(errno.EADDRINUSE):
                raise PortTakenError(port, reason)
        options = [option for component in OF_COMPONENTS.values() for option in component if option not in fixed]
        yield {**fixed, **dict(zip(options, _free(marks), strict=False))}


@contextmanager
def some(names: Iterable[str]) -> Iterator[dict[str, int]]:
    """Provide a random free port for each name; no cluster and no other program gets one of them during the block."""
    with ExitStack() as marks:
        yield dict(zip(names, _free(marks), strict=False))


def _free(marks: ExitStack) -> Iterator[int]:
    candidates = _without_ephemeral(RANGE)
    random.shuffle(candidates)
    return (port for port in candidates if _marked(port, marks) and not taken(port))


def _marked(port: int, marks: ExitStack) -> bool:
    """Mark a port as chosen, unless it is, with an abstract socket of Linux, which ends with its process."""
    mark = marks.enter_context(socket.socket(socket.AF_UNIX))
    try:
        mark.bind(f"\0kwok-dra-port-{port}")
    except OSError:
        return False
    return True


def _without_ephemeral(ports: range) -> list[int]:
    try:
        first, last = map(int, EPHEMERAL.read_text().split())
    except OSError:
        return list(ports)  # some sandboxes hide the file
    return [port for port in ports if not first <= port <= last] or list(ports)


def taken(port: int) -> str:
    """Return why nothing can listen on a port of 127.0.0.1; empty if it is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.strerror or str(error)
    return ""
