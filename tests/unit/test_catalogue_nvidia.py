"""NVIDIA's devices as the program renders them, compared with figures of public dumps and documents.

The figures are written out here, not taken from the catalogue; each has its source beside it. Attributes, names, order
and counters are those of https://github.com/kubernetes-sigs/dra-driver-nvidia-gpu, files deviceinfo.go, mig.go,
partitions.go and driver.go of cmd/gpu-kubelet-plugin.
"""

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from topology.checks.validation import load
from topology.kubernetes.quantities import number
from topology.objects import nodes
from topology.objects.slices import resource_slices
from topology.schema.catalogue import built_in
from topology.schema.stack import NodePool

Device = dict[str, Any]

UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


class Gpu(NamedTuple):
    """The properties that differ between the models."""

    product: str
    architecture: str
    compute_capability: str
    memory: str
    per_node: int
    driver: str = "580.126.9"
    addressing_mode: str = "HMM"


GPUS = {
    # nvidia-smi: https://github.com/modal-labs/modal-client/pull/2797
    "t4": Gpu("Tesla T4", "Turing", "7.5.0", "15Gi", 8),
    "l40s": Gpu("NVIDIA L40S", "Ada Lovelace", "8.9.0", "46068Mi", 8),
    "a10": Gpu("NVIDIA A10", "Ampere", "8.6.0", "23028Mi", 4),
    "a100-80gb": Gpu("NVIDIA A100-SXM4-80GB", "Ampere", "8.0.0", "80Gi", 8),
    "h100": Gpu("NVIDIA H100 80GB HBM3", "Hopper", "9.0.0", "81559Mi", 8),
    # https://kwok.sigs.k8s.io/docs/examples/dra/
    "l4": Gpu("NVIDIA L4", "Ada Lovelace", "8.9.0", "23034Mi", 8),
    # https://github.com/kubernetes-sigs/dranet/blob/main/examples/aws_eks_examples/gpu-efa/resourceslice-gpu.yaml
    "a100-40gb": Gpu("NVIDIA A100-SXM4-40GB", "Ampere", "8.0.0", "40Gi", 8),
    # nvidia-smi; PCI id 10de:2335 of https://github.com/easydiffusion/torchruntime/issues/24
    "h200": Gpu("NVIDIA H200", "Hopper", "9.0.0", "143771Mi", 8),
    # nvidia-smi: https://github.com/NVIDIA/TensorRT-LLM/issues/10278
    "b200": Gpu("NVIDIA B200", "Blackwell", "10.0.0", "183359Mi", 8),
    # nvidia-smi; the name is in https://github.com/AlphaMine-Tech/alpha-miner/issues/21
    "b300": Gpu("NVIDIA B300 SXM6 AC", "Blackwell", "10.3.0", "275040Mi", 8),
    # .../dranet/blob/main/examples/oci_oke_examples/BM.GPU.GB200-v3.4/resourceslice-gpu.yaml
    "gb200": Gpu("NVIDIA GB200", "Blackwell", "10.0.0", "189471Mi", 4, "580.126.20", "ATS"),
}

# GPU, root complex and NUMA node by minor number.
DGX_A100 = [  # GPUs: https://github.com/pc2/cc-slurm-sync; NUMA nodes: https://github.com/NVIDIA/nccl/issues/2157
    ("0000:07:00.0", "pci0000:00", 3),
    ("0000:0f:00.0", "pci0000:00", 3),
    ("0000:47:00.0", "pci0000:40", 1),
    ("0000:4e:00.0", "pci0000:40", 1),
    ("0000:87:00.0", "pci0000:80", 7),
    ("0000:90:00.0", "pci0000:80", 7),
    ("0000:b7:00.0", "pci0000:b0", 5),
    ("0000:bd:00.0", "pci0000:b0", 5),
]
# GPUs of a DGX H200: https://github.com/easydiffusion/torchruntime/issues/24
# of a B200 server: https://github.com/NVIDIA/NeMo-Agent-Toolkit/blob/develop/external/dynamo/README.md
DGX_XEON = [
    ("0000:1b:00.0", "pci0000:15", 0),
    ("0000:43:00.0", "pci0000:37", 0),
    ("0000:52:00.0", "pci0000:48", 0),
    ("0000:61:00.0", "pci0000:59", 0),
    ("0000:9d:00.0", "pci0000:97", 1),
    ("0000:c3:00.0", "pci0000:b7", 1),
    ("0000:d1:00.0", "pci0000:c7", 1),
    ("0000:df:00.0", "pci0000:d7", 1),
]
# .../dranet/tree/main/examples/oci_oke_examples/BM.GPU.GB200-v3.4: the dump, and the README for NUMA nodes
GB200_TRAY = [
    ("0008:06:00.0", "pci0008:00", 0),
    ("0009:06:00.0", "pci0009:00", 0),
    ("0018:06:00.0", "pci0018:00", 1),
    ("0019:06:00.0", "pci0019:00", 1),
]
PLACES = {
    "a100-40gb": DGX_A100,
    "a100-80gb": DGX_A100,
    "h100": DGX_XEON,
    "h200": DGX_XEON,
    "b200": DGX_XEON,
    "gb200": GB200_TRAY,
}

