"""The demos of NVIDIA's driver, the pools that they run on, and the DeviceClasses of its chart."""

from tests.e2e.demos import NO_DEVICES, Case, Manifest, claim, exactly, opaque, taking

TAINT = "nvidia.com/gpu"
"""Tolerated by the demos of sharing; it keeps the pods of others off the GPUs that are shared."""


def shared(shares: str) -> Manifest:
    """Return a pool with a GPU of which several claims use a part."""
    return {
        "name": f"shares-{shares}",
        "gpu": f"h100@shares-{shares}",
        "gpusPerNode": 1,
        "taints": [{"key": TAINT, "effect": "NoSchedule"}],
    }


NVIDIA_POOLS: list[Manifest] = [
    {"name": "a100", "gpu": "a100-40gb", "gpusPerNode": 8, "mig": "dynamic"},
    {"name": "a100-whole", "gpu": "a100-40gb", "gpusPerNode": 1},
    {"name": "a100-older-driver", "gpu": "a100-40gb@25.3", "gpusPerNode": 1},
    {"name": "gh200", "gpu": "gh200-96gb", "gpusPerNode": 2, "mig": [{"profiles": {"1g.12gb": 7}}]},
    {"name": "passthrough", "gpu": "a40@passthrough", "gpusPerNode": 1},
    {"name": "fabric", "gpu": "h100@fabric-partitions", "gpusPerNode": 8},
    *map(shared, ("unlimited", "memory", "4")),
    {"name": "h100", "gpu": "h100", "gpusPerNode": 8, "devices": [{"model": "connectx-7", "count": 8}]},
    {
        "name": "gb200",
        "gpu": "gb200",
        "gpusPerNode": 4,
        "devices": [{"model": "connectx-8", "count": 8}, {"model": "compute-domain-channel"}],
    },
]

NVIDIA_GPU = "device.driver == 'gpu.nvidia.com' && device.attributes['gpu.nvidia.com'].type == "
COMPUTE_DOMAIN = (
    "device.driver == 'compute-domain.nvidia.com' && device.attributes['compute-domain.nvidia.com'].type == "
)
NVIDIA_CLASSES: dict[str, tuple[str, str | None]] = {
    # https://github.com/kubernetes-sigs/dra-driver-nvidia-gpu/tree/main/deployments/helm/dra-driver-nvidia-gpu/templates
    "gpu.nvidia.com": (f"{NVIDIA_GPU}'gpu'", "nvidia.com/gpu"),
    "mig.nvidia.com": (f"{NVIDIA_GPU}'mig'", None),
    "vfio.gpu.nvidia.com": (f"{NVIDIA_GPU}'vfio'", None),
    "compute-domain-daemon.nvidia.com": (f"{COMPUTE_DOMAIN}'daemon'", None),
    "compute-domain-default-channel.nvidia.com": (
        f"{COMPUTE_DOMAIN}'channel' && device.attributes['compute-domain.nvidia.com'].id == 0",
        None,
    ),
}

NVIDIA = "https://github.com/kubernetes-sigs/dra-driver-nvidia-gpu/blob/main"
GPU = "device.attributes['gpu.nvidia.com']"
PROFILE = f"{GPU}.profile"
MULTIPROCESSORS = "device.capacity['gpu.nvidia.com'].multiprocessors"
nvidia = claim(exactly("gpu", "gpu.nvidia.com"))
first_a100 = claim(
    exactly("gpu", "gpu.nvidia.com", f"{GPU}.productName.lowerAscii().matches('^.*a100.*$') && {GPU}.index == 0")
)
sharing = {"apiVersion": "resource.nvidia.com/v1beta1", "kind": "GpuConfig"}

