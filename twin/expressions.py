"""CEL expressions that name one device or node: they name its counterpart in the twin."""

import re
from collections.abc import Callable, Mapping
from functools import cached_property

# A text in CEL, in either kind of quotes; https://github.com/google/cel-spec/blob/master/doc/langdef.md
_TEXT = re.compile(r"'([^'\\]*)'|\"([^\"\\]*)\"")
_NAMES = re.compile(r"[0-9]")


class Expressions:
    """Rewrites expressions; what the texts in them have become is found out when there is one that may need it."""

    def __init__(self, renamed: Callable[[], Mapping[str, str]]) -> None:
        """Take what tells what has become of the texts of the dump."""
        self._find = renamed

    @cached_property
    def _renamed(self) -> Mapping[str, str]:
        return self._find()

    def of(self, expression: str) -> str:
        """Return the expression for the twin."""
        return _TEXT.sub(self._replaced, expression)

    def _replaced(self, match: re.Match[str]) -> str:
        text = match[1] if match[1] is not None else match[2]
        if not _NAMES.search(text) or len(text) < 4:
            return match[0]
        return match[0].replace(text, self._renamed.get(text, text))
