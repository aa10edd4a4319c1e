"""How far the pods of a workload have come."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from topology.kubernetes.objects import Maker, Object, key

PREEMPTION = (" still not schedulable", ", pod group preemption:", " preemption:")
"""With these the scheduler goes on about preemption, which moves no devices."""

READY_PHASES = ("Running", "Succeeded")

CONTROLLERS = frozenset({"Deployment", "Job"})
"""What tells how many of its pods have come as far as they are to."""

EXTENDED_RESOURCES = "extended resources"
"""What stands for a pod's name of the claim that the scheduler makes for its extended resources."""

REASONS_TOLD_MAX = 5
"""At most so many reasons are told of a workload, and at most so many of the pods that wait for each."""


class Expected(NamedTuple):
    """What a workload is to come to: so many claims allocated and so many pending, within `seconds`.

    Without `allocated`, all that are not pending; without `pods`, as many as the `makers` are to make. `key` is where
    it is configured.
    """

    key: str
    workload: str
    makers: Sequence[Maker]
    allocated: int | None
    pending: int
    seconds: int
    pods: int | None = None

    @classmethod
    def from_json(cls, entry: Sequence[Any]) -> "Expected":
        """Read what `json.dumps` makes of one."""
        key, workload, makers, *rest = entry
        return cls(key, workload, tuple((kind, namespace, name) for kind, namespace, name in makers), *rest)


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
        return any(_seconds_on_device(result, *device) < seconds for result in results for device in self.devices)


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


def _seconds_on_device(result: Object, driver: str, pool: str, device: str, taint: str, value: str) -> float:
    """Return how long a pod may keep an allocated device with a taint that evicts, once the device has it.

    A toleration that names no effect lets the scheduler allocate the device, but does not keep the pod from eviction:
    https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/controller/devicetainteviction/device_taint_eviction.go
    """
    found = (result["driver"], result["pool"], result["device"])
    if any(wanted not in ("", name) for wanted, name in zip((driver, pool, device), found, strict=True)):
        return math.inf
    tolerated = [
        toleration.get("tolerationSeconds")
        for toleration in result.get("tolerations") or []
        if toleration.get("effect") == "NoExecute"
        and toleration.get("key") in (None, "", taint)
        and (toleration.get("operator") == "Exists" or toleration.get("value", "") == value)
    ]
    return math.inf if None in tolerated else min(tolerated, default=0)


FIT = Unfit()


class Standing(NamedTuple):
    """How it stands: its pods; claims that are allocated and those that are not; whether anything is still to come.

    Settled it is when every pod runs (of a job: has run, and given back its claims) or was refused by the scheduler,
    and when what makes them is there, has seen its newest version, and has made as many as it wants, none of them of
    an older version.
    """

    pods: int
    allocated: int
    pending: int
    settled: bool

    def meets(self, expected: Expected) -> bool:
        """Tell whether all that was expected holds, and will."""
        allocated = expected.allocated in (None, self.allocated)
        return self.settled and allocated and self.pending == expected.pending


def kinds(makers: Iterable[Maker]) -> list[str]:
    """Return the kinds of objects of which `Live` has to know to tell how the `makers` stand."""
    found = {kind for kind, _, _ in makers}
    return ["Pod", "ResourceClaim", *sorted((found | ({"Job"} if "CronJob" in found else set())) - {"Pod"})]


class Live:
    """Live objects, and which of the pods were made by what."""

    def __init__(self, objects: Sequence[Object]) -> None:
        """Sort the `objects`, among them all of the `kinds` that matter."""
        self.claims = {key(entry): entry for entry in objects if entry["kind"] == "ResourceClaim"}
        self.by_name: dict[Maker, Object] = {(entry["kind"], *key(entry)): entry for entry in objects}
        self._pods: dict[Maker, list[Object]] = {}
        for pod in objects:
            if pod["kind"] == "Pod" and _stays(pod):
                for maker in self._makers(pod):
                    self._pods.setdefault(maker, []).append(pod)

    def pods_of(self, makers: Iterable[Maker]) -> list[Object]:
        """Return the pods that were made by one of these, however indirectly; without those that are on their way out.

        This alone is what decides whose a pod is.
        """
        found = {key(pod): pod for maker in makers for pod in self._pods.get(maker, [])}
        return list(found.values())

    def _makers(self, entry: Object) -> Iterator[Maker]:
        """Yield an object, what made it, and what made that, as far as that is there."""
        namespace, name = key(entry)
        yield entry["kind"], namespace, name
        for owner in _owners(entry):
            maker = (owner["kind"], namespace, owner["name"])
            yield from self._makers(self.by_name[maker]) if maker in self.by_name else [maker]
            if deployment := _deployment(entry, owner):
                yield "Deployment", namespace, deployment


def _deployment(pod: Object, owner: Object) -> str:
    """Return the Deployment of a pod, told from how that names its ReplicaSets, which so need not be read.

    https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/controller/deployment/sync.go, getNewReplicaSet
    """
    suffix = f"-{pod['metadata'].get('labels', {}).get('pod-template-hash', '')}"
    name = str(owner["name"])
    return name.removesuffix(suffix) if owner["kind"] == "ReplicaSet" and name.endswith(suffix) else ""


def _stays(pod: Object) -> bool:
    return "deletionTimestamp" not in pod["metadata"] and pod["status"].get("phase") != "Failed"


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


