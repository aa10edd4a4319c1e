"""What the scheduler considers about pods: a twin has it, or says how many pods it lacks it of."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.real_slices import node
from tests.unit.test_twin_workloads import CLASS, DRIVER, HOLDING, NODES, claim, gpus, pod, twin, workloads

Object = dict[str, Any]
HOST = "kubernetes.io/hostname"
TERM = {"labelSelector": {"matchLabels": {"app": "x"}}, "topologyKey": HOST}
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def node_affinity(*terms: Object, **more: Any) -> Object:
    return {"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": list(terms)}, **more}}}


def one_of(key: str, *values: str, operator: str = "In") -> Object:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


def holding(**spec: Any) -> list[Object]:
    """Return a pod on the first node with its claim, and these fields."""
    return [*NODES, HOLDING[0], pod("p-0", "c-0", "n-a", **spec)]


def with_main(**fields: Any) -> Object:
    """Return the containers of a pod, of which the first has these fields."""
    return {"containers": [{"name": "main", "resources": {"claims": [{"name": "gpu"}]}, **fields}]}


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ({"affinity": {"podAntiAffinity": {REQUIRED: [TERM]}}}, "affinity and anti-affinity to other pods"),
        ({"affinity": {"podAffinity": {PREFERRED: [{"weight": 1, "podAffinityTerm": TERM}]}}}, "affinity and anti-"),
        (node_affinity(one_of("disk", "ssd", "nvme")), "node affinity other than required labels"),
        (node_affinity(one_of("disk", operator="Exists")), "node affinity other than required labels"),
        (node_affinity(one_of("disk", "ssd"), one_of("disk", "nvme")), "node affinity other than required labels"),
        ({"affinity": {"nodeAffinity": {PREFERRED: [{"weight": 1}]}}}, "node affinity other than required labels"),
        ({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": HOST}]}, "topology spread constraints"),
        ({"initContainers": [{"name": "i", "resources": {"requests": {"cpu": "8"}}}]}, "requests of init containers"),
        ({"overhead": {"cpu": "250m"}}, "requests and overhead of pods as a whole"),
        ({"resources": {"requests": {"cpu": "4"}}}, "requests and overhead of pods as a whole"),
        (with_main(ports=[{"containerPort": 80}, {"containerPort": 81, "hostPort": 81}]), "host ports"),
        ({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "v"}}]}, "volumes that tie pods to nodes"),
        (
            {"volumes": [{"name": "v", "ephemeral": {}}, {"name": "w", "ephemeral": {"volumeClaimTemplate": {}}}]},
            "volumes",
        ),
    ],
)
def test_what_is_left_out_is_counted(tmp_path: Path, spec: Object, what: str) -> None:
    found = twin(tmp_path, *holding(**spec), HOLDING[1], pod("p-1", "c-1", "n-a", **spec))
    (note,) = found.notes
    assert note.startswith(what)
    assert note.endswith(" left out: 2")


@pytest.mark.parametrize(
    "spec",
    [
        {"priority": 0, "preemptionPolicy": "PreemptLowerPriority", "schedulerName": "default-scheduler"},
        {"volumes": [{"name": "token", "projected": {}}, {"name": "e", "emptyDir": {}}]},
        {"initContainers": [{"name": "i", "resources": {}}], "affinity": {}, "topologySpreadConstraints": None},
        with_main(ports=[{"containerPort": 80}]),
    ],
)
def test_what_every_pod_has_is_not_told(tmp_path: Path, spec: Object) -> None:
    assert twin(tmp_path, *holding(**spec)).notes == []


def test_pods_without_devices_are_counted(tmp_path: Path) -> None:
    others = [pod(f"web-{index}", None, "n-a", resourceClaims=[], containers=[{"name": "c"}]) for index in range(3)]
    others[0]["status"]["phase"] = "Succeeded"
    found = twin(tmp_path, *holding(), *others)
    assert found.notes == ["pods without devices are left out, and what they use of nodes is free: 2"]


def test_pods_with_gates_are_left_out(tmp_path: Path) -> None:
    found = twin(tmp_path, *NODES, pod("p-0", None, schedulingGates=[{"name": "acme.com/quota"}]))
    assert "workloads" not in found.configuration
    assert found.notes == ["pods with schedulingGates are left out: 1"]


def test_config_is_counted(tmp_path: Path) -> None:
    config = [{"opaque": {"driver": DRIVER, "parameters": {"token": "secret"}}}]
    told = claim("c-0", [("n-a", "gpu-0")])
    told["spec"]["devices"]["config"] = config
    of_class = CLASS | {"spec": {**CLASS["spec"], "config": config}}
    objects = [*NODES, of_class, told, HOLDING[3]]
    notes = ["config of DeviceClasses is left out: 1"]
    assert twin(tmp_path, *objects, keep_names=True).notes == notes
    assert twin(tmp_path, *objects).notes == [*notes, "config of claims is left out: 1"]


def test_constraints_of_groups_are_counted(tmp_path: Path) -> None:
    group = {
        "apiVersion": "scheduling.k8s.io/v1beta1",
        "kind": "PodGroup",
        "metadata": {"name": "g", "namespace": "default"},
        "spec": {"schedulingPolicy": {"basic": {}}, "schedulingConstraints": {"topology": [{"key": "rack"}]}},
    }
    found = twin(tmp_path, *holding(schedulingGroup={"podGroupName": "g"}), group)
    assert found.notes == ["schedulingConstraints of PodGroups are left out: 1"]


# Nodes.


@pytest.mark.parametrize(
    "spec",
    [
        {"nodeSelector": {HOST: "n-b"}},
        node_affinity({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n-b"]}]}),
    ],
)
def test_pods_for_one_node(tmp_path: Path, spec: Object) -> None:
    """The second form is that of a DaemonSet's pods."""
    (workload,) = workloads(tmp_path, *NODES, HOLDING[2], pod("p-2", "c-2", "n-b", **spec))
    assert workload["nodeSelector"] == {HOST: "x1-1"}


