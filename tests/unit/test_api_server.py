"""Requests to an HTTPS server that authenticates its clients."""

import base64
import json
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import trustme
import urllib3
import yaml

from cluster.api import api_server
from cluster.api.api_server import CONNECTIONS, Answer, ApiServer, RefusedError, UnreachableError, at_once


class Handler(BaseHTTPRequestHandler):
    """Returns what it is asked. `/missing` does not exist; `/together` waits until all connections ask for it.

    `/busy/<status>/<count>/<seconds>` fails that often, `/broken/<count>` drops that many connections, and `/silent`
    drops one after half a second. A token that begins with `old` has expired.
    """

    protocol_version = "HTTP/1.1"
    together = threading.Barrier(CONNECTIONS, timeout=600)
    asked: Counter[str] = Counter()

    def answer(self) -> None:
        self.asked[self.path] += 1
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        _, kind, *numbers = self.path.split("/")
        if kind == "together":
            self.together.wait()
        if kind == "silent":
            time.sleep(0.5)
        if kind == "silent" or (kind == "broken" and self.asked[self.path] <= int(numbers[0])):
            self.close_connection = True
        elif kind == "busy" and self.asked[self.path] <= int(numbers[1]):
            self.say(int(numbers[0]), {"message": "it is busy"}, {"Retry-After": numbers[2]} if numbers[2] else {})
        else:
            self.echo()

    def echo(self) -> None:
        subject = dict(entry[0] for entry in (self.connection.getpeercert() or {}).get("subject", []))
        token = self.headers.get("Authorization")
        said = {
            "method": self.command,
            "path": self.path,
            "body": self.body,
            "type": self.headers.get("Content-Type"),
            "who": subject.get("commonName"),
            "token": token,
            "from": self.client_address[1],
        }
        missing = self.path.endswith("/missing")
        status = 401 if (token or "").startswith("Bearer old") else 404 if missing else 200
        self.say(status, {"message": "it is missing"} if missing else said, {})

    def say(self, status: int, content: dict[str, Any], headers: dict[str, str]) -> None:
        text = json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(text))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PATCH = do_DELETE = answer

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an authority, and what it has signed for a server and a client."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.crt"))
    for name in ("server", "client"):
        certificate = authority.issue_cert("127.0.0.1", common_name=name)
        certificate.cert_chain_pems[0].write_to_path(str(folder / f"{name}.crt"))
        certificate.private_key_pem.write_to_path(str(folder / f"{name}.key"))
    return folder


