"""The devices of a node pool."""

from collections.abc import Mapping, Sequence

import pulumi

from components.cluster_base import ClusterComponent
from components.kubernetes_object import KubernetesObject
from topology.objects.slices import is_owned_by_node, owner_reference, resource_slices
from topology.schema.stack import NodePool


class ResourceSlices(pulumi.ComponentResource):
    """The `ResourceSlice`s of each node, created after it and owned by it, with all of the node's devices.

    They are updated in place, with a generation that goes up by one whenever what the driver publishes on a node
    changes. While that is under way, the scheduler waits: it takes a pool's slices only when all of the newest
    generation are there.
    """

    slices: list[KubernetesObject]

    def __init__(
        self,
        pool: NodePool,
        nodes: Mapping[str, KubernetesObject],
        cluster: ClusterComponent,
        generations: Mapping[str, pulumi.Output[int]],
        *,
        depends_on: Sequence[pulumi.Resource] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create the slices for the `nodes` of `pool`, given by name; `generations` are by driver."""
        super().__init__("kwok-dra:components:ResourceSlices", pool.name, None, opts)
        self.slices = []
        for name, node in nodes.items():
            for manifest in resource_slices(pool, name, cluster.minor):
                driver = manifest["spec"]["driver"]
                manifest["spec"]["pool"]["generation"] = generations[driver]
                owners = [node] if is_owned_by_node(pool, driver) else []
                if owners:
                    manifest["metadata"]["ownerReferences"] = [owner_reference(name, node.uid)]
                self.slices.append(
                    # Kubernetes deletes what a replaced node owned.
                    KubernetesObject(
                        manifest, cluster, parent=self, depends_on=[node, *depends_on], replace_with=owners
                    )
                )
        self.register_outputs({"slices": len(self.slices)})
