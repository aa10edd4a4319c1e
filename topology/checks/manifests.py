"""Checks of the user's manifests before an update. The API server finds all other problems."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from topology.checks.node_selection import (
    TOLERATIONS_OF_DAEMONS,
    TOLERATIONS_OF_DAEMONS_ON_HOST_NETWORK,
    TOLERATIONS_OF_EVERY_POD,
    repelling,
    written,
)
from topology.kubernetes import cel
from topology.kubernetes.api_versions import BUILT_IN_KINDS, RESOURCE_API_GROUP, is_removed, versions_of
from topology.kubernetes.fields import FIELDS_OF_POD, fields_of_spec, unknown_fields
from topology.kubernetes.objects import DEFAULT_NAMESPACE, Manifest, Object
from topology.kubernetes.reading import (
    claims_named,
    creates_pods,
    entries,
    group_of,
    is_of_resource_api,
    namespace_of,
    part,
    pod_spec,
    requests_of,
)
from topology.objects import namespaces, nodes
from topology.objects.names import Name, created_by_stack, described
from topology.schema.base import Problem
from topology.schema.manifests import Manifests
from topology.schema.stack import Cluster, Topology
from topology.schema.values import choice, suggestion

# https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/#initial-namespaces
INITIAL_NAMESPACES = (DEFAULT_NAMESPACE, "kube-node-lease", "kube-public", "kube-system")
((ADMIN_LABEL, ADMIN_VALUE),) = namespaces.ADMIN_ACCESS_LABEL.items()

MUTATING_ADMISSION = frozenset(
    ("admissionregistration.k8s.io", kind) for kind in ("MutatingAdmissionPolicy", "MutatingWebhookConfiguration")
)
"""Objects that let admission change pods, such as their tolerations."""


class ManifestObject(NamedTuple):
    """An object of `entry`, the key of its file, and its place in that file."""

    entry: Manifests
    path: str
    place: str
    content: Manifest

    def problem(self, message: str) -> Problem:
        """Return a problem of this object."""
        return Problem(self.path, f"{self.place}: {message}")

    @property
    def name(self) -> Name:
        """Group, kind, namespace and name."""
        return (
            group_of(self.content),
            self.content["kind"],
            namespace_of(self.content),
            self.content["metadata"]["name"],
        )

    def __str__(self) -> str:
        """Return kind, namespace and name, as messages have them."""
        return described(self.name)


def manifest_objects(topology: Topology) -> list[ManifestObject]:
    """Return the objects in the files of all entries."""
    return [
        ManifestObject(entry, f"manifests[{index}].files[{number}]", *document)
        for index, entry in enumerate(topology.manifests)
        for number, document in entry.documents()
    ]


def misshapen_manifests(topology: Topology) -> Iterator[Problem]:
    """Yield the documents that are not Kubernetes objects with a name; the other checks need these."""
    for entry in manifest_objects(topology):
        yield from _shape(entry)


def manifest_problems(topology: Topology) -> Iterator[Problem]:
    """Yield what is wrong with the manifests of a topology whose parts are valid by themselves."""
    objects = manifest_objects(topology)
    created = created_by_stack(topology, {entry.content["kind"] for entry in objects})
    yield from _duplicates(objects, created)
    yield from _namespaces(topology, objects)
    known = {entry.name for entry in objects} | created.keys()
    classes = sorted(name for _, kind, _, name in known if kind == "DeviceClass")
    taints = _taints_of_nodes(topology, objects)
    runtime_classes = {entry.name[3]: entry.content for entry in objects if entry.name[1] == "RuntimeClass"}
    is_mutated = any(entry.name[:2] in MUTATING_ADMISSION for entry in objects)
    added = _added_groups(objects).union(*(controller.api_groups for controller in topology.controllers))
    labelled = _namespaces_with_admin_access(topology, objects)
    for entry in objects:
        yield from _kind(entry, topology.cluster, added)
        yield from _resource_api(entry, topology.cluster)
        yield from _fields(entry)
        yield from _claims(entry, classes)
        if not topology.cluster.existing:  # An existing cluster may have such a namespace.
            yield from _admin_access(entry, labelled)
        if (spec := pod_spec(entry.content)) is not None:
            needs_nodes = not spec.get("nodeName") and creates_pods(entry.content)
            yield from _claims_of_pods(entry, spec, known)
            if needs_nodes and not is_mutated and topology.filters_as_stock(spec.get("schedulerName")):
                yield from _taints(entry, spec, taints, runtime_classes)


def _shape(entry: ManifestObject) -> Iterator[Problem]:
    found: Any = entry.content
    if not isinstance(found, dict):
        yield entry.problem("is not a Kubernetes object: it must be a mapping with apiVersion, kind and metadata")
        return
    missing = [key for key in ("apiVersion", "kind") if not isinstance(found.get(key), str) or not found[key]]
    if missing:
        yield entry.problem(f"has no {' and no '.join(missing)}, which every Kubernetes object needs")
    elif not isinstance(part(found, "metadata", "name"), str):
        if part(found, "metadata", "generateName"):
            yield entry.problem(
                f"{found['kind']} has a generateName, but the stack must know the names of its objects: use "
                "metadata.name instead"
            )
        else:
            yield entry.problem(f"{found['kind']} has no metadata.name: set it to a string")


# Kinds.


def _added_groups(objects: Sequence[ManifestObject]) -> set[str]:
    """Return the API groups that definitions and API services in the files add."""
    definitions = ("CustomResourceDefinition", "APIService")
    added = [part(entry.content, "spec", "group") for entry in objects if entry.content["kind"] in definitions]
    return {group for group in added if isinstance(group, str)}


def _kind(entry: ManifestObject, cluster: Cluster, added: set[str]) -> Iterator[Problem]:
    """Yield a kind that the stack's own cluster does not have; an existing cluster may have definitions of its own."""
    group, kind, *_ = entry.name
    kinds = BUILT_IN_KINDS.get(group, [])
    if cluster.existing or group in added or kind in kinds:
        return
    definition = "add the CustomResourceDefinition of its kind to the files"
    if "." in group and not kinds:
        yield entry.problem(f"{entry} is of the API group {group}, which is not part of Kubernetes: {definition}")
        return
    owners = [other or "v1" for other, known in BUILT_IN_KINDS.items() if kind in known]
    hint = f"; {kind} is in {' and '.join(owners)}." if owners else suggestion(kind, kinds)
    yield entry.problem(
        f"{entry} has apiVersion {entry.content['apiVersion']}, in which Kubernetes has no {kind}{hint} Correct "
        f"apiVersion or kind, or {definition}"
    )


