"""Creates, changes and removes a batch of nodes with their ResourceSlices, or of bare pods; run as a program.

    python -m commands.batch create|update|delete

It prints the objects that exist then, as JSON, and its progress on stderr. Environment:

    KWOK_DRA_POOL            the node pool of the configuration, in JSON
    KWOK_DRA_NODES           the numbers of its nodes in this batch, such as 0-999
    KWOK_DRA_CATALOGUE       a JSON list of the stack's own catalogue files
    KWOK_DRA_GENERATIONS     the generation of each driver's pools, in JSON
    KWOK_DRA_MINOR           the 37 of Kubernetes 1.37
    KWOK_DRA_RESOURCE_API    the version of resource.k8s.io in which slices are created
    KWOK_DRA_WORKLOAD        instead of the above: the workload of the configuration, in JSON
    KWOK_DRA_PODS            the numbers of its pods in this batch, such as 0-999
    KWOK_DRA_CONTENT         a digest; when it changes, all objects are reconciled
    KUBECONFIG               the kubeconfig of the cluster
    PULUMI_COMMAND_STDOUT    the output of the previous run
"""

import json
import os
import sys
import time
from collections.abc import Callable, Collection
from threading import Lock
from typing import Any, NamedTuple

from cluster.api.api_server import ApiServer, at_once, errors_as_messages
from cluster.fleet.provisioning import (
    NodeProvisioner,
    PodProvisioner,
    Provisioner,
    is_empty,
    marked,
    remove_node,
    remove_pod,
)
from cluster.local.paths import PROJECT
from topology.kubernetes.objects import DEFAULT_NAMESPACE
from topology.schema.catalogue import with_files
from topology.schema.stack import NodePool
from topology.schema.workloads import Workload

SECONDS_BETWEEN_REPORTS = 2
SECONDS_BETWEEN_TRIES = 0.1
HEALTH_SECONDS = 60


def main() -> int:
    """Run the verb; an error is one message on stderr."""
    with errors_as_messages():
        {"create": create, "update": update, "delete": delete}[sys.argv[1]]()
    return 0


def create() -> None:
    """Create the objects of the batch."""
    batch = _batch()
    _wait_for_health(ApiServer())
    _each("created", batch.provisioner.create, batch.names)
    batch.describe()


def _wait_for_health(api: ApiServer) -> None:
    """Wait until the API server of a new cluster has created its own objects.

    A thousand more nodes would delay it, and the controller manager exits if the API server is not healthy within ten
    seconds.
    https://github.com/kubernetes/kubernetes/blob/v1.37.2/cmd/kube-controller-manager/app/controllermanager.go
    """
    end = time.monotonic() + HEALTH_SECONDS
    while api.get("/healthz").status >= 500 and time.monotonic() < end:
        time.sleep(SECONDS_BETWEEN_TRIES)


def update() -> None:
    """Delete the objects that left the batch, create the new ones, and reconcile the others if they changed."""
    batch = _batch()
    before, content = _previous()
    _each("removed", _remove, [name for name in before if name not in batch.names])
    _each("created", batch.provisioner.create, [name for name in batch.names if name not in before])
    if content != batch.content:
        _each("changed", batch.provisioner.reconcile, [name for name in batch.names if name in before])
    batch.describe()


def delete() -> None:
    """Delete the objects of the previous run; a cluster that has replaced another one has none of them.

    It reads neither the pool's models nor the stack's catalogue files, which may be gone.
    """
    names, _ = _previous()
    if not is_empty(ApiServer()):
        _each("removed", _remove, names)


class _Batch(NamedTuple):
    """The objects with these numbers, except those that are `gone`."""

    provisioner: Provisioner
    numbers: str
    gone: Collection[str]
    content: list[str]

    @property
    def names(self) -> dict[str, None]:
        """The names of the objects, in order."""
        return _names(self.numbers, self.gone)

    def describe(self) -> None:
        """Print the batch for the next run."""
        gone = [name for name in self.gone if name in _names(self.numbers)]
        print(json.dumps({"numbers": self.numbers, "gone": gone, "content": self.content}))


def _batch() -> _Batch:
    """Return the batch that the environment describes."""
    return _pods() if _is_of_pods() else _nodes()


def _nodes() -> _Batch:
    numbers = os.environ["KWOK_DRA_NODES"]
    catalogue = with_files(PROJECT, json.loads(os.environ["KWOK_DRA_CATALOGUE"]))
    pool = NodePool.model_validate(_written() | {"nodes": _limits(numbers)[1] + 1}, context=catalogue._asdict())
    generations = os.environ["KWOK_DRA_GENERATIONS"]
    provisioner = NodeProvisioner(
        pool,
        json.loads(generations),
        minor=int(os.environ["KWOK_DRA_MINOR"]),
        resource_api=os.environ["KWOK_DRA_RESOURCE_API"],
    )
    return _Batch(provisioner, numbers, pool.gone_nodes(), [os.environ["KWOK_DRA_CONTENT"], generations])


def _pods() -> _Batch:
    workload = Workload.model_validate(_written())
    return _Batch(PodProvisioner(workload), os.environ["KWOK_DRA_PODS"], [], [os.environ["KWOK_DRA_CONTENT"]])


def _is_of_pods() -> bool:
    return "KWOK_DRA_WORKLOAD" in os.environ


def _written() -> dict[str, Any]:
    """Return the workload or pool of the configuration."""
    written: dict[str, Any] = json.loads(os.environ["KWOK_DRA_WORKLOAD" if _is_of_pods() else "KWOK_DRA_POOL"])
    return written


def _remove(api: ApiServer, name: str) -> None:
    if _is_of_pods():
        remove_pod(
            api, _written().get("namespace", DEFAULT_NAMESPACE), name, marked(_written().get("nodeSelector", {}))
        )
    else:
        remove_node(api, name, marked(_written().get("labels", {})))


def _previous() -> tuple[dict[str, None], list[str]]:
    """Return the names of the objects of the previous run, and their content."""
    found = json.loads(os.environ["PULUMI_COMMAND_STDOUT"])
    return _names(found["numbers"], found["gone"]), found["content"]


def _names(numbers: str, gone: Collection[str] = ()) -> dict[str, None]:
    first, last = _limits(numbers)
    prefix = _written()["name"]
    names = (f"{prefix}-{number}" for number in range(first, last + 1))
    return dict.fromkeys(name for name in names if name not in gone)


def _limits(numbers: str) -> tuple[int, int]:
    first, last = map(int, numbers.split("-"))
    return first, last


def _each(what: str, function: Callable[[ApiServer, str], None], names: Collection[str]) -> None:
    """Call a function for each object, and report the progress regularly."""
    if not names:
        return
    api = ApiServer()
    objects = "pods" if _is_of_pods() else "nodes"
    told = time.monotonic()
    count = 0
    lock = Lock()

    def one(name: str) -> None:
        nonlocal count, told
        function(api, name)
        with lock:
            count += 1
            if time.monotonic() - told > SECONDS_BETWEEN_REPORTS:
                told = time.monotonic()
                print(f"{count} of {len(names)} {objects} {what}", file=sys.stderr, flush=True)

    at_once(one, names)


if __name__ == "__main__":
    sys.exit(main())
