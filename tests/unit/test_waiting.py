"""The program that waits for workloads, with a kubectl that says what it is told to."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from components import waiting
from tests.unit.conftest import ROOT
from topology import snapshot

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


def expected(count: int = 1, seconds: float = 60, workload: str = "job") -> list[Any]:
    """Return what is expected of so many bare pods, as the environment has it."""
    return ["workloads", workload, [["Pod", "", str(place)] for place in range(count)], count, 0, seconds, count]


@pytest.fixture
def kubectl(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Sequence[str]]]:
    """Return a function that runs the program with answers to its readings, the last one again and again.

    It returns which kinds were read.
    """
    monkeypatch.setattr(waiting, "FEWEST_SECONDS_BETWEEN_READS", 0)

    def run(answers: list[str], *waited_for: list[Any], status: int = 0, **environment: object) -> list[Sequence[str]]:
        asked: list[Sequence[str]] = []
        left = list(answers)

        def read(kinds: Sequence[str]) -> list[Object] | None:
            asked.append(tuple(kinds))
            answer = left.pop(0) if len(left) > 1 else left[0]
            return None if answer == DOWN else json.loads(answer)["items"]

        monkeypatch.setattr(snapshot, "read", read)
        monkeypatch.setenv("KWOK_DRA_EXPECTED", json.dumps(waited_for))
        for name, value in environment.items():
            monkeypatch.setenv(f"KWOK_DRA_{name}", str(value))
        assert waiting.main() == status
        return asked

    return run


Run = Callable[..., list[Sequence[str]]]
READ = ("Pod", "ResourceClaim")
DOWN = "down"


def test_it_waits_until_all_is_as_expected(kubectl: Run, capsys: pytest.CaptureFixture[str]) -> None:
    answers = [pods(), pods("Pending"), pods("Pending"), pods("Running"), pods()]
    assert kubectl(answers, expected()) == [READ] * 4
    assert capsys.readouterr() == (
        "",
        "waiting for job (0 claims are allocated and 0 pending, to be 1 and 0)\n"
        "waiting for job (1 claims are allocated and 0 pending, to be 1 and 0)\n",
    )


def test_it_tells_of_a_few_workloads_what_they_wait_for(kubectl: Run, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["a", "b", "c", "d", "e"]
    kubectl([pods("Pending")], *(expected(seconds=0.2, workload=name) for name in names))
    awaited = ", ".join(f"{name} (1 claims are allocated and 0 pending, to be 1 and 0)" for name in names[:3])
    assert capsys.readouterr().err == f"waiting for {awaited} and 2 more\n"


def test_it_waits_for_every_workload(kubectl: Run, capsys: pytest.CaptureFixture[str]) -> None:
    found = kubectl([pods("Running")], expected(), expected(2, seconds=0.2, workload="other"), status=1, STRICT="true")
    assert len(found) > 1
    assert capsys.readouterr().err == (
        "workload other: 1 of 2 pods run after 0.2 s (kwok-dra:workloads readyTimeoutSeconds)\n"
        "what comes after it is not made\n"
    )


def test_with_nothing_to_wait_for_it_only_prints(kubectl: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert kubectl([pods("Running")], KINDS="Node,Pod") == [("Node", "Pod")]
    assert capsys.readouterr().out == pods("Running")


def test_it_prints_what_there_is_after_it_has_waited(kubectl: Run, capsys: pytest.CaptureFixture[str]) -> None:
    answers = [pods("Pending"), pods("Pending"), pods("Running"), pods("Running", "Failed")]
    assert kubectl(answers, expected(), KINDS="Pod") == [("Pod",), READ, READ, ("Pod",)]
    assert capsys.readouterr().out == answers[-1]


def test_it_waits_again_if_what_it_is_to_print_is_not_as_expected(
    kubectl: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = [pods(phase) for phase in ("Pending", "Running", "Pending", "Pending", "Running", "Running")]
    assert kubectl(answers, expected(), KINDS="Pod") == [("Pod",), READ, ("Pod",), READ, READ, ("Pod",)]
    assert capsys.readouterr().out == pods("Running")


def test_it_reads_once_if_all_is_as_expected(kubectl: Run) -> None:
    assert kubectl([pods("Running"), "never read"], expected(), KINDS="Pod") == [("Pod",)]


def test_it_gives_up_in_time_and_leaves_it_to_the_reader(kubectl: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(kubectl([pods("Pending")], expected(seconds=0.2), KINDS="Pod")) > 2
    assert capsys.readouterr().out == pods("Pending")


def test_each_workload_has_its_own_time(kubectl: Run, capsys: pytest.CaptureFixture[str]) -> None:
    answers = [*[pods("Pending")] * 3, pods("Running", "Running")]
    assert kubectl(answers, expected(3, seconds=0), expected(2, seconds=60), status=1, STRICT="true") == [READ] * 4
    assert capsys.readouterr().err == (
        "workload job: 0 of 3 pods run after 0 s (kwok-dra:workloads readyTimeoutSeconds)\n"
        "what comes after it is not made\n"
    )


def test_it_says_why_pods_are_refused(kubectl: Run, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(pods("Running", *["Pending"] * 7))
    for pod in found["items"][2:]:
        message = f"no place {int(pod['metadata']['name']) // 7}. preemption: 0/1 nodes are available"
        pod["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "message": message}]
    kubectl([json.dumps(found)], expected(9, seconds=0), status=1, STRICT="true")
    assert capsys.readouterr().err == (
        "workload job: 1 of 9 pods run after 0 s (kwok-dra:workloads readyTimeoutSeconds)\n"
        "  pods 1, 2, 3, 4, 5 and 1 more: no place 0.\n"
        "  pod 7: no place 1.\n"
        "what comes after it is not made\n"
    )


def test_a_cluster_that_does_not_answer_is_not_waited_for(kubectl: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(kubectl([DOWN], expected(seconds=600), KINDS="Pod")) == 1
    assert capsys.readouterr().out == waiting.UNREACHABLE
    assert len(kubectl([DOWN], expected(seconds=600), status=1, KINDS="", STRICT="true")) == 1
    assert capsys.readouterr().err == "workload job: the cluster does not answer\nwhat comes after it is not made\n"


def test_pods_that_will_be_evicted_are_waited_for(kubectl: Run) -> None:
    on_node = json.loads(pods("Running"))
    on_node["items"][1]["spec"]["nodeName"] = "gone"
    found = kubectl([json.dumps(on_node), pods("Running")], expected(), UNFIT=json.dumps([["gone"], []]))
    assert found == [READ] * 2


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
        # A preview takes it as it is.
        (None, [[node("a", NOT_READY)]]),
    ],
)
def test_it_prints_nodes_as_they_are_to_be(
    kubectl: Run, capsys: pytest.CaptureFixture[str], not_ready: list[str] | None, answers: list[list[Object]]
) -> None:
    texts = [json.dumps({"items": items}) for items in answers]
    assert len(kubectl([*texts, "never read"], KINDS="Node", NOT_READY=json.dumps(not_ready))) == len(texts)
    assert capsys.readouterr().out == texts[-1]


def test_it_prints_nodes_that_do_not_become_so(
    kubectl: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "NODES_SECONDS", 0.2)
    text = json.dumps({"items": [node("a", READY)]})
    assert len(kubectl([text], KINDS="Node", NOT_READY='["a"]')) > 1
    assert capsys.readouterr().out == text


def test_it_is_a_program_that_needs_the_standard_library_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-S", "-E", str(ROOT / "components" / "waiting.py")]
    environment = {"PATH": str(tmp_path), "KWOK_DRA_EXPECTED": "[]"}
    subprocess.run(command, env=environment, cwd=tmp_path, check=True)
