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

    It is one of four: the driver publishes the devices with a `taint`; the devices are `gone`, so that the driver does
    not publish them, or, without `devices`, the nodes are; the devices cannot be attached (`attach_fails`), so that one
    of their binding failure conditions becomes true; or the nodes are `not_ready`.
    """

    nodes: list[Annotated[int, Field(ge=0)]] | None = None
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
        if self.not_ready and self.devices is not None:
            raise problem("has devices, but notReady applies to whole nodes: remove devices")
        return self

    def is_on(self, node: int) -> bool:
        """Tell whether the fault affects a node of the pool, given by its number."""
        return self.nodes is None or node in self.nodes

    def is_of(self, device: str) -> bool:
        """Tell whether the fault affects a device."""
        return self.devices is None or device in self.devices


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
