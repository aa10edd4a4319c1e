"""Build the programs of programs.toml into .tools; with TOOLS=system look for the user's own.

    .venv/bin/python toolchain/build.py [SET]

SET is a folder `cluster…` next to this file: `cluster`, the default, stands for all programs, any
other for the control plane of another Kubernetes version. What is there already is not built again.
"""

import argparse
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import system
from compiler import Compiler
from pins import MAIN_SET, ROOT, Program, ToolchainError, load_programs
from rich.console import Console

NEEDED_GIB = 8
console = Console(highlight=False, markup=False, soft_wrap=True)


def main() -> int:
    """Run the command line and turn what a user can put right into lines without a traceback."""
    parser = argparse.ArgumentParser(description="Build the programs that kwok-dra needs.")
    parser.add_argument("set", nargs="?", default=MAIN_SET, help="cluster (all) or cluster-…")
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
    """Clean up after these signals too, unless the caller (nohup) wants them ignored."""
    for number in signals:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


def run(root: Path, chosen: str, tools: str) -> None:
    """Make the programs of a set ready in the way that TOOLS asks for."""
    if tools == "system":
        console.print(system.check(root))
        return
    if tools not in ("", "built"):
        raise ToolchainError(f"TOOLS={tools} is unknown: leave it out, or say TOOLS=system.")
    programs = load_programs(root, chosen)
    if all(program.is_current() for program in programs):
        console.print(f"The tools are up to date ({len(programs)} programs in .tools).")
    else:
        with only_one(root):
            build_all(root, [program for program in programs if not program.is_current()])
    install_plugins(programs, root / ".tools")


@contextmanager
def only_one(root: Path) -> Iterator[None]:
    """Let one build at a time run in a checkout; a second one waits and finds the work done."""
    (root / ".tools").mkdir(exist_ok=True)
    with (root / ".tools/lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.print("Another build is running in this checkout: waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build_all(root: Path, programs: list[Program]) -> None:
    """Build programs one after the other, with all that a person wants to know on the way."""
    if not programs:
        return
    expected = in_words(sum(program.seconds for program in programs))
    if found := system.hint(root):
        console.print(f"Found {found} on PATH: `make up TOOLS=system` would skip {expected}.")
    compiler = Compiler(root / ".tools", console)
    compiler.check_version(programs[0].pins["go"])
    warn_if_disk_is_full([root, *compiler.caches()])
    amount = f"{len(programs)} program" + "s" * (len(programs) > 1)
    console.print(f"Building {amount}: {expected} on 2 cores from empty caches, once.")
    start = time.monotonic()
    for number, program in enumerate(programs, 1):
        compiler.build(program, f"{number} of {len(programs)} {program.name}")
    console.print(f"Built {amount} in {time.monotonic() - start:.0f} s.")


def in_words(seconds: int) -> str:
    """Write an expected time the way people say it."""
    return f"about {seconds / 60:.0f} minutes" if seconds >= 90 else f"about {seconds} s"


def warn_if_disk_is_full(folders: list[Path]) -> None:
    """Say in advance where there is less space than a build from empty caches takes."""
    for folder in folders:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(existing).free / 2**30
        if free < NEEDED_GIB:
            console.print(
                f"Only {free:.1f} GiB are free for {folder}:"
                f" a build from empty caches takes about {NEEDED_GIB} GiB in all."
            )


def install_plugins(programs: list[Program], tools: Path) -> None:
    """Put plugins that are missing into the user's own PULUMI_HOME, where one is set.

    A home that toolchain/activate has set belongs to a checkout, whose build fills it.
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
    """Let the Pulumi CLI install a built plugin into the home it uses."""
    kind, name, version = plugin.parent.name.split("-")
    command = [str(pulumi), "plugin", "install", kind, name, version, "--file", str(plugin)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolchainError(f"Plugin {name} could not be installed: {done.stderr.strip()}")


if __name__ == "__main__":
    sys.exit(main())
