"""Notes: how a twin differs from its dump."""

from collections.abc import Hashable

NOTES_MAX = 40


class Notes:
    """The notes of a twin, in the order in which they are added."""

    def __init__(self) -> None:
        """Start without notes."""
        self._notes: dict[str, set[Hashable]] = {}

    def add(self, note: str, *things: Hashable) -> None:
        """Add a note about `things`, which are counted; the same note about the same thing is ignored."""
        self._notes.setdefault(note, set()).update(things)

    def lines(self) -> list[str]:
        """Return the first `NOTES_MAX` notes, and the number of further ones."""
        notes = [f"{note}: {len(things)}" if things else note for note, things in self._notes.items()]
        rest = len(notes) - NOTES_MAX
        return [*notes[:NOTES_MAX], f"and {rest} more"] if rest > 0 else notes
