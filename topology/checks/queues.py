"""Queues that Kueue would not accept, and workloads that it would never admit."""

from collections.abc import Iterator

from topology.checks.manifests import manifest_objects
from topology.kubernetes.reading import namespace_of
from topology.objects.kueue import resource, resources
from topology.schema.base import Problem
from topology.schema.claims import DeviceRequest
from topology.schema.queues import Flavor, Queue
from topology.schema.stack import Topology
from topology.schema.values import NODE_RESOURCES, choice, duplicate
from topology.schema.workloads import Workload

COUNTED = {*NODE_RESOURCES, "pods"}
"""What Kueue counts beside devices."""


def queue_problems(topology: Topology) -> Iterator[Problem]:
    """Yield what is wrong with the queues of a topology whose parts are valid by themselves.

    In an existing cluster Kueue is configured, and may have queues, that are not known here.
    """
    for index, queue in enumerate(topology.queues):
        yield from _queue(f"queues[{index}]", queue)
    yield from _different_flavors(topology)
    if not topology.cluster.existing:
        yield from _without_kueue(topology)
        if list(_users(topology)):  # What Kueue counts takes a while to derive.
            yield from _uncounted(topology)
            yield from _workloads(topology)


def _queue(path: str, queue: Queue) -> Iterator[Problem]:
    if name := duplicate([flavor.name for flavor in queue.flavors]):
        yield Problem(f"{path}.flavors", f"has the flavor {name} twice: give it all its quotas in one entry")
    for index, flavor in enumerate(queue.flavors):
        for other in queue.flavors[:index]:
            if (common := flavor.quotas.keys() & other.quotas.keys()) and flavor.quotas.keys() != other.quotas.keys():
                yield Problem(
                    f"{path}.flavors[{index}].quotas",
                    f"and those of flavor {other.name} have {', '.join(sorted(common))} in common, so Kueue wants the "
                    "same resources in both: add the missing ones, with 0 for none",
                )
        limited = [name for name, quota in flavor.quotas.items() if quota.borrowing_limit or quota.lending_limit]
        if limited and not queue.cohort:
            yield Problem(
                f"{path}.flavors[{index}].quotas.{limited[0]}",
                "has a limit for borrowing or lending, which queues do in a cohort only: set cohort, or remove it",
            )


def _flavors(topology: Topology) -> Iterator[tuple[str, Flavor]]:
    for index, queue in enumerate(topology.queues):
        for place, flavor in enumerate(queue.flavors):
            yield f"queues[{index}].flavors[{place}]", flavor


def _different_flavors(topology: Topology) -> Iterator[Problem]:
    first: dict[str, tuple[str, Flavor]] = {}
    for path, flavor in _flavors(topology):
        where, known = first.setdefault(flavor.name, (path, flavor))
        if known.node_labels != flavor.node_labels:
            yield Problem(
                f"{path}.nodeLabels",
                f"differ from those of {where}, which is the same flavor, {flavor.name}: give both the same, or give "
                "this one another name",
            )


def _users(topology: Topology) -> Iterator[str]:
    """Yield the keys that need Kueue."""
    if topology.queues:
        yield "queues"
    yield from (f"workloads[{index}].queue" for index, workload in enumerate(topology.workloads) if workload.queue)


def _without_kueue(topology: Topology) -> Iterator[Problem]:
    users = list(_users(topology))
    if users and all(controller.name != "kueue" for controller in topology.controllers):
        yield Problem(users[0], "needs Kueue, which does not run: add {name: kueue} to kwok-dra:controllers")


def counted_resources(topology: Topology) -> set[str]:
    """Return the resources of which queues can have quotas."""
    return COUNTED.union(resources(topology).values(), *(pool.capacity for pool in topology.node_pools))


def _uncounted(topology: Topology) -> Iterator[Problem]:
    counted = counted_resources(topology)
    for path, flavor in _flavors(topology):
        for name in (name for name in flavor.quotas if name not in counted):
            known = choice(name, sorted(counted - COUNTED), "map a device class to it in the config of kueue")
            yield Problem(f"{path}.quotas.{name}", f"counts nothing: no class maps to it{known}")


def _workloads(topology: Topology) -> Iterator[Problem]:
    queues = {queue.name: queue for queue in topology.queues}
    local = {(namespace, queue.name) for queue in topology.queues for namespace in queue.namespaces}
    written = (entry.content for entry in manifest_objects(topology) if entry.content["kind"] == "LocalQueue")
    local |= {(namespace_of(entry), entry["metadata"]["name"]) for entry in written}
    counted = resources(topology)
    for index, workload in enumerate(topology.workloads):
        path = f"workloads[{index}]"
        if workload.queue is None:
            continue
        if (workload.namespace, workload.queue) not in local:
            yield Problem(f"{path}.queue", _no_queue(workload.queue, workload.namespace, local))
        elif workload.expected_allocated:
            yield from _inadmissible(path, workload, queues.get(workload.queue), counted)


def _no_queue(name: str, namespace: str, local: set[tuple[str, str]]) -> str:
    elsewhere = sorted(place for place, other in local if other == name)
    if elsewhere:
        return (
            f"queue {name} has no LocalQueue in namespace {namespace}, only in {', '.join(elsewhere)}: add {namespace} "
            "to its namespaces"
        )
    here = sorted(other for place, other in local if place == namespace)
    return f"there is no queue {name!r} in namespace {namespace}{choice(name, here, 'add it to kwok-dra:queues')}"


def _inadmissible(path: str, workload: Workload, queue: Queue | None, counted: dict[str, str]) -> Iterator[Problem]:
    """Yield the requests that Kueue does not count, or for which the `queue` of the stack has no quota.

    https://github.com/kubernetes-sigs/kueue/blob/v0.19.2/pkg/dra/claims.go, countDevicesPerClass
    """
    quotas = {name for flavor in queue.flavors for name in flavor.quotas} if queue else None
    for place, claim in enumerate(workload.claims):
        where = f"{path}.claims[{place}]"
        if claim.claim:
            yield Problem(
                where, "is a shared claim, and Kueue admits no pods with one: remove queue, or give each pod its own"
            )
        for number, request in enumerate(claim.requests):
            if unsupported := _unsupported(request):
                yield Problem(
                    f"{where}.requests[{number}]",
                    f"has {unsupported}, which Kueue does not count, so it admits no such pods: remove it, or queue",
                )
                continue
            name = counted.get(str(request.device_class), resource(str(request.device_class)))
            if quotas is not None and name not in quotas:
                yield Problem(
                    f"{where}.requests[{number}]",
                    f"is for devices that count as {name}, for which queue {workload.queue} has no quota, so Kueue "
                    "admits no such pods: add a quota for it, or expect the claims to stay pending",
                )


def _unsupported(request: DeviceRequest) -> str:
    found = {
        "firstAvailable": request.first_available,
        "allocationMode: All": request.allocation_mode == "All",
        "adminAccess": request.admin_access,
    }
    return next((name for name, is_set in found.items() if is_set), "")
