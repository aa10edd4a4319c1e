"""The answer of the stack: which claim got which device."""

import json
from collections.abc import Sequence
from typing import Any

import pulumi
from pulumi_command import local

from components.idle import sleep_until
from components.kwok_cluster import KwokCluster
from components.waiting import UNREACHABLE as UNREACHABLE_OUTPUT
from topology.configuration import Topology
from topology.status import UNREACHABLE, Report, expectation, kinds, not_ready, report, unfit


class ClaimStatus(pulumi.ComponentResource):
    """The live status of claims and pools, read with kubectl after the workloads, on every run and without a resource.

    An update waits until every workload, manifests included, stands as it expects, each for its `readyTimeoutSeconds`;
    a preview tells what is there. A cluster that cannot be reached, in a preview say, gives an empty report that says
    so.

    Raises:
        pulumi.RunError: a workload does not stand as expected in time, and why; or the cluster does not answer.
    """

    claims: pulumi.Output[Any]
    """One entry per claim that a pod uses; past a hundred claims, counts and the unsatisfied ones."""
    pools: pulumi.Output[list[dict[str, Any]]]
    """Per pool: name, nodes, devices, allocated, free."""
    leftovers: pulumi.Output[list[dict[str, Any]]]
    """Claims that no pod uses: name, namespace, state, why."""
    summary: pulumi.Output[str]
    """One line."""

    def __init__(
        self,
        topology: Topology,
        cluster: KwokCluster,
        *,
        depends_on: Sequence[pulumi.Resource],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Read the status of what `topology` describes in `cluster`, after `depends_on`."""
        super().__init__("kwok-dra:components:ClaimStatus", "claim-status", None, opts)
        waits = not pulumi.runtime.is_dry_run()
        environment = {
            "KWOK_DRA_EXPECTED": json.dumps([expectation(entry) for entry in topology.applied if waits]),
            "KWOK_DRA_KINDS": ",".join(kinds(topology)),
            "KWOK_DRA_UNFIT": json.dumps(unfit(topology)),
            "KWOK_DRA_NOT_READY": json.dumps(not_ready(topology) if waits else None),
        }
        read = local.run_output(
            command="exec python3 components/waiting.py",
            environment=cluster.kubectl_environment.apply(lambda kubectl: kubectl | environment),
            logging=local.Logging.STDERR,  # which says what it waits for
            opts=pulumi.InvokeOutputOptions(parent=self, depends_on=list(depends_on)),
        )
        status = read.apply(lambda result: _to_report(topology, result.stdout))
        self.claims = status.apply(lambda found: found.claims)
        self.pools = status.apply(lambda found: found.pools)
        self.leftovers = status.apply(lambda found: found.leftovers)
        self.summary = status.apply(lambda found: found.summary)
        sleep_until(self.summary)
        self.register_outputs(
            {"claims": self.claims, "pools": self.pools, "leftovers": self.leftovers, "summary": self.summary}
        )


def _to_report(topology: Topology, stdout: str) -> Report:
    reachable = not stdout.endswith(UNREACHABLE_OUTPUT)
    found = report(topology, json.loads(stdout)["items"]) if reachable else UNREACHABLE
    if pulumi.runtime.is_dry_run():
        return found
    if not reachable:
        raise pulumi.RunError(_unreachable(topology.cluster.name))
    if found.unexpected:
        raise pulumi.RunError("\n".join(found.unexpected))
    return found


def _unreachable(cluster: str) -> str:
    return (
        f"cluster {cluster} does not answer; after a restart of the machine its processes are gone. Start it again "
        f"with `kwokctl start cluster --name {cluster}`, or replace it and all in it with "
        "`pulumi up --replace '**command:local:Command**'`"
    )
