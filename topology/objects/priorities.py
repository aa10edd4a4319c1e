"""PriorityClasses, and who gives way to whom.

https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/
"""

from topology.kubernetes.objects import Manifest, given
from topology.kubernetes.reading import group_of, pod_spec
from topology.schema.manifests import Manifests
from topology.schema.stack import Topology
from topology.schema.workloads import Workload, in_order

SCHEDULING_API_GROUP = "scheduling.k8s.io"

BUILT_IN = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
"""The classes that every cluster has."""


def priority_classes(topology: Topology) -> list[Manifest]:
    """Render the PriorityClasses."""
    return [
        {
            "apiVersion": f"{SCHEDULING_API_GROUP}/v1",
            "kind": "PriorityClass",
            "metadata": {"name": entry.name},
            "value": entry.value,
            "preemptionPolicy": entry.preemption_policy,
        }
        | given(globalDefault=entry.global_default)
        for entry in topology.priority_classes
    ]


def known_classes(topology: Topology) -> dict[str, Manifest]:
    """Return the PriorityClasses of Kubernetes, the stack and its manifests, by name."""
    objects = [*priority_classes(topology), *(one for entry in topology.manifests for one in entry.objects())]
    written = [one for one in objects if (group_of(one), one["kind"]) == (SCHEDULING_API_GROUP, "PriorityClass")]
    built_in: dict[str, Manifest] = {name: {"value": value} for name, value in BUILT_IN.items()}
    return built_in | {entry["metadata"]["name"]: entry for entry in written}


def are_used(topology: Topology) -> bool:
    """Tell whether the stack or its pods name priorities, so that the scheduler may preempt pods."""
    return len(known_classes(topology)) > len(BUILT_IN) or any(map(any, map(_named, topology.applied)))


def outranked(topology: Topology) -> set[str]:
    """Return the workloads and manifests after which others with a higher priority come, which may preempt pods."""
    ranks = _ranks(topology)
    found: set[str] = set()
    before: dict[str, set[str]] = {}
    for entry in in_order(topology.applied):
        before[entry.name] = {*entry.after}.union(*(before[name] for name in entry.after))
        found |= {name for name in before[entry.name] if min(ranks[name]) < max(ranks[entry.name])}
    return found


def _ranks(topology: Topology) -> dict[str, list[int]]:
    """Return the priorities of the pods of each workload and of manifests; those of unknown classes count as none."""
    classes = known_classes(topology)
    default = next((name for name, entry in classes.items() if entry.get("globalDefault") is True), "")
    values = {name: entry["value"] for name, entry in classes.items() if type(entry.get("value")) is int}
    return {entry.name: [values.get(name or default, 0) for name in _named(entry)] or [0] for entry in topology.applied}


def _named(entry: Workload | Manifests) -> list[str | None]:
    """Return the name of the PriorityClass of each kind of pods of a workload or of manifests."""
    if isinstance(entry, Workload):
        return [entry.priority]
    specs = [pod_spec(manifest) for manifest in entry.objects()]
    return [spec.get("priorityClassName") for spec in specs if spec is not None]
