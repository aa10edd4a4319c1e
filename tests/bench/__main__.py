"""Measure the program beside other ways to the same result, in turn and on the same machine.

    .venv/bin/python -m tests.bench [--parts page,fleet,pods] [--nodes 10,100] [--runs 5]

docs/performance.md says what each part measures. Seconds depend on the machine; only the ratios say something about the
program. It exits with 1 if a limit is exceeded.
"""

import argparse
import json
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from rich.console import Console

from tests.bench import fleet, peers
from tests.bench.bars import bars
from tests.bench.fleet import measure_fleet
from tests.bench.limits import verdicts
from tests.bench.measurements import Measurements
from tests.bench.page import SeedPage
from tests.bench.peers import measure_peers
from tests.bench.plot import plot
from tests.bench.pods import measure_pods
from tests.bench.processes import own_folder
from tests.bench.profile import Profile, shares
from tests.bench.report import document, limits_table, tables
from tests.bench.settings import measure_settings
from tests.bench.stack import BenchStack
from tests.e2e.project import ROOT
from topology.kubernetes.limits import SUPPORTED_NODES_MAX

DEFAULT_PARTS = ["page", "fleet", "pods"]
PARTS = [*DEFAULT_PARTS, "profile", "settings"]
SIZES = [10, 100, 1000, 5000, 10_000]
IN_THE_PLOT = {
    "pulumi up": fleet.UP,
    "pulumi up, again": fleet.AGAIN,
    "pulumi destroy": fleet.DESTROY,
    "kubectl create": peers.KUBECTL,
    "kwokctl scale": peers.SCALE,
    "parallel POSTs": peers.POSTS,
}

Part = Callable[[Measurements], None]


def main(arguments: list[str] | None = None) -> int:
    """Run the bench, write its files and print its tables."""
    options = parse(arguments)
    console = Console()
    measurements = Measurements(tell=partial(console.print, style="dim", highlight=False))
    try:
        with own_folder() as folder:
            parts = list(chosen(options, folder))
            for _ in range(options.runs):
                for measure in parts:
                    measure(measurements)
                    write(options, measurements)
    except AssertionError as error:
        raise SystemExit(f"the bench failed: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    found = list(verdicts(measurements))
    console.print(*tables(measurements), limits_table(found))
    return 0 if all(verdict.holds for verdict in found) else 1


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="tests.bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--parts", type=parts_of, default=DEFAULT_PARTS, help=f"which of {', '.join(PARTS)}")
    parser.add_argument("--nodes", type=numbers, default=SIZES, help="sizes of the fleet")
    parser.add_argument("--pods", type=int, default=5000, help="how many pods, on a tenth as many nodes")
    parser.add_argument("--runs", type=int, default=5, help="how often everything is measured")
    parser.add_argument("--provisioning", choices=["bulk", "objects"], default="bulk", help="of the pools")
    parser.add_argument("--json", type=Path, default=ROOT / ".state" / "bench.json", help="where the results go")
    parser.add_argument("--plot", type=Path, help="where a plot of seconds against nodes goes, as SVG")
    parser.add_argument("--bars", type=Path, help="where a picture of the profile goes, as SVG")
    return parser.parse_args(arguments)


def parts_of(text: str) -> list[str]:
    """Read a list of parts."""
    parts = text.split(",")
    if unknown := [part for part in parts if part not in PARTS]:
        raise argparse.ArgumentTypeError(f"there is no part {unknown[0]!r}: use some of {', '.join(PARTS)}")
    return parts


def numbers(text: str) -> list[int]:
    """Read a list of numbers."""
    return [int(number) for number in text.split(",")]


def chosen(options: argparse.Namespace, folder: Path) -> Iterator[Part]:
    """Go through what a run measures; all that it needs lies in `folder`."""
    if "page" in options.parts:
        yield SeedPage(folder).measure
    stack = BenchStack(folder / "bench", options.provisioning)
    for nodes in options.nodes if "fleet" in options.parts else []:
        yield partial(measure_fleet, stack, nodes)
        if nodes <= SUPPORTED_NODES_MAX:
            yield partial(measure_peers, stack, nodes)
    if "pods" in options.parts:
        yield partial(measure_pods, stack, options.pods)
    if "profile" in options.parts:
        yield Profile(folder, stack, options.pods).measure
    if "settings" in options.parts:
        yield partial(measure_settings, stack, options.pods)


def write(options: argparse.Namespace, measurements: Measurements) -> None:
    """Write what is known so far: a long bench that fails has not been for nothing."""
    options.json.parent.mkdir(parents=True, exist_ok=True)
    content = document(measurements, list(verdicts(measurements)), options.provisioning)
    options.json.write_text(json.dumps(content, indent=2))
    lines = {name: measured for name, quantity in IN_THE_PLOT.items() if (measured := measurements.medians(quantity))}
    if options.plot and lines:
        options.plot.write_text(plot(lines))
    if options.bars and (profile := shares(measurements)):
        options.bars.write_text(bars(profile))


if __name__ == "__main__":
    # A bench that is terminated cleans up as an interrupted one does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
