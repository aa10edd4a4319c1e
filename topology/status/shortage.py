"""Which requests of a pending pod no node can satisfy now, and what is in the way: the scheduler names neither."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from topology.checks.allocation import consumed, has_capacity
from topology.checks.node_selection import fits, may_run, tolerates
from topology.kubernetes import cel
from topology.kubernetes.objects import IMPLICIT_EXTENDED_RESOURCE, Object, key
from topology.kubernetes.quantities import canonical, number
from topology.status.live_objects import (
    EXTENDED_RESOURCES,
    LiveObjects,
    allocated_devices,
    claim_names,
    is_allocated,
    of_kind,
)
from topology.status.occupancy import Occupancy, PoolName, newest

BLOCKED_TOLD_MAX = 3
"""At most this many devices of a node are named with what blocks them."""

IN_USE = "is in use"
NO_ROOM = "does not fit beside the devices in use"

_Place = tuple[str, str, str]
"""A driver, a pool and a device in it."""


class _Device(NamedTuple):
    pool: PoolName
    device: Mapping[str, Any]

    @property
    def place(self) -> _Place:
        return (*self.pool, self.device["name"])


class _Offer(NamedTuple):
    """The devices of a node that match a request, and why some of them cannot be allocated to it."""

    node: str
    matching: int
    blocked: Mapping[_Place, str]
    is_shareable: bool
    """Whether a device that is not blocked may be allocated several times."""

    @property
    def usable(self) -> int:
        return self.matching - len(self.blocked)

    def told(self, every: bool) -> str:
        """Name the devices that something other than their use blocks; `every` blocked device, if one is enough."""
        named = [f"{place[2]} {why}" for place, why in self.blocked.items() if every or why not in (IN_USE, NO_ROOM)]
        more = len(named) - BLOCKED_TOLD_MAX
        return ", ".join([*named[:BLOCKED_TOLD_MAX], *([f"{more} more"] if more > 0 else [])])


class Shortage:
    """Compares the requests of pods with the live devices, classes and nodes."""

    def __init__(self, objects: Sequence[Object], live: LiveObjects, pools: Mapping[PoolName, Occupancy]) -> None:
        """Use the slices and classes of `objects`, its `live` claims and nodes, and the occupancy of its `pools`."""
        self.live = live
        self.pools = pools
        self.devices, self.devices_of_no_node = _devices_by_node(objects)
        classes = sorted(
            of_kind(objects, "DeviceClass"), key=lambda entry: str(entry["metadata"]["name"]), reverse=True
        )
        # The newest class provides an extended resource, the first by name of those of one second:
        # https://github.com/kubernetes/dynamic-resource-allocation/blob/v0.37.2/deviceclass/extendedresourcecache
        classes.sort(key=lambda entry: str(entry["metadata"].get("creationTimestamp")))
        self.classes = {entry["metadata"]["name"]: entry["spec"] for entry in classes}
        self.consumed = _consumed(live)
        self._of_nodes = {name for node in live.nodes.values() for name in node["status"].get("allocatable") or {}}
        self._nodes: dict[str, list[str]] = {}
        self._known: dict[tuple[str, str], str | None] = {}

    def of(self, pod: Object, name: str) -> list[str]:
        """Return a line for each request of a claim, by its name in the pod, that no node can satisfy now."""
        claim = self.live.claims.get((key(pod)[0], claim_names(pod)[name]), {})
        if is_allocated(claim):
            return []
        requests = claim.get("spec", {}).get("devices", {}).get("requests", [])
        if name == EXTENDED_RESOURCES and not claim:
            requests = list(self._requests_of_containers(pod))
        terms = list(self._terms_of_claims(pod))
        placement = _text([terms, *(pod["spec"].get(name) for name in ("nodeSelector", "affinity", "tolerations"))])
        if placement not in self._nodes:
            self._nodes[placement] = [node for node in self.devices if self._may_run(pod, node, terms)]
        if self.devices and not self._nodes[placement]:
            return []  # The scheduler says why no node is left.
        found = []
        for request in requests:
            known = placement, _text(request)
            if known not in self._known:
                self._known[known] = self._shortage(request, self._nodes[placement])
            found += [self._known[known]]
        return [line for line in found if line]

    def _requests_of_containers(self, pod: Object) -> Iterator[Object]:
        """Yield the requests that the scheduler puts into the claim for a pod's extended resources."""
        classes = {f"{IMPLICIT_EXTENDED_RESOURCE}/{name}": name for name in self.classes}
        classes |= {
            spec["extendedResourceName"]: name
            for name, spec in self.classes.items()
            if spec.get("extendedResourceName")
        }
        counts: dict[str, int] = defaultdict(int)
        for container in pod["spec"]["containers"]:
            for name, amount in ((container.get("resources") or {}).get("limits") or {}).items():
                counts[name] += int(number(str(amount))) if name in classes.keys() - self._of_nodes else 0
        for name, count in counts.items():
            if count:
                yield {"name": name, "exactly": {"deviceClassName": classes[name], "count": count}}

    def _may_run(self, pod: Object, node: str, terms_of_claims: Sequence[Sequence[Object]]) -> bool:
        """Tell whether the pod's selectors and tolerations, and its claims that are allocated, let it run on a node."""
        if node not in self.live.nodes:
            return True
        found = self.live.nodes[node]
        labels = found["metadata"].get("labels") or {}
        return may_run(pod["spec"], found) and all(
            any(fits(term, labels, node) for term in terms) for terms in terms_of_claims
        )

    def _terms_of_claims(self, pod: Object) -> Iterator[Sequence[Object]]:
        """Yield the node selector terms of each allocated claim of a pod."""
        for name in claim_names(pod).values():
            status = self.live.claims.get((key(pod)[0], name), {}).get("status", {})
            if selector := (status.get("allocation") or {}).get("nodeSelector"):
                yield selector["nodeSelectorTerms"]

    def _shortage(self, request: Object, nodes: Sequence[str]) -> str | None:
        lines = [
            self._of_selection(entry, nodes)
            for entry in request.get("firstAvailable") or [request.get("exactly") or {}]
        ]
        if not all(lines):
            return None
        return f"request {request['name']} wants {', or '.join(str(line) for line in lines)}"

    def _of_selection(self, selection: Object, nodes: Sequence[str]) -> str | None:
        """Return what a selection wants and what is in the way; None if a node has it, as far as can be told."""
        wants_all = selection.get("allocationMode") == "All"
        count = selection.get("count", 1)
        offers = [self._offer(selection, node) for node in nodes]
        matching = [offer for offer in offers if offer.matching]
        if any(self._serves(offer, wants_all, count) for offer in matching) or self._is_open(selection, nodes):
            return None
        name, amounts = selection.get("deviceClassName", ""), _amounts(selection)
        what = f" of {name}" + (f" with {' and '.join(map(' '.join, amounts.items()))}" if amounts else "")
        where = "no node" if len(nodes) == len(self.devices) else "no node that the pod may run on"
        if not matching:
            unmatched = "no device matches" if where == "no node" else f"{where} has a device that matches"
            return f"{'all' if wants_all else count}{what}, but {unmatched}"
        if wants_all:
            nearest = min(matching, key=lambda offer: len(offer.blocked))
            return f"all {nearest.matching}{what} on {nearest.node}, but {nearest.told(every=True)}"
        nearest = max(matching, key=lambda offer: offer.usable)
        most = max(offer.matching for offer in matching)
        line = f"{count}{what}, but {where} has more than {nearest.usable} free of {most} that match"
        told = nearest.told(every=False)
        return f"{line}: on {nearest.node}, {told}" if told else line

    def _serves(self, offer: _Offer, wants_all: bool, count: int) -> bool:
        return not offer.blocked if wants_all else offer.usable >= count or offer.is_shareable

    def _is_open(self, selection: Object, nodes: Sequence[str]) -> bool:
        """Tell whether it is unknown here what the pod can get: devices of no single node, or those of lost nodes."""
        lost = any(self.pools[found.pool].lost for node in nodes for found in self.devices[node])
        return lost or bool(self._matching(selection, self.devices_of_no_node))

    def _offer(self, selection: Object, node: str) -> _Offer:
        matching = self._matching(selection, self.devices[node])
        reasons = {found.place: self._blocked(found, selection, _amounts(selection)) for found in matching}
        blocked = {place: why for place, why in reasons.items() if why}
        shared = [found for found in matching if found.device.get("allowMultipleAllocations")]
        return _Offer(node, len(matching), blocked, any(found.place not in blocked for found in shared))

    def _matching(self, selection: Object, devices: Sequence[_Device]) -> list[_Device]:
        selectors = [
            *self.classes.get(selection.get("deviceClassName", ""), {}).get("selectors", []),
            *selection.get("selectors", []),
        ]
        expressions = [selector["cel"]["expression"] for selector in selectors]
        amounts = _amounts(selection)
        return [
            found
            for found in devices
            if _matches(expressions, found.pool[0], found.device)
            and has_capacity(found.device.get("capacity", {}), amounts)
        ]

    def _blocked(self, found: _Device, selection: Object, amounts: Mapping[str, str]) -> str:
        """Return what keeps a matching device from being allocated; an empty text if nothing does."""
        pool, name = self.pools[found.pool], found.device["name"]
        for taint in pool.taints[name]:
            tolerated = any(tolerates(entry, _taint(taint)) for entry in selection.get("tolerations") or [])
            if taint.endswith((":NoSchedule", ":NoExecute")) and not tolerated:
                return f"has taint {taint}"
        if selection.get("adminAccess"):
            return ""
        if found.device.get("allowMultipleAllocations") and found.place in self.consumed and not pool.lost:
            return self._used_up(found, amounts)
        if name in pool.allocatable:
            return ""
        return IN_USE if found.place in self.consumed else NO_ROOM

    def _used_up(self, found: _Device, amounts: Mapping[str, str]) -> str:
        """Return which capacity of a shared device that claims hold is used up."""
        used = self.consumed[found.place]
        for name, capacity in found.device.get("capacity", {}).items():
            left = number(capacity["value"]) - used.get(name, Decimal(0))
            if consumed(capacity, amounts.get(name)) > left:
                return f"has {_quantity(left, capacity['value'])} of {name} left"
        return ""


