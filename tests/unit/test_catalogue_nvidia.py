"""NVIDIA's devices as the program renders them, compared with figures of public dumps and documents.

The figures are written out here, not taken from the catalogue; each has its source beside it. Attributes, names, order
and counters are those of https://github.com/kubernetes-sigs/dra-driver-nvidia-gpu, files deviceinfo.go, mig.go,
partitions.go and driver.go of cmd/gpu-kubelet-plugin.
"""

import math
import re
from collections.abc import Iterator

import pytest

from tests.unit.nvidia_gpus import (
    AMPERE,
    ARM,
    DRIVERS,
    GPUS,
    INSTANCES,
    NODES,
    PROFILES,
    Profile,
    devices,
    pool,
    slices,
)
from topology.kubernetes.quantities import number
from topology.objects import nodes
from topology.schema.catalogue import built_in
from topology.schema.profiles import base_names

RESETLESS = [model for model in PROFILES if model not in AMPERE]
UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


def capacity_of(profile: Profile) -> dict[str, dict[str, str]]:
    figures = {
        "multiprocessors": str(profile.multiprocessors),
        "copyEngines": str(profile.copy_engines),
        "decoders": str(profile.decoders),
        "encoders": str(profile.encoders),
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
        "encoders": str(profile.encoders),
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
    models = built_in().models
    found = {name for name in base_names(models) if models[name].driver == "gpu.nvidia.com"}
    assert found == set(GPUS) == set(NODES)
    assert {name for name in found if models[name].mig} == set(PROFILES)


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
    assert [len(spec.get("devices", [])) for spec in specs] == [0] + [1 + len(list(placed(model)))] * count
    assert {spec["pool"]["resourceSliceCount"] for spec in specs} == {count + 1}
    seven = list(PROFILES[model].values())[-1]
    for minor, full in enumerate(spec["devices"][0] for spec in specs[1:]):
        assert full["name"] == f"gpu-{minor}"
        assert full["attributes"] == devices(model)[minor]["attributes"]
        assert full["capacity"] == capacity_of(seven)
        assert full["consumesCounters"] == [
            {"counterSet": f"gpu-{minor}-counter-set", "counters": counters_of(seven, 0)}
        ]


@pytest.mark.parametrize("model", AMPERE)
def test_gpus_that_cannot_leave_mig_mode_are_not_among_their_mig_devices(model: str) -> None:
    specs = slices(model, mig="dynamic")
    assert [len(spec.get("devices", [])) for spec in specs] == [0] + [len(list(placed(model)))] * GPUS[model].per_node
    assert {device["attributes"]["type"]["string"] for spec in specs[1:] for device in spec["devices"]} == {"mig"}


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
    profiles = built_in().models[model].mig
    slices_of_memory = max(profile.size for profile in profiles)
    for profile in profiles:
        eighths = math.ceil(number(profile.memory) / total * 8)
        assert eighths * slices_of_memory == profile.size * 8
        gigabytes = math.floor(eighths * math.ceil(total / 2**30) / 8 + 0.5)
        assert re.fullmatch(rf"[1-9]g\.{gigabytes}gb(\+me|\+me\.all|\+gfx|-me)?", profile.name)


@pytest.mark.parametrize("model", PROFILES)
def test_profiles_fit_on_the_gpu_as_often_as_nvidia_smi_lists(model: str) -> None:
    # All of them fit in each counter, not only in the memory slices.
    profiles = {profile.id: profile for profile in built_in().models[model].mig}
    assert set(profiles) == set(INSTANCES[model])
    whole = profiles[0]
    for identity, count in INSTANCES[model].items():
        profile = profiles[identity]
        for figure in ("multiprocessors", "copy_engines", "decoders", "encoders", "jpeg_engines", "ofa_engines"):
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


@pytest.mark.parametrize("model", NODES)
def test_nodes(model: str) -> None:
    product, family, memory, (major, minor), cpu, host_memory = NODES[model]
    node = nodes.node(pool(model), "n-0")
    driver_minor, revision = DRIVERS.get(model, ("126", "09"))
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
        "cuda.driver-version.full": f"580.{driver_minor}.{revision}",
        "cuda.driver-version.major": "580",
        "cuda.driver-version.minor": driver_minor,
        "cuda.driver-version.revision": revision,
        "cuda.runtime-version.full": "13.0",
        "cuda.runtime-version.major": "13",
        "cuda.runtime-version.minor": "0",
    }
    kinds = ("gpu.", "mig.", "mps.", "vgpu.", "cuda.")
    assert {key: value for key, value in labels.items() if key.startswith(kinds)} == expected
    assert labels["kubernetes.io/arch"] == ("arm64" if model in ARM else "amd64")
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
    assert not [name for name, urls in sources.items() if not urls]
