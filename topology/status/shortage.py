"""Which requests of a pending pod no node can satisfy now, and what is in the way: the scheduler names neither."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from topology.checks.allocation import Constraint
from topology.checks.device_matching import Alternative
from topology.checks.requests import Request
from topology.kubernetes.objects import Object
from topology.status.live_objects import LiveObjects, refusal
from topology.status.occupancy import Holdings, Occupancy, PoolName
from topology.status.offers import IN_USE, NO_ROOM, NodeDevices, Offer, node_devices
from topology.status.pod_requests import PodRequests, RequestReader

DEVICES_TOLD_MAX = 3
"""At most this many devices of a node are named with what blocks them."""

ONLY_CLAIMS = r"0/([0-9]+) nodes are available: \1 cannot allocate all claims\.?"
"""The scheduler's message about a pod that every node refuses for want of devices."""


class Shortage:
    """Compares the requests of pods with the live devices, classes and nodes."""

    def __init__(
        self, objects: Sequence[Object], live: LiveObjects, pools: Mapping[PoolName, Occupancy], held: Holdings
    ) -> None:
        """Use the classes of `objects`, the occupancy of its `pools`, and the claims that hold devices."""
        self.reader = RequestReader(objects, live)
        self.nodes = node_devices(live, pools, held)
        self._may_run: dict[str, list[NodeDevices]] = {}
        self._known: dict[tuple[str, str, bool], list[str]] = {}

    def of(self, pod: Object) -> list[str]:
        """Return a line for each request of a pod that no node can satisfy now, or one about all of them together.

        There is one too if a node has devices for a pod that the scheduler refuses for want of devices alone.
        """
        asked = self.reader.read(pod)
        if not asked.requests:
            return []
        fields = [pod["spec"].get(name) for name in ("nodeSelector", "affinity", "tolerations")]
        where = json.dumps([asked.terms, *fields], sort_keys=True)
        if where not in self._may_run:
            self._may_run[where] = [node for node in self.nodes.values() if node.may_run(pod, asked.terms)]
        # A pod of a group has been tried beside other pods of it, which have released their devices since.
        only_claims = not pod["spec"].get("schedulingGroup") and bool(re.fullmatch(ONLY_CLAIMS, refusal(pod)))
        known = where, repr(asked[:2]), only_claims
        if known not in self._known:
            self._known[known] = list(self._lines(asked, self._may_run[where], only_claims))
        return self._known[known]

    def _lines(self, asked: PodRequests, nodes: Sequence[NodeDevices], only_claims: bool) -> Iterator[str]:
        if not nodes:
            return  # The scheduler says why no node is left.
        few = sum(bool(node.candidates) for node in nodes) < sum(bool(node.candidates) for node in self.nodes.values())
        no_node = "no node that the pod may run on" if few else "no node"
        if short := [request for request in asked.requests if all(node.lacks(request) for node in nodes)]:
            yield from (_of_request(request, nodes, no_node) for request in short)
        elif only_claims and (node := next((one for one in nodes if one.node and serves(asked, one)), None)):
            yield (
                f"yet {node.name} has free devices for it: the scheduler has not looked at the pod since they became "
                "free, or it knows more than kwok-dra does"
            )
        else:
            yield from together(asked, nodes)


def _of_request(request: Request, nodes: Sequence[NodeDevices], no_node: str) -> str:
    lines = [
        _short(wanted, [node.offer(wanted, request.admin_access) for node in nodes], no_node)
        for wanted in request.alternatives
    ]
    return f"request {request.name} wants {', or '.join(lines)}"


def wish(wanted: Alternative, every: str = "all") -> str:
    """Return what a request wants, `2 of gpu.example.com with memory 4Gi`; `every` if it wants all devices."""
    return f"{wanted.count or every} of {wanted.device_class}{' with ' if wanted.amounts else ''}{amounts_of(wanted)}"


def amounts_of(wanted: Alternative) -> str:
    """Return the capacity that a request wants of each device."""
    return " and ".join(map(" ".join, wanted.amounts.items()))


def _short(wanted: Alternative, offers: Sequence[Offer], no_node: str) -> str:
    """Return what is wanted, and why none of the `offers` serves it, by the nearest of them."""
    matching = [offer for offer in offers if offer.matching]
    if not matching:
        unmatched = "no device matches" if no_node == "no node" else f"{no_node} has a device that matches"
        return f"{wish(wanted)}, but {unmatched}"
    if wanted.count is None:
        nearest = min(matching, key=lambda offer: len(offer.blocked))
        what = wish(wanted, f"all {len(nearest.matching)}")
        return f"{what} on {nearest.node}, but {_blocked(nearest, every=True)}"
    nearest = max(matching, key=lambda offer: (len(offer.usable), len(offer.matching)))
    free = f"{len(nearest.usable)} free of {len(nearest.matching)} that match"
    line = f"{wish(wanted)}, but {no_node} has more than {free}"
    named = _blocked(nearest, every=False)
    return f"{line}: on {nearest.node}, {named}" if named else line


def _blocked(offer: Offer, every: bool) -> str:
    """Name the devices that something other than their use blocks; `every` blocked device, if one is enough."""
    named = [f"{place[2]} {why}" for place, why in offer.blocked.items() if every or why not in (IN_USE, NO_ROOM)]
    more = len(named) - DEVICES_TOLD_MAX
    return ", ".join([*named[:DEVICES_TOLD_MAX], *([f"{more} more"] if more > 0 else [])])


def together(asked: PodRequests, nodes: Sequence[NodeDevices]) -> Iterator[str]:
    """Say why no node can satisfy all requests at once, each of which some node can."""
    if any(node.satisfies(asked.requests, asked.constraints) is not False for node in nodes):
        return
    short = [(node, lacking(asked, node)) for node in nodes]
    serving = [node for node, requests in short if not requests]
    if not serving:
        nearest, requests = min(short, key=lambda entry: len(entry[1]))
        yield f"no node can satisfy all its requests: {nearest.name} lacks devices for {_names(requests)}"
        return
    node = next((one for one in serving if one.satisfies(asked.requests, []) is not False), None)
    if node is None:
        names, where = _names(asked.requests), serving[0].name
        several = f"requests {names} want the same devices of {where}, or devices"
        wants = several if len(asked.requests) > 1 else f"request {names} wants devices of {where}"
        yield f"{wants} that exclude each other"
        return
    broken = [entry for entry in asked.constraints if node.satisfies(asked.requests, [entry]) is False]
    named = map(constraint_named, broken or asked.constraints)
    yield f"no devices that are free on {node.name} meet {' and '.join(named)}"


def serves(asked: PodRequests, node: NodeDevices) -> bool:
    """Tell whether a node has devices for all requests at once, and that is known for sure."""
    return node.satisfies(asked.requests, asked.constraints) is True


def lacking(asked: PodRequests, node: NodeDevices) -> list[Request]:
    """Return the requests that a node cannot satisfy, each by itself."""
    return [request for request in asked.requests if node.lacks(request)]


def _names(requests: Sequence[Request]) -> str:
    ambiguous = len({request.name for request in requests}) < len(requests)
    return " and ".join(f"{one.name} of claim {one.claim}" if ambiguous else one.name for one in requests)


def constraint_named(constraint: Constraint) -> str:
    """Return a constraint as messages name it."""
    kind = "distinctAttribute" if constraint.distinct else "matchAttribute"
    return f"the constraint {kind} {constraint.attribute}"
