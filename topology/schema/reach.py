"""Which nodes can use devices that are not devices of one node.

https://github.com/kubernetes/api/blob/v0.37.2/resource/v1/types.go, ResourceSliceSpec and Device
"""

from typing import Any, Self

from pydantic import model_validator

from topology.kubernetes.objects import given
from topology.schema.base import Model
from topology.schema.values import DnsSubdomain, LabelKey, LabelValue, problem


class Reach(Model):
    """The nodes that can use the devices of a pool: those with all labels of `node_selector`, or `all_nodes`."""

    node_selector: dict[LabelKey, LabelValue] = {}
    all_nodes: bool = False

    @property
    def selection(self) -> dict[str, Any]:
        """The fields of a ResourceSlice, or of its device, that say so; empty if nothing is set."""
        labels = sorted(self.node_selector.items())
        expressions = [{"key": label, "operator": "In", "values": [value]} for label, value in labels]
        selector = {"nodeSelectorTerms": [{"matchExpressions": expressions}]} if expressions else {}
        return given(nodeSelector=selector, allNodes=self.all_nodes)

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if len(self.selection) > 1:
            raise problem(f"has {' and '.join(self.selection)}, of which only one is possible: remove the other")
        return self


class DeviceReach(Reach):
    """The nodes that can use some devices of a pool, or the one node that can, by its `node_name`."""

    node_name: DnsSubdomain | None = None

    @property
    def selection(self) -> dict[str, Any]:
        """The fields of a device of a ResourceSlice that say so; empty if nothing is set."""
        return super().selection | given(nodeName=self.node_name)
