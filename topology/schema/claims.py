"""The models of claims: their requests, constraints and configuration."""

import json
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic.alias_generators import to_camel

from topology.kubernetes import limits
from topology.kubernetes.objects import DEFAULT_NAMESPACE
from topology.schema.base import Model
from topology.schema.values import (
    EACH_ONCE,
    CelExpression,
    DnsLabel,
    DnsSubdomain,
    DriverName,
    FullyQualifiedName,
    LabelKey,
    LabelValue,
    QualifiedName,
    Quantity,
    Selectors,
    duplicate,
    problem,
    unknown,
)


def _namespace(value: str) -> str:
    # https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/
    if value.startswith("kube-"):
        raise problem(f"{value!r} is reserved for Kubernetes: use {DEFAULT_NAMESPACE}, or a namespace of your own")
    return value


Namespace = Annotated[DnsLabel, AfterValidator(_namespace)]


class Toleration(Model):
    """A pod's toleration of a node's taint; `toleration_seconds` limits it to that time after a NoExecute taint."""

    key: LabelKey | None = None
    operator: Literal["Exists", "Equal"] = "Equal"
    value: LabelValue | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: Annotated[int, Field(ge=0, le=limits.PULUMI_INTEGER_MAX)] | None = None

    @model_validator(mode="after")
    def _fits_its_operator(self) -> Self:
        if self.operator == "Exists" and self.value:
            raise problem("has a value, which operator: Exists ignores: remove the value, or use Equal")
        if self.operator == "Equal" and self.key is None:
            raise problem("needs a key; without a key, use operator: Exists, which tolerates all taints")
        if self.toleration_seconds is not None and self.effect != "NoExecute":
            raise problem("has tolerationSeconds, which requires effect: NoExecute: set that, or remove the seconds")
        return self


class DeviceToleration(Toleration):
    """A request's toleration of a device's taint; `toleration_seconds` limits it as for a node's taint."""

    effect: Literal["NoSchedule", "NoExecute"] | None = None


class DerivedAttribute(Model):
    """An attribute for constraints only: the value of a CEL expression for each device of a request."""

    name: FullyQualifiedName
    expression: CelExpression


class DeviceSelection(Model):
    """`count` devices of a class that match every CEL selector, or `All` such devices of a node.

    `capacity` is the amount that it consumes of devices that several claims can share.
    """

    name: DnsLabel
    selectors: Selectors = []
    allocation_mode: Literal["ExactCount", "All"] = "ExactCount"
    count: Annotated[int, Field(ge=1, le=limits.ALLOCATION_RESULTS_MAX)] = 1
    capacity: dict[QualifiedName, Quantity] = {}
    tolerations: Annotated[list[DeviceToleration], Field(max_length=limits.DEVICE_TOLERATIONS_MAX)] = []
    derived_attributes: Annotated[list[DerivedAttribute], Field(max_length=limits.DERIVED_ATTRIBUTES_MAX)] = []

    @property
    def expressions(self) -> list[str]:
        """The CEL expressions of the selectors and derived attributes."""
        return [*self.selectors, *(attribute.expression for attribute in self.derived_attributes)]

    @model_validator(mode="after")
    def _derives_each_once(self) -> Self:
        if name := duplicate([attribute.name for attribute in self.derived_attributes]):
            raise problem(f"derives {name} twice: give each attribute its own name")
        return self

    @model_validator(mode="after")
    def _all_has_no_count(self) -> Self:
        if self.allocation_mode == "All" and "count" in self.model_fields_set:
            raise problem("has a count, which allocationMode: All ignores: remove one of them")
        return self


class DeviceSubRequest(DeviceSelection):
    """One of the alternatives of a request, which gets the first alternative that a node can satisfy."""

    device_class: str


class DeviceRequest(DeviceSelection):
    """A request of a claim: devices of a class, or the `first_available` of some alternatives.

    With `admin_access` it gets devices even if other claims hold them; its namespace must allow that.
    """

    device_class: str | None = None
    admin_access: bool = False
    first_available: Annotated[list[DeviceSubRequest], Field(max_length=limits.FIRST_AVAILABLE_MAX)] = []

    def alternatives(self) -> list[DeviceSelection]:
        """Return the selections that would satisfy the request, in order of preference."""
        return [*self.first_available] or [self]

    @model_validator(mode="after")
    def _class_or_alternatives(self) -> Self:
        if (self.device_class is None) == (not self.first_available):
            raise problem("must have exactly one of deviceClass and firstAvailable")
        beside = self.model_fields_set - {"name", "device_class", "first_available"}
        if self.first_available and beside:
            keys = ", ".join(sorted(map(to_camel, beside)))
            raise problem(f"has {keys} beside firstAvailable: set it per alternative; adminAccess needs deviceClass")
        return self


