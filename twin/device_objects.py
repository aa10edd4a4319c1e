"""Objects of a dump about devices: ResourceSlices, DeviceClasses and DeviceTaintRules."""

from typing import Annotated, Any

from pydantic import BeforeValidator

from topology.kubernetes.objects import Object as Fields
from twin.objects import Given, Listed, Object, Part, Quantity, Taint, empty_if_null
from twin.pod_objects import NodeSelector


def _amounts(value: object) -> object:
    """Convert capacities and counters to one form: a quantity may stand alone or in `value`."""
    if not isinstance(value, dict):
        return empty_if_null(value)
    return {name: {"value": entry} if isinstance(entry, str | int) else entry for name, entry in value.items()}


class Amount(Part):
    """An amount of a capacity or a counter; only capacities have a request policy."""

    value: Quantity
    request_policy: dict[str, Any] | None = None


Amounts = Annotated[dict[str, Amount], BeforeValidator(_amounts)]


class CounterConsumption(Part):
    """What a device consumes of a counter set."""

    counter_set: str
    counters: Amounts = {}
    compatibility_groups: list[str] = []


AttributeList = list[str] | list[bool] | list[int]


class Reach(Part):
    """The nodes that can use the devices of a ResourceSlice, or one of its devices."""

    node_name: str | None = None
    node_selector: NodeSelector | None = None
    all_nodes: bool | None = None

    @property
    def selection(self) -> Fields:
        """The fields as the API has them."""
        own = {"node_name", "node_selector", "all_nodes"}
        return self.model_dump(by_alias=True, exclude_none=True, include=own)


class SliceDevice(Reach):
    """A device of a ResourceSlice."""

    name: str
    attributes: Given[dict[str, dict[str, str | bool | int | AttributeList]]] = {}
    capacity: Amounts = {}
    consumes_counters: Listed[CounterConsumption] = []
    allow_multiple_allocations: bool | None = None
    taints: Listed[Taint] = []
    binds_to_node: bool | None = None
    binding_conditions: Listed[str] = []
    binding_failure_conditions: Listed[str] = []
    node_allocatable_resources: Given[dict[str, Any]] = {}


class CounterSet(Part):
    """A counter set of a ResourceSlice."""

    name: str
    counters: Amounts = {}


class ResourcePool(Part):
    """The pool of a ResourceSlice."""

    name: str
    generation: int = 0
    resource_slice_count: int = 1


class SliceSpec(Reach):
    """A ResourceSlice's spec."""

    driver: str
    pool: ResourcePool
    per_device_node_selection: bool | None = None
    devices: Listed[SliceDevice] = []
    shared_counters: Listed[CounterSet] = []
    skip_node_operations: Listed[str] = []


class ResourceSlice(Object):
    """A ResourceSlice."""

    spec: SliceSpec


class Cel(Part):
    """A CEL expression."""

    expression: str


class Selector(Part):
    """A selector of devices."""

    cel: Cel | None = None


class ClassSpec(Part):
    """A DeviceClass's spec."""

    selectors: Listed[Selector] = []
    config: Listed[dict[str, Any]] = []
    extended_resource_name: str | None = None


class DeviceClass(Object):
    """A DeviceClass."""

    spec: Given[ClassSpec] = ClassSpec()


class DeviceSelector(Part):
    """The devices that a DeviceTaintRule taints; before resource.k8s.io/v1beta2, also by class and by CEL."""

    device_class_name: str | None = None
    selectors: Listed[Selector] = []
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
        """Whether it selects no device: in v1 (Kubernetes 1.37.1 and newer), a rule without a selector does not."""
        return self.spec.device_selector is None and self.api_version == "resource.k8s.io/v1"
