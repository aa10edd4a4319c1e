"""Creates, changes and deletes nodes with their ResourceSlices, and bare pods, for `provisioning: bulk`.

`nodes`, `slices` and `pods` render the objects. The API server accepts no lists, so each object is a request, without
a process of its own. Managed fields tell which fields of a live object are the stack's:
https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias

from cluster.api.api_server import CONFLICT, FORBIDDEN, MERGE, NODES, NOT_FOUND, Answer, ApiServer, RefusedError
from topology.kubernetes.api_versions import RESOURCE_API_GROUP, convert
from topology.kubernetes.objects import RESOURCE_API_VERSION, Maker, Manifest, Object, given
from topology.objects import nodes, pods
from topology.objects.isolation import FLEET
from topology.objects.patches import FIELD_MANAGER, node_patch, part_of_patch, slice_differs, slice_patch
from topology.objects.slices import is_owned_by_node, owner_reference, resource_slices
from topology.schema.stack import NodePool, Topology
from topology.schema.workloads import Workload

LiveObjects = Mapping[Maker, Object]
"""By kind, namespace and name."""

BATCH = 1000
"""The number of nodes or pods in one resource of the stack. Each batch is a process that takes 0.5 s to start."""

PULUMI = "pulumi-kubernetes"
"""The prefix of the field managers of Pulumi's Kubernetes provider."""

PODS = "/api/v1/pods"
SLICES = f"/apis/{RESOURCE_API_VERSION}/resourceslices"
MANAGED = f"fieldManager={FIELD_MANAGER}"
TRIES = 5
"""Kubernetes deletes the slices of a deleted node: a slice may vanish between two requests."""

NODE_UNKNOWN = re.compile(r"node .* not found for device")
"""The message of the admission plugin that compares a slice with the features of its node: it watches nodes, and so
learns of a new one shortly after its creation."""

NODE_SECONDS = 10
POD_SECONDS = 60
SECONDS_BETWEEN_LOOKS = 0.1

OTHER_PROVISIONING = (
    "{what} is a Pulumi resource, created with `provisioning: objects`, and Pulumi would delete it at the end of this "
    "update. Change provisioning of {entry} in kwok-dra:{key} together with its name; or remove it from the stack, run "
    "`pulumi up`, and add it again"
)
SOMEBODY_ELSES = (
    "{what} already exists, and this stack did not create it. Give {entry} in kwok-dra:{key} another name, or delete "
    "the {what} if nobody needs it"
)


def create_slice(api: ApiServer, path: str, manifest: Manifest) -> Answer:
    """Create a ResourceSlice unless it exists; wait up to NODE_SECONDS until admission knows its node.

    Raises:
        RefusedError: the API server does not create it.
    """
    end = time.monotonic() + NODE_SECONDS
    answer = api.send("POST", path, manifest)
    while answer.status == FORBIDDEN and NODE_UNKNOWN.search(answer.message) and time.monotonic() < end:
        time.sleep(SECONDS_BETWEEN_LOOKS)
        answer = api.send("POST", path, manifest)
    return answer.checked(CONFLICT)


class Drift(NamedTuple):
    """An object that somebody has deleted or edited."""

    made_as: str
    """The node or pod to reconcile."""
    kind: str
    name: str
    was: str
    """`deleted` or `edited`."""


