"""The bare pods of a large workload."""

import hashlib
import json
from collections.abc import Sequence

import pulumi
from pulumi_command import local

from cluster.fleet.provisioning import batches
from components.cluster_base import ClusterComponent
from components.command import command, life_cycle
from components.kubernetes_object import KubernetesObject
from topology.objects import pods
from topology.schema.workloads import Workload

NOT_OF_THE_PODS = ("replicas", "after", "expect", "readyTimeoutSeconds", "provisioning")
"""The keys of a workload whose change leaves its pods alone; each batch knows its own number of pods."""


def pod_batches(
    workload: Workload,
    cluster: ClusterComponent,
    *,
    parent: pulumi.Resource,
    claims: Sequence[KubernetesObject],
    depends_on: Sequence[pulumi.Resource],
) -> list[local.Command]:
    """Create a `command.local.Command` for each thousand pods of `workload`, which runs `commands/batch.py`.

    Its inputs are the workload as configured, and the numbers of its pods. A pod keeps the claims that it is created
    with, so the pods are created anew when one of `claims`, which include templates and groups, is replaced.
    """
    uids = pulumi.Output.all(*(claim.uid for claim in claims))
    content = uids.apply(lambda found: _digest([pods.pod(workload, workload.name), found]))
    written = {key: value for key, value in workload.written.items() if key not in NOT_OF_THE_PODS}
    return [
        command(
            f"{workload.name}-batch-{place}",
            {
                "KWOK_DRA_WORKLOAD": json.dumps(written),
                "KWOK_DRA_PODS": numbers,
                "KWOK_DRA_CONTENT": content,
                "KUBECONFIG": cluster.kubeconfig_path,
            },
            cluster.content(parent, [*depends_on, *claims], delete_before_replace=True),
            *life_cycle("batch"),
        )
        for place, numbers in enumerate(batches(workload.replicas))
    ]


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
