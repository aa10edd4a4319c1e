"""The device classes of a stack."""

from collections.abc import Sequence

import pulumi

from components.cluster_base import ClusterComponent
from components.kubernetes_object import KubernetesObject
from topology.objects import claims
from topology.schema.devices import DeviceClass


class DeviceClasses(pulumi.ComponentResource):
    """Device classes: it creates one `DeviceClass` per configured class."""

    resources: list[pulumi.CustomResource]
    """The classes."""

    def __init__(
        self, classes: Sequence[DeviceClass], cluster: ClusterComponent, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """Create `classes` in `cluster`."""
        super().__init__("kwok-dra:components:DeviceClasses", "device-classes", None, opts)
        self.resources = [KubernetesObject(claims.device_class(entry), cluster, parent=self) for entry in classes]
        self.register_outputs({"names": [entry.name for entry in classes]})
