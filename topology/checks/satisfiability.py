"""Selectors and claims against the devices that a stack has: what no node can give, said before anything is created."""

from collections import Counter, defaultdict
from collections.abc import ItemsView, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from itertools import islice, product
from typing import NamedTuple

from topology.checks.allocation import Candidate, Constraint, Wanted, attribute_of, has_capacity, satisfiable
from topology.checks.device_matching import _Aborted, _attribute_names, _Derived, _matches, _Selector, _with_derived
from topology.kubernetes import cel
from topology.kubernetes.objects import IMPLICIT_EXTENDED_RESOURCE
from topology.kubernetes.quantities import number
from topology.objects import nodes as node_objects
from topology.objects.inventory import DevicePool, device_pools
from topology.schema.base import Problem
from topology.schema.claims import Claim, ClaimSpec, DeviceRequest, DeviceSelection, Toleration
from topology.schema.features_used import has_list_attributes
from topology.schema.stack import NodePool, Topology
from topology.schema.values import suggestion
from topology.schema.workloads import Workload

CHOICES_MAX = 64
"""So many combinations of alternatives are tried; what that cannot tell is left to the scheduler."""


@dataclass(frozen=True)
class _Node:
    """What nodes of a pool, called `names`, have alike."""

    pool: NodePool
    names: list[str]
    devices: list[DevicePool]

    @cached_property
    def labels(self) -> list[ItemsView[str, str]]:
        """The labels of each of the nodes: there may be as many workloads that ask for some as there are nodes."""
        return [node_objects.node_labels(self.pool, name).items() for name in self.names]

    @cached_property
    def capacity(self) -> dict[str, str]:
        """What each of the nodes has besides devices."""
        return node_objects.node_capacity(self.pool)

    def candidates(self) -> list[Candidate]:
        return [Candidate(pool.driver, device) for pool in self.devices for device in pool.devices]


@dataclass(frozen=True)
class _Alternative:
    """What would satisfy a request: `count` devices (None: all of a node) that every selector lets through."""

    path: str
    device_class: str
    count: int | None
    selectors: list[_Selector]
    amounts: Mapping[str, str]
    derived: Sequence[_Derived] = ()


class _Request(NamedTuple):
    """A request of a claim; with `admin_access` it takes no device away from others."""

    claim: str
    name: str
    alternatives: list[_Alternative]
    admin_access: bool = False


_Taken = tuple[set[tuple[str, str]], int]
"""Devices, by driver and name, and how many of them are taken."""


def _sum(taken: Iterable[_Taken], names: set[tuple[str, str]]) -> int:
    """Return how many devices are taken of those that `names` holds alone."""
    return sum(count for other, count in taken if other <= names)


class _Stack:
    """The classes, shared claims and nodes of a topology, as the pods of its workloads meet them."""

    def __init__(self, topology: Topology) -> None:
        self.classes = {
            device_class.name: [
                _Selector(f"deviceClasses[{index}].selectors[{place}]", expression)
                for place, expression in enumerate(device_class.selectors)
            ]
            for index, device_class in enumerate(topology.device_classes)
        }
        self.extended_resources = {
            name: device_class.name
            for device_class in topology.device_classes
            for name in (device_class.extended_resource_name, f"{IMPLICIT_EXTENDED_RESOURCE}/{device_class.name}")
            if name
        }
        self.shared_claims = {
            (claim.namespace, claim.name): (f"claims[{index}]", claim) for index, claim in enumerate(topology.claims)
        }

    def requests(self, claim: str, spec: ClaimSpec, path: str) -> list[_Request]:
        """Return the requests of a claim that is called `claim` in its pod."""
        return [
            _Request(
                claim,
                request.name,
                [
                    self._alternative(alternative, key)
                    for alternative, key in zip(
                        request.alternatives(), _paths(request, f"{path}.requests[{index}]"), strict=True
                    )
                ],
                request.admin_access,
            )
            for index, request in enumerate(spec.requests)
        ]

    def _alternative(self, selection: DeviceSelection, path: str) -> _Alternative:
        own = [_Selector(f"{path}.selectors[{place}]", text) for place, text in enumerate(selection.selectors)]
        name = str(getattr(selection, "device_class", ""))
        count = selection.count if selection.allocation_mode == "ExactCount" else None
        derived = [
            _Derived(f"{path}.derivedAttributes[{place}].expression", attribute.expression, attribute.name)
            for place, attribute in enumerate(selection.derived_attributes)
        ]
        return _Alternative(path, name, count, [*self.classes[name], *own], selection.capacity, derived)


