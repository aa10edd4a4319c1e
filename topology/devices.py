"""Device models: what a kind of device looks like in a ResourceSlice, and on the Node that has it."""

import re
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from topology import limits
from topology.model import Model
from topology.placeholders import (
    DEVICE_PLACEHOLDERS,
    NAME_PLACEHOLDERS,
    NODE_PLACEHOLDERS,
    NUMBER_PLACEHOLDERS,
    SLICE_PLACEHOLDERS,
    fill,
    template,
    used_in,
)
from topology.quantities import number
from topology.references import named
from topology.values import (
    CelExpression,
    DnsLabel,
    DnsSubdomain,
    DriverName,
    ExtendedResourceName,
    LabelKey,
    LabelValue,
    PciAddress,
    PciRoot,
    QualifiedName,
    Quantity,
    ResourceName,
    SemanticVersion,
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


class CapacityRange(Model):
    """A `CapacityRequestPolicyRange`: what amounts a request may ask for."""

    min: Quantity
    max: Quantity | None = None
    step: Quantity | None = None


class RequestPolicy(Model):
    """A `CapacityRequestPolicy`: how much of a shared device's capacity a request gets."""

    default: Quantity | None = None
    valid_values: Annotated[list[Quantity], Field(max_length=limits.REQUEST_POLICY_VALUES_MAX)] | None = None
    valid_range: CapacityRange | None = None


class DeviceCapacity(Model):
    """A `DeviceCapacity` of resource.k8s.io; where there is no request policy, its value alone will do."""

    value: Quantity
    request_policy: RequestPolicy | None = None

    @cached_property
    def wire(self) -> dict[str, Any]:
        """The capacity as on the wire."""
        return self.model_dump(by_alias=True, exclude_none=True)

    @model_validator(mode="after")
    def _policy_fits(self) -> Self:
        if self.request_policy and (wrong := _wrong_with(self.request_policy, number(self.value))):
            raise problem(f"requestPolicy {wrong}")
        return self


def _wrong_with(policy: RequestPolicy, whole: Decimal) -> str | None:
    """Say what the API server would refuse: `validateRequestPolicy` and below.

    https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/apis/resource/validation/validation.go
    """
    if policy.valid_values and policy.valid_range:
        return "has validValues and validRange; only one of them is possible"
    if not (policy.valid_values or policy.valid_range):
        return None
    if policy.default is None:
        return "needs a default: the amount that a request gets which asks for none"
    default = number(policy.default)
    if policy.valid_values:
        return _wrong_with_values([number(value) for value in policy.valid_values], default, whole)
    assert policy.valid_range
    return _wrong_with_range(policy.valid_range, default, whole)


def _wrong_with_values(values: list[Decimal], default: Decimal, whole: Decimal) -> str | None:
    if values != sorted(set(values)):
        return "has to have its validValues in ascending order, each once"
    if default not in values:
        return "has to have its default among the validValues"
    return "has validValues above the value of the capacity" if values[-1] > whole else None


def _wrong_with_range(valid: CapacityRange, default: Decimal, whole: Decimal) -> str | None:
    least, most = number(valid.min), number(valid.max) if valid.max else whole
    if not least <= default <= most <= whole:
        return "has to have min <= default <= max <= the value of the capacity in its validRange"
    if valid.step is None:
        return None
    step = number(valid.step)
    if step <= 0 or least + step > whole:
        return "has to have a step above zero that fits into the capacity"
    if (default - least) % step or (valid.max and (most - least) % step):
        return "has to have its default and max whole steps above min"
    return None


class NodeAllocatableMapping(Model):
    """A `NodeAllocatableMapping`: what a claim takes of a node, for each device or by the capacity that it consumes."""

    capacity_key: QualifiedName | None = None
    capacity_multiplier: Quantity | None = None
    device_multiplier: Quantity | None = None

    @model_validator(mode="after")
    def _by_capacity_or_by_device(self) -> Self:
        by_capacity = (self.capacity_key is not None, self.capacity_multiplier is not None)
        if by_capacity not in ((True, True), (False, False)) or by_capacity[0] == (self.device_multiplier is not None):
            raise problem("has to have either capacityKey and capacityMultiplier, or deviceMultiplier")
        if number(self.capacity_multiplier or self.device_multiplier or "1") <= 0:
            raise problem("has to have a multiplier above zero")
        return self


class NodeAllocatableOverhead(Model):
    """A `NodeAllocatableOverhead`: what pods with such a device need of a node besides."""

    per_pod: Quantity | None = None
    per_container: Quantity | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.per_pod is None and self.per_container is None:
            raise problem("has to have perPod, perContainer or both")
        return self


class NodeAllocatableResource(Model):
    """A `NodeAllocatableResource`: how a device's allocation counts towards a node's cpu, memory or huge pages."""

    mapping: NodeAllocatableMapping | None = None
    overhead: NodeAllocatableOverhead | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.mapping is None and self.overhead is None:
            raise problem("has to have a mapping, an overhead or both")
        return self


def _capacity(value: object) -> object:
    return value if isinstance(value, dict | DeviceCapacity) else {"value": value}


Attributes = dict[QualifiedName, DeviceAttribute]
Capacity = dict[QualifiedName, Annotated[DeviceCapacity, BeforeValidator(_capacity)]]
Counters = dict[DnsLabel, Quantity]
# https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/apis/core/helper/helpers.go, IsNodeAllocatableResourceName
NodeAllocatableName = Annotated[str, Field(pattern=r"^(cpu|memory|hugepages-.+)$")]
DeviceName = Annotated[str, template(NAME_PLACEHOLDERS)]


class DeviceClass(Model):
    """A DeviceClass: devices for which every CEL selector is true."""

    name: DnsSubdomain
    selectors: Annotated[list[CelExpression], Field(max_length=limits.DEVICE_SELECTORS_MAX)] = []
    extended_resource_name: ExtendedResourceName | None = None


class Taint(Model):
    """A taint of a Node."""

    key: LabelKey
    value: LabelValue = ""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] = "NoSchedule"


