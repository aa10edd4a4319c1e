"""A pool of fake GPU nodes."""

import hashlib
import json

import pulumi
from pulumi_command import local

from components.kubernetes_object import KubernetesObject
from components.kwok_cluster import KwokCluster
from components.resource_slices import ResourceSlices
from topology import nodes
from topology.configuration import NodePool
from topology.stages import ATTACH_FAILS


class GpuNodePool(pulumi.ComponentResource):
    """Fake nodes with GPUs.

    It creates
    - one `Node` per node of the pool, which KWOK keeps Ready;
    - where nodes declare features of kubelets, a `command.local.Command` that writes these into their status: Pulumi's
      Kubernetes provider knows the Nodes of an older Kubernetes, and leaves the field out;
    - `ResourceSlices` with the devices of those nodes;
    - for devices that have to be attached, a `command.local.Command` that takes away the taints that KWOK has given to
      those that failed, when others are to fail.
    """

    nodes: list[KubernetesObject]
    slices: ResourceSlices

    def __init__(
        self,
        pool: NodePool,
        cluster: KwokCluster,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create the nodes of `pool` in `cluster`."""
        super().__init__("kwok-dra:components:GpuNodePool", pool.name, None, opts)
        names = pool.node_names()
        self.nodes = [KubernetesObject(nodes.node(pool, name), cluster, parent=self) for name in names]
        features = nodes.declared_features(pool)
        declaration = [self._create_declaration(pool, features, cluster)] if features else []
        self.slices = ResourceSlices(
            pool,
            dict(zip(names, self.nodes, strict=True)),
            cluster,
            depends_on=declaration,
            opts=pulumi.ResourceOptions(parent=self),
        )
        if any(devices.model.binding_conditions for devices in pool.all_devices()):
            self._create_repair(pool, cluster)
        self.register_outputs({"nodes": names})

    def _create_declaration(self, pool: NodePool, features: list[str], cluster: KwokCluster) -> local.Command:
        patch = json.dumps({"status": {"declaredFeatures": features}})
        declare = '[ -z "$KWOK_DRA_NODES" ] || kubectl patch node $KWOK_DRA_NODES --subresource status --type merge'
        declare += f" --patch '{patch}' --output name"
        # A replaced node has to be told again.
        uids = pulumi.Output.all(*(node.uid for node in self.nodes))
        digest = uids.apply(lambda found: hashlib.sha256(json.dumps(found).encode()).hexdigest())
        return local.Command(
            f"{pool.name}-declared",
            create=declare,
            update=declare,
            environment=pulumi.Output.all(cluster.kubectl_environment, digest).apply(
                lambda found: found[0] | {"KWOK_DRA_NODES": " ".join(pool.node_names()), "KWOK_DRA_UIDS": found[1]}
            ),
            logging=local.Logging.NONE,
            opts=cluster.content(self, self.nodes),
        )

    def _create_repair(self, pool: NodePool, cluster: KwokCluster) -> None:
        failing = [fault.model_dump() for fault in pool.faults if fault.attach_fails]
        local.Command(
            f"{pool.name}-attached",
            create="true",
            update=f"kubectl delete devicetaintrules --selector {ATTACH_FAILS}={pool.name} --ignore-not-found",
            environment=cluster.kubectl_environment.apply(
                lambda kubectl: kubectl | {"KWOK_DRA_FAULTS": json.dumps(failing)}
            ),
            logging=local.Logging.STDERR,
            opts=cluster.content(self, self.slices.slices),
        )
