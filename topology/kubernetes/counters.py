"""Compatibility groups of devices that consume counters."""

from collections.abc import Iterable, Sequence


def are_compatible(groups: Sequence[Iterable[str]]) -> bool:
    """Tell whether devices with these compatibility groups can be allocated from one counter set at the same time.

    https://github.com/kubernetes/dynamic-resource-allocation/blob/v0.37.2/structured/internal/experimental/compatibility_groups.go
    """
    return not any(groups) or bool(set.intersection(*map(set, groups)))
