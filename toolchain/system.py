"""The programs that the user already has, and whether their versions are suitable."""

import os
import re
import select
import shutil
import signal
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired

from pins import Program, ToolchainError, go_pins, read_table

PATIENCE = 10.0
"""Seconds within which a program must print its version."""

OPTIONAL = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")


@dataclass(frozen=True)
class Requirement:
    """A program that must be on PATH in this version or a later one."""

    name: str
    arguments: tuple[str, ...]
    minimum: tuple[int, ...]
    remedy: str


def requirements(root: Path) -> list[Requirement]:
    """Return the requirements of programs.toml; the default minimum is the pinned version."""
    table = read_table(root)
    asked = {entry["name"]: tuple(entry.get("ask", ())) for entry in table["program"]}
    return [
        Requirement(
            name=entry["name"],
            arguments=asked[entry["name"]],
            minimum=parse_version(entry.get("minimum") or pinned(root, entry)),
            remedy=entry["remedy"],
        )
        for entry in table["system"]
    ]


def pinned(root: Path, entry: dict[str, str]) -> str:
    """Return the version that the module set of the entry pins."""
    return go_pins(root, entry["folder"])[entry["pin"]]


def parse_version(text: str) -> tuple[int, ...]:
    """Return the first version like v1.2.3 in a text, or an empty tuple."""
    found = re.search(r"\bv(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in found.groups()) if found else ()


def show(version: tuple[int, ...]) -> str:
    """Return a version as text."""
    return ".".join(map(str, version))


def own_path() -> str:
    """Return PATH without the folders that the builds of this or another checkout fill."""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    return os.pathsep.join(folder for folder in folders if not is_ours(Path(folder)))


def is_ours(path: Path) -> bool:
    """Tell whether a file or folder belongs to the tools of a checkout, and is deleted with them."""
    return ".tools" in path.resolve().parts


def answer(command: Sequence[str | Path]) -> str:
    """Return the start of the output of a program; empty if it fails or does not end in time."""
    deadline = time.monotonic() + PATIENCE
    output = b""
    try:
        process = Popen(command, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, start_new_session=True)
    except OSError:
        return ""
    with process:
        assert process.stdout
        while select.select([process.stdout], [], [], max(0, deadline - time.monotonic()))[0] and len(output) < 2**16:
            if not (chunk := os.read(process.stdout.fileno(), 2**16)):
                with suppress(TimeoutExpired):
                    process.wait(max(0, deadline - time.monotonic()))
                break
            output += chunk
        ended = process.poll()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return output.decode(errors="replace") if ended == 0 else ""


def installed_version(wanted: Requirement) -> tuple[int, ...] | None:
    """Return the version of a program on PATH; empty if it prints none, None if there is no program."""
    program = shutil.which(wanted.name, path=own_path())
    return parse_version(answer([program, *wanted.arguments])) if program else None


def take(programs: list[Program], folder: Path) -> dict[str, Path]:
    """Copy the user's programs that have exactly the pinned version into a folder; return the copies by name.

    The version is checked on the copy, because only the copy is used later.
    """
    copies: dict[str, Path] = {}
    folder.mkdir()
    for program in sorted(programs, key=lambda program: program.beside):
        if origin := own(program, copies):
            copy = Path(shutil.copy(origin, folder / program.name))
            if not program.ask or says(answer([copy, *program.ask]), program.version):
                copies[program.name] = copy
    return copies


def own(program: Program, copies: Iterable[str]) -> Path | None:
    """Return the path of the user's program if it can be copied."""
    found = place(program, copies)
    if found is None or is_ours(found) or not found.is_file() or not os.access(found, os.R_OK | os.X_OK):
        return None
    return None if program.ask and is_launcher(found) else found


def is_launcher(path: Path) -> bool:
    """Tell whether a file is a script, which starts the real program from elsewhere."""
    with path.open("rb") as file:
        return file.read(2) == b"#!"


def place(program: Program, copies: Iterable[str]) -> Path | None:
    """Return where a program would be: on PATH, beside a program that was copied, or among Pulumi's plugins."""
    named = shutil.which(program.beside or program.name, path=own_path())
    if program.ask:
        return Path(named) if named else None
    if program.beside:
        return Path(named).resolve().parent / program.name if named and program.beside in copies else None
    home = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")
    plugin = home / program.path.removeprefix("pulumi/")
    return plugin if not plugin.parent.with_name(f"{plugin.parent.name}.partial").exists() else None


def says(text: str, version: str) -> bool:
    """Tell whether a text contains exactly this version, and not only as a part of another one."""
    number = re.escape(version.removeprefix("v"))
    return bool(re.search(rf"(?<![\w.+-])v?{number}(?![\w.+-])", text))


def problem(wanted: Requirement, found: tuple[int, ...] | None) -> str:
    """Return one line that says what is wrong with a program and what to do; empty if it is suitable."""
    need = f"{wanted.name} {show(wanted.minimum)} or newer is needed"
    if found is None:
        return f"{need}, none is on PATH: {wanted.remedy}"
    if not found:
        ask = " ".join([wanted.name, *wanted.arguments])
        return f"{need}, but `{ask}` prints no version: {wanted.remedy}"
    if found < wanted.minimum:
        return f"{need}, {show(found)} is on PATH: {wanted.remedy}"
    return ""


def check(root: Path) -> str:
    """Return which programs TOOLS=system uses; raise ToolchainError with a line for each unsuitable program."""
    versions = {wanted: installed_version(wanted) for wanted in requirements(root)}
    problems = [text for wanted, found in versions.items() if (text := problem(wanted, found))]
    if problems:
        raise ToolchainError("\n".join(problems))
    absent = [name for name in OPTIONAL if shutil.which(name, path=own_path()) is None]
    note = f" kwokctl will download {', '.join(absent)}." if absent else ""
    return f"Using {listing(versions)} from PATH.{note}"


def hint(root: Path) -> str:
    """Return the list of programs if all of them are on PATH and suitable; otherwise empty."""
    versions = {wanted: installed_version(wanted) for wanted in requirements(root)}
    fit = not any(problem(wanted, found) for wanted, found in versions.items())
    return listing(versions) if fit else ""


def listing(versions: dict[Requirement, tuple[int, ...] | None]) -> str:
    """Return programs and versions as a list for a sentence."""
    names = [f"{wanted.name} {show(found or ())}" for wanted, found in versions.items()]
    return f"{', '.join(names[:-1])} and {names[-1]}"
