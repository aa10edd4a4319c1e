"""Examines an existing cluster and the objects in it before a fleet is created there."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cluster.api.api_server import FORBIDDEN, NOT_FOUND, ApiServer, RefusedError, UnreachableError, at_once
from cluster.api.discovery import object_paths
from cluster.api.kubeconfig import KubeconfigError, contexts, current, of_context
from cluster.api.snapshot import must_read
from topology.checks.attracted_pods import MAKERS, attracted
from topology.checks.isolation import isolation_problems, malformed_fields
from topology.checks.manifests import misshapen_manifests
from topology.checks.validation import LookResult
from topology.kubernetes import limits
from topology.kubernetes.api_versions import RESOURCE_API_GROUP
from topology.kubernetes.feature_gates import FEATURES, gates_for
from topology.kubernetes.objects import LISTS, Manifest, given
from topology.kubernetes.reading import group_of, namespace_of, part
from topology.objects import kueue, nodes
from topology.objects.claims import device_class
from topology.objects.device_taints import rule_version
from topology.objects.isolation import FLEET, isolated
from topology.objects.names import Name, created_by_stack, described
from topology.objects.priorities import SCHEDULING_API_GROUP
from topology.objects.removable import reference
from topology.objects.slices import resource_slices
from topology.schema.base import Problem
from topology.schema.features_used import apis_needed, apis_written, features_used
from topology.schema.stack import Cluster, Existing, Reached, Topology
from topology.schema.values import suggestion

PATH = "cluster.existing"
NAMED_MAX = 3
"""The number of objects of a kind that a message names."""

PATHS = LISTS | {
    "Namespace": "/api/v1/namespaces",
    "PriorityClass": f"/apis/{SCHEDULING_API_GROUP}/v1/priorityclasses",
    "ResourceClaimTemplate": "/apis/resource.k8s.io/v1/resourceclaimtemplates",
}

_ENABLED = re.compile(r'^kubernetes_feature_enabled\{name="(\w+)",stage="\w*"\} ([01])', re.MULTILINE)
"""https://kubernetes.io/docs/reference/instrumentation/metrics/"""


def look(topology: Topology, folder: Path) -> LookResult:
    """Return what prevents the fleet of `topology` in its existing cluster, without any change there.

    The topology of the result has the cluster's version, and is isolated from everything else in the cluster.
    """
    return _look(topology, folder, _conflicts)


def reach(topology: Topology, folder: Path) -> LookResult:
    """Return the isolated topology only: enough to read the fleet in the existing cluster."""
    return _look(topology, folder, lambda api, reached: LookResult(reached, [], answers=True))


def _look(topology: Topology, folder: Path, examine: Callable[[ApiServer, Topology], LookResult]) -> LookResult:
    existing = topology.cluster.existing
    assert existing
    try:
        content = _kubeconfig(existing, folder)
    except _ProblemError as error:
        return LookResult(topology, [error.problem], answers=False)
    api = ApiServer(content=content)
    try:
        reached = topology.model_copy(update={"cluster": _reached(api, topology.cluster, existing, content)})
        if malformed := [*misshapen_manifests(reached)] or [*malformed_fields(reached)]:
            return LookResult(reached, malformed, answers=True)
        return examine(api, isolated(reached))
    except _ProblemError as error:
        return LookResult(topology, [error.problem], answers=False)
    except (UnreachableError, RefusedError) as error:
        server = current(content)[0]["server"]
        what = "refuses a request" if isinstance(error, RefusedError) else "does not answer"
        problem = Problem(PATH, f"the cluster of context {existing.context}, {server}, {what}: {error}")
        return LookResult(topology, [problem], answers=False)
    finally:
        api.close()


def _conflicts(api: ApiServer, topology: Topology) -> LookResult:
    if wrong := [*isolation_problems(topology)]:
        return LookResult(topology, wrong, answers=True)
    theirs = _classes_there(api, topology)
    problems = [
        *_lacking_apis(api, topology),
        *_lacking_gates(api, topology),
        *_taken(_taken_names(api, topology)),
        *_attracted_pods(api, topology),
        *_differing_classes(theirs, topology),
    ]
    return LookResult(topology, problems, answers=True, classes=frozenset(theirs))


class _ProblemError(Exception):
    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(f"{PATH}.{key}" if key else PATH, message)


# The cluster.


