"""Reports the state of a stack's claims and pools, from the live objects of its cluster."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from topology.kubernetes.naming import natural_key
from topology.kubernetes.objects import LISTS, Object, given, key
from topology.objects import kueue
from topology.objects.device_taints import FIRST_KUBERNETES_WITH_RULES_FOR_NONE, rule_version
from topology.objects.isolation import mark
from topology.schema.faults import DeviceTaintRule
from topology.schema.features_used import features_used
from topology.schema.stack import NodePool, Pool, Topology
from topology.status import live_objects, preemptions
from topology.status.evictions import Unfit
from topology.status.expectations import expectation, unfit
from topology.status.leftovers import leftovers
from topology.status.live_objects import LiveObjects, claim_names, of_kind, scheduler_of
from topology.status.occupancy import Occupancy, PoolName, holdings, occupancy
from topology.status.queues import admitted_by
from topology.status.shortage import Shortage
from topology.status.workload_progress import Expected, counted, progress, reasons, unmet

CLAIMS_LISTED_MAX = 100
"""With more claims than this, `claims` has counts, and lists at most this many, of the unsatisfied ones."""

LEFT_LISTED_MAX = 10
"""At most this many shared devices of a driver in a pool are listed with the capacity that is left."""

OTHER_KINDS = ("DeviceClass", "Node", "ResourceSlice")
"""The kinds that `report` needs besides workloads, pods and claims."""


def kinds(topology: Topology) -> list[str]:
    """Return the kinds that `snapshot.read` must read for the report of a stack; not every cluster has taint rules."""
    makers = (maker for applied in topology.applied for maker in applied.makers())
    found = live_objects.kinds(makers, kueue.is_used(topology))
    found += [_nodes(topology) if kind == "Node" else kind for kind in OTHER_KINDS]
    found += preemptions.kinds(topology)
    if "device taint rules" in features_used(topology):
        found.append(f"DeviceTaintRule=/apis/{rule_version(topology.cluster.minor)}/devicetaintrules")
    return found


def _nodes(topology: Topology) -> str:
    """Return the kind of nodes; in an existing cluster, only the stack's own."""
    labels = [f"{key}={value}" for key, value in mark(topology).items()]
    return f"Node={LISTS['Node']}?{urlencode({'labelSelector': ','.join(labels)})}" if labels else "Node"


class Report(NamedTuple):
    """The stack's outputs: sorted and without times or UIDs, so that they change only when the facts do."""

    claims: list[dict[str, Any]] | dict[str, Any]
    pools: list[dict[str, Any]]
    leftovers: list[dict[str, Any]]
    """Claims that no pod uses: a `duplicate`, where the pod uses another one, or one whose pod is gone."""
    summary: str
    unexpected: list[str]
    """How each workload differs from what it expects; empty when none does."""
    drift: list[dict[str, str]] = []
    """Objects that somebody has deleted or edited."""
    preempted: list[dict[str, Any]] = []
    """Pods that the scheduler has preempted, and for whom."""


UNREACHABLE = Report([], [], [], "the cluster cannot be reached; an update restarts what has stopped", [])


class Details(NamedTuple):
    """What a report is made of."""

    claims: list[dict[str, Any]]
    """Every claim."""
    pools: Mapping[PoolName, Occupancy]
    """The occupancy of every pool of resource.k8s.io."""
    live: LiveObjects
    shortage: Shortage
    topology: Topology
    preempted: list[dict[str, Any]]


def details(topology: Topology, objects: Sequence[Object]) -> Details:
    """Return the state of each of the stack's claims, from the live `objects` of all `kinds`.

    Claims are found through their pods: the controller may create a claim twice, and only the pod names the one in use.
    """
    live = LiveObjects(objects, kueue.is_used(topology))
    lost = {name for name, node in live.nodes.items() if live_objects.is_not_ready(node)}
    rules = list(_taint_rules(topology, objects))
    held = holdings(live)
    pools = occupancy(of_kind(objects, "ResourceSlice"), held, rules, lost)
    shortage = Shortage(objects, live, pools, holdings(live, orphaned=True))
    claims = [
        entry
        for applied in topology.applied
        for pod in live.pods_of(applied.makers())
        for entry in _claims_of(
            applied.name, pod, live, pools, shortage if topology.filters_as_stock(scheduler_of(pod)) else None
        )
    ]
    claims.sort(key=lambda entry: [natural_key(entry[name]) for name in ("workload", "pod", "name")])
    return Details(claims, pools, live, shortage, topology, preemptions.preemptions(topology, objects, live))


def _taint_rules(topology: Topology, objects: Iterable[Object]) -> Iterator[DeviceTaintRule]:
    for entry in of_kind(objects, "DeviceTaintRule"):
        if "deviceSelector" not in entry["spec"] and topology.cluster.release >= FIRST_KUBERNETES_WITH_RULES_FOR_NONE:
            continue
        taint = {name: value for name, value in entry["spec"]["taint"].items() if name != "timeAdded"}
        selector = entry["spec"].get("deviceSelector") or {}
        if selector.keys() - {"driver", "pool", "device"}:
            continue  # Kubernetes 1.34 also selects by class and CEL.
        values = {"name": entry["metadata"]["name"], "taint": taint} | selector
        yield DeviceTaintRule.model_validate(values)


