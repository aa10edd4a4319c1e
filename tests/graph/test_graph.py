"""What the program registers: resources, their order, and how they are updated and deleted."""

from dataclasses import dataclass
from typing import Any

import pytest

from components.command import PYTHON
from tests.graph.recording import KUBECONFIG, READING, Configuration, Recording, Secret, run, stack_configuration
from tests.seed_page import as_v1, manifests, without_suffix

CLUSTER = "KwokCluster kwok-dra-dev"
COMMAND = "Command kwok-dra-dev"
PROVIDER = "kubernetes kwok-dra-dev"
STACK = "Stack kwok-dra-dev"
DRIVER = "gpu.kwok.x-k8s"


@dataclass
class Case:
    """A configuration and the names of the resources that it must create."""

    configuration: Configuration
    classes: list[str]
    nodes: dict[str, list[str]]
    """By pool; a node has one slice, named after it."""
    templates: dict[str, list[str]]
    """By workload."""


def bigger() -> Case:
    """Two pools of two nodes, and two workloads with two claims each; objects of several kinds share some names."""
    pools, workloads, claims = ("left", "right"), ("left", "job"), ("a", "b")
    request = {"name": "gpu", "deviceClass": "second"}
    configuration = {
        "kwok-dra:cluster": {"name": "kwok-dra-dev", "kubeApiserverPort": 6443, "readyTimeoutSeconds": 77},
        "kwok-dra:deviceClasses": [{"name": "first"}, {"name": "second"}],
        "kwok-dra:nodePools": [{"name": name, "nodes": 2, "gpu": "kwok-l4", "gpusPerNode": 3} for name in pools],
        "kwok-dra:workloads": [
            {"name": name, "replicas": 2, "claims": [{"name": claim, "requests": [request]} for claim in claims]}
            for name in workloads
        ],
    }
    return Case(
        configuration,
        classes=["first", "second"],
        nodes={pool: [f"{pool}-{index}" for index in range(2)] for pool in pools},
        templates={workload: [f"{workload}-{claim}" for claim in claims] for workload in workloads},
    )


