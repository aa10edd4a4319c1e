"""The program that checks an existing cluster before a stack creates objects in it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cluster.api.api_server import Answer, RefusedError
from commands import existing_cluster
from tests.unit.existing_cluster import Cluster

UID = "first"


class WithKwok(Cluster):
    """A cluster in which KWOK, if there is one, makes fake nodes ready."""

    def __init__(self, kwok: bool = True) -> None:
        super().__init__()
        self.kwok = kwok

    def send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, content_type: str = "application/json"
    ) -> Answer:
        answer = super().send(method, path, body, content_type)
        for place, entry in self.objects.items():
            if place.startswith("/api/v1/nodes/"):
                entry.setdefault("status", {})["conditions"] = [
                    {"type": "MemoryPressure", "status": "False"},
                    {"type": "Ready", "status": "True" if self.kwok else "Unknown"},
                ]
        return answer


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    (tmp_path / "existing").mkdir()
    file = tmp_path / "existing" / "dev.yaml"
    file.touch()
    values = {
        "KWOK_DRA_FLEET": "dev",
        "KWOK_DRA_CONTEXT": "lab",
        "KWOK_DRA_SERVER": "https://lab",
        "KWOK_DRA_UID": UID,
        "KWOK_DRA_READY_TIMEOUT": "0.2",
        "KUBECONFIG": str(file),
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return file


def use(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setattr(existing_cluster, "ApiServer", lambda: cluster)
    return cluster


def test_a_probe_node_shows_that_kwok_runs_and_is_deleted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = use(WithKwok(), monkeypatch)
    existing_cluster.create()
    assert json.loads(capsys.readouterr().out) == {"uid": UID, "context": "lab", "server": "https://lab"}
    assert cluster.names("nodes") == []
    assert [line.rpartition("-")[0] for line in cluster.written] == [
        "POST /api/v1/nodes".rpartition("-")[0],
        "DELETE /api/v1/nodes/kwok-dra-probe",
    ]


def test_without_kwok_the_probe_node_is_deleted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = use(WithKwok(kwok=False), monkeypatch)
    with pytest.raises(RefusedError, match="no KWOK makes fake nodes ready in the cluster"):
        existing_cluster.create()
    assert cluster.names("nodes") == []


def test_the_probe_node_of_an_interrupted_run_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = use(WithKwok(), monkeypatch)
    cluster.has("/api/v1/nodes/kwok-dra-probe-1", labels={"kwok-dra/probe": "dev"})
    cluster.has("/api/v1/nodes/kwok-dra-probe-2", labels={"kwok-dra/probe": "of-another"})
    existing_cluster.create()
    assert cluster.names("nodes") == ["kwok-dra-probe-2"]


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/nodes/a",
        "/api/v1/namespaces/a",
        "/apis/apps/v1/namespaces/x/deployments/a",
        "/apis/resource.k8s.io/v1/deviceclasses/a",
    ],
)
def test_a_fleet_name_that_is_taken(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    cluster = use(WithKwok(), monkeypatch)
    cluster.has(path, labels={"kwok-dra/fleet": "dev"})
    with pytest.raises(RefusedError, match=r"kwok-dra:cluster\.name: a fleet 'dev' already exists in the cluster"):
        existing_cluster.create()
    assert cluster.written == []
    cluster.has(path, labels={"kwok-dra/fleet": "of-another"})
    existing_cluster.create()


def test_the_same_cluster_under_another_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], environment: Path
) -> None:
    monkeypatch.setenv("PULUMI_COMMAND_STDOUT", json.dumps({"uid": UID, "context": "old", "server": "https://old"}))
    existing_cluster.update()
    assert json.loads(capsys.readouterr().out)["context"] == "lab"
    assert environment.exists()


def test_another_cluster_under_the_same_name(monkeypatch: pytest.MonkeyPatch, environment: Path) -> None:
    monkeypatch.setenv("PULUMI_COMMAND_STDOUT", json.dumps({"uid": "other", "context": "old", "server": "https://old"}))
    with pytest.raises(RefusedError, match=r"context old, https://old\. Run `pulumi destroy`"):
        existing_cluster.update()
    assert not environment.exists()


def test_the_kubeconfig_is_deleted_with_the_stack(environment: Path) -> None:
    other = environment.with_name("other.yaml")
    other.touch()
    existing_cluster.delete()
    assert [*environment.parent.iterdir()] == [other]
    other.unlink()
    existing_cluster.delete()
    assert not environment.parent.exists()
    existing_cluster.delete()
