"""What the program registers: resources, their order, and how they are updated and deleted."""

from dataclasses import dataclass
from typing import Any

import pytest

from components.command import PYTHON
from tests.graph.recording import KUBECONFIG, READING, Configuration, Recording, Secret, run, stack_configuration
from topology.checks.validation import load
from topology.objects import claims, pods
from topology.objects import nodes as node_objects
from topology.objects.slices import resource_slices

CLUSTER = "KwokCluster kwok-dra-dev"
COMMAND = "Command kwok-dra-dev"
PROVIDER = "kubernetes kwok-dra-dev"
STACK = "Stack kwok-dra-dev"
DRIVER = "gpu.kwok.x-k8s"


@dataclass
class Case:
    """A configuration and the names of the resources that it must result in."""

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


def test_every_object_reaches_the_stacks_own_cluster(recording: Recording) -> None:
    """Any other provider would use the user's cluster."""
    own = "urn:pulumi:dev::kwok-dra::pulumi:providers:kubernetes::kwok-dra-dev::id of kwok-dra-dev"
    assert {found.provider for found in recording.objects().values()} == {own}
    assert recording.resources[PROVIDER].inputs["kubeconfig"] == Secret("certificates")


def test_the_contents_of_a_cluster_go_and_come_with_it(recording: Recording) -> None:
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


def test_the_objects_are_the_rendered_ones(case: Case, recording: Recording) -> None:
    raw = {key.removeprefix("kwok-dra:"): value for key, value in case.configuration.items()}
    topology = load(raw | {"cluster": {"name": "x"}})
    expected = [claims.device_class(device_class) for device_class in topology.device_classes]
    for pool in topology.node_pools:
        for name in pool.node_names():
            node = node_objects.node(pool, name)
            if node["spec"].get("taints"):
                node["metadata"]["annotations"]["pulumi.com/patchForce"] = "true"
            expected += [node, *resource_slices(pool, name)]
    for workload in topology.workloads:
        expected += [claims.resource_claim_template(workload, claim) for claim in workload.claims]
        deployment = pods.workload_objects(workload)[0]
        # Pulumi must not wait for pods that may stay pending.
        deployment["metadata"]["annotations"] = {"pulumi.com/waitFor": "jsonpath={.metadata.uid}"}
        expected.append(deployment)
    by_key = {f"{manifest['kind']} {manifest['metadata']['name']}": manifest for manifest in expected}
    assert {key: found.inputs for key, found in recording.objects().items()} == by_key


def test_the_cluster_is_made_by_one_command(case: Case, recording: Recording) -> None:
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
    replacing = {f"environment.KWOK_DRA_{name}" for name in ("CLUSTER", "KWOKCTL_CONFIG", "STAGES")}
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
    """There is no cluster to ask yet, and no kubeconfig for a provider."""
    first = run(case.configuration, preview=True, unknown=True)
    assert set(first.resources) == set(run(case.configuration).resources)
    assert first.readings == []


def pools_of(*pools: dict[str, Any], **cluster: Any) -> Configuration:
    """Return a configuration with node pools only."""
    return {"kwok-dra:cluster": cluster, "kwok-dra:nodePools": list(pools)}


def generations(configuration: Configuration) -> dict[str, dict[str, Any]]:
    """Return the inputs of the commands that keep generations."""
    commands = run(configuration).of_kind("Command")
    return {name: found.inputs for name, found in commands.items() if name.startswith("pool-")}


def test_each_driver_of_a_pool_has_a_generation() -> None:
    devices = [{"model": {"driver": f"{name}.example.com"}} for name in ("nic", "fpga")]
    commands = generations(pools_of({"name": "pool", "gpu": "kwok-l4", "devices": devices}))
    # The driver's own first generation; each change adds one.
    assert {name: inputs["environment"]["KWOK_DRA_FIRST_GENERATION"] for name, inputs in commands.items()} == {
        "pool-gpu.kwok.x-k8s": "0",
        "pool-nic.example.com": "1",
        "pool-fpga.example.com": "1",
    }
    assert {inputs["create"] for inputs in commands.values()} == {'echo "$KWOK_DRA_FIRST_GENERATION"'}
    assert {inputs["update"] for inputs in commands.values()} == {"echo $((PULUMI_COMMAND_STDOUT + 1))"}
    assert len({inputs["environment"]["KWOK_DRA_DEVICES"] for inputs in commands.values()}) == 3


