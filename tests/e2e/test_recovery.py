"""Updates that fail or are interrupted half-way: said clearly, nothing lost, and the next update completes them."""

import datetime
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cluster.local import ports, processes
from tests.e2e.project import Project, kill, listening, processes_of, wait_until
from topology.status.live_objects import is_refused

COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok-controller")
LEASE_SECONDS = 20
"""Longer than a leader may take to renew its lease: 10 s, https://kubernetes.io/docs/concepts/architecture/leases/."""


def test_more_claims_than_devices(project: Project) -> None:
    """Each workload alone would have enough."""
    with project.configuration() as config:
        claims = [config["workloads"][0]["claims"][0] | {"template": "second"}]
        config["workloads"].append({"name": "late", "after": ["fake-pod"], "claims": claims, "readyTimeoutSeconds": 2})
    assert "workload late: 0 of 1 pods run after 2 s" in project.fails()
    wait_until(lambda: any(map(is_refused, project.get("pods"))))
    said = project.fails()
    assert "workload late: 0 of 1 pods run after 2 s" in said
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


@pytest.fixture(scope="module")
def damaged(new_project: Callable[[], Project]) -> Project:
    """Return a project that is up, for damage after damage."""
    project = new_project()
    project.up()
    return project


def end_all(project: Project) -> None:
    """End all components at once, as a restart of the machine does."""
    for pid in project.pids().values():
        kill(pid)
    wait_until(lambda: not processes_of(project.clusters))


def end(component: str) -> Callable[[Project], None]:
    """Return a function that ends one component."""

    def end_one(project: Project) -> None:
        pid = project.pids()[component]
        kill(pid)
        wait_until(lambda: not processes.running(pid))  # only then its ports are free

    return end_one


def forget_kubeconfig(project: Project) -> None:
    """Delete the kubeconfig."""
    Path(project.outputs()["kubeconfigPath"]).unlink()


def forget_processes(project: Project) -> None:
    """Delete what kwokctl has noted of its processes."""
    for file in project.clusters.glob("*/pids/*.pid"):
        file.unlink()


def restart_with_other_numbers(project: Project) -> None:
    """Restart the machine: each number is now that of another program."""
    end_all(project)
    for file in project.clusters.glob("*/pids/*.pid"):
        file.write_text(str(os.getpid()))


def stop(project: Project) -> None:
    """Stop the cluster."""
    project.run("kwokctl", "stop", "cluster", "--name", "kwok-dra-dev")


IN_PLACE = {
    **{component: end(component) for component in COMPONENTS},
    "all components": end_all,
    "other numbers": restart_with_other_numbers,
    "stopped": stop,
    "kubeconfig": forget_kubeconfig,
    "process ids": forget_processes,
}


@pytest.mark.parametrize("damage", IN_PLACE.values(), ids=IN_PLACE)
def test_an_update_repairs_a_cluster(damaged: Project, damage: Callable[[Project], None]) -> None:
    """What is in it stays, and what the next update adds comes to run: every component does its work again."""
    (node,) = damaged.get("nodes")
    (pod,) = damaged.get("pods")
    damage(damaged)
    damaged.up()
    assert [damaged.get(kind)[0]["metadata"]["uid"] for kind in ("nodes", "pods")] == [
        entry["metadata"]["uid"] for entry in (node, pod)
    ]
    assert len(damaged.pids()) == len(processes_of(damaged.clusters)) == len(COMPONENTS)
    damaged.run("kubectl", "delete", "pod", pod["metadata"]["name"], "--wait=false")
    damaged.up("--expect-no-changes")
    (claim,) = damaged.outputs()["claims"]
    assert claim["state"] == "allocated,reserved"
    assert claim["pod"] != pod["metadata"]["name"]


def test_a_port_that_another_program_has_got(damaged: Project) -> None:
    """The message says which, and once it is free again the next update starts what has ended."""
    pid = damaged.pids()["kube-scheduler"]
    ((_, port),) = listening(pid)
    end("kube-scheduler")(damaged)
    with socket.create_server(("127.0.0.1", port)):
        said = damaged.fails()
    assert f"its port {port} cannot be used (Address already in use). Stop the program that uses it" in said
    assert damaged.planned()["command:local:Command kwok-dra-dev"] == "update"
    damaged.up()
    assert len(damaged.pids()) == len(processes_of(damaged.clusters)) == len(COMPONENTS)


