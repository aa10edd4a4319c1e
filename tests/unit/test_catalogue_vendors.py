"""What drivers other than NVIDIA's publish: figures from their dumps and source, compared with what is rendered."""

import re
from typing import Any

import pytest

from topology.checks.validation import load
from topology.objects import claims, nodes
from topology.objects.slices import resource_slices
from topology.schema.catalogue import built_in

Manifest = dict[str, Any]

UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def pool_of(**pool: Any) -> Any:
    return load({"cluster": {"name": "c"}, "nodePools": [{"name": "n", "nodes": 1, **pool}]})


def slices(**pool: Any) -> list[Manifest]:
    return resource_slices(pool_of(**pool).node_pools[0], "n-0")


def devices(driver: str, **pool: Any) -> list[Manifest]:
    found = [entry for entry in slices(**pool) if entry["spec"]["driver"] == driver]
    return [device for entry in found for device in entry["spec"].get("devices", [])]


def names(found: list[Manifest]) -> list[str]:
    return [device["name"] for device in found]


def values(device: Manifest, attribute: str) -> Any:
    ((_, value),) = device["attributes"][attribute].items()
    return value


def capacity(device: Manifest) -> Manifest:
    return {name: entry["value"] for name, entry in device["capacity"].items()}


def node(**pool: Any) -> Manifest:
    return nodes.node(pool_of(**pool).node_pools[0], "n-0")


def device_class(name: str, expression: str, **more: str) -> Manifest:
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "DeviceClass",
        "metadata": {"name": name},
        "spec": {"selectors": [{"cel": {"expression": expression}}], **more},
    }


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


# Google: https://github.com/kubernetes-sigs/dra-driver-google-tpu


def test_tpu_v6e() -> None:
    found = devices("tpu.google.com", gpu="tpu-v6e", gpusPerNode=8)
    # https://github.com/ray-project/ray/pull/65105: /dev/vfio/0 and so on
    assert names(found) == ["0", "1", "2", "3", "4", "5", "6", "7"]
    # cmd/tpu-dra-kubeletplugin/manager.go, GetDevice; util.go, AcceleratorGen and singleHostTopology
    assert found[5] == {
        "name": "5",
        "attributes": {
            "index": {"int": 5},
            "uuid": found[0]["attributes"]["uuid"],  # generateUUIDs: the seed is the node's name
            "tpuGen": {"string": "v6e"},
            "brand": {"string": "Google"},
            "accelerator": {"string": "tpu-v6e-slice"},
            "chipCount": {"int": 8},
            "topology": {"string": "2x4"},
        },
    }
    assert re.fullmatch(f"tpu-{UUID}", values(found[0], "uuid"))


@pytest.mark.parametrize(
    ("model", "count", "first", "generation", "accelerator", "topology"),
    [
        # tests/e2e.bats: accel0 to accel3, v4, tpu-v4-podslice
        ("tpu-v4", 4, "accel0", "v4", "tpu-v4-podslice", "2x2x1"),
        ("tpu-v5e", 8, "0", "v5litepod", "tpu-v5-lite-podslice", "2x4"),
        ("tpu-v5p", 4, "0", "v5p", "tpu-v5p-slice", "2x2x1"),
    ],
)
def test_other_tpus(model: str, count: int, first: str, generation: str, accelerator: str, topology: str) -> None:
    found = devices("tpu.google.com", gpu=model, gpusPerNode=count)
    assert names(found)[0] == first
    assert {name: values(found[0], name) for name in ("tpuGen", "accelerator", "topology", "chipCount")} == {
        "tpuGen": generation,
        "accelerator": accelerator,
        "topology": topology,
        "chipCount": count,
    }
    # https://cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus
    labels = node(gpu=model, gpusPerNode=count)["metadata"]["labels"]
    assert labels["cloud.google.com/gke-tpu-accelerator"] == accelerator
    assert labels["cloud.google.com/gke-tpu-topology"] == topology
    assert labels["cloud.google.com/gke-accelerator-count"] == str(count)


