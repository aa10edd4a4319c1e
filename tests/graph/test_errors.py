"""Errors that end the program with one message, before anything is created."""

from pathlib import Path
from typing import Any

import pulumi
import pytest

from tests.graph.recording import KUBECONFIG, Recording, run, stack_configuration

DEV = stack_configuration("dev")


def failure(configuration: dict[str, object]) -> str:
    """Return the message of a program that fails before it registers a resource."""
    recording = Recording()
    with pytest.raises(pulumi.RunError) as raised:
        run(configuration, recording=recording)
    assert not [key for key, found in recording.resources.items() if found.custom]
    return str(raised.value)


def test_assertions_inside_applies_are_awaited() -> None:
    """Otherwise every test here that checks outputs would pass, whatever their values."""

    def program() -> None:
        def check(value: int) -> None:
            assert value == 2

        pulumi.Output.from_input(1).apply(check)

    with pytest.raises(AssertionError):
        run({}, program)


def test_an_invalid_configuration() -> None:
    configuration = DEV | {
        "kwok-dra:nodePool": [],
        "kwok-dra:nodePools": [{"name": "Node", "gpu": "kwok-l4"}],
        "kwok-dra:workloads": "none",
        "another:project": {"nodePool": []},
    }
    assert failure(configuration) == (
        "the configuration has 3 problems; nothing was created or changed\n"
        "  kwok-dra:nodePool: there is no such key; did you mean 'nodePools'? The keys here "
        "are catalogue, claims, cluster, controllers, deviceClasses, deviceTaintRules, fabricPools, manifests, "
        "nodePools, priorityClasses, queues, schedulers, workloads\n"
        "  kwok-dra:nodePools[0].name: 'Node' is not a DNS label: use at most 63 lower-case letters, digits and '-', "
        "beginning and ending with a letter or digit\n"
        "  kwok-dra:workloads: must be a list, but is 'none'"
    )


def test_an_invalid_configuration_registers_nothing() -> None:
    recording = Recording()
    with pytest.raises(pulumi.RunError):
        run({"kwok-dra:cluster": []}, recording=recording)
    assert recording.order == ["Stack kwok-dra-dev"]
    assert recording.outputs == {"Stack kwok-dra-dev": {}}


@pytest.mark.parametrize("configuration", [{}, {"kwok-dra:cluster": {}}])
def test_a_cluster_is_named_after_the_stack(configuration: dict[str, object]) -> None:
    """Nothing else needs to be configured."""
    assert run(configuration).outputs["Stack kwok-dra-dev"]["clusterName"] == "kwok-dra-dev"


def test_an_empty_stack_file_does_not_empty_the_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "Pulumi.dev.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert "restore it with `git checkout stacks/Pulumi.dev.yaml`" in failure({})


@pytest.mark.parametrize("missing", [["kwokctl"], ["kubectl"], ["kwokctl", "kubectl"]])
def test_missing_programs(programs: Path, missing: list[str]) -> None:
    for name in missing:
        (programs / name).unlink()
    assert failure(DEV) == (
        f"{' and '.join(missing)} not found on PATH. Run `make tools` and then `source toolchain/activate`, or install "
        "KWOK v0.8.0 or newer (https://kwok.sigs.k8s.io/docs/user/installation/) and kubectl"
    )


@pytest.mark.parametrize(
    ("built", "holds"),
    [([], "none"), (["v1.36.3"], "1.36.3"), (["v1.34.1", "v1.36.3"], "1.34.1, 1.36.3")],
)
def test_a_kubernetes_version_that_is_not_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, built: list[str], holds: str
) -> None:
    for version in built:
        (tmp_path / "kubernetes" / version).mkdir(parents=True)
    monkeypatch.setenv("KWOK_DRA_TOOLS", str(tmp_path))
    assert failure(DEV) == (
        f"kwok-dra:cluster.kubeVersion: Kubernetes 1.37.2 is not built; the toolchain holds {holds}. Use one of these, "
        "or build more with `make tools` and `make tools-1.36`"
    )


def test_versions_that_need_no_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that is built, and any version for a container runtime, which uses images."""
    (tmp_path / "kubernetes" / "v1.37.2").mkdir(parents=True)
    monkeypatch.setenv("KWOK_DRA_TOOLS", str(tmp_path))
    run(DEV)
    run(DEV | {"kwok-dra:cluster": {"runtime": "docker", "kubeVersion": "1.35.0"}})


@pytest.mark.parametrize(
    ("objects", "message", "summary"),
    [
        (
            [],
            "workload fake-pod: 0 of 1 pods run after 120 s (kwok-dra:workloads readyTimeoutSeconds)",
            "0 of 0 claims allocated, 0 of 0 pods running, 0 of 0 devices in use on 0 nodes",
        ),
        (
            None,
            f"cluster kwok-dra-dev does not answer: {KUBECONFIG} does not say how to reach it: [Errno 2] No such file "
            f"or directory: '{KUBECONFIG}'. Run `pulumi up` again, which restarts what has stopped. If that does not "
            "help, replace the cluster and everything in it with `pulumi up --replace '**command:local:Command**'`",
            "the cluster cannot be reached; an update restarts what has stopped",
        ),
    ],
    ids=["pods that do not run", "a cluster that does not answer"],
)
def test_what_fails_an_update_is_only_reported_by_a_preview(
    objects: list[Any] | None, message: str, summary: str
) -> None:
    with pytest.raises(pulumi.RunError) as raised:
        run(DEV, objects=objects)
    assert str(raised.value) == message
    assert run(DEV, preview=True, objects=objects).outputs["Stack kwok-dra-dev"]["summary"] == summary


def test_a_component_that_has_ended_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the scheduler no pod runs, and no other message says why."""
    monkeypatch.setattr(
        "cluster.local.kwok_cluster.exited_component_logs", lambda _: ["/state/logs/kube-scheduler.log"]
    )
    with pytest.raises(pulumi.RunError) as raised:
        run(DEV, objects=[])
    assert str(raised.value).splitlines()[-1] == (
        "kube-scheduler has exited; its log is /state/logs/kube-scheduler.log. Run `pulumi up` again to restart it"
    )
