"""Pods per second, each with a claim of its own from a template: `pulumi up` beside `kubectl apply`."""

import time

from tests.bench.measurements import Measurements, Quantity, seconds
from tests.bench.stack import PATIENCE_SECONDS, BenchStack, Entry, Tuning, pool, workload
from topology.checks.validation import load
from topology.objects.claims import resource_claim_template
from topology.objects.pods import workload_objects

UP = Quantity("pods", "up", "pods/s")
KUBECTL = Quantity("pods", "kubectl apply", "pods/s")
KUBECTL_ON_STOCK = Quantity("pods", "kubectl apply on a stock cluster", "pods/s")
CLUSTERS_OF_KUBECTL: dict[Quantity, Tuning] = {KUBECTL: "fleet", KUBECTL_ON_STOCK: "stock"}
GPUS_PER_NODE = 10
"""As SchedulingWithResourceClaimTemplate has it: all of them are in use in the end.

https://github.com/kubernetes/kubernetes/blob/v1.37.2/test/integration/scheduler_perf/dra/performance-config.yaml
"""
SCHEDULER_PERF_THRESHOLD = 56
"""The pods per second that Kubernetes' own CI wants of `5000pods_500nodes`, in the same file."""
POLL_SECONDS = 0.5
NAME = "claimants"


def measure_pods(stack: BenchStack, pods: int, measurements: Measurements) -> None:
    """Measure the time until all pods run on a fleet that they fill, from the first command on."""
    nodes = pods // GPUS_PER_NODE
    fleet = pool(nodes, gpus=GPUS_PER_NODE)
    deployment = workload(NAME, pods)
    with stack.cluster(fleet):
        stack.configure(fleet, workloads=(deployment,))
        measurements.add(UP, nodes, pods / seconds(stack.project.up))
        assert ready_pods(stack) == pods
    for quantity, tuning in CLUSTERS_OF_KUBECTL.items():
        with stack.cluster(fleet, tuning=tuning):
            file = stack.write("deployment.json", *objects(fleet, deployment))
            measurements.add(quantity, nodes, pods / seconds(kubectl_apply, stack, file, pods))


def objects(fleet: Entry, deployment: Entry) -> list[Entry]:
    """Render the same objects that the program makes of the workload."""
    topology = load({"cluster": {"name": NAME}, "nodePools": [fleet], "workloads": [deployment]})
    [entry] = topology.workloads
    return [*(resource_claim_template(entry, claim) for claim in entry.claims), *workload_objects(entry)]


def kubectl_apply(stack: BenchStack, file: str, pods: int) -> None:
    """Apply the file and look at the Deployment alone, which costs little, until all of its pods are ready."""
    stack.project.run("kubectl", "apply", "--filename", file)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (ready := ready_pods(stack)) < pods:
        assert time.monotonic() < deadline, f"{ready} of {pods} pods run"
        time.sleep(POLL_SECONDS)


def ready_pods(stack: BenchStack) -> int:
    """Return how many pods of the Deployment are ready."""
    status = stack.project.kubectl("get", "--raw", f"/apis/apps/v1/namespaces/default/deployments/{NAME}")["status"]
    ready: int = status.get("readyReplicas", 0)
    return ready
