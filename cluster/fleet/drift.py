"""What somebody has done to nodes, slices and pods with `provisioning: bulk`, and how it is put right."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from cluster.api.api_server import ApiServer, at_once
from cluster.fleet.provisioning import BarePods, Drift, Fleet
from topology.kubernetes.objects import Object, key

Drifts: TypeAlias = Mapping[Fleet | BarePods, Sequence[Drift]]


def find(makers: Iterable[Fleet | BarePods], objects: Iterable[Object]) -> Drifts:
    """Return what is not as it was made among the live `objects`, by what made it."""
    live = {(entry["kind"], *key(entry)): entry for entry in objects}
    return {maker: list(maker.drift(live)) for maker in makers}


def heal(api: ApiServer, drifts: Drifts) -> bool:
    """Put everything right, and tell whether there was anything to do."""
    work = dict.fromkeys((maker, entry.made_as) for maker, found in drifts.items() for entry in found)
    at_once(lambda entry: entry[0].reconcile(api, entry[1]), work)
    return bool(work)


def listed(drifts: Drifts) -> list[dict[str, str]]:
    """Return an entry for each object, as the stack's output has it."""
    found = [entry for entries in drifts.values() for entry in entries]
    return [{"kind": entry.kind, "name": entry.name, "was": entry.was} for entry in sorted(found)]
