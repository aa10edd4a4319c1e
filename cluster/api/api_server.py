"""A cluster's API server, over connections that stay open: a kubectl for each request would cost more than the request.

https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

import base64
import json
import os
import ssl
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import urllib3
import yaml

from cluster.api.credentials import Credentials, CredentialsError
from cluster.api.kubeconfig import KubeconfigError, current

CONNECTIONS = 8
"""So many requests are under way at the same time: more do not make an API server on a few cores any faster."""

SECONDS = 60
"""An answer takes no longer, or the cluster does not answer."""

NODES = "/api/v1/nodes"
MERGE = "application/merge-patch+json"
CONFLICT, EXPIRED, FORBIDDEN, NOT_FOUND, UNAUTHORIZED = 409, 410, 403, 404, 401

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class UnreachableError(Exception):
    """The cluster does not answer."""


class RefusedError(Exception):
    """The API server does not do what it is asked for; the message has its own words."""


@contextmanager
def errors_as_messages() -> Iterator[None]:
    """End the program with one message where the cluster does not answer, or does not do what it is asked for."""
    try:
        yield
    except UnreachableError as error:
        sys.exit(f"the cluster does not answer: {error}")
    except RefusedError as error:
        sys.exit(str(error))


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
        raise RefusedError(self.message or f"the API server answered with status {self.status}")

    @property
    def object(self) -> Any:
        """The object."""
        return json.loads(self.data)

    @property
    def message(self) -> str:
        """The message of a Status, or whatever text there is instead."""
        try:
            return str(self.object["message"])
        except (ValueError, KeyError, TypeError):
            return self.data.decode(errors="replace").strip()


class ApiServer:
    """The API server that a kubeconfig names."""

    def __init__(self, kubeconfig: Path | None = None, *, content: Mapping[str, Any] | None = None) -> None:
        """Take the current context of `kubeconfig`, or of the file that the environment names, when it is needed.

        `content` is that of a kubeconfig which is in no file.
        """
        self._kubeconfig = kubeconfig
        self._content = content

    @cached_property
    def _server(self) -> "_Server":
        file = self._kubeconfig or Path(os.environ.get("KUBECONFIG", ""))
        try:
            return _server(*current(self._content or yaml.safe_load(file.read_text())))
        except CredentialsError as error:
            raise UnreachableError(str(error)) from None
        except (OSError, LookupError, TypeError, ValueError, KubeconfigError, yaml.YAMLError) as error:
            raise UnreachableError(f"{'it' if self._content else file} does not say how to reach it: {error}") from None

    def close(self) -> None:
        """Close the connections, if there are any."""
        if "_server" in self.__dict__:
            self._server.connections.close()

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
        answer = self._asked(method, path, text, content_type)
        if answer.status == UNAUTHORIZED and self._server.credentials.renew():
            answer = self._asked(method, path, text, content_type)
        return answer

    def _asked(self, method: str, path: str, text: str | None, content_type: str) -> Answer:
        server = self._server
        try:
            headers = {"Content-Type": content_type, **server.credentials.headers()}
            answer = server.connections.request(method, f"{server.path}{path}", body=text, headers=headers)
        except (urllib3.exceptions.HTTPError, CredentialsError) as error:
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


class _Server(NamedTuple):
    """How to talk to it: below which `path` its own begin, as who."""

    connections: urllib3.HTTPSConnectionPool
    path: str
    credentials: Credentials


def _server(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> _Server:
    address = urlsplit(cluster["server"])
    credentials = Credentials(user, cluster)
    # In a certificate there may be another name than that by which the server is reached.
    name = {"server_hostname": cluster["tls-server-name"]} if cluster.get("tls-server-name") else {}
    connections = urllib3.HTTPSConnectionPool(
        address.hostname or "",
        address.port,
        maxsize=CONNECTIONS,
        block=True,
        timeout=SECONDS,
        retries=False,
        ssl_context=_tls(cluster, credentials.certificate()),
        **name,
    )
    return _Server(connections, address.path.rstrip("/"), credentials)


def _tls(cluster: Mapping[str, str], certificate: str | None) -> ssl.SSLContext:
    """Trust the cluster's own authority alone, if it names one, and say who we are."""
    authority = cluster.get("certificate-authority-data")
    context = ssl.create_default_context(
        cafile=cluster.get("certificate-authority"), cadata=base64.b64decode(authority).decode() if authority else None
    )
    if certificate:
        with NamedTemporaryFile("w", suffix=".pem") as file:  # which only we can read; ssl takes nothing but files
            file.write(certificate)
            file.flush()
            context.load_cert_chain(file.name)
    return context
