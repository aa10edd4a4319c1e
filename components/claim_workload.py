"""A workload whose pods claim devices."""

import hashlib
import json
from collections.abc import Mapping, Sequence

import pulumi
from pulumi_command import local

from components.kubernetes_object import KubernetesObject
from components.kwok_cluster import KwokCluster
from topology import claims, pod_groups, pods
from topology.configuration import Topology
from topology.progress import Key
from topology.status import expectation, unfit
from topology.workloads import Workload, in_order


def claim_workloads(
    topology: Topology,
    cluster: KwokCluster,
    *,
    shared_claims: Mapping[Key, KubernetesObject],
    depends_on: Sequence[pulumi.Resource],
) -> list["ClaimWorkload"]:
    """Create all workloads of `topology` after `depends_on`, each after those that it names."""
    awaited = {name for workload in topology.workloads for name in workload.after}
    wait = {"KWOK_DRA_UNFIT": json.dumps(unfit(topology)), "KWOK_DRA_STACK": _digest(topology)}
    made: dict[str, ClaimWorkload] = {}
    for workload in in_order(topology.workloads):
        settled = [made[name].settled for name in workload.after]
        made[workload.name] = ClaimWorkload(
            workload,
            cluster,
            shared_claims=[shared_claims[workload.namespace, claim.claim] for claim in workload.claims if claim.claim],
            wait=wait if workload.name in awaited else None,
            depends_on=[*depends_on, *(command for command in settled if command)],
        )
    return list(made.values())


def _digest(topology: Topology) -> str:
    """Return a text that is another one whenever something is that decides which claims get devices."""
    return hashlib.sha256(topology.model_dump_json(exclude={"cluster", "catalogue"}).encode()).hexdigest()


class ClaimWorkload(pulumi.ComponentResource):
    """Fake pods with claims.

    It creates
    - one `ResourceClaimTemplate` per claim that is not a shared one;
    - the `PodGroup`, after them, if the pods are to be one;
    - the `Deployment`, `Job` or `Pod`s, after it. Pods and groups keep the claims they have when a template changes, so
      they are replaced together with it, and with a shared claim. `ClaimStatus` waits for them.
    - where others come after it, a `command.local.Command` that ends when the workload stands as expected. It runs
      again whenever the environment `wait` is another one.
    """

    templates: list[KubernetesObject]
    pod_groups: list[KubernetesObject]
    objects: list[KubernetesObject]
    settled: local.Command | None

    def __init__(
        self,
        workload: Workload,
        cluster: KwokCluster,
        *,
        shared_claims: Sequence[KubernetesObject] = (),
        wait: Mapping[str, str] | None = None,
        depends_on: Sequence[pulumi.Resource] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create `workload` in `cluster`, after `depends_on`: classes, devices, and what it comes after."""
        super().__init__("kwok-dra:components:ClaimWorkload", workload.name, None, opts)
        self.templates = [
            KubernetesObject(
                claims.resource_claim_template(workload, claim),
                cluster,
                parent=self,
                depends_on=depends_on,
            )
            for claim in workload.claims
            if not claim.claim
        ]
        self.pod_groups = [
            KubernetesObject(
                manifest,
                cluster,
                parent=self,
                depends_on=[*depends_on, *self.templates],
                replace_with=[*self.templates, *shared_claims],
            )
            for manifest in pod_groups.pod_groups(workload, cluster.minor)
        ]
        self.objects = [
            KubernetesObject(
                manifest,
                cluster,
                parent=self,
                depends_on=[*depends_on, *self.templates, *self.pod_groups],
                replace_with=[*self.templates, *shared_claims, *self.pod_groups],
            )
            for manifest in pods.workload_objects(workload)
        ]
        self.settled = self._create_wait(workload, cluster, wait) if wait else None
        self.register_outputs({"workload": workload.name})

    def _create_wait(self, workload: Workload, cluster: KwokCluster, wait: Mapping[str, str]) -> local.Command:
        program = "exec python3 components/waiting.py"
        environment = {"KWOK_DRA_EXPECTED": json.dumps([expectation(workload)]), "KWOK_DRA_STRICT": "true"} | dict(wait)
        return local.Command(
            workload.name,
            create=program,
            update=program,
            environment=cluster.kubectl_environment.apply(lambda kubectl: kubectl | environment),
            logging=local.Logging.NONE,  # the error has all that it says
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=self.objects,
                deleted_with=cluster.command,
                replacement_trigger=cluster.command.id,
            ),
        )
