"""The devices of a node: their names, numbers, addresses, identities and partitions."""

import json
import re
from typing import Any

import pytest

from topology.objects.inventory import Device, device_pools, host_of, stable_uuid
from topology.schema.stack import NodePool

DRIVER = "gpu.example.com"
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"

Values = dict[str, Any]


def model(driver: str = DRIVER, **values: Any) -> Values:
    """Return a device model with string attributes by name."""
    attributes = {name: {"string": text} for name, text in values.pop("attributes", {}).items()}
    return {"driver": driver, "attributes": attributes} | values


def devices_of(node: str = "n-0", **pool: Any) -> dict[str, list[Device]]:
    """Return the devices of a node of the pool, by driver."""
    parsed = NodePool.model_validate({"name": "n", "nodes": 9} | pool)
    return {found.driver: found.devices for found in device_pools(parsed, node)}


def strings(devices: list[Device], name: str) -> list[Any]:
    """Return the attribute of each device."""
    return [device.attributes[name]["string"] for device in devices]


IDENTITY = {"uuid": "{uuid}", "mac": "{mac}", "hex": "{hex}"}


@pytest.mark.parametrize(("name", "form"), [("uuid", UUID), ("mac", "02(:[0-9a-f]{2}){5}"), ("hex", "[0-9a-f]{16}")])
def test_identities_are_unique_and_stay_the_same(name: str, form: str) -> None:
    """They differ between the devices of a node, and between nodes, pools and drivers."""
    pool: Values = {
        "gpu": model(attributes=IDENTITY),
        "gpusPerNode": 8,
        "devices": [{"model": model("nic.example.com", attributes=IDENTITY), "count": 8}],
    }
    nodes = ["n-0", "n-1", "m-0"]
    found = [text for node in nodes for devices in devices_of(node, **pool).values() for text in strings(devices, name)]
    assert len(set(found)) == len(found) == 3 * 16
    assert all(re.fullmatch(form, text) for text in found)
    again = [text for node in nodes for devices in devices_of(node, **pool).values() for text in strings(devices, name)]
    assert again == found


def test_identities_do_not_change_from_version_to_version() -> None:
    """Different UUIDs would change the generation of every pool."""
    (device,) = devices_of(gpu=model(attributes=IDENTITY | {"node": "{nodeUuid}"}))[DRIVER]
    assert {name: value["string"] for name, value in device.attributes.items()} == {
        "uuid": "d748890a-bf3c-67c3-7565-fc766cf80634",
        "mac": "02:20:28:9e:8a:35",
        "hex": "35dfccc1eb5e4abe",
        "node": "e4774c37-e68e-4d01-1da4-c9c0048645c6",
    }


def test_a_node_has_a_uuid_of_its_own() -> None:
    gpu = model(attributes={"node": "{nodeUuid}"})
    nodes = [strings(devices_of(node, gpu=gpu, gpusPerNode=2)[DRIVER], "node") for node in ("n-0", "n-1")]
    assert [len(set(found)) for found in nodes] == [1, 1]
    assert nodes[0] != nodes[1]


def test_more_devices_leave_the_others_as_they_are() -> None:
    gpu = model(attributes=IDENTITY)
    few, many = (devices_of(gpu=gpu, gpusPerNode=count)[DRIVER] for count in (2, 8))
    assert many[:2] == few


def test_placeholders() -> None:
    attributes = {"text": "{node}/{driver}/{device}/{index}/{count}/{index*8+128}/{numaNode}"}
    gpu = model(attributes=attributes, deviceName="gpu-{index+1}")
    gpu["attributes"]["number"] = {"int": "{index*10+1}"}
    gpu["attributes"]["fixed"] = {"version": "1.2.3"}
    gpu["attributes"]["yes"] = {"bool": True}
    devices = devices_of(gpu=gpu, gpusPerNode=2)[DRIVER]
    assert [device.name for device in devices] == ["gpu-1", "gpu-2"]
    assert strings(devices, "text") == [f"n-0/{DRIVER}/gpu-1/0/2/128/0", f"n-0/{DRIVER}/gpu-2/1/2/136/1"]
    assert [device.attributes["number"] for device in devices] == [{"int": 1}, {"int": 11}]
    assert devices[0].attributes["fixed"] == {"version": "1.2.3"}
    assert devices[0].attributes["yes"] == {"bool": True}


