"""How the control plane runs: the settings of its processes, and runtimes that need a container engine.

An engine is not at hand. What kwokctl would do is known from a dry run, which prints every command and file.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from commands.kwok_cluster import machine_memory
from tests.e2e.page import KUBERNETES
from tests.e2e.project import TOOLS, Project, kill, processes_of, wait_until
from topology.objects import tuning
from topology.objects.kwokctl_config import kwokctl_configuration
from topology.schema.stack import Cluster

GATE = "DRAListTypeAttributes"
API = "resource.k8s.io/v1beta1"
CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")


def planned(runtime: str, folder: Path) -> str:
    """Return what kwokctl would do for a cluster with a gate, an older API and a port."""
    configured = {
        "name": "a-fleet",
        "runtime": runtime,
        "kubeFeatureGates": {GATE: True},
        "kubeRuntimeConfig": {API: True},
        "kubeApiserverPort": 16443,
    }
    document = folder / "kwokctl.yaml"
    document.write_text(kwokctl_configuration(Cluster.model_validate(configured)))
    done = subprocess.run(
        [
            *(str(TOOLS / "bin" / "kwokctl"), "--dry-run", "--name", "a-fleet", "--config", str(document)),
            *("create", "cluster", "--kubeconfig", str(folder / "kubeconfig")),
        ],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "KWOK_WORKDIR": str(folder / "kwok")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Unknown" not in done.stderr and "unknown" not in done.stderr, done.stderr
    assert [entry.name for entry in folder.iterdir()] == ["kwokctl.yaml"]
    return done.stdout


@pytest.mark.parametrize("runtime", ["docker", "podman", "nerdctl"])
def test_containers(tmp_path: Path, runtime: str) -> None:
    said = planned(runtime, tmp_path)
    created = dict(re.findall(rf"^{runtime} create --name=kwok-a-fleet-(\S+) (.*)$", said, re.MULTILINE))
    assert created.keys() == {"etcd", "kwok-controller", *CONTROL_PLANE}
    for component in CONTROL_PLANE:
        assert f" registry.k8s.io/{component}:{KUBERNETES} " in created[component]
        assert f" --feature-gates=kube:{GATE}=true" in created[component]
    assert f" --runtime-config={API}=true" in created["kube-apiserver"]
    assert " --publish=16443:6443/tcp " in created["kube-apiserver"]
    published = {name for name, command in created.items() if " --publish=" in command}
    assert published <= {"kube-apiserver", "kwok-controller"}


def test_kind(tmp_path: Path) -> None:
    said = planned("kind", tmp_path)
    (found,) = (entry for entry in files(said) if entry.get("apiVersion") == "kind.x-k8s.io/v1alpha4")
    assert found["featureGates"] == {GATE: True}
    assert found["runtimeConfig"] == {API: "true"}
    assert found["networking"]["apiServerPort"] == 16443
    assert f"--image docker.io/kindest/node:{KUBERNETES}" in said
    assert "kind create cluster --config" in said


def files(said: str) -> Iterator[dict[str, Any]]:
    """Go through the files in YAML that would be written."""
    for text in re.findall(r"^cat <<EOF >\S+$\n(.*?)^EOF$", said, re.MULTILINE | re.DOTALL):
        found = yaml.safe_load(text)
        if isinstance(found, dict):
            yield found


LIMITS = {
    ("kube-apiserver", "--max-requests-inflight=0"),
    ("kube-apiserver", "--enable-priority-and-fairness=false"),
    ("kube-controller-manager", "--kube-api-qps=5000"),
    ("kube-controller-manager", "--controllers=*,-ttl-controller"),
    ("kube-scheduler", "--kube-api-qps=5000"),
}
"""Some of what kwokctl makes of the settings that are in the KwokctlConfiguration of a stack."""


def settings_of(project: Project) -> set[tuple[str, str]]:
    """Return every argument and environment variable of every component."""
    found = set()
    for component, pid in project.pids().items():
        for file in ("cmdline", "environ"):
            words = Path("/proc", str(pid), file).read_text().split("\0")
            found |= {(component, word) for word in words}
    return found


def allocated(project: Project) -> list[dict[str, Any]]:
    """Return the devices of the only claim."""
    (claim,) = project.outputs()["claims"]
    assert claim["state"] == "allocated,reserved"
    devices: list[dict[str, Any]] = claim["devices"]
    return devices


def test_a_stock_control_plane_has_none_of_the_settings(project: Project) -> None:
    """A repair keeps the settings, and the answers are the same without."""
    tuned = {(flag.component, f"--{flag.key}={flag.value}") for flag in tuning.FLAGS} | {
        (variable.component, f"{variable.name}={variable.value}") for variable in tuning.variables(machine_memory())
    }
    project.up()
    assert tuned | LIMITS <= settings_of(project)
    answer = allocated(project)
    for pid in project.pids().values():
        kill(pid)
    wait_until(lambda: not processes_of(project.clusters))
    project.up()
    assert tuned | LIMITS <= settings_of(project)
    with project.configuration() as config:
        config["cluster"]["tuning"] = "stock"
    assert project.planned()["command:local:Command kwok-dra-dev"] == "replace"
    project.up()
    assert not (tuned | LIMITS) & settings_of(project)
    assert allocated(project) == answer
    project.destroy()
