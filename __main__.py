"""Compose the stack: cluster, device classes, node pools, workloads, and the answer."""

import pulumi

from components import ClaimStatus, ClaimWorkload, DeviceClasses, GpuNodePool, KwokCluster
from components.stack_configuration import load_topology

topology = load_topology()

cluster = KwokCluster(topology.cluster)
classes = DeviceClasses(topology.device_classes, cluster)
pools = [GpuNodePool(pool, cluster) for pool in topology.node_pools]
workloads = [ClaimWorkload(workload, cluster, depends_on=[classes, *pools]) for workload in topology.workloads]
status = ClaimStatus(topology, cluster, depends_on=[classes, *pools, *workloads])

pulumi.export("clusterName", cluster.cluster_name)
pulumi.export("kubeconfigPath", cluster.kubeconfig_path)
pulumi.export("kubeconfig", cluster.kubeconfig)
pulumi.export("claims", status.claims)
pulumi.export("pools", status.pools)
pulumi.export("summary", status.summary)
