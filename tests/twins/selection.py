"""What Kubernetes selects: the nodes of a node selector, the taints that are tolerated, the devices of CEL expressions.

Written for the tests alone, with the evaluator of CEL that the program has.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from topology.kubernetes.cel import CelDevice, CelError, compile_derived, compile_selector

Object = Mapping[str, Any]
Taint = tuple[str, str, str]
"""Key, value and effect."""

KEEPS_AWAY = ("NoSchedule", "NoExecute")
_LABELS: dict[str, Callable[[str | None, Sequence[str]], bool]] = {
    "In": lambda value, values: value in values,
    "NotIn": lambda value, values: value not in values,
    "Exists": lambda value, _: value is not None,
    "DoesNotExist": lambda value, _: value is None,
    "Gt": lambda value, values: value is not None and int(value) > int(values[0]),
    "Lt": lambda value, values: value is not None and int(value) < int(values[0]),
}


def selects_node(selector: Object, node: Object) -> bool:
    """Tell whether a NodeSelector selects a node."""
    return any(_term_selects(term, node) for term in selector.get("nodeSelectorTerms") or [])


def _term_selects(term: Object, node: Object) -> bool:
    labels = node["metadata"].get("labels") or {}
    fields = {"metadata.name": node["metadata"]["name"]}
    found = [
        _LABELS[entry["operator"]](values.get(entry["key"]), entry.get("values") or [])
        for key, values in (("matchExpressions", labels), ("matchFields", fields))
        for entry in term.get(key) or []
    ]
    return bool(found) and all(found)


def required_nodes(spec: Object) -> Object | None:
    """Return the NodeSelector of the node affinity that a pod requires, if any."""
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    found: Object | None = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return found


def tolerates(tolerations: Iterable[Object], taint: Taint) -> bool:
    """Tell whether one of the tolerations is for a taint, or the taint keeps nothing away."""
    key, value, effect = taint
    return effect not in KEEPS_AWAY or any(
        entry.get("key") in (None, "", key)
        and entry.get("effect") in (None, "", effect)
        and (entry.get("operator") == "Exists" or (entry.get("value") or "") == value)
        for entry in tolerations
    )


class Evaluated(NamedTuple):
    """The devices, by key, for which expressions are true, and those for which they fail."""

    true: frozenset[Any]
    failing: frozenset[Any]


def evaluated(expressions: Iterable[str], devices: Mapping[Any, CelDevice]) -> Evaluated:
    """Evaluate expressions for devices, as the scheduler does: up to the first that is not true.

    Raises:
        CelError: an expression does not compile.
    """
    compiled = [compile_selector(text, list_attributes=True) for text in expressions]
    true, failing = set(), set()
    for key, device in devices.items():
        try:
            if all(one.matches(device) for one in compiled):
                true.add(key)
        except CelError:
            failing.add(key)
    return Evaluated(frozenset(true), frozenset(failing))


def derived(expression: str, devices: Mapping[Any, CelDevice]) -> dict[Any, str]:
    """Return the derived attribute of each device as a text; empty if it has none."""
    compiled = compile_derived(expression, list_attributes=True)
    found = {}
    for key, device in devices.items():
        try:
            found[key] = repr(compiled.attribute(device))
        except CelError:
            found[key] = ""
    return found