def _kubeconfig(existing: Existing, folder: Path) -> dict[str, Any]:
    file = (folder / Path(existing.kubeconfig).expanduser()).absolute()
    try:
        known = contexts(file)
        if existing.context not in known:
            raise _ProblemError(
                "context",
                f"there is no context {existing.context!r} in {file}{suggestion(existing.context, known)} Name one of "
                f"{', '.join(known)}",
            )
        content = of_context(file, existing.context)
    except KubeconfigError as error:
        raise _ProblemError("kubeconfig", str(error)) from None
    if not existing.allow:
        raise _ProblemError(
            "allow",
            f"must be true before the stack creates anything in context {existing.context}, "
            f"{current(content)[0]['server']}: set it once you are sure that this cluster may have fake nodes "
            "(docs/existing-clusters.md)",
        )
    return content


def _reached(api: ApiServer, cluster: Cluster, existing: Existing, content: dict[str, Any]) -> Cluster:
    """Return the cluster with the version and the UID that it reports."""
    version = str(api.get("/version").checked().object["gitVersion"])
    release = re.match(r"v(1)\.([0-9]+)\.([0-9]+)", version)
    if not release or not limits.KUBERNETES_MINOR_MIN <= int(release[2]) <= limits.KUBERNETES_MINOR_MAX:
        raise _ProblemError(
            "",
            f"the cluster runs Kubernetes {version}; this program supports 1.{limits.KUBERNETES_MINOR_MIN} to "
            f"1.{limits.KUBERNETES_MINOR_MAX}",
        )
    uid = api.get("/api/v1/namespaces/kube-system").checked().object["metadata"]["uid"]
    reached = Reached(**existing.model_dump(), content=content, uid=uid)
    return cluster.model_copy(update={"existing": reached, "kube_version": ".".join(release.groups())})


def _lacking_apis(api: ApiServer, topology: Topology) -> Iterator[Problem]:
    cluster = topology.cluster
    served = {
        version["groupVersion"]
        for group in api.get("/apis").checked().object["groups"]
        for version in group["versions"]
    }
    features = {feature: path for feature, path in features_used(topology).items() if _is_there(feature, cluster)}
    users = dict.fromkeys(apis_needed(cluster, features), "what the stack uses")
    users |= {f"{RESOURCE_API_GROUP}/{cluster.served_resource_api}": "cluster.resourceApi"}
    users |= apis_written(topology) | {f"{RESOURCE_API_GROUP}/v1": "the scheduler"}
    for version, user in users.items():
        if version not in served:
            yield Problem(
                PATH,
                f"the cluster does not serve {version}, which {user} needs: enable it with --runtime-config of its API "
                "server",
            )


def _lacking_gates(api: ApiServer, topology: Topology) -> Iterator[Problem]:
    """Yield the features whose gates are off in the API server; without access to its metrics, none."""
    minor = topology.cluster.minor
    features = {name: path for name, path in features_used(topology).items() if _is_there(name, topology.cluster)}
    needed = {gate: name for name in features for gate in gates_for([name], minor)}
    if not needed:
        return
    metrics = api.get("/metrics").checked(FORBIDDEN, NOT_FOUND)
    enabled = dict(_ENABLED.findall(metrics.data.decode())) if metrics.status == 200 else {}
    for gate, name in needed.items():
        if enabled.get(gate, "1") == "0" or (enabled and gate not in enabled):
            yield Problem(
                features[name],
                f"uses {name}, which needs the feature gate {gate} of the cluster: it is off, and only an "
                "administrator of the cluster can turn it on",
            )


def _is_there(feature: str, cluster: Cluster) -> bool:
    return FEATURES[feature].since <= cluster.minor


# Names that are taken.


class _Taken(NamedTuple):
    path: str
    name: Name


def _taken(taken: Iterable[_Taken]) -> Iterator[Problem]:
    """Yield a problem for each key and kind that names the first of the taken objects."""
    by_path: dict[tuple[str, str], list[str]] = {}
    for path, name in sorted(taken):
        by_path.setdefault((path, name[1]), []).append(described(name))
    for (path, _), found in by_path.items():
        more = f" and {len(found) - NAMED_MAX} more" if len(found) > NAMED_MAX else ""
        exist, them = ("exists", "it") if len(found) == 1 else ("exist", "them")
        yield Problem(
            path,
            f"{', '.join(found[:NAMED_MAX])}{more} already {exist} in the cluster, and this stack did not create "
            f"{them}: choose another name",
        )


def _taken_names(api: ApiServer, topology: Topology) -> Iterator[_Taken]:
    """Yield the objects of the stack that somebody else has created."""
    made = {name: path for name, path in created_by_stack(topology, set()).items() if name[1] != "DeviceClass"}
    kinds = sorted({name[1] for name in made} | {"ResourceSlice"})
    others = [entry for entry in _read(api, kinds, topology) if not _is_of_fleet(entry, topology)]
    for entry in others:
        if (path := made.get(_name(entry))) is not None:
            yield _Taken(path if "[" in path else "workloads", _name(entry))
    yield from _taken_slices(topology, [entry for entry in others if entry["kind"] == "ResourceSlice"])
    yield from _taken_by_others(api, topology)