# ConnectX-7 by GPU, as ibp24s0 and so on: https://docs.nvidia.com/dgx/dgxh100-user-guide/introduction-to-dgxh100.html
DGX_XEON_NIC_BUSES = [24, 64, 79, 94, 154, 192, 206, 220]


class Profile(NamedTuple):
    """A row of `nvidia-smi mig -lgip`, and the placements of -lgipp."""

    label: str
    memory: str
    multiprocessors: int
    copy_engines: int
    decoders: int
    jpeg_engines: int
    ofa_engines: int
    size: int
    placements: tuple[int, ...]


EACH = (0, 1, 2, 3, 4, 5, 6)
PAIRS = (0, 2, 4, 6)

# By the driver's name of the profile in device names, which end in the profile ID, in the order of these names.
# Placements: https://github.com/kubernetes/enhancements/tree/master/keps/sig-scheduling/4815-dra-partitionable-devices
PROFILES = {
    # https://docs.nvidia.com/datacenter/tesla/mig-user-guide/supported-mig-profiles.html; 19968Mi, for one:
    # https://github.com/XuehaiPan/nvitop/pull/8
    "a100-40gb": {
        "1g10gb-15": Profile("1g.10gb", "9856Mi", 14, 1, 1, 0, 0, 2, PAIRS),
        "1g5gb-19": Profile("1g.5gb", "4864Mi", 14, 1, 0, 0, 0, 1, EACH),
        "1g5gb-me-20": Profile("1g.5gb+me", "4864Mi", 14, 1, 1, 1, 1, 1, EACH),
        "2g10gb-14": Profile("2g.10gb", "9856Mi", 28, 2, 1, 0, 0, 2, (0, 2, 4)),
        "3g20gb-9": Profile("3g.20gb", "19968Mi", 42, 3, 2, 0, 0, 4, (0, 4)),
        "4g20gb-5": Profile("4g.20gb", "19968Mi", 56, 4, 2, 0, 0, 4, (0,)),
        "7g40gb-0": Profile("7g.40gb", "40192Mi", 98, 7, 5, 1, 1, 8, (0,)),
    },
    "a100-80gb": {
        "1g10gb-19": Profile("1g.10gb", "9728Mi", 14, 1, 0, 0, 0, 1, EACH),
        "1g10gb-me-20": Profile("1g.10gb+me", "9728Mi", 14, 1, 1, 1, 1, 1, EACH),
        "1g20gb-15": Profile("1g.20gb", "19968Mi", 14, 1, 1, 0, 0, 2, PAIRS),
        "2g20gb-14": Profile("2g.20gb", "19968Mi", 28, 2, 1, 0, 0, 2, (0, 2, 4)),
        "3g40gb-9": Profile("3g.40gb", "40192Mi", 42, 3, 2, 0, 0, 4, (0, 4)),
        "4g40gb-5": Profile("4g.40gb", "40192Mi", 56, 4, 2, 0, 0, 4, (0,)),
        "7g80gb-0": Profile("7g.80gb", "79Gi", 98, 7, 5, 1, 1, 8, (0,)),
    },
    # https://jbarrow.ai/field_notes/nvidia-mig/; 9.75, 19.62, 39.50 and 79.25 GiB
    "h100": {
        "1g10gb-19": Profile("1g.10gb", "9984Mi", 16, 1, 1, 1, 0, 1, EACH),
        "1g10gb-me-20": Profile("1g.10gb+me", "9984Mi", 16, 1, 1, 1, 1, 1, EACH),
        "1g20gb-15": Profile("1g.20gb", "20096Mi", 26, 1, 1, 1, 0, 2, PAIRS),
        "2g20gb-14": Profile("2g.20gb", "20096Mi", 32, 2, 2, 2, 0, 2, (0, 2, 4)),
        "3g40gb-9": Profile("3g.40gb", "40448Mi", 60, 3, 3, 3, 0, 4, (0, 4)),
        "4g40gb-5": Profile("4g.40gb", "40448Mi", 64, 4, 4, 4, 0, 4, (0,)),
        "7g80gb-0": Profile("7g.80gb", "81152Mi", 132, 8, 7, 7, 1, 8, (0,)),
    },
    # https://github.com/NVIDIA/mig-parted/issues/120; 16.00, 32.25, 69.50 and 139.75 GiB
    "h200": {
        "1g18gb-19": Profile("1g.18gb", "16Gi", 16, 1, 1, 1, 0, 1, EACH),
        "1g18gb-me-20": Profile("1g.18gb+me", "16Gi", 16, 1, 1, 1, 1, 1, EACH),
        "1g35gb-15": Profile("1g.35gb", "33024Mi", 26, 1, 1, 1, 0, 2, PAIRS),
        "2g35gb-14": Profile("2g.35gb", "33024Mi", 32, 2, 2, 2, 0, 2, (0, 2, 4)),
        "3g71gb-9": Profile("3g.71gb", "71168Mi", 60, 3, 3, 3, 0, 4, (0, 4)),
        "4g71gb-5": Profile("4g.71gb", "71168Mi", 64, 4, 4, 4, 0, 4, (0,)),
        "7g141gb-0": Profile("7g.141gb", "143104Mi", 132, 8, 7, 7, 1, 8, (0,)),
    },
    # https://github.com/NVIDIA/gpu-operator/pull/1351, 20.50 and 44.25 GiB. From 3g on only names and copy engines are
    # published; the others are those of the catalogue, which explains them.
    "b200": {
        "1g23gb-19": Profile("1g.23gb", "20992Mi", 18, 2, 1, 1, 0, 1, EACH),
        "1g23gb-me-20": Profile("1g.23gb+me", "20992Mi", 18, 2, 1, 1, 1, 1, EACH),
        "1g45gb-15": Profile("1g.45gb", "45312Mi", 30, 2, 1, 1, 0, 2, PAIRS),
        "2g45gb-14": Profile("2g.45gb", "45312Mi", 36, 4, 2, 2, 0, 2, (0, 2, 4)),
        "3g90gb-9": Profile("3g.90gb", "89Gi", 68, 6, 3, 3, 0, 4, (0, 4)),
        "4g90gb-5": Profile("4g.90gb", "89Gi", 72, 8, 4, 4, 0, 4, (0,)),
        "7g180gb-0": Profile("7g.180gb", "182528Mi", 148, 16, 7, 7, 1, 8, (0,)),
    },
    # https://github.com/aws/sagemaker-hyperpod-cli/pull/403: the names; everything else is from the catalogue.
    "b300": {
        "1g34gb-19": Profile("1g.34gb", "32Gi", 18, 2, 1, 1, 0, 1, EACH),
        "1g34gb-me-20": Profile("1g.34gb+me", "32Gi", 18, 2, 1, 1, 1, 1, EACH),
        "1g67gb-15": Profile("1g.67gb", "67840Mi", 30, 2, 1, 1, 0, 2, PAIRS),
        "2g67gb-14": Profile("2g.67gb", "67840Mi", 36, 4, 2, 2, 0, 2, (0, 2, 4)),
        "3g135gb-9": Profile("3g.135gb", "136960Mi", 68, 6, 3, 3, 0, 4, (0, 4)),
        "4g135gb-5": Profile("4g.135gb", "136960Mi", 72, 8, 4, 4, 0, 4, (0,)),
        "7g269gb-0": Profile("7g.269gb", "274176Mi", 148, 16, 7, 7, 1, 8, (0,)),
    },
    # https://github.com/NVIDIA/mig-parted/issues/227, 22.00 and 45.50 GiB; from 3g on as for the B200
    "gb200": {
        "1g23gb-19": Profile("1g.23gb", "22Gi", 18, 2, 1, 1, 0, 1, EACH),
        "1g23gb-me-20": Profile("1g.23gb+me", "22Gi", 18, 2, 1, 1, 1, 1, EACH),
        "1g47gb-15": Profile("1g.47gb", "46592Mi", 32, 2, 1, 1, 0, 2, PAIRS),
        "2g47gb-14": Profile("2g.47gb", "46592Mi", 38, 4, 2, 2, 0, 2, (0, 2, 4)),
        "3g93gb-9": Profile("3g.93gb", "92Gi", 72, 6, 3, 3, 0, 4, (0, 4)),
        "4g93gb-5": Profile("4g.93gb", "92Gi", 76, 8, 4, 4, 0, 4, (0,)),
        "7g186gb-0": Profile("7g.186gb", "188672Mi", 152, 16, 7, 7, 1, 8, (0,)),
    },
}
RESETLESS = ["h100", "h200", "b200", "b300", "gb200"]  # From Hopper on, MIG mode can change without a reset