def test_tpu_nodes_are_tainted() -> None:
    # https://cloud.google.com/kubernetes-engine/docs/how-to/tpus
    taint = {"key": "google.com/tpu", "value": "present", "effect": "NoSchedule"}
    assert node(gpu="tpu-v5e", gpusPerNode=8)["spec"]["taints"] == [taint]


# Kubernetes' example driver: https://github.com/kubernetes-sigs/dra-example-driver


def example_gpu_attributes(index: int, **more: Manifest) -> Manifest:
    return {
        "index": {"int": index},
        "model": {"string": "LATEST-GPU-MODEL"},
        "driverVersion": {"version": "1.0.0"},
        **more,
    }


def without_uuid(device: Manifest) -> Manifest:
    assert re.fullmatch(f"(gpu|net)-{UUID}", values(device, "uuid"))
    return {name: value for name, value in device["attributes"].items() if name != "uuid"}


def test_example_gpu() -> None:
    found = devices("gpu.example.com", gpu="example-gpu", gpusPerNode=8)
    # internal/profiles/gpu/gpu.go
    assert names(found) == [f"gpu-{index}" for index in range(8)]
    assert without_uuid(found[7]) == example_gpu_attributes(7)
    assert found[7]["capacity"] == {"memory": {"value": "80Gi"}, "compute": {"value": "100"}}
    assert found[7].keys() == {"name", "attributes", "capacity"}


def test_example_gpu_attached() -> None:
    (found,) = devices("gpu.example.com", gpu="example-gpu-attached")
    # demo/examples/binding-conditions/README.md
    assert found["bindingConditions"] == ["BindingConditions"]
    assert found["bindingFailureConditions"] == ["BindingFailureConditions"]
    assert without_uuid(found) == example_gpu_attributes(0)
    assert found["capacity"] == {"memory": {"value": "80Gi"}, "compute": {"value": "100"}}
    assert found.keys() == {"name", "attributes", "capacity", "bindingConditions", "bindingFailureConditions"}


def test_example_gpu_partitionable() -> None:
    counters, published = slices(gpu="example-gpu-partitionable", gpusPerNode=2)
    whole = {"memory": {"value": "80Gi"}, "compute": {"value": "100"}}
    quarter = {"memory": {"value": "20Gi"}, "compute": {"value": "25"}}
    assert counters["spec"]["sharedCounters"] == [
        {"name": "gpu-0-counters", "counters": whole},
        {"name": "gpu-1-counters", "counters": whole},
    ]
    found = published["spec"]["devices"]
    assert names(found) == [
        *("gpu-0-partition-0", "gpu-0-partition-1", "gpu-0-partition-2", "gpu-0-partition-3", "gpu-0-full"),
        *("gpu-1-partition-0", "gpu-1-partition-1", "gpu-1-partition-2", "gpu-1-partition-3", "gpu-1-full"),
    ]
    part, full = found[7], found[9]
    assert without_uuid(part) == example_gpu_attributes(1, partition={"int": 2}, partitionable={"bool": True})
    assert part["capacity"] == quarter
    assert part["consumesCounters"] == [{"counterSet": "gpu-1-counters", "counters": quarter}]
    assert without_uuid(full) == example_gpu_attributes(1, partitionable={"bool": True}, full={"bool": True})
    assert full["capacity"] == whole
    assert full["consumesCounters"] == [{"counterSet": "gpu-1-counters", "counters": whole}]
    # The partitions of a GPU have its UUID.
    assert len({values(device, "uuid") for device in found[5:]}) == 1


def shared(memory: str, compute: str) -> Manifest:
    # gpu.go, memoryCapacity and computeCapacity
    return {
        "memory": {
            "value": memory,
            "requestPolicy": {"default": memory, "validRange": {"min": "1Gi", "max": memory, "step": "1Gi"}},
        },
        "compute": {
            "value": compute,
            "requestPolicy": {"default": compute, "validRange": {"min": "1", "max": compute, "step": "1"}},
        },
    }


def test_example_gpu_shared() -> None:
    (found,) = devices("gpu.example.com", gpu="example-gpu-shared")
    assert found["allowMultipleAllocations"] is True
    assert found["capacity"] == shared("80Gi", "100")
    assert without_uuid(found) == example_gpu_attributes(0)


