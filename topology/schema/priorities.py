"""PriorityClasses of a stack."""

from typing import Annotated, Literal

from pydantic import Field

from topology.kubernetes import limits
from topology.schema.base import Model
from topology.schema.values import DnsSubdomain


class PriorityClass(Model):
    """A PriorityClass, which workloads name by `priority`.

    https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/
    """

    name: DnsSubdomain
    value: Annotated[int, Field(ge=-limits.PRIORITY_MAX, le=limits.PRIORITY_MAX)]
    global_default: bool = False
    preemption_policy: Literal["PreemptLowerPriority", "Never"] = "PreemptLowerPriority"
