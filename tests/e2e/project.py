"""A copy of the project in a folder of its own, driven with the real `pulumi`, `kwokctl` and `kubectl`."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".tools"
PATIENCE_SECONDS = 600
"""How long something may take that takes no time but on a machine with too much to do."""

BY_HAND = TOOLS
"""The folder whose lock clusters made by hand take: kwokctl would choose the same ports for two that start at once."""

SCENARIOS = (
    "admin-access",
    "all-devices",
    "binding-conditions",
    "cel-selector",
    "compatibility-groups",
    "consumable-capacity",
    "derived-attributes",
    "device-taint-rules",
    "device-taints",
    "extended-resource",
    "fabric",
    "jobs",
    "list-attributes",
    "manifests",
    "match-attribute",
    "multiple-allocations-partitionable",
    "node-allocatable-resources",
    "opaque-config",
    "optional-node-operations",
    "order",
    "oversubscribed",
    "partitionable",
    "pod-group",
    "pod-group-claim",
    "priorities",
    "prioritized-list",
    "queues",
    "resource-pool-status",
    "schedulers",
    "shared-claim",
)
"""The stacks that show one feature each (docs/scenarios.md): not all of their claims are to be satisfied."""

STACKS = sorted({file.name.split(".")[1] for file in ROOT.glob("stacks/Pulumi.*.yaml")}.difference(SCENARIOS))
PACKAGES = ("cluster", "commands", "components", "topology", "twin", "views")
PROGRAM = (
    "Pulumi.yaml",
    "Pulumi.dev.yaml",
    "stacks",
    "__main__.py",
    "manifests",
    *PACKAGES,
)


STACK_TYPE = "pulumi:pulumi:Stack"
SECRET = "4dabf18193072939515e22adb298388d"
"""The key that marks a secret in the state:
https://github.com/pulumi/pulumi/blob/v3.276.0/sdk/go/common/resource/sig/sig.go.
"""


PYTHON = """#!/bin/sh
# In each operation Pulumi's language host lists the Python packages, which stay the same.
[ "$*" = "{arguments}" ] && exec cat {packages}
exec {python} "$@"
"""


def python_in(folder: Path) -> Path:
    """Write a Python whose `pip list`, a tenth of the time of all tests, says what it says now."""
    arguments = ("-m", "pip", "list", "-v", "--format", "json")
    packages, python = folder / "packages.json", folder / "python"
    packages.write_bytes(subprocess.run((sys.executable, *arguments), check=True, capture_output=True).stdout)
    python.write_text(PYTHON.format(arguments=" ".join(arguments), packages=packages, python=sys.executable))
    python.chmod(0o755)
    return python


class Project:
    """The program, its state, its clusters and its HOME, all below one folder; nothing is shared but the tools."""

    python = Path(sys.executable)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source = folder / "project"
        self.source.mkdir(parents=True)
        for name in PROGRAM:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, self.source / name, symlinks=True)
            else:
                shutil.copy(ROOT / name, self.source / name)
        self.clusters = folder / "state" / "kwok" / "clusters"
        self.log = folder / "log"
        self.stack = ""
        self.environment = self._environment()

    def _environment(self) -> dict[str, str]:
        state = self.folder / "state"
        home = self.folder / "home"
        pulumi_home = self.folder / "pulumi"
        self.temporary = self.folder / "tmp"
        state.mkdir(mode=0o700)  # as toolchain/activate makes it
        for new in (home, pulumi_home, self.temporary):
            new.mkdir()
        (pulumi_home / "plugins").symlink_to(TOOLS / "pulumi" / "plugins")
        return {
            "PATH": f"{TOOLS / 'bin'}:{os.environ['PATH']}",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "KWOK_DRA_TOOLS": str(TOOLS),
            "KWOK_WORKDIR": str(state / "kwok"),
            "KUBECACHEDIR": str(state / "kwok" / "kubectl-cache"),
            "KUBECONFIG": str(state / "kwok" / "kubeconfig"),
            "PULUMI_BACKEND_URL": f"file://{state}?metadata=skip",
            "PULUMI_CONFIG_PASSPHRASE": "",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_HOME": str(pulumi_home),
            "PULUMI_PYTHON_CMD": str(self.python),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "TMPDIR": str(self.temporary),
        }

    # Commands.

    def run(
        self, *command: str, check: bool = True, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the project; with `check`, a failure shows all that it printed."""
        done = subprocess.run(
            command,
            cwd=self.source,
            env={**self.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if check:
            said = done.stdout + done.stderr
            reason = said.partition("Diagnostics:")[2]  # First: of a long message, a log may keep only the beginning.
            assert done.returncode == 0, f"{' '.join(command)} exited with {done.returncode}:{reason}\n\n{said}"
        return done

    @contextmanager
    def started(self, *command: str, environment: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """Start a command in a session of its own; what it prints goes to `log`, and in the end no process is left."""
        with self.log.open("w") as log:
            process = subprocess.Popen(
                command,
                cwd=self.source,
                env={**self.environment, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            for pid in session(process.pid):  # a killed CLI leaves its language host and plugins behind
                kill(pid)
            process.wait()
            wait_until(lambda: not session(process.pid))

    def select(self, stack: str = "dev") -> None:
        """Create or select the stack."""
        self.stack = stack
        self.run("pulumi", "stack", "select", "--create", stack)

    def up(self, *flags: str) -> str:
        """Run `pulumi up` and return what it printed."""
        done = self.run("pulumi", "up", "--yes", "--skip-preview", *flags)
        return done.stdout + done.stderr

    def fails(self, environment: Mapping[str, str] | None = None) -> str:
        """Run `pulumi up`, which has to fail, and return what it printed."""
        done = self.run("pulumi", "up", "--yes", "--skip-preview", check=False, environment=environment)
        said = done.stdout + done.stderr
        assert done.returncode != 0, f"pulumi up did not fail:\n{said}"
        assert "Traceback" not in said, said
        return said

    def planned(self) -> dict[str, str]:
        """Return the operation that `pulumi preview` plans for each resource that changes, by type and name."""
        operations: dict[str, str] = {}
        for step in json.loads(self.run("pulumi", "preview", "--json").stdout)["steps"]:
            kind, name = step["urn"].split("::")[-2:]
            if step["op"] != "same":
                operations.setdefault(f"{kind.split('$')[-1]} {name}", step["op"])
        return {
            name: "replace" if "replace" in operation or "delete-rep" in operation else operation
            for name, operation in operations.items()
        }

    def destroy(self) -> str:
        """Run `pulumi destroy`."""
        return self.run("pulumi", "destroy", "--yes", "--skip-preview").stdout

    def outputs(self) -> dict[str, Any]:
        """Return the stack's outputs; secrets stay hidden, as `pulumi stack output` has them."""
        found: dict[str, Any] = next((entry["outputs"] for entry in self._state() if entry["type"] == STACK_TYPE), {})
        return {
            name: "[secret]" if isinstance(value, dict) and SECRET in value else value for name, value in found.items()
        }

    def resources(self) -> list[str]:
        """Return the types of the resources in the state: what was really created, no components, no providers."""
        types = [entry["type"] for entry in self._state() if entry.get("custom")]
        return [kind for kind in types if not kind.startswith("pulumi:providers:")]

    def _state(self) -> list[dict[str, Any]]:
        """Return what `pulumi stack export` prints as the resources, which takes the CLI ten times as long."""
        (file,) = (self.folder / "state" / ".pulumi" / "stacks").glob(f"*/{self.stack}.json")
        latest: dict[str, Any] = json.loads(file.read_text())["checkpoint"]["latest"] or {}
        return latest.get("resources") or []

    def kubectl(self, *arguments: str) -> Any:
        """Return what kubectl prints as JSON; it uses the kubeconfig that `source toolchain/activate` names."""
        return json.loads(self.run("kubectl", *arguments).stdout)

    def get(self, kind: str) -> list[dict[str, Any]]:
        """Return all objects of a kind."""
        items: list[dict[str, Any]] = self.kubectl("get", kind, "--all-namespaces", "--output", "json")["items"]
        return items

    # Configuration.

    @contextmanager
    def configuration(self, stack: str = "dev") -> Iterator[dict[str, Any]]:
        """Edit the stack's configuration; keys are without the namespace."""
        file = self.source / "stacks" / f"Pulumi.{stack}.yaml"
        content = yaml.safe_load(file.read_text())
        config = {key.removeprefix("kwok-dra:"): value for key, value in content["config"].items()}
        yield config
        content["config"] = {key if ":" in key else f"kwok-dra:{key}": value for key, value in config.items()}
        file.write_text(yaml.safe_dump(content))

    # Processes and files.

    def pids(self) -> dict[str, int]:
        """Return the process ids of the clusters' components."""
        files = {file.stem: file.read_text() for file in self.clusters.glob("*/pids/*.pid")}
        return {name: int(number) for name, number in files.items() if number}  # empty while it is written

    def close(self) -> None:
        """End every process and remove every file, whatever state a failed test left them in."""
        for cluster in self.clusters.glob("*"):
            self.run("kwokctl", "delete", "cluster", "--name", cluster.name, check=False)
        for pid in processes_of(self.folder):
            kill(pid)
        shutil.rmtree(self.folder, ignore_errors=True)


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Kill a process that may have ended already."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def processes_of(folder: Path) -> list[int]:
    """Return the processes whose command line names `folder`: programs below it, or programs that work on it."""
    found = []
    for command_line in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if str(folder).encode() in command_line.read_bytes():
                found.append(int(command_line.parent.name))
    return found


def session(leader: int) -> list[int]:
    """Return the processes of a session; the components of a cluster have sessions of their own."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(status.read_text().rpartition(")")[2].split()[3]) == leader:
                found.append(int(status.parent.name))
    return found


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait, with a limit that only a broken program reaches."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def listening(pid: int) -> set[tuple[str, int]]:
    """Return the local addresses, as /proc/net/tcp writes them, and ports on which a process listens."""
    sockets = {os.readlink(file) for file in Path("/proc", str(pid), "fd").iterdir() if file.is_symlink()}
    inodes = {name.removeprefix("socket:[").removesuffix("]") for name in sockets if name.startswith("socket:")}
    rows = [row.split() for table in ("tcp", "tcp6") for row in Path("/proc/net", table).read_text().splitlines()[1:]]
    places = (row[1].split(":") for row in rows if row[3] == "0A" and row[9] in inodes)
    return {(address, int(port, 16)) for address, port in places}
