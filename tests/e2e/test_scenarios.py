"""Each scenario on the real control plane: as expected, as an independent reader finds it, nothing to do again.

Each comes in the place of the one before: in the same cluster, as long as it needs no other.
"""

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.project import SCENARIOS, Project, processes_of, wait_until
from tests.e2e.reader import Object, Reader

NEWER, OLDER = "1.37.2", "1.36.3"
NEWER_ONLY = {
    "compatibility-groups",
    "derived-attributes",
    "list-attributes",
    "node-allocatable-resources",
    "optional-node-operations",
}
"""The scenarios of features that the older Kubernetes does not have."""
THE_SAME_ON_BOTH = {
    "all-devices",
    "cel-selector",
    "jobs",
    "match-attribute",
    "multiple-allocations-partitionable",
    "opaque-config",
    "order",
    "oversubscribed",
    "prioritized-list",
    "priorities",
    "queues",
    "schedulers",
    "shared-claim",
}
"""Neither our code nor Kubernetes' features make a difference for these: on 1.36 they are a part of `make soak`."""
OWN_CLUSTER = NEWER_ONLY | {
    "binding-conditions",
    "device-taint-rules",
    "fabric",
    "manifests",
    "pod-group",
    "pod-group-claim",
    "resource-pool-status",
}
"""Those with gates, APIs or stages of their own: they come last, as they replace the cluster."""
ALL = os.environ.get("SCENARIOS") == "all"
KINDS = "pods,resourceclaims,resourceslices,nodes,jobs"
OF_QUEUE = r"^(admitted by queue \S+, but|queue \S+:) "
"""How reasons begin that are about a queue."""


class Seen:
    """What a scenario's outputs say, and what the cluster says."""

    def __init__(self, project: Project) -> None:
        outputs = project.outputs()
        self.project = project
        self.claims: list[Object] = outputs["claims"]
        self.pools: list[Object] = outputs["pools"]
        held = any(claim["podPhase"] == "Suspended" for claim in self.claims)
        self.reader = Reader(project.get(f"{KINDS},workloads.kueue.x-k8s.io" if held else KINDS))

    def of(self, workload: str) -> list[Object]:
        """Return the claims of a workload."""
        return [claim for claim in self.claims if claim["workload"] == workload]

    def satisfied(self, workload: str) -> list[Object]:
        """Return those that have devices."""
        return [claim for claim in self.of(workload) if claim["devices"]]

    def pending(self, workload: str) -> Object:
        """Return the only claim of a workload that has to wait."""
        (claim,) = (claim for claim in self.of(workload) if claim["state"] == "pending")
        assert claim["podPhase"] == "Pending"
        return claim

    def pool(self, name: str) -> Object:
        """Return the entry of a pool."""
        (found,) = (pool for pool in self.pools if pool["name"] == name)
        return found


def devices(*claims: Object) -> list[str]:
    """Return the names of the devices that claims have, in order."""
    return sorted(device["device"] for claim in claims for device in claim["devices"])


def in_order(scenarios: set[str]) -> list[str]:
    """Return scenarios in an order in which few replace the cluster."""
    return sorted(scenarios, key=lambda scenario: (scenario in OWN_CLUSTER, scenario))


@pytest.fixture(scope="module")
def chain(new_project: Callable[[], Project]) -> Iterator[Project]:
    """Return a project for one scenario after the other, in which a stack waits for its configuration."""
    project = new_project()
    project.select("chain")
    yield project
    project.destroy()
    assert project.resources() == []
    assert processes_of(project.clusters) == []
    assert list(project.clusters.iterdir()) == []


@pytest.mark.parametrize("scenario", in_order({*SCENARIOS}))
def test_scenario(chain: Project, scenario: str) -> None:
    check(chain, scenario, NEWER)


@pytest.mark.parametrize("scenario", in_order({*SCENARIOS} - NEWER_ONLY - (set() if ALL else THE_SAME_ON_BOTH)))
def test_scenario_on_the_older_kubernetes(chain: Project, scenario: str) -> None:
    check(chain, scenario, OLDER)


