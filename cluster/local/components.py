"""The components of a cluster that run as processes on this machine, each of which has a pid file.

Schedulers and controllers of the stack are components too: kwokctl starts and stops them with its own. Their state is
not that of the cluster, whose repair must not depend on a program of the user's.
"""

import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from cluster.local import processes
from cluster.local.errors import ClusterError
from cluster.local.kwokctl import POLL_SECONDS

STOP_SECONDS = 20
OWNER = "KWOK_DRA_COMPONENT_OF"
"""The variable with the cluster's folder in the environment of an added program: a script runs as its interpreter."""


class Components:
    """The component processes of the cluster in `folder`. A cluster in containers has none."""

    def __init__(self, folder: Path) -> None:
        """Describe the components of the cluster in `folder`, which need not exist."""
        self.folder = folder
        self.programs = f"{folder}/bin/"

    def added(self, component: str) -> Path:
        """Return the folder of a component that the stack has added, or has configured anew."""
        return self.folder / "added" / component

    def pid_file(self, component: str) -> Path:
        """Return the file in which kwokctl writes a component's process id."""
        return self.folder / "pids" / f"{component}.pid"

    def log(self, component: str) -> Path:
        """Return a component's log file."""
        return self.folder / "logs" / f"{component}.log"

    def are_processes(self) -> bool:
        """Tell whether the components run as processes, not in containers."""
        return (self.folder / "pids").exists()

    def recorded(self) -> dict[str, int]:
        """Return the process id of each component that has a pid file, whatever has become of the process."""
        texts = {file.stem: file.read_text().strip() for file in (self.folder / "pids").glob("*.pid")}
        return {component: int(text) for component, text in texts.items() if text.isdigit()}

    def own(self) -> dict[str, int]:
        """Return what `recorded` does, of the components that kwokctl itself has added."""
        return {component: pid for component, pid in self.recorded().items() if not self.added(component).exists()}

    def exited(self) -> list[str]:
        """Return the cluster's own components that have exited, although nobody has stopped them."""
        return sorted(component for component, pid in self.own().items() if not self.is_component(pid))

    def running(self) -> dict[str, int]:
        """Return the process ids of the components that run, and delete every other pid file.

        After a restart of the machine, another program may have a recorded id: kwokctl would kill that program, or
        take it for a component that runs. It also takes a zombie for one that runs.
        """
        for component, pid in self.recorded().items():
            if not self.is_component(pid):
                self.pid_file(component).unlink()
        return self.recorded()

    def by_program(self) -> dict[str, int]:
        """Return all component processes, also one that a killed kwokctl started and wrote no pid file for."""
        return {f"process {pid}": pid for pid in processes.all_ids() if self._runs_a_program_of_ours(pid)}

    def kill(self, pids: Mapping[str, int]) -> None:
        """Kill processes and wait until they have exited."""
        for pid in pids.values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.wait_until_exited(pids)

    def wait_until_exited(self, pids: Mapping[str, int]) -> None:
        """Wait until processes have exited; raise ClusterError if one still runs after STOP_SECONDS."""
        deadline = time.monotonic() + STOP_SECONDS
        while left := [component for component, pid in pids.items() if processes.running(pid)]:
            if time.monotonic() > deadline:
                raise ClusterError(f"{', '.join(left)} of cluster {self.folder.name} did not exit; see {self.folder}")
            time.sleep(POLL_SECONDS)

    def is_component(self, pid: int) -> bool:
        """Tell whether a process runs and is, as far as one can see, a component."""
        return processes.running(pid) and (not processes.program(pid) or self._runs_a_program_of_ours(pid))

    def _runs_a_program_of_ours(self, pid: int) -> bool:
        if processes.program(pid).startswith(self.programs):
            return True
        return f"{OWNER}={self.folder}" in processes.environment(pid)