@pytest.fixture(scope="module")
def port(certificates: Path) -> Iterator[int]:
    """Return the port of a server that runs for the tests of this module."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
    context.load_verify_locations(certificates / "ca.crt")
    context.verify_mode = ssl.CERT_OPTIONAL
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def kubeconfig(
    folder: Path, certificates: Path, port: int, *, inline: bool = False, user: dict[str, Any] | None = None
) -> Path:
    """Write a kubeconfig with a context that is not the current one too; by default its user has a certificate."""

    def given(name: str, file: str) -> dict[str, str]:
        path = certificates / file
        return {f"{name}-data": base64.b64encode(path.read_bytes()).decode()} if inline else {name: str(path)}

    server = {"server": f"https://127.0.0.1:{port}"} | given("certificate-authority", "ca.crt")
    user = user or given("client-certificate", "client.crt") | given("client-key", "client.key")
    content = {
        "current-context": "this",
        "contexts": [
            {"name": "other", "context": {"cluster": "none", "user": "none"}},
            {"name": "this", "context": {"cluster": "c", "user": "u"}},
        ],
        "clusters": [{"name": "none", "cluster": {}}, {"name": "c", "cluster": server}],
        "users": [{"name": "u", "user": user}],
    }
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(content))
    return file


@pytest.fixture
def api(tmp_path: Path, certificates: Path, port: int) -> Iterator[ApiServer]:
    found = ApiServer(kubeconfig(tmp_path, certificates, port))
    yield found
    found.close()


@pytest.mark.parametrize("inline", [False, True])
def test_who_asks_and_what(tmp_path: Path, certificates: Path, port: int, inline: bool) -> None:
    api = ApiServer(kubeconfig(tmp_path, certificates, port, inline=inline))
    said = api.send("PATCH", "/a?b=c", {"d": 1}, "application/merge-patch+json").checked().object
    api.close()
    wanted = {"method": "PATCH", "path": "/a?b=c", "body": '{"d":1}', "type": "application/merge-patch+json"}
    assert wanted.items() <= said.items()
    assert said["who"] == "client"


def test_the_kubeconfig_is_that_of_the_environment(
    tmp_path: Path, certificates: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, certificates, port)))
    api = ApiServer()
    assert api.get("/a").object["method"] == "GET"
    api.close()


def asked(file: Path, path: str = "/a") -> dict[str, Any]:
    """Return what the server says of a request."""
    api = ApiServer(file)
    said: dict[str, Any] = api.get(path).checked().object
    api.close()
    return said


def test_a_token(tmp_path: Path, certificates: Path, port: int) -> None:
    said = asked(kubeconfig(tmp_path, certificates, port, user={"token": "secret"}))
    assert (said["token"], said["who"]) == ("Bearer secret", None)


def test_the_token_of_a_file_is_read_every_time(tmp_path: Path, certificates: Path, port: int) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    api = ApiServer(kubeconfig(tmp_path, certificates, port, user={"tokenFile": str(token)}))
    assert api.get("/a").object["token"] == "Bearer first"
    token.write_text("second\n")
    assert api.get("/a").object["token"] == "Bearer second"
    token.unlink()
    with pytest.raises(UnreachableError, match="token cannot be read: No such file"):
        api.get("/a")
    api.close()


def plugin(folder: Path, script: str, **more: Any) -> dict[str, Any]:
    """Write a credential plugin, and return a user who has it."""
    file = folder / "give"
    file.write_text(f"#!/bin/sh\necho run >>{folder}/runs\n{script}\n")
    file.chmod(0o755)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(file), **more}}


def test_a_plugin_prints_a_token_once(tmp_path: Path, certificates: Path, port: int) -> None:
    script = """echo "{\\"status\\": {\\"token\\": \\"$1-$NAME\\"}}" """
    user = plugin(tmp_path, script, args=["for"], env=[{"name": "NAME", "value": "me"}])
    api = ApiServer(kubeconfig(tmp_path, certificates, port, user=user))
    assert [api.get("/a").object["token"] for _ in range(3)] == ["Bearer for-me"] * 3
    assert (tmp_path / "runs").read_text() == "run\n"
    api.close()


def test_a_token_of_a_plugin_that_has_expired_is_renewed(tmp_path: Path, certificates: Path, port: int) -> None:
    script = f"""
    [ "$(wc -l <{tmp_path}/runs)" = 1 ] && token=old || token=new
    echo "{{\\"status\\": {{\\"token\\": \\"$token\\"}}}}"
    """
    said = asked(kubeconfig(tmp_path, certificates, port, user=plugin(tmp_path, script)))
    assert said["token"] == "Bearer new"


def test_a_plugin_prints_a_certificate_and_is_told_of_the_cluster(
    tmp_path: Path, certificates: Path, port: int
) -> None:
    status = {
        "clientCertificateData": (certificates / "client.crt").read_text(),
        "clientKeyData": (certificates / "client.key").read_text(),
    }
    (tmp_path / "answer").write_text(json.dumps({"status": status}))
    script = f"""echo "$KUBERNETES_EXEC_INFO" >{tmp_path}/info; cat {tmp_path}/answer"""
    user = plugin(tmp_path, script, provideClusterInfo=True)
    assert asked(kubeconfig(tmp_path, certificates, port, user=user))["who"] == "client"
    info = json.loads((tmp_path / "info").read_text())
    assert info["kind"] == "ExecCredential"
    assert info["spec"] == {"interactive": False, "cluster": {"server": f"https://127.0.0.1:{port}"}}


EXPIRES = """
sleep 0.2
[ "$(wc -l <{runs})" = 1 ] && token={first} || token=new
echo "{{\\"status\\": {{\\"token\\": \\"$token\\"}}}}"
"""
"""Prints `new` from the second run on."""


@pytest.mark.parametrize(("first", "runs"), [("good", 1), ("old", 2)])
def test_all_threads_share_one_client_and_one_run_of_the_plugin(
    tmp_path: Path, certificates: Path, port: int, monkeypatch: pytest.MonkeyPatch, first: str, runs: int
) -> None:
    connect = mock.Mock(side_effect=urllib3.HTTPSConnectionPool)
    monkeypatch.setattr(urllib3, "HTTPSConnectionPool", connect)
    script = EXPIRES.format(runs=tmp_path / "runs", first=first)
    api = ApiServer(kubeconfig(tmp_path, certificates, port, user=plugin(tmp_path, script)))
    found = {answer.object["token"] for answer in at_once(api.get, ["/together"] * CONNECTIONS)}
    api.close()
    assert found == {"Bearer good" if first == "good" else "Bearer new"}
    assert (tmp_path / "runs").read_text() == "run\n" * runs
    assert connect.call_count == runs


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo no >&2; exit 3", r"^the credential plugin .*give exited with 3: no$"),
        ("echo '{}'", "give printed no credentials$"),
        ("echo none", "give printed no credentials$"),
    ],
)
def test_a_plugin_that_prints_no_credentials(
    tmp_path: Path, certificates: Path, port: int, script: str, message: str
) -> None:
    with pytest.raises(UnreachableError, match=message):
        asked(kubeconfig(tmp_path, certificates, port, user=plugin(tmp_path, script)))


def test_a_plugin_that_does_not_exist(tmp_path: Path, certificates: Path, port: int) -> None:
    user = {"exec": {"command": "/none", "installHint": "get it there"}}
    with pytest.raises(UnreachableError, match=r"^the credential plugin /none does not run: .*\(get it there\)$"):
        asked(kubeconfig(tmp_path, certificates, port, user=user))


def test_a_server_below_a_path(tmp_path: Path, certificates: Path, port: int) -> None:
    file = kubeconfig(tmp_path, certificates, port)
    file.write_text(file.read_text().replace(f":{port}", f":{port}/k8s/clusters/c-1"))
    assert asked(file, "/a?b")["path"] == "/k8s/clusters/c-1/a?b"


def test_another_name_in_the_servers_certificate(tmp_path: Path, certificates: Path, port: int) -> None:
    file = kubeconfig(tmp_path, certificates, port)
    for name, is_right in (("127.0.0.1", True), ("other.example.com", False)):
        content = yaml.safe_load(file.read_text())
        content["clusters"][1]["cluster"] |= {"server": f"https://localhost:{port}", "tls-server-name": name}
        api = ApiServer(content=content)
        if is_right:
            assert api.get("/a").status == 200
        else:
            with pytest.raises(UnreachableError, match="certificate verify failed"):
                api.get("/a")
        api.close()


def test_connections_stay_open(api: ApiServer) -> None:
    assert len({api.get("/a").object["from"] for _ in range(5)}) == 1


def test_all_connections_are_used_at_once_and_no_more(api: ApiServer) -> None:
    ports = {api.object["from"] for api in at_once(api.get, ["/together"] * 3 * CONNECTIONS)}
    assert len(ports) == CONNECTIONS


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the pauses between tries, which take no time."""
    pauses: list[float] = []
    monkeypatch.setattr("urllib3.util.retry.time", SimpleNamespace(sleep=pauses.append))
    Handler.asked.clear()
    return pauses


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
def test_a_busy_api_server_is_asked_again_when_it_says(
    api: ApiServer, slept: list[float], method: str, status: int
) -> None:
    assert api.send(method, f"/busy/{status}/2/3", {}).object["method"] == method
    assert slept == [3, 3]


