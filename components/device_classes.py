"""The device classes of a stack."""

from collections.abc import Sequence

import pulumi

from components.cluster_base import ClusterComponent
from components.kubernetes_object import KubernetesObject
from topology.objects import claims
from topology.schema.devices import DeviceClass


class DeviceClasses(pulumi.ComponentResource):
    """One `DeviceClass` object per configured class."""

    resources: list[pulumi.CustomResource]
    """The classes."""

    def __init__(
        self,
        device_classes: Sequence[DeviceClass],
        cluster: ClusterComponent,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create the classes in `cluster`."""
        super().__init__("kwok-dra:components:DeviceClasses", "device-classes", None, opts)
        self.resources = [
            KubernetesObject(claims.device_class(device_class), cluster, parent=self) for device_class in device_classes
        ]
        self.register_outputs({"names": [device_class.name for device_class in device_classes]})
