"""What runs on the fleet: workloads and the claims of their pods, as configured."""

import json
from collections.abc import Sequence
from graphlib import TopologicalSorter
from typing import Annotated, Any, Literal, Protocol, Self, TypeVar

from pydantic import AfterValidator, Field, model_validator
from pydantic.alias_generators import to_camel

from topology import limits
from topology.devices import Taint
from topology.model import Model, WrittenModel
from topology.progress import Maker
from topology.quantities import number
from topology.values import (
    NODE_RESOURCES,
    CelExpression,
    ContainerResourceName,
    DnsLabel,
    DnsSubdomain,
    DriverName,
    FullyQualifiedName,
    LabelKey,
    LabelValue,
    QualifiedName,
    Quantity,
    problem,
    suggestion,
)

DEFAULT_NAMESPACE = "default"


def _namespace(value: str) -> str:
    # https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/
    if value.startswith("kube-"):
        raise problem(f"{value!r} belongs to Kubernetes itself: use {DEFAULT_NAMESPACE}, or a namespace of your own")
    return value


def _each_once(requests: list[str]) -> list[str]:
    if len(requests) > len(set(requests)):
        raise problem("has a request twice: name each once, or leave requests out for all of the claim")
    return requests


Namespace = Annotated[DnsLabel, AfterValidator(_namespace)]


class Toleration(Model):
    """A pod's toleration of a node's taint; with `toleration_seconds`, only for so long after NoExecute."""

    key: LabelKey | None = None
    operator: Literal["Exists", "Equal"] = "Equal"
    value: LabelValue | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: Annotated[int, Field(ge=0, le=limits.PULUMI_INTEGER_MAX)] | None = None

    @model_validator(mode="after")
    def _fits_its_operator(self) -> Self:
        if self.operator == "Exists" and self.value:
            raise problem("has a value, which operator: Exists does not look at: leave it out, or use Equal")
        if self.operator == "Equal" and self.key is None:
            raise problem("needs a key; without one it has to have operator: Exists, for all taints")
        if self.toleration_seconds is not None and self.effect != "NoExecute":
            raise problem("has tolerationSeconds, which need effect: NoExecute")
        return self

    def tolerates(self, taint: Taint) -> bool:
        """Tell whether the taint of a Node does not keep the pod away."""
        if self.effect not in (None, taint.effect) or self.key not in (None, taint.key):
            return False
        return self.operator == "Exists" or (self.value or "") == taint.value


class DeviceToleration(Toleration):
    """A request's toleration of a device's taint; with `toleration_seconds`, only for so long after NoExecute."""

    effect: Literal["NoSchedule", "NoExecute"] | None = None


class DerivedAttribute(Model):
    """An attribute that constraints find in each device of a request: what a CEL expression gives for the device."""

    name: FullyQualifiedName
    expression: CelExpression


class DeviceSelection(Model):
    """`count` devices of a class for which every CEL selector is true, or `All` of a node.

    `capacity` is how much it takes of devices that several claims may share. `tolerations` are of devices' taints.
    `derived_attributes` are for the claim's constraints alone.
    """

    name: DnsLabel
    selectors: Annotated[list[CelExpression], Field(max_length=limits.DEVICE_SELECTORS_MAX)] = []
    allocation_mode: Literal["ExactCount", "All"] = "ExactCount"
    count: Annotated[int, Field(ge=1, le=limits.ALLOCATION_RESULTS_MAX)] = 1
    capacity: dict[QualifiedName, Quantity] = {}
    tolerations: Annotated[list[DeviceToleration], Field(max_length=limits.DEVICE_TOLERATIONS_MAX)] = []
    derived_attributes: Annotated[list[DerivedAttribute], Field(max_length=limits.DERIVED_ATTRIBUTES_MAX)] = []

    @property
    def expressions(self) -> list[str]:
        """All CEL expressions of the selection."""
        return [*self.selectors, *(attribute.expression for attribute in self.derived_attributes)]

    @model_validator(mode="after")
    def _derives_each_once(self) -> Self:
        names = [attribute.name for attribute in self.derived_attributes]
        if twice := [name for name in names if names.count(name) > 1]:
            raise problem(f"derives {twice[0]} twice: give each attribute a name of its own")
        return self

    @model_validator(mode="after")
    def _all_has_no_count(self) -> Self:
        if self.allocation_mode == "All" and "count" in self.model_fields_set:
            raise problem("has a count, which allocationMode: All does not look at: leave one of them out")
        return self


