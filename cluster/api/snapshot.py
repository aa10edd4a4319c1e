"""The objects of a cluster as they were at one moment."""

import time
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlencode

from cluster.api.api_server import BUSY, EXPIRED, ApiServer, UnreachableError, at_once
from topology.kubernetes.objects import LISTS

PAGE = 500
"""The number of objects in one response, as kubectl asks for."""

AGAIN = {EXPIRED, 500, 504}
"""Statuses after which everything is read again: etcd has compacted the version away, as it does every five minutes;
etcd is too busy; or the watch cache of a kind has not reached the version within three seconds.
https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/storage/cacher/watch_cache.go
"""

TRIES = 5
SECONDS_BETWEEN_TRIES = 0.2

Object = dict[str, Any]
Known = dict[str, Object]
"""The attributes and capacities of devices, by their text."""


def read(api: ApiServer, kinds: Sequence[str]) -> list[Object] | None:
    """Return all objects of `kinds` as `must_read` does, or None if the cluster does not answer.

    Raises:
        RefusedError: the API server refuses to list a kind.
    """
    try:
        return must_read(api, kinds)
    except UnreachableError:
        return None


def must_read(api: ApiServer, kinds: Sequence[str]) -> list[Object]:
    """Return all objects of `kinds`.

    A kind that is not in `LISTS`, or of which only some objects are wanted, is given as `<kind>=<path of its list>`,
    with an optional query.

    `kubectl get pods,resourceclaims` reads one kind after the other. While pods come and go, it finds pods whose claims
    are gone by then, and claims whose pods did not exist yet. Here the first list returns the version of the whole
    store, and the others are read at exactly that version: all kinds of a kwokctl cluster are in one etcd.
    https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list

    Raises:
        UnreachableError: the cluster does not answer, or fails at each try.
        RefusedError: the API server refuses to list a kind.
    """
    for _ in range(TRIES):
        try:
            return _read(api, kinds)
        except _AgainError as error:
            message = str(error)
            time.sleep(SECONDS_BETWEEN_TRIES)
    raise UnreachableError(message)


def _read(api: ApiServer, kinds: Sequence[str]) -> list[Object]:
    version, first = _list(api, kinds[0])
    others = at_once(lambda kind: _list(api, kind, "" if _is_apart(kind) else version)[1], kinds[1:])
    return [entry for found in (first, *others) for entry in found]


def _is_apart(kind: str) -> bool:
    """Tell whether a kind may be in another etcd than the others, with versions of its own."""
    return kind.startswith("Event=")


class _AgainError(Exception):
    """The API server cannot return the objects at that version now."""


def _list(api: ApiServer, kind: str, version: str = "") -> tuple[str, list[Object]]:
    """Return the version of the list and its objects."""
    name, _, path = kind.partition("=")
    exact = {"resourceVersion": version, "resourceVersionMatch": "Exact"} if version else {}
    objects: list[Object] = []
    known: Known = {}
    for page in _pages(api, path or LISTS[name], exact):
        version = page["metadata"]["resourceVersion"]
        objects += [_object(name, entry, known) for entry in page["items"]]
    return version, objects


def _pages(api: ApiServer, path: str, query: dict[str, str]) -> Iterator[Any]:
    more: str | None = ""
    while more is not None:
        answer = api.get(f"{path}{'&' if '?' in path else '?'}{urlencode(query | {'limit': PAGE})}")
        if answer.status in AGAIN:
            raise _AgainError(answer.message)
        if answer.status in BUSY:
            raise UnreachableError(answer.message)
        page = answer.checked().object
        yield page
        more = page["metadata"].get("continue") or None  # Lists of custom resources have an empty one at their end.
        query = {"continue": more or ""}


def _object(kind: str, entry: Object, known: Known) -> Object:
    """Add the kind, which list entries lack, and drop `managedFields`, which are half of an object."""
    metadata = {name: value for name, value in entry["metadata"].items() if name != "managedFields"}
    if kind == "ResourceSlice":
        for device in entry["spec"].get("devices", []):
            _share(device, known)
    return entry | {"kind": kind, "metadata": metadata}


def _share(device: Object, known: Known) -> None:
    """Give equal attributes and capacities of all devices one value: a third of the memory of a large fleet."""
    for field in ("attributes", "capacity"):
        if field in device:
            device[field] = {name: known.setdefault(str(value), value) for name, value in device[field].items()}