def pool(model: object, **more: object) -> NodePool:
    count = GPUS[model].per_node if isinstance(model, str) and model in GPUS else 1
    node_pool = {"name": "n", "nodes": 1, "gpu": model, "gpusPerNode": count, **more}
    return load({"cluster": {"name": "c"}, "nodePools": [node_pool]}).node_pools[0]


def slices(model: object, **more: object) -> list[dict[str, Any]]:
    return [entry["spec"] for entry in resource_slices(pool(model, **more), "n-0")]


def devices(model: object, **more: object) -> list[Device]:
    return [device for spec in slices(model, **more) for device in spec.get("devices", [])]


def capacity_of(profile: Profile) -> dict[str, dict[str, str]]:
    figures = {
        "multiprocessors": str(profile.multiprocessors),
        "copyEngines": str(profile.copy_engines),
        "decoders": str(profile.decoders),
        "encoders": "0",
        "jpegEngines": str(profile.jpeg_engines),
        "ofaEngines": str(profile.ofa_engines),
        "memory": profile.memory,
    }
    return {name: {"value": value} for name, value in figures.items()}


def counters_of(profile: Profile, placement: int) -> dict[str, dict[str, str]]:
    figures = {
        "multiprocessors": str(profile.multiprocessors),
        "copy-engines": str(profile.copy_engines),
        "decoders": str(profile.decoders),
        "encoders": "0",
        "jpeg-engines": str(profile.jpeg_engines),
        "ofa-engines": str(profile.ofa_engines),
        "memory": profile.memory,
    }
    figures |= {f"memory-slice-{index}": "1" for index in range(placement, placement + profile.size)}
    return {name: {"value": value} for name, value in figures.items()}


