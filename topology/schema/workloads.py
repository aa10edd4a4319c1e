"""The models of workloads: pods, their containers and the claims that they use."""

from collections.abc import Sequence
from graphlib import TopologicalSorter
from typing import Annotated, Literal, Protocol, Self, TypeVar

from pydantic import Field, model_validator

from topology.kubernetes import limits
from topology.kubernetes.objects import DEFAULT_NAMESPACE, Maker
from topology.kubernetes.quantities import number
from topology.schema.base import Model, WrittenModel
from topology.schema.claims import Claim, Namespace, Toleration
from topology.schema.values import (
    EACH_ONCE,
    NODE_RESOURCES,
    ContainerResourceName,
    DnsLabel,
    DnsSubdomain,
    LabelKey,
    LabelValue,
    Quantity,
    problem,
    unknown,
)


class ContainerClaim(Model):
    """A claim of the pod that a container uses, or only one `request` of the claim."""

    name: DnsLabel
    request: str | None = None


class Container(Model):
    """A fake container: the claims of the pod that it uses, and the `resources` that it requests.

    These are cpu, memory and ephemeral-storage of the node, and extended resources, which have a domain:
    https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/.
    """

    name: DnsLabel
    claims: list[ContainerClaim] = []
    resources: dict[ContainerResourceName, Quantity] = {}

    @property
    def extended_resources(self) -> dict[str, int]:
        """The amount that the container requests of each extended resource."""
        return {name: int(number(amount)) for name, amount in self.resources.items() if name not in NODE_RESOURCES}

    @property
    def node_resources(self) -> dict[str, str]:
        """The amount that the container requests of each resource of the node itself."""
        return {name: amount for name, amount in self.resources.items() if name in NODE_RESOURCES}

    @model_validator(mode="after")
    def _requests_valid_amounts(self) -> Self:
        for name, amount in self.resources.items():
            if not number(amount):
                raise problem(f"requests 0 of {name}: remove it, or request more")
            if name not in NODE_RESOURCES and (number(amount) % 1 or number(amount) > limits.RESOURCE_COUNT_MAX):
                raise problem(
                    f"requests {amount} of {name}: the amount of an extended resource must be a whole number, "
                    f"at most {limits.RESOURCE_COUNT_MAX}"
                )
        return self

    @model_validator(mode="after")
    def _uses_each_once(self) -> Self:
        for claim in self.claims:
            others = [other for other in self.claims if other is not claim and other.name == claim.name]
            if any(claim.request in (None, other.request) for other in others):
                raise problem(
                    f"uses claim {claim.name} twice: list it once for all of its requests, or once per request"
                )
        return self


class Expectation(Model):
    """The expected final state of a workload: how many claims are allocated and pending, and how many pods run.

    Without `running`, every pod whose claims are allocated runs.
    """

    allocated: Annotated[int, Field(ge=0)] | None = None
    pending: Annotated[int, Field(ge=0)] = 0
    running: Annotated[int, Field(ge=0)] | None = None


ReadyTimeout = Annotated[int, Field(ge=1, le=86_400)]


class PodGroup(Model):
    """A PodGroup of all pods of a workload: the scheduler places at least `min_count` of them at once, or none.

    For each of the `claims`, given by their names in the pod, the whole group has one ResourceClaim.

    https://github.com/kubernetes/enhancements/tree/master/keps/sig-scheduling/4671-gang-scheduling
    https://github.com/kubernetes/enhancements/tree/master/keps/sig-node/5729-resourceclaim-support-for-workloads
    """

    min_count: Annotated[int, Field(ge=1, le=limits.CLUSTER_PODS_MAX)] | None = None
    claims: Annotated[list[DnsLabel], Field(max_length=limits.POD_GROUP_CLAIMS_MAX), EACH_ONCE] = []


Provisioning = Literal["objects", "bulk"]
"""What each resource of the stack represents: one object, or a batch of objects."""


