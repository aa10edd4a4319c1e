"""Runs Go: builds the programs of a module set, reports progress and explains failures."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pins import Program, ToolchainError, parse_build_info
from progress import Progress

GOFLAGS = "-buildvcs=false -trimpath -gcflags=all=-dwarf=false"
"""The flags of every go command, also of the checks in the Makefile: other flags would compile everything again.

The linker drops debug information (pins.py), so the compiler does not create it.
"""

NO_GO = (
    "Go {needed} or newer is needed to build the tools, {found}:"
    " https://go.dev/dl/, or use your own programs with TOOLS=system."
)
ADVICE = {
    r"no space left on device": "The disk is full: a build from empty caches needs about 8 GiB.",
    r"dial tcp|proxyconnect|i/o timeout|x509:|no such host|unrecognized import path|: [45]\d\d ": (
        "Go could not download a module: check the network; behind a proxy set HTTPS_PROXY,"
        " or GOPROXY to a module proxy that you can reach."
    ),
    r"signal: killed": "The compiler was killed, probably because memory ran out: it needs about 4 GiB.",
}


class Compiler:
    """The `go` command on PATH, independent of the user's Go settings."""

    def __init__(self, tools: Path, progress: Progress) -> None:
        """Build into the folder `tools`."""
        self.tools = tools
        self.progress = progress
        self.environment = os.environ | {
            "CGO_ENABLED": "0",
            "GOFLAGS": GOFLAGS,
            "GOGC": "off",
            "GOMEMLIMIT": str(memory_limit()),
            "GOTMPDIR": str(tools / "partial"),
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
        }
        for name in ("GOOS", "GOARCH"):
            self.environment.pop(name, None)

    def ask(self, *arguments: str) -> str:
        """Return the output of a quick go command; empty if there is no go."""
        command = ["go", *arguments]
        try:
            done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        except OSError:
            return ""
        return done.stdout

    def check_version(self, needed: str) -> None:
        """Raise ToolchainError if Go is missing or older than the go.mod files need."""
        found = re.search(r"\bgo(\d+\.\d+(?:\.\d+)?)", self.ask("version"))
        if found is None:
            raise ToolchainError(NO_GO.format(needed=needed, found="none is on PATH"))
        if numbers(found[1]) < numbers(needed):
            raise ToolchainError(NO_GO.format(needed=needed, found=f"{found[1]} is on PATH"))

    def caches(self) -> list[Path]:
        """Return the folders that Go fills while it builds."""
        return [Path(line) for line in self.ask("env", "GOCACHE", "GOMODCACHE").splitlines()]

    def build(self, programs: list[Program], flags: str) -> None:
        """Build programs of one module set; an interruption leaves no incomplete program."""
        recipes = [program.recipe() for program in programs]
        with workspace(self.tools / "partial/built") as folder:
            try:
                self.compile([program for program in programs if not program.copy], flags, folder)
                for program in programs:
                    if program.copy:
                        self.copy(program, folder)
            finally:
                for program, recipe in zip(programs, recipes, strict=True):
                    if (output := folder / program.executable).exists():
                        install(program, output, recipe, self.modules(program, output))
                        self.progress.built(program.name)

    def compile(self, programs: list[Program], flags: str, folder: Path) -> None:
        """Build packages with one command, which compiles shared packages once and links in parallel."""
        if programs:
            packages = [program.package for program in programs]
            self.run(["build", "-ldflags", flags, "-o", f"{folder}/", *packages], programs, folder)

    def copy(self, program: Program, folder: Path) -> None:
        """Copy a script, or a folder of files, out of a module and make it executable."""
        log = self.run(["mod", "download", "-json", program.package], [program], folder)
        source = Path(re.findall(r'"Dir": "(.*)"', log.read_text())[0]) / program.copy
        copied = folder / "copied"
        for file in [path for path in source.rglob("*") if path.is_file()] or [source]:
            target = copied / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        copied.chmod(0o755)
        copied.rename(folder / program.executable)

    def modules(self, program: Program, output: Path) -> dict[str, str]:
        """Return the modules that a program contains."""
        if program.copy:
            return {program.package: program.pins[program.package]}
        return parse_build_info(self.ask("version", "-m", str(output)), program.pins)

    def run(self, arguments: list[str], programs: list[Program], folder: Path) -> Path:
        """Run go and return the log of its output; raise ToolchainError if go fails."""
        log = self.tools / "logs" / f"{programs[0].folder.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as output:
            process = subprocess.Popen(
                ["go", *arguments],
                cwd=programs[0].folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            with stopped_at_the_end(process):
                self.follow(process, programs, folder, log)
        if process.returncode:
            missing = [program.name for program in programs if not (folder / program.executable).exists()]
            raise ToolchainError(explain(missing, log))
        return log

    def follow(self, process: subprocess.Popen[bytes], programs: list[Program], folder: Path, log: Path) -> None:
        """Wait for a process and show its progress."""
        while is_running(process, 0.2):
            for program in programs:
                if (folder / program.executable).exists():
                    self.progress.built(program.name)
            self.progress.show(log.read_text(errors="replace").count("go: downloading "))


def memory_limit() -> int:
    """Return the bytes up to which a compiler collects no garbage; collecting takes a fifth of its time.

    The compilers of all cores together get half of the memory.
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(2**30, memory // 2 // (os.cpu_count() or 1))


def numbers(version: str) -> tuple[int, ...]:
    """Return a version as numbers that can be compared."""
    return tuple(map(int, version.split(".")))


def is_running(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait up to `seconds` for a process; return whether it is still running."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


@contextmanager
def workspace(folder: Path) -> Iterator[Path]:
    """Provide an empty folder and delete it afterwards, even if Go is killed and cannot clean up."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    folder.chmod(0o700)  # without a setgid bit, with which Go would copy programs into place instead of renaming them
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def stopped_at_the_end(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Stop the process and its children when the block ends, also by an exception."""
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if is_running(process, 0):
                os.killpg(process.pid, number)
                is_running(process, 5)


def install(program: Program, output: Path, recipe: dict[str, str], modules: dict[str, str]) -> None:
    """Move a finished program to its place and write its record."""
    program.target.parent.mkdir(parents=True, exist_ok=True)
    if program.target.is_dir():
        shutil.rmtree(program.target)
    output.replace(program.target)
    program.remember(recipe, modules)


def explain(names: list[str], log: Path) -> str:
    """Return which programs failed, the end of Go's output, advice, and the path of the whole output."""
    output = log.read_text(errors="replace")
    lines = [line for line in output.splitlines() if not line.startswith("go: downloading")]
    hints = [hint for pattern, hint in ADVICE.items() if re.search(pattern, output)]
    return "\n".join(
        [
            f"{', '.join(names)} could not be built. The end of Go's output:",
            *(f"    {line}" for line in lines[-20:]),
            *hints,
            f"The whole output: {log}. The same command continues where this one stopped.",
        ]
    )