def placed(model: str) -> Iterator[tuple[str, Profile, int]]:
    for label, profile in PROFILES[model].items():
        for placement in profile.placements:
            yield f"{label}-{placement}", profile, placement


def test_every_model_of_the_catalogue_is_here() -> None:
    models = {name for name, model in built_in().models.items() if model.driver == "gpu.nvidia.com"}
    assert models == set(GPUS)
    assert {name for name in models if built_in().models[name].mig} == set(PROFILES)


@pytest.mark.parametrize("model", GPUS)
def test_full_gpus(model: str) -> None:
    gpu = GPUS[model]
    (spec,) = slices(model)
    assert spec["driver"] == "gpu.nvidia.com"
    assert spec["pool"] == {"name": "n-0", "generation": 1, "resourceSliceCount": 1}
    assert "sharedCounters" not in spec
    assert [device["name"] for device in spec["devices"]] == [f"gpu-{minor}" for minor in range(gpu.per_node)]
    for device in spec["devices"]:
        attributes = dict(device["attributes"])
        assert re.fullmatch(f"GPU-{UUID}", attributes.pop("uuid")["string"])
        places = {name: attributes.pop(f"resource.kubernetes.io/{name}") for name in ("pciBusID", "pcieRoot")}
        assert {name: list(value) for name, value in places.items()} == {"pciBusID": ["string"], "pcieRoot": ["string"]}
        assert list(attributes.pop("resource.kubernetes.io/numaNode")) == ["int"]
        assert attributes == {
            "type": {"string": "gpu"},
            "productName": {"string": gpu.product},
            "brand": {"string": "Nvidia"},
            "architecture": {"string": gpu.architecture},
            "cudaComputeCapability": {"version": gpu.compute_capability},
            "driverVersion": {"version": gpu.driver},
            "cudaDriverVersion": {"version": "13.0.0"},
            "addressingMode": {"string": gpu.addressing_mode},
        }
        assert device["capacity"] == {"memory": {"value": gpu.memory}}
        assert "consumesCounters" not in device
    uuids = {device["attributes"]["uuid"]["string"] for device in spec["devices"]}
    assert len(uuids) == gpu.per_node