@pytest.mark.parametrize(
    ("template", "texts"),
    [
        ("{index//4}", ["0", "0", "0", "0", "1", "1"]),
        ("{index%4}", ["0", "1", "2", "3", "0", "1"]),
        ("{index//2%2*8+128:04}", ["0128", "0128", "0136", "0136", "0128", "0128"]),
        ("{index:03}", ["000", "001", "002", "003", "004", "005"]),
        ("{count//4}-{numaNode%2}", ["1-0", "1-1", "1-0", "1-1", "1-0", "1-1"]),
        ('{"a": 1} {x: y} {', ['{"a": 1} {x: y} {'] * 6),
    ],
)
def test_placeholders_compute(template: str, texts: list[str]) -> None:
    devices = devices_of(gpu=model(attributes={"text": template}), gpusPerNode=6)[DRIVER]
    assert strings(devices, "text") == texts


def test_numbers_and_names_compute() -> None:
    gpu = model(deviceName="cpudev{index+8:03}")
    gpu["attributes"] = {"core": {"int": "{index//2+4}"}, "cores": {"ints": ["{index%2}", 7]}}
    devices = devices_of(gpu=gpu, gpusPerNode=3)[DRIVER]
    assert [device.name for device in devices] == ["cpudev008", "cpudev009", "cpudev010"]
    assert [device.attributes["core"] for device in devices] == [{"int": 4}, {"int": 4}, {"int": 5}]
    assert [device.attributes["cores"] for device in devices] == [{"ints": [0, 7]}, {"ints": [1, 7]}, {"ints": [0, 7]}]


def test_devices_with_one_name_template_are_numbered_together() -> None:
    """This holds for all models of one driver."""
    found = devices_of(
        gpu=model(attributes={"model": "a"}),
        gpusPerNode=2,
        devices=[
            {"model": model(attributes={"model": "b"}), "count": 2},
            {"model": model(deviceName="other-{index}"), "count": 2},
            {"model": model("nic.example.com"), "count": 2},
            {"model": model()},
        ],
    )
    assert {driver: [device.name for device in devices] for driver, devices in found.items()} == {
        DRIVER: ["gpu-0", "gpu-1", "gpu-2", "gpu-3", "other-0", "other-1", "gpu-4"],
        "nic.example.com": ["gpu-0", "gpu-1"],
    }
    assert strings(found[DRIVER][:4], "model") == ["a", "a", "b", "b"]


def test_attributes_of_the_pool_override_the_models() -> None:
    more = {"b": {"string": "2"}, "c": {"int": "{index}"}}
    (device,) = devices_of(gpu=model(attributes={"a": "1", "b": "1"}), attributes=more)[DRIVER]
    assert device.attributes == {"a": {"string": "1"}, "b": {"string": "2"}, "c": {"int": 0}}


SLOTS = [
    {"pcieRoot": "pci0000:16", "numaNode": 0, "gpu": "0000:18:00.0", "nic": "0000:19:00.0"},
    {"pcieRoot": "pci0001:37", "numaNode": 1, "gpu": "0001:3a:00.0", "nic": "0001:3b:00.1"},
]
PLACE = {"place": "{pcieRoot} {pcieBus} {pciBusID} {pciName} {numaNode}"}


def test_places_of_a_host() -> None:
    """GPUs and NICs share slots; after the last slot, addresses repeat in further PCI domains."""
    found = devices_of(
        gpu=model(attributes=PLACE, slot="gpu"),
        gpusPerNode=2,
        devices=[
            {"model": model("nic.example.com", attributes=PLACE, slot="nic"), "count": 5},
            {"model": model(attributes=PLACE, slot="gpu", deviceName="other-{index}"), "count": 2},
            {"model": model("cpu.example.com", attributes={"place": "{numaNode}"}), "count": 3},
        ],
        host={"slots": SLOTS},
    )
    assert strings(found[DRIVER], "place") == [
        "pci0000:16 16 0000:18:00.0 0000-18-00-0 0",
        "pci0001:37 37 0001:3a:00.0 0001-3a-00-0 1",
        "pci1000:16 16 1000:18:00.0 1000-18-00-0 0",
        "pci1001:37 37 1001:3a:00.0 1001-3a-00-0 1",
    ]
    assert strings(found["nic.example.com"], "place") == [
        "pci0000:16 16 0000:19:00.0 0000-19-00-0 0",
        "pci0001:37 37 0001:3b:00.1 0001-3b-00-1 1",
        "pci1000:16 16 1000:19:00.0 1000-19-00-0 0",
        "pci1001:37 37 1001:3b:00.1 1001-3b-00-1 1",
        "pci2000:16 16 2000:19:00.0 2000-19-00-0 0",
    ]
    assert strings(found["cpu.example.com"], "place") == ["0", "1", "2"]


