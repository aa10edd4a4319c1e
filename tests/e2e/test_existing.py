"""A fleet in a cluster that is there already, with real nodes, pods and a real driver, and KWOK beside it."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.project import PATIENCE_SECONDS, Project, processes_of, wait_until
from tests.e2e.real_cluster import Object, RealCluster

Configuration = dict[str, Any]

FLEET = "kwok-dra/fleet"
DRIVER = "gpu.nvidia.com"
NODES = ("real-0", "real-1")
CLASS = {  # as the driver's chart ships it
    "selectors": [
        {"cel": {"expression": f"device.driver == '{DRIVER}' && device.attributes['{DRIVER}'].type == 'gpu'"}}
    ],
    "extendedResourceName": "nvidia.com/gpu",
}
REAL_KINDS = "nodes,pods,deployments,replicasets,deviceclasses,resourceslices,resourceclaims,namespaces,serviceaccounts"
OUR_KINDS = "nodes,pods,deployments,jobs,deviceclasses,resourceslices,resourceclaims,resourceclaimtemplates,namespaces"
MANIFEST = """
apiVersion: v1
kind: Namespace
metadata: {name: user-made}
---
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata: {name: one, namespace: user-made}
spec: {spec: {devices: {requests: [{name: gpu, exactly: {deviceClassName: gpu.nvidia.com}}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: from-file, namespace: user-made}
spec:
  selector: {matchLabels: {app: from-file}}
  template:
    metadata: {labels: {app: from-file}}
    spec:
      containers: [{name: main, image: fake, resources: {claims: [{name: gpu}]}}]
      resourceClaims: [{name: gpu, resourceClaimTemplateName: one}]
"""


def workload(name: str, kind: str, **more: object) -> Configuration:
    claim = {"name": "gpu", "requests": [{"name": "gpu", "deviceClass": DRIVER}]}
    return {"name": name, "kind": kind, "replicas": 2, "claims": [claim], **more}


def stack(kubeconfig: Path) -> Configuration:
    """Return the configuration of a fleet with everything that may run beside real things."""
    return {
        "cluster": {
            "existing": {"kubeconfig": str(kubeconfig), "context": "real", "allow": True},
            "readyTimeoutSeconds": PATIENCE_SECONDS,
        },
        "nodePools": [
            {"name": "few", "nodes": 2, "gpu": "t4", "gpusPerNode": 4},
            {"name": "many", "nodes": 2, "gpu": "t4", "gpusPerNode": 4, "provisioning": "bulk"},
        ],
        "workloads": [
            workload("served", "Deployment"),
            workload("done", "Job"),
            workload("bare", "Pod", namespace="bare-pods"),
            workload("bulk", "Pod", provisioning="bulk"),
        ],
        "manifests": [{"name": "files", "files": ["own.yaml"]}],
    }


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """A cluster with two nodes, a driver that publishes a GPU on each, and pods; KWOK does not run yet."""
    cluster = RealCluster(tmp_path_factory.mktemp("real") / "r")
    try:
        cluster.start()
        fill(cluster)
        yield cluster
    finally:
        cluster.close()


def fill(cluster: RealCluster) -> None:
    labels = {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    cluster.apply(
        [
            *(node(name, labels | {"kubernetes.io/hostname": name}) for name in NODES),
            {
                "apiVersion": "resource.k8s.io/v1",
                "kind": "DeviceClass",
                "metadata": {"name": DRIVER},
                "spec": CLASS,
            },
            *map(slice_of, NODES),
            deployment("plain", replicas=3),
            deployment("too-big", replicas=1, cpu="64"),  # only a fake node has that much
            claiming_pod("trainer"),
        ]
    )
    for name in NODES:
        capacity = {"cpu": "8", "memory": "32Gi", "pods": "110"}
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "it is real"}
        cluster.set_status("node", name, {"capacity": capacity, "allocatable": capacity, "conditions": [ready]})
    for name in NODES:  # which a new node has until it is ready
        with suppress(AssertionError):
            cluster.kubectl("taint", "node", name, "node.kubernetes.io/not-ready-")
    for pods in (("pods", "--selector", "app=plain"), ("pod", "trainer")):
        scheduled = ("--for", "condition=PodScheduled", "--timeout", f"{PATIENCE_SECONDS}s")
        cluster.kubectl("wait", *pods, *scheduled)
    wait_until(lambda: all(map(is_settled, cluster.get("nodes,deployments,replicasets"))))


def is_settled(entry: Object) -> bool:
    """Tell whether the controllers have done all that they do with a new object."""
    if entry["kind"] == "Node":
        return "beta.kubernetes.io/os" in entry["metadata"]["labels"] and not entry["spec"].get("taints")
    status = entry["status"]
    return (status.get("observedGeneration"), status.get("replicas")) == (
        entry["metadata"]["generation"],
        entry["spec"]["replicas"],
    )


def node(name: str, labels: dict[str, str]) -> Object:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}


def slice_of(name: str) -> Object:
    device = {"name": "gpu-0", "attributes": {"type": {"string": "gpu"}}}
    pool = {"name": name, "generation": 1, "resourceSliceCount": 1}
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceSlice",
        "metadata": {"name": f"{name}-{DRIVER}-x7k2p"},
        "spec": {"driver": DRIVER, "nodeName": name, "pool": pool, "devices": [device]},
    }


def deployment(name: str, replicas: int, cpu: str = "1") -> Object:
    container = {"name": "main", "image": "real", "resources": {"requests": {"cpu": cpu}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "progressDeadlineSeconds": 2**31 - 1,  # no pod is ever ready, and nothing is to come of that
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
        },
    }


def claiming_pod(name: str) -> Object:
    container = {"name": "main", "image": "real", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [container]},
    }


@pytest.fixture(scope="module")
def project(new_project: Callable[[], Project], real: RealCluster) -> Project:
    """A project whose stack is to go to the real cluster."""
    project = new_project()
    (project.source / "own.yaml").write_text(MANIFEST)
    configure(project, stack(real.kubeconfig))
    return project


def configure(project: Project, wanted: Configuration) -> None:
    with project.configuration() as config:
        config.clear()
        config.update(json.loads(json.dumps(wanted)))


def real_objects(real: RealCluster) -> dict[str, Object]:
    """Return all that is real, to the last field; but for a pending pod, of which the scheduler says why it is."""
    found = [entry for entry in real.get(REAL_KINDS) if is_real(entry)]
    for entry in found:
        if entry["kind"] == "Pod" and "nodeName" not in entry["spec"]:
            del entry["status"], entry["metadata"]["resourceVersion"]
    return {
        f"{entry['kind']} {entry['metadata'].get('namespace')}/{entry['metadata']['name']}": entry for entry in found
    }


def is_real(entry: Object) -> bool:
    ours = ("bare-pods", "user-made")
    return (
        FLEET not in entry["metadata"].get("labels", {})
        and entry["metadata"].get("namespace") not in ours
        and not any(name in entry["metadata"]["name"] for name in ("served", "done", "bulk", "bare"))
    )


def test_what_is_refused_before_anything_is_made(project: Project, real: RealCluster) -> None:
    before = real_objects(real)
    config = stack(real.kubeconfig)

    def refused(*messages: str, **cluster: object) -> None:
        existing = {**config["cluster"]["existing"], **cluster.pop("existing", {})}  # type: ignore[dict-item]
        configure(project, {**config, "cluster": {**config["cluster"], **cluster, "existing": existing}})
        said = project.fails()
        for message in messages:
            assert message in said, said

    refused("kwok-dra:cluster.existing.allow: must be true", existing={"allow": False})
    refused("existing.context: there is no context 'rael'", "did you mean 'real'?", existing={"context": "rael"})
    refused("elsewhere, https://127.0.0.1:1, does not answer", existing={"context": "elsewhere"})
    refused("has runtime, kubeVersion beside existing", runtime="binary", kubeVersion="1.37.2")
    configure(project, config)
    assert real_objects(real) == before
    assert project.resources() == []


def test_what_is_in_the_way_is_named(project: Project, real: RealCluster) -> None:
    config = stack(real.kubeconfig)
    config["nodePools"].append({"name": "real", "nodes": 2, "gpu": "t4"})
    config["deviceClasses"] = [{"name": DRIVER, "selectors": ["true"]}]
    config["workloads"].append(workload("plain", "Deployment"))
    config["workloads"].append(workload("any", "Deployment", namespace="kube-node-lease-2"))
    real.apply(
        [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-node-lease-2"}},
            daemon_set("proxy", {"tolerations": [{"operator": "Exists"}]}),
            daemon_set("agent", {"tolerations": [{"operator": "Exists"}], "nodeSelector": {"type": "metal"}}),
        ]
    )
    config["workloads"][-1]["namespace"] = "taken"
    real.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "taken"}}])
    configure(project, config)
    said = project.fails()
    assert "kwok-dra:nodePools[2]: Node real-0, Node real-1 already exist in the cluster" in said
    assert f"kwok-dra:deviceClasses: DeviceClass {DRIVER} already exists in the cluster" in said
    assert "kwok-dra:workloads[4]: Deployment plain already exists in the cluster" in said
    assert "kwok-dra:workloads: Namespace taken already exists in the cluster" in said
    assert "the pods of DaemonSet default/proxy would run on fake nodes" in said
    assert "agent" not in said
    assert project.resources() == []
    real.kubectl("delete", "daemonset", "proxy", "agent")
    real.kubectl("delete", "namespace", "taken", "kube-node-lease-2")
    configure(project, stack(real.kubeconfig))


def daemon_set(name: str, spec: Object) -> Object:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "a", "image": "a"}], **spec}}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template},
    }


def test_without_kwok_nothing_is_made(project: Project, real: RealCluster) -> None:
    with project.configuration() as config:
        config["cluster"]["readyTimeoutSeconds"] = 2
    said = project.fails()
    assert "no KWOK makes fake nodes ready in the cluster" in said
    assert "docs/existing-clusters.md" in said
    assert project.resources() == []
    assert sorted(entry["metadata"]["name"] for entry in real.get("nodes")) == list(NODES)
    configure(project, stack(real.kubeconfig))


def test_a_fleet_comes_beside_what_is_real(project: Project, real: RealCluster) -> None:
    real.start_kwok()
    users = real.kubeconfig.read_bytes()
    before = real_objects(real)
    assert set(project.planned().values()) == {"create"}
    assert "warning" not in project.up()
    check_apart(real)
    outputs = project.outputs()
    assert outputs["clusterName"] == "real"
    told = "9 of 9 claims allocated (2 released), 7 of 9 pods running (2 ended), 7 of 16 devices in use on 4 nodes"
    assert outputs["summary"] == told
    assert outputs["leftovers"] == []
    assert {entry["name"]: entry["nodes"] for entry in outputs["pools"]} == {"few": 2, "many": 2}
    kept = Path(outputs["kubeconfigPath"])
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    assert [entry["name"] for entry in yaml.safe_load(kept.read_text())["contexts"]] == ["real"]
    assert real.kubeconfig.read_bytes() == users
    assert real_objects(real) == before
    project.up("--expect-no-changes")
    assert project.planned() == {}
    shown = project.run(sys.executable, "-m", "views", "--stack", "dev", "status").stdout
    assert "9 of 9 claims allocated" in shown and "trainer" not in shown


def check_apart(real: RealCluster) -> None:
    """Check that fake pods are on fake nodes, real pods are not, and that the devices of each are those of its node."""
    fake = {entry["metadata"]["name"] for entry in real.get("nodes", "--selector", f"{FLEET}=kwok-dra-dev")}
    assert fake == {"few-0", "few-1", "many-0", "many-1"}
    for entry in real.get("nodes", "--selector", FLEET):
        assert entry["metadata"]["labels"]["type"] == "kwok"
        assert {"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"} in entry["spec"]["taints"]
    for pod in real.get("pods"):
        place = pod["spec"].get("nodeName")
        if is_real(pod):
            assert place in (None, *NODES), pod
            assert place or pod["metadata"]["labels"]["app"] == "too-big"
        else:
            assert place in fake, pod
            assert pod["status"]["phase"] in ("Running", "Succeeded")
    for claim in real.get("resourceclaims"):
        results = claim.get("status", {}).get("allocation", {}).get("devices", {}).get("results", [])
        for result in results:
            assert (result["pool"] in fake) is not is_real(claim)


def test_growth_shrinkage_and_drift(project: Project, real: RealCluster) -> None:
    before = real_objects(real)
    with project.configuration() as config:
        config["nodePools"][0]["nodes"] = 3
        config["nodePools"][1]["nodes"] = 1
        config["workloads"].pop(0)
    real.kubectl("delete", "node", "many-0")
    project.up()
    nodes = {entry["metadata"]["name"] for entry in real.get("nodes", "--selector", FLEET)}
    assert nodes == {"few-0", "few-1", "few-2", "many-0"}
    assert real_objects(real) == before
    project.up("--expect-no-changes")


def test_another_stack_does_not_get_the_same_name(
    new_project: Callable[[], Project], project: Project, real: RealCluster
) -> None:
    """A colleague with the same project: names of fleets are what tells stacks apart."""
    other = new_project()
    mine = {"nodePools": [{"name": "theirs", "nodes": 1, "gpu": "t4"}]}
    cluster = stack(real.kubeconfig)["cluster"]
    configure(other, {"cluster": cluster, **mine})
    assert "a fleet 'kwok-dra-dev' already exists in the cluster" in other.fails()
    assert other.resources() == []
    configure(other, {"cluster": cluster | {"name": "second"}, **mine})
    other.up()
    assert [entry["metadata"]["name"] for entry in real.get("nodes", "--selector", f"{FLEET}=second")] == ["theirs-0"]
    with other.configuration() as config:
        config["nodePools"][0]["name"] = "few"
    assert "Node few-0 already exists in the cluster, and this stack did not create it" in other.fails()
    other.destroy()
    assert real.get(OUR_KINDS, "--selector", f"{FLEET}=second") == []
    assert len(real.get("nodes", "--selector", FLEET)) == 4
    other.run("pulumi", "stack", "rm", "--yes")


def test_another_cluster_is_refused(
    project: Project, real: RealCluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    second = RealCluster(tmp_path_factory.mktemp("second") / "r")
    try:
        second.start()
        with project.configuration() as config:
            config["cluster"]["existing"]["kubeconfig"] = str(second.kubeconfig)
        said = project.fails()
        assert "is not the cluster that has this stack's objects" in said
        assert second.get("nodes") == []
        assert len(real.get("nodes", "--selector", FLEET)) == 4
    finally:
        second.close()
    files = [entry.name for entry in Path(project.outputs()["kubeconfigPath"]).parent.iterdir()]
    assert files == [Path(project.outputs()["kubeconfigPath"]).name]


def test_destroy_takes_away_the_stack_and_nothing_else(project: Project, real: RealCluster) -> None:
    """Also with a configuration that names another cluster by now."""
    before = real_objects(real)
    project.destroy()
    assert project.resources() == []
    assert real.get(OUR_KINDS, "--selector", FLEET) == []
    assert sorted(entry["metadata"]["name"] for entry in real.get("nodes")) == list(NODES)
    assert {entry["metadata"]["name"] for entry in real.get("resourceslices")} == {
        f"{name}-{DRIVER}-x7k2p" for name in NODES
    }
    assert [entry["metadata"]["name"] for entry in real.get("deviceclasses")] == [DRIVER]
    assert real_objects(real) == before
    assert not (project.folder / "state" / "kwok" / "existing").exists()
    assert processes_of(project.folder) == []