def test_a_generation_goes_with_the_cluster() -> None:
    generation = run(stack_configuration("dev")).resources[f"Command kwok-node-{DRIVER}"]
    assert generation.deleted_with == COMMAND
    assert generation.replacement_trigger == "id of kwok-dra-dev"
    # An update knows the previous generation; a replacement would not.
    assert "environment" not in generation.replace_on_changes


@pytest.mark.parametrize(
    ("change", "changes"),
    [
        ({}, False),
        ({"nodes": 3}, False),
        ({"labels": {"a": "b"}}, False),
        ({"gpusPerNode": 2}, True),
        ({"attributes": {"driverVersion": {"version": "999.0.0"}}}, True),
        ({"devices": [{"model": "kwok-l4"}]}, True),
        ({"devices": [{"model": {"driver": "nic.example.com"}}]}, False),
    ],
)
def test_what_makes_a_new_generation(change: dict[str, Any], changes: bool) -> None:
    pool = {"name": "pool", "gpu": "kwok-l4"}
    before, after = (generations(pools_of(entry))[f"pool-{DRIVER}"] for entry in (pool, pool | change))
    assert (before != after) == changes


def test_slices_get_the_generation_from_its_command() -> None:
    gpu = {"driver": "gpu.example.com", "firstGeneration": 7}
    (found,) = run(pools_of({"name": "pool", "gpu": gpu})).of_kind("ResourceSlice").values()
    assert found.inputs["spec"]["pool"] == {"name": "pool-0", "generation": 7, "resourceSliceCount": 1}
    assert "Command pool-gpu.example.com" in found.dependencies


def test_nodes_are_told_what_they_declare() -> None:
    gpu = {"driver": "gpu.example.com", "skipNodeOperations": ["*"]}
    made = run(pools_of({"name": "pool", "nodes": 2, "gpu": gpu}))
    found = made.resources["Command pool-declared"]
    assert found.inputs["create"] == found.inputs["update"]
    assert (
        found.inputs["environment"]["KWOK_DRA_PATCH"]
        == '{"status": {"declaredFeatures": ["DRAOptionalNodeOperations"]}}'
    )
    assert found.inputs["stdin"] == "pool-0 pool-1"
    assert {"Node pool-0", "Node pool-1"} <= set(found.dependencies)
    assert all("Command pool-declared" in entry.dependencies for entry in made.of_kind("ResourceSlice").values())
    assert (found.deleted_with, found.replacement_trigger) == (COMMAND, "id of kwok-dra-dev")


def attached(**pool: Any) -> Recording:
    """Run a pool of GPUs with binding conditions."""
    return run(pools_of({"name": "pool", "gpu": "example-gpu-attached"} | pool))


def test_taints_of_devices_that_failed_go_when_others_are_to_fail() -> None:
    found = attached().resources["Command pool-attached"]
    assert found.inputs["create"] == "true"
    assert found.inputs["update"].startswith("kubectl delete devicetaintrules ")
    assert found.inputs["environment"]["KWOK_DRA_SELECTOR"] == "kwok-dra/attach-fails=pool"
    assert (found.deleted_with, found.replacement_trigger) == (COMMAND, "id of kwok-dra-dev")
    assert "environment" not in found.replace_on_changes
    # With the old slice the scheduler would try the device again, which would fail and be tainted again.
    assert {key for key in found.dependencies if key.startswith("ResourceSlice ")}
    assert "Command plain-attached" not in run(pools_of({"name": "plain", "gpu": "example-gpu"})).resources