NVIDIA_CASES = {
    "nvidia-gpu-for-each-pod": Case(
        f"{NVIDIA}/demo/specs/quickstart/v1/gpu-test1.yaml",
        pods={"pod1": [["gpu"]], "pod2": [["gpu"]]},
        templates={"gpu": nvidia},
        devices={"gpu": 2},
    ),
    "nvidia-containers-share": Case(
        f"{NVIDIA}/demo/specs/quickstart/v1/gpu-test2.yaml",
        pods={"pod": [["gpu"], ["gpu"]]},
        templates={"gpu": nvidia},
        devices={"gpu": 1},
    ),
    "nvidia-pods-share": Case(
        f"{NVIDIA}/demo/specs/quickstart/v1/gpu-test3.yaml",
        pods={"pod1": [["gpu"]], "pod2": [["gpu"]]},
        claims={"gpu": nvidia},
        devices={"gpu": 1},
    ),
    "nvidia-mig-of-one-gpu": Case(
        f"{NVIDIA}/demo/specs/quickstart/v1/gpu-test4.yaml",
        pods={f"pod{number}": [["mig/1g-0"], ["mig/1g-1"], ["mig/2g"], ["mig/3g"]] for number in range(4)},
        templates={
            "mig": claim(
                exactly("1g-0", "mig.nvidia.com", f"{PROFILE} == '1g.5gb'"),
                exactly("1g-1", "mig.nvidia.com", f"{PROFILE} == '1g.5gb'"),
                exactly("2g", "mig.nvidia.com", f"{PROFILE} == '2g.10gb'"),
                exactly("3g", "mig.nvidia.com", f"{PROFILE} == '3g.20gb'"),
                match="gpu.nvidia.com/parentUUID",
            )
        },
        devices={"1g-0": 4, "1g-1": 4, "2g": 4, "3g": 4},
    ),
    "nvidia-sharing-config": Case(
        f"{NVIDIA}/demo/specs/quickstart/v1/gpu-test5.yaml",
        pods={"pod": [["gpus/ts"], ["gpus/ts"], ["gpus/mps"], ["gpus/mps"]]},
        templates={
            "gpus": claim(
                exactly("ts", "gpu.nvidia.com"),
                exactly("mps", "gpu.nvidia.com"),
                config=[
                    opaque("ts", "gpu.nvidia.com", {**sharing, "sharing": {"strategy": "TimeSlicing"}}),
                    opaque("mps", "gpu.nvidia.com", {**sharing, "sharing": {"strategy": "MPS"}}),
                ],
            )
        },
        devices={"ts": 1, "mps": 1},
    ),
    # The driver publishes no index any more, so that the demo does not work with the driver either.
    "nvidia-attribute-that-is-gone": Case(
        f"{NVIDIA}/demo/specs/quickstart/v1/gpu-test6.yaml",
        pods={"pod": [["gpu"]]},
        templates={"gpu": first_a100},
        pending={"pod": "CEL runtime error: no such key: index"},
        pool="a100-whole",
    ),
    "nvidia-attribute-of-older-releases": Case(
        f"{NVIDIA}/demo/specs/quickstart/v1/gpu-test6.yaml",
        pods={"pod": [["gpu"]]},
        templates={"gpu": first_a100},
        devices={"gpu": 1},
        pool="a100-older-driver",
    ),
    "nvidia-mig-by-capacity": Case(
        f"{NVIDIA}/tests/bats/specs/gpu-multiple-mig.yaml",
        pods={"pod": [["mig/small"], ["mig/large"]]},
        templates={
            "mig": claim(
                exactly("small", "mig.nvidia.com", f"{MULTIPROCESSORS}.isLessThan(quantity('30'))"),
                exactly("large", "mig.nvidia.com", f"{MULTIPROCESSORS}.isGreaterThan(quantity('50'))"),
            )
        },
        devices={"small": 1, "large": 1},
    ),
    "nvidia-no-such-product": Case(
        f"{NVIDIA}/tests/bats/specs/gpu-cel-nomatch.yaml",
        pods={"pod": [["gpu"]]},
        templates={"gpu": claim(exactly("gpu", "gpu.nvidia.com", f"{GPU}.productName == 'NONEXISTENT-GPU-XYZ'"))},
        pending={"pod": NO_DEVICES},
    ),
    "nvidia-extended-resource": Case(
        f"{NVIDIA}/demo/specs/extended-resources/gpu-full.yaml",
        pods={"pod": [{"nvidia.com/gpu": 1}]},
        devices={"container-0-request-0": 1},
    ),
    # What the driver's controller makes of the demo's ComputeDomain.
    "nvidia-imex-channel": Case(
        f"{NVIDIA}/demo/specs/imex/channel-injection.yaml",
        pods={"pod": [["channel"]]},
        templates={"channel": claim(exactly("channel", "compute-domain-default-channel.nvidia.com"))},
        devices={"channel": 1},
    ),
    "nvidia-mig-as-extended-resource": Case(
        f"{NVIDIA}/demo/specs/extended-resources/mig-1g-12gb.yaml",
        pods={"mig-1g12gb-pod": [{"nvidia.com/mig-1g.12gb": 1}]},
        classes={
            "mig-1g-12gb.gpu.nvidia.com": {
                "selectors": [{"cel": {"expression": f"{NVIDIA_GPU}'mig' && {PROFILE} == '1g.12gb'"}}],
                "extendedResourceName": "nvidia.com/mig-1g.12gb",
            }
        },
        devices={"container-0-request-0": 1},
        tolerates=TAINT,
    ),
    "nvidia-four-shares": Case(
        f"{NVIDIA}/demo/specs/consumable-shares/integer-sharing.yaml",
        pods={f"integer-sharing-{number}": [["gpu"]] for number in range(4)},
        templates={"gpu": nvidia},
        devices={"gpu": 4},
        distinct=1,
        pool="shares-4",
        tolerates=TAINT,
    ),
    "nvidia-shares-of-memory": Case(
        f"{NVIDIA}/demo/specs/consumable-shares/memory-sharing.yaml",
        pods={f"memory-sharing-{number}": [["gpu"]] for number in range(2)},
        templates={"gpu": taking("gpu", "gpu.nvidia.com", memory="4Gi")},
        devices={"gpu": 2},
        distinct=1,
        pool="shares-memory",
        tolerates=TAINT,
    ),
    "nvidia-unlimited-shares": Case(
        f"{NVIDIA}/demo/specs/consumable-shares/unlimited-sharing.yaml",
        pods={f"unlimited-sharing-{number}": [["gpu"]] for number in range(2)},
        templates={"gpu": nvidia},
        devices={"gpu": 2},
        distinct=1,
        pool="shares-unlimited",
        tolerates=TAINT,
    ),
    "nvidia-vfio": Case(
        f"{NVIDIA}/demo/specs/quickstart/v1/gpu-test-vfio-config.yaml",
        pods={"pod1": [["gpu"]]},
        templates={
            "gpu": claim(
                exactly("gpu", "vfio.gpu.nvidia.com"),
                config=[
                    opaque(
                        "gpu",
                        "gpu.nvidia.com",
                        {
                            **sharing,
                            "kind": "VfioDeviceConfig",
                            "iommu": {"backendPolicy": "LegacyOnly", "enableAPIDevice": True},
                        },
                    )
                ],
            )
        },
        devices={"gpu": 1},
        pool="passthrough",
    ),
    "nvidia-fabric-partition": Case(
        f"{NVIDIA}/demo/specs/fabric-manager-partitioning",
        pods={"fm-partition-pod": [["gpus"]]},
        templates={
            "gpus": claim(
                exactly("gpus", "vfio.gpu.nvidia.com", allocationMode="ExactCount", count=2),
                match="gpu.nvidia.com/partition2",
            )
        },
        devices={"gpus": 2},
    ),
}
