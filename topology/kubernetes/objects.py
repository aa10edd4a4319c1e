"""Types, constants and small builders for Kubernetes objects that the program renders or the API server returns."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

Manifest: TypeAlias = dict[str, Any]

RESOURCE_API_VERSION = "resource.k8s.io/v1"
"""The version that the program renders; `api_versions.convert` converts it to the older ones."""


def given(**fields: Any) -> Manifest:
    """Return the fields that are not empty."""
    return {name: value for name, value in fields.items() if value}


def selectors(expressions: Iterable[str]) -> list[Manifest]:
    """Return the CEL selectors of a class or request."""
    return [{"cel": {"expression": expression}} for expression in expressions]


Object = Mapping[str, Any]

Key = tuple[str, str]
"""Namespace and name."""

Reference = tuple[str, str, str, str]
"""API version, kind, namespace and name of an object."""

Maker = tuple[str, str, str]
"""Kind, as `kind_of` returns it, namespace and name of the object that creates pods; a bare pod is its own maker."""


def key(entry: Object) -> Key:
    """Return the namespace and name of an object."""
    return entry["metadata"].get("namespace", ""), entry["metadata"]["name"]


# https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#extended-resource
IMPLICIT_EXTENDED_RESOURCE = "deviceclass.resource.kubernetes.io"

LISTS = {
    "CronJob": "/apis/batch/v1/cronjobs",
    "DaemonSet": "/apis/apps/v1/daemonsets",
    "Deployment": "/apis/apps/v1/deployments",
    "DeviceClass": "/apis/resource.k8s.io/v1/deviceclasses",
    "Job": "/apis/batch/v1/jobs",
    "Node": "/api/v1/nodes",
    "Pod": "/api/v1/pods",
    "ReplicaSet": "/apis/apps/v1/replicasets",
    "ReplicationController": "/api/v1/replicationcontrollers",
    "ResourceClaim": "/apis/resource.k8s.io/v1/resourceclaims",
    "ResourceClaimTemplate": "/apis/resource.k8s.io/v1/resourceclaimtemplates",
    "ResourceSlice": "/apis/resource.k8s.io/v1/resourceslices",
    "StatefulSet": "/apis/apps/v1/statefulsets",
    "Workload": "/apis/kueue.x-k8s.io/v1beta2/workloads",
}
"""The path at which the API server lists the objects of each kind."""


def kind_of(entry: Object) -> str:
    """Return the kind of an object, or of the one that an owner reference names.

    A kind that only has the name of one in `LISTS` comes with its API group, as in kubectl: `Job.batch.volcano.sh`.
    """
    kind, path = str(entry["kind"]), LISTS.get(entry["kind"], "")
    group = str(entry.get("apiVersion", "")).rpartition("/")[0]
    return f"{kind}.{group}" if "." in group and path and f"/{group}/" not in path else kind


DEFAULT_NAMESPACE = "default"

DEFAULT_SCHEDULER = "default-scheduler"
"""The name of the scheduler of pods that name none."""

NOT_READY = {"kwok-dra/not-ready": "true"}
"""The annotation of a Node that must be NotReady."""

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
"""The label of a Job, Deployment or pod by which Kueue takes it."""
