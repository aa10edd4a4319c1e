"""The Pulumi resources of a stack; no other package imports Pulumi."""

from components.added_programs import AddedPrograms
from components.applied_manifests import AppliedManifests
from components.choose_cluster import cluster_for
from components.claim_status import ClaimStatus
from components.claim_workload import ClaimWorkload
from components.device_classes import DeviceClasses
from components.engine import end_with_the_engine
from components.fabric_pool import FabricPool
from components.gpu_node_pool import GpuNodePool
from components.queues import Queues
from components.removals import Removals
from components.shared_objects import SharedObjects
from components.workloads import create_all

__all__ = [
    "AddedPrograms",
    "AppliedManifests",
    "ClaimStatus",
    "ClaimWorkload",
    "DeviceClasses",
    "FabricPool",
    "GpuNodePool",
    "Queues",
    "Removals",
    "SharedObjects",
    "cluster_for",
    "create_all",
    "end_with_the_engine",
]
