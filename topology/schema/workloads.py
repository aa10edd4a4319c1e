"""What runs on the fleet: workloads and the claims of their pods, as configured."""

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
    NODE_RESOURCES,
    ContainerResourceName,
    DnsLabel,
    LabelKey,
    LabelValue,
    Quantity,
    problem,
    suggestion,
)


class ContainerClaim(Model):
    """What a container uses: a claim of its pod, or only one `request` of it."""

    name: DnsLabel
    request: str | None = None


class Container(Model):
    """A fake container: what it uses of the pod's claims, and the `resources` that it asks for.

    Those are cpu, memory and ephemeral-storage of the node, and extended resources, which have a domain:
    https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/.
    """

    name: DnsLabel
    claims: list[ContainerClaim] = []
    resources: dict[ContainerResourceName, Quantity] = {}

    @property
    def extended_resources(self) -> dict[str, int]:
        """How many it asks for of each extended resource."""
        return {name: int(number(amount)) for name, amount in self.resources.items() if name not in NODE_RESOURCES}

    @property
    def node_resources(self) -> dict[str, str]:
        """How much it asks for of what nodes have by themselves."""
        return {name: amount for name, amount in self.resources.items() if name in NODE_RESOURCES}

    @model_validator(mode="after")
    def _asks_for_amounts_that_there_are(self) -> Self:
        for name, amount in self.resources.items():
            if not number(amount):
                raise problem(f"asks for {name}: 0: leave it out, or ask for more")
            if name not in NODE_RESOURCES and (number(amount) % 1 or number(amount) > limits.RESOURCE_COUNT_MAX):
                raise problem(
                    f"asks for {name}: {amount}: an extended resource is a whole number, "
                    f"{limits.RESOURCE_COUNT_MAX} at most"
                )
        return self

    @model_validator(mode="after")
    def _uses_each_once(self) -> Self:
        for claim in self.claims:
            others = [other for other in self.claims if other is not claim and other.name == claim.name]
            if any(claim.request in (None, other.request) for other in others):
                raise problem(
                    f"uses claim {claim.name} twice: name it once for all of its requests, or each request once"
                )
        return self


class Expectation(Model):
    """How a workload's claims are to stand in the end: so many allocated, so many pending."""

    allocated: Annotated[int, Field(ge=0)] | None = None
    pending: Annotated[int, Field(ge=0)] = 0


class PodGroup(Model):
    """The group that the pods of a workload are to the scheduler: all or none of the first `min_count` get a place.

    Of each of the `claims`, by their names in the pod, there is one for the whole group.

    https://github.com/kubernetes/enhancements/tree/master/keps/sig-scheduling/4671-gang-scheduling
    https://github.com/kubernetes/enhancements/tree/master/keps/sig-node/5729-resourceclaim-support-for-workloads
    """

    min_count: Annotated[int, Field(ge=1, le=limits.CLUSTER_PODS_MAX)] | None = None
    claims: Annotated[list[DnsLabel], Field(max_length=limits.POD_GROUP_CLAIMS_MAX)] = []


Provisioning = Literal["objects", "bulk"]
"""What a resource of the stack is: each object, or a batch of them."""