def test_example_gpu_shared_and_partitionable() -> None:
    found = devices("gpu.example.com", gpu="example-gpu-shared-partitionable")
    assert [device["allowMultipleAllocations"] for device in found] == [True] * 5
    assert [device["capacity"] for device in found] == [shared("20Gi", "25")] * 4 + [shared("80Gi", "100")]


def test_example_net() -> None:
    found = devices("net.example.com", gpu="example-net", gpusPerNode=2)
    # internal/profiles/net/net.go
    assert names(found) == ["nic-0", "nic-1"]
    assert without_uuid(found[1]) == {
        "index": {"int": 1},
        "model": {"string": "LATEST-NET-MODEL"},
        "driverVersion": {"version": "1.0.0"},
    }
    bandwidth = {
        "value": "100G",
        "requestPolicy": {"default": "1G", "validRange": {"min": "100M", "max": "100G", "step": "1M"}},
    }
    assert found[1]["capacity"] == {
        "vfs": {"value": "100", "requestPolicy": {"default": "1", "validValues": ["1"]}},
        "ingressBandwidth": bandwidth,
        "egressBandwidth": bandwidth,
    }
    assert found[1]["allowMultipleAllocations"] is True


def test_example_cpu() -> None:
    # internal/profiles/cpu/cpu.go, with the chart's values
    assert devices("cpu.example.com", gpu="example-cpu", gpusPerNode=8)[3] == {
        "name": "numa-3",
        "attributes": {"numaNodeID": {"int": 3}},
        "capacity": {"cpu.example.com/cpu": {"value": "4"}},
        "allowMultipleAllocations": True,
    }


# DRANET: https://github.com/kubernetes-sigs/dranet


