"""What keeps a fleet apart from all else in a cluster that is not its own."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from topology.checks.isolation import beyond
from topology.objects import namespaces, nodes, pods
from topology.objects.isolation import kept_apart, probe
from topology.schema.catalogue import built_in
from topology.schema.stack import Topology

Configuration = dict[str, Any]

EXISTING = {"kubeconfig": "k", "context": "c", "allow": True}
FLEET = {"kwok-dra/fleet": "kwok-dra-dev"}
TAINT = {"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}
TOLERATION = {"key": "kwok.x-k8s.io/node", "operator": "Exists", "effect": "NoSchedule"}


def existing(configuration: Configuration, folder: Path = Path()) -> Topology:
    """Return a configuration as it is before anybody looks at the cluster."""
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
    (pool,) = kept_apart(existing(dev)).node_pools
    node = nodes.node(pool, "kwok-node-0")
    assert node["spec"]["taints"] == [TAINT]
    assert node["metadata"]["annotations"]["kwok.x-k8s.io/node"] == "fake"
    wanted = {"type": "kwok", "node.kubernetes.io/exclude-from-external-load-balancers": "", **FLEET}
    assert wanted.items() <= node["metadata"]["labels"].items()


def test_other_taints_stay(dev: Configuration) -> None:
    dev["nodePools"][0]["taints"] = [{"key": "a", "value": "b", "effect": "NoExecute"}]
    (pool,) = kept_apart(existing(dev)).node_pools
    assert [taint.key for taint in pool.taints or []] == ["a", "kwok.x-k8s.io/node"]


def test_batches_are_given_the_same(dev: Configuration) -> None:
    """What makes them reads the pool as it is written."""
    dev["nodePools"][0] |= {"provisioning": "bulk", "labels": {"a": "b"}}
    topology = kept_apart(existing(dev))
    written = topology.node_pools[0].written
    assert written["taints"] == [TAINT]
    assert written["labels"].items() >= {"a": "b", **FLEET}.items()
    assert written["nodes"] == 1
    assert topology.workloads[0].written["nodeSelector"] == FLEET


def test_pods_stay_on_the_nodes_of_their_stack(dev: Configuration) -> None:
    dev["workloads"][0]["nodeSelector"] = {"a": "b", "kwok-dra/fleet": "another"}
    dev["nodePools"][0]["labels"] = {"a": "b", "kwok-dra/fleet": "another"}
    (workload,) = kept_apart(existing(dev)).workloads
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
def test_pods_of_manifests_too(
    dev: Configuration, tmp_path: Path, kind: str, version: str, spec: Configuration, path: list[str]
) -> None:
    found = {"apiVersion": version, "kind": kind, "metadata": {"name": "a"}, "spec": spec}
    topology = with_manifest(dev, tmp_path, found)
    (made,) = kept_apart(topology).manifests[0].objects()
    for key in path:
        made = made[key]
    assert made == POD | {"nodeSelector": FLEET, "tolerations": [TOLERATION]}
    assert topology.manifests[0].objects() == [found]


def test_what_the_pods_of_manifests_have_stays(dev: Configuration, tmp_path: Path) -> None:
    own = {"nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": POD | own}
    (made,) = kept_apart(with_manifest(dev, tmp_path, pod)).manifests[0].objects()
    assert made["spec"]["nodeSelector"] == {"a": "b"} | FLEET
    assert made["spec"]["tolerations"] == [{"operator": "Exists"}, TOLERATION]


def test_nodes_of_manifests_too(dev: Configuration, tmp_path: Path) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a", "labels": {"type": "x"}}}
    (made,) = kept_apart(with_manifest(dev, tmp_path, node)).manifests[0].objects()
    assert made["spec"]["taints"] == [TAINT]
    assert made["metadata"]["annotations"] == {"kwok.x-k8s.io/node": "fake"}
    assert made["metadata"]["labels"].items() >= {"type": "kwok", **FLEET}.items()


def problems(topology: Topology) -> list[str]:
    return [f"{found.path}: {found.message}" for found in beyond(topology)]


def test_the_dev_stack_stays_where_it_is(dev: Configuration) -> None:
    assert problems(kept_apart(existing(dev))) == []


def test_pod_groups_would_be_for_all_pods(dev: Configuration) -> None:
    dev["workloads"][0]["podGroup"] = {}
    (found,) = problems(existing(dev))
    assert found.startswith("workloads[0].podGroup: needs a MutatingAdmissionPolicy for all pods")


@pytest.mark.parametrize(
    ("rule", "is_refused"), [({}, True), ({"driver": "gpu.kwok.x-k8s"}, True), ({"pool": "kwok-node-0"}, False)]
)
def test_rules_taint_devices_of_the_stack_only(dev: Configuration, rule: Configuration, is_refused: bool) -> None:
    dev["deviceTaintRules"] = [{"name": "a", "taint": {"key": "a", "effect": "NoExecute"}, **rule}]
    found = problems(existing(dev))
    assert [entry.partition(":")[0] for entry in found] == (["deviceTaintRules[0].pool"] if is_refused else [])


@pytest.mark.parametrize(("pool", "is_refused"), [(None, True), ("real-0", True), ("kwok-node-0", False)])
def test_rules_of_manifests_too(dev: Configuration, tmp_path: Path, pool: str | None, is_refused: bool) -> None:
    spec = {"deviceSelector": {"pool": pool}, "taint": {"key": "a", "effect": "NoExecute"}}
    version = {"apiVersion": "resource.k8s.io/v1", "kind": "DeviceTaintRule"}
    found = problems(with_manifest(dev, tmp_path, version | {"metadata": {"name": "a"}, "spec": spec}))
    assert bool(found) is is_refused
    assert all(entry.startswith("manifests[0].files[0]: document 1: has to be a node of the stack") for entry in found)


@pytest.mark.parametrize(("node", "is_refused"), [("real-0", True), ("kwok-node-0", False)])
def test_pods_are_put_on_no_real_node(dev: Configuration, tmp_path: Path, node: str, is_refused: bool) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": POD | {"nodeName": node}}
    found = problems(with_manifest(dev, tmp_path, pod))
    assert bool(found) is is_refused
    assert all("nodeName: real-0, which is no node of the stack" in entry for entry in found)


def test_service_accounts_that_were_there_stay(dev: Configuration) -> None:
    """A stack would take them with it when it goes."""
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
