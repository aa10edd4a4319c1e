"""Deletes what was part of a stack and is not any more; run as a program.

Environment: KWOK_DRA_OBJECTS, a JSON list of references (API version, kind, namespace, name; or the name's beginning,
its first number and how many there are), and PULUMI_COMMAND_STDOUT, what this program printed the last time: the
references of then. KWOK_DRA_LOST, references of the nodes that vanish with all on them; from other nodes that go, the
pods are taken away first, as one drains a machine before it is switched off. And whatever kubectl needs, KUBECONFIG
above all.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence, Set

from cluster.api import snapshot
from cluster.api.api_server import MERGE, NODES, NOT_FOUND, ApiServer, at_once, errors_as_messages

DRAIN_SECONDS = 60
SECONDS_BETWEEN_LOOKS = 0.1

Reference = tuple[str, str, str, str]

GONE = ("(NotFound)", "no matches for kind", "ensure CRDs are installed first")
"""What kubectl says of objects that are not there any more, and of those whose kind is not."""


def main() -> int:
    """Delete, then print the references; an error that the user has to know is one message on stderr."""
    with errors_as_messages():
        remove()
    return 0


def remove() -> None:
    """Delete what was part of the stack and is not any more."""
    wanted = os.environ["KWOK_DRA_OBJECTS"]
    before = dict.fromkeys(_references(os.environ.get("PULUMI_COMMAND_STDOUT") or "[]"))
    kept = set(_references(wanted))
    gone = [reference for reference in before if reference not in kept]
    lost = {name for _, _, _, name in _references(os.environ["KWOK_DRA_LOST"])}
    _delete([reference for reference in gone if reference[1] != "Node"])
    if nodes := [name for _, kind, _, name in gone if kind == "Node"]:
        _delete_nodes(ApiServer(), nodes, lost)
    sys.stdout.write(wanted)


def _delete_nodes(api: ApiServer, names: Sequence[str], lost: Set[str]) -> None:
    """Delete nodes; from those that are not `lost` the pods go first."""
    if drained := set(names) - lost:
        _drain(api, drained)
    at_once(lambda name: api.send("DELETE", f"{NODES}/{name}").checked(NOT_FOUND), names)


def _drain(api: ApiServer, names: Set[str]) -> None:
    """Take the pods off nodes, where no new ones can go any more: their controllers make others elsewhere."""
    if not snapshot.read(api, ["Pod"]):
        return
    cordon = {"spec": {"unschedulable": True}}
    at_once(lambda name: api.send("PATCH", f"{NODES}/{name}", cordon, MERGE).checked(NOT_FOUND), names)
    at_once(lambda path: api.send("DELETE", path).checked(NOT_FOUND), _pods_on(api, names))
    end = time.monotonic() + DRAIN_SECONDS
    while _pods_on(api, names) and time.monotonic() < end:
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _pods_on(api: ApiServer, names: Set[str]) -> list[str]:
    """Return the paths of the pods on nodes."""
    pods = [pod for pod in snapshot.read(api, ["Pod"]) or [] if pod["spec"].get("nodeName") in names]
    return [f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}" for pod in pods]


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
