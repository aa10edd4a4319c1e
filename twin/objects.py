"""The objects of a dump, with what a twin is made of and nothing else.

What is not here is not read: annotations, images, environment, addresses, uids, times. The shapes are those of
resource.k8s.io/v1 (https://github.com/kubernetes/api/blob/v0.37.2/resource/v1/types.go) and of core/v1.
"""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from topology.kubernetes.quantities import number


def _given(value: object) -> object:
    return {} if value is None else value


def _listed(value: object) -> object:
    return [] if value is None else value


class Part(BaseModel):
    """A part of an object: what it names is checked, all else is left out."""

    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True, strict=True)


Labels = Annotated[dict[str, str], BeforeValidator(_given)]


class Owner(Part):
    """Who made an object."""

    kind: str
    name: str


class Metadata(Part):
    """What an object is called."""

    name: Annotated[str, Field(min_length=1)]
    namespace: str = "default"
    labels: Labels = {}
    owner_references: Annotated[list[Owner], BeforeValidator(_listed)] = []


class Object(Part):
    """An object with a name."""

    metadata: Metadata

    @property
    def name(self) -> str:
        """Its name."""
        return self.metadata.name

    @property
    def key(self) -> tuple[str, str]:
        """Its namespace and name."""
        return self.metadata.namespace, self.metadata.name


class Taint(Part):
    """A taint of a node or a device."""

    key: str
    value: str = ""
    effect: str


_EXPONENT_MAX = 30


def _text(value: object) -> object:
    """Let a number stand for a quantity, as `cpu: 96` in YAML."""
    return str(value) if type(value) in (int, float) else value


def _quantity(value: str) -> str:
    number(value)
    _, exponent, digits = value.lower().partition("e")
    if exponent and digits.strip("i") and abs(int(digits)) > _EXPONENT_MAX:
        raise ValueError(f"{value!r} is larger than any quantity")
    return value


Quantity = Annotated[str, BeforeValidator(_text), Field(max_length=64), AfterValidator(_quantity)]
Quantities = Annotated[dict[str, Quantity], BeforeValidator(_given)]


class NodeSpec(Part):
    """A Node's spec."""

    taints: Annotated[list[Taint], BeforeValidator(_listed)] = []
    unschedulable: bool = False


class Condition(Part):
    """A condition of a Node or a Pod."""

    type: str
    status: str


class NodeStatus(Part):
    """A Node's status."""

    allocatable: Quantities = {}
    capacity: Quantities = {}
    conditions: Annotated[list[Condition], BeforeValidator(_listed)] = []
    declared_features: Annotated[list[str], BeforeValidator(_listed)] = []


class Node(Object):
    """A Node."""

    spec: Annotated[NodeSpec, BeforeValidator(_given)] = NodeSpec()
    status: Annotated[NodeStatus, BeforeValidator(_given)] = NodeStatus()


def _amounts(value: object) -> object:
    """Bring capacities and counters to one form: a quantity may be written as a number."""
    if not isinstance(value, dict):
        return _given(value)
    return {name: {"value": entry} if isinstance(entry, str | int) else entry for name, entry in value.items()}


class Amount(Part):
    """An amount of a capacity or a counter; a capacity may say what requests get of it."""

    value: Quantity
    request_policy: dict[str, Any] | None = None


Amounts = Annotated[dict[str, Amount], BeforeValidator(_amounts)]


class Consumption(Part):
    """What a device takes of a counter set."""

    counter_set: str
    counters: Amounts = {}
    compatibility_groups: list[str] = []


Values = list[str] | list[bool] | list[int]


class Device(Part):
    """A device of a ResourceSlice."""

    name: str
    attributes: Annotated[dict[str, dict[str, str | bool | int | Values]], BeforeValidator(_given)] = {}
    capacity: Amounts = {}
    consumes_counters: Annotated[list[Consumption], BeforeValidator(_listed)] = []
    allow_multiple_allocations: bool | None = None
    taints: Annotated[list[Taint], BeforeValidator(_listed)] = []
    binds_to_node: bool | None = None
    binding_conditions: Annotated[list[str], BeforeValidator(_listed)] = []
    binding_failure_conditions: Annotated[list[str], BeforeValidator(_listed)] = []
    node_allocatable_resources: Annotated[dict[str, Any], BeforeValidator(_given)] = {}


