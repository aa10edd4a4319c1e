"""Makes the twin of a dump, and loads its files as `pulumi up` does."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from topology.checks.validation import load
from topology.schema.settings import raw_configuration
from topology.schema.stack import Topology
from twin.dump import read
from twin.placement import Kept
from twin.stack import stack
from twin.writing import write

NAME = "ours"


class Mode(NamedTuple):
    """The options of `make twin`."""

    keep_names: bool = False
    keep_placement: Kept = ""


MODES = {
    "default": Mode(),
    "names": Mode(keep_names=True),
    "nodes": Mode(keep_placement="nodes"),
    "devices": Mode(keep_placement="devices"),
}


class Twin(NamedTuple):
    """A twin: what its files configure, their text, and what `make twin` says of it."""

    mode: Mode
    topology: Topology
    text: str
    notes: list[str]
    nodes: Mapping[str, str]
    """The twin's name of each node."""

    def says(self, pattern: str) -> bool:
        """Tell whether a note matches a regular expression, in any case."""
        return any(re.search(pattern, note, re.IGNORECASE) for note in self.notes)


def objects_of(dump: Path) -> list[dict[str, Any]]:
    """Return the objects of a dump in JSON or YAML."""
    documents = yaml.load_all(dump.read_text(), Loader=yaml.CSafeLoader)
    return [entry for document in documents for entry in _items(document)]


def _items(document: Any) -> Iterator[dict[str, Any]]:
    if not str(document.get("kind")).endswith("List"):
        yield document
        return
    for entry in document["items"]:
        yield {"kind": document["kind"].removesuffix("List"), "apiVersion": document["apiVersion"]} | entry


def twin_of(dump: Path, folder: Path, mode: Mode = MODES["default"]) -> Twin:
    """Write the twin of a dump to a folder, and read its files again."""
    found = stack(read([dump]), keep_names=mode.keep_names, keep_placement=mode.keep_placement)
    write(found, NAME, folder, mode.keep_names)
    return Twin(mode, loaded(folder), _text(folder), found.notes, found.nodes)


def edited(twin: Twin, folder: Path, old: str, new: str) -> Twin:
    """Replace a text in the files of a twin, and load them again."""
    assert old in twin.text, f"{old!r} is not in {twin.text}"
    for file in _files(folder):
        file.write_text(file.read_text().replace(old, new))
    return twin._replace(topology=loaded(folder), text=_text(folder))


def _files(folder: Path) -> list[Path]:
    return sorted((folder / "stacks").glob(f"*{NAME}*.yaml"))


def _text(folder: Path) -> str:
    return "".join(file.read_text() for file in _files(folder))


def configured(folder: Path) -> dict[str, Any]:
    """Return the configuration of the twin in a folder, by key."""
    config = yaml.safe_load((folder / "stacks" / f"Pulumi.{NAME}.yaml").read_text())["config"]
    return raw_configuration({key: json.dumps(value) for key, value in config.items()}, "kwok-dra", NAME)


def loaded(folder: Path) -> Topology:
    """Return what the files of the twin in a folder configure.

    Raises:
        ConfigurationError: the stack is refused.
    """
    return load(configured(folder), folder)
