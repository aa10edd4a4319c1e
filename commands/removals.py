"""Deletes the objects that are no longer part of a stack; run as a program.

Stdin: a JSON object with KWOK_DRA_OBJECTS, a list of references (API version, kind, namespace, name; or the prefix of
numbered names, the first number and their count), and KWOK_DRA_LOST, references of nodes that vanish together with
their pods; any other node is drained before it is deleted, like a machine before it is switched off. Environment:
PULUMI_COMMAND_STDOUT, the references that the previous run of this program printed, and KUBECONFIG.
"""

import os
import sys
import time
from collections.abc import Sequence, Set
from typing import Any

from cluster.api import snapshot
from cluster.api.api_server import MERGE, NODES, NOT_FOUND, ApiServer, RefusedError, at_once, errors_as_messages
from cluster.api.discovery import object_paths
from commands.inputs import packed, unpacked, values
from topology.kubernetes.objects import Reference
from topology.kubernetes.reading import part

DELETION_SECONDS = 300
DRAIN_SECONDS = 60
SECONDS_BETWEEN_LOOKS = 0.1


def main() -> int:
    """Delete, then print the references; an error is one message on stderr."""
    with errors_as_messages():
        remove()
    return 0


def remove() -> None:
    """Delete the objects that were part of the stack and no longer are."""
    wanted, vanishing = values("KWOK_DRA_OBJECTS", "KWOK_DRA_LOST")
    before = dict.fromkeys(_references(unpacked(os.environ.get("PULUMI_COMMAND_STDOUT") or "[]")))
    kept = set(_references(wanted))
    gone = [reference for reference in before if reference not in kept]
    lost = {name for _, _, _, name in _references(vanishing)}
    api = ApiServer()
    _delete(api, [reference for reference in gone if reference[1] != "Node"])
    _delete_nodes(api, [name for _, kind, _, name in gone if kind == "Node"], lost)
    sys.stdout.write(packed(wanted))


def _delete_nodes(api: ApiServer, names: Sequence[str], lost: Set[str]) -> None:
    """Delete nodes; drain those that are not `lost` first."""
    if drained := set(names) - lost:
        _drain(api, drained)
    at_once(lambda name: api.send("DELETE", f"{NODES}/{name}").checked(NOT_FOUND), names)


def _drain(api: ApiServer, names: Set[str]) -> None:
    """Cordon nodes and delete their pods, which controllers then replace on other nodes."""
    if not snapshot.must_read(api, ["Pod"]):
        return
    cordon = {"spec": {"unschedulable": True}}
    at_once(lambda name: api.send("PATCH", f"{NODES}/{name}", cordon, MERGE).checked(NOT_FOUND), names)
    at_once(lambda path: api.send("DELETE", path).checked(NOT_FOUND), _pods_on(api, names))
    end = time.monotonic() + DRAIN_SECONDS
    while _pods_on(api, names) and time.monotonic() < end:
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _pods_on(api: ApiServer, names: Set[str]) -> list[str]:
    """Return the paths of the pods on nodes."""
    pods = [pod for pod in snapshot.must_read(api, ["Pod"]) if pod["spec"].get("nodeName") in names]
    return [f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}" for pod in pods]


def _delete(api: ApiServer, references: Sequence[Reference]) -> None:
    """Delete objects and wait until they are gone, as `kubectl delete` does; their dependents go in the background.

    Raises:
        RefusedError: an object still exists after DELETION_SECONDS.
    """
    served = [(path, entry) for path, entry in zip(object_paths(api, references), references, strict=True) if path]
    deleted = at_once(lambda entry: _uid_of_deleted(api, entry[0]), served)
    end = time.monotonic() + DELETION_SECONDS
    at_once(lambda entry: _wait_until_gone(api, *entry[0], entry[1], end), zip(served, deleted, strict=True))


def _uid_of_deleted(api: ApiServer, path: str) -> str | None:
    """Delete an object, and return its UID: the API server returns the object, or a Status if it is gone already."""
    answer = api.send("DELETE", f"{path}?propagationPolicy=Background").checked(NOT_FOUND)
    found = None if answer.status == NOT_FOUND else answer.object
    uid: str | None = part(found, "metadata", "uid") or part(found, "details", "uid")
    return uid


def _wait_until_gone(api: ApiServer, path: str, reference: Reference, uid: str | None, end: float) -> None:
    """Wait until there is no object at the path, or a new one with another UID."""
    while (live := api.get(path).checked(NOT_FOUND)).status != NOT_FOUND:
        if live.object["metadata"].get("uid") != uid:
            return
        if time.monotonic() > end:
            _, kind, namespace, name = reference
            raise RefusedError(
                f"{kind} {f'{namespace}/' if namespace else ''}{name} still exists {DELETION_SECONDS} s after its "
                "deletion. Find out which of its metadata.finalizers is left, and run `pulumi up` again"
            )
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _references(folded: Sequence[Sequence[Any]]) -> list[Reference]:
    return [reference for entry in folded for reference in _unfolded(*entry)]


def _unfolded(
    version: str, kind: str, namespace: str, name: str, first: int | None = None, count: int = 0
) -> list[Reference]:
    names = [name] if first is None else [f"{name}{number}" for number in range(first, first + count)]
    return [(version, kind, namespace, name) for name in names]


if __name__ == "__main__":
    sys.exit(main())
