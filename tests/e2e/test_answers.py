"""Public reports of claims that got no devices, or the wrong ones: what the program says of each, on a real scheduler.

What is refused before anything is created is in tests/unit/test_answers.py. Then random stacks, each compared with what
is found by trying everything: `ORACLE=500 make test ARGS="tests/e2e/test_answers.py -k random -s"`; SEED=2 for others.
"""

import os
import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import pytest

from cluster.fleet.standstill import wake_scheduler
from tests.answers import topology
from tests.e2e.live_stack import LiveCluster, LiveStack
from tests.e2e.project import Project, listening, wait_until
from tests.oracle.edges import EDGES
from tests.oracle.run import compare, run
from topology.status.report import Report

Claim = dict[str, Any]
Up = Callable[[str, str], AbstractContextManager[LiveStack]]
Told = Callable[[str, str], Report]

STACKS = int(os.environ.get("ORACLE") or "10")
FIRST = 10_000 * int(os.environ.get("SEED") or "1")
NO_DEVICES = "cannot allocate all claims"


@pytest.fixture(scope="module")
def cluster(new_project: Callable[[], Project]) -> Iterator[LiveCluster]:
    cluster = LiveCluster(new_project())
    yield cluster
    cluster.close()


@pytest.fixture
def up(cluster: LiveCluster, tmp_path: Path) -> Up:
    """Return a function that brings up a stack of a case."""
    return lambda case, stack: cluster.stack(topology(case, stack, tmp_path))


@pytest.fixture
def told(up: Up) -> Told:
    """Return a function that brings up a stack of a case, checks that all is as expected, and returns the report."""

    def told(case: str, stack: str) -> Report:
        with up(case, stack) as live:
            found = live.report()
        assert not found.unexpected
        return found

    return told


def claims(found: Report, workload: str) -> list[Claim]:
    assert isinstance(found.claims, list)
    return [claim for claim in found.claims if claim["workload"] == workload]


def devices(found: Report, workload: str) -> list[str]:
    """Return the devices that the claims of a workload have, each with its pool."""
    return sorted(f"{one['pool']}/{one['device']}" for claim in claims(found, workload) for one in claim["devices"])


def pending(found: Report, workload: str) -> list[Claim]:
    return [claim for claim in claims(found, workload) if claim["state"] == "pending"]


def reason(found: Report, workload: str) -> str:
    """Return why claims of a workload wait, all for the same reason."""
    (why,) = {str(claim["reason"]) for claim in claims(found, workload) if "reason" in claim}
    return why


def pool(found: Report, name: str) -> dict[str, Any]:
    return next(entry for entry in found.pools if entry["name"] == name)


def pods(found: Report) -> set[str]:
    return {claim["pod"] for name in ("claims", "asks") for claim in claims(found, name)}


@pytest.mark.parametrize(("before", "after"), [("sound", "tainted"), ("rule-without-effect", "rule-that-evicts")])
def test_a_taint_evicts_all_pods_from_their_devices(up: Up, tmp_path: Path, before: str, after: str) -> None:
    with up("evicted-by-taint", before) as stack:
        first = stack.report()
        assert sorted(devices(first, "claims") + devices(first, "asks")) == ["worn-0/gpu-0", "worn-0/gpu-1"]
        stack.change(topology("evicted-by-taint", after, tmp_path))
        then = stack.report()
    assert not then.unexpected
    assert not pods(first) & pods(then)
    assert pool(then, "worn") == {"name": "worn", "nodes": 1, "devices": 2, "allocated": 0, "free": 0, "tainted": 2}
    for name in ("claims", "asks"):
        assert len(pending(then, name)) == 1
        why = reason(then, name)
        assert NO_DEVICES in why
        assert "gpu-0 has taint example.org/maintenance:NoExecute" in why
        assert "worn-0" in why


