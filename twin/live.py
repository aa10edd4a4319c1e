"""Writes the dump of a running stack: what kubectl prints, without the fields that only the cluster sets."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from cluster.fleet.running_stack import read
from topology.kubernetes.feature_gates import served
from topology.kubernetes.naming import natural_key
from topology.kubernetes.objects import RESOURCE_API_VERSION
from topology.kubernetes.reading import part
from topology.objects import kueue
from topology.objects.device_taints import rule_version
from topology.objects.kwok_stages import ATTACH_FAILS
from topology.schema.features_used import features_used
from topology.schema.stack import Topology
from twin.dump import KINDS, DumpError
from twin.parsing import plain
from twin.pod_objects import ENDED
from twin.queue_objects import Job

# Labels that tools and controllers put on every object.
_LABELS_LEFT_OUT = ("app.kubernetes.io/managed-by", "pod-template-hash", "controller-revision-hash")

_OF_QUEUES = ("ResourceFlavor", "ClusterQueue", "LocalQueue")

Object = dict[str, Any]


def write(stack: str, file: Path) -> str:
    """Write the dump of `stack` to `file`, and return its path.

    Raises:
        DumpError: the file cannot be written.
        cluster.fleet.running_stack.NothingToShowError: the stack is not up.
    """
    found = read(stack, _kinds)
    items = objects([*found.objects, *kueue.own_configuration(found.topology)], _api_versions(found.topology))
    text = _HEADER + yaml.dump({"apiVersion": "v1", "kind": "List", "items": items}, Dumper=_Dumper, sort_keys=False)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DumpError(f"{file} cannot be written: {error.strerror}") from None
    return str(file)


_HEADER = "# A dump of a simulated fleet, without names, addresses or UIDs of real machines.\n"


class _Dumper(yaml.CSafeDumper):
    """Quotes strings that could be read as anything else, as kubectl does."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Return the YAML node of a string."""
        style = None if plain(text) == text else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)


def _kinds(topology: Topology) -> list[str]:
    grouped = "pod groups" in features_used(topology)
    groups = [f"PodGroup=/apis/{_api_versions(topology)['PodGroup']}/podgroups"] if grouped else []
    priorities = ["PriorityClass=/apis/scheduling.k8s.io/v1/priorityclasses"] if topology.priority_classes else []
    queues = [f"{kind}=/apis/{kueue.API_VERSION}/{kind.lower()}s" for kind in _OF_QUEUES]
    return ["ResourceClaimTemplate", *groups, *priorities, *(["Job", *queues] if kueue.is_used(topology) else [])]


def _api_versions(topology: Topology) -> dict[str, str]:
    """Return the API versions in which the objects of a stack are read, except resource.k8s.io/v1."""
    minor = topology.cluster.minor
    groups = served("pod groups", minor) or ""
    found = {"Node": "v1", "Pod": "v1", "PodGroup": groups, "DeviceTaintRule": rule_version(minor)}
    found |= dict.fromkeys(_OF_QUEUES, kueue.API_VERSION) | {"ConfigMap": "v1", "Job": "batch/v1"}
    return found | {"PriorityClass": "scheduling.k8s.io/v1"}


def objects(live: Sequence[Mapping[str, Any]], versions: Mapping[str, str]) -> list[Object]:
    """Return the objects of the dump: those that a twin needs, with the fields that it needs.

    Pods and claims with random names are numbered. Pods that have ended are left out, as they hold no devices, and so
    are Jobs that Kueue does not hold, and templates that no other pod or Job uses.
    """
    found = {
        (entry["kind"], *_key(entry)): entry
        for entry in live
        if entry["kind"] in KINDS and not _is_made_by_kwok(entry) and not _is_under_way(entry)
    }
    pods = [entry for (kind, *_), entry in found.items() if kind == "Pod"]
    active = [pod for pod in pods if pod["status"].get("phase") not in ENDED]
    claims = {_key(entry): entry for (kind, *_), entry in found.items() if kind == "ResourceClaim"}
    names = _names(active, claims, [entry for entry in live if entry["kind"] == "ReplicaSet"])
    jobs = [entry for (kind, *_), entry in found.items() if kind == "Job"]
    templates = {key for entry in (*active, *jobs) for key in _templates_of(entry)}
    used = {"Pod": set(map(_key, active)), "ResourceClaimTemplate": templates}
    kept = [entry for entry in found.values() if entry["kind"] not in used or _key(entry) in used[entry["kind"]]]
    written = [
        {"apiVersion": versions.get(entry["kind"], RESOURCE_API_VERSION), **_written(entry, names)} for entry in kept
    ]
    return sorted(written, key=lambda entry: (list(KINDS).index(entry["kind"]), *map(natural_key, _key(entry))))


def _is_made_by_kwok(entry: Mapping[str, Any]) -> bool:
    """Return whether KWOK created a DeviceTaintRule for a device that fails to attach; it does so again in a twin."""
    return entry["kind"] == "DeviceTaintRule" and ATTACH_FAILS in entry["metadata"].get("labels", {})


