"""Requests to a cluster's API server over connections that stay open: starting kubectl costs more than the request.

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
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock
from typing import Any, NamedTuple, Self, TypeVar
from urllib.parse import urlsplit

import urllib3
import yaml
from urllib3.exceptions import HTTPError, MaxRetryError, ReadTimeoutError

from cluster.api.credentials import Credentials, CredentialsError
from cluster.api.kubeconfig import KubeconfigError, current

CONNECTIONS = 8
"""The number of concurrent requests: more do not make an API server on a few cores any faster."""

SECONDS = 60
"""A cluster that takes longer than this to respond does not answer."""

BUSY = (429, 503)
"""The statuses after which a request is sent again."""

RETRIES = 5
RETRY_AFTER_SECONDS_MAX = 10
BACKOFF_SECONDS = 0.2
"""Without a `Retry-After`, urllib3 waits 0, 0.4, 0.8, 1.6 and 3.2 s between its tries."""

NODES = "/api/v1/nodes"
MERGE = "application/merge-patch+json"
CONFLICT, EXPIRED, FORBIDDEN, NOT_FOUND, UNAUTHORIZED = 409, 410, 403, 404, 401

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class UnreachableError(Exception):
    """The cluster does not answer."""


class RefusedError(Exception):
    """The API server refuses a request; the message is its own."""


@contextmanager
def errors_as_messages() -> Iterator[None]:
    """Exit with one message if the cluster does not answer or refuses a request."""
    try:
        yield
    except UnreachableError as error:
        sys.exit(f"the cluster does not answer: {error}")
    except RefusedError as error:
        sys.exit(str(error))


class Answer(NamedTuple):
    """A response of the API server: the HTTP status and a JSON object, or a message that says why there is none."""

    status: int
    data: bytes

    def checked(self, *expected: int) -> "Answer":
        """Return itself if the status means success or is `expected`.

        Raises:
            RefusedError: the status is any other.
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
        """The message of a Status, or the whole text if the response is not a Status."""
        try:
            return str(self.object["message"])
        except (ValueError, KeyError, TypeError):
            return self.data.decode(errors="replace").strip()


class ApiServer:
    """The API server that a kubeconfig names. Threads may share it."""

    def __init__(self, kubeconfig: Path | None = None, *, content: Mapping[str, Any] | None = None) -> None:
        """Use the current context of `kubeconfig`, by default the file in KUBECONFIG, from the first request on.

        `content` is a parsed kubeconfig and takes precedence over the file.
        """
        self._kubeconfig = kubeconfig
        self._content = content
        self._lock = Lock()
        self._open: _Server | None = None

    def close(self) -> None:
        """Close the connections, if any are open."""
        if self._open:
            self._open.connections.close()

    def get(self, path: str) -> Answer:
        """Read the object or list at `path`."""
        return self.send("GET", path)

    def send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, content_type: str = "application/json"
    ) -> Answer:
        """Send a request; send it again while the API server is too busy, and once if credentials have expired.

        A request whose connection breaks is repeated too, unless it is a POST.

        Raises:
            UnreachableError: there is no response.
        """
        text = None if body is None else json.dumps(body, separators=(",", ":"))
        server = self._server()
        answer = server.ask(method, path, text, content_type)
        if answer.status == UNAUTHORIZED and server.credentials.expire:
            answer = self._server(refused=server).ask(method, path, text, content_type)
        return answer

    def _server(self, refused: "_Server | None" = None) -> "_Server":
        """Return the one server of all threads; replace it if it is the one whose credentials were `refused`."""
        with self._lock:
            if self._open is None or self._open is refused:
                self._open = self._connect()
            return self._open

    def _connect(self) -> "_Server":
        file = self._kubeconfig or Path(os.environ.get("KUBECONFIG", ""))
        try:
            return _server(*current(self._content or yaml.safe_load(file.read_text())))
        except CredentialsError as error:
            raise UnreachableError(str(error)) from None
        except (OSError, LookupError, TypeError, ValueError, KubeconfigError, yaml.YAMLError) as error:
            raise UnreachableError(f"{'it' if self._content else file} does not say how to reach it: {error}") from None


def at_once(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
    """Call `function` with each of the `items` in CONNECTIONS threads, and return the results in order.

    After the first error no further calls start, and the error is raised.
    """
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        results = threads.map(function, items)
        try:
            return list(results)
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise


class _Retry(urllib3.Retry):
    """Retries as client-go does: what the API server is too busy for, and requests whose connection breaks.

    https://github.com/kubernetes/client-go/blob/v0.37.2/rest/with_retry.go
    """

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: urllib3.BaseHTTPResponse | None = None,
        error: Exception | None = None,
        *more: Any,
        **named: Any,
    ) -> Self:
        """Return what is left of the retries; a server that was silent for SECONDS is not asked again."""
        if isinstance(error, ReadTimeoutError):
            raise error
        return super().increment(method, url, response, error, *more, **named)


_RETRY = _Retry(
    RETRIES,
    connect=False,
    redirect=False,
    other=0,
    allowed_methods=None,
    status_forcelist=BUSY,
    raise_on_status=False,
    backoff_factor=BACKOFF_SECONDS,
    retry_after_max=RETRY_AFTER_SECONDS_MAX,
)
_RETRY_POST = _RETRY.new(read=False)


class _Server(NamedTuple):
    """Open connections, the prefix of all request paths, and the credentials of the user."""

    connections: urllib3.HTTPSConnectionPool
    path: str
    credentials: Credentials

    def ask(self, method: str, path: str, text: str | None, content_type: str) -> Answer:
        try:
            headers = {"Content-Type": content_type, **self.credentials.headers()}
            retries = _RETRY_POST if method == "POST" else _RETRY
            answer = self.connections.request(method, f"{self.path}{path}", body=text, headers=headers, retries=retries)
        except MaxRetryError as error:
            raise UnreachableError(str(error.reason)) from None
        except (HTTPError, CredentialsError) as error:
            raise UnreachableError(str(error)) from None
        return Answer(answer.status, answer.data)


def _server(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> _Server:
    address = urlsplit(cluster["server"])
    credentials = Credentials(user, cluster)
    # The name in the server's certificate may differ from the name in its address.
    name = {"server_hostname": cluster["tls-server-name"]} if cluster.get("tls-server-name") else {}
    connections = urllib3.HTTPSConnectionPool(
        address.hostname or "",
        address.port,
        maxsize=CONNECTIONS,
        block=True,
        timeout=SECONDS,
        ssl_context=_tls(cluster, credentials.certificate()),
        **name,
    )
    return _Server(connections, address.path.rstrip("/"), credentials)


def _tls(cluster: Mapping[str, str], certificate: str | None) -> ssl.SSLContext:
    """Trust only the cluster's certificate authority, if the kubeconfig has one, and present the user's certificate."""
    authority = cluster.get("certificate-authority-data")
    context = ssl.create_default_context(
        cafile=cluster.get("certificate-authority"), cadata=base64.b64decode(authority).decode() if authority else None
    )
    if certificate:
        with NamedTemporaryFile(
            "w", suffix=".pem"
        ) as file:  # ssl reads certificates from files only; this one has mode 0600
            file.write(certificate)
            file.flush()
            context.load_cert_chain(file.name)
    return context