class Workload(WrittenModel):
    """A Deployment, a Job or bare pods: `replicas` fake pods with the `claims`, on nodes that `node_selector` allows.

    Without `containers`, one container uses every claim. `scheduler` is the name of the scheduler that places the pods,
    `queue` that of the queue of Kueue that admits them, `priority` that of their PriorityClass. With `pod_group`, the
    pods form a group. The workload is created `after` others have reached their expected state. If it does not reach
    the state that `expect` describes (default: every claim is allocated and every pod runs) within
    `ready_timeout_seconds`, the update fails and gives the reason. `provisioning` applies to bare pods only.
    """

    name: DnsLabel
    kind: Literal["Deployment", "Job", "Pod"] = "Deployment"
    namespace: Namespace = DEFAULT_NAMESPACE
    replicas: Annotated[int, Field(ge=0, le=limits.CLUSTER_PODS_MAX)] = 1
    pod_group: PodGroup | None = None
    claims: list[Claim] = []
    containers: list[Container] = []
    node_selector: dict[LabelKey, LabelValue] = {}
    tolerations: list[Toleration] = []
    scheduler: DnsSubdomain | None = None
    queue: DnsSubdomain | None = None
    priority: DnsSubdomain | None = None
    after: list[DnsLabel] = []
    expect: Expectation = Expectation()
    ready_timeout_seconds: ReadyTimeout = 120
    provisioning: Provisioning = "objects"

    def makers(self) -> list[Maker]:
        """Return the objects that create the pods."""
        if self.kind == "Pod":
            return [(self.kind, self.namespace, name) for name in self.pod_names()]
        return [(self.kind, self.namespace, self.name)]

    def pod_names(self) -> list[str]:
        """Return the names of bare pods."""
        return [f"{self.name}-{index}" for index in range(self.replicas)]

    def template_name(self, claim: Claim) -> str:
        """Return the name of the ResourceClaimTemplate of `claim`."""
        return claim.template or f"{self.name}-{claim.name}"

    @property
    def fewest_pods(self) -> int:
        """The number of pods that nodes must have room for, so that any pod can run."""
        return (self.pod_group and self.pod_group.min_count) or 1

    @property
    def group_claims(self) -> list[Claim]:
        """The claims that the whole group of pods shares."""
        return [claim for claim in self.claims if self.pod_group and claim.name in self.pod_group.claims]

    def all_containers(self) -> list[Container]:
        """Return the containers of each pod."""
        claims = [ContainerClaim(name=claim.name) for claim in self.claims]
        return self.containers or [Container(name="fake-container", claims=claims)]

    @property
    def extended_resources(self) -> set[str]:
        """The extended resources that the pods request."""
        return {name for container in self.containers for name in container.extended_resources}

    @property
    def claims_per_pod(self) -> int:
        """How many claims each pod has; all its extended resources together are one claim."""
        return len(self.claims) + bool(self.extended_resources)

    @property
    def expected_pending(self) -> int:
        """How many claims stay pending."""
        return self.expect.pending

    @property
    def expected_allocated(self) -> int:
        """How many claims become allocated: by default, all except the pending ones."""
        if self.expect.allocated is not None:
            return self.expect.allocated
        return max(self.replicas * self.claims_per_pod - self.expect.pending, 0)

    @model_validator(mode="after")
    def _is_not_too_large(self) -> Self:
        if self.kind == "Pod" and self.provisioning == "objects" and self.replicas > limits.BARE_PODS_MAX:
            raise problem(
                f"has {self.replicas} bare pods, each a Pulumi resource; at most {limits.BARE_PODS_MAX} are allowed: "
                "use provisioning: bulk, or kind Deployment or Job"
            )
        return self

    @model_validator(mode="after")
    def _provisions_in_bulk_only_pods(self) -> Self:
        if self.kind != "Pod" and self.provisioning == "bulk":
            raise problem(f"is of kind {self.kind}, which is a single object: remove provisioning")
        return self

    @model_validator(mode="after")
    def _claims_something(self) -> Self:
        if not self.claims_per_pod:
            raise problem("has no claims: add claims, or containers with extended resources")
        return self

    @model_validator(mode="after")
    def _group_has_its_claims_and_pods(self) -> Self:
        if self.pod_group is None:
            return self
        known = [claim.name for claim in self.claims]
        for name in self.pod_group.claims:
            if name not in known:
                raise problem(f"podGroup.claims names a {unknown('claim', name, 'the workload', known)}")
        if 0 < self.replicas < (self.pod_group.min_count or 0):
            raise problem(
                f"podGroup.minCount is {self.pod_group.min_count}, but replicas is {self.replicas}: the pods would "
                "wait forever; set minCount to at most replicas"
            )
        return self

    @model_validator(mode="after")
    def _containers_use_its_claims(self) -> Self:
        known = {claim.name: [request.name for request in claim.requests] for claim in self.claims}
        for container in self.containers:
            for used in container.claims:
                uses = f"container {container.name} uses a"
                if used.name not in known:
                    raise problem(f"{uses} {unknown('claim', used.name, 'the workload', known)}")
                requests = known[used.name]
                if used.request and requests and used.request not in requests:
                    raise problem(f"{uses} {unknown('request', used.request, f'claim {used.name}', requests)}")
        return self

    @model_validator(mode="after")
    def _expects_at_most_its_pods(self) -> Self:
        if (self.expect.running or 0) > self.replicas:
            raise problem(
                f"expects {self.expect.running} running pods, but replicas is {self.replicas}: expect at most that many"
            )
        return self

    @model_validator(mode="after")
    def _expects_its_number_of_claims(self) -> Self:
        total = self.replicas * self.claims_per_pod
        if self.expected_allocated + self.expect.pending != total:
            raise problem(
                f"expects {self.expected_allocated} allocated and {self.expect.pending} pending claims, but its "
                f"{self.replicas} pods have {total} claims in total: make allocated and pending add up to {total}"
            )
        return self


class Ordered(Protocol):
    """An entry with a `name` that comes after the entries whose names are in `after`."""

    name: str
    after: list[str]


_T = TypeVar("_T", bound=Ordered)


def in_order(entries: Sequence[_T]) -> list[_T]:
    """Return the entries sorted so that each comes after those that its `after` names.

    Raises:
        graphlib.CycleError: the `after` of some entries form a cycle.
    """
    by_name = {entry.name: entry for entry in entries}
    sorter = TopologicalSorter({entry.name: [name for name in entry.after if name in by_name] for entry in entries})
    return [by_name[name] for name in sorter.static_order()]