def _paths(request: DeviceRequest, path: str) -> list[str]:
    return [f"{path}.firstAvailable[{index}]" for index in range(len(request.first_available))] or [path]


def selections(topology: Topology) -> Iterator[tuple[str, DeviceSelection]]:
    """Go through what claims ask for, alternatives one by one, each with its key."""
    for path, spec in _specs(topology):
        for index, request in enumerate(spec.requests):
            yield from zip(_paths(request, f"{path}.requests[{index}]"), request.alternatives(), strict=True)


def unsatisfiable_claims(topology: Topology) -> Iterator[Problem]:
    """Yield selectors that are wrong, and requests and claims that no node of the stack can satisfy."""
    stack = _Stack(topology)
    lists = has_list_attributes(topology)
    found = [problem for selectors in stack.classes.values() for problem in _compiled(selectors, lists)]
    for path, spec in _specs(topology):
        for request in stack.requests("", spec, path):
            for alternative in request.alternatives:
                own = [one for one in alternative.selectors if one.path.startswith(alternative.path)]
                found += _compiled([*own, *alternative.derived], lists)
    if found:
        yield from found
        return
    expressions = [selector.expression for selectors in stack.classes.values() for selector in selectors]
    expressions += [text for _, spec in _specs(topology) for request in spec.requests for text in _texts(request)]
    nodes = [node for pool in topology.node_pools for node in _nodes(pool, expressions)]
    for index, workload in enumerate(topology.workloads):
        if workload.expected_allocated:
            yield from _Pod(workload, f"workloads[{index}]", stack, nodes).problems()


def _nodes(pool: NodePool, expressions: Sequence[str]) -> list[_Node]:
    """Return one entry for all nodes of a pool, or one for each if a selector may tell them apart.

    Their devices are without what is wrong with them: pods that have such devices may keep them.
    """
    names = pool.node_names()
    if not names:
        return []
    sound = pool.model_copy(update={"faults": []})
    first = device_pools(sound, names[0])
    differing = _differing(first, device_pools(sound, names[-1]))
    if any(attribute in expression for attribute in differing for expression in expressions):
        return [_Node(pool, [name], device_pools(sound, name)) for name in names]
    return [_Node(pool, names, first)]


def _differing(one: Sequence[DevicePool], other: Sequence[DevicePool]) -> set[str]:
    """Name the attributes, without their domain, that devices of two nodes do not have alike, such as UUIDs."""
    pairs = zip(
        (device for pool in one for device in pool.devices),
        (device for pool in other for device in pool.devices),
        strict=True,
    )
    return {
        name.rpartition("/")[2]
        for device, counterpart in pairs
        for name, value in device.attributes.items()
        if value != counterpart.attributes[name]
    }


def _texts(request: DeviceRequest) -> list[str]:
    return [text for alternative in request.alternatives() for text in alternative.expressions]


def _specs(topology: Topology) -> Iterator[tuple[str, ClaimSpec]]:
    for index, shared in enumerate(topology.claims):
        yield f"claims[{index}]", shared
    for index, workload in enumerate(topology.workloads):
        for place, claim in enumerate(workload.claims):
            yield f"workloads[{index}].claims[{place}]", claim


def _compiled(selectors: Sequence[_Selector | _Derived], list_attributes: bool) -> Iterator[Problem]:
    for selector in selectors:
        compile_it = cel.compile_derived if isinstance(selector, _Derived) else cel.compile_selector
        try:
            compile_it(selector.expression, list_attributes=list_attributes)
        except cel.UncheckedError:
            continue  # Kubernetes can, we cannot: left to the scheduler.
        except cel.CelError as error:
            yield Problem(selector.path, str(error))


