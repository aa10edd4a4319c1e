"""Device models: what a kind of device looks like in a ResourceSlice, and on the Node that has it."""

import re
from functools import cached_property
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, PlainValidator, model_validator

from topology.kubernetes import limits
from topology.kubernetes.quantities import number
from topology.schema.base import Model
from topology.schema.capacity import Capacity, Counters, NodeAllocatableName, NodeAllocatableResource
from topology.schema.hosts import NamedHost, NodeShape
from topology.schema.placeholders import (
    DEVICE_PLACEHOLDERS,
    NAME_PLACEHOLDERS,
    NUMBER_PLACEHOLDERS,
    SLICE_PLACEHOLDERS,
    fill,
    template,
    used_in,
)
from topology.schema.values import (
    CelExpression,
    DnsLabel,
    DnsSubdomain,
    DriverName,
    ExtendedResourceName,
    LabelKey,
    QualifiedName,
    Quantity,
    SemanticVersion,
    named,
    problem,
)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?[0-9]+", text) is not None


def _int_or_placeholder(value: object) -> object:
    if isinstance(value, str) and used_in(value) and _is_number(fill(value, dict.fromkeys(NUMBER_PLACEHOLDERS, 0))):
        return value
    if not isinstance(value, int) or isinstance(value, bool):
        raise problem(f"has to be a whole number or {{index}}, but is {value!r}")
    if abs(value) > limits.PULUMI_INTEGER_MAX:
        raise problem(f"may be at most {limits.PULUMI_INTEGER_MAX} either way: Pulumi hands numbers on as doubles")
    return value


_Item = TypeVar("_Item")
_List = Annotated[list[_Item], Field(min_length=1)]


_WITH_PLACEHOLDERS = ("string", "int", "strings", "ints")


