"""The fleet as one self-contained HTML page."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from topology.kubernetes.objects import Object
from topology.schema.stack import Topology
from topology.status.workload_progress import counted
from views import wording
from views.boxes import STATES, Style, physical_box
from views.fleet import Physical, ShownDevice, ShownFleet, ShownNode, ShownPool, shown_fleet
from views.markup import Html, element, join

TEMPLATE = Path(__file__).with_name("template.html")
LARGE_BOXES_MAX = 300
"""With more GPUs and other devices than this, the page draws small squares."""

PODS_LISTED_MAX = 5
"""At most this many pods are listed for each reason."""


def page(topology: Topology, objects: Sequence[Object], when: str) -> str:
    """Return the page, from the live `objects` of all `report.kinds` and the time when they were read."""
    found = shown_fleet(topology, objects)
    style = _style(found)
    body = join(
        [
            _header(found, style, when),
            _pending(found),
            *(_pool(pool, style) for pool in found.pools),
            _claims(found, style),
            _leftovers(found),
        ]
    )
    size = "compact" if style.compact else "large"
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=join([f"{found.name}: {found.report.summary}"]), size=size, body=body
    )


def _style(found: ShownFleet) -> Style:
    boxes = sum(len(node.physical) for pool in found.pools for node in pool.nodes)
    return Style(found.workloads, boxes > LARGE_BOXES_MAX, sum(1 for _ in found.devices()))


# Above the pools.


def _header(found: ShownFleet, style: Style, when: str) -> Html:
    return element(
        "header",
        element("h1", found.name),
        element("p", found.report.summary),
        element(
            "p", f"As of {when}. Click a device for its details, or a workload to find its devices.", class_="soft"
        ),
        element("ul", *_legend(found, style), class_="legend"),
    )


def _legend(found: ShownFleet, style: Style) -> Iterator[Html]:
    for workload in found.workloads:
        label = f"{workload or 'other claims'} · {found.held.get(workload, 0)}"
        swatch = element("span", class_=f"swatch {style.colour(workload)}")
        button = element("button", swatch, label, type="button", aria_pressed="false", data_of=style.mark(workload))
        yield element("li", button)
    states = Counter(device.state for device in found.devices())
    for state, meaning in (STATES | {"gone": "held, but no longer published"}).items():
        if states[state]:
            yield _key(state, f"{meaning} · {states[state]}")
    if shareable := sum(device.left is not None for device in found.devices()):
        yield _key("left", f"in use, with capacity left · {shareable}")


def _key(state: str, meaning: str) -> Html:
    return element("li", element("span", class_=f"swatch {state}"), meaning, class_="key")


def _pending(found: ShownFleet) -> Html:
    reasons = wording.reasons(wording.listed(found.report.claims))
    if not reasons:
        return Html()
    rows = [
        [workload, f"{len(pods)}: {wording.first(pods, PODS_LISTED_MAX)}", reason] for workload, reason, pods in reasons
    ]
    return element(
        "section", element("h2", "Pending claims", class_="warn"), _table(["workload", "pods", "reason"], rows)
    )


# The pools.


def _pool(pool: ShownPool, style: Style) -> Html:
    row = pool.row
    missing = f"{row['nodes']} of " if row["nodes"] < len(pool.nodes) else ""
    nodes = f"{missing}{counted(len(pool.nodes), 'node')}"
    if "fabric" in row:
        nodes = f"for {counted(row['nodes'], 'node')}"
    numbers = f"{nodes} · {_counts(row)}"
    return element(
        "section",
        element("div", element("h2", row["name"]), element("span", numbers, class_="soft"), class_="head"),
        *(element("p", line, class_="soft") for line in _remarks(row)),
        _bar(pool, style),
        element("div", *(_node(node, style) for node in pool.nodes), class_="nodes"),
    )


def _counts(row: Mapping[str, Any]) -> str:
    numbers = [counted(row["devices"], "device"), f"{row['allocated']} allocated", f"{row['free']} free"]
    more = {"notReady": "not ready", "tainted": "tainted"}
    return " · ".join([*numbers, *(f"{row[key]} {meaning}" for key, meaning in more.items() if key in row)])


def _remarks(pool: Mapping[str, Any]) -> Iterator[str]:
    """Yield the counts of each driver of a pool with several, and what still fits and is left of devices in use."""
    if "fits" in pool:
        yield f"Still fits, each kind on its own: {wording.fits(pool)}"
    for driver, row in wording.rows(pool):
        if driver:
            yield f"{driver}: {_counts(row)}"
        if left := wording.left(row):
            yield f"Capacity left: {'; '.join(left)}"


def _bar(pool: ShownPool, style: Style) -> Html:
    """Draw how much of the pool's hardware each workload holds; of a GPU in MIG mode, by memory slices."""
    shares: dict[str, float] = {}
    physical = [entry for node in pool.nodes for entry in node.physical]
    for entry in physical:
        for device in entry.parts:
            for workload, part in _parts_held(entry, device).items():
                shares[workload] = shares.get(workload, 0) + part
    order = [workload for workload in style.workloads if workload in shares]
    parts = [
        element("i", class_=style.colour(workload), style=f"width:{100 * shares[workload] / len(physical):.2f}%")
        for workload in order
    ]
    return element("div", *parts, class_="bar", aria_hidden="true") if physical else Html()


