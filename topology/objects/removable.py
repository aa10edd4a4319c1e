"""What has to be gone before workloads are waited for, once it is not part of the stack any more."""

import re
from itertools import groupby

from topology.kubernetes.objects import Manifest
from topology.objects import device_taints, pod_groups, pods
from topology.schema.stack import Topology

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
    manifests += device_taints.device_taint_rules(topology)
    return [
        *(reference(manifest) for manifest in manifests),
        *(node_reference(name) for pool in topology.node_pools for name in pool.node_names()),
    ]


def node_reference(name: str) -> Reference:
    """Return what tells a Node from all other objects."""
    return "v1", "Node", "", name


def reference(manifest: Manifest) -> Reference:
    """Return what tells the object from all others."""
    metadata = manifest["metadata"]
    return manifest["apiVersion"], manifest["kind"], metadata.get("namespace", ""), metadata["name"]


def folded(references: list[Reference]) -> list[list[object]]:
    """Return the references, with those of `<name>-<first>` and so many up as one: `[…, "<name>-", first, count]`.

    An environment variable holds 128 KiB, fewer than the names of a large pool need.
    """
    runs = groupby(enumerate(map(_numbered, references)), lambda entry: (*entry[1][:4], entry[1][4] - entry[0]))
    found: list[list[object]] = []
    for _, run in runs:
        numbered = [entry for _, entry in run]
        *what, first = numbered[0]
        found.append([*what, first, len(numbered)] if first >= 0 else [*what])
    return found


def _numbered(reference: Reference) -> tuple[str, str, str, str, int]:
    """Split the number off a name; -1 where there is none."""
    version, kind, namespace, name = reference
    match = re.fullmatch(r"(.*-)(0|[1-9][0-9]*)", name)
    return (version, kind, namespace, match[1], int(match[2])) if match else (version, kind, namespace, name, -1)
