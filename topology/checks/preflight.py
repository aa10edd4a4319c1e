"""Everything that can be checked before an update: what the API server would refuse, and claims that stay pending."""

from collections.abc import Iterator

from topology.checks.added_programs import program_problems
from topology.checks.fabric_pools import fabric_pool_problems
from topology.checks.manifest_pods import unsatisfiable_manifests
from topology.checks.manifests import manifest_problems, misshapen_manifests
from topology.checks.node_pools import pool_problems
from topology.checks.priorities import priority_problems
from topology.checks.published_devices import FIRST_STRICTER_KUBERNETES
from topology.checks.queues import queue_problems
from topology.checks.requests import selections
from topology.checks.satisfiability import unsatisfiable_claims
from topology.checks.schedulers import scheduler_problems
from topology.kubernetes import limits
from topology.kubernetes.api_versions import RESOURCE_API_GROUP, is_removed
from topology.kubernetes.feature_gates import FEATURES, gate_problems, lacking
from topology.schema.base import Problem
from topology.schema.features_used import apis_needed, apis_written, completed, features_used
from topology.schema.stack import DEFAULT_KUBERNETES_VERSION, Topology
from topology.schema.values import suggestion


def problems(topology: Topology) -> list[Problem]:
    """Return what is wrong with a topology whose parts are valid by themselves."""
    if misshapen := list(misshapen_manifests(topology)):
        return misshapen
    found = [
        *_features(topology),
        *_apis(topology),
        *_capacities(topology),
        *_containers(topology),
        *manifest_problems(topology),
        *program_problems(topology),
        *scheduler_problems(topology),
        *priority_problems(topology),
    ]
    for path, pool in topology.pools.items():
        found += pool_problems(pool, path, topology.cluster)
    found += fabric_pool_problems(topology)
    return found or [*queue_problems(topology), *unsatisfiable_claims(topology), *unsatisfiable_manifests(topology)]


# The version of Kubernetes.


def _features(topology: Topology) -> Iterator[Problem]:
    cluster = topology.cluster
    features = features_used(topology)
    for feature, since in lacking(features, cluster.minor).items():
        newest = f"set kwok-dra:cluster.kubeVersion to a release since 1.{since}, such as {DEFAULT_KUBERNETES_VERSION}"
        remedy = f"use a cluster with 1.{since} or newer" if cluster.existing else newest
        yield Problem(
            features[feature],
            f"uses {feature}, which Kubernetes {cluster.kube_version} does not have: {remedy}",
        )
    for feature, path in features.items():
        if cluster.kube_feature_gates.get(FEATURES[feature].gate) is False:
            yield Problem(
                f"cluster.kubeFeatureGates.{FEATURES[feature].gate}",
                f"must be on for {feature}, which {path} uses: remove the gate or the feature",
            )
    for gate, message in gate_problems(completed(cluster, _available(topology)).kube_feature_gates, cluster.minor):
        yield Problem(f"cluster.kubeFeatureGates.{gate}", message)


def _available(topology: Topology) -> dict[str, str]:
    """Return the features that the stack uses and its Kubernetes version has, each with a key that uses it."""
    features = features_used(topology)
    missing = lacking(features, topology.cluster.minor)
    return {feature: path for feature, path in features.items() if feature not in missing}


def _apis(topology: Topology) -> Iterator[Problem]:
    cluster = topology.cluster
    if is_removed(f"{RESOURCE_API_GROUP}/{cluster.served_resource_api}", cluster.minor) and not cluster.existing:
        yield Problem(
            "cluster.resourceApi",
            f"is {cluster.resource_api}, which Kubernetes 1.{cluster.minor} no longer serves: set it to v1, or remove "
            "it",
        )
    users = dict.fromkeys(apis_needed(cluster, _available(topology)), "a feature that is used or turned on")
    users |= {f"resource.k8s.io/{cluster.served_resource_api}": "cluster.resourceApi"}
    users |= apis_written(topology)
    users |= {"resource.k8s.io/v1": "the scheduler"}
    for api, user in users.items():
        if cluster.kube_runtime_config.get(api) is False:
            yield Problem(
                f"cluster.kubeRuntimeConfig.{api}", f"must be served for {user}: remove it, or set it to true"
            )


# Claims.


def _capacities(topology: Topology) -> Iterator[Problem]:
    most = limits.REQUEST_CAPACITIES_MAX
    if topology.cluster.minor < FIRST_STRICTER_KUBERNETES:
        return
    for path, selection in selections(topology):
        if len(selection.capacity) > most:
            yield Problem(
                f"{path}.capacity",
                f"has {len(selection.capacity)} entries; since Kubernetes 1.{FIRST_STRICTER_KUBERNETES} "
                f"the API allows at most {most} per request: remove some",
            )


def _containers(topology: Topology) -> Iterator[Problem]:
    """Yield the requests that containers name and that the shared claims of their pods do not have."""
    shared = {(claim.namespace, claim.name): [entry.name for entry in claim.requests] for claim in topology.claims}
    for index, workload in enumerate(topology.workloads):
        requests = {claim.name: shared[workload.namespace, claim.claim] for claim in workload.claims if claim.claim}
        for place, container in enumerate(workload.containers):
            for position, used in enumerate(container.claims):
                known = requests.get(used.name)
                if known and used.request and used.request not in known:
                    yield Problem(
                        f"workloads[{index}].containers[{place}].claims[{position}].request",
                        f"claim {used.name} has no request {used.request!r}{suggestion(used.request, known)} "
                        f"Name one of {', '.join(known)}",
                    )
