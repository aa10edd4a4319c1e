"""Claims that no node of a stack can satisfy, reported before anything is created.

Nothing is said of pods whose scheduler finds other nodes fit than kube-scheduler does.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice, product

from topology.checks.allocation import Candidate, Constraint, Room, Wanted, attribute_of, satisfiable
from topology.checks.device_matching import AbortedError, Alternative, Derived, Selector, attribute_names
from topology.checks.node_kinds import NodeKind, node_kinds
from topology.checks.requests import Declarations, Request, extended_resources, node_resources, selections
from topology.checks.room_for_pods import too_many_pods
from topology.kubernetes import cel
from topology.kubernetes.objects import IMPLICIT_EXTENDED_RESOURCE
from topology.kubernetes.quantities import number
from topology.schema.base import Problem
from topology.schema.features_used import has_list_attributes
from topology.schema.stack import Topology
from topology.schema.values import suggestion
from topology.schema.workloads import Workload

CHOICES_MAX = 64
"""The most combinations of alternatives to try; beyond these, the scheduler decides."""


def unsatisfiable_claims(topology: Topology) -> Iterator[Problem]:
    """Yield expressions that are wrong, and requests and claims that no node of the stack can satisfy."""
    declarations = Declarations(topology)
    if wrong := list(_wrong_expressions(topology, declarations)):
        yield from wrong
        return
    kinds = node_kinds(topology)
    for index, workload in enumerate(topology.workloads):
        can_run = workload.expected_allocated and workload.expect.running != 0
        if can_run and topology.filters_as_stock(workload.scheduler):
            yield from _Pod(workload, f"workloads[{index}]", declarations, kinds).problems()


def _wrong_expressions(topology: Topology, declarations: Declarations) -> Iterator[Problem]:
    lists = has_list_attributes(topology)
    for selectors in declarations.classes.values():
        yield from _compiled(selectors, lists)
    for path, selection in selections(topology):
        alternative = declarations.alternative(selection, path)
        yield from _compiled([*alternative.selectors, *alternative.derived], lists)


def _compiled(expressions: Sequence[Selector | Derived], list_attributes: bool) -> Iterator[Problem]:
    for entry in expressions:
        compile_it = cel.compile_derived if isinstance(entry, Derived) else cel.compile_selector
        try:
            compile_it(entry.expression, list_attributes=list_attributes)
        except cel.UncheckedError:
            continue  # Only Kubernetes can check it.
        except cel.CelError as error:
            yield Problem(entry.path, str(error))


class _Pod:
    """A pod of a workload and the kinds of nodes that it may run on."""

    def __init__(self, workload: Workload, path: str, declarations: Declarations, kinds: Sequence[NodeKind]) -> None:
        self.workload = workload
        self.path = path
        self.declarations = declarations
        self.all_kinds = kinds
        self.kinds = [kind for kind in kinds if kind.may_run(workload)]
        self.claims = declarations.claims(workload, path)
        self.requests = [request for claim in self.claims for request in declarations.requests(claim)]
        self.requests += self._resource_requests()

    def problems(self) -> Iterator[Problem]:
        """Yield why no node can run the pod, if none can."""
        if not self.kinds:
            yield self._no_node()
            return
        try:
            found = list(self._unsatisfied_requests())
        except AbortedError as aborted:
            yield aborted.problem
            return
        except cel.UncheckedError:
            return  # Only Kubernetes can evaluate a derived attribute.
        found = found or list(self._constraints_without_devices())
        yield from found
        if found:
            return
        names = _pool_names(self.kinds)
        if all(self._satisfiable_on(kind) is False for kind in self.kinds):
            yield Problem(
                f"{self.path}.claims",
                f"not even an empty node of {names} can satisfy them all at once: ask for less, or loosen selectors "
                "and constraints",
            )
        else:
            yield from too_many_pods(self.workload, self.path, self.requests, self.kinds, names)

    def _no_node(self) -> Problem:
        if not self.all_kinds:
            return Problem(self.path, "there are no nodes for its pods: add a pool with nodes to kwok-dra:nodePools")
        return Problem(
            self.path,
            f"its pods may not run on any node of {_pool_names(self.all_kinds)}: change its nodeSelector, give it "
            "tolerations for the pools' taints, or change the pools' labels or taints",
        )

    def _resource_requests(self) -> Iterator[Request]:
        """Yield the requests for extended resources that device classes provide, unless a node has them itself."""
        for name, count in extended_resources(self.workload).items():
            device_class = self.declarations.extended_resources.get(name)
            if device_class and not self._is_of_nodes(name):
                selectors = self.declarations.classes[device_class]
                alternative = Alternative(f"{self.path}.containers", device_class, count, selectors)
                yield Request("extended resources", name, [alternative])

    def _is_of_nodes(self, resource: str) -> bool:
        return any(resource in kind.capacity for kind in self.kinds)

    # Requests, one by one.

    def _unsatisfied_requests(self) -> Iterator[Problem]:
        for request in self.requests:
            most = [max(self._fitting(kind, one) for kind in self.kinds) for one in request.alternatives]
            counted = list(zip(request.alternatives, most, strict=True))
            if all(fitting < (one.count or 1) for one, fitting in counted):
                for one, fitting in counted:
                    yield Problem(one.path, self._too_few(one, fitting))
        yield from self._unknown_resources()
        yield from self._too_much_of_nodes()

    def _fitting(self, kind: NodeKind, wanted: Alternative) -> int:
        matching = kind.matching(wanted)
        shared = any(candidate.device.allow_multiple_allocations for candidate in matching)
        again = shared and not self.declarations.one_share_each
        return wanted.count or len(matching) if again else len(matching)

    def _too_few(self, wanted: Alternative, most: int) -> str:
        what = f"device{'s' if wanted.count != 1 else ''} of class {wanted.device_class}"
        what += " matching its selectors" if wanted.selectors else ""
        if wanted.amounts:
            what += f" with {', '.join(f'{name} {amount}' for name, amount in wanted.amounts.items())}"
        names = _pool_names(self.kinds)
        everywhere = len(self.kinds) == len(self.all_kinds)
        # The key of a shared claim does not tell whose pods they are.
        pods = "its pods" if wanted.path.startswith(self.path) else f"the pods of {self.workload.name}"
        where = f"no node of {names}" if everywhere else f"no node that {pods} may run on ({names})"
        wants = f"wants {wanted.count or 'all'} {what}, but {where} has"
        if not most:
            return f"{wants} any: name another class, or loosen what it asks for"
        return f"{wants} more than {most}: ask for fewer, or give nodes more"

    def _unknown_resources(self) -> Iterator[Problem]:
        provided = self.declarations.extended_resources
        known = sorted(name for name in provided if IMPLICIT_EXTENDED_RESOURCE not in name)
        for name in extended_resources(self.workload):
            if name not in provided and not self._is_of_nodes(name):
                yield Problem(
                    f"{self.path}.containers",
                    f"ask for {name}, which no node and no device class provides{suggestion(name, known)} Device "
                    f"classes provide {', '.join(known) or 'none'}; set a class's extendedResourceName",
                )

    def _too_much_of_nodes(self) -> Iterator[Problem]:
        for name, amount in node_resources(self.workload).items():
            most = max((kind.capacity.get(name, "0") for kind in self.kinds), key=number)
            if number(most) < amount:
                asked = [container.node_resources.get(name) for container in self.workload.containers]
                yield Problem(
                    f"{self.path}.containers",
                    f"ask for {name}: {' + '.join(filter(None, asked))}, but no node of {_pool_names(self.kinds)} has "
                    f"more than {most}: ask for less, or give the pools more capacity",
                )

    # All requests together.

    def _constraints_without_devices(self) -> Iterator[Problem]:
        for claim in self.claims:
            for place, constraint in enumerate(claim.constraints()):
                if any("/" in name for name in constraint.requests):
                    continue  # Another alternative of the request may do.
                candidates = [
                    candidate
                    for kind in self.kinds
                    for request in self.requests
                    for alternative in request.alternatives
                    for wanted in _wanted(request, alternative, kind.matching(alternative))
                    if constraint.covers(wanted)
                    for candidate in wanted.candidates
                ]
                if not any(attribute_of(candidate, constraint.attribute) for candidate in candidates):
                    names = {name for candidate in candidates for name in attribute_names(candidate)}
                    yield Problem(
                        f"{claim.path}.constraints[{place}]",
                        f"names {constraint.attribute}, which no device that matches its requests has"
                        f"{suggestion(constraint.attribute, names)} They have {', '.join(sorted(names)) or 'none'}",
                    )

    def _satisfiable_on(self, kind: NodeKind) -> bool | None:
        constraints = [constraint for claim in self.claims for constraint in claim.constraints()]
        room = Room(kind.devices.counters, self.declarations.one_share_each)
        return at_once(self.requests, constraints, kind.matching, room)


def at_once(
    requests: Sequence[Request],
    constraints: Sequence[Constraint],
    matching: Callable[[Alternative], Sequence[Candidate]],
    room: Room,
) -> bool | None:
    """Tell whether a node with this `room` can satisfy all requests, with the devices `matching` each alternative.

    None if there are too many choices of alternatives to try, or one is too hard to decide.
    """
    exclusive = [request for request in requests if not request.admin_access]
    answers = []
    for choice in islice(product(*(request.alternatives for request in exclusive)), CHOICES_MAX):
        wanted = [
            one
            for request, alternative in zip(exclusive, choice, strict=True)
            for one in _wanted(request, alternative, matching(alternative))
        ]
        answers.append(satisfiable(wanted, constraints, room))
        if answers[-1]:
            return True
    return None if None in answers or len(answers) == CHOICES_MAX else False


def _pool_names(kinds: Sequence[NodeKind]) -> str:
    return ", ".join(dict.fromkeys(kind.pool.name for kind in kinds))


def _wanted(request: Request, alternative: Alternative, matching: Sequence[Candidate]) -> list[Wanted]:
    count = max(len(matching), 1) if alternative.count is None else alternative.count
    name = f"{request.name}/{alternative.name}" if alternative.name else request.name
    return [Wanted(request.claim, name, matching, alternative.amounts)] * count
