"""The raw configuration of a stack, from the settings that Pulumi holds."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from topology.schema.user_files import UnreadableError, parsed

STACKS = "stacks"
"""The folder of the stack files: `stackConfigDir` in Pulumi.yaml."""


def raw_configuration(settings: Mapping[str, str], project: str, stack: str) -> dict[str, Any]:
    """Return all of the project's keys without the namespace; the cluster's name defaults to `<project>-<stack>`.

    Pulumi holds lists and mappings as JSON.
    """
    namespace = f"{project}:"
    raw: dict[str, Any] = {
        key.removeprefix(namespace): _parse(value) for key, value in settings.items() if key.startswith(namespace)
    }
    cluster = raw.setdefault("cluster", {})
    if isinstance(cluster, dict):
        cluster.setdefault("name", f"{project}-{stack}")
    return raw


def stack_file(stack: str) -> Path:
    """Return the settings file of a stack; it is in the project's `stackConfigDir`."""
    return Path(STACKS, f"Pulumi.{stack}.yaml")


def unusable(stack: str, project: Path = Path()) -> str:
    """Return what is wrong with the settings file of `stack` and what to do; an empty text if nothing is.

    Pulumi does not read a file at the top of the project, where earlier releases had it: the stack would lose all.
    Pulumi empties the file before it writes it, so a kill in between leaves an empty one.
    """
    file = stack_file(stack)
    earlier = file.name
    if (project / earlier).exists() and not (project / file).exists():
        return (
            f"{earlier} is not read: stack files are in {STACKS}/; nothing was created or changed. Move it: "
            f"`mv {earlier} {STACKS}/`"
        )
    if not (project / file).exists():
        return ""
    text = (project / file).read_text()
    try:
        if "config" in (parsed(str(file), lambda: yaml.safe_load(text)) or {}):
            return ""
    except UnreadableError as error:
        return str(error)
    return (
        f"{file} has no configuration, so an update would delete everything in the stack; nothing was created or "
        "changed. A Pulumi that is killed while it writes the file leaves it empty: restore it with `git checkout "
        f"{file}`. To delete the stack, run `pulumi destroy`"
    )


def _parse(value: str) -> object:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):  # no JSON, or a number or a nesting that is too much for it
        return value
