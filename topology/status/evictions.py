"""Which nodes that are not ready lose their pods: the node lifecycle controller holds back where too many are.

https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/controller/nodelifecycle/node_lifecycle_controller.go,
handleDisruption and ComputeZoneState. kwokctl leaves the controller's flags as they are by default.
"""

from collections.abc import Mapping, Sequence

from topology.objects.nodes import node_labels
from topology.schema.stack import Topology

UNHEALTHY_ZONE_THRESHOLD = 0.55  # --unhealthy-zone-threshold
NODES_NOT_READY_ALWAYS_EVICTED = 2
ZONE_LABELS = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone")


def evicting_nodes(topology: Topology) -> list[str]:
    """Return the nodes that are not ready and get the taint node.kubernetes.io/not-ready with effect NoExecute.

    None do if no node of the cluster is ready, nor those of a zone of which too many are not.
    """
    if not any(fault.not_ready for pool in topology.node_pools for fault in pool.faults):
        return []
    zones = _zones(topology)
    if not any(not_ready is False for zone in zones for not_ready in zone.values()):
        return []
    return [name for zone in zones if not _is_held_back(zone) for name, not_ready in zone.items() if not_ready]


def _zones(topology: Topology) -> Sequence[Mapping[str, bool]]:
    """Return for each zone its nodes, each with whether it is not ready."""
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