class _Pod:
    """A pod of a workload, and what each kind of node has for it."""

    def __init__(self, workload: Workload, path: str, stack: _Stack, nodes: Sequence[_Node]) -> None:
        self.workload = workload
        self.path = path
        self.stack = stack
        self.nodes = [node for node in nodes if _may_run_on(workload, node)]
        self.all_nodes = nodes
        self._known: dict[tuple[str, str, str], list[Candidate]] = {}
        self.specs = [self._spec(index, claim) for index, claim in enumerate(workload.claims)]
        shared = [claim.claim is not None or claim in workload.group_claims for claim in workload.claims]
        self.own_specs = [spec for spec, common in zip(self.specs, shared, strict=True) if not common]
        self.shared_specs = [spec for spec, common in zip(self.specs, shared, strict=True) if common]
        self.requests = self._requests(self.specs)

    def _spec(self, index: int, claim: Claim) -> tuple[str, str, ClaimSpec]:
        if claim.claim:
            path, shared = self.stack.shared_claims[self.workload.namespace, claim.claim]
            return claim.name, path, shared
        return claim.name, f"{self.path}.claims[{index}]", claim

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
        except cel.UncheckedError:
            return  # A derived attribute that Kubernetes can tell, and we cannot.
        found += self._constraints_about_nothing() if not found else []
        yield from found
        if found:
            return
        if all(self._satisfiable_on(node) is False for node in self.nodes):
            yield Problem(
                f"{self.path}.claims",
                f"not even an empty node of {self._names(self.nodes)} can satisfy them all at once: ask for less, "
                "or loosen selectors and constraints",
            )
        else:
            yield from self._too_many_pods()

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
        return ", ".join(dict.fromkeys(node.pool.name for node in nodes))

    def _unsatisfied_requests(self) -> Iterator[Problem]:
        for request in self.requests:
            most = {
                alternative.path: max(self._fitting(node, alternative) for node in self.nodes)
                for alternative in request.alternatives
            }
            if all(most[alternative.path] < (alternative.count or 1) for alternative in request.alternatives):
                for alternative in request.alternatives:
                    yield Problem(alternative.path, self._too_few(alternative, most[alternative.path]))
        for name, count in self._extended_resources().items():
            yield from self._too_few_of_resource(name, count)
        yield from self._too_much_of_nodes()

    def _extended_resources(self) -> dict[str, int]:
        resources: Counter[str] = Counter()
        for container in self.workload.containers:
            resources.update(container.extended_resources)
        return resources

    @cached_property
    def _node_resources(self) -> dict[str, Decimal]:
        resources: dict[str, Decimal] = defaultdict(Decimal)
        for container in self.workload.containers:
            for name, amount in container.node_resources.items():
                resources[name] += number(amount)
        return resources

    def _too_much_of_nodes(self) -> Iterator[Problem]:
        for name, amount in self._node_resources.items():
            most = max((node.capacity.get(name, "0") for node in self.nodes), key=number)
            if number(most) < amount:
                asked = [container.node_resources.get(name) for container in self.workload.containers]
                yield Problem(
                    f"{self.path}.containers",
                    f"ask for {name}: {' + '.join(filter(None, asked))}, but no node of {self._names(self.nodes)} has "
                    f"more than {most}: ask for less, or give the pools more capacity",
                )

    def _too_few_of_resource(self, name: str, count: int) -> Iterator[Problem]:
        alternative = self._alternative_of_resource(name, count)
        if alternative:
            most = max(self._fitting(node, alternative) for node in self.nodes)
            if most < count:
                yield Problem(alternative.path, self._too_few(alternative, most))
        elif not any(name in node.capacity for node in self.nodes):
            known = sorted(name for name in self.stack.extended_resources if IMPLICIT_EXTENDED_RESOURCE not in name)
            yield Problem(
                f"{self.path}.containers",
                f"ask for {name}, which no node has and no device class stands for{suggestion(name, known)} Device "
                f"classes stand for {', '.join(known) or 'none'}; set a class's extendedResourceName",
            )

    def _alternative_of_resource(self, name: str, count: int) -> _Alternative | None:
        device_class = self.stack.extended_resources.get(name)
        if device_class is None or any(name in node.capacity for node in self.nodes):
            return None
        return _Alternative(f"{self.path}.containers", device_class, count, self.stack.classes[device_class], {})

    def _resource_requests(self) -> Iterator[_Request]:
        for name, count in self._extended_resources().items():
            if alternative := self._alternative_of_resource(name, count):
                yield _Request("extended resources", name, [alternative])

    def _constraints_about_nothing(self) -> Iterator[Problem]:
        for name, path, spec in self.specs:
            for place, constraint in enumerate(_constraints(name, spec)):
                candidates = [
                    candidate
                    for node in self.nodes
                    for request in self.requests
                    for alternative in request.alternatives
                    for wanted in self._wanted(node, request, alternative)
                    if constraint.covers(wanted)
                    for candidate in wanted.candidates
                ]
                if not any(attribute_of(candidate, constraint.attribute) for candidate in candidates):
                    names = {name for candidate in candidates for name in _attribute_names(candidate)}
                    yield Problem(
                        f"{path}.constraints[{place}]",
                        f"is about {constraint.attribute}, which no device has that these requests may get"
                        f"{suggestion(constraint.attribute, names)} They have {', '.join(sorted(names)) or 'none'}",
                    )

    def _too_few(self, wanted: _Alternative, most: int) -> str:
        what = f"device{'s' if wanted.count != 1 else ''} of class {wanted.device_class}"
        what += (
            " that its selectors let through"
            if any(one.path.startswith(wanted.path) for one in wanted.selectors)
            else ""
        )
        if wanted.amounts:
            what += f" with {', '.join(f'{name} {amount}' for name, amount in wanted.amounts.items())}"
        names = self._names(self.nodes)
        everywhere = len(self.nodes) == len(self.all_nodes)
        where = f"no node of {names}" if everywhere else f"no node that its pods may run on ({names})"
        count = wanted.count or "all"
        if not most:
            return f"wants {count} {what}, but {where} has any: name another class, or loosen what it asks for"
        return f"wants {count} {what}, but {where} has more than {most}: ask for fewer, or give nodes more"

    # How many pods there is room for at most. Shared devices, constraints, counters and other workloads may make it
    # fewer: what that comes to is for the scheduler to find out.

    def _too_many_pods(self) -> Iterator[Problem]:
        wanted, most = self.workload.replicas, self._most_pods()
        if most < self.workload.fewest_pods <= wanted:
            yield self._too_large_gang(most)
            return
        if self.workload.kind == "Job" or wanted - self.workload.expected_pending <= most:
            return  # The pods of a job give their devices back.
        pending = (wanted - most) * (len(self.own_specs) + bool(self.workload.extended_resources))
        yield Problem(
            f"{self.path}.replicas",
            f"is {wanted}, but {self._names(self.nodes)} can hold at most {most} such pod{'s' if most != 1 else ''}: "
            "ask for fewer, give the pools more nodes or devices, or say that the rest is to wait with "
            f"expect: {{pending: {pending}}}",
        )

    def _too_large_gang(self, most: int) -> Problem:
        return Problem(
            f"{self.path}.podGroup.minCount",
            f"is {self.workload.fewest_pods}, but {self._names(self.nodes)} can hold at most {most} such "
            f"pod{'s' if most != 1 else ''}, so that none would run: ask for fewer, give the pools more nodes or "
            "devices, or say that all are to wait with "
            f"expect: {{allocated: 0, pending: {self.workload.replicas * self.workload.claims_per_pod}}}",
        )

    def _most_pods(self) -> int:
        rooms = [(self._most_pods_on(node), _count_of_nodes(self.workload, node)) for node in self.nodes]
        if self.shared_specs:
            return max(room for room, _ in rooms)  # A shared claim has its devices on one node.
        return sum(room * count for room, count in rooms)

    def _most_pods_on(self, node: _Node) -> int:
        each = self._all_taken(node, [*self._requests(self.own_specs), *self._resource_requests()])
        once = self._all_taken(node, self._requests(self.shared_specs))
        rooms = [(len(names) - _sum(once, names)) // _sum(each, names) for names, _ in each]
        rooms += [int(number(node.capacity.get(name, "0")) // amount) for name, amount in self._node_resources.items()]
        return max(min([int(number(node.capacity["pods"])), *rooms]), 0)

    def _requests(self, specs: Iterable[tuple[str, str, ClaimSpec]]) -> list[_Request]:
        return [request for name, path, spec in specs for request in self.stack.requests(name, spec, path)]

    def _all_taken(self, node: _Node, requests: Iterable[_Request]) -> list[_Taken]:
        return [found for request in requests if (found := self._taken(node, request))]

    def _taken(self, node: _Node, request: _Request) -> _Taken | None:
        """Return what a request takes at least; None if it can do with shared devices."""
        names: set[tuple[str, str]] = set()
        counts = []
        for alternative in request.alternatives:
            matching = self._matching(node, alternative)
            count = alternative.count or max(len(matching), 1)
            if any(candidate.device.allow_multiple_allocations for candidate in matching):
                return None
            if len(matching) >= count:
                names |= {(candidate.driver, candidate.device.name) for candidate in matching}
                counts.append(count)
        return None if request.admin_access else (names, min(counts, default=1))

    def _fitting(self, node: _Node, wanted: _Alternative) -> int:
        matching = self._matching(node, wanted)
        if any(candidate.device.allow_multiple_allocations for candidate in matching):
            return wanted.count or len(matching)
        return len(matching)

    def _matching(self, node: _Node, wanted: _Alternative) -> list[Candidate]:
        key = (node.names[0], wanted.path, wanted.device_class)
        if key not in self._known:
            self._known[key] = [
                _with_derived(wanted.derived, candidate, node.pool)
                for candidate in node.candidates()
                if all(_matches(selector, candidate, node.pool) for selector in wanted.selectors)
                and has_capacity(candidate.device, wanted.amounts)
            ]
        return self._known[key]

    def _satisfiable_on(self, node: _Node) -> bool | None:
        """Tell whether some choice of alternatives fits; None if there are too many to try, or if it is too hard."""
        constraints = [constraint for name, _, spec in self.specs for constraint in _constraints(name, spec)]
        resources = [
            wanted
            for request in self._resource_requests()
            for wanted in self._wanted(node, request, request.alternatives[0])
        ]
        exclusive = [request for request in self.requests if not request.admin_access]
        answers = []
        for choice in islice(product(*(request.alternatives for request in exclusive)), CHOICES_MAX):
            chosen = zip(exclusive, choice, strict=True)
            wanted = [one for request, alternative in chosen for one in self._wanted(node, request, alternative)]
            answers.append(satisfiable([*wanted, *resources], constraints, node.devices))
            if answers[-1]:
                return True
        return None if None in answers or len(answers) == CHOICES_MAX else False

    def _wanted(self, node: _Node, request: _Request, alternative: _Alternative) -> list[Wanted]:
        matching = self._matching(node, alternative)
        count = max(len(matching), 1) if alternative.count is None else alternative.count
        return [Wanted(request.claim, request.name, matching, alternative.amounts) for _ in range(count)]


def _constraints(claim: str, spec: ClaimSpec) -> list[Constraint]:
    return [
        Constraint(
            claim,
            # An alternative is named after its request: `request/alternative`.
            [name.partition("/")[0] for name in constraint.requests],
            constraint.match_attribute or constraint.distinct_attribute or "",
            constraint.distinct_attribute is not None,
        )
        for constraint in spec.constraints
    ]


def _may_run_on(workload: Workload, node: _Node) -> bool:
    if not any(_selected(workload, node)):
        return False
    tolerations = [Toleration(key=node_objects.KWOK_TOLERATION["key"], operator="Exists"), *workload.tolerations]
    taints = [taint for taint in node_objects.node_taints(node.pool) if taint.effect != "PreferNoSchedule"]
    return all(any(toleration.tolerates(taint) for toleration in tolerations) for taint in taints)


def _count_of_nodes(workload: Workload, node: _Node) -> int:
    if not workload.node_selector:
        return len(node.names)
    return sum(_selected(workload, node))


def _selected(workload: Workload, node: _Node) -> Iterator[bool]:
    selector = node_objects.NODE_TYPE.items() | workload.node_selector.items()
    return (selector <= labels for labels in node.labels)
