"""The boxes of the picture: devices, GPUs with their parts, and the text about each."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from topology.kubernetes.quantities import number
from views import wording
from views.fleet import OTHERS, Physical, Share, ShownDevice, State
from views.markup import Html, element, join

HUES = 6
PATTERNS = 3
ALL_ATTRIBUTES_DEVICES_MAX = 3_000
"""With more devices than this, the page has only `TELLING_ATTRIBUTES`, to keep it small."""

ALL_PARTS_DEVICES_MAX = 5_000
"""With more devices than this, the page only counts the parts of GPUs that no claim holds."""

TELLING_ATTRIBUTES = ("productName", "model", "profile", "uuid", "pcieRoot", "pciBusID", "numaNode")


class Style(NamedTuple):
    """How the page is drawn: the colours of its workloads, the size of its boxes."""

    workloads: Sequence[str]
    compact: bool
    devices: int

    def colour(self, workload: str) -> str:
        """Return the classes that give a box the colour and the pattern of a workload."""
        if workload == OTHERS:
            return "others"
        place = self.workloads.index(workload)
        return f"h{place % HUES} p{place // HUES % PATTERNS}"

    def mark(self, workload: str) -> str:
        """Return the class that marks a workload's boxes."""
        return f"w{self.workloads.index(workload)}"

    def of(self, device: ShownDevice) -> str:
        """Return the classes of a device's box."""
        if not device.holders or device.state == "gone":
            return device.state
        workloads = dict.fromkeys(share.workload for share in device.holders)
        return " ".join(["held", self.colour(next(iter(workloads))), *map(self.mark, workloads)])


def physical_box(physical: Physical, node: str, style: Style) -> Html:
    """Draw a device, or a GPU that contains its parts."""
    if physical.memory_slices:
        return _mig_box(physical, node, style)
    if len(physical.parts) == 1:
        return _device_box(physical.parts[0], physical.parts[0].name, node, style)
    boxes = [_device_box(part, _short(part.name, physical.name), node, style) for part in physical.parts]
    if style.compact:
        return element("span", *boxes, class_="group")
    return element("div", element("b", physical.name), element("div", *boxes, class_="devices"), class_="gpu")


def _short(name: str, whole: str) -> str:
    return name.removeprefix(whole).strip("-") or name


def _device_box(device: ShownDevice, label: str, node: str, style: Style) -> Html:
    classes = style.of(device)
    title = about(device, node, style)
    if style.compact:
        used = device.used() if device.shared else {}
        full = f"--full:{100 * max(used.values()):.0f}%" if used else None
        return element("i", class_=f"{classes} shared" if full else classes, style=full, title=title)
    content = [element("b", label), *_holder_lines(device), *_meters(device, style)]
    content += [element("div", _breakable(taint), class_="warn") for taint in device.taints]
    return element("div", *content, class_=f"tile {classes}", title=title, tabindex="0")


def _breakable(text: str) -> Html:
    """Allow line breaks after the separators of a long text."""
    return join(part for piece in re.split(r"(?<=[/=:])", text) for part in (piece, Html("<wbr>")))


def _holder_lines(device: ShownDevice) -> Iterator[Html]:
    held = Counter((share.workload or "other claims") + (" (admin)" if share.admin else "") for share in device.shares)
    for workload, count in held.items():
        yield element("div", workload if count == 1 else f"{workload}: {count}")
    if device.state != "held":
        yield element("div", STATES[device.state], class_="soft")


STATES: dict[State, str] = {"free": "free", "taken": "taken by other parts", "tainted": "unavailable", "gone": "gone"}


def _meters(device: ShownDevice, style: Style) -> Iterator[Html]:
    """Draw how much of each capacity of a shared device each workload consumes."""
    if not device.shared:
        return
    for name, used in device.used().items():
        shares = [share for share in device.holders if name in share.amounts]
        parts = [
            element("i", class_=style.colour(share.workload), style=f"width:{_percent(share, name, device):.1f}%")
            for share in shares
        ]
        yield element("div", f"{name.rpartition('/')[2]} {100 * used:.0f} %", class_="soft")
        yield element("div", *parts, class_="meter")


def _percent(share: Share, capacity: str, device: ShownDevice) -> float:
    whole = number(device.spec["capacity"][capacity]["value"])
    return float(100 * number(share.amounts[capacity]) / whole)


# GPUs in MIG mode.


