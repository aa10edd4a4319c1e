"""The configuration of the running stack."""

import json
from typing import Any

import pulumi
from pulumi.runtime.config import CONFIG, get_config_env

from topology.configuration import Topology
from topology.validation import ConfigurationError, load


def load_topology() -> Topology:
    """Read and validate the whole configuration of the stack; the cluster's name defaults to `<project>-<stack>`.

    Raises:
        pulumi.RunError: the configuration is not valid; the message lists every problem.
    """
    raw = _raw_configuration()
    cluster = raw.setdefault("cluster", {})
    if isinstance(cluster, dict):
        cluster.setdefault("name", f"{pulumi.get_project()}-{pulumi.get_stack()}")
    try:
        return load(raw)
    except ConfigurationError as error:
        raise pulumi.RunError(str(error)) from None


def _raw_configuration() -> dict[str, Any]:
    """Return all keys of the project's namespace: `pulumi.Config` can only look keys up, and unknown ones matter."""
    namespace = f"{pulumi.get_project()}:"
    values = get_config_env() | CONFIG.get()
    return {key.removeprefix(namespace): _parse(value) for key, value in values.items() if key.startswith(namespace)}


def _parse(value: str) -> object:
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value
