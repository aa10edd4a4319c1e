"""A workload whose pods claim devices."""

from collections.abc import Mapping, Sequence

import pulumi
from pulumi_command import local

from components.cluster_base import ClusterComponent
from components.kubernetes_object import KubernetesObject
from components.pod_batches import pod_batches
from components.wait_command import wait_command
from topology.objects import claims, pod_groups, pods
from topology.schema.workloads import Workload
from topology.status.expectations import expectation


class ClaimWorkload(pulumi.ComponentResource):
    """Fake pods with claims.

    It creates
    - one `ResourceClaimTemplate` per claim that is not shared;
    - the `PodGroup`, after the templates, if the workload has one;
    - the `Deployment`, `Job` or `Pod`s, after the group; with `provisioning: bulk` a `command.local.Command` for each
      thousand `Pod`s. Pods and groups keep the claims and the priority that they are created with, so they are
      replaced together with a template or one of the objects `shared`. `ClaimStatus` waits for them;
    - if others come after it, a `command.local.Command` that ends when the workload is as expected. It runs again when
      its input `wait` changes.
    """

    wait_command: local.Command | None
    resources: list[pulumi.CustomResource]
    """Everything that this component creates."""

    def __init__(
        self,
        workload: Workload,
        cluster: ClusterComponent,
        *,
        shared: Sequence[KubernetesObject] = (),
        wait: Mapping[str, object] | None = None,
        depends_on: Sequence[pulumi.Resource] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create `workload` in `cluster`, after `depends_on`: device classes, devices, and earlier workloads.

        `shared` are the claims and the priority class that its pods use and that it does not create.
        """
        super().__init__("kwok-dra:components:ClaimWorkload", workload.name, None, opts)
        templates = [
            KubernetesObject(
                claims.resource_claim_template(workload, claim), cluster, parent=self, depends_on=depends_on
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
                replace_with=[*templates, *shared],
            )
            for manifest in pod_groups.pod_groups(workload, cluster.minor)
        ]
        claims_and_groups = [*templates, *shared, *groups]
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
        self.wait_command = wait_command(expectation(workload), wait, cluster, parent=self, objects=objects)
        self.resources = [*templates, *groups, *objects, *([self.wait_command] if self.wait_command else [])]
        self.register_outputs({"workload": workload.name})