def _parts_held(physical: Physical, device: ShownDevice) -> Mapping[str, float]:
    """Return how much of `physical` each workload holds through `device`."""
    taken = max(map(float, device.used().values()), default=1.0) if device.shared else 1.0
    held = Counter(share.workload for share in device.holders)
    part = physical.fraction(device) * taken / max(len(device.holders), 1)
    return {workload: part * count for workload, count in held.items()}


def _node(node: ShownNode, style: Style) -> Html:
    notes = element("span", ", ".join(node.notes), class_="warn") if node.notes else Html()
    drivers = list(dict.fromkeys(physical.driver for physical in node.physical))
    content = []
    for driver in drivers:
        if not style.compact or len(drivers) > 1:
            content.append(element("div", driver, class_="driver"))
        found = [physical for physical in node.physical if physical.driver == driver]
        wide = any(len(physical.parts) > 1 for physical in found)
        boxes = (physical_box(physical, node.name, style) for physical in found)
        content.append(element("div", *boxes, class_="devices wide" if wide else "devices"))
    return element("div", element("div", element("h3", node.name), notes, class_="head"), *content, class_="node")


# Below the pools.


def _claims(found: ShownFleet, style: Style) -> Html:
    claims = found.report.claims
    if not claims:
        return Html()
    if isinstance(claims, dict):
        rows = [
            [workload, state, str(count)]
            for workload, states in claims["counts"].items()
            for state, count in states.items()
        ]
        columns = ["workload", "state", "claims"]
    else:
        rows = [_claim(claim) for claim in claims]
        columns = ["workload", "pod", "claim", "namespace", "phase", "node", "state", "devices"]
    swatches = [element("span", class_=f"swatch {style.colour(row[0])}") for row in rows]
    cells = [[join([swatch, row[0]]), *row[1:]] for swatch, row in zip(swatches, rows, strict=True)]
    return element("section", element("h2", "Claims"), _table(columns, cells))


def _claim(claim: Mapping[str, Any]) -> list[str]:
    devices = "; ".join(f"{request}: {names}" for request, names in wording.devices_by_request(claim["devices"]))
    keys = ("workload", "pod", "name", "namespace", "podPhase", "node", "state")
    return [*(str(claim[key]) for key in keys), devices]


def _leftovers(found: ShownFleet) -> Html:
    leftovers = found.report.leftovers
    if not leftovers:
        return Html()
    columns = ["name", "namespace", "state", "why"]
    rows = [[str(entry[column]) for column in columns] for entry in leftovers]
    return element("section", element("h2", "Claims that no pod uses"), _table(columns, rows))


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Html:
    """Return a table; on a narrow screen each cell shows the name of its column."""
    head = element("thead", element("tr", *(element("th", column) for column in columns)))
    lines = [
        element("tr", *(element("td", cell, data_name=column) for column, cell in zip(columns, row, strict=True)))
        for row in rows
    ]
    return element("div", element("table", head, element("tbody", *lines)), class_="scroll")
