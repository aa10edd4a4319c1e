"""The objects that the workloads of a stack share: namespaces, service accounts, priorities, claims, taint rules."""

from collections.abc import Sequence

import pulumi
from pulumi_command import local

from components.cluster_base import ClusterComponent
from components.command import command
from components.kubernetes_object import KubernetesObject
from topology.kubernetes.objects import Key
from topology.objects import claims, device_taints, namespaces, pod_groups, priorities
from topology.schema.stack import Topology

# The API server starts to apply a policy after a while and does not report when. A dry run creates nothing.
TRY = (
    f"kubectl run try --image fake-image --labels {pod_groups.POD_GROUP_LABEL}=try --dry-run=server "
    "--output jsonpath={.spec.schedulingGroup.podGroupName}"
)
AWAIT_ADMISSION = f"""exec timeout 60 sh -c 'until [ "$({TRY})" ]; do sleep 0.1; done'"""


class SharedObjects(pulumi.ComponentResource):
    """The objects that exist before the workloads.

    It creates
    - one `Namespace` for each that a workload or claim names;
    - the `ServiceAccount` of each namespace with bare pods;
    - the `PriorityClass`es;
    - the `ResourceClaim`s that workloads share;
    - the `DeviceTaintRule`s;
    - for workloads with a pod group, the `MutatingAdmissionPolicy` that puts pods into their groups, its binding, and a
      `command.local.Command` that ends when the API server applies the policy.
    """

    claims: dict[Key, KubernetesObject]
    """The shared claims, by namespace and name."""
    priorities: dict[str, KubernetesObject]
    """The priority classes, by name."""
    resources: list[pulumi.CustomResource]
    """Everything that this component creates, apart from the policy and its binding."""

    def __init__(
        self,
        topology: Topology,
        cluster: ClusterComponent,
        *,
        depends_on: Sequence[pulumi.Resource] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create the objects of `topology` in `cluster`, after `depends_on`: device classes and devices."""
        super().__init__("kwok-dra:components:SharedObjects", "shared-objects", None, opts)
        spaces = [
            KubernetesObject(manifest, cluster, parent=self, depends_on=depends_on)
            for manifest in namespaces.namespaces(topology)
        ]
        accounts = [
            KubernetesObject(manifest, cluster, parent=self, depends_on=[*depends_on, *spaces])
            for manifest in namespaces.service_accounts(topology)
        ]
        self.claims = {
            (claim.namespace, claim.name): KubernetesObject(
                claims.resource_claim(claim), cluster, parent=self, depends_on=[*depends_on, *spaces]
            )
            for claim in topology.claims
        }
        rules = [
            KubernetesObject(manifest, cluster, parent=self, depends_on=depends_on)
            for manifest in device_taints.device_taint_rules(topology)
        ]
        self.priorities = {
            manifest["metadata"]["name"]: KubernetesObject(manifest, cluster, parent=self, depends_on=depends_on)
            for manifest in priorities.priority_classes(topology)
        }
        self.resources = [*spaces, *accounts, *self.claims.values(), *rules, *self.priorities.values()]
        if any(workload.pod_group for workload in topology.workloads):
            self.resources.append(self._create_admission_policy(cluster))
        self.register_outputs({"claims": [claim.name for claim in topology.claims]})

    def _create_admission_policy(self, cluster: ClusterComponent) -> local.Command:
        policy = [KubernetesObject(manifest, cluster, parent=self) for manifest in pod_groups.admission_policy()]
        return command(
            "pod-groups",
            cluster.kubectl_environment,
            cluster.content(self, policy),
            create=AWAIT_ADMISSION,
            logging=None,
        )
