"""A program beside a cluster: what becomes of its files, objects and process; with a fake `kwokctl` and `kubectl`."""

import base64
import http.client
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from cluster.fleet import added_program
from cluster.fleet.added_program import AddedProgram, Wanted, repairs
from cluster.local import kwokctl, processes
from cluster.local.errors import ClusterError
from commands import added_program as command

Object = dict[str, Any]

STOCK = {
    "name": "kube-scheduler",
    "binary": "/bin/kube-scheduler",
    "args": ["--secure-port=10259", "--kubeconfig=k", "--feature-gates=A=true"],
}
SERVICE = {"name": "hooks", "namespace": "rails", "path": "/mutate"}
CRD = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "trains"}}
SPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "rails"}}
CONFIG = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "c"},
    "data": {"port": "{port}", "a": "{folder}"},
}
HOOK = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "MutatingWebhookConfiguration",
    "metadata": {"name": "w"},
    "webhooks": [{"name": "a", "clientConfig": {"service": SERVICE}}],
}
UNREACHABLE = "http://127.0.0.1:1/"
LATE = f"""#!{sys.executable}
import http.server, pathlib, sys

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked = []

    def do_GET(self):
        self.asked.append(self.path)
        pathlib.Path(sys.argv[2]).write_text(" ".join(self.asked))
        self.send_response(200 if len(self.asked) > 2 else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
"""A program that serves its webhooks later than it listens."""


class FakeCluster:
    """The folder of a cluster, with what kwokctl and kubectl make of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: list[tuple[str, list[str]]] = []
        """The verbs of kubectl, each with the names of the objects."""
        self.applied: list[Object] = []
        self.failures: list[str] = []
        """What kubectl says at its next calls, which fail."""
        self.secret: Object = {}
        self.started: list[subprocess.Popen[bytes]] = []
        self.starts = 0
        """How often kwokctl has started what does not run."""

    @contextmanager
    def run(self, workdir: Path, cluster: str, verb: str) -> Iterator[Any]:
        """Start the components that have no pid file, as kwokctl does."""
        assert (workdir, cluster, verb) == (self.folder.parents[1], "c", "start")
        self.starts += 1
        for component in self.components().values():
            file = self.folder / "pids" / f"{component['name']}.pid"
            if file.exists() or component["binary"] == STOCK["binary"]:
                continue
            environment = {entry["name"]: entry["value"] for entry in component["envs"]} | {"PATH": os.environ["PATH"]}
            with open(self.folder / "logs" / f"{component['name']}.log", "w") as log:
                command = [component["binary"], *component["args"]]
                process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=component["workDir"])
            self.started.append(process)
            file.write_text(str(process.pid))
        yield SimpleNamespace(wait=lambda: None)

    def kubectl(self, _: Path, kubeconfig: str, verb: str, *arguments: str) -> Any:
        assert kubeconfig == str(self.folder / "kubeconfig.yaml")
        if self.failures:
            return SimpleNamespace(returncode=1, stdout="", stderr=self.failures.pop(0))
        if verb == "get":
            return SimpleNamespace(returncode=0, stdout=json.dumps(self.secret), stderr="")
        objects = json.loads(Path(arguments[-1]).read_text())["items"]
        self.calls.append((verb, [entry["metadata"]["name"] for entry in objects]))
        self.applied += objects if verb == "apply" else []
        return SimpleNamespace(returncode=0, stdout="", stderr="")

    def components(self) -> dict[str, Object]:
        """Return the components in kwok.yaml, by name."""
        first = next(yaml.safe_load_all((self.folder / "kwok.yaml").read_text()))
        return {entry["name"]: entry for entry in first["components"]}

    def pid(self, name: str) -> int:
        return int((self.folder / "pids" / f"{name}.pid").read_text())

    def record(self, name: str) -> Object:
        found: Object = json.loads((self.folder / "added" / name / "record.json").read_text())
        return found


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCluster]:
    folder = tmp_path / "clusters/c"
    for name in ("pids", "logs", "bin", "pki"):
        (folder / name).mkdir(parents=True)
    for name in ("admin.crt", "admin.key", "ca.crt"):
        (folder / "pki" / name).write_text(f"text of {name}")
    (folder / "kubeconfig.yaml").write_text("server: https://127.0.0.1:6443\n")
    (folder / "kwok.yaml").write_text(yaml.safe_dump({"components": [STOCK]}) + "---\nkind: Stage\n")
    found = FakeCluster(folder)
    monkeypatch.setattr(kwokctl, "run", found.run)
    monkeypatch.setattr(kwokctl, "kubectl", found.kubectl)
    monkeypatch.setattr(added_program, "YOUNG_SECONDS", 0)
    monkeypatch.setattr(added_program, "WEBHOOK_SECONDS", 0)
    monkeypatch.setenv("KWOK_WORKDIR", str(tmp_path))
    yield found
    for process in found.started:
        process.kill()
        process.wait()


