"""An API server in memory, with the behaviour that the program relies on."""

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cluster.api.api_server import MERGE, Answer, ApiServer

Object = dict[str, Any]


class FakeApiServer(ApiServer):
    """Objects by path; it records the requests.

    `before` has functions that are called before the requests with a given beginning, such as `PATCH /api/v1/nodes`. An
    Answer that such a function returns is the answer; an exception is raised.
    """

    def __init__(self, objects: Mapping[str, Object] | None = None) -> None:
        super().__init__()
        self.objects: dict[str, Object] = dict(objects or {})
        self.asked: list[str] = []
        self.before: dict[str, Callable[[], object]] = {}
        self.uids = 0

    @property
    def written(self) -> list[str]:
        """The requests that are not reads."""
        return [line for line in self.asked if not line.startswith("GET")]

    def names(self, kind: str) -> list[str]:
        """Return the names of the objects whose path has `kind` in it."""
        return sorted(path.rpartition("/")[2] for path in self.objects if f"/{kind}/" in path)

    def send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, content_type: str = "application/json"
    ) -> Answer:
        """Answer as an API server does."""
        assert (content_type == MERGE) == (method == "PATCH")
        url = urlsplit(path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        self.asked.append(f"{method} {url.path}")
        for beginning, function in self.before.items():
            if f"{method} {path}".startswith(beginning):
                match function():
                    case Answer() as answer:
                        return answer
                    case Exception() as error:
                        raise error
        match method:
            case "GET" if url.path in self.objects or url.path.rpartition("/")[2] not in COLLECTIONS:
                return self._answer(url.path)
            case "GET":
                return Answer(200, json.dumps(self._list(url.path, query)).encode())
            case "POST":
                return self._create(url.path, copy.deepcopy(dict(body or {})), query)
            case "PATCH":
                return self._patch(url.path, dict(body or {}), query)
            case "DELETE":
                answer = self._answer(url.path)
                self.objects.pop(url.path, None)
                return answer
        raise AssertionError(method)

    def edit(self, path: str, **parts: Any) -> None:
        """Merge `parts` into an object as another user, and forget the requests so far."""
        self.send("PATCH", path, parts, MERGE).checked()
        self.asked.clear()

    def _answer(self, path: str) -> Answer:
        if path in self.objects:
            return Answer(200, json.dumps(self.objects[path]).encode())
        return Answer(404, json.dumps({"message": f"{path} not found"}).encode())

    def _list(self, path: str, query: Mapping[str, str]) -> Object:
        selector = query.get("fieldSelector", "").removeprefix("spec.nodeName=")
        key, _, value = query.get("labelSelector", "").partition("=")
        kind = path.rpartition("/")[2]
        items = [
            entry
            for place, entry in self.objects.items()
            if place.rpartition("/")[0].rpartition("/")[2] == kind
            and (not selector or selector == entry["spec"].get("nodeName"))
            and (not key or entry["metadata"].get("labels", {}).get(key) == value)
        ]
        return {"metadata": {"resourceVersion": "7"}, "items": items}

    def _create(self, path: str, entry: Object, query: Mapping[str, str]) -> Answer:
        # One store for all versions of resource.k8s.io.
        place = f"{path}/{entry['metadata']['name']}".replace("/v1beta1/", "/v1/").replace("/v1beta2/", "/v1/")
        if place in self.objects:
            return Answer(409, json.dumps({"message": f"{place} already exists"}).encode())
        self.uids += 1
        entry["metadata"] |= {"uid": f"uid-{self.uids}", "managedFields": [_managed(query, entry)]}
        self.objects[place] = entry
        return Answer(201, json.dumps(entry).encode())

    def _patch(self, path: str, body: Object, query: Mapping[str, str]) -> Answer:
        base = path.removesuffix("/status")
        if base not in self.objects:
            return self._answer(base)
        kept = {"status"} if base == path else {"metadata", "spec"}
        merged = _merged(self.objects[base], {key: value for key, value in body.items() if key not in kept})
        merged["metadata"].setdefault("managedFields", []).append(_managed(query, body))
        self.objects[base] = merged
        return self._answer(base)


def _managed(query: Mapping[str, str], entry: Mapping[str, Any]) -> Object:
    """Return an entry of managed fields: the labels and annotations that the request sets."""
    metadata = entry.get("metadata", {})
    fields: Object = {
        f"f:{field}": {f"f:{key}": {} for key in metadata.get(field) or {}} for field in ("labels", "annotations")
    }
    return {"manager": query.get("fieldManager", ""), "fieldsV1": {"f:metadata": fields}}


COLLECTIONS = (
    "cronjobs",
    "daemonsets",
    "deployments",
    "deviceclasses",
    "devicetaintrules",
    "jobs",
    "namespaces",
    "nodes",
    "pods",
    "resourceclaims",
    "resourceclaimtemplates",
    "resourceslices",
    "statefulsets",
)


def _merged(old: Any, patch: Any) -> Any:
    """Apply a JSON merge patch: https://www.rfc-editor.org/rfc/rfc7386"""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result


def managed_by(manager: str, entry: Object) -> Object:
    """Return the object with `manager` as its only field manager."""
    return entry | {"metadata": entry["metadata"] | {"managedFields": [{"manager": manager, "fieldsV1": {}}]}}
