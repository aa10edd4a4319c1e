"""A command that ends when a workload, or what is in manifests, stands as expected: others come after it."""

import json
from collections.abc import Mapping, Sequence

import pulumi
from pulumi_command import local

from components.cluster_base import ClusterComponent
from components.command import program
from topology.status.workload_progress import Expected


def settled(
    expected: Expected,
    wait: Mapping[str, str],
    cluster: ClusterComponent,
    *,
    parent: pulumi.Resource,
    objects: Sequence[pulumi.Resource],
) -> local.Command:
    """Wait for what is `expected` of the `objects`, once more whenever the environment `wait` is another one."""
    wait_program = program("wait")
    environment = {"KWOK_DRA_EXPECTED": json.dumps([expected])} | dict(wait)
    return local.Command(
        expected.workload,
        create=wait_program,
        update=wait_program,
        environment=cluster.kubectl_environment.apply(lambda kubectl: kubectl | environment),
        logging=local.Logging.NONE,  # the error has all that it says
        opts=cluster.content(parent, objects),
    )
