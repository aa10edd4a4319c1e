"""What all rendered objects have in common."""

from collections.abc import Iterable
from typing import Any, TypeAlias

Manifest: TypeAlias = dict[str, Any]

RESOURCE_API_VERSION = "resource.k8s.io/v1"
"""What is rendered; `api_versions.convert` turns it into the older versions."""


def given(**fields: Any) -> Manifest:
    """Return the fields that hold something."""
    return {name: value for name, value in fields.items() if value}


def selectors(expressions: Iterable[str]) -> list[Manifest]:
    """Render CEL selectors of a class or request."""
    return [{"cel": {"expression": expression}} for expression in expressions]