@pytest.mark.parametrize("model", PLACES)
def test_places_of_gpus(model: str) -> None:
    keys = [f"resource.kubernetes.io/{name}" for name in ("pciBusID", "pcieRoot", "numaNode")]
    values = [[next(iter(device["attributes"][key].values())) for key in keys] for device in devices(model)]
    assert [tuple(place) for place in values] == PLACES[model]


def test_nics_of_a_dgx_are_beside_its_gpus() -> None:
    slots = built_in().hosts["hgx-h100"].slots
    assert [int(nic.split(":")[1], 16) for slot in slots for nic in slot.nic] == DGX_XEON_NIC_BUSES
    assert len({slot.pcie_root for slot in slots}) == 8


HOSTS = ["hgx-a100", "hgx-h100", "hgx-b200", "hgx-b300", "gb200-compute-tray", "pcie-server"]


@pytest.mark.parametrize("host", HOSTS)
def test_addresses_of_a_host_are_unique_and_a_root_complex_has_one_numa_node(host: str) -> None:
    slots = built_in().hosts[host].slots
    addresses = [address for slot in slots for address in (slot.gpu, *slot.nic)]
    assert len(set(addresses)) == len(addresses)
    assert len({(slot.pcie_root, slot.numa_node) for slot in slots}) == len({slot.pcie_root for slot in slots})


@pytest.mark.parametrize("host", [name for name in HOSTS if name != "gb200-compute-tray"])
def test_buses_lie_in_their_root_complex(host: str) -> None:
    slots = built_in().hosts[host].slots
    roots = sorted({int(slot.pcie_root[-2:], 16) for slot in slots})
    for slot in slots:
        for address in (slot.gpu, *slot.nic):
            assert address
            bus = int(address.split(":")[1], 16)
            assert max(root for root in roots if root <= bus) == int(slot.pcie_root[-2:], 16)


@pytest.mark.parametrize("model", PROFILES)
def test_mig_devices_at_every_placement(model: str) -> None:
    parents = {device["name"]: device for device in devices(model)}
    found = [device for device in devices(model, mig="dynamic") if device["attributes"]["type"] == {"string": "mig"}]
    expected = [
        (f"{parent}-mig-{label}", parent, profile, placement)
        for parent in parents
        for label, profile, placement in placed(model)
    ]
    assert [device["name"] for device in found] == [name for name, *_ in expected]
    for device, (_, parent, profile, placement) in zip(found, expected, strict=True):
        attributes = dict(parents[parent]["attributes"])
        uuid = attributes.pop("uuid")
        assert device["attributes"] == attributes | {
            "type": {"string": "mig"},
            "profile": {"string": profile.label},
            "parentUUID": uuid,
        }
        assert device["capacity"] == capacity_of(profile)
        assert device["consumesCounters"] == [
            {"counterSet": f"{parent}-counter-set", "counters": counters_of(profile, placement)}
        ]


@pytest.mark.parametrize("model", PROFILES)
def test_shared_counters_are_of_the_whole_gpu(model: str) -> None:
    first, *others = slices(model, mig="dynamic")
    whole = counters_of(list(PROFILES[model].values())[-1], 0)
    assert first["sharedCounters"] == [
        {"name": f"gpu-{minor}-counter-set", "counters": whole} for minor in range(GPUS[model].per_node)
    ]
    assert not first.get("devices")
    assert not any("sharedCounters" in spec for spec in others)


