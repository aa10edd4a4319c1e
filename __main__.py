"""Compose the stack: the cluster, device classes, pools of nodes and devices, workloads, manifests, their status."""

import pulumi

from components import (
    ClaimStatus,
    DeviceClasses,
    FabricPool,
    GpuNodePool,
    Removals,
    SharedObjects,
    cluster_for,
    create_all,
    end_with_the_engine,
)
from components.stack_configuration import load_topology

end_with_the_engine()
topology = load_topology()

cluster = cluster_for(topology)
removals = Removals(topology, cluster)
classes = DeviceClasses(topology.device_classes, cluster)
pools = [GpuNodePool(pool, cluster, catalogue=topology.catalogue) for pool in topology.node_pools]
fabrics = [FabricPool(pool, cluster, depends_on=pools) for pool in topology.fabric_pools]
shared = SharedObjects(topology, cluster, depends_on=[removals, classes, *pools, *fabrics])
applied = create_all(topology, cluster, shared=shared, depends_on=[removals, classes, *pools, *fabrics, shared])
status = ClaimStatus(topology, cluster, pools, depends_on=[removals, classes, *pools, *fabrics, shared, *applied])

pulumi.export("clusterName", cluster.cluster_name)
pulumi.export("kubeconfigPath", cluster.kubeconfig_path)
pulumi.export("kubeconfig", cluster.kubeconfig)
pulumi.export("claims", status.claims)
pulumi.export("pools", status.pools)
pulumi.export("leftovers", status.leftovers)
pulumi.export("drift", status.drift)
pulumi.export("summary", status.summary)
