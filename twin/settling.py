"""Decides which pods keep their nodes or devices, and who starts first, so that all comes to what it is in the dump."""

from collections.abc import Callable, Sequence

from pydantic import ValidationError

from topology.checks.outlook import outlook
from topology.kubernetes.objects import Key
from topology.schema.stack import Topology
from twin.configuration import Written
from twin.grouping import in_order
from twin.notes import Notes
from twin.placement import Kept
from twin.workloads import Workloads

PLACED_MAX = 300
"""At most so many pods are placed without being asked: almost each of them becomes a workload of its own."""

_LEVELS: dict[Kept, Sequence[Kept]] = {"": ("none", "nodes", "devices"), "nodes": ("devices",)}
"""What pods may have to keep in addition to what all pods keep."""

Claims = list[Written]


def settled(
    workloads: Workloads, stack: Callable[[Claims, list[Written]], Topology], kept: Kept, notes: Notes
) -> tuple[Claims, list[Written]]:
    """Return the shared claims and the workloads of the twin; `stack` returns the stack that has them.

    Where the scheduler's choices decide who runs and who waits, the pods that decide it become workloads of their own.
    If that is not enough, they keep their nodes, or even their devices.
    """
    levels = list(_LEVELS.get(kept, ()))
    placed: dict[Key, Kept] = {}
    while True:
        claims, groups = workloads.all(placed, kept)
        try:
            topology = stack(claims, [group.workload for group in groups])
        except ValidationError:  # The check of the stack says why.
            return claims, in_order(groups, {}, ())
        found = outlook(topology, {group.name: group.running for group in groups})
        deciding = set[str]().union(*found.undecided.values())
        pods = [pod.key for group in groups if group.name in deciding for pod in group.pods if pod.has_devices]
        if not pods or not levels or (levels[0] != "none" and len(pods) > PLACED_MAX):
            break
        placed |= dict.fromkeys(pods, levels.pop(0))
    for key in (key for key, level in placed.items() if level != "none"):
        notes.add("pods keep their nodes or devices, so that others run or wait as in the dump", key)
    for name in found.running:
        notes.add("workloads with pods that wait in the dump, but have room in the twin, are expected to run", name)
    if kept != "none" and pods:
        advice = "" if kept == "devices" else " (KEEP_PLACEMENT=devices keeps those of all pods)"
        note = "workloads whose pods may run or wait otherwise, as the scheduler may choose other devices"
        notes.add(f"{note}{advice}", *found.undecided)
    return claims, in_order(groups, found.order, found.running)
