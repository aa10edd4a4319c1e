"""What the workloads of a stack have in common: namespaces and what is in them, shared claims, taints of devices."""

from collections.abc import Sequence

import pulumi

from components.kubernetes_object import KubernetesObject
from components.kwok_cluster import KwokCluster
from topology import claims, namespaces, taints
from topology.configuration import Topology
from topology.progress import Key


class SharedObjects(pulumi.ComponentResource):
    """What there is before the workloads.

    It creates one `Namespace` for each that a workload or claim names, the `ServiceAccount` of those with bare pods,
    then the `ResourceClaim`s that are shared; and the `DeviceTaintRule`s.
    """

    namespaces: list[KubernetesObject]
    service_accounts: list[KubernetesObject]
    claims: dict[Key, KubernetesObject]
    device_taint_rules: list[KubernetesObject]

    def __init__(
        self,
        topology: Topology,
        cluster: KwokCluster,
        *,
        depends_on: Sequence[pulumi.Resource] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create the objects of `topology` in `cluster`, after `depends_on`: classes and devices to claim."""
        super().__init__("kwok-dra:components:SharedObjects", "shared-objects", None, opts)
        self.namespaces = [
            KubernetesObject(manifest, cluster, parent=self, depends_on=depends_on)
            for manifest in namespaces.namespaces(topology)
        ]
        self.service_accounts = [
            KubernetesObject(manifest, cluster, parent=self, depends_on=[*depends_on, *self.namespaces])
            for manifest in namespaces.service_accounts(topology)
        ]
        self.claims = {
            (claim.namespace, claim.name): KubernetesObject(
                claims.resource_claim(claim), cluster, parent=self, depends_on=[*depends_on, *self.namespaces]
            )
            for claim in topology.claims
        }
        self.device_taint_rules = [
            KubernetesObject(manifest, cluster, parent=self, depends_on=depends_on)
            for manifest in taints.device_taint_rules(topology)
        ]
        self.register_outputs({"claims": [claim.name for claim in topology.claims]})
