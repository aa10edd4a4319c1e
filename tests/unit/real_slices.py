"""Dumps of real clusters: written by hand, with values that somebody has published, and the address of each.

Node names, UUIDs, MAC addresses and serial numbers are made up, except where a test is about them.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twin.dump import Dump, read

Object = dict[str, Any]


def dump(folder: Path, *objects: Object) -> Dump:
    """Write the objects as kubectl prints them, and read that."""
    file = folder / "dump.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))
    return read([file])


def node(name: str, labels: Mapping[str, str] | None = None, taints: Sequence[Object] = (), **spec: Any) -> Object:
    """Return a Node as a kubelet registers it: with much that no twin is made of."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "uid": uuid(name),
            "annotations": {"csi.volume.kubernetes.io/nodeid": '{"x":"y"}'},
            "labels": {"kubernetes.io/hostname": name, "kubernetes.io/arch": "amd64", **(labels or {})},
        },
        "spec": {"providerID": f"cloud:///{name}", "taints": list(taints), **spec},
        "status": {
            "addresses": [{"type": "InternalIP", "address": "10.1.2.3"}],
            "capacity": {"cpu": "192", "memory": "2113407796Ki", "pods": "110", "ephemeral-storage": "1888Gi"},
            "allocatable": {"cpu": "191450m", "memory": f"{2097152100 + len(name)}Ki", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}],
            "images": [{"names": ["registry.example.com/secret-project:1"], "sizeBytes": 1}],
            "nodeInfo": {"kubeletVersion": "v1.34.2"},
        },
    }


def resource_slice(node_name: str, driver: str, devices: list[Object], version: str = "v1", **spec: Any) -> Object:
    """Return a ResourceSlice of a driver on a node."""
    return {
        "apiVersion": f"resource.k8s.io/{version}",
        "kind": "ResourceSlice",
        "metadata": {
            "name": f"{node_name}-{driver}-x7k2p",
            "generateName": f"{node_name}-{driver}-",
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": node_name, "uid": uuid(node_name)}],
        },
        "spec": {
            "driver": driver,
            "nodeName": node_name,
            "pool": {"name": node_name, "generation": 37, "resourceSliceCount": 1},
            "devices": devices,
            **spec,
        },
    }


def uuid(*names: object) -> str:
    """Return a made-up UUID."""
    digits = hashlib.sha256(repr(names).encode()).hexdigest()[:12]
    return f"{digits[:8]}-1111-2222-3333-{digits}"


def texts(**values: str) -> Object:
    """Return attributes that are texts."""
    return {name: {"string": value} for name, value in values.items()}


def versions(**values: str) -> Object:
    """Return attributes that are versions."""
    return {name: {"version": value} for name, value in values.items()}


def amounts(**values: str) -> Object:
    """Return capacities."""
    return {name: {"value": value} for name, value in values.items()}


# NVIDIA's driver on Amazon's p4d.24xlarge: whole GPUs, from before it told NUMA nodes.
# https://github.com/kubernetes-sigs/dranet/blob/main/examples/aws_eks_examples/gpu-efa/resourceslice-gpu.yaml


def aws_a100(name: str) -> list[Object]:
    """Return a node with its eight A100."""
    addresses = [f"0000:{bus}:{device}.0" for bus in ("10", "20", "90", "a0") for device in ("1c", "1d")]
    devices = [
        {
            "name": f"gpu-{index}",
            "attributes": texts(
                addressingMode="HMM",
                architecture="Ampere",
                brand="Nvidia",
                productName="NVIDIA A100-SXM4-40GB",
                type="gpu",
                uuid=f"GPU-{uuid(name, index)}",
            )
            | versions(cudaComputeCapability="8.0.0", cudaDriverVersion="13.0.0", driverVersion="580.126.9")
            | {
                "resource.kubernetes.io/pciBusID": {"string": address},
                "resource.kubernetes.io/pcieRoot": {"string": f"pci{address[:7]}"},
            },
            "capacity": amounts(memory="40Gi"),
        }
        for index, address in enumerate(addresses)
    ]
    labels = {"node.kubernetes.io/instance-type": "p4d.24xlarge", "eks.amazonaws.com/nodegroup": "secret-team"}
    return [node(name, labels), resource_slice(name, "gpu.nvidia.com", devices)]


# NVIDIA's driver 25.8 on Azure, a GPU in MIG mode that is published whole beside its parts, named by profile and place.
# https://github.com/kubernetes-sigs/dra-driver-nvidia-gpu/issues/719


def azure_mig(name: str) -> list[Object]:
    """Return a node with an A100 in MIG mode."""
    parent = f"GPU-{uuid(name)}"
    common = texts(architecture="Ampere", brand="Nvidia", productName="NVIDIA A100 80GB PCIe", pcieBusID="0001:00:00.0")
    common |= versions(cudaComputeCapability="8.0.0", cudaDriverVersion="13.0.0", driverVersion="580.95.5")
    whole = {
        "name": "gpu-0",
        "attributes": common | texts(type="gpu", uuid=parent),
        "capacity": amounts(memory="80Gi"),
    }
    engines = {"copyEngines": "1", "decoders": "0", "encoders": "0", "jpegEngines": "0", "ofaEngines": "0"}
    parts = [
        {
            "name": f"gpu-0-mig-19-{place}-1",
            "attributes": common
            | texts(type="mig", profile="1g.10gb", parentUUID=parent, uuid=f"MIG-{uuid(name, place)}"),
            "capacity": amounts(**engines, memory="9728Mi", multiprocessors="14", **{f"memorySlice{place}": "1"}),
        }
        for place in range(7)
    ]
    return [node(name), resource_slice(name, "gpu.nvidia.com", [whole, *parts])]


