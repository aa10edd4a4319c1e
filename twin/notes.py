"""Notes: how a twin differs from its dump."""

NOTES_MAX = 20


class Notes:
    """The notes of a twin, in the order in which they are added."""

    def __init__(self) -> None:
        """Start without notes."""
        self._notes: dict[str, None] = {}

    def add(self, note: str) -> None:
        """Add a note; a repeated one is ignored."""
        self._notes.setdefault(note)

    def lines(self) -> list[str]:
        """Return the first `NOTES_MAX` notes, and the number of further ones."""
        notes = list(self._notes)
        rest = len(notes) - NOTES_MAX
        return [*notes[:NOTES_MAX], f"and {rest} more"] if rest > 0 else notes
