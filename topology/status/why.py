"""Why a pod waits, node by node, and the smallest changes with which it would run."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from topology.checks.allocation import Candidate
from topology.checks.device_matching import Alternative, Selector, is_selected
from topology.checks.node_selection import selects, tolerates
from topology.checks.requests import Request
from topology.kubernetes import cel
from topology.kubernetes.naming import natural_key
from topology.kubernetes.objects import Key, Object, key
from topology.status.live_objects import LiveObjects
from topology.status.node_resources import NodeResources
from topology.status.occupancy import blocking
from topology.status.offers import IN_USE, NodeDevices, Offer, taint_of
from topology.status.pod_requests import PodRequests
from topology.status.shortage import DEVICES_TOLD_MAX, Shortage, lacking, together, wish

CHANGES_MAX = 5
"""At most this many changes are proposed."""


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
        self.case = Case(pod["spec"], shortage.reader.read(pod))
        self.resources = NodeResources(live)
        self.of_devices = shortage.reader.extended_resources
        self.nodes = [_devices_of(name, live, shortage) for name in sorted(live.nodes, key=natural_key)]

    def verdicts(self) -> list[Verdict]:
        """Return what each node says."""
        return [Verdict(node.name, list(self._reasons(self.case, node))) for node in self.nodes]

    def changes(self) -> list[str]:
        """Return single changes with which a node would run the pod, those of the fewest things first."""
        found = [*self._without_a_holder(), *self._other_wishes(), *self._more_devices()]
        return list(dict.fromkeys(found))[:CHANGES_MAX]

    # What a node says.

    def _reasons(self, case: Case, node: NodeDevices) -> Iterator[str]:
        yield from self._reasons_of_node(case, node)
        short = lacking(case.asked, node)
        for request in short:
            yield from (self._lacks(request, one, node) for one in request.alternatives)
        if not short and case.asked.requests:
            yield from together(case.asked, [node])

    def _reasons_of_node(self, case: Case, node: NodeDevices) -> Iterator[str]:
        live = self.live.nodes[node.name]
        for taint in _untolerated(case.spec, live):
            yield f"has taint {_written(taint)}, which the pod does not tolerate"
        if not selects(case.spec, live["metadata"].get("labels") or {}, node.name):
            yield "does not match the nodeSelector or the node affinity of the pod"
        if not node.has_devices_of(case.asked.terms):
            yield "is not a node of the devices that a claim of the pod already has"
        yield from self.resources.lacking(case.spec, live, self.of_devices)

    def _lacks(self, request: Request, wanted: Alternative, node: NodeDevices) -> str:
        offer = node.offer(wanted, request.admin_access)
        what = f"request {request.name} wants {wish(wanted, wanted.count or 'all')}"
        if not offer.matching:
            return f"{what}: {self._unmatched(wanted, node)}"
        has = f"{len(offer.usable)} of {len(offer.matching)} that match can be allocated"
        named = "; ".join([has, *self._blocked(offer, node)])
        excluded = list(_excluding(wanted, node)) if len(offer.matching) < (wanted.count or 0) else []
        return f"{what}: {'; '.join([named, *excluded])}"

    def _unmatched(self, wanted: Alternative, node: NodeDevices) -> str:
        if not node.candidates:
            return "the node has no devices"
        return "; ".join(["no device matches", *_excluding(wanted, node)])

    def _blocked(self, offer: Offer, node: NodeDevices) -> Iterator[str]:
        """Yield what blocks the devices, those of one cause together; of devices in use, who holds them."""
        devices: dict[str, list[str]] = {}
        for place, why in offer.blocked.items():
            holders = [self._holder(holding.claim) for holding in node.held.get(place, [])]
            cause = f"{why.replace('is in use', 'in use by')} {' and '.join(holders)}" if why == IN_USE else why
            devices.setdefault(cause, []).append(place[2])
        for cause, names in devices.items():
            yield f"{_some(names)}: {cause}"

    def _holder(self, claim: Key) -> str:
        """Return the pods that use a claim, or the claim if none does."""
        users = (self.live.claims[claim].get("status") or {}).get("reservedFor") or []
        pods = [self._named(claim[0], str(user["name"])) for user in users if user.get("resource") == "pods"]
        return f"pod{'s' if len(pods) > 1 else ''} {_some(pods)}" if pods else f"claim {self._named(*claim)}"

    def _named(self, namespace: str, name: str) -> str:
        return name if namespace == self.namespace else f"{namespace}/{name}"

    # Changes.

    def _runs(self, case: Case, node: NodeDevices) -> bool:
        return not any(self._reasons(case, node))

    def _without_a_holder(self) -> Iterator[str]:
        """Yield the claims of which one would have to go, those with the fewest devices first."""
        found = []
        for node in self.nodes:
            if any(self._reasons_of_node(self.case, node)):
                continue
            devices = Counter(holding.claim for holdings in node.held.values() for holding in holdings)
            found += [
                (count, natural_key(node.name), f"without {self._holder(claim)}, on {node.name}")
                for claim, count in devices.items()
                if self._runs(self.case, node.without([claim]))
            ]
        return (change for *_, change in sorted(found))

    def _other_wishes(self) -> Iterator[str]:
        for what, case in self._variants():
            if where := [node.name for node in self.nodes if self._runs(case, node)]:
                yield f"{what}, on {_some(where)}"

    def _variants(self) -> Iterator[tuple[str, Case]]:
        """Yield copies of the pod of which one wish is less."""
        spec, asked = self.case
        for taint in self._node_taints():
            tolerations = [*(spec.get("tolerations") or []), taint | {"operator": "Equal"}]
            yield f"if the pod tolerates {_written(taint)}", Case({**spec, "tolerations": tolerations}, asked)
        if spec.get("nodeSelector") or spec.get("affinity"):
            free = {name: value for name, value in spec.items() if name not in ("nodeSelector", "affinity")}
            yield "without the nodeSelector and the affinity of the pod", Case(free, asked)
        for index, request in enumerate(asked.requests):
            for what, changed in self._variants_of(request):
                requests = [*asked.requests[:index], changed, *asked.requests[index + 1 :]]
                yield what, Case(spec, asked._replace(requests=requests))
        for index, constraint in enumerate(asked.constraints):
            rest = [*asked.constraints[:index], *asked.constraints[index + 1 :]]
            name = "distinctAttribute" if constraint.distinct else "matchAttribute"
            yield f"without the constraint {name} {constraint.attribute}", Case(spec, asked._replace(constraints=rest))

    def _variants_of(self, request: Request) -> Iterator[tuple[str, Request]]:
        for index, one in enumerate(request.alternatives):
            for selector in one.selectors:
                rest = [other for other in one.selectors if other is not selector]
                yield (
                    f"without the selector {selector.expression} of request {request.name}",
                    _with(request, index, replace(one, selectors=rest)),
                )
            for taint in self._device_taints(request, one):
                tolerations = [*one.tolerations, {"key": taint_of(taint)["key"], "operator": "Exists"}]
                yield (
                    f"if request {request.name} tolerates {taint}",
                    _with(request, index, replace(one, tolerations=tolerations)),
                )

    def _node_taints(self) -> list[dict[str, str]]:
        found = {
            _written(taint): taint
            for node in self.nodes
            for taint in _untolerated(self.case.spec, self.live.nodes[node.name])
        }
        return [dict(taint) for taint in found.values()]

    def _device_taints(self, request: Request, wanted: Alternative) -> list[str]:
        offers = [(node, node.offer(wanted, request.admin_access)) for node in self.nodes]
        taints = [
            taint
            for node, offer in offers
            for place, why in offer.blocked.items()
            for taint in blocking(node.taints[place])
            if why == f"has taint {taint}"
        ]
        return list(dict.fromkeys(taints))

    def _more_devices(self) -> Iterator[str]:
        """Yield how many devices are missing on the node that misses the fewest, if nothing else is missing there."""
        missing = []
        for node in self.nodes:
            short = lacking(self.case.asked, node)
            if len(short) == 1 and not any(self._reasons_of_node(self.case, node)):
                missing += [
                    (one.count - len(node.offer(one).usable), node.name, short[0].name)
                    for one in short[0].alternatives
                    if one.count and node.offer(one).matching
                ]
        if missing:
            count, name, request = min(missing, key=lambda entry: entry[0])
            devices = "1 more free device" if count == 1 else f"{count} more free devices"
            yield f"with {devices} for request {request}, on {name}"


def _devices_of(name: str, live: LiveObjects, shortage: Shortage) -> NodeDevices:
    return shortage.nodes.get(name) or NodeDevices(name, live.nodes[name], [], {}, {}, {})


def _with(request: Request, index: int, changed: Alternative) -> Request:
    alternatives = [*request.alternatives[:index], changed, *request.alternatives[index + 1 :]]
    return request._replace(alternatives=alternatives)


def _untolerated(spec: Mapping[str, Any], node: Object) -> list[Mapping[str, str]]:
    return [
        taint
        for taint in node["spec"].get("taints") or []
        if taint["effect"] != "PreferNoSchedule"
        and not any(tolerates(toleration, taint) for toleration in spec.get("tolerations") or [])
    ]


def _written(taint: Mapping[str, str]) -> str:
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint['key']}{value}:{taint['effect']}"


def _excluding(wanted: Alternative, node: NodeDevices) -> Iterator[str]:
    """Yield how many devices of the node each selector excludes."""
    of_class = [(selector, f"selector of class {wanted.device_class}") for selector in wanted.class_selectors]
    for selector, whose in [*of_class, *((selector, "selector") for selector in wanted.selectors)]:
        excluded = sum(not _selected(selector, candidate) for candidate in node.candidates)
        if excluded:
            yield f"{whose} {selector.expression} excludes {excluded} of {len(node.candidates)} devices"


def _selected(selector: Selector, candidate: Candidate) -> bool:
    try:
        return is_selected(selector, candidate)
    except cel.CelError:
        return False


def _some(names: Sequence[str]) -> str:
    more = len(names) - DEVICES_TOLD_MAX
    return ", ".join(names[:DEVICES_TOLD_MAX]) + (f" and {more} more" if more > 0 else "")
