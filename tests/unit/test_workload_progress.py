"""The progress of workloads, from live objects as kubectl prints them."""

import json
from typing import Any

import pytest

from topology.status.evictions import FIT, Unfit
from topology.status.live_objects import LiveObjects, claim_names, kinds
from topology.status.pending_changes import may_change
from topology.status.workload_progress import Expected, Progress, awaited, progress, unmet

Object = dict[str, Any]

REFUSED = {"type": "PodScheduled", "status": "False"}
SCHEDULED = {"type": "PodScheduled", "status": "True"}
CONTAINERS = [{"name": "x"}]
ASKING = [{"name": "x"}, {"name": "y", "resources": {"limits": {"cpu": "1", "example.com/gpu": "2"}}}]


def live(kind: str, name: str, **values: Any) -> Object:
    """Return an object of the namespace `n`."""
    metadata = {"name": name, "namespace": "n", "uid": f"uid of {name}", "generation": 1} | values.pop("metadata", {})
    return {"kind": kind, "metadata": metadata, "spec": {}, "status": {}} | values


def pod(name: str, phase: str = "Running", *claims: str, **values: Any) -> Object:
    """Return a pod with the given claims, which it refers to by number."""
    statuses = [{"name": str(place), "resourceClaimName": claim} for place, claim in enumerate(claims) if claim]
    entries = [{"name": str(place), "resourceClaimTemplateName": "t"} for place in range(len(claims))]
    place = {} if phase == "Pending" else {"nodeName": "node-0"}
    metadata = values.pop("metadata", {})
    status = {"phase": phase, "resourceClaimStatuses": statuses} | values.pop("status", {})
    spec = {"containers": CONTAINERS, "resourceClaims": entries} | place | values
    return live("Pod", name, metadata=metadata, spec=spec, status=status)


def refused(name: str, *claims: str, **values: Any) -> Object:
    """Return a pod for which the scheduler has found no node."""
    return pod(name, "Pending", *claims, status={"conditions": [REFUSED]}, **values)


def claim(name: str, *devices: str, **result: Any) -> Object:
    """Return a claim, which is allocated if it has devices."""
    results = [{"driver": "d", "pool": "node-0", "device": device} | result for device in devices]
    return live("ResourceClaim", name, status={"allocation": {"devices": {"results": results}}} if devices else {})


def reserved(name: str, pod: str) -> Object:
    """Return an allocated claim that a pod uses."""
    found = claim(name, "gpu-0")
    found["status"]["reservedFor"] = [{"resource": "pods", "name": pod, "uid": f"uid of {pod}"}]
    return found


def deployment(updated: int = 1, generation: int = 1, observed: int | None = 1) -> Object:
    """Return the deployment of the workload."""
    status = {"observedGeneration": observed, "updatedReplicas": updated} if observed else {}
    return live("Deployment", "job", metadata={"generation": generation}, spec={"replicas": updated}, status=status)


def owned(kind: str = "Deployment", name: str = "job", uid: str = "uid of job") -> Object:
    """Return the metadata of an object that a controller owns, by default the workload's."""
    return {"ownerReferences": [{"kind": kind, "name": name, "uid": uid}]}


def by_job(name: str, phase: str = "Succeeded", *claims: str, uid: str = "uid of job", **values: Any) -> Object:
    """Return a pod of the workload's job."""
    return pod(name, phase, *claims, metadata=owned("Job", uid=uid), **values)


def job(completions: int = 1, **spec: Any) -> Object:
    """Return the job of the workload."""
    return live("Job", "job", spec={"completions": completions, "parallelism": completions} | spec)


def expected(kind: str = "Deployment", name: str = "job", allocated: int | None = 1, pending: int = 0) -> Expected:
    return Expected("workloads", "job", [(kind, "n", name)], allocated, pending, 5)


HELD = claim("c", "gpu-0")
FREE = claim("c")


