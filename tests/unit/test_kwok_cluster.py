"""commands/kwok_cluster.py, with a fake `kwokctl` and `kubectl`, and real processes as components."""

import fcntl
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import IO, Any
from unittest import mock

import pytest

from cluster.local import kwok_cluster, kwokctl, ports
from cluster.local.errors import REPLACE
from cluster.local.kwokctl import one_at_a_time
from commands.kwok_cluster import machine_memory
from topology.objects import tuning

ROOT = Path(__file__).resolve().parents[2]
OWNER = "organization/kwok-dra/dev"
ID = "an id"

Conditions = Callable[[], kwok_cluster.Condition]

DOWNLOAD = "kwokctl downloads the control plane; the first download takes a while\n"
ENDED = "kube-apiserver of cluster dev exited while it was starting:"
CHECK = "Check kwok-dra:cluster, especially kubeFeatureGates and kubeRuntimeConfig; nothing was left behind"
NOT_READY = "cluster dev was not ready in time; increase kwok-dra:cluster.readyTimeoutSeconds"

# It behaves like the real one where that matters here: files in $KWOK_WORKDIR/clusters/NAME, one process per component,
# with that folder in its command line, a kubeconfig that everybody can read, a `delete` that does not wait, and a
# shared kubeconfig that stays. $SCENARIO says what goes wrong; $RECORD is the folder for its calls and processes.
KWOKCTL = f"""#!{sys.executable} -SE
import json, os, pathlib, signal, subprocess, sys, time
arguments = sys.argv[1:]
scenario = os.environ["SCENARIO"]
record = pathlib.Path(os.environ["RECORD"])
cluster = pathlib.Path(os.environ["KWOK_WORKDIR"], "clusters", arguments[arguments.index("--name") + 1])
shared = pathlib.Path(arguments[arguments.index("--kubeconfig") + 1]) if "--kubeconfig" in arguments else None
(verb,) = {{"create", "start", "delete"}}.intersection(arguments)
document = pathlib.Path(arguments[arguments.index("--config") + 1]).read_text() if "--config" in arguments else ""
with open(record / "calls", "a") as calls:
    call = {{"verb": verb, "arguments": arguments, "document": document, "environment": dict(os.environ)}}
    print(json.dumps(call), file=calls)

def note(pid, file="processes"):
    with open(record / file, "a") as pids:
        print(pid, file=pids)

def start(component, ended=False):
    command = [str(cluster / "bin" / component), "-SEc", "import time; time.sleep(3600)"]
    process = subprocess.Popen(command, executable=sys.executable, start_new_session=True)
    note(process.pid)
    if ended:
        process.kill()
        process.wait()
    (cluster / "pids" / f"{{component}}.pid").write_text(f"{{process.pid}}\\n")

note(os.getpid(), "kwokctls")
if shared and shared.with_name("kubeconfig.lock").exists():
    sys.exit("kubeconfig.lock: file exists")
print("kwokctl says a lot")
if verb == "delete":
    if (cluster / "kwok.yaml").read_text() == "half":
        sys.exit("failed to load config")
    if scenario == "cannot delete":
        sys.exit("permission denied")
    for file in (cluster / "pids").glob("*.pid"):
        pid = int(file.read_text())
        if scenario == "slow to end":
            subprocess.Popen(["sh", "-c", f"sleep 0.3; kill {{pid}}"], start_new_session=True)
        elif scenario != "never ends":
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
    (cluster / "kwok.yaml").unlink()
    if shared.exists():
        shared.write_text(shared.read_text().replace(f"name: kwok-{{cluster.name}}", "null"))
    sys.exit()

if verb == "start":
    if scenario == "cannot start":
        sys.exit("no such file")
    for component in ("etcd", "kwok-controller", *(["kube-controller-manager"] if "gives up" in scenario else [])):
        if not (cluster / "pids" / f"{{component}}.pid").exists():
            start(component, ended=scenario == "dies again")
    if scenario == "gives up twice" and not (record / "gave up").exists():
        (record / "gave up").touch()
        os.kill(int((cluster / "pids" / "kube-controller-manager.pid").read_text()), signal.SIGKILL)
    if scenario == "dies again":
        (cluster / "logs" / "etcd.log").write_text("no space left")
    sys.exit()

if scenario == "fails at once":
    sys.exit("no such runtime")
for folder in ("pids", "logs"):
    (cluster / folder).mkdir()
(cluster / "kwok.yaml").write_text("")
start("etcd")
if scenario == "fails":
    sys.exit("\\n".join(f"line {{number}}" for number in range(1, 9)))
if scenario.startswith("dies"):
    errors = ["E1 cannot listen", "I2 fine", "F1 giving up"] if scenario == "dies" else []
    (cluster / "logs" / "kube-apiserver.log").write_text("\\n".join(["I1 fine", *errors, "goroutine 1:"]))
    start("kube-apiserver", ended=True)
    time.sleep(3600)
if "gives up" in scenario:
    gave_up = "failed to wait for apiserver being healthy: timed out waiting for the condition"
    (cluster / "logs" / "kube-controller-manager.log").write_text(f'E1 "command failed" err="{{gave_up}}"')
    start("kube-controller-manager", ended=True)
(cluster / "kubeconfig.yaml").write_text("certificates of " + cluster.name)
(cluster / "kubeconfig.yaml").chmod(0o644)
shared.write_text((shared.read_text() if shared.exists() else "contexts:") + f" name: kwok-{{cluster.name}}")
if scenario == "hangs":
    (record / "hanging").touch()
    time.sleep(3600)
"""

