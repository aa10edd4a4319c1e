"""The answer of a stack, made of live objects: which claim got which device, and what each pool has left."""

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from topology.kubernetes import objects
from topology.kubernetes.objects import Key, Maker, Object, given, key
from topology.objects.device_taints import FIRST_KUBERNETES_WITH_RULES_FOR_NONE, rule_version
from topology.objects.isolation import mark
from topology.schema.faults import DeviceTaintRule
from topology.schema.features_used import features_used
from topology.schema.manifests import Manifests
from topology.schema.stack import NodePool, Topology
from topology.schema.workloads import Workload
from topology.status import workload_progress
from topology.status.evictions import evicting_nodes
from topology.status.occupancy import Occupancy, PoolName, occupancy
from topology.status.shortage import Shortage
from topology.status.workload_progress import Expected, Live, Unfit

CLAIMS_LISTED_MAX = 100
"""Past this many claims, `claims` gives way to counts and lists only unsatisfied ones, at most this many."""

OTHER_KINDS = ("DeviceClass", "Node", "ResourceSlice")
"""What `report` reads besides workloads, pods and claims."""


def kinds(topology: Topology) -> list[str]:
    """Return what `snapshot.read` has to read of a stack for its report: not every cluster has taint rules."""
    found = workload_progress.kinds(maker for applied in topology.applied for maker in applied.makers())
    found = [*found, *(_nodes(topology) if kind == "Node" else kind for kind in OTHER_KINDS)]
    if "device taint rules" in features_used(topology):
        found.append(f"DeviceTaintRule=/apis/{rule_version(topology.cluster.minor)}/devicetaintrules")
    return found


def _nodes(topology: Topology) -> str:
    """Return the kind of nodes; in a cluster that is there already, only the stack's own."""
    labels = [f"{key}={value}" for key, value in mark(topology).items()]
    return f"Node={objects.LISTS['Node']}?{urlencode({'labelSelector': ','.join(labels)})}" if labels else "Node"


class Report(NamedTuple):
    """What the stack's outputs say: sorted and without times or uids, so that it changes only when the facts do."""

    claims: list[dict[str, Any]] | dict[str, Any]
    pools: list[dict[str, Any]]
    leftovers: list[dict[str, Any]]
    """Claims that no pod uses: `duplicate` ones, of which the pod uses another, and those whose pod is gone."""
    summary: str
    unexpected: list[str]
    """For each workload that does not stand as expected, what is wrong; empty when all do."""
    drift: list[dict[str, str]] = []
    """Objects that somebody has deleted or edited."""


UNREACHABLE = Report([], [], [], "the cluster cannot be reached; an update starts what has ended again", [])


def expectation(applied: Workload | Manifests) -> Expected:
    """Return what a workload, or what is in manifests, is to come to."""
    return Expected(
        "workloads" if isinstance(applied, Workload) else "manifests",
        applied.name,
        tuple(applied.makers()),
        applied.expected_allocated,
        applied.expected_pending,
        applied.ready_timeout_seconds,
        applied.replicas if isinstance(applied, Workload) else None,
    )


def unfit(topology: Topology) -> Unfit:
    """Return what the configured faults take away from pods that have it."""
    nodes = [name for pool in topology.node_pools for name in pool.gone_nodes()]
    devices = [
        ("", node, device, fault.taint.key, fault.taint.value)
        for pool in topology.node_pools
        for node in pool.node_names()
        for fault in pool.faults_on(node)
        if fault.taint and fault.taint.effect == "NoExecute"
        for device in fault.devices or [""]
    ]
    devices += [
        (rule.driver or "", rule.pool or "", rule.device or "", rule.taint.key, rule.taint.value)
        for rule in topology.device_taint_rules
        if rule.taint.effect == "NoExecute"
    ]
    return Unfit(nodes, devices, evicting_nodes(topology))


def not_ready(topology: Topology) -> list[str]:
    """Return the nodes that are not ready, as the configured faults have it."""
    return [name for pool in topology.node_pools for name in pool.not_ready_nodes()]


