"""Which pods the scheduler has preempted, and for whom.

The scheduler deletes a pod that it preempts. What remains is an event, which the API server keeps for an hour. It
names the pod, or the group of pods, that has preempted by its UID alone:
https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/scheduler/framework/preemption/executor.go
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from topology.kubernetes.feature_gates import served
from topology.kubernetes.naming import natural_key
from topology.kubernetes.objects import Key, Object, given, key
from topology.objects import priorities
from topology.schema.features_used import features_used
from topology.schema.stack import Topology
from topology.status.live_objects import LiveObjects, of_kind

EVENTS = "Event=/api/v1/events?fieldSelector=reason%3DPreempted"

GENERATED_BASE_MAX = 58
"""https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/storage/names/generate.go, MaxGeneratedNameLength"""

_MESSAGE = re.compile(r"Preempted by (?:pod|podgroup) (\S+) on node (\S+)")


def kinds(topology: Topology) -> list[str]:
    """Return what `snapshot.read` must read for this beside workloads and pods."""
    if not priorities.are_used(topology):
        return []
    has_groups = "pod groups" in features_used(topology)
    return [EVENTS, *([f"PodGroup=/apis/{served('pod groups', topology.cluster.minor)}/podgroups"] * has_groups)]


def preemptions(topology: Topology, objects: Sequence[Object], live: LiveObjects) -> list[dict[str, Any]]:
    """Return the pods of the stack that were preempted, for pods that are still there, each with who preempted it."""
    events = of_kind(objects, "Event")
    if not events:
        return []
    found: dict[Key, dict[str, Any]] = {}
    stack = _Stack(topology, objects, live)
    for event in events:
        victim, message = event["involvedObject"], _MESSAGE.match(event.get("message") or "")
        by = stack.preemptor(message[1]) if message and victim.get("kind") == "Pod" else None
        if message and by and (workload := stack.workload_of_deleted(victim["namespace"], victim["name"])):
            node = {"node": message[2]} if "pod" in by else {}  # A group preempts on many nodes.
            named = {"pod": victim["name"], "namespace": victim["namespace"], "workload": workload}
            found[victim["namespace"], victim["name"]] = {**named, **node, "by": by}
    return sorted(found.values(), key=lambda entry: [natural_key(entry[name]) for name in ("workload", "pod")])


def named(preemptor: Mapping[str, str]) -> str:
    """Return a pod, or a group of pods, that has preempted others, as messages name it."""
    what = f"pod {preemptor['pod']}" if "pod" in preemptor else f"pod group {preemptor['podGroup']}"
    return f"{what} of {preemptor['workload']}" if "workload" in preemptor else what


class _Stack:
    """Finds the workloads of pods."""

    def __init__(self, topology: Topology, objects: Sequence[Object], live: LiveObjects) -> None:
        self._live = live
        self._workloads = {maker: applied.name for applied in topology.applied for maker in applied.makers()}
        self._pods = {pod["metadata"]["uid"]: pod for pod in live.pods}
        self._groups = {entry["metadata"]["uid"]: key(entry) for entry in of_kind(objects, "PodGroup")}
        self._members = {
            (key(pod)[0], group["podGroupName"]): pod
            for pod in live.pods
            if (group := pod["spec"].get("schedulingGroup"))
        }
        self._controllers = {
            maker: workload
            for maker, entry in live.by_name.items()
            if maker[0] not in ("Pod", "ResourceClaim") and (workload := self._workload(entry))
        }

    def _workload(self, entry: Object) -> str:
        makers = self._live.makers_of(entry)
        return next((self._workloads[maker] for maker in makers if maker in self._workloads), "")

    def preemptor(self, uid: str) -> dict[str, str] | None:
        """Return the pod, or the group of pods, that has preempted; None if it is gone."""
        group = self._groups.get(uid)
        pod = self._members.get(group) if group else self._pods.get(uid)
        if pod is None:
            return None
        named = {"podGroup": group[1]} if group else {"pod": key(pod)[1]}
        return {**named, "namespace": key(pod)[0], **given(workload=self._workload(pod))}

    def workload_of_deleted(self, namespace: str, name: str) -> str:
        """Return the workload whose pod had this name: nothing that remains of the pod refers to its owner.

        Controllers add an index or generated letters to their own name, or both; the longest name that fits is taken.
        """
        fitting = {
            len(controller): workload
            for (kind, place, controller), workload in self._controllers.items()
            if place == namespace and _may_create(kind, controller, name)
        }
        return self._workloads.get(("Pod", namespace, name)) or fitting.get(max(fitting, default=0), "")


def _may_create(kind: str, name: str, pod: str) -> bool:
    """Tell whether a controller of that name gives its pods names like that of the `pod`."""
    prefix = f"{name}-"[:GENERATED_BASE_MAX]
    added = "[0-9]+" if kind == "StatefulSet" else "([0-9]+-)?[a-z0-9]{5}"
    return pod.startswith(prefix) and re.fullmatch(added, pod[len(prefix) :]) is not None
