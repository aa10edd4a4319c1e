"""Kueue: what its queues hold, written short or as manifests, after a kill, in a twin; and that its objects go too."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.local import processes
from tests.e2e.project import ROOT, Project, kill, listening, wait_until
from topology.checks.validation import load
from topology.objects import claims, kueue, namespaces, pods
from topology.schema.settings import raw_configuration
from topology.schema.stack import Topology

STACK = "queues"
SHOWN = ("workload", "namespace", "state", "podPhase", "reason")


@pytest.fixture(scope="module")
def project(new_project: Any) -> Project:
    found: Project = new_project(STACK)
    found.up()
    return found


def shown(project: Project) -> Counter[tuple[str, ...]]:
    """Return how many claims the outputs show of each kind."""
    return Counter(tuple(claim.get(key, "") for key in SHOWN) for claim in project.outputs()["claims"])


def topology(folder: Path = ROOT, stack: str = STACK) -> Topology:
    config = yaml.safe_load((folder / f"stacks/Pulumi.{stack}.yaml").read_text())["config"]
    return load(raw_configuration({key: json.dumps(value) for key, value in config.items()}, "kwok-dra", stack), folder)


def write(file: Path, *objects: dict[str, Any]) -> list[str]:
    file.write_text(yaml.safe_dump_all(objects))
    return [file.name]


def as_manifests(project: Project) -> list[dict[str, Any]]:
    """Return entries of `manifests` with the same objects as the stack has."""
    stack = topology()
    objects = [*namespaces.namespaces(stack), *kueue.objects(stack)]
    entries: list[dict[str, Any]] = [{"name": "queues", "files": write(project.source / "queues.yaml", *objects)}]
    for workload in stack.workloads:
        made = [claims.resource_claim_template(workload, claim) for claim in workload.claims]
        files = write(project.source / f"{workload.name}.yaml", *made, *pods.workload_objects(workload))
        expect = workload.expect.model_dump(exclude_none=True)
        entries.append({"name": workload.name, "files": files, "after": [entries[-1]["name"]], "expect": expect})
    return entries


def test_what_was_killed_decides_again_and_the_same(project: Project) -> None:
    before, pids = shown(project), project.pids()
    assert {address for address, _ in listening(pids["kueue"])} == {"0100007F"}
    kill(pids["kueue"])
    wait_until(lambda: not processes.running(pids["kueue"]))
    project.up()
    after = project.pids()
    assert [name for name in after if after[name] != pids[name]] == ["kueue"]
    assert shown(project) == before
    project.up("--expect-no-changes")


def test_a_twin_has_the_same_queues_and_comes_to_the_same(new_project: Any, project: Project) -> None:
    again: Project = new_project()
    dump = str(again.folder / "dump.yaml")
    project.run(sys.executable, "-m", "twin", "--stack", STACK, "dump", "--file", dump)
    said = again.run(sys.executable, "-m", "twin", "--stack", "twin", "read", "--keep-names", dump).stdout
    assert "note:" not in said
    original, twin = topology(), topology(again.source, "twin")
    assert kueue.objects(twin) == kueue.objects(original)
    assert kueue.resources(twin) == kueue.resources(original)
    assert came_to(twin) == came_to(original)
    again.select("twin")
    again.up()
    assert shown(again) == shown(project)
    again.destroy()


def came_to(stack: Topology) -> dict[str, tuple[object, ...]]:
    """Return the queue of each workload, and what it expects."""
    return {
        entry.name: (entry.kind, entry.queue, entry.replicas, entry.expected_allocated, entry.expected_pending)
        for entry in stack.workloads
    }


def test_without_its_quota_a_workload_waits_and_with_more_it_runs(project: Project) -> None:
    with project.configuration(STACK) as config:
        for queue in config["queues"]:
            queue["flavors"][0]["quotas"] = {"nvidia.com/gpu": 5}
        config["workloads"][2]["expect"] = {"allocated": 2}
    project.up()
    assert {state for workload, _, state, *_ in shown(project) if workload == "sweep"} == {"released"}


def test_the_same_objects_as_manifests_come_to_the_same(new_project: Any, project: Project) -> None:
    plain: Project = new_project(STACK)
    (plain.source / f"stacks/Pulumi.{STACK}.yaml").write_text((ROOT / f"stacks/Pulumi.{STACK}.yaml").read_text())
    plain.up()
    before = shown(plain)
    plain.destroy()
    with plain.configuration(STACK) as config:
        del config["queues"], config["workloads"]
        config["manifests"] = as_manifests(plain)
    plain.up()
    assert shown(plain) == before
    plain.up("--expect-no-changes")
    plain.destroy()


def test_kueue_leaves_with_its_objects(project: Project) -> None:
    with project.configuration(STACK) as config:
        del config["controllers"], config["queues"], config["workloads"]
    project.up()
    assert "kueue" not in project.pids()
    assert [entry for entry in project.get("crds") if entry["spec"]["group"].startswith("kueue")] == []
    assert project.get("mutatingwebhookconfigurations") == project.get("validatingwebhookconfigurations") == []
    project.destroy()
    assert list(project.clusters.iterdir()) == []
