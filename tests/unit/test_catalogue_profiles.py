"""Profiles of models: how they are made, and what NVIDIA's driver publishes with its other releases and options.

Attributes by release: deviceinfo.go in cmd/gpu-kubelet-plugin of https://github.com/kubernetes-sigs/dra-driver-nvidia-gpu
at the tags v25.3.2, v25.8.1 and v0.4.1, and on main.
"""

from typing import Any

import pytest
from pydantic import ValidationError

from tests.unit.nvidia_gpus import GPUS, devices, slices
from topology.checks.validation import ConfigurationError, load
from topology.schema.catalogue import Catalogue, built_in
from topology.schema.profiles import base_names

Values = dict[str, Any]

STANDARD = "resource.kubernetes.io"


def values(device: Values) -> Values:
    """Return the values of a device's attributes, without their types."""
    return {name: next(iter(value.values())) for name, value in device["attributes"].items()}


def changes(profile: str, **more: object) -> tuple[Values, set[str]]:
    """Return the attributes of an L4 that the profile adds or changes, and those that it removes."""
    plain, changed = values(devices("l4")[3]), values(devices(f"l4@{profile}", **more)[3])
    new = {name: value for name, value in changed.items() if plain.get(name) != value}
    return new, plain.keys() - changed.keys()


# How profiles are made.

NPU: Values = {
    "driver": "npu.example.org",
    "deviceName": "npu-{index}",
    "attributes": {"type": {"string": "npu"}, "cores": {"int": 4}},
    "capacity": {"memory": "8Gi"},
    "profiles": {
        "old": {"attributes": {"cores": None, "core": {"string": "four"}}, "capacity": {"memory": {"value": "7Gi"}}},
        "bare": {"attributes": None, "capacity": None},
        "typed": {"attributes": {"cores": {"string": "4"}}},
    },
}


def npus(**more: Any) -> Catalogue:
    return built_in().extended({"models": {"npu": NPU | more}})


def test_a_profile_is_a_model_of_its_own() -> None:
    models = npus().models
    old = models["npu@old"]
    assert {name: attribute.wire for name, attribute in old.attributes.items()} == {
        "type": {"string": "npu"},
        "core": {"string": "four"},
    }
    assert old.capacity["memory"].value == "7Gi"
    assert (old.driver, old.device_name, old.profiles) == ("npu.example.org", "npu-{index}", {})
    assert models["npu"].attributes["cores"].wire == {"int": 4}


def test_null_removes_all_of_a_key() -> None:
    bare = npus().models["npu@bare"]
    assert (bare.attributes, bare.capacity) == ({}, {})


def test_an_attribute_is_replaced_with_its_type() -> None:
    assert npus().models["npu@typed"].attributes["cores"].wire == {"string": "4"}


def test_profiles_go_with_the_model_that_is_overridden() -> None:
    again = npus().extended({"models": {"npu": NPU | {"profiles": {"new": {"capacity": None}}}}})
    assert [name for name in again.models if name.startswith("npu")] == ["npu", "npu@new"]
    assert "l4@25.12" in again.models
    h100 = {"driver": "gpu.nvidia.com", "attributes": {"type": {"string": "gpu"}}}
    assert [name for name in built_in().extended({"models": {"h100": h100}}).models if name.startswith("h100@")] == []


def test_names_without_profiles() -> None:
    assert base_names({"npu": 1, "npu@old": 2, "l4": 3}) == ["npu", "l4"]


