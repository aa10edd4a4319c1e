"""Pods of manifests that no node of a stack can run: they are read as workloads, and checked like these."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from topology.checks.manifests import MUTATING_ADMISSION, ManifestObject, manifest_objects
from topology.checks.satisfiability import unsatisfiable_claims
from topology.kubernetes.api_versions import RESOURCE_API_GROUP
from topology.kubernetes.objects import Manifest, given
from topology.kubernetes.reading import creates_pods, entries, part, pod_spec
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
    of_stack: list[ManifestObject | None] = [None] * len(topology.claims)
    sources: dict[str, list[ManifestObject | None]] = {
        "workloads": [entry for entry, _ in pods],
        "claims": [*of_stack, *(entry for entry, _ in claims)],
    }
    yield from (_told(problem, sources) for problem in unsatisfiable_claims(read))


def _told(problem: Problem, sources: Mapping[str, Sequence[ManifestObject | None]]) -> Problem:
    """Return the problem at the file of the object that it is about."""
    found = re.fullmatch(r"(workloads|claims)\[([0-9]+)\]\.?(.*)", problem.path)
    entry = sources[found[1]][int(found[2])] if found else None
    if entry is None or found is None:
        return problem
    return entry.problem(f"{entry}: {found[3]}: {problem.message}" if found[3] else f"{entry}: {problem.message}")


def _shared_claim(entry: ManifestObject) -> SharedClaim | None:
    if entry.name[:2] != (RESOURCE_API_GROUP, "ResourceClaim"):
        return None
    values = {"name": entry.name[3], "namespace": entry.name[2], **_claim(entry.content.get("spec"))}
    try:
        return SharedClaim.model_validate(values)
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
        "tolerations": spec.get("tolerations") or [],
    }
    try:
        return Workload.model_validate(values)
    except ValidationError:
        return None  # Something that the API server allows, and a workload does not.


def _count(manifest: Manifest) -> int:
    """Return how many pods an object has at one time; 1 for a Job, whose pods take turns; 0 if that is not known."""
    if manifest["kind"] in ("CronJob", "DaemonSet") or not creates_pods(manifest):
        return 0
    if manifest["kind"] in ("Job", "Pod"):
        return 1
    replicas = part(manifest, "spec", "replicas")
    return 1 if replicas is None else replicas if type(replicas) is int else 0


def _resources(container: Mapping[str, Any]) -> dict[str, str]:
    found = [part(container, "resources", kind) for kind in ("limits", "requests")]
    amounts = {name: str(amount) for some in found if isinstance(some, dict) for name, amount in some.items()}
    return {name: amount for name, amount in amounts.items() if amount != "0"}


def _claim(spec: Any) -> dict[str, Any]:
    """Return the keys of a claim of the configuration, from the spec of a ResourceClaim in any version."""
    devices = part(spec, "devices")
    return {
        "requests": [_request(request) for request in entries(devices, "requests")],
        "constraints": entries(devices, "constraints"),
    }


def _request(request: Mapping[str, Any]) -> dict[str, Any]:
    if alternatives := entries(request, "firstAvailable"):
        return {"name": request.get("name"), "firstAvailable": [_selection(entry) for entry in alternatives]}
    exactly = part(request, "exactly")
    return {**_selection(exactly if isinstance(exactly, dict) else request), "name": request.get("name")}


def _selection(selection: Mapping[str, Any]) -> dict[str, Any]:
    selectors = [part(entry, "cel", "expression") for entry in entries(selection, "selectors")]
    return given(
        name=selection.get("name"),
        deviceClass=selection.get("deviceClassName"),
        allocationMode=selection.get("allocationMode"),
        count=None if selection.get("allocationMode") == "All" else selection.get("count"),
        selectors=selectors,
        adminAccess=selection.get("adminAccess"),
        capacity=part(selection, "capacity", "requests"),
        tolerations=entries(selection, "tolerations"),
        derivedAttributes=entries(selection, "derivedAttributes"),
    )