@pytest.mark.parametrize(
    ("objects", "allocated", "pending", "settled"),
    [
        ([], 0, 0, False),
        ([pod("a", "Running", "c"), HELD], 1, 0, True),
        # Claims are not created or not considered yet.
        ([pod("a", "Pending", "")], 0, 1, False),
        ([pod("a", "Pending", "c")], 0, 1, False),
        ([pod("a", "Pending", "c"), FREE], 0, 1, False),
        ([pod("a", "Pending", "c", status={"conditions": [SCHEDULED]}), FREE], 0, 1, False),
        ([refused("a", "c"), FREE], 0, 1, True),
        # The devices are available now, or its node is about to start it.
        ([refused("a", "c"), HELD], 1, 0, False),
        ([refused("a", "c", "d"), HELD, claim("d")], 1, 1, True),
        ([pod("a", "Pending", "c"), HELD], 1, 0, False),
        # A completed pod no longer needs its claims.
        ([pod("a", "Succeeded", "c")], 1, 0, True),
        ([pod("a", "Succeeded", "c"), FREE], 1, 0, True),
        # Failed or terminating.
        ([pod("a", "Failed", "c"), FREE], 0, 0, False),
        ([pod("a", "Running", "c", metadata={"deletionTimestamp": "now"}), HELD], 0, 0, False),
        # Not ours.
        ([pod("a", "Pending", "c", metadata={"namespace": "else"}), FREE, pod("a")], 0, 0, True),
        ([pod("b", "Pending", "c"), FREE, pod("a")], 0, 0, True),
        ([pod("a", "Running", "c"), HELD | {"metadata": {"name": "c", "namespace": "else"}}], 0, 1, True),
    ],
)
def test_pods_and_their_claims(objects: list[Object], allocated: int, pending: int, settled: bool) -> None:
    found = progress(expected("Pod", "a"), LiveObjects(objects))
    assert found._replace(pods=0, running=0) == Progress(0, allocated, pending, settled, 0)
    assert found.pods == len(LiveObjects(objects).pods_of([("Pod", "n", "a")]))


@pytest.mark.parametrize(
    ("found", "allocated", "meets"),
    [
        (Progress(2, 1, 1, True, 1), 1, True),
        (Progress(2, 1, 1, False, 1), 1, False),
        (Progress(2, 2, 0, True, 2), 1, False),
        (Progress(2, 2, 1, True, 2), 1, False),
        (Progress(2, 1, 2, True, 1), 1, False),
        (Progress(3, 2, 1, True, 2), None, True),
        (Progress(3, 2, 0, True, 2), None, False),
    ],
)
def test_what_meets_an_expectation(found: Progress, allocated: int | None, meets: bool) -> None:
    assert found.meets(expected(allocated=allocated, pending=1)) == meets


def test_a_pod_that_is_expected_to_wait_may_have_its_claims() -> None:
    waiting = LiveObjects([refused("a", "c"), HELD, pod("b", "Running", "c")])
    both = expected(allocated=2)._replace(makers=[("Pod", "n", "a"), ("Pod", "n", "b")])
    for running, meets in ((None, False), (1, True), (2, False)):
        wanted = both._replace(running=running)
        found = progress(wanted, waiting)
        assert (found.allocated, found.pending, found.running) == (2, 0, 1)
        assert found.meets(wanted) == meets
    assert list(unmet(wanted, found, waiting)) == [
        "workload job: 1 of 2 pods run after 5 s, but it expects 2 (kwok-dra:workloads expect, readyTimeoutSeconds)"
    ]


@pytest.mark.parametrize("quiet", [0, 15])
def test_a_bare_pod_that_is_gone(quiet: int) -> None:
    """Preempted, for example: its resource stays in the stack, and nothing replaces the pod. No time passes."""
    there = LiveObjects([pod("b", "Running", "c"), HELD])
    both = expected()._replace(makers=[("Pod", "n", "a"), ("Pod", "n", "b")])
    assert list(unmet(both, progress(both, there), there, quiet)) == [
        "workload job: 1 of 2 pods run (kwok-dra:workloads readyTimeoutSeconds)",
        "  pod a: gone or failed, and no controller creates such pods again",
    ]


STILL = "; nothing has changed for 15 s, and nothing is under way that could change it"


@pytest.mark.parametrize(
    ("wanted", "objects", "message"),
    [
        ({}, [refused("job", "c"), FREE], f"0 of 1 pods run{STILL} (kwok-dra:workloads readyTimeoutSeconds)"),
        (
            {"running": 1},
            [refused("job", "c"), HELD],
            f"0 of 1 pods run, but it expects 1{STILL} (kwok-dra:workloads expect, readyTimeoutSeconds)",
        ),
        (
            {"allocated": 0, "pending": 1},
            [pod("job", "Running", "c"), HELD],
            f"1 of 1 claims are allocated and 0 pending, but it expects 0 allocated and 1 pending{STILL} "
            "(kwok-dra:workloads expect, readyTimeoutSeconds)",
        ),
    ],
)
def test_a_wait_that_was_given_up(wanted: dict[str, Any], objects: list[Object], message: str) -> None:
    entry, there = expected("Pod")._replace(**wanted), LiveObjects(objects)
    assert list(unmet(entry, progress(entry, there), there, quiet=15)) == [f"workload job: {message}"]