def standing(expected: Expected, live: Live, unfit: Unfit = FIT) -> Standing:
    """Return how a workload stands."""
    pods = live.pods_of(expected.makers)
    allocated = pending = 0
    settled = all(_has_settled(maker, live) for maker in expected.makers)
    for pod in pods:
        names = claim_names(pod).values()
        used = [live.claims.get((key(pod)[0], name), {}) for name in names]
        given = [
            is_done(pod) or is_allocated(claim) or has_without_claim(pod, name)
            for name, claim in zip(names, used, strict=True)
        ]
        allocated += sum(given)
        pending += len(given) - sum(given)
        there = _has_arrived(pod, used) or (is_refused(pod) and not all(given))
        settled = settled and there and not unfit.holds(pod, used, expected.seconds)
    return Standing(len(pods), allocated, pending, settled)


def is_making(expected: Expected, live: Live) -> bool:
    """Tell from `CONTROLLERS` alone that pods are still to come that are to run or, of a job, to have run."""
    return not expected.pending and any(_is_making(live.by_name.get(maker)) for maker in expected.makers)


def _is_making(controller: Object | None) -> bool:
    match controller:
        case {"kind": "Deployment", "spec": spec, "status": status}:
            return int(status.get("readyReplicas", 0)) < int(spec["replicas"])
        case {"kind": "Job", "spec": spec, "status": status}:
            return int(status.get("succeeded", 0)) < int(spec.get("completions", 0))
    return False


def unmet(expected: Expected, found: Standing, live: Live) -> Iterator[str]:
    """Say, in one line or two, how a workload stands that is not as expected when its time is up."""
    pods = found.pods if expected.pods is None else expected.pods
    if expected.pending:
        claims = found.allocated + found.pending
        wanted = "all" if expected.allocated is None else expected.allocated
        yield (
            f"workload {expected.workload}: {found.allocated} of {claims} claims are allocated and {found.pending} "
            f"pending after {expected.seconds} s, but it expects {wanted} allocated and {expected.pending} pending "
            f"(kwok-dra:{expected.key} expect, readyTimeoutSeconds)"
        )
    else:
        running = sum(pod["status"].get("phase") in READY_PHASES for pod in live.pods_of(expected.makers))
        yield (
            f"workload {expected.workload}: {running} of {pods} pods run after {expected.seconds} s "
            f"(kwok-dra:{expected.key} readyTimeoutSeconds)"
        )
    if found.pods > pods or found._replace(settled=True).meets(expected):
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


def _has_arrived(pod: Object, claims: Iterable[Object]) -> bool:
    """Tell whether the pod runs; one of a job has to have run to its end, and given back its claims."""
    if not any(owner["kind"] == "Job" for owner in _owners(pod)):
        return pod["status"].get("phase") in READY_PHASES
    return is_done(pod) and not any(_is_reserved_for(claim, pod) for claim in claims)


def _owners(entry: Object) -> Sequence[Object]:
    owners: Sequence[Object] = entry["metadata"].get("ownerReferences") or []
    return owners


def _is_reserved_for(claim: Object, pod: Object) -> bool:
    return any(consumer["name"] == pod["metadata"]["name"] for consumer in _consumers(claim))


def _consumers(claim: Object) -> Sequence[Object]:
    consumers: Sequence[Object] = claim.get("status", {}).get("reservedFor") or []
    return consumers


def _has_settled(maker: Maker, live: Live) -> bool:
    """Tell whether what makes pods is there, and all that it is to make, but for what comes when that is done."""
    controller = live.by_name.get(maker)
    if controller is None:
        return False
    pods = live.pods_of([maker])
    match controller["kind"]:
        case "Pod":
            return bool(pods)
        case "CronJob":
            return True
        case "Job":
            uid = controller["metadata"]["uid"]
            ours = all(uid in {owner["uid"] for owner in _owners(pod)} for pod in pods)
            return ours and len(pods) == _wanted_by_job(controller["spec"], pods)
    seen = controller["status"].get("observedGeneration") == controller["metadata"]["generation"]
    return seen and _updated(controller, pods) == len(pods) == _wanted(controller, pods)


def _updated(controller: Object, pods: Sequence[Object]) -> int:
    """Return how many pods are of the newest version; all, where older ones are to stay."""
    strategy = controller["spec"].get("updateStrategy") or {}
    stay = strategy.get("type") == "OnDelete" or (strategy.get("rollingUpdate") or {}).get("partition")
    counts = {"DaemonSet": "updatedNumberScheduled", "Deployment": "updatedReplicas", "StatefulSet": "updatedReplicas"}
    name = counts.get(controller["kind"])
    return len(pods) if stay or name is None else int(controller["status"].get(name, 0))


def _wanted(controller: Object, pods: Sequence[Object]) -> int:
    if controller["kind"] == "DaemonSet":
        return int(controller["status"].get("desiredNumberScheduled", 0))
    replicas = int(controller["spec"]["replicas"])
    if controller["kind"] == "StatefulSet" and controller["spec"].get("podManagementPolicy") != "Parallel":
        # The next one is made when those before it run.
        return min(replicas, 1 + sum(pod["status"].get("phase") in READY_PHASES for pod in pods))
    return replicas


def _wanted_by_job(spec: Mapping[str, Any], pods: Sequence[Object]) -> int:
    """Return how many pods a job has or had, those that wait for places among them."""
    if spec.get("suspend"):
        return 0
    at_once = int(spec.get("parallelism", 1))
    return min(int(spec.get("completions", at_once)), at_once + sum(map(is_done, pods)))