def test_components_outlive_an_api_server_that_stalls(damaged: Project) -> None:
    """As on a machine with too much to do. A leader that cannot renew its lease for ten seconds would end itself."""
    pids = damaged.pids()
    os.kill(pids["kube-apiserver"], signal.SIGSTOP)
    time.sleep(LEASE_SECONDS)
    os.kill(pids["kube-apiserver"], signal.SIGCONT)
    damaged.run("kubectl", "delete", "pod", "--all", "--wait=false")
    damaged.up("--expect-no-changes")
    assert set(pids.values()) <= set(processes_of(damaged.clusters))


def test_a_preview_of_a_cluster_whose_processes_ended(damaged: Project) -> None:
    end_all(damaged)
    shown = damaged.run("pulumi", "preview", "--diff").stdout
    assert "KWOK_DRA_REPAIRS" in shown
    assert not processes_of(damaged.clusters)  # a preview starts nothing
    damaged.up()


def delete(project: Project) -> None:
    """Delete the cluster."""
    project.run("kwokctl", "delete", "cluster", "--name", "kwok-dra-dev")


def delete_files(project: Project) -> None:
    """Delete the cluster's files alone."""
    shutil.rmtree(project.clusters / "kwok-dra-dev")


@pytest.mark.parametrize("damage", [delete, delete_files])
def test_an_update_makes_a_cluster_anew_that_is_gone(damaged: Project, damage: Callable[[Project], None]) -> None:
    damage(damaged)
    damaged.up()
    assert damaged.outputs()["claims"][0]["state"] == "allocated,reserved"
    assert len(damaged.pids()) == len(processes_of(damaged.clusters)) == len(COMPONENTS)
    damaged.up("--expect-no-changes")


def expire(pki: Path) -> None:
    """Let the certificate that all components share have ended yesterday."""
    key = serialization.load_pem_private_key((pki / "ca.key").read_bytes(), None)
    old = x509.load_pem_x509_certificate((pki / "admin.crt").read_bytes())
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    new = x509.CertificateBuilder(
        old.issuer,
        old.subject,
        old.public_key(),
        x509.random_serial_number(),
        yesterday - datetime.timedelta(days=1),
        yesterday,
        list(old.extensions),
    )
    assert isinstance(key, rsa.RSAPrivateKey)
    signed = new.sign(key, hashes.SHA256())
    (pki / "admin.crt").write_bytes(signed.public_bytes(serialization.Encoding.PEM))


def test_certificates_that_have_expired(damaged: Project) -> None:
    """The message says so, and what it says to run puts it right."""
    pki = damaged.clusters / "kwok-dra-dev" / "pki"
    expire(pki)
    end("kube-apiserver")(damaged)
    assert "certificate has expired" in damaged.fails()
    damaged.up("--replace", "**command:local:Command**")
    assert damaged.outputs()["claims"][0]["state"] == "allocated,reserved"


@pytest.mark.parametrize("damage", [end_all, forget_kubeconfig, delete_files, delete])
def test_a_damaged_stack_can_be_destroyed(damaged: Project, damage: Callable[[Project], None]) -> None:
    damaged.up()
    damage(damaged)
    damaged.destroy()
    assert not processes_of(damaged.clusters)
    assert list(damaged.clusters.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_create(new_project: Callable[[], Project], number: signal.Signals) -> None:
    project = new_project()
    with project.configuration() as config, ports.reserved({}) as free:
        config["cluster"]["kubeApiserverPort"] = free["kubeApiserverPort"]
    with project.started("pulumi", "up", "--yes", "--skip-preview") as update:
        wait_until(lambda: len(project.pids()) > 0)
        kill(update.pid, number)
        update.wait()
    for file in project.clusters.glob("*/pids/*.pid"):
        file.unlink()  # as if kwokctl had been killed between starting a component and noting it, which happens
    project.run("pulumi", "cancel", "--yes", check=False)
    project.up()
    assert project.outputs()["claims"][0]["state"] == "allocated,reserved"
    assert sorted(processes_of(project.clusters)) == sorted(project.pids().values())  # none of the half-made cluster
    project.destroy()
    assert processes_of(project.clusters) == []
    assert list(project.clusters.iterdir()) == []
