"""What the bench must show: medians and ratios of medians that may not be above a limit."""

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

    def value(self, measurements: Measurements) -> float | None:
        """Return what was measured of it; nothing if some of it was not."""
        value = measurements.medians(self.quantity).get(self.nodes)
        if value is None or self.base is None:
            return value
        base = measurements.medians(self.base).get(self.base_nodes or self.nodes)
        return None if base is None else value / base

    @property
    def name(self) -> str:
        """What is compared, in words."""
        name = f"{self.quantity.part}: {self.quantity.name}, {in_words(self.nodes)}"
        if self.base is None:
            return f"{name}, {self.quantity.unit}"
        return f"{name} / {self.base.name}" + (f", {in_words(self.base_nodes)}" if self.base_nodes else "")


LIMITS = (
    Limit(page.UP, page.NODES, 1.25, page.BY_HAND),
    Limit(page.AGAIN, page.NODES, 0.3, page.UP),
    Limit(page.DESTROY, page.NODES, 0.3, page.UP),
    Limit(fleet.UP, 1000, 1.5, peers.POSTS),
    Limit(fleet.UP, 1000, 1, peers.KUBECTL),
    Limit(fleet.UP, 1000, 1, peers.SCALE),
    Limit(fleet.AGAIN, 1000, 3),
    Limit(fleet.AGAIN, 1000, 0.1, fleet.UP),
    Limit(fleet.STATE, 1000, 1000),
    Limit(fleet.GROW, 1000, 0.3, fleet.UP),
    Limit(fleet.DESTROY, 1000, 3),
    Limit(fleet.UP, 5000, 6, fleet.UP, 1000),
    Limit(fleet.MEMORY, 5000, 1000),
    # At least 0.95 of the pods per second.
    Limit(pods.KUBECTL, 500, 1 / 0.95, pods.UP),
)


class Verdict(NamedTuple):
    """A limit, and what was measured of it."""

    limit: Limit
    value: float

    @property
    def holds(self) -> bool:
        """Whether it is not above the limit."""
        return self.value <= self.limit.most


def verdicts(measurements: Measurements, limits: Sequence[Limit] = LIMITS) -> Iterator[Verdict]:
    """Yield a verdict on each limit of which everything was measured."""
    for limit in limits:
        value = limit.value(measurements)
        if value is not None:
            yield Verdict(limit, value)
