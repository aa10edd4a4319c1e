"""The nodes of a large pool, with their devices."""

import json
from collections.abc import Mapping, Sequence

import pulumi
from pulumi_command import local

from cluster.fleet.provisioning import batches, node_digest
from components.cluster_base import ClusterComponent
from components.command import program
from topology.schema.stack import NodePool

APPLY = program("batch")


class NodeBatches(pulumi.ComponentResource):
    """`Node`s and their `ResourceSlice`s, a thousand nodes to a resource of the stack.

    It creates a `command.local.Command` for each batch of nodes, which runs `commands/batch.py`. Its inputs are
    the pool as the configuration has it, which nodes of it they are, and the generation of each driver's pools. It
    changes in place what the API lets change, and only those objects that differ.
    """

    pool: str
    """The pool's name."""
    batches: list[local.Command]
    generations: pulumi.Output[dict[str, int]]
    """By driver, those that the slices have."""

    def __init__(
        self,
        pool: NodePool,
        cluster: ClusterComponent,
        generations: Mapping[str, pulumi.Output[int]],
        catalogue: Sequence[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create the nodes of `pool` in `cluster`, with slices of these generations by driver.

        The files of `catalogue` may be what its models are from.
        """
        super().__init__("kwok-dra:components:NodeBatches", pool.name, dict(pool.written), opts)
        self.pool = pool.name
        self.generations = pulumi.Output.all(**generations)
        self.batches = [
            self._create_batch(pool, cluster, catalogue, place, nodes)
            for place, nodes in enumerate(batches(pool.nodes))
        ]
        self.register_outputs({"batches": len(self.batches)})

    def _create_batch(
        self, pool: NodePool, cluster: ClusterComponent, catalogue: Sequence[str], place: int, nodes: str
    ) -> local.Command:
        written = {key: value for key, value in pool.written.items() if key not in ("nodes", "provisioning")}
        environment = {
            "KWOK_DRA_POOL": json.dumps(written),
            "KWOK_DRA_NODES": nodes,
            "KWOK_DRA_CATALOGUE": json.dumps(list(catalogue)),
            "KWOK_DRA_CONTENT": node_digest(pool),
            "KWOK_DRA_MINOR": str(cluster.minor),
            "KWOK_DRA_RESOURCE_API": cluster.resource_api,
        }
        return local.Command(
            f"{pool.name}-batch-{place}",
            create=f"{APPLY} create",
            update=f"{APPLY} update",
            delete=f"{APPLY} delete",
            environment={
                **environment,
                "KWOK_DRA_GENERATIONS": self.generations.apply(json.dumps),
                "KUBECONFIG": cluster.kubeconfig_path,
            },
            logging=local.Logging.STDERR,  # which says how far it is
            opts=cluster.content(self, delete_before_replace=True),
        )
