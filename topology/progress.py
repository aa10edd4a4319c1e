"""How far the pods of a workload have come. The standard library only, so that a program with it starts at once."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Object = Mapping[str, Any]
Key = tuple[str, str]
"""Namespace and name."""

KINDS = ("Pod", "ResourceClaim", "Deployment", "Job")
"""The objects that `standing` looks at."""

PREEMPTION = (" still not schedulable", ", pod group preemption:", " preemption:")
"""With these the scheduler goes on about preemption, which moves no devices."""

READY_PHASES = ("Running", "Succeeded")

EXTENDED_RESOURCES = "extended resources"
"""What stands for a pod's name of the claim that the scheduler makes for its extended resources."""

REASONS_TOLD_MAX = 5
"""At most so many reasons are told of a workload, and at most so many of the pods that wait for each."""


class Expected(NamedTuple):
    """What a workload is to come to: so many claims allocated and so many pending, within `seconds`."""

    workload: str
    namespace: str
    kind: str
    pods: int
    allocated: int
    pending: int
    seconds: int


class Unfit(NamedTuple):
    """What pods cannot stay on: nodes that are gone or not ready, and devices with a taint that evicts.

    A device is given as driver, pool and device (empty stands for any), key and value of the taint.
    """

    nodes: Sequence[str] = ()
    devices: Sequence[tuple[str, str, str, str, str]] = ()
    not_ready: Sequence[str] = ()
    """Nodes that get the taint `node.kubernetes.io/not-ready`, which pods tolerate for some time."""

    def holds(self, pod: Object, claims: Iterable[Object], seconds: int) -> bool:
        """Tell whether a pod with these claims will be evicted within so many `seconds`."""
        node = pod["spec"].get("nodeName")
        if node in self.nodes or (node in self.not_ready and _seconds_on_not_ready(pod) < seconds):
            return True
        results = [result for claim in claims for result in _results(claim)]
        return any(_is_evicted(result, *device) for result in results for device in self.devices)


def _seconds_on_not_ready(pod: Object) -> float:
    """Return how long a pod may stay on a node that is not ready: as its first toleration of that has it.

    Pods that say nothing about it get one of 300 s from admission: the plugin DefaultTolerationSeconds.
    https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/apis/core/v1/helper/helpers.go, GetMatchingTolerations
    """
    for toleration in pod["spec"].get("tolerations") or []:
        if (
            toleration.get("key") in (None, "", "node.kubernetes.io/not-ready")
            and toleration.get("effect") in (None, "", "NoExecute")
            and (toleration.get("operator") == "Exists" or not toleration.get("value"))
        ):
            seconds = toleration.get("tolerationSeconds")
            return math.inf if seconds is None else float(seconds)
    return 0


def _results(claim: Object) -> Sequence[Object]:
    results: Sequence[Object] = claim.get("status", {}).get("allocation", {}).get("devices", {}).get("results") or []
    return results


def _is_evicted(result: Object, driver: str, pool: str, device: str, taint: str, value: str) -> bool:
    found = (result["driver"], result["pool"], result["device"])
    if any(wanted not in ("", name) for wanted, name in zip((driver, pool, device), found, strict=True)):
        return False
    return not any(
        toleration.get("key") in (None, "", taint)
        and toleration.get("effect") in (None, "", "NoExecute")
        and (toleration.get("operator") == "Exists" or toleration.get("value", "") == value)
        and toleration.get("tolerationSeconds") is None
        for toleration in result.get("tolerations") or []
    )


FIT = Unfit()


class Standing(NamedTuple):
    """How it stands: its pods; claims that are allocated and those that are not; whether anything is still to come.

    Settled it is when every pod runs (of a job: has run, and given back its claims) or was refused by the scheduler,
    and when its controller has seen its newest version and left no pod of an older one.
    """

    pods: int
    allocated: int
    pending: int
    settled: bool

    def meets(self, expected: Expected) -> bool:
        """Tell whether all that was expected holds, and will."""
        return self.settled and (self.pods, self.allocated, self.pending) == (
            expected.pods,
            expected.allocated,
            expected.pending,
        )


def key(entry: Object) -> Key:
    """Return the namespace and name of an object."""
    return entry["metadata"].get("namespace", ""), entry["metadata"]["name"]