def _fields(entry: ManifestObject) -> Iterator[Problem]:
    """Yield fields that the API server would refuse or drop: without a misplaced selector, a claim gets any device."""
    content = entry.content
    if entry.name[0] == RESOURCE_API_GROUP and (fields := fields_of_spec(content["kind"], _version(content))):
        found = unknown_fields(content.get("spec"), fields, "spec")
    else:
        claims = {"resourceClaims": (pod_spec(content) or {}).get("resourceClaims")}
        found = unknown_fields(claims, FIELDS_OF_POD, "the pod's spec")
    for field in found:
        hint = f"{suggestion(field.name, field.known)} Its fields are {', '.join(field.known)}"
        if field.owners:
            hint = f": put it into {' or '.join(field.owners)}"
        yield entry.problem(f"{entry}: {field.path} has no field {field.name!r} in {content['apiVersion']}{hint}")


def _version(content: Manifest) -> str:
    return str(content["apiVersion"]).rpartition("/")[2]


def _namespaces_with_admin_access(topology: Topology, objects: Sequence[ManifestObject]) -> set[str]:
    return {
        entry["metadata"]["name"]
        for entry in [*namespaces.namespaces(topology), *(entry.content for entry in objects)]
        if entry["kind"] == "Namespace" and part(entry, "metadata", "labels", ADMIN_LABEL) == ADMIN_VALUE
    }


