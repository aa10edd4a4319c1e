"""What the vendors' public demos claim, claimed from their simulated devices: one cluster with a pool for each kind.

Each case has the pods, claims and selectors of the demo that it names, written anew. What a demo needs its driver
to be installed with is which of the pools its pods are sent to.
"""

import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import pytest

from tests.e2e.demos import (
    NO_DEVICES,
    Case,
    Container,
    Manifest,
    claim,
    exactly,
    subrequest,
)
from tests.e2e.example_demos import EXAMPLE_CASES
from tests.e2e.nvidia_demos import NVIDIA_CASES, NVIDIA_CLASSES, NVIDIA_POOLS
from tests.e2e.project import PATIENCE_SECONDS, Project, wait_until

RESOURCE_API = "resource.k8s.io/v1"

POOLS: list[Manifest] = [
    *NVIDIA_POOLS,
    {
        "name": "example",
        "gpu": "example-gpu",
        "gpusPerNode": 8,
        "devices": [{"model": "example-net", "count": 8}, {"model": "example-cpu", "count": 8}],
    },
    {"name": "example-parts", "gpu": "example-gpu-partitionable", "gpusPerNode": 2},
    {"name": "example-shared", "gpu": "example-gpu-shared", "gpusPerNode": 8},
    {"name": "example-shared-parts", "gpu": "example-gpu-shared-partitionable", "gpusPerNode": 2},
    {"name": "mi300x", "gpu": "mi300x", "gpusPerNode": 8},
    {"name": "mi300x-dpx", "gpu": "mi300x-dpx", "gpusPerNode": 8},
    {"name": "mi300x-auto", "gpu": "mi300x-auto-partition", "gpusPerNode": 8},
    {"name": "flex", "gpu": "flex-170", "gpusPerNode": 4, "devices": [{"model": "connectx-7", "count": 4}]},
    {"name": "gaudi3", "gpu": "gaudi3", "gpusPerNode": 8},
    {"name": "tpu", "gpu": "tpu-v6e", "gpusPerNode": 8},
    {"name": "cpu", "devices": [{"model": "dra-cpu", "count": 2}]},
]

RDMA = 'device.attributes["dra.net"].rdma'

# Name, selector and extended resource, with the default values of the drivers' charts and manifests.
DEVICE_CLASSES = {
    **NVIDIA_CLASSES,
    # https://github.com/kubernetes-sigs/dra-example-driver/tree/main/deployments/helm/dra-example-driver/templates
    "gpu.example.com": ("device.driver == 'gpu.example.com'", None),
    "net.example.com": ("device.driver == 'net.example.com'", None),
    "cpu.example.com": ("device.driver == 'cpu.example.com'", None),
    # https://github.com/ROCm/k8s-gpu-dra-driver/tree/develop/helm-charts-k8s
    "gpu.amd.com": ("device.driver == 'gpu.amd.com'", "amd.com/gpu"),
    # https://github.com/intel/intel-resource-drivers-for-kubernetes/tree/main/deployments
    "gpu.intel.com": ('device.driver == "gpu.intel.com"', None),
    "gpu-vfio.intel.com": ('device.driver == "gpu.intel.com"', None),
    "gaudi.intel.com": ('device.driver == "gaudi.intel.com"', None),
    # https://github.com/kubernetes-sigs/dra-driver-google-tpu/tree/main/deployments/helm/dra-driver-google-tpu
    "tpu.google.com": ('device.driver == "tpu.google.com"', None),
    # https://github.com/kubernetes-sigs/dra-driver-cpu/tree/main/deployment/helm/dra-driver-cpu
    "dra.cpu": ('device.driver == "dra.cpu"', None),
    # https://github.com/kubernetes-sigs/dranet/tree/main/examples
    "dra.net": ('device.driver == "dra.net"', None),
    "dranet.net": ('device.driver == "dra.net"', None),
    # https://docs.cloud.google.com/kubernetes-engine/docs/how-to/allocate-network-resources-dra: their names
    "mrdma.google.com": (f'device.driver == "dra.net" && {RDMA} == true', None),
    "netdev.google.com": (f'device.driver == "dra.net" && {RDMA} == false', None),
}


