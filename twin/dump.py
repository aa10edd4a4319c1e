"""What kubectl printed on a cluster: files of it, read, checked, and brought to resource.k8s.io/v1."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from topology.kubernetes.api_versions import RESOURCE_API_GROUP, RESOURCE_API_VERSIONS, as_v1
from twin.objects import (
    GROUPS,
    KINDS,
    DeviceClass,
    DeviceTaintRule,
    Node,
    Object,
    Pod,
    PodGroup,
    ResourceClaim,
    ResourceClaimTemplate,
    ResourceSlice,
)
from twin.parsing import UnreadableError, documents

COMMAND = "kubectl get nodes,resourceslices,deviceclasses,resourceclaims,resourceclaimtemplates,pods -A -o json"

_AnyObject = TypeVar("_AnyObject", bound=Object)


class DumpError(Exception):
    """Why a dump cannot be used: where, what, and what to do, in one message."""


class Dump(NamedTuple):
    """The objects of a cluster, each once; of a kind that the dump does not have there are none."""

    nodes: list[Node]
    slices: list[ResourceSlice]
    classes: list[DeviceClass]
    claims: list[ResourceClaim]
    templates: list[ResourceClaimTemplate]
    pods: list[Pod]
    groups: list[PodGroup]
    rules: list[DeviceTaintRule]


class _Item(NamedTuple):
    """An object as it is written, and where."""

    place: str
    content: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.content.get("kind"))

    @property
    def words(self) -> str:
        metadata = self.content.get("metadata")
        names = [metadata.get(key) for key in ("namespace", "name")] if isinstance(metadata, dict) else []
        name = "/".join(name for name in names if isinstance(name, str))
        return f"{self.place}: {self.kind} {name or '(without a name)'}"


def read(files: Sequence[Path]) -> Dump:
    """Read the `files`, which are one dump together.

    Raises:
        DumpError: a file cannot be read, is no dump, or has what no twin may be made of.
    """
    found: dict[str, dict[tuple[str, str], Object]] = {kind: {} for kind in KINDS}
    for file in files:
        for item in _items(file):
            if item.kind in KINDS:
                _keep(item, found[item.kind])
    dump = Dump(
        _all(found, Node),
        _all(found, ResourceSlice),
        _all(found, DeviceClass),
        _all(found, ResourceClaim),
        _all(found, ResourceClaimTemplate),
        _all(found, Pod),
        _all(found, PodGroup),
        _all(found, DeviceTaintRule),
    )
    if not dump.slices:
        names = ", ".join(map(str, files))
        raise DumpError(f"{names}: there is no ResourceSlice, so there are no devices to simulate: print `{COMMAND}`")
    return dump


def _all(found: dict[str, dict[tuple[str, str], Object]], kind: type[_AnyObject]) -> list[_AnyObject]:
    return [entry for entry in found[kind.__name__].values() if isinstance(entry, kind)]


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
    """Go through a document: an object, or a list of them."""
    if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
        raise DumpError(f"{place} is no Kubernetes object, nor a list of them: print `{COMMAND}`")
    if not document["kind"].endswith("List"):
        yield _checked(_Item(place, document))
        return
    items = document.get("items") or []
    if not isinstance(items, list):
        raise DumpError(f"{place}: items is no list: give what kubectl printed as it is")
    # The entries of a list of one kind need not name it.
    common = {"apiVersion": document.get("apiVersion"), "kind": document["kind"].removesuffix("List")}
    for index, entry in enumerate(items):
        where = f"{place}, items[{index}]"
        if not isinstance(entry, dict):
            raise DumpError(f"{where} is no Kubernetes object: give what kubectl printed as it is")
        yield _checked(_Item(where, common | entry))


def _checked(item: _Item) -> _Item:
    if item.kind == "Secret":
        raise DumpError(f"{item.words}: no twin is made of a dump with secrets: take them out, or print `{COMMAND}`")
    return item


def _keep(item: _Item, known: dict[tuple[str, str], Object]) -> None:
    """Add an object to those `known` of its kind; the same one may be there twice."""
    try:
        read_object = KINDS[item.kind].model_validate(_as_v1(item))
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)[0]
        path = ".".join(map(str, details["loc"]))
        raise DumpError(f"{item.words}: {path}: {details['msg'].lower()}: give what kubectl printed as it is") from None
    if known.setdefault(read_object.key, read_object) != read_object:
        raise DumpError(
            f"{item.words} is there twice, and not the same: a dump is of one cluster at one moment, so take one of "
            "them out"
        )


def _as_v1(item: _Item) -> dict[str, Any]:
    group, _, version = str(item.content.get("apiVersion")).rpartition("/")
    if group != GROUPS.get(item.kind, RESOURCE_API_GROUP):
        raise DumpError(f"{item.words}: no {item.kind} is of {item.content.get('apiVersion')}: take it out")
    if group != RESOURCE_API_GROUP or item.kind == "DeviceTaintRule":
        return item.content
    if version not in RESOURCE_API_VERSIONS:
        raise DumpError(
            f"{item.words} is of {RESOURCE_API_GROUP}/{version}, which is not read: "
            f"{', '.join(RESOURCE_API_VERSIONS)} are; print it with a newer kubectl"
        )
    try:
        return as_v1(item.content)
    except (AttributeError, KeyError, TypeError):
        raise DumpError(f"{item.words} is no object of {version}: give what kubectl printed as it is") from None
