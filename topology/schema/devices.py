"""Device models: what a driver publishes about a device in a ResourceSlice, and what its Node has."""

import re
from functools import cached_property
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, PlainValidator, PrivateAttr, model_validator

from topology.kubernetes import limits
from topology.kubernetes.quantities import number
from topology.schema.base import Model
from topology.schema.capacity import Capacity, Counters, NodeAllocatableResource
from topology.schema.hosts import NamedHost, NodeShape
from topology.schema.placeholders import (
    DEVICE_PLACEHOLDERS,
    EXAMPLE,
    NAME_PLACEHOLDERS,
    NUMBER_PLACEHOLDERS,
    SLICE_PLACEHOLDERS,
    fill,
    template,
    used_in,
)
from topology.schema.values import (
    EACH_ONCE,
    DnsLabel,
    DnsSubdomain,
    DriverName,
    ExtendedResourceName,
    LabelKey,
    MigProfileName,
    NodeAllocatableName,
    ProfileName,
    QualifiedName,
    Quantity,
    Selectors,
    SemanticVersion,
    duplicate,
    named,
    problem,
    shown,
)


def _shares(value: object) -> object:
    if value not in ("unlimited", "memory") and not (type(value) is int and 0 < value <= limits.PULUMI_INTEGER_MAX):
        raise problem(f"must be unlimited, memory or a number of shares from 1, but is {shown(value)}")
    return value


ConsumableShares = Annotated[int | str, PlainValidator(_shares)]
"""The option `consumableShares` of NVIDIA's driver.

https://github.com/kubernetes-sigs/dra-driver-nvidia-gpu/blob/main/cmd/gpu-kubelet-plugin/consumable_shares.go
"""


def _int_or_placeholder(value: object) -> object:
    filled = fill(value, dict.fromkeys(NUMBER_PLACEHOLDERS, 0)) if isinstance(value, str) and used_in(value) else ""
    if re.fullmatch(r"-?[0-9]+", filled):
        return value
    if not isinstance(value, int) or isinstance(value, bool):
        raise problem(f"must be a whole number or a placeholder such as {{index}} or {EXAMPLE}, but is {shown(value)}")
    if abs(value) > limits.PULUMI_INTEGER_MAX:
        most = limits.PULUMI_INTEGER_MAX
        raise problem(f"must be from -{most} to {most}, because Pulumi passes numbers as doubles")
    return value


_Item = TypeVar("_Item")
_List = Annotated[list[_Item], Field(min_length=1)]


class DeviceAttribute(Model):
    """A `DeviceAttribute` of resource.k8s.io: exactly one typed value, or a list of them.

    Placeholders (docs/configuration.md, "Placeholders") are filled in for each device.
    """

    string: Annotated[str, template(DEVICE_PLACEHOLDERS)] | None = None
    version: SemanticVersion | None = None
    int_: Annotated[int | str | None, PlainValidator(_int_or_placeholder)] = Field(default=None, alias="int")
    bool_: bool | None = Field(default=None, alias="bool")
    strings: _List[Annotated[str, template(DEVICE_PLACEHOLDERS)]] | None = None
    versions: _List[SemanticVersion] | None = None
    ints: _List[Annotated[int | str, PlainValidator(_int_or_placeholder)]] | None = None
    bools: _List[bool] | None = None

    @cached_property
    def wire(self) -> dict[str, Any]:
        """The value by its type, as the Kubernetes API represents it, except for placeholders."""
        return self.model_dump(by_alias=True, exclude_unset=True)

    @cached_property
    def has_placeholders(self) -> bool:
        """Whether the value differs between devices."""
        (value,) = self.wire.values()
        return any(used_in(str(text)) for text in (value if self.is_list else [value]))

    @property
    def texts(self) -> list[str]:
        """The texts that may use placeholders."""
        return [text for text in (self.string, *(self.strings or [])) if text is not None]

    @property
    def is_list(self) -> bool:
        """Whether the value is a list."""
        return bool(self.strings or self.versions or self.ints or self.bools)

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        values = [value for value in self.model_dump(exclude_unset=True).values() if value is not None]
        if len(values) != 1 or len(self.model_fields_set) != 1:
            raise problem(
                "must have exactly one of string, int, bool and version, or of their lists strings, ints, bools and "
                "versions, such as {string: gpu}"
            )
        return self


Attributes = dict[QualifiedName, DeviceAttribute]
DeviceName = Annotated[str, template(NAME_PLACEHOLDERS)]


class DeviceClass(Model):
    """A DeviceClass: the devices that match every CEL selector."""

    name: DnsSubdomain
    selectors: Selectors = []
    extended_resource_name: ExtendedResourceName | None = None

    _driver: str = PrivateAttr(default="")

    @property
    def driver(self) -> str:
        """The driver with whose chart the class comes; empty if the stack's configuration has it."""
        return self._driver

    def shipped_by(self, driver: str) -> Self:
        """Return the class as one that comes with the chart of `driver`."""
        shipped = self.model_copy()
        shipped._driver = driver
        return shipped


