"""Processes of this machine, as Linux describes them in /proc.

https://man7.org/linux/man-pages/man5/proc.5.html
"""

import os
from pathlib import Path


def all_ids() -> list[int]:
    """Return the ids of all processes."""
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]


def running(pid: int) -> bool:
    """Tell whether a process has not exited. A zombie with other threads still runs, and holds its ports."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    state = _read(pid, "stat").rpartition(b")")[2].split()
    return state[:1] != [b"Z"] or len(list(Path("/proc", str(pid), "task").glob("*"))) > 1


def program(pid: int) -> str:
    """Return the path with which a process was started; empty if it is unknown."""
    return command_line(pid).partition("\0")[0]


def command_line(pid: int) -> str:
    """Return the arguments of a process, each followed by a NUL; empty if they are unknown."""
    return os.fsdecode(_read(pid, "cmdline"))


def environment(pid: int) -> list[str]:
    """Return the variables with which a process was started, as `NAME=value`; none if they are unknown."""
    return os.fsdecode(_read(pid, "environ")).split("\0")


def _read(pid: int, name: str) -> bytes:
    """Read a file in /proc; empty if the file or the process does not exist."""
    try:
        return Path("/proc", str(pid), name).read_bytes()
    except OSError:
        return b""
