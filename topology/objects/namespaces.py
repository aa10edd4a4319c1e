"""The namespaces of a stack, and the service accounts that bare pods need in them."""

from topology.kubernetes.objects import DEFAULT_NAMESPACE, Manifest
from topology.kubernetes.reading import namespace_of
from topology.schema.claims import ClaimSpec
from topology.schema.manifests import Manifests
from topology.schema.stack import Topology

# https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/registry/resource/utils.go
ADMIN_ACCESS_LABEL = {"resource.kubernetes.io/admin-access": "true"}


def namespaces(topology: Topology) -> list[Manifest]:
    """Render each namespace that claims, workloads or queues name, except `default`; the label allows admin access."""
    users: dict[str, bool] = {}
    for workload in topology.workloads:
        for claim in workload.claims:
            users[workload.namespace] = users.get(workload.namespace, False) or has_admin_access(claim)
        users.setdefault(workload.namespace, False)
    for namespace in (name for queue in topology.queues for name in queue.namespaces):
        users.setdefault(namespace, False)
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
    """Render the service account of each namespace with bare pods, except for namespaces that manifests create.

    The controller manager creates it too, but maybe after the pods, which the API server then rejects. The controllers
    of Deployments and Jobs retry.
    """
    used = {workload.namespace for workload in topology.workloads if workload.kind == "Pod"}
    used |= _with_bare_pods(topology) - _created_by_manifests(topology)
    if topology.cluster.existing:  # Other namespaces exist and keep their service account.
        used &= {entry["metadata"]["name"] for entry in namespaces(topology)}
    return [_service_account(name) for name in sorted(used)]


def service_accounts_of(manifests: Manifests, topology: Topology) -> list[Manifest]:
    """Render the service accounts of the namespaces that these manifests create."""
    own = {entry["metadata"]["name"] for entry in manifests.objects() if entry["kind"] == "Namespace"}
    return [_service_account(name) for name in sorted(own & _with_bare_pods(topology))]


def _service_account(namespace: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace}}


def _with_bare_pods(topology: Topology) -> set[str]:
    """Return the namespaces of bare pods in manifests that do not include the service account."""
    objects = _in_manifests(topology)
    included = {
        namespace_of(entry)
        for entry in objects
        if entry["kind"] == "ServiceAccount" and entry["metadata"]["name"] == "default"
    }
    return {namespace_of(entry) for entry in objects if entry["kind"] == "Pod"} - included


def _created_by_manifests(topology: Topology) -> set[str]:
    return {entry["metadata"]["name"] for entry in _in_manifests(topology) if entry["kind"] == "Namespace"}


def _in_manifests(topology: Topology) -> list[Manifest]:
    return [entry for manifests in topology.manifests for entry in manifests.objects()]


def has_admin_access(claim: ClaimSpec) -> bool:
    """Tell whether a claim requests admin access."""
    return any(request.admin_access for request in claim.requests)
