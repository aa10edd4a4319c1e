"""GPU models: what a device looks like in a ResourceSlice, and the catalogue of known ones."""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Annotated, Self

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, model_validator

from topology import limits
from topology.model import Model
from topology.values import (
    DriverName,
    QualifiedName,
    Quantity,
    ResourceName,
    SemanticVersion,
    problem,
    suggestion,
)

_PLACEHOLDER = re.compile(r"\{(\w*)\}")


def fill(template: str, values: Mapping[str, object]) -> str:
    """Replace each `{name}` of `template` that `values` knows."""
    return _PLACEHOLDER.sub(lambda match: str(values.get(match[1], match[0])), template)


def _braced(names: set[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in sorted(names))


def _template(allowed: set[str], required: set[str]) -> AfterValidator:
    def check(template: str) -> str:
        used = set(_PLACEHOLDER.findall(template))
        if not required <= used <= allowed:
            raise problem(
                f"{template!r} may use only the placeholders {_braced(allowed)}"
                + (f" and has to use {_braced(required)}" if required else "")
            )
        return template

    return AfterValidator(check)


DeviceTemplate = Annotated[
    str,
    Field(max_length=limits.DEVICE_ATTRIBUTE_VALUE_MAX),
    _template({"index", "node"}, required=set()),
]


def _int_or_index(value: object) -> object:
    if value == "{index}" or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise problem(f"has to be a whole number or {{index}}, but is {value!r}")


class DeviceAttribute(Model):
    """A `DeviceAttribute` of resource.k8s.io: exactly one typed value. `{index}` is the device's place on its node."""

    string: DeviceTemplate | None = None
    version: SemanticVersion | None = None
    int_: Annotated[int | str | None, PlainValidator(_int_or_index)] = Field(default=None, alias="int")
    bool_: bool | None = Field(default=None, alias="bool")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise problem("has to have exactly one of string, int, bool and version, such as {string: gpu}")
        return self


class GpuModel(Model):
    """One kind of device, as its driver publishes it.

    `device_name` and string attributes may use `{index}` (0 for a node's first device), string attributes `{node}` too;
    `slice_name` may use `{node}`, `{driver}` and `{suffix}`, five characters that stay the same for the same node and
    driver. `node_capacity` is what a node with such devices advertises besides the usual.
    """

    driver: DriverName
    device_name: Annotated[str, _template({"index"}, required={"index"})] = "gpu-{index}"
    slice_name: Annotated[str, _template({"node", "driver", "suffix"}, required={"node", "suffix"})] = (
        "{node}-{driver}-{suffix}"
    )
    attributes: dict[QualifiedName, DeviceAttribute] = {}
    capacity: dict[QualifiedName, Quantity] = {}
    node_capacity: dict[ResourceName, Quantity] = {}

    @model_validator(mode="after")
    def _within_limits(self) -> Self:
        size = len(self.attributes) + len(self.capacity)
        if size > limits.DEVICE_ATTRIBUTES_AND_CAPACITIES_MAX:
            raise problem(
                f"has {size} attributes and capacities; the Kubernetes API allows a device "
                f"{limits.DEVICE_ATTRIBUTES_AND_CAPACITIES_MAX} together"
            )
        return self


@cache
def catalogue() -> dict[str, GpuModel]:
    """Return the GPU models of `topology/catalogue/*.yaml` by name."""
    entries: dict[str, GpuModel] = {}
    for file in sorted(files("topology").joinpath("catalogue").iterdir(), key=lambda entry: entry.name):
        for name, values in yaml.safe_load(file.read_text()).items():
            entries[name] = GpuModel.model_validate(values)
    return entries


def _look_up(value: object) -> object:
    if not isinstance(value, str):
        return value
    known = catalogue()
    if value not in known:
        raise problem(
            f"there is no GPU model {value!r} in the catalogue{suggestion(value, known)} "
            f"Name one of {', '.join(known)}, "
            "or write the device out in place: {driver: …, attributes: {…}, capacity: {…}}"
        )
    return known[value]


Gpu = Annotated[GpuModel, BeforeValidator(_look_up)]
"""The name of a catalogue entry, or a device written out in place."""