def test_host_names_that_are_no_names_of_nodes(tmp_path: Path) -> None:
    named = node("n-a", {HOST: "host-a"})
    (workload,) = workloads(tmp_path, named, NODES[1], *holding(nodeSelector={HOST: "host-a"})[2:])
    assert workload["nodeSelector"] == {HOST: "x1-0"}


def test_pods_for_nodes_that_are_not_in_the_twin(tmp_path: Path) -> None:
    found = twin(tmp_path, *NODES, node("n-c"), claim("w"), pod("w", "w", nodeSelector={HOST: "n-c"}))
    assert "workloads" not in found.configuration
    assert "pods that select nodes which are not in the twin are left out: 1" in found.notes


KEPT_THERE = "pods that could not start on their nodes now are kept there: 1"


def lost(name: str) -> Object:
    entry = node(name)
    entry["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]
    return entry


@pytest.mark.parametrize(
    ("entry", "tolerations"),
    [
        (
            node(
                "n-a", None, [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}], unschedulable=True
            ),
            [{"key": "twin/cordoned", "effect": "NoSchedule"}],
        ),
        (
            node("n-a", None, [{"key": "acme.com/drain", "value": "now", "effect": "NoExecute"}]),
            [{"key": "twin/taint-1", "value": "value-1", "effect": "NoExecute"}],
        ),
        (
            lost("n-a"),
            [{"key": "node.kubernetes.io/not-ready", "effect": effect} for effect in ("NoSchedule", "NoExecute")],
        ),
    ],
)
def test_pods_stay_on_nodes_that_they_could_not_enter(tmp_path: Path, entry: Object, tolerations: list[Object]) -> None:
    by_default: Object = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}
    spec: Object = {"tolerations": [by_default | {"tolerationSeconds": 300}]}
    found = twin(tmp_path, entry, *NODES[1:], HOLDING[0], pod("p-0", "c-0", "n-a", **spec))
    (workload,) = found.configuration["workloads"]
    assert workload["tolerations"] == tolerations
    assert workload["nodeSelector"] == {HOST: found.nodes["n-a"]}
    assert found.notes == [KEPT_THERE]


def test_pods_stay_on_nodes_that_they_no_longer_select(tmp_path: Path) -> None:
    found = twin(tmp_path, *holding(nodeSelector={"disk": "ssd"}))
    (workload,) = found.configuration["workloads"]
    assert workload["nodeSelector"] == {HOST: "x1-0"}
    assert found.notes == [KEPT_THERE]


def test_a_preference_keeps_no_pod_away(tmp_path: Path) -> None:
    preferred = node("n-a", None, [{"key": "acme.com/old", "effect": "PreferNoSchedule"}])
    found = twin(tmp_path, preferred, *holding()[1:])
    assert found.notes == []


def test_claims_tolerate_the_taints_of_their_devices(tmp_path: Path) -> None:
    """The device got its taint when the claim had it: without a toleration, the claim would get no device again."""
    sick = {"key": "acme.com/sick", "value": "yes", "effect": "NoSchedule"}
    rule = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "DeviceTaintRule",
        "metadata": {"name": "r"},
        "spec": {"deviceSelector": {"pool": "n-a"}, "taint": {"key": "acme.com/old", "effect": "NoExecute"}},
    }
    slices = [gpus("n-a", taints={0: [sick, {"key": "acme.com/told", "effect": "None"}]}), NODES[3]]
    found = twin(tmp_path, *NODES[:2], *slices, rule, HOLDING[0], HOLDING[3], keep_names=True)
    (workload,) = found.configuration["workloads"]
    (asked,) = workload["claims"][0]["requests"]
    assert asked["tolerations"] == [sick, {"key": "acme.com/old", "effect": "NoExecute"}]
    (selector,) = asked["selectors"]
    assert "?uuid.orValue('') in ['GPU-" in selector