AMD = "https://github.com/ROCm/k8s-gpu-dra-driver/blob/develop/example"
INTEL = "https://github.com/intel/intel-resource-drivers-for-kubernetes/blob/main/deployments"
TPU = "https://github.com/kubernetes-sigs/dra-driver-google-tpu/blob/main/demo/specs"
CPU = "https://github.com/kubernetes-sigs/dra-driver-cpu/blob/main/hack/examples"
DRANET = "https://github.com/kubernetes-sigs/dranet/blob/main/examples"

PARTITION = "device.attributes['gpu.amd.com'].type == 'amdgpu-partition'"

amd = claim(exactly("gpu", "gpu.amd.com"))
tpus = claim(exactly("tpus", "tpu.google.com", allocationMode="All"))
two_partitions = [exactly("p0", "gpu.amd.com", PARTITION), exactly("p1", "gpu.amd.com", PARTITION)]


def amd_mode(compute: str, memory: str) -> Manifest:
    """Claim one partition of a GPU in the modes."""
    attributes = "device.attributes['gpu.amd.com']"
    selector = f"{attributes}.computePartition == '{compute}' && {attributes}.memoryPartition == '{memory}'"
    return claim(exactly("gpu", "gpu.amd.com", selector, capacity={"requests": {"partitions": "1"}}))


def cpus(number: int) -> Manifest:
    """Claim so many CPUs of one NUMA node."""
    return claim(exactly("cpus", "dra.cpu", capacity={"requests": {"dra.cpu/cpu": str(number)}}))


AMD_CASES = {
    "amd-gpu": Case(
        f"{AMD}/example.yaml", pods={"pod1": [["gpu"]]}, templates={"gpu": amd}, devices={"gpu": 1}, pool="mi300x"
    ),
    "amd-pods-share": Case(
        f"{AMD}/example-multiple-pod-share.yaml",
        pods={"pod1": [["gpu"]], "pod2": [["gpu"]]},
        claims={"gpu": amd},
        devices={"gpu": 1},
        pool="mi300x",
    ),
    "amd-partitions-of-one-gpu": Case(
        f"{AMD}/example-partitions-same-parent.yaml",
        pods={"pod": [["two"]]},
        claims={"two": claim(*two_partitions, match="gpu.amd.com/deviceID")},
        devices={"p0": 1, "p1": 1},
        pool="mi300x-dpx",
    ),
    # deviceID has become the model's: https://github.com/ROCm/k8s-gpu-dra-driver/pull/36
    "amd-partitions-of-two-models": Case(
        f"{AMD}/example-partitions-distinct-parents.yaml",
        pods={"pod": [["two"]]},
        claims={"two": claim(*two_partitions, differ="gpu.amd.com/deviceID")},
        pending={"pod": NO_DEVICES},
        pool="mi300x-dpx",
    ),
    "amd-partitions-of-two-gpus": Case(
        "https://github.com/ROCm/k8s-gpu-dra-driver/pull/36",
        pods={"pod": [["two"]]},
        claims={"two": claim(*two_partitions, differ="resource.kubernetes.io/pciBusID")},
        devices={"p0": 1, "p1": 1},
        pool="mi300x-dpx",
    ),
    "amd-partitioned-on-demand": Case(
        f"{AMD}/auto-partition-cpx-nps4.yaml",
        pods={"pod": [["gpu"]]},
        claims={"gpu": amd_mode("cpx", "nps4")},
        devices={"gpu": 1},
        pool="mi300x-auto",
    ),
    "amd-whole-on-demand": Case(
        f"{AMD}/auto-partition-spx.yaml",
        pods={"pod": [["gpu"]]},
        claims={"gpu": amd_mode("spx", "nps1")},
        devices={"gpu": 1},
        pool="mi300x-auto",
    ),
    "amd-extended-resource": Case(
        "https://github.com/ROCm/k8s-gpu-dra-driver/blob/develop/helm-charts-k8s/values.yaml",
        pods={"pod": [{"amd.com/gpu": 2}]},
        devices={"container-0-request-0": 2},
        pool="mi300x",
    ),
}

