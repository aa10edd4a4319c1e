"""Hosts: models of servers, and where their devices are on PCIe."""

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
    """What a Node with such devices has in addition: labels (with `{count}` of devices), capacity and taints."""

    labels: dict[LabelKey, Annotated[str, template(NODE_PLACEHOLDERS)]] = {}
    capacity: dict[ResourceName, Quantity] = {}
    taints: list[Taint] = []


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


PciAddresses = Annotated[list[PciAddress], BeforeValidator(_as_list)]


class Slot(Model):
    """A place of a host for a GPU and the NIC beside it: PCI addresses (`0000:18:00.0`), root complex and NUMA node.

    A NIC with several ports has a list of addresses. `nic_pcie_root` is the root complex of a NIC that does not share
    the GPU's. A slot may have only a GPU, or only a NIC.
    """

    pcie_root: PciRoot
    numa_node: Annotated[int, Field(ge=0, lt=limits.NUMA_NODES_MAX)]
    gpu: PciAddress | None = None
    nic: PciAddresses = []
    nic_pcie_root: PciRoot | None = None

    @model_validator(mode="after")
    def _holds_something(self) -> Self:
        if not self.gpu and not self.nic:
            raise problem("is empty: set gpu, nic or both to PCI addresses")
        return self


class Host(Model):
    """A server model: where its devices are on PCIe, in the order in which drivers number them."""

    slots: Annotated[list[Slot], Field(min_length=1)]
    node: NodeShape = NodeShape()
    sources: list[str] = []
    unverified: dict[str, str] = {}

    @cached_property
    def addresses(self) -> dict[str, list[tuple[Slot, str]]]:
        """The PCI addresses of GPUs and NICs, each with its slot."""
        nics = [(slot, address) for slot in self.slots for address in slot.nic]
        return {"gpu": [(slot, slot.gpu) for slot in self.slots if slot.gpu], "nic": nics}


NamedHost = Annotated[Host, named("hosts", "host", "{slots: [{pcieRoot: …, numaNode: …, gpu: …, nic: …}]}")]
"""The name of a host of the catalogue, or an inline host."""
