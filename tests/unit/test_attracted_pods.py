"""Pods of others that fake nodes would attract."""

from typing import Any

import pytest

from topology.checks.attracted_pods import attracted

LABELS = {"kubernetes.io/hostname": "gpu-0", "kubernetes.io/os": "linux", "type": "kwok", "slots": "8"}
EVERYTHING = [{"operator": "Exists"}]


def daemon_set(**spec: Any) -> dict[str, Any]:
    return {"kind": "DaemonSet", "metadata": {"name": "a"}, "spec": {"template": {"spec": spec}}}


def affinity(*terms: dict[str, Any]) -> dict[str, Any]:
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
    return {"nodeAffinity": required}


def term(key: str, operator: str, *values: str, of: str = "matchExpressions") -> dict[str, Any]:
    return {of: [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("tolerations", "lands"),
    [
        ([], False),
        (EVERYTHING, True),
        ([{"operator": "Exists", "effect": "NoSchedule"}], True),
        ([{"operator": "Exists", "effect": "NoExecute"}], False),
        ([{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}], False),
        ([{"key": "CriticalAddonsOnly", "operator": "Exists"}, *EVERYTHING], True),
        # A toleration with the key is intended.
        ([{"key": "kwok.x-k8s.io/node", "operator": "Exists"}], False),
    ],
)
def test_what_is_tolerated(tolerations: list[dict[str, str]], lands: bool) -> None:
    assert bool([*attracted([daemon_set(tolerations=tolerations)], [LABELS])]) is lands


@pytest.mark.parametrize(
    ("spec", "lands"),
    [
        ({"nodeSelector": {"kubernetes.io/os": "linux"}}, True),
        ({"nodeSelector": {"kubernetes.io/os": "windows"}}, False),
        ({"affinity": affinity(term("type", "NotIn", "kwok"))}, False),
        ({"affinity": affinity(term("type", "NotIn", "virtual-kubelet"))}, True),
        ({"affinity": affinity(term("type", "In", "kwok"))}, True),
        ({"affinity": affinity(term("absent", "In", "kwok"))}, False),
        ({"affinity": affinity(term("absent", "NotIn", "kwok"))}, True),
        ({"affinity": affinity(term("type", "Exists"))}, True),
        ({"affinity": affinity(term("type", "DoesNotExist"))}, False),
        ({"affinity": affinity(term("slots", "Gt", "7"))}, True),
        ({"affinity": affinity(term("slots", "Gt", "8"))}, False),
        ({"affinity": affinity(term("slots", "Gt", "many"))}, False),
        ({"affinity": affinity(term("slots", "Lt", "9"))}, True),
        ({"affinity": affinity(term("type", "Lt", "9"))}, False),
        ({"affinity": affinity(term("absent", "Lt", "9"))}, False),
        ({"affinity": affinity(term("metadata.name", "In", "gpu-0", of="matchFields"))}, True),
        ({"affinity": affinity(term("metadata.name", "In", "real-0", of="matchFields"))}, False),
        # One term is enough, with all its expressions.
        ({"affinity": affinity(term("type", "NotIn", "kwok"), term("type", "Exists"))}, True),
        ({"affinity": affinity(term("type", "Exists") | term("metadata.name", "In", "a", of="matchFields"))}, False),
        ({"affinity": affinity({})}, False),
        ({"affinity": affinity(term("type", "Exists")), "nodeSelector": {"type": "metal"}}, False),
        ({"affinity": {"podAntiAffinity": {}}}, True),
    ],
)
def test_what_is_selected(spec: dict[str, Any], lands: bool) -> None:
    """https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#operators"""
    assert bool([*attracted([daemon_set(tolerations=EVERYTHING, **spec)], [LABELS])]) is lands


def test_one_kind_of_node_is_enough() -> None:
    found = daemon_set(tolerations=EVERYTHING, nodeSelector={"a": "b"})
    assert [*attracted([found], [LABELS, LABELS | {"a": "b"}])] == [found]
    assert [*attracted([found], [])] == []


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
def test_all_kinds_that_create_pods(kind: str) -> None:
    assert [*attracted([daemon_set(tolerations=EVERYTHING) | {"kind": kind}], [LABELS])]


def test_a_cron_job() -> None:
    spec = {"jobTemplate": {"spec": {"template": {"spec": {"tolerations": EVERYTHING}}}}}
    assert [*attracted([{"kind": "CronJob", "metadata": {"name": "a"}, "spec": spec}], [LABELS])]