INTEL_CASES = {
    "intel-memory": Case(
        f"{INTEL}/gpu/examples/deployment-inline.yaml",
        pods={"pod": [["gpu"], []]},
        templates={
            "gpu": claim(
                exactly(
                    "gpu",
                    "gpu.intel.com",
                    "device.capacity['gpu.intel.com'].memory.compareTo(quantity('4Gi')) >= 0",
                )
            )
        },
        devices={"gpu": 1},
    ),
    "intel-gpu-or-gaudi": Case(
        f"{INTEL}/gpu/examples/pod-inline-first-available.yaml",
        pods={"pod": [["accelerator"]]},
        templates={
            "accelerator": claim(
                {
                    "name": "accelerator",
                    "firstAvailable": [
                        {"name": "gpu", **subrequest("gpu.intel.com")},
                        {"name": "gaudi", **subrequest("gaudi.intel.com")},
                    ],
                }
            )
        },
        devices={"accelerator/gaudi": 1},
        pool="gaudi3",
    ),
    # The driver calls the family Data Center Flex now, in pkg/gpu/device/models.go.
    "intel-family-of-old": Case(
        f"{INTEL}/gpu/examples/claim-external-gpu.yaml",
        pods={"pod": [["flex"]]},
        claims={"flex": claim(exactly("gpu", "gpu.intel.com", "device.attributes['gpu.intel.com'].family == 'Flex'"))},
        pending={"pod": NO_DEVICES},
    ),
    "intel-monitor": Case(
        f"{INTEL}/gpu/examples/monitor-pod-inline.yaml",
        pods={"pod": [["gpus"]]},
        templates={
            "gpus": claim(
                exactly(
                    "gpus",
                    "gpu.intel.com",
                    adminAccess=True,
                    allocationMode="All",
                    tolerations=[{"effect": "NoExecute"}, {"effect": "NoSchedule"}],
                )
            )
        },
        devices={"gpus": 4},
        admin=True,
    ),
    "intel-gpu-with-nic": Case(
        f"{INTEL}/gpu/examples/pod-inline-gpu-dranet.yaml",
        pods={"pod": [["pair"]]},
        templates={
            "pair": claim(
                exactly("nic", "dra.net", RDMA),
                exactly("gpu", "gpu.intel.com"),
                match="resource.kubernetes.io/pcieRoot",
            )
        },
        devices={"nic": 1, "gpu": 1},
    ),
    "gaudi-two-of-a-model": Case(
        f"{INTEL}/gaudi/examples/deployment-inline.yaml",
        pods={"pod": [["gaudi"], []]},
        templates={
            "gaudi": claim(
                exactly("gaudi", "gaudi.intel.com", "device.attributes['gaudi.intel.com'].model == 'Gaudi3'", count=2)
            )
        },
        devices={"gaudi": 2},
    ),
    "gaudi-extended-resource": Case(
        f"{INTEL}/gaudi/examples/deployment-extended-resources-implicit.yaml",
        pods={"pod": [{"deviceclass.resource.kubernetes.io/gaudi.intel.com": 1}]},
        devices={"container-0-request-0": 1},
    ),
}

OTHER_CASES = {
    "tpu-all-of-a-node": Case(
        f"{TPU}/tpu-test.yaml",
        pods={"pod": [["tpus"]]},
        templates={"tpus": tpus},
        devices={"tpus": 8},
        tolerates="google.com/tpu",
    ),
    # Nothing in the demo tolerates the taint that GKE gives nodes with TPUs.
    "tpu-without-toleration": Case(
        f"{TPU}/multi-tpu-pod.yaml",
        pods={"pod": [["tpus"]]},
        templates={"tpus": claim(exactly("tpus", "tpu.google.com", count=4))},
        pending={"pod": "had untolerated taint"},
    ),
    "cpus-of-a-numa-node": Case(
        f"{CPU}/pod_with_resource_claim_grouped_mode.yaml",
        pods={"pod": [["cpus"]]},
        claims={"cpus": cpus(10)},
        devices={"cpus": 1},
    ),
    "cpus-for-two-containers": Case(
        f"{CPU}/pod_with_pod_level_resources.yaml",
        pods={"pod": [["ten"], ["four"], []]},
        claims={"ten": cpus(10), "four": cpus(4)},
        devices={"cpus": 2},
        distinct=1,
    ),
    # On a DGX H100 each GPU has a root complex of its own; on GKE's machines two share one.
    "two-gpus-and-nics-aligned": Case(
        f"{DRANET}/demo_nvidia_dranet/resourceclaims.yaml",
        pods={"pod": [["pairs"]]},
        templates={
            "pairs": claim(
                exactly("gpu", "gpu.nvidia.com", count=2),
                exactly("nic", "dra.net", f"{RDMA} == true", count=2),
                match="resource.kubernetes.io/pcieRoot",
            )
        },
        pending={"pod": NO_DEVICES},
        pool="h100",
    ),
    "nic-by-name": Case(
        f"{DRANET}/oci_oke_examples/BM.GPU.H100.8/resource-claim-template.yaml",
        pods={"pod": [["pair"]]},
        templates={
            "pair": claim(
                exactly("gpu", "gpu.nvidia.com"),
                exactly("nic", "dra.net", f"{RDMA} == true && device.attributes['dra.net'].ifName.startsWith('rdma')"),
            )
        },
        devices={"gpu": 1, "nic": 1},
        pool="h100",
    ),
    "nics-of-a-gpu-by-address": Case(
        f"{DRANET}/oci_oke_examples/BM.GPU.GB200-v3.4/resource-claim-template.yaml",
        pods={"pod": [["trio"]]},
        templates={
            "trio": claim(
                exactly(
                    "gpu",
                    "gpu.nvidia.com",
                    "device.attributes['resource.kubernetes.io'].pciBusID == '0008:06:00.0'",
                ),
                exactly(
                    "nic",
                    "dranet.net",
                    f"{RDMA} == true && device.attributes['dra.net'].virtual == false"
                    " && device.attributes['dra.net'].numaNode == 0",
                    count=2,
                ),
            )
        },
        devices={"gpu": 1, "nic": 2},
        pool="gb200",
    ),
    "gpu-and-nic-aligned": Case(
        f"{DRANET}/aws_eks_examples/gpu-efa/resource-claim-template.yaml",
        pods={f"pod{number}": [["pair"]] for number in range(8)},
        templates={
            "pair": claim(
                exactly("gpu", "gpu.nvidia.com", count=1),
                exactly("nic", "dra.net", count=1),
                match="resource.kubernetes.io/pcieRoot",
            )
        },
        devices={"gpu": 8, "nic": 8},
        pool="h100",
    ),
}

