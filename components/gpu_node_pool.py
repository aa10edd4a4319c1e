"""A pool of fake GPU nodes."""

import hashlib
import json
from collections.abc import Mapping, Sequence

import pulumi
from pulumi_command import local

from components.cluster_base import ClusterComponent
from components.generations import generations
from components.kubernetes_object import KubernetesObject
from components.node_batches import NodeBatches
from components.resource_slices import ResourceSlices
from topology.objects import nodes
from topology.objects.kwok_stages import ATTACH_FAILS
from topology.schema.stack import NodePool

DECLARE = (
    '[ -z "$KWOK_DRA_NODES" ] || kubectl patch node $KWOK_DRA_NODES --subresource status --type merge '
    '--patch "$KWOK_DRA_PATCH" --output name'
)
REPAIR = 'kubectl delete devicetaintrules --selector "$KWOK_DRA_SELECTOR" --ignore-not-found'

FEW_NODES = 100
"""More than that are better provisioned in bulk: with a resource for each object, an update takes minutes."""


class GpuNodePool(pulumi.ComponentResource):
    """Fake nodes with GPUs, which KWOK keeps Ready.

    With `provisioning: objects` it creates
    - one `Node` per node of the pool;
    - where nodes declare features of kubelets, a `command.local.Command` that writes these into their status: Pulumi's
      Kubernetes provider knows the Nodes of an older Kubernetes, and leaves the field out;
    - `ResourceSlices` with the devices of those nodes.

    With `provisioning: bulk` it creates `NodeBatches`, the same nodes and slices with fewer resources.

    With both, a `command.local.Command` for each driver keeps the generation of its pools. For devices that have to be
    attached, there is a `command.local.Command` that takes away the taints that KWOK has given to those that failed,
    when others are to fail.
    """

    batches: NodeBatches | None
    resources: list[pulumi.CustomResource]
    """What has to be there for the pool to be."""

    def __init__(
        self,
        pool: NodePool,
        cluster: ClusterComponent,
        *,
        catalogue: Sequence[str] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create the nodes of `pool` in `cluster`; the files of `catalogue` may have models of its devices."""
        super().__init__("kwok-dra:components:GpuNodePool", pool.name, None, opts)
        self.batches = None
        counted = generations(pool, cluster, self)
        if pool.provisioning == "bulk":
            self.batches = NodeBatches(pool, cluster, counted, catalogue, pulumi.ResourceOptions(parent=self))
            self.resources = [*self.batches.batches]
        else:
            self.resources = self._create_objects(pool, cluster, counted)
        if any(devices.model.binding_conditions for devices in pool.all_devices()):
            self._create_repair(pool, cluster)
        self.register_outputs({"nodes": pool.nodes})

    def _create_objects(
        self, pool: NodePool, cluster: ClusterComponent, counted: Mapping[str, pulumi.Output[int]]
    ) -> list[pulumi.CustomResource]:
        if pool.nodes > FEW_NODES:
            pulumi.warn(_too_many(pool), self)
        made = {name: KubernetesObject(nodes.node(pool, name), cluster, parent=self) for name in pool.node_names()}
        features = nodes.declared_features(pool)
        declaration = [self._create_declaration(pool, made, features, cluster)] if features else []
        slices = ResourceSlices(
            pool, made, cluster, counted, depends_on=declaration, opts=pulumi.ResourceOptions(parent=self)
        )
        return [*made.values(), *declaration, *slices.slices]

    def _create_declaration(
        self, pool: NodePool, made: Mapping[str, KubernetesObject], features: list[str], cluster: ClusterComponent
    ) -> local.Command:
        patch = json.dumps({"status": {"declaredFeatures": features}})
        # A replaced node has to be told again.
        uids = pulumi.Output.all(*(node.uid for node in made.values()))
        digest = uids.apply(lambda found: hashlib.sha256(json.dumps(found).encode()).hexdigest())
        return local.Command(
            f"{pool.name}-declared",
            create=DECLARE,
            update=DECLARE,
            environment=pulumi.Output.all(cluster.kubectl_environment, digest).apply(
                lambda found: (
                    found[0] | {"KWOK_DRA_NODES": " ".join(made), "KWOK_DRA_PATCH": patch, "KWOK_DRA_UIDS": found[1]}
                )
            ),
            logging=local.Logging.NONE,
            opts=cluster.content(self, list(made.values())),
        )

    def _create_repair(self, pool: NodePool, cluster: ClusterComponent) -> None:
        failing = [fault.model_dump() for fault in pool.faults if fault.attach_fails]
        environment = {
            "KWOK_DRA_FAULTS": json.dumps(failing),
            "KWOK_DRA_SELECTOR": f"{ATTACH_FAILS}={pool.name}",
        }
        local.Command(
            f"{pool.name}-attached",
            create="true",
            update=REPAIR,
            environment=cluster.kubectl_environment.apply(lambda kubectl: kubectl | environment),
            logging=local.Logging.STDERR,
            opts=cluster.content(self, self.resources),
        )


def _too_many(pool: NodePool) -> str:
    return (
        f"pool {pool.name} has {pool.nodes} nodes, and each of them and of their slices is a resource of the stack: "
        "past some hundred that takes long. Give it `provisioning: bulk` in kwok-dra:nodePools; a pool that is there "
        "already has to get another name with it"
    )
