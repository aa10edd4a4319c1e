"""Matches the pods of a twin with those of its dump by what the scheduler sees of them, whatever their names."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from tests.twins.cluster import Claim, Cluster, DeviceKey, Pod, amounts_of, devices_of, key_of
from tests.twins.selection import Evaluated, Object, derived, tolerates
from topology.kubernetes.quantities import number


class Selection(NamedTuple):
    """A request, or an alternative of one, with devices by their key in the twin."""

    mode: str
    wanted: int
    """How many devices; 0 for all of them."""
    devices: Evaluated
    tolerated: frozenset[Any]
    """Those of the devices whose taints it tolerates."""
    rest: str
    """Capacity, admin access and derived attributes."""
    held: frozenset[Any]


class Ask(NamedTuple):
    """A pod as the scheduler sees it, with nodes and devices by their name in the twin."""

    pod: Pod
    claims: Sequence[Sequence[Sequence[Selection]]]
    """Of each claim each request, and of this each alternative."""
    constraints: Sequence[str]
    nodes: frozenset[str]
    node: str | None
    users: Sequence[int]
    """Of each claim how many pods use it."""
    priority: int = 0

    @property
    def told(self) -> str:
        """A short description."""
        claims = [
            " and ".join(
                "/".join(f"{one.mode} {one.wanted} of {len(one.devices.true)}" for one in request) for request in claim
            )
            for claim in self.claims
        ]
        allocated = sum(claim.allocated for claim in self.pod.claims)
        return f"{'/'.join(self.pod.name)} ({'; '.join(claims)}; {allocated} of {len(claims)} claims allocated)"


class Asks:
    """Reads the pods of a cluster; `devices` and `nodes` are the names in the twin."""

    def __init__(self, cluster: Cluster, devices: Mapping[DeviceKey, Any], nodes: Mapping[str, str]) -> None:
        self._cluster = cluster
        self._devices = devices
        self._nodes = nodes

    @cached_property
    def all(self) -> list[Ask]:
        """The pods with devices whose classes and claims are known."""
        return [self._ask(pod) for pod in self._cluster.pods if self.is_known(pod)]

    def is_known(self, pod: Pod) -> bool:
        """Tell whether the specs of a pod's claims and their classes are known."""
        return all(
            devices_of(claim.spec).get("requests")
            and all(
                one["deviceClassName"] in self._cluster.classes
                for request in devices_of(claim.spec)["requests"]
                for one in alternatives(request)
            )
            for claim in pod.claims
        )

    def _ask(self, pod: Pod) -> Ask:
        claims = [[self._request(claim, one) for one in devices_of(claim.spec)["requests"]] for claim in pod.claims]
        constraints = [text for place, claim in enumerate(pod.claims) for text in _constraints(claim, place)]
        nodes = self._cluster.admitting(pod.spec)
        there = frozenset(self._nodes[one] for one in nodes if one in self._nodes)
        users = [self._users[claim.shared] if claim.shared else 1 for claim in pod.claims]
        priority = self._cluster.priority(pod.spec)
        return Ask(pod, claims, constraints, there, self._nodes.get(pod.node or ""), users, priority)

    @cached_property
    def _users(self) -> Counter[Any]:
        return Counter(claim.shared for pod in self._cluster.pods for claim in pod.claims)

    def _request(self, claim: Claim, request: Object) -> list[Selection]:
        results = [one for one in claim.results if one.get("request", "").partition("/")[0] == request["name"]]
        held = frozenset(self._devices[key] for one in results if (key := key_of(one)) in self._devices)
        return [self._selection(one, held) for one in alternatives(request)]

    def _selection(self, selection: Object, held: frozenset[Any]) -> Selection:
        found = self._cluster.selected(self._cluster.expressions(selection))
        seen = {key: device.seen for key, device in self._cluster.devices.items() if key in found.true}
        tolerations = selection.get("tolerations") or []
        tolerated = [
            key
            for key in found.true
            if all(tolerates(tolerations, taint) for taint in self._cluster.devices[key].taints)
        ]
        rest = {
            "capacity": {name: number(str(value)) for name, value in amounts_of(selection).items()},
            "admin": bool(selection.get("adminAccess")),
            "derived": [
                (one["name"], sorted(Counter(derived(one["expression"], seen).values()).values()))
                for one in selection.get("derivedAttributes") or []
            ],
        }
        mode = selection.get("allocationMode") or "ExactCount"
        wanted = int(selection.get("count") or 1) if mode == "ExactCount" else 0
        sets = Evaluated(self._named(found.true), self._named(found.failing))
        return Selection(mode, wanted, sets, self._named(tolerated), str(rest), held)

    def _named(self, keys: Any) -> frozenset[Any]:
        return frozenset(self._devices[key] for key in keys if key in self._devices)


