"""What goes before anything is waited for."""

import json

import pulumi
from pulumi_command import local

from components.cluster_base import ClusterComponent
from components.command import program
from topology.objects.removable import folded, node_reference, removable
from topology.schema.stack import Topology

REMEMBER = 'printf %s "$KWOK_DRA_OBJECTS"'
"""Prints what there is now, for the next time."""


class Removals(pulumi.ComponentResource):
    """Deletes the nodes, workloads and taints that a stack has no more.

    It creates a `command.local.Command`, which knows from its output what there was before. Pulumi itself deletes last:
    after `ClaimStatus` has waited for claims that may need just what the old ones hold, and so maybe never.
    """

    resources: list[pulumi.CustomResource]
    """The command."""

    def __init__(
        self,
        topology: Topology,
        cluster: ClusterComponent,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Delete from `cluster` what `topology` had and has no more."""
        super().__init__("kwok-dra:components:Removals", "removals", None, opts)
        remove = program("removals")
        lost = [node_reference(name) for pool in topology.node_pools for name in pool.gone_nodes()]
        environment = {
            "KWOK_DRA_OBJECTS": json.dumps(folded(removable(topology)), separators=(",", ":")),
            "KWOK_DRA_LOST": json.dumps(folded(lost), separators=(",", ":")),
        }
        command = local.Command(
            "removals",
            create=REMEMBER,
            update=remove,
            environment=cluster.kubectl_environment.apply(lambda kubectl: kubectl | environment),
            logging=local.Logging.STDERR,
            opts=cluster.content(self),
        )
        self.resources = [command]
        self.register_outputs({"objects": len(removable(topology))})
