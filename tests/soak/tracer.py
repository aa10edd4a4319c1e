"""Runs a program and kills it just before one of its file operations: which one is no matter of luck.

    python tests/soak/tracer.py PROGRAM [ARGUMENT]…

Environment: KILL_POINT, a `Point` in JSON. The program is traced with ptrace, all of its threads and none of its
children, so that a cluster can outlive it. What it was about to do when it was killed goes to the point's file.
https://man7.org/linux/man-pages/man2/ptrace.2.html
"""

import ctypes
import json
import os
import platform
import re
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

TRACEME, SYSCALL, SETOPTIONS, GET_SYSCALL_INFO = 0, 24, 0x4200, 0x420E
OPTIONS = 0x1 | 0x8 | 0x10 | 0x100000
"""TRACESYSGOOD, TRACECLONE (threads), TRACEEXEC, EXITKILL (without the tracer there is no program)."""

SYSCALL_STOP = signal.SIGTRAP | 0x80
ENTRY = 1
ALL_THREADS = 0x40000000
"""`__WALL` of waitpid(2)."""

CREATE_OR_TRUNCATE = os.O_CREAT | os.O_TRUNC
AT_FDCWD = -100
CONTENT_MAX = 1 << 20
PATH_MAX = 4096
NONE = -1


class Call(NamedTuple):
    """A system call that changes files: its number on each machine, and which arguments say what."""

    x86_64: int
    aarch64: int
    descriptor: int = NONE
    """The argument with the open file, or with the folder that the path starts from."""
    path: int = NONE
    flags: int = NONE
    """The argument with the flags of an open."""


CALLS = {
    "open": Call(2, NONE, path=0, flags=1),
    "creat": Call(85, NONE, path=0),
    "openat": Call(257, 56, descriptor=0, path=1, flags=2),
    "write": Call(1, 64, descriptor=0),
    "pwrite64": Call(18, 68, descriptor=0),
    "writev": Call(20, 66, descriptor=0),
    "copy_file_range": Call(326, 285, descriptor=2),
    "sendfile": Call(40, 71, descriptor=0),
    "ftruncate": Call(77, 46, descriptor=0),
    "truncate": Call(76, 45, path=0),
    "rename": Call(82, NONE, path=1),
    "renameat": Call(264, 38, descriptor=2, path=3),
    "renameat2": Call(316, 276, descriptor=2, path=3),
    "unlink": Call(87, NONE, path=0),
    "unlinkat": Call(263, 35, descriptor=0, path=1),
    "mkdir": Call(83, NONE, path=0),
    "mkdirat": Call(258, 34, descriptor=0, path=1),
    "rmdir": Call(84, NONE, path=0),
    "link": Call(86, NONE, path=1),
    "linkat": Call(265, 37, descriptor=2, path=3),
    "symlink": Call(88, NONE, path=1),
    "symlinkat": Call(266, 36, descriptor=1, path=2),
    "chmod": Call(90, NONE, path=0),
    "fchmod": Call(91, 52, descriptor=0),
    "fchmodat": Call(268, 53, descriptor=0, path=1),
}
"""https://github.com/torvalds/linux/blob/v6.12/arch/x86/entry/syscalls/syscall_64.tbl and scripts/syscall.tbl there."""

REMOVALS = ("unlink", "unlinkat", "rmdir")

NAMES = {getattr(call, platform.machine()): name for name, call in CALLS.items()}


class Point(NamedTuple):
    """Where a program is killed: before its `nth` operation that all of these expressions match."""

    hit: str
    """The file that then says which operation that was; the next program is left alone."""
    path: str
    operation: str = ""
    content: str = ""
    """Of a write."""
    nth: int = 1
    """0 for the program's start."""
    whole_session: bool = False
    """Whether everything is killed with it, as by the end of a container."""


class Operation(NamedTuple):
    """What a program is about to do to a file."""

    name: str
    path: str


class _Info(ctypes.Structure):
    _fields_ = [
        ("op", ctypes.c_uint8),
        ("arch", ctypes.c_uint32),
        ("instruction", ctypes.c_uint64),
        ("stack", ctypes.c_uint64),
        ("number", ctypes.c_uint64),
        ("arguments", ctypes.c_uint64 * 6),
    ]


