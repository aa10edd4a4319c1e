"""Objects of a dump: what all kinds have in common, and Nodes.

Only the fields that a twin needs are modelled; annotations, images, environment, addresses, UIDs and times are never
read. The field names are those of core/v1 and resource.k8s.io/v1:
https://github.com/kubernetes/api/blob/v0.37.2/core/v1/types.go
https://github.com/kubernetes/api/blob/v0.37.2/resource/v1/types.go
"""

from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from topology.kubernetes.quantities import number

_AnyValue = TypeVar("_AnyValue")
_EXPONENT_MAX = 30


def empty_if_null(value: object) -> object:
    """Return an empty mapping for null."""
    return {} if value is None else value


def _quantity_text(value: object) -> object:
    """Accept a number for a quantity, as in `cpu: 96`."""
    return str(value) if type(value) in (int, float) else value


def _quantity(value: str) -> str:
    number(value)
    _, exponent, digits = value.lower().partition("e")
    if exponent and digits.strip("i") and abs(int(digits)) > _EXPONENT_MAX:
        raise ValueError(f"{value!r} is larger than any quantity")
    return value


Listed = Annotated[list[_AnyValue], BeforeValidator(lambda value: [] if value is None else value)]
"""A list; null is an empty one."""
Given = Annotated[_AnyValue, BeforeValidator(empty_if_null)]
"""A mapping or an object; null is an empty one."""
Labels = Given[dict[str, str]]
Quantity = Annotated[str, BeforeValidator(_quantity_text), Field(max_length=64), AfterValidator(_quantity)]
Quantities = Given[dict[str, Quantity]]


class Part(BaseModel):
    """Part of an object: the fields that it declares are checked, all others are ignored."""

    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True, strict=True)


class Owner(Part):
    """A reference to the owner of an object."""

    kind: str
    name: str


class Metadata(Part):
    """The metadata of an object."""

    name: Annotated[str, Field(min_length=1)]
    namespace: str = "default"
    labels: Labels = {}
    owner_references: Listed[Owner] = []


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


class NodeSpec(Part):
    """A Node's spec."""

    taints: Listed[Taint] = []
    unschedulable: bool = False


class Condition(Part):
    """A condition of a Node."""

    type: str
    status: str


class NodeStatus(Part):
    """A Node's status."""

    allocatable: Quantities = {}
    capacity: Quantities = {}
    conditions: Listed[Condition] = []
    declared_features: list[str] | None = None
    """None if it is not known: kubelets before Kubernetes 1.35 do not have the field."""


class Node(Object):
    """A Node."""

    spec: Given[NodeSpec] = NodeSpec()
    status: Given[NodeStatus] = NodeStatus()
