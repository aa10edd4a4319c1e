"""Pods of manifests that no node of a stack can run: they are read as workloads, and checked like these."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from topology.checks.manifests import MUTATING_ADMISSION, ManifestObject, manifest_objects
from topology.checks.satisfiability import unsatisfiable_claims
from topology.kubernetes.api_versions import RESOURCE_API_GROUP
from topology.kubernetes.objects import Manifest, given
from topology.kubernetes.reading import creates_pods, entries, exactly, part, pod_spec
from topology.schema.base import Problem
from topology.schema.claims import SharedClaim
from topology.schema.stack import Topology
from topology.schema.workloads import Workload

UNKNOWN = {
    ("", "Node"),
    (RESOURCE_API_GROUP, "ResourceSlice"),
    (RESOURCE_API_GROUP, "DeviceClass"),
    *MUTATING_ADMISSION,
}
"""Nodes, devices, classes and changes of pods that only the user's files describe: what can run is not known here."""

UNREAD = (
    "affinity",
    "initContainers",
    "nodeName",
    "runtimeClassName",
    "schedulingGates",
    "schedulingGroup",
    "topologySpreadConstraints",
)
"""Fields of a pod's spec that workloads do not have: a pod with one is left to the scheduler."""

_Read = TypeVar("_Read", SharedClaim, Workload)


def unsatisfiable_manifests(topology: Topology) -> Iterator[Problem]:
    """Yield why pods of manifests cannot run, except where the entry expects that they wait."""
    objects = manifest_objects(topology)
    if topology.cluster.existing or any(entry.name[:2] in UNKNOWN for entry in objects):
        return
    claims = [(entry, claim) for entry in objects if (claim := _shared_claim(entry))]
    templates = {
        entry.name[2:]: entry for entry in objects if entry.name[:2] == (RESOURCE_API_GROUP, "ResourceClaimTemplate")
    }
    shared = {(claim.namespace, claim.name) for claim in (*topology.claims, *(claim for _, claim in claims))}
    pods = [
        (entry, workload)
        for entry in objects
        if not entry.entry.expect.model_fields_set and (workload := _workload(entry, templates, shared))
    ]
    read = topology.model_copy(
        update={
            "claims": [*topology.claims, *(claim for _, claim in claims)],
            "workloads": [workload for _, workload in pods],
            "manifests": [],
        }
    )
    sources = {f"workloads[{index}]": entry for index, (entry, _) in enumerate(pods)}
    sources |= {f"claims[{index}]": entry for index, (entry, _) in enumerate(claims, len(topology.claims))}
    yield from (_told(problem, sources) for problem in unsatisfiable_claims(read))


def _told(problem: Problem, sources: Mapping[str, ManifestObject]) -> Problem:
    """Return the problem at the file of the object that it is about."""
    source, _, key = problem.path.partition(".")
    if (entry := sources.get(source)) is None:
        return problem
    return entry.problem(f"{entry}: {f'{key}: ' if key else ''}{problem.message}")


def _shared_claim(entry: ManifestObject) -> SharedClaim | None:
    if entry.name[:2] != (RESOURCE_API_GROUP, "ResourceClaim"):
        return None
    values = {"name": entry.name[3], "namespace": entry.name[2], **_claim(entry.content.get("spec"))}
    return _read(SharedClaim, values)


def _read(model: type[_Read], values: Manifest) -> _Read | None:
    """Return what these values describe; None for something that the API server allows, and the model does not."""
    try:
        return model.model_validate(values)
    except ValidationError:
        return None


def _workload(
    entry: ManifestObject, templates: Mapping[tuple[str, str], ManifestObject], shared: set[tuple[str, str]]
) -> Workload | None:
    """Return the pods of an object as a workload; None if there are none, or a workload cannot say all of them."""
    spec = pod_spec(entry.content)
    count = _count(entry.content)
    if not spec or not count or any(spec.get(field) for field in UNREAD):
        return None
    claims: list[dict[str, Any]] = []
    for used in entries(spec, "resourceClaims"):
        template = templates.get((entry.name[2], str(used.get("resourceClaimTemplateName"))))
        if (entry.name[2], used.get("resourceClaimName")) in shared:
            claims.append({"name": used.get("name"), "claim": used["resourceClaimName"]})
        elif template:
            claims.append({"name": used.get("name"), **_claim(part(template.content, "spec", "spec"))})
        else:
            return None
    values = {
        "name": "pods",
        "kind": "Job" if entry.content["kind"] in ("CronJob", "Job") else "Deployment",
        "namespace": entry.name[2],
        "replicas": count,
        "claims": claims,
        "containers": [
            {"name": container.get("name"), "resources": _resources(container)}
            for container in entries(spec, "containers")
        ],
        "nodeSelector": spec.get("nodeSelector") or {},
        "scheduler": spec.get("schedulerName"),
        "tolerations": spec.get("tolerations") or [],
    }
    return _read(Workload, values)


def _count(manifest: Manifest) -> int:
    """Return how many pods an object has at one time; 1 for a Job, whose pods take turns; 0 if that is not known."""
    if manifest["kind"] in ("CronJob", "DaemonSet") or not creates_pods(manifest):
        return 0
    if manifest["kind"] in ("Job", "Pod"):
        return 1
    replicas = part(manifest, "spec", "replicas")
    return 1 if replicas is None else replicas if type(replicas) is int else 0


def _resources(container: Manifest) -> dict[str, str]:
    found = [part(container, "resources", kind) for kind in ("limits", "requests")]
    amounts = {name: str(amount) for some in found if isinstance(some, dict) for name, amount in some.items()}
    return {name: amount for name, amount in amounts.items() if amount != "0"}


def _claim(spec: Any) -> Manifest:
    """Return the keys of a claim of the configuration, from the spec of a ResourceClaim in any version."""
    devices = part(spec, "devices")
    return {
        "requests": [_request(request) for request in entries(devices, "requests")],
        "constraints": entries(devices, "constraints"),
    }


def _request(request: Manifest) -> Manifest:
    if alternatives := entries(request, "firstAvailable"):
        return {"name": request.get("name"), "firstAvailable": [_selection(entry) for entry in alternatives]}
    return {**_selection(exactly(request)), "name": request.get("name")}


def _selection(selection: Manifest) -> Manifest:
    return given(
        name=selection.get("name"),
        deviceClass=selection.get("deviceClassName"),
        allocationMode=selection.get("allocationMode"),
        count=None if selection.get("allocationMode") == "All" else selection.get("count"),
        selectors=[part(entry, "cel", "expression") for entry in entries(selection, "selectors")],
        adminAccess=selection.get("adminAccess"),
        capacity=part(selection, "capacity", "requests"),
        tolerations=entries(selection, "tolerations"),
        derivedAttributes=entries(selection, "derivedAttributes"),
    )
