"""The generations of the pools that a driver publishes."""

import pulumi
from pulumi_command import local

from components.cluster_base import ClusterComponent
from components.command import command
from topology.objects.slices import content_digest, first_generation
from topology.schema.stack import NodePool


def generations(pool: NodePool, cluster: ClusterComponent, parent: pulumi.Resource) -> dict[str, pulumi.Output[int]]:
    """Create a `command.local.Command` for each driver of `pool`, and return the generations by driver.

    The Command increments the generation whenever the driver's devices change. All slices of a driver on a node have
    the newest generation; otherwise the scheduler waits for the rest.
    """
    return {driver: _generation(pool, driver, cluster, parent) for driver in pool.drivers}


def _generation(pool: NodePool, driver: str, cluster: ClusterComponent, parent: pulumi.Resource) -> pulumi.Output[int]:
    environment = {
        "KWOK_DRA_DEVICES": content_digest(pool, driver, cluster.minor),
        "KWOK_DRA_FIRST_GENERATION": str(first_generation(pool, driver)),
    }
    return command(
        f"{pool.name}-{driver}",
        environment,
        cluster.content(parent),
        create='echo "$KWOK_DRA_FIRST_GENERATION"',
        update="echo $((PULUMI_COMMAND_STDOUT + 1))",
        logging=local.Logging.NONE,
    ).stdout.apply(int)
