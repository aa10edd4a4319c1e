"""The user's own manifests: files of Kubernetes objects that a stack applies."""

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, NamedTuple

import yaml
from pydantic import BeforeValidator, Field, InstanceOf, ValidationInfo

from topology.kubernetes.objects import Maker, Manifest, kind_of
from topology.kubernetes.reading import has_pod_template, namespace_of, pod_spec
from topology.schema.base import Model
from topology.schema.user_files import UnreadableError, content, parsed
from topology.schema.values import DnsLabel, problem, shown
from topology.schema.workloads import Expectation, ReadyTimeout

_FIRST = {"CustomResourceDefinition", "Namespace"}


class Document(NamedTuple):
    """The content of a file at a `place`, such as `document 2`, or `document 2, item 1` of a List."""

    place: str
    content: Any


class ManifestFile(NamedTuple):
    """A file and its documents."""

    name: str
    documents: list[Document]


class _Loader(yaml.SafeLoader):
    """Reads YAML as Kubernetes does: `2026-01-01` is a string."""


_Loader.yaml_implicit_resolvers = {
    first: [entry for entry in entries if entry[0] != "tag:yaml.org,2002:timestamp"]
    for first, entries in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_manifests(name: object, info: ValidationInfo) -> ManifestFile:
    """Read the file of Kubernetes objects that a string names."""
    if not isinstance(name, str):
        raise problem(f"must be the path of a file, but is {shown(name)}")
    try:
        text = content((info.context or {})["folder"], name)
        read = parsed(name, lambda: [_as_json(entry) for entry in yaml.load_all(text, Loader=_Loader)])
    except UnreadableError as error:
        raise problem(str(error)) from None
    documents = [item for number, entry in enumerate(read, 1) for item in _flat(f"document {number}", entry)]
    if not documents:
        raise problem(f"{name!r} contains no Kubernetes objects: remove it")
    return ManifestFile(name, documents)


def _as_json(document: object) -> object:
    """Convert a document to JSON values, as Kubernetes does."""
    try:
        return json.loads(json.dumps(document, allow_nan=False))
    except TypeError as error:
        raise ValueError(error) from None


def _flat(place: str, document: object) -> Iterator[Document]:
    """Yield the document, or the items if it is a List; skip empty ones."""
    if isinstance(document, dict) and document.get("kind") == "List" and isinstance(document.get("items"), list):
        for number, item in enumerate(document["items"], 1):
            yield from _flat(f"{place}, item {number}", item)
    elif document is not None:
        yield Document(place, document)


class Manifests(Model):
    """The Kubernetes objects of some `files`, applied unchanged, after the entries named in `after`.

    If the objects do not reach the state that `expect` describes (default: every claim is allocated and every pod
    runs) within `ready_timeout_seconds`, the update fails and gives the reason.
    """

    name: DnsLabel
    files: Annotated[list[Annotated[InstanceOf[ManifestFile], BeforeValidator(read_manifests)]], Field(min_length=1)]
    after: list[DnsLabel] = []
    expect: Expectation = Expectation()
    ready_timeout_seconds: ReadyTimeout = 120

    @property
    def expected_pending(self) -> int:
        """How many claims stay pending."""
        return self.expect.pending

    @property
    def expected_allocated(self) -> int | None:
        """How many claims become allocated; None for all except the pending ones."""
        return self.expect.allocated

    def documents(self) -> Iterator[tuple[int, Document]]:
        """Yield all documents, each with the index of its file."""
        for number, file in enumerate(self.files):
            for document in file.documents:
                yield number, document

    def objects(self, more: Sequence[Manifest] = ()) -> list[Manifest]:
        """Return `more` and the objects in the order of the files; namespaces and CRDs first, makers of pods last."""
        return sorted([*more, *(document.content for _, document in self.documents())], key=_rank)

    def makers(self) -> list[Maker]:
        """Return the objects that create pods, or whose controllers are to create some."""
        makers = [entry for entry in self.objects() if pod_spec(entry) is not None or has_pod_template(entry)]
        return [(kind_of(manifest), namespace_of(manifest), manifest["metadata"]["name"]) for manifest in makers]


def _rank(manifest: Manifest) -> int:
    makes_pods = pod_spec(manifest) is not None or has_pod_template(manifest)
    return 0 if manifest["kind"] in _FIRST else 2 if makes_pods else 1
