"""Objects as they were at one moment, read by a kubectl that says what it is told to."""

import json
import os
from pathlib import Path

import pytest

from topology import snapshot

# It notes its arguments, and prints what there is of the path that it is asked for.
KUBECTL = """#!/bin/sh
cd "$(dirname "$0")"
echo "$@" >>asked
exec cat "$(echo "$3" | sed 's/[?].*//; s/.*[/]//')"
"""


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder with what kubectl prints: pods, and no claims."""
    program = tmp_path / "kubectl"
    program.write_text(KUBECTL)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    pod = {"metadata": {"name": "a", "managedFields": [{}]}, "status": {}}
    (tmp_path / "pods").write_text(json.dumps({"metadata": {"resourceVersion": "7"}, "items": [pod]}))
    (tmp_path / "resourceclaims").write_text(json.dumps({"metadata": {"resourceVersion": "7"}, "items": []}))
    return tmp_path


def test_all_kinds_are_read_as_of_the_version_of_the_first(answers: Path) -> None:
    found = snapshot.read(["Pod", "ResourceClaim"], "--kubeconfig", "x")
    assert found == [{"kind": "Pod", "metadata": {"name": "a"}, "status": {}}]
    claims = "/apis/resource.k8s.io/v1/resourceclaims?resourceVersion=7&resourceVersionMatch=Exact"
    assert (answers / "asked").read_text().splitlines() == [
        f"get --raw {path} --request-timeout 60s --kubeconfig x" for path in ("/api/v1/pods", claims)
    ]


@pytest.mark.parametrize("missing", ["pods", "resourceclaims"])
def test_a_cluster_that_does_not_answer(answers: Path, missing: str) -> None:
    (answers / missing).unlink()
    assert snapshot.read(["Pod", "ResourceClaim"]) is None


def test_a_kind_with_its_path(answers: Path) -> None:
    rule = {"metadata": {"name": "r"}, "spec": {}}
    (answers / "devicetaintrules").write_text(json.dumps({"metadata": {"resourceVersion": "7"}, "items": [rule]}))
    _, found = snapshot.read(["Pod", "DeviceTaintRule=/apis/resource.k8s.io/v1/devicetaintrules"]) or []
    assert found == {"kind": "DeviceTaintRule"} | rule
