"""A pool of fake GPU nodes."""

import pulumi

from components.kubernetes_object import KubernetesObject
from components.kwok_cluster import KwokCluster
from components.resource_slices import ResourceSlices
from topology import objects
from topology.configuration import NodePool


class GpuNodePool(pulumi.ComponentResource):
    """Fake nodes with GPUs.

    It creates
    - one `Node` per node of the pool, which KWOK keeps Ready;
    - `ResourceSlices` with the devices of those nodes.
    """

    nodes: list[KubernetesObject]
    slices: ResourceSlices

    def __init__(
        self,
        pool: NodePool,
        cluster: KwokCluster,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create the nodes of `pool` in `cluster`."""
        super().__init__("kwok-dra:components:GpuNodePool", pool.name, None, opts)
        names = pool.node_names()
        self.nodes = [KubernetesObject(objects.node(pool, name), cluster, parent=self) for name in names]
        self.slices = ResourceSlices(
            pool,
            dict(zip(names, self.nodes, strict=True)),
            cluster,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"nodes": names})
