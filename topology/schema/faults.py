"""Configured faults: devices that are tainted, gone or fail to attach, and nodes that are gone or not ready."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from topology.schema.base import Model
from topology.schema.values import DnsLabel, DnsSubdomain, DriverName, LabelKey, LabelValue, problem

DeviceEffect = Literal["None", "NoSchedule", "NoExecute"]


class DeviceTaint(Model):
    """A taint of a device: NoSchedule keeps new claims away; NoExecute also evicts pods that use the device."""

    key: LabelKey
    value: LabelValue = ""
    effect: DeviceEffect = "NoSchedule"


class Fault(Model):
    """A fault of some of a pool's nodes (by number; default: all) and of their devices (by name; default: all).

    Devices of several drivers can have the same name: `driver` limits the fault to those of one.

    It is one of four: the driver publishes the devices with a `taint`; the devices are `gone`, so that the driver does
    not publish them, or, without `devices`, the nodes are; the devices cannot be attached (`attach_fails`), so that one
    of their binding failure conditions becomes true; or the nodes are `not_ready`.
    """

    nodes: list[Annotated[int, Field(ge=0)]] | None = None
    driver: DriverName | None = None
    devices: Annotated[list[DnsLabel], Field(min_length=1)] | None = None
    taint: DeviceTaint | None = None
    gone: bool = False
    attach_fails: bool = False
    not_ready: bool = False

    @model_validator(mode="after")
    def _either_or(self) -> Self:
        if [self.taint is not None, self.gone, self.attach_fails, self.not_ready].count(True) != 1:
            raise problem(
                "must have exactly one of taint, such as {key: example.com/broken}, gone: true, attachFails: true "
                "and notReady: true"
            )
        for key in ("driver", "devices"):
            if self.not_ready and getattr(self, key) is not None:
                raise problem(f"has {key}, but notReady applies to whole nodes: remove {key}")
        return self

    def is_on(self, node: int) -> bool:
        """Tell whether the fault affects a node of the pool, given by its number."""
        return self.nodes is None or node in self.nodes

    @property
    def is_of_nodes(self) -> bool:
        """Whether the fault affects nodes as a whole, with all of their devices."""
        return self.driver is None and self.devices is None

    def is_of(self, driver: str, device: str) -> bool:
        """Tell whether the fault affects a device of a driver."""
        return self.driver in (None, driver) and (self.devices is None or device in self.devices)


class DeviceTaintRule(Model):
    """A DeviceTaintRule: an administrator's taint of the devices that match all given fields; without any, of all."""

    name: DnsSubdomain
    driver: DriverName | None = None
    pool: DnsSubdomain | None = None
    device: DnsLabel | None = None
    taint: DeviceTaint

    def selects(self, driver: str, pool: str, device: str) -> bool:
        """Tell whether the rule taints a device."""
        return self.driver in (None, driver) and self.pool in (None, pool) and self.device in (None, device)