KUBECTL = """#!/bin/sh
case "$*" in
    *readyz*) [ "$SCENARIO" != "never ready" ] ;;
    *view*) [ "$SCENARIO" != "unreadable" ] && cat "$KUBECONFIG" ;;
esac
"""


class Machine:
    """A folder with programs, kwokctl's folder and the environment of the program."""

    def __init__(self, folder: Path) -> None:
        self.record = folder
        self.workdir = folder / "state" / "kwok"
        self.cluster = self.workdir / "clusters" / "dev"
        self.shared = self.workdir / "kubeconfig"
        self.record_file = self.cluster / "kwok-dra.json"
        self.programs = folder / "bin"
        self.add_program("kwokctl", KWOKCTL)
        self.add_program("kubectl", KUBECTL)
        self.environment = {
            "PATH": f"{self.programs}:/usr/bin:/bin",
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT),
            "SCENARIO": "",
            "RECORD": str(folder),
            "KWOK_WORKDIR": str(self.workdir),
            "KWOK_DRA_CLUSTER": "dev",
            "KWOK_DRA_OWNER": OWNER,
            "KWOK_DRA_ID": ID,
            "KWOK_DRA_REPAIRS": "0",
            "KWOK_DRA_KWOKCTL_CONFIG": "kind: KwokctlConfiguration\noptions:\n  runtime: binary\n",
            "KWOK_DRA_STAGES": "kind: Stage\n",
            "KWOK_DRA_KUBE_VERSION": "1.37.2",
            "KWOK_DRA_APISERVER_PORT": "",
            "KWOK_DRA_READY_TIMEOUT": "600",
        }

    def add_program(self, name: str, text: str) -> None:
        """Write an executable script."""
        self.programs.mkdir(exist_ok=True)
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    def start(self, verb: str, scenario: str = "", **variables: str) -> subprocess.Popen[str]:
        """Start the program as the Command resource does, but without a shell."""
        environment = self.environment | {"SCENARIO": scenario} | variables
        command = [sys.executable, "-m", "commands.kwok_cluster", verb]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=environment, cwd=self.record, stdout=pipe, stderr=pipe, text=True)

    def run(self, verb: str, scenario: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the program."""
        process = self.start(verb, scenario, **variables)
        try:
            stdout, stderr = process.communicate(timeout=600)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def create(self, **variables: str) -> dict[str, str]:
        """Create the cluster and return what the program prints."""
        done = self.run("create", **variables)
        assert done.returncode == 0, done.stderr
        printed: dict[str, str] = json.loads(done.stdout)
        return printed

    def error(self, verb: str, scenario: str = "", **variables: str) -> str:
        """Run the program, which must fail, and return the message, which is all that it prints."""
        done = self.run(verb, scenario, **variables)
        assert (done.returncode, done.stdout) == (1, "")
        assert "Traceback" not in done.stderr
        return done.stderr.removeprefix(DOWNLOAD)

    def calls(self, verb: str) -> list[dict[str, Any]]:
        """Return the calls of kwokctl so far."""
        file = self.record / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        return [call for call in map(json.loads, lines) if call["verb"] == verb]

    def processes(self, file_name: str = "processes") -> list[int]:
        """Return the ids of all processes that kwokctl has started, or of every `kwokctl` itself."""
        file = self.record / file_name
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def assert_nothing_left(self) -> None:
        """Check for processes and files of any cluster."""
        assert not [pid for pid in self.processes() + self.processes("kwokctls") if running(pid)]
        assert list(self.workdir.rglob("*")) == [self.cluster.parent]

    def kill_all(self) -> None:
        """Kill all processes that kwokctl has started, as a restart of the machine does."""
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        while any(running(pid) for pid in self.processes()):
            time.sleep(0.01)

    def leave_behind(self, **record: object) -> None:
        """Create what an interrupted create leaves behind: files, a process, no kubeconfig."""
        self.create()
        interrupted = {"state": "creating", "owner": OWNER, "project": str(ROOT), "kwokctl": None}
        self.record_file.write_text(json.dumps(interrupted | record))
        (self.cluster / "kubeconfig.yaml").unlink()
        (self.cluster / "left").touch()


def ps(pid: int, column: str) -> str:
    """Return a column of ps for a process; empty if it does not exist."""
    return subprocess.run(["ps", "-ww", "-o", f"{column}=", "-p", str(pid)], capture_output=True, text=True).stdout


def running(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    return ps(pid, "stat")[:1] not in ("", "Z")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Return a machine with an awkward path, and kill what was started on it."""
    folder = tmp_path / 'it\'s a "$(touch hacked)" `folder`'
    folder.mkdir()
    made = Machine(folder)
    yield made
    for pid in made.processes() + made.processes("kwokctls"):
        if str(folder) in ps(pid, "args"):  # not another program that has the id now
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def other_process() -> Iterator[subprocess.Popen[bytes]]:
    """Return a process that belongs to no cluster."""
    process = subprocess.Popen(["sleep", "3600"])
    yield process
    process.kill()
    process.wait()


def test_create_prints_the_cluster_and_nothing_else(machine: Machine) -> None:
    assert machine.create() == {
        "id": ID,
        "kubeconfig": "certificates of dev",
        "kubeconfigPath": str(machine.cluster / "kubeconfig.yaml"),
        "workdir": str(machine.workdir),
    }


def test_only_the_owner_can_read_the_kubeconfig(machine: Machine) -> None:
    machine.create()
    assert (machine.cluster / "kubeconfig.yaml").stat().st_mode & 0o777 == 0o600
    assert machine.cluster.stat().st_mode & 0o777 == 0o700


def test_values_go_to_kwokctl_as_they_are(machine: Machine) -> None:
    """Without a shell, without values on the command line, and without the user's own kubeconfig."""
    values = {
        "KWOK_DRA_OWNER": 'it\'s "$(touch hacked)" `touch hacked`; touch hacked',
        "KWOK_DRA_KWOKCTL_CONFIG": "a: $HOME\n'b'",
        "KWOK_DRA_STAGES": "c: $HOME\n'd'",
    }
    machine.create(**values, KUBECONFIG="/the/users/own")
    (call,) = machine.calls("create")
    config = str(machine.cluster / "kwokctl.yaml")
    assert call["arguments"] == [
        *("--name", "dev", "create", "cluster"),
        *("--config", config, "--kubeconfig", str(machine.shared)),
    ]
    assert call["document"] == values["KWOK_DRA_KWOKCTL_CONFIG"]
    assert (machine.cluster / kwok_cluster.STAGES_FILE).read_text() == values["KWOK_DRA_STAGES"]
    assert json.loads(machine.record_file.read_text())["owner"] == values["KWOK_DRA_OWNER"]
    assert call["environment"]["KUBECONFIG"] == str(machine.cluster / "kubeconfig.yaml")
    assert not list(machine.record.parent.rglob("hacked"))


def own_options(machine: Machine) -> dict[str, Any]:
    """Return the options that kwokctl gets in addition to the configured ones."""
    arguments = machine.calls("create")[-1]["arguments"]
    documents = [value for flag, value in pairwise(arguments) if flag == "--config"]
    assert documents == [str(machine.cluster / name) for name in ("kwokctl.yaml", kwok_cluster.OWN_OPTIONS_FILE)]
    own = json.loads(Path(documents[1]).read_text())
    assert (own["apiVersion"], own["kind"]) == ("config.kwok.x-k8s.io/v1alpha1", "KwokctlConfiguration")
    options: dict[str, Any] = own["options"]
    return options


def test_a_cluster_has_its_own_ports_and_etcd_prefix(machine: Machine) -> None:
    machine.create()
    options = own_options(machine)
    assert options.pop("etcdPrefix") == f"/registry/{ID}"
    assert sorted(options) == sorted(option for names in ports.OF_COMPONENTS.values() for option in names)
    assert len(set(options.values())) == len(options)


def extra_args(machine: Machine) -> list[str]:
    """Return the arguments of components that kwokctl gets in addition to those of its documents."""
    flag = "--extra-args="
    found = machine.calls("create")[-1]["arguments"]
    return [argument.removeprefix(flag) for argument in found if argument.startswith(flag)]


def own_patches(machine: Machine) -> list[dict[str, Any]] | None:
    """Return the patches of components in the document of a cluster's own options."""
    document = json.loads((machine.cluster / kwok_cluster.OWN_OPTIONS_FILE).read_text())
    patches: list[dict[str, Any]] | None = document.get("componentsPatches")
    return patches


def test_a_new_cluster_is_tuned(machine: Machine) -> None:
    machine.create()
    assert extra_args(machine) == tuning.extra_args(tuning.FLAGS)
    assert own_patches(machine) == tuning.component_patches(tuning.variables(machine_memory()))


def test_a_stock_cluster_is_not(machine: Machine) -> None:
    machine.create(KWOK_DRA_TUNING="stock")
    assert own_options(machine)
    assert (extra_args(machine), own_patches(machine)) == ([], None)


def test_the_port_of_the_api_server_can_be_chosen(machine: Machine) -> None:
    machine.create(KWOK_DRA_APISERVER_PORT="16443")
    assert own_options(machine)["kubeApiserverPort"] == 16443


def test_the_record_names_the_owner(machine: Machine) -> None:
    machine.create()
    note = json.loads(machine.record_file.read_text())
    assert isinstance(note.pop("kwokctl"), int)
    assert note == {"state": "created", "owner": OWNER, "project": str(ROOT), "id": ID}


@pytest.mark.parametrize(
    "record",
    [
        None,
        {"state": "created"},
        {"state": "creating", "owner": "organization/kwok-dra/other"},
        {"state": "creating", "project": "/another/checkout"},
    ],
    ids=["made by hand", "complete", "another stack's", "another checkout's"],
)
def test_a_cluster_of_another_owner_is_left_alone(machine: Machine, record: dict[str, str] | None) -> None:
    machine.leave_behind(**record or {})
    if record is None:
        machine.record_file.unlink()
    before = {path: path.read_bytes() for path in machine.cluster.rglob("*") if path.is_file()}
    assert machine.error("create") == (
        f"kwok-dra:cluster.name: cluster 'dev' already exists, in {machine.cluster}, and this stack did not create "
        "it. Choose another name (`pulumi config set --path kwok-dra:cluster.name NAME`), or delete that cluster if "
        "nobody needs it (`kwokctl delete cluster --name dev`)\n"
    )
    assert {path: path.read_bytes() for path in machine.cluster.rglob("*") if path.is_file()} == before
    assert all(running(pid) for pid in machine.processes())
    assert not machine.calls("delete")


def test_what_an_interrupted_create_left_is_removed(machine: Machine) -> None:
    machine.leave_behind()
    (left,) = machine.processes()
    machine.create()
    assert not running(left)
    assert not (machine.cluster / "left").exists()
    assert [running(pid) for pid in machine.processes()] == [False, True]


def test_a_cluster_that_is_not_in_pulumis_state_is_removed(machine: Machine) -> None:
    """The update was killed when the create had just finished."""
    machine.create()
    (machine.cluster / "left").touch()
    machine.create(KWOK_DRA_ID="another")
    assert [running(pid) for pid in machine.processes()] == [False, True]
    assert not (machine.cluster / "left").exists()


def test_a_cluster_in_pulumis_state_is_left_alone(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another backend may have a stack with the same name."""
    machine.create()
    monkeypatch.setenv("KWOK_WORKDIR", str(machine.workdir))
    kwok_cluster.confirm("dev", "another/owner", ID)
    kwok_cluster.confirm("dev", OWNER, "another id")
    assert "known" not in json.loads(machine.record_file.read_text())
    kwok_cluster.confirm("dev", OWNER, ID)
    assert "cluster 'dev' already exists" in machine.error("create")
    assert running(machine.processes()[0])


def test_an_incomplete_kwok_yaml(machine: Machine) -> None:
    machine.leave_behind()
    (machine.cluster / "kwok.yaml").write_text("half")
    machine.create()
    assert [running(pid) for pid in machine.processes()] == [False, True]


def test_a_create_that_was_killed_before_it_ran_kwokctl(machine: Machine) -> None:
    machine.cluster.mkdir(parents=True)
    machine.record_file.write_text(
        json.dumps({"state": "creating", "owner": OWNER, "project": str(ROOT), "kwokctl": None})
    )
    machine.create()


@pytest.mark.parametrize("noted", [False, True])
def test_a_create_that_was_killed_before_it_wrote_the_record(machine: Machine, noted: bool) -> None:
    machine.cluster.mkdir(parents=True)
    if noted:
        machine.record_file.with_suffix(".new").write_text("half")
    machine.create()


def test_a_shared_kubeconfig_that_a_killed_kwokctl_emptied(machine: Machine) -> None:
    """It had emptied the shared kubeconfig: the contexts of the other clusters are restored."""
    machine.create()
    other = machine.workdir / "clusters" / "other"
    other.mkdir()
    (other / "kubeconfig.yaml").write_text("contexts: name: kwok-other")
    (machine.cluster / "kubeconfig.yaml").unlink()
    machine.shared.write_text("")
    machine.run("delete")
    assert machine.shared.read_text() == "contexts: name: kwok-other"


def half_removed(machine: Machine) -> None:
    """Create what a kwokctl leaves that is killed after it has deleted the record, and before the other files."""
    machine.create()
    removal = json.loads(machine.record_file.read_text()) | {"state": "removing"}
    (machine.workdir / "dev.removing.json").write_text(json.dumps(removal))
    machine.record_file.unlink()
    machine.kill_all()


def test_a_removal_that_was_killed_is_completed(machine: Machine) -> None:
    half_removed(machine)
    machine.run("delete", PULUMI_COMMAND_STDOUT=json.dumps({"id": ID, "workdir": str(machine.workdir)}))
    machine.assert_nothing_left()
    assert not list(machine.workdir.glob("*.removing.*"))


def test_a_create_replaces_what_a_killed_removal_left(machine: Machine) -> None:
    half_removed(machine)
    machine.create()
    assert not list(machine.workdir.glob("*.removing.*"))


def test_a_killed_removal_spares_a_cluster_created_since(machine: Machine) -> None:
    half_removed(machine)
    later = time.time() + 1
    os.utime(machine.cluster / "kwok.yaml", (later, later))
    assert "cluster 'dev' already exists" in machine.error("create")
    machine.run("delete", PULUMI_COMMAND_STDOUT=json.dumps({"id": ID, "workdir": str(machine.workdir)}))
    assert (machine.cluster / "kwok.yaml").exists()


def test_a_cluster_whose_removal_was_killed_has_another_id(machine: Machine, conditions: Conditions) -> None:
    machine.create()
    machine.record_file.write_text(json.dumps(json.loads(machine.record_file.read_text()) | {"state": "removing"}))
    assert conditions().id != ID


def test_a_kwokctl_that_still_runs_is_killed(machine: Machine) -> None:
    """SIGKILL gave its program no chance to do that."""
    interrupted = machine.start("create", "hangs")
    wait_for(machine.record / "hanging")
    interrupted.kill()
    interrupted.communicate()
    pid = json.loads(machine.record_file.read_text())["kwokctl"]
    assert running(pid)
    machine.create()
    assert not running(pid)


def test_another_program_may_have_the_id_of_an_exited_kwokctl(
    machine: Machine, other_process: subprocess.Popen[bytes]
) -> None:
    machine.leave_behind(kwokctl=other_process.pid)
    machine.create()
    assert other_process.poll() is None


def test_a_port_that_is_taken(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        assert machine.error("create", KWOK_DRA_APISERVER_PORT=port) == (
            f"kwok-dra:cluster.kubeApiserverPort: port {port} cannot be used (Address already in use). Choose another "
            "port, or omit the key to get a free one\n"
        )
    machine.assert_nothing_left()
    assert not machine.calls("create")
    machine.create(KWOK_DRA_APISERVER_PORT=port)


@pytest.mark.parametrize(
    ("scenario", "timeout", "message"),
    [
        ("fails at once", "600", "kwokctl could not create cluster dev:\n  kwokctl says a lot\n  no such runtime"),
        ("fails", "600", "kwokctl could not create cluster dev:\n  line 4\n  line 5\n  line 6\n  line 7\n  line 8"),
        ("dies", "600", f"{ENDED}\n  E1 cannot listen\n  F1 giving up\n{CHECK}"),
        ("dies without a word", "600", f"{ENDED}\n  I1 fine\n  goroutine 1:\n{CHECK}"),
        ("hangs", "1", f"{NOT_READY} (now 1)"),
        ("never ready", "1", f"{NOT_READY} (now 1)"),
        ("unreadable", "600", "kubectl cannot read the kubeconfig of cluster dev:\n"),
    ],
)
def test_a_failed_create_reports_the_cause_and_leaves_nothing(
    machine: Machine, scenario: str, timeout: str, message: str
) -> None:
    assert machine.error("create", scenario, KWOK_DRA_READY_TIMEOUT=timeout) == f"{message}\n"
    machine.assert_nothing_left()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_create_leaves_nothing(machine: Machine, number: signal.Signals) -> None:
    process = machine.start("create", "hangs")
    wait_for(machine.record / "hanging")
    process.send_signal(number)
    _, said = process.communicate()
    assert process.returncode == 128 + number
    assert "Traceback" not in said
    machine.assert_nothing_left()


@pytest.mark.parametrize("verb", ["create", "delete"])
def test_the_lock_of_a_kwokctl_that_was_killed(machine: Machine, verb: str) -> None:
    if verb == "delete":
        machine.create()
    machine.workdir.mkdir(parents=True, exist_ok=True)
    (machine.workdir / "kubeconfig.lock").touch()
    assert machine.run(verb).returncode == 0


def test_update_prints_the_cluster_again(machine: Machine) -> None:
    printed = machine.create()
    done = machine.run("update")
    assert (done.returncode, json.loads(done.stdout)) == (0, printed)
    assert len(machine.calls("create")) == 1


def test_update_of_a_cluster_that_is_gone(machine: Machine) -> None:
    assert machine.error("update") == (
        f"cluster dev is gone: its folder {machine.cluster} does not exist. `pulumi up` recreates it\n"
    )


@pytest.fixture
def conditions(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Conditions:
    """Return a function that returns the condition of the stack's cluster."""
    monkeypatch.setenv("KWOK_WORKDIR", str(machine.workdir))
    return lambda: kwok_cluster.condition("dev", OWNER)


def test_a_cluster_that_does_not_exist_gets_an_id(conditions: Conditions) -> None:
    first, second = conditions(), conditions()
    assert first.id != second.id
    assert (first.repairs, second.repairs) == (0, 0)


def test_a_cluster_keeps_its_id(machine: Machine, conditions: Conditions) -> None:
    machine.create()
    assert conditions() == (ID, 0)


@pytest.mark.parametrize(
    "record",
    [
        None,
        {"owner": "organization/kwok-dra/other", "id": ID, "state": "created"},
        {"owner": OWNER, "id": ID, "state": "creating"},
    ],
    ids=["made by hand", "another stack's", "half-made"],
)
def test_a_cluster_of_another_owner_has_another_id(
    machine: Machine, conditions: Conditions, record: dict[str, str] | None
) -> None:
    machine.create()
    machine.record_file.unlink() if record is None else machine.record_file.write_text(json.dumps(record))
    assert len(conditions().id) == 32


def break_kubeconfig(machine: Machine) -> None:
    """Delete the kubeconfig."""
    (machine.cluster / "kubeconfig.yaml").unlink()


def break_pids(machine: Machine) -> None:
    """Stop the processes and delete their pid file, as `kwokctl stop cluster` does."""
    machine.kill_all()
    (machine.cluster / "pids" / "etcd.pid").unlink()


def take_the_number(machine: Machine) -> None:
    """Kill the process, and let another program have its id."""
    machine.kill_all()
    (machine.cluster / "pids" / "etcd.pid").write_text(str(os.getpid()))


BREAKS = [break_kubeconfig, Machine.kill_all, break_pids, take_the_number]


@pytest.mark.parametrize("do_break", BREAKS)
def test_a_broken_cluster_is_repaired(
    machine: Machine, conditions: Conditions, do_break: Callable[[Machine], None]
) -> None:
    printed = machine.create()
    do_break(machine)
    assert conditions() == (ID, 1)
    ended = [str(machine.cluster / "logs" / "etcd.log")] if do_break in (Machine.kill_all, take_the_number) else []
    assert kwok_cluster.exited_component_logs("dev") == ended
    done = machine.run("update", KWOK_DRA_REPAIRS="1", PULUMI_COMMAND_STDOUT=json.dumps(printed))
    assert (done.returncode, json.loads(done.stdout)) == (0, printed)
    assert running(machine.processes()[-1])
    assert (machine.cluster / "kubeconfig.yaml").stat().st_mode & 0o777 == 0o600
    assert conditions() == (ID, 1)
    assert machine.run("delete").returncode == 0
    machine.assert_nothing_left()


def test_a_component_without_a_pid_file_is_killed_before_it_is_started_again(machine: Machine) -> None:
    """Two would need the same port."""
    machine.create()
    (machine.cluster / "pids" / "etcd.pid").unlink()
    assert machine.run("update", KWOK_DRA_REPAIRS="1").returncode == 0
    assert [running(pid) for pid in machine.processes()][:2] == [False, True]


def test_kwok_manages_its_nodes_after_a_repair(machine: Machine) -> None:
    """It starts a second time, without the leases of the process before; a KWOK that runs is left alone."""
    machine.create()
    machine.run("update", KWOK_DRA_REPAIRS="1")
    assert not machine.calls("start")
    machine.kill_all()
    machine.run("update", KWOK_DRA_REPAIRS="1")
    assert len(machine.calls("start")) == 2
    assert [running(pid) for pid in machine.processes()] == [False, True, False, True]
    os.kill(machine.processes()[1], signal.SIGKILL)
    machine.run("update", KWOK_DRA_REPAIRS="2")
    assert len(machine.calls("start")) == 3


def test_a_sound_cluster_is_not_started_again(machine: Machine) -> None:
    machine.create()
    assert machine.run("update").returncode == 0
    assert not machine.calls("start")


@pytest.mark.parametrize(("scenario", "starts"), [("gives up", 1), ("gives up twice", 2)])
def test_a_controller_manager_that_gives_up_on_a_slow_machine(machine: Machine, scenario: str, starts: int) -> None:
    """It waits ten seconds at most for the API server: it is started again."""
    assert machine.run("create", scenario).returncode == 0
    assert len(machine.calls("start")) == starts
    assert running(int((machine.cluster / "pids" / "kube-controller-manager.pid").read_text()))
    assert machine.run("delete").returncode == 0
    machine.assert_nothing_left()


def test_a_controller_manager_that_gives_up_after_the_create(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for pods settles the cluster first, and starts no component that has exited for another reason."""
    machine.create()
    for name, value in (machine.environment | {"SCENARIO": "gives up"}).items():
        monkeypatch.setenv(name, value)
    manager = machine.cluster / "pids" / "kube-controller-manager.pid"
    ended = subprocess.Popen(["true"])
    ended.wait()
    manager.write_text(f"{ended.pid}\n")
    log = machine.cluster / "logs" / "kube-controller-manager.log"
    log.write_text('E1 "command failed" err="out of memory"')
    kwok_cluster.settle(machine.cluster / "kubeconfig.yaml", 60)
    assert not machine.calls("start")
    log.write_text('E1 "command failed" err="failed to wait for apiserver being healthy: timed out"')
    kwok_cluster.settle(machine.cluster / "kubeconfig.yaml", 60)
    assert len(machine.calls("start")) == 1
    assert running(int(manager.read_text()))


def test_a_port_that_another_program_has_taken(machine: Machine) -> None:
    """No component starts before the port is free again."""
    machine.create()
    machine.kill_all()
    port = own_options(machine)["etcdPeerPort"]
    with socket.create_server(("127.0.0.1", port)):
        assert machine.error("update", KWOK_DRA_REPAIRS="1") == (
            f"etcd of cluster dev has exited and cannot start again: its port {port} cannot be used (Address already "
            f"in use). Stop the program that uses it (`ss -ltnp 'sport = :{port}'` shows it), or {REPLACE}\n"
        )
        assert not machine.calls("start")
    assert machine.run("update", KWOK_DRA_REPAIRS="1").returncode == 0


def test_a_component_that_exits_while_it_is_started_again(machine: Machine, conditions: Conditions) -> None:
    """The cluster counts as broken until an update succeeds, whatever runs by then."""
    machine.create()
    machine.kill_all()
    said = machine.error("update", "dies again", KWOK_DRA_REPAIRS="1")
    assert said == (
        f"etcd of cluster dev exited while it was starting:\n  no space left\n"
        f"Start it again with `pulumi up`, or {REPLACE}\n"
    )
    for file in (machine.cluster / "pids").glob("*.pid"):
        file.unlink()
    subprocess.run(["kwokctl", "--name", "dev", "start", "cluster"], env=machine.environment, stdout=subprocess.DEVNULL)
    assert conditions() == (ID, 1)
    assert machine.run("update", KWOK_DRA_REPAIRS="1").returncode == 0
    assert conditions() == (ID, 1)


def test_a_cluster_that_cannot_be_repaired(machine: Machine, conditions: Conditions) -> None:
    machine.create()
    machine.kill_all()
    said = machine.error("update", "cannot start", KWOK_DRA_REPAIRS="1")
    assert said == "kwokctl could not start cluster dev:\n  kwokctl says a lot\n  no such file\n"
    assert conditions() == (ID, 1)


def test_delete_kills_the_processes_of_a_cluster_whose_files_are_gone(machine: Machine) -> None:
    printed = machine.create()
    shutil.rmtree(machine.cluster)
    assert machine.run("delete", PULUMI_COMMAND_STDOUT=json.dumps(printed)).returncode == 0
    assert not any(running(pid) for pid in machine.processes())


@pytest.mark.parametrize("scenario", ["", "slow to end"])
def test_delete_leaves_nothing(machine: Machine, scenario: str) -> None:
    machine.create()
    done = machine.run("delete", scenario)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    machine.assert_nothing_left()


def test_the_next_delete_completes_one_that_was_killed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """kubectl's cache and the shared kubeconfig go one after the other."""
    machine.create()
    cache = machine.workdir / "kubectl-cache"
    cache.mkdir()
    (machine.cluster / "kwok.yaml").unlink()
    machine.shared.write_text("contexts: null")
    monkeypatch.setattr(shutil, "rmtree", mock.Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        kwokctl.forget_shared_kubeconfig(machine.workdir)
    monkeypatch.undo()
    assert machine.run("delete").returncode == 0
    machine.assert_nothing_left()


def test_delete_leaves_other_clusters(machine: Machine) -> None:
    machine.create()
    machine.create(KWOK_DRA_CLUSTER="other")
    assert machine.run("delete", KWOK_DRA_CLUSTER="other").returncode == 0
    assert [path.name for path in (machine.workdir / "clusters").iterdir()] == ["dev"]
    assert [running(pid) for pid in machine.processes()] == [True, False]
    assert machine.shared.read_text() == "contexts: name: kwok-dev null"


@pytest.mark.parametrize("previous", ["", '{"workdir": "/nowhere"}'])
def test_delete_of_what_is_gone(machine: Machine, previous: str) -> None:
    done = machine.run("delete", PULUMI_COMMAND_STDOUT=previous)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not machine.calls("delete")


def test_delete_works_where_the_cluster_was_created(machine: Machine) -> None:
    """KWOK_WORKDIR may have changed since."""
    printed = machine.create()
    elsewhere = {"KWOK_WORKDIR": str(machine.record / "elsewhere")}
    done = machine.run("delete", PULUMI_COMMAND_STDOUT=json.dumps(printed), **elsewhere)
    assert (done.returncode, done.stderr) == (0, "")
    machine.assert_nothing_left()


def test_another_program_may_have_the_id_of_an_exited_component(
    machine: Machine, other_process: subprocess.Popen[bytes]
) -> None:
    """For example after a restart of the machine. The real kwokctl would kill whatever its pid files name."""
    machine.create()
    (machine.cluster / "pids" / "kwok-controller.pid").write_text(str(other_process.pid))
    assert machine.run("delete").returncode == 0
    machine.assert_nothing_left()
    assert other_process.poll() is None


def test_a_cluster_that_cannot_be_deleted(machine: Machine) -> None:
    machine.create()
    message = machine.error("delete", "cannot delete")
    assert message == "kwokctl could not delete cluster dev:\n  kwokctl says a lot\n  permission denied\n"
    assert machine.cluster.exists()


def test_components_that_kwokctl_does_not_stop_are_killed(machine: Machine) -> None:
    machine.create()
    assert machine.run("delete", "never ends").returncode == 0
    machine.assert_nothing_left()


def test_built_programs_are_used(machine: Machine) -> None:
    """The user's variables override them."""
    machine.create(KWOK_DRA_TOOLS="/tools", KWOK_ETCD_BINARY="/my/etcd")
    assert binaries(machine) == {
        "KWOK_KUBE_BINARY_PREFIX": "/tools/kubernetes/v1.37.2",
        "KWOK_ETCD_BINARY": "/my/etcd",
        "KWOK_CONTROLLER_BINARY": "/tools/bin/kwok",
    }


@pytest.mark.parametrize(("version", "used"), [("1.37.2", True), ("1.36.0", False)])
def test_programs_on_path_are_used_in_the_right_version(machine: Machine, version: str, used: bool) -> None:
    names = {
        "etcd": "KWOK_ETCD_BINARY",
        "kube-apiserver": "KWOK_KUBE_APISERVER_BINARY",
        "kube-controller-manager": "KWOK_KUBE_CONTROLLER_MANAGER_BINARY",
        "kube-scheduler": "KWOK_KUBE_SCHEDULER_BINARY",
        "kwok": "KWOK_CONTROLLER_BINARY",
    }
    for name in names:
        machine.add_program(name, f"#!/bin/sh\necho Kubernetes v{version}\n")
    done = machine.run("create")
    assert done.returncode == 0
    expected = {variable: str(machine.programs / name) for name, variable in names.items()}
    assert binaries(machine) == (expected if used else {})
    assert done.stderr == ("" if used else DOWNLOAD)


def binaries(machine: Machine) -> dict[str, str]:
    """Return the variables about programs that the only create passed to kwokctl."""
    (call,) = machine.calls("create")
    return {name: value for name, value in call["environment"].items() if "_BINARY" in name}


@pytest.mark.parametrize("noted", [True, False])
def test_the_port_is_free_again_when_a_leftover_is_removed(machine: Machine, noted: bool) -> None:
    """The kube-apiserver of an interrupted create may hold the configured port, and have no pid file yet."""
    machine.leave_behind()
    listen = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)"
    command = [str(machine.cluster / "bin" / "kube-apiserver"), "-SEc", f"{listen}; time.sleep(3600)"]
    with subprocess.Popen(command, executable=sys.executable, stdout=subprocess.PIPE, text=True) as left:
        assert left.stdout
        port = left.stdout.readline().strip()
        if noted:
            (machine.cluster / "pids" / "kube-apiserver.pid").write_text(str(left.pid))
        machine.create(KWOK_DRA_APISERVER_PORT=port)
        assert left.wait(30) < 0


def test_delete_spares_a_cluster_that_replaced_it(machine: Machine) -> None:
    machine.create()
    described = json.dumps({"id": "another one", "workdir": str(machine.workdir)})
    assert machine.run("delete", PULUMI_COMMAND_STDOUT=described).returncode == 0
    assert machine.cluster.exists()
    assert not machine.calls("delete")


@pytest.mark.parametrize("verb", ["create", "update", "delete"])
def test_missing_programs(machine: Machine, verb: str) -> None:
    for name in ("kwokctl", "kubectl"):
        (machine.programs / name).unlink()
    said = machine.error(verb, PATH=str(machine.programs))
    assert said.startswith("kwokctl and kubectl not found on PATH. Run `make tools`")


def test_a_clean_up_that_fails_does_not_hide_the_cause(machine: Machine) -> None:
    machine.add_program("kwokctl", KWOKCTL.replace('if scenario == "cannot delete"', "if True"))
    said = machine.error("create", "fails")
    assert "line 8" in said
    assert "kwokctl could not delete cluster dev" in said


@pytest.mark.parametrize("record", ["", "[]"])
def test_an_unreadable_record_names_no_owner(machine: Machine, record: str) -> None:
    machine.cluster.mkdir(parents=True)
    machine.record_file.write_text(record)
    assert "this stack did not create it" in machine.error("create")


def test_an_unreadable_previous_output(machine: Machine) -> None:
    machine.create()
    assert machine.run("delete", PULUMI_COMMAND_STDOUT="garbage").returncode == 0
    machine.assert_nothing_left()


def test_a_process_of_a_cluster_with_a_longer_name(machine: Machine) -> None:
    machine.create()
    command = [f"{machine.cluster}2/bin/etcd", "-SEc", "import time; time.sleep(3600)"]
    with subprocess.Popen(command, executable=sys.executable) as other:
        (machine.cluster / "pids" / "kwok-controller.pid").write_text(str(other.pid))
        machine.run("delete")
        alive = other.poll() is None
        other.kill()
    assert alive


def wait_for(file: Path) -> None:
    """Wait until a file exists."""
    deadline = time.monotonic() + 600
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """Return the lock file of `tmp_path`, which exists while the lock is held."""
    return tmp_path / "kwok-dra.lock"


def test_one_kwokctl_works_in_a_folder_at_a_time(tmp_path: Path, lock: Path) -> None:
    works = threading.Event()

    def work_too() -> None:
        with one_at_a_time(tmp_path):
            works.set()

    (tmp_path / "other").mkdir()
    other = threading.Thread(target=work_too)
    with one_at_a_time(tmp_path):
        assert lock.stat().st_mode & 0o777 == 0o600
        with one_at_a_time(tmp_path / "other"):
            other.start()
        assert not works.wait(0.5)
    other.join()
    assert works.is_set()
    assert not lock.exists()


def test_the_lock_is_not_waited_for_beyond_patience(tmp_path: Path, lock: Path) -> None:
    with one_at_a_time(tmp_path):
        with one_at_a_time(tmp_path, patience=0.2):
            pass
        assert lock.exists()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path, lock: Path) -> None:
    imports = "import os; from pathlib import Path; from cluster.local.kwokctl import one_at_a_time"
    code = f"{imports}\nwith one_at_a_time(Path({str(tmp_path)!r})): os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == -signal.SIGKILL
    assert lock.exists()
    begin = time.monotonic()
    with one_at_a_time(tmp_path, patience=20):
        assert time.monotonic() - begin < 20
    assert not lock.exists()


def test_a_lock_file_that_is_removed_before_it_is_locked(
    tmp_path: Path, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its holder releases it after the next process has opened it: no other process would see a lock on that file."""
    flock = fcntl.flock

    def flock_too_late(file: IO[str], operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        lock.unlink()
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock_too_late)
    with one_at_a_time(tmp_path):
        assert lock.exists()


def test_no_other_user_can_hold_the_lock(tmp_path: Path) -> None:
    """Any user can bind an abstract socket; only the owner of the folder can lock a file in it."""
    name = hashlib.sha256(str(tmp_path).encode()).hexdigest()
    with socket.socket(socket.AF_UNIX) as foreign:
        foreign.bind(f"\0kwok-dra-{name}")
        begin = time.monotonic()
        with one_at_a_time(tmp_path, patience=20):
            assert time.monotonic() - begin < 20


def test_a_folder_that_does_not_exist_needs_no_lock(tmp_path: Path) -> None:
    with one_at_a_time(tmp_path / "gone"):
        assert not (tmp_path / "gone").exists()