def test_all_devices_that_share_counters(cluster: LiveCluster, told: Told) -> None:
    """The scheduler is still the same process."""
    scheduler = cluster.project.pids()["kube-scheduler"]
    found = told("all-partitions", "waiting")
    assert devices(found, "quarters") == [f"cut-0/gpu-0-partition-{number}" for number in range(4)]
    assert found.pools == [{"name": "cut", "nodes": 1, "devices": 5, "allocated": 4, "free": 0}]
    for name in ("everything", "one"):
        assert pending(found, name)
        assert NO_DEVICES in reason(found, name)
    assert "all 5 of gpu.example.com" in reason(found, "everything")
    assert "gpu-0-partition-0" in reason(found, "everything")
    assert "1 of gpu.example.com" in reason(found, "one")
    assert cluster.project.pids()["kube-scheduler"] == scheduler


def refusals(scheduler: int) -> int:
    """Return how many times kube-scheduler, of this process ID, has refused a pod."""
    (port,) = {port for _, port in listening(scheduler)}
    connection = HTTPSConnection("127.0.0.1", port, context=ssl._create_unverified_context())
    with closing(connection):
        connection.request("GET", "/metrics")
        metrics = connection.getresponse().read().decode()
    return sum(map(int, re.findall(r"schedule_attempts_total{.*unschedulable.*} (\d+)", metrics)))


def test_the_scheduler_that_is_woken_tries_pods_again(cluster: LiveCluster, up: Up) -> None:
    """It has overlooked some that fit where claims share a device: nothing else would wake it for minutes."""
    scheduler = cluster.project.pids()["kube-scheduler"]
    with up("all-partitions", "waiting") as stack:
        stack.report()
        before = refusals(scheduler)
        wake_scheduler(cluster.api)
        wait_until(lambda: refusals(scheduler) > before)


def test_a_pod_of_high_priority_gets_no_device_of_others(up: Up) -> None:
    """It does get the resource of a device plugin: of a bare pod, which is then gone, and not waited for."""
    with up("priority", "stack") as stack:
        found = stack.report()
        live = {entry["metadata"]["name"]: entry for entry in stack.read() if entry["kind"] == "Pod"}
    assert devices(found, "low") == ["node-0/gpu-0", "node-0/gpu-1"]
    assert {claim["podPhase"] for claim in claims(found, "low")} == {"Running"}
    assert [claim["pod"] for claim in pending(found, "high")] == ["high"]
    assert NO_DEVICES in reason(found, "high")
    assert "nominatedNodeName" not in live["high"]["status"]
    assert live["high-plugin"]["status"]["phase"] == "Running"
    assert "low-plugin" not in live
    told = "\n".join(found.unexpected)
    assert "low-plugin: gone or failed, and no controller creates such pods again" in told
    assert "300 s" not in told


def test_all_devices_one_of_which_is_used_up(told: Told) -> None:
    found = told("all-shared", "stack")
    (whole,), (tenth,) = (claims(found, name)[0]["devices"] for name in ("whole", "tenth"))
    assert (whole["device"], whole["consumedCapacity"]) == ("gpu-0", {"memory": "80Gi", "compute": "100"})
    assert (tenth["device"], tenth["consumedCapacity"]) == ("gpu-1", {"memory": "10Gi", "compute": "10"})
    assert (pool(found, "shared")["devices"], pool(found, "shared")["allocated"]) == (2, 2)
    assert pending(found, "every")
    why = reason(found, "every")
    assert NO_DEVICES in why
    assert "all 2 of gpu.example.com" in why
    assert "gpu-0 has 0 of " in why
    assert "shared-0" in why


def test_a_class_that_asks_for_an_attribute_carefully(told: Told) -> None:
    found = told("device-without-attribute", "careful-class")
    assert devices(found, "on-fake") == ["fake-0/gpu-0"]


def test_a_device_without_an_attribute_in_a_manifest(told: Told) -> None:
    """The scheduler's error stands alone: nothing is short."""
    found = told("device-without-attribute", "slice-by-hand")
    assert "CEL runtime error: no such key: type" in reason(found, "anywhere")
    assert "request gpu" not in reason(found, "anywhere")