CASES = NVIDIA_CASES | EXAMPLE_CASES | AMD_CASES | INTEL_CASES | OTHER_CASES


@pytest.fixture(scope="module")
def cluster(project: Project) -> Project:
    """Return a cluster with the pools, nothing that claims their devices, and a namespace for each case."""
    with project.configuration() as config:
        config.clear()
        config["nodePools"] = POOLS
    project.up()
    apply(project, [case_namespace(name, case) for name, case in CASES.items()])
    # Without its service account a namespace takes no pods.
    wait_until(lambda: CASES.keys() <= {entry["metadata"]["namespace"] for entry in project.get("serviceaccounts")})
    return project


@pytest.fixture(scope="module")
def attributes(cluster: Project) -> dict[tuple[str, ...], Manifest]:
    """Return the attributes of each device by driver, pool and name."""
    return {
        (entry["spec"]["driver"], entry["spec"]["pool"]["name"], device["name"]): device.get("attributes", {})
        for entry in cluster.get("resourceslices")
        for device in entry["spec"].get("devices", [])
    }


def test_device_classes_are_those_of_the_charts(cluster: Project) -> None:
    found = {
        entry["metadata"]["name"]: (entry["spec"]["selectors"], entry["spec"].get("extendedResourceName"))
        for entry in cluster.get("deviceclasses")
    }
    assert found == {
        name: ([{"cel": {"expression": selector}}], resource) for name, (selector, resource) in DEVICE_CLASSES.items()
    }


@pytest.mark.parametrize("name", CASES)
def test_demo(cluster: Project, attributes: dict[tuple[str, ...], Manifest], name: str) -> None:
    case = CASES[name]
    apply(cluster, list(manifests(name, case)))
    try:
        wait_for_pods(cluster, name, case)
        check_devices(objects(cluster, "resourceclaims", name), case, attributes)
    finally:
        cluster.run("kubectl", "delete", "namespace", name, "--wait=false")
        for device_class in case.classes:
            cluster.run("kubectl", "delete", "deviceclass", device_class)


def apply(cluster: Project, items: list[Manifest]) -> None:
    """Create objects as `kubectl apply` does."""
    done = subprocess.run(
        ["kubectl", "apply", "-f", "-"],
        env=cluster.environment,
        input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def case_namespace(name: str, case: Case) -> Manifest:
    """Write the namespace of a case."""
    labels = {"resource.kubernetes.io/admin-access": "true"} if case.admin else {}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def manifests(namespace: str, case: Case) -> Iterator[Manifest]:
    """Write the objects of a case, which are all in one namespace but for DeviceClasses."""
    for name, spec in case.classes.items():
        yield {"apiVersion": RESOURCE_API, "kind": "DeviceClass", "metadata": {"name": name}, "spec": spec}
    for name, spec in case.templates.items():
        yield dra("ResourceClaimTemplate", name, namespace, {"spec": spec})
    for name, spec in case.claims.items():
        yield dra("ResourceClaim", name, namespace, spec)
    for name, containers in case.pods.items():
        metadata = {"name": name, "namespace": namespace}
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_spec(case, containers)}


