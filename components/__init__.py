"""The Pulumi components of which a stack is composed."""

from components.claim_status import ClaimStatus
from components.claim_workload import ClaimWorkload
from components.device_classes import DeviceClasses
from components.gpu_node_pool import GpuNodePool
from components.kwok_cluster import KwokCluster

__all__ = ["ClaimStatus", "ClaimWorkload", "DeviceClasses", "GpuNodePool", "KwokCluster"]
