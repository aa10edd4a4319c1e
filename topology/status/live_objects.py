"""Reads the live pods, claims and nodes of a cluster, and tells which controller a pod belongs to."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from topology.kubernetes.objects import DEFAULT_SCHEDULER, LISTS, Key, Maker, Object, key, kind_of
from topology.kubernetes.reading import limited_resources
from topology.status.queues import Queues, held_by

PREEMPTION = " still not schedulable|, pod group preemption:| preemption:"
"""From here on, the scheduler's message is about preemption, which is never for the sake of devices.

Its plugin DynamicResources calls a node without devices for a pod UnschedulableAndUnresolvable, so that no pods there
are considered as victims; those that hold devices may be preempted for the sake of cpu or memory.
https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/scheduler/framework/plugins/dynamicresources/dynamicresources.go
"""

EXTENDED_RESOURCES = "extended resources"
"""The name in a pod of the claim that the scheduler creates for extended resources: the API has none for it."""

NEEDS_NO_NODE = "the scheduler allocates claims only for pods that have no node yet"
"""Why a claim stays pending whose pod was created with a `nodeName`.

https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#pre-scheduled-pods
"""

INTERMEDIATE_KINDS = {"CronJob": "Job", "Deployment": "ReplicaSet"}
"""The kind of object through which these controllers create their pods."""


CREATED_BY_OTHERS = {"Deployment", "Job", "StatefulSet"}
"""The kinds through which the controllers of kinds that are not part of Kubernetes create pods."""

JOB_SETS = "JobSet=/apis/jobset.x-k8s.io/v1alpha2/jobsets"
"""The JobSets, of which only those matter that Kueue holds."""


def kinds(makers: Iterable[Maker], queues: bool = False) -> list[str]:
    """Return the kinds of objects that `LiveObjects` needs in order to find the pods and claims of the `makers`.

    With `queues`, Kueue may hold them.
    """
    found = {kind for kind, _, _ in makers}
    held = ["Workload", *([JOB_SETS] if "JobSet" in found else [])] if queues else []
    if custom := found - LISTS.keys():
        found = found - custom | CREATED_BY_OTHERS
    found |= {INTERMEDIATE_KINDS[kind] for kind in found & INTERMEDIATE_KINDS.keys()}
    return ["Pod", "ResourceClaim", *sorted(found - {"Pod"}), *held]


def of_kind(objects: Iterable[Object], kind: str) -> list[Object]:
    """Return the objects of one kind."""
    return [entry for entry in objects if entry["kind"] == kind]


class LiveObjects:
    """The objects of a cluster at one moment."""

    def __init__(self, objects: Sequence[Object], queues: bool = False) -> None:
        """Index the `objects`, which include those of all `kinds` that matter; with `queues`, those of Kueue too."""
        self.claims = {key(entry): entry for entry in of_kind(objects, "ResourceClaim")}
        kueue = Queues(objects)
        self.pods = [kueue.told(pod) for pod in of_kind(objects, "Pod")]
        jobs = [*of_kind(objects, "Job"), *of_kind(objects, "JobSet")] if queues else []
        self.planned_pods = [pod for job in jobs for pod in kueue.planned(job)]
        """The pods that Jobs and JobSets will have as soon as Kueue admits them."""
        self.nodes = {entry["metadata"]["name"]: entry for entry in of_kind(objects, "Node")}
        self.by_name: dict[Maker, Object] = {(entry["kind"], *key(entry)): entry for entry in objects}

    def pods_of(self, makers: Iterable[Maker]) -> list[Object]:
        """Return the pods that one of the `makers` created or, held by Kueue, is to create, directly or not.

        Failed and terminating ones are left out.
        """
        found = {key(pod): pod for maker in makers for pod in self._pods.get(maker, [])}
        return list(found.values())

    @cached_property
    def _pods(self) -> Mapping[Maker, list[Object]]:
        found: dict[Maker, list[Object]] = {}
        for pod in (*self.pods, *self.planned_pods):
            if "deletionTimestamp" not in pod["metadata"] and pod["status"].get("phase") != "Failed":
                for maker in self.makers_of(pod):
                    found.setdefault(maker, []).append(pod)
        return found

    def makers_of(self, entry: Object) -> Iterator[Maker]:
        """Yield an object, its owners and their owners, by owner references: these alone say whose a pod is."""
        namespace, name = key(entry)
        yield entry["kind"], namespace, name
        for owner in owners(entry):
            maker = (kind_of(owner), namespace, owner["name"])
            yield from self.makers_of(self.by_name[maker]) if maker in self.by_name else [maker]

    def owning_pods(self, claim: Object) -> list[Object]:
        """Return the pods for which a claim was created, as far as they still exist."""
        return [self._pods_by_uid[uid] for uid in owning_uids(claim) if uid in self._pods_by_uid]

    def is_orphaned(self, claim: Object) -> bool:
        """Tell whether a claim was created for a pod that is gone or terminating, so that it is about to be deleted."""
        remaining = [pod for pod in self.owning_pods(claim) if "deletionTimestamp" not in pod["metadata"]]
        return len(remaining) < len(owning_uids(claim))

    @cached_property
    def _pods_by_uid(self) -> Mapping[str, Object]:
        return {pod["metadata"]["uid"]: pod for pod in self.pods}


def owners(entry: Object) -> Sequence[Object]:
    """Return the owner references of an object."""
    found: Sequence[Object] = entry["metadata"].get("ownerReferences") or []
    return found


def is_of_job(pod: Object) -> bool:
    """Tell whether a Job has created the pod, so that it is to complete."""
    return any(kind_of(owner) == "Job" for owner in owners(pod))


def claim_names(pod: Object) -> dict[str, str]:
    """Return the name of the ResourceClaim for each claim of a pod, by the pod's name for it; empty until it exists."""
    status = pod["status"]
    made = {entry["name"]: entry.get("resourceClaimName") or "" for entry in status.get("resourceClaimStatuses") or []}
    names = {
        entry["name"]: entry.get("resourceClaimName") or made.get(entry["name"], "")
        for entry in pod["spec"].get("resourceClaims") or []
    }
    if any("/" in name for name in limited_resources(pod["spec"])):  # Native resources have no domain.
        names[EXTENDED_RESOURCES] = (status.get("extendedResourceClaimStatus") or {}).get("resourceClaimName", "")
    return names


