"""Reads the user's files in the project's folder."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import yaml

_T = TypeVar("_T")


class UnreadableError(ValueError):
    """A file cannot be used; the message says which, why, and what to do."""


def content(folder: Path, name: str) -> bytes:
    """Return the content of the file `name`, a path relative to the project's `folder`.

    Raises:
        UnreadableError: the file does not exist, or is outside `folder`.
    """
    try:
        file = (folder / name).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a symbolic link loop, or a null byte
        raise UnreadableError(f"{name!r} is not the path of a file: {error}") from None
    if not file.is_relative_to(folder.resolve()):
        raise UnreadableError(f"{name!r} is outside the project's folder: move the file into it")
    try:
        return file.read_bytes()
    except OSError as error:
        raise UnreadableError(f"the file {name!r} cannot be read: {error.strerror}") from None


def parsed(name: str, load: Callable[[], _T]) -> _T:
    """Return the result of `load`, which parses the YAML of the file `name`.

    Raises:
        UnreadableError: the file is not YAML, is nested too deeply or has an invalid value.
    """
    try:
        return load()
    except yaml.YAMLError as error:
        raise UnreadableError(f"{name!r} is not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise UnreadableError(f"{name!r} is nested too deeply") from None
    except ValueError as error:  # such as a date in month 13
        raise UnreadableError(f"{name!r} has an invalid value: {error}") from None