@pytest.mark.parametrize(
    ("change", "changes"),
    [
        ({}, False),
        ({"nodes": 2}, False),
        ({"faults": [{"devices": ["gpu-0"], "taint": {"key": "a"}}]}, False),
        ({"faults": [{"devices": ["gpu-0"], "attachFails": True}]}, True),
    ],
)
def test_when_others_are_to_fail(change: dict[str, Any], changes: bool) -> None:
    before, after = (attached(**pool).resources["Command pool-attached"].inputs for pool in ({}, change))
    assert (before != after) == changes


@pytest.mark.parametrize("version", ["v1", "v1beta2", "v1beta1"])
def test_objects_are_of_the_version_that_is_asked_for(version: str) -> None:
    configuration = stack_configuration("dev")
    configuration["kwok-dra:cluster"] = {"resourceApi": version}
    found = run(configuration).objects().values()
    versions = {resource.inputs["kind"]: resource.inputs["apiVersion"] for resource in found}
    of_dra = dict.fromkeys(("DeviceClass", "ResourceClaimTemplate", "ResourceSlice"), f"resource.k8s.io/{version}")
    assert versions == {"Node": "v1", "Deployment": "apps/v1"} | of_dra


def test_a_node_with_many_devices_has_several_slices() -> None:
    made = run(pools_of({"name": "pool", "nodes": 2, "gpu": "kwok-l4", "gpusPerNode": 129}))
    slices = [found.inputs["spec"] for _, found in sorted(made.of_kind("ResourceSlice").items())]
    assert [(spec["nodeName"], len(spec["devices"])) for spec in slices] == [
        ("pool-0", 128),
        ("pool-0", 1),
        ("pool-1", 128),
        ("pool-1", 1),
    ]
    assert made.outputs["ResourceSlices pool"] == {"slices": 4}


def test_a_node_with_taints_is_changed_by_force() -> None:
    """The node lifecycle controller adds its own taints to the same list."""
    made = run(
        pools_of(
            {"name": "a", "gpu": "kwok-l4", "taints": [{"key": "x"}], "faults": [{"notReady": True}]},
            {"name": "b", "gpu": "kwok-l4", "taints": []},
        )
    ).of_kind("Node")
    annotations = {name: found.inputs["metadata"]["annotations"] for name, found in made.items()}
    plain = {"node.alpha.kubernetes.io/ttl": "0", "kwok.x-k8s.io/node": "fake"}
    assert annotations == {
        "a-0": plain | {"kwok-dra/not-ready": "true", "pulumi.com/patchForce": "true"},
        "b-0": plain,
    }


def test_slices_are_owned_by_their_node() -> None:
    """As with the real drivers; the slices on KWOK's page have no owner."""
    made = run(pools_of({"name": "pool", "nodes": 2, "gpu": "kwok-l4", "devices": [{"model": {"driver": "x.y"}}]}))
    owners = {
        (found.inputs["spec"]["driver"], found.inputs["spec"]["nodeName"]): found.inputs["metadata"].get(
            "ownerReferences"
        )
        for found in made.of_kind("ResourceSlice").values()
    }
    node = {"apiVersion": "v1", "kind": "Node", "controller": True}
    assert owners == {
        (DRIVER, "pool-0"): None,
        (DRIVER, "pool-1"): None,
        ("x.y", "pool-0"): [node | {"name": "pool-0", "uid": "uid of pool-0"}],
        ("x.y", "pool-1"): [node | {"name": "pool-1", "uid": "uid of pool-1"}],
    }


@pytest.mark.parametrize("preview", [True, False])
def test_what_a_version_has_removed_is_told_of_in_one_line(preview: bool) -> None:
    def infos(version: str) -> list[str]:
        dev = stack_configuration("dev")
        dev["kwok-dra:cluster"]["kubeVersion"] = version
        return run(dev, preview=preview).infos

    assert infos("1.37.2") == []
    assert infos("1.38.0") == [
        "kwok-dra:cluster: Kubernetes 1.38.0 no longer has DynamicResourceAllocation, resource.k8s.io/v1beta1; the "
        "cluster is created without"
    ]
