"""The dump of a running stack, from the objects of its cluster."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.fleet.running_stack import RunningStack
from tests.unit.simulated import live
from topology.checks.validation import load
from topology.objects.kwok_stages import ATTACH_FAILS
from twin import live as dumping
from twin import parsing
from twin.dump import read
from twin.stack import stack

Object = dict[str, Any]
VERSIONS = {"Node": "v1", "Pod": "v1", "DeviceTaintRule": "resource.k8s.io/v1"}  # of Kubernetes 1.37
CONFIGURATION: Object = {
    "cluster": {"name": "x"},
    "nodePools": [{"name": "l4", "nodes": 2, "gpu": "l4", "gpusPerNode": 2}],
    "workloads": [
        {
            "name": "inference",
            "replicas": 3,
            "claims": [{"name": "gpu", "requests": [{"name": "gpu", "deviceClass": "gpu.nvidia.com"}]}],
        },
        {
            "name": "batch",
            "kind": "Job",
            "claims": [{"name": "gpu", "requests": [{"name": "gpu", "deviceClass": "gpu.nvidia.com"}]}],
        },
    ],
}


def as_served(entry: Object, number: int) -> Object:
    """Add the fields that a cluster sets."""
    metadata = entry["metadata"] | {"uid": f"u{number}", "resourceVersion": str(number), "annotations": {"a": "secret"}}
    return {key: value for key, value in entry.items() if key != "apiVersion"} | {"metadata": metadata}


def with_random_names(objects: list[Object], seed: str) -> list[Object]:
    text = json.dumps(objects)
    for number in range(3):
        text = text.replace(f"inference-{number}", f"inference-5d4f-{seed}{2 - number}")
    return [as_served(entry, number) for number, entry in enumerate(json.loads(text))]


def dumped(seed: str = "x") -> list[Object]:
    return dumping.objects(with_random_names(live(load(CONFIGURATION)), seed), VERSIONS)


def test_random_names_are_numbered() -> None:
    assert dumped("abc") == dumped("xyz")
    pods = [entry["metadata"]["name"] for entry in dumped() if entry["kind"] == "Pod"]
    assert pods == ["inference-0", "inference-1", "inference-2"]
    claims = [entry["metadata"]["name"] for entry in dumped() if entry["kind"] == "ResourceClaim"]
    assert claims[:1] == ["batch-0-gpu"]
    assert claims[1:] == ["inference-0-gpu", "inference-1-gpu", "inference-2-gpu"]


def test_a_replica_set_without_a_deployment_keeps_its_name() -> None:
    objects = with_random_names(live(load(CONFIGURATION)), "x")
    for entry in objects:
        if entry["kind"] == "ReplicaSet":
            del entry["metadata"]["ownerReferences"]
    found = dumping.objects(objects, VERSIONS)
    pods = [entry["metadata"]["name"] for entry in found if entry["kind"] == "Pod"]
    assert pods == ["inference-5d4f-0", "inference-5d4f-1", "inference-5d4f-2"]


def test_pods_that_have_ended_are_left_out_with_their_templates() -> None:
    templates = [entry["metadata"]["name"] for entry in dumped() if entry["kind"] == "ResourceClaimTemplate"]
    assert templates == ["inference-gpu"]


def test_fields_that_the_cluster_sets_are_left_out() -> None:
    text = json.dumps(dumped())
    for word in ('"uid"', "resourceVersion", "secret", "annotations", "pod-template-hash"):
        assert word not in text


def test_rules_that_kwok_creates_are_left_out() -> None:
    rule: Object = {
        "kind": "DeviceTaintRule",
        "metadata": {"name": "x"},
        "spec": {"taint": {"key": "k", "effect": "None"}},
    }
    made = rule | {"metadata": {"name": "y", "labels": {ATTACH_FAILS: "pool"}}}
    found = dumping.objects([rule, made], VERSIONS)
    assert [entry["metadata"]["name"] for entry in found] == ["x"]


def test_schedulers_and_priorities(tmp_path: Path) -> None:
    """They are in the dump, and the same in the dump of its twin."""
    inference, _ = CONFIGURATION["workloads"]
    more: Object = {
        "priorityClasses": [{"name": "low", "value": -1, "preemptionPolicy": "Never"}, {"name": "unused", "value": 7}],
        "schedulers": [{"name": "packing"}],
        "workloads": [inference | {"priority": "low", "scheduler": "packing"}],
    }
    topology = load(CONFIGURATION | more)
    assert "PriorityClass=/apis/scheduling.k8s.io/v1/priorityclasses" in dumping._kinds(topology)
    found = dumping.objects(with_random_names(live(topology), "x"), dumping._api_versions(topology))
    file = tmp_path / "dump.json"
    file.write_text(json.dumps({"kind": "List", "items": found}))
    again = stack(read([file]), keep_names=True)
    assert again.configuration["priorityClasses"] == more["priorityClasses"]
    assert [(one["priority"], one["scheduler"]) for one in again.configuration["workloads"]] == [("low", "packing")]
    twin = load({"cluster": {"name": "x"}} | again.configuration)
    assert dumping.objects(with_random_names(live(twin), "x"), dumping._api_versions(twin)) == found


@pytest.mark.parametrize("selector", [{}, {"deviceSelector": {}}, {"deviceSelector": {"pool": "l4-0"}}])
def test_rules_keep_their_selector(selector: Object) -> None:
    """An empty selector selects all devices, a missing one selects none."""
    spec = {"taint": {"key": "k", "effect": "None"}} | selector
    rule = {"apiVersion": "resource.k8s.io/v1", "kind": "DeviceTaintRule", "metadata": {"name": "x"}, "spec": spec}
    assert dumping.objects([rule], VERSIONS) == [rule]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Object]], Path]:
    """Return a function that writes the dump of a stack with these objects."""

    def write(objects: list[Object]) -> Path:
        found = RunningStack(load(CONFIGURATION), objects)
        monkeypatch.setattr(dumping, "read", lambda stack, also: found)
        return Path(dumping.write("any", tmp_path / "new" / "dump.yaml"))

    return write


def test_the_file_is_a_dump(written: Callable[[list[Object]], Path]) -> None:
    file = written(with_random_names(live(load(CONFIGURATION)), "x"))
    assert yaml.safe_load(file.read_text())["items"] == dumped()
    assert parsing.documents(file.read_bytes())[0]["items"] == dumped()
    assert [node.name for node in read([file]).nodes] == ["l4-0", "l4-1"]


@pytest.mark.parametrize(
    "text", ["09", "1e3", "1.10", "true", "null", "~", "", "-1", "0x10", "on", "2026-01-01", "a: b"]
)
def test_strings_stay_strings(written: Callable[[list[Object]], Path], text: str) -> None:
    node = {"kind": "Node", "metadata": {"name": "x", "labels": {"key": text}}, "spec": {}, "status": {}}
    content = written([node]).read_bytes()
    for found in (parsing.documents(content)[0], yaml.safe_load(content)):
        assert [entry["metadata"]["labels"] for entry in found["items"]] == [{"key": text}]
