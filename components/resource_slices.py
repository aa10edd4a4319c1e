"""The devices of a node pool."""

from collections.abc import Mapping

import pulumi

from components.kubernetes_object import KubernetesObject
from components.kwok_cluster import KwokCluster
from topology import objects
from topology.configuration import NodePool


class ResourceSlices(pulumi.ComponentResource):
    """One `ResourceSlice` per node, created after its node, with all of the node's devices."""

    slices: list[KubernetesObject]

    def __init__(
        self,
        pool: NodePool,
        nodes: Mapping[str, pulumi.Resource],
        cluster: KwokCluster,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create the slices for the `nodes` of `pool`, given by name."""
        super().__init__("kwok-dra:components:ResourceSlices", pool.name, None, opts)
        self.slices = [
            KubernetesObject(objects.resource_slice(pool, name), cluster, parent=self, depends_on=[node])
            for name, node in nodes.items()
        ]
        self.register_outputs({"devices": len(nodes) * pool.gpus_per_node})