_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def trace(command: list[str], is_the_end: Callable[["Entry"], bool]) -> int:
    """Run the command until it ends or an operation is the end of it, and return its status as waitpid(2) has it."""
    leader = os.fork()
    if not leader:
        _libc.ptrace(TRACEME, 0, None, None)
        os.execvp(command[0], command)
    os.waitpid(leader, 0)
    _libc.ptrace(SETOPTIONS, leader, None, OPTIONS)
    known = {leader}
    thread, status = leader, 0
    while True:
        _libc.ptrace(SYSCALL, thread, None, status)
        thread, stopped = os.waitpid(-1, ALL_THREADS)
        if os.WIFSTOPPED(stopped):
            status = _passed_on(stopped) if thread in known else 0  # a new thread begins with a stop
            known.add(thread)
            if os.WSTOPSIG(stopped) == SYSCALL_STOP and (entry := entered(thread)) and is_the_end(entry):
                os.kill(leader, signal.SIGKILL)
        elif thread == leader:
            return stopped


def _passed_on(stopped: int) -> int:
    """Return the signal that the program is to get."""
    number = os.WSTOPSIG(stopped)
    return 0 if number == SYSCALL_STOP or stopped >> 16 else number


class Entry(NamedTuple):
    """A thread that is about to make a system call of those that change files."""

    thread: int
    name: str
    arguments: Sequence[int]

    def operation(self) -> Operation | None:
        """Return what it is about to do; None if that changes nothing."""
        call = CALLS[self.name]
        if call.flags != NONE and not self.arguments[call.flags] & CREATE_OR_TRUNCATE:
            return None
        path = self._path(call)
        is_vain = self.name in REMOVALS and not os.path.lexists(path)
        return None if is_vain else Operation(self.name, path)

    def _path(self, call: Call) -> str:
        name = "" if call.path == NONE else self._text(self.arguments[call.path])
        if name.startswith("/"):
            return name
        descriptor = AT_FDCWD if call.descriptor == NONE else ctypes.c_int(self.arguments[call.descriptor]).value
        start = "cwd" if descriptor == AT_FDCWD else f"fd/{descriptor}"
        with suppress(OSError):  # no such descriptor
            return os.path.join(os.readlink(f"/proc/{self.thread}/{start}"), name).rstrip("/")
        return name

    def _text(self, address: int) -> str:
        return os.fsdecode(self._memory(address, PATH_MAX).split(b"\0")[0])

    def content(self) -> str:
        """Return what is about to be written."""
        if self.name not in ("write", "pwrite64"):
            return ""
        return self._memory(self.arguments[1], min(self.arguments[2], CONTENT_MAX)).decode(errors="replace")

    def _memory(self, address: int, size: int) -> bytes:
        with open(f"/proc/{self.thread}/mem", "rb", buffering=0) as memory:
            memory.seek(address)
            return memory.read(size)


def entered(thread: int) -> Entry | None:
    """Return the system call that the thread is about to make; None if it is of no interest."""
    info = _Info()
    _libc.ptrace(GET_SYSCALL_INFO, thread, ctypes.sizeof(info), ctypes.addressof(info))
    name = NAMES.get(info.number) if info.op == ENTRY else None
    return Entry(thread, name, list(info.arguments)) if name else None


class Killer:
    """Counts the operations of a program, and tells when it has to die."""

    def __init__(self, point: Point) -> None:
        self.point = point
        self.left = point.nth

    def __call__(self, entry: Entry) -> bool:
        found = entry.operation()
        if not found or not self._is_meant(entry, found):
            return False
        self.left -= 1
        if not self.left:
            self.strike(found)
        return not self.left

    def strike(self, operation: Operation) -> None:
        """Note what the program was about to do, and kill what has to die with it."""
        Path(self.point.hit).write_text(json.dumps(operation._asdict()))
        if self.point.whole_session:
            end_session()

    def _is_meant(self, entry: Entry, found: Operation) -> bool:
        point = self.point
        return bool(
            re.search(point.path, found.path)
            and re.search(point.operation, found.name)
            and (not point.content or re.search(point.content, entry.content()))
        )


def end_session() -> None:
    """Kill all other processes of this session, while the traced one is held."""
    for file in Path("/proc").glob("[0-9]*"):
        pid = int(file.name)
        with suppress(OSError):
            if pid != os.getpid() and os.getsid(pid) == os.getsid(0):
                os.kill(pid, signal.SIGKILL)


def main() -> None:
    """Run the program, and end as it ends."""
    point = Point(**json.loads(os.environ["KILL_POINT"]))
    command = sys.argv[1:]
    if Path(point.hit).exists():
        os.execvp(command[0], command)
    killer = Killer(point)
    if not point.nth:
        killer.strike(Operation("start", command[0]))
        os.kill(os.getpid(), signal.SIGKILL)
    status = trace(command, killer)
    if os.WIFSIGNALED(status):
        os.kill(os.getpid(), os.WTERMSIG(status))
    sys.exit(os.WEXITSTATUS(status))


if __name__ == "__main__":
    main()