@pytest.mark.parametrize(
    ("profiles", "where", "message"),
    [
        ({"old": {"attributes": {"cores": {"string": "a", "int": 1}}}}, "npu@old", "must have exactly one of"),
        ({"old": {"driver": None}}, "npu@old", "Field required"),
        ({"old": {"colour": "red"}}, "npu@old", "Extra inputs are not permitted"),
        ({"Old one": {}}, "npu", "is not the name of a profile: use one such as 25.12 or passthrough"),
        ({"old": 3}, "npu", "Input should be a valid dictionary"),
    ],
)
def test_a_profile_that_is_not_valid(profiles: Values, where: str, message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        npus(profiles=profiles)
    (error, *_) = raised.value.errors()
    assert error["loc"][:2] == ("models", where)
    assert message in error["msg"]


def refusal(**pool: Any) -> str:
    with pytest.raises(ConfigurationError) as raised:
        load({"cluster": {"name": "c"}, "nodePools": [{"name": "p", "nodes": 1, "gpusPerNode": 1, **pool}]})
    (problem,) = raised.value.problems
    return problem.message


def test_a_profile_that_a_model_does_not_have() -> None:
    assert refusal(gpu="l4@25.21").startswith("names the profile '25.21' that l4 does not have; did you mean '25.12'?")
    assert "25.12, 25.12-r570, 25.8, 25.3" in refusal(gpu="l4@newest")
    assert refusal(gpu="example-gpu@25.12").startswith("names the profile '25.12' that example-gpu does not have")


def test_unknown_models_are_answered_with_models_alone() -> None:
    message = refusal(gpu="h101@25.12")
    assert "there is no device model 'h101@25.12' in the catalogue" in message
    assert "h100@" not in message


# Releases of the driver.


def test_before_the_numa_node() -> None:
    assert changes("25.12") == ({}, {f"{STANDARD}/numaNode"})


def test_before_the_addressing_mode() -> None:
    assert changes("25.12-r570") == ({}, {f"{STANDARD}/numaNode", "addressingMode"})


def test_before_the_standard_pci_address() -> None:
    removed = {f"{STANDARD}/numaNode", "addressingMode", f"{STANDARD}/pciBusID"}
    assert changes("25.8") == ({"pcieBusID": "0000:49:00.0"}, removed)


def test_with_index_and_minor() -> None:
    removed = {f"{STANDARD}/numaNode", "addressingMode", f"{STANDARD}/pciBusID"}
    assert changes("25.3") == ({"pcieBusID": "0000:49:00.0", "index": 3, "minor": 3}, removed)


def test_mig_of_releases() -> None:
    # The MIG devices of 25.3 and 25.8 have other names, and no counters.
    assert [profile for profile in ("25.12", "25.8", "25.3") if built_in().models[f"h100@{profile}"].mig] == ["25.12"]
    (first, *_) = (device for device in devices("h100@25.12", mig="dynamic") if "-mig-" in device["name"])
    assert f"{STANDARD}/numaNode" not in first["attributes"]


@pytest.mark.parametrize("model", GPUS)
def test_every_gpu_has_the_releases(model: str) -> None:
    releases = ["25.12", "25.12-r570", "25.8", "25.3", "list-attributes"]
    assert [name for name in built_in().models[model].profiles if name in releases] == releases


# Options of the driver.


def test_numa_nodes_as_a_list() -> None:
    # The feature gate DRAListTypeAttributes.
    assert changes("list-attributes") == ({f"{STANDARD}/numaNode": [0]}, set())
    assert devices("l4@list-attributes")[4]["attributes"][f"{STANDARD}/numaNode"] == {"ints": [1]}


def shared(most: str, default: str, least: str, step: str) -> Values:
    return {
        "value": most,
        "requestPolicy": {"default": default, "validRange": {"min": least, "max": most, "step": step}},
    }


SHARES: dict[str, Values] = {
    "shares-unlimited": {"memory": shared("81559Mi", "0", "0", "1Mi")},
    "shares-memory": {"memory": shared("81559Mi", "81559Mi", "1Mi", "1Mi")},
    "shares-4": {"memory": shared("81559Mi", "0", "0", "1Mi"), "shares": shared("4", "1", "1", "1")},
    "shares-10": {"memory": shared("81559Mi", "0", "0", "1Mi"), "shares": shared("10", "1", "1", "1")},
}
"""The policies that applyConsumableShares of consumable_shares.go sets on an H100."""


@pytest.mark.parametrize("profile", SHARES)
def test_consumable_shares(profile: str) -> None:
    plain, device = devices("h100")[0], devices(f"h100@{profile}")[0]
    assert device["capacity"] == SHARES[profile]
    assert device["allowMultipleAllocations"] is True
    assert device["attributes"] == plain["attributes"]


def test_consumable_shares_of_mig_devices() -> None:
    whole, device, *_ = devices("h100@shares-4", mig="dynamic")
    for shown, memory in ((whole, "81152Mi"), (device, "9984Mi")):
        assert shown["allowMultipleAllocations"] is True
        assert shown["capacity"]["memory"] == shared(memory, "0", "0", "1Mi")
        assert shown["capacity"]["shares"] == shared("4", "1", "1", "1")
    assert device["consumesCounters"][0]["counters"]["memory"] == {"value": "9984Mi"}
    static = devices("h100@shares-memory", mig=[{"profiles": {"1g.10gb": 7}}])[0]
    assert static["capacity"]["memory"] == shared("9984Mi", "9984Mi", "1Mi", "1Mi")
    assert static["capacity"]["memorySlice0"] == {"value": "1"}


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "all", 2**53])
def test_shares_that_the_driver_does_not_take(value: object) -> None:
    message = refusal(gpu={"driver": "gpu.nvidia.com", "capacity": {"memory": "80Gi"}, "consumableShares": value})
    assert message.startswith("must be unlimited, memory or a number of shares from 1, but is ")


