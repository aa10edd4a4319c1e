"""Compares what the program renders with what a dump has, where identities are masked."""

import re
from collections.abc import Mapping
from typing import Any

from twin.identities import MARK, NODE_MARK


def counterparts(made: Any, wanted: Any, node: str, known: Mapping[str, str] | None = None) -> dict[str, str] | None:
    """Return `known` and, for each mark in `wanted`, the text that `made` has in its place on `node`.

    None if they differ in anything else, if a mark has two texts, or if two marks have the same one.
    """
    found = dict(known or {})
    is_same = _compare(made, wanted, node, found)
    return found if is_same and len(set(found.values())) == len(found) else None


def _compare(made: Any, wanted: Any, node: str, found: dict[str, str]) -> bool:
    if isinstance(wanted, str) and "<" in wanted:
        return isinstance(made, str) and _compare_texts(made, wanted.replace(NODE_MARK, node), found)
    if isinstance(wanted, Mapping):
        return made.keys() == wanted.keys() and all(_compare(made[key], wanted[key], node, found) for key in wanted)
    if isinstance(wanted, list | tuple):
        return len(made) == len(wanted) and all(
            _compare(one, other, node, found) for one, other in zip(made, wanted, strict=True)
        )
    return bool(made == wanted)


def _compare_texts(made: str, wanted: str, found: dict[str, str]) -> bool:
    pieces = MARK.split(wanted)
    match = re.fullmatch("(.+)".join(map(re.escape, pieces[::2])), made)
    return match is not None and all(
        found.setdefault(mark, text) == text for mark, text in zip(pieces[1::2], match.groups(), strict=True)
    )
