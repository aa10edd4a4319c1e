"""What was measured: the samples of each quantity, by number of nodes, and their medians."""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple, ParamSpec

P = ParamSpec("P")


class Quantity(NamedTuple):
    """Something that a part of the bench measures, in seconds unless it says otherwise."""

    part: str
    name: str
    unit: str = "s"


class Measurements:
    """All samples so far, in the order in which their quantities were first measured; each new one is told."""

    def __init__(self, tell: Callable[[str], object] = print) -> None:
        self.samples: defaultdict[Quantity, defaultdict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
        self._tell = tell

    def add(self, quantity: Quantity, nodes: int, value: float) -> None:
        """Keep one more sample."""
        self.samples[quantity][nodes].append(value)
        self._tell(f"{quantity.part}, {in_words(nodes)}, {quantity.name}: {value:.2f} {quantity.unit}")

    @contextmanager
    def timed(self, quantity: Quantity, nodes: int) -> Iterator[None]:
        """Measure how long the block takes; one that fails is no sample."""
        start = time.monotonic()
        yield
        self.add(quantity, nodes, time.monotonic() - start)

    def of(self, quantity: Quantity, nodes: int) -> Sequence[float]:
        """Return the samples of a quantity, one for each run; none if it was not measured."""
        by_nodes: Mapping[int, Sequence[float]] = self.samples.get(quantity, {})
        return by_nodes.get(nodes, [])

    def medians(self, quantity: Quantity) -> dict[int, float]:
        """Return the median of a quantity for each number of nodes with which it was measured."""
        return {nodes: statistics.median(values) for nodes, values in sorted(self.samples.get(quantity, {}).items())}


def in_words(nodes: int) -> str:
    """Write a number of nodes."""
    return "1 node" if nodes == 1 else f"{nodes:,} nodes"


def seconds(work: Callable[P, object], *arguments: P.args, **options: P.kwargs) -> float:
    """Return how long a call takes."""
    start = time.monotonic()
    work(*arguments, **options)
    return time.monotonic() - start
