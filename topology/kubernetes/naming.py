"""Orders names that contain numbers."""

import re


def natural_key(name: str) -> list[tuple[int, str]]:
    """Return a sort key that compares numbers by their value: `node-2` sorts before `node-10`."""
    parts = re.split("0*([0-9]+)", name)
    # A longer number without leading zeros is a larger number.
    return [(len(part) if place % 2 else 0, part) for place, part in enumerate(parts)]