class CounterSet(Part):
    """A counter set of a ResourceSlice."""

    name: str
    counters: Amounts = {}


class SlicePool(Part):
    """The pool of a ResourceSlice."""

    name: str
    generation: int = 0
    resource_slice_count: int = 1


class SliceSpec(Part):
    """A ResourceSlice's spec."""

    driver: str
    pool: SlicePool
    node_name: str | None = None
    devices: Annotated[list[Device], BeforeValidator(_listed)] = []
    shared_counters: Annotated[list[CounterSet], BeforeValidator(_listed)] = []
    skip_node_operations: Annotated[list[str], BeforeValidator(_listed)] = []


class ResourceSlice(Object):
    """A ResourceSlice."""

    spec: SliceSpec


class Cel(Part):
    """A CEL expression."""

    expression: str


class Selector(Part):
    """A selector."""

    cel: Cel | None = None


Selectors = Annotated[list[Selector], BeforeValidator(_listed)]


class ClassSpec(Part):
    """A DeviceClass's spec."""

    selectors: Selectors = []
    extended_resource_name: str | None = None


class DeviceClass(Object):
    """A DeviceClass."""

    spec: Annotated[ClassSpec, BeforeValidator(_given)] = ClassSpec()


class RequestedCapacity(Part):
    """How much of devices' capacity a request asks for."""

    requests: Quantities = {}


class Selection(Part):
    """What a request, or one of its alternatives, asks for."""

    device_class_name: str
    selectors: Selectors = []
    allocation_mode: str = "ExactCount"
    count: int = 1
    admin_access: bool | None = None
    capacity: RequestedCapacity | None = None
    tolerations: Annotated[list[dict[str, Any]], BeforeValidator(_listed)] = []
    derived_attributes: Annotated[list[dict[str, str]], BeforeValidator(_listed)] = []


class Alternative(Selection):
    """An alternative of a request."""

    name: str


class Request(Part):
    """A request of a claim."""

    name: str
    exactly: Selection | None = None
    first_available: Annotated[list[Alternative], BeforeValidator(_listed)] = []


class Constraint(Part):
    """A constraint of a claim."""

    requests: list[str] = []
    match_attribute: str | None = None
    distinct_attribute: str | None = None


class Opaque(Part):
    """What a driver is told."""

    driver: str
    parameters: dict[str, Any] = {}


class Config(Part):
    """What is to be told about the devices of some requests."""

    requests: list[str] = []
    opaque: Opaque | None = None


class ClaimDevices(Part):
    """What a claim asks for."""

    requests: Annotated[list[Request], BeforeValidator(_listed)] = []
    constraints: Annotated[list[Constraint], BeforeValidator(_listed)] = []
    config: Annotated[list[Config], BeforeValidator(_listed)] = []


class ClaimSpec(Part):
    """A ResourceClaim's spec."""

    devices: Annotated[ClaimDevices, BeforeValidator(_given)] = ClaimDevices()


class Result(Part):
    """A device that a claim has."""

    request: str = ""
    driver: str
    pool: str
    device: str
    admin_access: bool | None = None
    consumed_capacity: Quantities = {}


class AllocatedDevices(Part):
    """The devices that a claim has."""

    results: Annotated[list[Result], BeforeValidator(_listed)] = []


class Allocation(Part):
    """An allocation."""

    devices: Annotated[AllocatedDevices, BeforeValidator(_given)] = AllocatedDevices()


class Consumer(Part):
    """Whom a claim is reserved for."""

    resource: str = "pods"
    name: str


class ClaimStatus(Part):
    """A ResourceClaim's status."""

    allocation: Allocation | None = None
    reserved_for: Annotated[list[Consumer], BeforeValidator(_listed)] = []


class ResourceClaim(Object):
    """A ResourceClaim."""

    spec: ClaimSpec
    status: Annotated[ClaimStatus, BeforeValidator(_given)] = ClaimStatus()


class TemplateSpec(Part):
    """A ResourceClaimTemplate's spec."""

    spec: ClaimSpec