def _devices_by_node(objects: Sequence[Object]) -> tuple[dict[str, list[_Device]], list[_Device]]:
    """Return the devices of each node, and those that several nodes can reach."""
    specs: dict[PoolName, list[Object]] = defaultdict(list)
    for entry in of_kind(objects, "ResourceSlice"):
        specs[entry["spec"]["driver"], entry["spec"]["pool"]["name"]].append(entry["spec"])
    found: dict[str, list[_Device]] = defaultdict(list)
    of_no_node: list[_Device] = []
    for pool, of_pool in specs.items():
        for spec in newest(of_pool):
            is_reachable = spec.get("allNodes") or spec.get("nodeSelector") or spec.get("perDeviceNodeSelection")
            place = of_no_node if is_reachable else found[spec.get("nodeName") or pool[1]]
            place += [_Device(pool, device) for device in spec.get("devices", [])]
    return dict(found), of_no_node


def _consumed(live: LiveObjects) -> dict[_Place, dict[str, Decimal]]:
    """Return how much claims consume of the capacity of each device that they hold."""
    found: dict[_Place, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for claim in live.claims.values():
        for result in [] if live.is_orphaned(claim) else allocated_devices(claim):
            if not result.get("adminAccess"):
                used = found[result["driver"], result["pool"], result["device"]]
                for name, amount in (result.get("consumedCapacity") or {}).items():
                    used[name] += number(amount)
    return found


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _amounts(selection: Object) -> Mapping[str, str]:
    amounts: Mapping[str, str] = (selection.get("capacity") or {}).get("requests") or {}
    return amounts


def _taint(text: str) -> dict[str, str]:
    """Return a taint from its form in kubectl, `key=value:effect`."""
    name, _, effect = text.rpartition(":")
    taint_key, _, value = name.partition("=")
    return {"key": taint_key, "value": value, "effect": effect}


def _quantity(value: Decimal, like: str) -> str:
    """Write a value in binary units if the quantity `like` has one."""
    if not like.endswith("i") or value % 1024:
        return canonical(f"{value:f}")
    return canonical(f"{value / 1024:f}Ki")


def _matches(expressions: Sequence[str], driver: str, device: Mapping[str, Any]) -> bool:
    facts = cel.CelDevice(
        driver,
        device.get("attributes", {}),
        device.get("capacity", {}),
        device.get("allowMultipleAllocations", False),
    )
    try:
        return all(cel.compile_selector(expression, list_attributes=True).matches(facts) for expression in expressions)
    except cel.UncheckedError:  # Only Kubernetes can evaluate it.
        return True
    except cel.CelError:
        return False
