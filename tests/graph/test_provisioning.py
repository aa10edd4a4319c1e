"""What the program registers for pools and bare pods with `provisioning: bulk`."""

import json
from typing import Any

import pytest

from tests.graph.recording import KUBECONFIG, Configuration, Recording, run

COMMAND = "Command kwok-dra-dev"
BATCHES = ["Command big-batch-0", "Command big-batch-1"]
CLAIMS = [{"name": "own", "requests": [{"name": "gpu", "deviceClass": "gpu.example.com"}]}]


def stack(workloads: list[dict[str, Any]] | None = None, **pool: Any) -> Configuration:
    """Return a configuration with a pool of two batches."""
    big = {"name": "big", "nodes": 1200, "gpu": "example-gpu", "provisioning": "bulk"} | pool
    return {"kwok-dra:nodePools": [big], "kwok-dra:workloads": workloads or []}


def requested(stack: Configuration) -> Recording:
    """Preview the stack without a cluster: with one, the drift would list a thousand nodes."""
    return run(stack, preview=True, objects=None)


def environment(recording: Recording, key: str) -> dict[str, str]:
    """Return the environment of a command."""
    found: dict[str, str] = recording.resources[key].inputs["environment"]
    return found


def test_a_batch_for_each_thousand_nodes() -> None:
    found = requested(stack())
    batches = [key for key, entry in found.resources.items() if entry.parent == "NodeBatches big"]
    assert batches == BATCHES
    assert not found.of_kind("Node", "ResourceSlice")
    assert found.resources["NodeBatches big"].parent == "GpuNodePool big"
    for key, numbers in zip(BATCHES, ["0-999", "1000-1199"], strict=True):
        batch = found.resources[key]
        assert (batch.deleted_with, batch.replacement_trigger) == (COMMAND, "id of kwok-dra-dev")
        assert batch.delete_before_replace
        assert batch.dependencies == {COMMAND, "Command big-gpu.example.com"}
        assert batch.inputs["logging"] == "stderr"
        assert [batch.inputs[verb].split()[-2:] for verb in ("create", "update", "delete")] == [
            ["commands.batch", verb] for verb in ("create", "update", "delete")
        ]
        assert environment(found, key)["KWOK_DRA_NODES"] == numbers


def test_the_inputs_of_a_batch_are_its_configuration() -> None:
    """They contain no names, no objects and nothing of other batches, so they are small and rarely change."""
    found = environment(requested(stack()), BATCHES[0])
    assert len(found.pop("KWOK_DRA_CONTENT")) == 64
    assert found == {
        "KWOK_DRA_POOL": json.dumps({"name": "big", "gpu": "example-gpu"}),
        "KWOK_DRA_NODES": "0-999",
        "KWOK_DRA_CATALOGUE": "[]",
        "KWOK_DRA_GENERATIONS": '{"gpu.example.com": 1}',
        "KWOK_DRA_MINOR": "37",
        "KWOK_DRA_RESOURCE_API": "v1",
        "KUBECONFIG": KUBECONFIG,
    }
    assert requested(stack()).resources["NodeBatches big"].inputs["nodes"] == 1200


def test_growth_changes_only_the_last_batch() -> None:
    before, after = requested(stack()), requested(stack(nodes=1300))
    assert environment(before, BATCHES[0]) == environment(after, BATCHES[0])
    assert environment(after, BATCHES[1]) == environment(before, BATCHES[1]) | {"KWOK_DRA_NODES": "1000-1299"}


def test_workloads_come_after_all_batches() -> None:
    found = requested(stack([{"name": "job", "claims": CLAIMS}]))
    assert set(BATCHES) <= found.resources["Deployment job"].dependencies


def test_a_preview_lists_the_drift() -> None:
    outputs = run(stack(nodes=2), objects=[], preview=True).outputs["Stack kwok-dra-dev"]
    assert [(entry["kind"], entry["was"]) for entry in outputs["drift"]] == [
        ("Node", "deleted"),
        ("ResourceSlice", "deleted"),
        ("Node", "deleted"),
        ("ResourceSlice", "deleted"),
    ]
    assert outputs["summary"].endswith("on 0 nodes, 4 objects to be put right")


def test_bare_pods_in_batches() -> None:
    pods = {
        "name": "job",
        "kind": "Pod",
        "replicas": 1100,
        "provisioning": "bulk",
        "claims": CLAIMS,
        "after": ["first"],
    }
    pods |= {"expect": {"allocated": 1100}}
    found = requested(stack([{"name": "first", "claims": CLAIMS}, pods]))
    assert not found.of_kind("Pod")
    for key, numbers in zip(["Command job-batch-0", "Command job-batch-1"], ["0-999", "1000-1099"], strict=True):
        batch = found.resources[key]
        assert batch.parent == "ClaimWorkload job"
        assert batch.dependencies >= {COMMAND, "ResourceClaimTemplate job-own", "Command first", *BATCHES}
        assert batch.delete_before_replace
        inputs = environment(found, key)
        assert inputs["KWOK_DRA_PODS"] == numbers
        assert json.loads(inputs["KWOK_DRA_WORKLOAD"]) == {"name": "job", "kind": "Pod", "claims": CLAIMS}


@pytest.mark.parametrize(("more", "warned"), [({"provisioning": "objects"}, 1), ({}, 0)])
def test_a_warning_about_a_large_pool_of_single_objects(more: dict[str, Any], warned: int) -> None:
    found = run(stack(nodes=101, **more))
    assert len(found.warnings) == warned
    for text in found.warnings:
        assert "pool big has 101 nodes" in text and "provisioning: bulk" in text
    assert run(stack(nodes=100, provisioning="objects")).warnings == []
