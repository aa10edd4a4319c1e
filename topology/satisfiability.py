"""Selectors and claims against the devices that a stack has: what no node can give, said before anything is created."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from topology import cel, objects
from topology.allocation import Candidate, Constraint, Wanted, attribute_of, has_capacity, satisfiable
from topology.configuration import Claim, DeviceRequest, NodePool, Toleration, Topology, Workload
from topology.devices import Taint
from topology.inventory import DevicePool, device_pools
from topology.problems import Problem
from topology.values import suggestion


class _Node(NamedTuple):
    """A node of a pool, as all of them are; `labels` are those of each."""

    pool: NodePool
    devices: list[DevicePool]

    def candidates(self) -> list[Candidate]:
        return [Candidate(pool.driver, device) for pool in self.devices for device in pool.devices]


class _Selector(NamedTuple):
    """A CEL expression and the key where it is."""

    path: str
    expression: str


def unsatisfiable_claims(topology: Topology) -> Iterator[Problem]:
    """Yield selectors that are wrong, and requests and claims that no node of the stack can satisfy."""
    classes = {
        device_class.name: [
            _Selector(f"deviceClasses[{index}].selectors[{place}]", expression)
            for place, expression in enumerate(device_class.selectors)
        ]
        for index, device_class in enumerate(topology.device_classes)
    }
    found = [problem for selectors in classes.values() for problem in _compiled(selectors)]
    for path, request in _requests(topology):
        found += _compiled(_selectors(request, path))
    if found:
        yield from found
        return
    nodes = [_Node(pool, device_pools(pool, pool.node_names()[0])) for pool in topology.node_pools if pool.nodes]
    for index, workload in enumerate(topology.workloads):
        if workload.replicas:
            yield from _Pod(workload, f"workloads[{index}]", classes, nodes).problems()


def _requests(topology: Topology) -> Iterator[tuple[str, DeviceRequest]]:
    for index, workload in enumerate(topology.workloads):
        for place, claim in enumerate(workload.claims):
            for number, request in enumerate(claim.requests):
                yield f"workloads[{index}].claims[{place}].requests[{number}]", request


def _selectors(request: DeviceRequest, path: str) -> list[_Selector]:
    return [_Selector(f"{path}.selectors[{place}]", text) for place, text in enumerate(request.selectors)]


def _compiled(selectors: Sequence[_Selector]) -> Iterator[Problem]:
    for selector in selectors:
        try:
            cel.compile_selector(selector.expression)
        except cel.UncheckedError:
            continue  # Kubernetes can, we cannot: left to the scheduler.
        except cel.CelError as error:
            yield Problem(selector.path, str(error))


class _Pod:
    """A pod of a workload, and what each kind of node has for it."""

    def __init__(
        self, workload: Workload, path: str, classes: Mapping[str, list[_Selector]], nodes: Sequence[_Node]
    ) -> None:
        self.workload = workload
        self.path = path
        self.classes = classes
        self.nodes = [node for node in nodes if _may_run_on(workload, node.pool)]
        self.all_nodes = nodes

    def problems(self) -> Iterator[Problem]:
        """Yield why no node can run the pod, if none can."""
        if not self.nodes:
            yield self._no_node()
            return
        try:
            found = list(self._unsatisfied_requests())
        except _Aborted as aborted:
            yield aborted.problem
            return
        found += self._constraints_about_nothing() if not found else []
        yield from found
        if not found and all(self._satisfiable_on(node) is False for node in self.nodes):
            yield Problem(
                f"{self.path}.claims",
                f"not even an empty node of {self._names(self.nodes)} can satisfy them all at once: ask for less, "
                "or loosen selectors and constraints",
            )

    def _no_node(self) -> Problem:
        if not self.all_nodes:
            return Problem(self.path, "there are no nodes for its pods: add a pool with nodes to kwok-dra:nodePools")
        return Problem(
            self.path,
            f"its pods may not run on any node of {self._names(self.all_nodes)}: change its nodeSelector, give it "
            "tolerations for the pools' taints, or change the pools' labels or taints",
        )

    @staticmethod
    def _names(nodes: Sequence[_Node]) -> str:
        return ", ".join(node.pool.name for node in nodes)

    def _unsatisfied_requests(self) -> Iterator[Problem]:
        for claim_path, claim in self._claims():
            for place, request in enumerate(claim.requests):
                path = f"{claim_path}.requests[{place}]"
                most = max(self._fitting(node, request, path) for node in self.nodes)
                if most < request.count:
                    yield Problem(path, self._too_few(request, most))

    def _constraints_about_nothing(self) -> Iterator[Problem]:
        for claim_path, claim in self._claims():
            for place, constraint in enumerate(self._constraints(claim)):
                candidates = [
                    candidate
                    for node in self.nodes
                    for wanted in self._wanted(node, claim, claim_path)
                    if constraint.covers(wanted)
                    for candidate in wanted.candidates
                ]
                if not any(attribute_of(candidate, constraint.attribute) for candidate in candidates):
                    names = {name for candidate in candidates for name in _attribute_names(candidate)}
                    yield Problem(
                        f"{claim_path}.constraints[{place}]",
                        f"is about {constraint.attribute}, which no device has that these requests may get"
                        f"{suggestion(constraint.attribute, names)} They have {', '.join(sorted(names)) or 'none'}",
                    )

    def _claims(self) -> Iterator[tuple[str, Claim]]:
        for index, claim in enumerate(self.workload.claims):
            yield f"{self.path}.claims[{index}]", claim

    def _too_few(self, request: DeviceRequest, most: int) -> str:
        what = f"device{'s' if request.count > 1 else ''} of class {request.device_class}"
        what += " that its selectors let through" if request.selectors else ""
        what += (
            f" with {', '.join(f'{name} {amount}' for name, amount in request.capacity.items())}"
            if request.capacity
            else ""
        )
        names = self._names(self.nodes)
        everywhere = len(self.nodes) == len(self.all_nodes)
        where = f"no node of {names}" if everywhere else f"no node that its pods may run on ({names})"
        if not most:
            return f"wants {request.count} {what}, but {where} has any: name another class, or loosen what it asks for"
        return f"wants {request.count} {what}, but {where} has more than {most}: ask for fewer, or give nodes more"

    def _fitting(self, node: _Node, request: DeviceRequest, path: str) -> int:
        matching = self._matching(node, request, path)
        if any(candidate.device.allow_multiple_allocations for candidate in matching):
            return request.count
        return len(matching)

    def _matching(self, node: _Node, request: DeviceRequest, path: str) -> list[Candidate]:
        selectors = [*self.classes[request.device_class], *_selectors(request, path)]
        return [
            candidate
            for candidate in node.candidates()
            if all(_matches(selector, candidate, node.pool) for selector in selectors)
            and has_capacity(candidate.device, request.capacity)
        ]

    def _satisfiable_on(self, node: _Node) -> bool | None:
        wanted = [wanted for path, claim in self._claims() for wanted in self._wanted(node, claim, path)]
        constraints = [constraint for claim in self.workload.claims for constraint in self._constraints(claim)]
        return satisfiable(wanted, constraints, node.devices)

    def _wanted(self, node: _Node, claim: Claim, path: str) -> list[Wanted]:
        return [
            Wanted(claim.name, request.name, matching, request.capacity)
            for place, request in enumerate(claim.requests)
            for matching in (self._matching(node, request, f"{path}.requests[{place}]"),)
            for _ in range(request.count)
        ]

    @staticmethod
    def _constraints(claim: Claim) -> list[Constraint]:
        return [
            Constraint(
                claim.name,
                constraint.requests,
                constraint.match_attribute or constraint.distinct_attribute or "",
                constraint.distinct_attribute is not None,
            )
            for constraint in claim.constraints
        ]


class _Aborted(Exception):
    """A selector names what a device does not have, which makes the scheduler give up on the pod."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def _matches(selector: _Selector, candidate: Candidate, pool: NodePool) -> bool:
    driver, device = candidate
    try:
        return cel.compile_selector(selector.expression).matches(
            cel.Device(driver, device.attributes, device.capacity, device.allow_multiple_allocations)
        )
    except cel.UncheckedError:
        return True
    except cel.CelError as error:
        if error.missing is None:
            raise _Aborted(Problem(selector.path, f"{error}, for device {device.name} of pool {pool.name}")) from None
        raise _Aborted(
            Problem(
                selector.path,
                f"names {error.missing}, which device {device.name} of pool {pool.name} does not have"
                f"{_hint(error.missing, candidate)}",
            )
        ) from None


