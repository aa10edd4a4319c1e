"""Updates that fail or are interrupted half-way: said clearly, nothing lost, and the next update completes them."""

import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.project import Project, kill, processes_of, session, wait_until


def test_more_claims_than_devices(project: Project) -> None:
    """Each workload alone would have enough."""
    with project.configuration() as config:
        claims = [config["workloads"][0]["claims"][0] | {"template": "second"}]
        config["workloads"].append({"name": "late", "after": ["fake-pod"], "claims": claims, "readyTimeoutSeconds": 5})
    said = project.fails()
    assert "workload late: 0 of 1 pods run after 5 s" in said
    assert "cannot allocate all claims" in said
    assert "request gpu wants 1 of kwok.x-k8s.io, but no node has more than 0 free of 1 that match" in said


def test_a_preview_tells_which_claim_is_pending(project: Project) -> None:
    shown = project.run("pulumi", "preview").stdout
    assert '"pending"' in shown
    assert "cannot allocate all claims" in shown


def test_the_next_update_repairs_it(project: Project) -> None:
    with project.configuration() as config:
        config["nodePools"][0]["nodes"] = 2
    project.up()
    assert [claim["state"] for claim in project.outputs()["claims"]] == ["allocated,reserved"] * 2
    project.destroy()


def test_a_cluster_whose_processes_died(project: Project) -> None:
    project.up()
    for pid in project.pids().values():
        kill(pid)
    assert "the cluster cannot be reached" in project.run("pulumi", "preview").stdout
    said = project.fails()
    assert "cluster kwok-dra-dev does not answer" in said
    project.run("kwokctl", "start", "cluster", "--name", "kwok-dra-dev")
    project.up("--expect-no-changes")
    for pid in project.pids().values():
        kill(pid)
    project.up("--replace", "**command:local:Command**")
    assert project.outputs()["claims"][0]["state"] == "allocated,reserved"
    project.destroy()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_create(new_project: Callable[[], Project], number: signal.Signals) -> None:
    project = new_project()
    with socket.socket() as free, project.configuration() as config:
        free.bind(("127.0.0.1", 0))
        config["cluster"]["kubeApiserverPort"] = free.getsockname()[1]
    with Path(project.folder, "log").open("w") as log:
        update = subprocess.Popen(
            ["pulumi", "up", "--yes", "--skip-preview"],
            cwd=project.source,
            env=project.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_until(lambda: len(project.pids()) > 0)
        os.kill(update.pid, number)
        update.wait()
    finally:
        for pid in session(update.pid):  # a killed CLI leaves its language host and plugins behind
            kill(pid)
    for file in project.clusters.glob("*/pids/*.pid"):
        file.unlink()  # as if kwokctl had been killed between starting a component and noting it, which happens
    project.run("pulumi", "cancel", "--yes", check=False)
    project.up()
    assert project.outputs()["claims"][0]["state"] == "allocated,reserved"
    assert sorted(processes_of(project.clusters)) == sorted(project.pids().values())  # none of the half-made cluster
    project.destroy()
    assert processes_of(project.clusters) == []
    assert list(project.clusters.iterdir()) == []
