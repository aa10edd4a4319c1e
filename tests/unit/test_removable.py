"""The objects that must be deleted before an update waits for workloads."""

from pathlib import Path

import yaml

from topology.checks.validation import load
from topology.objects.removable import folded, removable

CLAIMS = [{"name": "c", "requests": [{"name": "gpu", "deviceClass": "gpu.example.com"}]}]


def test_workloads_then_taints_then_nodes() -> None:
    topology = load(
        {
            "cluster": {"name": "x"},
            "nodePools": [
                {"name": "gpu", "nodes": 3, "gpu": "example-gpu", "faults": [{"nodes": [1], "gone": True}]},
            ],
            "deviceTaintRules": [{"name": "broken", "pool": "gpu-2", "taint": {"key": "example.com/broken"}}],
            "workloads": [
                {"name": "job", "kind": "Job", "namespace": "a", "claims": CLAIMS},
                {
                    "name": "bare",
                    "kind": "Pod",
                    "replicas": 2,
                    "claims": CLAIMS,
                    "podGroup": {},
                    "expect": {"allocated": 1, "pending": 1},
                },
            ],
        }
    )
    assert removable(topology) == [
        ("batch/v1", "Job", "a", "job"),
        ("v1", "Pod", "default", "bare-0"),
        ("v1", "Pod", "default", "bare-1"),
        ("scheduling.k8s.io/v1beta1", "PodGroup", "default", "bare"),
        ("resource.k8s.io/v1", "DeviceTaintRule", "", "broken"),
        ("v1", "Node", "", "gpu-0"),
        ("v1", "Node", "", "gpu-2"),
    ]


def test_objects_of_manifests_in_reverse_order(tmp_path: Path) -> None:
    documents = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": []}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}},
    ]
    (tmp_path / "some.yaml").write_text(yaml.safe_dump_all(documents))
    raw = {"cluster": {"name": "x"}, "nodePools": [{"name": "gpu", "gpu": "example-gpu", "taints": []}]}
    topology = load(raw | {"manifests": [{"name": "some", "files": ["some.yaml"]}]}, tmp_path)
    assert removable(topology)[:2] == [("v1", "Pod", "n", "p"), ("v1", "Namespace", "", "n")]


def test_numbered_names_are_one_entry() -> None:
    names = ["gpu-0", "gpu-1", "gpu-2", "gpu-4", "big-5", "big-06", "x", "x"]
    references = [("v1", "Node", "", name) for name in names] + [("v1", "Pod", "a", "p-0"), ("v1", "Pod", "b", "p-1")]
    assert folded(references) == [
        ["v1", "Node", "", "gpu-", 0, 3],
        ["v1", "Node", "", "gpu-", 4, 1],
        ["v1", "Node", "", "big-", 5, 1],
        ["v1", "Node", "", "big-06"],
        ["v1", "Node", "", "x"],
        ["v1", "Node", "", "x"],
        ["v1", "Pod", "a", "p-", 0, 1],
        ["v1", "Pod", "b", "p-", 1, 1],
    ]
