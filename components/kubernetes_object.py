"""One Kubernetes object of the stack as a Pulumi resource."""

from collections.abc import Mapping, Sequence

import pulumi

from components.cluster_base import ClusterComponent
from topology.kubernetes.api_versions import RESOURCE_API_GROUP, RESOURCE_API_VERSIONS, convert
from topology.kubernetes.objects import DEFAULT_NAMESPACE, Manifest

REPLACE_ON_CHANGES = {
    # The API server ignores a changed status of a Node: pkg/registry/core/node/strategy.go
    "Node": ["status"],
    # The policy that puts a pod into its group acts on creation only (topology/objects/pod_groups.py).
    "Pod": ["metadata.labels"],
    # Immutable: https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/apis/scheduling/validation/validation.go
    "PriorityClass": ["value", "preemptionPolicy"],
    # Immutable: https://github.com/kubernetes/api/blob/v0.36.3/scheduling/v1alpha2/types.go (1.37: all but minCount)
    "PodGroup": ["spec"],
    # Immutable: https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/apis/resource/validation/validation.go
    # (A ResourceSlice's immutable fields are part of its name.)
    "ResourceClaim": ["spec"],
    "ResourceClaimTemplate": ["spec"],
}

# A rolling update waits for devices that the old pods hold, and forever for pods that stay pending. Fake pods serve
# nobody, so all of them can be deleted first. Deployments of the user's own manifests roll as they do elsewhere.
REPLACE_OURS_ON_CHANGES = {"Deployment": ["spec.template"]}

MAKES_PODS = {"Deployment", "Job", "Pod"}
"""The kinds of workloads."""

# Pulumi waits ten minutes until objects of these kinds are ready, and warns until then. `ClaimStatus` checks whether
# claims are satisfied, so here it is enough that the object exists. (`pulumi.com/skipAwait` would also skip the wait
# for deletion, and a replacement would then conflict with its predecessor.) Pulumi does not wait for a CRD, so objects
# of its kind could come too early.
# https://github.com/pulumi/pulumi-kubernetes/blob/master/provider/pkg/await/awaiters.go
_EXISTS = "jsonpath={.metadata.uid}"
WAIT_FOR = {
    "CustomResourceDefinition": "condition=Established",
    "DaemonSet": _EXISTS,
    "Deployment": _EXISTS,
    "Ingress": _EXISTS,
    "Job": _EXISTS,
    "PersistentVolume": _EXISTS,
    "PersistentVolumeClaim": _EXISTS,
    "Pod": _EXISTS,
    "ReplicationController": _EXISTS,
    "ResourceQuota": _EXISTS,
    "Service": _EXISTS,
    "StatefulSet": _EXISTS,
}

HOLDERS = MAKES_PODS | {"PodGroup"}
"""The kinds of objects that claims are created for."""

# The node lifecycle controller adds taints to those of a Node, and server-side apply treats all of them as one field:
# without force the provider could no longer change such a Node. Nor could it take over a bare pod that was provisioned
# in bulk, as admission adds tolerations to it.
FORCE = {"pulumi.com/patchForce": "true"}


class KubernetesObject(pulumi.CustomResource):
    """The Kubernetes object `manifest` in `cluster`.

    The manifest is sent untyped, so every kind, version and field that the API server knows works, including the status
    of a Node. Objects of resource.k8s.io are converted to the version that the cluster is configured for, unless the
    manifest stays `as_written`. The object is deleted with its cluster, and replaced (deleted, then created) when a
    field changes that the API does not allow to change.
    """

    def __init__(
        self,
        manifest: Manifest,
        cluster: ClusterComponent,
        *,
        as_written: bool = False,
        parent: pulumi.Resource,
        depends_on: Sequence[pulumi.Resource] = (),
        replace_with: Sequence[pulumi.Resource] = (),
    ) -> None:
        """Create the object after `depends_on`, and replace it together with any of `replace_with`."""
        manifest = _labelled(manifest if as_written else convert(manifest, cluster.resource_api), cluster.labels)
        super().__init__(
            _type_token(manifest),
            _resource_name(manifest, as_written),
            _annotated(manifest, as_written),
            pulumi.ResourceOptions(
                parent=parent,
                provider=cluster.provider,
                depends_on=[cluster.command, *depends_on],
                deleted_with=cluster.deleted_with,
                replacement_trigger=cluster.command.id,
                delete_before_replace=True,
                retain_on_delete=_is_recreated(manifest),
                replace_on_changes=_replaced_on(manifest["kind"], as_written),
                replace_with=list(replace_with) or None,
                aliases=[pulumi.Alias(type_=_type_token(other)) for other in _in_other_versions(manifest)],
            ),
        )

    @property
    def uid(self) -> pulumi.Output[str | None]:
        """The UID that the API server gave the object; None in a preview before the object exists."""
        metadata: pulumi.Output[dict[str, str]] = pulumi.get(self, "metadata")
        return metadata.apply(lambda found: found.get("uid"))


