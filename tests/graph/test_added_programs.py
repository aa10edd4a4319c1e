"""What the program registers for schedulers and controllers: one Command each, before everything that needs them."""

import json

from tests.graph.recording import run

COMMAND = "Command kwok-dra-dev"
WORKLOAD = {"name": "w", "claims": [{"name": "c", "requests": [{"name": "r", "deviceClass": "gpu.nvidia.com"}]}]}


def test_each_program_is_a_command_in_the_cluster_and_before_the_workloads() -> None:
    programs = {
        "kwok-dra:schedulers": [{"name": "packing"}],
        "kwok-dra:controllers": [{"name": "own", "binary": "/bin/sh"}],
    }
    pool = {"name": "a", "gpu": "l4"}
    made = run({"kwok-dra:nodePools": [pool], "kwok-dra:workloads": [WORKLOAD], **programs})
    for name in ("packing", "own"):
        command = made.resources[f"Command program-{name}"]
        assert command.parent == "AddedPrograms added-programs"
        assert COMMAND in command.dependencies
        assert command.deleted_with == COMMAND
        assert json.loads(command.inputs["stdin"])["name"] == name
        assert command.inputs["environment"]["KWOK_DRA_REPAIRS"] == "0"
        assert f"Command program-{name}" in made.resources["Deployment w"].dependencies
        assert f"Command program-{name}" not in made.resources["Node a-0"].dependencies


def test_a_stack_without_programs_has_no_such_component() -> None:
    assert "AddedPrograms added-programs" not in run({}).resources
