"""The workloads and manifests of a stack, in their order."""

import hashlib
from collections.abc import Sequence

import pulumi

from components.applied_manifests import AppliedManifests
from components.claim_workload import ClaimWorkload
from components.cluster_base import ClusterComponent
from components.shared_objects import SharedObjects
from topology.objects import kueue, namespaces
from topology.objects.priorities import outranked
from topology.schema.stack import Topology
from topology.schema.workloads import Workload, in_order
from topology.status.expectations import unfit


def create_all(
    topology: Topology, cluster: ClusterComponent, *, shared: SharedObjects, depends_on: Sequence[pulumi.Resource]
) -> list[ClaimWorkload | AppliedManifests]:
    """Create all workloads and manifests of `topology` after `depends_on`, each after those in its key `after`."""
    awaited = {name for entry in topology.applied for name in entry.after}
    conditions = {"KWOK_DRA_UNFIT": unfit(topology), "KWOK_DRA_STACK": _digest(topology)} if awaited else None
    alone, giving_way, queues = _alone(topology), outranked(topology), kueue.is_used(topology)
    claims = {("ResourceClaim", *name): made for name, made in shared.claims.items()}
    made: dict[str, ClaimWorkload | AppliedManifests] = {}
    for entry in in_order(topology.applied):
        earlier = [made[name].wait_command for name in entry.after]
        of_entry: dict[str, object] = {
            "KWOK_DRA_ALONE": None if topology.cluster.existing else entry.name in alone,
            "KWOK_DRA_GIVES_WAY": entry.name in giving_way,
            "KWOK_DRA_QUEUES": queues,
        }
        wait = conditions | of_entry if conditions and entry.name in awaited else None
        after = [*depends_on, *(command for command in earlier if command)]
        if isinstance(entry, Workload):
            used = [shared.claims[entry.namespace, claim.claim] for claim in entry.claims if claim.claim]
            used += [shared.priorities[name] for name in [entry.priority] if name in shared.priorities]
            made[entry.name] = ClaimWorkload(entry, cluster, shared=used, wait=wait, depends_on=after)
        else:
            made[entry.name] = AppliedManifests(
                entry,
                cluster,
                service_accounts=namespaces.service_accounts_of(entry, topology),
                claims=claims,
                wait=wait,
                depends_on=after,
            )
    return list(made.values())


def _alone(topology: Topology) -> set[str]:
    """Return the workloads and manifests for which an update waits while it creates or changes nothing else.

    All others come before or after them. There are none where other programs change the cluster, too.
    """
    before: dict[str, set[str]] = {}
    for entry in in_order(topology.applied):
        before[entry.name] = {entry.name}.union(*(before[name] for name in entry.after))
    alone = {name for name in before if all(name in before[other] or other in before[name] for other in before)}
    return alone if topology.is_left_alone else set()


def _digest(topology: Topology) -> str:
    """Return a digest of everything that affects allocation."""
    # Pydantic would warn of `mig: dynamic`, whose type it does not know.
    text = topology.model_dump_json(exclude={"cluster", "catalogue"}, warnings=False)
    return hashlib.sha256(text.encode()).hexdigest()
