"""Who we are to an API server: what the user of a kubeconfig says.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/
"""

import base64
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

PROGRAM_SECONDS = 60
"""A program that gives credentials takes no longer: it may have to ask a server of its own."""

Entry = Mapping[str, Any]


class CredentialsError(Exception):
    """There are none; the message says why."""


class Credentials:
    """A client's certificate, a token, a file that holds one, or a program that gives one of these."""

    def __init__(self, user: Entry, cluster: Entry) -> None:
        """Take what the `user` of a kubeconfig has, for that `cluster` of it; a program runs when it is needed."""
        self._user = user
        self._cluster = cluster
        self._given: Entry | None = None
        self._lock = Lock()

    def certificate(self) -> str | None:
        """Return the client's certificate and its key in PEM; None where there is none.

        Raises:
            CredentialsError: it cannot be had.
        """
        given = self._of_program()
        if "clientCertificateData" in given:
            return f"{given['clientCertificateData']}\n{given['clientKeyData']}"
        parts = [self._file("client-certificate"), self._file("client-key")]
        return "\n".join(part for part in parts if part) if all(parts) else None

    def headers(self) -> dict[str, str]:
        """Return the header with the token; a file's may be another one every time.

        Raises:
            CredentialsError: it cannot be had.
        """
        token = self._of_program().get("token") or self._user.get("token")
        if not token and self._user.get("tokenFile"):
            token = _read(Path(self._user["tokenFile"])).strip()
        return {"Authorization": f"Bearer {token}"} if token else {}

    def renew(self) -> bool:
        """Have the program asked again, if there is one: what it gave has expired."""
        with self._lock:
            self._given = None
        return bool(self._user.get("exec"))

    def _file(self, name: str) -> str | None:
        if encoded := self._user.get(f"{name}-data"):
            return base64.b64decode(encoded).decode()
        return _read(Path(self._user[name])) if self._user.get(name) else None

    def _of_program(self) -> Entry:
        """Return the status of the ExecCredential that the program prints; empty where there is no program.

        https://kubernetes.io/docs/reference/config-api/client-authentication.v1/
        """
        program = self._user.get("exec")
        if not program:
            return {}
        with self._lock:
            if self._given is None:
                self._given = _run(program, self._cluster)
            return self._given


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError as error:
        raise CredentialsError(f"{file} cannot be read: {error.strerror}") from None


def _run(program: Entry, cluster: Entry) -> Entry:
    command = [str(program["command"]), *map(str, program.get("args") or [])]
    variables = {str(entry["name"]): str(entry["value"]) for entry in program.get("env") or []}
    info = {"KUBERNETES_EXEC_INFO": json.dumps(_info(program, cluster))}
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **variables, **info},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PROGRAM_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        hint = f" ({program['installHint']})" if program.get("installHint") else ""
        raise CredentialsError(f"the program {command[0]} that gives credentials does not run: {error}{hint}") from None
    if done.returncode:
        raise CredentialsError(
            f"the program {command[0]} that gives credentials exited with {done.returncode}: {done.stderr.strip()}"
        )
    try:
        status = json.loads(done.stdout)["status"]
    except (ValueError, LookupError, TypeError):
        status = None
    if not isinstance(status, dict) or not status.keys() & {"token", "clientCertificateData"}:
        raise CredentialsError(f"the program {command[0]} gives no credentials")
    return status


def _info(program: Entry, cluster: Entry) -> Entry:
    keys = ("server", "tls-server-name", "certificate-authority-data")
    spec: dict[str, Any] = {"interactive": False}
    if program.get("provideClusterInfo"):
        spec["cluster"] = {key: cluster[key] for key in keys if key in cluster}
    return {"apiVersion": program.get("apiVersion"), "kind": "ExecCredential", "spec": spec}
