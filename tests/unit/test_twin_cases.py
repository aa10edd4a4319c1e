"""Twins of dumps of real fleets (tests/data/twins): what the scheduler sees of them, and what must not be in them."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.twins.cases import CASES, FOLDER, dump_of, objects
from tests.twins.checker import Check, differences
from tests.twins.cluster import Cluster
from tests.twins.made import MODES, Twin, edited, objects_of, twin_of
from tests.unit import real_slices
from tests.unit.simulated import live
from tests.unit.test_twin_round_trip import ROOT, STACKS, configured
from topology.checks.validation import ConfigurationError
from topology.schema.stack import Topology

Make = Callable[..., Twin]
Attribute = Mapping[str, Any]


@pytest.fixture
def made(tmp_path: Path) -> Make:
    """Return a function that makes the twin of a case."""
    return lambda case, mode="default": twin_of(dump_of(case), tmp_path, MODES[mode])


def test_all_dumps_are_tested() -> None:
    assert sorted(file.stem for file in FOLDER.glob("*.yaml")) == sorted(CASES)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", CASES)
def test_the_scheduler_sees_the_same(made: Make, case: str, mode: str) -> None:
    found = differences(objects(case), made(case, mode))
    assert not found, "\n".join(found)


SLICES = ("aws_a100", "azure_mig", "amd_dpx", "intel", "oci_nics", "azure_nics")
"""The dumps of tests/unit/real_slices.py."""
LARGE = ("a100-mig", "b200", "mixed", "mi300x")
"""Stacks that take long to compare."""


@pytest.mark.parametrize("mode", ["default", "names"])
@pytest.mark.parametrize("name", SLICES)
def test_the_scheduler_sees_the_same_devices_of_real_drivers(tmp_path: Path, name: str, mode: str) -> None:
    of_node = getattr(real_slices, name)
    compare([*of_node("ip-1-a.ec2.internal"), *of_node("ip-22-b.ec2.internal")], tmp_path, mode)


@pytest.mark.parametrize("name", sorted({*STACKS} - {*LARGE}))
def test_the_scheduler_sees_the_same_in_the_twin_of_a_stack(tmp_path: Path, name: str) -> None:
    compare(live(configured(ROOT, name)), tmp_path)


def compare(found: list[dict[str, Any]], folder: Path, mode: str = "default") -> None:
    """Compare the twin of these objects with them."""
    dump = folder / "dump.json"
    dump.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": found}))
    wrong = differences(found, twin_of(dump, folder, MODES[mode]))
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", CASES)
def test_nodes_devices_and_claims_are_counted(made: Make, case: str, mode: str) -> None:
    right, check = CASES[case], Check(objects(case), made(case, mode))
    assert len(check.copy.nodes) == right.nodes
    assert Counter(key[0] for key in check.copy.devices if key not in check.back.values()) == right.devices
    states = Counter(claim.allocated for pod in check.copy.pods for claim in pod.claims)
    assert (states[True], states[False]) == (right.allocated, right.pending)


# Values.


def devices(topology: Topology) -> dict[str, dict[str, Any]]:
    """Return what is published of each device, by its name and its node."""
    cluster = Cluster(live(topology))
    return {f"{min(one.nodes)}/{key[2]}": dict(one.published) for key, one in cluster.devices.items()}


def values(topology: Topology, attribute: str) -> list[Any]:
    """Return the values of an attribute in the order of devices, without their types."""
    attributes = [device.get("attributes", {}) for device in devices(topology).values()]
    return [value for one in attributes if attribute in one for value in one[attribute].values()]


def by_node(topology: Topology, attribute: str) -> dict[str, set[Any]]:
    """Return the values of an attribute on each node."""
    found: dict[str, set[Any]] = defaultdict(set)
    for name, device in devices(topology).items():
        if value := device.get("attributes", {}).get(attribute):
            found[name.partition("/")[0]] |= set(value.values())
    return found


def selectors(topology: Topology) -> list[str]:
    """Return the CEL expressions of all requests."""
    return [
        expression
        for claim in [*topology.claims, *(claim for workload in topology.workloads for claim in workload.claims)]
        for request in claim.requests
        for expression in request.selectors
    ]


def names(topology: Topology) -> list[str]:
    return sorted(name.partition("/")[2] for name in devices(topology))


def test_a_claim_names_the_placement_group_of_one_node(made: Make) -> None:
    topology = made("aks-gb300-ib-only").topology
    groups = by_node(topology, "azure.dra.net/placementGroupId")
    assert [len(found) for found in groups.values()] == [1, 1]
    named = [
        group for found in groups.values() for group in found if any(group in text for text in selectors(topology))
    ]
    assert len(named) == 1
    assert set(values(topology, "dra.net/rdmaDevice")) == {"mlx5_0", "mlx5_1", "mlx5_2", "mlx5_3"}
    assert {device["capacity"]["memory"]["value"] for device in devices(topology).values() if "capacity" in device} == {
        "284208Mi"
    }


@pytest.mark.parametrize("mode", MODES)
def test_two_of_four_nodes_have_the_id_that_a_claim_names(made: Make, mode: str) -> None:
    twin = made("aks-gb300-two-fabrics", mode)
    groups = by_node(twin.topology, "azure.dra.net/placementGroupId")
    assert sorted(Counter(group for (group,) in groups.values()).values()) == [2, 2]
    (named,) = {group for (group,) in groups.values() if any(group in text for text in selectors(twin.topology))}
    assert sum(found == {named} for found in groups.values()) == 2


@pytest.mark.parametrize("case", ["hami-consumable-cores", "hami-one-gpu"])
def test_cores_and_memory_that_claims_share(made: Make, case: str) -> None:
    topology = made(case).topology
    ((name, device),) = devices(topology).items()
    memory = {"hami-consumable-cores": "80Gi", "hami-one-gpu": "23028Mi"}[case]
    assert name.endswith("/hami-gpu-0")
    assert device["allowMultipleAllocations"] is True
    policies = {name: amount["requestPolicy"] for name, amount in device["capacity"].items()}
    assert {name: (amount["value"], policies[name]["default"]) for name, amount in device["capacity"].items()} == {
        "cores": ("100", "100"),
        "memory": (memory, memory),
    }
    assert policies["cores"]["validRange"] == {"min": "0", "max": "100", "step": "1"}


def test_parts_without_their_gpu(made: Make) -> None:
    topology = made("nvidia-a30-dynamic-mig").topology
    cluster = Cluster(live(topology))
    assert set(values(topology, "type")) == {"mig"}
    (counters,) = {str(one.counter_sets) for one in cluster.devices.values()}
    sets = yaml.safe_load(counters)
    assert list(sets) == ["gpu-0-counter-set"]
    assert len(sets["gpu-0-counter-set"]) == 11
    assert "gpu-0-mig-2g12gb-5-0" in names(topology)


def test_virtual_functions_as_extended_resources(made: Make) -> None:
    twin = made("sriov-extended-resources")
    assert len(twin.topology.node_pools) == 1
    assert names(twin.topology)[:2] == ["0000-08-00-2", "0000-08-00-2"]
    assert all(not workload.claims for workload in twin.topology.workloads)
    of_classes = [entry.extended_resource_name for entry in twin.topology.device_classes]
    assert sorted(filter(None, of_classes)) == ["example.com/sriov-port1", "example.com/sriov-port2"]
    cluster = Cluster(live(twin.topology))
    assert not any("sriov" in resource for name in cluster.nodes for resource in cluster.capacity(name))
    assert twin.says("config")


def test_devices_in_rows_and_columns(made: Make) -> None:
    twin = made("neuron-trn2")
    topology = twin.topology
    assert values(topology, "topology_x") == [index // 4 for index in range(16)]
    assert values(topology, "topology_y") == [index % 4 for index in range(16)]
    groups = [Counter(values(topology, f"resource.aws.com/devicegroup{size}_id")) for size in (4, 8, 16)]
    assert [sorted(found.values()) for found in groups] == [[4, 4, 4, 4], [8, 8], [16]]
    assert set(values(topology, "neuronDriverVersion")) == {"2.26.5.0"}
    assert any("'2.26.5.0'" in text for text in selectors(topology))
    assert any("'trn9.48xlarge'" in text for text in selectors(topology))
    assert twin.says("2 of 3")


def test_serial_numbers_and_a_cordon(made: Make) -> None:
    topology = made("rebellions-npu").topology
    assert len(topology.node_pools) <= 2
    assert len(set(values(topology, "sid"))) == len(set(values(topology, "uuid"))) == 8
    assert set(values(topology, "driverVersion")) == {"3.5.1"}
    assert set(values(topology, "pciLinkWidth")) == {"16"}
    taints = [pool.taints or [] for pool in topology.node_pools]
    assert [taint.key for some in taints for taint in some] == ["twin/cordoned"]


@pytest.mark.parametrize("mode", ["nodes", "devices"])
def test_a_pod_stays_on_its_cordoned_node(made: Make, mode: str) -> None:
    (legacy,) = (entry for entry in made("rebellions-npu", mode).topology.workloads if entry.extended_resources)
    assert "twin/cordoned" in [toleration.key for toleration in legacy.tolerations]


def test_a_list_of_roots_and_a_device_for_each_cpu(made: Make) -> None:
    topology = made("cpu-individual-list-attributes").topology
    assert names(topology) == [f"cpudev{number:03}" for number in range(12)]
    assert all("strings" in one["attributes"]["resource.kubernetes.io/pcieRoot"] for one in devices(topology).values())
    mapping = {"cpu": {"mapping": {"deviceMultiplier": "1"}}}
    assert all(device["nodeAllocatableResources"] == mapping for device in devices(topology).values())
    gates = topology.cluster.kube_feature_gates
    assert gates["DRAListTypeAttributes"] and gates["DRANodeAllocatableResources"]


def test_a_node_that_does_not_say_what_it_declares(tmp_path: Path) -> None:
    """Kubelets before the field, or a dump that was cut: the features that devices need are declared."""
    content = yaml.safe_load(dump_of("cpu-individual-list-attributes").read_text())
    for entry in content["items"]:
        entry.get("status", {}).pop("declaredFeatures", None)
    compare(content["items"], tmp_path)


def test_slices_without_devices_and_pools_that_are_not_complete(made: Make) -> None:
    twin = made("gke-broken-slices")
    assert twin.says("node.* left out")
    assert twin.says("incomplete")
    ready = [Cluster(live(twin.topology)).is_ready(name) for name in Cluster(live(twin.topology)).nodes]
    assert ready.count(False) == 1


def test_devices_of_a_fabric(made: Make) -> None:
    topology = made("composable-fabric-devices").topology
    of_fabric = [one for one in Cluster(live(topology)).devices.values() if not one.is_of_node]
    assert Counter(one.published["attributes"]["productName"]["string"] for one in of_fabric) == {
        "NVIDIA A100 80GB PCIe": 8,
        "NVIDIA H100 PCIe": 1,
    }
    assert {len(one.nodes) for one in of_fabric} == {1, 2}
    assert all(one.published["bindingConditions"] == ["FabricDeviceReady"] for one in of_fabric)


def test_a_gpu_that_is_published_twice(made: Make) -> None:
    twin = made("nvidia-a40-vfio")
    assert names(twin.topology) == ["gpu-0", "gpu-2", "gpu-3", "gpu-vfio-0", "gpu-vfio-1", "gpu-vfio-3"]
    by_uuid: dict[str, set[str]] = defaultdict(set)
    for name, device in devices(twin.topology).items():
        by_uuid[device["attributes"]["uuid"]["string"]].add(name.partition("/")[2])
    assert sorted(map(sorted, by_uuid.values())) == [
        ["gpu-0", "gpu-vfio-0"],
        ["gpu-2"],
        ["gpu-3", "gpu-vfio-3"],
        ["gpu-vfio-1"],
    ]
    assert twin.says("config")


def test_gpus_of_a_device_plugin(made: Make) -> None:
    twin = made("alibaba-erdma-device-plugin-gpus")
    assert len(twin.topology.node_pools) == 1
    cluster = Cluster(live(twin.topology))
    assert [cluster.capacity(name)["nvidia.com/gpu"] for name in cluster.nodes] == [2, 2]
    assert [pod.resources["nvidia.com/gpu"] for pod in cluster.pods] == [2, 2]
    assert not any(claim.is_extended for pod in cluster.pods for claim in pod.claims)
    (own,) = (entry for entry in twin.topology.device_classes if len(entry.selectors) == 2)
    assert own.selectors[1].startswith('"alibaba.dra.net" in device.attributes')


def test_ids_of_racks_and_blocks(made: Make) -> None:
    topology = made("oke-h100-nics-in-use").topology
    per_node = {name: by_node(topology, f"oke.dra.net/{name}") for name in ("rackId", "networkBlockId", "localBlockId")}
    assert {name: len(set.union(*found.values())) for name, found in per_node.items()} == {
        "rackId": 2,
        "networkBlockId": 1,
        "localBlockId": 1,
    }


def test_a_link_width_is_no_bus(made: Make) -> None:
    twin = made("rebellions-two-cards")
    topology = twin.topology
    assert names(topology) == ["rbln0", "rbln1"]
    assert all("string" in device["attributes"]["driverVersion"] for device in devices(topology).values())
    assert set(values(topology, "pciLinkWidth")) == {"16"}
    assert len(set(values(topology, "sid"))) == 2
    assert values(topology, "resource.kubernetes.io/numaNode") == [0, 1]
    assert "pcieBus" not in twin.text


def test_a_capacity_that_no_request_names(made: Make) -> None:
    topology = made("hygon-hcu").topology
    for device in devices(topology).values():
        defaults = {name: amount["requestPolicy"]["default"] for name, amount in device["capacity"].items()}
        assert defaults == {"cores": "120", "memory": "64Gi", "slices": "1"}
    assert len(set(values(topology, "uuid"))) == 2


def test_compatibility_groups(made: Make, tmp_path: Path) -> None:
    twin = made("nvidia-vgpu-l40s")
    topology = twin.topology
    assert topology.cluster.kube_feature_gates["DRADeviceCompatibilityGroups"]
    assert topology.cluster.minor >= 37
    groups = Counter(
        group
        for device in devices(topology).values()
        for consumed in device["consumesCounters"]
        for group in consumed["compatibilityGroups"]
    )
    assert set(groups) >= {"gpu-full", "vgpu-12q"}
    with pytest.raises(ConfigurationError, match=r"compatibility groups.*1\.37"):
        edited(twin, tmp_path, "config:\n", "config:\n  kwok-dra:cluster: {kubeVersion: 1.36.3}\n")


def test_a_rule_that_selects_nothing(made: Make) -> None:
    twin = made("taint-rule-without-selector")
    assert not twin.topology.device_taint_rules
    assert twin.says("DeviceTaintRule")


# What the checker finds.

WRONG = {
    "capacity": ("hami-one-gpu", "23028Mi", "23027Mi", "capacity of devices is"),
    "attribute": ("nvidia-a30-dynamic-mig", "595.58.3", "595.58.4", "driverVersion of gpu.nvidia.com is"),
    "text": ("nvidia-a30-dynamic-mig", "NVIDIA A30", "NVIDIA A31", "but is no identity"),
    "equality": ("rebellions-two-cards", "00001A17F3C2E91", "00001A07F3C2E91", "'00001A07F3C2E91' became"),
    "counter": ("nvidia-vgpu-l40s", "value: 12Gi", "value: 11Gi", "a device consumes"),
    "group": ("nvidia-vgpu-l40s", "- vgpu-12q", "- vgpu-24q", "a device consumes"),
    "name": ("hami-one-gpu", ": hami-gpu-0", ": gpu-0", "the device is called"),
    "taint": (
        "taint-rule-without-selector",
        "taint:",
        "deviceSelector: {}\n    taint:",
        "a taint NoExecute is missing",
    ),
    "class": ("hami-one-gpu", "extendedResourceName: nvidia.com", "extendedResourceName: a.com", "DeviceClass"),
    "expression": ("aks-gb300-ib-only", '== "mlx5_2"', '== "mlx5_3"', "selects"),
    "amount": ("hami-one-gpu", "memory: 8Gi", "memory: 7Gi", "asks for"),
    "state": ("hami-one-gpu", "allocation:", "other:", "another number of allocated claims"),
    "pod": ("aks-gb300-ib-only", "phase: Running", "phase: Succeeded", "a pod is only in the twin"),
    "resources": ("aks-gb300-ib-only", "cpu: 127300m", "cpu: 127200m", "a node has"),
    "label": ("aks-gb300-ib-only", "/region: eastus2", "/region: eastus", "the label topology.kubernetes.io/region"),
    "node taint": ("aks-gb300-ib-only", "value: present", "value: absent", "the taint"),
    "readiness": (
        "aks-gb300-ib-only",
        "status: 'True'\n      type: Ready",
        "status: 'False'\n      type: Ready",
        "ready",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_the_checker_finds_what_is_other_in_the_dump(made: Make, tmp_path: Path, what: str) -> None:
    case, old, new, told = WRONG[what]
    text = dump_of(case).read_text()
    assert old in text
    other = tmp_path / "other.yaml"
    other.write_text(text.replace(old, new))
    found = differences(objects_of(other), made(case))
    assert [line for line in found if told in line], found


@pytest.mark.parametrize("word", ["00001A07F3C2E91", "rbln-host-3", "three"])
def test_the_checker_finds_identities_and_names_in_the_files(made: Make, word: str) -> None:
    twin = made("rebellions-two-cards")
    workloads = [twin.topology.workloads[0].model_copy(update={"namespace": word})]
    topology = twin.topology.model_copy(update={"workloads": workloads})
    found = differences(objects("rebellions-two-cards"), twin._replace(text=twin.text + word, topology=topology))
    assert [line for line in found if f" {word} " in line], found


def test_the_checker_finds_what_no_note_says(made: Make) -> None:
    found = differences(objects("aks-gb300-ib-only"), made("aks-gb300-ib-only")._replace(notes=[]))
    assert "no note tells of affinity between pods" in found[0]
