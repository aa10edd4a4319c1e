"""What has to be gone before workloads are waited for, once it is not part of the stack any more."""

from topology import pod_groups, pods, taints
from topology.configuration import Topology
from topology.manifests import Manifest

Reference = tuple[str, str, str, str]
"""API version, kind, namespace and name of an object."""


def removable(topology: Topology) -> list[Reference]:
    """Return the objects that hold devices or keep them from others as long as they are there, pods' makers first.

    Of manifests these are all objects: what they are for, nobody knows.
    """
    manifests: list[Manifest] = []
    for workload in topology.workloads:
        manifests += pods.workload_objects(workload)
        manifests += pod_groups.pod_groups(workload, topology.cluster.minor)
    for entry in topology.manifests:
        manifests += reversed(entry.objects())
    manifests += taints.device_taint_rules(topology)
    return [
        *(reference(manifest) for manifest in manifests),
        *(("v1", "Node", "", name) for pool in topology.node_pools for name in pool.node_names()),
    ]


def reference(manifest: Manifest) -> Reference:
    """Return what tells the object from all others."""
    metadata = manifest["metadata"]
    return manifest["apiVersion"], manifest["kind"], metadata.get("namespace", ""), metadata["name"]
