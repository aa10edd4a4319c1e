"""Writes the files of a twin: all of them, or none."""

import os
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from topology.checks.validation import printable
from topology.schema.settings import STACKS, stack_file
from topology.schema.values import is_dns_label
from twin.dump import DumpError
from twin.stack import Stack, checked

_TITLE = "The twin of a real fleet, made from kubectl output: see docs/twin.md."
_NAMESPACE = "kwok-dra"


def free(name: str, folder: Path) -> None:
    """Check that a new stack can have that name.

    Raises:
        DumpError: the name is not valid, or is taken.
    """
    if not is_dns_label(name):
        raise DumpError(f"{name!r} is not a valid stack name: use lower-case letters, digits and '-'")
    for file in (stack_file(name), _catalogue_file(name)):
        if (folder / file).exists():
            raise DumpError(f"{file} already exists: remove it, or choose another name with STACK=…")


def write(found: Stack, name: str, folder: Path, keep_names: bool) -> list[Path]:
    """Write the stack file and, if the twin has devices or hosts of its own, a catalogue file; return their paths.

    Raises:
        DumpError: the configuration is not valid, or a file cannot be written.
    """
    texts = _texts(found, name, keep_names)
    try:
        with TemporaryDirectory(prefix=f".{name}-", dir=folder) as temporary:
            Path(temporary, STACKS).mkdir()
            for file, text in texts.items():
                Path(temporary, file).write_text(text, encoding="utf-8")
            checked(found, name, Path(temporary))
            (folder / STACKS).mkdir(exist_ok=True)
            for file in texts:
                os.replace(Path(temporary, file), folder / file)
    except OSError as error:
        raise DumpError(f"{error.filename} cannot be written: {error.strerror}") from None
    return list(texts)


def _catalogue_file(name: str) -> Path:
    return Path(STACKS, f"{name}-devices.yaml")


def _texts(found: Stack, name: str, keep_names: bool) -> dict[Path, str]:
    """Return the texts of the files; the catalogue file comes before the stack file, which names it."""
    texts = {}
    if found.catalogue:
        found.configuration["catalogue"] = [str(_catalogue_file(name))]
        title = f"The devices and hosts of the stack {name} that the built-in catalogue does not have."
        texts[_catalogue_file(name)] = _comments([title]) + _yaml(found.catalogue)
    keys = sorted(found.configuration, key=list(("catalogue", *found.configuration)).index)
    config = {f"{_NAMESPACE}:{key}": found.configuration[key] for key in keys}
    comments = [_TITLE, *(f"Note: {note}." for note in found.notes)]
    if keep_names:
        comments += [f"{new} is {old}." for old, new in found.nodes.items() if old != new]
    texts[stack_file(name)] = _comments(comments) + _yaml({"config": config})
    return texts


def _comments(lines: Iterable[str]) -> str:
    """Return a YAML comment for each line; a text of the dump cannot end it, as line breaks are escaped."""
    return "".join(f"# {printable(line)}\n" for line in lines)


class _Dumper(yaml.SafeDumper):
    """Repeats equal parts instead of writing anchors and aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _yaml(content: Any) -> str:
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)
