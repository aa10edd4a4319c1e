"""What a user can get wrong: one clear message that names the key and the remedy, and nothing created."""

import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.fake_engine import ending_engine
from tests.e2e.project import TOOLS, Project, kill, processes_of

Config = dict[str, Any]


def pool(**values: object) -> Callable[[Config], None]:
    return lambda config: config["nodePools"][0].update(values)


def cluster(**values: object) -> Callable[[Config], None]:
    return lambda config: config["cluster"].update(values)


def request(**values: object) -> Callable[[Config], None]:
    return lambda config: config["workloads"][0]["claims"][0]["requests"][0].update(values)


def top(**values: object) -> Callable[[Config], None]:
    return lambda config: config.update(values)


@pytest.fixture(autouse=True)
def nothing_created(project: Project) -> Any:
    """Restore the configuration and check that the failed update left nothing."""
    file = project.source / "Pulumi.dev.yaml"
    text = file.read_text()
    yield
    file.write_text(text)
    assert not project.clusters.exists() or list(project.clusters.iterdir()) == []
    assert project.resources() == []


@pytest.mark.parametrize(
    "mistakes",
    [
        [
            (pool(gpu="kwok-l5"), "nodePools[0].gpu", "did you mean 'kwok-l4'?"),
            (pool(nodes=-1), "nodePools[0].nodes", "must be at least 0, but is -1"),
            (pool(gpusPerNode=10**6), "nodePools[0].gpusPerNode", "must be at most 4096"),
            (pool(name="GPU_nodes"), "nodePools[0].name", "'GPU_nodes' is not a DNS label"),
            (pool(gpuPerNode=1), "nodePools[0].gpuPerNode", "did you mean 'gpusPerNode'?"),
            (cluster(kubeVersion="1.99.0"), "cluster.kubeVersion", "use a release from 1.34 to 1.38"),
            (cluster(name="no/name"), "cluster.name", "is not a DNS label"),
            (top(nodePool=[]), "nodePool", "did you mean 'nodePools'?"),
        ],
        [
            (pool(nodes=10**9), "nodePools[0].nodes", "must be at most 20000"),
            (pool(name="$(touch pwned)"), "nodePools[0].name", "is not a DNS label"),
        ],
        [(pool(nodes="two"), "nodePools[0].nodes", "must be a whole number, but is 'two'")],
        [(request(deviceClass="kwok.x-k8s"), "requests[0].deviceClass", "did you mean 'kwok.x-k8s.io'?")],
        [(cluster(kubeVersion="1.35.0"), "cluster.kubeVersion", "the toolchain holds 1.36.3, 1.37.2")],
        [(top(nodePools=5), "nodePools", "array")],
    ],
    ids=len,
)
def test_configuration(project: Project, mistakes: list[tuple[Callable[[Config], None], str, str]]) -> None:
    """Each mistake has a line of its own."""
    with project.configuration() as config:
        for edit, _, _ in mistakes:
            edit(config)
    lines = project.fails().splitlines()
    for _, key, remedy in mistakes:
        assert [line for line in lines if key in line and remedy in line]
    assert not (project.source / "pwned").exists()


def test_preview_says_it_too(project: Project) -> None:
    with project.configuration() as config:
        pool(nodes=-1)(config)
        request(deviceClass="kwok.x-k8s")(config)
    said = project.run("pulumi", "preview", check=False)
    assert said.returncode != 0
    assert "the configuration has 2 problems" in said.stdout + said.stderr


def test_kwokctl_missing(project: Project, tmp_path: Path) -> None:
    for program in ("pulumi", "pulumi-language-python", "pulumi-language-python-exec", "kubectl"):
        (tmp_path / program).symlink_to(TOOLS / "bin" / program)
    said = project.fails({"PATH": f"{tmp_path}:{without_kwokctl(os.environ['PATH'])}"})
    assert "kwokctl not found on PATH" in said
    assert "make tools" in said


def without_kwokctl(path: str) -> str:
    return ":".join(folder for folder in path.split(":") if not shutil.which("kwokctl", path=folder))


def test_an_object_without_the_stack_s_provider(project: Project, tmp_path: Path) -> None:
    """A forgotten provider must not reach whatever cluster the user's kubeconfig points at."""
    program = project.source / "__main__.py"
    text = program.read_text()
    namespace = '{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "stray"}}'
    program.write_text(f'import pulumi\npulumi.CustomResource("kubernetes:core/v1:Namespace", "stray", {namespace})\n')
    said = project.fails({"KUBECONFIG": str(tmp_path / "the-users-own")})
    program.write_text(text)
    assert "Default provider for 'kubernetes' disabled" in said


def test_port_taken(project: Project) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with project.configuration() as config:
            cluster(kubeApiserverPort=port)(config)
        said = project.fails()
    assert "kwok-dra:cluster.kubeApiserverPort" in said
    assert f"port {port} cannot be used (Address already in use)" in said


def test_feature_gate_that_kubernetes_does_not_know(project: Project) -> None:
    with project.configuration() as config:
        config["cluster"]["kubeFeatureGates"]["NoSuchGate"] = True
    said = project.fails()
    assert "of cluster kwok-dra-dev exited while it was starting" in said
    assert "Check kwok-dra:cluster, especially kubeFeatureGates" in said
    assert "unrecognized feature gate: NoSuchGate" in said


def test_cluster_name_of_another_stack(project: Project, new_project: Callable[[], Project]) -> None:
    owner = new_project()
    owner.up()
    folder = owner.environment["KWOK_WORKDIR"]
    said = project.fails({"KWOK_WORKDIR": folder})
    assert "kwok-dra:cluster.name: cluster 'kwok-dra-dev' already exists" in said
    assert "this stack did not create it" in said
    assert owner.outputs()["claims"][0]["state"] == "allocated,reserved"
    owner.run("pulumi", "up", "--yes", "--expect-no-changes")
    owner.destroy()


@pytest.mark.parametrize("number", [None, signal.SIGINT])
def test_the_engine_ends_while_the_program_registers_a_resource(
    project: Project, number: signal.Signals | None
) -> None:
    """What is wrong has been said by then; that the program is interrupted, or cannot report an error, is not shown."""
    with project.configuration() as config:
        text = {
            f"kwok-dra:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in config.items()
        }
    flags = ["--project=kwok-dra", "--stack=dev", "--organization=organization", "--parallel=4", "--dry_run=false"]

    def interrupt() -> None:
        if number:
            for pid in processes_of(project.folder):
                kill(pid, number)

    with ending_engine(interrupt) as address:
        done = project.run(
            *(sys.executable, str(TOOLS / "bin" / "pulumi-language-python-exec"), *flags),
            *(f"--monitor={address}", f"--engine={address}", str(project.source)),
            check=False,
            environment={"PULUMI_CONFIG": json.dumps(text)},
        )
    assert (done.returncode, done.stdout, done.stderr) == (-number if number else 1, "", "")
