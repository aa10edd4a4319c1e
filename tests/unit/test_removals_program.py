"""The deletion of objects that are no longer part of a stack, in an API server in memory."""

import io
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from cluster.api.api_server import MERGE, Answer, UnreachableError
from commands import removals
from commands.inputs import packed, unpacked
from tests.unit.fake_api_server import FakeApiServer, Object
from topology.objects.removable import folded, node_reference

JOB = ["batch/v1", "Job", "default", "train"]
NODE = ["v1", "Node", "", "gpu-0"]
CORDON = "PATCH /api/v1/nodes/gpu-0"
DELETE = "DELETE /api/v1/nodes/gpu-0"
JOB_PATH = "/apis/batch/v1/namespaces/default/jobs/train"
SERVED: dict[str, Object] = {
    "/api/v1": {"resources": [{"name": "pods", "kind": "Pod", "namespaced": True}]},
    "/apis/batch/v1": {
        "resources": [
            {"name": "jobs", "kind": "Job", "namespaced": True},
            {"name": "jobs/status", "kind": "Job", "namespaced": True},
        ]
    },
    "/apis/rbac.authorization.k8s.io/v1": {
        "resources": [{"name": "clusterroles", "kind": "ClusterRole", "namespaced": False}]
    },
}
"""What discovery returns."""


def pod(name: str, node: str) -> Object:
    """Return a pod on a node."""
    return {"kind": "Pod", "metadata": {"name": name, "namespace": "a"}, "spec": {"nodeName": node}}


class Cluster(FakeApiServer):
    """A cluster with three nodes, a Job and some pods."""

    def __init__(self, pods: Sequence[Object]) -> None:
        objects = {f"/api/v1/namespaces/a/pods/{entry['metadata']['name']}": entry for entry in pods}
        nodes: dict[str, Object] = {f"/api/v1/nodes/gpu-{index}": {"metadata": {}, "spec": {}} for index in range(3)}
        super().__init__(SERVED | objects | nodes | {JOB_PATH: {"metadata": {"uid": "first"}}})
        self.queries: list[str] = []

    def send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, content_type: str = "application/json"
    ) -> Answer:
        if method == "DELETE":
            self.queries.append(path.partition("?")[2])
        return super().send(method, path, body, content_type)


class Run(NamedTuple):
    """What was written to the API server, and what was printed."""

    written: list[str]
    printed: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Run]:
    """Return a function that runs the program."""

    def program(
        before: Sequence[Any] | None,
        wanted: Sequence[Any],
        lost: Sequence[str] = (),
        pods: Sequence[Object] = (),
        cluster: Cluster | None = None,
    ) -> Run:
        found = cluster or Cluster(pods)
        values = {"KWOK_DRA_OBJECTS": wanted, "KWOK_DRA_LOST": folded([node_reference(name) for name in lost])}
        monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(values)))
        monkeypatch.setenv("PULUMI_COMMAND_STDOUT", "" if before is None else packed(before))
        monkeypatch.setattr(removals, "ApiServer", lambda: found)
        assert removals.main() == 0
        return Run(found.written, capsys.readouterr().out)

    return program


def fails(run: Callable[..., Run], *arguments: Any, **more: Any) -> str:
    """Run the program, and return its message."""
    with pytest.raises(SystemExit) as raised:
        run(*arguments, **more)
    return str(raised.value.code)


@pytest.mark.parametrize("before", [None, [JOB], [JOB, NODE]])
def test_objects_of_the_stack_are_not_deleted(run: Callable[..., Run], before: Sequence[Any] | None) -> None:
    assert run(before, [JOB, NODE]) == ([], packed([JOB, NODE]))


def test_objects_that_left_the_stack_are_deleted(run: Callable[..., Run]) -> None:
    cluster = Cluster([pod("p", "gpu-0")])
    found = run([JOB, NODE], [], lost=["gpu-0"], cluster=cluster)
    assert found.written == [f"DELETE {JOB_PATH}", DELETE]
    assert cluster.queries == ["propagationPolicy=Background", ""]
    assert unpacked(found.printed) == []


def test_a_node_is_drained_before_its_deletion(run: Callable[..., Run]) -> None:
    """Its pods are deleted first; pods on other nodes stay."""
    found = run([NODE], [], pods=[pod("p", "gpu-0"), pod("q", "gpu-1")])
    assert found.written == [CORDON, "DELETE /api/v1/namespaces/a/pods/p", DELETE]


@pytest.mark.parametrize(("reads", "seconds", "there"), [(4, 60, False), (10, 0, True)])
def test_the_drain_waits_for_pods(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, reads: int, seconds: float, there: bool
) -> None:
    """The node is deleted when its pods are gone, after a number of reads, or when DRAIN_SECONDS are over."""
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


