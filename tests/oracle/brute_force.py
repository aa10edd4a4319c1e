"""What a node can do for a pod, by trying everything: independent of the program's own checks and reasons.

It reads Kubernetes objects, rendered or live, and follows the order of the scheduler's allocator, which matters in two
cases: a device that a pod has with admin access is not for a later request of the same pod, and the allocator fails at
once if a constraint excludes one of `All` devices. Selectors have one of the forms in `SELECTORS`.

https://github.com/kubernetes/dynamic-resource-allocation/blob/v0.37.2/structured/internal/incubating/allocator_incubating.go
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import Enum
from itertools import combinations
from typing import Any, NamedTuple

from topology.kubernetes.quantities import number

Object = Mapping[str, Any]
Place = tuple[str, str, str]
"""A driver, a pool and a device in it."""

STEPS_MAX = 200_000
HARMLESS = ("None", "PreferNoSchedule")
"""The effects of taints, of devices and of nodes, that keep no pod away."""


class Outcome(Enum):
    """What the scheduler finds on a node, or on all nodes that a pod may run on."""

    FITS = "fits"
    SHORT = "short"
    ERROR = "error"
    """The scheduler gives up on the pod, whatever other nodes have."""


class ConstraintError(Exception):
    """A constraint excludes one of all devices."""


class TooManyError(Exception):
    """There are more ways than can be tried."""


class Device(NamedTuple):
    """A device that a node publishes."""

    place: Place
    published: Object

    @property
    def name(self) -> str:
        """Its name in its pool."""
        return self.place[2]

    @property
    def is_shared(self) -> bool:
        """Whether several claims can have it."""
        return bool(self.published.get("allowMultipleAllocations"))

    def attribute(self, name: str) -> Object:
        """Return an attribute by its full name; empty if the device has none."""
        attributes: Mapping[str, Object] = self.published.get("attributes") or {}
        domain, _, short = name.rpartition("/")
        return attributes.get(name) or (attributes.get(short) if domain == self.place[0] else None) or {}

    def counters(self) -> Iterator[tuple[tuple[str, str], Decimal]]:
        """Yield how much it consumes of each counter, by set and name."""
        for consumed in self.published.get("consumesCounters") or []:
            for name, counter in consumed["counters"].items():
                yield (consumed["counterSet"], name), number(str(counter["value"]))

    def amounts(self, requested: Mapping[str, str]) -> dict[str, Decimal] | None:
        """Return what a request consumes of each capacity; None if the device does not offer that."""
        capacity: Mapping[str, Object] = self.published.get("capacity") or {}
        if not requested.keys() <= capacity.keys():
            return None
        found = {name: _rounded(entry, requested.get(name)) for name, entry in capacity.items()}
        consumed = {name: amount for name, amount in found.items() if amount is not None}
        return consumed if len(consumed) == len(found) else None


def _rounded(capacity: Object, requested: str | None) -> Decimal | None:
    policy: Object = capacity.get("requestPolicy") or {}
    whole = number(str(capacity["value"]))
    if requested is None:
        return number(str(policy["default"])) if "default" in policy else whole
    amount = number(str(requested))
    limits: Object = policy.get("validRange") or {}
    if limits:
        least, step = number(str(limits["min"])), number(str(limits.get("step", "0")))
        amount = max(amount, least)
        while step and (amount - least) % step:
            amount += step - (amount - least) % step
        if amount > number(str(limits.get("max", whole))):
            return None
    return amount if amount <= whole else None


class Request(NamedTuple):
    """A request of a claim, with its alternatives by name; a plain request has one without a name."""

    claim: int
    name: str
    alternatives: Sequence[tuple[str, Object]]


@dataclass(frozen=True)
class Pod:
    """A pod with its claims, in its own order."""

    spec: Object
    requests: Sequence[Request]
    """Of the claims that are not allocated."""
    constraints: Sequence[tuple[int, Object]]
    """Each with the number of its claim."""
    nodes: frozenset[str] | None = None
    """The nodes to which its allocated claims restrict it."""
    shared: Sequence[str] = ()
    """The names of its claims that other pods use too and that are not allocated."""

    def only(self, names: Sequence[str]) -> "Pod":
        """Return the pod with these requests alone, without constraints."""
        return replace(self, requests=[one for one in self.requests if one.name in names], constraints=[])


class Taken(NamedTuple):
    """A device that a request takes."""

    request: Request
    alternative: str
    device: Device
    amounts: Mapping[str, Decimal]
    admin: bool


class Fleet:
    """Nodes with their devices, and what claims hold of these."""

    def __init__(self, objects: Iterable[Object]) -> None:
        """Use the nodes, slices, classes, claims and templates among the objects."""
        by_kind: dict[str, list[Object]] = defaultdict(list)
        for entry in objects:
            by_kind[entry["kind"]].append(entry)
        self.nodes = {entry["metadata"]["name"]: entry for entry in by_kind["Node"]}
        self.classes = {entry["metadata"]["name"]: entry["spec"] for entry in by_kind["DeviceClass"]}
        self.claims = {_key(entry): entry for entry in by_kind["ResourceClaim"]}
        self.templates = {_key(entry): entry["spec"] for entry in by_kind["ResourceClaimTemplate"]}
        self.devices: dict[str, list[Device]] = {name: [] for name in self.nodes}
        self.counters: dict[tuple[str, str], dict[tuple[str, str], Decimal]] = defaultdict(dict)
        for entry in sorted(by_kind["ResourceSlice"], key=_order):
            self._read(entry["spec"])
        self.held: list[tuple[Place, Mapping[str, Decimal]]] = []
        self.holders: dict[tuple[str, str], list[Place]] = defaultdict(list)
        for name, claim in self.claims.items():
            for result in _results(claim):
                place = (result["driver"], result["pool"], result["device"])
                if not result.get("adminAccess"):
                    consumed = result.get("consumedCapacity") or {}
                    self.held.append((place, {key: number(str(value)) for key, value in consumed.items()}))
                    users = claim["status"].get("reservedFor") or []
                    for holder in (name, *((name[0], user["name"]) for user in users)):
                        self.holders[holder].append(place)
        self.bound: dict[str, frozenset[str]] = {}
        """The nodes of shared claims that are allocated here alone, while pods are tried one after the other."""

    def _read(self, spec: Object) -> None:
        pool = spec["driver"], spec["pool"]["name"]
        for counter_set in spec.get("sharedCounters") or []:
            for name, counter in counter_set["counters"].items():
                self.counters[pool][counter_set["name"], name] = number(str(counter["value"]))
        for device in spec.get("devices") or []:
            for node in self._using(device if spec.get("perDeviceNodeSelection") else spec):
                self.devices[node].append(Device((*pool, device["name"]), device))

    def _using(self, spec: Object) -> list[str]:
        """Return the nodes that can use the devices of a slice, or one of its devices."""
        if spec.get("allNodes"):
            return list(self.nodes)
        selector = spec.get("nodeSelector")
        return [spec["nodeName"]] if selector is None else self._selected(selector)

    def _selected(self, selector: Object) -> list[str]:
        """Return the nodes that a selector with one term selects by their names and labels."""
        (term,) = selector["nodeSelectorTerms"]
        return [
            name
            for name, node in self.nodes.items()
            if all(name in entry["values"] for entry in term.get("matchFields") or [])
            and all(
                (node["metadata"].get("labels") or {}).get(entry["key"]) in entry["values"]
                for entry in term.get("matchExpressions") or []
            )
        ]

    def pod(self, manifest: Object) -> Pod:
        """Return a pod, live or from a template of one."""
        space, _ = _key(manifest)
        made = {
            entry["name"]: entry.get("resourceClaimName")
            for entry in manifest.get("status", {}).get("resourceClaimStatuses") or []
        }
        found = Pod(manifest["spec"], [], [])
        for place, used in enumerate(manifest["spec"].get("resourceClaims") or []):
            name = used.get("resourceClaimName") or made.get(used["name"])
            claim = self.claims[space, name] if name else self.templates[space, used["resourceClaimTemplateName"]]
            found = self._with_claim(found, place, claim, used.get("resourceClaimName"))
        return found

    def _with_claim(self, pod: Pod, place: int, claim: Object, shared: str | None) -> Pod:
        nodes = self._nodes_of(claim)
        if nodes is None and shared in self.bound:
            nodes = self.bound[str(shared)]
        if nodes is not None:
            return replace(pod, nodes=nodes if pod.nodes is None else pod.nodes & nodes)
        devices = claim["spec"]["devices"]
        return replace(
            pod,
            requests=[*pod.requests, *(_request(place, entry) for entry in devices["requests"])],
            constraints=[*pod.constraints, *((place, entry) for entry in devices.get("constraints") or [])],
            shared=[*pod.shared, *([shared] if shared else [])],
        )

    def _nodes_of(self, claim: Object) -> frozenset[str] | None:
        """Return the nodes to which the allocation of a claim restricts its pods; None if it is not allocated."""
        allocation = claim.get("status", {}).get("allocation")
        if not allocation:
            return None
        selector = allocation.get("nodeSelector")
        return frozenset(self.nodes if selector is None else self._selected(selector))

    # Nodes.

    def admitting(self, pod: Pod) -> list[str]:
        """Return the nodes that labels, taints and allocated claims let the pod run on."""
        return [name for name, node in self.nodes.items() if self._admits(node, name, pod)]

    def _admits(self, node: Object, name: str, pod: Pod) -> bool:
        labels = node["metadata"].get("labels") or {}
        affinity = pod.spec.get("affinity", {}).get("nodeAffinity", {})
        terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {}).get("nodeSelectorTerms", [])
        wanted = [entry for term in terms for entry in term["matchExpressions"]]
        return (
            (pod.nodes is None or name in pod.nodes)
            and (pod.spec.get("nodeSelector") or {}).items() <= labels.items()
            and all(labels.get(entry["key"]) in entry["values"] for entry in wanted)
            and _tolerates_all(pod.spec, node["spec"])
        )

    def on(self, node: str, pod: Pod) -> Outcome:
        """Return what the scheduler finds on a node, whether the pod may run there or not."""
        try:
            return Outcome.FITS if next(self.allocations(node, pod), None) is not None else Outcome.SHORT
        except ConstraintError:
            return Outcome.ERROR

    def outcome(self, pod: Pod) -> Outcome:
        """Return what the scheduler finds on all nodes that the pod may run on."""
        found = {self.on(node, pod) for node in self.admitting(pod)}
        return next((one for one in (Outcome.ERROR, Outcome.FITS) if one in found), Outcome.SHORT)

    def holds(self, manifest: Object, count: int) -> bool:
        """Tell whether there is a place for so many pods of one kind at once."""
        if not count:
            return True
        pod = self.pod(manifest)
        for node in self.admitting(pod):
            try:
                for taken in self.allocations(node, pod):
                    if self._after(node, pod, taken).holds(manifest, count - 1):
                        return True
            except ConstraintError:
                return False
        return False

    def _after(self, node: str, pod: Pod, taken: Sequence[Taken]) -> "Fleet":
        fleet = object.__new__(type(self))
        fleet.__dict__ = self.__dict__ | {
            "held": [*self.held, *((one.device.place, one.amounts) for one in taken if not one.admin)],
            "bound": self.bound | dict.fromkeys(pod.shared, self._having([one.device for one in taken]) or {node}),
        }
        return fleet

    def _having(self, devices: Sequence[Device]) -> frozenset[str]:
        """Return the nodes that can use all the devices."""
        return frozenset(name for name, some in self.devices.items() if all(device in some for device in devices))

    # Devices.

    def matching(self, node: str, selection: Object) -> list[Device]:
        """Return the devices of a node that the class and the selectors select, and that are large enough."""
        sources = (self.classes[selection["deviceClassName"]], selection)
        expressions = [entry["cel"]["expression"] for source in sources for entry in source.get("selectors") or []]
        return [
            device
            for device in self.devices[node]
            if all(evaluated(expression, device) for expression in expressions)
            and device.amounts(_amounts(selection)) is not None
        ]

    def usable(self, node: str, request: Request, selection: Object) -> int:
        """Return how many of the devices that match can be allocated to a request, each by itself."""
        search = _Search(self, node, Pod({}, [request], []))
        alone = {**selection, "allocationMode": "ExactCount"}
        return sum(
            search.taking([], request, "", alone, [device]) is not None for device in self.matching(node, selection)
        )

    def left(self, device: Device, capacity: str) -> Decimal:
        """Return how much of a capacity of a device claims have left."""
        whole = number(str(device.published["capacity"][capacity]["value"]))
        return whole - sum(amounts.get(capacity, Decimal(0)) for place, amounts in self.held if place == device.place)

    def allocations(self, node: str, pod: Pod) -> Iterator[list[Taken]]:
        """Yield each way to satisfy all requests of a pod on a node.

        Raises:
            ConstraintError: the allocator gives up there.
            TooManyError: there are too many ways.
        """
        return _Search(self, node, pod).run([], 0)


@dataclass
class _Search:
    fleet: Fleet
    node: str
    pod: Pod
    steps: int = 0

    def run(self, taken: list[Taken], place: int) -> Iterator[list[Taken]]:
        if place == len(self.pod.requests):
            yield taken
            return
        request = self.pod.requests[place]
        for alternative, selection in request.alternatives:
            matching = self.fleet.matching(self.node, selection)
            is_all = selection.get("allocationMode") == "All"
            count = max(len(matching), 1) if is_all else int(selection.get("count", 1))
            for devices in combinations(matching, count):
                if (more := self.taking(taken, request, alternative, selection, devices)) is not None:
                    yield from self.run(more, place + 1)

    def taking(
        self, taken: list[Taken], request: Request, alternative: str, selection: Object, devices: Sequence[Device]
    ) -> list[Taken] | None:
        """Return what is taken together with these devices; None if they cannot be had."""
        found = taken
        for device in devices:
            self.steps += 1
            if self.steps > STEPS_MAX:
                raise TooManyError
            amounts = device.amounts(_amounts(selection)) or {}
            one = Taken(request, alternative, device, amounts, bool(selection.get("adminAccess")))
            is_sound = _tolerates_all(selection, device.published)
            if not (is_sound and self._is_free(one, found) and self._has_counters(one, found)):
                return None
            if not all(self._meets(constraint, one, found) for constraint in self.pod.constraints):
                if selection.get("allocationMode") == "All":
                    raise ConstraintError
                return None
            if not self._has_capacity(one, found):
                return None
            found = [*found, one]
        return found

    def _is_free(self, one: Taken, taken: Sequence[Taken]) -> bool:
        """Tell whether a device is nobody's; with admin access, whether its own claim does not have it yet."""
        if one.device.is_shared:
            return True
        mine = [other for other in taken if other.device.place == one.device.place]
        if one.admin:
            return not any(other.request.claim == one.request.claim for other in mine)
        return not mine and all(place != one.device.place for place, _ in self.fleet.held)

    def _has_counters(self, one: Taken, taken: Sequence[Taken]) -> bool:
        """Tell whether the counters are enough: a shared device consumes them once, one with admin access once more."""
        pool = one.device.place[:2]
        places = [place for place, _ in self.fleet.held]
        if one.device.is_shared and one.device.place in [*places, *(other.device.place for other in taken)]:
            return True
        left = dict(self.fleet.counters[pool])
        used = {other.place: other for node in self.fleet.devices.values() for other in node if other.place in places}
        for device in [*used.values(), *_charged(taken, places), one.device]:
            if device.place[:2] == pool:
                for counter, value in device.counters():
                    left[counter] -= value
        return not dict(one.device.counters()) or all(value >= 0 for value in left.values())

    def _has_capacity(self, one: Taken, taken: Sequence[Taken]) -> bool:
        if not one.device.is_shared:
            return True  # The request alone was compared with all of it.
        others = [amounts for place, amounts in self.fleet.held if place == one.device.place]
        others += [other.amounts for other in taken if other.device.place == one.device.place]
        capacity = one.device.published.get("capacity") or {}
        return all(
            amount + sum(other.get(name, Decimal(0)) for other in others) <= number(str(capacity[name]["value"]))
            for name, amount in one.amounts.items()
        )

    def _meets(self, constraint: tuple[int, Object], one: Taken, taken: Sequence[Taken]) -> bool:
        claim, spec = constraint
        if not _covers(claim, spec, one):
            return True
        name = spec.get("matchAttribute") or spec["distinctAttribute"]
        value = one.device.attribute(name)
        others = [other.device.attribute(name) for other in taken if _covers(claim, spec, other)]
        same = [other == value for other in others]
        return bool(value) and (all(same) if "matchAttribute" in spec else not any(same))


