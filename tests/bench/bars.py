"""A picture of the profile as a self-contained SVG: for each update, a bar of the shares of its processor time."""

from collections.abc import Iterator, Mapping
from itertools import cycle

from tests.bench.plot import COLOURS, picture
from views.markup import Html, element, join

Bars = Mapping[str, Mapping[str, float]]
"""What each bar shows: seconds by name."""

WIDTH, LEFT, BAR, GAP, LINE = 940, 230, 34, 18, 20
FILLS = [(colour, opacity) for opacity in (1, 0.5) for colour in COLOURS] + [("#888", 1), ("#ddd", 1)]
"""Colours and opacities, in the order of the names."""


def bars(shown: Bars) -> str:
    """Draw the bars, one below the other, and what the colours mean."""
    names = list(dict.fromkeys(name for parts in shown.values() for name, value in parts.items() if value))
    fills = dict(zip(names, cycle(FILLS)))
    below = (BAR + GAP) * len(shown) + GAP
    height = below + LINE * (len(names) // 3 + 1) + GAP
    drawn = (_bar(title, parts, fills, GAP + place * (BAR + GAP)) for place, (title, parts) in enumerate(shown.items()))
    return picture(WIDTH, height, *drawn, *_legend(fills, below))


def _bar(title: str, parts: Mapping[str, float], fills: Mapping[str, tuple[str, float]], top: int) -> Html:
    scale = (WIDTH - LEFT - GAP) / sum(parts.values())
    drawn, left = [], float(LEFT)
    for name, value in parts.items():
        if value:
            colour, opacity = fills[name]
            label = element("title", f"{name}: {value:.1f} s")
            place = {"x": round(left, 1), "y": top, "width": round(value * scale, 1), "height": BAR}
            drawn.append(element("rect", label, **place, fill=colour, fill_opacity=opacity, stroke="#fff"))
            left += value * scale
    return join([element("text", title, x=LEFT - 10, y=top + 22, text_anchor="end"), *drawn])


def _legend(fills: Mapping[str, tuple[str, float]], top: int) -> Iterator[Html]:
    for place, (name, (colour, opacity)) in enumerate(fills.items()):
        x, y = LEFT + place % 3 * 230, top + place // 3 * LINE
        yield element("rect", x=x, y=y, width=14, height=14, fill=colour, fill_opacity=opacity)
        yield element("text", name, x=x + 20, y=y + 12)
