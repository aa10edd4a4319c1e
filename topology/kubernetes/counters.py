"""Which devices the counters of their slice allow together."""

from collections.abc import Iterable, Sequence


def go_together(groups: Sequence[Iterable[str]]) -> bool:
    """Tell whether devices with such compatibility groups may be allocated together on one counter set.

    https://github.com/kubernetes/dynamic-resource-allocation/blob/v0.37.2/structured/internal/experimental/compatibility_groups.go
    """
    return not any(groups) or bool(set.intersection(*map(set, groups)))
