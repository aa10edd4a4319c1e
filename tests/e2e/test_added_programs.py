"""Schedulers and controllers beside the cluster: what they decide, what they say, and that none of them stays."""

import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.local import processes
from tests.e2e.project import ROOT, Project, kill, listening, wait_until

STACK = "schedulers"
LOOPBACK = {"0100007F"}
PYTHON = {"name": "python", "binary": "./python_scheduler.py", "args": ["{server}", "{certificates}", "python"]}


@pytest.fixture(scope="module")
def project(new_project: Any) -> Project:
    found: Project = new_project(STACK)
    (found.source / "python_scheduler.py").symlink_to(ROOT / "tests/e2e/python_scheduler.py")
    with found.configuration(STACK) as config:
        for workload in config["workloads"]:
            del workload["expect"]
    found.up()
    return found


def nodes_of(project: Project, workload: str) -> list[str]:
    """Return the node of each claim of a workload, as the outputs have it."""
    return [claim["node"] for claim in project.outputs()["claims"] if claim["workload"] == workload]


def components(project: Project) -> set[str]:
    """Return the components that kwokctl shows."""
    return set(project.run("kwokctl", "get", "components", "--name", "kwok-dra-schedulers").stdout.split())


def kept_except(before: dict[str, int], *names: str) -> dict[str, int]:
    return {name: pid for name, pid in before.items() if name not in names}


def test_two_schedulers_place_the_same_workload_differently(project: Project) -> None:
    assert len(set(nodes_of(project, "packing"))) == 1
    assert len(set(nodes_of(project, "spreading"))) == 3
    project.up("--expect-no-changes")
    assert "bin-packing" in components(project)
    assert {address for pid in project.pids().values() for address, _ in listening(pid)} == LOOPBACK


def test_a_broken_configuration_ends_in_its_own_words_and_the_previous_one_runs_on(project: Project) -> None:
    good = (project.source / f"stacks/Pulumi.{STACK}.yaml").read_text()
    with project.configuration(STACK) as config:
        (entry,) = config["schedulers"]
        entry["config"]["profiles"][0]["plugins"]["score"]["enabled"] = [{"name": "NoSuchPlugin"}]
        config["schedulers"].append({"name": "new", "config": {"percentageOfNodesToScore": 1000}})
    said = project.fails()
    assert "kwok-dra:schedulers[0]: bin-packing exited while it was starting" in said
    assert "NoSuchPlugin" in said
    assert "kwok-dra:schedulers[1]: new exited while it was starting" in said
    assert "percentageOfNodesToScore" in said
    assert "new" not in components(project) | project.pids().keys()
    assert "bin-packing" in project.pids()
    (project.source / f"stacks/Pulumi.{STACK}.yaml").write_text(good)
    project.up()
    project.up("--expect-no-changes")


def test_a_change_restarts_that_scheduler_and_nothing_else(project: Project) -> None:
    before = project.pids()
    with project.configuration(STACK) as config:
        config["schedulers"][0]["config"]["parallelism"] = 4
        config["schedulers"].append({"name": "default-scheduler", "config": {"parallelism": 8}})
    project.up()
    after = project.pids()
    changed = ("bin-packing", "kube-scheduler")
    assert kept_except(after, *changed) == kept_except(before, *changed)
    assert all(after[name] != before[name] for name in changed)
    with project.configuration(STACK) as config:
        del config["schedulers"][1]
    project.up()
    again = project.pids()
    assert kept_except(again, "kube-scheduler") == kept_except(after, "kube-scheduler")
    assert "--config=" not in Path("/proc", str(again["kube-scheduler"]), "cmdline").read_text()
    project.up("--expect-no-changes")


def manifest(project: Project, scheduler: str) -> str:
    """Write a Deployment without claims whose pods name a scheduler; return its path in the project."""
    containers = [{"name": "c", "image": "i"}]
    tolerations = [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}]
    template = {
        "metadata": {"labels": {"app": "plain"}},
        "spec": {"schedulerName": scheduler, "containers": containers, "tolerations": tolerations},
    }
    content = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "plain"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "plain"}}, "template": template},
    }
    (project.source / "plain.yaml").write_text(yaml.safe_dump(content))
    return "plain.yaml"


def test_a_program_in_python_places_pods(project: Project) -> None:
    with project.configuration(STACK) as config:
        config["schedulers"].append(PYTHON)
        config["manifests"] = [{"name": "plain", "files": [manifest(project, "python")]}]
    project.up()
    pods = [pod for pod in project.get("pods") if pod["metadata"]["labels"]["app"] == "plain"]
    # The two nodes that have no pods.
    free = {f"filled-{index}" for index in range(3)}.difference(nodes_of(project, "packing"))
    assert sorted(pod["spec"]["nodeName"] for pod in pods) == sorted(free)
    assert {pod["spec"]["schedulerName"] for pod in pods} == {"python"}
    project.up("--expect-no-changes")


