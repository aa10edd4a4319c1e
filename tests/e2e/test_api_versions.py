"""The seed's stack in each version of resource.k8s.io: the cluster has the same objects, whichever they went out in."""

from typing import Any

import pytest

from tests.e2e.project import Project
from topology.kubernetes.api_versions import RESOURCE_API_VERSIONS

KINDS = ("deviceclasses", "resourceslices", "resourceclaimtemplates", "resourceclaims")


@pytest.fixture(scope="module")
def objects() -> dict[str, list[dict[str, Any]]]:
    """Hold what each version gave, for the test that compares them."""
    return {}


def through_v1(project: Project) -> list[dict[str, Any]]:
    """Read every object of resource.k8s.io through v1, without what differs between any two runs."""
    found = []
    for kind in KINDS:
        for entry in project.kubectl("get", f"{kind}.v1.resource.k8s.io", "--output", "json")["items"]:
            assert entry["apiVersion"] == "resource.k8s.io/v1"
            results = entry.get("status", {}).get("allocation", {}).get("devices")
            name = "" if entry["kind"] == "ResourceClaim" else entry["metadata"]["name"]
            found.append({"kind": entry["kind"], "name": name, "spec": entry.get("spec"), "allocated": results})
    return found


def sent(project: Project) -> set[str]:
    """Return the versions of resource.k8s.io in which the objects went out."""
    return {kind.split("/")[1].split(":")[0] for kind in project.resources() if "resource.k8s.io" in kind}


@pytest.mark.parametrize("version", RESOURCE_API_VERSIONS)
def test_version(project: Project, version: str, objects: dict[str, list[dict[str, Any]]]) -> None:
    with project.configuration() as config:
        config["cluster"] = {"resourceApi": version}
    project.up()
    assert project.outputs()["claims"][0]["state"] == "allocated,reserved"
    assert sent(project) == {version}
    assert f"resource.k8s.io/{version}" in project.run("kubectl", "api-versions").stdout.split()
    objects[version] = through_v1(project)
    project.up("--expect-no-changes")


def test_the_objects_are_the_same(objects: dict[str, list[dict[str, Any]]]) -> None:
    assert [entry["kind"] for entry in objects["v1"]] == [
        "DeviceClass",
        "ResourceSlice",
        "ResourceClaimTemplate",
        "ResourceClaim",
    ]
    assert objects["v1"] == objects["v1beta2"] == objects["v1beta1"]


def uids(project: Project) -> set[str]:
    """Return the identity of each class and slice; templates and claims are replaced, as their spec is not the same."""
    return {entry["metadata"]["uid"] for kind in KINDS[:2] for entry in project.get(kind)}


def test_another_version_on_the_same_cluster_updates_the_objects(project: Project) -> None:
    with project.configuration() as config:
        config["cluster"] = {
            "kubeRuntimeConfig": {"resource.k8s.io/v1beta1": True, "resource.k8s.io/v1beta2": True},
            "resourceApi": "v1beta1",
        }
    project.up()
    before = uids(project)
    with project.configuration() as config:
        config["cluster"]["resourceApi"] = "auto"
    project.up()
    assert sent(project) == {"v1"}
    assert uids(project) == before
    project.up("--expect-no-changes")
    project.destroy()
