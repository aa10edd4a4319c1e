"""The generation of the pools that a driver publishes."""

import pulumi
from pulumi_command import local

from components.cluster_base import ClusterComponent
from topology.objects.slices import content_digest, first_generation
from topology.schema.stack import NodePool


def generations(pool: NodePool, cluster: ClusterComponent, parent: pulumi.Resource) -> dict[str, pulumi.Output[int]]:
    """Create a `command.local.Command` for each driver of `pool`, which counts how often its devices have changed.

    All of a driver's slices on a node have the newest generation, or the scheduler waits for the others.
    """
    return {driver: _generation(pool, driver, cluster, parent) for driver in pool.drivers}


def _generation(pool: NodePool, driver: str, cluster: ClusterComponent, parent: pulumi.Resource) -> pulumi.Output[int]:
    command = local.Command(
        f"{pool.name}-{driver}",
        create='echo "$KWOK_DRA_FIRST_GENERATION"',
        update="echo $((PULUMI_COMMAND_STDOUT + 1))",
        environment={
            "KWOK_DRA_DEVICES": content_digest(pool, driver, cluster.minor),
            "KWOK_DRA_FIRST_GENERATION": str(first_generation(pool, driver)),
        },
        logging=local.Logging.NONE,
        opts=cluster.content(parent),
    )
    return command.stdout.apply(int)
