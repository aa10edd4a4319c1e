"""PodGroups, and the admission policy that adds pods to them.

https://github.com/kubernetes/api/blob/v0.37.2/scheduling/v1beta1/types.go
"""

from topology.kubernetes.feature_gates import served
from topology.kubernetes.objects import Manifest, given
from topology.schema.claims import Claim
from topology.schema.workloads import Workload

POD_GROUP_LABEL = "pod-group"
"""The label of pods that names their group."""

FIRST_KUBERNETES_WITH_PRIORITIES = 37
"""Before, the scheduler ignores the priority of a PodGroup."""


def pod_groups(workload: Workload, minor: int) -> list[Manifest]:
    """Render the PodGroup of the workload, if it has one, in the version that Kubernetes 1.`minor` serves.

    A pod uses a claim of its group if both have the same entry in `resourceClaims`.
    """
    if workload.pod_group is None:
        return []
    gang = given(minCount=workload.pod_group.min_count)
    spec: Manifest = {"schedulingPolicy": {"gang": gang} if gang else {"basic": {}}}
    if minor >= FIRST_KUBERNETES_WITH_PRIORITIES:  # It must be that of the pods.
        spec |= given(priorityClassName=workload.priority)
    return [
        {
            "apiVersion": served("pod groups", minor),
            "kind": "PodGroup",
            "metadata": {"name": workload.name, "namespace": workload.namespace},
            "spec": spec | given(resourceClaims=[pod_claim(workload, claim) for claim in workload.group_claims]),
        }
    ]


def pod_claim(workload: Workload, claim: Claim) -> Manifest:
    """Render the entry for a claim in `resourceClaims` of a pod or PodGroup."""
    if claim.claim:
        return {"name": claim.name, "resourceClaimName": claim.claim}
    return {"name": claim.name, "resourceClaimTemplateName": workload.template_name(claim)}


def admission_policy() -> list[Manifest]:
    """Render the policy that sets `spec.schedulingGroup` of pods to the group that their label names.

    Pulumi's Kubernetes provider (4.25) drops that field from pods, Deployments and Jobs: it converts them to the types
    of an older version of the API (`normalizeInputs` in provider/pkg/provider/provider.go).

    https://kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy/
    """
    api_version = "admissionregistration.k8s.io/v1"
    metadata = {"name": "pod-groups"}
    group = f"Object.spec.schedulingGroup{{podGroupName: object.metadata.labels['{POD_GROUP_LABEL}']}}"
    expression = f"Object{{spec: Object.spec{{schedulingGroup: {group}}}}}"
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    return [
        {
            "apiVersion": api_version,
            "kind": "MutatingAdmissionPolicy",
            "metadata": metadata,
            "spec": {
                "matchConstraints": {
                    "objectSelector": {"matchExpressions": [{"key": POD_GROUP_LABEL, "operator": "Exists"}]},
                    "resourceRules": [pods],
                },
                "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}],
                "failurePolicy": "Fail",
                "reinvocationPolicy": "Never",
            },
        },
        {
            "apiVersion": api_version,
            "kind": "MutatingAdmissionPolicyBinding",
            "metadata": metadata,
            "spec": {"policyName": metadata["name"]},
        },
    ]