def check(project: Project, scenario: str, version: str) -> None:
    """Bring a scenario up, look at what became of it, and do so again with nothing to do."""
    stacks = project.source / "stacks"
    shutil.copy(stacks / f"Pulumi.{scenario}.yaml", stacks / "Pulumi.chain.yaml")
    with project.configuration("chain") as config:
        config["cluster"] = config.get("cluster", {}) | {"kubeVersion": version}
    check_warnings(project.up())
    assert project.kubectl("get", "--raw", "/version")["gitVersion"] == f"v{version}"
    seen = Seen(project)
    check_expectations(seen, [*config.get("workloads", []), *config.get("manifests", [])])
    check_outputs(seen)
    FACTS[scenario](seen)
    project.up("--expect-no-changes")
    assert project.outputs()["claims"] == seen.claims


def check_warnings(said: str) -> None:
    """Check that nothing is warned of but the scheduler's refusals, which Pulumi hands on where a Pod is refused."""
    warnings = [line for line in said.splitlines() if "warning" in line]
    assert [line for line in warnings if "FailedScheduling" not in line] == []


def check_expectations(seen: Seen, workloads: list[dict[str, Any]]) -> None:
    """Check that as many claims have devices, or had them, and as many wait, as the scenario says."""
    for workload in workloads:
        states = [claim["state"] for claim in seen.of(workload["name"])]
        pending = states.count("pending")
        assert {"allocated": len(states) - pending, "pending": pending} == {"pending": 0} | workload["expect"]


def check_outputs(seen: Seen) -> None:
    """Check that claims and pools are what kubectl shows; what is wrong with devices is among the facts."""
    reasons = {claim["pod"]: claim["reason"] for claim in seen.claims if "reason" in claim}
    told = [claim | {"devices": [without(device, "taints") for device in claim["devices"]]} for claim in seen.claims]
    assert [without(claim, "reason") for claim in told] == seen.reader.claims()
    assert [{key: pool[key] for key in ("name", "nodes", "devices", "allocated")} for pool in seen.pools] == (
        seen.reader.pools()
    )
    refusals = seen.reader.refusals()
    assert reasons.keys() == refusals.keys()
    for pod, reason in reasons.items():
        refusal = re.split(" still not|, pod group preemption:| preemption:", refusals[pod])[0]
        reason = re.sub(OF_QUEUE, "", reason)
        assert reason.split("; ")[0].removesuffix(".") == refusal.removesuffix(".")


def without(entry: Object, name: str) -> Object:
    """Return all but a key."""
    return {key: value for key, value in entry.items() if key != name}


# What is to be seen.


def shared_claim(seen: Seen) -> None:
    together = seen.of("together")
    assert {(claim["namespace"], claim["name"]) for claim in together} == {("team-a", "pair")}
    assert len({claim["pod"] for claim in together}) == 3
    assert len({claim["node"] for claim in together}) == 1
    (pair,) = (claim for claim in seen.reader.by_kind["ResourceClaim"] if claim["metadata"]["name"] == "pair")
    assert {user["name"] for user in pair["status"]["reservedFor"]} == {claim["pod"] for claim in together}
    (split,) = seen.of("split")
    assert [device["request"] for device in split["devices"]] == ["left", "right"]
    (pod,) = (pod for pod in seen.reader.by_kind["Pod"] if pod["metadata"]["name"] == "split-0")
    assert [container["resources"]["claims"] for container in pod["spec"]["containers"]] == [
        [{"name": "gpus", "request": "left"}],
        [{"name": "gpus", "request": "right"}],
    ]
    assert seen.pool("gpu")["allocated"] == 4


def all_devices(seen: Seen) -> None:
    (single,) = seen.of("single")
    (whole,) = seen.satisfied("whole-node")
    assert devices(single) == ["gpu-0"]
    assert devices(whole) == ["gpu-0", "gpu-1", "gpu-2", "gpu-3"]
    assert {single["node"], whole["node"]} == {"gpu-0", "gpu-1"}
    assert "2 cannot allocate all claims" in seen.pending("whole-node")["reason"]
    assert seen.pool("gpu")["free"] == 3


