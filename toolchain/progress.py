"""The progress of a build: what is done, the time that it took, and the time that is left."""

import time

from pins import Program
from rich.console import Console
from rich.status import Status
from rich.text import Text

HEARTBEAT = 30.0
"""Seconds between two progress lines when the output is not a terminal."""

REFRESHES_PER_SECOND = 2
"""On a terminal. The default of rich, twelve, would cost a thirtieth of the build's CPU time."""


class Progress:
    """The programs left to build, each with its seconds from empty caches on 2 cores."""

    def __init__(self, console: Console, programs: list[Program]) -> None:
        """Start with no program built."""
        self.console = console
        self.waiting = {program.name: program.seconds for program in programs}
        self.amount, self.work = len(programs), sum(self.waiting.values())
        self.start = self.latest = self.said = time.monotonic()
        self.rest = float(self.work)
        self.live: Status | None = None

    def built(self, name: str) -> None:
        """Record that a program is built, and estimate the rest from the time so far."""
        if name not in self.waiting:
            return
        del self.waiting[name]
        self.latest = time.monotonic()
        left = sum(self.waiting.values())
        self.rest = (self.latest - self.start) * left / max(self.work - left, 1)

    def show(self, modules: int) -> None:
        """Print the progress: live on a terminal, otherwise at intervals."""
        if self.console.is_interactive:
            self.live = self.live or self.console.status("", refresh_per_second=REFRESHES_PER_SECOND)
            self.live.start()
            self.live.update(Text(self.text(modules), no_wrap=True, overflow="ellipsis"))
        elif time.monotonic() - self.said >= HEARTBEAT:
            self.said = time.monotonic()
            self.console.print(self.text(modules))

    def text(self, modules: int) -> str:
        """Return the progress as one line."""
        now = time.monotonic()
        done = self.amount - len(self.waiting)
        text = f"{done} of {counted(self.amount)} built, {now - self.start:.0f} s so far"
        rest = self.rest - (now - self.latest)
        text += f", {in_words(rest)} to go" if rest > 0 else ""
        return text + (f", {modules} modules downloaded" if modules else "")

    def close(self) -> None:
        """Restore the terminal."""
        if self.live:
            self.live.stop()

    def summary(self) -> str:
        """Return the last line."""
        return f"Built {counted(self.amount)} in {time.monotonic() - self.start:.0f} s."


def counted(programs: int) -> str:
    """Return a number of programs in words."""
    return f"{programs} program" + "s" * (programs != 1)


def in_words(seconds: float) -> str:
    """Return an expected time in words."""
    return f"about {seconds / 60:.0f} min" if seconds >= 90 else f"about {seconds:.0f} s"