def script(file: Path, text: str = "exec sleep 3600") -> str:
    """Write a program, unless it is there: one that is being started cannot be written."""
    if not file.exists():
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)
    return str(file)


def own(fake: FakeCluster, **values: Any) -> Wanted:
    """Return a program that runs until it is killed."""
    wanted = Wanted("own", "kwok-dra:controllers[0]", script(fake.folder / "own.sh"), [], {}, {}, [], "")
    return wanted._replace(**values)


def put(fake: FakeCluster, wanted: Wanted, repaired: int = 0, seconds: float = 600) -> AddedProgram:
    program = AddedProgram(fake.folder / "kubeconfig.yaml", wanted.name)
    program.put(wanted, time.monotonic() + seconds, repaired)
    return program


def test_a_program_runs_as_a_component_with_values_for_its_placeholders(fake: FakeCluster) -> None:
    files: Mapping[str, Any] = {
        "c.yaml": {"port": "{port}", "server": "{server}", "list": ["{port.other}", 1, None]},
        "t": "{port}",
    }
    env = {"A": "{certificates}", "PORT": "{port}"}
    wanted = own(fake, args=["{port}", "--x={port.other}", "{kubeconfig}"], env=env, files=files)
    put(fake, wanted, repaired=3)
    record, folder = fake.record("own"), fake.folder / "added/own"
    main, other = record["ports"]["main"], record["ports"]["other"]
    component = fake.components()["own"]
    assert component["args"] == [str(main), f"--x={other}", f"{fake.folder}/kubeconfig.yaml"]
    assert {entry["name"]: entry["value"] for entry in component["envs"]} == {
        "KUBECONFIG": f"{fake.folder}/kubeconfig.yaml",
        "KWOK_DRA_COMPONENT_OF": str(fake.folder),
        "A": f"{folder}/certificates",
        "PORT": str(main),
    }
    assert yaml.safe_load((folder / "c.yaml").read_text()) == {
        "port": main,
        "server": "https://127.0.0.1:6443",
        "list": [other, 1, None],
    }
    assert (folder / "t").read_text() == str(main)
    certificates = {file.name: file.read_text() for file in (folder / "certificates").iterdir()}
    texts = ("text of admin.crt", "text of admin.key", "text of ca.crt")
    assert certificates == dict(zip(("tls.crt", "tls.key", "ca.crt"), texts, strict=True))
    assert record["wanted"] == json.loads(json.dumps(wanted._asdict()))
    assert (record["repairs"], record["original"]) == (3, None)
    assert "kind: Stage" in (fake.folder / "kwok.yaml").read_text()
    assert fake.components()["kube-scheduler"] == STOCK
    assert processes.running(fake.pid("own"))


def test_a_change_restarts_it_on_the_same_port(fake: FakeCluster) -> None:
    put(fake, own(fake, args=["{port}"]))
    before, ports = fake.pid("own"), fake.record("own")["ports"]
    put(fake, own(fake, args=["{port}", "{port.new}"]))
    assert not processes.running(before)
    assert fake.pid("own") != before
    assert fake.record("own")["ports"] == ports | {"new": fake.record("own")["ports"]["new"]}


def test_objects_are_applied_in_order_and_webhooks_lead_to_the_process(fake: FakeCluster) -> None:
    put(fake, own(fake, args=["{port}"], objects=[CONFIG, HOOK, CRD, SPACE]))
    assert fake.calls == [("apply", ["trains", "rails"]), ("wait", ["trains"]), ("apply", ["c", "w"])]
    ports = fake.record("own")["ports"]
    config, hook = fake.applied[2:]
    assert config["data"] == {"port": ports["main"], "a": f"{fake.folder}/added/own"}
    ca = base64.b64encode(b"text of ca.crt").decode()
    url = f"https://127.0.0.1:{ports['webhook']}/mutate"
    assert hook["webhooks"] == [{"name": "a", "clientConfig": {"url": url, "caBundle": ca}}]