def _read(api: ApiServer, kinds: Sequence[str], topology: Topology) -> Sequence[Any]:
    rules = {"DeviceTaintRule": f"/apis/{rule_version(topology.cluster.minor)}/devicetaintrules"}
    return must_read(api, [f"{kind}={(PATHS | rules)[kind]}" for kind in kinds])


def _is_of_fleet(entry: Mapping[str, Any], topology: Topology) -> bool:
    return (entry["metadata"].get("labels") or {}).get(FLEET) == topology.cluster.name


def _name(entry: Mapping[str, Any]) -> Name:
    group = {"Deployment": "apps", "Job": "batch", "Node": "", "Namespace": "", "Pod": ""}
    group["PriorityClass"] = SCHEDULING_API_GROUP
    return (
        group.get(entry["kind"], RESOURCE_API_GROUP),
        entry["kind"],
        namespace_of(dict(entry)),
        entry["metadata"]["name"],
    )


def _taken_slices(topology: Topology, others: Sequence[Any]) -> Iterator[_Taken]:
    """Yield other people's slices that have the name of a slice of the stack, or are of one of its nodes or pools."""
    if not others:
        return
    for path, pool in topology.pools.items():
        names, drivers = set(pool.pool_names()), set(pool.drivers)
        ours = {
            entry["metadata"]["name"] for name in names for entry in resource_slices(pool, name, topology.cluster.minor)
        }
        for entry in others:
            spec = entry["spec"]
            in_pool = spec.get("driver") in drivers and part(spec, "pool", "name") in names
            if entry["metadata"]["name"] in ours or spec.get("nodeName") in names or in_pool:
                yield _Taken(path, _name(entry))


def _taken_by_others(api: ApiServer, topology: Topology) -> Iterator[_Taken]:
    """Yield other people's objects that have the name of an object of the manifests or queues."""
    written = [
        (f"manifests[{index}].files[{number}]", document.content)
        for index, entry in enumerate(topology.manifests)
        for number, document in entry.documents()
    ]
    written += [(path, manifest) for manifest, path in kueue.objects_by_path(topology)]
    paths = object_paths(api, [reference(manifest) for _, manifest in written])
    for (path, manifest), live in zip(written, at_once(lambda path: _live(api, path), paths), strict=True):
        if live and not _is_of_fleet(live, topology):
            name = manifest["metadata"]["name"]
            yield _Taken(path, (group_of(manifest), manifest["kind"], namespace_of(manifest), name))


def _live(api: ApiServer, path: str | None) -> Mapping[str, Any] | None:
    """Return the live object at `path`; None if there is none, as when its CRD is still to come."""
    answer = api.get(path).checked(NOT_FOUND) if path else None
    return dict(answer.object) if answer and answer.status != NOT_FOUND else None


# DeviceClasses, which real drivers create too.


def _classes_there(api: ApiServer, topology: Topology) -> dict[str, Manifest]:
    """Return the specs of the DeviceClasses that somebody else has created."""
    others = [entry for entry in _read(api, ["DeviceClass"], topology) if not _is_of_fleet(entry, topology)]
    return {entry["metadata"]["name"]: given(**entry["spec"]) for entry in others}


def _differing_classes(theirs: Mapping[str, Manifest], topology: Topology) -> Iterator[Problem]:
    for entry in topology.device_classes:
        wanted = given(**device_class(entry)["spec"])
        if (live := theirs.get(entry.name)) not in (None, wanted):
            yield Problem(
                "deviceClasses",
                f"DeviceClass {entry.name} already exists in the cluster, this stack did not create it, and it "
                f"differs: it has {json.dumps(live)}, not {json.dumps(wanted)}. Configure the same values, or choose "
                "another name",
            )


# Other people's pods.


def _attracted_pods(api: ApiServer, topology: Topology) -> Iterator[Problem]:
    labels = (nodes.node_labels(pool, name) for pool in topology.node_pools for name in pool.node_names())
    found = [entry for entry in _read(api, sorted(MAKERS), topology) if not _is_of_fleet(entry, topology)]
    if names := [
        f"{entry['kind']} {namespace_of(entry)}/{entry['metadata']['name']}" for entry in attracted(found, labels)
    ]:
        yield Problem(
            PATH,
            f"the pods of {', '.join(names)} would run on fake nodes, as they tolerate every taint: give them a "
            "nodeAffinity with type NotIn [kwok], or give nodePools labels that they do not select, such as "
            "kubernetes.io/os: fake (docs/existing-clusters.md)",
        )