class Details(NamedTuple):
    """What a report is made of."""

    claims: list[dict[str, Any]]
    """Every claim."""
    pools: Mapping[PoolName, Occupancy]
    """The occupancy of every pool of resource.k8s.io."""
    live: Live
    lost: Container[str]
    """The nodes that are not ready."""


def details(topology: Topology, objects: Sequence[Object]) -> Details:
    """Tell from the live `objects` of all `kinds` how each of the stack's claims stands.

    Claims are found from the pods: the controller may make a claim twice, and only the pod says which one it uses.
    """
    live = Live(objects)
    slices = _of_kind(objects, "ResourceSlice")
    lost = _not_ready_nodes(objects)
    pools = occupancy(slices, _allocated_by_pool(objects), list(_taint_rules(topology, objects)), lost)
    shortage = Shortage(objects, pools)
    claims = [
        entry
        for applied in topology.applied
        for pod in live.pods_of(applied.makers())
        for entry in _claims_of(applied.name, pod, live.claims, pools, shortage, lost)
    ]
    claims.sort(key=lambda entry: (entry["workload"], entry["pod"], entry["name"]))
    return Details(claims, pools, live, lost)


def report(topology: Topology, objects: Sequence[Object]) -> Report:
    """Tell from the live `objects` of all `kinds` how the stack's claims and pools stand."""
    claims, pools, live, lost = details(topology, objects)
    nodes = {node["metadata"]["name"] for node in _of_kind(objects, "Node")}
    listed = [_pool(pool, nodes, lost, pools) for pool in sorted(topology.node_pools, key=lambda pool: pool.name)]
    evicting = unfit(topology)
    return Report(
        _listed(claims),
        listed,
        sorted(_leftovers(topology, objects), key=lambda entry: (entry["namespace"], entry["name"])),
        _summary(claims, listed),
        [line for applied in topology.applied for line in _unexpected(expectation(applied), live, evicting, claims)],
    )


def _of_kind(objects: Iterable[Object], kind: str) -> list[Object]:
    return [entry for entry in objects if entry["kind"] == kind]


def _claims_of(
    workload: str,
    pod: Object,
    live_claims: Mapping[Key, Object],
    pools: Mapping[PoolName, Occupancy],
    shortage: Shortage,
    lost: Container[str],
) -> Iterator[dict[str, Any]]:
    namespace, pod_name = key(pod)
    for name in workload_progress.claim_names(pod).values():
        if workload_progress.has_without_claim(pod, name):
            continue
        claim = live_claims.get((namespace, name), {})
        done = workload_progress.is_done(pod) and not workload_progress.is_reserved_for_group(claim)
        devices = [] if done else _devices(claim)
        entry = {
            # The controller deletes what it made for a pod that is done, and may make, name and delete it once more.
            "name": "" if done and not workload_progress.is_shared(pod, name) else name,
            "namespace": namespace,
            "workload": workload,
            "pod": pod_name,
            "podPhase": pod["status"].get("phase", "Unknown"),
            "node": pod["spec"].get("nodeName", ""),
            "state": "released" if done else _state(claim),
            "devices": [device | _health(device, pools) for device in devices],
        }
        if not (devices or done):
            entry["reason"] = _reason(pod, shortage.of(claim))
        if entry["node"] in lost:
            entry["nodeNotReady"] = True
        yield entry


def _taint_rules(topology: Topology, objects: Iterable[Object]) -> Iterator[DeviceTaintRule]:
    for entry in _of_kind(objects, "DeviceTaintRule"):
        if "deviceSelector" not in entry["spec"] and topology.cluster.release >= FIRST_KUBERNETES_WITH_RULES_FOR_NONE:
            continue
        taint = {name: value for name, value in entry["spec"]["taint"].items() if name != "timeAdded"}
        values = {"name": entry["metadata"]["name"], "taint": taint} | (entry["spec"].get("deviceSelector") or {})
        yield DeviceTaintRule.model_validate(values)


