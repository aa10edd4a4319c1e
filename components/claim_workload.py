"""A workload whose pods claim devices."""

from collections.abc import Mapping, Sequence

import pulumi
from pulumi_command import local

from components.cluster_base import ClusterComponent
from components.kubernetes_object import KubernetesObject
from components.pod_batches import pod_batches
from components.wait_command import settled
from topology.objects import claims, pod_groups, pods
from topology.schema.workloads import Workload
from topology.status.report import expectation


class ClaimWorkload(pulumi.ComponentResource):
    """Fake pods with claims.

    It creates
    - one `ResourceClaimTemplate` per claim that is not a shared one;
    - the `PodGroup`, after them, if the pods are to be one;
    - the `Deployment`, `Job` or `Pod`s, after it; with `provisioning: bulk` a `command.local.Command` for each thousand
      `Pod`s. Pods and groups keep the claims they have when a template changes, so
      they are replaced together with it, and with a shared claim. `ClaimStatus` waits for them.
    - where others come after it, a `command.local.Command` that ends when the workload stands as expected. It runs
      again whenever the environment `wait` is another one.
    """

    settled: local.Command | None
    resources: list[pulumi.CustomResource]
    """Everything."""

    def __init__(
        self,
        workload: Workload,
        cluster: ClusterComponent,
        *,
        shared_claims: Sequence[KubernetesObject] = (),
        wait: Mapping[str, str] | None = None,
        depends_on: Sequence[pulumi.Resource] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create `workload` in `cluster`, after `depends_on`: classes, devices, and what it comes after."""
        super().__init__("kwok-dra:components:ClaimWorkload", workload.name, None, opts)
        templates = [
            KubernetesObject(
                claims.resource_claim_template(workload, claim),
                cluster,
                parent=self,
                depends_on=depends_on,
            )
            for claim in workload.claims
            if not claim.claim
        ]
        groups = [
            KubernetesObject(
                manifest,
                cluster,
                parent=self,
                depends_on=[*depends_on, *templates],
                replace_with=[*templates, *shared_claims],
            )
            for manifest in pod_groups.pod_groups(workload, cluster.minor)
        ]
        claims_and_groups = [*templates, *shared_claims, *groups]
        objects: list[pulumi.CustomResource] = []
        if workload.provisioning == "bulk":
            objects += pod_batches(workload, cluster, parent=self, claims=claims_and_groups, depends_on=depends_on)
        else:
            objects += [
                KubernetesObject(
                    manifest,
                    cluster,
                    parent=self,
                    depends_on=[*depends_on, *templates, *groups],
                    replace_with=claims_and_groups,
                )
                for manifest in pods.workload_objects(workload)
            ]
        self.settled = settled(expectation(workload), wait, cluster, parent=self, objects=objects) if wait else None
        awaited = [self.settled] if self.settled else []
        self.resources = [*templates, *groups, *objects, *awaited]
        self.register_outputs({"workload": workload.name})
