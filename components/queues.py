"""The queues of a stack, which Kueue runs."""

from collections.abc import Sequence

import pulumi

from components.cluster_base import ClusterComponent
from components.kubernetes_object import KubernetesObject
from topology.objects import kueue
from topology.schema.stack import Topology


class Queues(pulumi.ComponentResource):
    """The queues of Kueue that workloads name.

    It creates, one after the other,
    - a `ResourceFlavor` for each flavor;
    - a `ClusterQueue` for each queue;
    - a `LocalQueue` in each of its namespaces.
    """

    resources: list[pulumi.CustomResource]

    def __init__(
        self,
        topology: Topology,
        cluster: ClusterComponent,
        *,
        depends_on: Sequence[pulumi.Resource] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create the queues of `topology` in `cluster`, after `depends_on`: Kueue, and the namespaces."""
        super().__init__("kwok-dra:components:Queues", "queues", None, opts)
        self.resources = []
        for manifest in kueue.objects(topology):
            after = [*depends_on, *self.resources[-1:]]
            self.resources.append(KubernetesObject(manifest, cluster, parent=self, depends_on=after))
        self.register_outputs({"queues": [queue.name for queue in topology.queues]})
