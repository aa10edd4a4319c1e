"""Where the GPUs and NICs of NVIDIA's servers are on PCIe, compared with figures of public dumps and documents."""

import pytest

from tests.unit.nvidia_gpus import devices
from topology.schema.catalogue import built_in

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
# .../dranet/tree/main/examples/oci_oke_examples/BM.GPU.GB200-v3.4: the dump, and the README for NUMA nodes;
# the same addresses: .../azure_aks_examples/gb300/resourceslice-gpu.yaml
GRACE_TRAY = [
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
    "gb200": GRACE_TRAY,
    "gb300": GRACE_TRAY,
}
# ConnectX-7 by GPU, as ibp24s0 and so on: https://docs.nvidia.com/dgx/dgxh100-user-guide/introduction-to-dgxh100.html
DGX_XEON_NIC_BUSES = [24, 64, 79, 94, 154, 192, 206, 220]

# GPU, NICs and NUMA node of servers in clouds, by minor number.
CLOUDS: dict[str, list[tuple[str, list[str], int]]] = {
    # https://github.com/oracle-quickstart/oci-hpc/blob/master/samples/gpu/H100-topology.xml; the NICs:
    # https://github.com/kubernetes-sigs/dranet/tree/main/examples/oci_oke_examples/BM.GPU.H100.8
    "oci-bm-gpu-h100-8": [
        ("0000:0f:00.0", ["0000:0c:00.0", "0000:0c:00.1"], 0),
        ("0000:2d:00.0", ["0000:2a:00.0", "0000:2a:00.1"], 0),
        ("0000:44:00.0", ["0000:41:00.0", "0000:41:00.1"], 0),
        ("0000:5b:00.0", ["0000:58:00.0", "0000:58:00.1"], 0),
        ("0000:89:00.0", ["0000:86:00.0", "0000:86:00.1"], 1),
        ("0000:a8:00.0", ["0000:a5:00.0", "0000:a5:00.1"], 1),
        ("0000:c0:00.0", ["0000:bd:00.0", "0000:bd:00.1"], 1),
        ("0000:d8:00.0", ["0000:d5:00.0", "0000:d5:00.1"], 1),
    ],
    # https://github.com/Azure/azhpc-images/blob/master/topology/ndv5-topo.xml
    "azure-nd96isr-h100-v5": [
        ("0001:00:00.0", ["0101:00:00.0"], 0),
        ("0002:00:00.0", ["0102:00:00.0"], 0),
        ("0003:00:00.0", ["0103:00:00.0"], 0),
        ("0008:00:00.0", ["0104:00:00.0"], 0),
        ("0009:00:00.0", ["0105:00:00.0"], 1),
        ("000a:00:00.0", ["0106:00:00.0"], 1),
        ("000b:00:00.0", ["0107:00:00.0"], 1),
        ("000c:00:00.0", ["0108:00:00.0"], 1),
    ],
    # https://github.com/kubernetes-sigs/dranet/tree/main/examples/azure_aks_examples/gb300
    "azure-nd128isr-gb300-v6": [
        ("0008:06:00.0", ["0101:00:00.0"], 0),
        ("0009:06:00.0", ["0102:00:00.0"], 0),
        ("0018:06:00.0", ["0103:00:00.0"], 1),
        ("0019:06:00.0", ["0104:00:00.0"], 1),
    ],
}
# https://github.com/NVIDIA/aicr/blob/main/docs/conformance/cncf/evidence/accelerator-metrics.md
P5_GPU_BUSES = [0x53, 0x64, 0x75, 0x86, 0x97, 0xA8, 0xB9, 0xCA]
# enp6s0, enp12s0, enp134s0 and enp140s0: https://cloud.google.com/compute/docs/gpus/gpudirect
A3_HIGH_NIC_BUSES = [6, 12, 134, 140]

HOSTS = [
    "hgx-a100",
    "hgx-h100",
    "hgx-b200",
    "hgx-b300",
    "gb200-compute-tray",
    "pcie-server",
    "a3-highgpu-8g",
    "a3-ultragpu-8g",
    "p5.48xlarge",
    "azure-nd96isr-h100-v5",
    "azure-nd128isr-gb300-v6",
    "oci-bm-gpu-h100-8",
    "gh200-server",
    "dgx-1",
]
# Hyper-V and Grace CPUs give each device its own PCI domain, whose root complex is at bus 00.
OF_ONE_DOMAIN = [name for name in HOSTS if not name.startswith(("azure", "gb200", "gh200"))]


