"""How far a workload has progressed: its pods and their claims, compared with what it expects."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from topology.kubernetes.naming import natural_key
from topology.kubernetes.objects import LISTS, Maker, Object, key
from topology.status.evictions import FIT, Unfit
from topology.status.live_objects import (
    LiveObjects,
    claim_names,
    has_succeeded,
    is_allocated,
    is_of_job,
    is_refused,
    is_reserved_for_pod,
    needs_no_claim,
    owners,
)

READY_PHASES = ("Running", "Succeeded")

CONTROLLERS = frozenset({"Deployment", "Job"})
"""The kinds whose status counts the pods that are ready or have succeeded."""

REASONS_TOLD_MAX = 5
"""At most this many reasons are listed for a workload, and at most this many pods for each reason."""

PODS_AWAITED_MAX = 3
"""At most this many of the pods that are waited for are named."""


class Expected(NamedTuple):
    """What a workload must reach within `seconds`: how many claims are allocated and pending, how many pods run.

    Without `allocated`, all claims that are not pending; without `pods`, as many pods as the `makers` create; without
    `running`, all pods whose claims are allocated. `key` is where the workload is configured. If it `gives_way`, it may
    also have all it can have: others that come later will preempt its pods.
    """

    key: str
    workload: str
    makers: Sequence[Maker]
    allocated: int | None
    pending: int
    seconds: int
    pods: int | None = None
    running: int | None = None
    gives_way: bool = False

    @property
    def wanted(self) -> int | str:
        """How many claims are to be allocated, in words."""
        return "all" if self.allocated is None else self.allocated

    @property
    def lets_pods_wait(self) -> bool:
        """Whether some pods may wait for a node."""
        return bool(self.pending) or self.running is not None

    @classmethod
    def from_json(cls, entry: Sequence[Any]) -> "Expected":
        """Read what `json.dumps` writes of one."""
        key, workload, makers, *rest = entry
        return cls(key, workload, tuple((kind, namespace, name) for kind, namespace, name in makers), *rest)


class Progress(NamedTuple):
    """How many pods a workload has and how many run, how their claims stand, and whether the workload is settled.

    It is settled when every pod runs (a job's pod: has succeeded and released its claims) or was refused by the
    scheduler, and when each controller has observed its newest generation and created all of its pods from it.
    """

    pods: int
    allocated: int
    pending: int
    settled: bool
    running: int

    def meets(self, expected: Expected) -> bool:
        """Tell whether the workload has reached what is expected, and will stay there."""
        all_run = not self.pending and self.running == self.pods
        as_expected = self.has_claims(expected) and expected.running in (None, self.running)
        return self.settled and (as_expected or (expected.gives_way and all_run))

    def has_claims(self, expected: Expected) -> bool:
        """Tell whether as many claims as expected are allocated and pending."""
        return expected.allocated in (None, self.allocated) and self.pending == expected.pending


def progress(expected: Expected, live: LiveObjects, unfit: Unfit = FIT) -> Progress:
    """Return how far a workload has progressed; while pods will be evicted from what is `unfit`, it is not settled."""
    pods = live.pods_of(expected.makers)
    allocated = pending = 0
    settled = all(has_settled(maker, live) for maker in expected.makers)
    for pod in pods:
        used = claims_of(pod, live)
        satisfied = [
            has_succeeded(pod) or is_allocated(claim) or needs_no_claim(pod, name)
            for name, claim in zip(claim_names(pod).values(), used, strict=True)
        ]
        allocated += sum(satisfied)
        pending += len(satisfied) - sum(satisfied)
        may_wait = expected.running is not None or not all(satisfied)
        waits = is_refused(pod) and not pod["status"].get("nominatedNodeName")  # Else it preempts other pods.
        has_arrived = _has_arrived(pod, used) or (waits and may_wait)
        settled = settled and has_arrived and not unfit.evicts(pod, used, expected.seconds)
    return Progress(len(pods), allocated, pending, settled, _running(pods))


def claims_of(pod: Object, live: LiveObjects) -> list[Object]:
    """Return the claims that a pod uses; an empty object for each that does not exist."""
    return [live.claims.get((key(pod)[0], name), {}) for name in claim_names(pod).values()]


def _running(pods: Iterable[Object]) -> int:
    return sum(pod["status"].get("phase") in READY_PHASES for pod in pods)


def _has_arrived(pod: Object, claims: Iterable[Object]) -> bool:
    """Tell whether the pod runs; one of a job must have succeeded and released its claims."""
    if not is_of_job(pod):
        return pod["status"].get("phase") in READY_PHASES
    return has_succeeded(pod) and not any(is_reserved_for_pod(claim, pod) for claim in claims)


def is_creating(expected: Expected, live: LiveObjects) -> bool:
    """Tell from `CONTROLLERS` alone that pods are missing that must run or, of a job, have succeeded."""
    return not expected.lets_pods_wait and any(_is_creating(live.by_name.get(maker)) for maker in expected.makers)


def _is_creating(controller: Object | None) -> bool:
    match controller:
        case {"kind": "Deployment", "spec": spec, "status": status}:
            return int(status.get("readyReplicas", 0)) < int(spec["replicas"])
        case {"kind": "Job", "spec": spec, "status": status}:
            return int(status.get("succeeded", 0)) < int(spec.get("completions", 0))
    return False


def has_settled(maker: Maker, live: LiveObjects) -> bool:
    """Tell whether a controller exists and has created all of its pods, except those that follow on completed ones."""
    controller, pods = live.by_name.get(maker), live.pods_of([maker])
    if maker[0] not in LISTS:
        return bool(pods)  # How many its controller is to create is not known.
    if controller is None:
        return False
    match controller["kind"]:
        case "Pod":
            return bool(pods)
        case "CronJob":
            return True
        case "Job":
            uid = controller["metadata"]["uid"]
            ours = all(uid in {owner["uid"] for owner in owners(pod)} for pod in pods)
            made = [pod for pod in pods if "uid" in pod["metadata"]]
            held = all(is_refused(pod) for pod in pods if pod not in made)
            return ours and held and len(made) == _wanted_by_job(controller["spec"], made)
    return has_observed(controller) and _updated(controller, pods) == len(pods) == _wanted(controller, pods)


def has_observed(controller: Object) -> bool:
    """Tell whether a controller has observed its newest generation."""
    return bool(controller["status"].get("observedGeneration") == controller["metadata"]["generation"])


def _updated(controller: Object, pods: Sequence[Object]) -> int:
    """Return how many pods are of the newest revision; all pods, where older ones may stay."""
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
        # It creates the next pod when those before it run.
        return min(replicas, 1 + _running(pods))
    return replicas


def _wanted_by_job(spec: Mapping[str, Any], pods: Sequence[Object]) -> int:
    """Return how many pods a job has by now, completed and pending ones included."""
    if spec.get("suspend"):
        return 0
    parallelism = int(spec.get("parallelism", 1))
    return min(int(spec.get("completions", parallelism)), parallelism + sum(map(has_succeeded, pods)))


def lost(expected: Expected, live: LiveObjects) -> list[str]:
    """Return the bare pods of a workload that are gone, terminating or failed, so that it can no longer be as expected.

    No controller creates such pods again.
    """
    return [maker[2] for maker in expected.makers if maker[0] == "Pod" and not live.pods_of([maker])]


def _missing(expected: Expected, live: LiveObjects) -> list[str]:
    """Return the pods that do not run (of a job: have not completed), except those that are expected to wait."""
    return [
        pod["metadata"]["name"]
        for pod in live.pods_of(expected.makers)
        if not _has_arrived(pod, claims_of(pod, live)) and not (expected.lets_pods_wait and is_refused(pod))
    ]


def _has_other_claims(expected: Expected, found: Progress) -> bool:
    """Tell whether the claims are not as expected, and pods that do not run yet do not explain it."""
    too_many = expected.allocated is not None and found.allocated > expected.allocated
    # Somebody who allocates no devices has placed the pods.
    run_without = found.pending > 0 and found.running == found.pods
    return bool(expected.pending or too_many or run_without) and not found.has_claims(expected)


def awaited(expected: Expected, found: Progress, live: LiveObjects) -> str:
    """Say what a workload still lacks: which of its pods, or how its counts differ from what is expected."""
    name = expected.workload
    if _has_other_claims(expected, found):
        counts = f"{found.allocated} claims are allocated and {found.pending} pending"
        return f"{name} ({counts}, expected: {expected.wanted} and {expected.pending})"
    if expected.running not in (None, found.running):
        return f"{name} ({found.running} pods run, expected: {expected.running})"
    missing = _missing(expected, live)
    total = max(expected.pods or 0, found.pods)
    count = total - found.pods + len(missing)
    names = ", ".join(sorted(missing, key=natural_key)[:PODS_AWAITED_MAX])
    return f"{count} of {total} pods of {name}{names and f': {names}'}" if count else f"the rollout of {name}"


def unmet(expected: Expected, found: Progress, live: LiveObjects, quiet: int = 0) -> Iterator[str]:
    """Say, in one line or two, how a workload differs from what is expected.

    Its time is up; or it has lost pods, which is not waited for; or nothing has changed for `quiet` seconds.
    """
    gone = lost(expected, live)
    pods = found.pods + len(gone) if expected.pods is None else expected.pods
    after = "" if gone or quiet else f" after {expected.seconds} s"
    still = f"; nothing has changed for {quiet} s, and nothing is under way that could change it"
    why = still if quiet and not gone else ""
    if _has_other_claims(expected, found) or (expected.pending and expected.running is None):
        claims = found.allocated + found.pending
        yield (
            f"workload {expected.workload}: {found.allocated} of {claims} claims are allocated and {found.pending} "
            f"pending{after}, but it expects {expected.wanted} allocated and {expected.pending} pending{why} "
            f"(kwok-dra:{expected.key} expect, readyTimeoutSeconds)"
        )
    else:
        expects = "" if expected.running is None else f", but it expects {expected.running}"
        run = "run or have ended" if any(map(has_succeeded, live.pods_of(expected.makers))) else "run"
        yield (
            f"workload {expected.workload}: {found.running} of {pods} pods {run}{after}{expects}{why} "
            f"(kwok-dra:{expected.key} {'expect, ' if expects else ''}readyTimeoutSeconds)"
        )
    if gone:
        yield f"  {_listed(gone)}: gone or failed, and no controller creates such pods again"
    elif found.pods > pods or (found._replace(settled=True).meets(expected) and not _missing(expected, live)):
        yield "  but the rollout is unfinished: older pods remain, or some will be evicted from their node or device"


def reasons(waiting: Iterable[tuple[str, str]]) -> list[str]:
    """Return a line for each reason why pods wait, given the name and the reason of each pod."""
    pods: dict[str, list[str]] = {}
    for pod, reason in waiting:
        pods.setdefault(reason, []).append(pod)
    return [f"  {_listed(list(dict.fromkeys(names)))}: {reason}" for reason, names in pods.items()][:REASONS_TOLD_MAX]


def _listed(pods: Sequence[str]) -> str:
    more = len(pods) - REASONS_TOLD_MAX
    names = ", ".join(pods[:REASONS_TOLD_MAX])
    return f"pod{'s' if len(pods) > 1 else ''} {names}{f' and {more} more' if more > 0 else ''}"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 node`, `2 nodes`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