class NodeProvisioner:
    """Creates and reconciles the nodes of a pool with their slices."""

    def __init__(self, pool: NodePool, generations: Mapping[str, int], *, minor: int, resource_api: str = "v1") -> None:
        """Use the `generations` of the drivers' pools.

        Slices are rendered for Kubernetes 1.`minor`; new ones are created in version `resource_api` of resource.k8s.io.
        """
        self.pool = pool
        self._mark = marked(pool.labels)
        self._generations = generations
        self._minor = minor
        self._resource_api = resource_api

    def node(self, name: str) -> Manifest:
        """Render a node with its declared features."""
        manifest = nodes.node(self.pool, name)
        manifest["status"]["declaredFeatures"] = nodes.declared_features(self.pool)
        return manifest

    def slices(self, name: str, uid: str) -> list[Manifest]:
        """Render the slices of the node `name` with this `uid`."""
        rendered = resource_slices(self.pool, name, self._minor)
        for manifest in rendered:
            driver = manifest["spec"]["driver"]
            manifest["metadata"] |= given(labels=self._mark)
            manifest["spec"]["pool"]["generation"] = self._generations[driver]
            if is_owned_by_node(self.pool, driver):
                manifest["metadata"]["ownerReferences"] = [owner_reference(name, uid)]
        return rendered

    def create(self, api: ApiServer, name: str) -> None:
        """Create a node and its slices, or reconcile those that exist."""
        answer = api.send("POST", f"{NODES}?{MANAGED}", self.node(name)).checked(CONFLICT)
        if answer.status == CONFLICT:
            self.reconcile(api, name)
            return
        for manifest in self.slices(name, answer.object["metadata"]["uid"]):
            if self._create_slice(api, manifest).status == CONFLICT:
                self._put_right(api, manifest)

    def reconcile(self, api: ApiServer, name: str) -> None:
        """Restore a node and its slices, and keep what others have added to the node.

        Raises:
            RefusedError: the node is a Pulumi resource of its own, or somebody else's.
        """
        answer = api.get(f"{NODES}/{name}").checked(NOT_FOUND)
        if answer.status == NOT_FOUND:
            self.create(api, name)
            return
        live = answer.object
        _check_ours(live, self._mark, "nodePools", self.pool.name)
        patch = node_patch(live, self.node(name))
        for subresource, keys in (("", ("metadata", "spec")), ("/status", ("status",))):
            if part := part_of_patch(patch, *keys):
                api.send("PATCH", f"{NODES}/{name}{subresource}?{MANAGED}", part, MERGE).checked()
        self._reconcile_slices(api, name, live["metadata"]["uid"])

    def _reconcile_slices(self, api: ApiServer, name: str, uid: str) -> None:
        live = _live_slices(api, name, self._mark)
        for manifest in self.slices(name, uid):
            found = live.pop(manifest["metadata"]["name"], None)
            if found is None or slice_differs(found, manifest):
                self._put_right(api, manifest)
        for slice_name in live:
            api.send("DELETE", f"{SLICES}/{slice_name}").checked(NOT_FOUND)

    def _put_right(self, api: ApiServer, manifest: Manifest) -> None:
        """Change a slice, or create it if it no longer exists."""
        path = f"{SLICES}/{manifest['metadata']['name']}"
        for _ in range(TRIES):
            live = api.get(path).checked(NOT_FOUND)
            if live.status == NOT_FOUND:
                done = self._create_slice(api, manifest)
            else:
                if self._mark:
                    _check_ours(live.object, self._mark, "nodePools", self.pool.name)
                patch = slice_patch(live.object, manifest)
                done = api.send("PATCH", f"{path}?{MANAGED}", patch, MERGE).checked(NOT_FOUND)
            if done.status < 300:
                return
        done.checked()

    def _create_slice(self, api: ApiServer, manifest: Manifest) -> Answer:
        path = f"/apis/{RESOURCE_API_GROUP}/{self._resource_api}/resourceslices"
        return create_slice(api, f"{path}?{MANAGED}", convert(manifest, self._resource_api))

    def drift(self, live: LiveObjects) -> Iterator[Drift]:
        """Yield the nodes and slices that are missing from the `live` objects, or differ."""
        for name in self.pool.node_names():
            node = live.get(("Node", "", name))
            if node is None or any(node_patch(node, self.node(name)).values()):
                yield Drift(name, "Node", name, "edited" if node else "deleted")
            for manifest in self.slices(name, node["metadata"]["uid"] if node else ""):
                slice_name = manifest["metadata"]["name"]
                found = live.get(("ResourceSlice", "", slice_name))
                if found is None or slice_differs(found, manifest):
                    yield Drift(name, "ResourceSlice", slice_name, "edited" if found else "deleted")


class PodProvisioner:
    """Creates and reconciles the bare pods of a workload."""

    def __init__(self, workload: Workload) -> None:
        """Use the namespace and the pod spec of `workload`."""
        self.workload = workload
        self._mark = marked(workload.node_selector)
        self._path = f"/api/v1/namespaces/{workload.namespace}/pods"

    def create(self, api: ApiServer, name: str) -> None:
        """Create a pod; replace one that exists, as its spec may differ.

        Raises:
            RefusedError: the pod is a Pulumi resource of its own, or somebody else's.
        """
        manifest = self._pod(name)
        answer = api.send("POST", f"{self._path}?{MANAGED}", manifest).checked(CONFLICT)
        if answer.status == CONFLICT:
            live = api.get(f"{self._path}/{name}").checked(NOT_FOUND)
            if live.status != NOT_FOUND:
                _check_ours(live.object, self._mark, "workloads", self.workload.name)
            remove_pod(api, self.workload.namespace, name, self._mark)
            api.send("POST", f"{self._path}?{MANAGED}", manifest).checked()

    def reconcile(self, api: ApiServer, name: str) -> None:
        """Replace a pod: its claims and its node are immutable."""
        remove_pod(api, self.workload.namespace, name, self._mark)
        self.create(api, name)

    def _pod(self, name: str) -> Manifest:
        manifest = pods.pod(self.workload, name)
        manifest["metadata"]["labels"] |= self._mark
        return manifest

    def drift(self, live: LiveObjects) -> Iterator[Drift]:
        """Yield the pods that are missing from the `live` objects."""
        namespace = self.workload.namespace
        for name in self.workload.pod_names():
            if ("Pod", namespace, name) not in live:
                yield Drift(name, "Pod", f"{namespace}/{name}", "deleted")


