"""Kubeconfigs, as client-go reads them.

https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
"""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

Kubeconfig = dict[str, Any]

CLUSTER_KEYS = {
    "certificate-authority",
    "certificate-authority-data",
    "disable-compression",
    "extensions",
    "server",
    "tls-server-name",
}
USER_KEYS = {
    "client-certificate",
    "client-certificate-data",
    "client-key",
    "client-key-data",
    "exec",
    "extensions",
    "token",
    "tokenFile",
}
FILES = ("certificate-authority", "client-certificate", "client-key")
"""The keys that name files; each may be replaced by its `-data` key."""


class KubeconfigError(Exception):
    """A kubeconfig that is not usable; the message says why."""


def current(content: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the cluster and the user of the current context.

    Raises:
        KubeconfigError: `content` is not a kubeconfig, or has no current context.
    """
    if not isinstance(content, Mapping):
        raise KubeconfigError("it is not a kubeconfig")
    context = _named(content, "context", content.get("current-context"))
    return _named(content, "cluster", context.get("cluster")), _named(content, "user", context.get("user"))


def contexts(file: Path) -> list[str]:
    """Return the names of the contexts in `file`, in order.

    Raises:
        KubeconfigError: the file cannot be read, or is not a kubeconfig.
    """
    return [str(entry["name"]) for entry in _entries(_read(file), "context")]


def of_context(file: Path, context: str) -> Kubeconfig:
    """Return a kubeconfig with one context of `file` as its current context, and with certificates as data.

    `kubectl config view --minify --flatten --raw --context …` prints the same, except for the names of cluster and
    user: here they are that of the context.

    Raises:
        KubeconfigError: there is no such context, or it connects to its cluster in an unsupported way.
    """
    found = _read(file)
    cluster, user = current(found | {"current-context": context})
    _check_known("cluster", cluster, CLUSTER_KEYS)
    _check_known("user", user, USER_KEYS)
    if not str(cluster.get("server", "")).startswith("https://"):
        raise KubeconfigError(f"the server of context {context!r} must be an address that begins with https://")
    entries = {"cluster": _flat(cluster, file.parent), "user": _flat(user, file.parent)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        **{f"{kind}s": [{"name": context, kind: entry}] for kind, entry in entries.items()},
    }


def _read(file: Path) -> Kubeconfig:
    try:
        found = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise KubeconfigError(f"{file} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict) or not _entries(found, "context"):
        raise KubeconfigError(f"{file} is not a kubeconfig with contexts")
    return found


def _entries(content: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    found = content.get(f"{kind}s")
    entries = found if isinstance(found, list) else []
    return [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get(kind), dict)]


def _named(content: Mapping[str, Any], kind: str, name: object) -> dict[str, Any]:
    found = [entry[kind] for entry in _entries(content, kind) if entry.get("name") == name]
    if not found:
        raise KubeconfigError(f"there is no {kind} {name!r}")
    return dict(found[0])


def _check_known(kind: str, entry: Mapping[str, Any], known: set[str]) -> None:
    if unknown := sorted(key for key, value in entry.items() if value and key not in known):
        raise KubeconfigError(f"its {kind} has {', '.join(unknown)}, which is not supported: remove it")


def _flat(entry: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the entry with certificates as data, and with absolute paths of the token file and the plugin."""
    flat = {key: value for key, value in entry.items() if key not in FILES}
    for key in FILES:
        if entry.get(key) and not entry.get(f"{key}-data"):
            try:
                flat[f"{key}-data"] = base64.b64encode((folder / entry[key]).read_bytes()).decode()
            except OSError as error:
                raise KubeconfigError(f"its {key} {entry[key]!r} cannot be read: {error.strerror}") from None
    if entry.get("tokenFile"):
        flat["tokenFile"] = str((folder / entry["tokenFile"]).absolute())
    plugin = entry.get("exec")
    if isinstance(plugin, dict) and "/" in str(plugin.get("command")):  # PATH is searched for any other command.
        flat["exec"] = plugin | {"command": str((folder / plugin["command"]).absolute())}
    return flat
