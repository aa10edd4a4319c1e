"""A kwokctl cluster: created, checked, repaired and removed.

Why not kwokctl alone: it keeps a cluster that exists, whatever its flags are; it exits with 0 when `--wait` times out;
it returns from `delete` before the processes have exited; and a failed create leaves no trace in Pulumi's state.
"""

import json
import os
import shutil
import signal
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from threading import Thread
from typing import NamedTuple

from cluster.local import kwokctl, ports, processes, programs
from cluster.local.cluster_record import ClusterRecord, parse
from cluster.local.components import Components
from cluster.local.errors import REPLACE, ClusterError, tail
from cluster.local.kwokctl import POLL_SECONDS, one_at_a_time
from cluster.local.paths import kubeconfig, shared_kubeconfig, workdir, write_private
from cluster.local.readiness import MANAGER, YOUNG_SECONDS, Readiness

KWOK = "kwok-controller"
NODE_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
OWN_OPTIONS_FILE = "own-options.json"
STAGES_FILE = "stages.yaml"  # as in topology/objects/kwok_stages.py, which takes longer to import than all of this
CHECK = "Check kwok-dra:cluster, especially kubeFeatureGates and kubeRuntimeConfig; nothing was left behind"
UNREADABLE = "failed to load config"
"""What kwokctl says about a cluster whose kwok.yaml is incomplete, because a kwokctl was killed while it wrote it."""


class Condition(NamedTuple):
    """Which cluster the stack needs, and how often it will have been repaired."""

    id: str
    repairs: int


class Tuning(NamedTuple):
    """Settings of components that run as processes, for a cluster that is being created."""

    extra_args: list[str]
    """Each as kwokctl's `--extra-args` reads it."""
    component_patches: list[dict[str, object]]
    """`componentsPatches` of a KwokctlConfiguration, without arguments, which would replace the configured ones."""


def condition(cluster: str, owner: str) -> Condition:
    """Return the id of the owner's cluster and its number of repairs, including one that it needs now.

    The id is a new one if the owner has no such cluster, or has it no longer.
    """
    found = LocalCluster(workdir(), cluster)
    record = found.record.read()
    if (record.get("owner"), record.get("state")) != (owner, "created"):
        return Condition(uuid.uuid4().hex, 0)
    return Condition(record["id"], record.get("repairs", 0) + found.is_broken())


def confirm(cluster: str, owner: str, cluster_id: str) -> None:
    """Record that Pulumi's state has the owner's cluster: from now on only `delete` removes it."""
    record = LocalCluster(workdir(), cluster).record
    values = record.read()
    if (values.get("owner"), values.get("id")) == (owner, cluster_id) and not values.get("known"):
        record.update(known=True)


def exited_component_logs(cluster: str) -> list[str]:
    """Return the log of each component of a cluster that has exited, although nobody has stopped it."""
    components = LocalCluster(workdir(), cluster).components
    return [str(components.log(one)) for one, pid in components.recorded().items() if not components.is_component(pid)]


def settle(kubeconfig: Path, seconds: float) -> None:
    """Settle the cluster that kwokctl keeps beside its `kubeconfig`; any other cluster is left alone.

    Raises:
        ClusterError: a component cannot be started again within `seconds`.
    """
    LocalCluster(kubeconfig.parents[2], kubeconfig.parent.name).settle(seconds)


