"""A pool of fake GPU nodes."""

import hashlib
import json
from collections.abc import Mapping, Sequence

import pulumi
from pulumi_command import local

from components.cluster_base import ClusterComponent
from components.command import command
from components.generations import generations, repair
from components.kubernetes_object import KubernetesObject
from components.node_batches import NodeBatches
from components.resource_slices import ResourceSlices
from topology.objects import nodes
from topology.schema.stack import NodePool

DECLARE = 'xargs -r kubectl patch --subresource status --type merge --patch "$KWOK_DRA_PATCH" --output name node'

FEW_NODES = 100
"""Larger pools need `provisioning: bulk`: with a resource for each object, an update takes minutes."""


class GpuNodePool(pulumi.ComponentResource):
    """Fake nodes with GPUs, which KWOK keeps Ready.

    With `provisioning: objects` it creates
    - one `Node` per node of the pool;
    - if the nodes declare features, a `command.local.Command` that writes these into the status of the nodes: Pulumi's
      Kubernetes provider knows the Nodes of an older Kubernetes and omits the field;
    - `ResourceSlices` with the devices of the nodes.

    With `provisioning: bulk` it creates `NodeBatches`: the same nodes and slices, with fewer resources.

    With either it also creates
    - a `command.local.Command` for each driver, which keeps the generation of the driver's pools;
    - if devices have binding conditions, a `command.local.Command` that deletes the DeviceTaintRules of devices that
      failed to attach when the pool's `attachFails` change.
    """

    batches: NodeBatches | None
    resources: list[pulumi.CustomResource]
    """The resources that the pool's nodes and devices consist of."""

    def __init__(
        self,
        pool: NodePool,
        cluster: ClusterComponent,
        *,
        catalogue: Sequence[str] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create the nodes of `pool` in `cluster`; `catalogue` lists the stack's own files of device models."""
        super().__init__("kwok-dra:components:GpuNodePool", pool.name, None, opts)
        self.batches = None
        counted = generations(pool, cluster, self)
        if pool.provisioning == "bulk":
            self.batches = NodeBatches(pool, cluster, counted, catalogue, pulumi.ResourceOptions(parent=self))
            self.resources = [*self.batches.batches]
        else:
            self.resources = self._create_objects(pool, cluster, counted)
        repair(pool, f"{pool.name}-0", cluster, self, self.resources)
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
            pool, cluster, counted, nodes=made, depends_on=declaration, opts=pulumi.ResourceOptions(parent=self)
        )
        return [*made.values(), *declaration, *slices.slices]

    def _create_declaration(
        self, pool: NodePool, made: Mapping[str, KubernetesObject], features: list[str], cluster: ClusterComponent
    ) -> local.Command:
        patch = json.dumps({"status": {"declaredFeatures": features}})
        # A replaced node needs the patch again.
        uids = pulumi.Output.all(*(node.uid for node in made.values()))
        digest = uids.apply(lambda found: hashlib.sha256(json.dumps(found).encode()).hexdigest())
        return command(
            f"{pool.name}-declared",
            cluster.kubectl_with({"KWOK_DRA_PATCH": patch, "KWOK_DRA_UIDS": digest}),
            cluster.content(self, list(made.values())),
            create=DECLARE,
            update=DECLARE,
            stdin=" ".join(made),
            logging=local.Logging.NONE,
            needs_output=False,
        )


def _too_many(pool: NodePool) -> str:
    return (
        f"pool {pool.name} has {pool.nodes} nodes, and each node and ResourceSlice is a resource of the stack: with "
        f"more than {FEW_NODES} nodes, updates take minutes. Set `provisioning: bulk` in kwok-dra:nodePools; a pool "
        "that already exists also needs another name"
    )