def report(topology: Topology, objects: Sequence[Object], quiet: int = 0) -> Report:
    """Return the report of a stack, from the live `objects` of all `kinds`.

    `quiet` is the number of seconds without a change after which the wait for the workloads was given up.
    """
    return report_of(topology, details(topology, objects), quiet)


def report_of(topology: Topology, found: Details, quiet: int = 0) -> Report:
    """Return the report of a stack, from its details."""
    claims, pools, live, *_ = found
    listed = [
        _pool(pool, live, pools) for pool in sorted(topology.pools.values(), key=lambda pool: natural_key(pool.name))
    ]
    evicting = unfit(topology)
    return Report(
        _listed(claims),
        listed,
        [_leftover(claim, live) for claim in leftovers(topology, live)],
        _summary(claims, live.pods_of(maker for applied in topology.applied for maker in applied.makers()), listed)
        + (f", {counted(len(found.preempted), 'pod')} preempted" if found.preempted else ""),
        [line for applied in topology.applied for line in _unexpected(expectation(applied), found, evicting, quiet)],
        preempted=found.preempted,
    )


def _claims_of(
    workload: str, pod: Object, live: LiveObjects, pools: Mapping[PoolName, Occupancy], shortage: Shortage | None
) -> Iterator[dict[str, Any]]:
    namespace, pod_name = key(pod)
    node = pod["spec"].get("nodeName", "")
    waits = live_objects.is_refused(pod) and not node
    reason = _reason(pod, shortage.of(pod) if waits and shortage else [])
    if waits and (queue := admitted_by(pod)):
        reason = f"admitted by queue {queue}, but {reason}"
    for name in claim_names(pod).values():
        if live_objects.needs_no_claim(pod, name):
            continue
        claim = live.claims.get((namespace, name), {})
        released = live_objects.has_succeeded(pod) and not live_objects.is_reserved_for_group(claim)
        devices = [] if released else _devices(claim)
        entry = {
            # The controller deletes the claims of a completed pod, and may create, name and delete one once more.
            "name": "" if released and not live_objects.is_shared(pod, name) else name,
            "namespace": namespace,
            "workload": workload,
            "pod": pod_name,
            "podPhase": pod["status"].get("phase", "Unknown"),
            "node": node,
            "state": "released" if released else _state(claim),
            "devices": [device | _health(device, pools) for device in devices],
        }
        if not released and (waits or not devices):
            entry["reason"] = reason
        if node in live.nodes and live_objects.is_not_ready(live.nodes[node]):
            entry["nodeNotReady"] = True
        yield entry


def _state(claim: Object) -> str:
    """Return the state as in kubectl's STATE column.

    https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/printers/internalversion/printers.go, resourceClaimState
    """
    states = ["deleted"] if claim.get("metadata", {}).get("deletionTimestamp") else []
    if not live_objects.is_allocated(claim):
        return ",".join(states) or "pending"
    states.append("allocated")
    if live_objects.consumers(claim):
        states.append("reserved")
    return ",".join(states)


def _devices(claim: Object) -> list[dict[str, Any]]:
    keys = ("request", "driver", "pool", "device")
    more = ("adminAccess", "shareID", "consumedCapacity")
    devices = [
        {name: result[name] for name in keys}
        | {name: result[name] for name in more if result.get(name)}
        | given(conditions=_conditions(claim, result))
        for result in live_objects.allocated_devices(claim)
    ]
    return sorted(devices, key=lambda device: [natural_key(str(device.get(name))) for name in (*keys, "shareID")])


def _conditions(claim: Object, result: Object) -> dict[str, str]:
    """Return the status of each condition that the claim has for an allocated device."""
    names = ("driver", "pool", "device", "shareID")
    return {
        condition["type"]: condition["status"]
        for device in claim["status"].get("devices") or []
        if all(device.get(name) == result.get(name) for name in names)
        for condition in sorted(device.get("conditions") or [], key=lambda condition: str(condition["type"]))
    }


def _health(device: Mapping[str, Any], pools: Mapping[PoolName, Occupancy]) -> dict[str, Any]:
    """Return what is wrong with an allocated device: its taints, or that its driver no longer publishes it."""
    pool = pools.get((device["driver"], device["pool"]))
    if pool is None or device["device"] not in pool.taints:
        return {"gone": True}
    taints = pool.taints[device["device"]]
    return {"taints": taints} if taints else {}


def _reason(pod: Object, shortages: Sequence[str]) -> str:
    """Return the scheduler's message about why the pod is pending, and which requests no node can satisfy.

    Any other message, an error of the scheduler or one about a pod group, stands alone.
    """
    refusal = live_objects.refusal(pod)
    is_about_nodes = re.match("[0-9]+/[0-9]+ nodes are available", refusal)
    return "; ".join([refusal.removesuffix("."), *shortages]) if shortages and is_about_nodes else refusal