def dra(kind: str, name: str, namespace: str, spec: Manifest) -> Manifest:
    """Write an object of resource.k8s.io/v1."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": RESOURCE_API, "kind": kind, "metadata": metadata, "spec": spec}


def pod_spec(case: Case, containers: Sequence[Container]) -> Manifest:
    """Write what is in a pod: its claims are those that its containers use."""
    used = {use.partition("/")[0] for uses in containers if isinstance(uses, list) for use in uses}
    spec: Manifest = {
        "containers": [
            {"name": f"ctr{number}", "image": "fake-image", "resources": resources(uses)}
            for number, uses in enumerate(containers)
        ],
        "resourceClaims": [
            {"name": name, "resourceClaimTemplateName" if name in case.templates else "resourceClaimName": name}
            for name in sorted(used)
        ],
    }
    if case.pool:
        spec["nodeSelector"] = {"kubernetes.io/hostname": f"{case.pool}-0"}
    if case.tolerates:
        spec["tolerations"] = [{"key": case.tolerates, "operator": "Exists", "effect": "NoSchedule"}]
    return spec


def resources(uses: Container) -> Manifest:
    """Write the resources of a container."""
    if isinstance(uses, dict):
        return {"limits": {name: str(count) for name, count in uses.items()}}
    pairs = [use.partition("/") for use in uses]
    return {"claims": [{"name": name, **({"request": request} if request else {})} for name, _, request in pairs]}


def wait_for_pods(cluster: Project, namespace: str, case: Case) -> None:
    """Wait until each pod is what the case says: it runs, or it is pending and the scheduler has said why."""
    wanted = {name: case.pending.get(name, "Running") for name in case.pods}
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        pods = objects(cluster, "pods", namespace)
        found = {pod["metadata"]["name"]: state(pod) for pod in pods}
        if found.keys() == wanted.keys() and all(wanted[name] in found[name] for name in wanted):
            return
        assert time.monotonic() < deadline, f"found {found}, wanted {wanted}"
        time.sleep(0.1)


def state(pod: Manifest) -> str:
    """Return the phase of a pod, or what the scheduler says of one that it cannot place."""
    conditions = {entry["type"]: entry for entry in pod["status"].get("conditions", [])}
    return str(conditions.get("PodScheduled", {}).get("message") or pod["status"]["phase"])


def objects(cluster: Project, kind: str, namespace: str) -> list[Manifest]:
    """Return the objects of a kind in a namespace."""
    items: list[Manifest] = cluster.kubectl("get", kind, "--namespace", namespace, "--output", "json")["items"]
    return items


def check_devices(claims: list[Manifest], case: Case, attributes: Mapping[tuple[str, ...], Manifest]) -> None:
    """Check how many devices the requests got, how many different ones these are, and what they have in common."""
    allocated = [
        (entry, entry["status"]["allocation"]["devices"]["results"]) for entry in claims if is_allocated(entry)
    ]
    results = [result for _, found in allocated for result in found]
    assert Counter(result["request"] for result in results) == case.devices
    different = len({key(result) for result in results})
    assert different <= case.distinct if case.distinct else different == len(results)
    for entry, found in allocated:
        for constraint in entry["spec"]["devices"].get("constraints", []):
            check_constraint(constraint, [attributes[key(result)] for result in found])


def is_allocated(entry: Manifest) -> bool:
    """Tell whether a claim has its devices."""
    return "allocation" in entry.get("status", {})


def key(result: Manifest) -> tuple[str, ...]:
    """Return what names an allocated device."""
    return result["driver"], result["pool"], result["device"]


def check_constraint(constraint: Manifest, devices: Sequence[Manifest]) -> None:
    """Check that the devices of a claim have one value of an attribute, or a different one each."""
    name = constraint.get("matchAttribute") or constraint["distinctAttribute"]
    values = [str(device.get(name) or device[name.rpartition("/")[2]]) for device in devices]
    assert len(set(values)) == (1 if "matchAttribute" in constraint else len(values))