def _charged(taken: Sequence[Taken], held: Sequence[Place]) -> list[Device]:
    """Return the devices whose counters the requests so far have consumed: a shared one once, if nobody had it."""
    charged: list[Device] = []
    for one in taken:
        if not (one.device.is_shared and (one.device.place in held or one.device in charged)):
            charged.append(one.device)
    return charged


def _covers(claim: int, constraint: Object, one: Taken) -> bool:
    names = constraint.get("requests") or []
    mine = {one.request.name, f"{one.request.name}/{one.alternative}"}
    return claim == one.request.claim and (not names or not mine.isdisjoint(names))


def _tolerates_all(wanted: Object, tainted: Object) -> bool:
    """Tell whether a pod or a request tolerates the taints of a node or a device."""
    return all(
        taint["effect"] in HARMLESS or any(_tolerates(entry, taint) for entry in wanted.get("tolerations") or [])
        for taint in tainted.get("taints") or []
    )


def _tolerates(toleration: Object, taint: Object) -> bool:
    same = [toleration.get(key) in (None, "", taint[key]) for key in ("key", "effect")]
    exists = toleration.get("operator") == "Exists"
    return all(same) and (exists or (toleration.get("value") or "") == (taint.get("value") or ""))


def _key(entry: Object) -> tuple[str, str]:
    return entry["metadata"].get("namespace", "default"), entry["metadata"]["name"]


