"""The status of the stack: which claim has which device."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pulumi

from cluster.api import snapshot
from cluster.api.api_server import ApiServer, RefusedError, UnreachableError
from cluster.fleet import drift
from cluster.fleet.drift import Drifts
from cluster.fleet.provisioning import provisioners
from cluster.fleet.standstill import Standstill
from cluster.fleet.waiting import settled_objects
from cluster.local import kwok_cluster
from cluster.local.errors import REPLACE, ClusterError
from components.cluster_base import ClusterComponent
from components.engine import sleep_until
from components.gpu_node_pool import GpuNodePool
from topology.kubernetes.objects import Object
from topology.schema.stack import Topology
from topology.status.expectations import expectation, not_ready, unfit
from topology.status.report import UNREACHABLE, Report, kinds, report

SECONDS_BETWEEN_TRIES = 0.2


class Part(Protocol):
    """A component that lists its resources."""

    resources: list[pulumi.CustomResource]


class ClaimStatus(pulumi.ComponentResource):
    """The live status of claims and pools, which every run reads after the workloads.

    It creates no resources. An update first repairs what somebody deleted or edited of objects with `provisioning:
    bulk`. Then it waits until every workload and all manifests are as expected, each for its `readyTimeoutSeconds`, or
    until nothing can change any more. A preview reports the current state; if the cluster cannot be reached, the report
    is empty and says so.

    Raises:
        pulumi.RunError: a workload is not as expected in time, with the reasons; or the cluster does not answer.
    """

    claims: pulumi.Output[Any]
    """One entry per claim that a pod uses; with more than a hundred claims, counts and the unsatisfied claims."""
    pools: pulumi.Output[list[dict[str, Any]]]
    """Per pool: name, nodes, devices, allocated, free; of several drivers, the counts of each."""
    leftovers: pulumi.Output[list[dict[str, Any]]]
    """Claims that no pod uses: name, namespace, state, why."""
    drift: pulumi.Output[list[dict[str, Any]]]
    """Objects that differ from what was created in bulk: kind, name, was (deleted or edited)."""
    preempted: pulumi.Output[list[dict[str, Any]]]
    """Pods that the scheduler has preempted: pod, namespace, workload, node, by."""
    summary: pulumi.Output[str]
    """The status in one line."""

    def __init__(
        self,
        topology: Topology,
        cluster: ClusterComponent,
        pools: Sequence[GpuNodePool],
        *,
        depends_on: Sequence[Part],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Read the status of `topology` in `cluster`, after `depends_on`."""
        super().__init__("kwok-dra:components:ClaimStatus", "claim-status", None, opts)
        batches = [pool.batches for pool in pools if pool.batches]
        known: pulumi.Output[dict[str, Any]] = pulumi.Output.all(
            kubeconfig=cluster.kubeconfig_path,
            generations=pulumi.Output.all(**{entry.pool: entry.generations for entry in batches}),
            # Unknown in a preview in which a resource does not exist yet: then there is nothing to read.
            ids=pulumi.Output.all(*(resource.id for part in depends_on for resource in part.resources)),
        )
        status: pulumi.Output[Report] = known.apply(
            lambda found: _in_thread(topology, Path(found["kubeconfig"]), found["generations"])
        )
        self.claims = status.apply(lambda found: found.claims)
        self.pools = status.apply(lambda found: found.pools)
        self.leftovers = status.apply(lambda found: found.leftovers)
        self.drift = status.apply(lambda found: found.drift)
        self.preempted = status.apply(lambda found: found.preempted)
        self.summary = status.apply(lambda found: found.summary)
        sleep_until(self.summary)
        self.register_outputs(
            {
                "claims": self.claims,
                "pools": self.pools,
                "leftovers": self.leftovers,
                "drift": self.drift,
                "preempted": self.preempted,
                "summary": self.summary,
            }
        )


async def _in_thread(topology: Topology, kubeconfig: Path, generations: Mapping[str, Mapping[str, int]]) -> Report:
    return await asyncio.to_thread(_status, topology, kubeconfig, generations)


def _status(topology: Topology, kubeconfig: Path, generations: Mapping[str, Mapping[str, int]]) -> Report:
    api = ApiServer(kubeconfig)
    try:
        if not pulumi.runtime.is_dry_run():
            kwok_cluster.settle(kubeconfig, topology.cluster.ready_timeout_seconds)
        return _read(topology, api, generations)
    except UnreachableError:
        return _without_answer(topology, api)
    except (RefusedError, ClusterError) as error:
        raise pulumi.RunError(str(error)) from None


def _read(topology: Topology, api: ApiServer, generations: Mapping[str, Mapping[str, int]]) -> Report:
    wanted = kinds(topology)
    objects: Sequence[Object] | None = _answered(api, wanted, topology.cluster.ready_timeout_seconds)
    if objects is None:
        return _without_answer(topology, api)
    drifts = drift.find(provisioners(topology, generations), objects)
    if pulumi.runtime.is_dry_run():
        return _report(topology, objects, drifts, "to be put right")
    if drift.heal(api, drifts):
        objects = snapshot.read(api, wanted)
    standstill = Standstill(topology.is_left_alone)
    objects = settled_objects(
        api,
        wanted,
        objects,
        [expectation(entry) for entry in topology.applied],
        unfit(topology),
        not_ready(topology),
        lambda text: pulumi.log.info(text, ephemeral=True),
        None if topology.cluster.existing else standstill,
    )
    if objects is None:
        return _without_answer(topology, api)
    found = _report(topology, objects, drifts, "put right", standstill.seconds)
    if found.unexpected:
        exited = kwok_cluster.exited_component_logs(topology.cluster.name)
        raise pulumi.RunError("\n".join([*found.unexpected, *map(_ended, exited)]))
    return found


def _answered(api: ApiServer, wanted: Sequence[str], seconds: float) -> Sequence[Object] | None:
    """Read the objects; in an update, wait for a cluster that somebody has just started again."""
    end = time.monotonic() + (0 if pulumi.runtime.is_dry_run() else seconds)
    while (objects := snapshot.read(api, wanted)) is None and time.monotonic() < end:
        time.sleep(SECONDS_BETWEEN_TRIES)
    return objects


def _without_answer(topology: Topology, api: ApiServer) -> Report:
    if pulumi.runtime.is_dry_run():
        return UNREACHABLE
    if existing := topology.cluster.existing:
        where = f"context {existing.context} in {existing.kubeconfig}"
        raise pulumi.RunError(f"the cluster of {where} no longer answers{_trouble(api)}")
    raise pulumi.RunError(
        f"cluster {topology.cluster.name} does not answer{_trouble(api)}. Run `pulumi up` again, which restarts what "
        f"has stopped. If that does not help, {REPLACE}"
    )


def _trouble(api: ApiServer) -> str:
    """Return why the cluster does not answer, if it still does not."""
    try:
        api.get("/readyz").checked()
    except (UnreachableError, RefusedError) as error:
        return f": {error}"
    return ""


def _report(topology: Topology, objects: Sequence[Object], drifts: Drifts, what: str, quiet: int = 0) -> Report:
    found = report(topology, objects, quiet)
    listed = drift.listed(drifts)
    if not listed:
        return found
    count = "1 object" if len(listed) == 1 else f"{len(listed)} objects"
    return found._replace(drift=listed, summary=f"{found.summary}, {count} {what}")


def _ended(log: str) -> str:
    return f"{Path(log).stem} has exited; its log is {log}. Run `pulumi up` again to restart it"
