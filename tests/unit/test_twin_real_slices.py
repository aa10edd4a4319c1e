"""Twins of devices that real drivers publish."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit import real_slices
from tests.unit.real_slices import dump
from twin.stack import Stack, stack
from twin.writing import write


def twin(folder: Path, *objects: dict[str, Any], **options: Any) -> Stack:
    """Return the twin, after checking that its files are valid."""
    found = stack(dump(folder, *objects), **options)
    write(found, "real", folder, options.get("keep_names", False))
    return found


def test_whole_gpus_of_nvidia(tmp_path: Path) -> None:
    found = twin(tmp_path, *real_slices.aws_a100("ip-1.ec2.internal"), *real_slices.aws_a100("ip-22.ec2.internal"))
    (pool,) = found.configuration["nodePools"]
    assert found.notes == []
    assert pool["nodes"] == 2
    assert (pool["gpu"], pool["gpusPerNode"], pool["host"]) == ("a100-40gb@25.12", 8, "p4d.24xlarge")
    # As the kubelet reports them, in whole GiB; the host implies the label of the instance type.
    assert pool["capacity"] == {"cpu": "191450m", "memory": "2000Gi"}
    assert "labels" not in pool
    assert found.catalogue == {}


def test_mig_beside_the_whole_gpu(tmp_path: Path) -> None:
    found = twin(tmp_path, *real_slices.azure_mig("aks-mig-0"), *real_slices.azure_mig("aks-mig-00"))
    (pool,) = found.configuration["nodePools"]
    assert found.notes == []
    assert (pool["nodes"], pool["gpusPerNode"]) == (2, 1)
    model = found.catalogue["models"][pool["gpu"]]
    assert [part["deviceName"] for part in model["partitions"]][:2] == ["gpu-0", "gpu-0-mig-19-0-1"]
    assert len(model["partitions"]) == 8
    whole, first = model["partitions"][:2]
    # The partitions share the UUID of their GPU, and each has its own.
    assert whole["attributes"]["uuid"] == first["attributes"]["parentUUID"] == {"string": "GPU-{uuid}"}
    assert first["attributes"]["uuid"] == {"string": "MIG-{deviceUuid}"}
    assert "counters" not in model


def test_gpus_of_amd_in_halves(tmp_path: Path) -> None:
    found = twin(tmp_path, *real_slices.amd_dpx("gpu-operator-2"))
    (pool,) = found.configuration["nodePools"]
    assert found.notes == []
    assert pool["gpusPerNode"] == 4
    model = found.catalogue["models"][pool["gpu"]]
    assert [part["deviceName"] for part in model["partitions"]] == [
        "gpu-{index*8+32}-{index*8+160}",
        "gpu-{index*8+33}-{index*8+161}",
    ]
    assert model["attributes"]["parentDeviceID"] == {"string": "{hex}"}
    assert model["partitions"][1]["attributes"]["cardIndex"] == {"int": "{index*8+33}"}


@pytest.mark.parametrize("turned", [False, True])
def test_gpus_of_intel_in_any_order(tmp_path: Path, turned: bool) -> None:
    found = twin(tmp_path, *real_slices.intel("rpl-s"), *real_slices.intel("rpl-t", turned=turned))
    assert found.notes == []
    if turned:
        return
    (pool,) = found.configuration["nodePools"]
    assert pool["nodes"] == 2


def test_ports_of_nics(tmp_path: Path) -> None:
    found = twin(tmp_path, *real_slices.oci_nics("10.140.65.248"))
    (pool,) = found.configuration["nodePools"]
    assert found.notes == []
    assert (pool["gpu"], pool["gpusPerNode"]) == ("cx8-family-connectx-8", 8)
    assert "labels" not in pool  # The host implies arm64.
    model = found.catalogue["models"][pool["gpu"]]
    assert model["slot"] == "nic"
    assert model["attributes"]["dra.net/ifName"] == {"string": "rdma{index}"}
    assert model["attributes"]["dra.net/mac"] == {"string": "{mac}"}
    assert pool["host"] == "gb200-compute-tray"  # It has the NICs at the same places.


def test_nics_of_the_catalogue(tmp_path: Path) -> None:
    found = twin(tmp_path, *real_slices.azure_nics("aks-gpu-0"), *real_slices.azure_nics("aks-gpu-1"))
    (pool,) = found.configuration["nodePools"]
    assert found.notes == []
    assert found.catalogue == {}
    assert (pool["gpu"], pool["gpusPerNode"], pool["host"]) == ("connectx-7-vf-azure", 8, "azure-nd96isr-mi300x-v5")


def test_all_of_them_in_one_cluster(tmp_path: Path) -> None:
    objects = [
        *real_slices.aws_a100("a"),
        *real_slices.azure_mig("b"),
        *real_slices.amd_dpx("c"),
        *real_slices.intel("d"),
        *real_slices.oci_nics("e"),
        *real_slices.azure_nics("f"),
    ]
    found = twin(tmp_path, *objects)
    assert len(found.configuration["nodePools"]) == 6
    text = "".join(file.read_text() for file in tmp_path.glob("*.yaml"))
    assert "60:5e:65" not in text
    assert "secret" not in text
    assert "7066866330502" not in text
    assert yaml.safe_load((tmp_path / "stacks/Pulumi.real.yaml").read_text())["config"]["kwok-dra:catalogue"] == [
        "stacks/real-devices.yaml"
    ]