def cel_selector(seen: Seen) -> None:
    assert {claim["node"] for claim in seen.of("large-memory")} == {"a100-80gb-0"}
    assert {claim["node"] for claim in seen.of("new-driver")} == {"l4-0"}
    assert {claim["node"] for claim in seen.of("by-product")} == {"a100-40gb-0"}
    assert seen.pending("no-such-gpu")["reason"].endswith("wants 1 of gpu.nvidia.com, but no device matches")


def prioritized_list(seen: Seen) -> None:
    given = [[(device["request"], device["device"]) for device in claim["devices"]] for claim in seen.of("inference")]
    assert sorted(given) == [[], [("gpu/large", "gpu-0")], [("gpu/small", "gpu-1"), ("gpu/small", "gpu-2")]]
    reason = seen.pending("inference")["reason"]
    assert "no node has more than 0 free of 1 that match, or 2 of" in reason
    assert "no node has more than 1 free of 3 that match" in reason


def admin_access(seen: Seen) -> None:
    (monitor,) = seen.of("monitor")
    assert devices(*seen.of("training")) == devices(monitor) == ["gpu-0", "gpu-1", "gpu-2", "gpu-3"]
    assert [device["adminAccess"] for device in monitor["devices"]] == [True] * 4
    assert not any("adminAccess" in device for claim in seen.of("training") for device in claim["devices"])
    (namespace,) = (entry for entry in seen.project.get("namespaces") if entry["metadata"]["name"] == "monitoring")
    assert namespace["metadata"]["labels"]["resource.kubernetes.io/admin-access"] == "true"
    assert seen.pool("gpu")["allocated"] == 4


def extended_resource(seen: Seen) -> None:
    (by_name,) = seen.of("by-name")
    (by_class,) = seen.of("by-class")
    assert devices(by_name) == ["gpu-0", "gpu-1"]
    assert devices(by_class) == ["gpu-2"]
    assert seen.pending("too-many")["name"] == ""
    assert all("resourceClaims" not in pod["spec"] for pod in seen.reader.by_kind["Pod"])
    made = seen.reader.claim_objects["default", by_name["name"]]
    assert made["metadata"]["annotations"] == {"resource.kubernetes.io/extended-resource-claim": "true"}
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("Pod", "by-name-0")
    assert seen.pool("l4")["free"] == 1


def consumable_capacity(seen: Seen) -> None:
    (replicated,) = seen.of("replicated")
    assert devices(replicated) == ["gpu-0", "gpu-1"]
    serving = seen.satisfied("serving")
    assert Counter(devices(*serving)) == {"gpu-0": 2, "gpu-1": 2}
    parts = [device for claim in (replicated, *serving) for device in claim["devices"]]
    assert len({device["shareID"] for device in parts}) == 6
    taken = Counter(tuple(sorted(device["consumedCapacity"].items())) for device in parts)
    assert taken == {
        (("compute", "20"), ("memory", "20Gi")): 2,
        (("compute", "30"), ("memory", "30Gi")): 4,
    }
    assert "cannot allocate all claims" in seen.pending("serving")["reason"]
    assert seen.pool("shared") == {"name": "shared", "nodes": 1, "devices": 2, "allocated": 2, "free": 0}


def partitionable(seen: Seen) -> None:
    (whole,) = devices(*seen.of("whole"))
    quarters = devices(*seen.of("quarter"))
    assert whole.endswith("-full")
    other = {"gpu-0-full": "gpu-1", "gpu-1-full": "gpu-0"}[whole]
    assert quarters == [f"{other}-partition-{index}" for index in range(3)]
    assert "no node has more than 0 free of 2 that match" in seen.pending("second-whole")["reason"]
    assert seen.pool("gpu") | {"devices": 10, "allocated": 4, "free": 1, "fits": {"gpu-partition": 1}} == (
        seen.pool("gpu")
    )


