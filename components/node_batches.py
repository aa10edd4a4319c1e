"""The nodes of a large pool, with their devices."""

import json
from collections.abc import Mapping, Sequence

import pulumi
from pulumi_command import local

from cluster.fleet.provisioning import batches, node_digest
from components.cluster_base import ClusterComponent
from components.command import command, life_cycle
from topology.schema.stack import NodePool


class NodeBatches(pulumi.ComponentResource):
    """`Node`s and their `ResourceSlice`s, a thousand nodes to a resource of the stack.

    It creates a `command.local.Command` for each batch of nodes, which runs `commands/batch.py`. Its inputs are the
    pool as configured, the numbers of the batch's nodes, and the generation of each driver's pools. An update changes
    only the objects that differ, in place where the API allows it.
    """

    pool: str
    """The pool's name."""
    batches: list[local.Command]
    generations: pulumi.Output[dict[str, int]]
    """The generations of the slices, by driver."""

    def __init__(
        self,
        pool: NodePool,
        cluster: ClusterComponent,
        generations: Mapping[str, pulumi.Output[int]],
        catalogue: Sequence[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create the nodes of `pool` in `cluster`, and slices with the `generations` by driver.

        `catalogue` lists the stack's own files of device models.
        """
        super().__init__("kwok-dra:components:NodeBatches", pool.name, dict(pool.written), opts)
        self.pool = pool.name
        self.generations = pulumi.Output.all(**generations) if generations else pulumi.Output.from_input({})
        written = {key: value for key, value in pool.written.items() if key not in ("nodes", "provisioning")}
        environment: dict[str, pulumi.Input[str]] = {
            "KWOK_DRA_POOL": json.dumps(written),
            "KWOK_DRA_CATALOGUE": json.dumps(list(catalogue)),
            "KWOK_DRA_CONTENT": node_digest(pool),
            "KWOK_DRA_MINOR": str(cluster.minor),
            "KWOK_DRA_RESOURCE_API": cluster.resource_api,
            "KWOK_DRA_GENERATIONS": self.generations.apply(json.dumps),
            "KUBECONFIG": cluster.kubeconfig_path,
        }
        self.batches = [
            command(
                f"{pool.name}-batch-{place}",
                {**environment, "KWOK_DRA_NODES": nodes},
                cluster.content(self, delete_before_replace=True),
                *life_cycle("batch"),
            )
            for place, nodes in enumerate(batches(pool.nodes))
        ]
        self.register_outputs({"batches": len(self.batches)})
