"""What the bench must show: values and ratios of values of the same run that may not be above a limit, in any run."""

import statistics
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tests.bench import fleet, page, peers, pods
from tests.bench.measurements import Measurements, Quantity, in_words


class Limit(NamedTuple):
    """A quantity, or its ratio to another, `base`, that is `most` at the given number of nodes."""

    quantity: Quantity
    nodes: int
    most: float
    base: Quantity | None = None
    base_nodes: int | None = None
    """If not as many nodes."""

    def values(self, measurements: Measurements) -> list[float]:
        """Return what was measured of it in each run; nothing if some of it was not."""
        values = measurements.of(self.quantity, self.nodes)
        if self.base is None:
            return list(values)
        bases = measurements.of(self.base, self.base_nodes or self.nodes)
        return [value / base for value, base in zip(values, bases, strict=False)]

    @property
    def name(self) -> str:
        """What is compared, in words."""
        name = f"{self.quantity.part}: {self.quantity.name}, {in_words(self.nodes)}"
        if self.base is None:
            return f"{name}, {self.quantity.unit}"
        other = "" if self.base.part == self.quantity.part else f"{self.base.part}: "
        return f"{name} / {other}{self.base.name}" + (f", {in_words(self.base_nodes)}" if self.base_nodes else "")


LIMITS = (
    Limit(page.UP, page.NODES, 1, page.BY_HAND),
    Limit(page.AGAIN, page.NODES, 0.3, page.UP),
    Limit(page.DESTROY, page.NODES, 0.3, page.UP),
    Limit(fleet.UP, 1000, 1.15, peers.POSTS),
    Limit(fleet.UP, 1000, 0.42, peers.KUBECTL),
    Limit(fleet.UP, 1000, 0.36, peers.SCALE),
    Limit(fleet.AGAIN, 1000, 3),
    Limit(fleet.AGAIN, 1000, 1.4, page.AGAIN, page.NODES),
    Limit(fleet.PREVIEW, 1000, 1.2, fleet.AGAIN),
    Limit(fleet.STATE, 1000, 1000),
    Limit(fleet.GROW, 1000, 0.3, fleet.UP),
    Limit(fleet.DESTROY, 1000, 3),
    Limit(fleet.UP, 5000, 6, fleet.UP, 1000),
    Limit(fleet.UP, 10_000, 11, fleet.UP, 1000),
    Limit(fleet.MEMORY, 10_000, 1000),
    # Ratios of pods per second, which are the inverse of those of the times.
    Limit(pods.KUBECTL_ON_STOCK, 500, 0.75, pods.UP),
    Limit(pods.KUBECTL, 500, 1.03, pods.UP),
)


class Verdict(NamedTuple):
    """A limit, and what was measured of it in each run."""

    limit: Limit
    values: Sequence[float]

    @property
    def median(self) -> float:
        """The median of the runs."""
        return statistics.median(self.values)

    @property
    def worst(self) -> float:
        """The highest value of a run."""
        return max(self.values)

    @property
    def holds(self) -> bool:
        """Whether no run is above the limit."""
        return self.worst <= self.limit.most


def verdicts(measurements: Measurements, limits: Sequence[Limit] = LIMITS) -> Iterator[Verdict]:
    """Yield a verdict on each limit of which everything was measured."""
    for limit in limits:
        if values := limit.values(measurements):
            yield Verdict(limit, values)
