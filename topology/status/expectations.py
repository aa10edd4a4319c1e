"""What the configuration of a stack leads one to expect of the live cluster."""

from collections.abc import Iterator, Mapping, Sequence

from topology.objects.nodes import node_labels
from topology.schema.manifests import Manifests
from topology.schema.stack import Topology
from topology.schema.workloads import Workload
from topology.status.evictions import TaintedDevices, Unfit
from topology.status.workload_progress import Expected

UNHEALTHY_ZONE_THRESHOLD = 0.55  # --unhealthy-zone-threshold
NODES_NOT_READY_ALWAYS_EVICTED = 2
ZONE_LABELS = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone")


def expectation(applied: Workload | Manifests) -> Expected:
    """Return what a workload of the configuration, or the pods of its manifests, must reach."""
    return Expected(
        "workloads" if isinstance(applied, Workload) else "manifests",
        applied.name,
        tuple(applied.makers()),
        applied.expected_allocated,
        applied.expected_pending,
        applied.ready_timeout_seconds,
        applied.replicas if isinstance(applied, Workload) else None,
        applied.expect.running,
    )


def unfit(topology: Topology) -> Unfit:
    """Return what pods cannot stay on because of the configured faults."""
    nodes = [name for pool in topology.node_pools for name in pool.gone_nodes()]
    return Unfit(nodes, list(_tainted_devices(topology)), evicting_nodes(topology))


def _tainted_devices(topology: Topology) -> Iterator[TaintedDevices]:
    for pool in topology.pools.values():
        for name in pool.pool_names():
            for fault in pool.faults_on(name):
                if fault.taint and fault.taint.effect == "NoExecute":
                    for device in fault.devices or [""]:
                        yield fault.driver or "", name, device, fault.taint.key, fault.taint.value
    for rule in topology.device_taint_rules:
        if rule.taint.effect == "NoExecute":
            yield rule.driver or "", rule.pool or "", rule.device or "", rule.taint.key, rule.taint.value


def not_ready(topology: Topology) -> list[str]:
    """Return the nodes that are not ready because of the configured faults."""
    return [name for pool in topology.node_pools for name in pool.not_ready_nodes()]


def evicting_nodes(topology: Topology) -> list[str]:
    """Return the nodes that are not ready and get the taint node.kubernetes.io/not-ready with effect NoExecute.

    The node lifecycle controller taints none if no node of the cluster is ready, nor the nodes of a zone of which too
    many are not ready. kwokctl leaves the controller's flags at their defaults.
    https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/controller/nodelifecycle/node_lifecycle_controller.go,
    handleDisruption and ComputeZoneState
    """
    if not any(fault.not_ready for pool in topology.node_pools for fault in pool.faults):
        return []
    zones = _zones(topology)
    if not any(not_ready is False for zone in zones for not_ready in zone.values()):
        return []
    return [name for zone in zones if not _is_held_back(zone) for name, not_ready in zone.items() if not_ready]


def _zones(topology: Topology) -> Sequence[Mapping[str, bool]]:
    """Return the nodes of each zone, each with whether it is not ready."""
    zones: dict[tuple[str | None, ...], dict[str, bool]] = {}
    for pool in topology.node_pools:
        for name in pool.node_names():
            labels = node_labels(pool, name)
            zone = tuple(labels.get(label) for label in ZONE_LABELS)
            zones.setdefault(zone, {})[name] = pool.is_not_ready(name)
    return list(zones.values())


def _is_held_back(zone: Mapping[str, bool]) -> bool:
    count = sum(zone.values())
    return NODES_NOT_READY_ALWAYS_EVICTED < count < len(zone) and count / len(zone) >= UNHEALTHY_ZONE_THRESHOLD
