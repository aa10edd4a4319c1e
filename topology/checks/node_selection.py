"""Which nodes a pod may run on, by its selectors and tolerations.

https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/
https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from topology.kubernetes.objects import Object
from topology.kubernetes.reading import entries, part


def _of_nodes(effect: str, *names: str) -> list[Object]:
    return [{"key": f"node.kubernetes.io/{name}", "operator": "Exists", "effect": effect} for name in names]


# https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#defaulttolerationseconds
TOLERATIONS_OF_EVERY_POD = _of_nodes("NoExecute", "not-ready", "unreachable")
# https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/#taints-and-tolerations
TOLERATIONS_OF_DAEMONS = _of_nodes("NoSchedule", "disk-pressure", "memory-pressure", "pid-pressure", "unschedulable")
TOLERATIONS_OF_DAEMONS_ON_HOST_NETWORK = _of_nodes("NoSchedule", "network-unavailable")

_DECIMAL_INTEGER = re.compile("0|-?[1-9][0-9]*")


def may_run(spec: Object, node: Object) -> bool:
    """Tell whether the selectors and tolerations of a pod with this `spec` let it run on a live Node."""
    return selects(spec, node["metadata"].get("labels") or {}, node["metadata"]["name"]) and not repelling(
        entries(spec, "tolerations"), node["spec"].get("taints") or []
    )


def repelling(tolerations: Sequence[Object], taints: Iterable[Object]) -> list[Object]:
    """Return the taints of a node that keep a pod with these tolerations off it."""
    return [
        taint
        for taint in taints
        if taint["effect"] != "PreferNoSchedule" and not any(tolerates(entry, taint) for entry in tolerations)
    ]


def tolerates(toleration: Object, taint: Object) -> bool:
    """Tell whether a toleration, of a pod or of a request for devices, tolerates a taint.

    https://github.com/kubernetes/api/blob/v0.37.2/core/v1/toleration.go. Without its feature gate, which the program
    sets for manifests that need it, the API server refuses pods with the operators Lt and Gt.
    """
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("key") not in (None, "", taint["key"]):
        return False
    wanted, value = (str(entry.get("value") or "") for entry in (toleration, taint))
    match toleration.get("operator") or "Equal":
        case "Exists":
            return True
        case "Equal":
            return value == wanted
        case "Lt" | "Gt" as operator if all(map(_DECIMAL_INTEGER.fullmatch, (wanted, value))):
            return _compared(operator, int(value), int(wanted))
    return False


def written(taint: Object) -> str:
    """Return a taint as kubectl writes it: `key=value:effect`, or `key:effect`."""
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint['key']}{value}:{taint['effect']}"


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


def reaches(selection: Object, labels: Mapping[str, str], node: str) -> bool:
    """Tell whether the `node` with these labels can use devices; `selection` has the fields of a slice or a device."""
    terms = entries(selection, "nodeSelector", "nodeSelectorTerms")
    is_named = selection.get("allNodes") or selection.get("nodeName") == node
    return bool(is_named) or any(fits(term, labels, node) for term in terms)


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
    numbers = (value, wanted[0])  # The API server accepts other texts, which no node fits.
    return all(map(_is_number, numbers)) and _compared(expression["operator"], *map(int, map(str, numbers)))


def _is_number(value: str | None) -> bool:
    return value is not None and value.lstrip("-").isdecimal()


def _compared(operator: str, value: int, wanted: int) -> bool:
    return value > wanted if operator == "Gt" else value < wanted
