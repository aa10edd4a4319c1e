"""The generations of the pools that a driver publishes, and the repair of their devices that failed to attach."""

from collections.abc import Sequence

import pulumi
from pulumi_command import local

from components.cluster_base import ClusterComponent
from components.command import command
from topology.objects.kwok_stages import failed_to_attach
from topology.objects.slices import content_digest, first_generation
from topology.schema.stack import Pool

REPAIR = 'kubectl delete devicetaintrules --selector "$KWOK_DRA_SELECTOR" --ignore-not-found'


def generations(pool: Pool, cluster: ClusterComponent, parent: pulumi.Resource) -> dict[str, pulumi.Output[int]]:
    """Create a `command.local.Command` for each driver of `pool`, and return the generations by driver.

    The Command increments the generation whenever the driver's devices change. All slices of a driver on a node have
    the newest generation; otherwise the scheduler waits for the rest.
    """
    return {driver: _generation(pool, driver, cluster, parent) for driver in pool.drivers}


def _generation(pool: Pool, driver: str, cluster: ClusterComponent, parent: pulumi.Resource) -> pulumi.Output[int]:
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


def repair(
    pool: Pool,
    pool_name: str,
    cluster: ClusterComponent,
    parent: pulumi.Resource,
    depends_on: Sequence[pulumi.Resource],
) -> None:
    """Create a `command.local.Command` if devices of `pool` have binding conditions.

    When the pool's `attachFails` change, it deletes the DeviceTaintRules of devices that failed to attach; `pool_name`
    is one of the pool's `pool_names`.
    """
    if not any(devices.model.binding_conditions for devices in pool.all_devices()):
        return
    command(
        f"{pool.name}-attached",
        cluster.kubectl_with({"KWOK_DRA_SELECTOR": failed_to_attach(pool_name)}),
        cluster.content(parent, depends_on),
        create="true",
        update=REPAIR,
        stdin={"KWOK_DRA_FAULTS": [fault.model_dump() for fault in pool.faults if fault.attach_fails]},
        needs_output=False,
    )
