"""What things are called in a twin: as in the dump, or by pseudonyms that are the same for the same dump."""

from collections.abc import Iterable
from typing import Any

from twin.labels import KeptLabels, is_public_taint

_OWN_DOMAIN = "twin"


class Names:
    """Gives names. A pseudonym is a kind and a number, in the order in which they are asked for."""

    def __init__(self, kept: bool) -> None:
        """Keep all names, or none."""
        self.kept = kept
        self._given: dict[str, dict[str, str]] = {}

    def of(self, kind: str, name: str) -> str:
        """Return what the thing of that kind is called."""
        if self.kept:
            return name
        given = self._given.setdefault(kind, {})
        return given.setdefault(name, f"{kind}-{len(given) + 1}")

    def give(self, kind: str, names: Iterable[str]) -> None:
        """Give pseudonyms to all of the names, in their order."""
        for name in names:
            self.of(kind, name)

    def label_key(self, key: str, labels: KeptLabels) -> str:
        """Return the key of a label of nodes."""
        return key if self.kept or labels.is_public(key) else f"{_OWN_DOMAIN}/{self.of('label', key)}"

    def label_value(self, key: str, value: str, labels: KeptLabels) -> str:
        """Return the value of a label of nodes."""
        if self.kept or labels.is_public(key) or value in ("", "true", "false"):
            return value
        return self.of("value", value)

    def taint(self, key: str, value: str, is_public: bool) -> tuple[str, str]:
        """Return key and value of a taint."""
        if self.kept or is_public:
            return key, value
        return f"{_OWN_DOMAIN}/{self.of('taint', key)}", value and self.of("value", value)

    def toleration(self, toleration: dict[str, Any]) -> dict[str, Any]:
        """Return a toleration of taints that are called as in the twin."""
        if "key" not in toleration:
            return toleration
        key, value = toleration["key"], toleration.get("value", "")
        key, value = self.taint(key, value, is_public_taint(key))
        return toleration | {"key": key} | ({"value": value} if value else {})