Requests = Annotated[list[str], Field(max_length=limits.DEVICE_REQUESTS_MAX), EACH_ONCE]
"""Names of a claim's requests, or of alternatives as `<request>/<alternative>`."""


class DeviceConstraint(Model):
    """An attribute that the devices of the `requests` (default: all) must have in common, or must differ in."""

    requests: Requests = []
    match_attribute: FullyQualifiedName | None = None
    distinct_attribute: FullyQualifiedName | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.match_attribute is None) == (self.distinct_attribute is None):
            raise problem("must have exactly one of matchAttribute and distinctAttribute")
        return self


class OpaqueConfig(Model):
    """Parameters that only the `driver` reads, for the devices of the `requests` (default: all)."""

    requests: Requests = []
    driver: DriverName
    parameters: dict[str, Any]

    @model_validator(mode="after")
    def _not_too_long(self) -> Self:
        try:
            text = json.dumps(self.parameters, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        except ValueError:
            raise problem("has parameters with a number that JSON cannot represent: remove it") from None
        length = len(text.encode())
        if length > limits.OPAQUE_PARAMETERS_MAX:
            raise problem(
                f"has parameters of {length} bytes as JSON; the Kubernetes API allows at most "
                f"{limits.OPAQUE_PARAMETERS_MAX}: shorten them"
            )
        return self


class ClaimSpec(Model):
    """What a claim requests: a ResourceClaim's `spec.devices`."""

    requests: Annotated[list[DeviceRequest], Field(max_length=limits.DEVICE_REQUESTS_MAX)] = []
    constraints: Annotated[list[DeviceConstraint], Field(max_length=limits.DEVICE_CONSTRAINTS_MAX)] = []
    config: Annotated[list[OpaqueConfig], Field(max_length=limits.DEVICE_CONFIG_MAX)] = []

    @model_validator(mode="after")
    def _fits_one_allocation(self) -> Self:
        counts = [max(alternative.count for alternative in request.alternatives()) for request in self.requests]
        if sum(counts) > limits.ALLOCATION_RESULTS_MAX:
            raise problem(
                f"requests {sum(counts)} devices; the Kubernetes API allows at most {limits.ALLOCATION_RESULTS_MAX} "
                "per claim: spread them over several claims"
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
                    raise problem(f"{key} names a {unknown('request', name, 'the claim', known)}")
        return self

    @model_validator(mode="after")
    def _uses_what_it_derives(self) -> Self:
        """Reject what `validateDeviceDerivedAttribute` rejects.

        https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/apis/resource/validation/validation.go
        """
        for request in self.requests:
            for selection in request.alternatives():
                names = {request.name, f"{request.name}/{selection.name}"}
                used = [entry for entry in self.constraints if not entry.requests or names & set(entry.requests)]
                for attribute in selection.derived_attributes:
                    if not any(attribute.name in (entry.match_attribute, entry.distinct_attribute) for entry in used):
                        raise problem(
                            f"request {request.name} derives {attribute.name}, but no constraint on it uses that: name "
                            "it in a matchAttribute or distinctAttribute, or remove it"
                        )
        return self


class SharedClaim(ClaimSpec):
    """A ResourceClaim that pods of all workloads in its namespace can share."""

    name: DnsSubdomain
    namespace: Namespace = DEFAULT_NAMESPACE
    requests: Annotated[list[DeviceRequest], Field(min_length=1, max_length=limits.DEVICE_REQUESTS_MAX)]


class Claim(ClaimSpec):
    """A claim of each pod of a workload: created from a ResourceClaimTemplate, or a shared `claim`.

    `template` is the name of the ResourceClaimTemplate, by default `<workload>-<claim>`.
    """

    name: DnsLabel
    template: DnsSubdomain | None = None
    claim: DnsSubdomain | None = None

    @model_validator(mode="after")
    def _own_or_shared(self) -> Self:
        if self.claim is None and not self.requests:
            raise problem("has no requests: add at least one, or name a shared claim of kwok-dra:claims")
        if self.claim is not None and self.model_fields_set - {"name", "claim"}:
            raise problem("names a shared claim, which defines everything else: keep only name and claim")
        return self
