"""The settings of a control plane that runs a simulated fleet: `kwok-dra:cluster.tuning: fleet`.

They are for components that run as processes (`runtime: binary`). None of them changes what the API server serves or
what the scheduler decides. docs/performance.md says what each of them is worth.

This module imports nothing but the standard library, so that the program that creates a cluster starts fast.
"""

from collections.abc import Iterable
from itertools import chain, groupby, zip_longest
from typing import NamedTuple

STOCK = "stock"
"""The value of `kwok-dra:cluster.tuning` for a control plane with kwokctl's own settings."""

ETCD = "etcd"
API_SERVER = "kube-apiserver"
MANAGER = "kube-controller-manager"
KUBE_SCHEDULER = "kube-scheduler"
"""The cluster's own scheduler, which serves `default-scheduler`; every kube-scheduler of a stack has its arguments."""
KWOK = "kwok-controller"
COMPONENTS = (ETCD, API_SERVER, MANAGER, KUBE_SCHEDULER, KWOK)
"""The components of a cluster that run as processes."""


class Flag(NamedTuple):
    """A flag of a component."""

    component: str
    key: str
    value: str


class Variable(NamedTuple):
    """An environment variable of a component."""

    component: str
    name: str
    value: str


FLAGS = (
    # etcd otherwise waits for the disk at every write. What it has written survives the end of any process, because the
    # kernel has it; only a machine that loses its power or crashes loses it.
    Flag(ETCD, "unsafe-no-fsync", "true"),
    # A new etcd waits for one to ten heartbeats, of 0.1 s by default, until it elects itself. It is alone, so it never
    # loses an election.
    Flag(ETCD, "heartbeat-interval", "20"),
    Flag(ETCD, "election-timeout", "200"),
    # Without a certificate, both components generate two RSA keys each whenever they start. That of the API server is
    # valid for 127.0.0.1; the paths are relative to the cluster's folder, the components' working directory.
    *(
        Flag(component, key, f"pki/admin.{suffix}")
        for component in (MANAGER, KUBE_SCHEDULER)
        for key, suffix in (("tls-cert-file", "crt"), ("tls-private-key-file", "key"))
    ),
    # By default, the scheduler records where its goroutines wait, for a profile that nobody reads.
    Flag(KUBE_SCHEDULER, "contention-profiling", "false"),
)

GARBAGE_PERCENT = 400
"""Go collects garbage when the heap has grown to five times what is in use, not to twice as much."""

MEMORY_PARTS = {ETCD: 8, API_SERVER: 4, MANAGER: 8, KUBE_SCHEDULER: 8, KWOK: 8}
"""The part of the machine's memory from which on Go collects more often: an eighth, and a fourth for kube-apiserver."""


def variables(memory: int) -> list[Variable]:
    """Return the environment variables of the components on a machine with that much memory, in bytes."""
    return [
        variable
        for component, part in MEMORY_PARTS.items()
        for variable in (
            Variable(component, "GOGC", str(GARBAGE_PERCENT)),
            Variable(component, "GOMEMLIMIT", f"{memory // part // 2**20}MiB"),
        )
    ]


def extra_args(flags: Iterable[Flag]) -> list[str]:
    """Return the values of kwokctl's `--extra-args`, in an order that kwokctl can read.

    Lists of a KwokctlConfiguration replace those of the one before it, but kwokctl adds these flags to the patches of
    the configuration. The first flag of every component comes first: kwokctl looks a component up by the position of
    its first flag among all flags, in a list that has one entry for each component.
    `mutationComponentPatches` in https://github.com/kubernetes-sigs/kwok/blob/v0.8.0/pkg/kwokctl/cmd/create/cluster/cluster.go
    """
    by_component = groupby(sorted(flags, key=lambda flag: flag.component), key=lambda flag: flag.component)
    rounds = zip_longest(*(list(group) for _, group in by_component))
    return ["=".join(flag) for flag in chain.from_iterable(rounds) if flag]


def component_patches(wanted: Iterable[Variable]) -> list[dict[str, object]]:
    """Render variables as the `componentsPatches` of a KwokctlConfiguration, which has one for each component."""
    by_component: dict[str, list[dict[str, str]]] = {}
    for variable in wanted:
        by_component.setdefault(variable.component, []).append({"name": variable.name, "value": variable.value})
    return [{"name": component, "extraEnvs": entries} for component, entries in by_component.items()]