class DeviceSubRequest(DeviceSelection):
    """One of the alternatives of a request, which takes the first that a node can give."""

    device_class: str


class DeviceRequest(DeviceSelection):
    """A request of a claim: devices of a class, or the `first_available` of some alternatives.

    With `admin_access` it gets devices whether or not other claims hold them; its namespace has to allow that.
    """

    device_class: str | None = None
    admin_access: bool = False
    first_available: Annotated[list[DeviceSubRequest], Field(max_length=limits.FIRST_AVAILABLE_MAX)] = []

    def alternatives(self) -> list[DeviceSelection]:
        """Return what would satisfy the request, best first."""
        return [*self.first_available] or [self]

    @model_validator(mode="after")
    def _class_or_alternatives(self) -> Self:
        if (self.device_class is None) == (not self.first_available):
            raise problem("has to have exactly one of deviceClass and firstAvailable")
        beside = self.model_fields_set - {"name", "device_class", "first_available"}
        if self.first_available and beside:
            raise problem(
                f"has {', '.join(sorted(map(to_camel, beside)))} beside firstAvailable: put that into the alternatives"
            )
        return self


Requests = Annotated[list[str], Field(max_length=limits.DEVICE_REQUESTS_MAX), AfterValidator(_each_once)]
"""Names of a claim's requests, and of alternatives: `<request>/<alternative>`."""


class DeviceConstraint(Model):
    """What the devices of the `requests` (default: all of the claim) have in common, or what differs between them."""

    requests: Requests = []
    match_attribute: FullyQualifiedName | None = None
    distinct_attribute: FullyQualifiedName | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.match_attribute is None) == (self.distinct_attribute is None):
            raise problem("has to have exactly one of matchAttribute and distinctAttribute")
        return self


