"""Runs Go: builds one program, tells how far it is, and explains a failure."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pins import Program, ToolchainError, parse_build_info
from rich.console import Console
from rich.text import Text

HEARTBEAT = 30.0
"""Seconds between two signs of life where no terminal shows them live."""

NO_GO = (
    "Go {needed} or newer is needed to build the tools, {found}:"
    " https://go.dev/dl/, or use your own programs with TOOLS=system."
)
ADVICE = {
    r"no space left on device": "The disk is full: a build from empty caches takes about 8 GiB.",
    r"dial tcp|proxyconnect|i/o timeout|x509:|no such host|unrecognized import path|: [45]\d\d ": (
        "Go could not download a module: check the network; behind a proxy set HTTPS_PROXY,"
        " or GOPROXY to a module proxy that you can reach."
    ),
    r"signal: killed": "The compiler was killed, most likely for want of memory (about 4 GiB).",
}


class Compiler:
    """The `go` command on PATH, used the same way whatever the user's own Go settings are."""

    def __init__(self, tools: Path, console: Console) -> None:
        """Build into the folder `tools` and report to the console."""
        self.tools = tools
        self.console = console
        self.environment = os.environ | {
            "CGO_ENABLED": "0",
            "GOFLAGS": "-buildvcs=false",
            "GOTMPDIR": str(tools / "partial"),
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
        }
        for name in ("GOOS", "GOARCH"):
            self.environment.pop(name, None)

    def ask(self, *arguments: str) -> str:
        """Return what a quick go command prints, nothing where there is no go."""
        command = ["go", *arguments]
        try:
            done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        except OSError:
            return ""
        return done.stdout

    def check_version(self, needed: str) -> None:
        """Refuse a Go that is missing or older than the go.mod files say, in one line."""
        found = re.search(r"\bgo(\d+\.\d+(?:\.\d+)?)", self.ask("version"))
        if found is None:
            raise ToolchainError(NO_GO.format(needed=needed, found="none is on PATH"))
        if numbers(found[1]) < numbers(needed):
            raise ToolchainError(NO_GO.format(needed=needed, found=f"{found[1]} is on PATH"))

    def caches(self) -> list[Path]:
        """Return the folders that Go fills while it builds."""
        return [Path(line) for line in self.ask("env", "GOCACHE", "GOMODCACHE").splitlines()]

    def build(self, program: Program, label: str) -> None:
        """Make one program and its record; an interruption leaves neither of them half-made."""
        start = time.monotonic()
        recipe = program.recipe()
        with workspace(Path(self.environment["GOTMPDIR"])) as folder:
            make = self.copy if program.copy else self.compile
            modules = make(program, folder / program.name, label)
            program.target.parent.mkdir(parents=True, exist_ok=True)
            (folder / program.name).replace(program.target)
        program.remember(recipe, modules)
        self.console.print(f"{label} {time.monotonic() - start:.0f} s")

    def compile(self, program: Program, output: Path, label: str) -> dict[str, str]:
        """Build a package and return the modules that went into the program."""
        flags = ["-trimpath", "-ldflags", program.ldflags, "-o", str(output)]
        self.run(program, ["build", *flags, program.package], label)
        return parse_build_info(self.ask("version", "-m", str(output)), program.pins)

    def copy(self, program: Program, output: Path, label: str) -> dict[str, str]:
        """Copy a script out of a module, made executable, and return that module."""
        log = self.run(program, ["mod", "download", "-json", program.package], label)
        folder = re.findall(r'"Dir": "(.*)"', log.read_text())[0]
        shutil.copyfile(Path(folder) / program.copy, output)
        output.chmod(0o755)
        return {program.package: program.pins[program.package]}

    def run(self, program: Program, arguments: list[str], label: str) -> Path:
        """Run go to its end, its output in a log, and raise an explanation if it fails."""
        log = self.tools / "logs" / f"{program.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as output:
            process = subprocess.Popen(
                ["go", *arguments],
                cwd=program.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            with stopped_at_the_end(process):
                self.follow(process, program, label, log)
        if process.returncode:
            raise ToolchainError(explain(program.name, log))
        return log

    def follow(self, process: subprocess.Popen[bytes], program: Program, label: str, log: Path) -> None:
        """Wait for a process and say how it goes on: live on a terminal, else now and then."""
        start = time.monotonic()
        if self.console.is_interactive:
            with self.console.status(label) as status:
                while is_running(process, 0.2):
                    status.update(progress(label, start, program.seconds, log))
        else:
            self.console.print(f"{label} …")
            while is_running(process, HEARTBEAT):
                self.console.print(progress(label, start, program.seconds, log))


def numbers(version: str) -> tuple[int, ...]:
    """Make a version comparable."""
    return tuple(map(int, version.split(".")))


def is_running(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for a process for some seconds; return whether it is still running then."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


@contextmanager
def workspace(folder: Path) -> Iterator[Path]:
    """Provide an empty folder that is gone afterwards, also where Go is killed and cannot tidy up."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def stopped_at_the_end(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Leave no compiler behind, however the block ends."""
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if is_running(process, 0):
                os.killpg(process.pid, number)
                is_running(process, 5)


def progress(label: str, start: float, expected: int, log: Path) -> Text:
    """Say how long it has taken, how long it may take while that holds, and how much has been downloaded."""
    elapsed = time.monotonic() - start
    text = f"{label} … {elapsed:.0f} s" + (f" of about {expected} s" if elapsed <= expected else "")
    if modules := log.read_text(errors="replace").count("go: downloading "):
        text += f", {modules} modules downloaded"
    return Text(text, no_wrap=True, overflow="ellipsis")


def explain(name: str, log: Path) -> str:
    """Say which program failed, with the end of Go's output, what to do, and where all of it is."""
    output = log.read_text(errors="replace")
    lines = [line for line in output.splitlines() if not line.startswith("go: downloading")]
    hints = [hint for pattern, hint in ADVICE.items() if re.search(pattern, output)]
    return "\n".join(
        [
            f"{name} could not be built. Go said at the end:",
            *(f"    {line}" for line in lines[-20:]),
            *hints,
            f"All of its output: {log}. The same command tries this program again.",
        ]
    )
