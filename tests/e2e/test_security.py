"""Nobody else gets in: nothing is reachable or readable from outside, and secrets are where they belong.

The tests of this file are about one running dev stack, in their order.
"""

import base64
import os
import pwd
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from tests.e2e.project import Project, listening, processes_of

PYTHON_FOR_ALL = "/usr/bin/python3"
COMPONENTS = {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok-controller"}
HOST, GUEST = "198.18.0.1", "198.18.0.2"
"""Of a range that is for tests: https://www.rfc-editor.org/rfc/rfc2544#appendix-C.2.2"""


class Watch:
    """What could be seen of the processes of a project while something ran."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: set[bytes] = set()
        self._stop = Event()
        self._thread = Thread(target=self._look)

    def _look(self) -> None:
        while not self._stop.is_set():
            for pid in processes_of(self.folder):
                with suppress(OSError):
                    self.seen.add(Path("/proc", str(pid), "cmdline").read_bytes())
            time.sleep(0.05)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture(scope="module")
def said(project: Project) -> Iterator[dict[str, bytes]]:
    """Create the stack; yield what that and other commands say, and all command lines meanwhile.

    Not with `--debug` or `-v`: there Pulumi's own engine writes down what it hands to plugins, secrets in clear.
    """
    with Watch(project.folder) as watch:
        done = project.run("pulumi", "up", "--yes", "--skip-preview")
        again = project.run("pulumi", "up", "--yes", "--skip-preview", "--diff")
        preview = project.run("pulumi", "preview", "--diff", "--json")
        outputs = project.run("pulumi", "stack", "output", "--json")
        exported = project.run("pulumi", "stack", "export")
    runs = {"up": done, "again": again, "preview": preview, "outputs": outputs, "exported": exported}
    yield {
        **{f"{name}, printed": found.stdout.encode() for name, found in runs.items()},
        **{f"{name}, said": found.stderr.encode() for name, found in runs.items()},
        "command lines": b"\n".join(sorted(watch.seen)),
    }
    project.destroy()


@pytest.fixture
def folder(project: Project, said: dict[str, bytes]) -> Path:
    """Return the folder of the cluster."""
    (found,) = project.clusters.iterdir()
    return found


def secrets(folder: Path) -> dict[str, list[bytes]]:
    """Return the private keys and the kubeconfig, in all the ways in which they may be written."""
    files = [*(folder / "pki").glob("*.key"), folder / "kubeconfig.yaml"]
    assert len(files) > 1
    return {file.name: _ways_to_write(file.read_bytes()) for file in files}


def _ways_to_write(content: bytes) -> list[bytes]:
    lines = content.splitlines()
    middle = lines[len(lines) // 2]  # of a key; of the kubeconfig, a certificate or key in base64
    assert len(middle) > 20
    return [middle, base64.b64encode(content)]


# From the network.


def test_every_component_listens_on_loopback_only(project: Project, said: dict[str, bytes]) -> None:
    pids = project.pids()
    assert set(pids) == COMPONENTS
    for component, pid in pids.items():
        places = listening(pid)
        assert places, f"{component} listens nowhere: the test looks in the wrong place"
        assert {address for address, _ in places} == {"0100007F"}, f"{component} listens on {places}"


CONNECT = """
import socket, sys
for port in sys.argv[2:]:
    try:
        socket.create_connection((sys.argv[1], int(port)), timeout=5).close()
        print(port, "open")
    except OSError as error:
        print(port, error.strerror or error)
"""


def test_no_port_can_be_reached_from_another_network_namespace(project: Project, said: dict[str, bytes]) -> None:
    taken = [str(port) for pid in project.pids().values() for _, port in listening(pid)]
    assert len(taken) >= len(COMPONENTS)
    with neighbour() as inside, listener(HOST) as reachable:
        lines = inside(sys.executable, "-c", CONNECT, HOST, reachable, *taken).splitlines()
    answers = dict(line.split(" ", 1) for line in lines)
    assert answers.pop(reachable) == "open", "the other namespace reaches nothing: the test proves nothing"
    assert set(answers) == set(taken)
    assert set(answers.values()) == {"Connection refused"}


@contextmanager
def neighbour() -> Iterator[Any]:
    """Make a network namespace with a wire to this one; yield what runs a command in there."""
    name = f"kd{os.getpid() % 10**6}"
    run("ip", "netns", "add", name)
    try:
        run("ip", "link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name)
        run("ip", "address", "add", f"{HOST}/30", "dev", f"{name}a")
        run("ip", "link", "set", f"{name}a", "up")
        inside = ("ip", "netns", "exec", name)
        run(*inside, "ip", "address", "add", f"{GUEST}/30", "dev", f"{name}b")
        run(*inside, "ip", "link", "set", f"{name}b", "up")
        yield lambda *command: run(*inside, *command)
    finally:
        run("ip", "netns", "delete", name)  # and the wire with it


def run(*command: str) -> str:
    """Run a command as root."""
    done = subprocess.run([*as_root(), *command], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}. This test needs root, or sudo without a password"
    return done.stdout


def as_root() -> list[str]:
    return [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]


@contextmanager
def listener(address: str) -> Iterator[str]:
    """Listen on an address, as a component that is not careful would; yield the port."""
    with socket.socket() as server:
        server.bind((address, 0))
        server.listen()
        yield str(server.getsockname()[1])


# From other users.

READ = """
import os, sys
readable = []
for folder, folders, files in os.walk(sys.argv[1], onerror=lambda error: None):
    for name in files:
        try:
            with open(os.path.join(folder, name), "rb"):
                readable.append(os.path.join(folder, name))
        except OSError:
            pass
print("\\n".join(readable))
"""


def test_nobody_else_can_read_anything(project: Project, folder: Path) -> None:
    """Where the project's folder is open to all, its state is not; nor are clusters that lie somewhere else."""
    clusters = Path(project.environment["KWOK_WORKDIR"])
    (project.folder / "open").write_text("for all")
    with open_to_all(project.folder):
        assert str(project.folder / "open") in as_nobody(project.folder).splitlines()
        assert as_nobody(clusters.parent) == ""
        with open_to_all(clusters):
            assert as_nobody(clusters) == ""


@contextmanager
def open_to_all(folder: Path) -> Iterator[None]:
    """Let everybody into a folder, and into those above it as far as they are ours."""
    closed = [one for one in (folder, *folder.parents) if one.stat().st_mode & 0o005 != 0o005]
    modes = [one.stat().st_mode for one in closed]
    try:
        for one, mode in zip(closed, modes, strict=True):
            one.chmod(mode | 0o055)
        yield
    finally:
        for one, mode in zip(closed, modes, strict=True):
            one.chmod(mode)


def as_nobody(folder: Path) -> str:
    """Return the files below a folder that the user `nobody` can read."""
    user = str(pwd.getpwnam("nobody").pw_uid)
    reader = [PYTHON_FOR_ALL, "-I", "-c", READ, str(folder)]
    return run("setpriv", "--reuid", user, "--regid", user, "--clear-groups", *reader).strip()


# Secrets.


def test_secrets_are_in_nothing_that_is_said(folder: Path, said: dict[str, bytes]) -> None:
    assert said["up, printed"] and said["command lines"]
    for place, text in said.items():
        assert_no_secret(folder, place, text)


def test_secrets_are_in_no_file_but_their_own(project: Project, folder: Path) -> None:
    """Neither in logs nor in Pulumi's state, its backups and its own files."""
    looked_at = 0
    for file in project.folder.rglob("*"):
        own = folder / "pki" in file.parents or file.name in ("kubeconfig", "kubeconfig.yaml")
        database = folder / "etcd" in file.parents  # the cluster's own, which is its owner's alone
        if file.is_symlink() or not file.is_file() or own or database:
            continue
        looked_at += 1
        assert_no_secret(folder, str(file), file.read_bytes())
    assert looked_at > 100


def assert_no_secret(folder: Path, place: str, text: bytes) -> None:
    for name, ways in secrets(folder).items():
        assert not any(way in text for way in ways), f"{name} can be read in: {place}"


def test_the_kubeconfig_is_private_and_secret(project: Project, folder: Path) -> None:
    outputs = project.outputs()
    assert outputs["kubeconfigPath"] == str(folder / "kubeconfig.yaml")
    assert outputs["kubeconfig"] == "[secret]"
    for file in (folder / "kubeconfig.yaml", Path(project.environment["KUBECONFIG"])):
        assert file.stat().st_mode & 0o077 == 0
    shown = project.run("pulumi", "stack", "output", "kubeconfig", "--show-secrets").stdout
    assert base64.b64encode((folder / "pki" / "admin.key").read_bytes()).decode() in shown
