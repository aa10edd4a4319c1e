"""Waiting for workloads, in a cluster that says what it is told to."""

import json
import sys
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.api import snapshot
from cluster.api.api_server import ApiServer, RefusedError, UnreachableError
from cluster.fleet import waiting
from commands import wait
from topology.status.evictions import Unfit
from topology.status.workload_progress import Expected

Object = dict[str, Any]


def pods(*phases: str) -> str:
    """Return what kubectl prints about bare pods of the workload `job` in these phases, whose claims are allocated."""
    allocation: Object = {"allocation": {"devices": {"results": []}}}
    items: list[Object] = [{"kind": "ResourceClaim", "metadata": {"name": "c"}, "status": allocation}]
    items += [
        {
            "kind": "Pod",
            "metadata": {"name": str(place)},
            "spec": {"containers": [], "resourceClaims": [{"name": "c", "resourceClaimName": "c"}]},
            "status": {"phase": phase},
        }
        for place, phase in enumerate(phases)
    ]
    return json.dumps({"items": items})


def expected(count: int = 1, seconds: float = 600, workload: str = "job") -> list[Any]:
    """Return what is expected of so many bare pods, as the environment has it."""
    return ["workloads", workload, [["Pod", "", str(place)] for place in range(count)], count, 0, seconds, count]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Sequence[str]]]:
    """Return a function that waits in a cluster with answers to its readings, the last one again and again.

    As a program it waits for what is `expected`; given the kinds that are `wanted`, as what reads the status. It
    returns which kinds were read. Time passes only while it reads and sleeps.
    """
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    for module in (waiting, wait):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))

    def run(
        answers: list[str],
        *expected: list[Any],
        status: int = 0,
        wanted: Sequence[str] = (),
        not_ready: Sequence[str] = (),
        unfit: Sequence[Any] = (),
    ) -> list[Sequence[str]]:
        asked: list[Sequence[str]] = []
        left = list(answers)

        def must_read(api: ApiServer, kinds: Sequence[str]) -> list[Object]:
            asked.append(tuple(kinds))
            sleep(0.01)
            answer = left.pop(0) if len(left) > 1 else left[0]
            if answer in ERRORS:
                raise ERRORS[answer]
            found: list[Object] = json.loads(answer)["items"]
            return found

        monkeypatch.setattr(snapshot, "must_read", must_read)
        if wanted:
            awaited = [Expected.from_json(entry) for entry in expected]
            api = ApiServer()
            first = snapshot.read(api, wanted)
            fit = Unfit(*unfit)
            found = waiting.settled_objects(api, wanted, first, awaited, fit, not_ready, lambda text: print(text))
            print(DOWN if found is None else json.dumps({"items": found}), file=sys.stderr)
        else:
            monkeypatch.setenv("KWOK_DRA_EXPECTED", json.dumps(expected))
            monkeypatch.setenv("KWOK_DRA_UNFIT", json.dumps(unfit))
            assert wait.main() == status
        return asked

    return run


Run = Callable[..., list[Sequence[str]]]
READ = ("Pod", "ResourceClaim")
DOWN, FORBIDDEN = "down", "forbidden"
ERRORS: dict[str, Exception] = {DOWN: UnreachableError("refused"), FORBIDDEN: RefusedError("you may not list pods")}