class OpaqueConfig(Model):
    """What a driver is told about the devices of the `requests` (default: all of the claim); nobody else reads it."""

    requests: Requests = []
    driver: DriverName
    parameters: dict[str, Any]

    @model_validator(mode="after")
    def _not_too_long(self) -> Self:
        try:
            text = json.dumps(self.parameters, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        except ValueError:
            raise problem("has parameters with a number that JSON cannot write: leave it out") from None
        length = len(text.encode())
        if length > limits.OPAQUE_PARAMETERS_MAX:
            raise problem(
                f"has parameters of {length} bytes as JSON; the Kubernetes API allows {limits.OPAQUE_PARAMETERS_MAX}: "
                "leave some out"
            )
        return self


class ClaimSpec(Model):
    """What a claim asks for: a ResourceClaim's `spec.devices`."""

    requests: Annotated[list[DeviceRequest], Field(max_length=limits.DEVICE_REQUESTS_MAX)] = []
    constraints: Annotated[list[DeviceConstraint], Field(max_length=limits.DEVICE_CONSTRAINTS_MAX)] = []
    config: Annotated[list[OpaqueConfig], Field(max_length=limits.DEVICE_CONFIG_MAX)] = []

    @model_validator(mode="after")
    def _fits_one_allocation(self) -> Self:
        counts = [max(alternative.count for alternative in request.alternatives()) for request in self.requests]
        if sum(counts) > limits.ALLOCATION_RESULTS_MAX:
            raise problem(
                f"asks for {sum(counts)} devices; the Kubernetes API allows one claim {limits.ALLOCATION_RESULTS_MAX}: "
                "spread them over several claims"
            )
        return self

    @model_validator(mode="after")
    def _names_its_requests(self) -> Self:
        known = [request.name for request in self.requests]
        known += [f"{one.name}/{other.name}" for one in self.requests for other in one.first_available]
        entries = [(f"constraints[{index}]", entry.requests) for index, entry in enumerate(self.constraints)]
        entries += [(f"config[{index}]", entry.requests) for index, entry in enumerate(self.config)]
        for key, names in entries:
            for name in names:
                if name not in known:
                    raise problem(
                        f"{key} is about a request {name!r} that the claim does not have{suggestion(name, known)} "
                        f"Its requests are {', '.join(known)}"
                    )
        return self

    @model_validator(mode="after")
    def _uses_what_it_derives(self) -> Self:
        """Refuse what `validateDeviceDerivedAttribute` does.

        https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/apis/resource/validation/validation.go
        """
        for request in self.requests:
            for selection in request.alternatives():
                names = {request.name, f"{request.name}/{selection.name}"}
                used = [entry for entry in self.constraints if not entry.requests or names & set(entry.requests)]
                for attribute in selection.derived_attributes:
                    if not any(attribute.name in (entry.match_attribute, entry.distinct_attribute) for entry in used):
                        raise problem(
                            f"request {request.name} derives {attribute.name}, which no constraint about it uses: name "
                            "it in a matchAttribute or distinctAttribute, or leave it out"
                        )
        return self


class SharedClaim(ClaimSpec):
    """A ResourceClaim that pods of any workload in its namespace can use together."""

    name: DnsSubdomain
    namespace: Namespace = DEFAULT_NAMESPACE
    requests: Annotated[list[DeviceRequest], Field(min_length=1, max_length=limits.DEVICE_REQUESTS_MAX)]


class Claim(ClaimSpec):
    """A claim of each pod of a workload: made from a ResourceClaimTemplate, or the shared `claim` of that name.

    `template` names that ResourceClaimTemplate; without it, it is called `<workload>-<claim>`.
    """

    name: DnsLabel
    template: DnsSubdomain | None = None
    claim: DnsSubdomain | None = None

    @model_validator(mode="after")
    def _own_or_shared(self) -> Self:
        if self.claim is None and not self.requests:
            raise problem("has no requests: give it at least one, or name a shared claim of kwok-dra:claims")
        if self.claim is not None and self.model_fields_set - {"name", "claim"}:
            raise problem("names a shared claim, which says everything else: leave only name and claim")
        return self


class ContainerClaim(Model):
    """What a container uses: a claim of its pod, or only one `request` of it."""

    name: DnsLabel
    request: str | None = None


class Container(Model):
    """A fake container: what it uses of the pod's claims, and the `resources` that it asks for.

    Those are cpu, memory and ephemeral-storage of the node, and extended resources, which have a domain:
    https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/.
    """

    name: DnsLabel
    claims: list[ContainerClaim] = []
    resources: dict[ContainerResourceName, Quantity] = {}

    @property
    def extended_resources(self) -> dict[str, int]:
        """How many it asks for of each extended resource."""
        return {name: int(number(amount)) for name, amount in self.resources.items() if name not in NODE_RESOURCES}

    @property
    def node_resources(self) -> dict[str, str]:
        """How much it asks for of what nodes have by themselves."""
        return {name: amount for name, amount in self.resources.items() if name in NODE_RESOURCES}

    @model_validator(mode="after")
    def _asks_for_amounts_that_there_are(self) -> Self:
        for name, amount in self.resources.items():
            if not number(amount):
                raise problem(f"asks for {name}: 0: leave it out, or ask for more")
            if name not in NODE_RESOURCES and (number(amount) % 1 or number(amount) > limits.RESOURCE_COUNT_MAX):
                raise problem(
                    f"asks for {name}: {amount}: an extended resource is a whole number, "
                    f"{limits.RESOURCE_COUNT_MAX} at most"
                )
        return self

    @model_validator(mode="after")
    def _uses_each_once(self) -> Self:
        for claim in self.claims:
            others = [other for other in self.claims if other is not claim and other.name == claim.name]
            if any(claim.request in (None, other.request) for other in others):
                raise problem(
                    f"uses claim {claim.name} twice: name it once for all of its requests, or each request once"
                )
        return self


class Expectation(Model):
    """How a workload's claims are to stand in the end: so many allocated, so many pending."""

    allocated: Annotated[int, Field(ge=0)] | None = None
    pending: Annotated[int, Field(ge=0)] = 0


class PodGroup(Model):
    """The group that the pods of a workload are to the scheduler: all or none of the first `min_count` get a place.

    Of each of the `claims`, by their names in the pod, there is one for the whole group.

    https://github.com/kubernetes/enhancements/tree/master/keps/sig-scheduling/4671-gang-scheduling
    https://github.com/kubernetes/enhancements/tree/master/keps/sig-node/5729-resourceclaim-support-for-workloads
    """

    min_count: Annotated[int, Field(ge=1, le=limits.CLUSTER_PODS_MAX)] | None = None
    claims: Annotated[list[DnsLabel], Field(max_length=limits.POD_GROUP_CLAIMS_MAX)] = []


Provisioning = Literal["objects", "bulk"]
"""What a resource of the stack is: each object, or a batch of them."""


class Workload(WrittenModel):
    """A Deployment, a Job or bare pods: `replicas` fake pods with the `claims`, on nodes that `node_selector` allows.

    Without `containers` there is one that uses every claim. With `pod_group` they are one group. The workload is made
    `after` others, once those stand as expected. What it expects (default: every claim is allocated and every pod
    runs) has to hold after `ready_timeout_seconds`, or the update fails and says why. Bare pods may have another
    `provisioning`.
    """

    name: DnsLabel
    kind: Literal["Deployment", "Job", "Pod"] = "Deployment"
    namespace: Namespace = DEFAULT_NAMESPACE
    replicas: Annotated[int, Field(ge=0, le=limits.CLUSTER_PODS_MAX)] = 1
    pod_group: PodGroup | None = None
    claims: list[Claim] = []
    containers: list[Container] = []
    node_selector: dict[LabelKey, LabelValue] = {}
    tolerations: list[Toleration] = []
    after: list[DnsLabel] = []
    expect: Expectation = Expectation()
    ready_timeout_seconds: Annotated[int, Field(ge=1, le=86_400)] = 120
    provisioning: Provisioning = "objects"

    def makers(self) -> list[Maker]:
        """Return what makes the pods."""
        if self.kind == "Pod":
            return [(self.kind, self.namespace, name) for name in self.pod_names()]
        return [(self.kind, self.namespace, self.name)]

    def pod_names(self) -> list[str]:
        """Return the names of bare pods."""
        return [f"{self.name}-{index}" for index in range(self.replicas)]

    def template_name(self, claim: Claim) -> str:
        """Return the name of the ResourceClaimTemplate of `claim`."""
        return claim.template or f"{self.name}-{claim.name}"

    @property
    def fewest_pods(self) -> int:
        """How many pods there have to be room for, if any of them is to run."""
        return (self.pod_group and self.pod_group.min_count) or 1

    @property
    def group_claims(self) -> list[Claim]:
        """The claims of which there is one for the whole group of pods."""
        return [claim for claim in self.claims if self.pod_group and claim.name in self.pod_group.claims]

    def all_containers(self) -> list[Container]:
        """Return the containers of each pod."""
        claims = [ContainerClaim(name=claim.name) for claim in self.claims]
        return self.containers or [Container(name="fake-container", claims=claims)]

    @property
    def extended_resources(self) -> set[str]:
        """The extended resources that the pods ask for."""
        return {name for container in self.containers for name in container.extended_resources}

    @property
    def claims_per_pod(self) -> int:
        """How many claims each pod has; all of its extended resources are one."""
        return len(self.claims) + bool(self.extended_resources)

    @property
    def expected_pending(self) -> int:
        """How many claims are to be pending."""
        return self.expect.pending

    @property
    def expected_allocated(self) -> int:
        """How many claims are to be allocated: all that are not to be pending, unless it is said."""
        if self.expect.allocated is not None:
            return self.expect.allocated
        return max(self.replicas * self.claims_per_pod - self.expect.pending, 0)

    @model_validator(mode="after")
    def _is_not_too_large(self) -> Self:
        if self.kind == "Pod" and self.provisioning == "objects" and self.replicas > limits.BARE_PODS_MAX:
            raise problem(
                f"has {self.replicas} bare pods, each a Pulumi resource; there can be {limits.BARE_PODS_MAX}: use "
                "provisioning: bulk, or kind Deployment or Job"
            )
        return self

    @model_validator(mode="after")
    def _is_many_objects(self) -> Self:
        if self.kind != "Pod" and self.provisioning == "bulk":
            raise problem(f"is of kind {self.kind}, which is one object: leave provisioning out")
        return self

    @model_validator(mode="after")
    def _claims_something(self) -> Self:
        if not self.claims_per_pod:
            raise problem("has no claims: give it claims, or containers with extended resources")
        return self

    @model_validator(mode="after")
    def _group_has_its_claims_and_pods(self) -> Self:
        if self.pod_group is None:
            return self
        known = [claim.name for claim in self.claims]
        for name in self.pod_group.claims:
            if name not in known:
                raise problem(
                    f"podGroup.claims has a claim {name!r} that the workload does not have{suggestion(name, known)} "
                    f"Its claims are {', '.join(known) or 'none'}"
                )
            if self.pod_group.claims.count(name) > 1:
                raise problem(f"podGroup.claims has claim {name} twice: name each once")
        if 0 < self.replicas < (self.pod_group.min_count or 0):
            raise problem(
                f"podGroup.minCount is {self.pod_group.min_count}, but it has {self.replicas} "
                f"pod{'s' if self.replicas > 1 else ''} (replicas): they would wait for the others for good"
            )
        return self

    @model_validator(mode="after")
    def _containers_use_its_claims(self) -> Self:
        known = {claim.name: [request.name for request in claim.requests] for claim in self.claims}
        for container in self.containers:
            for used in container.claims:
                if used.name not in known:
                    raise problem(
                        f"container {container.name} uses a claim {used.name!r} that the workload does not have"
                        f"{suggestion(used.name, known)} Its claims are {', '.join(known)}"
                    )
                if used.request and known[used.name] and used.request not in known[used.name]:
                    raise problem(
                        f"container {container.name} uses a request {used.request!r} that claim {used.name} does not "
                        f"have{suggestion(used.request, known[used.name])} They are {', '.join(known[used.name])}"
                    )
        return self

    @model_validator(mode="after")
    def _expects_what_there_is(self) -> Self:
        total = self.replicas * self.claims_per_pod
        if self.expected_allocated + self.expect.pending != total:
            raise problem(
                f"expects {self.expected_allocated} claims allocated and {self.expect.pending} pending, but its "
                f"{self.replicas} pods have {total} together"
            )
        return self


class Ordered(Protocol):
    """What can come after others of its kind."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def after(self) -> list[str]:
        """The names of those that it comes after."""


_T = TypeVar("_T", bound=Ordered)


def in_order(entries: Sequence[_T]) -> list[_T]:
    """Return the entries so that each comes after those that it names.

    Raises:
        graphlib.CycleError: some come after each other.
    """
    by_name = {entry.name: entry for entry in entries}
    sorter = TopologicalSorter({entry.name: [name for name in entry.after if name in by_name] for entry in entries})
    return [by_name[name] for name in sorter.static_order()]