def test_azure_nics() -> None:
    nics = [{"model": "connectx-7-vf-azure", "count": 8}]
    found = devices("dra.net", gpu="mi300x", gpusPerNode=8, devices=nics)
    # examples/azure_aks_examples/mi300x/resourceslice-dranet.yaml is the ResourceSlice of such a node.
    assert found == [
        {
            "name": f"pci-010{index + 1}-00-00-0",
            "attributes": {
                "azure.dra.net/placementGroupId": {"string": "c0104dd3-6665-45bf-afde-b2f35e590b93"},
                "azure.dra.net/vmSize": {"string": "Standard_ND96isr_MI300X_v5"},
                "dra.net/numaNode": {"int": index // 4},
                "dra.net/pciAddress": {"string": f"010{index + 1}:00:00.0"},
                "dra.net/pciDevice": {"string": "ConnectX Family mlx5Gen Virtual Function"},
                "dra.net/pciSubsystem": {"string": "0101"},
                "dra.net/pciVendor": {"string": "Mellanox Technologies"},
                "dra.net/rdma": {"bool": True},
                "dra.net/rdmaDevice": {"string": f"mlx5_{index}"},
            },
        }
        for index in range(8)
    ]


@pytest.mark.parametrize(
    ("model", "product"),
    [("connectx-7", "MT2910 Family [ConnectX-7]"), ("connectx-8", "CX8 Family [ConnectX-8]")],
)
def test_nics_beside_gpus(model: str, product: str) -> None:
    pool = {"gpu": "mi300x", "gpusPerNode": 8, "host": "mi300x-bare-metal", "devices": [{"model": model, "count": 8}]}
    found = devices("dra.net", **pool)
    mac = values(found[7], "dra.net/mac")
    # examples/oci_oke_examples/BM.GPU.GB200-v3.4/resourceslice-dranet.yaml; pkg/inventory/db.go
    assert found[7] == {
        "name": "pci-0000-da-00-0",
        "attributes": {
            "dra.net/ifName": {"string": "rdma7"},
            "dra.net/mac": {"string": mac},
            "dra.net/mtu": {"int": 9000},
            "dra.net/encapsulation": {"string": "ether"},
            "dra.net/alias": {"string": ""},
            "dra.net/ebpf": {"bool": False},
            "dra.net/numaNode": {"int": 1},
            "dra.net/pciAddress": {"string": "0000:da:00.0"},
            "dra.net/pciDevice": {"string": product},
            "dra.net/pciVendor": {"string": "Mellanox Technologies"},
            "dra.net/rdma": {"bool": True},
            "dra.net/rdmaDevice": {"string": "mlx5_7"},
            "dra.net/sriov": {"bool": True},
            "dra.net/sriovVfs": {"int": 0},
            "dra.net/state": {"string": "up"},
            "dra.net/type": {"string": "device"},
            "dra.net/virtual": {"bool": False},
            "resource.kubernetes.io/pcieRoot": {"string": "pci0000:d7"},
            "resource.kubernetes.io/numaNode": {"int": 1},
        },
    }
    assert re.fullmatch("[0-9a-f]{2}(:[0-9a-f]{2}){5}", mac)
    assert len({values(device, "dra.net/mac") for device in found}) == 8
    # Each GPU has its NIC at the same PCIe root: examples/demo_nvidia_dranet/resourceclaims.yaml matches on that.
    root = "resource.kubernetes.io/pcieRoot"
    gpus = devices("gpu.amd.com", **pool)
    assert sorted(values(gpu, root) for gpu in gpus) == sorted(values(nic, root) for nic in found)


# dra-driver-cpu: https://github.com/kubernetes-sigs/dra-driver-cpu


@pytest.mark.parametrize(("model", "cpus"), [("dra-cpu", 48), ("dra-cpu-112", 112)])
def test_dra_cpu(model: str, cpus: int) -> None:
    found = devices("dra.cpu", gpu=model, gpusPerNode=2)
    # docs/user/device-attributes.md has a dump; pkg/device/builder.go
    assert found == [
        {
            "name": f"cpudevnuma00{numa}",
            "attributes": {
                "dra.cpu/smtEnabled": {"bool": True},
                "dra.cpu/numCPUs": {"int": cpus},
                "resource.kubernetes.io/numaNode": {"int": numa},
                "dra.cpu/socketID": {"int": numa},
                "dra.net/numaNode": {"int": numa},
                "dra.cpu/numaNodeID": {"int": numa},
            },
            "capacity": {"dra.cpu/cpu": {"value": str(cpus)}},
            "allowMultipleAllocations": True,
        }
        for numa in (0, 1)
    ]


# All models.


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        # Each is from the vendor's chart or manifests, whose addresses are in the catalogue.
        (
            "mi300x",
            [device_class("gpu.amd.com", "device.driver == 'gpu.amd.com'", extendedResourceName="amd.com/gpu")],
        ),
        (
            "max-1550",
            [
                device_class("gpu.intel.com", 'device.driver == "gpu.intel.com"'),
                device_class("gpu-vfio.intel.com", 'device.driver == "gpu.intel.com"'),
            ],
        ),
        ("gaudi3", [device_class("gaudi.intel.com", 'device.driver == "gaudi.intel.com"')]),
        ("tpu-v6e", [device_class("tpu.google.com", 'device.driver == "tpu.google.com"')]),
        ("example-gpu", [device_class("gpu.example.com", "device.driver == 'gpu.example.com'")]),
        ("example-net", [device_class("net.example.com", "device.driver == 'net.example.com'")]),
        ("example-cpu", [device_class("cpu.example.com", "device.driver == 'cpu.example.com'")]),
        (
            "connectx-7",
            [
                device_class("dra.net", 'device.driver == "dra.net"'),
                device_class("dranet.net", 'device.driver == "dra.net"'),
            ],
        ),
        ("dra-cpu", [device_class("dra.cpu", 'device.driver == "dra.cpu"')]),
    ],
)
def test_device_classes(model: str, expected: list[Manifest]) -> None:
    pool: Manifest = {"gpu": model}
    if model == "connectx-7":
        pool["host"] = "mi300x-bare-metal"
    assert [claims.device_class(entry) for entry in pool_of(**pool).device_classes] == expected


@pytest.mark.parametrize("name", sorted(built_in().models))
def test_every_model_says_where_its_figures_are_from(name: str) -> None:
    model = built_in().models[name]
    assert model.sources
    assert all(source.startswith("https://") for source in model.sources)