class LocalCluster:
    """A kwokctl cluster: its record, its files and its component processes."""

    def __init__(self, workdir: Path, name: str) -> None:
        """Describe the cluster `name` in kwokctl's folder, which need not exist."""
        self.workdir = workdir
        self.name = name
        self.kubeconfig = kubeconfig(workdir, name)
        self.folder = self.kubeconfig.parent
        self.document = self.folder / "kwok.yaml"
        self.shared = shared_kubeconfig(workdir)
        self.record = ClusterRecord(self.folder)
        self.components = Components(self.folder)
        self.readiness = Readiness(workdir, self.components)

    def claim_name(self, owner: str, new_id: str) -> None:
        """Create the cluster's folder, after removing what an interrupted create or removal of its `owner` has left.

        Raises ClusterError if any other cluster has the folder.
        """
        self.record.discard_interrupted_create()
        if self.folder.exists():
            if not self.record.is_interrupted(owner):
                raise ClusterError(
                    f"kwok-dra:cluster.name: cluster {self.name!r} already exists, in {self.folder}, and this stack "
                    "did not create it. Choose another name (`pulumi config set --path kwok-dra:cluster.name NAME`), "
                    f"or delete that cluster if nobody needs it (`kwokctl delete cluster --name {self.name}`)"
                )
            _kill_kwokctl(self.record.read().get("kwokctl"))
            self._remove_interrupted()
        self.record.create(owner, new_id)

    def _remove_interrupted(self) -> None:
        try:
            self.remove()
        except ClusterError as error:
            if UNREADABLE not in str(error):
                raise
            self.document.unlink(missing_ok=True)
            self.remove()

    def start(
        self, configuration: str, options: dict[str, int], stages: str, deadline: float, tuning: Tuning | None
    ) -> None:
        """Run `kwokctl create cluster` and wait until every component runs and the API server is ready."""
        (self.folder / STAGES_FILE).write_text(stages)
        flags = [*self._write_documents(configuration, options, tuning), "--kubeconfig", str(self.shared)]
        environment = programs.of_control_plane(os.environ.get("KWOK_DRA_KUBE_VERSION", ""))
        with (
            one_at_a_time(self.workdir),
            kwokctl.run(self.workdir, self.name, "create", *flags, environment=environment) as process,
        ):
            self.record.update(kwokctl=process.pid)
            while process.poll() is None:
                self._wait_a_moment(deadline, CHECK)
        self.kubeconfig.chmod(0o600)
        Thread(target=self.readiness.prepare_openapi, daemon=True).start()
        self._wait_until_ready(deadline, CHECK)

    def _write_documents(self, configuration: str, options: dict[str, int], tuning: Tuning | None) -> list[str]:
        """Write the documents that kwokctl merges, and return the flags that name them, and those of the `tuning`.

        They are the configured document and one with the options of this cluster alone.

        Components that run as processes share the ports of this machine, and can reach every etcd on it: with its own
        prefix, an API server never uses another cluster's objects.
        """
        configured = self.folder / "kwokctl.yaml"
        configured.write_text(configuration)
        flags = ["--config", str(configured)]
        if "runtime: binary\n" not in configuration:
            return flags
        own = self.folder / OWN_OPTIONS_FILE
        header = {"apiVersion": "config.kwok.x-k8s.io/v1alpha1", "kind": "KwokctlConfiguration"}
        prefix = f"/registry/{self.record.read()['id']}"
        patches = {"componentsPatches": tuning.component_patches} if tuning else {}
        own.write_text(json.dumps({**header, "options": {**options, "etcdPrefix": prefix}, **patches}))
        flags += ["--config", str(own)]
        return flags + [f"--extra-args={value}" for value in (tuning.extra_args if tuning else [])]

    def is_broken(self) -> bool:
        """Tell whether the kubeconfig or a component's process is gone, or a repair was interrupted.

        Containers are not checked: their runtime restarts them.
        """
        if self.record.read().get("broken") or not self.kubeconfig.exists():
            return True
        components = self.components
        return components.are_processes() and (not components.recorded() or bool(components.exited()))

    def repair(self, kubeconfig: str, deadline: float) -> None:
        """Restore a missing `kubeconfig`, start the components that have exited, and wait until all are ready."""
        with one_at_a_time(self.workdir):
            if not self.kubeconfig.exists():
                write_private(self.kubeconfig, kubeconfig)
            running = self.components.running()
            found = self.components.by_program()
            self.components.kill({name: pid for name, pid in found.items() if pid not in running.values()})
            self._check_ports_of_exited(running)
            self._start_exited(deadline)
            if self.components.are_processes() and KWOK not in running:
                self._give_nodes_to_kwok(deadline)

    def _check_ports_of_exited(self, running: Iterable[str]) -> None:
        """Raise ClusterError if another program uses a port of a component that must be started again."""
        for component, port in self._own_ports():
            if component not in running and (reason := ports.taken(port)):
                raise ClusterError(
                    f"{component} of cluster {self.name} has exited and cannot start again: its port {port} cannot be "
                    f"used ({reason}). Stop the program that uses it (`ss -ltnp 'sport = :{port}'` shows it), or "
                    f"{REPLACE}"
                )

    def _own_ports(self) -> Iterator[tuple[str, int]]:
        own = self.folder / OWN_OPTIONS_FILE
        options = parse(own.read_text())["options"] if own.exists() else {}
        for component, names in ports.OF_COMPONENTS.items():
            yield from ((component, options[name]) for name in names if name in options)

    def _start_exited(self, deadline: float) -> None:
        self.components.running()  # kwokctl starts those without a pid file
        with kwokctl.run(self.workdir, self.name, "start") as process:
            while process.poll() is None:
                self.readiness.is_ready()  # raises at once if it never will be
                time.sleep(POLL_SECONDS)
        self._wait_until_ready(deadline, f"Start it again with `pulumi up`, or {REPLACE}")

    def _give_nodes_to_kwok(self, deadline: float) -> None:
        """Start KWOK a second time, without the leases of its previous process, which take minutes to expire.

        Until they expire, KWOK does not manage the nodes and their pods: `tryAcquireOrRenew` in
        https://github.com/kubernetes-sigs/kwok/blob/v0.8.0/pkg/kwok/controllers/node_lease_controller.go
        """
        self.components.kill({KWOK: self.components.running()[KWOK]})
        with suppress(OSError, HTTPException):
            self.readiness.request("DELETE", NODE_LEASES)
        self._start_exited(deadline)

    def _wait_until_ready(self, deadline: float, advice: str) -> None:
        while not self.readiness.is_ready() or self.readiness.may_give_up(YOUNG_SECONDS):
            self._wait_a_moment(deadline, advice)
        self.readiness.check_startup(advice)
        if self.components.exited():  # kube-controller-manager gave up, but would find the API server healthy now
            self._check_time(deadline)
            self._start_exited(deadline)

    def settle(self, seconds: float) -> None:
        """Wait until kube-controller-manager controls; start it again, within `seconds`, if it has given up.

        A create does not wait for one that is young: on a machine with a lot to do, that one can give up afterwards.
        """
        while self.readiness.may_give_up():
            time.sleep(POLL_SECONDS)
        if self.components.exited() == [MANAGER] and self.readiness.gave_up(MANAGER):
            with one_at_a_time(self.workdir):
                self._start_exited(time.monotonic() + seconds)

    def _wait_a_moment(self, deadline: float, advice: str) -> None:
        self.readiness.check_startup(advice)
        self._check_time(deadline)
        time.sleep(POLL_SECONDS)

    def _check_time(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise ClusterError(
                f"cluster {self.name} was not ready in time; increase kwok-dra:cluster.readyTimeoutSeconds "
                f"(now {os.environ['KWOK_DRA_READY_TIMEOUT']})"
            )

    def describe(self) -> None:
        """Print what the Pulumi program needs to know, as one JSON object."""
        flat = kwokctl.flatten(self.workdir, str(self.kubeconfig))
        if flat.returncode:
            raise ClusterError(f"kubectl cannot read the kubeconfig of cluster {self.name}:\n{tail(flat.stderr)}")
        paths = {"kubeconfigPath": str(self.kubeconfig), "workdir": str(self.workdir)}
        print(json.dumps({"id": self.record.read().get("id"), "kubeconfig": flat.stdout, **paths}))

    def remove(self) -> None:
        """Delete the cluster, wait until its processes have exited and remove what kwokctl leaves behind."""
        self.record.start_removal()
        running = self.components.running()
        with one_at_a_time(self.workdir):
            if self.document.exists():
                with kwokctl.run(self.workdir, self.name, "delete", "--kubeconfig", str(self.shared)) as process:
                    process.wait()
            kwokctl.forget_shared_kubeconfig(self.workdir)
        self.components.kill(self.components.by_program())
        self.components.wait_until_exited(running)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.record.removal.unlink(missing_ok=True)


def _kill_kwokctl(pid: int | None) -> None:
    """Kill the kwokctl of an interrupted create if it still runs."""
    if pid and "kwokctl" in processes.command_line(pid):
        os.kill(pid, signal.SIGKILL)
        while processes.running(pid):
            time.sleep(POLL_SECONDS)
