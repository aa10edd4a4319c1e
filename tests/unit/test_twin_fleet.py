"""The nodes and fabric pools of a twin: what is in it of the ResourceSlices of a dump, and what is said of the rest."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.real_slices import amounts, dump, node, resource_slice, texts
from tests.unit.simulated import live
from topology.checks.validation import load
from topology.objects.slices import resource_slices
from topology.schema.stack import Topology
from twin.dump import read
from twin.stack import Stack, stack
from twin.writing import write

Object = dict[str, Any]

GPU, FABRIC = "gpu.example.org", "fabric.example.org"
CONDITIONS: Object = {
    "bindingConditions": ["ready"],
    "bindingFailureConditions": ["failed"],
    "bindsToNode": True,
}


def gpu(number: int = 0, **more: Any) -> Object:
    attributes = texts(type="gpu", uuid=f"GPU-{number:08x}-1111-2222-3333-444444444444")
    return {"name": f"gpu-{number}", "attributes": attributes, "capacity": amounts(memory="80Gi")} | more


def slice_of(name: str, *devices: Object, **more: Any) -> Object:
    """Return the slice of a node; a pool given by its name alone has one slice."""
    return resource_slice(name, GPU, list(devices), **more)


def fabric(*devices: Object, name: str = "free", driver: str = FABRIC, **reach: Any) -> Object:
    """Return the slice of a pool without a node."""
    pool = {"name": name, "generation": 4, "resourceSliceCount": 1}
    found = resource_slice(name, driver, list(devices), **({"pool": pool} | reach))
    del found["spec"]["nodeName"], found["metadata"]["ownerReferences"]
    return found


def selector(*expressions: tuple[str, str, Sequence[str]], **more: Any) -> Object:
    found = [{"key": key, "operator": operator, "values": list(values)} for key, operator, values in expressions]
    return {"nodeSelectorTerms": [{"matchExpressions": found} | more]}


def twin(folder: Path, *objects: Object, **options: Any) -> tuple[Stack, Topology]:
    """Return the twin, and what its files configure."""
    found = stack(dump(folder, *objects), **options)
    write(found, "again", folder, options.get("keep_names", False))
    config = yaml.safe_load((folder / "stacks/Pulumi.again.yaml").read_text())["config"]
    raw = {key.removeprefix("kwok-dra:"): value for key, value in config.items()}
    return found, load({"cluster": {"name": "again"}, **raw}, folder, warn=pytest.fail)


def pools_of(topology: Topology) -> dict[str, int]:
    """Return how many devices each pool of the twin has on each node, or in all."""
    return {pool.name: sum(devices.count for devices in pool.all_devices()) for pool in topology.pools.values()}


# Devices of no single node.


def test_devices_of_a_fabric_for_nodes_with_labels(tmp_path: Path) -> None:
    wanted = selector(("own.example/fabric", "In", ["one"]), ("topology.kubernetes.io/zone", "In", ["z1"]))
    inside = {"own.example/fabric": "one", "topology.kubernetes.io/zone": "z1", "own.example/other": "x"}
    objects = [
        node("host-a", inside),
        node("host-b", inside | {"own.example/fabric": "two"}),
        node("host-c"),
        slice_of("host-c", gpu()),
        fabric(*(gpu(number) | CONDITIONS for number in range(3)), nodeSelector=wanted),
    ]
    found, topology = twin(tmp_path, *objects)
    assert found.notes == ["nodes without devices are left out: 1 of 3"]
    assert pools_of(topology) == {"gpu": 1, "node": 0, "fabric-1": 3}
    (pool,) = topology.fabric_pools
    reach = {"topology.kubernetes.io/zone": "z1", "twin/label-1": "value-1"}
    assert pool.node_selector == reach
    assert [pool.labels for pool in topology.node_pools if pool.name == "node"] == [reach]
    (published,) = resource_slices(pool, "fabric-1")
    assert [device["name"] for device in published["spec"]["devices"]] == ["gpu-0", "gpu-1", "gpu-2"]
    assert published["spec"]["devices"][1].items() >= CONDITIONS.items()
    assert len({device["attributes"]["uuid"]["string"] for device in published["spec"]["devices"]}) == 3

    (tmp_path / "names").mkdir()
    _, topology = twin(tmp_path / "names", *objects, keep_names=True)
    assert [pool.name for pool in topology.fabric_pools] == ["free"]
    assert topology.fabric_pools[0].node_selector == {"own.example/fabric": "one", "topology.kubernetes.io/zone": "z1"}


def test_slices_with_and_without_a_node_of_one_driver(tmp_path: Path) -> None:
    """Their generations are those of different pools, and their devices have the same names."""
    objects = [node("a"), slice_of("a", gpu(0), gpu(1)), fabric(gpu(0), driver=GPU, allNodes=True)]
    found, topology = twin(tmp_path, *objects)
    assert (found.notes, pools_of(topology)) == ([], {"gpu": 2, "fabric-1": 1})
    assert topology.fabric_pools[0].all_nodes
    assert topology.fabric_pools[0].devices[0].model == topology.node_pools[0].gpu


@pytest.mark.parametrize(
    ("wanted", "nodes"),
    [
        (selector(("zone", "NotIn", ["a"])), {"b", "c"}),
        (selector(("zone", "In", ["a", "b"])), {"a", "b"}),
        (selector(("zone", "Exists", [])), {"a", "b"}),
        (selector(matchFields=[{"key": "metadata.name", "operator": "In", "values": ["c"]}]), {"c"}),
        (selector(("kubernetes.io/hostname", "In", ["b"])), {"b"}),
        (selector(("nvidia.com/gpu.clique", "In", ["1.2"])), {"a", "c"}),
    ],
)
def test_selectors_that_are_not_about_labels_that_twins_have(tmp_path: Path, wanted: Object, nodes: set[str]) -> None:
    clique = {"nvidia.com/gpu.clique": "1.2"}
    objects = [node("a", {"zone": "a", **clique}), node("b", {"zone": "b"}), node("c", clique)]
    objects += [slice_of(name, gpu()) for name in "abc"]
    found, topology = twin(tmp_path, *objects, fabric(gpu(), nodeSelector=wanted))
    assert found.notes == []
    (pool,) = topology.fabric_pools
    assert pool.node_selector == {"twin/label-1": "true"}
    label = pool.node_selector.items()
    assert {name for each in topology.node_pools if label <= each.labels.items() for name in each.node_names()} == {
        found.nodes[name] for name in nodes
    }


def test_devices_that_each_have_their_own_nodes(tmp_path: Path) -> None:
    reach: list[Object] = [{"nodeName": "b"}, {"nodeName": "b"}, {"allNodes": True}, {"nodeName": "a"}]
    devices = [gpu(number) | one for number, one in enumerate(reach)]
    objects = [node("a"), node("b"), slice_of("a", gpu(99)), fabric(*devices, perDeviceNodeSelection=True)]
    found, topology = twin(tmp_path, *objects)
    assert found.notes == []
    (pool,) = topology.fabric_pools
    a, b = found.nodes["a"], found.nodes["b"]
    assert [(entry.count, entry.selection) for entry in pool.devices] == [
        (2, {"nodeName": b}),
        (1, {"allNodes": True}),
        (1, {"nodeName": a}),
    ]
    (published,) = resource_slices(pool, pool.name)
    assert published["spec"]["perDeviceNodeSelection"]
    assert [device["name"] for device in published["spec"]["devices"]] == [f"gpu-{number}" for number in range(4)]


def test_one_reach_of_all_devices_is_that_of_the_pool(tmp_path: Path) -> None:
    devices = [gpu(number) | {"allNodes": True} for number in range(2)]
    _, topology = twin(tmp_path, node("a"), slice_of("a", gpu()), fabric(*devices, perDeviceNodeSelection=True))
    assert topology.fabric_pools[0].reach("x") == {"allNodes": True}


def test_parts_of_a_device_for_different_nodes(tmp_path: Path) -> None:
    consumed = [{"counterSet": "s", "counters": {"slots": {"value": "1"}}}]
    parts = [gpu(number, consumesCounters=consumed) | {"nodeName": name} for number, name in enumerate("ab")]
    counters = fabric(
        perDeviceNodeSelection=True, sharedCounters=[{"name": "s", "counters": {"slots": {"value": "2"}}}]
    )
    devices = fabric(*parts, perDeviceNodeSelection=True)
    for place, entry in enumerate((counters, devices)):
        entry["metadata"]["name"] = f"free-{place}"
        entry["spec"]["pool"]["resourceSliceCount"] = 2
    found, topology = twin(tmp_path, node("a"), node("b"), slice_of("a", gpu()), counters, devices)
    assert found.notes == []
    (pool,) = topology.fabric_pools
    assert [entry.selection for entry in pool.devices] == [{"nodeName": found.nodes[name]} for name in "ab"]
    sets, published = (entry["spec"] for entry in resource_slices(pool, pool.name))
    assert sets["sharedCounters"] == counters["spec"]["sharedCounters"]
    assert [device["consumesCounters"] for device in published["devices"]] == [consumed, consumed]


def test_pools_of_two_drivers_with_one_name_are_one_pool(tmp_path: Path) -> None:
    both = [fabric(gpu(), driver=driver, allNodes=True) for driver in (FABRIC, "net.example.org")]
    found, topology = twin(tmp_path, node("a"), slice_of("a", gpu()), *both)
    assert (found.notes, [pool.drivers for pool in topology.fabric_pools]) == ([], [[FABRIC, "net.example.org"]])


def test_devices_that_no_node_can_use(tmp_path: Path) -> None:
    objects = [
        node("a"),
        slice_of("a", gpu()),
        fabric(gpu(0), gpu(1), nodeSelector=selector(("zone", "In", ["none"]))),
        fabric(gpu() | {"nodeName": "gone"}, gpu(1) | {"allNodes": True}, name="more", perDeviceNodeSelection=True),
    ]
    found, topology = twin(tmp_path, *objects)
    assert found.notes == [f"devices of {FABRIC} that no node of the dump can use are left out: 3"]
    assert pools_of(topology) == {"gpu": 1, "fabric-1": 1}


def test_without_nodes_in_the_dump_only_all_nodes_are_known(tmp_path: Path) -> None:
    labelled = fabric(gpu(), name="labelled", nodeSelector=selector(("zone", "In", ["z"])))
    found, topology = twin(tmp_path, slice_of("a", gpu()), fabric(gpu(), allNodes=True), labelled)
    assert found.notes == [f"devices of {FABRIC} that no node of the dump can use are left out: 1"]
    assert pools_of(topology) == {"gpu": 1, "fabric-1": 1}


def test_taints_of_devices_and_rules(tmp_path: Path) -> None:
    taint = {"key": "nvidia.com/worn", "value": "", "effect": "NoSchedule"}
    rule = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "DeviceTaintRule",
        "metadata": {"name": "r"},
        "spec": {"deviceSelector": {"pool": "free"}, "taint": taint},
    }
    _, topology = twin(
        tmp_path, node("a"), slice_of("a", gpu()), fabric(gpu(), gpu(1, taints=[taint]), allNodes=True), rule
    )
    (pool,) = topology.fabric_pools
    assert [(fault.devices, fault.taint and fault.taint.key) for fault in pool.faults] == [
        (["gpu-1"], "nvidia.com/worn")
    ]
    assert [rule.pool for rule in topology.device_taint_rules] == ["fabric-1"]


def test_taints_of_devices_that_have_the_name_of_another_driver(tmp_path: Path) -> None:
    taint = {"key": "nvidia.com/worn", "value": "", "effect": "NoSchedule"}
    other = resource_slice("a", FABRIC, [gpu(taints=[taint]), gpu(1, taints=[taint])])
    _, topology = twin(tmp_path, node("a"), slice_of("a", gpu()), other)
    assert [(fault.driver, fault.devices) for fault in topology.node_pools[0].faults] == [
        (FABRIC, ["gpu-0"]),
        (None, ["gpu-1"]),
    ]


def test_a_stack_with_fabric_pools_is_its_own_twin(tmp_path: Path) -> None:
    entries = [{"model": "example-gpu", "count": 3, "nodeName": "own-0"}, {"model": "example-gpu", "allNodes": True}]
    pools = [
        {"name": "free", "nodeSelector": {"own.example/fabric": "a"}, "devices": [{"model": "h100", "count": 8}]},
        {"name": "net", "devices": entries, "faults": [{"devices": ["gpu-1"], "taint": {"key": "own.example/worn"}}]},
    ]
    original = load(
        {
            "cluster": {"name": "x"},
            "nodePools": [
                {"name": "host", "nodes": 2, "labels": {"own.example/fabric": "a"}},
                {"name": "own", "gpu": "h100", "gpusPerNode": 8},
            ],
            "fabricPools": pools,
        }
    )
    (tmp_path / "dump.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": live(original)}))
    found = stack(read([tmp_path / "dump.json"]), keep_names=True)
    assert (found.notes, found.catalogue) == ([], {})
    again = load({"cluster": {"name": "x"}, **found.configuration})
    assert [pool.model_dump() for pool in again.fabric_pools] == [pool.model_dump() for pool in original.fabric_pools]


# What is left out.


def test_an_empty_slice(tmp_path: Path) -> None:
    """A driver that comes up before its devices publishes a slice without any."""
    objects = [node(name) for name in "abcd"] + [slice_of(name, gpu()) for name in "acd"] + [slice_of("b")]
    found, topology = twin(tmp_path, *objects)
    assert found.notes == ["nodes without devices are left out: 1 of 4"]
    assert [pool.nodes for pool in topology.node_pools] == [3]


def test_only_the_newest_generation(tmp_path: Path) -> None:
    old, new = slice_of("a", gpu(0), gpu(1)), slice_of("a", gpu(0))
    old["metadata"]["name"] = "older"
    old["spec"]["pool"] = {"name": "a", "generation": 36, "resourceSliceCount": 1}
    found, topology = twin(tmp_path, node("a"), old, new)
    assert found.notes == [f"ResourceSlices of {GPU} of an older generation are left out: 1"]
    assert pools_of(topology) == {"gpu": 1}


def test_an_incomplete_pool(tmp_path: Path) -> None:
    incomplete = slice_of("b", gpu(0), gpu(1), pool={"name": "b", "generation": 1, "resourceSliceCount": 2})
    found, topology = twin(tmp_path, node("a"), node("b"), node("c"), slice_of("a", gpu()), incomplete)
    assert found.notes == [
        f"devices of {GPU} in incomplete pools are left out, as the scheduler allocates none: 2",
        "nodes without devices are left out: 1 of 3",
        "nodes whose devices are all left out are left out too: 1 of 3",
    ]
    assert pools_of(topology) == {"gpu": 1}


def test_a_pool_of_several_nodes_is_complete_with_the_slices_of_all(tmp_path: Path) -> None:
    pool = {"name": "rack", "generation": 1, "resourceSliceCount": 2}
    found, topology = twin(
        tmp_path, *map(node, "ab"), *(slice_of(name, gpu(n), pool=pool) for n, name in enumerate("ab"))
    )
    assert (found.notes, sum(each.nodes for each in topology.node_pools)) == ([], 2)
    (tmp_path / "half").mkdir()
    found, topology = twin(tmp_path / "half", *map(node, "ab"), slice_of("b", gpu()), slice_of("a", gpu(1), pool=pool))
    assert found.notes[0] == f"devices of {GPU} in incomplete pools are left out, as the scheduler allocates none: 1"


def test_a_pool_that_uses_a_name_twice(tmp_path: Path) -> None:
    found, topology = twin(tmp_path, *map(node, "ab"), slice_of("a", gpu()), slice_of("b", gpu(0), gpu(1), gpu(0)))
    assert found.notes[0] == f"devices of {GPU} in pools that use a name twice are left out, as by the scheduler: 2"
    assert pools_of(topology) == {"gpu": 1}


def test_a_second_counter_set(tmp_path: Path) -> None:
    sets = [{"name": name, "counters": {"slots": {"value": "2"}}} for name in "st"]
    counters, devices = (
        slice_of("a", sharedCounters=sets),
        slice_of(
            "a", gpu(consumesCounters=[{"counterSet": name, "counters": {"slots": {"value": "1"}}} for name in "st"])
        ),
    )
    del counters["spec"]["devices"]
    for place, entry in enumerate((counters, devices)):
        entry["metadata"]["name"] = f"a-{place}"
        entry["spec"]["pool"]["resourceSliceCount"] = 2
    found, topology = twin(tmp_path, node("a"), counters, devices)
    assert found.notes == ["counters of further counter sets of a device are left out: 1"]
    assert pools_of(topology) == {"gpu": 1}


def test_devices_that_are_held_and_not_published(tmp_path: Path) -> None:
    results = [{"request": "r", "driver": GPU, "pool": "a", "device": name} for name in ("gpu-0", "taken")]
    claim = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"name": "c"},
        "spec": {},
        "status": {"allocation": {"devices": {"results": results}}},
    }
    found, _ = twin(tmp_path, node("a"), slice_of("a", gpu(), gpu(1, capacity={})), claim)
    assert f"devices of {GPU} that claims hold and that are in no ResourceSlice are left out: 1" in found.notes


# Declared features.


@pytest.mark.parametrize(
    ("status", "declared"),
    [
        ({}, None),
        ({"declaredFeatures": None}, None),
        ({"declaredFeatures": []}, []),
        ({"declaredFeatures": ["Other"]}, []),
        ({"declaredFeatures": ["Other", "DRAOptionalNodeOperations"]}, None),
    ],
)
def test_features_that_a_node_declares(tmp_path: Path, status: Object, declared: list[str] | None) -> None:
    """Older kubelets do not have the field: a twin then declares what the devices need."""
    host = node("a")
    host["status"] |= status
    _, topology = twin(tmp_path, host, slice_of("a", gpu(), skipNodeOperations=["*"]))
    assert topology.node_pools[0].declared_features == declared
