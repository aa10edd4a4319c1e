"""A plot of seconds against nodes as a self-contained SVG, both on logarithmic scales."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle

from views.markup import Html, element, join

Lines = Mapping[str, Mapping[int, float]]
"""What each line shows: seconds by number of nodes."""

WIDTH, HEIGHT = 760, 480
LEFT, RIGHT, TOP, BOTTOM = 64, 170, 20, 50
COLOURS = ("#0072b2", "#56b4e9", "#009e73", "#d55e00", "#e69f00", "#cc79a7")
"""Told apart by the colour-blind too: https://jfly.uni-koeln.de/color/"""


class Scale:
    """Where the values from 10 ** `low` to 10 ** `high` are, from `begin` to `end`."""

    def __init__(self, values: Sequence[float], begin: float, end: float) -> None:
        """Span the powers of ten that hold all `values`."""
        self.low = math.floor(math.log10(min(values)))
        self.high = max(math.ceil(math.log10(max(values))), self.low + 1)
        self.begin, self.end = begin, end

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return round(self.begin + share * (self.end - self.begin), 1)

    def powers(self) -> Iterator[float]:
        """Go through the powers of ten."""
        return (10.0**exponent for exponent in range(self.low, self.high + 1))


def plot(lines: Lines) -> str:
    """Draw the lines; each has its name at the right, from the slowest to the fastest."""
    x = Scale([nodes for line in lines.values() for nodes in line], LEFT, WIDTH - RIGHT)
    y = Scale([seconds for line in lines.values() for seconds in line.values()], HEIGHT - BOTTOM, TOP)
    colours = dict(zip(lines, cycle(COLOURS)))
    slowest_first = sorted(lines, key=lambda name: -lines[name][max(lines[name])])
    return picture(
        WIDTH,
        HEIGHT,
        *_axes(x, y),
        *(_line(lines[name], colours[name], x, y) for name in slowest_first),
        *(_name(name, colours[name], place) for place, name in enumerate(slowest_first)),
    )


def picture(width: int, height: int, *content: Html) -> Html:
    """Return an SVG with a white background."""
    background = element("rect", width=width, height=height, fill="#fff")
    view = {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {width} {height}"}
    return element("svg", background, *content, **view, font_family="sans-serif", font_size=13)


def _axes(x: Scale, y: Scale) -> Iterator[Html]:
    for nodes in x.powers():
        yield element("path", d=f"M{x(nodes)} {y.begin}V{y.end}", stroke="#ddd")
        yield element("text", f"{nodes:,g}", x=x(nodes), y=y.begin + 18, text_anchor="middle")
    for seconds in y.powers():
        yield element("path", d=f"M{x.begin} {y(seconds)}H{x.end}", stroke="#ddd")
        yield element("text", f"{seconds:,g} s", x=x.begin - 8, y=y(seconds) + 4, text_anchor="end")
    yield element("text", "nodes with 8 GPUs each", x=(x.begin + x.end) / 2, y=HEIGHT - 10, text_anchor="middle")


def _line(line: Mapping[int, float], colour: str, x: Scale, y: Scale) -> Html:
    points = [(x(nodes), y(seconds)) for nodes, seconds in sorted(line.items())]
    path = "M" + "L".join(f"{left} {top}" for left, top in points)
    dots = [element("circle", cx=left, cy=top, r=3, fill=colour) for left, top in points]
    return join([element("path", d=path, stroke=colour, stroke_width=2, fill="none"), *dots])


def _name(name: str, colour: str, place: int) -> Html:
    return element("text", name, x=WIDTH - RIGHT + 16, y=TOP + 14 + 20 * place, fill=colour)
