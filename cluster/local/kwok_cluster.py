"""A kwokctl cluster: made, checked, repaired and removed.

Why not kwokctl alone: it keeps a cluster that exists, whatever its flags are; it exits with 0 when `--wait` times out;
it returns from `delete` before the processes have ended; and a create that fails leaves no trace in Pulumi's state.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

from cluster.local import ports, processes, programs
from cluster.local.paths import PROJECT, kubeconfig, kubectl_environment, shared_kubeconfig, workdir

# These take another second and nothing here needs them: everybody is admin, whose group system:masters needs no role,
# and fake pods have no priority class.
NOT_WAITED_FOR = ("rbac/bootstrap-roles", "scheduling/bootstrap-system-priority-classes")
READY = "/readyz?" + "&".join(f"exclude=poststarthook/{hook}" for hook in NOT_WAITED_FOR)
# What the Kubernetes client of Pulumi's provider accepts.
OPENAPI = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
KWOK = "kwok-controller"
MANAGER = "kube-controller-manager"
NODE_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
OWN_OPTIONS_FILE = "own-options.json"
STAGES_FILE = "stages.yaml"  # as in topology/stages.py, which takes longer to import than all of this
STOP_SECONDS = 20
POLL_SECONDS = 0.05
LOG_LINES = 5


CHECK = "Check kwok-dra:cluster, kubeFeatureGates and kubeRuntimeConfig above all; nothing was left behind"
REPLACE = "replace the cluster and all in it with `pulumi up --replace '**command:local:Command**'`"
UNREADABLE = "failed to load config"
"""What kwokctl says of a cluster whose document it did not come to write whole, because it was killed."""
GAVE_UP = "failed to wait for apiserver being healthy"
"""What kube-controller-manager says when it ends because the API server was not healthy within ten seconds:
https://github.com/kubernetes/kubernetes/blob/v1.37.2/cmd/kube-controller-manager/app/controllermanager.go.
"""
CONTROLS = ' controller="'
"""What is in its log once it waits no longer."""
YOUNG_SECONDS, OLD_SECONDS = 2, 60
"""A younger one has most of its ten seconds left, of which it needs one where the API server was as quick; an
older one has a log of another kind."""
PORT_TAKEN = "bind: address already in use"
"""What a component says of a port that somebody else has."""


class ClusterError(Exception):
    """Something that the user has to know, in one message."""


class Condition(NamedTuple):
    """Which cluster there is to be, and how often it will have been repaired."""

    id: str
    repairs: int


def condition(cluster: str, owner: str) -> Condition:
    """Return the id of the owner's cluster, and how often it has been repaired: once more if it has to be now.

    Where there is no such cluster, never was or not any more, the id is a new one.
    """
    found = LocalCluster(workdir(), cluster, owner)
    note = found.note()
    if (note.get("owner"), note.get("state")) != (owner, "created"):
        return Condition(uuid.uuid4().hex, 0)
    return Condition(note["id"], note.get("repairs", 0) + found.is_broken())


def confirm(cluster: str, owner: str, cluster_id: str) -> None:
    """Note that the owner's cluster is in Pulumi's state: only a `delete` removes it from now on."""
    found = LocalCluster(workdir(), cluster, owner)
    note = found.note()
    if (note.get("owner"), note.get("id")) == (owner, cluster_id) and not note.get("known"):
        found.mark(known=True)


def ended(cluster: str) -> list[str]:
    """Return the log of each component of a cluster that should run and has ended."""
    return LocalCluster(workdir(), cluster, "").ended()


@contextmanager
def reserved_ports() -> Iterator[dict[str, int]]:
    """Provide the ports of the components, the configured one among them."""
    port = os.environ.get("KWOK_DRA_APISERVER_PORT", "")
    with ExitStack() as until_the_end:
        try:
            options = until_the_end.enter_context(ports.reserved({"kubeApiserverPort": int(port)} if port else {}))
        except ports.PortTakenError as error:
            raise ClusterError(
                f"kwok-dra:cluster.kubeApiserverPort: {error}. Choose another one, or leave the key out to get a "
                "free one"
            ) from None
        yield options


@contextmanager
def one_at_a_time(folder: Path, patience: float = 600) -> Iterator[None]:
    """Let one kwokctl at a time work in a folder: it writes the kubeconfig that clusters share, waiting for no other.

    The lock is a name among Linux' abstract sockets, which is free again when its process ends, however that comes. Who
    has waited `patience` seconds goes on without it.
    """
    name = hashlib.sha256(str(folder).encode()).hexdigest()
    end = time.monotonic() + patience
    with socket.socket(socket.AF_UNIX) as lock:
        while time.monotonic() < end:
            with suppress(OSError):
                lock.bind(f"\0kwok-dra-{name}")
                break
            time.sleep(POLL_SECONDS)
        yield


class LocalCluster:
    """A kwokctl cluster: its name, its folder and the processes in it."""

    def __init__(self, folder: Path, name: str, owner: str) -> None:
        """Name the cluster of `owner`, a stack, in kwokctl's `folder`."""
        self.workdir = folder
        self.name = name
        self.owner = owner
        self.folder = folder / "clusters" / name
        self.kubeconfig = kubeconfig(folder, name)
        self.shared = shared_kubeconfig(folder)
        self.marker = self.folder / "kwok-dra.json"
        self.removal = folder / f"{name}.removing.json"

    def claim_name(self, new_id: str) -> None:
        """Make the cluster's folder, or raise if somebody else's cluster has it.

        What an interrupted create of the same stack left behind is removed: a cluster that Pulumi never got to know of.
        """
        self._forget_unclaimed()
        if self.folder.exists():
            left = self.note()
            mine = (left.get("owner"), left.get("project")) == (self.owner, str(PROJECT))
            if not mine or not _is_interrupted(left):
                raise ClusterError(
                    f"kwok-dra:cluster.name: there is a cluster {self.name!r} already, in {self.folder}, and this "
                    "stack did not create it. Choose another name (`pulumi config set --path "
                    "kwok-dra:cluster.name NAME`), or delete that cluster if nobody needs it "
                    f"(`kwokctl delete cluster --name {self.name}`)"
                )
            _end_kwokctl(left.get("kwokctl"))
            try:
                self.remove()
            except ClusterError as error:
                if UNREADABLE not in str(error):
                    raise
                (self.folder / "kwok.yaml").unlink(missing_ok=True)
                self.remove()
        self.folder.mkdir(mode=0o700, parents=True)
        self.mark(state="creating", owner=self.owner, project=str(PROJECT), id=new_id)

    def _forget_unclaimed(self) -> None:
        """Remove the empty folder of a create that was killed before it could note whose it is."""
        self.marker.with_suffix(".new").unlink(missing_ok=True)
        with suppress(OSError):  # there is none, or it is not empty
            self.folder.rmdir()

    def note(self) -> dict[str, Any]:
        """Return what is noted about the cluster in its folder; empty if this script did not make it.

        Of one that is half removed, the note is beside its folder.
        """
        file = self.removal if self._is_half_removed() else self.marker
        return parse(file.read_text()) if file.exists() else {}

    def _is_half_removed(self) -> bool:
        """Tell whether a removal was killed, and nobody has made another cluster of this name since."""
        document = self.folder / "kwok.yaml"
        return (
            not self.marker.exists()
            and self.removal.exists()
            and not (document.exists() and document.stat().st_mtime > self.removal.stat().st_mtime)
        )

    def mark(self, **values: object) -> None:
        """Note whose cluster this is, how far it is and which kwokctl is at work on it; never half a note."""
        _write_whole(self.marker, json.dumps({**self.note(), **values}))

    def start(self, configuration: str, options: dict[str, int], stages: str, deadline: float) -> None:
        """Run `kwokctl create cluster` and wait until every component runs and the API server is ready."""
        documents = self._write_documents(configuration, options)
        (self.folder / STAGES_FILE).write_text(stages)
        flags = [part for document in documents for part in ("--config", str(document))]
        flags += ["--kubeconfig", str(self.shared)]
        version = os.environ.get("KWOK_DRA_KUBE_VERSION", "")
        environment = programs.of_control_plane(version)
        with one_at_a_time(self.workdir), self._kwokctl("create", *flags, environment=environment) as process:
            self.mark(kwokctl=process.pid)
            while process.poll() is None:
                self._check_alive(CHECK)
                _check_time(self.name, deadline)
                time.sleep(POLL_SECONDS)
        self.kubeconfig.chmod(0o600)
        Thread(target=self._warm_up, daemon=True).start()
        self._wait_until_ready(deadline, CHECK)

    def _write_documents(self, configuration: str, options: dict[str, int]) -> list[Path]:
        """Write what kwokctl makes the cluster of: what is configured, and what is this cluster's own.

        kwokctl merges them. Only on this machine itself do components share its ports and have an etcd that everybody
        can talk to: a prefix of its own keeps an API server from taking another cluster's etcd for its own.
        """
        configured = self.folder / "kwokctl.yaml"
        configured.write_text(configuration)
        if "runtime: binary\n" not in configuration:
            return [configured]
        own = self.folder / OWN_OPTIONS_FILE
        header = {"apiVersion": "config.kwok.x-k8s.io/v1alpha1", "kind": "KwokctlConfiguration"}
        own.write_text(json.dumps({**header, "options": {**options, "etcdPrefix": f"/registry/{self.note()['id']}"}}))
        return [configured, own]

    def ended(self) -> list[str]:
        """Return the logs of the components that have ended, though nobody has stopped them."""
        names = [component for component, pid in self._pids().items() if not self._is_component(pid)]
        return [str(self.folder / "logs" / f"{component}.log") for component in sorted(names)]

    def is_broken(self) -> bool:
        """Tell whether the kubeconfig or a component's process is gone, or a repair did not come to its end.

        Containers look after themselves.
        """
        if self.note().get("broken") or not self.kubeconfig.exists():
            return True
        return (self.folder / "pids").exists() and (not self._pids() or bool(self.ended()))

    def repair(self, kubeconfig: str, deadline: float) -> None:
        """Put the kubeconfig back if it is gone, start the components that have ended and wait until all is ready."""
        if not self.kubeconfig.exists():
            _write_whole(self.kubeconfig, kubeconfig)
        pids = self._components()
        strays = {f"process {pid}": pid for pid in set(self._strays()).difference(pids.values())}
        for pid in strays.values():
            self._kill(pid)
        self._wait_for_end(strays)
        self._check_ports_of_ended(pids)
        self._start_again(deadline)
        if (self.folder / "pids").exists() and KWOK not in pids:
            self._give_nodes_to_kwok(deadline)

    def _check_ports_of_ended(self, running: Iterable[str]) -> None:
        """Raise if another program has got a port of a component that is to be started again."""
        for component, port in self._own_ports():
            if component not in running and (reason := ports.taken(port)):
                raise ClusterError(
                    f"{component} of cluster {self.name} has ended and cannot start again: its port {port} cannot be "
                    f"used ({reason}). End the program that has it (`ss -ltnp 'sport = :{port}'` shows it), or "
                    f"{REPLACE}"
                )

    def _own_ports(self) -> Iterator[tuple[str, int]]:
        own = self.folder / OWN_OPTIONS_FILE
        options = parse(own.read_text())["options"] if own.exists() else {}
        for component, names in ports.OF_COMPONENTS.items():
            yield from ((component, options[name]) for name in names if name in options)

    def _start_again(self, deadline: float) -> None:
        with self._kwokctl("start") as process:
            while process.poll() is None:
                self._ready()  # or says at once why it never will be
                time.sleep(POLL_SECONDS)
        self._wait_until_ready(deadline, f"Start it again with `pulumi up`, or {REPLACE}")

    def _give_nodes_to_kwok(self, deadline: float) -> None:
        """Start KWOK once more, without the leases of the process before: minutes pass until these expire.

        Until then it leaves nodes and their pods alone: `tryAcquireOrRenew` in
        https://github.com/kubernetes-sigs/kwok/blob/v0.8.0/pkg/kwok/controllers/node_lease_controller.go
        """
        pid = self._components()[KWOK]
        self._kill(pid)
        self._wait_for_end({KWOK: pid})
        with suppress(OSError, HTTPException):
            self._ask("DELETE", NODE_LEASES)
        self._components()
        self._start_again(deadline)

    def describe(self) -> None:
        """Print what the program needs to know, as JSON."""
        viewed = self._kubectl("config", "view", "--raw", "--flatten")
        if viewed.returncode:
            raise ClusterError(f"the kubeconfig of cluster {self.name} cannot be read:\n{_tail(viewed.stderr)}")
        paths = {"kubeconfigPath": str(self.kubeconfig), "workdir": str(self.workdir)}
        print(json.dumps({"id": self.note().get("id"), "kubeconfig": viewed.stdout, **paths}))

    def remove(self) -> None:
        """Delete the cluster, wait until its processes have ended and remove what kwokctl leaves.

        kwokctl removes the files in any order, so that it is noted beside them first whose they are.
        """
        if self.marker.exists():
            self.mark(state="removing")
            _write_whole(self.removal, self.marker.read_text())
        pids = self._components()
        with one_at_a_time(self.workdir):
            if (self.folder / "kwok.yaml").exists():
                with self._kwokctl("delete", "--kubeconfig", str(self.shared)) as process:
                    process.wait()
            self._forget_if_last()
        for pid in self._strays():
            self._kill(pid)
            pids[f"process {pid}"] = pid
        self._wait_for_end(pids)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.removal.unlink(missing_ok=True)

    def _forget_if_last(self) -> None:
        """Remove what clusters share, if there is no other."""
        if self.shared.exists() and "contexts: null" in self.shared.read_text():
            self.shared.unlink()
            shutil.rmtree(self.workdir / "kubectl-cache", ignore_errors=True)

    def _restore_shared(self) -> None:
        """Write the kubeconfig that clusters share anew if a kwokctl was killed when it had emptied it to write it."""
        if self.shared.exists() and not self.shared.stat().st_size:
            files = map(str, self.workdir.glob("clusters/*/kubeconfig.yaml"))
            viewed = self._kubectl("config", "view", "--raw", "--flatten", kubeconfig=":".join(sorted(files)))
            _write_whole(self.shared, viewed.stdout)

    @contextmanager
    def _kwokctl(
        self, verb: str, *flags: str, environment: dict[str, str] | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run kwokctl; at the end of the block it has ended, or is ended, and a failure raises its last words."""
        # That of a kwokctl that was killed: with it there, the kubeconfig cannot be written any more.
        self.shared.with_name(f"{self.shared.name}.lock").unlink(missing_ok=True)
        self._restore_shared()
        command = ["kwokctl", "--name", self.name, verb, "cluster", *flags]
        # What the user set, such as KWOK_KUBE_APISERVER_BINARY, goes before what we know.
        variables = {**(environment or {}), **os.environ, "KWOK_WORKDIR": str(self.workdir)}
        variables.update(kubectl_environment(self.workdir, self.kubeconfig))
        with open(self.folder / "kwokctl.log", "w+") as log:
            process = subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            try:
                yield process
            finally:
                process.kill()
                process.wait()
            if process.returncode:
                log.seek(0)
                raise ClusterError(f"kwokctl could not {verb} cluster {self.name}:\n{_tail(log.read())}")

    def _kubectl(self, *arguments: str, kubeconfig: str = "") -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **kubectl_environment(self.workdir, Path(kubeconfig or self.kubeconfig))}
        return subprocess.run(["kubectl", *arguments], env=environment, capture_output=True, text=True)

    def _pids(self) -> dict[str, int]:
        pids = {}
        for file in (self.folder / "pids").glob("*.pid"):
            text = file.read_text().strip()
            if text.isdigit():
                pids[file.stem] = int(text)
        return pids

    def _components(self) -> dict[str, int]:
        """Return the process ids of the components that run, once there is no file of any other.

        After a restart of the machine a number may be somebody else's, and kwokctl would kill it, or take it for a
        component that runs; so it does with one that has ended and is not yet buried.
        """
        pids = self._pids()
        for component in [component for component, pid in pids.items() if not self._is_component(pid)]:
            (self.folder / "pids" / f"{component}.pid").unlink()
            del pids[component]
        return pids

    def _is_component(self, pid: int) -> bool:
        program = processes.program(pid)
        return processes.running(pid) and (not program or program.startswith(f"{self.folder}/bin/"))

    def _strays(self) -> list[int]:
        """Find components that have no pid file: kwokctl was killed between starting one and noting it."""
        return [pid for pid in processes.all_ids() if processes.program(pid).startswith(f"{self.folder}/bin/")]

    def _kill(self, pid: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def _wait_for_end(self, pids: dict[str, int]) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        while left := [component for component, pid in pids.items() if processes.running(pid)]:
            if time.monotonic() > deadline:
                raise ClusterError(f"{', '.join(left)} of cluster {self.name} did not end; see {self.folder}")
            time.sleep(POLL_SECONDS)

    def _wait_until_ready(self, deadline: float, advice: str) -> None:
        while not self._ready() or self._may_give_up():
            self._check_alive(advice)
            _check_time(self.name, deadline)
            time.sleep(POLL_SECONDS)
        self._check_alive(advice)
        if self.ended():  # as the machine is slow: what gave up finds the API server healthy now
            _check_time(self.name, deadline)
            self._components()
            self._start_again(deadline)

    def _may_give_up(self) -> bool:
        """Tell whether kube-controller-manager waits for the API server on a machine where that may take too long."""
        pid, log = self.folder / "pids" / f"{MANAGER}.pid", self.folder / "logs" / f"{MANAGER}.log"
        if not pid.exists() or not log.exists() or str(log) in self.ended():
            return False
        is_late = YOUNG_SECONDS < time.time() - pid.stat().st_mtime < OLD_SECONDS
        return is_late and CONTROLS not in log.read_text()

    def _ready(self) -> bool:
        """Ask the API server, where that is possible without a kubectl: one takes from it what it needs to start."""
        if not (self.folder / "pki").exists():
            return self._kubectl("--request-timeout", "5s", "get", "--raw", READY).returncode == 0
        try:
            return self._ask("GET", READY) == HTTPStatus.OK
        except ssl.SSLCertVerificationError as error:
            raise ClusterError(
                f"the API server of cluster {self.name} shows a certificate that cannot be trusted: "
                f"{error.verify_message}; {REPLACE}"
            ) from None
        except (OSError, HTTPException):
            return False

    def _ask(self, method: str, path: str, accept: str = "*/*") -> int:
        """Return the status of the API server's answer."""
        pki = self.folder / "pki"
        trust = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        trust.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        server = re.search(r"server: https://(.+):([0-9]+)", self.kubeconfig.read_text())
        host, port = server.groups() if server else ("", "0")
        with closing(HTTPSConnection(host, int(port), context=trust, timeout=5)) as connection:
            connection.request(method, path, headers={"Accept": accept})
            return connection.getresponse().status

    def _warm_up(self) -> None:
        """Have the API server make the description of its APIs now, which the provider waits a second for later on."""
        with suppress(OSError, HTTPException):
            self._ask("GET", "/openapi/v2", OPENAPI)

    def _check_alive(self, advice: str) -> None:
        """Raise if a component has ended, unless it only gave up waiting for the API server."""
        for component, pid in self._pids().items():
            if not processes.running(pid):
                log = self.folder / "logs" / f"{component}.log"
                errors = _errors(log.read_text() if log.exists() else "")
                if GAVE_UP not in errors:
                    raise ClusterError(
                        f"{component} of cluster {self.name} ended while it was starting:\n{errors}\n{advice}"
                    )


def _check_time(cluster: str, deadline: float) -> None:
    if time.monotonic() > deadline:
        raise ClusterError(
            f"cluster {cluster} was not ready in time; give it longer with kwok-dra:cluster.readyTimeoutSeconds "
            f"(now {os.environ['KWOK_DRA_READY_TIMEOUT']})"
        )


def parse(text: str) -> dict[str, Any]:
    """Read what this script wrote as JSON; empty if it is something else."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _write_whole(file: Path, text: str) -> None:
    """Write a file that only we can read; whoever is killed meanwhile leaves all of it, or the one before."""
    new = file.with_suffix(".new")
    with open(new, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as opened:
        opened.write(text)
    new.replace(file)


def _is_interrupted(note: dict[str, Any]) -> bool:
    """Tell whether a create or a removal did not come to its end, or the update that ran the create did not."""
    return note.get("state") in ("creating", "removing") or ("id" in note and not note.get("known"))


def _end_kwokctl(pid: int | None) -> None:
    """End the kwokctl of an interrupted create, if it is still at work."""
    if pid and "kwokctl" in processes.command_line(pid):
        os.kill(pid, signal.SIGKILL)
        while processes.running(pid):
            time.sleep(POLL_SECONDS)


def _tail(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.strip().splitlines()[-LOG_LINES:])


def _errors(text: str) -> str:
    lines = [line for line in text.splitlines() if line.startswith(("Error:", "F", "E", "panic:")) or '"error"' in line]
    return _tail("\n".join(lines) or text)