def claim_keys(pod: Object) -> set[Key]:
    """Return the keys of the ResourceClaims of a pod."""
    return {(key(pod)[0], name) for name in claim_names(pod).values() if name}


def is_shared(pod: Object, claim: str) -> bool:
    """Tell whether the pod refers to the claim by its name, so that other pods may use it too."""
    return any(entry.get("resourceClaimName") == claim for entry in pod["spec"].get("resourceClaims") or [])


def needs_no_claim(pod: Object, claim: str) -> bool:
    """Tell whether the pod's node itself provides the extended resources for which `claim` would be created."""
    return not claim and bool(pod["spec"].get("nodeName"))


def has_ended(pod: Object) -> bool:
    """Tell whether the pod has completed or failed."""
    return pod["status"].get("phase") in ("Succeeded", "Failed")


def has_succeeded(pod: Object) -> bool:
    """Tell whether the pod has completed, and so released its claims."""
    return bool(pod["status"].get("phase") == "Succeeded")


def is_refused(pod: Object) -> bool:
    """Tell whether the scheduler has found no node for the pod."""
    return any(_refusals(pod))


def refusal(pod: Object) -> str:
    """Return the scheduler's message about why it has found no node for the pod."""
    for condition in _refusals(pod):
        return re.split(PREEMPTION, str(condition.get("message") or condition.get("reason")))[0]
    if node := pod["spec"].get("nodeName"):
        return f"its pod is on node {node}: {NEEDS_NO_NODE}"
    if queue := held_by(pod):
        return f"queue {queue} has not decided on it yet"
    scheduler = scheduler_of(pod)
    return f"not yet considered by {'the scheduler' if scheduler == DEFAULT_SCHEDULER else f'scheduler {scheduler}'}"


def scheduler_of(pod: Object) -> str:
    """Return the name of the scheduler that is to place the pod."""
    return str(pod["spec"].get("schedulerName") or DEFAULT_SCHEDULER)


def _refusals(pod: Object) -> list[Object]:
    conditions = pod["status"].get("conditions") or []
    return [entry for entry in conditions if entry["type"] == "PodScheduled" and entry["status"] == "False"]


def is_allocated(claim: Object) -> bool:
    """Tell whether a claim has its devices."""
    return bool(claim.get("status", {}).get("allocation"))


def allocated_devices(claim: Object) -> Sequence[Object]:
    """Return the results of a claim's allocation, one per device."""
    allocation = claim.get("status", {}).get("allocation") or {}
    results: Sequence[Object] = allocation.get("devices", {}).get("results") or []
    return results


def is_reserved_for_pod(claim: Object, pod: Object) -> bool:
    """Tell whether the pod may use the claim."""
    return any(consumer["name"] == pod["metadata"]["name"] for consumer in consumers(claim))


def is_reserved_for_group(claim: Object) -> bool:
    """Tell whether a PodGroup has the claim, which keeps it when a pod has completed."""
    return any(consumer.get("resource") == "podgroups" for consumer in consumers(claim))


def consumers(claim: Object) -> Sequence[Object]:
    """Return the references to the pods and pod groups that may use a claim."""
    found: Sequence[Object] = claim.get("status", {}).get("reservedFor") or []
    return found


def owning_uids(claim: Object) -> set[str]:
    """Return the UIDs of the pods for which a controller created the claim."""
    return {owner["uid"] for owner in owners(claim) if owner["kind"] == "Pod"}


def is_not_ready(node: Object) -> bool:
    """Tell whether a node says that it is not ready; a new one says nothing yet."""
    conditions = node["status"].get("conditions") or []
    return any(entry["type"] == "Ready" and entry["status"] != "True" for entry in conditions)