def _admin_access(entry: ManifestObject, labelled: set[str]) -> Iterator[Problem]:
    if not is_of_resource_api(entry.content, "ResourceClaim", "ResourceClaimTemplate"):
        return
    if entry.name[2] not in labelled and any(request.get("adminAccess") for request in requests_of(entry.content)):
        yield entry.problem(
            f"{entry} has adminAccess, which the API server refuses in namespace {entry.name[2]}: it needs a namespace "
            f"with the label {ADMIN_LABEL}: {ADMIN_VALUE!r}; add such a Namespace to the files"
        )


# Names and namespaces.


def _duplicates(objects: Sequence[ManifestObject], created: Mapping[Name, str]) -> Iterator[Problem]:
    first: dict[Name, ManifestObject] = {}
    for entry in objects:
        other = first.setdefault(entry.name, entry)
        if entry.name in created:
            yield entry.problem(
                f"the stack already creates {entry} for {created[entry.name]}: remove it from the file, or from there"
            )
        elif other is not entry:
            yield entry.problem(f"{entry} is already in {other.path}, {other.place}: remove one of them")


def _namespaces(topology: Topology, objects: Sequence[ManifestObject]) -> Iterator[Problem]:
    first = [*namespaces.namespaces(topology), *(entry for one in topology.controllers for entry in one.objects)]
    there = {*INITIAL_NAMESPACES, *(entry["metadata"]["name"] for entry in first if entry["kind"] == "Namespace")}
    creators = {entry.name[3]: entry for entry in objects if entry.name[:2] == ("", "Namespace")}
    for entry in objects:
        name = entry.name[2]
        if name in there:
            continue
        creator = creators.get(name)
        if creator is None:
            known = sorted(there | creators.keys())
            yield entry.problem(
                f"{entry} is in a namespace that does not exist{suggestion(name, known)} Add a Namespace {name} to the "
                f"files, or use one of {', '.join(known)}"
            )
        elif creator.entry.name not in _before(topology, entry.entry.name):
            yield entry.problem(
                f"{entry} is in a namespace of {creator.path}, which may be created later: add after: "
                f"[{creator.entry.name}]"
            )


def _before(topology: Topology, name: str) -> set[str]:
    """Return the entry and all entries that precede it."""
    after = {entry.name: entry.after for entry in topology.applied}
    before = [name]
    for one in before:  # It grows.
        before += [other for other in after.get(one, []) if other not in before]
    return set(before)


# Claims and device classes.


def _resource_api(entry: ManifestObject, cluster: Cluster) -> Iterator[Problem]:
    kind = entry.content["kind"]
    there = [
        name
        for name in versions_of(kind, cluster.minor)
        if cluster.existing or not is_removed(f"{RESOURCE_API_GROUP}/{name}", cluster.minor)
    ]
    # If there is no version, the check of features says so.
    if there and is_of_resource_api(entry.content) and _version(entry.content) not in there:
        yield entry.problem(
            f"{entry} is in {entry.content['apiVersion']}, in which Kubernetes 1.{cluster.minor} has no {kind}: use "
            f"{' or '.join(there)}"
        )


def _claims(entry: ManifestObject, classes: Sequence[str]) -> Iterator[Problem]:
    selectors = []
    if is_of_resource_api(entry.content, "DeviceClass"):
        selectors = entries(entry.content, "spec", "selectors")
    elif is_of_resource_api(entry.content, "ResourceClaim", "ResourceClaimTemplate"):
        for request in requests_of(entry.content):
            selectors += entries(request, "selectors")
            name = request.get("deviceClassName")
            if isinstance(name, str) and name not in classes:
                known = choice(name, classes, "add the class to a file or to kwok-dra:deviceClasses")
                yield entry.problem(f"{entry} requests device class {name!r}, which does not exist{known}")
    for selector in selectors:
        expression = part(selector, "cel", "expression")
        try:
            cel.compile_selector(expression if isinstance(expression, str) else "true")
        except cel.UncheckedError:
            continue  # Only Kubernetes can check it.
        except cel.CelError as error:
            yield entry.problem(f"{entry} has an invalid selector {expression!r}: {error}")


