"""What of a dump is not in its twin: said once, in the order in which it is found."""

NOTES_MAX = 20


class Notes:
    """The notes of a twin."""

    def __init__(self) -> None:
        """Begin with none."""
        self._found: dict[str, None] = {}

    def add(self, note: str) -> None:
        """Say something; the same thing is said once."""
        self._found.setdefault(note)

    def lines(self) -> list[str]:
        """Return the notes; of very many, the first."""
        found = list(self._found)
        rest = len(found) - NOTES_MAX
        return [*found[:NOTES_MAX], f"and {rest} more of the kind"] if rest > 0 else found