def match_attribute(seen: Seen) -> None:
    (aligned,) = seen.satisfied("aligned")
    assert devices(*seen.of("only-gpus")) == ["gpu-4", "gpu-5", "gpu-6", "gpu-7"]
    (nic,) = {"pci-0000-18-00-0", "pci-0000-40-00-0", "pci-0000-4f-00-0", "pci-0000-5e-00-0"}.difference(
        devices(*seen.of("only-nics"))
    )
    gpu = {"18": "gpu-0", "40": "gpu-1", "4f": "gpu-2", "5e": "gpu-3"}[nic.split("-")[2]]
    assert {device["request"]: device["device"] for device in aligned["devices"]} == {"gpu": gpu, "nic": nic}
    assert seen.pool("hgx")["free"] == 7
    root = "no devices that are free on hgx-0 meet the constraint matchAttribute resource.kubernetes.io/pcieRoot"
    assert seen.pending("aligned")["reason"].endswith(f"1 cannot allocate all claims; {root}")


def opaque_config(seen: Seen) -> None:
    (claim,) = seen.of("notebooks")
    assert [device["request"] for device in claim["devices"]] == ["sliced", "whole"]
    allocation = seen.reader.claim_objects["default", claim["name"]]["status"]["allocation"]
    (config,) = allocation["devices"]["config"]
    assert config["source"] == "FromClaim"
    assert config["requests"] == ["sliced"]
    assert config["opaque"]["driver"] == "gpu.nvidia.com"
    assert config["opaque"]["parameters"]["sharing"] == {
        "strategy": "TimeSlicing",
        "timeSlicingConfig": {"interval": "Long"},
    }


def oversubscribed(seen: Seen) -> None:
    assert Counter(claim["node"] for claim in seen.satisfied("training")) == {"gpu-0": 2, "gpu-1": 2}
    reasons = [claim["reason"] for claim in seen.of("training") if not claim["devices"]]
    assert len(reasons) == 2
    assert all("no node has more than 0 free of 2 that match" in reason for reason in reasons)
    assert seen.pool("gpu")["free"] == 0


def order(seen: Seen) -> None:
    (first,) = seen.of("first")
    assert devices(first) == ["gpu-0", "gpu-1"]
    assert devices(*seen.of("second")) == ["gpu-2"]
    pods = {pod["metadata"]["name"]: pod for pod in seen.reader.by_kind["Pod"]}
    for before, after in (
        ("first-0", "second-0"),
        ("first-0", "second-1"),
        ("second-0", "last-0"),
        ("second-1", "last-0"),
    ):
        # In whole seconds.
        assert decided(pods[before]) <= pods[after]["metadata"]["creationTimestamp"]
    assert "no node has more than 0 free of 3 that match" in seen.pending("last")["reason"]


def decided(pod: Object) -> str:
    """Return when the scheduler gave the pod a node, or refused it."""
    times = [entry["lastTransitionTime"] for entry in pod["status"]["conditions"] if entry["type"] == "PodScheduled"]
    return str(times[0])


def priorities(seen: Seen) -> None:
    classes = {entry["metadata"]["name"]: entry["value"] for entry in seen.project.get("priorityclasses")}
    assert (classes["batch"], classes["production"]) == (100, 1000)
    priority = {pod["metadata"]["labels"]["app"]: pod["spec"]["priority"] for pod in seen.reader.by_kind["Pod"]}
    assert priority == {"training": 100, "serving": 1000, "holder": 100, "urgent": 1000}
    # For cpu: its GPU is free, and that of the pod that is gone, too.
    (serving,) = seen.satisfied("serving")
    (event,) = (entry for entry in seen.project.get("events") if entry["reason"] == "Preempted")
    assert seen.project.outputs()["preempted"] == [
        {
            "pod": event["involvedObject"]["name"],
            "namespace": "default",
            "workload": "training",
            "node": "shared-0",
            "by": {"pod": serving["pod"], "namespace": "default", "workload": "serving"},
        }
    ]
    assert len(seen.satisfied("training")) == 1
    assert "1 Insufficient cpu" in seen.pending("training")["reason"]
    assert seen.pool("shared")["free"] == 2
    # Not for devices.
    assert devices(*seen.of("holder")) == ["gpu-0", "gpu-1"]
    assert "no node that the pod may run on has more than 0 free of 2 that match" in seen.pending("urgent")["reason"]


