"""The fields of ResourceClaims, their templates, DeviceClasses and of claims in pods: none must be misplaced.

https://github.com/kubernetes/api/blob/v0.37.2/resource/v1/types.go, and v1beta2 and v1beta1 beside it;
https://github.com/kubernetes/api/blob/v0.37.2/core/v1/types.go, PodResourceClaim.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from topology.kubernetes.api_versions import RESOURCE_API_VERSIONS

Fields = Mapping[str, Any]
"""The fields of an object, each with its own fields, or those of its list's entries; None if it may have any value."""

_SELECTION: Fields = {
    "deviceClassName": None,
    "selectors": {"cel": {"expression": None}},
    "allocationMode": None,
    "count": None,
    "tolerations": dict.fromkeys(("key", "operator", "value", "effect", "tolerationSeconds")),
    "capacity": {"requests": None},
    "derivedAttributes": {"name": None, "expression": None},
}
_EXACTLY: Fields = {**_SELECTION, "adminAccess": None}
_OPAQUE: Fields = {"opaque": {"driver": None, "parameters": None}}


def _claim_spec(version: str) -> Fields:
    exactly = _EXACTLY if version == "v1beta1" else {"exactly": _EXACTLY}
    devices: Fields = {
        "requests": {"name": None, **exactly, "firstAvailable": {"name": None, **_SELECTION}},
        "constraints": dict.fromkeys(("requests", "matchAttribute", "distinctAttribute")),
        "config": {"requests": None, **_OPAQUE},
    }
    return {"devices": devices}


def fields_of_spec(kind: str, version: str) -> Fields | None:
    """Return the fields of the `spec` of a kind of resource.k8s.io; None if they are not known here."""
    if version not in RESOURCE_API_VERSIONS:
        return None
    match kind:
        case "ResourceClaim":
            return _claim_spec(version)
        case "ResourceClaimTemplate":
            return {"metadata": None, "spec": _claim_spec(version)}
        case "DeviceClass":
            return {"selectors": _SELECTION["selectors"], "config": _OPAQUE, "extendedResourceName": None}
    return None


FIELDS_OF_POD: Fields = {
    "resourceClaims": dict.fromkeys(("name", "resourceClaimName", "resourceClaimTemplateName")),
}
"""Those of a pod's `spec` that are about claims; all its other fields are not known here."""


class UnknownField(NamedTuple):
    """A field that an object does not have, where it is, and the fields that the object has there.

    `owners` are those of these fields that have a field of this name themselves.
    """

    path: str
    name: str
    known: list[str]
    owners: list[str]


def unknown_fields(found: Any, fields: Fields, path: str) -> Iterator[UnknownField]:
    """Yield the fields of `found`, an object or a list of objects at `path`, that are none of `fields`."""
    if isinstance(found, list):
        for index, entry in enumerate(found):
            yield from unknown_fields(entry, fields, f"{path}[{index}]")
    elif isinstance(found, dict):
        for name, value in found.items():
            if name not in fields:
                owners = [known for known, nested in fields.items() if nested and name in nested]
                yield UnknownField(path, str(name), list(fields), owners)
            elif fields[name] is not None:
                yield from unknown_fields(value, fields[name], f"{path}.{name}")
