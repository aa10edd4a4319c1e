"""Reading the live objects of a running stack."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster.api.api_server import Answer, ApiServer, UnreachableError
from cluster.fleet import running_stack
from cluster.local import paths

ROOT = Path(__file__).resolve().parents[2]
FORBIDDEN = 'nodes is forbidden: User "me" cannot list resource "nodes" in API group "" at the cluster scope'


@pytest.fixture
def stack(tmp_path: Path, dev: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that the dev stack is up, in a project of its own."""
    (tmp_path / "Pulumi.yaml").write_text((ROOT / "Pulumi.yaml").read_text())
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.touch()
    settings = {f"kwok-dra:{key}": {"value": json.dumps(value)} for key, value in dev.items()}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    (tmp_path / "pulumi").write_text("#!/bin/sh\ncat settings.json\n")
    (tmp_path / "pulumi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(paths, "kubeconfig", lambda *_: kubeconfig)


def answering(answer: Answer | Exception) -> Callable[..., Answer]:
    """Return a `send` with this answer to every request."""

    def send(*_: object) -> Answer:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return send


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(403, json.dumps({"message": FORBIDDEN}).encode()), FORBIDDEN),
        (
            UnreachableError("refused"),
            "cluster kwok-dra-dev does not answer; after a restart of the machine its processes are gone. Run "
            "`pulumi up`, which starts them again",
        ),
    ],
)
def test_errors_of_the_cluster(
    stack: None, monkeypatch: pytest.MonkeyPatch, answer: Answer | Exception, message: str
) -> None:
    monkeypatch.setattr(ApiServer, "send", answering(answer))
    with pytest.raises(running_stack.NothingToShowError) as raised:
        running_stack.read("dev")
    assert str(raised.value) == message
