"""Objects of a dump about pods: Pods and PodGroups."""

from twin.objects import Given, Labels, Listed, Object, Part, Quantities

ENDED = ("Succeeded", "Failed")
"""The phases in which a pod holds no devices."""


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


class Container(Part):
    """A container of a pod."""

    name: str
    resources: Given[Resources] = Resources()


class Toleration(Part):
    """A toleration of a pod."""

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
    """A term of a node selector."""

    match_expressions: Listed[NodeSelectorRequirement] = []


class NodeSelector(Part):
    """A node selector; a node has to match one of its terms."""

    node_selector_terms: Listed[NodeSelectorTerm] = []


class NodeAffinity(Part):
    """The nodes that a pod can run on."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None


class Affinity(Part):
    """The affinity of a pod."""

    node_affinity: NodeAffinity | None = None


class SchedulingGroup(Part):
    """A reference to the PodGroup of a pod."""

    pod_group_name: str | None = None


class PodSpec(Part):
    """A Pod's spec."""

    node_name: str | None = None
    resource_claims: Listed[PodClaim] = []
    containers: Listed[Container] = []
    node_selector: Labels = {}
    tolerations: Listed[Toleration] = []
    affinity: Affinity | None = None
    scheduling_group: SchedulingGroup | None = None


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
    resource_claims: Listed[PodClaim] = []


class PodGroup(Object):
    """A PodGroup."""

    spec: GroupSpec
