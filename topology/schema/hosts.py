"""Hosts: the machine that a node is, and where its devices are in it."""

from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from topology.kubernetes import limits
from topology.schema.base import Model
from topology.schema.placeholders import NODE_PLACEHOLDERS, template
from topology.schema.values import LabelKey, LabelValue, PciAddress, PciRoot, Quantity, ResourceName, named, problem


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