# AMD's driver of early 2026, with MI300X cut in two (DPX), as v1beta1 has it.
# https://github.com/ROCm/k8s-gpu-dra-driver/pull/21; four GPUs of one root complex, of which the dump shows two.


def amd_dpx(name: str) -> list[Object]:
    """Return a node with four MI300X in halves."""
    devices = [
        {
            "name": f"gpu-{card}-{card + 128}",
            "basic": {
                "attributes": texts(
                    driverSrcVersion="A27BF33B4586326D747C9FB",
                    family="AI",
                    parentDeviceID=str(7066866330502360227 + 1000 * gpu),
                    parentPciAddr=f"0003:00:0{gpu + 1}.0",
                    partitionProfile="dpx_nps1",
                    productName="AMD_Instinct_MI300X_OAM",
                    type="amdgpu-partition",
                )
                | versions(driverVersion="6.16.6")
                | {"cardIndex": {"int": card}, "renderIndex": {"int": card + 128}}
                | {"resource.kubernetes.io/pcieRoot": {"string": "pci0003:00"}},
                "capacity": amounts(computeUnits="152", memory="98296Mi", simdUnits="608"),
            },
        }
        for gpu in range(4)
        for card in (32 + 8 * gpu, 33 + 8 * gpu)
    ]
    devices.sort(key=lambda device: str(device["name"]))
    return [node(name), resource_slice(name, "gpu.amd.com", devices, "v1beta1")]


# Intel's driver on a workstation, with two GPUs of different kinds, in the order of a Go map.
# https://github.com/intel/intel-resource-drivers-for-kubernetes/blob/main/doc/gpu/USAGE.md


def intel(name: str, *, turned: bool = False) -> list[Object]:
    """Return a node with an integrated GPU and a card."""
    devices = [
        {
            "name": f"{address.replace(':', '-').replace('.', '-')}-{pci_id}",
            "attributes": texts(
                driver=driver,
                family="Unknown",
                health="Healthy",
                model="Unknown",
                pciAddress=address,
                pciId=pci_id,
                pciRoot="00",
            )
            | {
                "resource.kubernetes.io/pciBusID": {"string": address},
                "resource.kubernetes.io/pcieRoot": {"string": "pci0000:00"},
                "sriov": {"bool": True},
            },
            "capacity": amounts(memory="0", millicores="1k"),
        }
        for driver, address, pci_id in (("i915", "0000:00:02.0", "0x7d67"), ("xe", "0000:04:00.0", "0xe211"))
    ]
    return [node(name), resource_slice(name, "gpu.intel.com", devices[::-1] if turned else devices)]


# DRANET on Oracle's GB200: four ConnectX-8 with two ports each.
# https://github.com/kubernetes-sigs/dranet/blob/main/examples/oci_oke_examples/BM.GPU.GB200-v3.4/resourceslice-dranet.yaml


def oci_nics(name: str) -> list[Object]:
    """Return a node with its RDMA ports."""
    ports = [(domain, port) for domain in ("0000", "0002", "0010", "0012") for port in (0, 1)]
    devices = [
        {
            "name": f"pci-{domain}-03-00-{port}",
            "attributes": {
                **{f"dra.net/{key}": value for key, value in texts(
                    ifName=f"rdma{index}",
                    mac=f"60:5e:65:00:{len(name):02x}:{index:02x}",
                    pciAddress=f"{domain}:03:00.{port}",
                    pciDevice="CX8 Family [ConnectX-8]",
                    pciVendor="Mellanox Technologies",
                    state="up",
                    type="device",
                ).items()},
                "dra.net/mtu": {"int": 9000},
                "dra.net/numaNode": {"int": index // 4},
                "dra.net/rdma": {"bool": True},
                "dra.net/sriov": {"bool": True},
                "dra.net/sriovVfs": {"int": 0},
                "dra.net/virtual": {"bool": False},
                "oke.dra.net/rackId": {"string": "redacted"},
                "resource.kubernetes.io/pcieRoot": {"string": f"pci{domain}:00"},
            },
        }
        for index, (domain, port) in enumerate(ports)
    ]  # fmt: skip
    return [node(name, {"kubernetes.io/arch": "arm64"}), resource_slice(name, "dra.net", devices)]


# DRANET on Azure's ND96isr_MI300X_v5: virtual functions of ConnectX-7.
# https://github.com/kubernetes-sigs/dranet/blob/main/examples/azure_aks_examples/mi300x/resourceslice-dranet.yaml


def azure_nics(name: str) -> list[Object]:
    """Return a node with its eight NICs."""
    own = {
        "pciDevice": "ConnectX Family mlx5Gen Virtual Function",
        "pciSubsystem": "0101",
        "pciVendor": "Mellanox Technologies",
    }
    devices = [
        {
            "name": f"pci-010{index + 1}-00-00-0",
            "attributes": {
                "azure.dra.net/placementGroupId": {"string": "c0104dd3-6665-45bf-afde-b2f35e590b93"},
                "azure.dra.net/vmSize": {"string": "Standard_ND96isr_MI300X_v5"},
                "dra.net/numaNode": {"int": index // 4},
                "dra.net/pciAddress": {"string": f"010{index + 1}:00:00.0"},
                **{f"dra.net/{key}": {"string": value} for key, value in own.items()},
                "dra.net/rdma": {"bool": True},
                "dra.net/rdmaDevice": {"string": f"mlx5_{index}"},
            },
        }
        for index in range(8)
    ]
    labels = {"node.kubernetes.io/instance-type": "Standard_ND96isr_MI300X_v5"}
    return [node(name, labels), resource_slice(name, "dra.net", devices)]
