"""The components of a cluster that run as processes on this machine, each of which has a pid file."""

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


class Components:
    """The component processes of the cluster in `folder`. A cluster in containers has none."""

    def __init__(self, folder: Path) -> None:
        """Describe the components of the cluster in `folder`, which need not exist."""
        self.folder = folder
        self.programs = f"{folder}/bin/"

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

    def exited(self) -> list[str]:
        """Return the components that have exited, although nobody has stopped them."""
        return sorted(component for component, pid in self.recorded().items() if not self._is_component(pid))

    def running(self) -> dict[str, int]:
        """Return the process ids of the components that run, and delete every other pid file.

        After a restart of the machine, another program may have a recorded id: kwokctl would kill that program, or
        take it for a component that runs. It also takes a zombie for one that runs.
        """
        for component in self.exited():
            self.pid_file(component).unlink()
        return self.recorded()

    def by_program(self) -> dict[str, int]:
        """Return all component processes, also one that a killed kwokctl started and wrote no pid file for."""
        own = [pid for pid in processes.all_ids() if processes.program(pid).startswith(self.programs)]
        return {f"process {pid}": pid for pid in own}

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

    def _is_component(self, pid: int) -> bool:
        program = processes.program(pid)
        return processes.running(pid) and (not program or program.startswith(self.programs))
