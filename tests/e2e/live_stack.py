"""Stacks on one cluster that stays: without Pulumi, so that each comes and goes within seconds.

The program renders the objects; here they are sent as they are. KWOK manages the nodes and the pods, and the scheduler
and the controllers are the real ones.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster.api import snapshot
from cluster.api.api_server import CONFLICT, MERGE, NOT_FOUND, ApiServer, at_once
from cluster.fleet import waiting
from cluster.fleet.provisioning import NodeProvisioner
from cluster.fleet.standstill import Standstill
from tests.e2e.project import Project, wait_until
from tests.rendering import rendered
from topology.kubernetes.feature_gates import gates_for, runtime_config_for
from topology.kubernetes.objects import DEFAULT_NAMESPACE, LISTS, Object, key
from topology.objects.namespaces import service_accounts_of
from topology.objects.pod_groups import POD_GROUP_LABEL
from topology.objects.slices import first_generation
from topology.schema.manifests import Manifests
from topology.schema.stack import NodePool, Topology
from topology.schema.workloads import Workload, in_order
from topology.status.expectations import expectation, not_ready, unfit
from topology.status.pending_changes import nodes_may_change
from topology.status.report import Report, kinds, report

Manifest = dict[str, Any]

MINOR = 37
OFF_BY_DEFAULT = ("pod groups", "gang scheduling", "workload resource claims")
CLUSTER = {
    "kubeFeatureGates": gates_for(OFF_BY_DEFAULT, MINOR),
    "kubeRuntimeConfig": runtime_config_for(OFF_BY_DEFAULT, "v1", MINOR),
}
DEFAULT_ACCOUNT = f"/api/v1/namespaces/{DEFAULT_NAMESPACE}/serviceaccounts/default"
STAYS = ("Namespace", "ServiceAccount")
"""It takes seconds to delete a namespace, and one without objects is in nobody's way."""

COMES_BACK = ("Deployment", "ReplicaSet", "Job", "Pod", "ResourceClaim")
"""What controllers make or keep: it is deleted until nothing is left."""

NAMESPACED = (*COMES_BACK, "ResourceClaimTemplate", "ServiceAccount")
"""The kinds for which a manifest may leave its namespace out."""


class LiveCluster:
    """A cluster in which there is one stack at a time."""

    def __init__(self, project: Project, **configuration: Any) -> None:
        """Bring up a cluster without nodes; `configuration` are the keys of its stack."""
        self.project = project
        with project.configuration() as config:
            config.clear()
            config.update({"cluster": CLUSTER} | configuration)
        project.up()
        self.api = ApiServer(Path(project.outputs()["kubeconfigPath"]))
        wait_until(lambda: self.api.get(DEFAULT_ACCOUNT).status != NOT_FOUND)

    @contextmanager
    def stack(self, topology: Topology) -> Iterator["LiveStack"]:
        """Create a stack; delete it in the end, also after an error, and wait until nothing of it is left."""
        made = LiveStack(self.api, topology)
        try:
            made.create()
            yield made
        finally:
            made.delete()

    def close(self) -> None:
        """End the cluster."""
        self.api.close()
        self.project.destroy()


