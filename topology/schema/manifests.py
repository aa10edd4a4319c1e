"""The user's own manifests: files of Kubernetes objects that a stack applies, as configured."""

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, NamedTuple

import yaml
from pydantic import BeforeValidator, Field, InstanceOf, ValidationInfo

from topology.kubernetes.objects import Maker, Manifest
from topology.kubernetes.reading import namespace_of, pod_spec
from topology.schema.base import Model
from topology.schema.user_files import UnreadableError, content, parsed
from topology.schema.values import DnsLabel, problem
from topology.schema.workloads import Expectation

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
