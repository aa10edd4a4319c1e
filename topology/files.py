"""The user's files beside the stack."""

from pathlib import Path


class UnreadableError(ValueError):
    """A file that cannot be used; the message says which, why, and what to do."""


def content(folder: Path, name: str) -> bytes:
    """Return what is in the file `name`, a path from the project's `folder`.

    Raises:
        UnreadableError: there is no such file, or it lies somewhere else.
    """
    file = (folder / name).resolve()
    if not file.is_relative_to(folder.resolve()):
        raise UnreadableError(f"{name!r} is not below the project's folder: put the file beside the stack's")
    try:
        return file.read_bytes()
    except OSError as error:
        raise UnreadableError(f"the file {name!r} cannot be read: {error.strerror}") from None
