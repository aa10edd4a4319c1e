"""Creates, changes and removes a batch of nodes with their ResourceSlices, or of bare pods; run as a program.

    python -m commands.batch create|update|delete

It prints which objects there are then, as JSON, and tells on stderr how far it is. Environment:

    KWOK_DRA_POOL            the pool as the configuration has it, in JSON
    KWOK_DRA_NODES           which of its nodes, such as 0-999
    KWOK_DRA_CATALOGUE       a JSON list of the stack's own files of the catalogue
    KWOK_DRA_GENERATIONS     the generation of the pools of each driver, in JSON
    KWOK_DRA_MINOR           the 37 of Kubernetes 1.37
    KWOK_DRA_RESOURCE_API    in which version of resource.k8s.io slices are created
    KWOK_DRA_WORKLOAD        instead of the above: the workload as the configuration has it, in JSON
    KWOK_DRA_PODS            which of its pods, such as 0-999
    KWOK_DRA_CONTENT         another text whenever all objects have to be looked at
    KUBECONFIG               of the cluster
    PULUMI_COMMAND_STDOUT    what this program printed the last time
"""

import json
import os
import sys
import time
from collections.abc import Callable, Collection
from threading import Lock
from typing import Any, NamedTuple, Protocol

from cluster.api.api_server import ApiServer, at_once, errors_as_messages
from cluster.fleet.provisioning import BarePods, Fleet, is_empty, marked, remove_node, remove_pod
from cluster.local.paths import PROJECT
from topology.kubernetes.objects import DEFAULT_NAMESPACE
from topology.schema.catalogue import with_files
from topology.schema.stack import NodePool
from topology.schema.workloads import Workload

SECONDS_BETWEEN_REPORTS = 2
SECONDS_BETWEEN_TRIES = 0.1
HEALTH_SECONDS = 60


def main() -> int:
    """Do it; an error that the user has to know is one message on stderr."""
    with errors_as_messages():
        {"create": create, "update": update, "delete": delete}[sys.argv[1]]()
    return 0


def create() -> None:
    """Create the objects."""
    batch = _batch()
    _wait_for_health(ApiServer())
    _each("created", batch.maker.create, batch.names)
    batch.describe()


def _wait_for_health(api: ApiServer) -> None:
    """Wait until the API server of a new cluster has made what it needs itself.

    With a thousand nodes to store as well it would be late, and the controller manager ends itself when the API server
    is not healthy in ten seconds.
    https://github.com/kubernetes/kubernetes/blob/v1.37.2/cmd/kube-controller-manager/app/controllermanager.go
    """
    end = time.monotonic() + HEALTH_SECONDS
    while api.get("/healthz").status >= 500 and time.monotonic() < end:
        time.sleep(SECONDS_BETWEEN_TRIES)


def update() -> None:
    """Remove the objects that are not wanted any more, create those that are new, and change the others."""
    batch = _batch()
    before, content = _previous()
    _each("removed", _remove, [name for name in before if name not in batch.names])
    _each("created", batch.maker.create, [name for name in batch.names if name not in before])
    if content != batch.content:
        _each("changed", batch.maker.reconcile, [name for name in batch.names if name in before])
    batch.describe()


def delete() -> None:
    """Remove the objects that there were; a cluster that has taken the place of another one has none of them.

    What the pool or workload consists of does not matter any more, and its files may be gone.
    """
    names, _ = _previous()
    if not is_empty(ApiServer()):
        _each("removed", _remove, names)


class Maker(Protocol):
    """What creates and changes one object, and what belongs to it."""

    def create(self, api: ApiServer, name: str) -> None:
        """Create it."""

    def reconcile(self, api: ApiServer, name: str) -> None:
        """Make it what it is to be."""


class _Batch(NamedTuple):
    """The objects with these numbers, without some that are `gone`."""

    maker: Maker
    numbers: str
    gone: Collection[str]
    content: list[str]

    @property
    def names(self) -> dict[str, None]:
        """The names of the objects, in order."""
        return _names(self.numbers, self.gone)

    def describe(self) -> None:
        """Print what the next run has to know."""
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
    fleet = Fleet(
        pool,
        json.loads(generations),
        minor=int(os.environ["KWOK_DRA_MINOR"]),
        resource_api=os.environ["KWOK_DRA_RESOURCE_API"],
    )
    return _Batch(fleet, numbers, pool.gone_nodes(), [os.environ["KWOK_DRA_CONTENT"], generations])


def _pods() -> _Batch:
    workload = Workload.model_validate(_written())
    return _Batch(BarePods(workload), os.environ["KWOK_DRA_PODS"], [], [os.environ["KWOK_DRA_CONTENT"]])


def _is_of_pods() -> bool:
    return "KWOK_DRA_WORKLOAD" in os.environ


def _written() -> dict[str, Any]:
    """Return the workload or pool as the configuration has it."""
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
    """Return the names of the objects that there were, and what content they were made of."""
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
    """Do something with each object, and tell every now and then of how many it is done."""
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
