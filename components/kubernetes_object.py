"""One Kubernetes object of the stack as a Pulumi resource."""

from collections.abc import Mapping, Sequence

import pulumi

from components.cluster_base import ClusterComponent
from topology.kubernetes.api_versions import RESOURCE_API_GROUP, RESOURCE_API_VERSIONS, convert
from topology.kubernetes.objects import DEFAULT_NAMESPACE, Manifest

REPLACE_ON_CHANGES = {
    # The API server drops a changed node status without a word: pkg/registry/core/node/strategy.go
    "Node": ["status"],
    # What puts a pod into its group does so when it is made (topology/pod_groups.py).
    "Pod": ["metadata.labels"],
    # Immutable: https://github.com/kubernetes/api/blob/v0.36.3/scheduling/v1alpha2/types.go (1.37: all but minCount)
    "PodGroup": ["spec"],
    # Immutable: https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/apis/resource/validation/validation.go
    # (A ResourceSlice's immutable fields are part of its name.)
    "ResourceClaim": ["spec"],
    "ResourceClaimTemplate": ["spec"],
}

# A rolling update waits for devices that the pods before hold, and for ever for pods that are to be pending. Fake pods
# serve nobody, so all may go first. Users' own Deployments roll as they would elsewhere.
REPLACE_OURS_ON_CHANGES = {"Deployment": ["spec.template"]}

MAKES_PODS = {"Deployment", "Job", "Pod"}
"""The kinds of workloads."""

# Pulumi waits ten minutes for these to be ready, and warns while they are not. Whether claims are satisfied is the
# business of `ClaimStatus`, so here it is enough that the object exists. (`pulumi.com/skipAwait` would skip waiting for
# deletion too, and a replacement would then meet its predecessor.) For a CRD it does not wait, so that objects of the
# kind might come too early.
# https://github.com/pulumi/pulumi-kubernetes/blob/master/provider/pkg/await/awaiters.go
_IT_IS_THERE = "jsonpath={.metadata.uid}"
WAIT_FOR = {
    "CustomResourceDefinition": "condition=Established",
    "DaemonSet": _IT_IS_THERE,
    "Deployment": _IT_IS_THERE,
    "Ingress": _IT_IS_THERE,
    "Job": _IT_IS_THERE,
    "PersistentVolume": _IT_IS_THERE,
    "PersistentVolumeClaim": _IT_IS_THERE,
    "Pod": _IT_IS_THERE,
    "ReplicationController": _IT_IS_THERE,
    "ResourceQuota": _IT_IS_THERE,
    "Service": _IT_IS_THERE,
    "StatefulSet": _IT_IS_THERE,
}

# What has claims made for it.
HOLDERS = MAKES_PODS | {"PodGroup"}


# The node lifecycle controller adds taints to a Node's own, which are one field to server-side apply: without force the
# provider would not change a Node any more that had one of those. Nor would it take over a bare pod that has been
# provisioned in bulk: admission has added tolerations to it.
FORCE = {"pulumi.com/patchForce": "true"}


class KubernetesObject(pulumi.CustomResource):
    """The object `manifest`, as it is on the wire, in `cluster`.

    It is handed over untyped, so that every kind, version and field works that the API server knows, a Node's status
    included; of resource.k8s.io in the version that the cluster is configured for, unless it is to stay `as_written`.
    It goes away with its cluster, and what the API does not let change is replaced: deleted, then created.
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
        """Create the object after `depends_on`, and replace it whenever one of `replace_with` is replaced."""
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
                retain_on_delete=_is_made_anew(manifest),
                replace_on_changes=_replaced_on(manifest["kind"], as_written),
                replace_with=list(replace_with) or None,
                aliases=[pulumi.Alias(type_=_type_token(other)) for other in _in_other_versions(manifest)],
            ),
        )

    @property
    def uid(self) -> pulumi.Output[str | None]:
        """The UID that the API server gave the object; None in a preview that comes before it."""
        metadata: pulumi.Output[dict[str, str]] = pulumi.get(self, "metadata")
        return metadata.apply(lambda made: made.get("uid"))


def _replaced_on(kind: str, as_written: bool) -> list[str] | None:
    ours = None if as_written else REPLACE_OURS_ON_CHANGES.get(kind)
    return ours or REPLACE_ON_CHANGES.get(kind)


def _is_made_anew(manifest: Manifest) -> bool:
    """Tell whether a controller makes the object again as soon as it is deleted: a wait for its end may be in vain.

    https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/controller/serviceaccount/serviceaccounts_controller.go
    """
    return (manifest["kind"], manifest["metadata"]["name"]) == ("ServiceAccount", "default")


def _resource_name(manifest: Manifest, as_written: bool) -> str:
    """Return the name by which Pulumi knows the object: claims of several namespaces may have the same name.

    What holds devices for a workload keeps its name when it moves to another namespace, and so is replaced: else its
    new pods would wait for the devices of the old ones, which stay until the end of the update.
    """
    name = str(manifest["metadata"]["name"])
    namespace = manifest["metadata"].get("namespace", DEFAULT_NAMESPACE)
    if namespace == DEFAULT_NAMESPACE or (manifest["kind"] in HOLDERS and not as_written):
        return name
    return f"{namespace}/{name}"


def _type_token(manifest: Manifest) -> str:
    if manifest["kind"] == "PodGroup":
        # The provider (4.25) would warn that scheduling.k8s.io/v1beta1 was removed long ago, as its PriorityClass was.
        return "kubernetes:scheduling.k8s.io/v1:PodGroup"
    version = str(manifest["apiVersion"])
    group_version = version if "/" in version else f"core/{version}"
    return f"kubernetes:{group_version}:{manifest['kind']}"


def _in_other_versions(manifest: Manifest) -> list[Manifest]:
    """Return the object in the versions that a stack may have had it in: it stays the same object."""
    if not manifest["apiVersion"].startswith(f"{RESOURCE_API_GROUP}/"):
        return []
    versions = (f"{RESOURCE_API_GROUP}/{version}" for version in RESOURCE_API_VERSIONS)
    return [manifest | {"apiVersion": version} for version in versions if version != manifest["apiVersion"]]


def _labelled(manifest: Manifest, labels: Mapping[str, str]) -> Manifest:
    metadata = manifest["metadata"]
    merged = {**(metadata.get("labels") or {}), **labels}
    return manifest | {"metadata": metadata | {"labels": merged}} if labels else manifest


def _annotated(manifest: Manifest, as_written: bool) -> Manifest:
    """Return the object with what Pulumi's provider has to know about it."""
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
