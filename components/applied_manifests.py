"""Manifests of the user."""

from collections.abc import Mapping, MutableMapping, Sequence

import pulumi
from pulumi_command import local

from components.cluster_base import ClusterComponent
from components.kubernetes_object import KubernetesObject
from components.wait_command import wait_command
from topology.kubernetes.objects import Manifest
from topology.kubernetes.reading import claims_named, is_of_resource_api, namespace_of, pod_spec
from topology.schema.manifests import Manifests
from topology.status.expectations import expectation

ClaimObjects = Mapping[tuple[str, str, str], KubernetesObject]
"""ResourceClaims and ResourceClaimTemplates by kind, namespace and name."""


class AppliedManifests(pulumi.ComponentResource):
    """The objects of the files of an entry of `manifests`.

    It creates
    - one object after the other: namespaces and CRDs, then objects that create no pods, then those that do; within each
      group in the order of the files. A pod keeps the claims that it is created with, so its object is replaced
      together with the templates and claims that the pod names;
    - if others come after it, a `command.local.Command` that ends when the objects are as expected. It runs again when
      its input `wait` changes.
    """

    wait_command: local.Command | None
    resources: list[pulumi.CustomResource]
    """Everything that this component creates."""

    def __init__(
        self,
        manifests: Manifests,
        cluster: ClusterComponent,
        *,
        service_accounts: Sequence[Manifest] = (),
        claims: MutableMapping[tuple[str, str, str], KubernetesObject],
        wait: Mapping[str, object] | None = None,
        depends_on: Sequence[pulumi.Resource] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create the objects of `manifests` in `cluster`, after `depends_on`.

        `service_accounts` are those that bare pods need in namespaces that the manifests create. `claims` maps kind,
        namespace and name to the claims and templates so far; those of the manifests are added to it.
        """
        super().__init__("kwok-dra:components:AppliedManifests", manifests.name, None, opts)
        objects: list[KubernetesObject] = []
        for manifest in manifests.objects(service_accounts):
            previous = objects[-1:]
            created = KubernetesObject(
                manifest,
                cluster,
                as_written=True,
                parent=self,
                depends_on=[*depends_on, *previous],
                replace_with=_claims_of_pods(manifest, claims),
            )
            objects.append(created)
            if is_of_resource_api(manifest, "ResourceClaim", "ResourceClaimTemplate"):
                claims[manifest["kind"], namespace_of(manifest), manifest["metadata"]["name"]] = created
        self.wait_command = wait_command(expectation(manifests), wait, cluster, parent=self, objects=objects)
        self.resources = [*objects, *([self.wait_command] if self.wait_command else [])]
        self.register_outputs({"files": [file.name for file in manifests.files]})


def _claims_of_pods(manifest: Manifest, claims: ClaimObjects) -> list[KubernetesObject]:
    names = [(kind, namespace_of(manifest), name) for kind, name in claims_named(pod_spec(manifest) or {})]
    return [claims[name] for name in dict.fromkeys(names) if name in claims]
