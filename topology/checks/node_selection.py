"""Which nodes a pod may run on, by its selectors and tolerations.

https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/
https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/
"""

from collections.abc import Mapping

from topology.kubernetes.objects import Object
from topology.kubernetes.reading import entries, part


def may_run(spec: Object, node: Object) -> bool:
    """Tell whether the selectors and tolerations of a pod with this `spec` let it run on a live Node."""
    return selects(spec, node["metadata"].get("labels") or {}, node["metadata"]["name"]) and all(
        any(tolerates(toleration, taint) for toleration in entries(spec, "tolerations"))
        for taint in node["spec"].get("taints") or []
        if taint["effect"] != "PreferNoSchedule"
    )


def tolerates(toleration: Object, taint: Object) -> bool:
    """Tell whether a toleration, of a pod or of a request for devices, tolerates a taint."""
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("key") not in (None, "", taint["key"]):
        return False
    return toleration.get("operator") == "Exists" or (toleration.get("value") or "") == (taint.get("value") or "")


def selects(spec: Object, labels: Mapping[str, str], node: str) -> bool:
    """Tell whether the nodeSelector and the required node affinity of a pod select the `node` with these labels."""
    required = part(spec, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    terms = entries(required, "nodeSelectorTerms")
    return (spec.get("nodeSelector") or {}).items() <= labels.items() and (
        required is None or any(fits(term, labels, node) for term in terms)
    )


def fits(term: Object, labels: Mapping[str, str], node: str) -> bool:
    """Tell whether the `node` with these labels fits a term of a node selector."""
    fields = {"metadata.name": node}
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
    return value is not None and value.lstrip("-").isdecimal()


def _compared(operator: str, value: int, wanted: int) -> bool:
    return value > wanted if operator == "Gt" else value < wanted
