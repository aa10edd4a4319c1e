"""What the drivers of AMD, Intel and the HAMi project publish: figures from their dumps and source, written out."""

import re

import pytest

from tests.unit.published import UUID, Manifest, capacity, devices, names, node, shared, slices, typed, values

# AMD: https://github.com/ROCm/k8s-gpu-dra-driver

# docs/demo.md shows one device of a ResourceSlice; cmd/gpu-kubeletplugin/deviceinfo.go adds driverVersionFull to it.
MI300X: Manifest = {
    "attributes": {
        "type": {"string": "amdgpu"},
        "productName": {"string": "AMD_Instinct_MI300X_OAM"},
        "deviceID": {"string": "0x74a1"},
        "driverVersion": {"version": "6.16.6"},
        "driverVersionFull": {"string": "6.16.6"},
        "partitionProfile": {"string": "spx_nps1"},
        "numaNode": {"int": 1},
        "resource.kubernetes.io/pciBusID": {"string": "0003:00:02.0"},
        "resource.kubernetes.io/pcieRoot": {"string": "pci0003:00"},
    },
    "capacity": {
        "memory": {"value": "196592Mi"},
        "computeUnits": {"value": "304"},
        "simdUnits": {"value": "1216"},
    },
}


def test_mi300x() -> None:
    found = devices("gpu.amd.com", gpu="mi300x", gpusPerNode=8)
    # pull/21: the GPU at 0003:00:02.0 is card 40 and renderD168. driver.go, resourceSliceDevices: sorted by name.
    assert names(found) == [
        "gpu-0-128",
        "gpu-16-144",
        "gpu-24-152",
        "gpu-32-160",
        "gpu-40-168",
        "gpu-48-176",
        "gpu-56-184",
        "gpu-8-136",
    ]
    assert found[4] == {"name": "gpu-40-168", **MI300X}
    assert [values(device, "numaNode") for device in found] == [0, 0, 0, 1, 1, 1, 1, 0]


def test_mi300x_in_two() -> None:
    found = devices("gpu.amd.com", gpu="mi300x-dpx", gpusPerNode=8)
    # pull/21: gpu-32-160, gpu-33-161 and so on, parts of the GPU at 0003:00:01.0.
    assert len(found) == 16
    assert names(found)[6:8] == ["gpu-32-160", "gpu-33-161"]
    for device in found[6:8]:
        assert device["attributes"] == MI300X["attributes"] | {
            "type": {"string": "amdgpu-partition"},
            "partitionProfile": {"string": "dpx_nps1"},
            "resource.kubernetes.io/pciBusID": {"string": "0003:00:01.0"},
        }
        assert capacity(device) == {"memory": "98296Mi", "computeUnits": "152", "simdUnits": "608"}
        assert "consumesCounters" not in device
    assert len(slices(gpu="mi300x-dpx", gpusPerNode=8)) == 1


def test_mi300x_in_eight() -> None:
    found = devices("gpu.amd.com", gpu="mi300x-cpx", gpusPerNode=8)
    assert sorted(names(found)) == sorted(f"gpu-{number}-{number + 128}" for number in range(64))
    # deviceinfo_test.go: a CPX partition has 38 compute units and 152 SIMD units.
    assert capacity(found[0]) == {"memory": "24574Mi", "computeUnits": "38", "simdUnits": "152"}
    assert values(found[0], "partitionProfile") == "cpx_nps4"


