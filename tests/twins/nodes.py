"""Compares the nodes of a twin with those of its dump."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from tests.twins.cluster import Cluster
from tests.twins.devices import Differences
from topology.kubernetes.feature_gates import FEATURES
from topology.objects import nodes as node_objects
from topology.schema.stack import Topology

_GIB = 2**30
_ROUNDED = ("memory", "ephemeral-storage")
KEPT_LABELS = (
    "kubernetes.io/arch",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
)
CLIQUE = "nvidia.com/gpu.clique"
# The declared features of kubelets that scheduling considers.
_DECLARED = {FEATURES[name].gate for name in ("node allocatable resources", "optional node operations")}


def compare(dump: Cluster, twin: Cluster, topology: Topology, nodes: Mapping[str, str]) -> list[str]:
    """Return what differs between nodes and their counterparts, except taints, which are compared elsewhere."""
    found = Differences()
    for name, other in nodes.items():
        if not dump.has_nodes or name not in dump.nodes or other not in twin.nodes:
            continue
        for what in (*_labels(dump, twin, name, other), *_capacity(dump, twin, name, other)):
            found.add(what, name)
        if dump.is_ready(name) != twin.is_ready(other):
            found.add("a node is ready in one of the two only", name)
        if (wrong := _features(dump, topology, name, other)) is not None:
            found.add(wrong, name)
    return [*found.lines(), *_cliques(dump, twin, nodes)]


def _labels(dump: Cluster, twin: Cluster, name: str, other: str) -> Iterator[str]:
    before, after = (
        cluster.nodes[one]["metadata"].get("labels") or {} for cluster, one in ((dump, name), (twin, other))
    )
    for key in KEPT_LABELS:
        if key in before and before[key] != after.get(key):
            yield f"the label {key} is {before[key]!r} in the dump, but {after.get(key)!r} in the twin"


def _capacity(dump: Cluster, twin: Cluster, name: str, other: str) -> Iterator[str]:
    before, after = dump.capacity(name), twin.capacity(other)
    if not before:
        return
    for key in before | after:
        was, now = before.get(key, 0), after.get(key, 0)
        if was != now and not (key in _ROUNDED and 0 <= was - now < _GIB) and (key in before or "/" in key):
            yield f"a node has {was} of {key} in the dump, but {now} in the twin"


def _features(dump: Cluster, topology: Topology, name: str, other: str) -> str | None:
    """Return what differs of the features that a node declares; a node may not say which it has."""
    before = dump.declared(name)
    pool = next(pool for pool in topology.node_pools if other in pool.node_names())
    wanted, now = _DECLARED.intersection(before or []), set(node_objects.declared_features(pool))
    needed = set(node_objects.declared_features(pool.model_copy(update={"declared_features": None})))
    if before is None:
        return (
            None
            if now >= needed
            else f"a node declares {sorted(now)} in the twin, but its devices need {sorted(needed)}"
        )
    return None if wanted == now else f"a node declares {sorted(wanted)} in the dump, but {sorted(now)} in the twin"


def _cliques(dump: Cluster, twin: Cluster, nodes: Mapping[str, str]) -> Iterator[str]:
    """Yield the nodes that share an NVLink clique in one of the two only."""
    before = _members(dump, nodes)
    after = _members(twin, {name: name for name in nodes.values()})
    yield from (f"an NVLink clique is in one of the two only: {', '.join(sorted(one))}" for one in before ^ after)


def _members(cluster: Cluster, nodes: Mapping[str, str]) -> set[frozenset[str]]:
    """Return the nodes of each clique, by their names in the twin."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, other in nodes.items():
        labels = cluster.nodes[name]["metadata"].get("labels") or {} if name in cluster.nodes else {}
        if CLIQUE in labels:
            found[labels[CLIQUE]].add(other)
    return {frozenset(members) for members in found.values()}