def _is_under_way(entry: Mapping[str, Any]) -> bool:
    """Return whether an object is a Job that Kueue does not hold: its pods stand for it."""
    return entry["kind"] == "Job" and not Job.model_validate(entry).held_pods


def _key(entry: Mapping[str, Any]) -> tuple[str, str]:
    return entry["metadata"].get("namespace", ""), entry["metadata"]["name"]


def _templates_of(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    spec = part(entry, "spec", "template", "spec") or entry["spec"]
    return [(_key(entry)[0], claim.get("resourceClaimTemplateName", "")) for claim in spec.get("resourceClaims", [])]


_Names = dict[tuple[str, str, str], str]
"""The new name of each pod, claim and ReplicaSet, by kind, namespace and old name."""


def _names(
    pods: Sequence[Mapping[str, Any]],
    claims: Mapping[tuple[str, str], Mapping[str, Any]],
    replica_sets: Iterable[Mapping[str, Any]],
) -> _Names:
    """Name ReplicaSets after their Deployments, and number the pods of each owner."""
    names: _Names = {
        ("ReplicaSet", *_key(entry)): owner["name"]
        for entry in replica_sets
        for owner in entry["metadata"].get("ownerReferences", [])
    }
    by_owner: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for pod in pods:
        by_owner[pod["metadata"]["namespace"], _owner(pod, names)].append(pod)
    for (namespace, owner), found in by_owner.items():
        for number, pod in enumerate(sorted(found, key=lambda pod: _holding(pod, claims))):
            name = f"{owner}-{number}" if owner else pod["metadata"]["name"]
            names["Pod", namespace, pod["metadata"]["name"]] = name
            for claim, old in _claims_of(pod).items():
                if claims.get((namespace, old), {}).get("metadata", {}).get("generateName"):
                    names.setdefault(("ResourceClaim", namespace, old), f"{name}-{claim}")
    return names


def _owner(pod: Mapping[str, Any], names: _Names) -> str:
    """Return the new name of the controller that owns a pod; empty for a bare pod."""
    for owner in pod["metadata"].get("ownerReferences", []):
        if owner["kind"] != "PodGroup":
            name: str = owner["name"]
            return names.get((owner["kind"], pod["metadata"]["namespace"], name), name)
    return ""


def _claims_of(pod: Mapping[str, Any]) -> dict[str, str]:
    status = pod["status"]
    found = {
        entry["name"]: entry["resourceClaimName"]
        for entry in status.get("resourceClaimStatuses", [])
        if entry.get("resourceClaimName")
    }
    extended = status.get("extendedResourceClaimStatus")
    return found | ({"extended-resources": extended["resourceClaimName"]} if extended else {})


def _holding(pod: Mapping[str, Any], claims: Mapping[tuple[str, str], Mapping[str, Any]]) -> list[Any]:
    """Return a sort key for pods of one owner, whose names are random: their node and devices."""
    namespace = pod["metadata"]["namespace"]
    held = [claims.get((namespace, name), {}).get("status", {}) for name in _claims_of(pod).values()]
    results = [status.get("allocation", {}).get("devices", {}).get("results", []) for status in held]
    devices = [f"{one['driver']}/{one['pool']}/{one['device']}" for some in results for one in some]
    node = pod["spec"].get("nodeName", "")
    return [not node, natural_key(node), [natural_key(device) for device in devices], pod["metadata"]["name"]]


def _written(entry: Mapping[str, Any], names: _Names) -> Object:
    kind = entry["kind"]
    content = KINDS[kind].model_validate(entry).model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)
    metadata = content["metadata"]
    if kind in ("Pod", "ResourceClaim"):
        namespace = metadata.get("namespace", "default")
        metadata["name"] = names.get((kind, namespace, metadata["name"]), metadata["name"])
        _rename(content, entry, names)
    if entry["metadata"].get("namespace"):
        metadata["namespace"] = entry["metadata"]["namespace"]
    if labels := {key: text for key, text in metadata.get("labels", {}).items() if key not in _LABELS_LEFT_OUT}:
        metadata["labels"] = labels
    else:
        metadata.pop("labels", None)
    if kind == "Node":  # A fake node has no kubelet: what it does not declare it does not have.
        content.setdefault("status", {}).setdefault("declaredFeatures", [])
    return {"kind": kind, **content}


def _rename(content: Object, entry: Mapping[str, Any], names: _Names) -> None:
    """Replace the names of pods, claims and ReplicaSets wherever an object refers to them."""
    namespace = entry["metadata"].get("namespace", "default")

    def rename(kind: str, reference: Object, key: str) -> None:
        name = reference.get(key, "")
        reference[key] = names.get((kind, namespace, name), name)

    status = content.get("status", {})
    extended = status.get("extendedResourceClaimStatus")
    for claim in [*status.get("resourceClaimStatuses", []), *([extended] if extended else [])]:
        rename("ResourceClaim", claim, "resourceClaimName")
    for consumer in status.get("reservedFor", []):
        rename("Pod", consumer, "name")
    status.get("reservedFor", []).sort(key=lambda consumer: natural_key(consumer["name"]))
    for owner in content["metadata"].get("ownerReferences", []):
        rename(owner["kind"], owner, "name")