def test_a_node_and_its_pods_may_vanish_during_the_drain(
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


def test_no_drain_without_pods(run: Callable[..., Run]) -> None:
    assert run([NODE], []).written == [DELETE]


def test_a_node_that_no_longer_exists(run: Callable[..., Run]) -> None:
    assert run([["v1", "Node", "", "gpu-9"]], []).written == ["DELETE /api/v1/nodes/gpu-9"]


def test_many_nodes(run: Callable[..., Run]) -> None:
    found = run([["v1", "Node", "", "gpu-", 0, 3]], [["v1", "Node", "", "gpu-", 0, 1]])
    assert sorted(found.written) == ["DELETE /api/v1/nodes/gpu-1", "DELETE /api/v1/nodes/gpu-2"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (UnreachableError("refused"), "the cluster does not answer: refused"),
        (Answer(403, b'{"message": "you may not"}'), "you may not"),
    ],
)
@pytest.mark.parametrize("gone", [JOB, NODE])
def test_an_error_of_the_api_server_is_one_message(
    run: Callable[..., Run], answer: Answer | Exception, message: str, gone: list[str]
) -> None:
    cluster = Cluster([])
    cluster.before[""] = lambda: answer
    assert fails(run, [gone], [], lost=["gpu-0"], cluster=cluster) == message


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (UnreachableError("refused"), "the cluster does not answer: refused"),
        (Answer(500, b'{"message": "etcd is slow"}'), "the cluster does not answer: etcd is slow"),
        (Answer(403, b'{"message": "you may not list pods"}'), "you may not list pods"),
    ],
)
def test_no_node_is_deleted_if_its_pods_cannot_be_listed(
    run: Callable[..., Run], answer: Answer | Exception, message: str
) -> None:
    cluster = Cluster([pod("p", "gpu-0")])
    cluster.before["GET /api/v1/pods"] = lambda: answer
    assert fails(run, [NODE], [], cluster=cluster) == message
    assert cluster.written == []


@pytest.mark.parametrize("reads", [2, 3])
def test_no_node_is_deleted_if_the_cluster_stops_answering_during_the_drain(
    run: Callable[..., Run], reads: int
) -> None:
    left = count(1)
    cluster = Cluster([pod("p", "gpu-0")])
    cluster.before["GET /api/v1/pods"] = lambda: UnreachableError("refused") if next(left) == reads else None
    assert fails(run, [NODE], [], cluster=cluster) == "the cluster does not answer: refused"
    assert "gpu-0" in cluster.names("nodes")


@pytest.mark.parametrize(
    "gone", [["example.com/v1", "Own", "", "x"], ["batch/v1", "Own", "", "x"], ["batch/v1", "Job", "b", "train"]]
)
def test_an_object_that_no_longer_exists(run: Callable[..., Run], gone: list[str]) -> None:
    """Its API version or its kind may no longer be served."""
    cluster = Cluster([])
    assert unpacked(run([gone], [], cluster=cluster).printed) == []
    assert JOB_PATH in cluster.objects


def test_an_object_whose_kind_vanishes_before_the_deletion(run: Callable[..., Run]) -> None:
    cluster = Cluster([])
    cluster.before["DELETE"] = lambda: Answer(404, b"404 page not found")
    del cluster.objects[JOB_PATH]
    assert unpacked(run([JOB], [], cluster=cluster).printed) == []


@pytest.mark.parametrize(
    ("reference", "path"),
    [
        (["v1", "Pod", "", "p"], "/api/v1/namespaces/default/pods/p"),
        (["rbac.authorization.k8s.io/v1", "ClusterRole", "", "a:b?c"], "/clusterroles/a%3Ab%3Fc"),
    ],
)
def test_the_path_of_an_object(run: Callable[..., Run], reference: list[str], path: str) -> None:
    (written,) = run([reference], []).written
    assert written.endswith(path)


def waiting(monkeypatch: pytest.MonkeyPatch, answers: Sequence[Object | None]) -> list[float]:
    """Answer reads of the deleted Job with `answers`, and repeat the last one; return the pauses."""
    send = Cluster.send
    left = list(answers)
    clock = SimpleNamespace(now=0.0)
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        clock.now += seconds
        pauses.append(seconds)

    def slowly(api: Cluster, method: str, path: str, *more: Any) -> Answer:
        if method != "GET" or path != JOB_PATH:
            return send(api, method, path, *more)
        found = left.pop(0) if len(left) > 1 else left[0]
        return Answer(404, b"{}") if found is None else Answer(200, json.dumps(found).encode())

    monkeypatch.setattr(removals, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep))
    monkeypatch.setattr(Cluster, "send", slowly)
    return pauses


FIRST: Object = {"metadata": {"uid": "first"}}


@pytest.mark.parametrize("last", [None, {"metadata": {"uid": "second"}}])
def test_the_program_waits_until_objects_are_gone(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, last: Object | None
) -> None:
    """Another user may have created an object with the same name since."""
    pauses = waiting(monkeypatch, [FIRST, FIRST, last])
    run([JOB], [])
    assert len(pauses) == 2


def test_a_deletion_that_returns_a_status(run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    status = Answer(200, json.dumps({"kind": "Status", "metadata": {}, "details": {"uid": "first"}}).encode())
    cluster = Cluster([])
    cluster.before["DELETE"] = lambda: status
    pauses = waiting(monkeypatch, [FIRST, None])
    run([JOB], [], cluster=cluster)
    assert len(pauses) == 1


def test_an_object_that_is_not_deleted(run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = waiting(monkeypatch, [FIRST])
    assert fails(run, [JOB], []) == (
        "Job default/train still exists 300 s after its deletion. Find out which of its metadata.finalizers is left, "
        "and run `pulumi up` again"
    )
    assert 300 < sum(pauses) < 301


def test_numbered_objects(run: Callable[..., Run]) -> None:
    found = run([["v1", "Pod", "a", "p-", 0, 4]], [["v1", "Pod", "a", "p-", 1, 2]])
    paths = [f"DELETE /api/v1/namespaces/a/pods/{name}" for name in ("p-0", "p-3")]
    assert sorted(found.written) == paths
    assert unpacked(found.printed) == [["v1", "Pod", "a", "p-", 1, 2]]
