"""Objects of a dump about claims: ResourceClaims and ResourceClaimTemplates."""

from collections.abc import Sequence
from typing import Any

from twin.device_objects import Selector
from twin.objects import Given, Listed, Object, Part, Quantities
from twin.pod_objects import Toleration


class RequestedCapacity(Part):
    """The capacity that a request needs of each device."""

    requests: Quantities = {}


class Selection(Part):
    """The devices that a request, or one of its alternatives, asks for."""

    device_class_name: str
    selectors: Listed[Selector] = []
    allocation_mode: str = "ExactCount"
    count: int = 1
    admin_access: bool | None = None
    capacity: RequestedCapacity | None = None
    tolerations: Listed[Toleration] = []
    derived_attributes: Listed[dict[str, str]] = []


class Alternative(Selection):
    """An alternative of a request."""

    name: str


class Request(Part):
    """A request of a claim."""

    name: str
    exactly: Selection | None = None
    first_available: Listed[Alternative] = []

    @property
    def selections(self) -> Sequence[Selection]:
        """The devices that it asks for, or its alternatives."""
        return [self.exactly] if self.exactly else self.first_available


class Constraint(Part):
    """A constraint of a claim."""

    requests: list[str] = []
    match_attribute: str | None = None
    distinct_attribute: str | None = None


class Opaque(Part):
    """Parameters for a driver."""

    driver: str
    parameters: dict[str, Any] = {}


class Config(Part):
    """The configuration of the devices of some requests, or of all."""

    requests: list[str] = []
    opaque: Opaque | None = None


class ClaimDevices(Part):
    """The devices that a claim asks for."""

    requests: Listed[Request] = []
    constraints: Listed[Constraint] = []
    config: Listed[Config] = []


class ClaimSpec(Part):
    """A ResourceClaim's spec."""

    devices: Given[ClaimDevices] = ClaimDevices()


class Result(Part):
    """A device that is allocated to a claim."""

    request: str = ""
    driver: str
    pool: str
    device: str
    admin_access: bool | None = None
    consumed_capacity: Quantities = {}


class AllocatedDevices(Part):
    """The devices that are allocated to a claim."""

    results: Listed[Result] = []


class Allocation(Part):
    """The allocation of a claim."""

    devices: Given[AllocatedDevices] = AllocatedDevices()


class Consumer(Part):
    """An object that a claim is reserved for."""

    resource: str = "pods"
    name: str


class ClaimStatus(Part):
    """A ResourceClaim's status."""

    allocation: Allocation | None = None
    reserved_for: Listed[Consumer] = []


class ResourceClaim(Object):
    """A ResourceClaim."""

    spec: ClaimSpec
    status: Given[ClaimStatus] = ClaimStatus()

    @property
    def results(self) -> list[Result]:
        """The devices that are allocated to it."""
        return self.status.allocation.devices.results if self.status.allocation else []


class TemplateSpec(Part):
    """A ResourceClaimTemplate's spec."""

    spec: ClaimSpec


class ResourceClaimTemplate(Object):
    """A ResourceClaimTemplate."""

    spec: TemplateSpec
