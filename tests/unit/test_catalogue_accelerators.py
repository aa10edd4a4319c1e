"""What the drivers of accelerators other than GPUs publish: figures from their dumps and source, written out."""

import re

import pytest

from tests.unit.published import UUID, Manifest, capacity, devices, names, node, shared, typed, values

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


# AWS: https://github.com/aws-neuron/aws-neuron-sdk/blob/master/deploy/eks/dra.rst

# The addresses of the EFAs by chip.
# https://github.com/aws-neuron/connected-device-maps-over-efa-for-neuron/tree/main/lookup/neuron
TRN1 = ["10:1a.0", "a0:1a.0", "20:19.0", "90:19.0", "20:1a.0", "90:1a.0", "10:19.0", "a0:19.0"]
TRN2 = [
    *("c9:00.0", "b4:00.0", "b3:00.0", "ca:00.0", "6c:00.0", "57:00.0", "56:00.0", "6d:00.0"),
    *("98:00.0", "83:00.0", "82:00.0", "99:00.0", "f5:00.0", "e0:00.0", "df:00.0", "f6:00.0"),
]


def test_trainium1() -> None:
    found = devices("neuron.aws.com", gpu="trainium1", gpusPerNode=16)
    assert names(found) == [f"neuron-device-{index}" for index in range(16)]
    # The slice of a trn1.32xlarge, whose groups of connected devices are hashes:
    # https://github.com/anson627/dranet/blob/cce1d33cf754df3fa14b00dda4c21b57bbd01375/examples/eks-neuron-efa-dranet/resourceslice-neuron.yaml
    assert found[6]["attributes"] == typed(
        string={
            "instanceType": "trn1.32xlarge",
            "networkNodeLayer1": "nn-27951e8b5f0b6c4fe",
            "networkNodeLayer2": "nn-e4ed5f6d14a986202",
            "networkNodeLayer3": "nn-0f43aef49613f02d1",
            "neuronDriverVersion": "2.26.10.0",
            "resource.aws.com/devicegroup1_id": "0000:90:19.0",
            "resource.aws.com/devicegroup4_id": "group4-1",
            "resource.aws.com/devicegroup8_id": "group8-0",
            "resource.aws.com/devicegroup16_id": "group16-0",
            "resourceType": "neuron_device",
        },
        int={"deviceId": 6, "topology_x": 1, "topology_y": 2, "topology4_id": 1, "topology8_id": 0},
        version={"draDriverVersion": "1.0.0"},
    )
    nics = [values(device, "resource.aws.com/devicegroup1_id") for device in found]
    assert nics == [f"0000:{address}" for address in TRN1 for _ in range(2)]


