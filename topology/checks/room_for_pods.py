"""How many pods of a workload the nodes have room for at most.

Shared devices, constraints, counters and other workloads may leave room for fewer: the scheduler decides.
"""

from collections.abc import Iterable, Iterator, Sequence

from topology.checks.allocation import DeviceKey
from topology.checks.node_kinds import NodeKind
from topology.checks.requests import Request, node_resources
from topology.kubernetes.quantities import number
from topology.schema.base import Problem
from topology.schema.workloads import Workload

_Taken = tuple[set[DeviceKey], int]
"""Devices, and how many of them are taken."""


def too_many_pods(
    workload: Workload, path: str, requests: Sequence[Request], kinds: Sequence[NodeKind], names: str
) -> Iterator[Problem]:
    """Yield why the nodes cannot hold the pods of the `workload` at `path`; `names` are the pools of these nodes."""
    wanted, most = workload.replicas, _most_pods(workload, requests, kinds)
    holds = f"but {names} can hold at most {most} such pod{'s' if most != 1 else ''}"
    if most < workload.fewest_pods <= wanted:
        yield Problem(
            f"{path}.podGroup.minCount",
            f"is {workload.fewest_pods}, {holds}, so that none would run: ask for fewer, give the pools more nodes or "
            "devices, or declare that all stay pending with "
            f"expect: {{allocated: 0, pending: {wanted * workload.claims_per_pod}}}",
        )
    elif workload.kind != "Job" and _expected_to_run(workload) > most:  # Pods of a Job take turns.
        own_claims = sum(not claim.claim and claim not in workload.group_claims for claim in workload.claims)
        pending = (wanted - most) * (own_claims + bool(workload.extended_resources))
        yield Problem(
            f"{path}.replicas",
            f"is {wanted}, {holds}: ask for fewer, give the pools more nodes or devices, or declare that the rest stay "
            f"pending with expect: {{{f'pending: {pending}' if pending else f'running: {most}'}}}",
        )


def _expected_to_run(workload: Workload) -> int:
    running = workload.expect.running
    return workload.replicas - workload.expected_pending if running is None else running


def _most_pods(workload: Workload, requests: Sequence[Request], kinds: Sequence[NodeKind]) -> int:
    rooms = [(_most_pods_on(kind, workload, requests), kind.count_for(workload)) for kind in kinds]
    if any(request.shared and not _of_fabric(request, kinds) for request in requests):
        return max(room for room, _ in rooms)  # Such a shared claim has devices of one node.
    return min([sum(room * count for room, count in rooms), *_most_pods_anywhere(workload, requests, kinds)])


def _most_pods_on(kind: NodeKind, workload: Workload, requests: Sequence[Request]) -> int:
    each = _all_taken(kind, (request for request in requests if not request.shared))
    once = _all_taken(kind, (request for request in requests if request.shared))
    rooms = [(len(names) - _sum(once, names)) // _sum(each, names) for names, _ in each]
    for name, amount in node_resources(workload).items():
        rooms.append(int(number(kind.capacity.get(name, "0")) // amount))
    return max(min([int(number(kind.capacity["pods"])), *rooms]), 0)


def _of_fabric(request: Request, kinds: Sequence[NodeKind]) -> bool:
    """Tell whether a request can have devices of a fabric pool, which several nodes can use."""
    found = (kind.matching(alternative) for kind in kinds for alternative in request.alternatives)
    return any(candidate.pool for matching in found for candidate in matching)


def _most_pods_anywhere(workload: Workload, requests: Sequence[Request], kinds: Sequence[NodeKind]) -> Iterator[int]:
    """Yield for how many pods the devices of all nodes suffice, by request; those of a fabric pool count once."""
    counts: dict[DeviceKey, int] = {}
    each: list[_Taken] = []
    for request in requests:
        found = [] if request.shared else [taken for kind in kinds if (taken := _taken(kind, request))]
        if len(found) < len(kinds):
            continue
        names = set()
        for index, (kind, (of_kind, _)) in enumerate(zip(kinds, found, strict=True)):
            for driver, pool, device in of_kind:
                place = driver, pool or f"/{index}", device
                counts[place] = 1 if pool else kind.count_for(workload)
                names.add(place)
        each.append((names, min(count for _, count in found)))
    yield from (sum(counts[name] for name in names) // _sum(each, names) for names, _ in each)


def _all_taken(kind: NodeKind, requests: Iterable[Request]) -> list[_Taken]:
    return [taken for request in requests if (taken := _taken(kind, request))]


def _taken(kind: NodeKind, request: Request) -> _Taken | None:
    """Return what a request takes at least; None if it takes no device away from others."""
    names: set[DeviceKey] = set()
    counts = []
    for alternative in request.alternatives:
        matching = kind.matching(alternative)
        count = alternative.count or max(len(matching), 1)
        if any(candidate.device.allow_multiple_allocations for candidate in matching):
            return None
        if len(matching) >= count:
            names |= {candidate.key for candidate in matching}
            counts.append(count)
    return None if request.admin_access else (names, min(counts, default=1))


def _sum(taken: Iterable[_Taken], names: set[DeviceKey]) -> int:
    """Return how many devices are taken from `names` alone."""
    return sum(count for other, count in taken if other <= names)
