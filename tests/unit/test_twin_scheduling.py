"""Schedulers and priorities of a twin's pods."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_twin_fields import holding
from tests.unit.test_twin_workloads import claim, pod, twin

PLACED = "pods of other schedulers are placed by kube-scheduler, which serves their names too: 1"


def priority_class(name: str, value: int, **more: Any) -> dict[str, Any]:
    own = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}}
    return own | {"value": value} | more


def test_a_priority_has_its_value(tmp_path: Path) -> None:
    classes = [
        priority_class("team-a-low", -5, preemptionPolicy="Never"),
        priority_class("team-a-usual", 100, globalDefault=True),
        priority_class("system-node-critical", 2_000_001_000),
    ]
    found = twin(tmp_path, *holding(priorityClassName="team-a-low", priority=-5, preemptionPolicy="Never"), *classes)
    assert found.configuration["priorityClasses"] == [
        {"name": "priority-1", "value": -5, "preemptionPolicy": "Never"},
        {"name": "priority-2", "value": 100, "globalDefault": True},
    ]
    assert [entry["priority"] for entry in found.configuration["workloads"]] == ["priority-1"]
    assert found.notes == []


@pytest.mark.parametrize("keep_names", [False, True])
def test_a_priority_of_pods_alone_becomes_a_class(tmp_path: Path, keep_names: bool) -> None:
    found = twin(tmp_path, *holding(priorityClassName="high", priority=1000), keep_names=keep_names)
    name = "high" if keep_names else "priority-1"
    assert found.configuration["priorityClasses"] == [{"name": name, "value": 1000}]
    assert [entry["priority"] for entry in found.configuration["workloads"]] == [name]


def test_classes_of_kubernetes_keep_their_names(tmp_path: Path) -> None:
    found = twin(tmp_path, *holding(priorityClassName="system-node-critical", priority=2_000_001_000))
    assert "priorityClasses" not in found.configuration
    assert [entry["priority"] for entry in found.configuration["workloads"]] == ["system-node-critical"]


@pytest.mark.parametrize("keep_names", [False, True])
def test_the_schedulers_of_pods_are_served(tmp_path: Path, keep_names: bool) -> None:
    others = [claim("c-1", [("n-a", "gpu-1")]), pod("p-1", "c-1", "n-a")]
    found = twin(tmp_path, *holding(schedulerName="volcano"), *others, keep_names=keep_names)
    name = "volcano" if keep_names else "scheduler-1"
    profiles = [{"schedulerName": "default-scheduler"}, {"schedulerName": name}]
    assert found.configuration["schedulers"] == [{"name": "default-scheduler", "config": {"profiles": profiles}}]
    assert sorted(entry.get("scheduler", "") for entry in found.configuration["workloads"]) == ["", name]
    assert found.notes == [PLACED]
