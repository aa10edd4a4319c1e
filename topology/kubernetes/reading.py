"""Reads manifests that users wrote, in which any part may be missing or have another type."""

from collections.abc import Iterator, Mapping
from typing import Any

from topology.kubernetes.api_versions import BUILT_IN_KINDS, RESOURCE_API_GROUP
from topology.kubernetes.objects import DEFAULT_NAMESPACE, Manifest

POD_SPECS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("", "Pod"): ("spec",),
    ("", "ReplicationController"): ("spec", "template", "spec"),
    ("apps", "DaemonSet"): ("spec", "template", "spec"),
    ("apps", "Deployment"): ("spec", "template", "spec"),
    ("apps", "ReplicaSet"): ("spec", "template", "spec"),
    ("apps", "StatefulSet"): ("spec", "template", "spec"),
    ("batch", "CronJob"): ("spec", "jobTemplate", "spec", "template", "spec"),
    ("batch", "Job"): ("spec", "template", "spec"),
}
"""The path of the pod spec in each kind that creates pods, by API group and kind."""


def part(value: Any, *path: str) -> Any:
    """Return the value at `path` in nested mappings, or None."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def entries(value: Any, *path: str) -> list[dict[str, Any]]:
    """Return the mappings in the list at `path`."""
    found = part(value, *path)
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def group_of(manifest: Manifest) -> str:
    """Return the API group; empty for the core group."""
    return str(manifest["apiVersion"]).rpartition("/")[0]


def namespace_of(manifest: Manifest) -> str:
    """Return the namespace, or `default` if the manifest has none."""
    return str(part(manifest, "metadata", "namespace") or DEFAULT_NAMESPACE)


def is_of_resource_api(manifest: Manifest, *kinds: str) -> bool:
    """Tell whether an object is in resource.k8s.io and, if `kinds` are given, has one of these kinds."""
    return group_of(manifest) == RESOURCE_API_GROUP and (not kinds or manifest["kind"] in kinds)


def pod_spec(manifest: Manifest) -> dict[str, Any] | None:
    """Return the spec of the pods that an object creates; None if it creates none."""
    path = POD_SPECS.get((group_of(manifest), manifest["kind"]))
    if path is None:
        return None
    spec = part(manifest, *path)
    return spec if isinstance(spec, dict) else {}


def creates_pods(manifest: Manifest) -> bool:
    """Tell whether an object with a pod spec creates pods at present: not if it is suspended, or wants none."""
    spec = manifest.get("spec")
    wanted = [part(spec, name) for name in ("replicas", "parallelism", "completions")]
    return part(spec, "suspend") is not True and 0 not in wanted


def has_pod_template(manifest: Manifest) -> bool:
    """Tell whether an object of a kind that is not part of Kubernetes contains a template for pods, as JobSets do."""
    return group_of(manifest) not in BUILT_IN_KINDS and _has_containers(manifest.get("spec"))


def _has_containers(value: Any) -> bool:
    if isinstance(value, dict):
        return isinstance(value.get("containers"), list) or any(map(_has_containers, value.values()))
    return isinstance(value, list) and any(map(_has_containers, value))


def limited_resources(spec: Any) -> Iterator[str]:
    """Yield the names of the resources for which the containers of a pod spec have limits."""
    for container in (*entries(spec, "initContainers"), *entries(spec, "containers")):
        limits = part(container, "resources", "limits")
        yield from map(str, limits if isinstance(limits, dict) else ())


def claims_named(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield kind and name of the ResourceClaims and ResourceClaimTemplates that a pod spec references."""
    for claim in entries(spec, "resourceClaims"):
        for key, kind in (
            ("resourceClaimName", "ResourceClaim"),
            ("resourceClaimTemplateName", "ResourceClaimTemplate"),
        ):
            if claim.get(key):
                yield kind, str(claim[key])


def requests_of(manifest: Manifest) -> Iterator[dict[str, Any]]:
    """Yield the requests of a ResourceClaim or ResourceClaimTemplate of any version, each alternative by itself."""
    spec = ("spec", "spec") if manifest["kind"] == "ResourceClaimTemplate" else ("spec",)
    for request in entries(manifest, *spec, "devices", "requests"):
        yield from entries(request, "firstAvailable") or [exactly(request)]


def exactly(request: Manifest) -> Manifest:
    """Return what a request without alternatives asks for; in v1beta1 that is the request itself."""
    found = part(request, "exactly")
    return found if isinstance(found, dict) else request
