"""Makes sure that a stack's objects may go to a cluster that is there already; run as a program.

    python -m commands.existing_cluster create|update|delete

It changes nothing of the cluster but for a fake node, which is gone again at the end: whether KWOK plays such nodes,
only a node tells. `create` and `update` print the UID by which the cluster is known, as JSON. Environment:

    KWOK_DRA_FLEET          the name of the stack's fleet there
    KWOK_DRA_CONTEXT        which context of the user's kubeconfig the cluster is
    KWOK_DRA_SERVER         its address
    KWOK_DRA_UID            the UID of its namespace kube-system
    KWOK_DRA_READY_TIMEOUT  seconds until KWOK has to have made the node ready
    KUBECONFIG              of the cluster
    PULUMI_COMMAND_STDOUT   what this program printed the last time
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
"""Where there is something of every fleet."""


def main() -> int:
    """Do it; an error that the user has to know is one message on stderr."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    with errors_as_messages():
        {"create": create, "update": update, "delete": delete}[sys.argv[1]]()
    return 0


def create() -> None:
    """Take the fleet's name, if nobody has it, and see that KWOK is there."""
    api = ApiServer()
    fleet = os.environ["KWOK_DRA_FLEET"]
    _check_free(api, fleet)
    with _probe(api, fleet) as name:
        _await_ready(api, name)
    _describe()


def update() -> None:
    """See that it is the same cluster as before."""
    before = json.loads(os.environ["PULUMI_COMMAND_STDOUT"])
    if before["uid"] != os.environ["KWOK_DRA_UID"]:
        _forget()
        raise RefusedError(
            f"kwok-dra:cluster.existing: context {os.environ['KWOK_DRA_CONTEXT']}, {os.environ['KWOK_DRA_SERVER']}, is "
            f"another cluster than that in which this stack's objects are: context {before['context']}, "
            f"{before['server']}. Run `pulumi destroy`, which takes them away there, and then `pulumi up`; nothing was "
            "changed"
        )
    _describe()


def delete() -> None:
    """Forget how to reach the cluster."""
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
    """Make a fake node, and take it away again; one that was left when this was interrupted is taken away first."""
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
                f"kwok-dra:cluster.name: there is a fleet {fleet!r} in the cluster already, "
                f"{path.rpartition('/')[2]} {entry['metadata']['name']} for one, which this stack did not make. Choose "
                "another name (`pulumi config set --path kwok-dra:cluster.name NAME`), or delete all that has the "
                f"label {FLEET}={fleet} if nobody needs it"
            )


def _await_ready(api: ApiServer, name: str) -> None:
    seconds = float(os.environ["KWOK_DRA_READY_TIMEOUT"])
    end = time.monotonic() + seconds
    print(f"waiting for KWOK to make node {name} ready", file=sys.stderr, flush=True)
    while not _is_ready(api.get(f"{NODES}/{name}").checked().object):
        if time.monotonic() > end:
            raise RefusedError(
                f"kwok-dra:cluster.existing: no KWOK makes fake nodes ready in the cluster: node {name} was not within "
                f"{seconds:g} s. Install it there (docs/existing-clusters.md), so that it manages nodes with the "
                "annotation kwok.x-k8s.io/node=fake and has stages for nodes and pods; or give it longer with "
                "kwok-dra:cluster.readyTimeoutSeconds"
            )
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _is_ready(node: Any) -> bool:
    conditions = node["status"].get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


if __name__ == "__main__":
    sys.exit(main())
