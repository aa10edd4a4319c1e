"""Which cluster a stack's objects go to."""

from components.cluster import ClusterComponent
from components.existing_cluster import ExistingCluster
from components.kwok_cluster import KwokCluster
from topology.configuration import Reached, Topology
from topology.taints import stages_for


def cluster_for(topology: Topology) -> ClusterComponent:
    """Create the cluster of `topology`, or use the one that is there already."""
    existing = topology.cluster.existing
    if isinstance(existing, Reached):
        return ExistingCluster(topology.cluster, existing)
    return KwokCluster(topology.cluster, stages_for(topology))
