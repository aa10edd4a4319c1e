"""Names of a twin: those of the dump, or pseudonyms, which are always the same for the same dump."""

from collections.abc import Mapping
from typing import Any

from topology.kubernetes.objects import DEFAULT_NAMESPACE
from twin.labels import KeptLabels, is_public_taint
from twin.objects import Taint

_OWN_DOMAIN = "twin"


class Names:
    """Returns names. A pseudonym is a kind and a number; names are numbered in the order of the calls."""

    def __init__(self, kept: bool) -> None:
        """Keep all names, or replace all."""
        self.kept = kept
        self._given: dict[str, dict[str, str]] = {}

    def of(self, kind: str, name: str) -> str:
        """Return the twin's name of a thing of that kind."""
        if self.kept:
            return name
        given = self._given.setdefault(kind, {})
        return given.setdefault(name, f"{kind}-{len(given) + 1}")

    def label_key(self, key: str, labels: KeptLabels) -> str:
        """Return the twin's key of a node label."""
        return key if self.kept or labels.is_public(key) else f"{_OWN_DOMAIN}/{self.of('label', key)}"

    def label_value(self, key: str, value: str, labels: KeptLabels) -> str:
        """Return the twin's value of a node label."""
        if self.kept or labels.is_public(key) or value in ("", "true", "false"):
            return value
        return self.of("value", value)

    def labels(self, labels: Mapping[str, str], kept: KeptLabels) -> dict[str, str]:
        """Return node labels with the twin's keys and values."""
        return {self.label_key(key, kept): self.label_value(key, value, kept) for key, value in labels.items()}

    def namespace(self, name: str) -> str:
        """Return the twin's name of a namespace."""
        if name == DEFAULT_NAMESPACE:
            return name
        named = self.of("namespace", name)
        return f"twin-{named}" if named.startswith("kube-") else named

    def taint(self, taint: Taint) -> dict[str, str]:
        """Return a taint with the twin's key and value."""
        return self._key_and_value(taint.key, taint.value) | {"effect": taint.effect}

    def toleration(self, toleration: dict[str, Any]) -> dict[str, Any]:
        """Return a toleration with the twin's key and value."""
        if "key" not in toleration:
            return toleration
        return toleration | self._key_and_value(toleration["key"], toleration.get("value", ""))

    def _key_and_value(self, key: str, value: str) -> dict[str, str]:
        if not self.kept and not is_public_taint(key):
            key, value = f"{_OWN_DOMAIN}/{self.of('taint', key)}", value and self.of("value", value)
        return {"key": key} | ({"value": value} if value else {})
