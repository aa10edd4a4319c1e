"""The user's own manifests."""

from collections.abc import Mapping, MutableMapping, Sequence

import pulumi
from pulumi_command import local

from components.cluster_base import ClusterComponent
from components.kubernetes_object import KubernetesObject
from components.wait_command import settled
from topology.kubernetes.objects import Manifest
from topology.kubernetes.reading import claims_named, is_of_resource_api, namespace_of, pod_spec
from topology.schema.manifests import Manifests
from topology.status.report import expectation

ClaimObjects = Mapping[tuple[str, str, str], KubernetesObject]
"""ResourceClaims and ResourceClaimTemplates by kind, namespace and name."""


class AppliedManifests(pulumi.ComponentResource):
    """The objects of some files.

    It creates
    - one object after the other: namespaces and CRDs, what makes no pods, what does; each in the order of the files.
      Pods keep the claims they have when a template changes, so what makes them is replaced together with the templates
      and claims that they name;
    - where others come after it, a `command.local.Command` that ends when all stands as expected. It runs again
      whenever the environment `wait` is another one.
    """

    settled: local.Command | None
    resources: list[pulumi.CustomResource]
    """Everything."""

    def __init__(
        self,
        manifests: Manifests,
        cluster: ClusterComponent,
        *,
        service_accounts: Sequence[Manifest] = (),
        claims: MutableMapping[tuple[str, str, str], KubernetesObject],
        wait: Mapping[str, str] | None = None,
        depends_on: Sequence[pulumi.Resource] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create the objects of `manifests` in `cluster`, after `depends_on`.

        `service_accounts` are those that bare pods need in namespaces that are made here. `claims` are those that there
        are already, by kind, namespace and name; what is created here is added to them.
        """
        super().__init__("kwok-dra:components:AppliedManifests", manifests.name, None, opts)
        objects: list[KubernetesObject] = []
        for manifest in manifests.objects(service_accounts):
            previous = objects[-1:]
            made = KubernetesObject(
                manifest,
                cluster,
                as_written=True,
                parent=self,
                depends_on=[*depends_on, *previous],
                replace_with=_claims_of_pods(manifest, claims),
            )
            objects.append(made)
            if is_of_resource_api(manifest, "ResourceClaim", "ResourceClaimTemplate"):
                claims[manifest["kind"], namespace_of(manifest), manifest["metadata"]["name"]] = made
        self.settled = settled(expectation(manifests), wait, cluster, parent=self, objects=objects) if wait else None
        self.resources = [*objects, *([self.settled] if self.settled else [])]
        self.register_outputs({"files": [file.name for file in manifests.files]})


def _claims_of_pods(manifest: Manifest, claims: ClaimObjects) -> list[KubernetesObject]:
    names = [(kind, namespace_of(manifest), name) for kind, name in claims_named(pod_spec(manifest) or {})]
    return [claims[name] for name in dict.fromkeys(names) if name in claims]