def test_mi300x_partitioned_on_demand() -> None:
    counters, published = slices(gpu="mi300x-auto-partition", gpusPerNode=2)
    # docs/driver-attributes.md, "Shared counters".
    mutex = {"partition-mode": {"value": "1"}}
    assert counters["spec"]["sharedCounters"] == [
        {"name": "gpu-0-mutex", "counters": mutex},
        {"name": "gpu-1-mutex", "counters": mutex},
    ]
    # pkg/consts/consts.go, ValidPartitionConfigs; partition.go, BuildDevices: sorted by name.
    modes = ["cpx-nps1", "cpx-nps4", "dpx-nps1", "dpx-nps2", "qpx-nps1", "spx-nps1"]
    found = published["spec"]["devices"]
    assert names(found) == [f"gpu-{gpu}-{mode}" for gpu in (0, 1) for mode in modes]
    cpx, spx = found[7], found[11]
    assert cpx == {
        "name": "gpu-1-cpx-nps4",
        "attributes": {
            "type": {"string": "amdgpu-partition"},
            "computePartition": {"string": "cpx"},
            "memoryPartition": {"string": "nps4"},
            "gpuIndex": {"int": 1},
            "productName": {"string": "AMD_Instinct_MI300X_OAM"},
            "pciAddr": {"string": "0002:00:02.0"},
            "numaNode": {"int": 0},
            "driverVersion": {"version": "6.16.6"},
            "driverVersionFull": {"string": "6.16.6"},
            "deviceID": {"string": "0x74a1"},
            "resource.kubernetes.io/pciBusID": {"string": "0002:00:02.0"},
            "resource.kubernetes.io/pcieRoot": {"string": "pci0002:00"},
        },
        # deviceinfo.go, SyntheticPartitionDevice: totals, of which each claim gets one partition's worth.
        "capacity": {
            "partitions": {"value": "8", "requestPolicy": {"default": "1", "validValues": ["1"]}},
            "memory": {"value": "196592Mi", "requestPolicy": {"default": "24574Mi", "validValues": ["24574Mi"]}},
            "computeUnits": {"value": "304", "requestPolicy": {"default": "38", "validValues": ["38"]}},
            "simdUnits": {"value": "1216", "requestPolicy": {"default": "152", "validValues": ["152"]}},
        },
        "allowMultipleAllocations": True,
        "consumesCounters": [{"counterSet": "gpu-1-mutex", "counters": mutex}],
    }
    assert values(spx, "type") == "amdgpu"
    assert "allowMultipleAllocations" not in spx
    assert spx["capacity"] == {**MI300X["capacity"], "partitions": {"value": "1"}}


def test_mi300x_node() -> None:
    labels = node(gpu="mi300x", gpusPerNode=8)["metadata"]["labels"]
    # https://docs.redhat.com/en/documentation/red_hat_ai_inference_server, "Installing the AMD GPU Operator"
    assert {key: value for key, value in labels.items() if "amd.com/gpu.cu" in key or "amd.com/gpu.simd" in key} == {
        "amd.com/gpu.cu-count": "304",
        "amd.com/gpu.simd-count": "1216",
        "beta.amd.com/gpu.cu-count": "304",
        "beta.amd.com/gpu.cu-count.304": "8",
        "beta.amd.com/gpu.simd-count": "1216",
        "beta.amd.com/gpu.simd-count.1216": "8",
    }
    assert (labels["amd.com/gpu.vram"], labels["beta.amd.com/gpu.vram.191G"]) == ("191G", "8")
    # With the extended resource in the node's capacity, the scheduler would never use the class that provides it.
    assert "amd.com/gpu" not in node(gpu="mi300x", gpusPerNode=8)["status"]["capacity"]


@pytest.mark.parametrize(
    ("model", "count", "product", "device_id", "memory", "compute_units", "simd_units"),
    [
        # PCI IDs: https://github.com/vllm-project/vllm/blob/main/vllm/platforms/rocm.py. Compute units, four SIMD units
        # each, and memory: https://rocm.docs.amd.com/en/latest/reference/gpu-arch-specs.html
        # cmd/gpu-kubeletplugin/discovery_sysfs_test.go: 137438953472 bytes of an MI300A
        ("mi300a", 4, "AMD_Instinct_MI300A", "0x74a0", "128Gi", "228", "912"),
        ("mi325x", 8, "AMD_Instinct_MI325X_OAM", "0x74a5", "262128Mi", "304", "1216"),
        ("mi355x", 8, "AMD_Instinct_MI355X_OAM", "0x75a3", "294896Mi", "256", "1024"),
    ],
)
def test_other_amd_gpus(
    model: str, count: int, product: str, device_id: str, memory: str, compute_units: str, simd_units: str
) -> None:
    found = devices("gpu.amd.com", gpu=model, gpusPerNode=count)
    assert sorted(names(found)) == sorted(f"gpu-{8 * index}-{8 * index + 128}" for index in range(count))
    assert found[0]["attributes"].keys() == MI300X["attributes"].keys()
    assert (values(found[0], "productName"), values(found[0], "deviceID")) == (product, device_id)
    assert capacity(found[0]) == {"memory": memory, "computeUnits": compute_units, "simdUnits": simd_units}
    labels = node(gpu=model, gpusPerNode=count)["metadata"]["labels"]
    assert (labels["amd.com/gpu.device-id"], labels["amd.com/gpu.cu-count"]) == (device_id[2:], compute_units)