class LiveStack:
    """A stack in a `LiveCluster`."""

    def __init__(self, api: ApiServer, topology: Topology) -> None:
        self.api = api
        self.topology = topology
        self._made: list[str] = []

    # Objects.

    def create(self) -> None:
        """Create everything, each entry after those that it names in `after`."""
        shared = ("node_pools", "fabric_pools", "device_classes", "device_taint_rules", "claims")
        alone = self.topology.model_copy(update={name: [] for name in shared})
        entries = in_order(self.topology.applied)
        self._make(rendered(self.topology.model_copy(update={"node_pools": [], "workloads": []})))
        at_once(lambda node: self._provisioner(node[0]).create(self.api, node[1]), self._nodes())
        wait_until(self._are_ready)
        for entry in entries:
            if isinstance(entry, Manifests):
                self._make(entry.objects(service_accounts_of(entry, self.topology)))
            else:
                self._make(rendered(alone.model_copy(update={"workloads": [entry]})))
            if any(entry.name in other.after for other in entries):
                self._wait_for(entry)

    def _wait_for(self, entry: Workload | Manifests) -> None:
        expected = [expectation(entry)]
        late = waiting.wait(self.api, expected, unfit(self.topology), silently, time.monotonic(), Standstill())
        assert not late, "\n".join(late)

    def change(self, topology: Topology) -> None:
        """Change the devices of the nodes, and the rules, to those of another topology."""
        self.topology = topology
        at_once(lambda node: self._provisioner(node[0]).reconcile(self.api, node[1]), self._nodes())
        for rule in rendered(topology.model_copy(update={"node_pools": [], "device_classes": [], "workloads": []})):
            if rule["kind"] == "DeviceTaintRule":
                live = f"{path(rule)}/{rule['metadata']['name']}"
                self.api.send("PATCH", live, rule, MERGE).checked()

    def _make(self, manifests: Iterable[Manifest]) -> None:
        for manifest in map(_with_group, manifests):
            self.api.send("POST", path(manifest), manifest).checked(*([CONFLICT] if manifest["kind"] in STAYS else []))
            if manifest["kind"] not in STAYS:
                self._made.append(f"{path(manifest)}/{manifest['metadata']['name']}")

    def _nodes(self) -> list[tuple[NodePool, str]]:
        return [(pool, name) for pool in self.topology.node_pools for name in pool.node_names()]

    def _provisioner(self, pool: NodePool) -> NodeProvisioner:
        generations = {driver: first_generation(pool, driver) for driver in pool.drivers}
        return NodeProvisioner(pool, generations, minor=self.topology.cluster.minor)

    def _are_ready(self) -> bool:
        """Tell whether KWOK has made all nodes ready: the scheduler would refuse the pods first."""
        return not nodes_may_change(snapshot.must_read(self.api, ["Node"]), [])

    def delete(self) -> None:
        """Delete everything, and wait until it is gone."""
        self._delete(reversed(self._made))
        wait_until(self._is_gone)

    def _is_gone(self) -> bool:
        left = snapshot.must_read(self.api, [*COMES_BACK, "ResourceSlice", "Node"])
        self._delete(map(live_path, left))
        return not left

    def _delete(self, paths: Iterable[str]) -> None:
        options = "gracePeriodSeconds=0&propagationPolicy=Background"
        at_once(lambda one: self.api.send("DELETE", f"{one}?{options}").checked(NOT_FOUND, CONFLICT), paths)

    # Status.

    def read(self) -> list[Manifest]:
        """Return all objects that the report is made of."""
        return snapshot.must_read(self.api, kinds(self.topology))

    def settled(self) -> Sequence[Object]:
        """Return all objects once the workloads are as expected, or cannot be any more."""
        objects = waiting.settled_objects(
            self.api,
            kinds(self.topology),
            self.read(),
            [expectation(entry) for entry in self.topology.applied],
            unfit(self.topology),
            not_ready(self.topology),
            silently,
            Standstill(),
        )
        assert objects is not None
        return objects

    def report(self) -> Report:
        """Return what an update would tell, once the workloads are as expected."""
        return report(self.topology, self.settled())


def silently(_: str) -> None:
    """Tell nobody what is waited for."""


def path(manifest: Mapping[str, Any]) -> str:
    """Return the path of an object's kind."""
    version, kind, namespace = manifest["apiVersion"], manifest["kind"], manifest["metadata"].get("namespace")
    prefix = f"/apis/{version}" if "/" in version else f"/api/{version}"
    plural = f"{kind.lower()}{'es' if kind.endswith('s') else 's'}"
    is_namespaced = namespace or kind in NAMESPACED
    return f"{prefix}/namespaces/{namespace or DEFAULT_NAMESPACE}/{plural}" if is_namespaced else f"{prefix}/{plural}"


def live_path(entry: Object) -> str:
    """Return the path of an object of a list, which does not say its version."""
    prefix, _, plural = LISTS[entry["kind"]].rpartition("/")
    namespace, name = key(entry)
    return f"{prefix}/namespaces/{namespace}/{plural}/{name}" if namespace else f"{prefix}/{plural}/{name}"


def _with_group(manifest: Manifest) -> Manifest:
    """Put pods into the group that their label names: in a real update a policy of admission does that."""
    pods = manifest if manifest["kind"] == "Pod" else (manifest.get("spec") or {}).get("template") or {}
    group = (pods.get("metadata") or {}).get("labels", {}).get(POD_GROUP_LABEL)
    if not group:
        return manifest
    grouped = pods | {"spec": pods["spec"] | {"schedulingGroup": {"podGroupName": group}}}
    return grouped if manifest is pods else manifest | {"spec": manifest["spec"] | {"template": grouped}}
