"""The devices of nodes or of a fabric pool."""

from collections.abc import Mapping, Sequence

import pulumi

from components.cluster_base import ClusterComponent
from components.kubernetes_object import KubernetesObject
from topology.objects.slices import is_owned_by_node, owner_reference, resource_slices
from topology.schema.stack import Pool


class ResourceSlices(pulumi.ComponentResource):
    """The devices of the nodes of a node pool, or of a fabric pool.

    It creates the `ResourceSlice`s of each node, after the node, which owns them where the driver's slices name an
    owner; those of a fabric pool have no owner. Slices are updated in place, and their generation increases by one when
    the driver's devices change. During an update the scheduler waits: it uses a pool's slices only when all of the
    newest generation exist.
    """

    slices: list[KubernetesObject]
    """Everything that this component creates."""

    def __init__(
        self,
        pool: Pool,
        cluster: ClusterComponent,
        generations: Mapping[str, pulumi.Output[int]],
        *,
        nodes: Mapping[str, KubernetesObject] | None = None,
        depends_on: Sequence[pulumi.Resource] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create the slices of `pool`; `generations` are by driver, and the `nodes` of a node pool by name."""
        super().__init__("kwok-dra:components:ResourceSlices", pool.name, None, opts)
        self.slices = []
        for name in pool.pool_names():
            node = [nodes[name]] if nodes else []
            for manifest in resource_slices(pool, name, cluster.minor):
                driver = manifest["spec"]["driver"]
                manifest["spec"]["pool"]["generation"] = generations[driver]
                owners = node if is_owned_by_node(pool, driver) else []
                if owners:
                    manifest["metadata"]["ownerReferences"] = [owner_reference(name, owners[0].uid)]
                self.slices.append(
                    # Kubernetes deletes the slices that a replaced node owned.
                    KubernetesObject(
                        manifest, cluster, parent=self, depends_on=[*node, *depends_on], replace_with=owners
                    )
                )
        self.register_outputs({"slices": len(self.slices)})
