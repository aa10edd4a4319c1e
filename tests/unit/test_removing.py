"""What deletes what a stack has no more: nodes through the API server, all else with a kubectl that takes notes."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cluster.api.api_server import MERGE, Answer, ApiServer, UnreachableError
from commands import removals
from tests.unit.fake_api_server import FakeApiServer, Object

KUBECTL = f"""#!{sys.executable}
import json, os, sys
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps([sys.argv[1:], sys.stdin.read()]) + "\\n")
sys.stderr.write(os.environ.get("SAYS", ""))
sys.exit(int(os.environ.get("FAILS", 0)))
"""
JOB = ["batch/v1", "Job", "default", "train"]
NODE = ["v1", "Node", "", "gpu-0"]
CORDON = "PATCH /api/v1/nodes/gpu-0"
DELETE = "DELETE /api/v1/nodes/gpu-0"


def pod(name: str, node: str) -> Object:
    """Return a pod on a node."""
    return {"kind": "Pod", "metadata": {"name": name, "namespace": "a"}, "spec": {"nodeName": node}}


class Cluster(FakeApiServer):
    """A cluster that notes a node's cordon among kubectl's calls, so that the order of all is known."""

    def __init__(self, pods: Sequence[Object]) -> None:
        objects = {f"/api/v1/namespaces/a/pods/{entry['metadata']['name']}": entry for entry in pods}
        nodes: dict[str, Object] = {f"/api/v1/nodes/gpu-{index}": {"metadata": {}, "spec": {}} for index in range(3)}
        super().__init__(objects | nodes)


class Run(NamedTuple):
    """What kubectl was asked, what was written to the API server, and what was printed."""

    calls: list[Any]
    written: list[str]
    printed: str


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Run]:
    """Return a function that runs the program."""
    (tmp_path / "kubectl").write_text(KUBECTL)
    (tmp_path / "kubectl").chmod(0o755)
    calls = tmp_path / "calls"

    def program(
        before: Sequence[Any] | None,
        wanted: Sequence[Any],
        lost: Sequence[str] = (),
        pods: Sequence[Object] = (),
        **environment: str,
    ) -> Run:
        calls.write_text("")
        cluster = Cluster(pods)
        variables = {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "CALLS": str(calls),
            "KWOK_DRA_OBJECTS": json.dumps(wanted),
            "KWOK_DRA_LOST": json.dumps([("v1", "Node", "", name) for name in lost]),
            "PULUMI_COMMAND_STDOUT": "" if before is None else json.dumps(before),
        }
        for name, value in (variables | environment).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(removals, "ApiServer", lambda: cluster)
        assert removals.main() == 0
        return Run(
            [json.loads(line) for line in calls.read_text().splitlines()], cluster.written, capsys.readouterr().out
        )

    return program


@pytest.mark.parametrize("before", [None, [JOB], [JOB, NODE]])
def test_nothing_is_deleted_that_is_wanted(run: Callable[..., Run], before: Sequence[Any] | None) -> None:
    assert run(before, [JOB, NODE]) == ([], [], json.dumps([JOB, NODE]))


def test_what_is_not_wanted_any_more_is_deleted(run: Callable[..., Run]) -> None:
    found = run([JOB, NODE], [], lost=["gpu-0"], pods=[pod("p", "gpu-0")])
    ((arguments, text),) = found.calls
    assert arguments == ["delete", "--ignore-not-found", "--filename", "-"]
    assert json.loads(text)["items"] == [
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "train", "namespace": "default"}}
    ]
    assert found.written == [DELETE]
    assert json.loads(found.printed) == []


def test_a_node_that_is_switched_off_is_drained_before(run: Callable[..., Run]) -> None:
    """No pod that it has gets lost, and those of other nodes stay."""
    found = run([NODE], [], pods=[pod("p", "gpu-0"), pod("q", "gpu-1")])
    assert found.written == [CORDON, "DELETE /api/v1/namespaces/a/pods/p", DELETE]


@pytest.mark.parametrize(("reads", "seconds", "there"), [(4, 60, False), (10, 0, True)])
def test_pods_that_take_their_time_are_waited_for(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, reads: int, seconds: float, there: bool
) -> None:
    """When the node goes, they are gone: after so many readings, or not within that time."""
    monkeypatch.setattr(removals, "SECONDS_BETWEEN_LOOKS", 0)
    monkeypatch.setattr(removals, "DRAIN_SECONDS", seconds)
    send = Cluster.send
    left: list[bool] = []

    def slowly(api: Cluster, method: str, path: str, *more: Any) -> Answer:
        nonlocal reads
        reads -= path.startswith("/api/v1/pods")
        if reads == 0:
            api.objects.pop("/api/v1/namespaces/a/pods/p", None)
        if f"{method} {path}" == DELETE:
            left.extend("/pods/" in place for place in api.objects if "/nodes/" not in place)
        return Answer(200, b"{}") if method == "DELETE" and "/pods/" in path else send(api, method, path, *more)

    monkeypatch.setattr(Cluster, "send", slowly)
    run([NODE], [], pods=[pod("p", "gpu-0")])
    assert any(left) == there


def test_a_node_and_its_pods_may_be_gone_before_they_are_drained(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    send = Cluster.send

    def gone(api: Cluster, method: str, path: str, *more: Any) -> Answer:
        assert method != "PATCH" or more[1:] == (MERGE,)
        if method == "PATCH":
            del api.objects["/api/v1/nodes/gpu-0"]
        if method == "DELETE":
            api.objects.clear()
        return send(api, method, path, *more)

    monkeypatch.setattr(Cluster, "send", gone)
    found = run([NODE], [], pods=[pod("p", "gpu-0"), pod("q", "gpu-0")])
    assert len(found.written) == 4


def test_where_there_are_no_pods_there_is_nothing_to_drain(run: Callable[..., Run]) -> None:
    assert run([NODE], []).written == [DELETE]


def test_a_node_that_is_gone_already(run: Callable[..., Run]) -> None:
    assert run([["v1", "Node", "", "gpu-9"]], []).written == ["DELETE /api/v1/nodes/gpu-9"]


def test_many_nodes(run: Callable[..., Run]) -> None:
    found = run([["v1", "Node", "", "gpu-", 0, 3]], [["v1", "Node", "", "gpu-", 0, 1]])
    assert sorted(found.written) == ["DELETE /api/v1/nodes/gpu-1", "DELETE /api/v1/nodes/gpu-2"]


def test_a_deletion_that_fails_is_no_success(run: Callable[..., Run]) -> None:
    with pytest.raises(SystemExit, match="kubectl delete exited with 1"):
        run([JOB], [], FAILS="1")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (UnreachableError("refused"), "the cluster does not answer: refused"),
        (Answer(403, b'{"message": "you may not"}'), "you may not"),
    ],
)
def test_what_the_api_server_says_is_one_message(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, answer: Answer | Exception, message: str
) -> None:
    def send(api: ApiServer, *_: object) -> Answer:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(Cluster, "send", send)
    with pytest.raises(SystemExit) as raised:
        run([NODE], [], lost=["gpu-0"])
    assert raised.value.code == message


@pytest.mark.parametrize(
    ("said", "fails"),
    [
        ('error: resource mapping not found for name: "x" namespace: "" from "STDIN": no matches for kind "X"', False),
        ("The connection to the server 127.0.0.1:1 was refused", True),
    ],
)
def test_an_object_whose_kind_is_gone_is_gone(run: Callable[..., Run], said: str, fails: bool) -> None:
    says = f"{said}\nensure CRDs are installed first\n"
    if fails:
        with pytest.raises(SystemExit) as raised:
            run([JOB], [], FAILS="1", SAYS=says)
        assert raised.value.code == said
    else:
        assert json.loads(run([JOB], [], FAILS="1", SAYS=says).printed) == []


def test_numbered_objects(run: Callable[..., Run]) -> None:
    found = run([["v1", "Pod", "a", "p-", 0, 4]], [["v1", "Pod", "a", "p-", 1, 2]])
    ((_, text),) = found.calls
    assert [item["metadata"]["name"] for item in json.loads(text)["items"]] == ["p-0", "p-3"]
    assert json.loads(found.printed) == [["v1", "Pod", "a", "p-", 1, 2]]
