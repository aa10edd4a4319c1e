"""`make status` and `make picture` on real clusters, and what they say where there is none."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.project import Project, kill, wait_until
from tests.unit.test_page import Page


def view(project: Project, stack: str, *arguments: str, code: int = 0) -> str:
    """Return what a view prints; where it fails, that is one message and nothing else."""
    done = project.run(sys.executable, "-m", "views", "--stack", stack, *arguments, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert not (done.stdout if code else done.stderr)
    return done.stderr if code else done.stdout


@pytest.fixture(scope="module")
def dev(project: Project) -> Iterator[Project]:
    """The dev stack, up."""
    project.up()
    yield project
    project.destroy()


@pytest.mark.parametrize("arguments", [("status",), ("picture",)])
def test_a_stack_that_is_not_up(project: Project, arguments: tuple[str, ...]) -> None:
    for stack in ("dev", "h100"):
        said = view(project, stack, *arguments, code=1)
        assert said == f"stack {stack} is not up; `make up STACK={stack}` brings it up\n"
    assert not (project.source / ".state").exists()


def test_status(dev: Project) -> None:
    lines = [line.split() for line in view(dev, "dev", "status").splitlines()]
    (claim,) = dev.outputs()["claims"]
    assert " ".join(lines[0]) == dev.outputs()["summary"]
    assert ["kwok-node", "1", "1", "1", "0"] in lines
    assert [claim["pod"], "Running", "kwok-node-0", "reserved", "gpu:", "gpu-0"] in lines


def test_picture(dev: Project, tmp_path: Path) -> None:
    said = view(dev, "dev", "picture", "--file", str(tmp_path / "a folder" / "fleet.html"))
    assert said == f"{(tmp_path / 'a folder' / 'fleet.html').as_uri()}\n"
    (title,) = Page((tmp_path / "a folder" / "fleet.html").read_text()).titles()
    (claim,) = dev.outputs()["claims"]
    assert title.startswith("gpu-0 on kwok-node-0 (gpu.kwok.x-k8s)\n")
    assert f"claim default/{claim['name']}" in title
    assert f"pod default/{claim['pod']}" in title


def test_where_the_picture_goes_by_itself(dev: Project) -> None:
    file = dev.source / ".state" / "dev.html"
    assert view(dev, "dev", "picture") == f"{file.as_uri()}\n"
    assert file.exists()


def test_a_file_that_cannot_be_written(dev: Project) -> None:
    said = view(dev, "dev", "picture", "--file", "Pulumi.yaml/fleet.html", code=1)
    assert said == "Pulumi.yaml/fleet.html cannot be written: Not a directory\n"


def test_it_is_fresher_than_the_outputs(dev: Project) -> None:
    """Neither view needs another `pulumi up`."""
    view(dev, "dev", "status")
    dev.run("kubectl", "scale", "deployment", "fake-pod", "--replicas", "2")
    seen: list[str] = []

    def is_pending() -> bool:
        seen.append(view(dev, "dev", "status"))
        return "Why claims are pending" in seen[-1]

    wait_until(is_pending)
    assert "1 of 2 claims allocated" in seen[-1]
    assert "fake-pod (1 pod: fake-pod-" in seen[-1]
    (different,) = [text for text in seen if "pending 0 → 1" in text]
    assert "Changes since the last time" in different
    assert "Changes since the last time" not in view(dev, "dev", "status")
    assert dev.outputs()["summary"].startswith("1 of 1 claims")
    assert_why(dev)
    dev.run("kubectl", "scale", "deployment", "fake-pod", "--replicas", "1")


def assert_why(project: Project) -> None:
    """`make why` tells who holds the only GPU; without that pod, the pod that waits would run."""
    pods = {pod["status"]["phase"]: pod["metadata"]["name"] for pod in project.get("pods")}
    (answer,) = json.loads(view(project, "dev", "why", "--pod", pods["Pending"], "--format", "json"))
    assert answer["pod"] == f"default/{pods['Pending']}"
    ((node, reasons),) = [(entry["node"], entry["reasons"]) for entry in answer["nodes"]]
    assert (node, len(reasons)) == ("kwok-node-0", 1)
    assert f"gpu-0: in use by pod {pods['Running']}" in reasons[0]
    assert f"without pod {pods['Running']}, on kwok-node-0" in answer["wouldRun"]
    assert "gpu-0: in use by pod" in " ".join(view(project, "dev", "why", "--pod", pods["Pending"]).split())
    said = view(project, "dev", "why", "--pod", pods["Pending"][:-1], code=1)
    assert f"did you mean '{pods['Pending']}'?" in said


def test_a_configuration_that_is_not_valid_any_more(dev: Project) -> None:
    file = dev.source / "Pulumi.dev.yaml"
    before = file.read_text()
    with dev.configuration() as config:
        config["nodePools"][0]["gpu"] = "kwok-l5"
    said = view(dev, "dev", "status", code=1)
    assert "kwok-dra:nodePools[0].gpu: there is no device model 'kwok-l5'" in said
    file.write_text(before)


def test_programs_that_are_not_there(dev: Project) -> None:
    done = dev.run(sys.executable, "-m", "views", "status", check=False, environment={"PATH": "/nowhere"})
    assert (done.returncode, done.stderr) == (1, "pulumi not found on PATH: `source toolchain/activate` first\n")


def test_a_cluster_that_does_not_answer(dev: Project) -> None:
    """The last one with this cluster."""
    pid = dev.pids()["kube-apiserver"]
    kill(pid)
    wait_until(lambda: not Path("/proc", str(pid), "cmdline").exists() or not os.path.exists(f"/proc/{pid}/exe"))
    said = view(dev, "dev", "status", code=1)
    assert said.startswith("cluster kwok-dra-dev does not answer; after a restart of the machine")
    assert "`pulumi up`, which starts them again" in said


def test_gpus_in_mig_mode(dev: Project, tmp_path: Path) -> None:
    dev.select("a100-mig")
    dev.up()
    view(dev, "a100-mig", "picture", "--file", str(tmp_path / "mig.html"))
    found = Page((tmp_path / "mig.html").read_text())
    devices = [device["name"] for entry in dev.get("resourceslices") for device in entry["spec"].get("devices", [])]
    assert sorted(title.split()[0] for title in found.titles()) == sorted(devices)
    assert "batch: 7 of 1g.10gb" in found.text
    assert "pipeline: 1g.10gb, 2g.20gb, 4g.40gb" in found.text
    assert "training: the whole GPU" in found.text
    assert "37 of 37 claims allocated" in view(dev, "a100-mig", "status")
    dev.destroy()
    dev.select("dev")
