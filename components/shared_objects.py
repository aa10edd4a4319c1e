"""What the workloads of a stack have in common: namespaces and what is in them, shared claims, taints of devices."""

from collections.abc import Sequence

import pulumi
from pulumi_command import local

from components.cluster_base import ClusterComponent
from components.kubernetes_object import KubernetesObject
from topology.kubernetes.objects import Key
from topology.objects import claims, device_taints, namespaces, pod_groups
from topology.schema.stack import Topology

# The API server takes policies up after a while, and has nothing that tells when. What is tried does not stay.
TRY = (
    f"kubectl run try --image fake-image --labels {pod_groups.POD_GROUP_LABEL}=try --dry-run=server "
    "--output jsonpath={.spec.schedulingGroup.podGroupName}"
)
AWAIT_ADMISSION = f"""exec timeout 60 sh -c 'until [ "$({TRY})" ]; do sleep 0.1; done'"""


class SharedObjects(pulumi.ComponentResource):
    """What there is before the workloads.

    It creates one `Namespace` for each that a workload or claim names, the `ServiceAccount` of those with bare pods,
    then the `ResourceClaim`s that are shared; the `DeviceTaintRule`s; and where pods are to be in groups, the
    `MutatingAdmissionPolicy` that puts them there, with a `command.local.Command` that ends once it does.
    """

    claims: dict[Key, KubernetesObject]
    """By namespace and name."""
    resources: list[pulumi.CustomResource]
    """Everything."""

    def __init__(
        self,
        topology: Topology,
        cluster: ClusterComponent,
        *,
        depends_on: Sequence[pulumi.Resource] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create the objects of `topology` in `cluster`, after `depends_on`: classes and devices to claim."""
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
        self.resources = [*spaces, *accounts, *self.claims.values(), *rules]
        if any(workload.pod_group for workload in topology.workloads):
            self.resources.append(self._create_admission_policy(cluster))
        self.register_outputs({"claims": [claim.name for claim in topology.claims]})

    def _create_admission_policy(self, cluster: ClusterComponent) -> local.Command:
        policy = [KubernetesObject(manifest, cluster, parent=self) for manifest in pod_groups.admission_policy()]
        return local.Command(
            "pod-groups",
            create=AWAIT_ADMISSION,
            environment=cluster.kubectl_environment,
            opts=cluster.content(self, policy),
        )
