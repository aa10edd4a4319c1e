"""The dev stack from nothing to nothing: preview, up, the seed page's objects, no-op runs, destroy, up again.

The tests of this file build on each other, in their order.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests import seed_page
from tests.e2e.page import Page
from tests.e2e.project import Project, processes_of, wait_until

V1BETA1 = "/apis/resource.k8s.io/v1beta1"
PATHS = {
    "DeviceClass": f"{V1BETA1}/deviceclasses",
    "Node": "/api/v1/nodes",
    "ResourceSlice": f"{V1BETA1}/resourceslices",
    "ResourceClaimTemplate": f"{V1BETA1}/namespaces/default/resourceclaimtemplates",
    "Deployment": "/apis/apps/v1/namespaces/default/deployments",
}


def test_preview_before_anything_exists(project: Project) -> None:
    done = project.run("pulumi", "preview")
    preview = done.stdout + done.stderr
    assert "18 to create" in preview
    assert not project.clusters.exists()
    assert "warning" not in preview.lower()


def test_up_allocates_the_claim(project: Project) -> None:
    done = project.run("pulumi", "up", "--yes")
    assert "warning" not in (done.stdout + done.stderr).lower()
    outputs = project.outputs()
    (claim,) = outputs["claims"]
    assert claim.pop("name").startswith(f"{claim['pod']}-gpu0-")
    assert claim.pop("pod").startswith("fake-pod-")
    assert claim == {
        "namespace": "default",
        "workload": "fake-pod",
        "podPhase": "Running",
        "node": "kwok-node-0",
        "state": "allocated,reserved",
        "devices": [{"request": "gpu", "driver": "gpu.kwok.x-k8s", "pool": "kwok-node-0", "device": "gpu-0"}],
    }
    assert outputs["pools"] == [{"name": "kwok-node", "nodes": 1, "devices": 1, "allocated": 1, "free": 0}]
    assert outputs["clusterName"] == "kwok-dra-dev"
    assert outputs["summary"].startswith("1 of 1 claims allocated, 1 of 1 pods running")


def test_kubectl_sees_what_the_outputs_say(project: Project) -> None:
    (claim,) = project.get("resourceclaims")
    (told,) = project.outputs()["claims"]
    assert claim["metadata"]["name"] == told["name"]
    assert [consumer["name"] for consumer in claim["status"]["reservedFor"]] == [told["pod"]]
    table = project.run("kubectl", "get", "resourceclaims").stdout
    assert "allocated,reserved" in table


# Every object as the page's own commands make it.


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """Run the page's own commands; yield the environment that reaches their cluster."""
    typed = Page(tmp_path_factory.mktemp("page"))
    try:
        typed.create()
        yield typed.environment
    finally:
        typed.delete()


@pytest.mark.parametrize("manifest", seed_page.manifests(), ids=lambda manifest: manifest["kind"])
def test_object_is_the_page_s(project: Project, page: Mapping[str, str], manifest: dict[str, Any]) -> None:
    path = PATHS[manifest["kind"]]
    ours = json.loads(project.run("kubectl", "get", "--raw", path).stdout)["items"]
    theirs = json.loads(project.run("kubectl", "get", "--raw", path, environment=page).stdout)["items"]
    assert [comparable(entry) for entry in ours] == [comparable(entry) for entry in theirs]
    page_fields = without_random_name({key: manifest[key] for key in ("metadata", "spec", "status") if key in manifest})
    assert_contains(ours[0], page_fields, manifest["kind"])


