"""Waiting for workloads, in a cluster with prepared answers."""

import copy
import io
import json
import sys
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.api import snapshot
from cluster.api.api_server import ApiServer, RefusedError, UnreachableError
from cluster.fleet import waiting
from cluster.fleet.standstill import Standstill
from commands import wait
from topology.status.evictions import FIT, Unfit
from topology.status.workload_progress import Expected

Object = dict[str, Any]


def pods(*phases: str) -> str:
    """Return what kubectl prints about bare pods of the workload `job` in these phases, whose claims are allocated."""
    allocation: Object = {"allocation": {"devices": {"results": []}}}
    named: Object = {"name": "c", "uid": "c", "resourceVersion": "1"}
    items: list[Object] = [{"kind": "ResourceClaim", "metadata": named, "status": allocation}]
    items += [
        {
            "kind": "Pod",
            "metadata": {"name": str(place), "uid": str(place), "resourceVersion": phase},
            "spec": {"containers": [], "resourceClaims": [{"name": "c", "resourceClaimName": "c"}]},
            "status": {"phase": phase},
        }
        for place, phase in enumerate(phases)
    ]
    return json.dumps({"items": items})


def refused(*phases: str, message: str = "no place") -> str:
    """Return the same, where the scheduler has found no node for the pending pods."""
    found = json.loads(pods(*phases))
    for pod in found["items"][1:]:
        if pod["status"]["phase"] == "Pending":
            pod["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "message": message}]
    return json.dumps(found)


def expected(count: int = 1, seconds: int = 600, workload: str = "job") -> Expected:
    """Return what is expected of `count` bare pods."""
    makers = tuple(("Pod", "", str(place)) for place in range(count))
    return Expected("workloads", workload, makers, count, 0, seconds, count)


def expected_of(kind: str, allocated: int | None = None, pending: int = 0) -> Expected:
    """Return what is expected of a controller of two pods."""
    return Expected("workloads", "job", ((kind, "", "job"),), allocated, pending, 600, 2)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Sequence[str]]]:
    """Return a function that waits in a cluster with these answers to reads; the last answer is repeated.

    It runs the program or, if `wanted` kinds are given, the function that the status calls; both wait for `expected`.
    It returns the kinds of each read. Time passes only during reads and sleeps.
    """
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    for module in (waiting, wait):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))

    def run(
        answers: list[str],
        *expected: Expected,
        status: int = 0,
        wanted: Sequence[str] = (),
        not_ready: Sequence[str] = (),
        unfit: Unfit = FIT,
        standstill: Standstill | None = None,
        alone: bool = False,
    ) -> list[Sequence[str]]:
        asked: list[Sequence[str]] = []
        left = list(answers)

        def must_read(api: ApiServer, kinds: Sequence[str]) -> list[Object]:
            if (standstill or not wanted) and tuple(kinds) == ("Node",):
                return []
            asked.append(tuple(kinds))
            sleep(0.01)
            answer = left.pop(0) if len(left) > 1 else left[0]
            if answer in ERRORS:
                raise ERRORS[answer]
            found: list[Object] = json.loads(answer)["items"]
            return found

        monkeypatch.setattr(snapshot, "must_read", must_read)
        if wanted:
            api = ApiServer()
            first = snapshot.read(api, wanted)
            found = waiting.settled_objects(api, wanted, first, expected, unfit, not_ready, print, standstill)
            print(DOWN if found is None else json.dumps({"items": found}), file=sys.stderr)
        else:
            values = {"KWOK_DRA_EXPECTED": expected, "KWOK_DRA_UNFIT": unfit, "KWOK_DRA_ALONE": alone}
            values |= {"KWOK_DRA_GIVES_WAY": False, "KWOK_DRA_QUEUES": False}
            monkeypatch.setenv("KUBECONFIG", "/no/cluster/of/kwokctl/kubeconfig.yaml")
            monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(values)))
            assert wait.main() == status
        return asked

    return run


Run = Callable[..., list[Sequence[str]]]
READ = ("Pod", "ResourceClaim")
DOWN, FORBIDDEN = "down", "forbidden"
ERRORS: dict[str, Exception] = {DOWN: UnreachableError("refused"), FORBIDDEN: RefusedError("you may not list pods")}


