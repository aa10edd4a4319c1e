"""What the status says of the jobs and pods that Kueue holds."""

from typing import Any

import pytest

from topology.checks.validation import load
from topology.schema.stack import Topology
from topology.status import live_objects
from topology.status.evictions import FIT
from topology.status.live_objects import LiveObjects, is_refused, refusal
from topology.status.pending_changes import may_change
from topology.status.report import kinds, report
from topology.status.workload_progress import Expected, progress

Object = dict[str, Any]

LABEL = "kueue.x-k8s.io/queue-name"
SHORT = (
    "couldn't assign flavors to pod set main: insufficient unused quota for nvidia.com/gpu in flavor f, 2 more needed"
)
NO_NODE = "0/2 nodes are available: 2 cannot allocate all claims."
CLAIMS = [{"name": "gpu", "resourceClaimTemplateName": "t"}]


def live(kind: str, name: str, spec: Object | None = None, status: Object | None = None, **metadata: Any) -> Object:
    named = {"name": name, "namespace": "default", "uid": f"uid of {name}", "labels": {LABEL: "a"}, "generation": 1}
    return {"kind": kind, "metadata": named | metadata, "spec": spec or {}, "status": status or {}}


def job(count: int = 3, suspend: bool = True, **status: Any) -> Object:
    template = {"spec": {"containers": [{"name": "c"}], "resourceClaims": CLAIMS}}
    spec = {"suspend": suspend, "completions": count, "parallelism": count, "template": template}
    return live("Job", "train", spec, status)


def pod(name: str = "p", *, gated: bool = True, message: str = "blocked by gates", **metadata: Any) -> Object:
    gates = {"schedulingGates": [{"name": "kueue.x-k8s.io/admission"}]} if gated else {}
    conditions = [{"type": "PodScheduled", "status": "False", "message": message}, {"type": "Other", "status": "True"}]
    claims = {"resourceClaimStatuses": [{"name": "gpu", "resourceClaimName": f"{name}-gpu"}]}
    spec = {"containers": [{"name": "c"}], "resourceClaims": CLAIMS} | gates
    return live("Pod", name, spec, {"phase": "Pending", "conditions": conditions} | claims, **metadata)


def admission(kind: str = "Job", name: str = "train", **conditions: tuple[str, str]) -> Object:
    """Return the Workload for an object, with the status and the message of each condition."""
    found = [{"type": type_, "status": status, "message": text} for type_, (status, text) in conditions.items()]
    owner = {"kind": kind, "name": name, "uid": f"uid of {name}"}
    return live("Workload", f"{kind.lower()}-{name}", {}, {"conditions": found}, ownerReferences=[owner])


def expected(kind: str = "Job", name: str = "train", pending: int = 3) -> Expected:
    return Expected("workloads", "train", ((kind, "default", name),), 0, pending, 5)


def stack(kind: str = "Job", **values: Any) -> Topology:
    claims = [{"name": "gpu", "requests": [{"name": "gpu", "deviceClass": "gpu.nvidia.com"}]}]
    entry = {"name": "train", "kind": kind, "queue": "a", "claims": claims} | values
    return load(
        {
            "cluster": {"name": "x"},
            "controllers": [{"name": "kueue"}],
            "queues": [{"name": "a", "flavors": [{"name": "f", "quotas": {"nvidia.com/gpu": 4}}]}],
            "nodePools": [{"name": "n", "gpu": "h100"}],
            "workloads": [entry],
        }
    )


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        ({"QuotaReserved": ("False", f"{SHORT}.")}, SHORT),
        ({"QuotaReserved": ("False", SHORT), "Admitted": ("False", "no reservation")}, SHORT),
        ({"QuotaReserved": ("True", "reserved"), "Admitted": ("False", "waits\nfor a check")}, "waits for a check"),
        (
            {
                "QuotaReserved": ("False", SHORT),
                "Evicted": ("True", "Preempted to accommodate a workload (UID: 1, JobUID: uid of other) due to x"),
            },
            f"{SHORT}; evicted before: Preempted to accommodate Job other due to x",
        ),
        (
            {
                "QuotaReserved": ("False", SHORT),
                "Evicted": ("True", "Preempted to accommodate a workload (UID: 1, JobUID: 2) due to x"),
            },
            f"{SHORT}; evicted before: Preempted to accommodate another workload due to x",
        ),
        ({"QuotaReserved": ("False", SHORT), "Evicted": ("False", "requeued")}, SHORT),
        # Not decided yet, or about to be decided again.
        ({}, ""),
        ({"QuotaReserved": ("True", "reserved"), "Admitted": ("True", "admitted")}, ""),
        ({"QuotaReserved": ("False", f"{SHORT}. Pending the preemption of 1 workload(s)")}, ""),
        ({"QuotaReserved": ("False", "Preempted to accommodate a workload (UID: 1, JobUID: 2) due to x")}, ""),
    ],
)
@pytest.mark.parametrize("kind", ["Job", "Pod"])
def test_kueue_has_its_say(kind: str, conditions: dict[str, tuple[str, str]], said: str) -> None:
    held = job(1) if kind == "Job" else pod("train")
    found = LiveObjects([held, admission(kind, "train", **conditions), admission("Job", "other")], queues=True)
    (waiting,) = found.pods_of([(kind, "default", "train")])
    assert is_refused(waiting) == bool(said)
    assert refusal(waiting) == (f"queue a: {said}" if said else "queue a has not decided on it yet")
    stands = progress(expected(kind, pending=1), found)
    assert (stands.pending, stands.settled) == (1, bool(said))
    assert may_change([expected(kind)], found, FIT) != bool(said)