@pytest.mark.parametrize(("after", "pauses"), [("3600", [10] * 5), ("", [0.4, 0.8, 1.6, 3.2])])
def test_an_api_server_that_stays_busy_has_the_last_word(
    api: ApiServer, slept: list[float], after: str, pauses: list[float]
) -> None:
    path = f"/busy/429/100/{after}"
    with pytest.raises(RefusedError, match=r"^it is busy$"):
        api.get(path).checked()
    assert slept == pauses
    assert Handler.asked[path] == 6


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_a_request_whose_connection_breaks_is_repeated(api: ApiServer, slept: list[float], method: str) -> None:
    assert api.send(method, "/broken/3", {}).object["method"] == method
    with pytest.raises(UnreachableError, match=r"^\('Connection aborted\.', RemoteDisconnected"):
        api.send(method, "/broken/100", {})
    assert Handler.asked == {"/broken/3": 4, "/broken/100": 6}


def test_an_object_is_not_created_twice_when_its_connection_breaks(api: ApiServer, slept: list[float]) -> None:
    with pytest.raises(UnreachableError, match=r"^\('Connection aborted\.', RemoteDisconnected"):
        api.send("POST", "/broken/1", {})
    assert Handler.asked == {"/broken/1": 1}


def test_a_silent_api_server_is_asked_once(api: ApiServer, slept: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_server, "SECONDS", 0.1)
    with pytest.raises(UnreachableError, match=r"Read timed out\."):
        api.get("/silent")
    assert Handler.asked == {"/silent": 1}


