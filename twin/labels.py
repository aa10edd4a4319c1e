"""Selects the labels and taints of nodes that a twin keeps: those that scheduling considers.

These are the labels that the catalogue's models and hosts put on nodes, those that describe a node's location and
hardware, and those that pods of the dump select.
"""

import re
from collections.abc import Iterable, Mapping

from topology.objects.nodes import CLIQUE_LABEL
from topology.schema.catalogue import Catalogue
from twin.dump import Dump
from twin.objects import Taint
from twin.pod_objects import NodeSelectorRequirement, NodeSelectorTerm, Pod

# https://kubernetes.io/docs/reference/labels-annotations-taints/
_WELL_KNOWN = {
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
}
# Labels about hardware, of GPU feature discovery and the node labellers of AMD and Intel.
_VENDORS = ("nvidia.com", "amd.com", "beta.amd.com", "gpu.intel.com", "intel.feature.node.kubernetes.io")
HOSTNAME = "kubernetes.io/hostname"
_NAME = "metadata.name"
# Labels of vendors that change: times, and the progress of operators.
_PASSING_VALUE = re.compile(r"[0-9]{9,}|[0-9a-f]{8}-[0-9a-f]{4}-")
_PASSING_KEY = re.compile(r"timestamp|\.deploy\.|state$")

# Taints that controllers add to nodes that are not ready or cordoned and remove from others:
# `taintKeyToNodeConditionMap` in
# https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/controller/nodelifecycle/node_lifecycle_controller.go
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_OF_CONTROLLERS = {
    UNSCHEDULABLE,
    "node.kubernetes.io/disk-pressure",
    "node.kubernetes.io/memory-pressure",
    "node.kubernetes.io/network-unavailable",
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/pid-pressure",
    "node.kubernetes.io/unreachable",
    "node.cloudprovider.kubernetes.io/shutdown",
    "node.cloudprovider.kubernetes.io/uninitialized",
}
CORDONED = Taint(key="twin/cordoned", effect="NoSchedule")
"""Replaces the taint of a cordon, which a controller removes from nodes that are not cordoned."""


class KeptLabels:
    """Selects the labels of nodes that a twin keeps."""

    def __init__(self, catalogue: Catalogue, dump: Dump) -> None:
        """Collect the keys from the catalogue and from what pods and flavors of queues select."""
        shapes = [model.node for model in catalogue.models.values()]
        shapes += [host.node for host in catalogue.hosts.values()]
        self.public = _WELL_KNOWN | {key for shape in shapes for key in shape.labels}
        found = [*map(selected, dump.pods), *(flavor.spec.node_labels for flavor in dump.flavors)]
        self._selected = {key for labels in found for key in labels} - {HOSTNAME}

    def of(self, labels: Mapping[str, str]) -> dict[str, str]:
        """Return the labels that the twin keeps."""
        return {key: value for key, value in labels.items() if key != CLIQUE_LABEL and self._keeps(key, value)}

    def _keeps(self, key: str, value: str) -> bool:
        return key in self._selected or (
            self.is_public(key) and not _PASSING_VALUE.search(value) and not _PASSING_KEY.search(key)
        )

    def is_public(self, key: str) -> bool:
        """Return whether a label's key and values are public."""
        return key in self.public or key.partition("/")[0] in _VENDORS


def selected(pod: Pod) -> dict[str, str]:
    """Return the labels that a pod requires of its node, as far as each must have one particular value."""
    requirements = [one for term in _required(pod)[:1] for one in (*term.match_expressions, *term.match_fields)]
    found = {HOSTNAME if one.key == _NAME else one.key: one.values[0] for one in requirements if _is_label(one)}
    return {**pod.spec.node_selector, **(found if len(_required(pod)) == 1 else {})}


def selects_more(pod: Pod) -> bool:
    """Tell whether a pod chooses nodes by more than what `selected` returns."""
    affinity, terms = pod.spec.affinity.node_affinity, _required(pod)
    preferred = affinity and affinity.preferred_during_scheduling_ignored_during_execution
    requirements = [one for term in terms for one in (*term.match_expressions, *term.match_fields)]
    return bool(preferred) or len(terms) > 1 or not all(map(_is_label, requirements))


def _required(pod: Pod) -> list[NodeSelectorTerm]:
    affinity = pod.spec.affinity.node_affinity
    required = affinity and affinity.required_during_scheduling_ignored_during_execution
    return required.node_selector_terms if required else []


def _is_label(requirement: NodeSelectorRequirement) -> bool:
    return requirement.operator == "In" and len(requirement.values) == 1


def kept_taints(taints: Iterable[Taint], unschedulable: bool) -> list[Taint]:
    """Return a node's taints without those of controllers, and with `CORDONED` if it is cordoned."""
    found = [taint for taint in taints if taint.key not in _OF_CONTROLLERS]
    cordoned = unschedulable or any(taint.key == UNSCHEDULABLE for taint in taints)
    return [*found, CORDONED] if cordoned else found


_PUBLIC_TAINT = re.compile(r"(^|\.|x-)(kubernetes\.io|k8s\.io|nvidia\.com|amd\.com|intel\.com|google\.com)/|^twin/")


def is_public_taint(key: str) -> bool:
    """Return whether the key and value of a taint are public."""
    return _PUBLIC_TAINT.search(key) is not None
