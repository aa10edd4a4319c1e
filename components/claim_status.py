"""The answer of the stack: which claim got which device."""

import asyncio
import gc
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pulumi

from cluster.api import snapshot
from cluster.api.api_server import ApiServer, RefusedError, UnreachableError
from cluster.fleet import drift
from cluster.fleet.drift import Drifts
from cluster.fleet.provisioning import makers
from cluster.fleet.waiting import settled_objects
from cluster.local import kwok_cluster
from components.cluster_base import ClusterComponent
from components.engine_idle import sleep_until
from components.gpu_node_pool import GpuNodePool
from topology.kubernetes.objects import Object
from topology.schema.stack import Existing, Topology
from topology.status.report import UNREACHABLE, Report, expectation, kinds, not_ready, report, unfit

SECONDS_BETWEEN_TRIES = 0.2


class Part(Protocol):
    """A component of which is known what it has made."""

    resources: list[pulumi.CustomResource]


class ClaimStatus(pulumi.ComponentResource):
    """The live status of claims and pools, read after the workloads, on every run and without a resource.

    An update first puts right what somebody has deleted or edited of pools with `provisioning: bulk`. Then it waits
    until every workload, manifests included, stands as it expects, each for its `readyTimeoutSeconds`; a preview tells
    what is there. A cluster that cannot be reached, in a preview say, gives an empty report that says so.

    Raises:
        pulumi.RunError: a workload does not stand as expected in time, and why; or the cluster does not answer.
    """

    claims: pulumi.Output[Any]
    """One entry per claim that a pod uses; past a hundred claims, counts and the unsatisfied ones."""
    pools: pulumi.Output[list[dict[str, Any]]]
    """Per pool: name, nodes, devices, allocated, free."""
    leftovers: pulumi.Output[list[dict[str, Any]]]
    """Claims that no pod uses: name, namespace, state, why."""
    drift: pulumi.Output[list[dict[str, Any]]]
    """Nodes and slices that were not as they had been made: kind, name, was (deleted or edited)."""
    summary: pulumi.Output[str]
    """One line."""

    def __init__(
        self,
        topology: Topology,
        cluster: ClusterComponent,
        pools: Sequence[GpuNodePool],
        *,
        depends_on: Sequence[Part],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Read the status of what `topology` describes in `cluster`, after `depends_on`."""
        super().__init__("kwok-dra:components:ClaimStatus", "claim-status", None, opts)
        batches = [pool.batches for pool in pools if pool.batches]
        known: pulumi.Output[dict[str, Any]] = pulumi.Output.all(
            kubeconfig=cluster.kubeconfig_path,
            generations=pulumi.Output.all(**{made.pool: made.generations for made in batches}),
            # In a preview unknown where a resource is still to be made: then there is nothing to read yet.
            made=pulumi.Output.all(*(resource.id for part in depends_on for resource in part.resources)),
        )
        status: pulumi.Output[Report] = known.apply(
            lambda found: _in_thread(topology, Path(found["kubeconfig"]), found["generations"])
        )
        self.claims = status.apply(lambda found: found.claims)
        self.pools = status.apply(lambda found: found.pools)
        self.leftovers = status.apply(lambda found: found.leftovers)
        self.drift = status.apply(lambda found: found.drift)
        self.summary = status.apply(lambda found: found.summary)
        sleep_until(self.summary)
        self.register_outputs(
            {
                "claims": self.claims,
                "pools": self.pools,
                "leftovers": self.leftovers,
                "drift": self.drift,
                "summary": self.summary,
            }
        )


async def _in_thread(topology: Topology, kubeconfig: Path, generations: Mapping[str, Mapping[str, int]]) -> Report:
    gc.disable()  # What is read of a large fleet is no garbage, but would be looked through again and again.
    return await asyncio.to_thread(_status, topology, kubeconfig, generations)


def _status(topology: Topology, kubeconfig: Path, generations: Mapping[str, Mapping[str, int]]) -> Report:
    api = ApiServer(kubeconfig)
    try:
        return _read(topology, api, generations)
    except UnreachableError:
        return _without_answer(topology, api)
    except RefusedError as error:
        raise pulumi.RunError(str(error)) from None


def _read(topology: Topology, api: ApiServer, generations: Mapping[str, Mapping[str, int]]) -> Report:
    wanted = kinds(topology)
    objects: Sequence[Object] | None = _answered(api, wanted, topology.cluster.ready_timeout_seconds)
    if objects is None:
        return _without_answer(topology, api)
    drifts = drift.find(makers(topology, generations), objects)
    if pulumi.runtime.is_dry_run():
        return _report(topology, objects, drifts, "to be put right")
    if drift.heal(api, drifts):
        objects = snapshot.read(api, wanted)
    objects = settled_objects(
        api,
        wanted,
        objects,
        [expectation(entry) for entry in topology.applied],
        unfit(topology),
        not_ready(topology),
        lambda text: pulumi.log.info(text, ephemeral=True),
    )
    if objects is None:
        return _without_answer(topology, api)
    found = _report(topology, objects, drifts, "put right")
    if found.unexpected:
        raise pulumi.RunError("\n".join([*found.unexpected, *map(_ended, kwok_cluster.ended(topology.cluster.name))]))
    return found


def _answered(api: ApiServer, wanted: Sequence[str], seconds: float) -> Sequence[Object] | None:
    """Read the objects; in an update, with patience for a cluster that somebody has just started again."""
    end = time.monotonic() + (0 if pulumi.runtime.is_dry_run() else seconds)
    while (objects := snapshot.read(api, wanted)) is None and time.monotonic() < end:
        time.sleep(SECONDS_BETWEEN_TRIES)
    return objects


def _without_answer(topology: Topology, api: ApiServer) -> Report:
    if pulumi.runtime.is_dry_run():
        return UNREACHABLE
    existing, trouble = topology.cluster.existing, _trouble(api)
    raise pulumi.RunError(_no_answer(existing, trouble) if existing else _unreachable(topology.cluster.name, trouble))


def _trouble(api: ApiServer) -> str:
    """Return what is wrong, if it still is."""
    try:
        api.get("/readyz").checked()
    except (UnreachableError, RefusedError) as error:
        return f": {error}"
    return ""


def _report(topology: Topology, objects: Sequence[Object], drifts: Drifts, what: str) -> Report:
    found = report(topology, objects)
    listed = drift.listed(drifts)
    if not listed:
        return found
    count = "1 object" if len(listed) == 1 else f"{len(listed)} objects"
    return found._replace(drift=listed, summary=f"{found.summary}, {count} {what}")


def _ended(log: str) -> str:
    return f"{Path(log).stem} has ended, its log is {log}. Run `pulumi up` again, which starts it"


def _unreachable(cluster: str, trouble: str) -> str:
    return (
        f"cluster {cluster} does not answer{trouble}. Run `pulumi up` again, which starts what has ended. "
        f"If that does not help, {kwok_cluster.REPLACE}"
    )


def _no_answer(existing: Existing, trouble: str) -> str:
    return f"the cluster of context {existing.context} in {existing.kubeconfig} does not answer any more{trouble}"