def test_numbers_of_bus_and_device() -> None:
    """As in the names of RDMA devices: in decimal, whereas an address is hexadecimal."""
    host = {"slots": [{"pcieRoot": "pci0000:a0", "numaNode": 1, "nic": "0000:a0:1b.0"}]}
    nic = model("nic.example.com", attributes={"rdma": "rdmap{busNumber}s{deviceNumber}"}, slot="nic")
    found = devices_of(gpu=nic, gpusPerNode=2, host=host)
    assert strings(found["nic.example.com"], "rdma") == ["rdmap160s27", "rdmap160s27"]


@pytest.mark.parametrize(
    ("pool", "root"),
    [
        ({"gpu": model()}, None),
        ({"gpu": model(host={"slots": SLOTS})}, "pci0000:16"),
        ({"gpu": model(host={"slots": SLOTS}), "host": {"slots": SLOTS[1:]}}, "pci0001:37"),
        ({"gpu": model(), "devices": [{"model": model(host={"slots": SLOTS[1:]})}]}, "pci0001:37"),
    ],
)
def test_the_host_of_a_pool(pool: Values, root: str | None) -> None:
    host = host_of(NodePool.model_validate({"name": "n"} | pool))
    assert (host.slots[0].pcie_root if host else None) == root


# Partitions.

PARTED = model(
    attributes={"uuid": "{uuid}", "name": "{device}", "whole": "yes"},
    capacity={"memory": "80Gi"},
    counterSet="set-{index}",
    counters={"memory": "80Gi", "engines": 4},
    partitions=[
        {"deviceName": "gpu-{index}", "capacity": {"memory": "80Gi"}},
        {
            "deviceName": "gpu-{index}-part",
            "attributes": {"whole": {"string": "no"}, "part": {"int": "{index}"}},
            "capacity": {"memory": "20Gi"},
            "consumesCounters": {"memory": "20Gi"},
            "allowMultipleAllocations": True,
        },
    ],
)


def test_partitions_share_the_identity_and_the_counters_of_their_device() -> None:
    found = devices_of(gpu=PARTED, gpusPerNode=2)[DRIVER]
    assert [device.name for device in found] == ["gpu-0", "gpu-0-part", "gpu-1", "gpu-1-part"]
    uuids = strings(found, "uuid")
    assert uuids[0] == uuids[1] != uuids[2] == uuids[3]
    whole, part = found[2:]
    # Without consumesCounters, a partition consumes everything.
    assert whole.consumes_counters == {"set-1": {"memory": "80Gi", "engines": "4"}}
    assert part.consumes_counters == {"set-1": {"memory": "20Gi"}}
    assert (whole.allow_multiple_allocations, part.allow_multiple_allocations) == (False, True)
    assert (whole.capacity, part.capacity) == ({"memory": {"value": "80Gi"}}, {"memory": {"value": "20Gi"}})
    assert {name: value for name, value in part.attributes.items() if name != "uuid"} == {
        "name": {"string": "gpu-1-part"},
        "whole": {"string": "no"},
        "part": {"int": 1},
    }


def test_the_counters_of_partitions() -> None:
    (pool,) = device_pools(NodePool.model_validate({"name": "n", "gpu": PARTED, "gpusPerNode": 2}), "n-0")
    counters = {"memory": "80Gi", "engines": "4"}
    assert [physical.counter_sets for physical in pool.physical_devices] == [{"set-0": counters}, {"set-1": counters}]
    assert not any(physical.own_slice for physical in pool.physical_devices)


def test_partitions_without_counters() -> None:
    parts = [{"deviceName": f"gpu-{{index}}-{name}"} for name in "ab"]
    found = devices_of(gpu=model(partitions=parts))[DRIVER]
    assert [(device.name, device.consumes_counters) for device in found] == [("gpu-0-a", {}), ("gpu-0-b", {})]


# MIG.


def profile(name: str, number: int, size: int, placements: list[int], **engines: int) -> Values:
    amounts = {"multiprocessors": 16 * size, "copyEngines": size, "decoders": 0, "jpegEngines": 0, "ofaEngines": 0}
    sizes = {"id": number, "size": size, "placements": placements, "memory": f"{10 * size}Gi"}
    return {"name": name} | sizes | amounts | engines