def test_more_claims_are_allocated_than_expected() -> None:
    there = LiveObjects([pod("job", "Running", "c", "d"), HELD, claim("d", "gpu-1")])
    for allocated, wanted in ((1, "1"), (0, "0")):
        entry = expected("Pod", allocated=allocated)
        assert list(unmet(entry, progress(entry, there), there)) == [
            f"workload job: 2 of 2 claims are allocated and 0 pending after 5 s, but it expects {wanted} allocated and "
            "0 pending (kwok-dra:workloads expect, readyTimeoutSeconds)"
        ]
        counts = f"2 claims are allocated and 0 pending, expected: {wanted} and 0"
        assert awaited(entry, progress(entry, there), there) == f"job ({counts})"


def test_pods_that_have_ended_count_as_pods_that_ran() -> None:
    there = LiveObjects([by_job("a"), refused("b", "c", metadata=owned("Job")), job(2), FREE])
    assert next(unmet(expected("Job"), progress(expected("Job"), there), there)) == (
        "workload job: 1 of 2 pods run or have ended after 5 s (kwok-dra:workloads readyTimeoutSeconds)"
    )


def test_a_pod_that_is_about_to_start_is_no_unfinished_rollout() -> None:
    there = LiveObjects([pod("job", "Pending", "c"), HELD])
    assert list(unmet(expected("Pod"), progress(expected("Pod"), there), there)) == [
        "workload job: 0 of 1 pods run after 5 s (kwok-dra:workloads readyTimeoutSeconds)"
    ]


def waiting(*names: str) -> list[Object]:
    """Return pods of the workload whose claims the scheduler has found no devices for."""
    return [entry for name in names for entry in (refused(name, f"c-{name}", metadata=owned()), claim(f"c-{name}"))]


@pytest.mark.parametrize(
    ("wanted", "objects", "text"),
    [
        ({"pods": 2}, [deployment(2)], "2 of 2 pods of job"),
        (
            {"pods": 7},
            [*waiting("job-10", "job-9", "job-11", "job-2"), pod("job-1", metadata=owned())],
            "6 of 7 pods of job: job-2, job-9, job-10",
        ),
        ({}, [*waiting("job-1"), pod("job-2", "Pending", metadata=owned())], "2 of 2 pods of job: job-1, job-2"),
        ({}, [deployment(1), pod("a", metadata=owned()), pod("b", metadata=owned())], "the rollout of job"),
        # What is expected of claims, or how many pods run.
        (
            {"allocated": 0, "pending": 2},
            waiting("job-1"),
            "job (0 claims are allocated and 1 pending, expected: 0 and 2)",
        ),
        ({"allocated": None, "pending": 1}, [], "job (0 claims are allocated and 0 pending, expected: all and 1)"),
        ({"running": 2}, [pod("job-1", metadata=owned())], "job (1 pods run, expected: 2)"),
        # The claims are as expected; pods that are to wait are not waited for.
        (
            {"allocated": 0, "pending": 1, "pods": 2},
            [*waiting("job-1"), pod("job-2", "Pending", metadata=owned())],
            "1 of 2 pods of job: job-2",
        ),
        ({"running": 0}, [*waiting("job-1"), deployment(1, observed=None)], "the rollout of job"),
    ],
)
def test_what_is_awaited(wanted: dict[str, Any], objects: list[Object], text: str) -> None:
    entry, there = expected()._replace(**wanted), LiveObjects([live("ReplicaSet", "x"), *objects])
    assert awaited(entry, progress(entry, there), there) == text


def test_pods_of_a_job_are_awaited_until_they_have_completed() -> None:
    running = LiveObjects(
        [job(2), by_job("a", "Running"), by_job("b"), by_job("c", "Succeeded", "c"), reserved("c", "c")]
    )
    entry = expected("Job")
    assert awaited(entry, progress(entry, running), running) == "2 of 3 pods of job: a, c"


def of(kind: str, status: Object, observed: int = 1, **spec: Any) -> Object:
    """Return a controller called `job`."""
    return live(kind, "job", spec=spec, status={"observedGeneration": observed} | status)


