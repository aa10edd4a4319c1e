"""The answer of a stack, made of live objects: which claim got which device, and what each pool has left."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from topology.configuration import NodePool, Topology
from topology.objects import NAMESPACE
from topology.occupancy import Occupancy, PoolName, occupancy

Object = Mapping[str, Any]

CLAIMS_LISTED_MAX = 100
"""Past this many claims, `claims` gives way to counts and lists only unsatisfied ones, at most this many."""

REASONS_LISTED_MAX = 5
"""At most this many pending pods of a workload are named in an error."""

KINDS = (
    "deployments.apps",
    "nodes",
    "pods",
    "resourceclaims.resource.k8s.io",
    "resourceslices.resource.k8s.io",
)
"""The objects that `report` reads, as kubectl names them."""


class Report(NamedTuple):
    """What the stack's outputs say: sorted and without times or uids, so that it changes only when the facts do."""

    claims: list[dict[str, Any]] | dict[str, Any]
    pools: list[dict[str, Any]]
    summary: str
    not_running: list[str]
    """For each workload that is not as configured, what is wrong; empty when every pod runs."""


UNREACHABLE = Report([], [], "the cluster cannot be reached", [])


def report(topology: Topology, objects: Sequence[Object]) -> Report:
    """Tell from the live `objects` of all `KINDS` how the stack's claims and pools stand.

    Claims are found from the pods: the controller may make a claim twice, and only the pod says which one it uses.
    """
    claims_by_name = {_key(claim): claim for claim in _of_kind(objects, "ResourceClaim")}
    names = {workload.name for workload in topology.workloads}
    pods = [pod for pod in _live_pods(objects) if _key(pod)[0] == NAMESPACE and _workload(pod) in names]
    claims = sorted(
        (claim for pod in pods for claim in _claims_of(pod, claims_by_name)),
        key=lambda claim: (claim["workload"], claim["pod"], claim["name"]),
    )
    pools = _pools(topology, objects)
    return Report(
        _listed(claims),
        pools,
        _summary(claims, pools),
        list(_not_running(topology, objects, claims)),
    )


def _of_kind(objects: Iterable[Object], kind: str) -> list[Object]:
    return [entry for entry in objects if entry["kind"] == kind]


def _live_pods(objects: Iterable[Object]) -> list[Object]:
    return [pod for pod in _of_kind(objects, "Pod") if "deletionTimestamp" not in pod["metadata"]]


def _key(entry: Object) -> tuple[str, str]:
    return entry["metadata"]["namespace"], entry["metadata"]["name"]


def _workload(pod: Object) -> str:
    return str(pod["metadata"].get("labels", {}).get("app", ""))


def _claims_of(pod: Object, claims_by_name: Mapping[tuple[str, str], Object]) -> Iterable[dict[str, Any]]:
    namespace, pod_name = _key(pod)
    made = {
        status["name"]: status.get("resourceClaimName", "") for status in pod["status"].get("resourceClaimStatuses", [])
    }
    for pod_claim in pod["spec"].get("resourceClaims", []):
        name = made.get(pod_claim["name"], "")
        claim = claims_by_name.get((namespace, name), {})
        entry = {
            "name": name,
            "namespace": namespace,
            "workload": _workload(pod),
            "pod": pod_name,
            "podPhase": pod["status"].get("phase", "Unknown"),
            "node": pod["spec"].get("nodeName", ""),
            "state": _state(claim),
            "devices": _devices(claim),
        }
        if not entry["devices"]:
            entry["reason"] = _reason(pod)
        yield entry


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


def _devices(claim: Object) -> list[dict[str, str]]:
    results = claim.get("status", {}).get("allocation", {}).get("devices", {}).get("results", [])
    keys = ("request", "driver", "pool", "device")
    devices = [{key: str(result[key]) for key in keys} for result in results]
    return sorted(devices, key=lambda device: [device[key] for key in keys])


