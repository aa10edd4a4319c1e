"""Measure the dev stack against the same page typed by hand, in turn and on the same machine; print ratios of medians.

    .venv/bin/python tests/bench/bench.py [--runs 5]

A run is: the page's own commands (`kwokctl create cluster`, five times `kubectl apply`, wait for Running), then
`pulumi up` from nothing, `pulumi up` again, `pulumi destroy`, each without a preview, as `make` runs them. Deleting the
page's cluster is not counted. Seconds depend on the machine; only the ratios say something about the program.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.e2e.page import Page
from tests.e2e.project import Project

UP, AGAIN, DESTROY, BY_HAND = "pulumi up", "pulumi up, again", "pulumi destroy", "the page by hand"
RATIOS = [(UP, BY_HAND, 1.5), (AGAIN, UP, 0.3), (DESTROY, UP, 0.3)]


def main() -> int:
    """Run the bench and print a table; exit with 1 if a ratio is above its limit."""
    parser = argparse.ArgumentParser(description="Measure the dev stack against the page typed by hand.")
    parser.add_argument("--runs", type=int, default=5, help="how often each step is measured")
    runs = parser.parse_args().runs
    console = Console()
    with tempfile.TemporaryDirectory(prefix="kwok-dra-bench-") as folder:
        medians = measure(Path(folder), runs, console)
    console.print(table(medians, runs))
    return 0 if all(medians[step] / medians[base] <= limit for step, base, limit in RATIOS) else 1


def measure(folder: Path, runs: int, console: Console) -> dict[str, float]:
    """Return the median seconds of each step."""
    seconds = defaultdict[str, list[float]](list)

    def timed(name: str, step: Callable[[], object]) -> None:
        start = time.monotonic()
        step()
        seconds[name].append(time.monotonic() - start)

    project = Project(folder / "project")
    page = Page(folder / "page")
    try:
        project.select()
        for _ in track(range(runs), "Measuring", console=console):
            timed(BY_HAND, page.create)
            page.delete()
            timed(UP, project.up)
            timed(AGAIN, project.up)
            timed(DESTROY, project.destroy)
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"{error}\n{error.stderr}") from None
    finally:
        page.delete()
        project.close()
    return {name: statistics.median(values) for name, values in seconds.items()}


def table(medians: dict[str, float], runs: int) -> Table:
    """Render the medians and their ratios."""
    result = Table(title=f"Dev stack, medians of {runs}")
    for column in ("step", "seconds", "compared with", "seconds", "ratio", "at most"):
        result.add_column(column, justify="left" if column in ("step", "compared with") else "right")
    for step, base, limit in RATIOS:
        ratio = medians[step] / medians[base]
        result.add_row(step, f"{medians[step]:.1f}", base, f"{medians[base]:.1f}", f"{ratio:.2f}", f"{limit}")
    return result


if __name__ == "__main__":
    sys.exit(main())