def pods_of(workload: str, namespace: str, objects: Iterable[Object]) -> list[Object]:
    """Return the workload's pods, without those that are on their way out."""
    return [
        entry
        for entry in objects
        if entry["kind"] == "Pod"
        and key(entry)[0] == namespace
        and entry["metadata"].get("labels", {}).get("app") == workload
        and "deletionTimestamp" not in entry["metadata"]
        and entry["status"].get("phase") != "Failed"
    ]


def of_workloads(objects: Sequence[Object]) -> dict[Key, list[Object]]:
    """Sort live objects by namespace and workload: of each its controller, its pods and the claims that they use.

    To go through all objects once per workload would take seconds in a large fleet.
    """
    claims = {key(entry): entry for entry in objects if entry["kind"] == "ResourceClaim"}
    found: dict[Key, list[Object]] = {}
    for entry in objects:
        namespace, name = key(entry)
        if entry["kind"] == "Pod":
            used = [claims.get((namespace, claim)) for claim in claim_names(entry).values()]
            workload = namespace, entry["metadata"].get("labels", {}).get("app", "")
            found.setdefault(workload, []).extend([entry, *(claim for claim in used if claim)])
        elif entry["kind"] in ("Deployment", "Job"):
            found.setdefault((namespace, name), []).append(entry)
    return found


def claim_names(pod: Object) -> dict[str, str]:
    """Return the ResourceClaim of each claim of a pod, by the pod's name for it; empty until it is made."""
    status = pod["status"]
    made = {entry["name"]: entry.get("resourceClaimName") or "" for entry in status.get("resourceClaimStatuses") or []}
    names = {
        entry["name"]: entry.get("resourceClaimName") or made.get(entry["name"], "")
        for entry in pod["spec"].get("resourceClaims") or []
    }
    if asks_for_extended_resources(pod):
        names[EXTENDED_RESOURCES] = (status.get("extendedResourceClaimStatus") or {}).get("resourceClaimName", "")
    return names


def is_shared(pod: Object, claim: str) -> bool:
    """Tell whether the pod names that claim itself, and so may not be the only one to use it."""
    return any(entry.get("resourceClaimName") == claim for entry in pod["spec"].get("resourceClaims") or [])


def is_reserved_for_group(claim: Object) -> bool:
    """Tell whether a group of pods has the claim, which keeps it when a pod has run to its end."""
    return any(consumer.get("resource") == "podgroups" for consumer in _consumers(claim))


def asks_for_extended_resources(pod: Object) -> bool:
    """Tell whether a container wants more than what every node has, such as `nvidia.com/gpu`."""
    return any("/" in name for container in pod["spec"]["containers"] for name in _limits(container))


def _limits(container: Object) -> Mapping[str, str]:
    limits: Mapping[str, str] = container.get("resources", {}).get("limits") or {}
    return limits


def has_without_claim(pod: Object, name: str) -> bool:
    """Tell whether the pod has what it asks for without a claim: extended resources that its node itself has."""
    return not name and bool(pod["spec"].get("nodeName"))


def is_done(pod: Object) -> bool:
    """Tell whether the pod has run to its end, and given its claims back."""
    return bool(pod["status"].get("phase") == "Succeeded")


def is_refused(pod: Object) -> bool:
    """Tell whether the scheduler has found no place for the pod."""
    return bool(_refusals(pod))


def refusal(pod: Object) -> str:
    """Return the scheduler's own words on why it has found no place for the pod."""
    for condition in _refusals(pod):
        message = str(condition.get("message") or condition.get("reason"))
        for preemption in PREEMPTION:
            message = message.partition(preemption)[0]
        return message
    return "not yet considered by the scheduler"


def _refusals(pod: Object) -> list[Object]:
    conditions = pod["status"].get("conditions") or []
    return [entry for entry in conditions if entry["type"] == "PodScheduled" and entry["status"] == "False"]


def is_not_ready(node: Object) -> bool:
    """Tell whether a node says that it is not ready; a new one says nothing yet."""
    return any(
        condition["type"] == "Ready" and condition["status"] != "True"
        for condition in node["status"].get("conditions") or []
    )


def is_allocated(claim: Object) -> bool:
    """Tell whether a claim has its devices."""
    return bool(claim.get("status", {}).get("allocation"))


