"""Other people's pods that a fake node would attract because they tolerate every taint, including KWOK's.

https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from topology.checks.node_selection import selects
from topology.kubernetes.reading import entries, pod_spec
from topology.objects.isolation import KWOK_TAINT

MAKERS = {
    "CronJob": "batch/v1",
    "DaemonSet": "apps/v1",
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
}
"""The kinds that create pods repeatedly, with their API version, which objects in lists do not have."""

Object = dict[str, Any]


def attracted(objects: Iterable[Object], nodes: Iterable[Mapping[str, str]]) -> Iterator[Object]:
    """Yield the `objects` whose pods could run on a node with KWOK's taint and one of these sets of labels.

    Pods that tolerate KWOK's taint by its key are assumed to be meant for its nodes.
    """
    specs = ((entry, pod_spec({**entry, "apiVersion": MAKERS[entry["kind"]]}) or {}) for entry in objects)
    tolerant = [(entry, spec) for entry, spec in specs if _tolerates_everything(spec)]
    all_labels = list(nodes) if tolerant else []
    for entry, spec in tolerant:
        if any(selects(spec, labels, labels["kubernetes.io/hostname"]) for labels in all_labels):
            yield entry


def _tolerates_everything(spec: Object) -> bool:
    return any(
        not toleration.get("key") and toleration.get("effect") in (None, "", KWOK_TAINT.effect)
        for toleration in entries(spec, "tolerations")
    )
