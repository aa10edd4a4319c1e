"""The deletions that must come before anything is waited for."""

import pulumi

from components.cluster_base import ClusterComponent
from components.command import command, program
from topology.objects.removable import folded, node_reference, removable
from topology.schema.stack import Topology


class Removals(pulumi.ComponentResource):
    """Deletes nodes, workloads, manifests and device taints that are no longer part of a stack.

    It creates a `command.local.Command`, whose output lists the objects for the next update. Pulumi itself deletes
    last: after `ClaimStatus` has waited for claims that may need exactly the devices that the old objects hold.
    """

    resources: list[pulumi.CustomResource]
    """The Command."""

    def __init__(
        self, topology: Topology, cluster: ClusterComponent, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """Delete from `cluster` the objects that were part of `topology` and no longer are."""
        super().__init__("kwok-dra:components:Removals", "removals", None, opts)
        objects = removable(topology)
        lost = [node_reference(name) for pool in topology.node_pools for name in pool.gone_nodes()]
        self.resources = [
            command(
                "removals",
                cluster.kubectl_environment,
                cluster.content(self),
                create=program("removals"),
                update=program("removals"),
                stdin={"KWOK_DRA_OBJECTS": folded(objects), "KWOK_DRA_LOST": folded(lost)},
            )
        ]
        self.register_outputs({"objects": len(objects)})