class Workload(WrittenModel):
    """A Deployment, a Job or bare pods: `replicas` fake pods with the `claims`, on nodes that `node_selector` allows.

    Without `containers` there is one that uses every claim. With `pod_group` they are one group. The workload is made
    `after` others, once those stand as expected. What it expects (default: every claim is allocated and every pod
    runs) has to hold after `ready_timeout_seconds`, or the update fails and says why. Bare pods may have another
    `provisioning`.
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
    after: list[DnsLabel] = []
    expect: Expectation = Expectation()
    ready_timeout_seconds: Annotated[int, Field(ge=1, le=86_400)] = 120
    provisioning: Provisioning = "objects"

    def makers(self) -> list[Maker]:
        """Return what makes the pods."""
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
        """How many pods there have to be room for, if any of them is to run."""
        return (self.pod_group and self.pod_group.min_count) or 1

    @property
    def group_claims(self) -> list[Claim]:
        """The claims of which there is one for the whole group of pods."""
        return [claim for claim in self.claims if self.pod_group and claim.name in self.pod_group.claims]

    def all_containers(self) -> list[Container]:
        """Return the containers of each pod."""
        claims = [ContainerClaim(name=claim.name) for claim in self.claims]
        return self.containers or [Container(name="fake-container", claims=claims)]

    @property
    def extended_resources(self) -> set[str]:
        """The extended resources that the pods ask for."""
        return {name for container in self.containers for name in container.extended_resources}

    @property
    def claims_per_pod(self) -> int:
        """How many claims each pod has; all of its extended resources are one."""
        return len(self.claims) + bool(self.extended_resources)

    @property
    def expected_pending(self) -> int:
        """How many claims are to be pending."""
        return self.expect.pending

    @property
    def expected_allocated(self) -> int:
        """How many claims are to be allocated: all that are not to be pending, unless it is said."""
        if self.expect.allocated is not None:
            return self.expect.allocated
        return max(self.replicas * self.claims_per_pod - self.expect.pending, 0)

    @model_validator(mode="after")
    def _is_not_too_large(self) -> Self:
        if self.kind == "Pod" and self.provisioning == "objects" and self.replicas > limits.BARE_PODS_MAX:
            raise problem(
                f"has {self.replicas} bare pods, each a Pulumi resource; there can be {limits.BARE_PODS_MAX}: use "
                "provisioning: bulk, or kind Deployment or Job"
            )
        return self

    @model_validator(mode="after")
    def _is_many_objects(self) -> Self:
        if self.kind != "Pod" and self.provisioning == "bulk":
            raise problem(f"is of kind {self.kind}, which is one object: leave provisioning out")
        return self

    @model_validator(mode="after")
    def _claims_something(self) -> Self:
        if not self.claims_per_pod:
            raise problem("has no claims: give it claims, or containers with extended resources")
        return self

    @model_validator(mode="after")
    def _group_has_its_claims_and_pods(self) -> Self:
        if self.pod_group is None:
            return self
        known = [claim.name for claim in self.claims]
        for name in self.pod_group.claims:
            if name not in known:
                raise problem(
                    f"podGroup.claims has a claim {name!r} that the workload does not have{suggestion(name, known)} "
                    f"Its claims are {', '.join(known) or 'none'}"
                )
            if self.pod_group.claims.count(name) > 1:
                raise problem(f"podGroup.claims has claim {name} twice: name each once")
        if 0 < self.replicas < (self.pod_group.min_count or 0):
            raise problem(
                f"podGroup.minCount is {self.pod_group.min_count}, but it has {self.replicas} "
                f"pod{'s' if self.replicas > 1 else ''} (replicas): they would wait for the others for good"
            )
        return self

    @model_validator(mode="after")
    def _containers_use_its_claims(self) -> Self:
        known = {claim.name: [request.name for request in claim.requests] for claim in self.claims}
        for container in self.containers:
            for used in container.claims:
                if used.name not in known:
                    raise problem(
                        f"container {container.name} uses a claim {used.name!r} that the workload does not have"
                        f"{suggestion(used.name, known)} Its claims are {', '.join(known)}"
                    )
                if used.request and known[used.name] and used.request not in known[used.name]:
                    raise problem(
                        f"container {container.name} uses a request {used.request!r} that claim {used.name} does not "
                        f"have{suggestion(used.request, known[used.name])} They are {', '.join(known[used.name])}"
                    )
        return self

    @model_validator(mode="after")
    def _expects_what_there_is(self) -> Self:
        total = self.replicas * self.claims_per_pod
        if self.expected_allocated + self.expect.pending != total:
            raise problem(
                f"expects {self.expected_allocated} claims allocated and {self.expect.pending} pending, but its "
                f"{self.replicas} pods have {total} together"
            )
        return self


class Ordered(Protocol):
    """What can come after others of its kind."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def after(self) -> list[str]:
        """The names of those that it comes after."""


_T = TypeVar("_T", bound=Ordered)


def in_order(entries: Sequence[_T]) -> list[_T]:
    """Return the entries so that each comes after those that it names.

    Raises:
        graphlib.CycleError: some come after each other.
    """
    by_name = {entry.name: entry for entry in entries}
    sorter = TopologicalSorter({entry.name: [name for name in entry.after if name in by_name] for entry in entries})
    return [by_name[name] for name in sorter.static_order()]
