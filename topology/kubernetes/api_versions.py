"""The versions of resource.k8s.io: the program renders v1 and converts it to the version that a stack asks for.

Kubernetes 1.34 to 1.38 serve v1 by default. They also have v1beta2 and, up to 1.37, v1beta1, but serve these only if
`cluster.kubeRuntimeConfig` enables them (`betaAPIGroupVersionsDisabledByDefault`):
https://github.com/kubernetes/kubernetes/blob/v1.34.2/pkg/controlplane/instance.go
https://github.com/kubernetes/kubernetes/blob/v1.38.0-beta.0/pkg/controlplane/instance.go

Their types: https://github.com/kubernetes/api/blob/v0.37.2/resource/v1/types.go, and likewise for the other versions.
"""

from collections.abc import Callable, Mapping

from topology.kubernetes.objects import Manifest

RESOURCE_API_GROUP = "resource.k8s.io"
RESOURCE_API_VERSIONS = ("v1", "v1beta2", "v1beta1")
"""Newest first."""

BUILT_IN_KINDS: Mapping[str, list[str]] = {
    group: kinds.split()
    for group, kinds in {
        "": "Binding ComponentStatus ConfigMap Endpoints Event LimitRange Namespace Node PersistentVolume "
        "PersistentVolumeClaim Pod PodTemplate ReplicationController ResourceQuota Secret Service ServiceAccount",
        "admissionregistration.k8s.io": "MutatingAdmissionPolicy MutatingAdmissionPolicyBinding "
        "MutatingWebhookConfiguration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding "
        "ValidatingWebhookConfiguration",
        "apiextensions.k8s.io": "CustomResourceDefinition",
        "apiregistration.k8s.io": "APIService",
        "apps": "ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet",
        "authentication.k8s.io": "SelfSubjectReview TokenRequest TokenReview",
        "authorization.k8s.io": "AuthorizationConditionsReview LocalSubjectAccessReview SelfSubjectAccessReview "
        "SelfSubjectRulesReview SubjectAccessReview",
        "autoscaling": "HorizontalPodAutoscaler Scale",
        "batch": "CronJob Job",
        "certificates.k8s.io": "CertificateSigningRequest ClusterTrustBundle PodCertificateRequest",
        "coordination.k8s.io": "Lease LeaseCandidate",
        "discovery.k8s.io": "EndpointSlice",
        "events.k8s.io": "Event",
        "flowcontrol.apiserver.k8s.io": "FlowSchema PriorityLevelConfiguration",
        "internal.apiserver.k8s.io": "StorageVersion",
        "lifecycle.k8s.io": "Eviction EvictionRequest",
        "networking.k8s.io": "IPAddress Ingress IngressClass NetworkPolicy ServiceCIDR",
        "node.k8s.io": "RuntimeClass",
        "policy": "Eviction PodDisruptionBudget",
        "rbac.authorization.k8s.io": "ClusterRole ClusterRoleBinding Role RoleBinding",
        "resource.k8s.io": "DeviceClass DeviceTaintRule ResourceClaim ResourceClaimTemplate ResourcePoolStatusRequest "
        "ResourceSlice",
        "scheduling.k8s.io": "CompositePodGroup PodGroup PriorityClass Workload",
        "storage.k8s.io": "CSIDriver CSINode CSIStorageCapacity StorageClass VolumeAttachment VolumeAttributesClass",
        "storagemigration.k8s.io": "StorageVersionMigration",
    }.items()
}
"""The kinds of Kubernetes itself by their API group, of all supported releases: `addKnownTypes` in each register.go of
https://github.com/kubernetes/api/tree/v0.38.0-beta.0 and of earlier tags, and those of
https://github.com/kubernetes/apiextensions-apiserver and https://github.com/kubernetes/kube-aggregator.
"""

# `APILifecycleRemoved` of resource.k8s.io: https://github.com/kubernetes/api/tree/v0.38.0-beta.0/resource
# The alpha versions of scheduling.k8s.io have no such mark. The next release replaces each of them:
# https://github.com/kubernetes/api/tree/v0.36.3/scheduling, https://github.com/kubernetes/api/tree/v0.37.2/scheduling
_REMOVED_IN: Mapping[str, int] = {
    f"{RESOURCE_API_GROUP}/v1beta1": 38,
    f"{RESOURCE_API_GROUP}/v1beta2": 39,
    "scheduling.k8s.io/v1alpha1": 36,
    "scheduling.k8s.io/v1alpha2": 37,
}