def test_a_channel_for_each_pod(told: Told) -> None:
    """The reason is about the channels; six GPUs are free."""
    found = told("channel-per-pod", "each-pod")
    got = devices(found, "small")
    assert [got.count(name) for name in ("tray-0/channel-0", "tray-1/channel-0")] == [1, 1]
    assert [got.count(name) for name in ("tray-0/gpu-0", "tray-1/gpu-0")] == [1, 1]
    assert len(pending(found, "small")) == 8
    why = reason(found, "small")
    assert NO_DEVICES in why
    assert "request channel wants 1 of compute-domain-default-channel.nvidia.com" in why
    assert "request gpu" not in why
    drivers = pool(found, "tray")["drivers"]
    assert drivers["gpu.nvidia.com"] == {"devices": 8, "allocated": 2, "free": 6}


def test_a_channel_for_whole_nodes_alone(told: Told) -> None:
    found = told("channel-per-pod", "whole-node")
    assert pool(found, "tray")["drivers"]["gpu.nvidia.com"] == {"devices": 8, "allocated": 8, "free": 0}
    whole = {name.partition("/")[0] for name in devices(found, "whole")}
    small = {name.partition("/")[0] for name in devices(found, "small")}
    assert (len(whole), len(small)) == (1, 1)
    assert whole != small


def test_a_channel_that_pods_share(told: Told) -> None:
    """The claim is allocated for the fifth pod too, which therefore waits for a GPU of that node."""
    found = told("channel-per-pod", "shared")
    assert len({name.partition("/")[0] for name in devices(found, "small")}) == 1
    assert len(pending(found, "small")) == 1
    assert "request gpu wants 1 of gpu.nvidia.com" in reason(found, "small")
    assert pool(found, "tray")["drivers"]["gpu.nvidia.com"]["free"] == 4


def test_all_nics_beside_one_gpu(told: Told) -> None:
    """The scheduler's error stands alone: nothing on the node is in use when it comes."""
    found = told("all-nics", "stack")
    nics = ["pci-0000-1a-00-0", "pci-0000-1b-00-0"]
    assert devices(found, "all") == ["small-0/gpu-0", *(f"small-0/{name}" for name in nics)]
    assert devices(found, "exact") == ["large-0/gpu-0", *(f"large-0/{name}" for name in nics)]
    assert pending(found, "large")
    assert "cannot add device dra.net/large-0/pci-0000-2a-00-0" in reason(found, "large")
    assert "in use" not in reason(found, "large")
    assert [pool(found, name)["devices"] for name in ("small", "large")] == [3, 6]


def test_shares_of_gpus(told: Told) -> None:
    found = told("consumable-shares", "stack")
    of_any = [one for claim in claims(found, "any") for one in claim["devices"]]
    assert len({one["shareID"] for one in of_any}) == 12
    assert {one["device"] for one in of_any} == {"gpu-0"}
    assert all(one["consumedCapacity"] == {"memory": "0"} for one in of_any)
    assert (len(devices(found, "memory")), len(pending(found, "memory"))) == (4, 2)
    why = reason(found, "memory")
    assert NO_DEVICES in why
    assert "4091Mi" in why
    assert "memory-0" in why
    assert devices(found, "quarters").count("quarters-0/gpu-0") == devices(found, "quarters").count("quarters-0/gpu-1")
    assert (len(devices(found, "quarters")), len(pending(found, "quarters"))) == (8, 2)
    assert "0 of shares left" in reason(found, "quarters")
    assert "24 of 28 claims allocated" in found.summary
    assert {entry["name"]: entry["free"] for entry in found.pools} == {"any": 1, "memory": 1, "quarters": 0}
    assert pool(found, "memory")["left"] == {"memory-0/gpu-0": {"memory": "4091Mi"}}


def test_a_queues_sample_without_the_queue(told: Told) -> None:
    """Three pods take turns at the whole GPU; a suspended job has none, and is not waited for."""
    found = told("queue-sample", "named")
    assert [claim["state"] for claim in claims(found, "sample")] == ["released"] * 3
    assert claims(found, "suspended") == []
    assert pool(found, "cut")["allocated"] == 0


def test_a_gang_whose_first_pod_takes_too_much(told: Told) -> None:
    """Nobody may say that there are too few devices: the GPU is free, and has two halves."""
    found = told("gang-with-alternatives", "either")
    assert len(pending(found, "gang")) == 2
    whys = sorted(str(claim["reason"]) for claim in claims(found, "gang"))
    assert NO_DEVICES in whys[0]
    assert "minCount (2) cannot be satisfied" in whys[1]
    assert not any("wants" in why for why in whys)
    assert [found.pools[0][name] for name in ("devices", "allocated", "free")] == [3, 0, 3]