def jobs(seen: Seen) -> None:
    assert [(claim["podPhase"], claim["state"], claim["devices"]) for claim in seen.of("batch")] == (
        [("Succeeded", "released", [])] * 6
    )
    wait_until(lambda: "completionTime" in seen.project.get("jobs")[0]["status"])  # its controller counts them last
    (job,) = seen.project.get("jobs")
    assert job["status"]["succeeded"] == 6
    (server,) = seen.of("server")
    assert devices(server) == ["gpu-0", "gpu-1"]
    held = [claim for claim in seen.reader.by_kind["ResourceClaim"] if "allocation" in claim.get("status", {})]
    assert [claim["metadata"]["name"] for claim in held] == [server["name"]]


def pod_group(seen: Seen) -> None:
    assert len(seen.satisfied("first")) == 4
    second = seen.of("second")
    assert [claim["podPhase"] for claim in second] == ["Pending"] * 4
    assert Counter("pod group is unschedulable" in claim["reason"] for claim in second) == {True: 3, False: 1}
    # There would have been room for three of them.
    assert seen.pool("gpu") == {"name": "gpu", "nodes": 2, "devices": 8, "allocated": 5, "free": 3}
    groups = [(pod["metadata"]["name"].split("-")[0], pod["spec"].get("schedulingGroup")) for pod in pods(seen)]
    assert sorted(name for name, group in groups if group == {"podGroupName": name}) == ["first"] * 4 + ["second"] * 4
    assert [name for name, group in groups if group is None] == ["single"]
    (first, second_group) = seen.project.get("podgroups")
    assert [entry["spec"]["schedulingPolicy"] for entry in (first, second_group)] == [{"gang": {"minCount": 4}}] * 2
    assert [entry["status"]["conditions"][0]["status"] for entry in (first, second_group)] == ["True", "False"]


def pods(seen: Seen) -> list[Object]:
    return seen.reader.by_kind["Pod"]


def pod_group_claim(seen: Seen) -> None:
    groups = {entry["metadata"]["name"]: entry for entry in seen.project.get("podgroups")}
    workers, (leader,) = seen.of("workers"), seen.of("leader")
    assert [claim["name"] for claim in (leader, *workers)] == ["pair"] * 4
    assert len({(claim["node"], *devices(claim)) for claim in (leader, *workers)}) == 1
    assert users(seen, "pair") == [("pods", "leader-0"), ("podgroups", "workers")]
    (made,) = groups["alone"]["status"]["resourceClaimStatuses"]
    (alone,) = seen.of("alone")
    assert alone["name"] == made["resourceClaimName"]
    assert users(seen, alone["name"]) == [("podgroups", "alone")]
    (owner,) = seen.reader.claim_objects["default", alone["name"]]["metadata"]["ownerReferences"]
    assert owner["uid"] == groups["alone"]["metadata"]["uid"]
    assert groups["alone"]["spec"]["schedulingPolicy"] == {"basic": {}}
    assert seen.pool("gpu")["allocated"] == 3


def users(seen: Seen, claim: str) -> list[tuple[str, str]]:
    """Return for what a claim is reserved: kind and name."""
    consumers = seen.reader.claim_objects["default", claim]["status"]["reservedFor"]
    return [(consumer["resource"], consumer["name"]) for consumer in consumers]


def list_attributes(seen: Seen) -> None:
    assert devices(*seen.of("apart")) == ["nic-0", "nic-2"]
    (near,) = seen.satisfied("near")
    assert {device["request"]: device["device"] for device in near["devices"]} == {"gpu": "gpu-2", "nic": "nic-1"}
    assert (
        "request nic wants 1 of nic.example.com, but no node has more than 0 free of 2 that match"
        in (seen.pending("near")["reason"])
    )
    assert seen.pool("host")["free"] == 3


