"""JobSet, as its page of docs runs it; and beside it a queue of Kueue and a scheduler in Python."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.local import processes
from tests.e2e.project import ROOT, TOOLS, Project, kill, listening, wait_until
from topology.kubernetes.objects import given

STACK = "jobset"
LOOPBACK = {"0100007F"}
BUILT = TOOLS / "jobset/v0.12.0"


def documented(name: str) -> str:
    """Return a file that docs/control-plane.md shows."""
    page = (ROOT / "docs/control-plane.md").read_text()
    (found,) = re.findall(rf"^```yaml\n# {re.escape(name)}\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    return str(found)


def with_jobset(project: Project) -> Project:
    """Prepare the stack that the docs show, with the program on PATH and the manifests that kustomize makes."""
    project.environment["PATH"] = f"{BUILT}:{project.environment['PATH']}"
    for name, file in ((f"stacks/Pulumi.{STACK}.yaml",) * 2, ("training.yaml",) * 2):
        (project.source / file).write_text(documented(name))
    made = project.run("kubectl", "kustomize", str(BUILT / "manifests/default")).stdout
    (project.source / "jobset.yaml").write_text(made)
    return project


@pytest.fixture(scope="module")
def project(new_project: Any) -> Project:
    found = with_jobset(new_project(STACK))
    assert "Deployment jobset-controller-manager of the manifests not created" in found.up()
    return found


def claims(project: Project, workload: str) -> list[dict[str, Any]]:
    """Return the claims of a workload in the outputs."""
    return [claim for claim in project.outputs()["claims"] if claim["workload"] == workload]


def addresses(project: Project) -> set[str]:
    """Return the addresses on which the components of the cluster listen."""
    return {address for pid in project.pids().values() for address, _ in listening(pid)}


def jobset(project: Project, name: str, pods: int, **labels: str) -> dict[str, Any]:
    """Return an entry of `manifests`: the JobSet of the docs under another name, of one Job with some pods."""
    made = list(yaml.safe_load_all(documented("training.yaml")))[1]
    made["metadata"] = {"name": name} | given(labels=labels)
    (job,) = made["spec"]["replicatedJobs"]
    job["replicas"] = 1
    job["template"]["spec"] |= {"parallelism": pods, "completions": pods}
    (project.source / f"{name}.yaml").write_text(yaml.safe_dump(made))
    return {"name": name[:63], "files": [f"{name}.yaml"], "expect": {"allocated": pods}}


def test_the_pods_of_a_jobset_have_devices(project: Project) -> None:
    found = claims(project, "training")
    assert len(found) == 4
    assert {claim["pod"].rpartition("-")[0] for claim in found} == {
        f"training-workers-{job}-{pod}" for job in range(2) for pod in range(2)
    }
    assert {claim["node"] for claim in found} <= {"h100-0", "h100-1"}
    project.up("--expect-no-changes")
    assert addresses(project) == LOOPBACK


def test_its_webhooks_decide(project: Project) -> None:
    """What they refuse is an error of the update, in their words."""
    with project.configuration(STACK) as config:
        config["manifests"].append(jobset(project, "b" * 70, 1))
    assert "vjobset.kb.io" in project.fails()
    with project.configuration(STACK) as config:
        del config["manifests"][1]
    project.up()


def test_killed_it_is_healed_before_its_objects(project: Project) -> None:
    before = project.pids()
    kill(before["jobset"])
    wait_until(lambda: not processes.running(before["jobset"]))
    with project.configuration(STACK) as config:
        config["manifests"].append(jobset(project, "second", 2))
    project.up()
    after = project.pids()
    assert [name for name in after if after[name] != before[name]] == ["jobset"]
    assert len(claims(project, "second")) == 2
    project.up("--expect-no-changes")


def plain(project: Project) -> dict[str, Any]:
    """Return an entry of `manifests`: a Deployment whose pods name the scheduler in Python."""
    spec = {"schedulerName": "python", "containers": [{"name": "c", "image": "i"}]}
    labels = {"app": "plain"}
    content = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "plain"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }
    (project.source / "plain.yaml").write_text(yaml.safe_dump(content))
    return {"name": "plain", "files": ["plain.yaml"]}


def test_beside_kueue_and_a_scheduler_in_python(project: Project) -> None:
    (project.source / "python_scheduler.py").symlink_to(ROOT / "tests/e2e/python_scheduler.py")
    queue = {"kueue.x-k8s.io/queue-name": "team"}
    frameworks = ["batch/job", "jobset.x-k8s.io/jobset"]
    with project.configuration(STACK) as config:
        config["schedulers"] = [
            {"name": "python", "binary": "./python_scheduler.py", "args": ["{server}", "{certificates}", "python"]}
        ]
        config["controllers"].append({"name": "kueue", "config": {"integrations": {"frameworks": frameworks}}})
        config["queues"] = [{"name": "team", "flavors": [{"name": "h100", "quotas": {"nvidia.com/gpu": 4}}]}]
        config["manifests"] += [plain(project), jobset(project, "queued", 3, **queue)]
        config["manifests"].append(jobset(project, "held", 5, **queue) | {"expect": {"allocated": 0, "pending": 5}})
    project.up()
    assert len(claims(project, "queued")) == 3
    workloads = project.kubectl("get", "workloads.kueue.x-k8s.io", "--output", "json")["items"]
    assert [workload["spec"]["queueName"] for workload in workloads] == ["team", "team"]
    held = claims(project, "held")
    assert [(claim["pod"], claim["podPhase"]) for claim in held] == [
        (f"held-workers-0-{number}", "Suspended") for number in range(5)
    ]
    (reason,) = {claim["reason"] for claim in held}
    assert reason.startswith("queue team: ")
    nodes = [pod["spec"].get("nodeName") for pod in project.get("pods") if pod["spec"]["schedulerName"] == "python"]
    assert sorted(nodes) == ["h100-0", "h100-1"]
    project.up("--expect-no-changes")
    assert addresses(project) == LOOPBACK


def run(project: Project, module: str, *arguments: str) -> str:
    return project.run(sys.executable, "-m", module, "--stack", *arguments).stdout


def test_views_and_twins(project: Project, tmp_path: Path) -> None:
    assert "queued-workers-0-0" in run(project, "views", STACK, "status")
    run(project, "views", STACK, "picture", "--file", str(tmp_path / "fleet.html"))
    run(project, "twin", STACK, "dump", "--file", str(tmp_path / "dump.yaml"))
    run(project, "twin", "twin", "read", str(tmp_path / "dump.yaml"))
    twin = yaml.safe_load((project.source / "stacks/Pulumi.twin.yaml").read_text())["config"]
    assert [pool["nodes"] for pool in twin["kwok-dra:nodePools"]] == [2]


def test_what_leaves_takes_its_objects_along(project: Project) -> None:
    with project.configuration(STACK) as config:
        del config["controllers"], config["queues"], config["schedulers"], config["manifests"]
    project.up()
    assert [entry for entry in project.get("crds") if entry["spec"]["group"].endswith(".x-k8s.io")] == []
    assert project.get("mutatingwebhookconfigurations") == []
    assert not {"jobset", "kueue", "python"} & project.pids().keys()
    project.destroy()
    assert list(project.clusters.iterdir()) == []


def test_on_an_older_kubernetes(new_project: Any) -> None:
    older = with_jobset(new_project(STACK))
    with older.configuration(STACK) as config:
        config["cluster"] = {"kubeVersion": "1.36.3"}
    older.up()
    assert len(claims(older, "training")) == 4
    older.up("--expect-no-changes")
    older.destroy()
