"""Reads a dump: files of kubectl output, checked and converted to resource.k8s.io/v1."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

from pydantic import ValidationError

from topology.kubernetes.api_versions import RESOURCE_API_GROUP, RESOURCE_API_VERSIONS, as_v1
from twin.claim_objects import ResourceClaim, ResourceClaimTemplate
from twin.device_objects import DeviceClass, DeviceTaintRule, ResourceSlice
from twin.objects import Node, Object
from twin.parsing import UNCHANGED, UnreadableError, documents
from twin.pod_objects import Pod, PodGroup, PriorityClass
from twin.queue_objects import ClusterQueue, ConfigMap, Job, LocalQueue, ResourceFlavor

COMMAND = (
    "kubectl get nodes,resourceslices,deviceclasses,resourceclaims,resourceclaimtemplates,pods,priorityclasses -A "
    "-o json"
)

# The API groups of the kinds that are not in resource.k8s.io.
_GROUPS = {"ConfigMap": "", "Node": "", "Pod": "", "Job": "batch"}
_GROUPS |= dict.fromkeys(("PodGroup", "PriorityClass"), "scheduling.k8s.io")
_GROUPS |= dict.fromkeys(("ClusterQueue", "LocalQueue", "ResourceFlavor"), "kueue.x-k8s.io")


class DumpError(Exception):
    """A dump cannot be used; the message says where, why and what to do."""


class Dump(NamedTuple):
    """The objects of a cluster, each once; the list of a kind that the dump does not have is empty."""

    nodes: list[Node]
    slices: list[ResourceSlice]
    classes: list[DeviceClass]
    claims: list[ResourceClaim]
    templates: list[ResourceClaimTemplate]
    pods: list[Pod]
    groups: list[PodGroup]
    rules: list[DeviceTaintRule]
    priorities: list[PriorityClass]
    flavors: list[ResourceFlavor]
    cluster_queues: list[ClusterQueue]
    local_queues: list[LocalQueue]
    config_maps: list[ConfigMap]
    jobs: list[Job]


KINDS: dict[str, type[Object]] = {kind.__name__: kind for (kind,) in map(get_args, get_type_hints(Dump).values())}
"""The kinds that a twin is made from."""


class _Item(NamedTuple):
    """An object as kubectl printed it, and its place in the files."""

    place: str
    content: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.content.get("kind"))

    @property
    def is_needed(self) -> bool:
        """Whether a twin is made from its kind; a Job of another API group, such as Volcano's, is another kind."""
        group = str(self.content.get("apiVersion")).rpartition("/")[0]
        return self.kind in KINDS and ("." not in group or group == _GROUPS.get(self.kind, RESOURCE_API_GROUP))

    @property
    def described(self) -> str:
        metadata = self.content.get("metadata")
        names = [metadata.get(key) for key in ("namespace", "name")] if isinstance(metadata, dict) else []
        name = "/".join(name for name in names if isinstance(name, str))
        return f"{self.place}: {self.kind} {name or '(without a name)'}"


def read(files: Sequence[Path]) -> Dump:
    """Return the dump that the `files` make up.

    Raises:
        DumpError: a file cannot be read, is not kubectl output, or contains a Secret or an invalid object.
    """
    found: dict[str, dict[tuple[str, str], Any]] = {kind: {} for kind in KINDS}
    for file in files:
        for item in _items(file):
            if item.is_needed:
                _keep(item, found[item.kind])
    dump = Dump(*(list(objects.values()) for objects in found.values()))
    if not dump.slices:
        names = ", ".join(map(str, files))
        raise DumpError(f"{names}: no ResourceSlice, so there are no devices to simulate: run `{COMMAND}`")
    return dump


def _items(file: Path) -> Iterator[_Item]:
    try:
        found = documents(file.read_bytes())
    except OSError as error:
        raise DumpError(f"{file} cannot be read: {error.strerror}") from None
    except UnreadableError as error:
        raise DumpError(f"{file} {error}") from None
    for number, document in enumerate(found, 1):
        place = f"{file}, document {number}" if len(found) > 1 else str(file)
        if document is not None:
            yield from _objects(document, place)


def _objects(document: Any, place: str) -> Iterator[_Item]:
    """Yield the objects of a document, which is one object or a list of objects."""
    if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
        raise DumpError(f"{place} is neither a Kubernetes object nor a list of objects: run `{COMMAND}`")
    if not document["kind"].endswith("List"):
        yield _checked(_Item(place, document))
        return
    items = document.get("items") or []
    if not isinstance(items, list):
        raise DumpError(f"{place}: items is not a list: {UNCHANGED}")
    # The items of a list such as a PodList may omit their kind.
    common = {"apiVersion": document.get("apiVersion"), "kind": document["kind"].removesuffix("List")}
    for index, entry in enumerate(items):
        where = f"{place}, items[{index}]"
        if not isinstance(entry, dict):
            raise DumpError(f"{where} is not a Kubernetes object: {UNCHANGED}")
        yield _checked(_Item(where, common | entry))


def _checked(item: _Item) -> _Item:
    if item.kind == "Secret":
        raise DumpError(f"{item.described}: a dump must not contain Secrets: remove them, or run `{COMMAND}`")
    return item


def _keep(item: _Item, known: dict[tuple[str, str], Any]) -> None:
    """Add an object to the `known` ones of its kind; an identical duplicate is ignored."""
    try:
        read_object = KINDS[item.kind].model_validate(_as_v1(item))
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)[0]
        path = ".".join(map(str, details["loc"]))
        raise DumpError(f"{item.described}: {path}: {details['msg'].lower()}: {UNCHANGED}") from None
    if known.setdefault(read_object.key, read_object) != read_object:
        raise DumpError(
            f"{item.described} appears twice, with different content: a dump shows one cluster at one time; remove "
            "one of the two"
        )


def _as_v1(item: _Item) -> dict[str, Any]:
    group, _, version = str(item.content.get("apiVersion")).rpartition("/")
    if group != _GROUPS.get(item.kind, RESOURCE_API_GROUP):
        raise DumpError(f"{item.described}: {item.content.get('apiVersion')} has no kind {item.kind}: remove it")
    if group != RESOURCE_API_GROUP or item.kind == "DeviceTaintRule":
        return item.content
    if version not in RESOURCE_API_VERSIONS:
        raise DumpError(
            f"{item.described}: {RESOURCE_API_GROUP}/{version} is not supported, only "
            f"{', '.join(RESOURCE_API_VERSIONS)}: use a newer kubectl"
        )
    try:
        return as_v1(item.content)
    except (AttributeError, KeyError, TypeError):
        raise DumpError(f"{item.described} is not a valid object of {version}: {UNCHANGED}") from None
