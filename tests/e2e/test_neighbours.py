"""Several stacks on one machine, next to what else is there."""

import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.local import processes
from cluster.local.kwokctl import one_at_a_time
from tests.e2e.project import BY_HAND, PATIENCE_SECONDS, Project, kill, listening, processes_of, wait_until

STACKS = [f"stack-{number}" for number in range(10)]
COMPONENTS = 5


def pulumi(project: Project, *arguments: str) -> Callable[[str], str]:
    """Return a function that runs `pulumi` on a stack and returns what it printed."""

    def run(stack: str) -> str:
        done = project.run("pulumi", *arguments, "--stack", stack)
        return done.stdout + done.stderr

    return run


def at_once(function: Callable[[str], str]) -> Sequence[str]:
    """Return what `function` makes of each of the stacks, of all at the same time."""
    with ThreadPoolExecutor(len(STACKS)) as threads:
        return list(threads.map(function, STACKS))


def test_ten_stacks_of_one_checkout_at_once(new_project: Callable[[], Project]) -> None:
    """Ports, files and words of their own, while they come and while they go."""
    project = new_project()
    for number, stack in enumerate(STACKS):
        configuration = yaml.safe_load((project.source / "Pulumi.dev.yaml").read_text())
        configuration["config"]["kwok-dra:nodePools"][0] |= {"name": f"{stack}-node", "nodes": number + 1}
        configuration["config"]["kwok-dra:workloads"][0]["readyTimeoutSeconds"] = PATIENCE_SECONDS
        (project.source / "stacks" / f"Pulumi.{stack}.yaml").write_text(yaml.safe_dump(configuration))
        project.run("pulumi", "stack", "init", stack)
    for stack, said in zip(STACKS, at_once(pulumi(project, "up", "--yes", "--skip-preview")), strict=True):
        assert f"kwok-dra-{stack} " in said
        assert not [other for other in STACKS if other != stack and f"{other}-node" in said]
    pids = processes_of(project.clusters)
    assert len(pids) == len(STACKS) * COMPONENTS
    assert {address for pid in pids for address, _ in listening(pid)} == {"0100007F"}
    for number, stack in enumerate(STACKS):
        assert nodes(project, f"kwok-kwok-dra-{stack}") == [f"{stack}-node-{index}" for index in range(number + 1)]
    for said in at_once(pulumi(project, "up", "--yes", "--skip-preview", "--expect-no-changes")):
        assert "1 of 1 claims allocated" in said
    at_once(pulumi(project, "destroy", "--yes", "--skip-preview"))
    assert processes_of(project.clusters) == []
    assert list(project.clusters.iterdir()) == []
    assert not (project.clusters.parent / "kubeconfig").exists()


def nodes(project: Project, context: str) -> list[str]:
    """Return the names of the nodes that a context of the shared kubeconfig leads to."""
    found: dict[str, Any] = project.kubectl("get", "nodes", "--output", "json", "--context", context)
    return [node["metadata"]["name"] for node in found["items"]]


@pytest.fixture
def foreign(new_project: Callable[[], Project]) -> Iterator[Project]:
    """Return a project in whose folder somebody has made a cluster by hand that is named as its own would be."""
    project = new_project()
    made = Path(project.folder, "by-hand.yaml")
    made.write_text(yaml.safe_dump({"apiVersion": "config.kwok.x-k8s.io/v1alpha1", "kind": "KwokctlConfiguration"}))
    tools = Path(project.environment["KWOK_DRA_TOOLS"])
    kubernetes = max((tools / "kubernetes").iterdir())
    binaries = {
        "KWOK_KUBE_BINARY_PREFIX": str(kubernetes),
        "KWOK_KUBE_VERSION": kubernetes.name,
        "KWOK_ETCD_BINARY": str(kubernetes / "etcd"),
        "KWOK_CONTROLLER_BINARY": str(tools / "bin" / "kwok"),
    }
    flags = ("--name", "kwok-dra-dev", "--config", str(made), "--runtime", "binary", "--wait", f"{PATIENCE_SECONDS}s")
    with one_at_a_time(BY_HAND):
        project.run("kwokctl", "create", "cluster", *flags, environment=binaries)
    yield project
    project.run("kwokctl", "delete", "cluster", "--name", "kwok-dra-dev")


