"""Schedulers and controllers of a stack: what they run as, what is refused, and webhooks of their manifests."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from topology.checks.added_programs import missing_programs
from topology.checks.validation import ConfigurationError, load
from topology.objects.added_programs import wanted
from topology.objects.local_webhooks import PORT, for_local_process, left_out
from topology.schema.stack import Topology

EXISTING = {"name": "c", "existing": {"kubeconfig": "k", "context": "x", "allow": True}}
OWN = {"name": "s", "binary": "./run.sh"}
DOCKER = {"name": "c", "runtime": "docker"}
POOL = {"name": "a", "gpu": "l4"}
CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "trains.example.com"},
    "spec": {"group": "example.com"},
}


def stack(folder: Path, **keys: Any) -> Topology:
    """Load a stack with a pool; a program `run.sh` is in its folder."""
    program = folder / "run.sh"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return load({"cluster": {"name": "c"}, "nodePools": [POOL], **keys}, folder)


def problems(folder: Path, **keys: Any) -> dict[str, str]:
    """Return the problems of such a stack by their keys."""
    with pytest.raises(ConfigurationError) as error:
        stack(folder, **keys)
    return {problem.path: problem.message for problem in error.value.problems}


def test_a_scheduler_is_kube_scheduler_with_the_configuration(tmp_path: Path) -> None:
    profile = {"plugins": {"score": {"disabled": [{"name": "*"}]}}}
    config = {
        "parallelism": 4,
        "leaderElection": {"leaderElect": True, "resourceName": "x"},
        "clientConnection": {"kubeconfig": "/etc/kubernetes/scheduler.conf", "qps": 7},
        "profiles": [profile, {"schedulerName": "other"}],
    }
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"kind": "KubeSchedulerConfiguration", **config}))
    for written in (config, "s.yaml"):
        topology = stack(tmp_path, schedulers=[{"name": "packing", "config": written}])
        (program,) = wanted(topology, tmp_path, tmp_path)
        assert program["files"]["config.yaml"] == {
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "parallelism": 4,
            "leaderElection": {"leaderElect": False, "resourceName": "x"},
            "clientConnection": {"kubeconfig": "{kubeconfig}", "qps": 7, "burst": 10000},
            "profiles": [{"schedulerName": "packing", **profile}, {"schedulerName": "other"}],
        }
        assert program["args"] == ["--config={folder}/config.yaml", "--secure-port={port}"]
        assert (program["name"], program["binary"], program["key"]) == ("packing", "", "kwok-dra:schedulers[0]")
        assert program["ready"] == "https://127.0.0.1:{port}/readyz"
        assert list(topology.scheduler_names) == ["default-scheduler", "packing", "other"]


def test_a_scheduler_of_a_stock_cluster_has_the_limits_of_kubernetes(tmp_path: Path) -> None:
    scheduler = {"name": "packing", "config": {"profiles": [{}]}}
    topology = stack(tmp_path, cluster={"name": "c", "tuning": "stock"}, schedulers=[scheduler])
    (program,) = wanted(topology, tmp_path, tmp_path)
    assert program["files"]["config.yaml"]["clientConnection"] == {"kubeconfig": "{kubeconfig}"}


def test_the_default_scheduler_is_the_component_of_the_cluster_on_its_own_port(tmp_path: Path) -> None:
    topology = stack(tmp_path, schedulers=[{"name": "default-scheduler", "config": {"profiles": [{}]}}])
    (program,) = wanted(topology, tmp_path, tmp_path)
    assert (program["name"], program["args"]) == ("kube-scheduler", ["--config={folder}/config.yaml"])
    assert list(topology.scheduler_names) == ["default-scheduler"]
    renamed = stack(
        tmp_path, schedulers=[{"name": "default-scheduler", "config": {"profiles": [{"schedulerName": "x"}]}}]
    )
    assert list(renamed.scheduler_names) == ["x"]


@pytest.mark.parametrize(
    ("scheduler", "as_stock"),
    [
        ({}, True),
        ({"config": {"profiles": [{"plugins": {"score": {"disabled": [{"name": "*"}]}}}]}}, True),
        ({"config": {"profiles": [{"plugins": {"filter": {"disabled": [{"name": "NodePorts"}]}}}]}}, False),
        ({"config": {"profiles": [{"plugins": {"multiPoint": {"disabled": [{"name": "*"}]}}}]}}, False),
        ({"config": {"profiles": [{"plugins": {"queueSort": {}, "preScore": {}}}]}}, True),
        ({"config": {"profiles": [{"pluginConfig": [{"name": "X", "args": "text"}]}]}}, True),
        ({"config": {"extenders": [{"urlPrefix": "http://127.0.0.1:1"}]}}, False),
        ({"binary": "./run.sh"}, False),
    ],
)
def test_a_scheduler_filters_as_stock_unless_it_says_otherwise(
    tmp_path: Path, scheduler: dict[str, Any], as_stock: bool
) -> None:
    topology = stack(tmp_path, schedulers=[{"name": "s"} | scheduler])
    assert topology.schedulers[0].filters_as_stock is as_stock


def test_programs_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "crd.yaml").write_text(yaml.safe_dump(CRD))
    program = {
        "binary": "./run.sh",
        "args": ["{port}"],
        "env": {"A": "{folder}"},
        "files": {"c.yaml": {"a": "{port.b}"}},
    }
    topology = stack(
        tmp_path,
        schedulers=[{"name": "s", "schedulerNames": ["one", "two"]} | program],
        controllers=[
            {"name": "trains", "manifests": ["crd.yaml"], "ready": "http://127.0.0.1:{port}/healthz"} | program
        ],
    )
    scheduler, controller = wanted(topology, tmp_path, tmp_path)
    assert scheduler["binary"] == controller["binary"] == str(tmp_path / "run.sh")
    assert (controller["args"], controller["env"]) == (["{port}"], {"A": "{folder}"})
    assert (controller["files"], controller["objects"]) == ({"c.yaml": {"a": "{port.b}"}}, [CRD])
    assert (scheduler["ready"], controller["ready"]) == ("", "http://127.0.0.1:{port}/healthz")
    assert list(topology.scheduler_names) == ["default-scheduler", "one", "two"]
    assert topology.controllers[0].api_groups == {"example.com"}


def test_a_program_is_found_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack(tmp_path)
    monkeypatch.chdir(tmp_path)
    topology = stack(Path(), schedulers=[{"name": "s", "binary": "./run.sh"}])
    assert wanted(topology, Path(), Path())[0]["binary"] == str(tmp_path / "run.sh")
    named = stack(Path(), schedulers=[{"name": "s", "binary": "sh"}])
    assert wanted(named, Path(), Path())[0]["binary"].endswith("/bin/sh")


def test_the_groups_that_a_controller_adds(tmp_path: Path) -> None:
    service = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "a"}}
    objects = [CRD | {"spec": {"group": {}}}, service | {"spec": {"group": "served.example.com"}}]
    (tmp_path / "a.yaml").write_text(yaml.safe_dump_all(objects))
    topology = stack(tmp_path, controllers=[{"name": "c", "binary": "./run.sh", "manifests": ["a.yaml"]}])
    assert topology.controllers[0].api_groups == {"served.example.com"}


def test_nothing_runs_beside_an_existing_cluster(tmp_path: Path) -> None:
    topology = stack(tmp_path, cluster=EXISTING, schedulers=[{"name": "s", "binary": "./run.sh"}])
    assert wanted(topology, tmp_path, tmp_path) == []
    assert "s" in topology.scheduler_names


@pytest.mark.parametrize(
    ("keys", "path", "words"),
    [
        ({"schedulers": [{"name": "s", "binary": "./run.sh", "config": {"a": 1}}]}, "schedulers[0]", "remove one"),
        ({"schedulers": [{"name": "s", "args": ["x"]}]}, "schedulers[0]", "has args without binary"),
        ({"schedulers": [{"name": "s", "schedulerNames": ["x"]}]}, "schedulers[0]", "are in its profiles"),
        ({"schedulers": [{"name": "default-scheduler", "binary": "./run.sh"}]}, "schedulers[0]", "another name"),
        ({"schedulers": [{"name": "s", "config": {"kind": "Pod"}}]}, "schedulers[0]", "KubeSchedulerConfiguration"),
        ({"schedulers": [{"name": "s", "config": {"profiles": {}}}]}, "schedulers[0]", "must be a list"),
        ({"schedulers": [{"name": "s", "config": {"profiles": [{}, 3]}}]}, "schedulers[0]",
         "config.profiles[1] must be a mapping, but is 3"),
        ({"schedulers": [{"name": "s", "config": {"profiles": [{"plugins": [1]}]}}]}, "schedulers[0]",
         "config.profiles[0].plugins must be a mapping, but is [1]"),
        ({"schedulers": [{"name": "s", "config": {"profiles": [{"pluginConfig": {}}]}}]}, "schedulers[0]",
         "config.profiles[0].pluginConfig must be a list, but is {}"),
        ({"schedulers": [{"name": "s", "config": {"leaderElection": 1}}]}, "schedulers[0]", "must be a mapping"),
        ({"schedulers": [{"name": "s", "config": {"clientConnection": [1]}}]}, "schedulers[0]", "must be a mapping"),
        ({"schedulers": [{"name": "s", "config": "none.yaml"}]}, "schedulers[0].config", "cannot be read"),
        ({"schedulers": [{"name": "etcd"}]}, "schedulers[0].name", "component of the cluster itself"),
        ({"schedulers": [{"name": "s"}], "controllers": [OWN]}, "controllers[0].name", "already the name"),
        ({"controllers": [{"name": "s"}]}, "controllers[0]", "has no binary"),
        ({"cluster": DOCKER, "schedulers": [{"name": "s"}]}, "schedulers[0]", "in containers"),
        ({"cluster": DOCKER | {"runtime": "podman"}, "schedulers": [{"name": "s"}]}, "schedulers[0]", "in containers"),
        ({"schedulers": [{"name": "s", "env": {"A": "b"}}]}, "schedulers[0]", "has env without binary"),
        ({"schedulers": [{"name": "s", "files": {"a": "b"}}]}, "schedulers[0]", "has files without binary"),
        ({"schedulers": [{"name": "s", "config": "run.sh"}]}, "schedulers[0].config", "must contain a mapping"),
        ({"schedulers": [{"name": "kube-scheduler"}]}, "schedulers[0].name",
         "use another name, or default-scheduler to configure the kube-scheduler there is"),
    ],
)  # fmt: skip
def test_what_cannot_run_is_said_with_its_key(tmp_path: Path, keys: dict[str, Any], path: str, words: str) -> None:
    assert words in problems(tmp_path, **keys)[path]


def test_a_controller_cannot_be_a_component_of_the_cluster(tmp_path: Path) -> None:
    assert problems(tmp_path, controllers=[OWN | {"name": "kwok-controller"}]) == {
        "controllers[0].name": "'kwok-controller' is a component of the cluster itself: use another name"
    }


def test_a_program_that_is_missing_is_told_before_an_update_and_does_not_matter_to_others(tmp_path: Path) -> None:
    schedulers = [{"name": "a", "binary": "./no"}, {"name": "b", "binary": "no-such"}, {"name": "c"}]
    topology = stack(tmp_path, schedulers=schedulers, controllers=[OWN, {"name": "kueue"}])
    told = {problem.path: problem.message for problem in missing_programs(topology, tmp_path, tmp_path)}
    assert list(told) == ["schedulers[0].binary", "schedulers[1].binary", "controllers[1]"]
    assert "there is no program './no' relative to the project's folder" in told["schedulers[0].binary"]
    assert "'no-such' on PATH" in told["schedulers[1].binary"]
    assert "make tools-kueue" in told["controllers[1]"]
    existing = stack(tmp_path, cluster=EXISTING, schedulers=schedulers)
    assert list(missing_programs(existing, tmp_path, tmp_path)) == []


def test_kinds_and_namespaces_of_a_controller_can_be_used_by_manifests(tmp_path: Path) -> None:
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "rails"}}
    train = {"apiVersion": "example.com/v1", "kind": "Train", "metadata": {"name": "t", "namespace": "rails"}}
    (tmp_path / "crd.yaml").write_text(yaml.safe_dump_all([CRD, space]))
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(train))
    entry = {"name": "m", "files": ["train.yaml"]}
    stack(tmp_path, controllers=[{"name": "t", "binary": "./run.sh", "manifests": ["crd.yaml"]}], manifests=[entry])
    assert "is not part of Kubernetes" in problems(tmp_path, manifests=[entry])["manifests[0].files[0]"]


SERVICE = {"name": "hooks", "namespace": "rails", "path": "/mutate", "port": 9443}


def webhook(kind: str = "MutatingWebhookConfiguration") -> dict[str, Any]:
    hooks = [
        {"name": "a", "clientConfig": {"service": {**SERVICE}, "caBundle": "old"}},
        {"name": "b", "clientConfig": {"url": "u"}},
    ]
    return {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": "w"}, "webhooks": hooks}


@pytest.mark.parametrize("kind", ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"])
def test_webhooks_of_a_service_are_turned_to_the_process(kind: str) -> None:
    (turned,) = for_local_process([webhook(kind)], "ca")
    assert [hook["clientConfig"] for hook in turned["webhooks"]] == [
        {"url": f"https://127.0.0.1:{PORT}/mutate", "caBundle": "ca"},
        {"url": "u"},
    ]


def test_so_are_conversions_unless_the_service_is_external() -> None:
    conversion = {
        "strategy": "Webhook",
        "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": {"service": SERVICE}},
    }
    definition = CRD | {"spec": {"group": "example.com", "conversion": conversion}}
    plain, turned = for_local_process([CRD, definition], "ca")
    assert plain == CRD
    assert turned["spec"]["conversion"]["webhook"] == {
        "conversionReviewVersions": ["v1"],
        "clientConfig": {"url": f"https://127.0.0.1:{PORT}/mutate", "caBundle": "ca"},
    }
    external = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "hooks", "namespace": "rails"},
        "spec": {"type": "ExternalName", "externalName": "localhost"},
    }
    assert for_local_process([external, definition, webhook()], "ca") == [external, definition, webhook()]
    inside = external | {"spec": {"type": "ClusterIP"}}
    assert for_local_process([inside, webhook()], "ca")[1] == for_local_process([webhook()], "ca")[0]


def test_a_webhook_needs_no_path() -> None:
    plain = webhook()
    del plain["webhooks"][0]["clientConfig"]["service"]["path"]
    assert for_local_process([plain], "ca")[0]["webhooks"][0]["clientConfig"]["url"] == f"https://127.0.0.1:{PORT}"


def test_what_creates_pods_is_left_out_and_named() -> None:
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "manager"},
        "spec": {"replicas": 0},
    }
    assert for_local_process([deployment, CRD], "ca") == [CRD]
    assert list(left_out([deployment, CRD])) == ["Deployment manager"]
