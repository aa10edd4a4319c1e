"""Deletes what was part of a stack and is not any more; run as a program. The standard library only.

Environment: KWOK_DRA_OBJECTS, a JSON list of references (API version, kind, namespace, name; or the name's beginning,
its first number and how many there are), and PULUMI_COMMAND_STDOUT, what this program printed the last time: the
references of then. KWOK_DRA_LOST, a JSON list of the nodes that vanish with all on them; from other nodes that go, the
pods are taken away first, as one drains a machine before it is switched off. And whatever kubectl needs.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence

Reference = tuple[str, str, str, str]

GONE = ("(NotFound)", "no matches for kind", "ensure CRDs are installed first")
"""What kubectl says of objects that are not there any more, and of those whose kind is not."""


def main() -> int:
    """Delete, then print the references."""
    wanted = os.environ["KWOK_DRA_OBJECTS"]
    before = _references(os.environ.get("PULUMI_COMMAND_STDOUT") or "[]")
    gone = sorted(set(before) - set(_references(wanted)), key=before.index)
    lost = json.loads(os.environ["KWOK_DRA_LOST"])
    _delete([reference for reference in gone if reference[1] != "Node"])
    nodes = [reference for reference in gone if reference[1] == "Node"]
    _drain([name for _, _, _, name in nodes if name not in lost])
    _delete(nodes)
    sys.stdout.write(wanted)
    return 0


def _drain(nodes: Sequence[str]) -> None:
    """Take the pods off nodes, where no new ones can go any more: their controllers make others elsewhere."""
    for name in nodes:
        _kubectl("patch", "node", name, "--patch", '{"spec": {"unschedulable": true}}', "--output", "name")
    for name in nodes:
        _kubectl("delete", "pods", "--all-namespaces", "--field-selector", f"spec.nodeName={name}", "--timeout", "60s")


def _delete(references: Sequence[Reference]) -> None:
    if references:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": _objects(references)})
        _kubectl("delete", "--ignore-not-found", "--filename", "-", text=text)


def _references(text: str) -> list[Reference]:
    return [reference for entry in json.loads(text) for reference in _unfolded(*entry)]


def _unfolded(
    version: str, kind: str, namespace: str, name: str, first: int | None = None, count: int = 0
) -> list[Reference]:
    names = [name] if first is None else [f"{name}{number}" for number in range(first, first + count)]
    return [(version, kind, namespace, name) for name in names]


def _objects(references: Sequence[Reference]) -> list[dict[str, object]]:
    return [
        {
            "apiVersion": version,
            "kind": kind,
            "metadata": {"name": name} | ({"namespace": namespace} if namespace else {}),
        }
        for version, kind, namespace, name in references
    ]


def _kubectl(*arguments: str, text: str = "") -> None:
    done = subprocess.run(["kubectl", *arguments], input=text, capture_output=True, text=True)
    errors = [line for line in done.stderr.splitlines() if not any(words in line for words in GONE)]
    if done.returncode and (errors or not done.stderr):
        sys.exit("\n".join(errors) or f"kubectl {arguments[0]} exited with {done.returncode}")


if __name__ == "__main__":
    sys.exit(main())