def test_a_foreign_cluster_of_the_same_name(foreign: Project) -> None:
    """It is not touched, whatever is tried."""
    before = (sorted(processes_of(foreign.clusters)), files(foreign.clusters))
    assert "cluster 'kwok-dra-dev' already exists" in foreign.fails()
    foreign.destroy()
    assert (sorted(processes_of(foreign.clusters)), files(foreign.clusters)) == before
    assert foreign.get("nodes") == []


def test_a_foreign_cluster_that_took_the_place_of_the_stacks(new_project: Callable[[], Project]) -> None:
    """Somebody deleted the stack's cluster and made one of the same name."""
    project = new_project()
    project.up()
    marker = project.clusters / "kwok-dra-dev" / "kwok-dra.json"
    marker.unlink()  # what makes it the stack's
    pids = sorted(processes_of(project.clusters))
    assert "cluster 'kwok-dra-dev' already exists" in project.fails()
    project.destroy()
    assert sorted(processes_of(project.clusters)) == pids
    project.run("kwokctl", "delete", "cluster", "--name", "kwok-dra-dev")


def files(folder: Path) -> dict[Path, bytes]:
    """Return the files that nothing but a change of the cluster itself changes, and their contents."""
    changing = ("etcd", "logs")
    found = [path for path in folder.rglob("*") if path.is_file() and not set(changing) & set(path.parts)]
    return {path: path.read_bytes() for path in found}


@pytest.mark.parametrize("says_where", [True, False], ids=["KUBECONFIG", "the one in HOME"])
def test_the_users_own_kubeconfig_stays_as_it_is(new_project: Callable[[], Project], says_where: bool) -> None:
    project = new_project()
    own = Path(project.folder, "own") if says_where else Path(project.environment["HOME"], ".kube", "config")
    own.parent.mkdir(exist_ok=True)
    context = {"name": "production", "context": {"cluster": "production", "user": "me"}}
    own.write_text(yaml.safe_dump({"kind": "Config", "current-context": "production", "contexts": [context]}))
    before = own.read_bytes(), own.stat().st_mtime_ns
    del project.environment["KUBECONFIG"]
    if says_where:
        project.environment["KUBECONFIG"] = str(own)
    project.up()
    project.up("--expect-no-changes")
    project.destroy()
    assert (own.read_bytes(), own.stat().st_mtime_ns) == before
    assert not list(own.parent.glob("*.lock"))


@pytest.mark.parametrize("ended", [["etcd"], ["etcd", "kube-apiserver", "kube-scheduler"]], ids=len)
def test_a_cluster_that_does_not_run_keeps_its_ports(new_project: Callable[[], Project], ended: list[str]) -> None:
    """Another one that is made meanwhile takes none of them, and no API server takes the other's etcd for its own."""
    stopped, started = new_project(), new_project()
    with started.configuration() as config:
        config["nodePools"][0] |= {"name": "other-node", "nodes": 2}
    stopped.up()
    pids = stopped.pids()
    ports = {port for pid in pids.values() for _, port in listening(pid)}
    for component in ended:
        kill(pids[component])
    wait_until(lambda: not any(processes.running(pids[component]) for component in ended))
    started.up()
    assert not ports & {port for pid in started.pids().values() for _, port in listening(pid)}
    stopped.up()
    assert {port for pid in stopped.pids().values() for _, port in listening(pid)} == ports
    assert nodes(stopped, "kwok-kwok-dra-dev") == ["kwok-node-0"]
    assert nodes(started, "kwok-kwok-dra-dev") == ["other-node-0", "other-node-1"]


@pytest.fixture
def other_program(new_project: Callable[[], Project]) -> Iterator[tuple[Project, int]]:
    """Return a stack that is up, and the id of a program of somebody else that a file of kwokctl names."""
    project = new_project()
    project.up()
    with subprocess.Popen(["sleep", "600"]) as process:
        yield project, process.pid
        kill(process.pid)


def test_a_foreign_process_is_never_ended(other_program: tuple[Project, int]) -> None:
    """After a restart of the machine a number that kwokctl has noted may be that of another program."""
    project, pid = other_program
    noted = project.clusters / "kwok-dra-dev" / "pids" / "kwok-controller.pid"
    controller = int(noted.read_text())
    noted.write_text(str(pid))
    project.destroy()
    assert Path("/proc", str(pid)).exists()
    assert controller not in processes_of(project.clusters)
