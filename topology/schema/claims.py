"""Claims as configured: what they request, under which constraints."""

import json
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic.alias_generators import to_camel

from topology.kubernetes import limits
from topology.kubernetes.objects import DEFAULT_NAMESPACE
from topology.schema.base import Model
from topology.schema.hosts import Taint
from topology.schema.values import (
    CelExpression,
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
