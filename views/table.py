"""A report as a table for the terminal."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from topology.status.report import Report
from topology.status.workload_progress import READY_PHASES
from views import wording

Entry = Mapping[str, Any]
PODS_NAMED_MAX = 3
"""At most this many pods are named for a reason."""


def table(report: Report, changes: Sequence[tuple[str, str]] = ()) -> RenderableType:
    """Return the summary, the pools, the claims, why some are pending, what is left over, and what is different."""
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
    if changes:
        parts += _section("Since the last time", _changes(changes))
    return Group(*parts)


def _section(title: str, *content: RenderableType) -> list[RenderableType]:
    return [Text(), Text(title, style="bold cyan"), *content]


def _new_table(*columns: str, numbers: Sequence[str] = ()) -> Table:
    """Return an empty table; its first column gives way last, for names are to be copied."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    for index, column in enumerate(columns):
        made.add_column(column, justify="right" if column in numbers else "left", overflow="fold", no_wrap=not index)
    return made


def _pools(pools: Sequence[Entry]) -> Table:
    numbers = ["nodes", "devices", "allocated", "free"]
    numbers += [name for name in ("notReady", "tainted") if any(name in pool for pool in pools)]
    more = ["still fits"] if any("fits" in pool for pool in pools) else []
    made = _new_table("pool", *numbers, *more, numbers=numbers)
    for pool in pools:
        cells = [
            Text(str(pool.get(name, 0)), style="green" if name == "free" and pool[name] else "") for name in numbers
        ]
        made.add_row(Text(pool["name"]), *cells, *([Text(wording.fits(pool))] if more else []))
    return made


def _counts(counts: Mapping[str, Mapping[str, int]]) -> Table:
    made = _new_table("workload", "state", "claims", numbers=["claims"])
    for workload, states in counts.items():
        for index, (state, count) in enumerate(states.items()):
            made.add_row(Text("" if index else workload), _state(state), Text(str(count)))
    return made


def _claims(claims: Sequence[Entry]) -> Table:
    made = _new_table("workload, pod", "phase", "node", "state", "devices")
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
    """Return kubectl's words; what is reserved for a pod is allocated anyway, which need not take up the width."""
    style = "yellow" if state == "pending" else "green" if state.endswith("reserved") else "dim"
    return Text(state.replace("allocated,reserved", "reserved"), style=style)


def _devices(devices: Sequence[Entry]) -> Text:
    lines = [Text.assemble((f"{request}: ", "dim"), names) for request, names in wording.devices_by_request(devices)]
    return Text("\n").join(lines) if lines else Text("-")


def _reasons(claims: Sequence[Entry]) -> Iterator[RenderableType]:
    for workload, reason, pods in wording.reasons(claims):
        named = ", ".join(pods[:PODS_NAMED_MAX]) + (" …" if len(pods) > PODS_NAMED_MAX else "")
        count = "1 pod" if len(pods) == 1 else f"{len(pods)} pods"
        yield Text.assemble((workload, "bold"), f" ({count}: {named})")
        yield Padding(Text(reason, style="yellow"), (0, 0, 0, 2))


def _leftovers(leftovers: Sequence[Entry]) -> Table:
    made = _new_table("claim", "namespace", "state", "why")
    for entry in leftovers:
        made.add_row(Text(entry["name"]), Text(entry["namespace"]), _state(entry["state"]), Text(entry["why"]))
    return made


def _changes(changes: Sequence[tuple[str, str]]) -> Table:
    made = _new_table("what", "was → is")
    for what, numbers in changes:
        made.add_row(Text(what), Text(numbers))
    return made
