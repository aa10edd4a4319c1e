"""What the program registers for fabric pools: generations, slices without a node, failed devices, and their order."""

from typing import Any

import pytest

from tests.graph.recording import Configuration, Recording, run

COMMAND = "Command kwok-dra-dev"
MODEL: dict[str, Any] = {"driver": "gpu.example.com", "firstGeneration": 4}
WORKLOAD = {"name": "w", "claims": [{"name": "c", "requests": [{"name": "r", "deviceClass": "any"}]}]}


def fabric(count: int = 2, **more: Any) -> Configuration:
    """Return a stack with a node without devices, and a pool of devices for all nodes."""
    pool = {"name": "fabric", "allNodes": True, "devices": [{"model": MODEL, "count": count}]} | more
    return {
        "kwok-dra:deviceClasses": [{"name": "any"}],
        "kwok-dra:nodePools": [{"name": "host"}],
        "kwok-dra:fabricPools": [pool],
        "kwok-dra:workloads": [WORKLOAD],
    }


@pytest.fixture
def made() -> Recording:
    return run(fabric(129))


def test_slices_come_after_the_nodes_and_before_workloads(made: Recording) -> None:
    found = made.of_kind("ResourceSlice")
    assert [entry.inputs["spec"]["pool"] for entry in found.values()] == (
        [{"name": "fabric", "generation": 4, "resourceSliceCount": 2}] * 2
    )
    assert {entry.parent for entry in found.values()} == {"ResourceSlices fabric"}
    assert made.resources["ResourceSlices fabric"].parent == "FabricPool fabric"
    for name, entry in found.items():
        assert {"Node host-0", "Command fabric-gpu.example.com", COMMAND} <= entry.dependencies
        assert f"ResourceSlice {name}" in made.resources["Deployment w"].dependencies
        assert "ownerReferences" not in entry.inputs["metadata"]
        assert (entry.deleted_with, entry.replace_with) == (COMMAND, set())


def test_a_node_without_devices_has_no_slices(made: Recording) -> None:
    assert made.outputs["ResourceSlices host"] == {"slices": 0}
    assert made.outputs["FabricPool fabric"] == {"devices": 129}


def test_slices_that_leave_the_stack_are_deleted_before_anything_waits(made: Recording) -> None:
    removals = made.resources["Command removals"].inputs["stdin"]
    assert all(f'"{name}"' in removals for name in made.of_kind("ResourceSlice"))


@pytest.mark.parametrize(
    ("change", "changes"),
    [
        ({}, False),
        ({"count": 3}, True),
        ({"allNodes": False, "nodeSelector": {"type": "kwok"}}, True),
        ({"faults": [{"devices": ["gpu-0"], "gone": True}]}, True),
    ],
)
def test_what_changes_the_generation(change: dict[str, Any], changes: bool) -> None:
    commands = [run(fabric(**pool)).resources["Command fabric-gpu.example.com"].inputs for pool in ({}, change)]
    assert (commands[0] != commands[1]) == changes


def test_taints_of_failed_devices_are_deleted_when_attach_fails_changes() -> None:
    attached = MODEL | {"bindingConditions": ["ready"], "bindingFailureConditions": ["failed"]}
    made = run(fabric(devices=[{"model": attached}]))
    found = made.resources["Command fabric-attached"]
    assert found.inputs["environment"]["KWOK_DRA_SELECTOR"] == "kwok-dra/attach-fails=fabric"
    assert {key.partition(" ")[0] for key in found.dependencies} >= {"ResourceSlice"}
    assert "Command fabric-attached" not in run(fabric()).resources


def test_bulk_nodes_need_no_devices() -> None:
    configuration = fabric()
    configuration["kwok-dra:nodePools"] = [{"name": "host", "nodes": 3, "provisioning": "bulk"}]
    batch = run(configuration).resources["Command host-batch-0"]
    assert batch.inputs["environment"]["KWOK_DRA_GENERATIONS"] == "{}"