def _claims_of_pods(entry: ManifestObject, spec: Mapping[str, Any], known: set[Name]) -> Iterator[Problem]:
    for kind, name in claims_named(spec):
        here = [other for _, of_kind, namespace, other in known if (of_kind, namespace) == (kind, entry.name[2])]
        if name not in here:
            yield entry.problem(
                f"pods of {entry} name a {kind} {name!r} that does not exist in namespace {entry.name[2]}"
                f"{suggestion(name, here)} Add it to the files, in that namespace"
                f"{', or name one of ' if here else ''}{', '.join(sorted(here))}"
            )


# Where pods may run.


def _taints_of_nodes(topology: Topology, objects: Sequence[ManifestObject]) -> dict[str, list[Object]]:
    """Return the taints of nodes, by `pool <name>` or, for those of the manifests, `Node <name>`."""
    found: dict[str, list[Object]] = {
        f"pool {pool.name}": [dict(taint) for taint in nodes.node_taints(pool)]
        for pool in topology.node_pools
        if pool.node_names()
    }
    for entry in objects:
        if entry.name[:2] == ("", "Node"):
            taints = entries(entry.content, "spec", "taints")
            found[str(entry)] = [{"key": "", "effect": ""} | taint for taint in taints]
    return found


def _taints(
    entry: ManifestObject,
    spec: Mapping[str, Any],
    of_nodes: Mapping[str, list[Object]],
    runtime_classes: Mapping[str, Manifest],
) -> Iterator[Problem]:
    expect, runtime_class = entry.entry.expect, str(spec.get("runtimeClassName") or "")
    if expect.pending or expect.running is not None:
        return
    if runtime_class and runtime_class not in runtime_classes:
        return  # Its tolerations are not known.
    if not of_nodes:
        yield entry.problem(f"there are no nodes for the pods of {entry}: add a pool to kwok-dra:nodePools")
        return
    tolerations = _tolerations(entry, spec, runtime_classes.get(runtime_class, {}))
    in_the_way = {name: repelling(tolerations, taints) for name, taints in of_nodes.items()}
    if all(in_the_way.values()):
        nearest = min(in_the_way, key=lambda name: len(in_the_way[name]))
        needed = dict.fromkeys(f"{{key: {taint['key']}, operator: Exists}}" for taint in in_the_way[nearest])
        of_pool = f"set taints: [] for {nearest}, under kwok-dra:nodePools"
        remedy = of_pool if nearest.startswith("pool ") else f"remove the taints of {nearest}"
        told = [f"{name} has {', '.join(map(written, taints))}" for name, taints in in_the_way.items()]
        yield entry.problem(
            f"pods of {entry} do not tolerate the taints of any node: {'; '.join(told)}. Give the pods the "
            f"toleration{'s' if len(needed) > 1 else ''} {' and '.join(needed)}, or {remedy}"
        )


def _tolerations(entry: ManifestObject, spec: Mapping[str, Any], runtime_class: Manifest) -> list[Object]:
    """Return the tolerations of a pod with those that its controller and admission add.

    https://kubernetes.io/docs/concepts/containers/runtime-class/#scheduling
    """
    of_controller = [*TOLERATIONS_OF_DAEMONS] if entry.content["kind"] == "DaemonSet" else []
    if of_controller and spec.get("hostNetwork"):
        of_controller += TOLERATIONS_OF_DAEMONS_ON_HOST_NETWORK
    of_class = entries(runtime_class, "scheduling", "tolerations")
    return [*entries(spec, "tolerations"), *TOLERATIONS_OF_EVERY_POD, *of_controller, *of_class]
