"""A cluster's API server, over connections that stay open: a kubectl for each request would cost more than the request.

https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

import base64
import json
import os
import ssl
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import urllib3
import yaml

CONNECTIONS = 8
"""So many requests are under way at the same time: more do not make an API server on a few cores any faster."""

SECONDS = 60
"""An answer takes no longer, or the cluster does not answer."""

NODES = "/api/v1/nodes"
MERGE = "application/merge-patch+json"
CONFLICT, EXPIRED, NOT_FOUND = 409, 410, 404

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class UnreachableError(Exception):
    """The cluster does not answer."""


class RefusedError(Exception):
    """The API server does not do what it is asked for; the message has its own words."""


class Answer(NamedTuple):
    """What the API server says: the HTTP status, and an object in JSON or why there is none."""

    status: int
    data: bytes

    def checked(self, *expected: int) -> "Answer":
        """Return itself if the status is that of a success, or one of those `expected`.

        Raises:
            RefusedError: it is another one.
        """
        if self.status < 300 or self.status in expected:
            return self
        raise RefusedError(self._message() or f"the API server answered with status {self.status}")

    @property
    def object(self) -> Any:
        """The object."""
        return json.loads(self.data)

    def _message(self) -> str:
        """Return the message of a Status, or whatever text there is instead."""
        try:
            return str(self.object["message"])
        except (ValueError, KeyError, TypeError):
            return self.data.decode(errors="replace").strip()


class ApiServer:
    """The API server that a kubeconfig names."""

    def __init__(self, kubeconfig: Path | None = None) -> None:
        """Take the current context of `kubeconfig`, or of the file that the environment names, when it is needed."""
        self._kubeconfig = kubeconfig

    @cached_property
    def _connections(self) -> urllib3.HTTPSConnectionPool:
        file = self._kubeconfig or Path(os.environ["KUBECONFIG"])
        try:
            cluster, user = _current(yaml.safe_load(file.read_text()))
            address = urlsplit(cluster["server"])
            trust = _tls(cluster, user)
        except (OSError, LookupError, TypeError, ValueError, yaml.YAMLError) as error:
            raise UnreachableError(f"{file} does not say how to reach it: {error}") from None
        return urllib3.HTTPSConnectionPool(
            address.hostname or "",
            address.port,
            maxsize=CONNECTIONS,
            block=True,
            timeout=SECONDS,
            retries=False,
            ssl_context=trust,
        )

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    def get(self, path: str) -> Answer:
        """Read what is at `path`."""
        return self.send("GET", path)

    def send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, content_type: str = "application/json"
    ) -> Answer:
        """Send a request.

        Raises:
            UnreachableError: there is no answer.
        """
        text = None if body is None else json.dumps(body, separators=(",", ":"))
        try:
            answer = self._connections.request(method, path, body=text, headers={"Content-Type": content_type})
        except urllib3.exceptions.HTTPError as error:
            raise UnreachableError(str(error)) from None
        return Answer(answer.status, answer.data)


def at_once(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
    """Return what `function` makes of each of the `items`, as many of them at the same time as there are connections.

    The first error ends it: what has not begun by then is not done.
    """
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        results = threads.map(function, items)
        try:
            return list(results)
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def _current(content: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the cluster and the user of the current context."""

    def named(kind: str, name: str) -> dict[str, Any]:
        (found,) = (entry[kind] for entry in content[f"{kind}s"] if entry["name"] == name)
        return dict(found)

    context = named("context", content["current-context"])
    return named("cluster", context["cluster"]), named("user", context["user"])


def _tls(cluster: Mapping[str, str], user: Mapping[str, str]) -> ssl.SSLContext:
    """Trust the cluster's own authority alone, and say who we are."""
    context = ssl.create_default_context(
        cafile=cluster.get("certificate-authority"), cadata=_decoded(cluster, "certificate-authority-data")
    )
    with NamedTemporaryFile("w", suffix=".pem") as file:  # which only we can read; ssl takes nothing but files
        for name in ("client-certificate", "client-key"):
            file.write(_decoded(user, f"{name}-data") or Path(user[name]).read_text())
        file.flush()
        context.load_cert_chain(file.name)
    return context


def _decoded(entry: Mapping[str, str], name: str) -> str | None:
    return base64.b64decode(entry[name]).decode() if name in entry else None
