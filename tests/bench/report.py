"""The results: tables for the terminal, and a document for programs."""

import os
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
    "pods": f"Pods with a claim each; scheduler_perf's threshold is {SCHEDULER_PERF_THRESHOLD} pods/s",
}


def tables(measurements: Measurements) -> Iterator[Group]:
    """Yield a table for each part, below its title, with the medians by number of nodes."""
    for part in dict.fromkeys(quantity.part for quantity in measurements.samples):
        quantities = [quantity for quantity in measurements.samples if quantity.part == part]
        counts = sorted({nodes for quantity in quantities for nodes in measurements.samples[quantity]})
        result = Table("medians")
        for nodes in counts:
            result.add_column(in_words(nodes), justify="right")
        for quantity in quantities:
            medians = measurements.medians(quantity)
            cells = [f"{medians[nodes]:.1f}" if nodes in medians else "-" for nodes in counts]
            result.add_row(f"{quantity.name}, {quantity.unit}", *cells)
        yield Group(f"\n{TITLES[part]}", result)


def limits_table(verdicts: Sequence[Verdict]) -> Group:
    """Render what was measured beside what it may be."""
    if not verdicts:
        return Group("\nNo limit is about what was measured.")
    result = Table("limit")
    for column in ("measured", "at most", ""):
        result.add_column(column, justify="right")
    for verdict in verdicts:
        limit = verdict.limit
        result.add_row(limit.name, f"{verdict.value:.2f}", f"{limit.most:.4g}", "ok" if verdict.holds else "exceeded")
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
            {"limit": verdict.limit.name, "measured": verdict.value, "most": verdict.limit.most, "holds": verdict.holds}
            for verdict in verdicts
        ],
    }
