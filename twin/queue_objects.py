"""Objects of a dump about queues: those of Kueue, its configuration, and the Jobs that it holds.

The fields of Kueue's objects are those of v1beta2, and `cohort`, which v1beta1 has instead of `cohortName`:
https://github.com/kubernetes-sigs/kueue/tree/v0.19.2/apis/kueue
"""

from typing import Any

from topology.kubernetes.objects import QUEUE_LABEL
from twin.objects import Given, Labels, Listed, Object, Part, Quantity
from twin.pod_objects import PodSpec


class ResourceFlavorSpec(Part):
    """A ResourceFlavor's spec."""

    node_labels: Labels = {}
    node_taints: Listed[dict[str, Any]] = []
    tolerations: Listed[dict[str, Any]] = []
    topology_name: str | None = None


class ResourceFlavor(Object):
    """A ResourceFlavor."""

    spec: Given[ResourceFlavorSpec] = ResourceFlavorSpec()


class ResourceQuota(Part):
    """The quota of a resource."""

    name: str
    nominal_quota: Quantity
    borrowing_limit: Quantity | None = None
    lending_limit: Quantity | None = None


class FlavorQuotas(Part):
    """The quotas of a flavor."""

    name: str
    resources: Listed[ResourceQuota] = []


class ResourceGroup(Part):
    """Flavors with quotas of the same resources."""

    covered_resources: Listed[str] = []
    flavors: Listed[FlavorQuotas] = []


class ClusterQueueSpec(Part):
    """A ClusterQueue's spec."""

    resource_groups: Listed[ResourceGroup] = []
    cohort: str = ""
    cohort_name: str = ""
    queueing_strategy: str = ""
    namespace_selector: dict[str, Any] | None = None
    preemption: Given[dict[str, Any]] = {}
    flavor_fungibility: Given[dict[str, Any]] = {}
    fair_sharing: Given[dict[str, Any]] = {}
    admission_checks: Listed[str] = []
    admission_checks_strategy: Given[dict[str, Any]] = {}
    stop_policy: str = "None"


class ClusterQueue(Object):
    """A ClusterQueue."""

    spec: Given[ClusterQueueSpec] = ClusterQueueSpec()


class LocalQueueSpec(Part):
    """A LocalQueue's spec."""

    cluster_queue: str = ""
    stop_policy: str = "None"


class LocalQueue(Object):
    """A LocalQueue."""

    spec: Given[LocalQueueSpec] = LocalQueueSpec()


class ConfigMap(Object):
    """A ConfigMap, such as that with Kueue's Configuration."""

    data: Labels = {}


class DeviceClassMapping(Part):
    """The resource by which quotas count the devices of some classes."""

    name: str
    device_class_names: Listed[str] = []
    sources: Listed[dict[str, Any]] = []


class CountedResources(Part):
    """The part `resources` of Kueue's Configuration, as far as it can be the twin's."""

    device_class_mappings: Listed[DeviceClassMapping] = []
    exclude_resource_prefixes: Listed[str] = []


class PodTemplate(Part):
    """What the pods of a Job are made from."""

    spec: PodSpec


class JobSpec(Part):
    """A Job's spec."""

    suspend: bool | None = None
    parallelism: int | None = None
    completions: int | None = None
    template: PodTemplate


class JobStatus(Part):
    """A Job's status."""

    succeeded: int | None = None


class Job(Object):
    """A Job."""

    spec: JobSpec
    status: Given[JobStatus] = JobStatus()

    @property
    def queue(self) -> str:
        """The LocalQueue that it names; empty if it names none."""
        return self.metadata.labels.get(QUEUE_LABEL, "")

    @property
    def held_pods(self) -> int:
        """How many pods it will have as soon as Kueue, which holds it, admits it."""
        parallelism = 1 if self.spec.parallelism is None else self.spec.parallelism
        completions = parallelism if self.spec.completions is None else self.spec.completions
        left = min(parallelism, completions - (self.status.succeeded or 0))
        return max(left, 0) if self.spec.suspend and self.queue else 0
