"""What is under way in a cluster: pods, claims, controllers and nodes that are going to change by themselves."""

from collections.abc import Sequence, Set

from topology.kubernetes.objects import LISTS, NOT_READY, Maker, Object, key
from topology.status.evictions import NODE_NOT_READY, Unfit, stays_for_some_time
from topology.status.live_objects import (
    EXTENDED_RESOURCES,
    LiveObjects,
    allocated_devices,
    claim_names,
    consumers,
    has_ended,
    is_of_job,
    is_refused,
    of_kind,
    owners,
)
from topology.status.queues import held_by
from topology.status.workload_progress import Expected, claims_of, has_observed, has_settled

TAINTS_UNTIL_READY = {NODE_NOT_READY, "node.kubernetes.io/unreachable"}
"""The node lifecycle controller removes these taints when a node is ready."""


def may_change(entries: Sequence[Expected], live: LiveObjects, unfit: Unfit) -> bool:
    """Tell whether a pod or claim is to change, or a controller to create pods.

    `live` has all pods and claims of the cluster, and the controllers of the `entries`.
    """
    seconds = max(entry.seconds for entry in entries)
    served = {pod["metadata"]["uid"] for pod in live.pods if pod["spec"].get("nodeName") and not has_ended(pod)}
    return (
        any(_pod_may_change(pod, live) for pod in live.pods)
        or any(_claim_may_change(claim, live, served) for claim in live.claims.values())
        or any(_may_create(maker, live) for entry in entries for maker in entry.makers)
        or any(unfit.evicts(pod, claims_of(pod, live), seconds) for pod in live.pods if not has_ended(pod))
    )


def nodes_may_change(nodes: Sequence[Object], pods: Sequence[Object]) -> bool:
    """Tell whether a node is to become ready or, because of a fault, NotReady; or whether its taints evict a pod."""
    by_name = {node["metadata"]["name"]: node for node in nodes}
    staying = [(pod, by_name[pod["spec"]["nodeName"]]) for pod in pods if pod["spec"].get("nodeName") in by_name]
    return any(map(_node_may_change, nodes)) or any(stays_for_some_time(pod, node) for pod, node in staying)


def _node_may_change(node: Object) -> bool:
    is_ready = "Ready" in _true_conditions(node["status"])
    if NOT_READY.items() <= (node["metadata"].get("annotations") or {}).items():
        return is_ready
    return not is_ready or any(taint["key"] in TAINTS_UNTIL_READY for taint in node["spec"].get("taints") or [])


def _pod_may_change(pod: Object, live: LiveObjects) -> bool:
    """Tell whether a pod is being deleted, is about to run or to complete, or waits for more than the scheduler."""
    if "deletionTimestamp" in pod["metadata"]:
        return True
    if pod["status"].get("phase") == "Running":
        return is_of_job(pod)
    return not has_ended(pod) and not _has_been_refused(pod, live)


def _has_been_refused(pod: Object, live: LiveObjects) -> bool:
    """Tell whether the scheduler alone decides on the pod, has refused it, and preempts no other pods for it.

    Something else is to remove scheduling gates; Kueue, which refuses too, removes its own. The scheduler itself
    creates the claim for extended resources.
    """
    if held_by(pod):
        return is_refused(pod)
    if pod["spec"].get("schedulingGates") or pod["status"].get("nominatedNodeName"):
        return False
    namespace = key(pod)[0]
    names = [claim for name, claim in claim_names(pod).items() if name != EXTENDED_RESOURCES]
    return is_refused(pod) and all((namespace, name) in live.claims for name in names)


def _claim_may_change(claim: Object, live: LiveObjects, served: Set[str]) -> bool:
    """Tell whether a claim is being deleted, released or attached, or whether a pod that it is for is being bound."""
    return (
        "deletionTimestamp" in claim["metadata"]
        or live.is_orphaned(claim)
        or any(entry.get("resource") == "pods" and entry["uid"] not in served for entry in consumers(claim))
        or any(not _is_attached(device, claim) for device in allocated_devices(claim))
    )


def _is_attached(device: Object, claim: Object) -> bool:
    names = ("driver", "pool", "device", "shareID")
    true = [
        _true_conditions(entry)
        for entry in claim["status"].get("devices") or []
        if all(entry.get(name) == device.get(name) for name in names)
    ]
    return set().union(*true).issuperset(device.get("bindingConditions") or [])


def _true_conditions(status: Object) -> set[str]:
    return {entry["type"] for entry in status.get("conditions") or [] if entry["status"] == "True"}


def _may_create(maker: Maker, live: LiveObjects) -> bool:
    """Tell whether a controller is to create or replace pods; one that is gone, and a bare pod, do neither.

    What a controller of another kind is to do is not known.
    """
    controller = live.by_name.get(maker)
    if controller is None or maker[0] == "Pod" or maker[0] not in LISTS:
        return False
    if maker[0] == "Job" and "Failed" in _true_conditions(controller["status"]):
        return False  # It has failed for good.
    return maker[0] == "CronJob" or not (has_settled(maker, live) or _is_stuck(controller, live))


def _is_stuck(controller: Object, live: LiveObjects) -> bool:
    """Tell whether a rollout keeps older pods until newer ones run, and the scheduler has refused these.

    The ReplicaSets of a Deployment, or the StatefulSet itself, have all their pods, and it waits for no pod that is
    ready to become available (minReadySeconds).
    """
    uid, status = controller["metadata"]["uid"], controller["status"]
    sets = [controller] if controller["kind"] == "StatefulSet" else []
    sets += [
        entry
        for entry in of_kind(live.by_name.values(), "ReplicaSet")
        if any(owner["uid"] == uid for owner in owners(entry))
    ]
    pods = [live.pods_of([(entry["kind"], *key(entry))]) for entry in sets]
    return (
        all(map(has_observed, [controller, *sets]))
        and all(entry["spec"].get("replicas") == len(made) for entry, made in zip(sets, pods, strict=True))
        and status.get("readyReplicas") == status.get("availableReplicas")
        and any(is_refused(pod) for made in pods for pod in made)
    )
