"""The models that a twin writes: one for devices that follow a pattern, which renders exactly what the dump has."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.twins.checker import Check
from tests.twins.made import twin_of
from tests.unit.real_slices import Object, amounts, node, resource_slice, texts, uuid

DRIVER = "gpu.example.org"


def written(folder: Path, devices: Sequence[Object], **spec: Any) -> list[Object]:
    """Return the models of the twin of a node with these devices, in order, after comparing all devices."""
    objects = [node("n-a"), resource_slice("n-a", DRIVER, list(devices), **spec)]
    dump = folder / "dump.json"
    dump.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    twin = twin_of(dump, folder)
    assert [*Check(objects, twin).of_devices(), *twin.notes] == []
    (file,) = folder.glob("stacks/*-devices.yaml")
    return list(yaml.safe_load(file.read_text())["models"].values())


def device(index: int, **attributes: Any) -> Object:
    return {"name": f"gpu-{index}", "attributes": attributes}


def place(address: str, root: str, numa_node: int | None = None) -> Object:
    found: Object = {
        "resource.kubernetes.io/pciBusID": {"string": address},
        "resource.kubernetes.io/pcieRoot": {"string": root},
    }
    return found | ({} if numa_node is None else {"resource.kubernetes.io/numaNode": {"int": numa_node}})


# Numbers.


@pytest.mark.parametrize(
    ("values", "template"),
    [
        (range(16), "{index}"),
        ([7] * 16, 7),
        (range(128, 128 + 8 * 16, 8), "{index*8+128}"),
        ([index // 4 for index in range(16)], "{index//4}"),
        ([index % 4 for index in range(16)], "{index%4}"),
        ([index // 2 % 4 * 10 + 3 for index in range(16)], "{index//2%4*10+3}"),
        ([0, 0, 0, 1, 1, 1, 2], "{index//3}"),
        ([1, 1, 2], "{index//2+1}"),
    ],
)
def test_numbers_that_follow_a_pattern(tmp_path: Path, values: Sequence[int], template: str | int) -> None:
    (model,) = written(tmp_path, [device(index, x={"int": value}) for index, value in enumerate(values)])
    assert model["attributes"]["x"] == {"int": template}


@pytest.mark.parametrize(
    ("values", "models"),
    [
        ([3, 1, 2], 2),
        ([0, 7000], 2),
        ([0, 1, 3, 4], 2),
        ([2, 1, 0], 3),
        ([0, 10**12, 2 * 10**12], 3),
    ],
)
def test_numbers_that_follow_none(tmp_path: Path, values: Sequence[int], models: int) -> None:
    found = written(tmp_path, [device(index, x={"int": value}) for index, value in enumerate(values)])
    assert len(found) == models


@pytest.mark.parametrize(
    ("names", "template"),
    [
        ([f"cpudev{index:03}" for index in range(12)], "cpudev{index:03}"),
        ([f"cpudev{index:03}" for index in range(95, 105)], "cpudev{index+95:03}"),
        ([f"a{index // 2}-b{index % 2}" for index in range(8)], "a{index//2}-b{index%2}"),
        ([f"dev-{index}" for index in range(9, 12)], "dev-{index+9}"),
    ],
)
def test_numbers_in_names(tmp_path: Path, names: Sequence[str], template: str) -> None:
    (model,) = written(tmp_path, [{"name": name, "attributes": {"x": {"bool": True}}} for name in names])
    assert model["deviceName"] == template


def test_numbers_of_uneven_width_are_no_padding(tmp_path: Path) -> None:
    """08 is the last of one model, and 9 that of another."""
    found = written(tmp_path, [device(index, x={"string": text}) for index, text in enumerate(("08", "9", "10"))])
    assert [model["attributes"]["x"]["string"] for model in found] == ["08", "{index+9}"]


def test_sixteen_devices_in_a_grid_are_one_entry(tmp_path: Path) -> None:
    devices = [
        device(
            index,
            x={"int": index // 4},
            y={"int": index % 4},
            row_id={"string": f"{index // 4}988692974fbee50"},
            half_id={"string": f"{index // 8}9273b9dca88a48c"},
            all_id={"string": "55dfd240445b622d"},
        )
        for index in range(16)
    ]
    (model,) = written(tmp_path, devices)
    assert {name: next(iter(value.values())) for name, value in model["attributes"].items()} == {
        "x": "{index//4}",
        "y": "{index%4}",
        "row_id": "{nodeUuid}-a{index//4}",
        "half_id": "{nodeUuid}-b{index//8}",
        "all_id": "{nodeUuid}-c0",
    }


# Places on PCIe.


@pytest.mark.parametrize("roots", [["16"], ["16", "16"], ["16", "64"]])
def test_a_link_width_is_no_bus(tmp_path: Path, roots: Sequence[str]) -> None:
    devices = [
        device(index, pciLinkWidth={"string": "16"}, **place(f"0000:{index + 65}:00.0", f"pci0000:{root}", index))
        for index, root in enumerate(roots)
    ]
    (model,) = written(tmp_path, devices)
    assert model["attributes"]["pciLinkWidth"] == {"string": "16"}
    assert model["attributes"]["resource.kubernetes.io/numaNode"] == {"int": "{numaNode}"}


@pytest.mark.parametrize(("name", "devices"), [("pciRoot", 1), ("pcieBus", 1), ("other", 2)])
def test_a_bus_by_name_or_on_several_devices(tmp_path: Path, name: str, devices: int) -> None:
    buses = ["16", "64"][:devices]
    found = [
        device(index, **{name: {"string": bus}}, **place(f"0000:{bus}:01.0", f"pci0000:{bus}"))
        for index, bus in enumerate(buses)
    ]
    (model,) = written(tmp_path, found)
    assert model["attributes"][name] == {"string": "{pcieBus}"}


def test_a_number_is_a_numa_node_only_by_its_name(tmp_path: Path) -> None:
    """With two devices, one on each NUMA node, any index is equal to the NUMA node."""
    devices = [
        device(index, minor={"int": index}, **place(f"0000:{index + 17}:00.0", f"pci0000:{index + 16}", index))
        for index in range(2)
    ]
    (model,) = written(tmp_path, devices)
    assert model["attributes"]["minor"] == {"int": "{index}"}


def test_an_address_that_only_one_device_has_as_its_own_stays(tmp_path: Path) -> None:
    """The functions of a card, the first of which is the physical one."""
    devices = [
        device(index, pf={"string": "0000:08:00.0"}, **place(f"0000:08:00.{index}", "pci0000:00")) for index in range(4)
    ]
    (model,) = written(tmp_path, devices)
    assert model["attributes"]["pf"] == {"string": "0000:08:00.0"}


# Several devices of a physical one.


def siblings(index: int, kinds: Sequence[str]) -> list[Object]:
    """Return a GPU as the driver of NVIDIA publishes it with passthrough: twice, with one UUID and one address."""
    common = texts(uuid=f"GPU-{uuid(index)}") | place(f"0000:{index + 40}:00.0", f"pci0000:{index + 39}", index // 2)
    return [{"name": f"{kind}-{index}", "attributes": common | texts(type=kind)} for kind in kinds]


def test_siblings_share_identity_and_place(tmp_path: Path) -> None:
    kinds = [("gpu", "gpu-vfio"), ("gpu-vfio",), ("gpu",), ("gpu", "gpu-vfio")]
    devices = [one for index, some in enumerate(kinds) for one in siblings(index, some)]
    first, *_, last = written(tmp_path, devices)
    for model, index in ((first, 0), (last, 3)):
        assert model["deviceName"] == f"gpu-{index}"
        assert model["attributes"]["uuid"] == {"string": "GPU-{uuid}"}
        assert [part["deviceName"] for part in model["partitions"]] == [f"gpu-{index}", f"gpu-vfio-{index}"]


def test_parts_have_identities_of_their_own(tmp_path: Path) -> None:
    devices = [
        {
            "name": f"gpu-{index}-part-{part}",
            "attributes": texts(uuid=uuid(index, part), serial=f"SN{index}{part}0000", parentUUID=uuid(index)),
            "capacity": amounts(memory="20Gi"),
        }
        for index in range(3)
        for part in range(2)
    ]
    (model,) = written(tmp_path, devices)
    assert model["attributes"]["parentUUID"] == {"string": "{uuid}"}
    assert model["attributes"]["uuid"] == {"string": "{deviceUuid}"}
    assert model["attributes"]["serial"] == {"string": "{deviceUuid}-2"}


def test_an_identity_that_would_be_another_is_written_out(tmp_path: Path) -> None:
    """The first part has the name of the whole, so that `{uuid}` and `{deviceUuid}` would be one."""
    devices: list[Object] = [
        {"name": name, "attributes": texts(uuid=uuid(name), board=uuid("board"))} | {"capacity": amounts(memory="1Gi")}
        for name in ("gpu-0", "gpu-0-part")
    ]
    for one in devices:
        one["consumesCounters"] = [{"counterSet": "set-0", "counters": amounts(memory="1Gi")}]
    counters = [{"name": "set-0", "counters": amounts(memory="2Gi")}]
    (model,) = written(tmp_path, devices, sharedCounters=counters)
    assert model["attributes"]["board"] == {"string": "{nodeUuid}-b0"}


def test_devices_at_one_place_that_are_bound_in_different_ways(tmp_path: Path) -> None:
    """They are no parts of one model, as its parts have the same conditions."""
    devices = siblings(0, ("gpu", "gpu-vfio"))
    devices[1] |= {"bindsToNode": True, "bindingConditions": ["a.example/ready"]}
    devices[1] |= {"bindingFailureConditions": ["a.example/failed"]}
    assert len(written(tmp_path, devices)) == 2