@pytest.mark.parametrize("model", RESETLESS)
def test_full_gpus_among_mig_devices(model: str) -> None:
    count = GPUS[model].per_node
    specs = slices(model, mig="dynamic")
    assert [len(spec.get("devices", [])) for spec in specs] == [0] + [26] * count
    assert {spec["pool"]["resourceSliceCount"] for spec in specs} == {count + 1}
    seven = list(PROFILES[model].values())[-1]
    for minor, full in enumerate(spec["devices"][0] for spec in specs[1:]):
        assert full["name"] == f"gpu-{minor}"
        assert full["attributes"] == devices(model)[minor]["attributes"]
        assert full["capacity"] == capacity_of(seven)
        assert full["consumesCounters"] == [
            {"counterSet": f"gpu-{minor}-counter-set", "counters": counters_of(seven, 0)}
        ]


def test_an_hgx_node_with_dynamic_mig_has_9_slices_and_208_devices() -> None:
    specs = slices("h100", mig="dynamic")
    assert len(specs) == 9
    assert sum(len(spec.get("devices", [])) for spec in specs) == 208


def test_order_of_devices_under_dynamic_mig() -> None:
    assert [device["name"] for device in slices("h100", mig="dynamic")[1]["devices"]] == [
        "gpu-0",
        "gpu-0-mig-1g10gb-19-0",
        "gpu-0-mig-1g10gb-19-1",
        "gpu-0-mig-1g10gb-19-2",
        "gpu-0-mig-1g10gb-19-3",
        "gpu-0-mig-1g10gb-19-4",
        "gpu-0-mig-1g10gb-19-5",
        "gpu-0-mig-1g10gb-19-6",
        "gpu-0-mig-1g10gb-me-20-0",
        "gpu-0-mig-1g10gb-me-20-1",
        "gpu-0-mig-1g10gb-me-20-2",
        "gpu-0-mig-1g10gb-me-20-3",
        "gpu-0-mig-1g10gb-me-20-4",
        "gpu-0-mig-1g10gb-me-20-5",
        "gpu-0-mig-1g10gb-me-20-6",
        "gpu-0-mig-1g20gb-15-0",
        "gpu-0-mig-1g20gb-15-2",
        "gpu-0-mig-1g20gb-15-4",
        "gpu-0-mig-1g20gb-15-6",
        "gpu-0-mig-2g20gb-14-0",
        "gpu-0-mig-2g20gb-14-2",
        "gpu-0-mig-2g20gb-14-4",
        "gpu-0-mig-3g40gb-9-0",
        "gpu-0-mig-3g40gb-9-4",
        "gpu-0-mig-4g40gb-5-0",
        "gpu-0-mig-7g80gb-0-0",
    ]


@pytest.mark.parametrize("model", PROFILES)
def test_names_of_profiles_follow_from_their_memory(model: str) -> None:
    # How the driver composes them: https://github.com/NVIDIA/go-nvlib/blob/main/pkg/nvlib/device/mig_profile.go
    total = number(GPUS[model].memory)
    for profile in built_in().models[model].mig:
        eighths = math.ceil(number(profile.memory) / total * 8)
        assert eighths == profile.size
        gigabytes = math.floor(eighths * math.ceil(total / 2**30) / 8 + 0.5)
        assert re.fullmatch(rf"[1-9]g\.{gigabytes}gb(\+me)?", profile.name)


@pytest.mark.parametrize("model", PROFILES)
def test_profiles_fit_on_the_gpu_as_often_as_nvidia_smi_lists(model: str) -> None:
    # Instances Free/Total: 7, 1, 4, 3, 2, 1, 1. All of them fit in each counter, not only in the memory slices.
    profiles = {profile.id: profile for profile in built_in().models[model].mig}
    instances = {19: 7, 20: 1, 15: 4, 14: 3, 9: 2, 5: 1, 0: 1}
    assert set(profiles) == set(instances)
    whole = profiles[0]
    for identity, count in instances.items():
        profile = profiles[identity]
        for figure in ("multiprocessors", "copy_engines", "decoders", "jpeg_engines", "ofa_engines"):
            assert count * getattr(profile, figure) <= getattr(whole, figure)
        assert count * number(profile.memory) <= number(whole.memory)


