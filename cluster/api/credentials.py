"""The credentials that the user of a kubeconfig presents to an API server.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/
"""

import base64
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PLUGIN_SECONDS = 60
"""The time limit of a credential plugin, which may have to ask a server of its own."""

Entry = Mapping[str, Any]


class CredentialsError(Exception):
    """There are no usable credentials; the message says why."""


class Credentials:
    """A client certificate, a token, a file that holds a token, or what a credential plugin prints."""

    def __init__(self, user: Entry, cluster: Entry) -> None:
        """Take the credentials of the `user` of a kubeconfig for its `cluster`, and run the plugin if there is one.

        Raises:
            CredentialsError: the plugin fails.
        """
        self._user = user
        self._printed = _run(user["exec"], cluster) if user.get("exec") else {}

    @property
    def expire(self) -> bool:
        """Whether new credentials may be valid after the API server has rejected these."""
        return bool(self._user.get("exec"))

    def certificate(self) -> str | None:
        """Return the client certificate and its key in PEM; None if there is none.

        Raises:
            CredentialsError: a file cannot be read.
        """
        if "clientCertificateData" in self._printed:
            return f"{self._printed['clientCertificateData']}\n{self._printed['clientKeyData']}"
        parts = [self._file("client-certificate"), self._file("client-key")]
        return "\n".join(part for part in parts if part) if all(parts) else None

    def headers(self) -> dict[str, str]:
        """Return the header with the token; a token file is read each time, as its content changes.

        Raises:
            CredentialsError: the token file cannot be read.
        """
        token = self._printed.get("token") or self._user.get("token")
        if not token and self._user.get("tokenFile"):
            token = _read(Path(self._user["tokenFile"])).strip()
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _file(self, name: str) -> str | None:
        if encoded := self._user.get(f"{name}-data"):
            return base64.b64decode(encoded).decode()
        return _read(Path(self._user[name])) if self._user.get(name) else None


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError as error:
        raise CredentialsError(f"{file} cannot be read: {error.strerror}") from None


def _run(plugin: Entry, cluster: Entry) -> Entry:
    """Return the status of the ExecCredential that a credential plugin prints.

    https://kubernetes.io/docs/reference/config-api/client-authentication.v1/
    """
    command = [str(plugin["command"]), *map(str, plugin.get("args") or [])]
    variables = {str(entry["name"]): str(entry["value"]) for entry in plugin.get("env") or []}
    info = {"KUBERNETES_EXEC_INFO": json.dumps(_info(plugin, cluster))}
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **variables, **info},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PLUGIN_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        hint = f" ({plugin['installHint']})" if plugin.get("installHint") else ""
        raise CredentialsError(f"the credential plugin {command[0]} does not run: {error}{hint}") from None
    if done.returncode:
        raise CredentialsError(
            f"the credential plugin {command[0]} exited with {done.returncode}: {done.stderr.strip()}"
        )
    try:
        status = json.loads(done.stdout)["status"]
    except (ValueError, LookupError, TypeError):
        status = None
    if not isinstance(status, dict) or not status.keys() & {"token", "clientCertificateData"}:
        raise CredentialsError(f"the credential plugin {command[0]} printed no credentials")
    return status


def _info(plugin: Entry, cluster: Entry) -> Entry:
    keys = ("server", "tls-server-name", "certificate-authority-data")
    spec: dict[str, Any] = {"interactive": False}
    if plugin.get("provideClusterInfo"):
        spec["cluster"] = {key: cluster[key] for key in keys if key in cluster}
    return {"apiVersion": plugin.get("apiVersion"), "kind": "ExecCredential", "spec": spec}