MIG_GPU = model(
    attributes={
        "uuid": "GPU-{uuid}",
        "brand": "Example",
        "productName": "Example GPU",
        "type": "gpu",
        "resource.kubernetes.io/pciBusID": "{pciBusID}",
    },
    slot="gpu",
    host={"slots": SLOTS},
    capacity={"memory": "40Gi"},
    mig=[
        profile("1g.10gb", 19, 1, [0, 1, 2]),
        profile("1g.10gb+me", 20, 1, [0, 1, 2], jpegEngines=1),
        profile("2g.20gb", 14, 2, [0, 2], decoders=1),
        profile("4g.40gb", 0, 4, [0], decoders=2),
    ],
)
ENGINES = ("multiprocessors", "copyEngines", "decoders", "encoders", "jpegEngines", "ofaEngines", "memory")


def amounts(*values: object) -> Values:
    return {name: {"value": str(value)} for name, value in zip(ENGINES, values, strict=True)}


def test_without_mig_a_gpu_is_whole() -> None:
    (device,) = devices_of(gpu=MIG_GPU)[DRIVER]
    assert (device.name, device.capacity) == ("gpu-0", {"memory": {"value": "40Gi"}})


def test_dynamic_mig() -> None:
    """The whole GPU and each profile at each placement consume one counter set."""
    (pool,) = device_pools(NodePool.model_validate({"name": "n", "gpu": MIG_GPU, "mig": "dynamic"}), "n-0")
    (physical,) = pool.physical_devices
    assert [device.name for device in physical.devices] == [
        "gpu-0",
        "gpu-0-mig-1g10gb-19-0",
        "gpu-0-mig-1g10gb-19-1",
        "gpu-0-mig-1g10gb-19-2",
        "gpu-0-mig-1g10gb-me-20-0",
        "gpu-0-mig-1g10gb-me-20-1",
        "gpu-0-mig-1g10gb-me-20-2",
        "gpu-0-mig-2g20gb-14-0",
        "gpu-0-mig-2g20gb-14-2",
        "gpu-0-mig-4g40gb-0-0",
    ]
    assert physical.own_slice
    slices = {f"memory-slice-{number}": "1" for number in range(4)}
    engines = {"multiprocessors": "64", "copy-engines": "4", "decoders": "2", "encoders": "0", "jpeg-engines": "1"}
    everything = engines | {"ofa-engines": "0", "memory": "40Gi"} | slices
    assert physical.counter_sets == {"gpu-0-counter-set": everything}
    whole, *_, half, last = physical.devices
    assert whole.consumes_counters == {"gpu-0-counter-set": everything}
    assert whole.capacity == amounts(64, 4, 2, 0, 1, 0, "40Gi")
    assert whole.attributes["type"] == {"string": "gpu"}
    assert half.capacity == amounts(32, 2, 1, 0, 0, 0, "20Gi")
    assert half.consumes_counters["gpu-0-counter-set"] == {
        "multiprocessors": "32",
        "copy-engines": "2",
        "decoders": "1",
        "encoders": "0",
        "jpeg-engines": "0",
        "ofa-engines": "0",
        "memory": "20Gi",
        "memory-slice-2": "1",
        "memory-slice-3": "1",
    }
    assert last.consumes_counters["gpu-0-counter-set"].keys() == everything.keys()
    assert half.attributes == {
        "type": {"string": "mig"},
        "profile": {"string": "2g.20gb"},
        "parentUUID": whole.attributes["uuid"],
        "brand": {"string": "Example"},
        "productName": {"string": "Example GPU"},
        "resource.kubernetes.io/pciBusID": {"string": "0000:18:00.0"},
    }


def test_static_mig() -> None:
    """MIG devices have placements that fit and their own UUIDs, and replace the whole GPU."""
    mig = [{"gpus": [0, 2], "profiles": {"1g.10gb": 1, "2g.20gb": 1}}, {"gpus": [2], "profiles": {"1g.10gb+me": 1}}]
    found = devices_of(gpu=MIG_GPU, gpusPerNode=3, mig=mig)[DRIVER]
    assert [device.name for device in found] == [
        "gpu-0-mig-1g10gb-19-2",
        "gpu-0-mig-2g20gb-14-0",
        "gpu-1",
        "gpu-2-mig-1g10gb-19-0",
        "gpu-2-mig-1g10gb-me-20-1",
        "gpu-2-mig-2g20gb-14-2",
    ]


