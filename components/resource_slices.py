"""The ResourceSlices of a node pool."""

from collections.abc import Mapping, Sequence

import pulumi

from components.cluster_base import ClusterComponent
from components.kubernetes_object import KubernetesObject
from topology.objects.slices import is_owned_by_node, owner_reference, resource_slices
from topology.schema.stack import NodePool


class ResourceSlices(pulumi.ComponentResource):
    """The devices of the nodes of a pool.

    It creates the `ResourceSlice`s of each node, after the node, which owns them where the driver's slices name an
    owner. Slices are updated in place, and their generation increases by one when the driver's devices change. During
    an update the scheduler waits: it uses a pool's slices only when all of the newest generation exist.
    """

    slices: list[KubernetesObject]
    """Everything that this component creates."""

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
        """Create the slices of the `nodes` of `pool`, given by name; `generations` are by driver."""
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
                    # Kubernetes deletes the slices that a replaced node owned.
                    KubernetesObject(
                        manifest, cluster, parent=self, depends_on=[node, *depends_on], replace_with=owners
                    )
                )
        self.register_outputs({"slices": len(self.slices)})