def derived_attributes(seen: Seen) -> None:
    (aligned,) = seen.satisfied("aligned")
    assert {device["request"]: device["device"] for device in aligned["devices"]} == {"gpu": "gpu-1", "nic": "nic-0"}
    # A GPU and a NIC are free, but not on one node.
    assert seen.pool("host")["free"] == 2
    reason = "no devices that are free on host-0 meet the constraint matchAttribute derived/node"
    assert seen.pending("aligned")["reason"].endswith(reason)


def compatibility_groups(seen: Seen) -> None:
    assert devices(*seen.of("mig")) == ["gpu-0-mig-0", "gpu-0-mig-1"]
    assert devices(*seen.satisfied("vgpu")) == ["gpu-1-vgpu-0", "gpu-1-vgpu-1"]
    assert "no node has more than 0 free of 4 that match" in seen.pending("vgpu")["reason"]
    # Of four devices of each GPU two are of the other kind, which is out of reach although there are counters left.
    assert seen.pool("gpu") == {"name": "gpu", "nodes": 1, "devices": 8, "allocated": 4, "free": 0}


def optional_node_operations(seen: Seen) -> None:
    declared = {
        node["metadata"]["name"]: node["status"].get("declaredFeatures") for node in seen.reader.by_kind["Node"]
    }
    assert declared == {"new-0": ["DRAOptionalNodeOperations"], "old-0": None}
    (anywhere,) = seen.of("anywhere")
    assert anywhere["node"] == "new-0"
    allocation = seen.reader.claim_objects["default", anywhere["name"]]["status"]["allocation"]
    assert [result["skipNodeOperations"] for result in allocation["devices"]["results"]] == [["*"]]
    assert "1 cannot allocate all claims" in seen.pending("on-old")["reason"]
    assert (seen.pool("new")["free"], seen.pool("old")["free"]) == (1, 2)


def multiple_allocations_partitionable(seen: Seen) -> None:
    shares = seen.of("share")
    # Two fit on a part. The scheduler counts a share twice while it writes it, and may begin the next part early.
    parts = Counter(devices(*shares))
    assert parts.total() == 3
    assert max(parts.values()) <= 2
    assert all(re.fullmatch("gpu-0-partition-[0-3]", part) for part in parts)
    assert len({device["shareID"] for claim in shares for device in claim["devices"]}) == 3
    assert "no node has more than 0 free of 1 that match" in seen.pending("whole")["reason"]
    pool = seen.pool("gpu")
    free = 4 - sum(count == 2 for count in parts.values())
    assert pool | {"devices": 5, "allocated": len(parts), "free": free, "fits": {"gpu-partition": free}} == pool
    left = {f"gpu-0/{part}": {"compute": "15", "memory": "10Gi"} for part, count in parts.items() if count == 1}
    assert pool["left"] == left


def node_allocatable_resources(seen: Seen) -> None:
    pinned = seen.satisfied("pinned")
    assert devices(*pinned) == ["cpudevnuma000", "cpudevnuma001"]
    # The third device is free, but the node's CPUs are not.
    assert seen.pool("host")["free"] == 1
    assert seen.pending("pinned")["reason"] == "0/1 nodes are available: 1 Insufficient cpu."
    counted = {
        entry["resourceClaimName"]: entry["mapping"]
        for pod in seen.reader.by_kind["Pod"]
        for entry in pod["status"].get("nodeAllocatableResourceClaimStatuses", [])
    }
    assert counted == {claim["name"]: [{"name": "cpu", "quantity": "8"}] for claim in pinned}


def manifests(seen: Seen) -> None:
    assert [(claim["namespace"], claim["pod"]) for claim in seen.of("quickstart")] == [
        ("quickstart", "pod1"),
        ("quickstart", "pod2"),
    ]
    assert len(set(devices(*seen.of("quickstart")))) == 2
    assert [(claim["podPhase"], claim["state"]) for claim in seen.of("batch")] == [("Succeeded", "released")] * 2
    # As the files have them, in the version in which they have them.
    kinds = set(seen.project.resources())
    assert {f"kubernetes:resource.k8s.io/{version}:ResourceClaimTemplate" for version in ("v1", "v1beta1")} <= kinds
    pods = {pod["metadata"]["name"]: pod["spec"] for pod in seen.reader.by_kind["Pod"]}
    assert pods["pod1"]["containers"][0]["command"] == ["bash", "-c", "nvidia-smi -L; sleep infinity"]
    assert seen.pool("l4")["free"] == 1


