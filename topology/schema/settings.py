"""The raw configuration of a stack, from the settings that Pulumi holds."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml


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


def emptied(file: Path) -> str:
    """Say what to do if the file of a stack is there and configures nothing; empty if all is well.

    Pulumi empties the file before it writes it, so a kill leaves nothing of it, and the stack would follow. The next
    command of Pulumi adds its salt.
    """
    if not file.exists() or "config" in (yaml.safe_load(file.read_text()) or {}):
        return ""
    return (
        f"{file.name} configures nothing, so that all of the stack would be deleted; nothing was created or changed. A "
        f"Pulumi that is killed while it writes the file leaves it so: bring it back with `git checkout {file.name}`. "
        "To delete the stack, run `pulumi destroy`"
    )


def _parse(value: str) -> object:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):  # no JSON, or a number or a nesting that is too much for it
        return value
