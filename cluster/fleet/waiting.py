"""Waits until workloads are as expected."""

import time
from collections.abc import Callable, Mapping, Sequence

from cluster.api import snapshot
from cluster.api.api_server import ApiServer, RefusedError, UnreachableError
from cluster.fleet.standstill import Standstill
from topology.kubernetes.objects import Object
from topology.status.evictions import Unfit
from topology.status.live_objects import LiveObjects, is_not_ready, is_refused, kinds, refusal
from topology.status.workload_progress import (
    CONTROLLERS,
    Expected,
    Progress,
    awaited,
    is_creating,
    lost,
    progress,
    reasons,
    unmet,
)

WORKLOADS_SHOWN_MAX = 3
FEWEST_SECONDS_BETWEEN_READS = 0.05
LONG_READ_SECONDS = 0.5
SECONDS_BETWEEN_LOOKS = 0.5
PAUSE_SECONDS = 2
"""Controllers that have not changed for so long may wait for pods that cannot run."""
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
    standstill: Standstill | None = None,
) -> Sequence[Object] | None:
    """Return all objects of the `wanted` kinds once the workloads are as expected, or late as `wait` says.

    `objects` is the current snapshot; None means that the cluster does not answer. It also waits, for NODES_SECONDS,
    until exactly the nodes `not_ready` are NotReady. It calls `tell` with what it waits for whenever this changes.

    Raises:
        RefusedError: the API server refuses to list a kind.
    """
    begin = time.monotonic()
    late: list[str] = []
    objects = _with_nodes(api, wanted, objects, not_ready)
    queues = "Workload" in wanted
    while objects is not None and not late and _not_as_expected(expected, unfit, LiveObjects(objects, queues)):
        # Pods that were as expected may have been deleted since, and their replacements not yet created.
        objects = None  # Two snapshots of a large fleet take twice the memory.
        late = wait(api, expected, unfit, tell, begin, standstill, queues)
        objects = snapshot.read(api, wanted)
    return objects


def wait(
    api: ApiServer,
    expected: Sequence[Expected],
    unfit: Unfit,
    tell: Tell,
    begin: float,
    standstill: Standstill | None = None,
    queues: bool = False,
) -> list[str]:
    """Return why each workload that is not as expected within its timeout, counted from `begin`, is late.

    A workload that has lost bare pods is late at once. All are late when the `standstill` comes; it must not if
    anything else may change the cluster: another operation of the update, or the controllers of an existing cluster.
    With `queues`, Kueue may hold the pods.
    """
    late: list[str] = []
    told = ""
    seconds = 0.0
    entries = expected
    wanted = kinds((maker for entry in entries for maker in entry.makers), queues)
    creation = _Creation(api)
    while expected:
        asked = time.monotonic()
        try:
            if seconds > LONG_READ_SECONDS and not _is_time_up(expected, begin) and creation.goes_on(expected, asked):
                time.sleep(SECONDS_BETWEEN_LOOKS)
                continue
            live = LiveObjects(snapshot.must_read(api, wanted), queues)
            found = _not_as_expected(expected, unfit, live)
            over = bool(found and standstill and standstill.has_come(api, entries, live, unfit, asked))
        except UnreachableError as error:
            return [*late, *_unknown(expected, f"the cluster does not answer: {error}")]
        except RefusedError as error:
            return [*late, *_unknown(expected, str(error))]
        for entry in [entry for entry in found if over or asked - begin > entry.seconds or lost(entry, live)]:
            late += _late(entry, found.pop(entry), live, standstill.seconds if standstill else 0)
        expected = list(found)
        if expected:
            if told != (told := _awaited(found, live)):
                tell(told)
            # Reading many pods takes a while: leave the API server time for other requests.
            seconds = time.monotonic() - asked
            time.sleep(max(2 * seconds, FEWEST_SECONDS_BETWEEN_READS))
    return late


def _unknown(expected: Sequence[Expected], why: str) -> list[str]:
    return [f"workload {entry.workload}: {why}" for entry in expected]


def _is_time_up(expected: Sequence[Expected], begin: float) -> bool:
    return time.monotonic() - begin > min(entry.seconds for entry in expected)


class _Creation:
    """Tells whether controllers still create pods, by the controllers alone: these are read quickly."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api
        self._seen: Sequence[Object] | None = None
        self._changed = 0.0

    def goes_on(self, expected: Sequence[Expected], now: float) -> bool:
        """Tell whether pods are missing, unless the controllers have not changed for `PAUSE_SECONDS`."""
        controllers = sorted({kind for entry in expected for kind, _, _ in entry.makers} & CONTROLLERS)
        objects = snapshot.must_read(self._api, controllers) if controllers else []
        if objects != self._seen:
            self._seen, self._changed = objects, now
        live = LiveObjects(objects)
        return now - self._changed < PAUSE_SECONDS and any(is_creating(entry, live) for entry in expected)


def _with_nodes(
    api: ApiServer, wanted: Sequence[str], objects: Sequence[Object] | None, not_ready: Sequence[str]
) -> Sequence[Object] | None:
    """Read the nodes until exactly the given ones are NotReady: KWOK learns of a change by a watch."""
    end = time.monotonic() + NODES_SECONDS
    kinds_of_nodes = [kind for kind in wanted if kind.partition("=")[0] == "Node"]
    seconds = 0.0
    while objects is not None and not _are_ready_but(objects, not_ready) and time.monotonic() < end:
        time.sleep(max(2 * seconds, FEWEST_SECONDS_BETWEEN_READS))
        asked = time.monotonic()
        nodes = snapshot.read(api, kinds_of_nodes)
        seconds = time.monotonic() - asked
        objects = None if nodes is None else [*(entry for entry in objects if entry["kind"] != "Node"), *nodes]
    return objects


def _are_ready_but(objects: Sequence[Object], not_ready: Sequence[str]) -> bool:
    names = set(not_ready)
    nodes = [entry for entry in objects if entry["kind"] == "Node"]
    return all(is_not_ready(node) == (node["metadata"]["name"] in names) for node in nodes)


def _not_as_expected(expected: Sequence[Expected], unfit: Unfit, live: LiveObjects) -> dict[Expected, Progress]:
    found = {entry: progress(entry, live, unfit) for entry in expected}
    return {entry: stands for entry, stands in found.items() if not stands.meets(entry)}


def _late(expected: Expected, found: Progress, live: LiveObjects, quiet: int) -> list[str]:
    pods = live.pods_of(expected.makers)
    refused = [(pod["metadata"]["name"], refusal(pod)) for pod in pods if is_refused(pod)]
    return [*unmet(expected, found, live, quiet), *reasons(refused)]


def _awaited(found: Mapping[Expected, Progress], live: LiveObjects) -> str:
    lines = [awaited(entry, stands, live) for entry, stands in list(found.items())[:WORKLOADS_SHOWN_MAX]]
    more = len(found) - len(lines)
    return f"waiting for {'; '.join(lines)}{f'; and {more} more' if more else ''}"