def standing(expected: Expected, objects: Sequence[Object], unfit: Unfit = FIT) -> Standing:
    """Return how a workload stands, told from live objects of `KINDS`."""
    claims = {key(entry): entry for entry in objects if entry["kind"] == "ResourceClaim"}
    pods = pods_of(expected.workload, expected.namespace, objects)
    allocated = pending = 0
    settled = _is_settled(expected, pods, objects)
    for pod in pods:
        names = claim_names(pod).values()
        used = [claims.get((expected.namespace, name), {}) for name in names]
        given = [
            is_done(pod) or is_allocated(claim) or has_without_claim(pod, name)
            for name, claim in zip(names, used, strict=True)
        ]
        allocated += sum(given)
        pending += len(given) - sum(given)
        there = _has_arrived(expected, pod, used) or (is_refused(pod) and not all(given))
        settled = settled and there and not unfit.holds(pod, used, expected.seconds)
    return Standing(len(pods), allocated, pending, settled)


def unmet(expected: Expected, found: Standing, objects: Iterable[Object]) -> Iterator[str]:
    """Say, in one line or two, how a workload stands that is not as expected when its time is up."""
    if expected.pending:
        claims = found.allocated + found.pending
        yield (
            f"workload {expected.workload}: {found.allocated} of {claims} claims are allocated and {found.pending} "
            f"pending after {expected.seconds} s, but it expects {expected.allocated} allocated and {expected.pending} "
            "pending (kwok-dra:workloads expect, readyTimeoutSeconds)"
        )
    else:
        pods = pods_of(expected.workload, expected.namespace, objects)
        running = sum(pod["status"].get("phase") in READY_PHASES for pod in pods)
        yield (
            f"workload {expected.workload}: {running} of {expected.pods} pods run after {expected.seconds} s "
            "(kwok-dra:workloads readyTimeoutSeconds)"
        )
    if found.pods > expected.pods or found._replace(settled=True).meets(expected):
        yield "  but pods are still to change: older ones are to go, or some cannot stay on their node or device"


def reasons(waiting: Iterable[tuple[str, str]]) -> list[str]:
    """Say why pods wait, given the name of each and its reason: each reason once."""
    pods: dict[str, list[str]] = {}
    for pod, reason in waiting:
        pods.setdefault(reason, []).append(pod)
    return [f"  {_listed(list(dict.fromkeys(names)))}: {reason}" for reason, names in pods.items()][:REASONS_TOLD_MAX]


def _listed(pods: Sequence[str]) -> str:
    more = len(pods) - REASONS_TOLD_MAX
    names = ", ".join(pods[:REASONS_TOLD_MAX])
    return f"pod{'s' if len(pods) > 1 else ''} {names}{f' and {more} more' if more > 0 else ''}"


def _has_arrived(expected: Expected, pod: Object, claims: Iterable[Object]) -> bool:
    """Tell whether the pod runs; one of a job has to have run to its end, and given back its claims."""
    if expected.kind != "Job":
        return pod["status"].get("phase") in READY_PHASES
    return is_done(pod) and not any(_is_reserved_for(claim, pod) for claim in claims)


def _is_reserved_for(claim: Object, pod: Object) -> bool:
    return any(consumer["name"] == pod["metadata"]["name"] for consumer in _consumers(claim))


def _consumers(claim: Object) -> Sequence[Object]:
    consumers: Sequence[Object] = claim.get("status", {}).get("reservedFor") or []
    return consumers


def _is_settled(expected: Expected, pods: Sequence[Object], objects: Iterable[Object]) -> bool:
    if expected.kind == "Pod":
        return True
    name = (expected.namespace, expected.workload)
    controllers = [entry for entry in objects if entry["kind"] == expected.kind and key(entry) == name]
    return any(_has_settled(controller, pods) for controller in controllers)


def _has_settled(controller: Object, pods: Sequence[Object]) -> bool:
    if controller["kind"] == "Job":
        uid = controller["metadata"]["uid"]
        return all(uid in {owner["uid"] for owner in pod["metadata"].get("ownerReferences", [])} for pod in pods)
    status = controller["status"]
    seen = status.get("observedGeneration") == controller["metadata"]["generation"]
    return bool(seen and len(pods) == status.get("updatedReplicas", 0))
