"""What Kueue says of the Jobs and pods that it holds, told where the scheduler tells why a pod waits.

Kueue has a Workload for each, with its conditions: https://kueue.sigs.k8s.io/docs/concepts/workload/.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from topology.kubernetes.objects import QUEUE_LABEL, Object
from topology.kubernetes.reading import entries, part

GATE = "kueue.x-k8s.io/admission"
"""The scheduling gate of the pods that Kueue holds."""

ADMITTED_LABEL = "kueue.x-k8s.io/local-queue-name"
"""The label of the pods of a Job that Kueue has admitted, beside that of the pods themselves."""

UNDECIDED = re.compile(r"pending evaluation|Pending the preemption|Preempting \d+ workload|^Preempted to accommodate")
"""Kueue is about to decide again."""

_PREEMPTOR = re.compile(r"a workload \(UID: ([^,)]+), JobUID: ([^,)]+)\)")


class Queues:
    """The Workloads of a cluster, by the objects that they stand for."""

    def __init__(self, objects: Iterable[Object]) -> None:
        """Index the Workloads of `objects`."""
        self._by_owner: dict[str, Object] = {}
        self._names: dict[str, str] = {}
        for entry in objects:
            if entry["kind"] == "Workload":
                for owner in entries(entry, "metadata", "ownerReferences"):
                    self._by_owner[owner["uid"]] = entry
                    for uid in (owner["uid"], entry["metadata"]["uid"]):
                        self._names[uid] = f"{owner['kind']} {owner['name']}"

    def told(self, pod: Object) -> Object:
        """Return the pod with Kueue's words in place of the scheduler's if Kueue holds it.

        The scheduler only says that there are scheduling gates.
        """
        if all(gate["name"] != GATE for gate in entries(pod, "spec", "schedulingGates")):
            return pod
        others = [entry for entry in entries(pod, "status", "conditions") if entry["type"] != "PodScheduled"]
        return {**pod, "status": {**pod["status"], "conditions": [*others, *self._refusal(pod)]}}

    def planned(self, held: Object) -> Iterator[Object]:
        """Yield the pods that a Job or JobSet will have as soon as Kueue, which holds it, admits it.

        They have no UID.
        """
        metadata = held["metadata"]
        if not held["spec"].get("suspend") or not _label(held, QUEUE_LABEL):
            return
        owner = {"kind": held["kind"], "name": metadata["name"], "uid": metadata["uid"]}
        status = {"phase": "Suspended", "conditions": self._refusal(held)}
        for name, spec in _pods(held):
            named = {"name": name, "namespace": metadata["namespace"]}
            labels = {"labels": metadata["labels"], "ownerReferences": [owner]}
            yield {"kind": "Pod", "metadata": named | labels, "spec": spec, "status": status}

    def _refusal(self, held: Object) -> list[dict[str, str]]:
        """Return the condition that the scheduler sets on a pod that it refuses, with Kueue's words."""
        said = self._words(self._by_owner.get(held["metadata"]["uid"], {}))
        message = f"queue {_label(held, QUEUE_LABEL)}: {said}"
        return [{"type": "PodScheduled", "status": "False", "message": message}] if said else []

    def _words(self, workload: Mapping[str, Any]) -> str:
        """Return why Kueue does not admit a Workload; empty if it has not decided, or is about to decide again."""
        conditions = {str(entry["type"]): entry for entry in entries(workload, "status", "conditions")}
        told = [
            self._cleaned(str(conditions[kind]["message"]))
            for kind in ("QuotaReserved", "Admitted")
            if kind in conditions and conditions[kind]["status"] == "False"
        ][:1]
        if not told or UNDECIDED.search(told[0]):
            return ""
        evicted = conditions.get("Evicted", {})
        why = self._cleaned(str(evicted.get("message"))) if evicted.get("status") == "True" else ""
        return f"{told[0]}; evicted before: {why}" if why and why != told[0] else told[0]

    def _cleaned(self, message: str) -> str:
        """Return a message on one line, with names instead of UIDs."""
        named = _PREEMPTOR.sub(lambda found: self._names.get(found[2], "another workload"), message)
        return " ".join(named.split()).removesuffix(".")


def _pods(held: Object) -> Iterator[tuple[str, Object]]:
    """Yield the name and the spec of each pod that a Job or JobSet is still to run at the same time."""
    for name, job in _jobs(held):
        parallelism = int(job["spec"].get("parallelism", 1))
        left = int(job["spec"].get("completions", parallelism)) - int(part(job, "status", "succeeded") or 0)
        for number in range(min(parallelism, left)):
            yield f"{name}-{number}", job["spec"]["template"]["spec"]


def _jobs(held: Object) -> Iterator[tuple[str, Object]]:
    """Yield the Job itself, or those of a JobSet, each with its name."""
    name = held["metadata"]["name"]
    if held["kind"] == "Job":
        yield name, held
    for group in entries(held, "spec", "replicatedJobs"):
        for number in range(int(group.get("replicas", 1))):
            yield f"{name}-{group['name']}-{number}", group["template"]


def _label(entry: Object, name: str) -> str:
    return str((entry["metadata"].get("labels") or {}).get(name, ""))


def held_by(pod: Object) -> str:
    """Return the queue that holds the pod; empty if none does."""
    is_held = any(gate["name"] == GATE for gate in entries(pod, "spec", "schedulingGates"))
    return _label(pod, QUEUE_LABEL) if is_held or pod["status"].get("phase") == "Suspended" else ""


def admitted_by(pod: Object) -> str:
    """Return the queue that has admitted the pod; empty if none has."""
    return "" if held_by(pod) else _label(pod, QUEUE_LABEL) or _label(pod, ADMITTED_LABEL)