class ResourceClaimTemplate(Object):
    """A ResourceClaimTemplate."""

    spec: TemplateSpec


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
    """What a container asks for."""

    claims: Annotated[list[ContainerClaim], BeforeValidator(_listed)] = []
    requests: Quantities = {}


class Container(Part):
    """A container of a pod."""

    name: str
    resources: Annotated[Resources, BeforeValidator(_given)] = Resources()


class Toleration(Part):
    """A toleration of a pod."""

    key: str | None = None
    operator: str = "Equal"
    value: str | None = None
    effect: str | None = None
    toleration_seconds: int | None = None


class Expression(Part):
    """An expression of a node selector."""

    key: str
    operator: str
    values: list[str] = []


class Term(Part):
    """A term of a node selector."""

    match_expressions: Annotated[list[Expression], BeforeValidator(_listed)] = []


class Terms(Part):
    """The terms of a node selector, one of which has to hold."""

    node_selector_terms: Annotated[list[Term], BeforeValidator(_listed)] = []


class NodeAffinity(Part):
    """Which nodes a pod has to be on."""

    required_during_scheduling_ignored_during_execution: Terms | None = None


class Affinity(Part):
    """Where a pod has to be."""

    node_affinity: NodeAffinity | None = None


class SchedulingGroup(Part):
    """The group that a pod is of."""

    pod_group_name: str | None = None


class PodSpec(Part):
    """A Pod's spec."""

    node_name: str | None = None
    resource_claims: Annotated[list[PodClaim], BeforeValidator(_listed)] = []
    containers: Annotated[list[Container], BeforeValidator(_listed)] = []
    node_selector: Labels = {}
    tolerations: Annotated[list[Toleration], BeforeValidator(_listed)] = []
    affinity: Affinity | None = None
    scheduling_group: SchedulingGroup | None = None


class PodClaimStatus(Part):
    """Which ResourceClaim a claim of a pod is."""

    name: str
    resource_claim_name: str | None = None


class ExtendedClaimStatus(Part):
    """Which ResourceClaim a pod has for its extended resources."""

    resource_claim_name: str


class PodStatus(Part):
    """A Pod's status."""

    phase: str = "Pending"
    resource_claim_statuses: Annotated[list[PodClaimStatus], BeforeValidator(_listed)] = []
    extended_resource_claim_status: ExtendedClaimStatus | None = None


class Pod(Object):
    """A Pod."""

    spec: PodSpec
    status: Annotated[PodStatus, BeforeValidator(_given)] = PodStatus()


class Gang(Part):
    """A group of which all get a place, or none."""

    min_count: int | None = None


class SchedulingPolicy(Part):
    """How a group is scheduled."""

    gang: Gang | None = None


class GroupSpec(Part):
    """A PodGroup's spec."""

    scheduling_policy: Annotated[SchedulingPolicy, BeforeValidator(_given)] = SchedulingPolicy()
    resource_claims: Annotated[list[PodClaim], BeforeValidator(_listed)] = []


class PodGroup(Object):
    """A PodGroup."""

    spec: GroupSpec


class DeviceSelector(Part):
    """Which devices a DeviceTaintRule is about."""

    driver: str | None = None
    pool: str | None = None
    device: str | None = None


class RuleSpec(Part):
    """A DeviceTaintRule's spec."""

    device_selector: DeviceSelector | None = None
    taint: Taint


class DeviceTaintRule(Object):
    """A DeviceTaintRule."""

    api_version: str = ""
    spec: RuleSpec

    @property
    def selects_nothing(self) -> bool:
        """Whether it has no selector: of Kubernetes 1.37.1 or newer, which has rules in v1, that selects no device."""
        return self.spec.device_selector is None and self.api_version == "resource.k8s.io/v1"


KINDS: dict[str, type[Object]] = {
    "Node": Node,
    "ResourceSlice": ResourceSlice,
    "DeviceClass": DeviceClass,
    "ResourceClaim": ResourceClaim,
    "ResourceClaimTemplate": ResourceClaimTemplate,
    "Pod": Pod,
    "PodGroup": PodGroup,
    "DeviceTaintRule": DeviceTaintRule,
}
"""What a twin is made of."""

GROUPS = {
    "Node": "",
    "Pod": "",
    "PodGroup": "scheduling.k8s.io",
}
"""The API groups of the kinds that are not of resource.k8s.io."""
