"""The namespaces of a stack, and what bare pods need to be there in them."""

from topology.kubernetes.objects import DEFAULT_NAMESPACE, Manifest
from topology.kubernetes.reading import namespace_of
from topology.schema.claims import ClaimSpec
from topology.schema.manifests import Manifests
from topology.schema.stack import Topology

# https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/registry/resource/utils.go
ADMIN_ACCESS_LABEL = {"resource.kubernetes.io/admin-access": "true"}


def namespaces(topology: Topology) -> list[Manifest]:
    """Render each namespace that is named and not there anyway; those with admin access carry the label for it."""
    users: dict[str, bool] = {}
    for workload in topology.workloads:
        for claim in workload.claims:
            users[workload.namespace] = users.get(workload.namespace, False) or has_admin_access(claim)
        users.setdefault(workload.namespace, False)
    for shared in topology.claims:
        users[shared.namespace] = users.get(shared.namespace, False) or has_admin_access(shared)
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name} | ({"labels": ADMIN_ACCESS_LABEL} if admin else {}),
        }
        for name, admin in sorted(users.items())
        if name != DEFAULT_NAMESPACE
    ]


def service_accounts(topology: Topology) -> list[Manifest]:
    """Render the service account of each namespace that has bare pods, but for those that manifests make.

    The controller manager makes the same one, but maybe after the pods, which the API server then refuses. Who makes
    pods for a Deployment or a Job tries again.
    """
    used = {workload.namespace for workload in topology.workloads if workload.kind == "Pod"}
    used |= _with_bare_pods(topology) - _made_by_manifests(topology)
    if topology.cluster.existing:  # What was there before the stack has its service account, and keeps it.
        used &= {entry["metadata"]["name"] for entry in namespaces(topology)}
    return [_service_account(name) for name in sorted(used)]


def service_accounts_of(manifests: Manifests, topology: Topology) -> list[Manifest]:
    """Render those of the namespaces that these manifests make."""
    own = {entry["metadata"]["name"] for entry in manifests.objects() if entry["kind"] == "Namespace"}
    return [_service_account(name) for name in sorted(own & _with_bare_pods(topology))]


def _service_account(namespace: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace}}


def _with_bare_pods(topology: Topology) -> set[str]:
    """Name the namespaces of the bare pods of manifests, unless these bring the service account with them."""
    objects = _in_manifests(topology)
    there = {
        namespace_of(entry)
        for entry in objects
        if entry["kind"] == "ServiceAccount" and entry["metadata"]["name"] == "default"
    }
    return {namespace_of(entry) for entry in objects if entry["kind"] == "Pod"} - there


def _made_by_manifests(topology: Topology) -> set[str]:
    return {entry["metadata"]["name"] for entry in _in_manifests(topology) if entry["kind"] == "Namespace"}


def _in_manifests(topology: Topology) -> list[Manifest]:
    return [entry for manifests in topology.manifests for entry in manifests.objects()]


def has_admin_access(claim: ClaimSpec) -> bool:
    """Tell whether a claim asks for admin access."""
    return any(request.admin_access for request in claim.requests)
