"""The configuration of the running stack."""

import os
from pathlib import Path

import pulumi
from pulumi.runtime.config import CONFIG, get_config_env

from cluster.fleet import existing_cluster
from topology.checks.added_programs import missing_programs
from topology.checks.validation import ConfigurationError, load
from topology.schema.settings import raw_configuration, unusable
from topology.schema.stack import Topology


def load_topology() -> Topology:
    """Read and validate the whole configuration of the stack.

    `pulumi.Config` can only look keys up, and unknown ones matter.

    Raises:
        pulumi.RunError: the configuration is not valid, or not there; the message lists every problem.
    """
    stack = pulumi.get_stack()
    if message := unusable(stack):
        raise pulumi.RunError(message)
    try:
        raw = raw_configuration(get_config_env() | CONFIG.get(), pulumi.get_project(), stack)
        topology = load(raw, look=existing_cluster.look, warn=pulumi.warn)
        if missing := list(missing_programs(topology, Path(), tools())):
            raise ConfigurationError(missing)
        return topology
    except ConfigurationError as error:
        raise pulumi.RunError(str(error)) from None


def tools() -> Path:
    """Return the folder of the built toolchain."""
    return Path(os.environ.get("KWOK_DRA_TOOLS") or ".tools")