def comparable(entry: dict[str, Any]) -> dict[str, Any]:
    """Drop what differs between any two runs of the page, and the notes that kubectl and Pulumi put on an object."""
    metadata = {
        key: value
        for key, value in without_random_name(entry)["metadata"].items()
        if key in ("name", "namespace", "labels", "annotations")
    }
    notes = ("kubectl.kubernetes.io/last-applied-configuration", "pulumi.com/waitFor", "pulumi.com/patchForce")
    annotations = {key: value for key, value in metadata.pop("annotations", {}).items() if key not in notes}
    status = {key: value for key, value in entry.get("status", {}).items() if key not in ("daemonEndpoints",)}
    for condition in status.get("conditions", []):
        for time in ("lastHeartbeatTime", "lastTransitionTime", "lastUpdateTime"):
            condition.pop(time, None)
        condition.pop("message", None)  # a Deployment's names its ReplicaSet
    return {"metadata": metadata, "annotations": annotations, "spec": entry["spec"], "status": status}


def without_random_name(entry: dict[str, Any]) -> dict[str, Any]:
    """Cut the random suffix of a slice's name."""
    name: str = entry["metadata"]["name"]
    if "-gpu.kwok." in name:
        name = name.rpartition(".")[0]
    return entry | {"metadata": entry["metadata"] | {"name": name}}


def assert_contains(actual: Any, page: Any, path: str) -> None:
    """Check that every field of the page is there, with the page's value."""
    if isinstance(page, dict):
        for key, value in page.items():
            assert key in actual, f"{path}.{key} is missing"
            assert_contains(actual[key], value, f"{path}.{key}")
    elif isinstance(page, list):
        assert len(actual) == len(page), path
        for index, (one, other) in enumerate(zip(actual, page, strict=True)):
            assert_contains(one, other, f"{path}[{index}]")
    elif path.startswith("Node.status.nodeInfo") and page == "":
        assert actual in ("", "kwok-v0.8.0"), path  # KWOK fills in two of the page's empty values
    elif path.endswith("metadata.name") and "-gpu.kwok" in str(page):
        assert str(actual).startswith(str(page)), path
    else:
        assert str(actual) == str(page), path  # the API server writes the quantity 96 as "96"


def test_objects_went_out_as_v1(project: Project) -> None:
    resource_api = {kind.split("/")[-1] for kind in project.resources() if "resource.k8s.io" in kind}
    assert resource_api == {"v1:DeviceClass", "v1:ResourceSlice", "v1:ResourceClaimTemplate"}


# Runs that change nothing.


def test_second_up_changes_nothing(project: Project) -> None:
    before = project.outputs()
    said = project.run("pulumi", "up", "--yes", "--expect-no-changes").stdout
    assert "18 unchanged" in said
    assert project.outputs() == before


def test_refresh_finds_no_drift(project: Project) -> None:
    project.run("pulumi", "refresh", "--yes", "--expect-no-changes")
    project.run("pulumi", "preview", "--expect-no-changes")


def test_editing_what_the_command_runs_replaces_nothing(project: Project) -> None:
    component = project.source / "components" / "kwok_cluster.py"
    text = component.read_text()
    component.write_text(
        text.replace("*life_cycle(", '*map("{} ".format, life_cycle(').replace('"kwok_cluster"),', '"kwok_cluster")),')
    )
    pids = project.pids()
    assert set(project.planned().values()) == {"update"}
    assert "1 updated" in project.up()
    component.write_text(text)
    project.up()
    assert project.pids() == pids
    assert project.outputs()["claims"][0]["state"] == "allocated,reserved"


# And away.


def test_destroy_leaves_nothing(project: Project) -> None:
    assert set(project.pids().values()) <= set(processes_of(project.clusters))
    project.destroy()
    assert processes_of(project.clusters) == []
    assert [entry.name for entry in project.clusters.parent.iterdir()] == ["clusters"]
    assert list(project.clusters.iterdir()) == []
    assert list((project.folder / "home").iterdir()) == []
    wait_until(lambda: list(project.temporary.iterdir()) == [])
    assert project.resources() == []


def test_up_again_after_destroy(project: Project) -> None:
    project.up()
    assert project.outputs()["claims"][0]["state"] == "allocated,reserved"
    project.destroy()
