"""Rewrites CEL expressions that name identities or nodes: they name their counterparts in the twin."""

import re
from collections.abc import Callable, Mapping
from functools import cached_property

from twin.identities import UUID, Identities, is_opaque
from twin.notes import Notes

# A string in CEL, in single or double quotes: https://github.com/google/cel-spec/blob/master/doc/langdef.md
_TEXT = re.compile(r"'[^'\\]*'|\"[^\"\\]*\"")
_PARTS = re.compile(r"\.(startsWith|endsWith|contains|matches|find|findAll|indexOf|substring|split)\(")


class Expressions:
    """Rewrites expressions."""

    def __init__(self, renamed: Callable[[], Mapping[str, set[str]]], identities: Identities, notes: Notes) -> None:
        """Take a function that returns the twin's texts for each text of the dump; it is called when first needed."""
        self._find, self._identities, self._notes = renamed, identities, notes

    @cached_property
    def _renamed(self) -> Mapping[str, set[str]]:
        return self._find()

    def of(self, expression: str) -> str:
        """Return the expression in the twin."""
        names = {name.rpartition("/")[2] for _, name in self._identities.attributes}
        if _PARTS.search(expression) and not names.isdisjoint(re.findall(r"\w+", expression)):
            self._notes.add("CEL expressions that examine parts of replaced values can select other devices")
        return _TEXT.sub(lambda match: match[0][0] + self._counterpart(match[0][1:-1]) + match[0][0], expression)

    def _counterpart(self, text: str) -> str:
        """Return the twin's text for a text, and a pseudonym for an identity that no device has."""
        found = self._renamed.get(text, {text})
        if len(found) > 1:
            self._notes.add("CEL expressions with a text that has several counterparts in the twin are unchanged")
            return text
        if text in self._renamed or not is_opaque(text):
            return next(iter(found))
        pieces = UUID.split(text)
        if pieces in ([text], ["", text, ""]):
            return self._identities.constant(text)
        return "".join(self._counterpart(piece) for piece in pieces)
