"""The isolation of a fleet from everything else in an existing cluster."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from topology.checks.isolation import isolation_problems
from topology.objects import namespaces, nodes, pods
from topology.objects.isolation import isolated, probe
from topology.schema.catalogue import built_in
from topology.schema.stack import Topology

Configuration = dict[str, Any]

EXISTING = {"kubeconfig": "k", "context": "c", "allow": True}
FLEET = {"kwok-dra/fleet": "kwok-dra-dev"}
TAINT = {"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}
TOLERATION = {"key": "kwok.x-k8s.io/node", "operator": "Exists", "effect": "NoSchedule"}


def existing(configuration: Configuration, folder: Path = Path()) -> Topology:
    """Return the topology before the program examines the cluster."""
    configuration["cluster"] = {"name": "kwok-dra-dev", "existing": EXISTING}
    return Topology.model_validate(configuration, context={**built_in()._asdict(), "folder": folder})


def with_manifest(dev: Configuration, folder: Path, *documents: Configuration) -> Topology:
    (folder / "own.yaml").write_text(yaml.safe_dump_all(documents))
    dev["manifests"] = [{"name": "own", "files": ["own.yaml"]}]
    return existing(dev, folder)


@pytest.mark.parametrize(
    "more", [{}, {"taints": []}, {"labels": {"type": "metal", "a": "b"}}, {"taints": [{"key": "kwok.x-k8s.io/node"}]}]
)
def test_nodes_keep_real_pods_off(dev: Configuration, more: Configuration) -> None:
    dev["nodePools"][0] |= more
    (pool,) = isolated(existing(dev)).node_pools
    node = nodes.node(pool, "kwok-node-0")
    assert node["spec"]["taints"] == [TAINT]
    assert node["metadata"]["annotations"]["kwok.x-k8s.io/node"] == "fake"
    wanted = {"type": "kwok", "node.kubernetes.io/exclude-from-external-load-balancers": "", **FLEET}
    assert wanted.items() <= node["metadata"]["labels"].items()


def test_other_taints_stay(dev: Configuration) -> None:
    dev["nodePools"][0]["taints"] = [{"key": "a", "value": "b", "effect": "NoExecute"}]
    (pool,) = isolated(existing(dev)).node_pools
    assert [taint.key for taint in pool.taints or []] == ["a", "kwok.x-k8s.io/node"]


def test_batches_get_the_same_isolation(dev: Configuration) -> None:
    """The program that creates batches reads the configuration of the pool."""
    dev["nodePools"][0] |= {"provisioning": "bulk", "labels": {"a": "b"}}
    topology = isolated(existing(dev))
    written = topology.node_pools[0].written
    assert written["taints"] == [TAINT]
    assert written["labels"].items() >= {"a": "b", **FLEET}.items()
    assert written["nodes"] == 1
    assert topology.workloads[0].written["nodeSelector"] == FLEET


def test_pods_stay_on_the_nodes_of_their_stack(dev: Configuration) -> None:
    dev["workloads"][0]["nodeSelector"] = {"a": "b", "kwok-dra/fleet": "another"}
    dev["nodePools"][0]["labels"] = {"a": "b", "kwok-dra/fleet": "another"}
    (workload,) = isolated(existing(dev)).workloads
    (deployment,) = pods.workload_objects(workload)
    spec = deployment["spec"]["template"]["spec"]
    assert spec["nodeSelector"] == {"a": "b"} | FLEET
    assert TOLERATION in spec["tolerations"]


POD = {"containers": [{"name": "a", "image": "a"}]}


@pytest.mark.parametrize(
    ("kind", "version", "spec", "path"),
    [
        ("Pod", "v1", POD, ["spec"]),
        ("DaemonSet", "apps/v1", {"template": {"spec": POD}}, ["spec", "template", "spec"]),
        (
            "CronJob",
            "batch/v1",
            {"jobTemplate": {"spec": {"template": {"spec": POD}}}},
            ["spec", "jobTemplate", "spec", "template", "spec"],
        ),
    ],
)
def test_pods_of_manifests(
    dev: Configuration, tmp_path: Path, kind: str, version: str, spec: Configuration, path: list[str]
) -> None:
    found = {"apiVersion": version, "kind": kind, "metadata": {"name": "a"}, "spec": spec}
    topology = with_manifest(dev, tmp_path, found)
    (made,) = isolated(topology).manifests[0].objects()
    for key in path:
        made = made[key]
    assert made == POD | {"nodeSelector": FLEET, "tolerations": [TOLERATION]}
    assert topology.manifests[0].objects() == [found]


def test_the_selectors_and_tolerations_of_manifests_stay(dev: Configuration, tmp_path: Path) -> None:
    own = {"nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": POD | own}
    (made,) = isolated(with_manifest(dev, tmp_path, pod)).manifests[0].objects()
    assert made["spec"]["nodeSelector"] == {"a": "b"} | FLEET
    assert made["spec"]["tolerations"] == [{"operator": "Exists"}, TOLERATION]


def test_nodes_of_manifests(dev: Configuration, tmp_path: Path) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a", "labels": {"type": "x"}}}
    (made,) = isolated(with_manifest(dev, tmp_path, node)).manifests[0].objects()
    assert made["spec"]["taints"] == [TAINT]
    assert made["metadata"]["annotations"] == {"kwok.x-k8s.io/node": "fake"}
    assert made["metadata"]["labels"].items() >= {"type": "kwok", **FLEET}.items()


def problems(topology: Topology) -> list[str]:
    return [f"{found.path}: {found.message}" for found in isolation_problems(topology)]


def test_the_dev_stack_is_isolated(dev: Configuration) -> None:
    assert problems(isolated(existing(dev))) == []


def test_pod_groups_would_affect_all_pods(dev: Configuration) -> None:
    dev["workloads"][0]["podGroup"] = {}
    (found,) = problems(existing(dev))
    assert found == (
        "workloads[0].podGroup: needs a MutatingAdmissionPolicy, which would also apply to other people's pods in an "
        "existing cluster: remove it"
    )


@pytest.mark.parametrize(
    ("rule", "is_refused"), [({}, True), ({"driver": "gpu.kwok.x-k8s"}, True), ({"pool": "kwok-node-0"}, False)]
)
def test_rules_taint_devices_of_the_stack_only(dev: Configuration, rule: Configuration, is_refused: bool) -> None:
    dev["deviceTaintRules"] = [{"name": "a", "taint": {"key": "a", "effect": "NoExecute"}, **rule}]
    found = problems(existing(dev))
    message = "must name a node or a fabric pool of this stack; otherwise the rule also taints other people's devices"
    assert found == ([f"deviceTaintRules[0].pool: {message}"] if is_refused else [])


@pytest.mark.parametrize(("pool", "is_refused"), [(None, True), ("real-0", True), ("kwok-node-0", False)])
def test_rules_of_manifests(dev: Configuration, tmp_path: Path, pool: str | None, is_refused: bool) -> None:
    spec = {"deviceSelector": {"pool": pool}, "taint": {"key": "a", "effect": "NoExecute"}}
    version = {"apiVersion": "resource.k8s.io/v1", "kind": "DeviceTaintRule"}
    found = problems(with_manifest(dev, tmp_path, version | {"metadata": {"name": "a"}, "spec": spec}))
    assert bool(found) is is_refused
    message = "document 1: spec.deviceSelector.pool of DeviceTaintRule a must name a node or a fabric pool"
    assert all(entry.startswith(f"manifests[0].files[0]: {message}") for entry in found)


@pytest.mark.parametrize(("node", "is_refused"), [("real-0", True), ("kwok-node-0", False)])
def test_pods_must_not_name_a_real_node(dev: Configuration, tmp_path: Path, node: str, is_refused: bool) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": POD | {"nodeName": node}}
    found = problems(with_manifest(dev, tmp_path, pod))
    assert bool(found) is is_refused
    assert all("pods of Pod a have nodeName: real-0, which is not a node of this stack" in entry for entry in found)


def test_existing_service_accounts_stay(dev: Configuration) -> None:
    """A stack would delete them when it is destroyed."""
    dev["workloads"] = [
        dev["workloads"][0] | {"name": name, "kind": "Pod", "namespace": namespace}
        for name, namespace in (("a", "default"), ("b", "own"))
    ]
    topology = existing(dev)
    assert [entry["metadata"]["namespace"] for entry in namespaces.service_accounts(topology)] == ["own"]


def test_the_probe_attracts_nobody() -> None:
    node = probe("a")
    assert node["spec"]["taints"] == [TAINT]
    assert node["metadata"]["labels"]["kwok-dra/probe"] == "a"
    assert "kwok-dra/fleet" not in node["metadata"]["labels"]
    assert node["metadata"]["name"] != probe("a")["metadata"]["name"]
