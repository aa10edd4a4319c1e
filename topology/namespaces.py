"""The namespaces of a stack, and what bare pods need to be there in them."""

from topology.configuration import Topology
from topology.manifests import Manifest
from topology.workloads import DEFAULT_NAMESPACE, ClaimSpec

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
    """Render the service account of each namespace that has bare pods.

    The controller manager makes the same one, but maybe after the pods, which the API server then refuses. Who makes
    pods for a Deployment or a Job tries again.
    """
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
        for name in sorted({workload.namespace for workload in topology.workloads if workload.kind == "Pod"})
    ]


def has_admin_access(claim: ClaimSpec) -> bool:
    """Tell whether a claim asks for admin access."""
    return any(request.admin_access for request in claim.requests)
