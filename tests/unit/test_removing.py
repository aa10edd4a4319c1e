"""The program that deletes what a stack has no more, with a kubectl that writes down what it is asked."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "components" / "removing.py"
KUBECTL = """#!/usr/bin/env python3
import json, os, sys
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps([sys.argv[1:], sys.stdin.read()]) + "\\n")
sys.stderr.write(os.environ.get("SAYS", ""))
sys.exit(int(os.environ.get("FAILS", 0)))
"""
JOB = ["batch/v1", "Job", "default", "train"]
NODE = ["v1", "Node", "", "gpu-0"]

Run = Callable[..., tuple[list[Any], subprocess.CompletedProcess[str]]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a function that runs the program; it returns kubectl's calls, and what the program said."""
    (tmp_path / "kubectl").write_text(KUBECTL)
    (tmp_path / "kubectl").chmod(0o755)
    (tmp_path / "calls").touch()

    def program(
        before: Sequence[Any] | None, wanted: Sequence[Any], lost: Sequence[str] = (), **environment: str
    ) -> tuple[list[Any], subprocess.CompletedProcess[str]]:
        variables = {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "CALLS": str(tmp_path / "calls"),
            "KWOK_DRA_OBJECTS": json.dumps(wanted),
            "KWOK_DRA_LOST": json.dumps(lost),
        }
        if before is not None:
            variables["PULUMI_COMMAND_STDOUT"] = json.dumps(before)
        command = [sys.executable, "-S", str(PROGRAM)]
        done = subprocess.run(command, env=variables | environment, capture_output=True, text=True)
        calls = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
        return calls, done

    return program


@pytest.mark.parametrize("before", [None, [JOB], [JOB, NODE]])
def test_nothing_is_deleted_that_is_wanted(run: Run, before: Sequence[Any] | None) -> None:
    calls, done = run(before, [JOB, NODE])
    assert (calls, json.loads(done.stdout)) == ([], [JOB, NODE])


def test_what_is_not_wanted_any_more_is_deleted_in_order(run: Run) -> None:
    calls, done = run([JOB, NODE], [], lost=["gpu-0"])
    assert [arguments for arguments, _ in calls] == [["delete", "--ignore-not-found", "--filename", "-"]] * 2
    assert [json.loads(text)["items"] for _, text in calls] == [
        [{"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "train", "namespace": "default"}}],
        [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gpu-0"}}],
    ]
    assert json.loads(done.stdout) == []


def test_a_node_that_is_switched_off_is_drained_before(run: Run) -> None:
    calls, _ = run([NODE, JOB], [])
    assert [(arguments[0], json.loads(text)["items"][0]["kind"] if text else "") for arguments, text in calls] == [
        ("delete", "Job"),
        ("patch", ""),
        ("delete", ""),
        ("delete", "Node"),
    ]
    assert calls[1][0][1:5] == ["node", "gpu-0", "--patch", '{"spec": {"unschedulable": true}}']
    assert "spec.nodeName=gpu-0" in calls[2][0]


def test_a_deletion_that_fails_is_no_success(run: Run) -> None:
    _, done = run([NODE], [], FAILS="1")
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ('error: resource mapping not found for name: "x" namespace: "" from "STDIN": no matches for kind "X"', 0),
        ("The connection to the server 127.0.0.1:1 was refused", 1),
    ],
)
def test_an_object_whose_kind_is_gone_is_gone(run: Run, said: str, code: int) -> None:
    _, done = run([NODE], [], FAILS="1", SAYS=f"{said}\nensure CRDs are installed first\n")
    assert done.returncode == code
    assert done.stderr.strip() == (said if code else "")


def test_numbered_objects(run: Run) -> None:
    calls, done = run([["v1", "Pod", "a", "p-", 0, 4]], [["v1", "Pod", "a", "p-", 1, 2]])
    ((_, text),) = calls
    assert [item["metadata"]["name"] for item in json.loads(text)["items"]] == ["p-0", "p-3"]
    assert json.loads(done.stdout) == [["v1", "Pod", "a", "p-", 1, 2]]
