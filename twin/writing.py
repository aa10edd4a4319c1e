"""The files of a twin: all of them, or none."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from topology.schema.values import is_dns_label
from twin.dump import DumpError
from twin.stack import Stack, checked

_COMMENT = "# The twin of a fleet, made of what kubectl printed there: docs/twin.md.\n"
_NAMESPACE = "kwok-dra"


def free(name: str, folder: Path) -> None:
    """Check that there can be a new stack of that name.

    Raises:
        DumpError: there cannot.
    """
    if not is_dns_label(name):
        raise DumpError(f"{name!r} cannot be the name of a stack: use lower-case letters, digits and '-'")
    for file in (_stack_file(name), _catalogue_file(name)):
        if (folder / file).exists():
            raise DumpError(f"{file} is there already: take it away, or give the twin another name with STACK=…")


def write(found: Stack, name: str, folder: Path, keep_names: bool) -> list[str]:
    """Write the stack's configuration and, where the built-in catalogue does not have everything, a file for that.

    Raises:
        DumpError: what is written would not be valid, or cannot be written.
    """
    texts = _texts(found, name, keep_names)
    try:
        with TemporaryDirectory(prefix=f".{name}-", dir=folder) as temporary:
            for file, text in texts.items():
                Path(temporary, file).write_text(text, encoding="utf-8")
            checked(found, name, Path(temporary))
            for file in texts:
                os.replace(Path(temporary, file), folder / file)
    except OSError as error:
        raise DumpError(f"{error.filename} cannot be written: {error.strerror}") from None
    return list(texts)


def _stack_file(name: str) -> str:
    return f"Pulumi.{name}.yaml"


def _catalogue_file(name: str) -> str:
    return f"{name}-devices.yaml"


def _texts(found: Stack, name: str, keep_names: bool) -> dict[str, str]:
    """Return the files, the one that the other names first."""
    texts = {}
    if found.catalogue:
        found.configuration["catalogue"] = [_catalogue_file(name)]
        comment = f"# The devices and hosts of the stack {name} that are not in the catalogue as they are.\n"
        texts[_catalogue_file(name)] = comment + _yaml(found.catalogue)
    keys = sorted(found.configuration, key=list(("catalogue", *found.configuration)).index)
    config = {f"{_NAMESPACE}:{key}": found.configuration[key] for key in keys}
    comments = _COMMENT + "".join(f"# Not in it: {note}.\n" for note in found.notes)
    if keep_names:
        comments += "".join(f"# {new} is {old}.\n" for old, new in found.nodes.items() if old != new)
    texts[_stack_file(name)] = comments + _yaml({"config": config})
    return texts


class _Dumper(yaml.SafeDumper):
    """Writes what is there twice twice, without an anchor."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _yaml(content: Any) -> str:
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)
