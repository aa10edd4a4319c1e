"""Finds claims that were created for pods, but that no pod uses."""

from collections.abc import Container

from topology.kubernetes.naming import natural_key
from topology.kubernetes.objects import Maker, Object
from topology.schema.stack import Topology
from topology.status.live_objects import (
    EXTENDED_RESOURCES,
    LiveObjects,
    allocated_devices,
    claim_keys,
    claim_names,
    has_succeeded,
    owning_uids,
)
from topology.status.occupancy import PoolName


def leftovers(topology: Topology, live: LiveObjects) -> list[Object]:
    """Return the claims that no pod uses, sorted by namespace and name; in an existing cluster only the stack's."""
    used = {name for pod in live.pods for name in claim_keys(pod)}
    found = [
        claim
        for name, claim in sorted(live.claims.items(), key=lambda item: list(map(natural_key, item[0])))
        if owning_uids(claim)
        and name not in used
        and not any(_is_kept_for(pod, claim) for pod in live.owning_pods(claim))
    ]
    if not topology.cluster.existing:
        return found
    makers = {maker for applied in topology.applied for maker in applied.makers()}
    pools = {
        (driver, name) for pool in topology.pools.values() for driver in pool.drivers for name in pool.pool_names()
    }
    return [claim for claim in found if _belongs(claim, live, makers, pools)]


def _is_kept_for(pod: Object, claim: Object) -> bool:
    """Tell whether the claim is in order although its pod does not name it.

    The controller creates a claim before it writes its name into the pod's status. For a pod that has completed it may
    create another one, which it deletes itself.
    https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/controller/resourceclaim/controller.go
    """
    annotations = claim["metadata"].get("annotations", {})
    name_in_pod = annotations.get("resource.kubernetes.io/pod-claim-name", EXTENDED_RESOURCES)
    return has_succeeded(pod) or claim_names(pod).get(name_in_pod) == ""


def _belongs(claim: Object, live: LiveObjects, makers: Container[Maker], pools: Container[PoolName]) -> bool:
    """Tell whether a claim is of these `makers`: by its pod or, when that is gone, by a device in these `pools`."""
    if pods := live.owning_pods(claim):
        return any(maker in makers for pod in pods for maker in live.makers_of(pod))
    return any((result["driver"], result["pool"]) in pools for result in allocated_devices(claim))