def resource_pool_status(seen: Seen) -> None:
    wait_until(lambda: "status" in question(seen))
    (pool,) = question(seen)["status"]["pools"]
    assert (pool["driver"], pool["poolName"], pool["nodeName"]) == ("gpu.example.com", "gpu-0", "gpu-0")
    assert seen.pool("gpu") == {
        "name": "gpu",
        "nodes": 1,
        "devices": pool["totalDevices"],
        "allocated": pool["allocatedDevices"],
        "free": pool["availableDevices"],
    }
    assert (pool["totalDevices"], pool["allocatedDevices"], pool["unavailableDevices"]) == (4, 3, 0)


def question(seen: Seen) -> Object:
    """Return the only ResourcePoolStatusRequest."""
    (found,) = seen.project.get("resourcepoolstatusrequests")
    return found


def binding_conditions(seen: Seen) -> None:
    training = seen.of("training")
    assert devices(*training) == ["gpu-1", "gpu-2", "gpu-3"]
    assert [device["conditions"] for claim in training for device in claim["devices"]] == (
        [{"BindingConditions": "True"}] * 3
    )
    pool = seen.pool("fabric")
    assert pool | {"devices": 4, "allocated": 3, "free": 0, "tainted": 1} == pool
    (rule,) = seen.project.get("devicetaintrules")
    assert rule["spec"]["deviceSelector"] == {"driver": "gpu.example.com", "pool": "fabric-0", "device": "gpu-0"}
    assert rule["spec"]["taint"]["key"] == "kwok-dra/attach-failed"
    assert rule["metadata"]["labels"] == {"kwok-dra/attach-fails": "fabric"}
    wait_until(lambda: any("device binding failed" in message and "AttachFailed" in message for message in said(seen)))


def fabric(seen: Seen) -> None:
    """The nodes of the fabric get its devices; the first of them fails to attach, and the local GPU comes first."""
    places = [(claim["node"], device["pool"], device["device"]) for claim in seen.claims for device in claim["devices"]]
    assert sorted(place[1:] for place in places) == [
        *(("fabric-a", f"gpu-{index}") for index in (1, 2)),
        ("local-0", "gpu-0"),
        *(("switch", f"port-{index}") for index in (0, 1)),
    ]
    assert {node for node, pool, _ in places if pool == "fabric-a"} <= {"host-0", "host-1"}
    assert [node for node, _, device in places if device == "port-0"] == ["host-0"]
    assert seen.pending("training")["reason"].endswith(
        "request gpu wants 1 of gpu.example.com, but no node has more than 0 free of 3 that match: on host-0, gpu-0 "
        "has taint kwok-dra/attach-failed:NoSchedule"
    )
    assert seen.pool("fabric-a") == (
        {"name": "fabric-a", "nodes": 2, "devices": 3, "allocated": 2, "free": 0, "tainted": 1, "fabric": True}
    )
    assert seen.pool("switch") == (
        {"name": "switch", "nodes": 3, "devices": 2, "allocated": 2, "free": 0, "fabric": True}
    )
    (rule,) = seen.project.get("devicetaintrules")
    assert rule["spec"]["deviceSelector"] == {"driver": "gpu.example.com", "pool": "fabric-a", "device": "gpu-0"}
    assert rule["metadata"]["labels"] == {"kwok-dra/attach-fails": "fabric-a"}


def said(seen: Seen) -> list[str]:
    """Return what the scheduler has said of pods; events come when they come."""
    return [event["message"] for event in seen.project.get("events") if event["reason"] == "FailedScheduling"]


def taints(*claims: Object) -> list[tuple[str, list[str]]]:
    """Return the devices that claims have, in order, each with its taints."""
    return sorted((device["device"], device.get("taints", [])) for claim in claims for device in claim["devices"])


