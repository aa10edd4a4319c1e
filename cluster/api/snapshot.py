"""The objects of a cluster as they were at one moment."""

import time
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlencode

from cluster.api.api_server import EXPIRED, ApiServer, RefusedError, UnreachableError, at_once
from topology.kubernetes.objects import LISTS

PAGE = 500
"""So many objects are read at once, as kubectl does it."""

AGAIN = {EXPIRED, 429, 500, 503, 504}
"""Answers after which it is read anew: the store has forgotten how things were, as it does every five minutes; the API
server has too much to do; or its cache of a kind has not come up to that version in the three seconds that it waits.
https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/storage/cacher/watch_cache.go
"""

TRIES = 5
SECONDS_BETWEEN_TRIES = 0.2

Object = dict[str, Any]


def read(api: ApiServer, kinds: Sequence[str]) -> list[Object] | None:
    """Return all objects of `kinds`, or None if the cluster does not answer.

    A kind that is not one of `LISTS`, or of which not all are wanted, is given as `<kind>=<path of its list>`; a query
    may follow.

    `kubectl get pods,resourceclaims` reads kind after kind, and while pods come and go it finds pods whose claims are
    gone by then, and claims whose pods were not there yet. So the first list tells the version of the whole store, and
    the others are read as they were at that version; all kinds of a cluster that kwokctl makes are in one etcd.
    https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list
    """
    for _ in range(TRIES):
        try:
            return _read(api, kinds)
        except _AgainError:
            time.sleep(SECONDS_BETWEEN_TRIES)
        except (UnreachableError, RefusedError):
            break
    return None


def _read(api: ApiServer, kinds: Sequence[str]) -> list[Object]:
    version, first = _list(api, kinds[0])
    others = at_once(lambda kind: _list(api, kind, version)[1], kinds[1:])
    return [entry for found in (first, *others) for entry in found]


class _AgainError(Exception):
    """The API server cannot say now how things were at that version."""


def _list(api: ApiServer, kind: str, version: str = "") -> tuple[str, list[Object]]:
    """Return the version of the list, and its objects."""
    name, _, path = kind.partition("=")
    exact = {"resourceVersion": version, "resourceVersionMatch": "Exact"} if version else {}
    objects: list[Object] = []
    for page in _pages(api, path or LISTS[name], exact):
        version = page["metadata"]["resourceVersion"]
        objects += [_object(name, entry) for entry in page["items"]]
    return version, objects


def _pages(api: ApiServer, path: str, query: dict[str, str]) -> Iterator[Any]:
    more: str | None = ""
    while more is not None:
        answer = api.get(f"{path}{'&' if '?' in path else '?'}{urlencode(query | {'limit': PAGE})}")
        if answer.status in AGAIN:
            raise _AgainError
        page = answer.checked().object
        yield page
        more = page["metadata"].get("continue")
        query = {"continue": more or ""}


def _object(kind: str, entry: Object) -> Object:
    """Name the kind, which the entries of a list do not, and leave out who wrote which field: half of an object."""
    metadata = {name: value for name, value in entry["metadata"].items() if name != "managedFields"}
    return entry | {"kind": kind, "metadata": metadata}
