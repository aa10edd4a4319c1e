"""The queues of Kueue, and the pods that they admit or hold."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from topology.checks.queues import counted_resources
from topology.kubernetes.naming import natural_key
from topology.kubernetes.objects import QUEUE_LABEL, given
from topology.kubernetes.reading import part
from topology.objects.kueue import CONFIGURATION_KEY, resources
from topology.schema.stack import Topology
from topology.status.queues import ADMITTED_LABEL, GATE
from twin.claim_objects import ClaimSpec, Selection
from twin.configuration import Written
from twin.dump import Dump
from twin.labels import HOSTNAME, KeptLabels
from twin.notes import Notes
from twin.objects import Owner
from twin.parsing import UnreadableError, documents
from twin.pod_objects import Pod
from twin.pseudonyms import Names
from twin.queue_objects import ClusterQueue, ConfigMap, CountedResources, Job, ResourceFlavor, ResourceQuota

_CONFIGURATION_GROUP = "config.kueue.x-k8s.io/"
_LABELS = "kueue.x-k8s.io/"
_POD_GROUP_LABEL = f"{_LABELS}pod-group-name"
"""The label of pods that Kueue admits together: https://kueue.sigs.k8s.io/docs/tasks/run/plain_pods/."""

# What a ClusterQueue has unless it says otherwise:
# https://github.com/kubernetes-sigs/kueue/blob/v0.19.2/apis/kueue/v1beta2/clusterqueue_types.go
_BY_DEFAULT: Mapping[str, Any] = {
    "reclaimWithinCohort": "Never",
    "borrowWithinCohort": {"policy": "Never"},
    "withinClusterQueue": "Never",
    "whenCanBorrow": "MayStopSearch",
    "whenCanPreempt": "TryNextFlavor",
    "queueingStrategy": "BestEffortFIFO",
}
# Values that v1beta2 has renamed: clusterqueue_conversion.go of v1beta1.
_RENAMED = {"Borrow": "MayStopSearch", "Preempt": "MayStopSearch"}


def is_held(pod: Pod) -> bool:
    """Tell whether Kueue, and nothing else, keeps the scheduler from a pod."""
    gates = [gate.get("name") for gate in pod.spec.scheduling_gates]
    return bool(gates) and set(gates) == {GATE}


def with_held_pods(dump: Dump) -> Dump:
    """Return the dump with the pods that the Jobs will have which Kueue holds."""
    return dump._replace(pods=[*dump.pods, *(pod for job in dump.jobs for pod in _held_pods(job))])


def _held_pods(job: Job) -> Iterator[Pod]:
    spec = job.spec.template.spec.model_copy(update={"scheduling_gates": [{"name": GATE}]})
    for number in range(job.held_pods):
        named = {"name": f"{job.name}-{number}", "labels": {QUEUE_LABEL: job.queue}}
        metadata = {"owner_references": [Owner(kind="Job", name=job.name)]} | named
        yield Pod(metadata=job.metadata.model_copy(update=metadata), spec=spec)


def kueue(dump: Dump, class_name: Callable[[str], str], expression: Callable[[str], str]) -> Written:
    """Return the key `controllers` with Kueue, and what its Configuration in the dump says of resources."""
    found = _resources_in(dump.config_maps)
    mappings = [
        {"name": one.name, "deviceClassNames": [class_name(name) for name in one.device_class_names]}
        | given(sources=_renamed(one.sources, expression))
        for one in found.device_class_mappings
    ]
    kept = given(excludeResourcePrefixes=found.exclude_resource_prefixes, deviceClassMappings=mappings)
    config = given(config=given(resources=kept))
    return {"controllers": [{"name": "kueue", "version": "default"} | config]} if dump.cluster_queues else {}


def _resources_in(maps: Iterable[ConfigMap]) -> CountedResources:
    """Return what Kueue's Configuration says of resources; programs with other configurations use the same key."""
    for entry in maps:
        with suppress(UnreadableError, ValidationError):
            for read in documents(entry.data.get(CONFIGURATION_KEY, "").encode()):
                if str(part(read, "apiVersion")).startswith(_CONFIGURATION_GROUP):
                    return CountedResources.model_validate(part(read, "resources") or {})
    return CountedResources()


def _renamed(value: Any, expression: Callable[[str], str]) -> Any:
    """Return sources of a mapping, with the twin's identities in their CEL expressions."""
    if isinstance(value, list):
        return [_renamed(entry, expression) for entry in value]
    if not isinstance(value, dict):
        return value
    return {
        key: expression(entry) if key == "expression" and isinstance(entry, str) else _renamed(entry, expression)
        for key, entry in value.items()
    }


