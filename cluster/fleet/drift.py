"""Finds nodes, slices and pods with `provisioning: bulk` that somebody has deleted or edited, and restores them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from cluster.api.api_server import ApiServer, at_once
from cluster.fleet.provisioning import Drift, Provisioner
from topology.kubernetes.objects import Object, key

Drifts: TypeAlias = Mapping[Provisioner, Sequence[Drift]]


def find(provisioners: Iterable[Provisioner], objects: Iterable[Object]) -> Drifts:
    """Return which of the live `objects` differ from what the provisioners created, or are missing."""
    live = {(entry["kind"], *key(entry)): entry for entry in objects}
    return {provisioner: list(provisioner.drift(live)) for provisioner in provisioners}


def heal(api: ApiServer, drifts: Drifts) -> bool:
    """Restore all objects, and return whether there were any to restore."""
    work = dict.fromkeys((provisioner, entry.made_as) for provisioner, found in drifts.items() for entry in found)
    at_once(lambda entry: entry[0].reconcile(api, entry[1]), work)
    return bool(work)


def listed(drifts: Drifts) -> list[dict[str, str]]:
    """Return the entries of the stack's output `drift`."""
    found = [entry for entries in drifts.values() for entry in entries]
    return [{"kind": entry.kind, "name": entry.name, "was": entry.was} for entry in sorted(found)]
