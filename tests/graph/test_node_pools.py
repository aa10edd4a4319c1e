"""What the program registers for node pools: generations, declared features, failed devices, Nodes and slices."""

from typing import Any

import pytest

from tests.graph.recording import Configuration, Recording, run, stack_configuration

COMMAND = "Command kwok-dra-dev"
DRIVER = "gpu.kwok.x-k8s"


def pools_of(*pools: dict[str, Any], **cluster: Any) -> Configuration:
    """Return a configuration with node pools only."""
    return {"kwok-dra:cluster": cluster, "kwok-dra:nodePools": list(pools)}


def generations(configuration: Configuration) -> dict[str, dict[str, Any]]:
    """Return the inputs of the commands that keep generations."""
    commands = run(configuration).of_kind("Command")
    return {name: found.inputs for name, found in commands.items() if name.startswith("pool-")}


def test_each_driver_of_a_pool_has_a_generation() -> None:
    devices = [{"model": {"driver": f"{name}.example.com"}} for name in ("nic", "fpga")]
    commands = generations(pools_of({"name": "pool", "gpu": "kwok-l4", "devices": devices}))
    # The driver's own first generation; each change adds one.
    assert {name: inputs["environment"]["KWOK_DRA_FIRST_GENERATION"] for name, inputs in commands.items()} == {
        "pool-gpu.kwok.x-k8s": "0",
        "pool-nic.example.com": "1",
        "pool-fpga.example.com": "1",
    }
    assert {inputs["create"] for inputs in commands.values()} == {'echo "$KWOK_DRA_FIRST_GENERATION"'}
    assert {inputs["update"] for inputs in commands.values()} == {"echo $((PULUMI_COMMAND_STDOUT + 1))"}
    assert len({inputs["environment"]["KWOK_DRA_DEVICES"] for inputs in commands.values()}) == 3


def test_a_generation_is_replaced_with_the_cluster() -> None:
    generation = run(stack_configuration("dev")).resources[f"Command kwok-node-{DRIVER}"]
    assert generation.deleted_with == COMMAND
    assert generation.replacement_trigger == "id of kwok-dra-dev"
    # An update knows the previous generation; a replacement would not.
    assert "environment" not in generation.replace_on_changes


@pytest.mark.parametrize(
    ("change", "changes"),
    [
        ({}, False),
        ({"nodes": 3}, False),
        ({"labels": {"a": "b"}}, False),
        ({"gpusPerNode": 2}, True),
        ({"attributes": {"driverVersion": {"version": "999.0.0"}}}, True),
        ({"devices": [{"model": "kwok-l4"}]}, True),
        ({"devices": [{"model": {"driver": "nic.example.com"}}]}, False),
    ],
)
def test_what_changes_the_generation(change: dict[str, Any], changes: bool) -> None:
    pool = {"name": "pool", "gpu": "kwok-l4"}
    before, after = (generations(pools_of(entry))[f"pool-{DRIVER}"] for entry in (pool, pool | change))
    assert (before != after) == changes


def test_slices_get_the_generation_from_its_command() -> None:
    gpu = {"driver": "gpu.example.com", "firstGeneration": 7}
    (found,) = run(pools_of({"name": "pool", "gpu": gpu})).of_kind("ResourceSlice").values()
    assert found.inputs["spec"]["pool"] == {"name": "pool-0", "generation": 7, "resourceSliceCount": 1}
    assert "Command pool-gpu.example.com" in found.dependencies


def test_declared_features_are_patched_into_the_nodes() -> None:
    gpu = {"driver": "gpu.example.com", "skipNodeOperations": ["*"]}
    made = run(pools_of({"name": "pool", "nodes": 2, "gpu": gpu}))
    found = made.resources["Command pool-declared"]
    assert found.inputs["create"] == found.inputs["update"]
    assert (
        found.inputs["environment"]["KWOK_DRA_PATCH"]
        == '{"status": {"declaredFeatures": ["DRAOptionalNodeOperations"]}}'
    )
    assert found.inputs["stdin"] == "pool-0 pool-1"
    assert {"Node pool-0", "Node pool-1"} <= set(found.dependencies)
    assert all("Command pool-declared" in entry.dependencies for entry in made.of_kind("ResourceSlice").values())
    assert (found.deleted_with, found.replacement_trigger) == (COMMAND, "id of kwok-dra-dev")


