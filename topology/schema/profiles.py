"""Profiles of a device model: what other releases and options of its driver publish, as models of their own."""

from collections.abc import Mapping
from typing import Any

SEPARATOR = "@"
"""Between the names of a model and its profile, as in `h100@25.12`."""


def expanded(written: Mapping[str, Any], models: Mapping[str, Any]) -> dict[str, Any]:
    """Return, by name, the models that the profiles of the `written` entries make; they are still to be validated.

    `models` are the valid models of these entries. What a profile leaves as it is does not have to be validated again.
    """
    return {
        f"{name}{SEPARATOR}{profile}": _merged(_kept(written[name], model, changes), changes)
        for name, model in models.items()
        for profile, changes in model.profiles.items()
    }


def without(known: Mapping[str, Any], replaced: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `known` models without those that profiles of the `replaced` ones made."""
    return {name: model for name, model in known.items() if name.partition(SEPARATOR)[0] not in replaced}


def base_names(names: Mapping[str, Any]) -> list[str]:
    """Return the names that are not those of a profile's model, in order."""
    return [name for name in names if SEPARATOR not in name]


def profiles_of(name: str, names: Mapping[str, Any]) -> list[str]:
    """Return the profiles of the model `name`."""
    prefix = f"{name}{SEPARATOR}"
    return [other.removeprefix(prefix) for other in names if other.startswith(prefix)]


def _kept(entry: Mapping[str, Any], model: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
    valid = {key: getattr(model, key) for key in ("mig", "node") if key not in changes}
    return {key: value for key, value in entry.items() if key != "profiles"} | {"attributes": model.attributes} | valid


def _merged(written: Any, changes: Any) -> Any:
    """Return `written` with `changes`: mappings are merged, null removes a key, and everything else is replaced."""
    if not (isinstance(written, Mapping) and isinstance(changes, Mapping)):
        return changes
    kept = {key: value for key, value in written.items() if key not in changes}
    return kept | {key: _merged(written.get(key), value) for key, value in changes.items() if value is not None}