Provisioner: TypeAlias = NodeProvisioner | PodProvisioner


def provisioners(topology: Topology, generations: Mapping[str, Mapping[str, int]]) -> list[Provisioner]:
    """Return the provisioners of all node pools and workloads with `provisioning: bulk`.

    `generations` has the generation of each driver's pools, by node pool.
    """
    cluster = topology.cluster
    of_nodes = [
        NodeProvisioner(pool, generations[pool.name], minor=cluster.minor, resource_api=cluster.served_resource_api)
        for pool in topology.node_pools
        if pool.provisioning == "bulk"
    ]
    return [
        *of_nodes,
        *(PodProvisioner(workload) for workload in topology.workloads if workload.provisioning == "bulk"),
    ]


def is_empty(api: ApiServer) -> bool:
    """Return whether the cluster has no nodes, slices and pods."""
    return not any(api.get(f"{path}?limit=1").checked().object["items"] for path in (NODES, SLICES, PODS))


def batches(count: int) -> list[str]:
    """Return the numbers of each batch, such as `0-999`; growth changes the last batch and adds others."""
    return [f"{first}-{min(first + BATCH, count) - 1}" for first in range(0, count, BATCH)]


def node_digest(pool: NodePool) -> str:
    """Return a digest of everything that affects the Nodes of the pool."""
    faults = [fault.model_dump() for fault in pool.faults if fault.not_ready]
    content = [nodes.node(pool, f"{pool.name}-0"), nodes.declared_features(pool), pool.nodes_per_clique, faults]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def marked(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the label of the fleet among `labels`; empty in a cluster that the stack creates."""
    return {FLEET: labels[FLEET]} if FLEET in labels else {}


def remove_node(api: ApiServer, name: str, mark: Mapping[str, str]) -> None:
    """Delete a node and its slices, unless they are somebody else's; the stack's have the label `mark`."""
    path = f"{NODES}/{name}"
    if _is_ours(api, path, mark):
        for slice_name in _live_slices(api, name, mark):
            api.send("DELETE", f"{SLICES}/{slice_name}").checked(NOT_FOUND)
        api.send("DELETE", path).checked(NOT_FOUND)


def remove_pod(api: ApiServer, namespace: str, name: str, mark: Mapping[str, str]) -> None:
    """Delete a pod and wait until it is gone, unless it is somebody else's; the stack's have the label `mark`.

    Raises:
        RefusedError: the pod still exists after POD_SECONDS.
    """
    path = f"/api/v1/namespaces/{namespace}/pods/{name}"
    if not _is_ours(api, path, mark):
        return
    end = time.monotonic() + POD_SECONDS
    while api.send("DELETE", path).checked(NOT_FOUND).status != NOT_FOUND:
        if time.monotonic() > end:
            raise RefusedError(f"pod {namespace}/{name} still exists {POD_SECONDS} s after its deletion")
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _live_slices(api: ApiServer, node: str, mark: Mapping[str, str]) -> dict[str, Object]:
    """Return the stack's slices of a node by name."""
    found = api.get(f"{SLICES}?fieldSelector=spec.nodeName={node}").checked().object["items"]
    ours = [entry for entry in found if FIELD_MANAGER in _managers(entry) and _has(entry, mark)]
    return {entry["metadata"]["name"]: entry for entry in ours}


def _is_ours(api: ApiServer, path: str, mark: Mapping[str, str]) -> bool:
    """Return whether an object is the stack's; one that is gone counts too, as its slices may remain."""
    answer = api.get(path).checked(NOT_FOUND)
    return answer.status == NOT_FOUND or not _whose(answer.object, mark)


def _check_ours(live: Object, mark: Mapping[str, str], key: str, entry: str) -> None:
    if whose := _whose(live, mark):
        what = f"{live['kind'].lower()} {live['metadata']['name']}"
        raise RefusedError(whose.format(what=what, key=key, entry=entry))


def _whose(live: Object, mark: Mapping[str, str]) -> str:
    """Return the message about the owner of an object; empty if it is the stack's."""
    managers = _managers(live)
    if not _has(live, mark):
        return SOMEBODY_ELSES
    if any(manager.startswith(PULUMI) for manager in managers):
        return OTHER_PROVISIONING
    return "" if FIELD_MANAGER in managers else SOMEBODY_ELSES


def _has(live: Object, mark: Mapping[str, str]) -> bool:
    return mark.items() <= (live["metadata"].get("labels") or {}).items()


def _managers(live: Object) -> set[str]:
    return {entry.get("manager", "") for entry in live["metadata"].get("managedFields", [])}
