"""The results: tables for the terminal, and a document for programs."""

import os
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table

from tests.bench.limits import Verdict
from tests.bench.measurements import Measurements, in_words
from tests.bench.pods import SCHEDULER_PERF_THRESHOLD
from topology.schema.stack import DEFAULT_KUBERNETES_VERSION

TITLES = {
    "page": "Dev stack and the page typed by hand",
    "fleet": "Fleet of nodes with 8 GPUs each",
    "settings": "Settings of the control plane, on a fleet that pods with a claim each fill",
    "profile": "Processor time of the dev stack's up, an up of 1,000 nodes again and an up of pods that fill a fleet",
    "pods": f"Pods with a claim each; scheduler_perf's threshold is {SCHEDULER_PERF_THRESHOLD} pods/s",
}


def tables(measurements: Measurements) -> Iterator[Group]:
    """Yield a table for each part, below its title, with the medians by number of nodes, and the spread of the runs."""
    for part in dict.fromkeys(quantity.part for quantity in measurements.samples):
        quantities = [quantity for quantity in measurements.samples if quantity.part == part]
        counts = sorted({nodes for quantity in quantities for nodes in measurements.samples[quantity]})
        result = Table("medians (least-most)")
        for nodes in counts:
            result.add_column(in_words(nodes), justify="right")
        for quantity in quantities:
            cells = [spread(measurements.of(quantity, nodes)) for nodes in counts]
            result.add_row(f"{quantity.name}, {quantity.unit}", *cells)
        yield Group(f"\n{TITLES[part]}", result)


def spread(samples: Sequence[float]) -> str:
    """Write the median, and the least and the highest sample if there are several."""
    if not samples:
        return "-"
    median = f"{statistics.median(samples):.1f}"
    return f"{median} ({min(samples):.1f}-{max(samples):.1f})" if len(samples) > 1 else median


def limits_table(verdicts: Sequence[Verdict]) -> Group:
    """Render what was measured beside what it may be."""
    if not verdicts:
        return Group("\nNo limit is about what was measured.")
    result = Table("limit")
    for column in ("median", "worst", "at most", ""):
        result.add_column(column, justify="right")
    for verdict in verdicts:
        cells = [f"{verdict.median:.2f}", f"{verdict.worst:.2f}", f"{verdict.limit.most:.4g}"]
        result.add_row(verdict.limit.name, *cells, "ok" if verdict.holds else "exceeded")
    return Group("\nLimits", result)


def document(measurements: Measurements, verdicts: Sequence[Verdict], provisioning: str) -> dict[str, Any]:
    """Return everything that was measured, every sample included, as it is written as JSON."""
    return {
        "kubernetes": DEFAULT_KUBERNETES_VERSION,
        "processors": os.cpu_count(),
        "provisioning": provisioning,
        "measurements": [
            quantity._asdict() | {"nodes": nodes, "median": median, "samples": measurements.samples[quantity][nodes]}
            for quantity in measurements.samples
            for nodes, median in measurements.medians(quantity).items()
        ],
        "limits": [
            {
                "limit": verdict.limit.name,
                "median": verdict.median,
                "worst": verdict.worst,
                "most": verdict.limit.most,
                "holds": verdict.holds,
            }
            for verdict in verdicts
        ],
    }