def test_what_is_not_there(api: ApiServer) -> None:
    answer = api.get("/missing")
    assert answer.checked(404).status == 404
    with pytest.raises(RefusedError, match="it is missing"):
        answer.checked(409)


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"no JSON\n", "no JSON"), (b"[]", r"\[\]"), (b"{}", r"\{\}"), (b"", "the API server answered with status 500")],
)
def test_an_answer_that_is_no_status(data: bytes, message: str) -> None:
    with pytest.raises(RefusedError, match=f"^{message}$"):
        Answer(500, data).checked()


def test_a_cluster_whose_kubeconfig_is_gone(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError):
        ApiServer(tmp_path / "none").get("/a")


@pytest.mark.parametrize("content", ["", "current-context: ''\nclusters: []\ncontexts: []\nusers: []\n", "a: ["])
def test_a_kubeconfig_that_says_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "kubeconfig").write_text(content)
    with pytest.raises(UnreachableError, match="does not say how to reach it"):
        ApiServer(tmp_path / "kubeconfig").get("/a")


def test_a_kubeconfig_whose_certificates_are_gone(tmp_path: Path, certificates: Path, port: int) -> None:
    file = kubeconfig(tmp_path, certificates, port)
    file.write_text(file.read_text().replace(str(certificates), str(tmp_path)))
    with pytest.raises(UnreachableError):
        ApiServer(file).get("/a")


def test_a_cluster_that_does_not_answer(tmp_path: Path, certificates: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        api = ApiServer(kubeconfig(tmp_path, certificates, nobody.getsockname()[1]))
        with pytest.raises(UnreachableError):
            api.get("/a")


def test_somebody_elses_server_is_not_trusted(tmp_path: Path, certificates: Path, port: int) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    file = kubeconfig(tmp_path, certificates, port)
    file.write_text(file.read_text().replace(str(certificates / "ca.crt"), str(tmp_path / "ca.crt")))
    with pytest.raises(UnreachableError):
        ApiServer(file).get("/a")


def test_several_at_once_in_their_order() -> None:
    assert at_once(lambda number: number * 2, range(50)) == [number * 2 for number in range(50)]


def test_the_first_error_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is under way goes on until nothing waits any more."""
    ended = threading.Event()

    class Executor(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            ended.set()
            super().shutdown(wait, cancel_futures=cancel_futures)

    monkeypatch.setattr(api_server, "ThreadPoolExecutor", Executor)
    begun = []

    def fail(number: int) -> None:
        begun.append(number)
        if number == 3:
            raise ValueError(number)
        if number > 3:
            ended.wait()

    with pytest.raises(ValueError, match="3"):
        at_once(fail, range(1000))
    assert len(begun) <= 4 + CONNECTIONS