def test_static_mig() -> None:
    found = devices("h100", mig=[{"gpus": [0, 1], "profiles": {"1g.10gb": 7}}])
    assert [device["name"] for device in found] == [
        *(f"gpu-{minor}-mig-1g10gb-19-{placement}" for minor in (0, 1) for placement in range(7)),
        *(f"gpu-{minor}" for minor in range(2, 8)),
    ]
    parent = devices("h100")[1]["attributes"]
    device = found[10]
    attributes = dict(device["attributes"])
    assert re.fullmatch(f"MIG-{UUID}", attributes.pop("uuid")["string"])
    assert attributes == {key: value for key, value in parent.items() if key != "uuid"} | {
        "type": {"string": "mig"},
        "profile": {"string": "1g.10gb"},
        "parentUUID": parent["uuid"],
    }
    assert device["capacity"] == capacity_of(PROFILES["h100"]["1g10gb-19"]) | {"memorySlice3": {"value": "1"}}
    assert "consumesCounters" not in device
    assert found[14]["capacity"] == {"memory": {"value": "81559Mi"}}


def test_static_mig_with_memory_slices_of_several() -> None:
    found = devices("a100-40gb", mig=[{"profiles": {"3g.20gb": 2}}])
    assert [device["name"] for device in found[:3]] == [
        "gpu-0-mig-3g20gb-9-0",
        "gpu-0-mig-3g20gb-9-4",
        "gpu-1-mig-3g20gb-9-0",
    ]
    memory_slices = {f"memorySlice{index}": {"value": "1"} for index in (4, 5, 6, 7)}
    assert found[1]["capacity"] == capacity_of(PROFILES["a100-40gb"]["3g20gb-9"]) | memory_slices


def test_name_of_a_static_mig_device_in_the_drivers_guide() -> None:
    # https://github.com/kubernetes-sigs/dra-driver-nvidia-gpu/blob/main/site/content/docs/guides/gpu-health-checking.md
    profile = {"name": "1g.12gb", "id": 19, "size": 1, "placements": [0, 1, 2, 3, 4, 5, 6], "memory": "11008Mi"}
    engines = {"multiprocessors": 16, "copyEngines": 1, "decoders": 1, "jpegEngines": 1, "ofaEngines": 0}
    whole = profile | engines | {"name": "7g.94gb", "id": 0, "size": 8, "placements": [0]}
    model = {
        "driver": "gpu.nvidia.com",
        "attributes": {"uuid": {"string": "GPU-{uuid}"}},
        "mig": [profile | engines, whole],
    }
    assert devices(model, mig=[{"profiles": {"1g.12gb": 1}}])[0]["name"] == "gpu-0-mig-1g12gb-19-0"


# https://github.com/NVIDIA/k8s-device-plugin/tree/main/docs/gpu-feature-discovery: the names, and "-" for spaces;
# the family by compute capability: internal/lm/resource.go. CPU and memory: https://aws.amazon.com/ec2/instance-types/
# (g4dn.metal, g6.48xlarge, g6e.48xlarge, p4d.24xlarge, p4de.24xlarge, p5.48xlarge, p5en.48xlarge, p6-b200.48xlarge,
# p6-b300.48xlarge, p6e-gb200.36xlarge); for the A10
# https://docs.oracle.com/en-us/iaas/Content/Compute/References/computeshapes.htm#bm-gpu (BM.GPU.A10.4)
NODES = {
    "t4": ("Tesla-T4", "turing", "15360", ("7", "5"), "96", "384Gi"),
    "l4": ("NVIDIA-L4", "ada-lovelace", "23034", ("8", "9"), "192", "768Gi"),
    "l40s": ("NVIDIA-L40S", "ada-lovelace", "46068", ("8", "9"), "192", "1536Gi"),
    "a10": ("NVIDIA-A10", "ampere", "23028", ("8", "6"), "128", "1Ti"),
    "a100-40gb": ("NVIDIA-A100-SXM4-40GB", "ampere", "40960", ("8", "0"), "96", "1152Gi"),
    "a100-80gb": ("NVIDIA-A100-SXM4-80GB", "ampere", "81920", ("8", "0"), "96", "1152Gi"),
    "h100": ("NVIDIA-H100-80GB-HBM3", "hopper", "81559", ("9", "0"), "192", "2Ti"),
    "h200": ("NVIDIA-H200", "hopper", "143771", ("9", "0"), "192", "2Ti"),
    "b200": ("NVIDIA-B200", "blackwell", "183359", ("10", "0"), "192", "2Ti"),
    "b300": ("NVIDIA-B300-SXM6-AC", "blackwell", "275040", ("10", "3"), "192", "4Ti"),
    "gb200": ("NVIDIA-GB200", "blackwell", "189471", ("10", "0"), "144", "960Gi"),
}


