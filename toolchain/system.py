"""The programs that the user has already: which of them there are, and whether they will do."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pins import ToolchainError, go_pins, read_table

OPTIONAL = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")


@dataclass(frozen=True)
class Requirement:
    """A program that has to be on PATH, in this version or a newer one."""

    name: str
    arguments: tuple[str, ...]
    minimum: tuple[int, ...]
    remedy: str


def requirements(root: Path) -> list[Requirement]:
    """Return what programs.toml asks for; without a minimum there it is the pinned version."""
    return [
        Requirement(
            name=entry["name"],
            arguments=tuple(entry["arguments"]),
            minimum=parse_version(entry.get("minimum") or pinned(root, entry)),
            remedy=entry["remedy"],
        )
        for entry in read_table(root)["system"]
    ]


def pinned(root: Path, entry: dict[str, str]) -> str:
    """Return the version that the entry's module set pins."""
    return go_pins(root, entry["folder"])[entry["pin"]]


def parse_version(text: str) -> tuple[int, ...]:
    """Return the first version like v1.2.3 in a text, or an empty tuple."""
    found = re.search(r"\bv(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in found.groups()) if found else ()


def show(version: tuple[int, ...]) -> str:
    """Write a version the way it is read."""
    return ".".join(map(str, version))


def own_path() -> str:
    """Return PATH without the programs that were built here or in another checkout."""
    ours = os.environ.get("KWOK_DRA_TOOLS", "") + "/bin"
    folders = os.environ.get("PATH", "").split(os.pathsep)
    return os.pathsep.join(folder for folder in folders if folder != ours)


def installed_version(wanted: Requirement) -> tuple[int, ...] | None:
    """Return the version of a program on PATH; empty when it says none, None without a program."""
    program = shutil.which(wanted.name, path=own_path())
    if program is None:
        return None
    command = [program, *wanted.arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return parse_version(done.stdout)


def problem(wanted: Requirement, found: tuple[int, ...] | None) -> str:
    """Say in one line what is wrong with a program and what to do; nothing when it will do."""
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
    """Return what TOOLS=system will use, or raise with a line for each program that will not do."""
    versions = {wanted: installed_version(wanted) for wanted in requirements(root)}
    problems = [text for wanted, found in versions.items() if (text := problem(wanted, found))]
    if problems:
        raise ToolchainError("\n".join(problems))
    absent = [name for name in OPTIONAL if shutil.which(name, path=own_path()) is None]
    note = f" kwokctl will download {', '.join(absent)}." if absent else ""
    return f"Using {listing(versions)} from PATH.{note}"


def hint(root: Path) -> str:
    """Return the list of programs that fit, when all of them are on PATH, else nothing."""
    versions = {wanted: installed_version(wanted) for wanted in requirements(root)}
    fit = not any(problem(wanted, found) for wanted, found in versions.items())
    return listing(versions) if fit else ""


def listing(versions: dict[Requirement, tuple[int, ...] | None]) -> str:
    """Write programs and versions as a list in a sentence."""
    names = [f"{wanted.name} {show(found or ())}" for wanted, found in versions.items()]
    return f"{', '.join(names[:-1])} and {names[-1]}"