@pytest.mark.parametrize("name", ["bin-packing", "python"])
def test_what_was_killed_is_started_again(project: Project, name: str) -> None:
    before = project.pids()
    kill(before[name])
    wait_until(lambda: not processes.running(before[name]))
    project.up()
    after = project.pids()
    assert kept_except(after, name) == kept_except(before, name)
    assert after[name] != before[name]
    project.up("--expect-no-changes")


def test_all_is_healed_together(project: Project) -> None:
    before = project.pids()
    for pid in before.values():
        kill(pid, signal.SIGKILL)
    project.up()
    after = project.pids()
    assert after.keys() == before.keys()
    assert not set(after.values()) & set(before.values())
    project.up("--expect-no-changes")


SERVICE = {"name": "hooks", "namespace": "rails"}
VERSION: dict[str, Any] = {
    "served": True,
    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
}
HOOKS = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "rails"}},
    {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "trains.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"kind": "Train", "plural": "trains"},
            "versions": [VERSION | {"name": "v1", "storage": True}, VERSION | {"name": "v2", "storage": False}],
            "conversion": {
                "strategy": "Webhook",
                "webhook": {
                    "conversionReviewVersions": ["v1"],
                    "clientConfig": {"service": SERVICE | {"path": "/convert"}},
                },
            },
        },
    },
    {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "labels"},
        "webhooks": [
            {
                "name": "labels.example.com",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "clientConfig": {"service": SERVICE | {"path": "/mutate"}},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
            }
        ],
    },
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "manager", "namespace": "rails"},
        "spec": {},
    },
]
TRAIN = {"apiVersion": "example.com/v1", "kind": "Train", "metadata": {"name": "t", "namespace": "rails"}}


def test_webhooks_and_conversions_of_a_controller_reach_its_process(project: Project) -> None:
    (project.source / "python_controller.py").symlink_to(ROOT / "tests/e2e/python_controller.py")
    (project.source / "hooks.yaml").write_text(yaml.safe_dump_all(HOOKS))
    (project.source / "train.yaml").write_text(yaml.safe_dump(TRAIN))
    controller = {
        "name": "trains",
        "binary": "./python_controller.py",
        "args": ["{port.webhook}", "{certificates}"],
        "manifests": ["hooks.yaml"],
        "ready": "https://127.0.0.1:{port.webhook}/readyz",
    }
    with project.configuration(STACK) as config:
        config["controllers"] = [controller]
        config["workloads"][0]["replicas"] = 4
        config["manifests"].append({"name": "trains", "files": ["train.yaml"]})
    said = project.up()
    assert "Deployment manager of the manifests" in said
    labelled = [pod for pod in project.get("pods") if pod["metadata"]["labels"].get("labelled")]
    assert {pod["metadata"]["labels"]["app"] for pod in labelled} == {"packing"}
    (train,) = project.kubectl("get", "trains.v2.example.com", "--namespace", "rails", "--output", "json")["items"]
    assert train["apiVersion"] == "example.com/v2"
    assert {address for address, _ in listening(project.pids()["trains"])} == LOOPBACK
    project.up("--expect-no-changes")


def test_a_killed_controller_is_there_before_what_its_webhooks_are_asked_about(project: Project) -> None:
    kill(project.pids()["trains"])
    with project.configuration(STACK) as config:
        config["workloads"][0]["replicas"] = 3
        config["workloads"][1]["replicas"] = 4
    project.up()


def test_a_controller_that_leaves_takes_its_objects_along(project: Project) -> None:
    with project.configuration(STACK) as config:
        del config["controllers"], config["manifests"][1]
    project.up()
    assert project.get("mutatingwebhookconfigurations") == []
    assert [entry for entry in project.get("crds") if entry["spec"]["group"] == "example.com"] == []
    assert "trains" not in project.pids().keys() | components(project)
    project.up("--expect-no-changes")


def test_a_name_that_no_scheduler_has_is_said_before_the_run(project: Project) -> None:
    with project.configuration(STACK) as config:
        config["workloads"][0]["scheduler"] = "bin-paking"
    said = project.fails()
    assert "kwok-dra:workloads[0].scheduler" in said
    assert "did you mean 'bin-packing'" in said
    with project.configuration(STACK) as config:
        config["workloads"][0]["scheduler"] = "bin-packing"


def test_nothing_is_left(project: Project) -> None:
    pids = project.pids().values()
    project.destroy()
    assert not [pid for pid in pids if processes.running(pid)]
    assert list(project.clusters.iterdir()) == []