def _not_ready_nodes(objects: Iterable[Object]) -> set[str]:
    return {node["metadata"]["name"] for node in _of_kind(objects, "Node") if workload_progress.is_not_ready(node)}


def _state(claim: Object) -> str:
    """Name the state as kubectl's STATE column does.

    https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/printers/internalversion/printers.go, resourceClaimState
    """
    status = claim.get("status", {})
    states = ["deleted"] if claim.get("metadata", {}).get("deletionTimestamp") else []
    if not status.get("allocation"):
        return ",".join(states) or "pending"
    states.append("allocated")
    if status.get("reservedFor"):
        states.append("reserved")
    return ",".join(states)


def _devices(claim: Object) -> list[dict[str, Any]]:
    results = claim.get("status", {}).get("allocation", {}).get("devices", {}).get("results", [])
    keys = ("request", "driver", "pool", "device")
    more = ("adminAccess", "shareID", "consumedCapacity")
    devices = [
        {name: result[name] for name in keys}
        | {name: result[name] for name in more if result.get(name)}
        | given(conditions=_conditions(claim, result))
        for result in results
    ]
    return sorted(devices, key=lambda device: [str(device.get(name)) for name in (*keys, "shareID")])


def _conditions(claim: Object, result: Object) -> dict[str, str]:
    """Return the status of each condition that the claim has about an allocated device."""
    names = ("driver", "pool", "device", "shareID")
    return {
        condition["type"]: condition["status"]
        for device in claim["status"].get("devices") or []
        if all(device.get(name) == result.get(name) for name in names)
        for condition in sorted(device.get("conditions") or [], key=lambda condition: str(condition["type"]))
    }


def _health(device: Mapping[str, Any], pools: Mapping[PoolName, Occupancy]) -> dict[str, Any]:
    """Say what is wrong with a device that a claim holds: its taints, or that its driver publishes it no more."""
    pool = pools.get((device["driver"], device["pool"]))
    if pool is None or device["device"] not in pool.taints:
        return {"gone": True}
    taints = pool.taints[device["device"]]
    return {"taints": taints} if taints else {}


def _reason(pod: Object, shortages: Sequence[str]) -> str:
    """Return the scheduler's own words on why the pod is pending, and what there is too little of."""
    return "; ".join([workload_progress.refusal(pod), *(shortages if workload_progress.is_refused(pod) else [])])


def _allocated_by_pool(objects: Sequence[Object]) -> dict[PoolName, set[str]]:
    """Name the devices of all claims, other people's included; a claim of a pod that is gone is about to go too.

    Who has admin access takes nothing away.
    """
    live = _live_pods(objects)
    allocated: dict[PoolName, set[str]] = {}
    for claim in _of_kind(objects, "ResourceClaim"):
        if _owners(claim) <= live:
            for device in _devices(claim):
                if not device.get("adminAccess"):
                    allocated.setdefault((device["driver"], device["pool"]), set()).add(device["device"])
    return allocated


