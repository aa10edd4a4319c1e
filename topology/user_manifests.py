"""The user's own manifests: files of Kubernetes objects that a stack applies, as configured."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import yaml
from pydantic import BeforeValidator, Field, InstanceOf, ValidationInfo

from topology.api_versions import RESOURCE_API_GROUP
from topology.files import UnreadableError, content, parsed
from topology.manifests import Manifest
from topology.model import Model
from topology.progress import Maker
from topology.values import DnsLabel, problem
from topology.workloads import DEFAULT_NAMESPACE, Expectation

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
"""The kinds that make pods, by group and kind, and where they say what pods."""

_FIRST = {"CustomResourceDefinition", "Namespace"}


class Document(NamedTuple):
    """What a file has at a `place`: document 2, or document 2, item 1 of a List; an object if all is right."""

    place: str
    content: Any


class ManifestFile(NamedTuple):
    """A file with several documents."""

    name: str
    documents: list[Document]


class _Loader(yaml.SafeLoader):
    """Reads YAML as Kubernetes does, to which `2026-01-01` is a text."""


_Loader.yaml_implicit_resolvers = {
    first: [entry for entry in entries if entry[0] != "tag:yaml.org,2002:timestamp"]
    for first, entries in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _read(name: object, info: ValidationInfo) -> ManifestFile:
    if not isinstance(name, str):
        raise problem(f"has to be the path of a file, but is {name!r}")
    try:
        text = content((info.context or {})["folder"], name)
        found = parsed(name, lambda: [_as_json(entry) for entry in yaml.load_all(text, Loader=_Loader)])
    except UnreadableError as error:
        raise problem(str(error)) from None
    documents = [each for number, entry in enumerate(found, 1) for each in _flat(f"document {number}", entry)]
    if not documents:
        raise problem(f"{name!r} has no Kubernetes object in it: leave it out")
    return ManifestFile(name, documents)


def _as_json(document: object) -> object:
    """Return what Kubernetes makes of a document, which has nothing but JSON in it."""
    try:
        return json.loads(json.dumps(document, allow_nan=False))
    except TypeError as error:
        raise ValueError(error) from None


def _flat(place: str, found: object) -> Iterator[Document]:
    """Take a List apart, and leave out what is empty."""
    if isinstance(found, dict) and found.get("kind") == "List" and isinstance(found.get("items"), list):
        for number, item in enumerate(found["items"], 1):
            yield from _flat(f"{place}, item {number}", item)
    elif found is not None:
        yield Document(place, found)


class Manifests(Model):
    """The Kubernetes objects of some `files`, applied as they are, after what is named in `after`.

    What is expected (default: every claim of its pods is allocated, and every pod that its objects want runs) has to
    hold after `ready_timeout_seconds`, or the update fails and says why.
    """

    name: DnsLabel
    files: Annotated[list[Annotated[InstanceOf[ManifestFile], BeforeValidator(_read)]], Field(min_length=1)]
    after: list[DnsLabel] = []
    expect: Expectation = Expectation()
    ready_timeout_seconds: Annotated[int, Field(ge=1, le=86_400)] = 120

    @property
    def expected_pending(self) -> int:
        """How many claims are to be pending."""
        return self.expect.pending

    @property
    def expected_allocated(self) -> int | None:
        """How many claims are to be allocated; None for all that are not to be pending."""
        return self.expect.allocated

    def documents(self) -> Iterator[tuple[int, Document]]:
        """Go through all documents, each with the number of its file."""
        for number, file in enumerate(self.files):
            for document in file.documents:
                yield number, document

    def objects(self, more: Sequence[Manifest] = ()) -> list[Manifest]:
        """Return `more` and the objects in the order of the files; namespaces and CRDs first, what makes pods last."""
        return sorted([*more, *(document.content for _, document in self.documents())], key=_rank)

    def makers(self) -> list[Maker]:
        """Return what makes pods."""
        makers = [manifest for manifest in self.objects() if pod_spec(manifest) is not None]
        return [(manifest["kind"], namespace_of(manifest), manifest["metadata"]["name"]) for manifest in makers]


def _rank(manifest: Manifest) -> int:
    return 0 if manifest["kind"] in _FIRST else 1 if pod_spec(manifest) is None else 2


# How objects are read, whatever is in them: what of them is wrong, the API server tells.


def part(value: Any, *path: str) -> Any:
    """Return what is at the `path` of nested mappings; None where there is nothing."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def entries(value: Any, *path: str) -> list[dict[str, Any]]:
    """Return the mappings of the list at `path`."""
    found = part(value, *path)
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def group_of(manifest: Manifest) -> str:
    """Return the API group; empty for the core one."""
    return str(manifest["apiVersion"]).rpartition("/")[0]


def namespace_of(manifest: Manifest) -> str:
    """Return the namespace; `default` also for what has none."""
    return str(part(manifest, "metadata", "namespace") or DEFAULT_NAMESPACE)


def is_of_resource_api(manifest: Manifest, *kinds: str) -> bool:
    """Tell whether an object is one of these kinds of resource.k8s.io, or of any kind of it."""
    return group_of(manifest) == RESOURCE_API_GROUP and (not kinds or manifest["kind"] in kinds)


def pod_spec(manifest: Manifest) -> dict[str, Any] | None:
    """Return the spec of the pods that an object makes; None if it makes none."""
    path = POD_SPECS.get((group_of(manifest), manifest["kind"]))
    if path is None:
        return None
    spec = part(manifest, *path)
    return spec if isinstance(spec, dict) else {}


def claims_named(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Go through the ResourceClaims and ResourceClaimTemplates that a pod names: kind and name."""
    for claim in entries(spec, "resourceClaims"):
        for key, kind in (
            ("resourceClaimName", "ResourceClaim"),
            ("resourceClaimTemplateName", "ResourceClaimTemplate"),
        ):
            if claim.get(key):
                yield kind, str(claim[key])


def requests_of(manifest: Manifest) -> Iterator[dict[str, Any]]:
    """Go through what a ResourceClaim or ResourceClaimTemplate asks for, alternatives one by one, in any version."""
    spec = ("spec", "spec") if manifest["kind"] == "ResourceClaimTemplate" else ("spec",)
    for request in entries(manifest, *spec, "devices", "requests"):
        exactly = part(request, "exactly")
        yield from entries(request, "firstAvailable") or [exactly if isinstance(exactly, dict) else request]