def test_mi300a_is_a_numa_node() -> None:
    numa_nodes = {values(device, "numaNode") for device in devices("gpu.amd.com", gpu="mi300a", gpusPerNode=4)}
    assert numa_nodes == {0, 1, 2, 3}


def test_virtual_function_of_an_mi300x() -> None:
    found = devices("gpu.amd.com", gpu="mi300x-vf", gpusPerNode=8)
    # docs/driver-attributes.md, VFIO passthrough devices; 74b5: https://github.com/ROCm/gpu-operator
    assert names(found) == [f"gpu-vfio-{index}" for index in range(8)]
    assert found[0] == {
        "name": "gpu-vfio-0",
        "attributes": typed(
            string={
                "type": "vfio",
                "productName": "AMD_Instinct_MI300X_OAM",
                "deviceID": "0x74b5",
                "vendorID": "0x1002",
                "iommuGroup": "64",
                "partitionProfile": "spx",
                "pciAddr": "0000:1b:02.0",
                "resource.kubernetes.io/pciBusID": "0000:1b:02.0",
                "resource.kubernetes.io/pcieRoot": "pci0000:15",
            },
            int={"numaNode": 0},
            bool={"isVF": True},
        ),
        "capacity": MI300X["capacity"],
    }


# Intel: https://github.com/intel/intel-resource-drivers-for-kubernetes


def test_max_1100() -> None:
    found = devices("gpu.intel.com", gpu="max-1100", gpusPerNode=4)
    # cmd/kubelet-gpu-plugin/driver_test.go has 0000-af-00-0-0x0bda and 0000-b3-00-0-0x0bda, of 49136 MiB, with VFs.
    assert names(found)[2:] == ["0000-af-00-0-0x0bda", "0000-b3-00-0-0x0bda"]
    # doc/gpu/USAGE.md has a dump; its 24480Mi and 1k are how the driver writes capacity.
    assert found[3] == {
        "name": "0000-b3-00-0-0x0bda",
        "attributes": {
            "driver": {"string": "i915"},
            "family": {"string": "Data Center Max"},
            "health": {"string": "Healthy"},
            "model": {"string": "Max 1100"},
            "pciAddress": {"string": "0000:b3:00.0"},
            "pciId": {"string": "0x0bda"},
            "pciRoot": {"string": "b1"},
            "resource.kubernetes.io/pciBusID": {"string": "0000:b3:00.0"},
            "resource.kubernetes.io/pcieRoot": {"string": "pci0000:b1"},
            "sriov": {"bool": True},
            "type": {"string": "gpu"},
        },
        "capacity": {"memory": {"value": "49136Mi"}, "millicores": {"value": "1k"}},
    }


def test_max_1550() -> None:
    found = devices("gpu.intel.com", gpu="max-1550", gpusPerNode=6)
    # https://docs.alcf.anl.gov/aurora/debugging/gdb-oneapi/
    addresses = ["0000:18", "0000:42", "0000:6c", "0001:18", "0001:42", "0001:6c"]
    assert [values(device, "pciAddress") for device in found] == [f"{address}:00.0" for address in addresses]
    assert names(found)[3] == "0001-18-00-0-0x0bd5"
    # pkg/gpu/device/models.go
    assert (values(found[0], "model"), values(found[0], "family")) == ("Max 1550", "Data Center Max")
    assert capacity(found[0]) == {"memory": "124488Mi", "millicores": "1k"}


def test_flex_170() -> None:
    (found,) = devices("gpu.intel.com", gpu="flex-170")
    assert found["name"] == "0000-29-00-0-0x56c0"
    # pkg/gpu/device/models.go; cmd/kubelet-gpu-plugin/driver_test.go
    assert (values(found, "model"), values(found, "family")) == ("Flex 170", "Data Center Flex")
    assert (values(found, "pciId"), capacity(found)["memory"]) == ("0x56c0", "16256Mi")
    assert node(gpu="flex-170")["metadata"]["labels"]["intel.feature.node.kubernetes.io/gpu"] == "true"


