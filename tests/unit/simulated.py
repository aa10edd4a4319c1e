"""What a cluster has of a stack, as kubectl prints it: made without a cluster, for dumps of every stack."""

from collections.abc import Iterator
from typing import Any

from topology.kubernetes.objects import QUEUE_LABEL
from topology.objects import claims, device_taints, kueue, nodes, pod_groups, pods, priorities
from topology.objects.slices import resource_slices
from topology.schema.stack import Topology
from topology.schema.workloads import Workload

Object = dict[str, Any]


def live(topology: Topology) -> list[Object]:
    """Return nodes, slices, classes, and pods with claims, of which as many are allocated as the stack expects."""
    found = [_of_api("v1", "Node", entry) for entry in _nodes(topology)]
    found += [
        entry for pool in topology.pools.values() for name in pool.pool_names() for entry in resource_slices(pool, name)
    ]
    found += [claims.device_class(entry) for entry in topology.device_classes]
    found += device_taints.device_taint_rules(topology)
    found += priorities.priority_classes(topology)
    found += [*kueue.objects(topology), *kueue.own_configuration(topology)]
    shared = {(claim.namespace, claim.name): claims.resource_claim(claim) for claim in topology.claims}
    for workload in topology.workloads:
        found += [claims.resource_claim_template(workload, claim) for claim in workload.claims if not claim.claim]
        found += pod_groups.pod_groups(workload, topology.cluster.minor)
        found += [_held_job(workload)] if _is_held(workload) else _pods(workload, shared)
        found += [_replica_set(workload)] if workload.kind == "Deployment" else []
    return [*found, *shared.values()]


def _of_api(version: str, kind: str, entry: Object) -> Object:
    return {"apiVersion": version, "kind": kind} | entry


def _nodes(topology: Topology) -> Iterator[Object]:
    for pool in topology.node_pools:
        for name in pool.node_names():
            node = nodes.node(pool, name)
            ready = {"type": "Ready", "status": "False" if pool.is_not_ready(name) else "True"}
            node["status"] |= {"conditions": [ready], "declaredFeatures": nodes.declared_features(pool)}
            yield node


def _pods(workload: Workload, shared: dict[tuple[str, str], Object]) -> Iterator[Object]:
    (maker, *_) = pods.workload_objects(workload) or [{"kind": "none"}]
    left = workload.expected_allocated
    for number in range(workload.replicas):
        name = f"{workload.name}-{number}"
        pod = pods.pod(workload, name) if workload.kind == "Pod" else _made_pod(workload, maker, name)
        statuses = []
        for claim in workload.claims:
            if claim.claim:
                allocate(shared[workload.namespace, claim.claim], left > 0)
            else:
                made = _claim(workload, f"{name}-{claim.name}", claims.resource_claim_template(workload, claim))
                statuses.append({"name": claim.name, "resourceClaimName": made["metadata"]["name"]})
                allocate(made, left > 0)
                yield made
            left -= 1
        pod["status"] = {"phase": "Running", "resourceClaimStatuses": statuses}
        if workload.extended_resources and left > 0:
            made = _claim(workload, f"{name}-extended-resources", {"spec": {"spec": {"devices": {}}}})
            pod["status"]["extendedResourceClaimStatus"] = {"resourceClaimName": made["metadata"]["name"]}
            allocate(made, True)
            yield made
        left -= bool(workload.extended_resources)
        if workload.kind == "Job" or left < 0:
            pod["status"]["phase"] = "Succeeded" if workload.kind == "Job" else "Pending"
        yield pod


def _is_held(workload: Workload) -> bool:
    return bool(workload.queue) and workload.kind == "Job" and workload.expected_allocated == 0


def _held_job(workload: Workload) -> Object:
    """Return a Job as Kueue leaves it until there is quota for it."""
    (job,) = pods.workload_objects(workload)
    return job | {"spec": job["spec"] | {"suspend": True}, "status": {}}


def _made_pod(workload: Workload, maker: Object, name: str) -> Object:
    template = maker["spec"]["template"]
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{workload.name}-5d4f", "controller": True}
    labels = template["metadata"]["labels"] | {"pod-template-hash": "5d4f"}
    labels |= {QUEUE_LABEL: workload.queue} if workload.queue else {}  # Kueue's webhook adds it to the template.
    metadata = {"name": name, "namespace": workload.namespace, "labels": labels, "ownerReferences": [owner]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def _replica_set(workload: Workload) -> Object:
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": workload.name, "controller": True}
    metadata = {"name": f"{workload.name}-5d4f", "namespace": workload.namespace, "ownerReferences": [owner]}
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata, "spec": {}, "status": {}}


def _claim(workload: Workload, name: str, template: Object) -> Object:
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"name": name, "namespace": workload.namespace, "generateName": f"{name}-"},
        "spec": template["spec"]["spec"],
        "status": {},
    }


def allocate(claim: Object, allocated: bool) -> None:
    """Say whether a claim has its devices."""
    if allocated:
        claim["status"] = {"allocation": {"devices": {"results": []}}}