def _reason(pod: Object) -> str:
    """Return the scheduler's own words on why the pod is pending."""
    for condition in pod["status"].get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition.get("message") or condition.get("reason"))
    return "not yet considered by the scheduler"


def _pools(topology: Topology, objects: Sequence[Object]) -> list[dict[str, Any]]:
    nodes = {node["metadata"]["name"] for node in _of_kind(objects, "Node")}
    pools = occupancy(_of_kind(objects, "ResourceSlice"), _allocated_by_pool(objects))
    return [_pool(pool, nodes, pools) for pool in sorted(topology.node_pools, key=lambda pool: pool.name)]


def _allocated_by_pool(objects: Sequence[Object]) -> dict[PoolName, set[str]]:
    """Name the devices of all claims, other people's included; a claim of a pod that is gone is about to go too."""
    live = {pod["metadata"]["uid"] for pod in _live_pods(objects)}
    allocated: dict[PoolName, set[str]] = {}
    for claim in _of_kind(objects, "ResourceClaim"):
        owners = {owner["uid"] for owner in claim["metadata"].get("ownerReferences", []) if owner["kind"] == "Pod"}
        if owners <= live:
            for device in _devices(claim):
                allocated.setdefault((device["driver"], device["pool"]), set()).add(device["device"])
    return allocated


def _pool(pool: NodePool, live: set[str], pools: Mapping[PoolName, Occupancy]) -> dict[str, Any]:
    nodes = [name for name in pool.node_names() if name in live]
    found = [pools[driver, node] for driver in pool.drivers for node in nodes if (driver, node) in pools]
    return {
        "name": pool.name,
        "nodes": len(nodes),
        "devices": sum(occupied.devices for occupied in found),
        "allocated": sum(occupied.allocated for occupied in found),
        "free": sum(occupied.free for occupied in found),
    }


def _listed(claims: list[dict[str, Any]]) -> list[dict[str, Any]] | dict[str, Any]:
    if len(claims) <= CLAIMS_LISTED_MAX:
        return claims
    counts: dict[str, Counter[str]] = {}
    for claim in claims:
        counts.setdefault(claim["workload"], Counter())[claim["state"]] += 1
    return {
        "counts": {workload: dict(sorted(states.items())) for workload, states in sorted(counts.items())},
        "unsatisfied": [claim for claim in claims if not claim["devices"]][:CLAIMS_LISTED_MAX],
    }


def _summary(claims: list[dict[str, Any]], pools: list[dict[str, Any]]) -> str:
    satisfied = sum(1 for claim in claims if claim["devices"])
    running = len({claim["pod"] for claim in claims if claim["podPhase"] == "Running"})
    pods = len({claim["pod"] for claim in claims})
    devices = sum(pool["devices"] for pool in pools)
    allocated = sum(pool["allocated"] for pool in pools)
    return (
        f"{satisfied} of {len(claims)} claims allocated, {running} of {pods} pods running, "
        f"{allocated} of {devices} devices in use on {sum(pool['nodes'] for pool in pools)} nodes"
    )


def _not_running(topology: Topology, objects: Sequence[Object], claims: list[dict[str, Any]]) -> Iterable[str]:
    deployments = {_key(deployment): deployment for deployment in _of_kind(objects, "Deployment")}
    for workload in topology.workloads:
        running = _available_replicas(deployments.get((NAMESPACE, workload.name), {}))
        if running < workload.replicas:
            yield (
                f"workload {workload.name}: {running} of {workload.replicas} pods run after "
                f"{workload.ready_timeout_seconds} s (kwok-dra:workloads readyTimeoutSeconds)"
            )
            unsatisfied = [claim for claim in claims if claim["workload"] == workload.name and not claim["devices"]]
            yield from (f"  pod {claim['pod']}: {claim['reason']}" for claim in unsatisfied[:REASONS_LISTED_MAX])


def _available_replicas(deployment: Object) -> int:
    status = deployment.get("status", {})
    if status.get("observedGeneration") != deployment.get("metadata", {}).get("generation"):
        return 0
    return int(status.get("availableReplicas", 0))