def _leftover(claim: Object, live: LiveObjects) -> dict[str, str]:
    namespace, name = key(claim)
    why = "its pod is gone" if live.is_orphaned(claim) else "duplicate"
    return {"name": name, "namespace": namespace, "state": _state(claim), "why": why}


def _listed(claims: list[dict[str, Any]]) -> list[dict[str, Any]] | dict[str, Any]:
    if len(claims) <= CLAIMS_LISTED_MAX:
        return claims
    counts: dict[str, Counter[str]] = {}
    for claim in claims:
        counts.setdefault(claim["workload"], Counter())[claim["state"]] += 1
    return {
        "counts": {workload: dict(sorted(states.items())) for workload, states in sorted(counts.items())},
        "unsatisfied": [claim for claim in claims if "reason" in claim][:CLAIMS_LISTED_MAX],
    }


def _pool(pool: Pool, live: LiveObjects, pools: Mapping[PoolName, Occupancy]) -> dict[str, Any]:
    """Return the counts of a pool, and of each of its drivers if it has several.

    The nodes of a fabric pool are those that can use its devices.
    """
    is_fabric = not isinstance(pool, NodePool)
    names = [name for name in pool.pool_names() if is_fabric or name in live.nodes]
    by_driver = {
        driver: {name: pools[driver, name] for name in names if (driver, name) in pools}
        for driver in sorted(pool.drivers)
    }
    occupied = [found for of_driver in by_driver.values() for found in of_driver.values()]
    nodes = [name for name in live.nodes if _can_use(name, occupied, live)] if is_fabric else names
    drivers = {driver: _counts(found.values()) | _left(found) for driver, found in by_driver.items()}
    counts = drivers.popitem()[1] if len(drivers) == 1 else _counts(occupied) | given(drivers=drivers)
    not_ready = sum(live_objects.is_not_ready(live.nodes[node]) for node in nodes)
    fits = sum((Counter(found.fits) for found in occupied), Counter[str]())
    more = given(notReady=not_ready, fits=dict(sorted(fits.items())), fabric=is_fabric)
    return {"name": pool.name, "nodes": len(nodes)} | counts | more


def _can_use(node: str, occupied: Iterable[Occupancy], live: LiveObjects) -> bool:
    labels = live.nodes[node]["metadata"].get("labels") or {}
    return any(found.usable_on(node, labels) for found in occupied)


def _counts(occupied: Collection[Occupancy]) -> dict[str, Any]:
    return {
        "devices": sum(found.devices for found in occupied),
        "allocated": sum(found.allocated for found in occupied),
        "free": sum(found.free for found in occupied),
    } | given(tainted=sum(found.tainted for found in occupied))


def _left(occupied: Mapping[str, Occupancy]) -> dict[str, Any]:
    """Return what is left of shared devices that claims hold, given the pools of a driver by node."""
    left = [
        (f"{node}/{device}", dict(found.left[device]))
        for node, found in occupied.items()
        for device in sorted(found.left, key=natural_key)
    ]
    return given(left=dict(left[:LEFT_LISTED_MAX]), leftNotListed=len(left[LEFT_LISTED_MAX:]))


def _summary(claims: list[dict[str, Any]], pods: Sequence[Object], pools: list[dict[str, Any]]) -> str:
    """Count the claims, all `pods` of the stack (also those without claims), and the devices that claims hold."""
    released = sum(claim["state"] == "released" for claim in claims)
    allocated = sum("allocated" in claim["state"] for claim in claims) + released
    phases = Counter(pod["status"].get("phase") for pod in pods)
    running, ended = phases["Running"], phases["Succeeded"]
    in_use, devices = (sum(pool[name] for pool in pools) for name in ("allocated", "devices"))
    nodes = sum(pool["nodes"] for pool in pools if "fabric" not in pool)
    return (
        f"{allocated} of {len(claims)} claims allocated{_in_brackets(released=released)}, "
        f"{running} of {len(pods)} pods running{_in_brackets(ended=ended, waiting=len(pods) - running - ended)}, "
        f"{in_use} of {devices} devices in use on {counted(nodes, 'node')}"
    )


def _in_brackets(**numbers: int) -> str:
    told = ", ".join(f"{number} {what}" for what, number in numbers.items() if number)
    return f" ({told})" if told else ""


def _unexpected(expected: Expected, found: Details, evicting: Unfit, quiet: int) -> Iterator[str]:
    stands = progress(expected, found.live, evicting)
    if not stands.meets(expected):
        yield from unmet(expected, stands, found.live, quiet)
        yield from reasons(_pending(expected, found.live, found.claims))
        preempted = [entry for entry in found.preempted if entry["workload"] == expected.workload]
        yield from reasons((entry["pod"], f"preempted by {preemptions.named(entry['by'])}") for entry in preempted)


def _pending(expected: Expected, live: LiveObjects, claims: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield the name of each pending pod of a workload and why it is pending; pods without claims come last."""
    for claim in claims:
        if claim["workload"] == expected.workload and "reason" in claim:
            yield claim["pod"], claim["reason"]
    for pod in live.pods_of(expected.makers):
        if live_objects.is_refused(pod) and not claim_names(pod):
            yield pod["metadata"]["name"], live_objects.refusal(pod)
