"""Waits until workloads stand as expected."""

import time
from collections.abc import Callable, Mapping, Sequence

from cluster.api import snapshot
from cluster.api.api_server import ApiServer
from topology.kubernetes.objects import Object
from topology.status.workload_progress import (
    CONTROLLERS,
    Expected,
    Live,
    Standing,
    Unfit,
    is_making,
    is_not_ready,
    is_refused,
    kinds,
    reasons,
    refusal,
    standing,
    unmet,
)

UNANSWERED = "the cluster does not answer"
WORKLOADS_TOLD_MAX = 3
FEWEST_SECONDS_BETWEEN_READS = 0.05
LONG_READ_SECONDS = 0.5
SECONDS_BETWEEN_LOOKS = 0.5
NODES_SECONDS = 30

Tell = Callable[[str], None]


def settled_objects(
    api: ApiServer,
    wanted: Sequence[str],
    objects: Sequence[Object] | None,
    expected: Sequence[Expected],
    unfit: Unfit,
    not_ready: Sequence[str],
    tell: Tell,
) -> Sequence[Object] | None:
    """Return all objects of the `wanted` kinds as they are when all is as expected, or when the time for that is up.

    `objects` are they as they are now. Nodes are waited for too, for a while: just the given ones are to be not ready.
    None stands for a cluster that does not answer. What is waited for is told whenever it changes.
    """
    begin = time.monotonic()
    late: list[str] = []
    objects = _with_nodes(api, wanted, objects, not_ready)
    while objects is not None and not late and _not_as_expected(expected, unfit, Live(objects)):
        # What was waited for may be gone again, and others are to come in its place.
        late = wait(api, expected, unfit, tell, begin)
        objects = snapshot.read(api, wanted)
    return objects


def wait(api: ApiServer, expected: Sequence[Expected], unfit: Unfit, tell: Tell, begin: float) -> list[str]:
    """Return what does not stand as expected when its time, since `begin`, is up, and why."""
    late: list[str] = []
    told = ""
    seconds = 0.0
    while expected:
        asked = time.monotonic()
        if seconds > LONG_READ_SECONDS and not _is_up(expected, begin) and _are_making(api, expected):
            time.sleep(SECONDS_BETWEEN_LOOKS)
            continue
        objects = snapshot.read(api, kinds(maker for entry in expected for maker in entry.makers))
        live = Live(objects or [])
        found = _not_as_expected(expected, unfit, live)
        for entry in [entry for entry in found if asked - begin > entry.seconds or objects is None]:
            stands = found.pop(entry)
            late += [f"workload {entry.workload}: {UNANSWERED}"] if objects is None else _late(entry, stands, live)
        expected = list(found)
        if expected:
            if told != (told := _awaited(found)):
                tell(told)
            # Reading many pods takes a while; the API server has better to do.
            seconds = time.monotonic() - asked
            time.sleep(max(2 * seconds, FEWEST_SECONDS_BETWEEN_READS))
    return late


def _is_up(expected: Sequence[Expected], begin: float) -> bool:
    return time.monotonic() - begin > min(entry.seconds for entry in expected)


def _are_making(api: ApiServer, expected: Sequence[Expected]) -> bool:
    """Tell from what makes the pods alone that some are still to come: that is read in no time."""
    controllers = sorted({kind for entry in expected for kind, _, _ in entry.makers} & CONTROLLERS)
    objects = snapshot.read(api, controllers) if controllers else []
    live = Live(objects or [])
    return any(is_making(entry, live) for entry in expected)


def _with_nodes(
    api: ApiServer, wanted: Sequence[str], objects: Sequence[Object] | None, not_ready: Sequence[str]
) -> Sequence[Object] | None:
    """Read the objects until just the given nodes are not ready: KWOK gets to know of a change like everybody else."""
    end = time.monotonic() + NODES_SECONDS
    while objects is not None and not _stand(objects, not_ready) and time.monotonic() < end:
        time.sleep(FEWEST_SECONDS_BETWEEN_READS)
        objects = snapshot.read(api, wanted)
    return objects


def _stand(objects: Sequence[Object], not_ready: Sequence[str]) -> bool:
    names = set(not_ready)
    nodes = [entry for entry in objects if entry["kind"] == "Node"]
    return all(is_not_ready(node) == (node["metadata"]["name"] in names) for node in nodes)


def _not_as_expected(expected: Sequence[Expected], unfit: Unfit, live: Live) -> dict[Expected, Standing]:
    found = {entry: standing(entry, live, unfit) for entry in expected}
    return {entry: stands for entry, stands in found.items() if not stands.meets(entry)}


def _late(expected: Expected, found: Standing, live: Live) -> list[str]:
    pods = live.pods_of(expected.makers)
    refused = [(pod["metadata"]["name"], refusal(pod)) for pod in pods if is_refused(pod)]
    return [*unmet(expected, found, live), *reasons(refused)]


def _awaited(found: Mapping[Expected, Standing]) -> str:
    lines = [
        f"{entry.workload} ({stands.allocated} claims are allocated and {stands.pending} pending, "
        f"to be {'all' if entry.allocated is None else entry.allocated} and {entry.pending})"
        for entry, stands in list(found.items())[:WORKLOADS_TOLD_MAX]
    ]
    more = len(found) - len(lines)
    return f"waiting for {', '.join(lines)}{f' and {more} more' if more else ''}"
