"""PriorityClasses that the API server would refuse, and names of classes that do not exist.

https://github.com/kubernetes/kubernetes/blob/v1.37.2/plugin/pkg/admission/priority/admission.go
"""

from collections.abc import Iterator

from topology.checks.manifests import manifest_objects
from topology.kubernetes.reading import pod_spec
from topology.objects.priorities import known_classes
from topology.schema.base import Problem
from topology.schema.stack import Topology
from topology.schema.values import choice

RESERVED = "system-"


def priority_problems(topology: Topology) -> Iterator[Problem]:
    """Yield what is wrong with the PriorityClasses, and pods that name none of them; an existing cluster has others."""
    defaults = []
    for index, entry in enumerate(topology.priority_classes):
        if entry.name.startswith(RESERVED):
            yield Problem(
                f"priorityClasses[{index}].name",
                f"{entry.name!r} begins with {RESERVED}, which is reserved for Kubernetes: choose another name",
            )
        if entry.global_default:
            defaults.append(index)
    for index in defaults[1:]:
        yield Problem(
            f"priorityClasses[{index}].globalDefault",
            f"is true, as in priorityClasses[{defaults[0]}], but a cluster has one default: set one of them to false",
        )
    if not topology.cluster.existing:
        yield from _unknown_names(topology)


def _unknown_names(topology: Topology) -> Iterator[Problem]:
    known = sorted(known_classes(topology))
    remedy = "add the class to kwok-dra:priorityClasses"
    for index, workload in enumerate(topology.workloads):
        if (name := workload.priority) and name not in known:
            path = f"workloads[{index}].priority"
            yield Problem(path, f"there is no priority class {name!r}{choice(name, known, remedy)}")
    for entry in manifest_objects(topology):
        name = (pod_spec(entry.content) or {}).get("priorityClassName")
        if isinstance(name, str) and name and name not in known:
            message = f"pods of {entry} have priorityClassName {name!r}, which does not exist"
            yield entry.problem(f"{message}{choice(name, known, remedy)}")
