"""Rewrites CEL expressions that name a device or node: they name its counterpart in the twin."""

import re
from collections.abc import Callable, Mapping
from functools import cached_property

# A string in CEL, in single or double quotes: https://github.com/google/cel-spec/blob/master/doc/langdef.md
_TEXT = re.compile(r"'([^'\\]*)'|\"([^\"\\]*)\"")
_NAMES = re.compile(r"[0-9]")


class Expressions:
    """Rewrites expressions."""

    def __init__(self, renamed: Callable[[], Mapping[str, str]]) -> None:
        """Take a function that returns the twin's text for texts of the dump; it is called when first needed."""
        self._find = renamed

    @cached_property
    def _renamed(self) -> Mapping[str, str]:
        return self._find()

    def of(self, expression: str) -> str:
        """Return the expression in the twin."""
        return _TEXT.sub(self._replaced, expression)

    def _replaced(self, match: re.Match[str]) -> str:
        text = match[1] if match[1] is not None else match[2]
        if not _NAMES.search(text) or len(text) < 4:
            return match[0]
        return match[0].replace(text, self._renamed.get(text, text))
