"""A pool of devices that are not devices of one node."""

from collections.abc import Sequence

import pulumi

from components.cluster_base import ClusterComponent
from components.generations import generations, repair
from components.resource_slices import ResourceSlices
from topology.schema import stack


class FabricPool(pulumi.ComponentResource):
    """Devices that several nodes can use.

    It creates
    - a `command.local.Command` for each driver, which keeps the generation of the driver's pool;
    - `ResourceSlices` with the devices;
    - if devices have binding conditions, a `command.local.Command` that deletes the DeviceTaintRules of devices that
      failed to attach when the pool's `attachFails` change.
    """

    resources: list[pulumi.CustomResource]
    """The resources that the pool's devices consist of."""

    def __init__(
        self,
        pool: stack.FabricPool,
        cluster: ClusterComponent,
        *,
        depends_on: Sequence[pulumi.Resource] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create the devices of `pool` in `cluster` after `depends_on`: nodes that can use them."""
        super().__init__("kwok-dra:components:FabricPool", pool.name, None, opts)
        slices = ResourceSlices(
            pool,
            cluster,
            generations(pool, cluster, self),
            depends_on=depends_on,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.resources = [*slices.slices]
        repair(pool, pool.name, cluster, self, self.resources)
        self.register_outputs({"devices": sum(devices.count for devices in pool.devices)})
