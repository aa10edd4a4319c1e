"""The answer of the stack: which claim got which device."""

import json
from collections.abc import Sequence
from typing import Any

import pulumi
from pulumi_command import local

from components.kwok_cluster import KwokCluster
from topology.configuration import Topology
from topology.status import KINDS, UNREACHABLE, Report, report

READ = f"""
for workload in $KWOK_DRA_WAIT_FOR; do
    kubectl rollout status "deployment/${{workload%=*}}" --timeout "${{workload#*=}}s" >/dev/null 2>&1 || true
done
kubectl get {",".join(KINDS)} --all-namespaces --output json --request-timeout 60s 2>/dev/null || echo unreachable
"""


class ClaimStatus(pulumi.ComponentResource):
    """The live status of claims and pools, read with kubectl after the workloads, on every run and without a resource.

    An update waits until the pods of every workload run, each for its `readyTimeoutSeconds`; a preview tells what is
    there. A cluster that cannot be reached, in a preview say, gives an empty report that says so.

    Raises:
        pulumi.RunError: pods of a workload do not run in time, and which and why; or the cluster does not answer.
    """

    claims: pulumi.Output[Any]
    """One entry per claim that a pod uses; past a hundred claims, counts and the unsatisfied ones."""
    pools: pulumi.Output[list[dict[str, Any]]]
    """Per pool: name, nodes, devices, allocated, free."""
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
        waits = [f"{workload.name}={workload.ready_timeout_seconds}" for workload in topology.workloads]
        read = local.run_output(
            command=READ,
            environment=cluster.kubectl_environment.apply(
                lambda kubectl: kubectl | {"KWOK_DRA_WAIT_FOR": "" if pulumi.runtime.is_dry_run() else " ".join(waits)}
            ),
            logging=local.Logging.NONE,
            opts=pulumi.InvokeOutputOptions(parent=self, depends_on=list(depends_on)),
        )
        status = read.apply(lambda result: _to_report(topology, result.stdout))
        self.claims = status.apply(lambda found: found.claims)
        self.pools = status.apply(lambda found: found.pools)
        self.summary = status.apply(lambda found: found.summary)
        self.register_outputs({"claims": self.claims, "pools": self.pools, "summary": self.summary})


def _to_report(topology: Topology, stdout: str) -> Report:
    reachable = not stdout.endswith("unreachable")
    found = report(topology, json.loads(stdout)["items"]) if reachable else UNREACHABLE
    if pulumi.runtime.is_dry_run():
        return found
    if not reachable:
        raise pulumi.RunError(_unreachable(topology.cluster.name))
    if found.not_running:
        raise pulumi.RunError("\n".join(found.not_running))
    return found


def _unreachable(cluster: str) -> str:
    return (
        f"cluster {cluster} does not answer; after a restart of the machine its processes are gone. Start it again "
        f"with `kwokctl start cluster --name {cluster}`, or replace it and all in it with "
        "`pulumi up --replace '**command:local:Command**'`"
    )
