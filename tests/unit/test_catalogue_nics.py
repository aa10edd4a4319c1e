"""What the drivers of NICs, CPUs and memory publish: figures from their dumps and source, written out."""

import re

import pytest

from tests.unit.published import Manifest, devices, names, shared, typed, values

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


@pytest.mark.parametrize(
    ("model", "host", "count", "subsystem", "published"),
    [
        # examples/aws_eks_examples/gpu-efa/resourceslice-dranet.yaml
        (
            "efa",
            "p4d.24xlarge",
            4,
            "efa0",
            [
                ("0000:10:1b.0", "rdmap16s27", 0),
                ("0000:20:1b.0", "rdmap32s27", 0),
                ("0000:90:1b.0", "rdmap144s27", 1),
                ("0000:a0:1b.0", "rdmap160s27", 1),
            ],
        ),
        # https://github.com/anson627/dranet/blob/cce1d33cf754df3fa14b00dda4c21b57bbd01375/examples/eks-neuron-efa-dranet/resourceslice-dranet.yaml
        (
            "efa@trn1",
            "trn1.32xlarge",
            8,
            "efa1",
            [
                ("0000:10:19.0", "rdmap16s25", 0),
                ("0000:10:1a.0", "rdmap16s26", 0),
                ("0000:20:19.0", "rdmap32s25", 0),
                ("0000:20:1a.0", "rdmap32s26", 0),
                ("0000:90:19.0", "rdmap144s25", 1),
                ("0000:90:1a.0", "rdmap144s26", 1),
                ("0000:a0:19.0", "rdmap160s25", 1),
                ("0000:a0:1a.0", "rdmap160s26", 1),
            ],
        ),
    ],
)
def test_efa(model: str, host: str, count: int, subsystem: str, published: list[tuple[str, str, int]]) -> None:
    found = devices("dra.net", host=host, devices=[{"model": model, "count": count}])
    plain = [
        {name: attribute for name, attribute in device["attributes"].items() if "devicegroup" not in name}
        for device in found
    ]
    assert plain == [
        typed(
            string={
                "dra.net/pciAddress": address,
                "dra.net/pciDevice": "Elastic Fabric Adapter (EFA)",
                "dra.net/pciSubsystem": subsystem,
                "dra.net/pciVendor": "Amazon.com, Inc.",
                "dra.net/rdmaDevice": rdma_device,
                "resource.kubernetes.io/pcieRoot": f"pci{address[:7]}",
            },
            int={"dra.net/numaNode": numa_node},
            bool={"dra.net/rdma": True},
        )
        for address, rdma_device, numa_node in published
    ]
    assert names(found)[0] == f"pci-{published[0][0].replace(':', '-').replace('.', '-')}"


@pytest.mark.parametrize(("machine", "host"), [("trn1", "trn1.32xlarge"), ("trn2", "trn2.48xlarge")])
def test_trainium_and_its_efa_have_the_same_groups(machine: str, host: str) -> None:
    chips = {"trn1": "trainium1", "trn2": "trainium2"}[machine]
    nics = {"trn1": 8, "trn2": 16}[machine]
    pool = {"host": host, "devices": [{"model": chips, "count": 16}, {"model": f"efa@{machine}", "count": nics}]}
    sizes = [f"resource.aws.com/devicegroup{size}_id" for size in (1, 4, 8, 16)]
    of_chips, of_nics = (
        {tuple(values(device, size) for size in sizes) for device in devices(driver, **pool)}
        for driver in ("neuron.aws.com", "dra.net")
    )
    # The first of the groups is the EFA, so no two EFAs have the same.
    assert len(of_nics) == nics
    assert of_chips == of_nics


def test_efa_beside_an_h100() -> None:
    found = devices("dra.net", host="p5.48xlarge", devices=[{"model": "efa@p5", "count": 32}])
    # https://huggingfacetb-smol-training-playbook.hf.space/#through-libfabric-efa: rdmap79s0 at 0000:4f:00.0, 1d0f:efa1
    names_ = ("dra.net/pciAddress", "dra.net/rdmaDevice", "dra.net/pciSubsystem")
    assert [values(found[0], name) for name in names_] == ["0000:4f:00.0", "rdmap79s0", "efa1"]
    assert len(found) == 32


