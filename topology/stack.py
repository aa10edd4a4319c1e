"""The raw configuration of a stack, from the settings that Pulumi holds."""

import json
from collections.abc import Mapping
from typing import Any


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


def unconfigured(settings: Mapping[str, str], project: str, stack: str) -> str:
    """Say what to do if nothing at all is configured; empty if something is.

    Pulumi empties a stack's file before it writes it, so a kill leaves nothing of it, and the stack would follow.
    """
    if any(_parse(value) for key, value in settings.items() if key.startswith(f"{project}:")):
        return ""
    file = f"Pulumi.{stack}.yaml"
    return (
        f"{file} configures nothing, so that all of the stack would be deleted; nothing was created or changed. A "
        f"Pulumi that is killed while it writes the file leaves it so: bring it back with `git checkout {file}`. To "
        "delete the stack, run `pulumi destroy`"
    )


def _parse(value: str) -> object:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):  # no JSON, or a number or a nesting that is too much for it
        return value