def device_taints(seen: Seen) -> None:
    assert taints(*seen.of("diagnosis")) == [("gpu-0", ["gpu.example.com/unhealthy:NoSchedule"])]
    assert taints(*seen.of("checkpoint")) == [("gpu-1", ["gpu.example.com/unhealthy=xid-79:NoExecute"])]
    assert taints(*seen.satisfied("training")) == [("gpu-2", ["gpu.example.com/warm:None"])]
    assert "no node has more than 0 free of 3 that match" in seen.pending("training")["reason"]
    assert seen.pool("gpu") == {"name": "gpu", "nodes": 1, "devices": 3, "allocated": 3, "free": 0, "tainted": 3}
    published = [device for entry in seen.reader.by_kind["ResourceSlice"] for device in entry["spec"]["devices"]]
    assert [[taint["effect"] for taint in device["taints"]] for device in published] == (
        [["NoSchedule"], ["NoExecute"], ["None"]]
    )


def device_taint_rules(seen: Seen) -> None:
    (firmware,) = seen.of("firmware")
    assert firmware["node"] == "host-0"
    assert taints(firmware) == [(f"gpu-{index}", ["example.com/maintenance:NoExecute"]) for index in range(2)]
    (training,) = seen.satisfied("training")
    assert (training["node"], taints(training)) == ("host-1", [("gpu-1", [])])
    assert "no node has more than 0 free of 2 that match" in seen.pending("training")["reason"]
    pool = seen.pool("host")
    assert pool | {"devices": 4, "allocated": 3, "free": 0, "tainted": 3} == pool
    rules = {rule["metadata"]["name"]: rule["spec"]["taint"]["effect"] for rule in seen.project.get("devicetaintrules")}
    assert rules == {"maintenance": "NoExecute", "suspect": "NoSchedule"}
    # The taints are the administrator's alone.
    published = [device for entry in seen.reader.by_kind["ResourceSlice"] for device in entry["spec"]["devices"]]
    assert not any("taints" in device for device in published)


def schedulers(seen: Seen) -> None:
    assert len({claim["node"] for claim in seen.of("packing")}) == 1
    assert len({claim["node"] for claim in seen.of("spreading")}) == 3


def queues(seen: Seen) -> None:
    assert len(seen.satisfied("training")) == 2  # of its own four GPUs, and two that it borrows
    serving = seen.pending("serving")
    assert serving["reason"].startswith("admitted by queue team-b, but 0/2 nodes are available: 2 cannot allocate")
    assert [(claim["pod"], claim["podPhase"]) for claim in seen.of("sweep")] == [
        ("sweep-0", "Suspended"),
        ("sweep-1", "Suspended"),
    ]
    short = "insufficient unused quota for nvidia.com/gpu in flavor h100, 2 more needed"
    assert {claim["reason"] for claim in seen.of("sweep")} == {
        f"queue team-b: couldn't assign flavors to pod set main: {short}"
    }


FACTS: dict[str, Callable[[Seen], None]] = {
    "admin-access": admin_access,
    "all-devices": all_devices,
    "binding-conditions": binding_conditions,
    "cel-selector": cel_selector,
    "compatibility-groups": compatibility_groups,
    "consumable-capacity": consumable_capacity,
    "derived-attributes": derived_attributes,
    "device-taint-rules": device_taint_rules,
    "device-taints": device_taints,
    "extended-resource": extended_resource,
    "fabric": fabric,
    "jobs": jobs,
    "list-attributes": list_attributes,
    "manifests": manifests,
    "match-attribute": match_attribute,
    "multiple-allocations-partitionable": multiple_allocations_partitionable,
    "node-allocatable-resources": node_allocatable_resources,
    "opaque-config": opaque_config,
    "optional-node-operations": optional_node_operations,
    "order": order,
    "oversubscribed": oversubscribed,
    "partitionable": partitionable,
    "pod-group": pod_group,
    "pod-group-claim": pod_group_claim,
    "priorities": priorities,
    "prioritized-list": prioritized_list,
    "queues": queues,
    "resource-pool-status": resource_pool_status,
    "schedulers": schedulers,
    "shared-claim": shared_claim,
}