def _replaced_on(kind: str, as_written: bool) -> list[str] | None:
    ours = None if as_written else REPLACE_OURS_ON_CHANGES.get(kind)
    return ours or REPLACE_ON_CHANGES.get(kind)


def _is_recreated(manifest: Manifest) -> bool:
    """Return whether a controller recreates the object as soon as it is deleted: a wait for its end may never end.

    https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/controller/serviceaccount/serviceaccounts_controller.go
    """
    return (manifest["kind"], manifest["metadata"]["name"]) == ("ServiceAccount", "default")


def _resource_name(manifest: Manifest, as_written: bool) -> str:
    """Return the object's Pulumi name, which contains the namespace: claims of several namespaces may share a name.

    The name of an object that holds devices for a workload leaves the namespace out, so that the object is replaced
    when it moves to another one. Otherwise its new pods would wait for the devices of the old ones, which Pulumi
    deletes at the end of the update.
    """
    name = str(manifest["metadata"]["name"])
    namespace = manifest["metadata"].get("namespace", DEFAULT_NAMESPACE)
    if namespace == DEFAULT_NAMESPACE or (manifest["kind"] in HOLDERS and not as_written):
        return name
    return f"{namespace}/{name}"


def _type_token(manifest: Manifest) -> str:
    if manifest["kind"] == "PodGroup":
        # The provider (4.25) would warn that scheduling.k8s.io/v1beta1 was removed, as it was for PriorityClass.
        return "kubernetes:scheduling.k8s.io/v1:PodGroup"
    version = str(manifest["apiVersion"])
    group_version = version if "/" in version else f"core/{version}"
    return f"kubernetes:{group_version}:{manifest['kind']}"


def _in_other_versions(manifest: Manifest) -> list[Manifest]:
    """Return the object in the other API versions that a stack may have had it in: it stays the same resource."""
    if not manifest["apiVersion"].startswith(f"{RESOURCE_API_GROUP}/"):
        return []
    versions = (f"{RESOURCE_API_GROUP}/{version}" for version in RESOURCE_API_VERSIONS)
    return [manifest | {"apiVersion": version} for version in versions if version != manifest["apiVersion"]]


def _labelled(manifest: Manifest, labels: Mapping[str, str]) -> Manifest:
    metadata = manifest["metadata"]
    merged = {**(metadata.get("labels") or {}), **labels}
    return manifest | {"metadata": metadata | {"labels": merged}} if labels else manifest


def _annotated(manifest: Manifest, as_written: bool) -> Manifest:
    """Return the object with the annotations that configure Pulumi's provider."""
    annotations = {}
    if manifest["kind"] in WAIT_FOR:
        annotations["pulumi.com/waitFor"] = WAIT_FOR[manifest["kind"]]
    is_bare_pod = manifest["kind"] == "Pod" and not as_written
    if is_bare_pod or (manifest["kind"] == "Node" and manifest["spec"].get("taints")):
        annotations |= FORCE
    if not annotations:
        return manifest
    metadata = manifest["metadata"]
    return manifest | {"metadata": metadata | {"annotations": annotations | (metadata.get("annotations") or {})}}