@pytest.mark.parametrize(
    ("model", "pci_id", "name", "family", "memory", "sriov"),
    [
        # pkg/gpu/device/models.go. doc/gpu/USAGE.md has a dump of a B60, with SR-IOV and with 96Mi less than 24Gi.
        ("arc-b580", "0xe20b", "B580", "Arc B-Series", "12192Mi", False),
        ("arc-pro-b50", "0xe212", "B50", "Arc Pro B-Series", "16288Mi", True),
        ("arc-pro-b60", "0xe211", "B60", "Arc Pro B-Series", "24480Mi", True),
        ("arc-pro-b70", "0xe223", "B70", "Arc Pro B-Series", "32672Mi", True),
    ],
)
def test_battlemage(model: str, pci_id: str, name: str, family: str, memory: str, sriov: bool) -> None:
    (found,) = devices("gpu.intel.com", gpu=model)
    assert found["name"] == f"0000-29-00-0-{pci_id}"
    expected = {"model": name, "family": family, "pciId": pci_id, "driver": "xe", "sriov": sriov}
    assert {attribute: values(found, attribute) for attribute in expected} == expected
    assert capacity(found) == {"memory": memory, "millicores": "1k"}


@pytest.mark.parametrize(
    ("model", "first", "last", "name"),
    [
        ("gaudi2", "0000-33-00-0-0x1020", "0000-b4-00-0-0x1020", "Gaudi2"),
        # https://docs.habana.ai/en/latest/Quick_Start_Guides/IBM_Quick_Start.html: 1da3:1060 at a3 and so on, to e9
        ("gaudi3", "0000-a3-00-0-0x1060", "0000-e9-00-0-0x1060", "Gaudi3"),
    ],
)
def test_gaudi(model: str, first: str, last: str, name: str) -> None:
    found = devices("gaudi.intel.com", gpu=model, gpusPerNode=8)
    assert (names(found)[0], names(found)[-1], len(found)) == (first, last, 8)
    # doc/gaudi/USAGE.md has a dump with these attributes and without capacity.
    root = values(found[0], "resource.kubernetes.io/pcieRoot")
    assert found[0]["attributes"] == {
        "healthy": {"bool": True},
        "model": {"string": name},
        "pciRoot": {"string": root.removeprefix("pci0000:")},
        "resource.kubernetes.io/pcieRoot": {"string": root},
        "serial": {"string": values(found[0], "serial")},
    }
    assert "capacity" not in found[0]
    assert len({values(device, "serial") for device in found}) == 8


# HAMi: https://github.com/Project-HAMi/k8s-dra-driver


@pytest.mark.parametrize(
    ("model", "product", "architecture", "compute_capability", "memory"),
    [
        # nvidia-smi: https://github.com/modal-labs/modal-client/pull/2797
        ("hami-a10", "NVIDIA A10", "Ampere", "8.6.0", "23028Mi"),
        ("hami-l40s", "NVIDIA L40S", "Ada Lovelace", "8.9.0", "46068Mi"),
        ("hami-a100-80gb", "NVIDIA A100-SXM4-80GB", "Ampere", "8.0.0", "80Gi"),
        ("hami-h100", "NVIDIA H100 80GB HBM3", "Hopper", "9.0.0", "81559Mi"),
    ],
)
def test_shared_nvidia_gpus(model: str, product: str, architecture: str, compute_capability: str, memory: str) -> None:
    device = devices("hami-core-gpu.project-hami.io", gpu=model, gpusPerNode=2)[1]
    place = {name: values(device, name) for name in ("pcieBusID", "resource.kubernetes.io/pcieRoot")}
    # cmd/hami-kubelet-plugin/hami_core.go, GetDevice; a device of a slice: Project-HAMi/HAMi-DRA, issue 11
    assert device == {
        "name": "hami-gpu-1",
        "attributes": typed(
            string={
                "type": "hami-gpu",
                "uuid": values(device, "uuid"),
                "brand": "Nvidia",
                "productName": product,
                "architecture": architecture,
                **place,
            },
            int={"minor": 1},
            version={
                "driverVersion": "580.126.9",
                "cudaDriverVersion": "13.0.0",
                "cudaComputeCapability": compute_capability,
            },
        ),
        "capacity": {"cores": shared("100", "100", "0", "1"), "memory": shared(memory, memory, "1Mi", "1Mi")},
        "allowMultipleAllocations": True,
    }
    assert re.fullmatch(f"GPU-{UUID}", values(device, "uuid"))
