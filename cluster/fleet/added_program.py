"""A program that a stack runs beside the components of its cluster: a scheduler or a controller.

It is a component of the cluster, in kwokctl's kwok.yaml: `kwokctl get components` shows it, and it is started, stopped
and deleted with the cluster.
"""

import base64
import http.client
import json
import re
import shlex
import shutil
import ssl
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import yaml

from cluster.local import kwokctl, ports, processes
from cluster.local.cluster_record import parse
from cluster.local.components import OWNER
from cluster.local.errors import ClusterError, error_lines, tail
from cluster.local.kwok_cluster import LocalCluster
from cluster.local.kwokctl import POLL_SECONDS, one_at_a_time
from cluster.local.paths import PROJECT, kubeconfig, workdir, write_private
from topology.kubernetes.objects import Manifest
from topology.kubernetes.reading import group_of, namespace_of
from topology.objects.local_webhooks import for_local_process, local_urls
from topology.objects.tuning import KUBE_SCHEDULER

RECORD, OBJECTS = "record.json", "objects.json"
CERTIFICATES = {"tls.crt": "admin.crt", "tls.key": "admin.key", "ca.crt": "ca.crt"}
"""The files of a program, and those of kwokctl that they are copies of."""

FIRST = ("CustomResourceDefinition", "Namespace")
OBJECT_SECONDS = 60
"""A kind is served, and an object deleted, within this time."""

RESTORE_SECONDS = 60
"""Within this time, the previous program is ready again."""

TOO_EARLY = re.compile("conditions accessor error|request did not complete")
"""What kubectl says of a CRD that has no condition yet, and of an API server that has too much to do."""

YOUNG_SECONDS = 1
"""A program that does not say how to see that it is ready counts as started when it has run for so long."""

WEBHOOK_SECONDS = 30
"""A program that is ready serves each webhook of its manifests within this time, or does not serve it at all."""

APPLY = ("apply", "--server-side", "--force-conflicts", "--field-manager=kwok-dra")

MAIN_PORT = "main"
"""The name of `{port}`."""

_PORT = re.compile(r"\{port(?:\.([a-z0-9-]+))?\}")
_ANY_CERTIFICATE = ssl._create_unverified_context()


class Wanted(NamedTuple):
    """What a stack says of a program: the absolute path of its binary, empty for kube-scheduler, and the rest."""

    name: str
    key: str
    """Where the program is configured, for messages."""
    binary: str
    args: Sequence[str]
    env: Mapping[str, str]
    files: Mapping[str, Any]
    objects: Sequence[Manifest]
    ready: str
    certificate_secret: Sequence[str] = ()
    """Namespace and name of the Secret in which a program that makes its own certificate keeps it."""


def repairs(cluster: str, component: str) -> int:
    """Return how often a program will have been started again, including once if it has exited."""
    program = AddedProgram(kubeconfig(workdir(), cluster), component)
    record = _read_record(program.folder)
    return int(record.get("repairs", 0)) + ("wanted" in record and not program.pids())


