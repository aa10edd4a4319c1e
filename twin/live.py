"""The dump of a stack that is up: what kubectl would print, without what the cluster alone has set."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from cluster.fleet.running_stack import read
from topology.kubernetes.feature_gates import served
from topology.kubernetes.objects import RESOURCE_API_VERSION
from topology.objects.device_taints import rule_version
from topology.objects.kwok_stages import ATTACH_FAILS
from topology.schema.features_used import features_used
from topology.schema.stack import Topology
from twin.dump import DumpError
from twin.fleet import natural
from twin.objects import KINDS
from twin.parsing import plain

_ENDED = ("Succeeded", "Failed")
# What tools and controllers put on everything.
_LABELS_LEFT_OUT = ("app.kubernetes.io/managed-by", "pod-template-hash", "controller-revision-hash")

Object = dict[str, Any]


def write(stack: str, file: Path) -> str:
    """Write the dump of `stack`, and return where it is.

    Raises:
        DumpError: the file cannot be written.
        views.live.NothingToShowError: the stack is not up.
    """
    found = read(stack, _kinds)
    items = objects(found.objects, _api_versions(found.topology))
    text = _HEADER + yaml.dump({"apiVersion": "v1", "kind": "List", "items": items}, Dumper=_Dumper, sort_keys=False)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DumpError(f"{file} cannot be written: {error.strerror}") from None
    return str(file)


_HEADER = "# A simulated fleet; no names, addresses or uids of real machines are in it.\n"


class _Dumper(yaml.CSafeDumper):
    """Puts a text in quotes that could be anything else, as kubectl does it."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Write a text."""
        style = None if plain(text) == text else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)


def _kinds(topology: Topology) -> list[str]:
    grouped = "pod groups" in features_used(topology)
    groups = [f"PodGroup=/apis/{_api_versions(topology)['PodGroup']}/podgroups"] if grouped else []
    return ["ResourceClaimTemplate", *groups]


def _api_versions(topology: Topology) -> dict[str, str]:
    """Return the group versions in which the objects of a stack are read, but for those of resource.k8s.io/v1."""
    minor = topology.cluster.minor
    groups = served("pod groups", minor) or ""
    return {"Node": "v1", "Pod": "v1", "PodGroup": groups, "DeviceTaintRule": rule_version(minor)}


def objects(live: Iterable[Mapping[str, Any]], versions: Mapping[str, str]) -> list[Object]:
    """Return the objects of the dump: those that a twin is made of, each with what a twin is made of.

    Pods and claims whose names end at random are numbered. Pods that have run to their end hold nothing, and templates
    that no other pod uses are of no use to anybody.
    """
    found = {
        (entry["kind"], *_key(entry)): entry for entry in live if entry["kind"] in KINDS and not _is_made_by_kwok(entry)
    }
    pods = [entry for (kind, *_), entry in found.items() if kind == "Pod"]
    there = [pod for pod in pods if pod["status"].get("phase") not in _ENDED]
    claims = {_key(entry): entry for (kind, *_), entry in found.items() if kind == "ResourceClaim"}
    names = _names(there, claims)
    used = {"Pod": set(map(_key, there)), "ResourceClaimTemplate": {key for pod in there for key in _templates_of(pod)}}
    kept = [entry for entry in found.values() if entry["kind"] not in used or _key(entry) in used[entry["kind"]]]
    written = [
        {"apiVersion": versions.get(entry["kind"], RESOURCE_API_VERSION), **_written(entry, names)} for entry in kept
    ]
    return sorted(written, key=lambda entry: (list(KINDS).index(entry["kind"]), *map(natural, _key(entry))))


def _is_made_by_kwok(entry: Mapping[str, Any]) -> bool:
    """Tell whether KWOK has made a DeviceTaintRule, of a device that could not be attached: it does so again."""
    return entry["kind"] == "DeviceTaintRule" and ATTACH_FAILS in entry["metadata"].get("labels", {})


def _key(entry: Mapping[str, Any]) -> tuple[str, str]:
    return entry["metadata"].get("namespace", ""), entry["metadata"]["name"]


def _templates_of(pod: Mapping[str, Any]) -> list[tuple[str, str]]:
    claims = pod["spec"].get("resourceClaims", [])
    return [(pod["metadata"]["namespace"], claim.get("resourceClaimTemplateName", "")) for claim in claims]


_Names = dict[tuple[str, str, str], str]
"""The new name of each pod and claim: by kind, namespace and the old one."""


def _names(pods: Sequence[Mapping[str, Any]], claims: Mapping[tuple[str, str], Mapping[str, Any]]) -> _Names:
    by_owner: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for pod in pods:
        by_owner[pod["metadata"]["namespace"], _owner(pod) or ""].append(pod)
    names: _Names = {}
    for (namespace, owner), found in by_owner.items():
        for number, pod in enumerate(sorted(found, key=lambda pod: _holding(pod, claims))):
            name = f"{owner}-{number}" if owner else pod["metadata"]["name"]
            names["Pod", namespace, pod["metadata"]["name"]] = name
            for claim, old in _claims_of(pod).items():
                if claims.get((namespace, old), {}).get("metadata", {}).get("generateName"):
                    names.setdefault(("ResourceClaim", namespace, old), f"{name}-{claim}")
    return names


def _owner(pod: Mapping[str, Any]) -> str | None:
    """Return the name of what made the pod, without the hash that a ReplicaSet has from its Deployment."""
    for owner in pod["metadata"].get("ownerReferences", []):
        if owner["kind"] != "PodGroup":
            template = pod["metadata"].get("labels", {}).get("pod-template-hash", "")
            return str(owner["name"]).removesuffix(f"-{template}")
    return None


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
    """Sort pods of one owner by where they are and what they hold, as their names are random."""
    namespace = pod["metadata"]["namespace"]
    held = [claims.get((namespace, name), {}).get("status", {}) for name in _claims_of(pod).values()]
    results = [status.get("allocation", {}).get("devices", {}).get("results", []) for status in held]
    devices = [f"{one['driver']}/{one['pool']}/{one['device']}" for some in results for one in some]
    node = pod["spec"].get("nodeName", "")
    return [not node, natural(node), [natural(device) for device in devices], pod["metadata"]["name"]]


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
    return {"kind": kind, **content}


def _rename(content: Object, entry: Mapping[str, Any], names: _Names) -> None:
    """Give pods and claims their new names wherever they are named."""
    namespace = entry["metadata"].get("namespace", "default")
    status = content.get("status", {})
    for claim in status.get("resourceClaimStatuses", []):
        name = claim.get("resourceClaimName", "")
        claim["resourceClaimName"] = names.get(("ResourceClaim", namespace, name), name)
    if extended := status.get("extendedResourceClaimStatus"):
        name = extended["resourceClaimName"]
        extended["resourceClaimName"] = names.get(("ResourceClaim", namespace, name), name)
    for consumer in status.get("reservedFor", []):
        consumer["name"] = names.get(("Pod", namespace, consumer["name"]), consumer["name"])
    status.get("reservedFor", []).sort(key=lambda consumer: natural(consumer["name"]))
    if owners := content["metadata"].get("ownerReferences"):
        for owner in owners:
            owner["name"] = (
                names.get(("Pod", namespace, owner["name"]), owner["name"])
                if owner["kind"] == "Pod"
                else _owner(entry) or owner["name"]
            )
