"""The bare pods of a large workload."""

import hashlib
import json
from collections.abc import Sequence

import pulumi
from pulumi_command import local

from cluster.fleet.provisioning import batches
from components.cluster_base import ClusterComponent
from components.command import program
from components.kubernetes_object import KubernetesObject
from topology.objects import pods
from topology.schema.workloads import Workload

APPLY = program("batch")

NOT_OF_THE_PODS = ("replicas", "after", "expect", "readyTimeoutSeconds", "provisioning")
"""What of a workload may change without its pods: how many there are, each batch knows by itself."""


def pod_batches(
    workload: Workload,
    cluster: ClusterComponent,
    *,
    parent: pulumi.Resource,
    claims: Sequence[KubernetesObject],
    depends_on: Sequence[pulumi.Resource],
) -> list[local.Command]:
    """Create a `command.local.Command` for each thousand pods of `workload`, which runs `commands/batch.py`.

    Its inputs are the workload as the configuration has it, and which of its pods they are. Pods have the `claims` and
    templates that there were when they were made: they are made anew with those.
    """
    uids = pulumi.Output.all(*(claim.uid for claim in claims))
    content = uids.apply(lambda found: _digest([pods.pod(workload, workload.name), found]))
    written = {key: value for key, value in workload.written.items() if key not in NOT_OF_THE_PODS}
    return [
        local.Command(
            f"{workload.name}-batch-{place}",
            create=f"{APPLY} create",
            update=f"{APPLY} update",
            delete=f"{APPLY} delete",
            environment={
                "KWOK_DRA_WORKLOAD": json.dumps(written),
                "KWOK_DRA_PODS": numbers,
                "KWOK_DRA_CONTENT": content,
                "KUBECONFIG": cluster.kubeconfig_path,
            },
            logging=local.Logging.STDERR,  # which says how far it is
            opts=cluster.content(parent, [*depends_on, *claims], delete_before_replace=True),
        )
        for place, numbers in enumerate(batches(workload.replicas))
    ]


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