def pods(count: int, kind: str, phase: str = "Running") -> list[Object]:
    """Return pods of a controller called `job`."""
    return [pod(str(place), phase, metadata=owned(kind)) for place in range(count)]


@pytest.mark.parametrize(
    ("kind", "controllers", "pods", "settled"),
    [
        ("Deployment", [], [], False),
        ("Deployment", [deployment(0, observed=None)], [], False),
        ("Deployment", [deployment(0)], [], True),
        ("Deployment", [deployment(1)], [pod("a", metadata=owned())], True),
        # It has not created all of its pods.
        ("Deployment", [of("Deployment", {"updatedReplicas": 1}, replicas=2)], pods(1, "Deployment"), False),
        # The status is that of the generation before the update.
        ("Deployment", [deployment(1, generation=2)], pods(1, "Deployment"), False),
        ("Deployment", [deployment(1, generation=2, observed=2)], pods(1, "Deployment"), True),
        # A pod of an older revision remains.
        ("Deployment", [deployment(1)], pods(2, "Deployment"), False),
        ("Deployment", [deployment(0)], pods(1, "Deployment"), False),
        ("Deployment", [deployment(1) | {"kind": "Job"}], pods(1, "Deployment"), False),
        ("Deployment", [live("Deployment", "else", status={"observedGeneration": 1})], [], False),
        ("ReplicaSet", [of("ReplicaSet", {}, replicas=2)], pods(2, "ReplicaSet"), True),
        ("ReplicaSet", [of("ReplicaSet", {}, replicas=2)], pods(1, "ReplicaSet"), False),
        ("StatefulSet", [of("StatefulSet", {"updatedReplicas": 2}, replicas=2)], pods(2, "StatefulSet"), True),
        ("StatefulSet", [of("StatefulSet", {"updatedReplicas": 1}, replicas=2)], pods(2, "StatefulSet"), False),
        (
            "StatefulSet",
            [of("StatefulSet", {"updatedReplicas": 1}, replicas=2, updateStrategy={"type": "OnDelete"})],
            pods(2, "StatefulSet"),
            True,
        ),
        # It creates its second pod when the first one runs.
        (
            "StatefulSet",
            [of("StatefulSet", {"updatedReplicas": 1}, replicas=2)],
            [refused("a", "c", metadata=owned("StatefulSet"))],
            True,
        ),
        (
            "StatefulSet",
            [of("StatefulSet", {"updatedReplicas": 1}, replicas=2, podManagementPolicy="Parallel")],
            [refused("a", "c", metadata=owned("StatefulSet"))],
            False,
        ),
        (
            "DaemonSet",
            [of("DaemonSet", {"desiredNumberScheduled": 1, "updatedNumberScheduled": 1})],
            pods(1, "DaemonSet"),
            True,
        ),
        ("DaemonSet", [of("DaemonSet", {"desiredNumberScheduled": 1})], pods(1, "DaemonSet"), False),
        ("DaemonSet", [of("DaemonSet", {"desiredNumberScheduled": 1})], [], False),
        ("Job", [], [], False),
        ("Job", [job(0)], [], True),
        ("Job", [job(1)], [], False),
        ("Job", [job(1, suspend=True)], [], True),
        ("Job", [job(1)], [by_job("a")], True),
        # The pod must complete, and release its claim.
        ("Job", [job(1)], [by_job("a", "Running")], False),
        ("Job", [job(1), reserved("c", "a")], [by_job("a", "Succeeded", "c")], False),
        ("Job", [job(1), reserved("c", "b")], [by_job("a", "Succeeded", "c")], True),
        ("Job", [job(1)], [refused("a", "c", metadata=owned("Job"))], True),
        # It creates the next pods when earlier ones have completed.
        ("Job", [job(3, parallelism=1)], [by_job("a"), refused("b", "c", metadata=owned("Job"))], True),
        ("Job", [job(3, parallelism=1)], [by_job("a"), by_job("b")], False),
        # The pods of a replaced job remain for a while.
        ("Job", [job(2)], [by_job("a"), by_job("b", uid="x")], False),
        ("CronJob", [live("CronJob", "job")], [], True),
        ("CronJob", [], [], False),
        ("Pod", [], [pod("job")], True),
        ("Pod", [], [pod("a")], False),
    ],
)
def test_when_a_controller_has_settled(kind: str, controllers: list[Object], pods: list[Object], settled: bool) -> None:
    assert progress(expected(kind), LiveObjects([*pods, *controllers])).settled == settled


