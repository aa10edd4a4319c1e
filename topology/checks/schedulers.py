"""Names of schedulers that pods have and nobody serves, or that several schedulers serve."""

from collections.abc import Iterator

from topology.checks.manifests import manifest_objects
from topology.kubernetes.objects import DEFAULT_SCHEDULER
from topology.kubernetes.reading import creates_pods, pod_spec
from topology.schema.base import Problem
from topology.schema.stack import Topology
from topology.schema.values import choice


def scheduler_problems(topology: Topology) -> Iterator[Problem]:
    """Yield the pods that no scheduler would place, without a word; an existing cluster may have any scheduler."""
    yield from _served_twice(topology)
    if topology.cluster.existing:
        return
    known = list(topology.scheduler_names)
    for index, workload in enumerate(topology.workloads):
        if (name := workload.scheduler or DEFAULT_SCHEDULER) not in known:
            yield Problem(f"workloads[{index}].scheduler", _unserved("is", name, known))
    for entry in manifest_objects(topology):
        spec = pod_spec(entry.content)
        if spec is None or spec.get("nodeName") or not creates_pods(entry.content):
            continue
        if (name := spec.get("schedulerName") or DEFAULT_SCHEDULER) not in known:
            yield entry.problem(_unserved(f"pods of {entry} have schedulerName", str(name), known))


def _unserved(subject: str, name: str, known: list[str]) -> str:
    remedy = "add a scheduler that serves it to kwok-dra:schedulers"
    return f"{subject} {name}, which no scheduler of the cluster serves{choice(name, known, remedy)}"


def _served_twice(topology: Topology) -> Iterator[Problem]:
    configured = any(scheduler.name == DEFAULT_SCHEDULER for scheduler in topology.schedulers)
    first = {} if configured else {DEFAULT_SCHEDULER: "the cluster's own kube-scheduler"}
    for index, scheduler in enumerate(topology.schedulers):
        path = f"schedulers[{index}]"
        for name in scheduler.served:
            holder = first.setdefault(name, path)
            if holder != path or scheduler.served.count(name) > 1:
                yield Problem(
                    path,
                    f"serves the schedulerName {name}{' twice' if holder == path else f', as does {holder}'}: give "
                    "each scheduler, and each of its profiles, a name of its own",
                )
