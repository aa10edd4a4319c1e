"""The processes that the bench starts: how much memory they take, and that none of them stays."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple, Self

from tests.e2e.project import kill


class Process(NamedTuple):
    """A process, with its resident memory in bytes."""

    pid: int
    parent: int
    session: int
    resident: int


class Watcher:
    """Looks at processes again and again while it is entered."""

    samples_per_second = 5

    def __enter__(self) -> Self:
        """Begin to look."""
        self._end = Event()
        self._thread = Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop looking."""
        self._end.set()
        self._thread.join()

    def look(self) -> None:
        """Take a sample."""
        raise NotImplementedError

    def _watch(self) -> None:
        while not self._end.wait(1 / self.samples_per_second):
            self.look()


class PeakMemory(Watcher):
    """While it is entered, the most memory that everything started in that time has taken at one moment.

    Daemons do not count, which is what kwokctl makes of the components of a cluster: they have sessions of their own.
    """

    peak = 0
    """Bytes."""

    def look(self) -> None:
        """Add up the memory."""
        started = started_by(os.getpid(), running())
        self.peak = max(self.peak, sum(process.resident for process in started))


def running() -> list[Process]:
    """Return all processes there are."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            found.append(parse(file.read_text()))
    return found


def parse(stat: str) -> Process:
    """Read a line of /proc/<pid>/stat; the name, in parentheses, may hold anything."""
    pid, _, rest = stat.partition(" (")
    fields = rest.rpartition(") ")[2].split()
    return Process(int(pid), int(fields[1]), int(fields[3]), int(fields[21]) * os.sysconf("SC_PAGE_SIZE"))


def started_by(root: int, processes: Iterable[Process]) -> list[Process]:
    """Return the processes below `root` that are of its session, as are all between it and them."""
    by_pid = {process.pid: process for process in processes}
    session = by_pid[root].session
    found: list[Process] = []
    parents = {root}
    while parents:
        children = [entry for entry in by_pid.values() if entry.parent in parents and entry.session == session]
        found += children
        parents = {child.pid for child in children}
    return found


@contextmanager
def own_folder() -> Iterator[Path]:
    """Make a folder, at whose end every process that works in it is ended, and the folder is gone.

    That holds however the block ends, and for clusters in the middle of being made: whatever the bench starts has the
    folder in its environment.
    """
    folder = Path(tempfile.mkdtemp(prefix="kwok-dra-bench-"))
    try:
        yield folder
    finally:
        while working := working_in(folder):  # those that are left may have started more
            for pid in working:
                kill(pid)
        shutil.rmtree(folder, ignore_errors=True)


def working_in(folder: Path) -> list[int]:
    """Return the processes whose environment names `folder`."""
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if str(folder).encode() in file.read_bytes():
                found.append(int(file.parent.name))
    return found


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process so far: fields 14 and 15 of /proc/<pid>/stat."""
    fields = Path("/proc", str(pid), "stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
