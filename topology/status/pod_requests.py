"""What a pending pod requests: its claims that are not allocated, and extended resources, as the checks model them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from topology.checks.allocation import Constraint
from topology.checks.device_matching import Alternative, Derived, Selector
from topology.checks.requests import Request
from topology.kubernetes.objects import IMPLICIT_EXTENDED_RESOURCE, Object, key
from topology.kubernetes.quantities import number
from topology.kubernetes.reading import entries, part
from topology.status.live_objects import EXTENDED_RESOURCES, LiveObjects, claim_names, is_allocated, of_kind
from topology.status.node_resources import requested

NO_CLASS = [Selector("", "false")]
"""The selectors of a class that does not exist."""


class PodRequests(NamedTuple):
    """The requests and constraints of a pod's claims, and where its allocated claims let it run."""

    requests: Sequence[Request]
    constraints: Sequence[Constraint]
    terms: Sequence[Sequence[Object]]
    """The node selector terms of each allocated claim that has a node selector."""


class RequestReader:
    """Reads requests with the device classes of a cluster."""

    def __init__(self, objects: Sequence[Object], live: LiveObjects) -> None:
        """Use the classes of `objects`, and the `live` claims and nodes."""
        self.live = live
        classes = sorted(of_kind(objects, "DeviceClass"), key=lambda entry: str(entry["metadata"]["name"]))
        self.classes = {entry["metadata"]["name"]: _selectors(entry["spec"]) for entry in classes}
        # The newest class provides an extended resource, the first by name of those of one second:
        # https://github.com/kubernetes/dynamic-resource-allocation/blob/v0.37.2/deviceclass/extendedresourcecache
        classes.reverse()
        classes.sort(key=lambda entry: str(entry["metadata"].get("creationTimestamp")))
        self.extended_resources = {
            resource: entry["metadata"]["name"]
            for entry in classes
            for resource in (
                f"{IMPLICIT_EXTENDED_RESOURCE}/{entry['metadata']['name']}",
                entry["spec"].get("extendedResourceName"),
            )
            if resource
        }
        allocatable = [node["status"].get("allocatable") or {} for node in live.nodes.values()]
        self.of_nodes = {name for amounts in allocatable for name, amount in amounts.items() if number(str(amount))}

    def read(self, pod: Object) -> PodRequests:
        """Return what a pod still has to get."""
        requests: list[Request] = []
        constraints: list[Constraint] = []
        terms: list[Sequence[Object]] = []
        for name, claim_name in claim_names(pod).items():
            claim = self.live.claims.get((key(pod)[0], claim_name), {})
            if is_allocated(claim):
                terms += _terms(claim)
            elif name == EXTENDED_RESOURCES and not claim:
                requests += self._of_containers(pod)
            else:
                requests += [self._request(name, entry) for entry in entries(claim, "spec", "devices", "requests")]
                constraints += [_constraint(name, entry) for entry in entries(claim, "spec", "devices", "constraints")]
        return PodRequests(requests, constraints, terms)

    def _of_containers(self, pod: Object) -> Iterator[Request]:
        """Yield the requests that the scheduler puts into the claim for a pod's extended resources.

        Nothing is said of resources that are devices on some nodes and none on others.
        """
        for name, amount in requested(pod["spec"]).items():
            if amount and name in self.extended_resources and name not in self.of_nodes:
                selection = {"deviceClassName": self.extended_resources[name], "count": int(amount)}
                yield Request(EXTENDED_RESOURCES, name, [self._alternative(selection)])

    def _request(self, claim: str, request: Object) -> Request:
        exactly = request.get("exactly") or {}
        alternatives = [self._alternative(entry) for entry in request.get("firstAvailable") or [exactly]]
        return Request(claim, request["name"], alternatives, bool(exactly.get("adminAccess")))

    def _alternative(self, selection: Object) -> Alternative:
        name = selection.get("deviceClassName", "")
        return Alternative(
            "",
            name,
            None if selection.get("allocationMode") == "All" else selection.get("count", 1),
            self.classes.get(name, NO_CLASS),
            _selectors(selection),
            part(selection, "capacity", "requests") or {},
            [Derived("", entry["expression"], entry["name"]) for entry in entries(selection, "derivedAttributes")],
            entries(selection, "tolerations"),
            selection.get("name", ""),
        )


def _selectors(spec: Object) -> list[Selector]:
    return [Selector("", str(part(entry, "cel", "expression"))) for entry in entries(spec, "selectors")]


def _constraint(claim: str, constraint: Mapping[str, str]) -> Constraint:
    distinct = constraint.get("distinctAttribute")
    attribute = distinct or constraint.get("matchAttribute", "")
    return Constraint(claim, constraint.get("requests") or [], attribute, distinct is not None)


def _terms(claim: Object) -> Iterator[Sequence[Object]]:
    if selector := part(claim, "status", "allocation", "nodeSelector"):
        yield entries(selector, "nodeSelectorTerms")
