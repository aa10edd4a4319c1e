"""Checks that a stack may create its objects in an existing cluster; run as a program.

    python -m commands.existing_cluster create|update|delete

`create` creates a fake node and deletes it again, the only way to see whether KWOK manages such nodes; nothing else
changes in the cluster. `create` and `update` print the UID that identifies the cluster, as JSON. Environment:

    KWOK_DRA_FLEET          the name of the stack's fleet
    KWOK_DRA_CONTEXT        the context of the cluster in the user's kubeconfig
    KWOK_DRA_SERVER         the address of the cluster
    KWOK_DRA_UID            the UID of its namespace kube-system
    KWOK_DRA_READY_TIMEOUT  the number of seconds within which KWOK must make the fake node ready
    KUBECONFIG              the kubeconfig of the cluster
    PULUMI_COMMAND_STDOUT   the output of the previous run
"""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from cluster.api.api_server import NODES, NOT_FOUND, ApiServer, RefusedError, errors_as_messages
from topology.objects.isolation import FLEET, PROBE, probe

SECONDS_BETWEEN_LOOKS = 0.1
COLLECTIONS = (
    NODES,
    "/api/v1/namespaces",
    "/api/v1/pods",
    "/apis/apps/v1/deployments",
    "/apis/batch/v1/jobs",
    "/apis/resource.k8s.io/v1/deviceclasses",
    "/apis/resource.k8s.io/v1/resourceclaims",
    "/apis/resource.k8s.io/v1/resourceclaimtemplates",
    "/apis/resource.k8s.io/v1/resourceslices",
)
"""The lists that contain at least one object of any fleet."""


def main() -> int:
    """Run the verb; an error is one message on stderr."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    with errors_as_messages():
        {"create": create, "update": update, "delete": delete}[sys.argv[1]]()
    return 0


def create() -> None:
    """Check that the name of the fleet is free and that KWOK runs in the cluster."""
    api = ApiServer()
    fleet = os.environ["KWOK_DRA_FLEET"]
    _check_free(api, fleet)
    with _probe(api, fleet) as name:
        _await_ready(api, name)
    _describe()


def update() -> None:
    """Check that the cluster is the same as in the previous run."""
    before = json.loads(os.environ["PULUMI_COMMAND_STDOUT"])
    if before["uid"] != os.environ["KWOK_DRA_UID"]:
        _forget()
        raise RefusedError(
            f"kwok-dra:cluster.existing: context {os.environ['KWOK_DRA_CONTEXT']}, {os.environ['KWOK_DRA_SERVER']}, is "
            f"not the cluster that has this stack's objects: context {before['context']}, {before['server']}. Run "
            "`pulumi destroy`, which deletes them there, and then `pulumi up`; nothing was changed"
        )
    _describe()


def delete() -> None:
    """Delete the stack's kubeconfig of the cluster."""
    _forget()


def _describe() -> None:
    keys = {"uid": "KWOK_DRA_UID", "context": "KWOK_DRA_CONTEXT", "server": "KWOK_DRA_SERVER"}
    print(json.dumps({name: os.environ[key] for name, key in keys.items()}))


def _forget() -> None:
    file = Path(os.environ["KUBECONFIG"])
    file.unlink(missing_ok=True)
    if file.parent.is_dir() and not any(file.parent.iterdir()):
        file.parent.rmdir()


@contextmanager
def _probe(api: ApiServer, fleet: str) -> Iterator[str]:
    """Create a fake node and delete it again; first delete one that an interrupted run has left."""
    node = probe(fleet)
    for left in api.get(f"{NODES}?{_selecting(PROBE, fleet)}").checked().object["items"]:
        _remove(api, left["metadata"]["name"])
    name = node["metadata"]["name"]
    api.send("POST", NODES, node).checked()
    try:
        yield name
    finally:
        _remove(api, name)


def _remove(api: ApiServer, node: str) -> None:
    api.send("DELETE", f"{NODES}/{node}").checked(NOT_FOUND)


def _selecting(label: str, fleet: str) -> str:
    return urlencode({"labelSelector": f"{label}={fleet}", "limit": 1})


def _check_free(api: ApiServer, fleet: str) -> None:
    for path in COLLECTIONS:
        for entry in api.get(f"{path}?{_selecting(FLEET, fleet)}").checked().object["items"]:
            raise RefusedError(
                f"kwok-dra:cluster.name: a fleet {fleet!r} already exists in the cluster, with "
                f"{path.rpartition('/')[2]} {entry['metadata']['name']}, and this stack did not create it. Choose "
                "another name (`pulumi config set --path kwok-dra:cluster.name NAME`), or delete all objects with the "
                f"label {FLEET}={fleet} if nobody needs them"
            )


def _await_ready(api: ApiServer, name: str) -> None:
    seconds = float(os.environ["KWOK_DRA_READY_TIMEOUT"])
    end = time.monotonic() + seconds
    print(f"waiting for KWOK to make node {name} ready", file=sys.stderr, flush=True)
    while not _is_ready(api.get(f"{NODES}/{name}").checked().object):
        if time.monotonic() > end:
            raise RefusedError(
                f"kwok-dra:cluster.existing: no KWOK makes fake nodes ready in the cluster: node {name} was not ready "
                f"within {seconds:g} s. Install KWOK there (docs/existing-clusters.md), so that it manages nodes with "
                "the annotation kwok.x-k8s.io/node=fake and has stages for nodes and pods; or raise "
                "kwok-dra:cluster.readyTimeoutSeconds"
            )
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _is_ready(node: Any) -> bool:
    conditions = node["status"].get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


if __name__ == "__main__":
    sys.exit(main())
