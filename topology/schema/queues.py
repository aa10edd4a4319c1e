"""Queues of Kueue: https://kueue.sigs.k8s.io/docs/concepts/."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from topology.schema.base import Model
from topology.schema.claims import Namespace
from topology.schema.values import EACH_ONCE, DnsSubdomain, LabelKey, LabelValue, Quantity, ResourceName


def _nominal(value: object) -> object:
    """Read `4` as `{nominalQuota: 4}`."""
    return value if isinstance(value, dict) else {"nominalQuota": value}


class Quota(Model):
    """How much of a resource a queue has, may borrow from its cohort, and lends to it."""

    nominal_quota: Quantity
    borrowing_limit: Quantity | None = None
    lending_limit: Quantity | None = None


class Flavor(Model):
    """A ResourceFlavor, the nodes with all `node_labels`, and the quotas that a queue has of it, by resource.

    The resources of devices are those of the controller's `deviceClassMappings`: `nvidia.com/gpu` for the class
    `gpu.nvidia.com`. Queues that name the same flavor mean the same nodes.
    """

    name: DnsSubdomain
    node_labels: dict[LabelKey, LabelValue] = {}
    quotas: Annotated[dict[ResourceName, Annotated[Quota, BeforeValidator(_nominal)]], Field(min_length=1)]


class Queue(Model):
    """A ClusterQueue, and a LocalQueue of the same name in each of the `namespaces`, which workloads name by `queue`.

    `preemption`, `flavor_fungibility`, `fair_sharing` and `queueing_strategy` are those of the ClusterQueue.
    """

    name: DnsSubdomain
    namespaces: Annotated[list[Namespace], Field(min_length=1), EACH_ONCE] = ["default"]
    cohort: DnsSubdomain | None = None
    flavors: Annotated[list[Flavor], Field(min_length=1)]
    queueing_strategy: str | None = None
    preemption: dict[str, Any] = {}
    flavor_fungibility: dict[str, Any] = {}
    fair_sharing: dict[str, Any] = {}
