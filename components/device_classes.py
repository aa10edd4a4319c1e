"""The device classes of a stack."""

from collections.abc import Iterator, Sequence

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
        for message in _shared_resources(classes):
            pulumi.warn(message, self)
        self.resources = [KubernetesObject(claims.device_class(entry), cluster, parent=self) for entry in classes]
        self.register_outputs({"names": [entry.name for entry in classes]})


def _shared_resources(classes: Sequence[DeviceClass]) -> Iterator[str]:
    """Yield the extended resources that several classes provide.

    https://github.com/kubernetes/dynamic-resource-allocation/blob/v0.37.2/deviceclass/extendedresourcecache
    """
    providers: dict[str, list[str]] = {}
    for entry in classes:
        if entry.extended_resource_name:
            providers.setdefault(entry.extended_resource_name, []).append(entry.name)
    for name, names in providers.items():
        if len(names) > 1:
            yield (
                f"device classes {' and '.join(sorted(names))} have one extendedResourceName, {name}: the scheduler "
                "uses only the newest of them, or the first by name if they were created in the same second"
            )
