"""A Command that waits for a workload or for manifests, so that others can come after them."""

from collections.abc import Mapping, Sequence

import pulumi
from pulumi_command import local

from components.cluster_base import ClusterComponent
from components.command import command, program
from topology.status.workload_progress import Expected


def wait_command(
    expected: Expected,
    wait: Mapping[str, object] | None,
    cluster: ClusterComponent,
    *,
    parent: pulumi.Resource,
    objects: Sequence[pulumi.Resource],
) -> local.Command | None:
    """Create a Command that ends when the `objects` are as `expected`, unless nothing comes after them (no `wait`).

    It runs again when its further input `wait` changes.
    """
    if not wait:
        return None
    return command(
        expected.workload,
        cluster.kubectl_environment,
        cluster.content(parent, objects),
        create=program("wait"),
        update=program("wait"),
        stdin={"KWOK_DRA_EXPECTED": [expected], **wait},
        logging=local.Logging.NONE,  # The error message contains all output.
    )
