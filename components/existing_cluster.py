"""A cluster that is there already."""

import json
import shutil
from pathlib import Path

import pulumi
import yaml
from pulumi_command import local

from cluster.local import paths
from components.cluster_base import ClusterComponent
from components.command import program
from topology.objects.isolation import FLEET
from topology.schema.stack import Cluster, Reached

UID_DIGITS = 8


class ExistingCluster(ClusterComponent):
    """A cluster that somebody else runs, with KWOK in it, and a provider for it and no other.

    It creates
    - `command.local.Command`, which runs `commands/existing_cluster.py`: it makes sure that KWOK plays nodes there, and
      that no other stack has a fleet of that name. It creates and deletes nothing of the cluster itself, and refuses a
      cluster other than that in which the stack's objects are;
    - `kubernetes.Provider` for that cluster.

    Nothing takes the stack's objects away with it, so each of them is deleted by itself. They carry the label
    `kwok-dra/fleet`.

    Raises:
        pulumi.RunError: kubectl is missing.
    """

    def __init__(self, cluster: Cluster, reached: Reached, opts: pulumi.ResourceOptions | None = None) -> None:
        """Use the cluster that `reached` has found for `cluster`."""
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
        join = program("existing_cluster")
        return local.Command(
            cluster.name,
            create=f"{join} create",
            update=f"{join} update",
            delete=f"{join} delete",
            environment={
                "KWOK_DRA_FLEET": cluster.name,
                "KWOK_DRA_CONTEXT": reached.context,
                "KWOK_DRA_SERVER": str(reached.content["clusters"][0]["cluster"]["server"]),
                "KWOK_DRA_UID": reached.uid,
                "KWOK_DRA_READY_TIMEOUT": str(cluster.ready_timeout_seconds),
                "KUBECONFIG": str(path),
            },
            logging=local.Logging.STDERR,
            opts=pulumi.ResourceOptions(parent=self),
        )


def kubeconfigs(fleet: str) -> list[Path]:
    """Return the kubeconfigs of the clusters in which the stack has, or was about to have, its fleet."""
    return list(_folder().glob(f"{fleet}-{'[0-9a-f]' * UID_DIGITS}.yaml"))


def _folder() -> Path:
    return paths.workdir() / "existing"


def write(fleet: str, reached: Reached) -> Path:
    """Write the kubeconfig of the context, and nothing else of the user's; only we can read it."""
    path = _folder() / f"{fleet}-{reached.uid[:UID_DIGITS]}.yaml"  # another cluster has another one
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(json.dumps(reached.content))
    new.replace(path)
    return path
