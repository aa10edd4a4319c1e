"""What the program registers for schedulers and controllers: one Command each, before everything that needs them."""

import json
from pathlib import Path

import pytest
import yaml

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
        environment = command.inputs["environment"]
        assert (environment["KWOK_DRA_REPAIRS"], environment["KWOK_DRA_READY_TIMEOUT"]) == ("0", "300")
        assert command.inputs["addPreviousOutputInEnv"] is False
        assert f"Command program-{name}" in made.resources["Deployment w"].dependencies
        assert f"Command program-{name}" not in made.resources["Node a-0"].dependencies


def test_a_stack_without_programs_has_no_such_component() -> None:
    assert "AddedPrograms added-programs" not in run({}).resources


def test_a_repair_is_a_change_and_what_is_left_out_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("cluster.fleet.added_program.repairs", lambda cluster, name: {"own": 2}[name])
    manager = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "manager"}, "spec": {}}
    monkeypatch.chdir(tmp_path)
    Path("manager.yaml").write_text(yaml.safe_dump(manager))
    made = run({"kwok-dra:controllers": [{"name": "own", "binary": "/bin/sh", "manifests": ["manager.yaml"]}]})
    assert made.resources["Command program-own"].inputs["environment"]["KWOK_DRA_REPAIRS"] == "2"
    left_out = "Deployment manager of the manifests not created: the process of own takes the place"
    assert [text for text in made.infos if "manager" in text] == [f"kwok-dra:controllers[0]: {left_out}"]


def test_queues_come_one_after_the_other_after_kueue_and_before_the_workloads() -> None:
    queue = {"name": "a", "namespaces": ["t"], "flavors": [{"name": "f", "quotas": {"cpu": 1}}]}
    made = run(
        {
            "kwok-dra:controllers": [{"name": "kueue", "binary": "/bin/sh"}],
            "kwok-dra:queues": [queue],
            "kwok-dra:nodePools": [{"name": "a", "gpu": "l4"}],
            "kwok-dra:workloads": [WORKLOAD],
        }
    ).resources
    names = [name for name, entry in made.items() if entry.parent == "Queues queues"]
    assert [name.split(" ")[0] for name in names] == ["ResourceFlavor", "ClusterQueue", "LocalQueue"]
    for index, name in enumerate(names):
        assert made[name].dependencies >= {"Command program-kueue", "Namespace t", *names[max(index - 1, 0) : index]}
    assert made["Deployment w"].dependencies >= {*names}
