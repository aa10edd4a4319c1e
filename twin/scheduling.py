"""The schedulers and the priorities of pods."""

from collections.abc import Iterable

from topology.kubernetes.objects import DEFAULT_SCHEDULER, given
from topology.objects.priorities import BUILT_IN
from twin.configuration import Written
from twin.notes import Notes
from twin.pod_objects import PREEMPTS, Pod, PriorityClass
from twin.pseudonyms import Names


class Scheduling:
    """Keeps the names of schedulers, which the twin's kube-scheduler serves, and the values of priorities."""

    def __init__(self, classes: Iterable[PriorityClass], names: Names, notes: Notes) -> None:
        """Take the PriorityClasses of the dump."""
        self._names, self._notes = names, notes
        self._schedulers: dict[str, None] = {}
        self._classes: dict[str, Written] = {}
        for entry in classes:
            self._priority(entry.name, entry.value, entry.preemption_policy, is_default=entry.global_default)

    @property
    def written(self) -> Written:
        """The keys of the configuration that the pods' schedulers and priorities need."""
        profiles = [{"schedulerName": name} for name in (DEFAULT_SCHEDULER, *self._schedulers)]
        own = [{"name": DEFAULT_SCHEDULER, "config": {"profiles": profiles}}] if self._schedulers else []
        return given(schedulers=own, priorityClasses=list(self._classes.values()))

    def of(self, pod: Pod) -> Written:
        """Return the scheduler and the priority of a pod, with the twin's names."""
        spec, scheduler = pod.spec, None
        if spec.scheduler_name != DEFAULT_SCHEDULER:
            note = "pods of other schedulers are placed by kube-scheduler, which serves their names too"
            self._notes.add(note, pod.key)
            scheduler = self._names.of("scheduler", spec.scheduler_name)
            self._schedulers[scheduler] = None
        name = spec.priority_class_name or (f"priority{spec.priority}" if spec.priority else "")
        priority = self._priority(name, spec.priority, spec.preemption_policy) if name else None
        return given(scheduler=scheduler, priority=priority)

    def _priority(self, name: str, value: int, policy: str, *, is_default: bool = False) -> str:
        """Return the twin's name of a PriorityClass, of which the dump may have only pods."""
        if name in BUILT_IN:
            return name
        own = self._names.of("priority", name)
        policy_of = None if policy == PREEMPTS else policy
        self._classes.setdefault(
            own, {"name": own, "value": value} | given(globalDefault=is_default, preemptionPolicy=policy_of)
        )
        return own
