"""Objects at one version of the store, page by page."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from cluster.api import snapshot
from cluster.api.api_server import Answer, ApiServer, RefusedError, UnreachableError

CLAIMS = "/apis/resource.k8s.io/v1/resourceclaims"


class Pages(ApiServer):
    """Returns the pages of each path in order, the last one again and again; an error is raised."""

    def __init__(self, pages: Mapping[str, list[Answer | Exception]]) -> None:
        super().__init__()
        self.pages = {path: list(answers) for path, answers in pages.items()}
        self.asked: list[tuple[str, dict[str, list[str]]]] = []

    def get(self, path: str) -> Answer:
        url = urlsplit(path)
        self.asked.append((url.path, parse_qs(url.query)))
        answers = self.pages[url.path]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def page(*names: str, version: str = "7", more: str = "") -> Answer:
    """Return a page of objects."""
    items = [{"metadata": {"name": name, "managedFields": [{}]}, "status": {}} for name in names]
    metadata = {"resourceVersion": version} | ({"continue": more} if more else {})
    return Answer(200, json.dumps({"metadata": metadata, "items": items}).encode())


def found(*names: str, kind: str = "Pod") -> list[Any]:
    """Return the objects of such pages, as they are read."""
    return [{"kind": kind, "metadata": {"name": name}, "status": {}} for name in names]


def test_all_kinds_are_read_as_of_the_version_of_the_first() -> None:
    api = Pages({"/api/v1/pods": [page("a")], CLAIMS: [page("c")]})
    assert snapshot.read(api, ["Pod", "ResourceClaim"]) == [*found("a"), *found("c", kind="ResourceClaim")]
    exact = {"resourceVersion": ["7"], "resourceVersionMatch": ["Exact"], "limit": ["500"]}
    assert api.asked == [("/api/v1/pods", {"limit": ["500"]}), (CLAIMS, exact)]


def test_events_may_be_in_another_store() -> None:
    api = Pages({"/api/v1/pods": [page("a")], "/api/v1/events": [page("e", version="3")]})
    found_all = snapshot.read(api, ["Pod", "Event=/api/v1/events?fieldSelector=reason%3DPreempted"])
    assert found_all == [*found("a"), *found("e", kind="Event")]
    assert api.asked[-1] == ("/api/v1/events", {"fieldSelector": ["reason=Preempted"], "limit": ["500"]})


def test_the_last_page_of_custom_resources_has_an_empty_token() -> None:
    last = Answer(200, json.dumps({"metadata": {"resourceVersion": "7", "continue": ""}, "items": []}).encode())
    api = Pages({"/api/v1/pods": [last, RefusedError("asked again")]})
    assert snapshot.read(api, ["Pod"]) == []


def test_page_after_page() -> None:
    api = Pages({"/api/v1/pods": [page("a", more="token"), page("b")]})
    assert snapshot.read(api, ["Pod"]) == found("a", "b")
    assert [query for _, query in api.asked] == [{"limit": ["500"]}, {"limit": ["500"], "continue": ["token"]}]


def test_further_pages_say_no_version(  # the API server allows none: the token has it
) -> None:
    api = Pages({"/api/v1/pods": [page("a")], CLAIMS: [page("c", more="token"), page("d")]})
    assert snapshot.read(api, ["Pod", "ResourceClaim"]) == [*found("a"), *found("c", "d", kind="ResourceClaim")]
    assert api.asked[-1] == (CLAIMS, {"limit": ["500"], "continue": ["token"]})


def test_a_list_that_expires_between_its_pages_is_read_anew() -> None:
    api = Pages({"/api/v1/pods": [page("a", more="token"), Answer(410, b"{}"), page("b")]})
    assert snapshot.read(api, ["Pod"]) == found("b")


def test_what_the_store_has_forgotten_is_read_anew() -> None:
    expired = Answer(410, b"{}")
    api = Pages({"/api/v1/pods": [page("a"), page("b", version="8")], CLAIMS: [expired, page()]})
    assert snapshot.read(api, ["Pod", "ResourceClaim"]) == found("b")
    assert api.asked[-1][1]["resourceVersion"] == ["8"]


@pytest.mark.parametrize("status", [500, 504])
def test_an_api_server_with_too_much_to_do_is_asked_again(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    monkeypatch.setattr(snapshot, "SECONDS_BETWEEN_TRIES", 0)
    api = Pages({"/api/v1/pods": [page("a"), page("b")], CLAIMS: [Answer(status, b"{}"), page()]})
    assert snapshot.read(api, ["Pod", "ResourceClaim"]) == found("b")


def with_answer(path: str, answer: Answer | Exception) -> Pages:
    """Return an API server whose list at `path` is `answer`."""
    answers: dict[str, list[Answer | Exception]] = {"/api/v1/pods": [page("a")], CLAIMS: [page()]}
    return Pages(answers | {path: [answer]})


@pytest.mark.parametrize(
    "answer", [UnreachableError("down"), *(Answer(status, b'{"message": "down"}') for status in (429, 500, 503, 504))]
)
@pytest.mark.parametrize("path", ["/api/v1/pods", CLAIMS])
def test_a_cluster_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, path: str, answer: Answer | Exception) -> None:
    monkeypatch.setattr(snapshot, "SECONDS_BETWEEN_TRIES", 0)
    assert snapshot.read(with_answer(path, answer), ["Pod", "ResourceClaim"]) is None
    with pytest.raises(UnreachableError, match=r"^down$"):
        snapshot.must_read(with_answer(path, answer), ["Pod", "ResourceClaim"])


@pytest.mark.parametrize("path", ["/api/v1/pods", CLAIMS])
def test_a_list_that_the_api_server_refuses(path: str) -> None:
    message = 'pods is forbidden: User "me" cannot list resource "pods"'
    api = with_answer(path, Answer(403, json.dumps({"message": message}).encode()))
    with pytest.raises(RefusedError, match=f"^{message}$"):
        snapshot.read(api, ["Pod", "ResourceClaim"])


def test_a_kind_with_its_path() -> None:
    path = "/apis/resource.k8s.io/v1/devicetaintrules"
    api = Pages({"/api/v1/pods": [page()], path: [page("r")]})
    assert snapshot.read(api, ["Pod", f"DeviceTaintRule={path}"]) == found("r", kind="DeviceTaintRule")


def test_requests_have_been_repeated_already_while_the_api_server_is_busy() -> None:
    api = Pages({"/api/v1/pods": [Answer(429, b'{"message": "busy"}')]})
    assert snapshot.read(api, ["Pod"]) is None
    assert len(api.asked) == 1


def test_equal_values_of_devices_are_one_object() -> None:
    def of_slice(name: str, **attributes: Any) -> dict[str, Any]:
        device = {"name": "gpu-0", "attributes": attributes, "capacity": {"memory": {"value": "80Gi"}}}
        return {"metadata": {"name": name}, "spec": {"devices": [device]}}

    model, modes = {"string": "H100"}, {"strings": ["a", "b"]}
    items = [of_slice("s", model=model, modes=modes), of_slice("t", model=model, modes=modes, other={"int": 1})]
    counters = {"metadata": {"name": "u"}, "spec": {"sharedCounters": []}}
    pages = [
        Answer(200, json.dumps({"metadata": {"resourceVersion": "7", **more}, "items": content}).encode())
        for more, content in (({"continue": "x"}, items[:1]), ({}, [items[1], counters]))
    ]
    read = snapshot.read(Pages({"/apis/resource.k8s.io/v1/resourceslices": [*pages]}), ["ResourceSlice"]) or []
    assert read == [entry | {"kind": "ResourceSlice"} for entry in (*items, counters)]
    first, second = (entry["spec"]["devices"][0] for entry in read[:2])
    assert first["capacity"]["memory"] is second["capacity"]["memory"]
    assert all(first["attributes"][name] is second["attributes"][name] for name in ("model", "modes"))
