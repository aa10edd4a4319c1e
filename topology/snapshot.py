"""The objects of a cluster as they were at one moment. The standard library only, as in `progress`."""

import json
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

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
    "ResourceSlice": "/apis/resource.k8s.io/v1/resourceslices",
    "StatefulSet": "/apis/apps/v1/statefulsets",
}
"""Where the API server lists the objects of each kind."""

AT_ONCE = 4


def read(kinds: Sequence[str], *options: str) -> list[dict[str, Any]] | None:
    """Return all objects of `kinds`, read by kubectl with `options`, or None if the cluster does not answer.

    A kind that is not one of `LISTS` is given as `<kind>=<path of its list>`.

    `kubectl get pods,resourceclaims` reads kind after kind, and while pods come and go it finds pods whose claims are
    gone by then, and claims whose pods were not there yet. So the first list tells the version of the whole store, and
    the others are read as they were at that version; all kinds of a cluster that kwokctl makes are in one etcd.
    https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list
    """
    first = _list(kinds[0], "", options)
    if first is None:
        return None
    query = f"?resourceVersion={first['metadata']['resourceVersion']}&resourceVersionMatch=Exact"
    with ThreadPoolExecutor(AT_ONCE) as threads:
        lists = [first, *threads.map(lambda kind: _list(kind, query, options), kinds[1:])]
    if None in lists:
        return None
    return [
        _object(kind.partition("=")[0], entry)
        for kind, found in zip(kinds, lists, strict=True)
        if found
        for entry in found["items"]
    ]


def _list(kind: str, query: str, options: Sequence[str]) -> dict[str, Any] | None:
    name, _, path = kind.partition("=")
    command = ["kubectl", "get", "--raw", (path or LISTS[name]) + query, "--request-timeout", "60s", *options]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    found: dict[str, Any] | None = json.loads(done.stdout) if done.returncode == 0 else None
    return found


def _object(kind: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Name the kind, which the entries of a list do not, and leave out who wrote which field: half of an object."""
    metadata = {name: value for name, value in entry["metadata"].items() if name != "managedFields"}
    return entry | {"kind": kind, "metadata": metadata}