class Queues:
    """The queues of a twin: a ClusterQueue of the dump with the namespaces of its LocalQueues is a queue."""

    def __init__(
        self,
        dump: Dump,
        topology: Topology | None,
        names: Names,
        kept: KeptLabels,
        class_name: Callable[[str], str],
        notes: Notes,
    ) -> None:
        """Take the queues of the dump; `topology` is the twin with Kueue, None if the dump has no queues."""
        self._names, self._kept, self._class_name, self._notes = names, kept, class_name, notes
        self._jobs = {job.key: job.queue for job in dump.jobs}
        self._flavors = {flavor.name: flavor for flavor in dump.flavors}
        self._queue_of = {local.key: local.spec.cluster_queue for local in dump.local_queues}
        self._counted = counted_resources(topology) if topology else set()
        self._classes = resources(topology) if topology else {}
        self._extended = {
            str(entry.extended_resource_name): self._classes[entry.name]
            for entry in (topology.device_classes if topology else ())
            if entry.extended_resource_name and entry.name in self._classes
        }
        config = topology.controllers[0].config if topology else {}
        self._ignored = tuple(part(config, "resources", "excludeResourcePrefixes") or ())
        stopped = {local.spec.cluster_queue for local in dump.local_queues if local.spec.stop_policy != "None"}
        queues = sorted(dump.cluster_queues, key=lambda entry: natural_key(entry.name))
        self._queues = {
            entry.name: self._queue(entry, flavors, entry.name in stopped)
            for entry in queues
            if (flavors := self._of_flavors(entry))
        }

    @property
    def written(self) -> Written:
        """The key of the configuration."""
        return given(queues=list(self._queues.values()))

    # Queues.

    def _queue(self, entry: ClusterQueue, flavors: Sequence[Written], is_stopped: bool) -> Written:
        spec, cohort = entry.spec, entry.spec.cohort_name or entry.spec.cohort
        checks = spec.admission_checks or spec.admission_checks_strategy
        if checks or is_stopped or spec.stop_policy != "None" or spec.namespace_selector != {}:
            note = "admission checks, stop policies and namespace selectors of queues are left out"
            self._notes.add(note, entry.name)
        namespaces = {namespace for (namespace, _), name in self._queue_of.items() if name == entry.name}
        return {"name": self._names.of("queue", entry.name)} | given(
            namespaces=[self._names.namespace(name) for name in sorted(namespaces, key=natural_key)],
            cohort=cohort and self._names.of("cohort", cohort),
            flavors=flavors,
            **_set({"queueingStrategy": spec.queueing_strategy}),
            preemption=_set(spec.preemption),
            flavorFungibility=_set(spec.flavor_fungibility),
            fairSharing=spec.fair_sharing,
        )

    def _of_flavors(self, entry: ClusterQueue) -> list[Written]:
        """Return the flavors of a queue with the quotas of resources that are counted in the twin."""
        found = []
        for one in (one for group in entry.spec.resource_groups for one in group.flavors):
            flavor = self._flavors.get(one.name)
            quotas = {quota.name: _quota(quota) for quota in one.resources if flavor and quota.name in self._counted}
            for quota in one.resources:
                if quota.name not in quotas:
                    note = "quotas of resources that the twin does not count, or of unknown flavors, are left out"
                    self._notes.add(note, (entry.name, one.name, quota.name))
            if flavor and quotas:
                found.append(self._flavor(flavor) | {"quotas": quotas})
        return found

    def _flavor(self, flavor: ResourceFlavor) -> Written:
        spec = flavor.spec
        labels = {key: value for key, value in spec.node_labels.items() if key != HOSTNAME}
        if spec.node_taints or spec.tolerations or spec.topology_name or labels != spec.node_labels:
            note = "hostnames, taints, tolerations and topologies of ResourceFlavors are left out"
            self._notes.add(note, flavor.name)
        named = {"name": self._names.of("flavor", flavor.name)}
        return named | given(nodeLabels=self._names.labels(labels, self._kept))

    # Pods.

    def names_one(self, pod: Pod) -> bool:
        """Tell whether a pod has to do with Kueue, whether its queue is known or not."""
        return any(key.startswith(_LABELS) for key in pod.metadata.labels) or bool(self._local(pod))

    def _local(self, pod: Pod) -> str:
        """Return the LocalQueue of a pod: it, or the Job that it is of, names it, or Kueue has when it admitted it."""
        labels, namespace = pod.metadata.labels, pod.metadata.namespace
        own = labels.get(QUEUE_LABEL) or labels.get(ADMITTED_LABEL)
        owners = [owner.name for owner in pod.metadata.owner_references if owner.kind == "Job"]
        return own or next((self._jobs.get((namespace, name), "") for name in owners), "")

    def of(self, pod: Pod, claims: Iterable[ClaimSpec | None], requested: Set[str]) -> str | None:
        """Return the twin's name of the queue of a pod; None if there is none that would admit the pod.

        `claims` has None for each claim that the pod shares, `requested` the resources that its containers request.
        """
        queue = self._queues.get(self._queue_of.get((pod.metadata.namespace, self._local(pod)), ""))
        if queue is None or (is_held(pod) and _POD_GROUP_LABEL in pod.metadata.labels):
            return None  # The twin does not know groups that are admitted as a whole.
        used = {self._extended.get(name, name) for name in requested if not name.startswith(self._ignored)}
        for selection in (one for spec in claims for one in (_counted_selections(spec) if spec else [None])):
            used.add(self._classes.get(self._class_name(selection.device_class_name), "") if selection else "")
        quotas = {name for flavor in queue["flavors"] for name in flavor["quotas"]}
        return str(queue["name"]) if used <= quotas else None


def _counted_selections(spec: ClaimSpec) -> Iterator[Selection | None]:
    """Yield what each request of a claim asks for; None for what Kueue does not count."""
    for request in spec.devices.requests:
        one = request.exactly
        yield one if one and one.allocation_mode == "ExactCount" and not one.admin_access else None


def _set(found: Mapping[str, Any]) -> Written:
    """Return the values that differ from those by default."""
    values = {key: _RENAMED.get(str(value), value) for key, value in found.items()}
    return {key: value for key, value in values.items() if _BY_DEFAULT.get(key) != value}


def _quota(quota: ResourceQuota) -> Written | str:
    limits = given(borrowingLimit=quota.borrowing_limit, lendingLimit=quota.lending_limit)
    return {"nominalQuota": quota.nominal_quota} | limits if limits else quota.nominal_quota