def _order(entry: Object) -> tuple[str, str, str]:
    spec = entry["spec"]
    return spec["driver"], spec["pool"]["name"], entry["metadata"]["name"]


def _results(claim: Object) -> Sequence[Object]:
    results: Sequence[Object] = (claim.get("status", {}).get("allocation") or {}).get("devices", {}).get("results", [])
    return results


def _request(claim: int, request: Object) -> Request:
    if alternatives := request.get("firstAvailable"):
        return Request(claim, request["name"], [(entry["name"], entry) for entry in alternatives])
    return Request(claim, request["name"], [("", request["exactly"])])


def _amounts(selection: Object) -> Mapping[str, str]:
    amounts: Mapping[str, str] = (selection.get("capacity") or {}).get("requests") or {}
    return amounts


# Selectors.

SELECTORS: dict[str, Callable[..., bool]] = {
    r"device\.driver == '([^']+)'": lambda device, driver: device.place[0] == driver,
    r"device\.attributes\['([^']+)'\]\.(\w+) == '([^']+)'": lambda device, domain, name, value: (
        device.attribute(f"{domain}/{name}")["string"] == value
    ),
    r"device\.attributes\['([^']+)'\]\.(\w+) == ([0-9]+)": lambda device, domain, name, value: (
        device.attribute(f"{domain}/{name}")["int"] == int(value)
    ),
    r"device\.capacity\['[^']+'\]\.(\w+)\.compareTo\(quantity\('(\w+)'\)\) >= 0": lambda device, name, value: (
        number(str(device.published["capacity"][name]["value"])) >= number(value)
    ),
}
"""The forms of selectors, each with how to evaluate it."""


def evaluated(expression: str, device: Device) -> bool:
    """Evaluate a selector of one of the forms."""
    for form, function in SELECTORS.items():
        if found := re.fullmatch(form, expression):
            return function(device, *found.groups())
    raise ValueError(f"{expression} has none of the forms")
