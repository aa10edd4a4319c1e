"""What can be wrong with a configuration."""

from typing import NamedTuple


class Problem(NamedTuple):
    """One thing that is wrong: the path of its key, such as `nodePools[0].gpu`, and what to do about it."""

    path: str
    message: str
