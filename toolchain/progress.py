"""How far a build is: what is done, how long it has taken, and how long it will take."""

import time

from pins import Program
from rich.console import Console
from rich.status import Status
from rich.text import Text

HEARTBEAT = 30.0
"""Seconds between two signs of life where no terminal shows them live."""

REFRESHES_PER_SECOND = 2
"""On a terminal: twelve, as rich has it, would take a thirtieth of the build's own CPU time."""


class Progress:
    """The programs still to be built, each with the seconds that it takes from empty caches on 2 cores."""

    def __init__(self, console: Console, programs: list[Program]) -> None:
        """Begin with nothing built."""
        self.console = console
        self.waiting = {program.name: program.seconds for program in programs}
        self.amount, self.work = len(programs), sum(self.waiting.values())
        self.start = self.latest = self.said = time.monotonic()
        self.rest = float(self.work)
        self.live: Status | None = None

    def built(self, name: str) -> None:
        """Note that a program is there, and judge the rest by how long it has taken so far."""
        if name not in self.waiting:
            return
        del self.waiting[name]
        self.latest = time.monotonic()
        left = sum(self.waiting.values())
        self.rest = (self.latest - self.start) * left / max(self.work - left, 1)

    def show(self, modules: int) -> None:
        """Say it: live on a terminal, else now and then."""
        if self.console.is_interactive:
            self.live = self.live or self.console.status("", refresh_per_second=REFRESHES_PER_SECOND)
            self.live.start()
            self.live.update(Text(self.text(modules), no_wrap=True, overflow="ellipsis"))
        elif time.monotonic() - self.said >= HEARTBEAT:
            self.said = time.monotonic()
            self.console.print(self.text(modules))

    def text(self, modules: int) -> str:
        """Write the state in one line."""
        now = time.monotonic()
        done = self.amount - len(self.waiting)
        text = f"{done} of {counted(self.amount)} built, {now - self.start:.0f} s so far"
        rest = self.rest - (now - self.latest)
        text += f", {in_words(rest)} to go" if rest > 0 else ""
        return text + (f", {modules} modules downloaded" if modules else "")

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self.live:
            self.live.stop()

    def summary(self) -> str:
        """Write the end."""
        return f"Built {counted(self.amount)} in {time.monotonic() - self.start:.0f} s."


def counted(programs: int) -> str:
    """Write a number of programs."""
    return f"{programs} program" + "s" * (programs != 1)


def in_words(seconds: float) -> str:
    """Write an expected time the way people say it."""
    return f"about {seconds / 60:.0f} min" if seconds >= 90 else f"about {seconds:.0f} s"