class Partition(Model):
    """A part of a device, published as its own device that consumes some of the whole device's `counters`.

    `attributes` and `allow_multiple_allocations` override the whole device's. Without `consumes_counters` the
    partition consumes all counters. Partitions of a device are only allocated together if they have one of their
    `compatibility_groups` in common, or have none.
    """

    device_name: DeviceName
    attributes: Attributes = {}
    capacity: Capacity = {}
    consumes_counters: Annotated[Counters, Field(min_length=1)] | None = None
    compatibility_groups: Annotated[list[DnsLabel], Field(max_length=limits.COMPATIBILITY_GROUPS_MAX), EACH_ONCE] = []
    allow_multiple_allocations: bool | None = None


class Sibling(Model):
    """A further device that the driver publishes for the same hardware, such as a GPU for a virtual machine.

    It has only its own attributes and capacity; nothing but the driver keeps both from being used.
    """

    device_name: DeviceName
    attributes: Attributes = {}
    capacity: Capacity = {}


class MigProfile(Model):
    """A GPU instance profile: a row of `nvidia-smi mig -lgip`, and its possible placements, `-lgipp`.

    `id` is the profile ID; `size` and `placements` count memory slices.
    """

    name: MigProfileName
    id: Annotated[int, Field(ge=0)]
    size: Annotated[int, Field(ge=1, le=limits.MIG_MEMORY_SLICES)]
    placements: Annotated[list[Annotated[int, Field(ge=0, lt=limits.MIG_MEMORY_SLICES)]], Field(min_length=1)]
    multiprocessors: int
    copy_engines: int
    decoders: int
    encoders: int = 0
    jpeg_engines: int
    ofa_engines: int
    memory: Quantity