# Resources.


def offering(name: str, **resources: str) -> Object:
    entry = node(name)
    entry["status"]["allocatable"] |= {key.replace("_", "/"): amount for key, amount in resources.items()}
    return entry


def asking(**requests: str) -> list[Object]:
    resources: Object = {
        "claims": [{"name": "gpu"}],
        "requests": {key.replace("_", "/"): one for key, one in requests.items()},
    }
    return [HOLDING[0], pod("p-0", "c-0", "n-a", containers=[{"name": "main", "resources": resources}])]


def test_resources_of_device_plugins_are_kept(tmp_path: Path) -> None:
    nodes = [offering("n-a", **{"acme.com_nic": "4"}), *NODES[1:]]
    found = twin(tmp_path, *nodes, *asking(**{"acme.com_nic": "2"}))
    (workload,) = found.configuration["workloads"]
    assert workload["containers"][0]["resources"] == {"acme.com/nic": "2"}
    assert "expect" not in workload
    assert found.notes == []


@pytest.mark.parametrize(("resource", "amount"), [("acme.com_nic", "0"), ("hugepages-2Mi", "1Gi")])
def test_resources_that_a_pod_cannot_get_in_the_twin_are_left_out(tmp_path: Path, resource: str, amount: str) -> None:
    """The node has none any more, or a stack cannot request it."""
    nodes = [offering("n-a", **{resource: amount}), *NODES[1:]]
    found = twin(tmp_path, *nodes, *asking(**{resource: "1"}))
    (workload,) = found.configuration["workloads"]
    assert "containers" not in workload
    assert found.notes == [f"requests for {resource.replace('_', '/')} are left out: 1"]


def test_resources_that_only_other_nodes_have_are_left_out(tmp_path: Path) -> None:
    nodes = [NODES[0], offering("n-b", **{"acme.com_nic": "4"}), *NODES[2:]]
    found = twin(tmp_path, *nodes, *asking(**{"acme.com_nic": "1"}))
    assert found.notes == ["requests for acme.com/nic are left out: 1"]


def extended(name: str, resource: str, device: str | None, **metadata: Any) -> list[Object]:
    """Return a pod that requests a resource, and the claim that the scheduler has made for it."""
    made = pod(name, None, "n-a" if device else None, resourceClaims=[])
    made["spec"]["containers"] = [{"name": "main", "resources": {"requests": {resource: "1"}}}]
    if device is None:
        return [made]
    made["status"]["extendedResourceClaimStatus"] = {"resourceClaimName": f"{name}-x"}
    return [made, claim(f"{name}-x", [("n-a", device)])]


def test_classes_without_names_have_resources_without_names(tmp_path: Path) -> None:
    own = CLASS | {"metadata": {"name": "acme-gpu"}}
    resource = "deviceclass.resource.kubernetes.io/acme-gpu"
    found = twin(tmp_path, *NODES, own, *extended("p", resource, "gpu-0"))
    (workload,) = found.configuration["workloads"]
    assert found.configuration["deviceClasses"][0]["name"] == "class-1"
    assert workload["containers"][0]["resources"] == {"deviceclass.resource.kubernetes.io/class-1": "1"}
    assert found.notes == []


def test_resources_of_classes_that_are_not_in_the_dump(tmp_path: Path) -> None:
    found = twin(tmp_path, *NODES, *extended("p", "deviceclass.resource.kubernetes.io/acme-gpu", None))
    assert "workloads" not in found.configuration
    assert found.notes == ["pods whose claims, templates or DeviceClasses are not in the dump are left out: 1"]


def test_resources_that_are_devices_are_claims(tmp_path: Path) -> None:
    own = CLASS | {"spec": {**CLASS["spec"], "extendedResourceName": "acme.com/gpu"}}
    objects = [node("n-a"), gpus("n-a", 1), own]
    pods = [*extended("p", "acme.com/gpu", "gpu-0"), *extended("w", "acme.com/gpu", None)]
    found = workloads(tmp_path, *objects, *pods)
    assert [(one["replicas"], one["expect"]) for one in found] == [(2, {"allocated": 1, "pending": 1})]


def test_pods_of_a_simulated_fleet_tolerate_the_taint_of_its_nodes(tmp_path: Path) -> None:
    """As all pods of a stack do, without being told."""
    taint = {"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}
    tolerated = [{"key": "kwok.x-k8s.io/node", "operator": "Exists", "effect": "NoSchedule"}]
    objects = [node("n-a", None, [taint]), *NODES[1:], HOLDING[0], pod("p-0", "c-0", "n-a", tolerations=tolerated)]
    (workload,) = twin(tmp_path, *objects).configuration["workloads"]
    assert not workload.keys() & {"nodeSelector", "tolerations"}
