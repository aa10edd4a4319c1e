"""What the components of a stack need of its cluster."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version

import pulumi
from pulumi_command import local


class ClusterComponent(pulumi.ComponentResource):
    """A cluster, and a Kubernetes provider for that cluster only."""

    cluster_name: pulumi.Output[str]
    """Name of the cluster."""
    kubeconfig: pulumi.Output[str]
    """The kubeconfig, certificates included; a secret."""
    kubeconfig_path: pulumi.Output[str]
    """The file that holds the kubeconfig; only its owner can read it."""
    kubectl_environment: pulumi.Output[dict[str, str]]
    """The environment variables with which kubectl uses this cluster."""
    minor: int
    """The `37` of Kubernetes 1.37.2."""
    resource_api: str
    """The version in which objects of resource.k8s.io are sent to the cluster."""
    command: local.Command
    """The Command after which the cluster accepts objects."""
    deleted_with: pulumi.Resource | None
    """The resource whose deletion deletes everything in the cluster, if there is one."""
    labels: Mapping[str, str]
    """Labels that every object of the stack gets."""
    provider: pulumi.ProviderResource

    def content(
        self,
        parent: pulumi.Resource,
        depends_on: Sequence[pulumi.Resource] = (),
        *,
        delete_before_replace: bool | None = None,
    ) -> pulumi.ResourceOptions:
        """Return the options of a Command on the contents of the cluster, with which it is replaced and deleted."""
        return pulumi.ResourceOptions(
            parent=parent,
            depends_on=list(depends_on),
            deleted_with=self.deleted_with,
            replacement_trigger=self.command.id,
            delete_before_replace=delete_before_replace,
        )

    def kubectl_with(self, variables: Mapping[str, pulumi.Input[str]]) -> pulumi.Output[dict[str, str]]:
        """Return `kubectl_environment` with further `variables`."""
        return pulumi.Output.all(self.kubectl_environment, variables).apply(lambda parts: parts[0] | parts[1])

    def _create_provider(self, name: str) -> pulumi.ProviderResource:
        """Create a `kubernetes.Provider` without the package pulumi_kubernetes, which is slow to import.

        The provider is not `deleted_with` the cluster: the engine (3.276) would replace it. If the engine is then
        killed, the objects that it has not yet created name a provider that is no longer in the state, and both `up`
        and `destroy` fail: `EnsureProvider` in
        https://github.com/pulumi/pulumi/blob/v3.276.0/pkg/resource/deploy/step_generator.go.
        """
        return pulumi.ProviderResource(
            "kubernetes",
            name,
            {
                "kubeconfig": self.kubeconfig,
                "clusterIdentifier": name,
                # It knows the kinds of an older Kubernetes, and warns of versions that are the newest there are.
                "suppressDeprecationWarnings": "true",
            },
            pulumi.ResourceOptions(parent=self, depends_on=[self.command], version=version("pulumi-kubernetes")),
        )