def attached(**pool: Any) -> Recording:
    """Run a pool of GPUs with binding conditions."""
    return run(pools_of({"name": "pool", "gpu": "example-gpu-attached"} | pool))


def test_taints_of_failed_devices_are_deleted_when_attach_fails_changes() -> None:
    found = attached().resources["Command pool-attached"]
    assert found.inputs["create"] == "true"
    assert found.inputs["update"].startswith("kubectl delete devicetaintrules ")
    assert found.inputs["environment"]["KWOK_DRA_SELECTOR"] == "kwok-dra/attach-fails=pool"
    assert (found.deleted_with, found.replacement_trigger) == (COMMAND, "id of kwok-dra-dev")
    assert "environment" not in found.replace_on_changes
    # With the old slice the scheduler would allocate the device again, which would fail and be tainted again.
    assert {key for key in found.dependencies if key.startswith("ResourceSlice ")}
    assert "Command plain-attached" not in run(pools_of({"name": "plain", "gpu": "example-gpu"})).resources


@pytest.mark.parametrize(
    ("change", "changes"),
    [
        ({}, False),
        ({"nodes": 2}, False),
        ({"faults": [{"devices": ["gpu-0"], "taint": {"key": "a"}}]}, False),
        ({"faults": [{"devices": ["gpu-0"], "attachFails": True}]}, True),
    ],
)
def test_when_attach_fails_changes(change: dict[str, Any], changes: bool) -> None:
    before, after = (attached(**pool).resources["Command pool-attached"].inputs for pool in ({}, change))
    assert (before != after) == changes


def test_a_node_with_many_devices_has_several_slices() -> None:
    made = run(pools_of({"name": "pool", "nodes": 2, "gpu": "kwok-l4", "gpusPerNode": 129}))
    slices = [found.inputs["spec"] for _, found in sorted(made.of_kind("ResourceSlice").items())]
    assert [(spec["nodeName"], len(spec["devices"])) for spec in slices] == [
        ("pool-0", 128),
        ("pool-0", 1),
        ("pool-1", 128),
        ("pool-1", 1),
    ]
    assert made.outputs["ResourceSlices pool"] == {"slices": 4}


def test_a_node_with_taints_is_patched_by_force() -> None:
    """The node lifecycle controller adds its own taints to the same list."""
    made = run(
        pools_of(
            {"name": "a", "gpu": "kwok-l4", "taints": [{"key": "x"}], "faults": [{"notReady": True}]},
            {"name": "b", "gpu": "kwok-l4", "taints": []},
        )
    ).of_kind("Node")
    annotations = {name: found.inputs["metadata"]["annotations"] for name, found in made.items()}
    plain = {"node.alpha.kubernetes.io/ttl": "0", "kwok.x-k8s.io/node": "fake"}
    assert annotations == {
        "a-0": plain | {"kwok-dra/not-ready": "true", "pulumi.com/patchForce": "true"},
        "b-0": plain,
    }


def test_slices_are_owned_by_their_node() -> None:
    """As with the real drivers; the slices on KWOK's page have no owner."""
    made = run(pools_of({"name": "pool", "nodes": 2, "gpu": "kwok-l4", "devices": [{"model": {"driver": "x.y"}}]}))
    owners = {
        (found.inputs["spec"]["driver"], found.inputs["spec"]["nodeName"]): found.inputs["metadata"].get(
            "ownerReferences"
        )
        for found in made.of_kind("ResourceSlice").values()
    }
    node = {"apiVersion": "v1", "kind": "Node", "controller": True}
    assert owners == {
        (DRIVER, "pool-0"): None,
        (DRIVER, "pool-1"): None,
        ("x.y", "pool-0"): [node | {"name": "pool-0", "uid": "uid of pool-0"}],
        ("x.y", "pool-1"): [node | {"name": "pool-1", "uid": "uid of pool-1"}],
    }
