"""Merge patches from the live objects of a fleet to the wanted ones."""

from collections.abc import Iterable, Iterator

from topology.kubernetes.objects import Manifest, Object

FIELD_MANAGER = "kwok-dra"

TTL = "node.alpha.kubernetes.io/ttl"
"""An annotation of KWOK's example nodes that the TTL controller of an existing cluster overwrites."""

KUBERNETES_TAINTS = "node.kubernetes.io/"
"""The prefix of the keys of taints that Kubernetes' own controllers add."""


def part_of_patch(patch: Manifest, *keys: str) -> Manifest:
    """Return the parts of a patch with these keys that are not empty."""
    return {key: patch[key] for key in keys if patch.get(key)}


def node_patch(live: Object, wanted: Manifest) -> Manifest:
    """Return the merge patch for a live Node, with empty parts where it is as wanted."""
    metadata = {
        field: changes
        for field in ("annotations", "labels")
        if (changes := _changes(live["metadata"].get(field) or {}, wanted["metadata"][field], _owned(live, field)))
    }
    return {
        "metadata": metadata,
        "spec": _taints_patch(live["spec"].get("taints") or [], wanted["spec"].get("taints", [])),
        "status": _status_patch(live["status"], wanted["status"]),
    }


def _changes(live: Object, wanted: Object, ours: Iterable[str]) -> Manifest:
    changed = {key: value for key, value in wanted.items() if live.get(key) != value}
    changed |= {key: None for key in ours if key in live and key not in wanted}
    return {key: value for key, value in changed.items() if key != TTL}


def _owned(live: Object, field: str) -> Iterator[str]:
    """Yield the keys of the labels or annotations that the program manages."""
    for entry in live["metadata"].get("managedFields", []):
        if entry.get("manager") == FIELD_MANAGER:
            owned = entry["fieldsV1"].get("f:metadata", {}).get(f"f:{field}", {})
            yield from (key.removeprefix("f:") for key in owned)


def _taints_patch(live: Iterable[Object], wanted: list[Manifest]) -> Manifest:
    ours = {(taint["key"], taint["effect"]) for taint in wanted}
    theirs = [
        taint
        for taint in live
        if taint["key"].startswith(KUBERNETES_TAINTS) and (taint["key"], taint["effect"]) not in ours
    ]
    own = [_without_time(taint) for taint in live if taint not in theirs]
    return {} if own == wanted else {"taints": [*wanted, *theirs]}


def _status_patch(live: Object, wanted: Manifest) -> Manifest:
    """KWOK and the API server add to `nodeInfo`, only the program sets resources, and empty values are not stored."""
    patch: Manifest = {}
    for field, value in wanted.items():
        found = live.get(field)
        if not isinstance(value, dict):
            patch |= {field: value} if (found or None) != (value or None) else {}
        elif changes := _changes(found or {}, value, () if field == "nodeInfo" else found or {}):
            patch[field] = changes
    return patch


def slice_differs(live: Object, wanted: Manifest) -> bool:
    """Tell whether a live ResourceSlice differs from the wanted one, except in the times that the API server adds."""
    if live["metadata"].get("ownerReferences", []) != wanted["metadata"].get("ownerReferences", []):
        return True
    return bool(live["spec"] != wanted["spec"] and _without_times(live["spec"]) != wanted["spec"])


def _without_times(spec: Manifest) -> Manifest:
    """Remove the times at which devices were tainted, which the API server adds."""
    devices = [
        device | {"taints": [_without_time(taint) for taint in device["taints"]]} if "taints" in device else device
        for device in spec.get("devices", [])
    ]
    return spec | ({"devices": devices} if devices else {})


def _without_time(taint: Object) -> Manifest:
    return {key: value for key, value in taint.items() if key != "timeAdded"}


def slice_patch(live: Object, wanted: Manifest) -> Manifest:
    """Return the merge patch for a live ResourceSlice."""
    gone = {key: None for key in live["spec"] if key not in wanted["spec"]}
    owners = wanted["metadata"].get("ownerReferences")
    return {"metadata": {"ownerReferences": owners}, "spec": wanted["spec"] | gone}