def test_which_pods_belong_to_a_controller() -> None:
    objects = [
        pod("bare"),
        pod("adopted", metadata=owned("ReplicaSet", "job-1")),
        pod("lost", metadata=owned("ReplicaSet", "gone")),
        pod("timed", metadata=owned("Job", "job-2")),
        pod("going", metadata=owned("ReplicaSet", "job-1") | {"deletionTimestamp": "now"}),
        pod("else", metadata=owned("ReplicaSet", "job-1") | {"namespace": "else"}),
        # Somebody's ReplicaSet, with the name and the label of one that the Deployment could have created.
        pod("namesake", metadata=owned("ReplicaSet", "job-5d4f") | {"labels": {"pod-template-hash": "5d4f"}}),
        live("ReplicaSet", "job-1", metadata=owned("Deployment")),
        live("ReplicaSet", "job-5d4f"),
        live("Job", "job-2", metadata=owned("CronJob")),
    ]

    def found(*makers: tuple[str, str]) -> list[str]:
        pods = LiveObjects(objects).pods_of([(kind, "n", name) for kind, name in makers])
        return [entry["metadata"]["name"] for entry in pods]

    assert found(("Deployment", "job")) == ["adopted"]
    assert found(("ReplicaSet", "job-1")) == ["adopted"]
    assert found(("ReplicaSet", "gone")) == ["lost"]
    assert found(("CronJob", "job")) == ["timed"]
    assert found(("Pod", "bare"), ("Deployment", "job"), ("ReplicaSet", "job-1")) == ["bare", "adopted"]
    assert found(("Job", "job"), ("Deployment", "bare")) == []


def test_a_kind_with_the_name_of_a_built_in_one_is_another() -> None:
    """Pods of Volcano's Jobs, as of any kind that is not part of Kubernetes, need not complete."""
    of_volcano = owned("Job", "job")
    of_volcano["ownerReferences"][0]["apiVersion"] = "batch.volcano.sh/v1alpha1"
    of_batch = owned("Job", "job")
    of_batch["ownerReferences"][0]["apiVersion"] = "batch/v1"
    objects = [pod("a", "Running", "c", metadata=of_volcano), HELD, pod("b", "Succeeded", metadata=of_batch), job()]
    found = LiveObjects(objects)
    theirs, ours = expected("Job.batch.volcano.sh"), expected("Job", allocated=0)
    assert [[one["metadata"]["name"] for one in found.pods_of(entry.makers)] for entry in (theirs, ours)] == [
        ["a"],
        ["b"],
    ]
    assert progress(theirs, found) == Progress(1, 1, 0, settled=True, running=1)
    assert progress(ours, found).meets(ours)
    assert not may_change([theirs, ours], found, FIT)
    assert {"Deployment", "Job", "StatefulSet"} <= set(kinds(theirs.makers))


def test_what_is_expected_survives_json() -> None:
    entry = expected()._replace(makers=(("Pod", "n", "a"), ("Job", "n", "b")))
    assert Expected.from_json(json.loads(json.dumps(entry))) == entry


MADE = {"extendedResourceClaimStatus": {"resourceClaimName": "e"}}


@pytest.mark.parametrize(
    ("found", "names", "allocated", "pending"),
    [
        (pod("a", "Pending", containers=ASKING), {"extended resources": ""}, 0, 1),
        (pod("a", "Pending", containers=ASKING, status=MADE), {"extended resources": "e"}, 0, 1),
        (pod("a", "Running", "c", containers=ASKING, status=MADE), {"0": "", "extended resources": "e"}, 1, 1),
        (pod("a", "Succeeded", containers=ASKING, status=MADE), {"extended resources": "e"}, 1, 0),
        # The node itself provides them: there is no claim.
        (pod("a", "Running", containers=ASKING), {"extended resources": ""}, 1, 0),
        (pod("a", "Running", containers=[{"name": "x", "resources": {"limits": {"cpu": "1"}}}]), {}, 0, 0),
        (pod("a", "Running", containers=[{"name": "x", "resources": {}}]), {}, 0, 0),
    ],
)
def test_extended_resources(found: Object, names: dict[str, str], allocated: int, pending: int) -> None:
    assert claim_names(found).keys() == names.keys()
    assert claim_names(found).get("extended resources") == names.get("extended resources")
    where = progress(expected("Pod", "a"), LiveObjects([found, HELD]))
    assert (where.allocated, where.pending) == (allocated, pending)