class DeviceAttribute(Model):
    """A `DeviceAttribute` of resource.k8s.io: exactly one typed value, or a list of them.

    Placeholders (docs/configuration.md, "Placeholders") stand for what differs from device to device.
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
    def wire(self) -> tuple[str, Any]:
        """The type and the value, as on the wire but for placeholders."""
        ((kind, value),) = self.model_dump(by_alias=True, exclude_unset=True).items()
        return kind, value

    @cached_property
    def has_placeholders(self) -> bool:
        """Whether it differs from device to device."""
        kind, value = self.wire
        values = value if self.is_list else [value]
        return kind in _WITH_PLACEHOLDERS and any(used_in(str(text)) for text in values)

    @property
    def texts(self) -> list[str]:
        """The texts in which placeholders may be."""
        return [text for text in (self.string, *(self.strings or [])) if text is not None]

    @property
    def is_list(self) -> bool:
        """Whether it has a list of values."""
        return bool(self.strings or self.versions or self.ints or self.bools)

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        values = [value for value in self.model_dump(exclude_unset=True).values() if value is not None]
        if len(values) != 1 or len(self.model_fields_set) != 1:
            raise problem(
                "has to have exactly one of string, int, bool and version, or of their lists strings, ints, bools and "
                "versions, such as {string: gpu}"
            )
        return self


Attributes = dict[QualifiedName, DeviceAttribute]
DeviceName = Annotated[str, template(NAME_PLACEHOLDERS)]


class DeviceClass(Model):
    """A DeviceClass: devices for which every CEL selector is true."""

    name: DnsSubdomain
    selectors: Annotated[list[CelExpression], Field(max_length=limits.DEVICE_SELECTORS_MAX)] = []
    extended_resource_name: ExtendedResourceName | None = None


class Partition(Model):
    """One way to use a part of a device, as a device of its own that consumes some of the whole one's `counters`.

    `attributes` and `allow_multiple_allocations` go over the whole device's. Without `consumes_counters` the partition
    takes all of them. Parts of one device are only allocated together if they have one of their `compatibility_groups`
    in common, or none at all.
    """

    device_name: DeviceName
    attributes: Attributes = {}
    capacity: Capacity = {}
    consumes_counters: Annotated[Counters, Field(min_length=1)] | None = None
    compatibility_groups: Annotated[list[DnsLabel], Field(max_length=limits.COMPATIBILITY_GROUPS_MAX)] = []
    allow_multiple_allocations: bool | None = None


class MigProfile(Model):
    """A GPU instance profile: one row of `nvidia-smi mig -lgip`, and where `-lgipp` lets it begin.

    `id` is the profile's id; `size` and `placements` count memory slices.
    """

    name: Annotated[str, Field(pattern=r"^[1-9]g\.[0-9]+gb(\+me)?$")]
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

    `slot` names which address of the host's slots such devices have (`{pcieRoot}`, `{pciBusID}`, `{numaNode}`), `host`
    the host that nodes with such devices are, unless the pool says otherwise. `mig` lists the profiles that the GPU can
    be cut into. `partitions` are for other drivers' devices that are published in parts instead of the whole, with the
    `counters` that the parts share, if they do. `sorted_by_name` says that the driver lists its devices by name, not by
    number. `node_allocatable_resources` say what allocations count for on the node, by its resource.
    `skip_node_operations` says which calls of kubelets the driver does without. `slice_name` may use `{suffix}`, five
    characters that stay the same for the same slice. A pod with such a device is bound to its node when all of the
    `binding_conditions` are true of the device, which KWOK sees to, and not if one of the `binding_failure_conditions`
    is. `binds_to_node` says that an allocation is for the node of the pod alone.
    `sources` say where the values are from, `unverified` which of them, by their path, nobody published, and why.
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
    skip_node_operations: list[Literal["NodePrepareResources", "NodeUnprepareResources", "*"]] = []
    slot: Literal["gpu", "nic"] | None = None
    host: NamedHost | None = None
    node: NodeShape = NodeShape()
    mig: list[MigProfile] = []
    counter_set: DeviceName | None = None
    counters: Counters = {}
    partitions: list[Partition] = []
    sources: list[str] = []
    unverified: dict[str, str] = {}

    @model_validator(mode="after")
    def _within_limits(self) -> Self:
        size = len(self.attributes) + len(self.capacity)
        if size > limits.DEVICE_ATTRIBUTES_AND_CAPACITIES_MAX:
            raise problem(
                f"has {size} attributes and capacities; the Kubernetes API allows a device "
                f"{limits.DEVICE_ATTRIBUTES_AND_CAPACITIES_MAX} together"
            )
        return self

    @model_validator(mode="after")
    def _maps_what_it_has(self) -> Self:
        if self.node_allocatable_resources and (self.partitions or self.mig):
            raise problem("has nodeAllocatableResources, which are for whole devices: leave out partitions and mig")
        for name, entry in self.node_allocatable_resources.items():
            key = entry.mapping and entry.mapping.capacity_key
            if key and key not in self.capacity:
                raise problem(
                    f"maps {key} to {name}, but has no such capacity: it has {', '.join(self.capacity) or 'none'}"
                )
        return self

    @model_validator(mode="after")
    def _skips_what_can_be_skipped(self) -> Self:
        """Refuse what `validateSkipNodeOperations` does.

        https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/apis/resource/validation/validation.go
        """
        skipped = self.skip_node_operations
        if len(skipped) > len(set(skipped)):
            raise problem("has an operation twice in skipNodeOperations: name each once")
        if set(skipped) == {"NodePrepareResources"}:
            raise problem("skips NodePrepareResources without NodeUnprepareResources: add that, or use '*' for both")
        return self

    @model_validator(mode="after")
    def _binding_conditions_fit(self) -> Self:
        # https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/apis/resource/validation/validation.go,
        # validateDeviceBindingParameters
        if bool(self.binding_conditions) != bool(self.binding_failure_conditions):
            raise problem("has to have both bindingConditions and bindingFailureConditions, or neither")
        conditions = [*self.binding_conditions, *self.binding_failure_conditions]
        if twice := [name for index, name in enumerate(conditions) if name in conditions[:index]]:
            raise problem(f"has the condition {twice[0]} twice in bindingConditions and bindingFailureConditions")
        return self

    @model_validator(mode="after")
    def _mig_placements_fit(self) -> Self:
        # The largest profile is the whole GPU.
        slices = max((profile.size for profile in self.mig), default=0)
        for profile in self.mig:
            if max(profile.placements) + profile.size > slices:
                raise problem(
                    f"MIG profile {profile.name} of size {profile.size} is placed at {max(profile.placements)}, but "
                    f"the GPU has {slices} memory slices, the size of its largest profile"
                )
        return self

    @model_validator(mode="after")
    def _counters_fit(self) -> Self:
        if bool(self.counters) != (self.counter_set is not None):
            raise problem("has to have both counterSet and counters, or neither")
        if self.counters and not self.partitions:
            raise problem("has counters, but no partitions that share them: add partitions, or leave the counters out")
        if len(self.counters) > limits.COUNTERS_PER_SET_MAX:
            raise problem(
                f"has {len(self.counters)} counters; the Kubernetes API allows a counter set "
                f"{limits.COUNTERS_PER_SET_MAX}"
            )
        for partition in self.partitions:
            groups = partition.compatibility_groups
            if groups and not self.counters:
                raise problem(
                    f"partition {partition.device_name} has compatibilityGroups, which are for parts that share "
                    "counters: give the model a counterSet and counters, or leave the groups out"
                )
            if len(groups) > len(set(groups)):
                raise problem(f"partition {partition.device_name} has a compatibility group twice: name each once")
            consumed = partition.consumes_counters or {}
            if unknown := sorted(consumed.keys() - self.counters.keys()):
                raise problem(
                    f"partition {partition.device_name} consumes {', '.join(unknown)}, which counters lacks; "
                    f"it has {', '.join(sorted(self.counters)) or 'none'}"
                )
            for name, amount in consumed.items():
                if number(amount) > number(self.counters[name]):
                    raise problem(
                        f"partition {partition.device_name} consumes {amount} of {name}, of which counters has "
                        f"{self.counters[name]}"
                    )
        return self

    @model_validator(mode="after")
    def _only_shared_devices_have_policies(self) -> Self:
        parts = [(self.allow_multiple_allocations, self.capacity)] if not self.partitions else []
        for partition in self.partitions:
            shared = partition.allow_multiple_allocations
            parts.append((self.allow_multiple_allocations if shared is None else shared, partition.capacity))
        if any(capacity.request_policy for shared, entries in parts if not shared for capacity in entries.values()):
            raise problem("has a requestPolicy, which needs allowMultipleAllocations: true; or leave the policy out")
        return self


NamedDeviceModel = Annotated[
    DeviceModel, named("models", "device model", "{driver: …, attributes: {…}, capacity: {…}}")
]
"""The name of a device model of the catalogue, or one written out in place."""


class Driver(Model):
    """A DRA driver: the DeviceClasses that its chart ships."""

    device_classes: list[DeviceClass] = []
    sources: list[str] = []
    unverified: dict[str, str] = {}
