"""Builds the programs of programs.toml into .tools; with TOOLS=system, checks the user's own programs instead.

    .venv/bin/python toolchain/build.py [SET]

SET is a folder next to this file: `cluster`, the default, means all programs that every stack needs, any other
`cluster…` the control plane of another Kubernetes version, and `kueue` and `jobset` a controller, which is built with
TOOLS=system too. Programs that are up to date are not built again.
"""

import argparse
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import groupby
from pathlib import Path

import system
from compiler import Compiler, install, numbers, workspace
from pins import MAIN_SET, ROOT, Program, ToolchainError, link_flags, load_programs
from progress import Progress, counted, in_words
from rich.console import Console

NEEDED_GIB = 8
console = Console(highlight=False, markup=False, soft_wrap=True)


def main() -> int:
    """Run the command line; print errors that the user can fix without a traceback."""
    parser = argparse.ArgumentParser(description="Build the programs that kwok-dra needs.")
    parser.add_argument("set", nargs="?", default=MAIN_SET, help="cluster (all), cluster-…, kueue or jobset")
    chosen = parser.parse_args().set
    stop_like_ctrl_c(signal.SIGTERM, signal.SIGHUP)
    try:
        run(ROOT, chosen, os.environ.get("TOOLS", ""))
    except ToolchainError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted. The same command continues where this one stopped.", file=sys.stderr)
        return 130
    return 0


def stop_like_ctrl_c(*signals: signal.Signals) -> None:
    """Clean up on these signals too, unless the caller (nohup) ignores them."""
    for number in signals:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


def run(root: Path, chosen: str, tools: str) -> None:
    """Provide the programs of a set in the way that TOOLS selects."""
    if tools == "system" and chosen.startswith(MAIN_SET):
        console.print(system.check(root))
        return
    if tools not in ("", "built", "system"):
        raise ToolchainError(f"TOOLS={tools} is unknown: leave it out, or set TOOLS=system.")
    programs = load_programs(root, chosen)
    if all(program.is_current() for program in programs):
        console.print(f"The tools are up to date ({counted(len(programs))} in .tools).")
    else:
        with only_one(root):
            make_all(root, programs, take_own=tools != "built")
    install_plugins(programs, root / ".tools")


@contextmanager
def only_one(root: Path) -> Iterator[None]:
    """Allow one build at a time in a checkout; a second build waits and then finds the programs built."""
    (root / ".tools").mkdir(exist_ok=True)
    with (root / ".tools/lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.print("Another build is running in this checkout: waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_all(root: Path, programs: list[Program], take_own: bool) -> None:
    """Build missing programs; if `take_own`, copy those that the user has in exactly the pinned version instead."""
    missing = [program for program in programs if not program.is_current()]
    if not missing:
        return
    with workspace(root / ".tools/partial") as folder:
        own = system.take(missing, folder / "own") if take_own else {}
        if own:
            names = [f"{program.name} {program.version}" for program in missing if program.name in own]
            console.print(f"Copied from your own programs of the pinned version: {', '.join(names)}.")
        rest = [program for program in missing if program.name not in own]
        with closing(Progress(console, rest)) as progress:
            compiler = Compiler(root / ".tools", progress)
            if rest:
                announce(root, compiler, rest)
            for _, group in groupby(programs, key=lambda program: program.folder):
                together = list(group)
                compiler.build([program for program in together if program in rest], link_flags(together))
                for program in together:
                    if program.name in own:
                        modules = {program.pin: program.version} if program.pin in program.pins else {}
                        install(program, own[program.name], program.recipe(), modules)
        if rest:
            console.print(progress.summary())


def announce(root: Path, compiler: Compiler, programs: list[Program]) -> None:
    """Print how long a build may take; raise ToolchainError if Go is missing or too old for it."""
    expected = in_words(sum(program.seconds for program in programs))
    if not programs[0].optional and (found := system.hint(root)):
        console.print(f"Found {found} on PATH: `make up TOOLS=system` would skip {expected}.")
    compiler.check_version(max((program.pins["go"] for program in programs), key=numbers))
    warn_if_disk_is_full([root, *compiler.caches()])
    console.print(f"Building {counted(len(programs))}: {expected} on 2 cores from empty caches, once.")


def warn_if_disk_is_full(folders: list[Path]) -> None:
    """Warn about folders that have less free space than a build from empty caches needs."""
    for folder in folders:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(existing).free / 2**30
        if free < NEEDED_GIB:
            console.print(
                f"Only {free:.1f} GiB are free for {folder}:"
                f" a build from empty caches needs about {NEEDED_GIB} GiB in total."
            )


def install_plugins(programs: list[Program], tools: Path) -> None:
    """Install missing plugins into the user's own PULUMI_HOME, if one is set.

    A PULUMI_HOME that toolchain/activate sets belongs to a checkout, and the build of that checkout fills it.
    """
    home = Path(os.environ.get("PULUMI_HOME") or tools / "pulumi").resolve()
    if home == Path(os.environ.get("KWOK_DRA_TOOLS") or tools).resolve() / "pulumi":
        return
    for program in programs:
        folder = program.target.parent
        if folder.parent.name == "plugins" and not (home / "plugins" / folder.name).exists():
            install_plugin(program.target, tools / "bin/pulumi")
            console.print(f"Installed {folder.name} into {home}.")


def install_plugin(plugin: Path, pulumi: Path) -> None:
    """Install a built plugin with the Pulumi CLI."""
    kind, name, version = plugin.parent.name.split("-")
    command = [str(pulumi), "plugin", "install", kind, name, version, "--file", str(plugin)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolchainError(f"The plugin {name} could not be installed: {done.stderr.strip()}")


if __name__ == "__main__":
    sys.exit(main())