class AddedProgram:
    """A program in the cluster of a kubeconfig, which kwokctl keeps in the cluster's folder."""

    def __init__(self, kubeconfig: Path, name: str) -> None:
        """Describe the program `name`, which need not exist."""
        self.name = name
        self.cluster = LocalCluster(kubeconfig.parents[2], kubeconfig.parent.name)
        self.folder = self.cluster.components.added(name)
        self.log = self.cluster.components.log(name)
        self.binary = self.cluster.folder / "bin" / name

    def pids(self) -> dict[str, int]:
        """Return the process id by the program's name; empty if it does not run."""
        pid = self.cluster.components.recorded().get(self.name)
        return {self.name: pid} if pid and self.cluster.components.is_component(pid) else {}

    def put(self, wanted: Wanted, deadline: float, repaired: int = 0) -> None:
        """Start the program, or start it again, as `wanted`; if it does not become ready, leave all as it was before.

        Raises:
            ClusterError: the program exits, or is not ready in time; with its own words.
        """
        before = _read_record(self.folder)
        try:
            self._start(wanted, deadline)
        except BaseException:
            if "wanted" in before:
                self._start(Wanted(**before["wanted"]), time.monotonic() + RESTORE_SECONDS)
            else:
                self.remove()
            raise
        self._update_record(wanted=wanted._asdict(), repairs=repaired)

    def remove(self) -> None:
        """Delete the objects of the program, stop it, and put back the component whose place it has taken."""
        original = _read_record(self.folder).get("original")
        with suppress(ClusterError):  # The cluster may no longer answer, and goes next.
            self._delete(_objects(self.folder / OBJECTS))
        with one_at_a_time(self.cluster.workdir):
            self._stop()
            self._write_component(original)
            shutil.rmtree(self.folder, ignore_errors=True)
            if original:
                self._run_kwokctl()
            else:
                self.binary.unlink(missing_ok=True)

    # Starting.

    def _start(self, wanted: Wanted, deadline: float) -> None:
        record = _read_record(self.folder)
        stock = self._component() if self.name == KUBE_SCHEDULER else None
        original = record["original"] if record else stock
        ca = base64.b64encode((self.cluster.folder / "pki" / "ca.crt").read_bytes()).decode()
        wanted = wanted._replace(objects=for_local_process(wanted.objects, ca))
        names = dict.fromkeys(name or MAIN_PORT for name in _PORT.findall(json.dumps(wanted)))
        kept: dict[str, int] = record.get("ports", {})
        with ports.some(name for name in names if name not in kept) as free:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._update_record(original=original, ports=kept | free)
            filled = self._filled(wanted, kept | free)
            self._write_files(filled)
            self._apply(filled.objects)
            self._restart(filled, original)
            self._wait(filled, deadline)

    def _filled(self, wanted: Wanted, by_name: Mapping[str, int]) -> Wanted:
        """Return the program with values for its placeholders, and its files as texts."""
        values: dict[str, str | int] = {
            "{kubeconfig}": str(self.cluster.kubeconfig),
            "{server}": self.cluster.readiness.server,
            "{certificates}": str(self.folder / "certificates"),
            "{folder}": str(self.folder),
            "{project}": str(PROJECT),
            **{f"{{port.{name}}}": port for name, port in by_name.items()},
            "{port}": by_name.get(MAIN_PORT, 0),
        }

        def text(value: Any) -> str:
            written = value if isinstance(value, str) else yaml.safe_dump(_filled(value, values), sort_keys=False)
            return str(_filled(written, values))

        return wanted._replace(
            args=[text(argument) for argument in wanted.args],
            env={name: text(value) for name, value in wanted.env.items()},
            files={name: text(content) for name, content in wanted.files.items()},
            objects=_filled(wanted.objects, values),
            ready=text(wanted.ready),
        )

    def _write_files(self, wanted: Wanted) -> None:
        pki = self.cluster.folder / "pki"
        certificates = self.folder / "certificates"
        certificates.mkdir(exist_ok=True, mode=0o700)
        for name, source in CERTIFICATES.items():
            write_private(certificates / name, (pki / source).read_text())
        for name, text in wanted.files.items():
            write_private(self.folder / name, text)

    def _apply(self, objects: Sequence[Manifest]) -> None:
        """Apply the objects, CRDs and namespaces first, which others may need; delete those no longer wanted."""
        names = [_identity(entry) for entry in objects]
        gone = [entry for entry in _objects(self.folder / OBJECTS) if _identity(entry) not in names]
        self._write_objects([*objects, *gone])
        self._kubectl([entry for entry in objects if entry["kind"] in FIRST], *APPLY)
        definitions = [entry for entry in objects if entry["kind"] == "CustomResourceDefinition"]
        self._kubectl(definitions, "wait", "--for=condition=Established", f"--timeout={OBJECT_SECONDS}s")
        self._kubectl([entry for entry in objects if entry["kind"] not in FIRST], *APPLY)
        self._delete(gone)
        self._write_objects(objects)

    def _delete(self, objects: Sequence[Manifest]) -> None:
        """Delete objects, webhooks before what they would be asked about, and definitions last."""
        reverse = sorted(objects, key=lambda entry: (entry["kind"] in FIRST, "Webhook" not in entry["kind"]))
        self._kubectl(reverse, "delete", "--ignore-not-found", f"--timeout={OBJECT_SECONDS}s")

    def _kubectl(self, objects: Sequence[Manifest], *arguments: str) -> None:
        if not objects:
            return
        file = self.folder / "kubectl.json"
        file.write_text(_as_list(objects))
        command = (str(self.cluster.kubeconfig), *arguments, "--filename", str(file))
        deadline = time.monotonic() + OBJECT_SECONDS
        while (done := kwokctl.kubectl(self.cluster.workdir, *command)).returncode:
            if TOO_EARLY.search(done.stderr) and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
                continue
            raise ClusterError(f"kubectl could not {arguments[0]} the manifests of {self.name}:\n{tail(done.stderr)}")

    def _write_objects(self, objects: Sequence[Manifest]) -> None:
        write_private(self.folder / OBJECTS, _as_list(objects))

    def _restart(self, wanted: Wanted, original: Mapping[str, Any] | None) -> None:
        with one_at_a_time(self.cluster.workdir):
            self._stop()
            self._write_binary(wanted)
            self._write_component(self._wished_component(wanted, original))
            self._run_kwokctl()

    def _run_kwokctl(self) -> None:
        self.cluster.components.running()  # kwokctl starts those without a pid file
        with kwokctl.run(self.cluster.workdir, self.cluster.name, "start") as process:
            process.wait()

    def _stop(self) -> None:
        self.cluster.components.kill(self.pids())
        self.cluster.components.pid_file(self.name).unlink(missing_ok=True)

    def _write_binary(self, wanted: Wanted) -> None:
        """Write a program with the component's name, after which kwokctl names the log, that becomes the wanted one."""
        if self.name == KUBE_SCHEDULER:
            return
        target = wanted.binary or str(self.binary.with_name(KUBE_SCHEDULER))
        write_private(self.binary, f'#!/bin/sh\nexec {shlex.quote(target)} "$@"\n')
        self.binary.chmod(0o700)

    def _wait(self, wanted: Wanted, deadline: float) -> None:
        """Wait until the program is ready, and then until it serves its webhooks.

        JobSet, for one, is ready before: it adds them to a server that runs. The API server refuses what it cannot
        ask about. https://github.com/kubernetes-sigs/jobset/blob/v0.12.0/main.go
        """
        begun = time.monotonic()
        self._wait_until(lambda: self._is_ready(wanted, begun), wanted, deadline)
        missing = list(local_urls(wanted.objects))
        end = time.monotonic() + WEBHOOK_SECONDS

        def is_over() -> bool:
            missing[:] = _not_served(missing)
            return not missing or time.monotonic() > end

        self._wait_until(is_over, wanted, end + WEBHOOK_SECONDS)
        if missing:
            print(
                f"{wanted.key}: {self.name} does not serve these webhooks of its manifests, so the API server refuses "
                f"what it has to ask them about: {', '.join(missing)}",
                file=sys.stderr,
            )

    def _wait_until(self, condition: Callable[[], bool], wanted: Wanted, deadline: float) -> None:
        while not condition():
            pid = self.cluster.components.recorded().get(self.name)
            if pid is None or not processes.running(pid):
                raise ClusterError(f"{wanted.key}: {self.name} exited while it was starting:\n{self._words()}")
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"{wanted.key}: {self.name} was not ready in time; its last words, in {self.log}:\n"
                    f"{self._words()}\nCorrect it, or increase kwok-dra:cluster.readyTimeoutSeconds"
                )
            time.sleep(POLL_SECONDS)

    def _is_ready(self, wanted: Wanted, begun: float) -> bool:
        if wanted.certificate_secret:
            self._take_certificates(*wanted.certificate_secret)
        if not wanted.ready:
            return time.monotonic() > begun + YOUNG_SECONDS
        with suppress(OSError), urllib.request.urlopen(wanted.ready, timeout=5, context=_ANY_CERTIFICATE):
            return True
        return False

    def _take_certificates(self, namespace: str, name: str) -> None:
        arguments = ("get", "secret", name, "--namespace", namespace, "--output", "json")
        done = kwokctl.kubectl(self.cluster.workdir, str(self.cluster.kubeconfig), *arguments)
        data = parse(done.stdout).get("data") or {}
        for key in CERTIFICATES if "tls.crt" in data else ():
            text = base64.b64decode(data[key]).decode()
            file = self.folder / "certificates" / key
            if file.read_text() != text:
                write_private(file, text)

    def _words(self) -> str:
        """Return the last errors in the program's log, which begins anew at each start."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return error_lines(text) or "  (it has logged nothing)"

    # What is kept.

    def _update_record(self, **values: Any) -> None:
        write_private(self.folder / RECORD, json.dumps({**_read_record(self.folder), **values}))

    def _wished_component(self, wanted: Wanted, original: Mapping[str, Any] | None) -> dict[str, Any]:
        stock = {} if wanted.binary else original or self._component(KUBE_SCHEDULER) or {}
        env = {"KUBECONFIG": str(self.cluster.kubeconfig), OWNER: str(self.cluster.folder), **wanted.env}
        return {
            "name": self.name,
            "links": ["kube-apiserver"],
            "binary": str(self.binary),
            "args": [*stock.get("args", []), *wanted.args],  # Of two flags with the same name, the last one counts.
            "workDir": str(self.cluster.folder),
            "envs": [*stock.get("envs", []), *({"name": name, "value": text} for name, text in env.items())],
        }

    def _component(self, name: str = "") -> dict[str, Any] | None:
        return next(
            (entry for entry in self._document()[0]["components"] if entry["name"] == (name or self.name)), None
        )

    def _document(self) -> tuple[dict[str, Any], str]:
        """Return the KwokctlConfiguration of the cluster, and the text of the documents after it."""
        first, separator, rest = self.cluster.document.read_text().partition("\n---\n")
        return yaml.load(first, Loader=yaml.CSafeLoader), separator + rest

    def _write_component(self, component: Mapping[str, Any] | None) -> None:
        """Replace the component in kwok.yaml; remove it if there is none."""
        configuration, rest = self._document()
        others = [entry for entry in configuration["components"] if entry["name"] != self.name]
        configuration["components"] = [*others, *([component] if component else [])]
        write_private(self.cluster.document, yaml.dump(configuration, Dumper=yaml.CSafeDumper).rstrip() + rest)


def _read_record(folder: Path) -> dict[str, Any]:
    """Return the original component and the ports and, once the program has been ready, what was wanted."""
    file = folder / RECORD
    return parse(file.read_text()) if file.exists() else {}


def _objects(file: Path) -> list[dict[str, Any]]:
    return list(json.loads(file.read_text())["items"]) if file.exists() else []


def _not_served(urls: Sequence[str]) -> list[str]:
    """Return those of the URLs, which are all on one port, that their server does not know."""
    if not urls:
        return []
    connection = http.client.HTTPSConnection(urlsplit(urls[0]).netloc, timeout=5, context=_ANY_CERTIFICATE)
    with suppress(OSError, http.client.HTTPException), closing(connection):
        return [url for url in urls if _status(connection, urlsplit(url).path) == http.client.NOT_FOUND]
    return list(urls)


def _status(connection: http.client.HTTPConnection, path: str) -> int:
    connection.request("GET", path or "/")
    answer = connection.getresponse()
    answer.read()  # The connection is used again.
    return answer.status


def _as_list(objects: Sequence[Manifest]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


def _identity(entry: Manifest) -> tuple[str, ...]:
    return group_of(entry), entry["kind"], namespace_of(entry), entry["metadata"]["name"]


def _filled(value: Any, values: Mapping[str, str | int]) -> Any:
    """Return a value with values for the placeholders of its texts; a text that is one port becomes a number."""
    if isinstance(value, str):
        if isinstance(port := values.get(value), int):
            return port
        for placeholder, own in values.items():
            value = value.replace(placeholder, str(own))
        return value
    if isinstance(value, Mapping):
        return {name: _filled(entry, values) for name, entry in value.items()}
    return [_filled(entry, values) for entry in value] if isinstance(value, list | tuple) else value