class NodeShape(Model):
    """What a Node with such devices has besides the usual: labels (`{count}` of devices), capacity, taints."""

    labels: dict[LabelKey, Annotated[str, template(NODE_PLACEHOLDERS)]] = {}
    capacity: dict[ResourceName, Quantity] = {}
    taints: list[Taint] = []


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


PciAddresses = Annotated[list[PciAddress], BeforeValidator(_as_list)]


class Slot(Model):
    """A place of a host for a GPU and the NIC beside it: PCI addresses (`0000:18:00.0`), root complex, NUMA node.

    A NIC with several ports has a list of addresses. `nic_pcie_root` is for one on another root complex than the GPU.
    Where there is only a GPU, or only a NIC, the other is left out.
    """

    pcie_root: PciRoot
    numa_node: Annotated[int, Field(ge=0, lt=limits.NUMA_NODES_MAX)]
    gpu: PciAddress | None = None
    nic: PciAddresses = []
    nic_pcie_root: PciRoot | None = None

    @model_validator(mode="after")
    def _holds_something(self) -> Self:
        if not self.gpu and not self.nic:
            raise problem("is empty: give it the PCI address of a gpu, of a nic, or of both")
        return self


class Host(Model):
    """A kind of server: where its devices are on PCIe, and in which order the drivers count them."""

    slots: Annotated[list[Slot], Field(min_length=1)]
    node: NodeShape = NodeShape()
    sources: list[str] = []
    unverified: dict[str, str] = {}

    @cached_property
    def addresses(self) -> dict[str, list[tuple[Slot, str]]]:
        """The PCI addresses of each kind of device, with their slots."""
        nics = [(slot, address) for slot in self.slots for address in slot.nic]
        return {"gpu": [(slot, slot.gpu) for slot in self.slots if slot.gpu], "nic": nics}


NamedHost = Annotated[Host, named("hosts", "host", "{slots: [{pcieRoot: …, numaNode: …, gpu: …, nic: …}]}")]
"""The name of a host of the catalogue, or one written out in place."""


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
