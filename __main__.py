"""Compose the stack: the cluster, device classes, pools of nodes and devices, workloads, manifests, their status."""

import gc

gc.disable()  # It would scan what imports make and the objects of a large fleet again and again: all of them stay.

import pulumi

from components import (
    AddedPrograms,
    ClaimStatus,
    DeviceClasses,
    FabricPool,
    GpuNodePool,
    Queues,
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
programs = [AddedPrograms(topology, cluster)] if topology.schedulers or topology.controllers else []
removals = Removals(topology, cluster)
classes = DeviceClasses(topology.device_classes, cluster)
pools = [GpuNodePool(pool, cluster, catalogue=topology.catalogue) for pool in topology.node_pools]
fabrics = [FabricPool(pool, cluster, depends_on=pools) for pool in topology.fabric_pools]
shared = SharedObjects(topology, cluster, depends_on=[*programs, removals, classes, *pools, *fabrics])
queues = [Queues(topology, cluster, depends_on=[*programs, shared])] if topology.queues else []
made = [*programs, removals, classes, *pools, *fabrics, shared, *queues]
applied = create_all(topology, cluster, shared=shared, depends_on=made)
status = ClaimStatus(
    topology, cluster, pools, depends_on=[*programs, removals, classes, *pools, *fabrics, shared, *queues, *applied]
)

pulumi.export("clusterName", cluster.cluster_name)
pulumi.export("kubeconfigPath", cluster.kubeconfig_path)
pulumi.export("kubeconfig", cluster.kubeconfig)
pulumi.export("claims", status.claims)
pulumi.export("pools", status.pools)
pulumi.export("leftovers", status.leftovers)
pulumi.export("drift", status.drift)
pulumi.export("preempted", status.preempted)
pulumi.export("summary", status.summary)