def alternatives(request: Object) -> list[Object]:
    """Return the alternatives of a request; a plain one has one."""
    found: list[Object] = request.get("firstAvailable") or [request["exactly"]]
    return found


def _constraints(claim: Claim, place: int) -> Iterator[str]:
    """Yield the constraints of a claim, with the number of each request instead of its name."""
    requests = devices_of(claim.spec)["requests"]
    places = {request["name"]: str(index) for index, request in enumerate(requests)}
    for request in requests:
        for index, one in enumerate(request.get("firstAvailable") or []):
            places[f"{request['name']}/{one['name']}"] = f"{places[request['name']]}/{index}"
    for entry in devices_of(claim.spec).get("constraints") or []:
        wanted = sorted(places[name] for name in entry.get("requests") or places if name in places)
        yield f"claim {place}, requests {wanted}: {entry.get('matchAttribute')} {entry.get('distinctAttribute')}"


# Whether a pod of the twin is the counterpart of one of the dump.


class Rules(NamedTuple):
    """What a counterpart must have."""

    on_its_node: bool = False
    with_its_devices: bool = False
    distinct: frozenset[Any] = frozenset()
    """The devices, by key in the twin, that an attribute tells from all others of their pool."""
    reach: Mapping[Any, frozenset[str]] = {}
    """The nodes of the twin on which each device can be used."""
    back: frozenset[Any] = frozenset()
    """The devices that only the twin publishes, as they are in use in the dump."""
    may_run: bool = False
    """Whether pods that wait in the dump may run in the twin, as a note says."""
    any_nodes: bool = False
    """Whether further requirements of nodes may be missing."""


def differing(original: Ask, copy: Ask, rules: Rules) -> str:
    """Return how a pod of the twin differs from one of the dump; empty if it is its counterpart."""
    if len(original.claims) != len(copy.claims):
        return "other claims"
    if _allocated(original) != _allocated(copy) and not (rules.may_run and _allocated(copy) == len(copy.claims)):
        return "another number of allocated claims"
    if sorted(original.constraints) != sorted(copy.constraints):
        return "other constraints"
    if original.priority != copy.priority:
        return f"priority {copy.priority} instead of {original.priority}"
    if _has_own_scheduler(original) != _has_own_scheduler(copy):
        return "another scheduler"
    if original.pod.gang != copy.pod.gang:
        return "another pod group"
    if list(original.users) != list(copy.users):
        return "claims that other pods share"
    if not copy.pod.resources.items() <= original.pod.resources.items():
        return "requests other resources of nodes"
    return _nodes(original, copy, rules) or _claims(original, copy, rules)


def _has_own_scheduler(ask: Ask) -> bool:
    return ask.pod.spec.get("schedulerName") not in (None, "", "default-scheduler")


def _allocated(ask: Ask) -> int:
    return sum(claim.allocated for claim in ask.pod.claims)