def test_a_static_mig_device() -> None:
    found = devices_of(gpu=MIG_GPU, mig=[{"profiles": {"2g.20gb": 2}}])[DRIVER]
    first, second = found
    assert (first.name, second.name) == ("gpu-0-mig-2g20gb-14-0", "gpu-0-mig-2g20gb-14-2")
    assert first.consumes_counters == second.consumes_counters == {}
    slices = {"memorySlice2": {"value": "1"}, "memorySlice3": {"value": "1"}}
    assert second.capacity == amounts(32, 2, 1, 0, 0, 0, "20Gi") | slices
    assert second.attributes["type"] == {"string": "mig"}
    assert re.fullmatch(f"MIG-{UUID}", second.attributes["uuid"]["string"])
    assert second.attributes["parentUUID"] == first.attributes["parentUUID"]
    assert re.fullmatch(f"GPU-{UUID}", second.attributes["parentUUID"]["string"])


@pytest.mark.parametrize("attributes", [MIG_GPU["attributes"], {}])
def test_static_mig_devices_have_unique_uuids(attributes: Values) -> None:
    """This holds even if the GPU has no UUID."""
    gpu = MIG_GPU | {"attributes": attributes}
    nodes = [devices_of(node, gpu=gpu, gpusPerNode=2, mig=[{"profiles": {"1g.10gb": 3}}]) for node in ("n-0", "n-1")]
    uuids = [text for found in nodes for text in strings(found[DRIVER], "uuid")]
    assert len(set(uuids)) == len(uuids) == 12


def test_the_gpus_of_an_entry_are_counted_from_zero() -> None:
    """Their numbers on the node do not matter."""
    devices = [{"model": MIG_GPU, "count": 2, "mig": [{"gpus": [1], "profiles": {"4g.40gb": 1}}]}]
    found = devices_of(gpu=MIG_GPU, gpusPerNode=2, devices=devices)[DRIVER]
    assert [device.name for device in found] == ["gpu-0", "gpu-1", "gpu-2", "gpu-3-mig-4g40gb-0-0"]


def test_devices_are_plain_data() -> None:
    """Manifests include them unchanged."""
    for pool in ({"gpu": MIG_GPU, "mig": "dynamic"}, {"gpu": PARTED}, {"gpu": model(attributes=IDENTITY)}):
        for device in devices_of(**pool)[DRIVER]:
            assert json.loads(json.dumps(vars(device))) == vars(device)


def test_faults_of_one_driver() -> None:
    """Devices of other drivers can have the same names."""
    pool: Values = {"gpu": model(), "devices": [{"model": model("nic.example.com", deviceName="gpu-{index}")}]}

    def of(**fault: Any) -> dict[str, list[int]]:
        found = devices_of(faults=[fault], **pool)
        return {driver: [len(device.taints) for device in devices] for driver, devices in found.items()}

    worn = {"taint": {"key": "example.com/worn"}}
    assert of(**worn, devices=["gpu-0"]) == {DRIVER: [1], "nic.example.com": [1]}
    assert of(**worn, devices=["gpu-0"], driver="nic.example.com") == {DRIVER: [0], "nic.example.com": [1]}
    assert of(driver="nic.example.com", gone=True) == {DRIVER: [0], "nic.example.com": []}


def test_uuids_of_names() -> None:
    assert stable_uuid("a", 1) == stable_uuid("a", 1) == "773232ab-e934-3f0e-102f-8248423fc6ce"
    assert len({stable_uuid("a", 1), stable_uuid("a", 2), stable_uuid("b", 1), stable_uuid("a")}) == 4


def test_devices_that_cannot_be_attached() -> None:
    """Only devices that need attachment, on the nodes and among the devices of the fault, get the condition."""
    attached = model(bindingConditions=["a"], bindingFailureConditions=["b"])
    pool: Values = {"gpu": attached, "gpusPerNode": 2, "devices": [{"model": model("nic.example.com")}]}

    def failures(node: str, **fault: Any) -> dict[str, list[list[str]]]:
        found = devices_of(node, faults=[fault | {"attachFails": True}], **pool)
        return {driver: [list(device.binding_failure_conditions) for device in some] for driver, some in found.items()}

    fails, sound = ["b", "kwok-dra/attach-fails"], ["b"]
    assert failures("n-0") == {DRIVER: [fails, fails], "nic.example.com": [[]]}
    assert failures("n-0", devices=["gpu-1"], nodes=[0])[DRIVER] == [sound, fails]
    assert failures("n-1", nodes=[0])[DRIVER] == [sound, sound]
