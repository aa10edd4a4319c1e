"""Why a pod waits, node by node, and the smallest changes with which it would run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain, islice
from typing import Any, NamedTuple, TypeVar

from topology.checks.allocation import DeviceKey, has_capacity
from topology.checks.device_matching import Alternative, Selector
from topology.checks.node_selection import repelling, selects, written
from topology.checks.requests import Request
from topology.kubernetes.naming import natural_key
from topology.kubernetes.objects import Key, Object, key
from topology.kubernetes.reading import entries
from topology.status.live_objects import LiveObjects, claim_keys, consumers, is_not_ready
from topology.status.node_resources import NodeResources
from topology.status.offers import HAS_TAINT, IN_USE, NodeDevices, Offer, selected, taint_of
from topology.status.pod_requests import PodRequests
from topology.status.shortage import (
    DEVICES_TOLD_MAX,
    Shortage,
    amounts_of,
    constraint_named,
    lacking,
    serves,
    together,
    wish,
)

T = TypeVar("T")

CHANGES_MAX = 5
"""At most this many changes are proposed."""

HOLDERS_MAX = 3
"""At most this many of them are holders of devices that would have to go."""

CHOICES_OF_NODES = {"nodeSelector": "nodeSelector", "affinity": "node affinity"}
"""The fields with which a pod chooses nodes, and what messages call them."""


class Verdict(NamedTuple):
    """Why a node turns a pod down; without reasons, nothing that is known here is in the way."""

    node: str
    reasons: list[str]


class Case(NamedTuple):
    """A pod that waits: its spec, and what it requests. A change is tried on a copy."""

    spec: Mapping[str, Any]
    asked: PodRequests


class Why:
    """Examines one pod that waits."""

    def __init__(self, pod: Object, live: LiveObjects, shortage: Shortage) -> None:
        """Examine `pod` on every node of `live`, with the devices that `shortage` knows."""
        self.live = live
        self.namespace, _ = key(pod)
        self.own_claims = claim_keys(pod)
        self.reader = shortage.reader
        self.case = Case(pod["spec"], self.reader.read(pod))
        self.resources = NodeResources(live)
        self.nodes = [node for node in shortage.nodes.values() if node.node]

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """What each node says."""
        return [Verdict(node.name, list(self._reasons(node))) for node in self.nodes]

    def changes(self) -> list[str]:
        """Return single changes with which a node would run the pod, those of the fewest things first.

        There are none if nothing that is known here keeps the pod from some node.
        """
        if not all(verdict.reasons for verdict in self.verdicts):
            return []
        holders = self._without_a_holder()[:HOLDERS_MAX]
        found = dict.fromkeys([*holders, *self._other_wishes(), *self._more_devices()])
        unexamined = " and ".join(_unexamined(self.case.spec))
        subject = f", subject to the {unexamined} of the pod" if unexamined else ""
        return [f"{change}{subject}" for change in islice(found, CHANGES_MAX)]

    # What a node says.

    def _reasons(self, node: NodeDevices) -> Iterator[str]:
        yield from self._reasons_of_node(self.case, node)
        asked = self.case.asked
        short = lacking(asked, node)
        for request in short:
            yield from (self._lacks(request, one, node) for one in request.alternatives)
        if asked.requests and not short:
            yield from together(asked, [node])

    def _reasons_of_node(self, case: Case, node: NodeDevices) -> Iterator[str]:
        live = self.live.nodes[node.name]
        if is_not_ready(live):
            yield "is not ready"
        for taint in _untolerated(case.spec, live):
            yield f"has taint {written(taint)}, which the pod does not tolerate"
        if not selects(case.spec, live["metadata"].get("labels") or {}, node.name):
            yield "does not match the nodeSelector or the node affinity of the pod"
        if not node.has_devices_of(case.asked.terms):
            yield "is not a node of the devices that a claim of the pod already has"
        yield from self.resources.lacking(case.spec, live, self.reader.extended_resources)

    def _lacks(self, request: Request, wanted: Alternative, node: NodeDevices) -> str:
        offer = node.offer(wanted, request.admin_access)
        what = f"request {request.name} wants {wish(wanted)}"
        if not offer.matching:
            return f"{what}: {self._unmatched(wanted, node)}"
        has = f"{len(offer.usable)} of {len(offer.matching)} that match can be allocated"
        excluded = list(_excluding(wanted, node)) if len(offer.matching) < (wanted.count or 0) else []
        return f"{what}: {'; '.join([has, *self._blocked(offer, node), *excluded])}"

    def _unmatched(self, wanted: Alternative, node: NodeDevices) -> str:
        if wanted.device_class not in self.reader.classes:
            return f"there is no class {wanted.device_class}"
        if not node.candidates:
            return "the node has no devices"
        return "; ".join(["no device matches", *_excluding(wanted, node)])

    def _blocked(self, offer: Offer, node: NodeDevices) -> Iterator[str]:
        """Yield what blocks the devices, those of one cause together; of devices in use, who holds them."""
        devices: dict[str, list[DeviceKey]] = {}
        for place, why in offer.blocked.items():
            devices.setdefault(why, []).append(place)
        for why, places in devices.items():
            holders = [self._holder(holding.claim) for place in places for holding in node.held.get(place, [])]
            in_use = [f"in use by {_some(list(dict.fromkeys(holders)))}"] if holders else []
            cause = ", ".join([*([] if why == IN_USE else [why]), *in_use])
            yield f"{_some([device for *_, device in places])}: {cause}"

    def _holder(self, claim: Key) -> str:
        """Return the pods that use a claim, or the claim if none does."""
        users = [user for user in consumers(self.live.claims[claim]) if user.get("resource") == "pods"]
        pods = [self._named(claim[0], user["name"]) for user in users]
        return f"pod{'s' if len(pods) > 1 else ''} {_some(pods)}" if pods else f"claim {self._named(*claim)}"

    def _named(self, namespace: str, name: str) -> str:
        return name if namespace == self.namespace else f"{namespace}/{name}"

    # Changes.

    def _runs(self, case: Case, node: NodeDevices) -> bool:
        return not any(self._reasons_of_node(case, node)) and serves(case.asked, node)

    def _without_a_holder(self) -> list[str]:
        """Return the holders of which one would have to go, those with the fewest devices first."""
        found = [
            (len(claims), natural_key(node.name), f"without {holder}, on {node.name}")
            for node in self.nodes
            if not any(self._reasons_of_node(self.case, node))
            for holder, claims in self._holders(node).items()
            if serves(self.case.asked, node.without(claims))
        ]
        return [change for *_, change in sorted(found)]

    def _holders(self, node: NodeDevices) -> dict[str, list[Key]]:
        """Return the claims of each holder other than the pod itself, each as often as it holds a device."""
        found: dict[str, list[Key]] = {}
        for holding in chain.from_iterable(node.held.values()):
            if holding.claim not in self.own_claims:
                found.setdefault(self._holder(holding.claim), []).append(holding.claim)
        return found

    def _other_wishes(self) -> Iterator[str]:
        for what, case in self._variants():
            if where := [node.name for node in self.nodes if self._runs(case, node)]:
                yield f"{what}, on {_some(where)}"

    def _variants(self) -> Iterator[tuple[str, Case]]:
        """Yield copies of the pod, each without one of its wishes."""
        spec, asked = self.case
        for taint in self._node_taints():
            tolerations = [*(spec.get("tolerations") or []), taint | {"operator": "Equal"}]
            yield f"if the pod tolerates {written(taint)}", Case({**spec, "tolerations": tolerations}, asked)
        if chosen := [what for name, what in CHOICES_OF_NODES.items() if spec.get(name)]:
            free = {name: value for name, value in spec.items() if name not in CHOICES_OF_NODES}
            yield f"without the {' and the '.join(chosen)} of the pod", Case(free, asked)
        for index, request in enumerate(asked.requests):
            for what, changed in self._variants_of(request):
                yield what, Case(spec, asked._replace(requests=_with(asked.requests, index, changed)))
        for index, constraint in enumerate(asked.constraints):
            rest = _with(asked.constraints, index)
            yield f"without {constraint_named(constraint)}", Case(spec, asked._replace(constraints=rest))

    def _variants_of(self, request: Request) -> Iterator[tuple[str, Request]]:
        for index, one in enumerate(request.alternatives):
            for what, changed in self._variants_of_alternative(request, one):
                yield what, request._replace(alternatives=_with(request.alternatives, index, changed))

    def _variants_of_alternative(self, request: Request, one: Alternative) -> Iterator[tuple[str, Alternative]]:
        for place, selector in enumerate(one.selectors):
            rest = _with(one.selectors, place)
            yield f"without the selector {_shown(selector)} of request {request.name}", replace(one, selectors=rest)
        for taint in self._device_taints(request, one):
            tolerations = [*one.tolerations, taint_of(taint) | {"operator": "Equal"}]
            yield f"if request {request.name} tolerates {taint}", replace(one, tolerations=tolerations)

    def _node_taints(self) -> list[dict[str, str]]:
        found = {
            written(taint): taint
            for node in self.nodes
            for taint in _untolerated(self.case.spec, self.live.nodes[node.name])
        }
        return [dict(taint) for taint in found.values()]

    def _device_taints(self, request: Request, wanted: Alternative) -> list[str]:
        offers = [node.offer(wanted, request.admin_access) for node in self.nodes]
        found = [why for offer in offers for why in offer.blocked.values() if why.startswith(HAS_TAINT)]
        return [why.removeprefix(HAS_TAINT) for why in dict.fromkeys(found)]

    def _more_devices(self) -> Iterator[str]:
        """Yield how many devices are missing on the node that misses the fewest, if nothing else is missing there."""
        missing = []
        for node in self.nodes:
            short = lacking(self.case.asked, node)
            if len(short) != 1 or short[0].admin_access:
                continue
            for one in short[0].alternatives:
                usable = len(node.offer(one).usable)
                if one.count and node.matching(one) and self._runs(self._without_more(short[0], one, usable), node):
                    missing.append((one.count - usable, node.name, short[0].name))
        if missing:
            count, name, request = min(missing, key=lambda entry: entry[0])
            devices = "1 more free device" if count == 1 else f"{count} more free devices"
            yield f"with {devices} for request {request}, on {name}"

    def _without_more(self, request: Request, one: Alternative, usable: int) -> Case:
        """Return the pod as if the request wanted no more than the devices that are usable."""
        spec, asked = self.case
        less = [request._replace(alternatives=[replace(one, count=usable)])] if usable else []
        return Case(spec, asked._replace(requests=_with(asked.requests, asked.requests.index(request), *less)))


def _unexamined(spec: Mapping[str, Any]) -> list[str]:
    """Return the fields of a pod that can keep it from a node, but are not examined here."""
    affinity = spec.get("affinity") or {}
    fields = {"podAffinity": affinity, "podAntiAffinity": affinity, "topologySpreadConstraints": spec}
    return [name for name, where in fields.items() if where.get(name)]


def _with(found: Sequence[T], index: int, *instead: T) -> list[T]:
    """Return `found` with the entry at `index` replaced by the entries `instead`, or removed if there are none."""
    return [*found[:index], *instead, *found[index + 1 :]]


def _untolerated(spec: Mapping[str, Any], node: Object) -> list[Object]:
    return repelling(entries(spec, "tolerations"), entries(node, "spec", "taints"))


def _excluding(wanted: Alternative, node: NodeDevices) -> Iterator[str]:
    """Yield how many devices of the node each selector excludes, and how many are too small."""
    of_class = [(selector, f"selector of class {wanted.device_class}") for selector in wanted.class_selectors]
    for selector, whose in [*of_class, *((selector, "selector") for selector in wanted.selectors)]:
        excluded = sum(not selected(selector, candidate) for candidate in node.candidates)
        if excluded:
            yield f"{whose} {_shown(selector)} excludes {excluded} of {len(node.candidates)} devices"
    too_small = sum(not has_capacity(candidate.device.capacity, wanted.amounts) for candidate in node.candidates)
    if too_small:
        yield f"{too_small} of {len(node.candidates)} devices do not offer {amounts_of(wanted)}"


def _shown(selector: Selector) -> str:
    return " ".join(selector.expression.split())


def _some(names: Sequence[str]) -> str:
    more = len(names) - DEVICES_TOLD_MAX
    return ", ".join(names[:DEVICES_TOLD_MAX]) + (f" and {more} more" if more > 0 else "")