def read_in_the_end(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the objects that were read last."""
    return capsys.readouterr().err.strip()


def test_it_waits_until_all_is_as_expected(cluster: Run, capsys: pytest.CaptureFixture[str]) -> None:
    answers = [pods(), pods("Pending"), pods("Pending"), pods("Running"), pods()]
    assert cluster(answers, expected()) == [READ] * 4
    assert capsys.readouterr() == ("", "")


def test_it_tells_of_a_few_workloads_what_they_wait_for(cluster: Run, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["a", "b", "c", "d", "e"]
    cluster([pods("Pending")], *(expected(seconds=0.2, workload=name) for name in names), wanted=["Pod"])
    awaited = ", ".join(f"{name} (1 claims are allocated and 0 pending, expected: 1 and 0)" for name in names[:3])
    assert capsys.readouterr().out == f"waiting for {awaited} and 2 more\n"


def test_it_tells_what_it_waits_for_whenever_that_changes(cluster: Run, capsys: pytest.CaptureFixture[str]) -> None:
    answers = [pods(), pods(), pods("Pending"), pods("Pending"), pods("Running")]
    cluster(answers, expected(), wanted=["Pod"])
    assert capsys.readouterr().out == (
        "waiting for job (0 claims are allocated and 0 pending, expected: 1 and 0)\n"
        "waiting for job (1 claims are allocated and 0 pending, expected: 1 and 0)\n"
    )


def test_it_waits_for_every_workload(cluster: Run, capsys: pytest.CaptureFixture[str]) -> None:
    found = cluster([pods("Running")], expected(), expected(2, seconds=0.2, workload="other"), status=1)
    assert len(found) > 1
    assert capsys.readouterr().err == (
        "workload other: 1 of 2 pods run after 0.2 s (kwok-dra:workloads readyTimeoutSeconds)\n"
        "workloads that come after it are not created\n"
    )


def test_with_nothing_to_wait_for_it_only_reads(cluster: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert cluster([pods("Running")], wanted=["Node", "Pod"]) == [("Node", "Pod")]
    assert read_in_the_end(capsys) == pods("Running")


def test_it_reads_what_there_is_after_it_has_waited(cluster: Run, capsys: pytest.CaptureFixture[str]) -> None:
    answers = [pods("Pending"), pods("Pending"), pods("Running"), pods("Running", "Failed")]
    assert cluster(answers, expected(), wanted=["Pod"]) == [("Pod",), READ, READ, ("Pod",)]
    assert read_in_the_end(capsys) == answers[-1]


def test_it_waits_again_if_what_it_has_read_is_not_as_expected(
    cluster: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = [pods(phase) for phase in ("Pending", "Running", "Pending", "Pending", "Running", "Running")]
    assert cluster(answers, expected(), wanted=["Pod"]) == [("Pod",), READ, ("Pod",), READ, READ, ("Pod",)]
    assert read_in_the_end(capsys) == pods("Running")


def test_it_reads_once_if_all_is_as_expected(cluster: Run) -> None:
    assert cluster([pods("Running"), "never read"], expected(), wanted=["Pod"]) == [("Pod",)]


def test_it_gives_up_in_time_and_leaves_it_to_the_reader(cluster: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(cluster([pods("Pending")], expected(seconds=0.2), wanted=["Pod"])) > 2
    assert read_in_the_end(capsys) == pods("Pending")


def test_each_workload_has_its_own_time(cluster: Run, capsys: pytest.CaptureFixture[str]) -> None:
    answers = [*[pods("Pending")] * 3, pods("Running", "Running")]
    assert cluster(answers, expected(3, seconds=0), expected(2, seconds=60), status=1) == [READ] * 4
    assert capsys.readouterr().err == (
        "workload job: 0 of 3 pods run after 0 s (kwok-dra:workloads readyTimeoutSeconds)\n"
        "workloads that come after it are not created\n"
    )


def test_it_says_why_pods_are_refused(cluster: Run, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(pods("Running", *["Pending"] * 7))
    for pod in found["items"][2:]:
        message = f"no place {int(pod['metadata']['name']) // 7}. preemption: 0/1 nodes are available"
        pod["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "message": message}]
    cluster([json.dumps(found)], expected(9, seconds=0), status=1)
    assert capsys.readouterr().err == (
        "workload job: 1 of 9 pods run after 0 s (kwok-dra:workloads readyTimeoutSeconds)\n"
        "  pods 1, 2, 3, 4, 5 and 1 more: no place 0.\n"
        "  pod 7: no place 1.\n"
        "workloads that come after it are not created\n"
    )


def test_a_cluster_that_does_not_answer_is_not_waited_for(cluster: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(cluster([DOWN], expected(seconds=600), wanted=["Pod"])) == 1
    assert read_in_the_end(capsys) == DOWN
    assert len(cluster([pods("Pending"), DOWN], expected(seconds=600), wanted=["Pod"])) == 3
    assert read_in_the_end(capsys) == DOWN


@pytest.mark.parametrize(
    ("answer", "why"), [(DOWN, "the cluster does not answer: refused"), (FORBIDDEN, "you may not list pods")]
)
@pytest.mark.parametrize("awaited", [expected(), ["workloads", "job", [], None, 0, 600, 0]])
def test_what_is_not_known_is_not_as_expected(
    cluster: Run, capsys: pytest.CaptureFixture[str], answer: str, why: str, awaited: list[Any]
) -> None:
    """Not even where no pods are expected."""
    assert len(cluster([answer], awaited, status=1)) == 1
    assert capsys.readouterr().err == f"workload job: {why}\nworkloads that come after it are not created\n"


def test_who_may_not_read_the_controllers_is_told_so(
    cluster: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(waiting, "LONG_READ_SECONDS", 0)
    wanted = ["workloads", "job", [["Deployment", "", "job"]], None, 0, 600, 2]
    assert len(cluster([pods("Pending"), FORBIDDEN], wanted, status=1)) == 2
    assert capsys.readouterr().err.startswith("workload job: you may not list pods\n")


def test_who_may_not_read_the_objects_is_told_so(cluster: Run) -> None:
    for answers in ([FORBIDDEN], [pods("Pending"), FORBIDDEN]):
        with pytest.raises(RefusedError, match=r"^you may not list pods$"):
            cluster(answers, expected(), wanted=["Pod"])


def test_pods_that_will_be_evicted_are_waited_for(cluster: Run) -> None:
    on_node = json.loads(pods("Running"))
    on_node["items"][1]["spec"]["nodeName"] = "gone"
    assert cluster([json.dumps(on_node), pods("Running")], expected(), unfit=[["gone"], []]) == [READ] * 2


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
def test_pods_that_take_long_to_read_are_left_alone_while_more_are_to_come(
    cluster: Run, monkeypatch: pytest.MonkeyPatch, kind: str, early: dict[str, int], late: dict[str, int]
) -> None:
    """What makes them is looked at instead."""
    monkeypatch.setattr(waiting, "LONG_READ_SECONDS", 0)
    monkeypatch.setattr(waiting, "SECONDS_BETWEEN_LOOKS", 0)
    wanted = ["workloads", "job", [[kind, "", "job"]], None, 0, 600, 2]
    answers = [pods("Pending"), controllers(kind, **early), controllers(kind, **early), controllers(kind, **late), DOWN]
    every = ("Pod", "ResourceClaim", kind, *(["ReplicaSet"] if kind == "Deployment" else []))
    assert cluster(answers, wanted, status=1) == [every, *[(kind,)] * 3, every]


def test_where_claims_are_to_be_pending_pods_are_read_themselves(cluster: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LONG_READ_SECONDS", 0)
    wanted = ["workloads", "job", [["Deployment", "", "job"]], 1, 1, 600, 2]
    answers = [pods("Pending"), controllers("Deployment"), DOWN]
    every = ("Pod", "ResourceClaim", "Deployment", "ReplicaSet")
    assert cluster(answers, wanted, status=1) == [every, ("Deployment",), every]


def test_what_makes_no_pods_but_is_one_is_not_looked_at_by_itself(
    cluster: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "LONG_READ_SECONDS", 0)
    assert cluster([pods("Pending"), pods("Pending"), pods("Running")], expected()) == [READ] * 3


def test_a_job_that_does_not_say_how_many_pods_it_wants_is_read_with_them(
    cluster: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "LONG_READ_SECONDS", 0)
    job = json.loads(controllers("Job"))
    job["items"][0]["spec"] = {"parallelism": 2}
    every = ("Pod", "ResourceClaim", "Job")
    wanted = ["workloads", "job", [["Job", "", "job"]], None, 0, 600, 2]
    assert cluster([pods("Pending"), json.dumps(job), DOWN], wanted, status=1) == [every, ("Job",), every]


def test_when_what_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two workloads one has made its pods and is late after 5 s; the other one still makes them after 20 s.

    To read all pods takes a second.
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
        return items

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
    assert [at for at, kinds in asked if kinds > 1] == [0, 5.5, 20.5]
    assert [at for at, kinds in asked if kinds == 1] == [3, 3.5, 4, 4.5, 5, *(8.5 + step / 2 for step in range(24))]


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
        # A new one says nothing yet, and who is to be not ready has to say it.
        (["a"], [[node("a")], [node("a", NOT_READY), node("b")]]),
    ],
)
def test_it_reads_nodes_as_they_are_to_be(
    cluster: Run, capsys: pytest.CaptureFixture[str], not_ready: list[str], answers: list[list[Object]]
) -> None:
    texts = [json.dumps({"items": items}) for items in answers]
    assert len(cluster([*texts, "never read"], wanted=["Node"], not_ready=not_ready)) == len(texts)
    assert read_in_the_end(capsys) == texts[-1]


def test_it_reads_nodes_that_do_not_become_so(
    cluster: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "NODES_SECONDS", 0.2)
    text = json.dumps({"items": [node("a", READY)]})
    assert len(cluster([text], wanted=["Node"], not_ready=["a"])) > 1
    assert read_in_the_end(capsys) == text
