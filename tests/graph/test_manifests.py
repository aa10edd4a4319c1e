"""What the program registers for the user's manifests: order, life cycle and the wait."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.graph.recording import Configuration, Recording, run
from topology.status.workload_progress import Expected

Object = dict[str, Any]
COMMAND = "Command kwok-dra-dev"
PARENT = "AppliedManifests demo"
UID = "jsonpath={.metadata.uid}"


def named(kind: str, name: str, version: str, namespace: str = "n", **content: Any) -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace}} | content


def with_claims(*sources: Object) -> Object:
    """Return the spec of a pod."""
    claims = [{"name": str(place)} | source for place, source in enumerate(sources)]
    return {"containers": [{"name": "x"}], "resourceClaims": claims}


TEMPLATE: Object = {"spec": {"devices": {"requests": [{"name": "gpu", "deviceClassName": "gpu"}]}}}
CLAIM: Object = {"devices": {"requests": [{"name": "gpu", "exactly": {"deviceClassName": "gpu"}}]}}
OBJECTS = {
    "Pod n/bare": named("Pod", "bare", "v1", spec=with_claims({"resourceClaimTemplateName": "one"})),
    "Deployment n/web": named(
        "Deployment",
        "web",
        "apps/v1",
        spec={
            "replicas": 1,
            "template": {
                "metadata": {},
                "spec": with_claims({"resourceClaimName": "two"}, {"resourceClaimName": "two"}),
            },
        },
    ),
    "Job n/idle": named("Job", "idle", "batch/v1", spec={"completions": 0, "template": {"metadata": {}, "spec": {}}}),
    "ResourceClaimTemplate n/one": named("ResourceClaimTemplate", "one", "resource.k8s.io/v1beta1", spec=TEMPLATE),
    "ResourceClaim n/two": named("ResourceClaim", "two", "resource.k8s.io/v1", spec=CLAIM),
    "Service n/web": named("Service", "web", "v1")
    | {"metadata": {"name": "web", "namespace": "n", "annotations": {"a": "b"}}},
    "Namespace n": {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}},
}
CREATED = [
    "Namespace n",
    "ServiceAccount n/default",
    "ResourceClaimTemplate n/one",
    "ResourceClaim n/two",
    "Service n/web",
    "Pod n/bare",
    "Deployment n/web",
    "Job n/idle",
]


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configuration:
    """Return a stack with one entry that has all objects, in the order above."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo.yaml").write_text(yaml.safe_dump_all(OBJECTS.values()))
    return {
        "kwok-dra:cluster": {"resourceApi": "v1beta2"},
        "kwok-dra:deviceClasses": [{"name": "gpu"}],
        "kwok-dra:nodePools": [{"name": "pool", "gpu": {"driver": "d"}, "gpusPerNode": 16}],
        "kwok-dra:manifests": [{"name": "demo", "files": ["demo.yaml"]}],
    }


def created(found: Recording) -> list[str]:
    return [key for key in found.order if key in found.resources and found.resources[key].parent == PARENT]


def test_objects_are_created_one_after_another(stack: Configuration) -> None:
    """After nodes, devices and classes; namespaces first, objects that create pods last."""
    found = run(stack)
    assert created(found) == CREATED
    before = {COMMAND} | {key for key in found.resources if key.split()[0] in ("Node", "ResourceSlice", "DeviceClass")}
    for key, previous in zip(CREATED, [COMMAND, *CREATED], strict=False):
        assert found.resources[key].dependencies >= before | {previous}
    assert found.outputs[PARENT] == {"files": ["demo.yaml"]}


def test_objects_are_registered_as_written(stack: Configuration) -> None:
    """In their own versions, with an annotation where Pulumi must not wait."""
    found = run(stack)
    for key, written in OBJECTS.items():
        sent = found.resources[key].inputs
        annotations = sent["metadata"].pop("annotations", {})
        waits = annotations.pop("pulumi.com/waitFor", None)
        kept = {"annotations": annotations} if annotations else {}
        assert sent | {"metadata": sent["metadata"] | kept} == written
        assert waits == (UID if key.split()[0] in ("Deployment", "Job", "Pod", "Service") else None)


def test_a_definition_is_established_before_its_objects(stack: Configuration, tmp_path: Path) -> None:
    objects = [
        {"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "t"}},
        {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "things"}}
        | {"spec": {"group": "example.org"}},
    ]
    (tmp_path / "demo.yaml").write_text(yaml.safe_dump_all(objects))
    found = run(stack)
    assert created(found) == ["CustomResourceDefinition things", "Thing t"]
    assert found.resources["CustomResourceDefinition things"].inputs["metadata"]["annotations"] == {
        "pulumi.com/waitFor": "condition=Established"
    }