def test_trainium2() -> None:
    found = devices("neuron.aws.com", gpu="trainium2", gpusPerNode=16)
    assert values(found[9], "instanceType") == "trn2.48xlarge"
    # https://chaosreload.github.io/aws-hands-on-lab/ai-ml/neuron-eks-dra-driver: rows of four that are connected
    grid = [(values(device, "topology_x"), values(device, "topology_y")) for device in found]
    assert grid == [(row, column) for row in range(4) for column in range(4)]
    for size in (4, 8, 16):
        groups = [values(device, f"resource.aws.com/devicegroup{size}_id") for device in found]
        assert [groups.index(group) for group in groups] == [index // size * size for index in range(16)]
    nics = [values(device, "resource.aws.com/devicegroup1_id") for device in found]
    assert nics == [f"0000:{address}" for address in TRN2]
    # That run, of March 2026, does not show topology4_id and topology8_id.
    older = devices("neuron.aws.com", gpu="trainium2@2026-03", gpusPerNode=16)
    assert set(found[0]["attributes"]) - set(older[0]["attributes"]) == {"topology4_id", "topology8_id"}


def test_inferentia2() -> None:
    found = devices("neuron.aws.com", gpu="inferentia2", gpusPerNode=12)
    assert (names(found)[11], values(found[11], "deviceId")) == ("neuron-device-11", 11)
    # The attributes of a grid and of EFA are those of Trainium alone.
    assert set(found[0]["attributes"]) == {
        *("deviceId", "resourceType", "instanceType", "neuronDriverVersion", "draDriverVersion"),
        *("networkNodeLayer1", "networkNodeLayer2", "networkNodeLayer3"),
    }
    node_ = node(gpu="inferentia2", gpusPerNode=12)
    # https://aws.amazon.com/ec2/instance-types/inf2/
    assert node_["metadata"]["labels"]["node.kubernetes.io/instance-type"] == "inf2.48xlarge"
    assert {name: node_["status"]["capacity"][name] for name in ("cpu", "memory")} == {"cpu": "192", "memory": "384Gi"}


# Rebellions: https://github.com/RBLN-SW/rbln-k8s-dra-driver


@pytest.mark.parametrize(
    ("model", "product", "device_id", "memory"),
    [
        # .../docs.rbln.ai/v0.12.0/software/system_management/management_tools/rbln_smi.html: 15.7GiB and 140GiB
        ("rbln-ca22", "RBLN-CA22", "1220", "16076Mi"),
        ("rbln-ca25", "RBLN-CA25", "1250", "16076Mi"),
        ("rbln-cr13", "RBLN-CR13", "1330", "140Gi"),
    ],
)
def test_rebellions(model: str, product: str, device_id: str, memory: str) -> None:
    found = devices("npu.rebellions.ai", gpu=model, gpusPerNode=4)
    assert names(found) == ["rbln0", "rbln1", "rbln2", "rbln3"]
    # cmd/npu-kubelet-plugin/state.go, enumerateNpuDevices; the addresses and the version are those of the page
    assert found[2]["attributes"] == typed(
        string={
            "type": "npu",
            "productName": product,
            "sid": values(found[2], "sid"),
            "uuid": values(found[2], "uuid"),
            "pciDeviceID": device_id,
            "pciLinkSpeed": "32.0 GT/s PCIe",
            "pciLinkWidth": "16",
            "firmwareVersion": "3.5.1",
            "driverVersion": "3.5.1",
            "resource.kubernetes.io/pciBusID": "0000:55:00.0",
            "resource.kubernetes.io/pcieRoot": "pci0000:50",
        },
        int={"resource.kubernetes.io/numaNode": 1},
    )
    assert capacity(found[2]) == {"memory": memory}
    # deployments/helm/k8s-dra-driver-npu/values.yaml, nodeSelector
    assert node(gpu=model)["metadata"]["labels"]["rebellions.ai/npu.present"] == "true"


# FuriosaAI: https://github.com/furiosa-ai/furiosa-dra-driver-guide


def test_rngd() -> None:
    found = devices("npu.furiosa.ai", gpu="rngd", gpusPerNode=8)
    # README.md: a claim with the device npu0; device.attributes["npu.furiosa.ai"].uuid
    assert names(found)[:2] == ["npu0", "npu1"]
    assert found[0].keys() == {"name", "attributes"}
    assert found[0]["attributes"].keys() == {"uuid"}
    assert re.fullmatch(UUID, values(found[0], "uuid"))
    # https://github.com/furiosa-ai/helm-charts/blob/main/charts/furiosa-dra-driver/values.yaml
    labels = node(gpu="rngd", gpusPerNode=8)["metadata"]["labels"]
    assert labels["feature.node.kubernetes.io/pci-1200_1ed2.present"] == "true"
    assert labels["furiosa.ai/npu.count"] == "8"


# Tenstorrent: https://github.com/tenstorrent/tt-dra-driver


@pytest.mark.parametrize(
    ("model", "board", "number", "architecture", "chips", "memory", "more"),
    [
        # docs/single-host.md; memory: https://docs.tenstorrent.com/aibs/
        ("tt-n150", "n150", 3, "wormhole", 1, "12Gi", {}),
        ("tt-n300", "n300", 4, "wormhole", 2, "24Gi", {"remoteChipIDs": "7"}),
        ("tt-p150", "p150", 6, "blackhole", 1, "32Gi", {}),
    ],
)
def test_tenstorrent_cards(
    model: str, board: str, number: int, architecture: str, chips: int, memory: str, more: Manifest
) -> None:
    device = devices("tenstorrent.com", gpu=model, gpusPerNode=4)[3]
    # internal/profiles/tenstorrent/tenstorrent.go, bundleToDevice
    assert device == {
        "name": "tt-3",
        "attributes": typed(
            string={
                "vendor": "tenstorrent",
                "boardName": board,
                "chipArch": architecture,
                "pciAddress": "0000:c1:00.0",
                "uniqueID": values(device, "uniqueID"),
                **more,
            },
            int={"chipID": 3, "trayID": 3, "asicLocation": 0, "boardType": number, "chipCount": chips},
        ),
        "capacity": {"memory": {"value": memory}},
    }


def test_galaxy() -> None:
    found = devices("tenstorrent.com", gpu="tt-galaxy-wormhole", gpusPerNode=32)
    # docs/single-host.md: 32 chips with PCIe in one tray
    assert [values(device, "asicLocation") for device in found] == list(range(32))
    assert {values(device, "trayID") for device in found} == {1}
    assert (values(found[0], "boardName"), values(found[0], "boardType")) == ("galaxy-wormhole", 9)


# Hygon: https://github.com/HYGON-AI/k8s-hcu-dra-driver


def test_hygon() -> None:
    found = devices("dra.hygon.com", gpu="hygon-k100-ai", gpusPerNode=8)
    # internal/driver/allocatable_device.go, GetDevice; internal/driver/const.go: four slices of a card
    assert found[7] == {
        "name": "hcu-0000-c6-00-0",
        "attributes": typed(
            string={
                "type": "hcu",
                "uuid": values(found[7], "uuid"),
                "productName": "K100_AI",
                "architecture": "",
                "brand": "",
            }
        ),
        "capacity": {
            "cores": shared("120", "120", "0", "1"),
            "memory": shared("64Gi", "64Gi", "0", "1Mi"),
            "slices": shared("4", "1", "1", "1"),
        },
        "allowMultipleAllocations": True,
    }
    # README.md
    assert node(gpu="hygon-k100-ai")["metadata"]["labels"]["hcu"] == "on"


# Huawei: https://github.com/Project-HAMi/ascend-dra-driver


@pytest.mark.parametrize(
    ("model", "product", "memory"),
    [("ascend-910b3", "Ascend910B3", "64Gi"), ("ascend-910b4", "Ascend910B4", "32Gi")],
)
def test_ascend(model: str, product: str, memory: str) -> None:
    device = devices("ascend.project-hami.io", gpu=model, gpusPerNode=8)[5]
    # cmd/ascend-dra-kubeletplugin/discovery.go, enumerateDevices, with the chart's gate HAMivNPUCore
    assert device == {
        "name": "npu-5-0",
        "attributes": typed(
            string={
                "uuid": "n-0-5",
                "brand": "Huawei",
                "type": "HAMivNPUCore",
                "model": product,
                "productName": product,
            },
            int={"index": 5, "physicalID": 5},
        ),
        "capacity": {"cores": shared("100", "100", "0", "1"), "memory": shared(memory, memory, "1Mi", "1Mi")},
        "allowMultipleAllocations": True,
    }


# IBM: https://github.com/ibm-aiu/dra-driver-spyre


def test_spyre() -> None:
    found = devices("spyre.ibm.com", gpu="spyre", gpusPerNode=8)
    # internal/discovery/discovery.go: addresses; demo/generated-resourceslices.yaml: NUMA nodes, and all but subClass
    assert [(values(device, "pciAddress"), values(device, "numaInfo")) for device in found] == [
        *(("0000:1a:00.0", "0"), ("0000:1c:00.0", "0"), ("0000:1d:00.0", "0"), ("0000:1e:00.0", "0")),
        *(("0000:3d:00.0", "1"), ("0000:3f:00.0", "1"), ("0000:40:00.0", "1"), ("0000:41:00.0", "1")),
    ]
    assert found[4] == {
        "name": "0000-3d-00-0",
        "attributes": typed(
            string={
                "driver": "vfio-pci",
                "driverVersion": "0.0.1",
                "vendor": "1014",
                "productId": "06a7",
                "subClass": "00",
                "pciAddress": "0000:3d:00.0",
                "pfPciAddress": "",
                "numaInfo": "1",
            },
            int={"index": 4, "vfId": -1},
            bool={"isPf": False},
        ),
    }