def _hint(missing: str, candidate: Candidate) -> str:
    """Say what a device has instead of an attribute or capacity that it lacks."""
    driver, device = candidate
    for kind, entries in (("attributes", device.attributes), ("capacity", device.capacity)):
        if missing in (_full_name(driver, name) for name in entries):
            domain, _, name = missing.rpartition("/")
            return f" there: write device.{kind}['{domain}'].{name}"
    names = sorted(_full_name(driver, name) for name in (*device.attributes, *device.capacity))
    return (
        f"{suggestion(missing, names)} The scheduler stops at such a device: check device.driver first, "
        f"or use .?name.orValue(…). It has {', '.join(names)}"
    )


def _full_name(driver: str, name: str) -> str:
    return name if "/" in name else f"{driver}/{name}"


def _attribute_names(candidate: Candidate) -> list[str]:
    return [_full_name(candidate.driver, name) for name in candidate.device.attributes]


def _may_run_on(workload: Workload, pool: NodePool) -> bool:
    tolerations = [Toleration(key=objects.KWOK_TOLERATION["key"], operator="Exists"), *workload.tolerations]
    taints = [taint for taint in objects.node_taints(pool) if taint.effect != "PreferNoSchedule"]
    tolerated = all(any(_tolerates(toleration, taint) for toleration in tolerations) for taint in taints)
    selector = objects.NODE_TYPE.items() | workload.node_selector.items()
    return tolerated and any(selector <= objects.node_labels(pool, name).items() for name in pool.node_names())


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect not in (None, taint.effect) or toleration.key not in (None, taint.key):
        return False
    return toleration.operator == "Exists" or (toleration.value or "") == taint.value