def _live_pods(objects: Sequence[Object]) -> set[str]:
    pods = _of_kind(objects, "Pod")
    return {pod["metadata"]["uid"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}


def _owners(claim: Object) -> set[str]:
    return {owner["uid"] for owner in claim["metadata"].get("ownerReferences", []) if owner["kind"] == "Pod"}


def _leftovers(topology: Topology, objects: Sequence[Object]) -> Iterator[dict[str, Any]]:
    makers = [maker for applied in topology.applied for maker in applied.makers()]
    pods = _of_kind(objects, "Pod")
    live = _live_pods(objects)
    done = {pod["metadata"]["uid"] for pod in pods if workload_progress.is_done(pod)}
    used = {(key(pod)[0], name) for pod in pods for name in workload_progress.claim_names(pod).values()}
    unnamed = {
        (pod["metadata"]["uid"], claim)
        for pod in pods
        for claim, name in workload_progress.claim_names(pod).items()
        if not name
    }
    for claim in _of_kind(objects, "ResourceClaim"):
        owners = _owners(claim)
        # A claim is made first, then its pod is told its name.
        is_new = any((owner, _name_in_pod(claim)) in unnamed for owner in owners)
        is_ours = not topology.cluster.existing or _is_of(claim, makers)
        # The controller may make one more for a pod that is done, and deletes it as well.
        if owners and key(claim) not in used and not is_new and is_ours and not owners & done:
            namespace, name = key(claim)
            yield {
                "name": name,
                "namespace": namespace,
                "state": _state(claim),
                "why": "duplicate" if owners & live else "its pod is gone",
            }


def _is_of(claim: Object, makers: Iterable[Maker]) -> bool:
    """Tell whether a claim was made for a pod of the stack, by the pod's name: it may be gone, and says no more."""
    owners = claim["metadata"].get("ownerReferences", [])
    pods = [owner["name"] for owner in owners if owner["kind"] == "Pod"]
    namespace = claim["metadata"]["namespace"]
    return any(
        place == namespace and (pod == name or pod.startswith(f"{name}-")) for _, place, name in makers for pod in pods
    )


def _name_in_pod(claim: Object) -> str:
    """Return what the pod for which a claim was made calls it.

    https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/controller/resourceclaim/controller.go
    """
    annotations: Mapping[str, str] = claim["metadata"].get("annotations", {})
    return annotations.get("resource.kubernetes.io/pod-claim-name", workload_progress.EXTENDED_RESOURCES)


def _pool(
    pool: NodePool, live: Container[str], lost: Container[str], pools: Mapping[PoolName, Occupancy]
) -> dict[str, Any]:
    nodes = [name for name in pool.node_names() if name in live]
    found = [pools[driver, node] for driver in pool.drivers for node in nodes if (driver, node) in pools]
    fits: Counter[str] = Counter()
    for occupied in found:
        fits.update(occupied.fits)
    entry: dict[str, Any] = {
        "name": pool.name,
        "nodes": len(nodes),
        "devices": sum(occupied.devices for occupied in found),
        "allocated": sum(occupied.allocated for occupied in found),
        "free": sum(occupied.free for occupied in found),
    }
    tainted = sum(occupied.tainted for occupied in found)
    not_ready = sum(node in lost for node in nodes)
    return entry | given(notReady=not_ready, tainted=tainted, fits=dict(sorted(fits.items())))


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


def _summary(claims: list[dict[str, Any]], pools: list[dict[str, Any]]) -> str:
    satisfied = sum(1 for claim in claims if "reason" not in claim)
    running = len({_pod_of(claim) for claim in claims if claim["podPhase"] in workload_progress.READY_PHASES})
    pods = len({_pod_of(claim) for claim in claims})
    devices = sum(pool["devices"] for pool in pools)
    allocated = sum(pool["allocated"] for pool in pools)
    return (
        f"{satisfied} of {len(claims)} claims allocated, {running} of {pods} pods running, "
        f"{allocated} of {devices} devices in use on {sum(pool['nodes'] for pool in pools)} nodes"
    )


def _pod_of(claim: Mapping[str, Any]) -> Key:
    return claim["namespace"], claim["pod"]


def _unexpected(expected: Expected, live: Live, evicting: Unfit, claims: list[dict[str, Any]]) -> Iterator[str]:
    found = workload_progress.standing(expected, live, evicting)
    if found.meets(expected):
        return
    yield from workload_progress.unmet(expected, found, live)
    yield from workload_progress.reasons(_refusals(expected, live, claims))


def _refusals(expected: Expected, live: Live, claims: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Say why pods are pending: for want of devices, or, those without claims, of anything else."""
    for claim in claims:
        if claim["workload"] == expected.workload and "reason" in claim:
            yield claim["pod"], claim["reason"]
    for pod in live.pods_of(expected.makers):
        if workload_progress.is_refused(pod) and not workload_progress.claim_names(pod):
            yield pod["metadata"]["name"], workload_progress.refusal(pod)
