"""The program of a batch: which objects it creates, changes and deletes, and what it passes to its next run."""

import json
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from cluster.api.api_server import Answer, UnreachableError
from commands import batch
from tests.unit.fake_api_server import FakeApiServer

POOL = {"name": "gpu", "gpu": "example-gpu"}
CLAIMS = [{"name": "g", "requests": [{"name": "g", "deviceClass": "gpu.example.com"}]}]
WORKLOAD = {"name": "job", "kind": "Pod", "claims": CLAIMS}

Run = Callable[..., str]


@pytest.fixture
def api() -> FakeApiServer:
    return FakeApiServer()


@pytest.fixture
def run(api: FakeApiServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs the program for a batch of nodes and returns its output, which the next run gets."""
    monkeypatch.setattr(batch, "ApiServer", lambda: api)
    previous = ""

    def program(verb: str, nodes: str = "0-2", generation: int = 1, **variables: str) -> str:
        nonlocal previous
        environment = {
            "KWOK_DRA_POOL": json.dumps(POOL),
            "KWOK_DRA_NODES": nodes,
            "KWOK_DRA_CATALOGUE": "[]",
            "KWOK_DRA_GENERATIONS": json.dumps({"gpu.example.com": generation}),
            "KWOK_DRA_MINOR": "37",
            "KWOK_DRA_RESOURCE_API": "v1",
            "KWOK_DRA_CONTENT": "content",
            "PULUMI_COMMAND_STDOUT": previous,
        }
        for name, value in (environment | variables).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["batch", verb])
        api.asked.clear()
        assert batch.main() == 0
        previous = capsys.readouterr().out.strip() or previous
        return previous

    return program


def test_nothing_is_created_before_a_new_cluster_is_healthy(
    api: FakeApiServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [Answer(500, b"[-]poststarthook/rbac/bootstrap-roles failed"), Answer(200, b"ok")]
    written: list[list[str]] = []

    def get(path: str) -> Answer:
        if path != "/healthz":
            return FakeApiServer.get(api, path)
        written.append(api.written)
        return answers.pop(0)

    monkeypatch.setattr(batch, "SECONDS_BETWEEN_TRIES", 0)
    monkeypatch.setattr(api, "get", get)
    run("create")
    assert (answers, written) == ([], [[], []])
    assert api.names("nodes") == ["gpu-0", "gpu-1", "gpu-2"]


def nodes_asked(api: FakeApiServer, *verbs: str) -> set[str]:
    """Return the nodes that were read or written."""
    found = [line.split(" ") for line in api.asked]
    return {path.rpartition("/")[2] for verb, path in found if path.startswith("/api/v1/nodes/") and verb in verbs}


def test_creation(api: FakeApiServer, run: Run) -> None:
    content = ["content", '{"gpu.example.com": 1}']
    assert json.loads(run("create")) == {"numbers": "0-2", "gone": [], "content": content}
    assert api.names("nodes") == ["gpu-0", "gpu-1", "gpu-2"]
    assert len(api.names("resourceslices")) == 3


def test_growth_does_not_touch_other_nodes(api: FakeApiServer, run: Run) -> None:
    run("create")
    run("update", "0-4")
    assert api.names("nodes") == [f"gpu-{index}" for index in range(5)]
    assert nodes_asked(api, "GET", "PATCH", "DELETE") == set()
    assert len(api.asked) == 4


def test_shrinking_does_not_touch_other_nodes(api: FakeApiServer, run: Run) -> None:
    run("create")
    run("update", "0-0")
    assert api.names("nodes") == ["gpu-0"]
    assert nodes_asked(api, "GET", "DELETE") == {"gpu-1", "gpu-2"}


def test_a_batch_that_does_not_start_at_zero(api: FakeApiServer, run: Run) -> None:
    run("create", "1000-1001")
    assert api.names("nodes") == ["gpu-1000", "gpu-1001"]
    run("update", "1000-1000")
    assert api.names("nodes") == ["gpu-1000"]


def test_nodes_that_leave_and_return(api: FakeApiServer, run: Run) -> None:
    run("create")
    gone = json.dumps(POOL | {"faults": [{"nodes": [1], "gone": True}]})
    run("update", KWOK_DRA_POOL=gone)
    assert api.names("nodes") == ["gpu-0", "gpu-2"]
    assert nodes_asked(api, "PATCH") == set()
    run("update")
    assert api.names("nodes") == ["gpu-0", "gpu-1", "gpu-2"]


def test_a_new_generation_or_content_reconciles_all_nodes(api: FakeApiServer, run: Run) -> None:
    run("create")
    run("update", generation=2)
    assert nodes_asked(api, "GET") == {"gpu-0", "gpu-1", "gpu-2"}
    assert len(api.written) == 3
    run("update", generation=2, KWOK_DRA_CONTENT="other")
    assert nodes_asked(api, "GET") == {"gpu-0", "gpu-1", "gpu-2"}
    assert api.written == []
    run("update", generation=2, KWOK_DRA_CONTENT="other")
    assert api.asked == []


def test_new_nodes_are_not_reconciled(api: FakeApiServer, run: Run) -> None:
    run("create")
    run("update", "0-3", KWOK_DRA_CONTENT="other")
    assert nodes_asked(api, "GET") == {"gpu-0", "gpu-1", "gpu-2"}
    assert api.names("nodes") == ["gpu-0", "gpu-1", "gpu-2", "gpu-3"]


def test_the_last_node_of_a_batch_is_gone(api: FakeApiServer, run: Run) -> None:
    gone = json.dumps(POOL | {"faults": [{"nodes": [1001], "gone": True}]})
    assert json.loads(run("create", "1000-1001", KWOK_DRA_POOL=gone))["gone"] == ["gpu-1001"]
    assert api.names("nodes") == ["gpu-1000"]


def test_a_deletion_deletes_the_previous_nodes(api: FakeApiServer, run: Run) -> None:
    run("create")
    run("delete", "0-0")
    assert api.objects == {}


def test_slices_for_the_kubernetes_version_of_the_cluster(api: FakeApiServer, run: Run) -> None:
    """Up to 1.34 counters are in the slices of the devices."""
    pool = json.dumps({"name": "gpu", "gpu": "a100-40gb", "mig": "dynamic"})
    generations = json.dumps({"gpu.nvidia.com": 1})
    variables = {"KWOK_DRA_POOL": pool, "KWOK_DRA_GENERATIONS": generations}
    run("create", "0-0", **variables)
    assert len(api.names("resourceslices")) == 2
    run("delete", "0-0", **variables)
    run("create", "0-0", **variables, KWOK_DRA_MINOR="34", KWOK_DRA_RESOURCE_API="v1beta2")
    assert len(api.names("resourceslices")) == 1
    assert api.asked[-1] == "POST /apis/resource.k8s.io/v1beta2/resourceslices"


def test_models_of_the_stack_s_catalogue_files(
    api: FakeApiServer, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(batch, "PROJECT", tmp_path)
    model = {"driver": "gpu.example.com", "attributes": {"mine": {"bool": True}}}
    (tmp_path / "own.yaml").write_text(json.dumps({"models": {"own": model}}))
    run("create", "0-0", KWOK_DRA_POOL=json.dumps({"name": "gpu", "gpu": "own"}), KWOK_DRA_CATALOGUE='["own.yaml"]')
    (devices,) = (entry["spec"]["devices"] for entry in api.objects.values() if "devices" in entry["spec"])
    assert devices[0]["attributes"] == {"mine": {"bool": True}}


def test_deletion(api: FakeApiServer, run: Run) -> None:
    run("create")
    run("delete")
    assert api.objects == {}
    run("delete")
    assert not nodes_asked(api, "GET", "DELETE")  # an empty cluster needs no deletions


def test_deletion_when_the_file_of_the_catalogue_is_gone(
    api: FakeApiServer, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(batch, "PROJECT", tmp_path)
    file = tmp_path / "own.yaml"
    file.write_text(json.dumps({"models": {"own": {"driver": "gpu.example.com"}}}))
    own = {"KWOK_DRA_POOL": json.dumps(POOL | {"gpu": "own"}), "KWOK_DRA_CATALOGUE": '["own.yaml"]'}
    run("create", **own)
    file.unlink()
    run("delete", **own)
    assert api.objects == {}


def test_pods(api: FakeApiServer, run: Run) -> None:
    variables = {"KWOK_DRA_WORKLOAD": json.dumps(WORKLOAD), "KWOK_DRA_PODS": "0-1"}
    assert json.loads(run("create", **variables)) == {"numbers": "0-1", "gone": [], "content": ["content"]}
    before = {path: entry["metadata"]["uid"] for path, entry in api.objects.items()}
    run("update", **variables | {"KWOK_DRA_PODS": "0-2"})
    assert api.names("pods") == ["job-0", "job-1", "job-2"]
    assert before.items() <= {path: entry["metadata"]["uid"] for path, entry in api.objects.items()}.items()
    run("update", **variables | {"KWOK_DRA_CONTENT": "other"})
    assert api.names("pods") == ["job-0", "job-1"]
    assert not before.items() & {path: entry["metadata"]["uid"] for path, entry in api.objects.items()}.items()
    run("delete", **variables)
    assert api.objects == {}


def test_progress_is_reported(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "SECONDS_BETWEEN_REPORTS", -1)
    told: list[str] = []
    monkeypatch.setattr(sys.stderr, "write", told.append)
    run("create")
    lines = "".join(told).splitlines()
    assert lines == ["1 of 3 nodes created", "2 of 3 nodes created", "3 of 3 nodes created"]


def test_progress_is_reported_at_intervals(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each reading of the clock is a second later."""
    monkeypatch.setattr(batch, "time", SimpleNamespace(monotonic=count().__next__))
    told: list[str] = []
    monkeypatch.setattr(sys.stderr, "write", told.append)
    run("create", "0-8")
    assert "".join(told).splitlines() == ["3 of 9 nodes created", "6 of 9 nodes created", "9 of 9 nodes created"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (UnreachableError("refused"), "the cluster does not answer: refused"),
        (Answer(422, b'{"message": "spec.devices: too many"}'), "spec.devices: too many"),
    ],
)
def test_an_error_of_the_api_server_is_one_message(
    api: FakeApiServer, run: Run, answer: Answer | Exception, message: str
) -> None:
    api.before[""] = lambda: answer
    with pytest.raises(SystemExit) as raised:
        run("create")
    assert raised.value.code == message