def test_claims_that_the_pod_refers_to_by_name() -> None:
    shared = pod("a", resourceClaims=[{"name": "x", "resourceClaimName": "c"}])
    assert claim_names(shared) == {"x": "c"}
    other = shared | {"metadata": shared["metadata"] | {"name": "b"}}
    both = expected()._replace(makers=[("Pod", "n", "a"), ("Pod", "n", "b")])
    assert progress(both, LiveObjects([shared, other, HELD])) == Progress(2, 2, 0, True, 2)


def tolerating(seconds: int | None, **values: Any) -> Object:
    """Return a toleration of a node that is not ready."""
    time = {} if seconds is None else {"tolerationSeconds": seconds}
    key = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}
    return key | time | values


@pytest.mark.parametrize(
    ("tolerations", "settled"),
    [
        ([], False),
        ([tolerating(4)], False),
        ([tolerating(5)], True),
        ([tolerating(300)], True),
        ([tolerating(None)], True),
        # The first toleration of the taint decides.
        ([tolerating(4), tolerating(None)], False),
        ([tolerating(4, key="else"), tolerating(None)], True),
        ([tolerating(4, effect="NoSchedule"), tolerating(None)], True),
        ([tolerating(4, operator="Equal", value="x"), tolerating(None)], True),
        ([tolerating(4, operator="Equal"), tolerating(None)], False),
        ([{"operator": "Exists"}], True),
    ],
)
def test_pods_on_a_node_that_is_not_ready(tolerations: list[Object], settled: bool) -> None:
    """The workload is not settled if they will be evicted within its 5 s."""
    objects = [pod("job", "Running", "c", tolerations=tolerations), HELD]
    assert progress(expected("Pod"), LiveObjects(objects), Unfit(not_ready=["node-0"])).settled == settled
    assert progress(expected("Pod"), LiveObjects(objects), Unfit(not_ready=["node-1"])).settled


@pytest.mark.parametrize(
    ("unfit", "result", "settled"),
    [
        (FIT, {}, True),
        (Unfit(nodes=["node-1"]), {}, True),
        (Unfit(nodes=["node-0"]), {}, False),
        (Unfit(devices=[("", "", "", "broken", "")]), {}, False),
        (Unfit(devices=[("d", "node-0", "gpu-0", "broken", "")]), {}, False),
        (Unfit(devices=[("e", "", "", "broken", "")]), {}, True),
        (Unfit(devices=[("", "node-1", "", "broken", "")]), {}, True),
        (Unfit(devices=[("", "", "gpu-1", "broken", "")]), {}, True),
    ],
)
def test_pods_that_cannot_stay(unfit: Unfit, result: Object, settled: bool) -> None:
    objects = [pod("a", "Running", "c"), claim("c", "gpu-0", **result)]
    assert progress(expected("Pod", "a"), LiveObjects(objects), unfit).settled == settled


def keeping(seconds: int | None = None, **values: Any) -> Object:
    """Return a toleration of a broken device."""
    time = {} if seconds is None else {"tolerationSeconds": seconds}
    return {"key": "broken", "operator": "Exists", "effect": "NoExecute"} | time | values


@pytest.mark.parametrize(
    ("tolerations", "settled"),
    [
        ([keeping()], True),
        ([keeping(key="")], True),
        ([keeping(key="else")], False),
        ([keeping(operator="Equal", value="x")], True),
        ([keeping(operator="Equal", value="y")], False),
        # For the scheduler these tolerate all effects, for the evicting controller they do not.
        ([keeping(effect="")], False),
        ([keeping(effect="NoSchedule")], False),
        # At least as long as the workload may take; of several, the shortest.
        ([keeping(4)], False),
        ([keeping(5)], True),
        ([keeping(4), keeping(300)], False),
        ([keeping(4), keeping()], True),
    ],
)
def test_pods_on_a_device_with_a_taint_that_evicts(tolerations: list[Object], settled: bool) -> None:
    objects = [pod("a", "Running", "c"), claim("c", "gpu-0", tolerations=tolerations)]
    unfit = Unfit(devices=[("", "", "", "broken", "x")])
    assert progress(expected("Pod", "a"), LiveObjects(objects), unfit).settled == settled
