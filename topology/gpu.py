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
    is_dns_label,
    is_dns_subdomain,
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


def _int_or_index(value: object) -> object:
    if value == "{index}":
        return value
    if not isinstance(value, int) or isinstance(value, bool):
        raise problem(f"has to be a whole number or {{index}}, but is {value!r}")
    if abs(value) > limits.PULUMI_INTEGER_MAX:
        raise problem(f"may be at most {limits.PULUMI_INTEGER_MAX} either way: Pulumi hands numbers on as doubles")
    return value


class DeviceAttribute(Model):
    """A `DeviceAttribute` of resource.k8s.io: exactly one typed value. `{index}` is the device's place on its node."""

    string: Annotated[str, _template({"index", "node"}, required=set())] | None = None
    version: SemanticVersion | None = None
    int_: Annotated[int | str | None, PlainValidator(_int_or_index)] = Field(default=None, alias="int")
    bool_: bool | None = Field(default=None, alias="bool")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        values = [value for value in self.model_dump(exclude_unset=True).values() if value is not None]
        if len(values) != 1 or len(self.model_fields_set) != 1:
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

    def problems_on(self, node: str, index: int) -> list[str]:
        """Say which templates, filled in for a device of a node, give something that the API refuses."""
        values = {"node": node, "driver": self.driver, "index": index, "suffix": "00000"}
        device, resource_slice = fill(self.device_name, values), fill(self.slice_name, values)
        problems = []
        if not is_dns_label(device):
            problems.append(f"gpu.deviceName gives {device!r}, which is not a DNS label")
        if not is_dns_subdomain(resource_slice):
            problems.append(f"gpu.sliceName gives {resource_slice!r}, which is not a DNS subdomain")
        for name, attribute in self.attributes.items():
            size = len(fill(attribute.string or "", values).encode())
            if size > limits.DEVICE_ATTRIBUTE_VALUE_MAX:
                problems.append(
                    f"gpu.attributes.{name} has {size} bytes; the API allows a string "
                    f"{limits.DEVICE_ATTRIBUTE_VALUE_MAX}"
                )
        return problems

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
    if isinstance(value, dict):
        return value
    if not isinstance(value, str):
        raise problem(f"has to be the name of a GPU model or a device written out in place, but is {value!r}")
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
