"""Objects of a dump about pods: Pods and PodGroups."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator

from topology.kubernetes.objects import DEFAULT_SCHEDULER
from twin.objects import Given, Labels, Listed, Object, Part, Quantities

PREEMPTS = "PreemptLowerPriority"
"""The preemption policy of pods and PriorityClasses that do not say otherwise."""
ENDED = ("Succeeded", "Failed")
"""The phases in which a pod holds no devices."""


def _with(*keys: str) -> Callable[[object], object]:
    """Return a function that keeps the entries of a list which have one of the keys."""

    def kept(value: object) -> object:
        if not isinstance(value, list):
            return [] if value is None else value
        return [entry for entry in value if not isinstance(entry, dict) or any(entry.get(key) for key in keys)]

    return kept


class PodClaim(Part):
    """A claim of a pod."""

    name: str
    resource_claim_name: str | None = None
    resource_claim_template_name: str | None = None


class ContainerClaim(Part):
    """A claim that a container uses."""

    name: str
    request: str | None = None


class Resources(Part):
    """The resources of a container."""

    claims: Listed[ContainerClaim] = []
    requests: Quantities = {}


class Port(Part):
    """A port of a container."""

    host_port: int = 0


class Container(Part):
    """A container of a pod."""

    name: str
    resources: Given[Resources] = Resources()
    ports: Annotated[list[Port], BeforeValidator(_with("hostPort"))] = []


class Toleration(Part):
    """A toleration of a pod, or of a request for devices."""

    key: str | None = None
    operator: str = "Equal"
    value: str | None = None
    effect: str | None = None
    toleration_seconds: int | None = None


class NodeSelectorRequirement(Part):
    """A requirement of a node selector term."""

    key: str
    operator: str
    values: list[str] = []


class NodeSelectorTerm(Part):
    """A term of a node selector: requirements of labels and of the name."""

    match_expressions: Listed[NodeSelectorRequirement] = []
    match_fields: Listed[NodeSelectorRequirement] = []


class NodeSelector(Part):
    """A node selector; a node has to match one of its terms."""

    node_selector_terms: Listed[NodeSelectorTerm] = []


class NodeAffinity(Part):
    """The nodes that a pod can run on."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    preferred_during_scheduling_ignored_during_execution: Listed[dict[str, Any]] = []


class Affinity(Part):
    """The affinity of a pod, to nodes and to other pods."""

    node_affinity: NodeAffinity | None = None
    pod_affinity: Given[dict[str, Any]] = {}
    pod_anti_affinity: Given[dict[str, Any]] = {}


class SchedulingGroup(Part):
    """A reference to the PodGroup of a pod."""

    pod_group_name: str | None = None


class PodSpec(Part):
    """A Pod's spec; of its volumes, those that the scheduler considers."""

    node_name: str | None = None
    resource_claims: Listed[PodClaim] = []
    containers: Listed[Container] = []
    init_containers: Listed[Container] = []
    resources: Given[Resources] = Resources()
    overhead: Quantities = {}
    node_selector: Labels = {}
    tolerations: Listed[Toleration] = []
    affinity: Given[Affinity] = Affinity()
    topology_spread_constraints: Listed[dict[str, Any]] = []
    priority: int = 0
    priority_class_name: str = ""
    preemption_policy: str = PREEMPTS
    scheduler_name: str = DEFAULT_SCHEDULER
    scheduling_gates: Listed[dict[str, Any]] = []
    scheduling_group: SchedulingGroup | None = None
    volumes: Annotated[list[dict[str, Any]], BeforeValidator(_with("persistentVolumeClaim", "ephemeral"))] = []


class PodClaimStatus(Part):
    """The ResourceClaim that exists for a claim of a pod."""

    name: str
    resource_claim_name: str | None = None


class ExtendedClaimStatus(Part):
    """The ResourceClaim that exists for the extended resources of a pod."""

    resource_claim_name: str


class PodStatus(Part):
    """A Pod's status."""

    phase: str = "Pending"
    resource_claim_statuses: Listed[PodClaimStatus] = []
    extended_resource_claim_status: ExtendedClaimStatus | None = None


class Pod(Object):
    """A Pod."""

    spec: PodSpec
    status: Given[PodStatus] = PodStatus()


class Gang(Part):
    """The policy of a group whose pods are scheduled together."""

    min_count: int | None = None


class SchedulingPolicy(Part):
    """The scheduling policy of a group."""

    gang: Gang | None = None


class GroupSpec(Part):
    """A PodGroup's spec."""

    scheduling_policy: Given[SchedulingPolicy] = SchedulingPolicy()
    scheduling_constraints: Given[dict[str, Any]] = {}
    resource_claims: Listed[PodClaim] = []


class PodGroup(Object):
    """A PodGroup."""

    spec: GroupSpec


class PriorityClass(Object):
    """A PriorityClass."""

    value: int = 0
    global_default: bool = False
    preemption_policy: str = PREEMPTS
