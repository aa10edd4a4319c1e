"""Recognizes when to give up a wait: nothing has changed for a while, and nothing is under way that could."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from cluster.api import snapshot
from cluster.api.api_server import MERGE, NOT_FOUND, ApiServer
from topology.kubernetes.objects import LISTS, Object, key
from topology.status.evictions import Unfit
from topology.status.live_objects import LiveObjects, allocated_devices, is_refused, of_kind
from topology.status.pending_changes import may_change, nodes_may_change
from topology.status.workload_progress import Expected

BACKOFF_SECONDS = 10
"""The longest time for which the scheduler puts off a pod that an event has woken: podMaxBackoffSeconds.
https://kubernetes.io/docs/reference/config-api/kube-scheduler-config.v1/
"""

AUTOSCALER_SECONDS = 15
"""The time between two turns of a HorizontalPodAutoscaler: horizontalPodAutoscalerSyncPeriod.
https://kubernetes.io/docs/reference/config-api/kube-controller-manager-config.v1alpha1/
"""

AUTOSCALERS = "HorizontalPodAutoscaler=/apis/autoscaling/v2/horizontalpodautoscalers"

SLACK_SECONDS = 3
"""For the scheduler, which takes up pods every second, and for what comes of that to be read."""

QUIET_SECONDS = 15
"""The least time without a change after which a wait is given up."""

INTERVAL_SECONDS = 5
"""The time between two reads counts for at most this much."""

WAKING = "kwok-dra/wakes-the-scheduler"
"""An annotation that a DeviceClass has for a moment."""


class Standstill:
    """Recognizes that nothing can change any more in a cluster that only its own components change.

    An expectation that holds is not cut short. `may_change` and `nodes_may_change` see in the objects what is under
    way: pods that are created, bound, completed, evicted or deleted, claims that are attached or released, and nodes
    that become ready. Otherwise, only a timer can start a change:

    - The scheduler tries a pod that an event has woken at most `BACKOFF_SECONDS` after its last attempt; a pod group of
      n pods, the square root of n times as long after it (calculateBackoffDuration in backend/queue/backoff_queue.go).
    - Every 5 minutes, the scheduler tries pods that no event has woken. They run then only if it has missed an event,
      or has refused them in vain: while it writes a claim to a shared device, it counts what that claim consumes twice.
      If devices are shared, it is woken once and has the same time again (GatherAllocatedState in
      https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/scheduler/framework/plugins/dynamicresources/dra_manager.go).
    - A controller repeats a request that has failed after milliseconds, later after seconds.
    - A HorizontalPodAutoscaler acts every `AUTOSCALER_SECONDS`. Without a metrics server, it only enforces its limits:
      that long after it was created if the workload did not exist then, and always before Kubernetes 1.37.

    A scheduler that is slow is not taken for one that has decided. It has refused all pods that wait, so it has tried
    each of them. The time from the creation of a pod to its refusal shows how long the scheduler needs for so many pods
    on such a machine; it has twice that time. If the whole machine stops later, so do the reads, and only
    `INTERVAL_SECONDS` of that time count. What remains is a scheduler that stops for so long while the API server
    answers.
    """

    def __init__(self, comes: bool = True) -> None:
        """Begin to watch. Unless it `comes`, as others change the cluster too, the scheduler is woken all the same."""
        self.seconds = 0
        """How long nothing had changed when the standstill came; 0 before."""
        self._comes = comes
        self._quiet = self._looked = 0.0
        self._state: object = None
        self._woken_in: object = None

    def has_come(
        self, api: ApiServer, entries: Sequence[Expected], live: LiveObjects, unfit: Unfit, now: float
    ) -> bool:
        """Tell whether the `live` objects, read at the time `now`, can no longer change.

        Raises:
            UnreachableError: the cluster does not answer.
            RefusedError: the API server refuses to list the nodes or the autoscalers.
        """
        if not self._comes and not _shares_devices(live):
            return False
        state = None if may_change(entries, live, unfit) else _state(api, live)
        stays = state is not None and state == self._state
        self._quiet = self._quiet + min(now - self._looked, INTERVAL_SECONDS) if stays else 0.0
        self._state, self._looked = state, now
        refused = [pod for pod in live.pods if is_refused(pod)]
        needed = _seconds_needed(refused)
        if self._quiet >= needed and _has_autoscalers(api):
            needed = _seconds_needed(refused, AUTOSCALER_SECONDS)
        if self._quiet >= needed and self._woken_in != state and refused and _shares_devices(live):
            wake_scheduler(api)
            self._woken_in, self._quiet = state, 0.0
        self.seconds = int(needed) if self._comes and self._quiet >= needed else 0
        return self.seconds > 0


def _shares_devices(live: LiveObjects) -> bool:
    return any(device.get("shareID") for claim in live.claims.values() for device in allocated_devices(claim))


def wake_scheduler(api: ApiServer) -> None:
    """Make the scheduler try the pods again that it has refused: it does when a DeviceClass changes.

    The DeviceClass is as before in the end.

    Raises:
        UnreachableError: the cluster does not answer.
        RefusedError: the API server refuses the change.
    """
    for entry in snapshot.must_read(api, ["DeviceClass"])[:1]:
        path = f"{LISTS['DeviceClass']}/{entry['metadata']['name']}"
        for value in ("true", None):
            api.send("PATCH", path, {"metadata": {"annotations": {WAKING: value}}}, MERGE).checked(NOT_FOUND)


def _state(api: ApiServer, live: LiveObjects) -> object:
    """Return what changes with anything in the cluster; None while its nodes are to change.

    A node has a new version whenever its status is reported.
    """
    nodes = snapshot.must_read(api, ["Node"])
    if nodes_may_change(nodes, live.pods):
        return None
    versions = {(entry["metadata"]["uid"], entry["metadata"]["resourceVersion"]) for entry in live.by_name.values()}
    return versions, [(node["metadata"]["uid"], node["spec"]) for node in nodes]


def _has_autoscalers(api: ApiServer) -> bool:
    return bool(of_kind(snapshot.must_read(api, [AUTOSCALERS]), "HorizontalPodAutoscaler"))


def _seconds_needed(refused: Sequence[Object], timer: float = 0) -> float:
    backoff = BACKOFF_SECONDS * math.sqrt(max(_sizes_of_groups(refused), default=1))
    looking = max((seconds for pod in refused for seconds in _seconds_until_refused(pod)), default=0)
    return max(QUIET_SECONDS, max(timer, backoff) + max(SLACK_SECONDS, 2 * looking))


def _sizes_of_groups(pods: Iterable[Object]) -> Iterable[int]:
    groups = [(key(pod)[0], group.get("podGroupName")) for pod in pods if (group := pod["spec"].get("schedulingGroup"))]
    return Counter(groups).values()


def _seconds_until_refused(pod: Object) -> Iterator[float]:
    """Yield how long after its creation the scheduler first refused a pod: later refusals are not transitions."""
    for condition in pod["status"]["conditions"]:
        if condition["type"] == "PodScheduled" and condition.get("lastTransitionTime"):
            created = datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
            yield (datetime.fromisoformat(condition["lastTransitionTime"]) - created).total_seconds()