def test_a_held_job_has_the_claims_of_its_pods_that_are_left() -> None:
    refusal = admission(QuotaReserved=("False", SHORT))
    assert progress(expected(), LiveObjects([job(), refusal], queues=True)).meets(expected())
    assert progress(expected(), LiveObjects([job(succeeded=1), refusal], queues=True)).pending == 2
    assert progress(expected(), LiveObjects([job(suspend=False), refusal], queues=True)).pending == 0


def test_a_held_job_without_completions_has_as_many_pods_as_run_at_once() -> None:
    held = job()
    del held["spec"]["completions"]
    assert progress(expected(), LiveObjects([held], queues=True)).pending == 3


def test_a_job_that_somebody_else_suspends_has_no_pods() -> None:
    suspended = job()
    del suspended["metadata"]["labels"][LABEL]
    assert progress(expected(), LiveObjects([suspended], queues=True)).pending == 0


def job_set(suspend: bool = True) -> Object:
    """Return a JobSet of a leader, and of two groups of workers."""
    spec = job()["spec"]["template"]
    groups: list[Object] = [
        {"name": "leader", "template": {"spec": {"template": spec}}},
        {
            "name": "workers",
            "replicas": 2,
            "template": {"spec": {"parallelism": 3, "completions": 2, "template": spec}},
        },
    ]
    return live("JobSet", "train", {"suspend": suspend, "replicatedJobs": groups})


def test_a_held_job_set_has_the_claims_of_all_its_pods() -> None:
    entry = expected("JobSet", pending=5)
    found = LiveObjects([job_set(), admission("JobSet", QuotaReserved=("False", SHORT))], queues=True)
    pods = found.pods_of(entry.makers)
    assert [pod["metadata"]["name"] for pod in pods] == [
        "train-leader-0-0",
        *(f"train-workers-{group}-{pod}" for group in range(2) for pod in range(2)),
    ]
    assert {refusal(pod) for pod in pods} == {f"queue a: {SHORT}"}
    assert progress(entry, found).meets(entry)
    assert not may_change([entry], found, FIT)


def test_a_job_set_that_is_admitted_has_the_pods_of_its_jobs() -> None:
    entry = expected("JobSet", pending=0)
    found = LiveObjects([job_set(suspend=False)], queues=True)
    assert (found.pods_of(entry.makers), progress(entry, found).settled) == ([], False)
    assert not may_change([entry], found, FIT)  # How many pods its controller is to create is not known.


@pytest.mark.parametrize(
    ("queues", "kind", "read"), [(True, "JobSet", True), (True, "Other", False), (False, "JobSet", False)]
)
def test_job_sets_are_read_where_kueue_may_hold_them(queues: bool, kind: str, read: bool) -> None:
    found = live_objects.kinds([(kind, "default", "train")], queues)
    assert ("JobSet=/apis/jobset.x-k8s.io/v1alpha2/jobsets" in found) == read


def test_other_gates_are_not_kueues() -> None:
    waiting = pod()
    waiting["spec"]["schedulingGates"] = [{"name": "example.com/other"}]
    assert refusal(LiveObjects([waiting]).pods[0]) == "blocked by gates"


def test_the_report_tells_no_quota_from_no_node() -> None:
    held = report(stack(expect={"allocated": 0, "pending": 1}), [job(1), admission(QuotaReserved=("False", SHORT))])
    assert held.claims == [
        {
            "name": "",
            "namespace": "default",
            "workload": "train",
            "pod": "train-0",
            "podPhase": "Suspended",
            "node": "",
            "state": "pending",
            "devices": [],
            "reason": f"queue a: {SHORT}",
        }
    ]
    assert held.unexpected == []
    assert held.summary.startswith("0 of 1 claims allocated, 0 of 1 pods running (1 waiting)")
    owners = [{"kind": "Job", "name": "train", "uid": "uid of train"}]
    labels = {"kueue.x-k8s.io/local-queue-name": "a"}
    placed = pod("train-x", gated=False, message=NO_NODE, ownerReferences=owners, labels=labels)
    admitted = admission(QuotaReserved=("True", "reserved"), Admitted=("True", "admitted"))
    (claim,) = report(stack(), [job(1, suspend=False), placed, admitted]).claims
    assert isinstance(claim, dict)
    assert claim["reason"].startswith("admitted by queue a, but 0/2 nodes are available: 2 cannot allocate all claims")


def test_an_update_that_fails_says_why() -> None:
    held = report(stack(replicas=3), [job(), admission(QuotaReserved=("False", SHORT))])
    assert held.unexpected[1:] == [f"  pods train-0, train-1, train-2: queue a: {SHORT}"]


def test_workloads_are_read_where_kueue_may_hold_something() -> None:
    plain = load({"cluster": {"name": "x"}, "nodePools": [{"name": "n", "gpu": "h100"}]})
    assert ("Workload" in kinds(stack()), "Workload" in kinds(plain)) == (True, False)