def test_a_program_is_waited_for_until_it_serves_its_webhooks(
    fake: FakeCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(added_program, "WEBHOOK_SECONDS", 600)
    monkeypatch.setattr(http.client, "HTTPSConnection", lambda place, **_: http.client.HTTPConnection(place))
    asked, program = fake.folder / "asked", fake.folder / "late.py"
    program.write_text(LATE)
    program.chmod(0o755)
    conversion = {"webhook": {"clientConfig": {"service": SERVICE | {"path": "/convert"}}}}
    crd = CRD | {"spec": {"conversion": conversion}}
    put(fake, own(fake, binary=str(program), args=["{port.webhook}", str(asked)], objects=[HOOK, crd]))
    assert asked.read_text().split() == ["/mutate", "/convert"] * 2
    assert capsys.readouterr().err == ""


def test_a_webhook_that_is_never_served_is_told(fake: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    put(fake, own(fake, objects=[HOOK]))
    url = f"https://127.0.0.1:{fake.record('own')['ports']['webhook']}/mutate"
    assert capsys.readouterr().err == (
        "kwok-dra:controllers[0]: own does not serve these webhooks of its manifests, so the API server refuses what "
        f"it has to ask them about: {url}\n"
    )


def test_objects_that_are_no_longer_wanted_are_deleted_webhooks_first_and_definitions_last(fake: FakeCluster) -> None:
    put(fake, own(fake, objects=[SPACE, CONFIG, HOOK, CRD]))
    fake.calls.clear()
    put(fake, own(fake, objects=[SPACE]))
    assert fake.calls == [("apply", ["rails"]), ("delete", ["w", "c", "trains"])]
    fake.calls.clear()
    put(fake, own(fake, objects=[SPACE])).remove()
    assert fake.calls == [("apply", ["rails"]), ("delete", ["rails"])]


@pytest.mark.parametrize("said", ["conditions accessor error: x", "Timeout: request did not complete in time"])
def test_kubectl_is_asked_again_when_it_was_too_early(fake: FakeCluster, said: str) -> None:
    fake.failures = [said]
    put(fake, own(fake, objects=[CONFIG]))
    assert fake.calls == [("apply", ["c"])]


def test_what_kubectl_refuses_is_told_and_nothing_is_left(fake: FakeCluster) -> None:
    fake.failures = ["the object is wrong"]
    with pytest.raises(ClusterError, match="kubectl could not apply the manifests of own:\n  the object is wrong"):
        put(fake, own(fake, objects=[CONFIG]))
    assert fake.components().keys() == {"kube-scheduler"}
    assert not (fake.folder / "added/own").exists()


def test_a_program_that_exits_is_told_in_its_own_words_and_nothing_is_left(fake: FakeCluster) -> None:
    wanted = own(fake, binary=script(fake.folder / "bad.sh", "echo Error: no license; exit 1"), ready=UNREACHABLE)
    with pytest.raises(ClusterError) as error:
        put(fake, wanted)
    words = "kwok-dra:controllers[0]: own exited while it was starting:\n  Error: no license"
    assert str(error.value) == words
    assert fake.components().keys() == {"kube-scheduler"}
    left = [fake.folder / "added/own", fake.folder / "bin/own", fake.folder / "pids/own.pid"]
    assert not any(path.exists() for path in left)


def test_one_that_is_not_ready_in_time_leaves_the_previous_one_running(fake: FakeCluster) -> None:
    put(fake, own(fake, args=["{port}", "good"], objects=[CONFIG]), repaired=2)
    component, record = fake.components()["own"], fake.record("own")
    with pytest.raises(ClusterError) as error:
        put(fake, own(fake, args=["bad"], ready=UNREACHABLE), seconds=0)
    lines = str(error.value).splitlines()
    assert lines[0].startswith("kwok-dra:controllers[0]: own was not ready in time; its last words, in ")
    assert lines[1:] == ["  (it has logged nothing)", "Correct it, or increase kwok-dra:cluster.readyTimeoutSeconds"]
    assert fake.components()["own"] == component
    assert fake.record("own") == record
    assert fake.calls == [("apply", ["c"]), ("delete", ["c"]), ("apply", ["c"])]
    assert processes.running(fake.pid("own"))


def scheduler(fake: FakeCluster, name: str) -> Wanted:
    args = ["--config={folder}/config.yaml", *(["--secure-port={port}"] if name != "kube-scheduler" else [])]
    script(fake.folder / "bin/kube-scheduler")
    return Wanted(name, "kwok-dra:schedulers[0]", "", args, {}, {"config.yaml": {}}, [], "")


def test_the_clusters_own_scheduler_is_configured_and_comes_back(fake: FakeCluster) -> None:
    program = put(fake, scheduler(fake, "kube-scheduler"))
    put(fake, scheduler(fake, "kube-scheduler"))
    component = fake.components()["kube-scheduler"]
    assert component["args"] == [*STOCK["args"], f"--config={fake.folder}/added/kube-scheduler/config.yaml"]
    assert "sleep" in (fake.folder / "bin/kube-scheduler").read_text()
    assert component["binary"] == f"{fake.folder}/bin/kube-scheduler"
    starts = fake.starts
    program.remove()
    assert fake.starts == starts + 1
    assert fake.components() == {"kube-scheduler": STOCK}
    assert (fake.folder / "bin/kube-scheduler").exists()
    assert not (fake.folder / "added/kube-scheduler").exists()


def test_another_kube_scheduler_has_the_arguments_of_the_first_and_its_own_port(fake: FakeCluster) -> None:
    put(fake, scheduler(fake, "packing"))
    component = fake.components()["packing"]
    port = fake.record("packing")["ports"]["main"]
    config = f"--config={fake.folder}/added/packing/config.yaml"
    assert component["args"] == [*STOCK["args"], config, f"--secure-port={port}"]
    assert f"exec {fake.folder}/bin/kube-scheduler" in (fake.folder / "bin/packing").read_text()
    assert fake.components()["kube-scheduler"] == STOCK


def test_certificates_that_the_program_makes_are_taken_from_its_secret(fake: FakeCluster) -> None:
    texts = {"tls.crt": "own certificate", "tls.key": "own key", "ca.crt": "own CA"}
    fake.secret = {"data": {name: base64.b64encode(text.encode()).decode() for name, text in texts.items()}}
    put(fake, own(fake, certificate_secret=("space", "secret")))
    folder = fake.folder / "added/own/certificates"
    assert {file.name: file.read_text() for file in folder.iterdir()} == texts


def test_a_secret_without_certificates_changes_nothing(fake: FakeCluster) -> None:
    fake.secret = {"data": None}
    put(fake, own(fake, certificate_secret=("space", "secret")))
    assert (fake.folder / "added/own/certificates/tls.crt").read_text() == "text of admin.crt"


def recorded(fake: FakeCluster, **values: Any) -> None:
    """Write a record as previous versions have written it."""
    folder = fake.folder / "added/own"
    folder.mkdir(parents=True)
    record = {"original": None, "ports": {"main": 23456}, "wanted": own(fake, args=["{port}"])._asdict(), "repairs": 2}
    (folder / "record.json").write_text(json.dumps(record | values))


def test_a_program_that_has_exited_counts_as_one_more_repair(fake: FakeCluster) -> None:
    assert repairs("c", "own") == 0
    recorded(fake)
    assert repairs("c", "own") == 3
    put(fake, own(fake, args=["{port}"]), repaired=3)
    assert fake.components()["own"]["args"] == ["23456"]
    assert repairs("c", "own") == 3
    os.kill(fake.pid("own"), signal.SIGKILL)
    while processes.running(fake.pid("own")):
        time.sleep(0.01)
    assert repairs("c", "own") == 4


def test_a_program_that_was_never_ready_is_no_repair(fake: FakeCluster) -> None:
    folder = fake.folder / "added/own"
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps({"original": None, "ports": {}}))
    assert repairs("c", "own") == 0


def test_the_process_of_somebody_else_is_not_killed(fake: FakeCluster) -> None:
    """After a restart of the machine, another program may have the recorded id."""
    other = subprocess.Popen(["sleep", "3600"])
    fake.started.append(other)
    (fake.folder / "pids/own.pid").write_text(str(other.pid))
    put(fake, own(fake))
    assert processes.running(other.pid)
    assert fake.pid("own") != other.pid


def test_a_removal_goes_on_when_the_cluster_does_not_answer(fake: FakeCluster) -> None:
    program = put(fake, own(fake, objects=[CONFIG]))
    pid = fake.pid("own")
    fake.failures = ["connection refused"]
    program.remove()
    assert not processes.running(pid)
    assert fake.components().keys() == {"kube-scheduler"}
    left: Sequence[Path] = [fake.folder / "added/own", fake.folder / "bin/own", fake.folder / "pids/own.pid"]
    assert not any(path.exists() for path in left)


# The program that Pulumi runs.


def run(monkeypatch: pytest.MonkeyPatch, fake: FakeCluster, verb: str, wanted: Wanted) -> None:
    variables = {"KWOK_DRA_PROGRAM": "own", "KWOK_DRA_REPAIRS": "4", "KWOK_DRA_READY_TIMEOUT": "0"}
    for name, value in {"KUBECONFIG": f"{fake.folder}/kubeconfig.yaml", **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["", verb])
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(wanted._asdict())))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    command.main()


def test_the_command_starts_and_removes_a_program(fake: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for verb in ("create", "update"):
        run(monkeypatch, fake, verb, own(fake))
        assert fake.record("own")["repairs"] == 4
    run(monkeypatch, fake, "delete", own(fake))
    assert fake.components().keys() == {"kube-scheduler"}


def test_the_command_ends_with_the_message(fake: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="own was not ready in time"):
        run(monkeypatch, fake, "create", own(fake, ready=UNREACHABLE))
