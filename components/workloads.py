"""What runs in a stack, in its order: workloads, and what is in manifests."""

import hashlib
import json
from collections.abc import Sequence

import pulumi

from components.applied_manifests import AppliedManifests
from components.claim_workload import ClaimWorkload
from components.cluster_base import ClusterComponent
from components.shared_objects import SharedObjects
from topology.objects import namespaces
from topology.schema.stack import Topology
from topology.schema.workloads import Workload, in_order
from topology.status.report import unfit


def apply_all(
    topology: Topology, cluster: ClusterComponent, *, shared: SharedObjects, depends_on: Sequence[pulumi.Resource]
) -> list[ClaimWorkload | AppliedManifests]:
    """Create all workloads and manifests of `topology` after `depends_on`, each after those that it names."""
    awaited = {name for entry in topology.applied for name in entry.after}
    environment = _environment(topology) if awaited else None
    claims = {("ResourceClaim", *name): made for name, made in shared.claims.items()}
    made: dict[str, ClaimWorkload | AppliedManifests] = {}
    for entry in in_order(topology.applied):
        earlier = [made[name].settled for name in entry.after]
        wait = environment if entry.name in awaited else None
        after = [*depends_on, *(command for command in earlier if command)]
        if isinstance(entry, Workload):
            used = [shared.claims[entry.namespace, claim.claim] for claim in entry.claims if claim.claim]
            made[entry.name] = ClaimWorkload(entry, cluster, shared_claims=used, wait=wait, depends_on=after)
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


def _environment(topology: Topology) -> dict[str, str]:
    return {"KWOK_DRA_UNFIT": json.dumps(unfit(topology)), "KWOK_DRA_STACK": _digest(topology)}


def _digest(topology: Topology) -> str:
    """Return a text that is another one whenever something is that decides which claims get devices."""
    # `mig: dynamic` is not of the type that pydantic knows of, and warned of.
    text = topology.model_dump_json(exclude={"cluster", "catalogue"}, warnings=False)
    return hashlib.sha256(text.encode()).hexdigest()