def bus(address: str) -> int:
    return int(address.split(":")[1], 16)


@pytest.mark.parametrize("model", PLACES)
def test_places_of_gpus(model: str) -> None:
    keys = [f"resource.kubernetes.io/{name}" for name in ("pciBusID", "pcieRoot", "numaNode")]
    values = [[next(iter(device["attributes"][key].values())) for key in keys] for device in devices(model)]
    assert [tuple(place) for place in values] == PLACES[model]


def test_nics_of_a_dgx_are_beside_its_gpus() -> None:
    slots = built_in().hosts["hgx-h100"].slots
    assert [bus(nic) for slot in slots for nic in slot.nic] == DGX_XEON_NIC_BUSES
    assert len({slot.pcie_root for slot in slots}) == 8


@pytest.mark.parametrize("host", CLOUDS)
def test_servers_of_clouds(host: str) -> None:
    assert [(slot.gpu, slot.nic, slot.numa_node) for slot in built_in().hosts[host].slots] == CLOUDS[host]


def test_a_p5_48xlarge_has_four_adapters_beside_each_gpu() -> None:
    slots = built_in().hosts["p5.48xlarge"].slots
    assert [bus(slot.gpu) for slot in slots if slot.gpu] == P5_GPU_BUSES
    assert [[bus(nic) for nic in slot.nic] for slot in slots] == [
        [gpu - 4, gpu - 3, gpu - 2, gpu - 1] for gpu in P5_GPU_BUSES
    ]


def test_an_a3_highgpu_8g_has_a_nic_for_two_gpus() -> None:
    slots = built_in().hosts["a3-highgpu-8g"].slots
    assert [bus(nic) for slot in slots for nic in slot.nic] == A3_HIGH_NIC_BUSES
    assert [len(slot.nic) for slot in slots] == [1, 0, 1, 0, 1, 0, 1, 0]


def test_an_a3_ultragpu_8g_has_the_addresses_of_its_slices() -> None:
    # https://docs.cloud.google.com/kubernetes-engine/docs/how-to/allocate-network-resources-dra; GPUs at c4 and cc:
    # https://github.com/kubernetes-sigs/dranet/tree/main/examples/demo_gke_rdma
    slots = built_in().hosts["a3-ultragpu-8g"].slots
    assert (slots[0].gpu, slots[0].nic, slots[0].pcie_root) == ("0000:8f:00.0", ["0000:91:00.0"], "pci0000:8c")
    assert (slots[6].nic, slots[6].pcie_root) == (["0000:cd:00.0"], "pci0000:c8")
    assert (slots[7].gpu, slots[7].pcie_root) == ("0000:cc:00.0", "pci0000:c8")
    assert slots[4].gpu == "0000:c4:00.0"


def test_every_host_is_here() -> None:
    gpus = [model for model in built_in().models.values() if model.driver == "gpu.nvidia.com"]
    named = {name for name, host in built_in().hosts.items() if any(model.host is host for model in gpus)}
    assert named <= set(HOSTS)


@pytest.mark.parametrize("host", HOSTS)
def test_addresses_of_a_host_are_unique_and_a_root_complex_has_one_numa_node(host: str) -> None:
    slots = built_in().hosts[host].slots
    addresses = [address for slot in slots for address in (slot.gpu, *slot.nic)]
    assert len(set(addresses)) == len(addresses)
    assert len({(slot.pcie_root, slot.numa_node) for slot in slots}) == len({slot.pcie_root for slot in slots})


@pytest.mark.parametrize("host", OF_ONE_DOMAIN)
def test_buses_lie_in_their_root_complex(host: str) -> None:
    slots = built_in().hosts[host].slots
    roots = sorted({bus(f"{slot.pcie_root}:0") for slot in slots})
    for slot in slots:
        for address in (slot.gpu, *slot.nic):
            assert address
            assert max(root for root in roots if root <= bus(address)) == bus(f"{slot.pcie_root}:0")


@pytest.mark.parametrize("host", [name for name in HOSTS if name not in OF_ONE_DOMAIN])
def test_devices_lie_in_the_domain_of_their_root_complex(host: str) -> None:
    for slot in built_in().hosts[host].slots:
        for address, root in [(slot.gpu, slot.pcie_root), *((nic, slot.nic_pcie_root) for nic in slot.nic)]:
            assert address and root == f"pci{address[:4]}:00"


@pytest.mark.parametrize("host", HOSTS)
def test_hosts_have_sources(host: str) -> None:
    assert built_in().hosts[host].sources