def test_a_gang_that_asks_for_halves(told: Told) -> None:
    found = told("gang-with-alternatives", "halves")
    assert devices(found, "gang") == ["node-0/gpu-0-half-0", "node-0/gpu-0-half-1"]


def test_alternatives_without_a_gang(told: Told) -> None:
    found = told("gang-with-alternatives", "no-gang")
    (one,) = (one for claim in claims(found, "pods") for one in claim["devices"])
    assert (one["request"], one["device"]) == ("gpu/whole", "gpu-0")
    assert "request gpu wants 1 of gpu.example.com" in reason(found, "pods")


def test_a_groups_claim_on_a_node_without_room(up: Up) -> None:
    """The claim counts as allocated for the pod that waits; that pod is nowhere else."""
    with up("group-claim", "one-waits") as stack:
        found = stack.report()
        assert not found.unexpected
        # First it says that the claim is in the process of being allocated.
        wait_until(lambda: "1 Insufficient cpu" in reason(stack.report(), "pair"))
    running, waiting = sorted(claims(found, "pair"), key=lambda claim: str(claim["podPhase"]), reverse=True)
    assert (running["podPhase"], waiting["podPhase"], waiting["node"]) == ("Running", "Pending", "")
    assert running["node"] == running["devices"][0]["pool"] == waiting["devices"][0]["pool"]


def test_a_groups_claim_on_a_node_with_room(told: Told) -> None:
    found = told("group-claim", "both-fit")
    assert len({(claim["node"], claim["podPhase"]) for claim in claims(found, "pair")}) == 1


def test_two_classes_for_one_extended_resource(up: Up) -> None:
    """The newest class serves all pods, or of two made in one second the first by name: never the other one."""
    with up("two-classes", "one-waits") as stack:
        found = stack.report()
        made = [entry["metadata"] for entry in stack.read() if entry["kind"] == "DeviceClass"]
    assert not found.unexpected
    newest = max(entry["creationTimestamp"] for entry in made)
    serving = min(entry["name"] for entry in made if entry["creationTimestamp"] == newest)
    ((one,),) = (claim["devices"] for claim in claims(found, "pods") if claim["devices"])
    assert one["driver"] == serving
    assert f"nvidia.com/gpu wants 1 of {serving}" in reason(found, "pods")


def test_a_class_without_its_extended_resource(told: Told) -> None:
    found = told("two-classes", "only-shared")
    ((one,),) = (claim["devices"] for claim in claims(found, "pods") if claim["devices"])
    assert (one["device"], one["consumedCapacity"]) == ("part-0", {"cores": "100"})
    assert "0 of cores left" in reason(found, "pods")
    assert pool(found, "whole")["free"] == 1


@pytest.mark.parametrize("stack", ["roomy", "tight"])
def test_a_job_whose_pods_share_a_claim(up: Up, stack: str) -> None:
    """Of four pods two run at a time if there are GPUs for two; the shared claim is free in the end."""
    with up("job-with-two-claims", stack) as live:
        found = live.report()
        (shared,) = (entry for entry in live.read() if entry["metadata"]["name"] == "shared")
    assert not found.unexpected
    assert [claim["state"] for claim in claims(found, "job")] == ["released"] * 8
    assert len({claim["pod"] for claim in claims(found, "job")}) == 4
    assert "allocation" not in shared.get("status", {})
    assert found.pools[0]["allocated"] == 0


@pytest.mark.parametrize("name", EDGES)
def test_edges_of_the_allocators_rules(cluster: LiveCluster, name: str) -> None:
    found = compare(cluster, EDGES[name].stack)
    assert not found.disagreements, str(found)


def test_random_stacks(cluster: LiveCluster) -> None:
    """Nothing is refused that runs, and what waits has to, for what the reason names."""
    found = run(cluster, range(FIRST, FIRST + STACKS))
    print(found)
    assert not found.disagreements, str(found)
