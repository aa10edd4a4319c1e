"""A report as tables for the terminal."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from topology.status.preemptions import named
from topology.status.report import Report
from topology.status.workload_progress import READY_PHASES, counted
from views import wording

Entry = Mapping[str, Any]
PODS_LISTED_MAX = 3
"""At most this many pods are listed for each reason."""


def table(report: Report, changes: Sequence[tuple[str, str]] = ()) -> RenderableType:
    """Return the summary, pools, claims, reasons of pending ones, leftovers, preempted pods, and the `changes`."""
    parts: list[RenderableType] = [Text(report.summary, style="bold")]
    parts += _section("Pools", _pools(report.pools))
    claims = wording.listed(report.claims)
    if isinstance(report.claims, dict):
        parts += _section("Claims", _counts(report.claims["counts"]))
        parts += _section("Pending claims", _claims(claims)) if claims else []
    elif claims:
        parts += _section("Claims", _claims(claims))
    if told := list(_reasons(claims)):
        parts += _section("Why claims are pending", *told)
    if report.leftovers:
        parts += _section("Claims that no pod uses", _leftovers(report.leftovers))
    if report.preempted:
        parts += _section("Preempted pods", _preempted(report.preempted))
    if changes:
        parts += _section(
            "Changes since the last time",
            listing(["what", "was → is"], [[Text(cell) for cell in change] for change in changes]),
        )
    return Group(*parts)


def _section(title: str, *content: RenderableType) -> list[RenderableType]:
    return [Text(), Text(title, style="bold cyan"), *content]


def listing(columns: Sequence[str], rows: Iterable[Sequence[Text]] = (), numbers: Sequence[str] = ()) -> Table:
    """Return a table; its first column does not wrap, so that names can be copied."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    for index, column in enumerate(columns):
        made.add_column(column, justify="right" if column in numbers else "left", overflow="fold", no_wrap=not index)
    for row in rows:
        made.add_row(*row)
    return made


def _pools(pools: Sequence[Entry]) -> Table:
    found = [(f"  {driver}" if driver else pool["name"], row) for pool in pools for driver, row in wording.rows(pool)]
    numbers = ["nodes", "devices", "allocated", "free"]
    numbers += [name for name in ("notReady", "tainted") if any(name in row for _, row in found)]
    more = {
        "still fits": [wording.fits(row) for _, row in found],
        "capacity left": ["\n".join(wording.left(row)) for _, row in found],
    }
    told = {title: texts for title, texts in more.items() if any(texts)}
    rows = [
        [
            Text(name),
            *(Text(str(row.get(key, "")), style="green" if key == "free" and row[key] else "") for key in numbers),
            *(Text(texts[place]) for texts in told.values()),
        ]
        for place, (name, row) in enumerate(found)
    ]
    return listing(["pool", *numbers, *told], rows, numbers)


def _counts(counts: Mapping[str, Mapping[str, int]]) -> Table:
    rows = [
        [Text("" if index else workload), _state(state), Text(str(count))]
        for workload, states in counts.items()
        for index, (state, count) in enumerate(states.items())
    ]
    return listing(["workload", "state", "claims"], rows, numbers=["claims"])


def _claims(claims: Sequence[Entry]) -> Table:
    made = listing(["workload, pod", "phase", "node", "state", "devices"])
    for workload, group in groupby(claims, key=lambda claim: str(claim["workload"])):
        made.add_row(Text(workload, style="bold"))
        for claim in group:
            made.add_row(
                Text(f"  {claim['pod']}"),
                Text(claim["podPhase"], style="green" if claim["podPhase"] in READY_PHASES else "yellow"),
                Text(claim["node"] or "-"),
                _state(claim["state"]),
                _devices(claim["devices"]),
            )
    return made


def _state(state: str) -> Text:
    """Return the state as kubectl shows it, but shorter: a reserved claim is always allocated."""
    style = "yellow" if state == "pending" else "green" if state.endswith("reserved") else "dim"
    return Text(state.replace("allocated,reserved", "reserved"), style=style)


def _devices(devices: Sequence[Entry]) -> Text:
    lines = [Text.assemble((f"{request}: ", "dim"), names) for request, names in wording.devices_by_request(devices)]
    return Text("\n").join(lines) if lines else Text("-")


def _reasons(claims: Sequence[Entry]) -> Iterator[RenderableType]:
    for workload, reason, pods in wording.reasons(claims):
        listed = wording.first(pods, PODS_LISTED_MAX)
        yield Text.assemble((workload, "bold"), f" ({counted(len(pods), 'pod')}: {listed})")
        yield Padding(Text(reason, style="yellow"), (0, 0, 0, 2))


def _preempted(preempted: Sequence[Entry]) -> Table:
    rows = [
        [Text(entry["pod"]), Text(entry["workload"]), Text(entry.get("node", "")), Text(named(entry["by"]))]
        for entry in preempted
    ]
    return listing(["pod", "workload", "node", "preempted by"], rows)


def _leftovers(leftovers: Sequence[Entry]) -> Table:
    rows = [
        [Text(entry["name"]), Text(entry["namespace"]), _state(entry["state"]), Text(entry["why"])]
        for entry in leftovers
    ]
    return listing(["claim", "namespace", "state", "why"], rows)
