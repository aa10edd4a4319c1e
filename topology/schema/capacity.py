"""Capacities of devices, the counters that devices share, and the node resources that devices use."""

from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from topology.kubernetes import limits
from topology.kubernetes.quantities import number
from topology.schema.base import Model
from topology.schema.values import DnsLabel, QualifiedName, Quantity, problem


class CapacityRange(Model):
    """A `CapacityRequestPolicyRange`: the amounts that a request may ask for."""

    min: Quantity
    max: Quantity | None = None
    step: Quantity | None = None


class RequestPolicy(Model):
    """A `CapacityRequestPolicy`: how much of a shared device's capacity a request gets."""

    default: Quantity | None = None
    valid_values: Annotated[list[Quantity], Field(max_length=limits.REQUEST_POLICY_VALUES_MAX)] | None = None
    valid_range: CapacityRange | None = None


class DeviceCapacity(Model):
    """A `DeviceCapacity` of resource.k8s.io; without a request policy, the configuration may give the value alone."""

    value: Quantity
    request_policy: RequestPolicy | None = None

    @cached_property
    def wire(self) -> dict[str, Any]:
        """The capacity as the Kubernetes API represents it."""
        return self.model_dump(by_alias=True, exclude_none=True)

    @model_validator(mode="after")
    def _policy_fits(self) -> Self:
        if self.request_policy and (wrong := _wrong_with(self.request_policy, number(self.value))):
            raise problem(f"requestPolicy {wrong}")
        return self


def _wrong_with(policy: RequestPolicy, whole: Decimal) -> str | None:
    """Return what the API server would reject: `validateRequestPolicy` and the functions that it calls.

    https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/apis/resource/validation/validation.go
    """
    if policy.valid_values and policy.valid_range:
        return "must not have both validValues and validRange: remove one of them"
    if not (policy.valid_values or policy.valid_range):
        return None
    if policy.default is None:
        return "needs a default: the amount for requests that ask for none"
    default = number(policy.default)
    if policy.valid_values:
        return _wrong_with_values([number(value) for value in policy.valid_values], default, whole)
    assert policy.valid_range
    return _wrong_with_range(policy.valid_range, default, whole)


def _wrong_with_values(values: list[Decimal], default: Decimal, whole: Decimal) -> str | None:
    if values != sorted(set(values)):
        return "must list its validValues in ascending order, each once"
    if default not in values:
        return "must have a default that is one of its validValues"
    return "must not have validValues above the value of the capacity" if values[-1] > whole else None


def _wrong_with_range(valid: CapacityRange, default: Decimal, whole: Decimal) -> str | None:
    least, most = number(valid.min), number(valid.max) if valid.max else whole
    if not least <= default <= most <= whole:
        return "needs a validRange with min <= default <= max <= the value of the capacity"
    if valid.step is None:
        return None
    step = number(valid.step)
    if step <= 0 or least + step > whole:
        return "needs a step above zero, with min + step <= the value of the capacity"
    if (default - least) % step or (valid.max and (most - least) % step):
        return "must have a default and a max that are whole steps above min"
    return None


class NodeAllocatableMapping(Model):
    """A `NodeAllocatableMapping`: what a claim uses of a node, per device or by the capacity that it consumes."""

    capacity_key: QualifiedName | None = None
    capacity_multiplier: Quantity | None = None
    device_multiplier: Quantity | None = None

    @model_validator(mode="after")
    def _by_capacity_or_by_device(self) -> Self:
        by_capacity = (self.capacity_key is not None, self.capacity_multiplier is not None)
        if by_capacity not in ((True, True), (False, False)) or by_capacity[0] == (self.device_multiplier is not None):
            raise problem("must have either capacityKey and capacityMultiplier, or deviceMultiplier")
        if number(self.capacity_multiplier or self.device_multiplier or "1") <= 0:
            raise problem("must have a multiplier above zero")
        return self


class NodeAllocatableOverhead(Model):
    """A `NodeAllocatableOverhead`: what pods with such a device use of a node in addition."""

    per_pod: Quantity | None = None
    per_container: Quantity | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.per_pod is None and self.per_container is None:
            raise problem("must have perPod, perContainer or both")
        return self


class NodeAllocatableResource(Model):
    """A `NodeAllocatableResource`: what a device's allocation uses of a node's cpu, memory or huge pages."""

    mapping: NodeAllocatableMapping | None = None
    overhead: NodeAllocatableOverhead | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.mapping is None and self.overhead is None:
            raise problem("must have a mapping, an overhead or both")
        return self


def _capacity(value: object) -> object:
    return value if isinstance(value, dict | DeviceCapacity) else {"value": value}


Capacity = dict[QualifiedName, Annotated[DeviceCapacity, BeforeValidator(_capacity)]]

Counters = dict[DnsLabel, Quantity]