def _nodes(original: Ask, copy: Ask, rules: Rules) -> str:
    """A pod with devices may be restricted to its node, and allowed to be there; others may not."""
    own = frozenset({original.node}) - {None} if _allocated(original) else frozenset()
    if rules.on_its_node and own:
        return "" if copy.nodes == own else f"may run on {_few(copy.nodes)}, not on its node alone"
    may, must = original.nodes | own, original.nodes
    if rules.any_nodes:
        return "" if copy.nodes >= must else f"may not run on {_few(must - copy.nodes)}"
    if copy.nodes - may:
        return f"may run on {_few(copy.nodes - may)} too"
    if copy.nodes >= must or (own and copy.nodes >= own):
        return ""
    return f"may not run on {_few(must - copy.nodes)}"


def _claims(original: Ask, copy: Ask, rules: Rules) -> str:
    for claim, other, state in zip(original.claims, copy.claims, original.pod.claims, strict=True):
        if len(claim) != len(other):
            return "another number of requests"
        for request, copied in zip(claim, other, strict=True):
            if len(request) != len(copied):
                return "other alternatives"
            for one, counterpart in zip(request, copied, strict=True):
                there = frozenset(key for key in counterpart.devices.true if rules.reach[key] & copy.nodes)
                wrong = _selection(one, counterpart, rules, state, there if len(request) == 1 else None)
                if wrong:
                    return wrong
    return ""


def _selection(one: Selection, other: Selection, rules: Rules, claim: Claim, there: frozenset[Any] | None) -> str:
    """Return how selections differ; `there` are the devices of the node, or None if the request has alternatives."""
    if (one.mode, one.wanted) != (other.mode, other.wanted):
        return f"wants {other.mode} {other.wanted} instead of {one.mode} {one.wanted}"
    if one.rest != other.rest:
        return f"asks for {other.rest} instead of {one.rest}"
    both = one.devices.true & other.devices.true
    if one.tolerated & both != other.tolerated & both:
        return "tolerates other taints of devices"
    devices = other.devices.true - rules.back
    held = one.held if claim.allocated else frozenset()
    if rules.with_its_devices and there is not None and not claim.is_extended and held and held <= rules.distinct:
        return "" if there == held else f"selects {_few(there)} instead of {_few(held)}"
    if devices == one.devices.true and other.devices.failing == one.devices.failing:
        return ""
    if there is None and held - one.devices.true and devices <= one.devices.true:
        return ""  # The request has another alternative of the dump.
    if held and held <= other.devices.true and devices <= one.devices.true | held:
        return ""
    fails = f", and fails for {_few(other.devices.failing)} instead of {_few(one.devices.failing)}"
    return f"selects {_few(devices)} instead of {_few(one.devices.true)}{fails}"


def _few(names: Any) -> str:
    found = sorted(name if isinstance(name, str) else "/".join(name[1:]) for name in names)
    return f"{', '.join(found[:3])}{f' and {len(found) - 3} more' if len(found) > 3 else ''}" or "nothing"


# Matching.


def matched(originals: Sequence[Ask], copies: Sequence[Ask], rules: Rules) -> tuple[dict[int, int], list[str]]:
    """Return the number of the counterpart of each pod that has one, and what is wrong with the others' best ones."""
    fitting = [[place for place, copy in enumerate(copies) if not differing(one, copy, rules)] for one in originals]
    for places in fitting:
        places.sort(key=lambda place: len(copies[place].pod.resources), reverse=True)
    owner: dict[int, int] = {}

    def give(one: int, tried: set[int]) -> bool:
        for place in fitting[one]:
            if place not in tried:
                tried.add(place)
                if place not in owner or give(owner[place], tried):
                    owner[place] = one
                    return True
        return False

    for one in sorted(range(len(originals)), key=lambda one: len(fitting[one])):
        give(one, set())
    found = {one: place for place, one in owner.items()}
    left = [copy for place, copy in enumerate(copies) if place not in owner]
    return found, [_unmatched(originals[one], left, rules) for one in range(len(originals)) if one not in found]


def _unmatched(original: Ask, left: Sequence[Ask], rules: Rules) -> str:
    near = {
        f"{copy.told}: {differing(original, copy, rules)}" for copy in left if len(copy.claims) == len(original.claims)
    }
    return "; ".join([f"no counterpart of {original.told} in the twin", *sorted(near)[:3]])
