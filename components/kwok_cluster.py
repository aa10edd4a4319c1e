"""The simulated cluster, made with kwokctl."""

import json
import os
from pathlib import Path

import pulumi
from pulumi_command import local

from cluster.local import kwok_cluster, paths, programs
from components.cluster_base import ClusterComponent
from components.command import command, life_cycle
from topology.objects.kwokctl_config import kwokctl_configuration, left_out
from topology.objects.tuning import STOCK
from topology.schema.stack import Cluster


class KwokCluster(ClusterComponent):
    """A KWOK cluster with a real kube-apiserver, kube-scheduler and kube-controller-manager, and a provider for it.

    It creates
    - `command.local.Command`, which runs `commands/kwok_cluster.py`: create, repair and delete with kwokctl. A changed
      name, KwokctlConfiguration, tuning or Stage replaces the cluster, because kwokctl keeps what exists; so does the
      loss of the cluster. If only its processes have exited, an update starts them again;
    - `kubernetes.Provider` for that cluster and no other.

    A replaced cluster is empty, so its objects are replaced with it (`KubernetesObject`). The provider's identifier is
    the cluster's name nevertheless: with the command's id the engine would plan to replace the provider, close it while
    it computes what else to replace, and then fail to delete the old objects with it.

    Raises:
        pulumi.RunError: a program is missing, or the Kubernetes version is not built.
    """

    def __init__(self, cluster: Cluster, stages: str, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the cluster that `cluster` describes; its KWOK plays the `stages` (YAML) in addition to its own."""
        _check_programs(cluster)
        super().__init__("kwok-dra:components:KwokCluster", cluster.name, None, opts)
        if removed := ", ".join(left_out(cluster)):
            message = f"Kubernetes {cluster.kube_version} no longer has {removed}; the cluster is created without"
            pulumi.info(f"kwok-dra:cluster: {message}", self)
        self.minor = cluster.minor
        self.resource_api = cluster.served_resource_api
        owner = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
        self.command = self._create_command(cluster, owner, stages)
        self.deleted_with = self.command
        self.labels = {}
        made = self.command.stdout.apply(lambda printed: _confirmed(cluster.name, owner, json.loads(printed)))
        self.cluster_name = pulumi.Output.from_input(cluster.name)
        self.kubeconfig = pulumi.Output.secret(made["kubeconfig"])
        self.kubeconfig_path = pulumi.Output.unsecret(made["kubeconfigPath"])
        self.kubectl_environment = pulumi.Output.unsecret(
            made.apply(lambda found: paths.kubectl_environment(Path(found["workdir"]), Path(found["kubeconfigPath"])))
        )
        self.provider = self._create_provider(cluster.name)
        self.register_outputs(
            {
                "clusterName": self.cluster_name,
                "kubeconfig": self.kubeconfig,
                "kubeconfigPath": self.kubeconfig_path,
            }
        )

    def _create_command(self, cluster: Cluster, owner: str, stages: str) -> local.Command:
        condition = kwok_cluster.condition(cluster.name, owner)
        return command(
            cluster.name,
            {
                "KWOK_DRA_CLUSTER": cluster.name,
                "KWOK_DRA_OWNER": owner,
                "KWOK_DRA_ID": condition.id,
                "KWOK_DRA_REPAIRS": str(condition.repairs),
                "KWOK_DRA_KWOKCTL_CONFIG": kwokctl_configuration(cluster),
                "KWOK_DRA_STAGES": stages,
                "KWOK_DRA_KUBE_VERSION": cluster.kube_version,
                "KWOK_DRA_APISERVER_PORT": str(cluster.kube_apiserver_port or ""),
                "KWOK_DRA_READY_TIMEOUT": str(cluster.ready_timeout_seconds),
                # Clusters of earlier releases have no such variable, and must not be replaced for the default.
                **({"KWOK_DRA_TUNING": STOCK} if cluster.tuning == STOCK else {}),
            },
            pulumi.ResourceOptions(
                parent=self,
                additional_secret_outputs=["stdout"],
                replace_on_changes=[
                    "environment.KWOK_DRA_CLUSTER",
                    "environment.KWOK_DRA_ID",
                    "environment.KWOK_DRA_KWOKCTL_CONFIG",
                    "environment.KWOK_DRA_STAGES",
                    "environment.KWOK_DRA_TUNING",
                ],
                delete_before_replace=True,
            ),
            *life_cycle("kwok_cluster"),
            logging=local.Logging.STDERR,  # stdout holds the kubeconfig
        )


def _confirmed(cluster: str, owner: str, made: dict[str, str]) -> dict[str, str]:
    """Return what the Command printed, and record that it is in Pulumi's state: the engine saves outputs first."""
    kwok_cluster.confirm(cluster, owner, made.get("id", ""))
    return made


def _check_programs(cluster: Cluster) -> None:
    if missing := programs.missing():
        raise pulumi.RunError(missing)
    tools = os.environ.get("KWOK_DRA_TOOLS")
    if tools and cluster.runtime == "binary":
        built = programs.built_kubernetes_versions(Path(tools))
        if cluster.kube_version not in built:
            raise pulumi.RunError(
                f"kwok-dra:cluster.kubeVersion: Kubernetes {cluster.kube_version} is not built; the toolchain holds "
                f"{', '.join(built) or 'none'}. Use one of these, or build more with `make tools` and `make tools-1.36`"
            )