class DeviceModel(Model):
    """One kind of device, as its driver publishes it.

    `slot` selects which addresses of the host's slots the devices have (`{pcieRoot}`, `{pciBusID}`, `{numaNode}`).
    `host` is the default host of nodes with such devices. `mig` lists the profiles that the GPU can be divided into;
    with `mig_needs_reset` a GPU in MIG mode cannot be used whole, so `mig: dynamic` publishes its MIG devices alone.
    `consumable_shares` is the option of NVIDIA's driver with which several claims share a GPU or MIG device.
    `siblings` are published beside the device, `partitions` instead of it; these can share `counters`. With
    `sorted_by_name` the driver lists its devices by name, not by number. `node_allocatable_resources` is what an
    allocation uses of the node, by resource. `skip_node_operations` are the kubelet calls that the driver does not
    need. In `slice_name`, `{suffix}` is five characters that are stable for a slice. The scheduler binds a pod when all
    `binding_conditions` of its devices are true, which KWOK sets, and none of the `binding_failure_conditions` is.
    With `binds_to_node` an allocation is limited to the pod's node.
    `sources` are the sources of the values; `unverified` maps the path of each value that has none to the reason.
    A profile of `profiles` changes some keys, for another release or option of the driver: the catalogue makes of it a
    model of its own (see `topology.schema.profiles`).
    """

    driver: DriverName
    device_name: DeviceName = "gpu-{index}"
    slice_name: Annotated[str, template(SLICE_PLACEHOLDERS, required=frozenset({"node", "suffix"}))] = (
        "{node}-{driver}-{suffix}"
    )
    first_generation: Annotated[int, Field(ge=0, le=limits.PULUMI_INTEGER_MAX)] = 1
    owned_by_node: bool = True
    attributes: Attributes = {}
    capacity: Capacity = {}
    allow_multiple_allocations: bool = False
    node_allocatable_resources: dict[NodeAllocatableName, NodeAllocatableResource] = {}
    binding_conditions: Annotated[list[LabelKey], Field(max_length=limits.BINDING_CONDITIONS_MAX)] = []
    binding_failure_conditions: Annotated[list[LabelKey], Field(max_length=limits.BINDING_FAILURE_CONDITIONS_MAX)] = []
    binds_to_node: bool = False
    sorted_by_name: bool = False
    skip_node_operations: Annotated[
        list[Literal["NodePrepareResources", "NodeUnprepareResources", "*"]], EACH_ONCE
    ] = []
    slot: Literal["gpu", "nic"] | None = None
    host: NamedHost | None = None
    node: NodeShape = NodeShape()
    mig: list[MigProfile] = []
    mig_needs_reset: bool = False
    consumable_shares: ConsumableShares | None = None
    siblings: list[Sibling] = []
    counter_set: DeviceName | None = None
    counters: Counters = {}
    partitions: list[Partition] = []
    sources: list[str] = []
    unverified: dict[str, str] = {}
    profiles: dict[ProfileName, dict[str, Any]] = {}

    @model_validator(mode="before")
    @classmethod
    def _shares_are_for_several_claims(cls, written: object) -> object:
        if isinstance(written, dict) and written.get("consumableShares") is not None:
            return written | {"allowMultipleAllocations": True}
        return written

    @model_validator(mode="after")
    def _within_limits(self) -> Self:
        size = len(self.attributes) + len(self.capacity)
        if size > limits.DEVICE_ATTRIBUTES_AND_CAPACITIES_MAX:
            raise problem(
                f"has {size} attributes and capacities; the Kubernetes API allows at most "
                f"{limits.DEVICE_ATTRIBUTES_AND_CAPACITIES_MAX} per device: remove some"
            )
        return self

    @model_validator(mode="after")
    def _siblings_of_whole_devices(self) -> Self:
        if self.siblings and (self.partitions or self.mig):
            raise problem("has siblings, which are for whole devices only: remove partitions and mig")
        return self

    @model_validator(mode="after")
    def _maps_what_it_has(self) -> Self:
        if self.node_allocatable_resources and (self.partitions or self.mig):
            raise problem("has nodeAllocatableResources, which apply to whole devices only: remove partitions and mig")
        for name, entry in self.node_allocatable_resources.items():
            key = entry.mapping and entry.mapping.capacity_key
            if key and key not in self.capacity:
                raise problem(
                    f"maps the capacity {key} to the node's {name}, but has no such capacity: add it, or name one "
                    f"that it has ({', '.join(self.capacity) or 'none'})"
                )
        return self

    @model_validator(mode="after")
    def _skips_what_can_be_skipped(self) -> Self:
        """Reject what `validateSkipNodeOperations` rejects.

        https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/apis/resource/validation/validation.go
        """
        if self.skip_node_operations == ["NodePrepareResources"]:
            raise problem("skips NodePrepareResources without NodeUnprepareResources: add it, or use '*' for both")
        return self

    @model_validator(mode="after")
    def _binding_conditions_fit(self) -> Self:
        # https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/apis/resource/validation/validation.go,
        # validateDeviceBindingParameters
        if bool(self.binding_conditions) != bool(self.binding_failure_conditions):
            raise problem("must have both bindingConditions and bindingFailureConditions, or neither")
        if name := duplicate([*self.binding_conditions, *self.binding_failure_conditions]):
            raise problem(f"lists {name} more than once in bindingConditions and bindingFailureConditions")
        return self

    @model_validator(mode="after")
    def _mig_placements_fit(self) -> Self:
        # The largest profile is the whole GPU.
        slices = max((profile.size for profile in self.mig), default=0)
        for profile in self.mig:
            if max(profile.placements) + profile.size > slices:
                raise problem(
                    f"places MIG profile {profile.name} of size {profile.size} at {max(profile.placements)}, but "
                    f"the GPU has {slices} memory slices, the size of its largest profile"
                )
        return self

    @model_validator(mode="after")
    def _counters_fit(self) -> Self:
        if bool(self.counters) != (self.counter_set is not None):
            raise problem("must have both counterSet and counters, or neither")
        if self.counters and not self.partitions:
            raise problem("has counters, but no partitions that share them: add partitions, or remove the counters")
        if len(self.counters) > limits.COUNTERS_PER_SET_MAX:
            raise problem(
                f"has {len(self.counters)} counters; the Kubernetes API allows at most {limits.COUNTERS_PER_SET_MAX} "
                "per counter set: remove some"
            )
        return self

    @model_validator(mode="after")
    def _partitions_fit(self) -> Self:
        for partition in self.partitions:
            if wrong := self._wrong_with(partition):
                raise problem(f"partition {partition.device_name} {wrong}")
        return self

    def _wrong_with(self, partition: Partition) -> str | None:
        if partition.compatibility_groups and not self.counters:
            return (
                "has compatibilityGroups, which need shared counters: add counterSet and counters to the model, or "
                "remove the groups"
            )
        consumed = partition.consumes_counters or {}
        if unknown := sorted(consumed.keys() - self.counters.keys()):
            known = ", ".join(sorted(self.counters)) or "none"
            return f"consumes {', '.join(unknown)}, which counters does not have: it has {known}"
        for name, amount in consumed.items():
            if number(amount) > number(self.counters[name]):
                return f"consumes {amount} of {name}, but counters has only {self.counters[name]}"
        return None

    @model_validator(mode="after")
    def _only_shared_devices_have_policies(self) -> Self:
        parts = [(self.allow_multiple_allocations, self.capacity)] if not self.partitions else []
        for partition in self.partitions:
            shared = partition.allow_multiple_allocations
            parts.append((self.allow_multiple_allocations if shared is None else shared, partition.capacity))
        if any(capacity.request_policy for shared, entries in parts if not shared for capacity in entries.values()):
            raise problem(
                "has a requestPolicy, which needs allowMultipleAllocations: true: set it, or remove the policy"
            )
        return self


NamedDeviceModel = Annotated[
    DeviceModel, named("models", "device model", "{driver: …, attributes: {…}, capacity: {…}}")
]
"""The name of a device model of the catalogue, or an inline model."""


class Driver(Model):
    """A DRA driver: the DeviceClasses that its chart ships."""

    device_classes: list[DeviceClass] = []
    sources: list[str] = []
    unverified: dict[str, str] = {}
