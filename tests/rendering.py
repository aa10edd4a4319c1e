"""All objects that a stack makes by itself, as the API server gets them."""

from collections.abc import Iterator

from topology.kubernetes.api_versions import convert
from topology.kubernetes.objects import Manifest
from topology.objects import claims, device_taints, namespaces, nodes, pod_groups, pods, slices
from topology.schema.stack import Topology


def rendered(topology: Topology) -> list[Manifest]:
    """Render every object of a stack but its manifests, in the version that its cluster has objects in."""
    return [convert(manifest, topology.cluster.served_resource_api) for manifest in _objects(topology)]


def _objects(topology: Topology) -> Iterator[Manifest]:
    minor = topology.cluster.minor
    yield from (claims.device_class(device_class) for device_class in topology.device_classes)
    for pool in topology.node_pools:
        for name in pool.node_names():
            yield nodes.node(pool, name)
    for source in topology.pools.values():
        for name in source.pool_names():
            yield from slices.resource_slices(source, name, minor)
    yield from device_taints.device_taint_rules(topology)
    yield from namespaces.namespaces(topology)
    yield from namespaces.service_accounts(topology)
    yield from (claims.resource_claim(claim) for claim in topology.claims)
    for workload in topology.workloads:
        own = [claim for claim in workload.claims if not claim.claim]
        yield from (claims.resource_claim_template(workload, claim) for claim in own)
        yield from pod_groups.pod_groups(workload, minor)
        yield from pods.workload_objects(workload)
