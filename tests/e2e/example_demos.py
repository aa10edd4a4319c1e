"""The demos of Kubernetes' example driver."""

from tests.e2e.demos import Case, claim, exactly, opaque, subrequest, taking

EXAMPLE = "https://github.com/kubernetes-sigs/dra-example-driver/blob/main/demo/examples"
EXAMPLE_MODEL = "device.attributes['gpu.example.com'].model"
EXAMPLE_MEMORY = "device.capacity['gpu.example.com'].memory"
example = claim(exactly("gpu", "gpu.example.com"))

EXAMPLE_CASES = {
    "example-gpu-for-each-pod": Case(
        f"{EXAMPLE}/basic-resourceclaimtemplate",
        pods={"pod0": [["gpu"]], "pod1": [["gpu"]]},
        templates={"gpu": example},
        devices={"gpu": 2},
        pool="example",
    ),
    "example-two-requests": Case(
        f"{EXAMPLE}/basic-multiple-requests",
        pods={"pod0": [["gpus"]]},
        templates={"gpus": claim(exactly("gpu-1", "gpu.example.com"), exactly("gpu-2", "gpu.example.com"))},
        devices={"gpu-1": 1, "gpu-2": 1},
        pool="example",
    ),
    "example-opaque-config": Case(
        f"{EXAMPLE}/basic-resourceclaim-opaque-config",
        pods={"pod0": [["gpus/ts"], ["gpus/ts"], ["gpus/sp"], ["gpus/sp"]]},
        templates={
            "gpus": claim(
                exactly("ts", "gpu.example.com"),
                exactly("sp", "gpu.example.com"),
                config=[opaque("ts", "gpu.example.com", {"sharing": {"strategy": "TimeSlicing"}})],
            )
        },
        devices={"ts": 1, "sp": 1},
        pool="example",
    ),
    "example-containers-share": Case(
        f"{EXAMPLE}/basic-shared-claim-across-containers",
        pods={"pod0": [["gpu"], ["gpu"]]},
        templates={"gpu": example},
        devices={"gpu": 1},
        pool="example",
    ),
    "example-pods-share": Case(
        f"{EXAMPLE}/basic-shared-claim-across-pods",
        pods={"pod0": [["gpu"]], "pod1": [["gpu"]]},
        claims={"gpu": example},
        devices={"gpu": 1},
        pool="example",
    ),
    "example-cel-selector": Case(
        f"{EXAMPLE}/cel-selector",
        pods={"pod0": [["gpu"]]},
        templates={
            "gpu": claim(
                exactly(
                    "gpu",
                    "gpu.example.com",
                    f"{EXAMPLE_MODEL} == 'LATEST-GPU-MODEL'",
                    f"{EXAMPLE_MEMORY}.compareTo(quantity('4Gi')) >= 0",
                )
            )
        },
        devices={"gpu": 1},
    ),
    "example-alternatives": Case(
        f"{EXAMPLE}/prioritized-alternatives",
        pods={"pod0": [["fallback"]], "pod1": [["preferred"]]},
        templates={
            "fallback": claim(
                {
                    "name": "gpu",
                    "firstAvailable": [
                        {"name": "newest", **subrequest("gpu.example.com", f"{EXAMPLE_MODEL} == 'BLEEDING-EDGE-GPU'")},
                        {
                            "name": "huge",
                            **subrequest("gpu.example.com", f"{EXAMPLE_MEMORY}.compareTo(quantity('1Ti')) >= 0"),
                        },
                        {"name": "older", **subrequest("gpu.example.com")},
                    ],
                }
            ),
            "preferred": claim(
                {
                    "name": "gpu",
                    "firstAvailable": [
                        {"name": "latest", **subrequest("gpu.example.com", f"{EXAMPLE_MODEL} == 'LATEST-GPU-MODEL'")},
                        {"name": "older", **subrequest("gpu.example.com")},
                    ],
                }
            ),
        },
        devices={"gpu/older": 1, "gpu/latest": 1},
        pool="example",
    ),
    "example-partitions": Case(
        f"{EXAMPLE}/partitionable-devices",
        pods={"pod0": [["partitions"]]},
        templates={"partitions": claim(exactly("partition", "gpu.example.com", count=2))},
        devices={"partition": 2},
        pool="example-parts",
    ),
    "example-shared-gpu": Case(
        f"{EXAMPLE}/gpu-allow-multiple-allocations",
        pods={"pod0": [["part0"]], "pod1": [["part1"]]},
        claims={f"part{number}": taking("gpu", "gpu.example.com", memory="16Gi", compute="20") for number in range(2)},
        devices={"gpu": 2},
        distinct=1,
        pool="example-shared",
    ),
    "example-shared-partition": Case(
        f"{EXAMPLE}/gpu-allow-multiple-allocations-partitionable",
        pods={"pod0": [["part0"]], "pod1": [["part1"]]},
        claims={f"part{number}": taking("gpu", "gpu.example.com", memory="8Gi", compute="10") for number in range(2)},
        devices={"gpu": 2},
        distinct=2,  # both on one partition, unless the scheduler sees the second pod too soon
        pool="example-shared-parts",
    ),
    "example-bandwidth": Case(
        f"{EXAMPLE}/net-consumable-capacity",
        pods={"pod0": [["fast"]], "pod1": [["slow"]]},
        templates={
            "fast": taking("nic", "net.example.com", ingressBandwidth="10G", egressBandwidth="5G"),
            "slow": taking("nic", "net.example.com", ingressBandwidth="5G", egressBandwidth="5G"),
        },
        devices={"nic": 2},
        distinct=1,
    ),
    "example-cpus": Case(
        f"{EXAMPLE}/native-resource-request",
        pods={"pod0": [["cpus"]]},
        templates={
            "cpus": claim(
                exactly("cpu0", "cpu.example.com", capacity={"requests": {"cpu.example.com/cpu": "1"}}),
                exactly("cpu1", "cpu.example.com", capacity={"requests": {"cpu.example.com/cpu": "1"}}),
            )
        },
        devices={"cpu0": 1, "cpu1": 1},
        distinct=1,
    ),
    "example-admin-access": Case(
        f"{EXAMPLE}/admin-access",
        pods={"pod0": [["gpus"]]},
        templates={"gpus": claim(exactly("gpus", "gpu.example.com", allocationMode="All", adminAccess=True))},
        devices={"gpus": 8},
        pool="example",
        admin=True,
    ),
    # The second one needs the chart's value deviceClass.extendedResourceName, as the demo says.
    "example-extended-resources": Case(
        f"{EXAMPLE}/extended-resource-request",
        pods={"pod0": [{"deviceclass.resource.kubernetes.io/gpu.example.com": 1}], "pod1": [{"example.com/gpu": 1}]},
        devices={"container-0-request-0": 1},
        pending={"pod1": "Insufficient example.com/gpu"},
    ),
}