def last_read(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the objects that were read last."""
    return capsys.readouterr().err.strip()


def test_the_program_waits_until_the_workload_is_as_expected(cluster: Run, capsys: pytest.CaptureFixture[str]) -> None:
    answers = [pods("Pending"), pods("Pending"), pods("Running"), pods()]
    assert cluster(answers, expected()) == [READ] * 3
    assert capsys.readouterr() == ("", "")


def test_the_message_names_at_most_three_workloads(cluster: Run, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["a", "b", "c", "d", "e"]
    cluster([pods("Pending")], *(expected(seconds=1, workload=name) for name in names), wanted=["Pod"])
    awaited = "; ".join(f"1 of 1 pods of {name}: 0" for name in names[:3])
    assert capsys.readouterr().out == f"waiting for {awaited}; and 2 more\n"


def test_a_message_for_each_change_of_what_is_awaited(cluster: Run, capsys: pytest.CaptureFixture[str]) -> None:
    phases = [("Pending", "Pending"), ("Pending", "Pending"), ("Running", "Pending"), ("Running", "Running")]
    cluster([pods("Pending", "Pending"), *(pods(*each) for each in phases)], expected(2), wanted=["Pod"])
    assert capsys.readouterr().out == "waiting for 2 of 2 pods of job: 0, 1\nwaiting for 1 of 2 pods of job: 1\n"


def test_the_program_waits_for_every_workload(cluster: Run, capsys: pytest.CaptureFixture[str]) -> None:
    answers = [pods("Running", "Pending")]
    assert len(cluster(answers, expected(), expected(2, seconds=1, workload="other"), status=1)) > 1
    assert capsys.readouterr().err == (
        "workload other: 1 of 2 pods run after 1 s (kwok-dra:workloads readyTimeoutSeconds)\n"
        "workloads that come after it are not created\n"
    )


@pytest.mark.parametrize("gone", [pods("Running"), pods("Running", "Failed"), pods("Pending")])
def test_a_bare_pod_that_is_gone_is_not_waited_for(cluster: Run, capsys: pytest.CaptureFixture[str], gone: str) -> None:
    """Other workloads are."""
    running = pods("Running")
    assert cluster([gone, running], expected(2, workload="other"), expected(), status=1) in ([READ], [READ] * 2)
    run = 0 if gone == pods("Pending") else 1
    assert capsys.readouterr().err == (
        f"workload other: {run} of 2 pods run (kwok-dra:workloads readyTimeoutSeconds)\n"
        "  pod 1: gone or failed, and no controller creates such pods again\n"
        "workloads that come after it are not created\n"
    )


def test_without_workloads_the_status_is_read_once(cluster: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert cluster([pods("Running")], wanted=["Node", "Pod"]) == [("Node", "Pod")]
    assert last_read(capsys) == pods("Running")


def test_the_objects_are_read_again_after_the_wait(cluster: Run, capsys: pytest.CaptureFixture[str]) -> None:
    answers = [pods("Pending"), pods("Pending"), pods("Running"), pods("Running", "Failed")]
    assert cluster(answers, expected(), wanted=["Pod"]) == [("Pod",), READ, READ, ("Pod",)]
    assert last_read(capsys) == answers[-1]


def test_the_wait_is_repeated_if_the_last_read_is_not_as_expected(
    cluster: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = [pods(phase) for phase in ("Pending", "Running", "Pending", "Pending", "Running", "Running")]
    assert cluster(answers, expected(), wanted=["Pod"]) == [("Pod",), READ, ("Pod",), READ, READ, ("Pod",)]
    assert last_read(capsys) == pods("Running")


def test_one_read_if_everything_is_as_expected(cluster: Run) -> None:
    assert cluster([pods("Running"), "never read"], expected(), wanted=["Pod"]) == [("Pod",)]


def test_the_objects_are_returned_when_the_time_is_up(cluster: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(cluster([pods("Pending")], expected(seconds=1), wanted=["Pod"])) > 2
    assert last_read(capsys) == pods("Pending")


STILL = "; nothing has changed for 15 s, and nothing is under way that could change it"


def test_a_standstill_ends_the_wait(cluster: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """The fleet that nothing else changes is read for 15 s."""
    standstill = Standstill()
    answers = [*[pods("Running", "Pending")] * 5, refused("Running", "Pending")]
    found = cluster(answers, expected(2), expected(workload="met"), wanted=["Pod"], standstill=standstill)
    assert 200 < len(found) < 300
    assert standstill.seconds == 15
    assert last_read(capsys) == answers[-1]


def test_without_a_standstill_the_time_is_up(cluster: Run) -> None:
    """In an existing cluster."""
    assert len(cluster([refused("Running", "Pending")], expected(2, seconds=60), status=1)) > 800


def test_a_standstill_comes_after_a_short_timeout(cluster: Run, capsys: pytest.CaptureFixture[str]) -> None:
    standstill = Standstill()
    cluster([refused("Pending")], expected(seconds=14), wanted=["Pod"], standstill=standstill)
    assert standstill.seconds == 0


def test_what_is_late_at_a_standstill(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workloads whose time is up are told with it; those that are as expected are not told."""
    now = 0.0

    def read(api: ApiServer, kinds: Sequence[str]) -> list[Object]:
        nonlocal now
        now += 0.1
        found: list[Object] = json.loads(refused("Running", "Pending"))["items"]
        return [] if kinds == ["Node"] else found

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        assert now < 20

    monkeypatch.setattr(waiting, "time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))
    monkeypatch.setattr(snapshot, "must_read", read)
    entries = [expected(2, seconds=5, workload="short"), expected(2, workload="long"), expected(workload="met")]
    assert waiting.wait(ApiServer(), entries, FIT, lambda _: None, 0, Standstill()) == [
        "workload short: 1 of 2 pods run after 5 s (kwok-dra:workloads readyTimeoutSeconds)",
        "  pod 1: no place",
        f"workload long: 1 of 2 pods run{STILL} (kwok-dra:workloads readyTimeoutSeconds)",
        "  pod 1: no place",
    ]


def test_controllers_of_workloads_that_are_as_expected_defer_a_standstill(cluster: Run) -> None:
    found = json.loads(refused("Pending"))
    found["items"].append({"kind": "CronJob", "metadata": {"name": "job"}, "status": {}})
    standstill, timed = Standstill(), Expected("workloads", "timed", (("CronJob", "", "job"),), 0, 0, 600, 0)
    reads = cluster([json.dumps(found)], expected(seconds=60), timed, wanted=["Pod"], standstill=standstill)
    assert set(reads[1:-1]) == {(*READ, "CronJob", "Job")}
    assert standstill.seconds == 0


def test_the_program_gives_up_where_nothing_else_changes_the_cluster(
    cluster: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 200 < len(cluster([refused("Running", "Pending")], expected(2), status=1, alone=True)) < 300
    assert STILL in capsys.readouterr().err


def test_the_nodes_may_be_unreadable(
    cluster: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def read(api: ApiServer, kinds: Sequence[str]) -> list[Object]:
        if kinds == ["Node"]:
            raise ERRORS[FORBIDDEN]
        found: list[Object] = json.loads(refused("Pending"))["items"]
        return found

    monkeypatch.setattr(snapshot, "must_read", read)
    late = waiting.wait(ApiServer(), [expected()], FIT, lambda _: None, 0, Standstill())
    assert late == ["workload job: you may not list pods"]


def test_each_workload_has_its_own_timeout(cluster: Run, capsys: pytest.CaptureFixture[str]) -> None:
    answers = [*[pods("Pending", "Pending", "Pending")] * 3, pods("Running", "Running")]
    assert cluster(answers, expected(3, seconds=0), expected(2, seconds=60), status=1) == [READ] * 4
    assert capsys.readouterr().err == (
        "workload job: 0 of 3 pods run after 0 s (kwok-dra:workloads readyTimeoutSeconds)\n"
        "workloads that come after it are not created\n"
    )


def test_the_message_says_why_pods_are_refused(cluster: Run, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(pods("Running", *["Pending"] * 7))
    for pod in found["items"][2:]:
        message = f"no place {int(pod['metadata']['name']) // 7}. preemption: 0/1 nodes are available"
        pod["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "message": message}]
    cluster([json.dumps(found)], expected(9, seconds=0), status=1)
    assert capsys.readouterr().err == (
        "workload job: 1 of 9 pods run (kwok-dra:workloads readyTimeoutSeconds)\n"
        "  pod 8: gone or failed, and no controller creates such pods again\n"
        "  pods 1, 2, 3, 4, 5 and 1 more: no place 0.\n"
        "  pod 7: no place 1.\n"
        "workloads that come after it are not created\n"
    )


def test_a_cluster_that_does_not_answer_is_not_waited_for(cluster: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(cluster([DOWN], expected(seconds=600), wanted=["Pod"])) == 1
    assert last_read(capsys) == DOWN
    assert len(cluster([pods("Pending"), DOWN], expected(seconds=600), wanted=["Pod"])) == 3
    assert last_read(capsys) == DOWN


@pytest.mark.parametrize(
    ("answer", "why"), [(DOWN, "the cluster does not answer: refused"), (FORBIDDEN, "you may not list pods")]
)
@pytest.mark.parametrize("awaited", [expected(), Expected("workloads", "job", (), None, 0, 600, 0)])
def test_an_unreadable_workload_is_not_as_expected(
    cluster: Run, capsys: pytest.CaptureFixture[str], answer: str, why: str, awaited: Expected
) -> None:
    """Not even where no pods are expected."""
    assert len(cluster([answer], awaited, status=1)) == 1
    assert capsys.readouterr().err == f"workload job: {why}\nworkloads that come after it are not created\n"


def test_a_forbidden_read_of_controllers(
    cluster: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(waiting, "LONG_READ_SECONDS", 0)
    assert len(cluster([pods("Pending"), FORBIDDEN], expected_of("Deployment"), status=1)) == 2
    assert capsys.readouterr().err.startswith("workload job: you may not list pods\n")


def test_a_forbidden_read_of_objects(cluster: Run) -> None:
    for answers in ([FORBIDDEN], [pods("Pending"), FORBIDDEN]):
        with pytest.raises(RefusedError, match=r"^you may not list pods$"):
            cluster(answers, expected(), wanted=["Pod"])


def test_the_wait_ends_after_the_eviction_of_pods(cluster: Run) -> None:
    on_node = json.loads(pods("Running"))
    on_node["items"][1]["spec"]["nodeName"] = "gone"
    assert cluster([json.dumps(on_node), pods("Running")], expected(), unfit=Unfit(nodes=["gone"])) == [READ] * 2


def controllers(kind: str, **status: int) -> str:
    """Return a Deployment or Job of two pods."""
    spec = {"replicas": 2} if kind == "Deployment" else {"completions": 2}
    metadata = {"name": "job", "namespace": "", "generation": 1, "uid": "u"}
    return json.dumps({"items": [{"kind": kind, "metadata": metadata, "spec": spec, "status": status}]})


@pytest.mark.parametrize(
    ("kind", "early", "late"),
    [
        ("Deployment", {}, {"readyReplicas": 2}),
        ("Deployment", {"readyReplicas": 1}, {"readyReplicas": 2}),
        ("Job", {"succeeded": 1}, {"succeeded": 2}),
    ],
)
def test_while_controllers_create_pods_only_controllers_are_read(
    cluster: Run, monkeypatch: pytest.MonkeyPatch, kind: str, early: dict[str, int], late: dict[str, int]
) -> None:
    """A read of many pods takes long."""
    monkeypatch.setattr(waiting, "LONG_READ_SECONDS", 0)
    monkeypatch.setattr(waiting, "SECONDS_BETWEEN_LOOKS", 0)
    answers = [pods("Pending"), controllers(kind, **early), controllers(kind, **early), controllers(kind, **late), DOWN]
    every = ("Pod", "ResourceClaim", kind, *(["ReplicaSet"] if kind == "Deployment" else []))
    assert cluster(answers, expected_of(kind), status=1) == [every, *[(kind,)] * 3, every]


def test_pods_are_read_if_pending_claims_are_expected(cluster: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LONG_READ_SECONDS", 0)
    answers = [pods("Pending"), controllers("Deployment"), DOWN]
    every = ("Pod", "ResourceClaim", "Deployment", "ReplicaSet")
    wanted = expected_of("Deployment", allocated=1, pending=1)
    assert cluster(answers, wanted, status=1) == [every, ("Deployment",), every]


def test_bare_pods_have_no_controller_to_read(cluster: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LONG_READ_SECONDS", 0)
    assert cluster([pods("Pending"), pods("Pending"), pods("Running")], expected()) == [READ] * 3


def test_pods_of_a_job_without_completions_are_read(cluster: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LONG_READ_SECONDS", 0)
    job = json.loads(controllers("Job"))
    job["items"][0]["spec"] = {"parallelism": 2}
    every = ("Pod", "ResourceClaim", "Job")
    assert cluster([pods("Pending"), json.dumps(job), DOWN], expected_of("Job"), status=1) == [every, ("Job",), every]


def test_the_times_of_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """One workload has created its pods and is late after 5 s; the other still creates them until 12 s.

    A read of all pods takes a second. They are read again when the controllers have not changed for 2 s.
    """
    now = 0.0
    asked: list[tuple[float, int]] = []
    items: list[Object] = [
        {
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": "", "generation": 1},
            "spec": {"replicas": 2},
            "status": {"readyReplicas": ready},
        }
        for name, ready in (("made", 2), ("making", 1))
    ]

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        assert now < 100

    def read(api: ApiServer, kinds: Sequence[str]) -> list[Object]:
        asked.append((now, len(kinds)))
        assert len(asked) < 100
        if "Pod" in kinds:
            sleep(1)
        items[1]["metadata"]["resourceVersion"] = str(min(now, 12.0))
        return copy.deepcopy(items)

    for module in (waiting, wait):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))
    monkeypatch.setattr(snapshot, "must_read", read)
    awaited = [
        Expected("workloads", name, (("Deployment", "", name),), None, 0, seconds, 2)
        for name, seconds in (("made", 5), ("making", 20))
    ]
    late = waiting.wait(ApiServer(), awaited, Unfit(), lambda _: None, 0)
    assert [line.partition(":")[0] for line in late if line.startswith("workload")] == [
        "workload made",
        "workload making",
    ]
    looks = [*(3 + step / 2 for step in range(5)), *(8.5 + step / 2 for step in range(12)), 17, 20]
    assert [at for at, kinds in asked if kinds == 1] == looks
    assert [at for at, kinds in asked if kinds > 1] == [0, 5.5, 14, 17, 20, 23]


def node(name: str, *conditions: tuple[str, str]) -> Object:
    """Return a node with conditions: type and status."""
    status = {"conditions": [{"type": kind, "status": status} for kind, status in conditions]}
    return {"kind": "Node", "metadata": {"name": name}, "status": status}


READY, NOT_READY = ("Ready", "True"), ("Ready", "False")


@pytest.mark.parametrize(
    ("not_ready", "answers"),
    [
        ([], [[node("a", NOT_READY)], [node("a", READY)]]),
        (["a"], [[node("a", READY)], [node("a", ("Disk", "False"), NOT_READY)]]),
        (["a"], [[node("a", NOT_READY), node("b", ("Ready", "Unknown"))], [node("a", NOT_READY), node("b", READY)]]),
        # A new node has no condition yet; a node that must be NotReady needs one.
        (["a"], [[node("a")], [node("a", NOT_READY), node("b")]]),
    ],
)
def test_the_wait_for_the_readiness_of_nodes(
    cluster: Run, capsys: pytest.CaptureFixture[str], not_ready: list[str], answers: list[list[Object]]
) -> None:
    texts = [json.dumps({"items": items}) for items in answers]
    assert len(cluster([*texts, "never read"], wanted=["Node"], not_ready=not_ready)) == len(texts)
    assert last_read(capsys) == texts[-1]


def test_only_nodes_are_read_until_they_are_ready(cluster: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """The slices of a large fleet take many times as long to read."""
    other = {"kind": "ResourceSlice", "metadata": {"name": "s"}}
    own = "Node=/api/v1/nodes?labelSelector=x"
    answers = [[node("a", NOT_READY), other], [node("a", NOT_READY)], [node("a", READY)]]
    texts = [json.dumps({"items": items}) for items in answers]
    wanted = [own, "ResourceSlice"]
    assert cluster([*texts, "never read"], wanted=wanted) == [tuple(wanted), (own,), (own,)]
    assert json.loads(last_read(capsys))["items"] == [other, node("a", READY)]


@pytest.mark.parametrize("answer", [DOWN, FORBIDDEN])
def test_nodes_that_cannot_be_read(cluster: Run, capsys: pytest.CaptureFixture[str], answer: str) -> None:
    first = json.dumps({"items": [node("a", NOT_READY)]})
    if answer == FORBIDDEN:
        with pytest.raises(RefusedError):
            cluster([first, answer], wanted=["Node"])
    else:
        cluster([first, answer], wanted=["Node"])
        assert last_read(capsys) == DOWN


def test_the_wait_for_the_readiness_of_nodes_ends(
    cluster: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "NODES_SECONDS", 0.2)
    text = json.dumps({"items": [node("a", READY)]})
    assert len(cluster([text], wanted=["Node"], not_ready=["a"])) > 1
    assert last_read(capsys) == text
