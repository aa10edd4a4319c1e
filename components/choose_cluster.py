"""The cluster that a stack's objects go to."""

from pathlib import Path

import pulumi

from cluster.local import paths
from components.cluster_base import ClusterComponent
from components.existing_cluster import ExistingCluster, kubeconfigs
from components.kwok_cluster import KwokCluster
from topology.objects.kwok_stages import stages_for
from topology.schema.stack import Reached, Topology

OTHER_CLUSTER = (
    "kwok-dra:cluster.existing: this stack's objects are still in {where}, whose kubeconfig is {file}. Set the key "
    "back, run `pulumi destroy`, which deletes them there, and then change the key; nothing was changed"
)


def cluster_for(topology: Topology) -> ClusterComponent:
    """Create the cluster of `topology`, or use the existing one that it names.

    Raises:
        pulumi.RunError: the stack's objects are in a cluster of the other kind.
    """
    cluster, existing = topology.cluster, topology.cluster.existing
    if isinstance(existing, Reached):
        _refuse("the stack's own cluster", paths.kubeconfig(paths.workdir(), cluster.name))
        return ExistingCluster(cluster, existing)
    _refuse("an existing cluster", *kubeconfigs(cluster.name))
    return KwokCluster(cluster, stages_for(topology))


def _refuse(where: str, *files: Path) -> None:
    for file in files:
        if file.exists():
            raise pulumi.RunError(OTHER_CLUSTER.format(where=where, file=file))