# GPUs for virtual machines: vfio-device.go and the tests of cmd/gpu-kubelet-plugin. IDs and names:
# https://github.com/NVIDIA/go-nvlib/blob/main/pkg/pciids/default_pci.ids
VFIO = {
    "t4": ("0x1eb8", "TU104GL [Tesla T4]"),
    "v100-16gb": ("0x1db1", "GV100GL [Tesla V100 SXM2 16GB]"),
    "v100-32gb": ("0x1db5", "GV100GL [Tesla V100 SXM2 32GB]"),
    "a10": ("0x2236", "GA102GL [A10]"),
    "a30": ("0x20b7", "GA100GL [A30 PCIe]"),
    "a40": ("0x2235", "GA102GL [A40]"),
    "a100-40gb": ("0x20b0", "GA100 [A100 SXM4 40GB]"),
    "a100-80gb": ("0x20b2", "GA100 [A100 SXM4 80GB]"),
    "a100-pcie-40gb": ("0x20f1", "GA100 [A100 PCIe 40GB]"),
    "a100-pcie-80gb": ("0x20b5", "GA100 [A100 PCIe 80GB]"),
    "l4": ("0x27b8", "AD104GL [L4]"),
    "l20": ("0x26ba", "AD102GL [L20]"),
    "l40": ("0x26b5", "AD102GL [L40]"),
    "l40s": ("0x26b9", "AD102GL [L40S]"),
    "h20": ("0x2329", "GH100 [H20]"),
    "h100": ("0x2330", "GH100 [H100 SXM5 80GB]"),
    "h100-pcie": ("0x2331", "GH100 [H100 PCIe]"),
    "h100-nvl": ("0x2321", "GH100 [H100L 94GB]"),
    "h200": ("0x2335", "GH100 [H200 SXM 141GB]"),
    "b200": ("0x2901", "GB100 [B200]"),
    "rtx-pro-6000": ("0x2bb5", "GB202GL [RTX PRO 6000 Blackwell Server Edition]"),
}


@pytest.mark.parametrize("model", VFIO)
def test_gpus_for_virtual_machines_are_beside_the_gpus(model: str) -> None:
    found = devices(f"{model}@passthrough")
    assert [device["name"] for device in found[:4]] == ["gpu-0", "gpu-vfio-0", "gpu-1", "gpu-vfio-1"]
    assert found[::2] == devices(model)
    gpu, vfio = values(found[0]), values(found[1])
    assert len(vfio.pop("uuid")) == 36
    assert vfio == {
        "type": "vfio",
        "vendorID": "0x10de",
        "deviceID": VFIO[model][0],
        "productName": VFIO[model][1],
        "iommuFDEnabled": True,
        **{f"{STANDARD}/{name}": gpu[f"{STANDARD}/{name}"] for name in ("pciBusID", "pcieRoot", "numaNode")},
    }
    assert list(found[1]["capacity"]) == ["addressableMemory"]


def test_which_gpus_are_for_virtual_machines() -> None:
    # Not superchips; the B300 is not in that list.
    models = built_in().models
    assert {name for name in GPUS if "passthrough" in models[name].profiles} == set(VFIO)


def test_partitions_of_fabric_manager() -> None:
    # https://github.com/kubernetes-sigs/dra-driver-nvidia-gpu/blob/main/pkg/fabricmanager/manager.go: module 1 is in
    # the partitions 8 (of one GPU), 4 (of two), 2 (of four) and 1 (of eight); modules 3 and 4 are in 5.
    found = devices("h100@fabric-partitions")
    keys = ("gpuModuleID", "partition1", "partition2", "partition4", "partition8")
    shown = [tuple(values(device)[key] for key in keys) for device in found]
    assert shown[::2] == shown[1::2]
    assert shown[0] == (1, 8, 4, 2, 1)
    assert [place[0] for place in shown[::2]] == list(range(1, 9))
    assert [place[2] for place in shown[::2]] == [4, 4, 5, 5, 6, 6, 7, 7]
    assert [place[3] for place in shown[::2]] == [2, 2, 2, 2, 3, 3, 3, 3]
    assert [device["name"] for device in found[:2]] == ["gpu-0", "gpu-vfio-0"]


def test_siblings_are_for_whole_devices() -> None:
    sibling = {"deviceName": "vm-{index}"}
    partition = {"deviceName": "part-{index}"}
    message = refusal(gpu={"driver": "npu.example.org", "siblings": [sibling], "partitions": [partition]})
    assert message == "has siblings, which are for whole devices only: remove partitions and mig"


def test_vgpus() -> None:
    # A proposal: https://github.com/visheshtanksale/k8s-dra-driver-gpu
    spec, *others = slices("l40s@vgpu", gpusPerNode=1)
    (more,) = [other for other in (spec, *others) if "devices" in other]
    assert [device["name"] for device in more["devices"]] == [
        "gpu-0",
        *(f"vgpu-gpu-0-12q-{slot}" for slot in range(4)),
        *(f"vgpu-gpu-0-24q-{slot}" for slot in range(2)),
        "vgpu-gpu-0-48q-0",
    ]
    taken = {
        device["name"]: (entry["counters"]["framebuffer"]["value"], entry["compatibilityGroups"])
        for device in more["devices"]
        for entry in device["consumesCounters"]
    }
    assert taken["gpu-0"] == ("48Gi", ["gpu-full"])
    assert taken["vgpu-gpu-0-12q-3"] == ("12Gi", ["vgpu-12q"])
    assert taken["vgpu-gpu-0-24q-0"] == ("24Gi", ["vgpu-24q"])