# dra-driver-sriov: https://github.com/k8snetworkplumbingwg/dra-driver-sriov


def test_virtual_functions() -> None:
    driver = "sriovnetwork.k8snetworkplumbingwg.io"
    found = devices(driver, host="sriov-server", devices=[{"model": "connectx-6-dx-vf", "count": 8}])
    # demo/extended-resource/deviceclass.yaml: the addresses of the functions, the resources of the two ports
    assert [(device["name"], values(device, f"{driver}/vfID")) for device in found] == [
        *(("0000-08-00-2", 0), ("0000-08-00-3", 1), ("0000-08-00-4", 2), ("0000-08-00-5", 3)),
        *(("0000-08-02-2", 0), ("0000-08-02-3", 1), ("0000-08-02-4", 2), ("0000-08-02-5", 3)),
    ]
    # pkg/devicestate/discovery.go, DiscoverSriovDevices; pkg/consts/consts.go; https://pci-ids.ucw.cz/read/PC/15b3
    own = typed(
        string={
            "vendor": "15b3",
            "deviceID": "101e",
            "pfDeviceID": "101d",
            "pciAddress": "0000:08:02.3",
            "pfPciAddress": "0000:08:00.1",
            "PFName": "eth3",
            "EswitchMode": "legacy",
            "resourceName": "port2-vfs",
            "linkType": "ethernet",
        },
        int={"vfID": 1},
        bool={"rdmaCapable": True},
    )
    assert found[5]["attributes"] == {f"{driver}/{name}": attribute for name, attribute in own.items()} | typed(
        string={
            "k8s.cni.cncf.io/deviceID": "0000:08:02.3",
            "resource.kubernetes.io/pciBusID": "0000:08:02.3",
            "resource.kubernetes.io/pcieRoot": "pci0000:00",
        },
        int={"dra.net/numaNode": 0},
    )


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


def test_single_cpus() -> None:
    found = devices("dra.cpu", gpu="dra-cpu-individual", gpusPerNode=96)
    # docs/user/device-attributes.md has a dump of this mode; pkg/device/builder.go. Two sockets of 48 CPUs.
    assert names(found) == [f"cpudev{index:03}" for index in range(96)]
    assert found[50] == {
        "name": "cpudev050",
        "attributes": typed(
            string={"dra.cpu/coreType": "standard"},
            int={
                "dra.cpu/cpuID": 50,
                "dra.cpu/coreID": 2,
                "dra.cpu/cacheL3ID": 1,
                "dra.cpu/socketID": 1,
                "resource.kubernetes.io/numaNode": 1,
                "dra.cpu/numaNodeID": 1,
                "dra.net/numaNode": 1,
            },
            bool={"dra.cpu/smtEnabled": False},
        ),
    }


# dra-driver-memory: https://github.com/ffromani/dra-driver-memory


@pytest.mark.parametrize(
    ("model", "name", "page", "huge", "size"),
    [
        # pkg/types/types.go: claims get 1Mi of memory unless they say how much, and one huge page
        ("dra-memory", "memory-1", "4Ki", False, shared("128Gi", "1Mi", "4Ki", "4Ki")),
        ("dra-hugepages-2m", "hugepages-2mi-1", "2Mi", True, shared("16Gi", "2Mi", "2Mi", "2Mi")),
        ("dra-hugepages-1g", "hugepages-1gi-1", "1Gi", True, shared("32Gi", "1Gi", "1Gi", "1Gi")),
    ],
)
def test_memory(model: str, name: str, page: str, huge: bool, size: Manifest) -> None:
    # pkg/sysinfo/rslice.go and its test
    assert devices("dra.memory", gpu=model, gpusPerNode=2)[1] == {
        "name": name,
        "attributes": typed(
            string={"resource.kubernetes.io/pageSize": page},
            int={"resource.kubernetes.io/numaNode": 1, "dra.cpu/numaNodeID": 1, "dra.net/numaNode": 1},
            bool={"resource.kubernetes.io/hugeTLB": huge},
        ),
        "capacity": {"size": size},
        "allowMultipleAllocations": True,
    }
