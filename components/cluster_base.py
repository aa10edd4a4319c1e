"""What all clusters have in common for what is in them."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version

import pulumi
from pulumi_command import local


class ClusterComponent(pulumi.ComponentResource):
    """A cluster, and a provider for it and no other."""

    cluster_name: pulumi.Output[str]
    """Name of the cluster."""
    kubeconfig: pulumi.Output[str]
    """The kubeconfig, certificates included; a secret."""
    kubeconfig_path: pulumi.Output[str]
    """File that holds the kubeconfig, readable by its owner only."""
    kubectl_environment: pulumi.Output[dict[str, str]]
    """Environment in which kubectl works on this cluster."""
    minor: int
    """The `37` of Kubernetes 1.37.2."""
    resource_api: str
    """The version in which the cluster gets its objects of resource.k8s.io."""
    command: local.Command
    """After which the cluster is there for objects."""
    deleted_with: pulumi.Resource | None
    """With which all that is in the cluster is gone, where there is such a thing."""
    labels: Mapping[str, str]
    """Labels of all objects of the stack."""
    provider: pulumi.ProviderResource

    def content(
        self,
        parent: pulumi.Resource,
        depends_on: Sequence[pulumi.Resource] = (),
        *,
        delete_before_replace: bool | None = None,
    ) -> pulumi.ResourceOptions:
        """Return the options of a command on what is in the cluster, with which it goes and comes."""
        return pulumi.ResourceOptions(
            parent=parent,
            depends_on=list(depends_on),
            deleted_with=self.deleted_with,
            replacement_trigger=self.command.id,
            delete_before_replace=delete_before_replace,
        )

    def _create_provider(self, name: str) -> pulumi.ProviderResource:
        """Create what `pulumi_kubernetes.Provider` is, without its package, whose import takes longer than all else.

        It is not `deleted_with` the cluster: the engine (3.276) would replace it, and objects that are still to be made
        when it is killed would name a provider that is not in the state any more, which neither `up` nor `destroy`
        gets over: `EnsureProvider` in
        https://github.com/pulumi/pulumi/blob/v3.276.0/pkg/resource/deploy/step_generator.go.
        """
        return pulumi.ProviderResource(
            "kubernetes",
            name,
            {
                "kubeconfig": self.kubeconfig,
                "clusterIdentifier": name,
                # It knows the kinds of an older Kubernetes, and warns of versions that there are no newer ones of.
                "suppressDeprecationWarnings": "true",
            },
            pulumi.ResourceOptions(
                parent=self,
                depends_on=[self.command],
                version=version("pulumi-kubernetes"),
            ),
        )
