"""The user's files beside the stack."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import yaml

_T = TypeVar("_T")


class UnreadableError(ValueError):
    """A file that cannot be used; the message says which, why, and what to do."""


def content(folder: Path, name: str) -> bytes:
    """Return what is in the file `name`, a path from the project's `folder`.

    Raises:
        UnreadableError: there is no such file, or it lies somewhere else.
    """
    try:
        file = (folder / name).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle, or no text for a path
        raise UnreadableError(f"{name!r} is not the path of a file: {error}") from None
    if not file.is_relative_to(folder.resolve()):
        raise UnreadableError(f"{name!r} is not below the project's folder: put the file beside the stack's")
    try:
        return file.read_bytes()
    except OSError as error:
        raise UnreadableError(f"the file {name!r} cannot be read: {error.strerror}") from None


def parsed(name: str, load: Callable[[], _T]) -> _T:
    """Return what `load` makes of the YAML in the file `name`.

    Raises:
        UnreadableError: it is not YAML, or more than can be made of it.
    """
    try:
        return load()
    except yaml.YAMLError as error:
        raise UnreadableError(f"{name!r} is not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise UnreadableError(f"{name!r} is nested too deeply") from None
    except ValueError as error:  # such as a date with a month 13
        raise UnreadableError(f"{name!r} has a value that is not possible: {error}") from None
