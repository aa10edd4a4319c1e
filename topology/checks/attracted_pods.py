"""Other people's pods that a fake node would attract because they tolerate every taint, including KWOK's.

https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from topology.kubernetes.reading import entries, part, pod_spec
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
        if any(_selects(spec, labels) for labels in all_labels):
            yield entry


def _tolerates_everything(spec: Object) -> bool:
    return any(
        not toleration.get("key") and toleration.get("effect") in (None, "", KWOK_TAINT.effect)
        for toleration in entries(spec, "tolerations")
    )


def _selects(spec: Object, labels: Mapping[str, str]) -> bool:
    required = part(spec, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    terms = entries(required, "nodeSelectorTerms")
    return (spec.get("nodeSelector") or {}).items() <= labels.items() and (
        required is None or any(_fits(term, labels) for term in terms)
    )


def _fits(term: Object, labels: Mapping[str, str]) -> bool:
    fields = {"metadata.name": labels["kubernetes.io/hostname"]}
    expressions = [(entry, labels) for entry in entries(term, "matchExpressions")]
    expressions += [(entry, fields) for entry in entries(term, "matchFields")]
    return bool(expressions) and all(_holds(entry, values) for entry, values in expressions)


def _holds(expression: Object, values: Mapping[str, str]) -> bool:
    value = values.get(expression["key"])
    wanted = expression.get("values") or []
    match expression["operator"]:
        case "In":
            return value in wanted
        case "NotIn":
            return value not in wanted
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    return _is_number(value) and _compared(expression["operator"], int(str(value)), int(wanted[0]))


def _is_number(value: str | None) -> bool:
    return value is not None and value.lstrip("-").isdigit()


def _compared(operator: str, value: int, wanted: int) -> bool:
    return value > wanted if operator == "Gt" else value < wanted
