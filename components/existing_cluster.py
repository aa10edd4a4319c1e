"""An existing cluster."""

import json
import shutil
from pathlib import Path

import pulumi
import yaml
from pulumi_command import local

from cluster.local import paths
from components.cluster_base import ClusterComponent
from components.command import command, life_cycle
from topology.objects.isolation import FLEET
from topology.schema.stack import Cluster, Reached

UID_DIGITS = 8


class ExistingCluster(ClusterComponent):
    """A cluster that somebody else runs, with KWOK in it, and a Kubernetes provider for that cluster only.

    It creates
    - `command.local.Command`, which runs `commands/existing_cluster.py`: it checks that KWOK simulates nodes there,
      that no other stack has a fleet of that name, and that the cluster is still the one that holds the stack's
      objects. It neither creates nor deletes the cluster;
    - `kubernetes.Provider` for that cluster.

    The stack's objects carry the label `kwok-dra/fleet`. As the cluster stays, each of them is deleted by itself.

    Raises:
        pulumi.RunError: kubectl is missing.
    """

    def __init__(self, cluster: Cluster, reached: Reached, opts: pulumi.ResourceOptions | None = None) -> None:
        """Use the cluster that `reached` describes for `cluster`."""
        if not shutil.which("kubectl"):
            raise pulumi.RunError("kubectl not found on PATH. Run `make tools` and then `source toolchain/activate`")
        super().__init__("kwok-dra:components:ExistingCluster", cluster.name, None, opts)
        path = write(cluster.name, reached)
        self.minor = cluster.minor
        self.resource_api = cluster.served_resource_api
        self.deleted_with = None
        self.labels = {FLEET: cluster.name}
        self.command = self._create_command(cluster, reached, path)
        joined = self.command.stdout
        self.cluster_name = pulumi.Output.from_input(reached.context)
        self.kubeconfig = pulumi.Output.secret(yaml.safe_dump(reached.content, sort_keys=False))
        self.kubeconfig_path = joined.apply(lambda _: str(path))
        self.kubectl_environment = joined.apply(lambda _: paths.kubectl_environment(paths.workdir(), path))
        self.provider = self._create_provider(cluster.name)
        self.register_outputs({"clusterName": self.cluster_name, "kubeconfigPath": self.kubeconfig_path})

    def _create_command(self, cluster: Cluster, reached: Reached, path: Path) -> local.Command:
        return command(
            cluster.name,
            {
                "KWOK_DRA_FLEET": cluster.name,
                "KWOK_DRA_CONTEXT": reached.context,
                "KWOK_DRA_SERVER": str(reached.content["clusters"][0]["cluster"]["server"]),
                "KWOK_DRA_UID": reached.uid,
                "KWOK_DRA_READY_TIMEOUT": str(cluster.ready_timeout_seconds),
                "KUBECONFIG": str(path),
            },
            pulumi.ResourceOptions(parent=self),
            *life_cycle("existing_cluster"),
        )


def kubeconfigs(fleet: str) -> list[Path]:
    """Return the kubeconfig files of the clusters that hold, or were about to hold, the stack's fleet."""
    return list(_folder().glob(f"{fleet}-{'[0-9a-f]' * UID_DIGITS}.yaml"))


def _folder() -> Path:
    return paths.workdir() / "existing"


def write(fleet: str, reached: Reached) -> Path:
    """Write the context's part of the user's kubeconfig to a file that only its owner can read."""
    path = _folder() / f"{fleet}-{reached.uid[:UID_DIGITS]}.yaml"  # one file per cluster
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(json.dumps(reached.content))
    new.replace(path)
    return path