# `addKnownTypes` in https://github.com/kubernetes/api/tree/v0.37.2/resource, and likewise for the other releases.
_KINDS_SINCE: Mapping[str, Mapping[str, int]] = {
    "DeviceTaintRule": {"v1": 37, "v1beta2": 36, "v1alpha3": 34},
    "ResourcePoolStatusRequest": {"v1alpha3": 36},
}


def versions_of(kind: str, minor: int) -> list[str]:
    """Return the versions of resource.k8s.io in which Kubernetes 1.`minor` has a kind, or had it before a removal."""
    since = _KINDS_SINCE.get(kind, dict.fromkeys(RESOURCE_API_VERSIONS, 0))
    return [version for version, first in since.items() if first <= minor]


def is_removed(api: str, minor: int) -> bool:
    """Tell whether Kubernetes 1.`minor` no longer serves `api`, a group version or a resource in one."""
    since = _REMOVED_IN.get("/".join(api.split("/")[:2]))
    return since is not None and since <= minor


def convert(manifest: Manifest, version: str) -> Manifest:
    """Return the v1 object `manifest` as an object of that `version` of resource.k8s.io.

    Converts only the kinds that exist in all versions, and returns other objects unchanged. The result may share parts
    with `manifest`, which is not modified.
    """
    group, _, _ = manifest["apiVersion"].partition("/")
    if group != RESOURCE_API_GROUP or manifest["kind"] not in _V1BETA1_LISTS:
        return manifest
    converted = manifest | {"apiVersion": f"{group}/{version}"}
    if version == "v1beta1" and (entries := _V1BETA1_LISTS[manifest["kind"]]):
        path, to_v1beta1, _ = entries
        return _changed(converted, path, to_v1beta1)
    return converted


def as_v1(manifest: Manifest) -> Manifest:
    """Return `manifest`, an object of any of the versions, as a v1 object: the inverse of `convert`."""
    group, _, version = manifest["apiVersion"].partition("/")
    converted = manifest | {"apiVersion": f"{group}/v1"}
    if version == "v1beta1" and (entries := _V1BETA1_LISTS[manifest["kind"]]):
        path, _, to_v1 = entries
        return _changed(converted, path, to_v1)
    return converted


_Change = Callable[[Manifest], Manifest]


def _changed(value: Manifest, path: list[str], change: _Change) -> Manifest:
    """Apply `change` to every entry of the list at `path`, if there is a list."""
    key, *rest = path
    if key not in value:
        return value
    return value | {key: _changed(value[key], rest, change) if rest else [change(item) for item in value[key]]}


def _basic_device(device: Manifest) -> Manifest:
    return {"name": device["name"], "basic": {key: value for key, value in device.items() if key != "name"}}


def _flat_request(request: Manifest) -> Manifest:
    rest = {key: value for key, value in request.items() if key != "exactly"}
    return {**rest, **request.get("exactly", {})}


def _device(device: Manifest) -> Manifest:
    return {"name": device["name"], **device["basic"]} if "basic" in device else device


def _request(request: Manifest) -> Manifest:
    if "firstAvailable" in request or "exactly" in request:
        return request
    exactly = {key: value for key, value in request.items() if key != "name"}
    return {"name": request["name"], "exactly": exactly}


# The kinds that exist in all versions, each with the path of the list whose entries differ in v1beta1, and with the
# functions that convert an entry to v1beta1 and back.
_V1BETA1_LISTS: dict[str, tuple[list[str], _Change, _Change] | None] = {
    "DeviceClass": None,
    "ResourceClaim": (["spec", "devices", "requests"], _flat_request, _request),
    "ResourceClaimTemplate": (["spec", "spec", "devices", "requests"], _flat_request, _request),
    "ResourceSlice": (["spec", "devices"], _basic_device, _device),
}