CASES = {
    "dev": Case(
        stack_configuration("dev"), ["kwok.x-k8s.io"], {"kwok-node": ["kwok-node-0"]}, {"fake-pod": ["single-gpu"]}
    ),
    "bigger": bigger(),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture
def recording(case: Case) -> Recording:
    return run(case.configuration)


@pytest.fixture
def slices(recording: Recording) -> dict[str, str]:
    """The slice of each node."""
    return {
        found.inputs["spec"]["nodeName"]: f"ResourceSlice {name}"
        for name, found in recording.of_kind("ResourceSlice").items()
    }


def test_every_resource_and_its_parent(case: Case, recording: Recording, slices: dict[str, str]) -> None:
    expected = {
        STACK: "",
        CLUSTER: STACK,
        COMMAND: CLUSTER,
        PROVIDER: CLUSTER,
        "Removals removals": STACK,
        "Command removals": "Removals removals",
        "DeviceClasses device-classes": STACK,
        "SharedObjects shared-objects": STACK,
        "ClaimStatus claim-status": STACK,
    }
    expected |= {f"DeviceClass {name}": "DeviceClasses device-classes" for name in case.classes}
    for pool, nodes in case.nodes.items():
        expected |= {f"GpuNodePool {pool}": STACK, f"ResourceSlices {pool}": f"GpuNodePool {pool}"}
        expected[f"Command {pool}-{DRIVER}"] = f"GpuNodePool {pool}"
        expected |= {f"Node {node}": f"GpuNodePool {pool}" for node in nodes}
        expected |= {slices[node]: f"ResourceSlices {pool}" for node in nodes}
    for workload, templates in case.templates.items():
        expected |= {f"ClaimWorkload {workload}": STACK, f"Deployment {workload}": f"ClaimWorkload {workload}"}
        expected |= {f"ResourceClaimTemplate {template}": f"ClaimWorkload {workload}" for template in templates}
    assert {key: found.parent for key, found in recording.resources.items()} == expected


def test_every_dependency(case: Case, recording: Recording, slices: dict[str, str]) -> None:
    """Cluster → classes, nodes → slices → templates → deployment: an edge too many costs time, one too few fails."""
    classes = {f"DeviceClass {name}" for name in case.classes}
    nodes = {f"Node {node}" for names in case.nodes.values() for node in names}
    generations = {node: f"Command {pool}-{DRIVER}" for pool, names in case.nodes.items() for node in names}
    everything = {"Command removals"} | classes | nodes | set(slices.values()) | set(generations.values())
    expected = {key: {COMMAND} for key in {PROVIDER, "Command removals"} | classes | nodes}
    expected |= {slice_: {COMMAND, f"Node {node}", generations[node]} for node, slice_ in slices.items()}
    for workload, names in case.templates.items():
        templates = {f"ResourceClaimTemplate {name}" for name in names}
        expected |= {template: {COMMAND} | everything for template in templates}
        expected[f"Deployment {workload}"] = {COMMAND} | everything | templates
    assert {key: found.dependencies for key, found in recording.resources.items() if found.dependencies} == expected


def test_every_object_uses_the_provider_of_the_stack_s_cluster(recording: Recording) -> None:
    """Any other provider would use the user's cluster."""
    own = "urn:pulumi:dev::kwok-dra::pulumi:providers:kubernetes::kwok-dra-dev::id of kwok-dra-dev"
    assert {found.provider for found in recording.objects().values()} == {own}
    assert recording.resources[PROVIDER].inputs["kubeconfig"] == Secret("certificates")


def test_objects_are_deleted_and_replaced_with_their_cluster(recording: Recording) -> None:
    """Destroying the cluster deletes them, and the same provider creates them in a new cluster."""
    contents = recording.objects()
    assert {found.deleted_with for found in contents.values()} == {COMMAND}
    assert recording.resources[PROVIDER].deleted_with == ""
    assert {found.replacement_trigger for found in contents.values()} == {"id of kwok-dra-dev"}


def test_what_is_replaced_and_when(case: Case, recording: Recording) -> None:
    """Immutable objects are replaced, and a Deployment with its templates; nodes do not own these slices."""
    assert {key: found.delete_before_replace for key, found in recording.objects().items()} == dict.fromkeys(
        recording.objects(), True
    )
    on_changes = {"Node": ["status"], "ResourceClaimTemplate": ["spec"], "Deployment": ["spec.template"]}
    for kind in ("DeviceClass", "Node", "ResourceSlice", "ResourceClaimTemplate", "Deployment"):
        found = recording.of_kind(kind).values()
        assert [resource.replace_on_changes for resource in found] == [on_changes.get(kind, [])] * len(found)
    replaced_with = {
        f"Deployment {workload}": {f"ResourceClaimTemplate {template}" for template in templates}
        for workload, templates in case.templates.items()
    }
    assert {key: found.replace_with for key, found in recording.resources.items() if found.replace_with} == (
        replaced_with
    )


def page_objects() -> dict[str, Any]:
    """Return the objects of KWOK's page by kind, with the annotations that the program adds for Pulumi.

    The provider must not wait for pods that may stay pending, nor stop where the node lifecycle controller adds taints.
    """
    found = {manifest["kind"]: as_v1(manifest) for manifest in manifests()}
    found["Deployment"]["metadata"]["annotations"] = {"pulumi.com/waitFor": "jsonpath={.metadata.uid}"}
    found["Node"]["metadata"]["annotations"]["pulumi.com/patchForce"] = "true"
    return found


def test_the_objects_of_the_dev_stack_are_those_of_the_page() -> None:
    objects = [found.inputs for found in run(CASES["dev"].configuration).objects().values()]
    found = {inputs["kind"]: without_suffix(inputs) for inputs in objects}
    assert len(found) == len(objects)
    assert found == {kind: without_suffix(manifest) for kind, manifest in page_objects().items()}


def test_the_objects_of_several_pools_and_workloads() -> None:
    """They are those of the page, apart from names, numbers and devices."""
    page = page_objects()

    def device(index: int) -> dict[str, Any]:
        first: dict[str, Any] = page["ResourceSlice"]["spec"]["devices"][0]
        numbers = {"index": {"int": index}, "minor": {"int": index}}
        return first | {"name": f"gpu-{index}", "attributes": first["attributes"] | numbers}

    def named(kind: str, name: str, **spec: Any) -> dict[str, Any]:
        manifest: dict[str, Any] = page[kind]
        return manifest | {"metadata": manifest["metadata"] | {"name": name}, "spec": manifest["spec"] | spec}

    found = run(CASES["bigger"].configuration)
    for name in ("first", "second"):
        assert found.resources[f"DeviceClass {name}"].inputs == named("DeviceClass", name, selectors=[])
    for name in ("left-0", "left-1", "right-0", "right-1"):
        node = named("Node", name)
        node["metadata"]["labels"] = node["metadata"]["labels"] | {"kubernetes.io/hostname": name}
        assert found.resources[f"Node {name}"].inputs == node
    spec = {"driver": DRIVER, "devices": [device(index) for index in range(3)]}
    slices = [entry.inputs["spec"] for entry in found.of_kind("ResourceSlice").values()]
    assert sorted(slices, key=lambda entry: str(entry["nodeName"])) == [
        spec | {"nodeName": node, "pool": {"name": node, "generation": 0, "resourceSliceCount": 1}}
        for node in ("left-0", "left-1", "right-0", "right-1")
    ]
    exactly = {"deviceClassName": "second", "allocationMode": "ExactCount", "count": 1}
    for name in ("left-a", "left-b", "job-a", "job-b"):
        template = named(
            "ResourceClaimTemplate", name, spec={"devices": {"requests": [{"name": "gpu", "exactly": exactly}]}}
        )
        assert found.resources[f"ResourceClaimTemplate {name}"].inputs == template
    pod = page["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    containers = [container | {"resources": {"claims": [{"name": "a"}, {"name": "b"}]}}]
    for name in ("left", "job"):
        labels = {"app": name}
        claims = [{"name": claim, "resourceClaimTemplateName": f"{name}-{claim}"} for claim in ("a", "b")]
        template = {"metadata": {"labels": labels}, "spec": pod | {"containers": containers, "resourceClaims": claims}}
        deployment = named("Deployment", name, replicas=2, selector={"matchLabels": labels}, template=template)
        assert found.resources[f"Deployment {name}"].inputs == deployment


def test_one_command_creates_the_cluster(case: Case, recording: Recording) -> None:
    command = recording.resources[COMMAND]
    environment = command.inputs.pop("environment")
    # No part of the configuration is in a shell command.
    assert command.inputs == {
        "create": f"{PYTHON} -m commands.kwok_cluster create",
        "update": f"{PYTHON} -m commands.kwok_cluster update",
        "delete": f"{PYTHON} -m commands.kwok_cluster delete",
        "logging": "stderr",
    }
    assert command.secret_outputs == ["stdout"]
    assert command.delete_before_replace
    replacing = {f"environment.KWOK_DRA_{name}" for name in ("CLUSTER", "KWOKCTL_CONFIG", "STAGES", "TUNING")}
    assert replacing <= set(command.replace_on_changes)
    assert "environment" not in command.replace_on_changes  # A changed time limit must not replace the cluster.
    cluster: dict[str, Any] = case.configuration["kwok-dra:cluster"]
    document = environment.pop("KWOK_DRA_KWOKCTL_CONFIG")
    assert "kind: KwokctlConfiguration" in document
    assert "kind: Stage" in environment.pop("KWOK_DRA_STAGES")
    assert environment == {
        "KWOK_DRA_CLUSTER": "kwok-dra-dev",
        "KWOK_DRA_OWNER": "organization/kwok-dra/dev",
        "KWOK_DRA_ID": "an id",
        "KWOK_DRA_REPAIRS": "0",
        "KWOK_DRA_KUBE_VERSION": "1.37.2",
        "KWOK_DRA_APISERVER_PORT": str(cluster.get("kubeApiserverPort", "")),
        "KWOK_DRA_READY_TIMEOUT": str(cluster.get("readyTimeoutSeconds", 300)),
    }


@pytest.mark.parametrize(("tuning", "expected"), [("fleet", None), ("stock", "stock")])
def test_only_a_stock_cluster_names_its_tuning(tuning: str, expected: str | None) -> None:
    """A cluster of an earlier release, which has no such variable, would be replaced for it."""
    configuration = stack_configuration("dev")
    configuration["kwok-dra:cluster"] = {"tuning": tuning}
    assert run(configuration).resources[COMMAND].inputs["environment"].get("KWOK_DRA_TUNING") == expected


def test_the_status_is_read_last(case: Case, recording: Recording) -> None:
    """After the workloads, in one reading."""
    assert recording.order[-1] == READING
    assert recording.readings == [
        ("Pod", "ResourceClaim", "Deployment", "ReplicaSet", "DeviceClass", "Node", "ResourceSlice")
    ]
    assert {entry.workload: entry.seconds for entry in recording.waited_for} == dict.fromkeys(case.templates, 120)


def test_outputs(case: Case, recording: Recording) -> None:
    cluster = {"clusterName": "kwok-dra-dev", "kubeconfigPath": KUBECONFIG, "kubeconfig": Secret("certificates")}
    nothing = {"nodes": 0, "devices": 0, "allocated": 0, "free": 0}
    claims = recording.outputs[STACK].pop("claims")
    assert recording.outputs["ClaimStatus claim-status"].pop("claims") == claims
    pods = len({claim["pod"] for claim in claims})
    assert pods == sum(found.inputs["spec"]["replicas"] for found in recording.of_kind("Deployment").values())
    status = {
        "pools": [{"name": pool} | nothing for pool in sorted(case.nodes)],
        "leftovers": [],
        "drift": [],
        "preempted": [],
        "summary": f"{len(claims)} of {len(claims)} claims allocated, {pods} of {pods} pods running, "
        "0 of 0 devices in use on 0 nodes",
    }
    expected: dict[str, Any] = {
        STACK: cluster | status,
        CLUSTER: cluster,
        "Removals removals": {"objects": len(case.templates) + sum(map(len, case.nodes.values()))},
        "DeviceClasses device-classes": {"names": case.classes},
        "SharedObjects shared-objects": {"claims": []},
        "ClaimStatus claim-status": status,
    }
    for pool, nodes in case.nodes.items():
        expected[f"GpuNodePool {pool}"] = {"nodes": len(nodes)}
        expected[f"ResourceSlices {pool}"] = {"slices": len(nodes)}
    for workload in case.templates:
        expected[f"ClaimWorkload {workload}"] = {"workload": workload}
    assert recording.outputs == expected


def test_a_preview_waits_for_nothing(case: Case) -> None:
    preview = run(case.configuration, preview=True)
    assert len(preview.readings) == 1
    assert preview.waited_for == []


def test_a_first_preview_works(case: Case) -> None:
    """No cluster exists yet, and the provider has no kubeconfig."""
    first = run(case.configuration, preview=True, unknown=True)
    assert set(first.resources) == set(run(case.configuration).resources)
    assert first.readings == []


@pytest.mark.parametrize("version", ["v1", "v1beta2", "v1beta1"])
def test_objects_have_the_configured_resource_api(version: str) -> None:
    configuration = stack_configuration("dev")
    configuration["kwok-dra:cluster"] = {"resourceApi": version}
    found = run(configuration).objects().values()
    versions = {resource.inputs["kind"]: resource.inputs["apiVersion"] for resource in found}
    of_dra = dict.fromkeys(("DeviceClass", "ResourceClaimTemplate", "ResourceSlice"), f"resource.k8s.io/{version}")
    assert versions == {"Node": "v1", "Deployment": "apps/v1"} | of_dra


@pytest.mark.parametrize("preview", [True, False])
def test_one_line_names_what_a_kubernetes_version_has_removed(preview: bool) -> None:
    def infos(version: str) -> list[str]:
        dev = stack_configuration("dev")
        dev["kwok-dra:cluster"]["kubeVersion"] = version
        return run(dev, preview=preview).infos

    assert infos("1.37.2") == []
    assert infos("1.38.0") == [
        "kwok-dra:cluster: Kubernetes 1.38.0 no longer has DynamicResourceAllocation, resource.k8s.io/v1beta1; the "
        "cluster is created without"
    ]


def test_an_extended_resource_of_two_classes_is_warned_of() -> None:
    name = {"extendedResourceName": "example.com/gpu"}
    configuration = bigger().configuration | {
        "kwok-dra:deviceClasses": [{"name": "second"} | name, {"name": "first"} | name, {"name": "third"}]
    }
    assert run(configuration).warnings == [
        "device classes first and second have one extendedResourceName, example.com/gpu: the scheduler uses only the "
        "newest of them, or the first by name if they were created in the same second"
    ]
