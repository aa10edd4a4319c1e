"""What the pods of a stack request: devices, through claims and extended resources, and resources of a node."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from topology.checks.allocation import Constraint
from topology.checks.device_matching import Alternative, Derived, Selector
from topology.kubernetes.objects import IMPLICIT_EXTENDED_RESOURCE
from topology.kubernetes.quantities import number
from topology.schema.claims import ClaimSpec, DeviceRequest, DeviceSelection, DeviceSubRequest
from topology.schema.stack import Topology
from topology.schema.workloads import Workload

ONE_SHARE_EACH_SINCE = 36
"""Since Kubernetes 1.36, a request gets a shared device once; before, as often as it has room for it.

https://github.com/kubernetes/kubernetes/blob/v1.36.0/staging/src/k8s.io/dynamic-resource-allocation/structured/internal/incubating/allocator_incubating.go,
startLocation in allocateOne
"""


class Request(NamedTuple):
    """A request of a claim.

    With `admin_access` it takes no device away from others. If it is `shared`, several pods use its devices.
    """

    claim: str
    name: str
    alternatives: list[Alternative]
    admin_access: bool = False
    shared: bool = False


class PodClaim(NamedTuple):
    """A claim, called `name` in its pod, and the key of its specification."""

    name: str
    path: str
    spec: ClaimSpec
    shared: bool

    def constraints(self) -> list[Constraint]:
        """Return the constraints."""
        return [
            Constraint(
                self.name,
                constraint.requests,
                constraint.match_attribute or constraint.distinct_attribute or "",
                constraint.distinct_attribute is not None,
            )
            for constraint in self.spec.constraints
        ]


class Declarations:
    """The device classes, extended resources and shared claims of a topology, by name."""

    def __init__(self, topology: Topology) -> None:
        """Index the declarations of the topology."""
        self.one_share_each = topology.cluster.minor >= ONE_SHARE_EACH_SINCE
        self.classes = {
            device_class.name: [
                Selector(f"deviceClasses[{index}].selectors[{place}]", expression, device_class)
                for place, expression in enumerate(device_class.selectors)
            ]
            for index, device_class in enumerate(topology.device_classes)
        }
        self.extended_resources = {
            name: device_class.name
            # Of classes that are created in one second, the scheduler uses the first by name.
            for device_class in sorted(topology.device_classes, key=lambda entry: entry.name, reverse=True)
            for name in (device_class.extended_resource_name, f"{IMPLICIT_EXTENDED_RESOURCE}/{device_class.name}")
            if name
        }
        self._shared_claims: dict[tuple[str, str], tuple[str, ClaimSpec]] = {
            (claim.namespace, claim.name): (f"claims[{index}]", claim) for index, claim in enumerate(topology.claims)
        }

    def alternative(self, selection: DeviceSelection, path: str) -> Alternative:
        """Return the devices that the selection at `path` asks for."""
        name = str(getattr(selection, "device_class", ""))
        derived = [
            Derived(f"{path}.derivedAttributes[{place}].expression", attribute.expression, attribute.name)
            for place, attribute in enumerate(selection.derived_attributes)
        ]
        return Alternative(
            path,
            name,
            selection.count if selection.allocation_mode == "ExactCount" else None,
            self.classes[name],
            [Selector(f"{path}.selectors[{place}]", text) for place, text in enumerate(selection.selectors)],
            selection.capacity,
            derived,
            name=selection.name if isinstance(selection, DeviceSubRequest) else "",
        )

    def claims(self, workload: Workload, path: str) -> list[PodClaim]:
        """Return the claims of a pod of the `workload` at `path`."""
        found = []
        for index, claim in enumerate(workload.claims):
            is_shared = bool(claim.claim) or claim in workload.group_claims
            source: tuple[str, ClaimSpec] = (f"{path}.claims[{index}]", claim)
            if claim.claim:
                source = self._shared_claims[workload.namespace, claim.claim]
            found.append(PodClaim(claim.name, *source, is_shared))
        return found

    def requests(self, claim: PodClaim) -> list[Request]:
        """Return the requests of a claim."""
        return [
            Request(
                claim.name,
                request.name,
                [self.alternative(selection, key) for key, selection in _alternatives(request, path)],
                request.admin_access,
                claim.shared,
            )
            for path, request in _requests(claim.path, claim.spec)
        ]


def extended_resources(workload: Workload) -> Mapping[str, int]:
    """Return how many devices a pod requests by each extended resource."""
    resources: Counter[str] = Counter()
    for container in workload.containers:
        resources.update(container.extended_resources)
    return resources


def node_resources(workload: Workload) -> Mapping[str, Decimal]:
    """Return how much a pod requests of each resource of a node, such as cpu."""
    resources: dict[str, Decimal] = defaultdict(Decimal)
    for container in workload.containers:
        for name, amount in container.node_resources.items():
            resources[name] += number(amount)
    return resources


def selections(topology: Topology) -> Iterator[tuple[str, DeviceSelection]]:
    """Yield each request of the claims with its key; each alternative of a request counts as one."""
    for path, spec in _specs(topology):
        for key, request in _requests(path, spec):
            yield from _alternatives(request, key)


def _specs(topology: Topology) -> Iterator[tuple[str, ClaimSpec]]:
    for index, shared in enumerate(topology.claims):
        yield f"claims[{index}]", shared
    for index, workload in enumerate(topology.workloads):
        for place, claim in enumerate(workload.claims):
            yield f"workloads[{index}].claims[{place}]", claim


def _requests(path: str, spec: ClaimSpec) -> Iterator[tuple[str, DeviceRequest]]:
    return ((f"{path}.requests[{index}]", request) for index, request in enumerate(spec.requests))


def _alternatives(request: DeviceRequest, path: str) -> Iterator[tuple[str, DeviceSelection]]:
    paths: Sequence[str] = [f"{path}.firstAvailable[{index}]" for index in range(len(request.first_available))]
    return zip(paths or [path], request.alternatives(), strict=True)
