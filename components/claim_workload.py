"""A workload whose pods claim devices."""

from collections.abc import Sequence

import pulumi

from components.kubernetes_object import KubernetesObject
from components.kwok_cluster import KwokCluster
from topology import objects
from topology.configuration import Workload


class ClaimWorkload(pulumi.ComponentResource):
    """Fake pods with claims.

    It creates
    - one `ResourceClaimTemplate` per claim;
    - the `Deployment`, after them. Pods keep the claims they have when a template changes, so the Deployment is
      replaced together with it. `ClaimStatus` waits for the pods.
    """

    templates: list[KubernetesObject]
    deployment: KubernetesObject

    def __init__(
        self,
        workload: Workload,
        cluster: KwokCluster,
        *,
        depends_on: Sequence[pulumi.Resource] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create `workload` in `cluster`, after `depends_on`: classes and devices to claim."""
        super().__init__("kwok-dra:components:ClaimWorkload", workload.name, None, opts)
        self.templates = [
            KubernetesObject(
                objects.resource_claim_template(workload, claim),
                cluster,
                parent=self,
                depends_on=depends_on,
            )
            for claim in workload.claims
        ]
        self.deployment = KubernetesObject(
            objects.deployment(workload),
            cluster,
            parent=self,
            depends_on=[*depends_on, *self.templates],
            replace_with=self.templates,
        )
        self.register_outputs({"deployment": workload.name})