def test_life_cycle(stack: Configuration) -> None:
    found = run(stack)
    for key in CREATED:
        entry = found.resources[key]
        assert (entry.deleted_with, entry.replacement_trigger) == (COMMAND, "id of kwok-dra-dev")
        assert entry.delete_before_replace
    for key in ("ResourceClaimTemplate n/one", "ResourceClaim n/two"):
        assert found.resources[key].replace_on_changes == ["spec"]
    assert found.resources["Deployment n/web"].replace_on_changes == []
    assert {
        key: entry.replace_with for key, entry in found.resources.items() if key in CREATED and entry.replace_with
    } == {
        "Pod n/bare": {"ResourceClaimTemplate n/one"},
        "Deployment n/web": {"ResourceClaim n/two"},
    }


def test_pods_are_replaced_with_claims_of_the_stack_and_of_other_entries(stack: Configuration, tmp_path: Path) -> None:
    """The claims of the stack, and those of earlier entries."""
    stack["kwok-dra:claims"] = [{"name": "ours", "requests": [{"name": "gpu", "deviceClass": "gpu"}]}]
    stack["kwok-dra:manifests"].insert(0, {"name": "later", "files": ["later.yaml"], "after": ["demo"]})
    pods = [
        named("Pod", "a", "v1", spec=with_claims({"resourceClaimName": "two"})),
        named("Pod", "b", "v1", "default", spec=with_claims({"resourceClaimName": "ours"})),
    ]
    (tmp_path / "later.yaml").write_text(yaml.safe_dump_all(pods))
    found = run(stack)
    assert found.resources["Pod n/a"].replace_with == {"ResourceClaim n/two"}
    assert found.resources["Pod b"].replace_with == {"ResourceClaim ours"}
    assert "ServiceAccount default" in found.resources["Pod b"].dependencies


def test_manifests_come_after_workloads_and_workloads_after_manifests(stack: Configuration) -> None:
    claims = [{"name": "c", "requests": [{"name": "r", "deviceClass": "gpu"}]}]
    stack["kwok-dra:workloads"] = [
        {"name": "last", "claims": claims, "after": ["demo"]},
        {"name": "first", "claims": claims},
    ]
    stack["kwok-dra:manifests"][0] |= {"after": ["first"], "expect": {"pending": 0}, "readyTimeoutSeconds": 7}
    found = run(stack)
    assert "Command first" in found.resources["Namespace n"].dependencies
    assert "Command demo" in found.resources["Deployment last"].dependencies
    command = found.resources["Command demo"]
    assert command.parent == PARENT
    assert command.dependencies >= set(CREATED)
    makers = (("Pod", "n", "bare"), ("Deployment", "n", "web"), ("Job", "n", "idle"))
    assert [Expected.from_json(entry) for entry in json.loads(command.inputs["stdin"])["KWOK_DRA_EXPECTED"]] == [
        Expected("manifests", "demo", makers, None, 0, 7)
    ]


def test_the_wait_is_repeated_when_a_file_changes(stack: Configuration, tmp_path: Path) -> None:
    claims = [{"name": "c", "requests": [{"name": "r", "deviceClass": "gpu"}]}]
    stack["kwok-dra:workloads"] = [{"name": "last", "claims": claims, "after": ["demo"]}]
    before = run(stack).resources["Command demo"].inputs
    assert run(stack).resources["Command demo"].inputs == before
    (tmp_path / "demo.yaml").write_text((tmp_path / "demo.yaml").read_text().replace("name: x", "name: y"))
    assert run(stack).resources["Command demo"].inputs != before


def test_outputs_and_the_status(stack: Configuration) -> None:
    found = run(stack)
    assert [(entry.workload, entry.allocated, entry.pending) for entry in found.waited_for] == [("demo", None, 0)]
    claims = found.outputs["Stack kwok-dra-dev"]["claims"]
    assert [(claim["workload"], claim["namespace"], claim["pod"], claim["name"]) for claim in claims] == [
        ("demo", "n", "bare", "bare-0"),
        ("demo", "n", "web-0", "two"),
        ("demo", "n", "web-0", "two"),
    ]


def test_a_first_preview_works(stack: Configuration) -> None:
    assert set(run(stack, preview=True, unknown=True).resources) == set(run(stack).resources)