@pytest.mark.parametrize("model", NODES)
def test_nodes(model: str) -> None:
    product, family, memory, (major, minor), cpu, host_memory = NODES[model]
    node = nodes.node(pool(model), "n-0")
    labels = {key.removeprefix("nvidia.com/"): value for key, value in node["metadata"]["labels"].items()}
    expected = {
        "gpu.count": str(GPUS[model].per_node),
        "gpu.product": product,
        "gpu.family": family,
        "gpu.memory": memory,
        "gpu.compute.major": major,
        "gpu.compute.minor": minor,
        "gpu.mode": "compute",
        "gpu.present": "true",
        "gpu.replicas": "1",
        "gpu.sharing-strategy": "none",
        "mig.capable": "true" if model in PROFILES else "false",
        "mps.capable": "false",
        "vgpu.present": "false",
        "cuda.driver-version.full": "580.126.20" if model == "gb200" else "580.126.09",
        "cuda.driver-version.major": "580",
        "cuda.driver-version.minor": "126",
        "cuda.driver-version.revision": "20" if model == "gb200" else "09",
        "cuda.runtime-version.full": "13.0",
        "cuda.runtime-version.major": "13",
        "cuda.runtime-version.minor": "0",
    }
    assert {
        key: value for key, value in labels.items() if key.startswith(("gpu.", "mig.", "mps.", "vgpu.", "cuda."))
    } == (expected)
    assert labels["kubernetes.io/arch"] == ("arm64" if model == "gb200" else "amd64")
    assert node["status"]["capacity"]["cpu"] == cpu
    assert node["status"]["capacity"]["memory"] == host_memory


def test_compute_domains() -> None:
    # https://github.com/kubernetes-sigs/dra-driver-nvidia-gpu/blob/main/cmd/compute-domain-kubelet-plugin/deviceinfo.go
    both = [{"model": "compute-domain-daemon"}, {"model": "compute-domain-channel"}]
    (spec,) = [spec for spec in slices("gb200", devices=both) if spec["driver"] == "compute-domain.nvidia.com"]
    assert [(device["name"], device["attributes"]) for device in spec["devices"]] == [
        ("daemon-0", {"type": {"string": "daemon"}, "id": {"int": 0}}),
        ("channel-0", {"type": {"string": "channel"}, "id": {"int": 0}}),
    ]


def test_device_classes() -> None:
    # https://github.com/kubernetes-sigs/dra-driver-nvidia-gpu/tree/main/deployments/helm, templates deviceclass-*.yaml
    classes = {
        device_class.name: (device_class.selectors, device_class.extended_resource_name)
        for driver in ("gpu.nvidia.com", "compute-domain.nvidia.com")
        for device_class in built_in().drivers[driver].device_classes
    }
    gpu = "device.driver == 'gpu.nvidia.com' && device.attributes['gpu.nvidia.com']"
    domain = "device.driver == 'compute-domain.nvidia.com' && device.attributes['compute-domain.nvidia.com']"
    channel = f"{domain}.type == 'channel' && device.attributes['compute-domain.nvidia.com'].id == 0"
    assert classes == {
        "gpu.nvidia.com": ([f"{gpu}.type == 'gpu'"], "nvidia.com/gpu"),
        "mig.nvidia.com": ([f"{gpu}.type == 'mig'"], None),
        "vfio.gpu.nvidia.com": ([f"{gpu}.type == 'vfio'"], None),
        "compute-domain-daemon.nvidia.com": ([f"{domain}.type == 'daemon'"], None),
        "compute-domain-default-channel.nvidia.com": ([channel], None),
    }


def test_everything_has_a_source() -> None:
    catalogue = built_in()
    sources = {name: model.sources for name, model in catalogue.models.items() if model.driver.endswith(".nvidia.com")}
    sources |= {name: catalogue.drivers[name].sources for name in ("gpu.nvidia.com", "compute-domain.nvidia.com")}
    sources |= {name: catalogue.hosts[name].sources for name in HOSTS}
    assert not [name for name, urls in sources.items() if not urls]
