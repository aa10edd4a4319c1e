"""The objects that must be deleted, after they leave the stack, before an update waits for workloads."""

import re
from itertools import groupby

from topology.kubernetes.objects import Manifest, Reference
from topology.objects import device_taints, pod_groups, pods
from topology.objects.slices import resource_slices
from topology.schema.stack import Topology


def removable(topology: Topology) -> list[Reference]:
    """Return the objects that occupy devices, offer them or make them unavailable, in the order of deletion.

    Workloads come first, and nodes, with which Kubernetes deletes their ResourceSlices, last. All objects of manifests
    are included, since their purpose is unknown.
    """
    manifests: list[Manifest] = []
    for workload in topology.workloads:
        manifests += pods.workload_objects(workload)
        manifests += pod_groups.pod_groups(workload, topology.cluster.minor)
    for entry in topology.manifests:
        manifests += reversed(entry.objects())
    manifests += device_taints.device_taint_rules(topology)
    for pool in topology.fabric_pools:
        manifests += resource_slices(pool, pool.name, topology.cluster.minor)
    return [
        *(reference(manifest) for manifest in manifests),
        *(node_reference(name) for pool in topology.node_pools for name in pool.node_names()),
    ]


def node_reference(name: str) -> Reference:
    """Return the reference of a Node."""
    return "v1", "Node", "", name


def reference(manifest: Manifest) -> Reference:
    """Return the reference of an object."""
    metadata = manifest["metadata"]
    return manifest["apiVersion"], manifest["kind"], metadata.get("namespace", ""), metadata["name"]


def folded(references: list[Reference]) -> list[list[object]]:
    """Return the references, with consecutive numbers in names combined: `[…, "<name>-", first, count]`.

    An environment variable holds 128 KiB, which is too little for the names of a large pool.
    """
    runs = groupby(enumerate(map(_numbered, references)), lambda entry: (*entry[1][:4], entry[1][4] - entry[0]))
    found: list[list[object]] = []
    for _, run in runs:
        numbered = [entry for _, entry in run]
        *what, first = numbered[0]
        found.append([*what, first, len(numbered)] if first >= 0 else [*what])
    return found


def _numbered(reference: Reference) -> tuple[str, str, str, str, int]:
    """Split the number off a name; -1 if there is none."""
    version, kind, namespace, name = reference
    match = re.fullmatch(r"(.*-)(0|[1-9][0-9]*)", name)
    return (version, kind, namespace, match[1], int(match[2])) if match else (version, kind, namespace, name, -1)
