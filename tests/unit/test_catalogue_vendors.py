"""The sources of all models, the DeviceClasses of their drivers, and the devices of Kubernetes' example driver."""

import re

import pytest

from tests.unit.published import UUID, Manifest, devices, names, pool_of, shared, slices, values
from topology.objects import claims
from topology.schema.catalogue import built_in

HAMI = "hami-core-gpu.project-hami.io"
SRIOV = "sriovnetwork.k8snetworkplumbingwg.io"
MEMORY = (
    'device.driver == "dra.memory" && device.attributes["resource.kubernetes.io"].pageSize == "{page}" && '
    'device.attributes["resource.kubernetes.io"].hugeTLB == {huge}'
)


def device_class(name: str, expression: str, **more: str) -> Manifest:
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "DeviceClass",
        "metadata": {"name": name},
        "spec": {"selectors": [{"cel": {"expression": expression}}], **more},
    }


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
                # https://docs.cloud.google.com/kubernetes-engine/docs/how-to/allocate-network-resources-dra
                device_class(
                    "mrdma.google.com", 'device.driver == "dra.net" && device.attributes["dra.net"].rdma == true'
                ),
                device_class(
                    "netdev.google.com", 'device.driver == "dra.net" && device.attributes["dra.net"].rdma == false'
                ),
            ],
        ),
        ("dra-cpu", [device_class("dra.cpu", 'device.driver == "dra.cpu"')]),
        (
            "dra-memory",
            [
                device_class(f"dra.{name}", MEMORY.format(page=page, huge=huge))
                for name, page, huge in (
                    ("memory", "4Ki", "false"),
                    ("hugepages-2m", "2Mi", "true"),
                    ("hugepages-1g", "1Gi", "true"),
                )
            ],
        ),
        ("trainium2", [device_class("neuron.aws.com", 'device.driver == "neuron.aws.com"')]),
        (
            "rbln-cr13",
            [
                device_class(
                    "npu.rebellions.ai",
                    'device.driver == "npu.rebellions.ai"',
                    extendedResourceName="rebellions.ai/npu",
                )
            ],
        ),
        ("rngd", [device_class("npu.furiosa.ai", "device.driver == 'npu.furiosa.ai'")]),
        (
            "tt-n150",
            [
                device_class(
                    "tenstorrent.com",
                    "device.driver == 'tenstorrent.com'",
                    extendedResourceName="tenstorrent.com/chip",
                )
            ],
        ),
        (
            "hygon-k100-ai",
            [
                device_class(
                    "dra.hygon.com",
                    'device.driver == "dra.hygon.com" && device.attributes["dra.hygon.com"].type == "hcu"',
                )
            ],
        ),
        ("spyre", [device_class("spyre.ibm.com", "device.driver == 'spyre.ibm.com'")]),
        (
            "hami-h100",
            [
                device_class(
                    HAMI,
                    f"device.driver == '{HAMI}' && device.attributes['{HAMI}'].type == 'hami-gpu'",
                    extendedResourceName="nvidia.com/gpu",
                )
            ],
        ),
        ("ascend-910b3", []),
        ("connectx-6-dx-vf", [device_class(SRIOV, f"device.driver == '{SRIOV}'")]),
    ],
)
def test_device_classes(model: str, expected: list[Manifest]) -> None:
    pool: Manifest = {"gpu": model}
    if model == "connectx-7":  # It has no host of its own.
        pool["host"] = "mi300x-bare-metal"
    assert [claims.device_class(entry) for entry in pool_of(**pool).device_classes] == expected


def test_every_model_says_where_its_figures_are_from() -> None:
    assert not [name for name, model in built_in().models.items() if not model.sources]
    sources = {source for model in built_in().models.values() for source in model.sources}
    assert not [source for source in sources if not source.startswith("https://")]


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


def shared_gpu(memory: str, compute: str) -> Manifest:
    # gpu.go, memoryCapacity and computeCapacity
    return {"memory": shared(memory, memory, "1Gi", "1Gi"), "compute": shared(compute, compute, "1", "1")}


def test_example_gpu_shared() -> None:
    (found,) = devices("gpu.example.com", gpu="example-gpu-shared")
    assert found["allowMultipleAllocations"] is True
    assert found["capacity"] == shared_gpu("80Gi", "100")
    assert without_uuid(found) == example_gpu_attributes(0)


def test_example_gpu_shared_and_partitionable() -> None:
    found = devices("gpu.example.com", gpu="example-gpu-shared-partitionable")
    assert [device["allowMultipleAllocations"] for device in found] == [True] * 5
    assert [device["capacity"] for device in found] == [shared_gpu("20Gi", "25")] * 4 + [shared_gpu("80Gi", "100")]


def test_example_net() -> None:
    found = devices("net.example.com", gpu="example-net", gpusPerNode=2)
    # internal/profiles/net/net.go
    assert names(found) == ["nic-0", "nic-1"]
    assert without_uuid(found[1]) == {
        "index": {"int": 1},
        "model": {"string": "LATEST-NET-MODEL"},
        "driverVersion": {"version": "1.0.0"},
    }
    bandwidth = shared("100G", "1G", "100M", "1M")
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