def _mig_box(physical: Physical, node: str, style: Style) -> Html:
    """Draw the memory slices of a GPU with their holders; below, the other placements of MIG devices."""
    dynamic = physical.is_partitionable
    shown = [part for part in physical.parts if part.holders or not dynamic or part.state == "gone"]
    rest = [part for part in physical.parts if part not in shown]
    bar = _slices(physical, shown, node, style, fill=True)
    if style.devices > ALL_PARTS_DEVICES_MAX:
        rest = []
    if style.compact:
        return element("span", bar, class_="gpu-bar")
    lines = [element("div", line) for line in _held_lines(shown)]
    chart = _chart(physical, rest, node, style) if rest else Html()
    return element("div", element("b", physical.name), bar, *lines, chart, class_="gpu")


def _held_lines(parts: Iterable[ShownDevice]) -> Iterator[str]:
    """Yield for each workload what it holds of a GPU."""
    held: dict[str, Counter[str]] = {}
    for part in parts:
        for workload in dict.fromkeys(share.workload for share in part.holders):
            held.setdefault(workload or "other claims", Counter())[part.profile or "the whole GPU"] += 1
    for workload, profiles in sorted(held.items()):
        named = [profile if count == 1 else f"{count} of {profile}" for profile, count in sorted(profiles.items())]
        yield f"{workload}: {', '.join(named)}"


def _slices(physical: Physical, parts: Sequence[ShownDevice], node: str, style: Style, fill: bool) -> Html:
    """Lay out devices by the memory slices that they take; with `fill`, draw the remaining slices too."""
    cells = [(part.memory_slices or list(range(physical.memory_slices)), part) for part in parts]
    taken = {place for places, _ in cells for place in places}
    boxes = {
        places[0]: element(
            "div",
            _label(part, len(places)) if fill and not style.compact else "",
            class_=style.of(part),
            style=f"grid-column:{places[0] + 1}/span {len(places)}",
            title=about(part, node, style),
            tabindex=None if style.compact else "0",
        )
        for places, part in cells
    }
    if fill:
        available = {place for part in physical.parts if part.state == "free" for place in part.memory_slices}
        for place in sorted(set(range(physical.memory_slices)) - taken):
            state = "free" if place in available else "taken" if physical.is_partitionable else "uncut"
            boxes[place] = element("div", class_=f"empty {state}", style=f"grid-column:{place + 1}")
    return element(
        "div", *(box for _, box in sorted(boxes.items())), class_="slices", style=f"--n:{physical.memory_slices}"
    )


def _label(part: ShownDevice, size: int) -> str:
    profile = part.profile or "whole"
    return profile if size > 1 else profile.partition(".")[0]


def _chart(physical: Physical, parts: Sequence[ShownDevice], node: str, style: Style) -> Html:
    """Draw a row for each profile, with each of its placements."""
    rows: dict[str, list[ShownDevice]] = {}
    for part in parts:
        rows.setdefault(part.profile or "whole", []).append(part)
    free = sum(1 for part in parts if part.state == "free")
    content = [element("summary", f"{free} of {len(parts)} other placements possible")]
    for profile, found in rows.items():
        content.append(element("div", profile, class_="row"))
        content.append(_slices(physical, found, node, style, fill=False))
    return element("details", *content, class_="chart")


# The text about a device.


def about(device: ShownDevice, node: str, style: Style) -> str:
    """Return the details of a device, one per line."""
    return "\n".join([f"{device.name} on {node} ({device.driver})", *_state(device), *_facts(device, style)])


def _state(device: ShownDevice) -> Iterator[str]:
    for share in device.shares:
        namespace, claim = share.claim
        what = "admin access" if share.admin else "held"
        yield f"{what} by {share.workload or 'a claim of others'}: claim {namespace}/{claim}"
        yield from (f"  pod {namespace}/{pod}" for pod in share.pods)
        yield from (f"  {name}: {amount}" for name, amount in sorted(share.amounts.items()))
    if told := {"free": "free", "taken": "taken by other parts", "gone": "no longer published"}.get(device.state):
        yield told
    if device.left is not None:
        yield f"left: {wording.amounts(device.left)}"
    yield from (f"taint {taint}" for taint in device.taints)


def _facts(device: ShownDevice, style: Style) -> Iterator[str]:
    every = style.devices <= ALL_ATTRIBUTES_DEVICES_MAX
    for name, value in device.spec.get("attributes", {}).items():
        short = name.removeprefix("resource.kubernetes.io/")
        if every or short in TELLING_ATTRIBUTES:
            yield f"{short}: {_value(value)}"
    if every:
        for name, capacity in device.spec.get("capacity", {}).items():
            yield f"{name}: {capacity['value']}"


def _value(attribute: Mapping[str, Any]) -> str:
    (value,) = attribute.values()
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
