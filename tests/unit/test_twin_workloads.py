"""Workloads and node pools of twins: pods and claims that have devices, and faults of nodes and devices."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.real_slices import amounts, dump, node, resource_slice, texts, uuid
from twin.stack import Stack, stack
from twin.writing import write

Object = dict[str, Any]
DRIVER = "gpu.example.com"


def gpus(name: str, count: int = 2, *, taints: dict[int, list[Object]] | None = None) -> Object:
    devices = [
        {
            "name": f"gpu-{index}",
            "attributes": texts(uuid=f"GPU-{uuid(name, index)}", model="X1"),
            "capacity": amounts(memory="80Gi"),
            "taints": (taints or {}).get(index, []),
        }
        for index in range(count)
    ]
    return resource_slice(name, DRIVER, devices)


def request(name: str = "gpu", **selection: Any) -> Object:
    return {"name": name, "exactly": {"deviceClassName": DRIVER, **selection}}


def claim(name: str, devices: list[tuple[str, str]] | None = None, *requests: Object, **metadata: Any) -> Object:
    """Return a claim with these allocated devices, by node and name."""
    results = [{"request": "gpu", "driver": DRIVER, "pool": pool, "device": device} for pool, device in devices or []]
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"name": name, "namespace": "default", **metadata},
        "spec": {"devices": {"requests": list(requests) or [request()]}},
        "status": {"allocation": {"devices": {"results": results}}} if results else {},
    }


def pod(name: str, claim_name: str | None, on: str | None = None, *, owner: str = "train-5d4f", **spec: Any) -> Object:
    """Return a pod with its own claim."""
    statuses = [{"name": "gpu", "resourceClaimName": claim_name}] if claim_name else []
    owners = [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner}] if owner else []
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "default",
            "labels": {"pod-template-hash": "5d4f", "team": "secret"},
            "ownerReferences": owners,
        },
        "spec": {
            "nodeName": on,
            "containers": [
                {"name": "main", "image": "secret", "env": [{"name": "TOKEN", "value": "secret"}],
                 "resources": {"claims": [{"name": "gpu"}], "requests": {"cpu": "4"}}}
            ],
            "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}],
            **spec,
        },
        "status": {"phase": "Running" if on else "Pending", "resourceClaimStatuses": statuses},
    }  # fmt: skip


CLASS: Object = {
    "apiVersion": "resource.k8s.io/v1",
    "kind": "DeviceClass",
    "metadata": {"name": DRIVER},
    "spec": {"selectors": [{"cel": {"expression": f"device.driver == '{DRIVER}'"}}]},
}
NODES = [node("n-a"), node("n-b"), gpus("n-a"), gpus("n-b")]
HOLDING = [
    claim("c-0", [("n-a", "gpu-0")]),
    claim("c-1", [("n-a", "gpu-1")]),
    claim("c-2", [("n-b", "gpu-0")]),
    pod("p-0", "c-0", "n-a"),
    pod("p-1", "c-1", "n-a"),
    pod("p-2", "c-2", "n-b"),
]


def twin(folder: Path, *objects: Object, **options: Any) -> Stack:
    """Return the twin, after checking that its files are valid."""
    found = stack(dump(folder, *objects), **options)
    for file in ("stacks/Pulumi.t.yaml", "stacks/t-devices.yaml"):
        (folder / file).unlink(missing_ok=True)
    write(found, "t", folder, options.get("keep_names", False))
    return found


def workloads(folder: Path, *objects: Object, **options: Any) -> list[Object]:
    found: list[Object] = twin(folder, *objects, **options).configuration.get("workloads", [])
    return found


# Pods.


def test_pods_that_are_alike_are_replicas(tmp_path: Path) -> None:
    assert workloads(tmp_path, *NODES, *HOLDING) == [
        {
            "name": "workload-1",
            "replicas": 3,
            "claims": [{"name": "claim-1", "requests": [{"name": "request-1", "deviceClass": DRIVER}]}],
            "containers": [{"name": "container-1", "claims": [{"name": "claim-1"}], "resources": {"cpu": "4"}}],
        }
    ]


def asking(name: str, claim_name: str, **resources: str) -> Object:
    """Return a pod on the first node whose container also requests resources of the node."""
    resources = {key.replace("_", "-"): amount for key, amount in resources.items()}
    containers = [{"name": "main", "resources": {"claims": [{"name": "gpu"}], "requests": resources}}]
    return pod(name, claim_name, "n-a", containers=containers)


def test_what_pods_ask_of_nodes(tmp_path: Path) -> None:
    """Equal amounts, and resources that the nodes do not report, do not split a workload."""
    pods = [
        asking("p-0", "c-0", cpu="1500m", memory="2048Mi", ephemeral_storage="1Gi"),
        asking("p-1", "c-1", cpu="1.5", memory="2Gi", pods="0"),
    ]
    (workload,) = workloads(tmp_path, *NODES, *HOLDING[:2], *pods)
    assert workload["replicas"] == 2
    assert workload["containers"][0]["resources"] == {"cpu": "1500m", "memory": "2Gi"}


@pytest.mark.parametrize(("nodes", "requests"), [(NODES[2:], {"cpu": "4"}), (NODES, {"cpu": "0"}), (NODES, {})])
def test_pods_of_which_no_container_is_written(tmp_path: Path, nodes: list[Object], requests: dict[str, str]) -> None:
    """The nodes report nothing, or the pod requests nothing of them."""
    (workload,) = workloads(tmp_path, *nodes, HOLDING[0], asking("p-0", "c-0", **requests))
    assert "containers" not in workload


def test_names_that_are_kept(tmp_path: Path) -> None:
    (workload,) = workloads(tmp_path, *NODES, *HOLDING, keep_names=True)
    assert workload["name"] == "train"
    assert workload["claims"] == [
        {"name": "gpu", "template": "one-gpu", "requests": [{"name": "gpu", "deviceClass": DRIVER}]}
    ]


def test_pods_that_are_kept_on_their_nodes(tmp_path: Path) -> None:
    found = workloads(tmp_path, *NODES, *HOLDING, keep_placement="nodes")
    assert [(one["replicas"], one["nodeSelector"]) for one in found] == [
        (2, {"kubernetes.io/hostname": "x1-0"}),
        (1, {"kubernetes.io/hostname": "x1-1"}),
    ]


def test_claims_that_keep_their_devices(tmp_path: Path) -> None:
    found = twin(tmp_path, *NODES, *HOLDING, keep_placement="devices")
    selectors = [one["claims"][0]["requests"][0]["selectors"] for one in found.configuration["workloads"]]
    assert len(selectors) == 3
    for (selector,), holder in zip(selectors, (("n-a", 0), ("n-a", 1), ("n-b", 0)), strict=True):
        assert selector.startswith(
            f"device.driver == '{DRIVER}' && device.attributes['{DRIVER}'].?uuid.orValue('') in ["
        )
        assert uuid(*holder) not in selector
    assert len({selector for (selector,) in selectors}) == 3


def test_very_many_pods_have_more_time(tmp_path: Path) -> None:
    names = [f"n-{number}" for number in range(250)]
    claims = [claim(f"c-{name}-{gpu}", [(name, f"gpu-{gpu}")]) for name in names for gpu in range(2)]
    (workload,) = workloads(tmp_path, *map(gpus, names), *claims)
    assert (workload["replicas"], workload["readyTimeoutSeconds"], workload["provisioning"]) == (500, 220, "bulk")


def test_devices_that_nothing_tells_apart(tmp_path: Path) -> None:
    slices = [gpus("n-a")]
    for device in slices[0]["spec"]["devices"]:
        del device["attributes"]["uuid"]
    (workload,) = workloads(tmp_path, node("n-a"), *slices, *HOLDING[:2], *HOLDING[3:5], keep_placement="devices")
    assert "selectors" not in workload["claims"][0]["requests"][0]
    assert workload["nodeSelector"] == {"kubernetes.io/hostname": "x1-0"}


@pytest.mark.parametrize("value", ["x' || true || '", "back\\slash", "two\nlines"])
def test_values_that_are_no_literal_in_cel_tell_no_devices_apart(tmp_path: Path, value: str) -> None:
    devices = gpus("n-a")
    for index, device in enumerate(devices["spec"]["devices"]):
        device["attributes"]["uuid"] = {"string": f"{value}{index}"}
    (workload,) = workloads(tmp_path, NODES[0], devices, *HOLDING[:2], *HOLDING[3:5], keep_placement="devices")
    assert "selectors" not in workload["claims"][0]["requests"][0]


def test_pods_that_wait_come_last(tmp_path: Path) -> None:
    waiting = [pod("w-0", None, owner="wait-5d4f", nodeSelector={"disk": "ssd"})]
    labelled = [node("n-a", {"disk": "ssd"}), *NODES[1:]]
    template = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaimTemplate",
        "metadata": {"name": "one-gpu", "namespace": "default"},
        "spec": {"spec": {"devices": {"requests": [request()]}}},
    }
    found = workloads(tmp_path, *labelled, template, *waiting, *HOLDING, keep_placement="none")
    assert [one["name"] for one in found] == ["workload-1", "workload-2"]
    assert found[1]["expect"] == {"allocated": 0, "pending": 1}
    assert found[1]["after"] == ["workload-1"]
    assert found[1]["nodeSelector"] == {"twin/label-1": "value-1"}


def test_pods_of_jobs_that_run_hold_their_devices(tmp_path: Path) -> None:
    running = pod("p-0", "c-0", "n-a")
    running["metadata"]["ownerReferences"] = [{"kind": "Job", "name": "batch"}]
    (workload,) = workloads(tmp_path, *NODES, HOLDING[0], running, keep_names=True)
    assert (workload["name"], "kind" in workload) == ("batch", False)


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_pods_that_have_ended_hold_nothing(tmp_path: Path, phase: str) -> None:
    ended = pod("p-0", "c-0", "n-a")
    ended["status"]["phase"] = phase
    assert workloads(tmp_path, *NODES, HOLDING[0], ended) == []


def test_bare_pods(tmp_path: Path) -> None:
    (workload,) = workloads(tmp_path, *NODES, HOLDING[0], pod("solo-0", "c-0", "n-a", owner=""), keep_names=True)
    assert (workload["name"], workload["kind"], workload["replicas"]) == ("solo", "Pod", 1)


def test_claims_without_pods(tmp_path: Path) -> None:
    (workload,) = workloads(tmp_path, *NODES, *HOLDING[:3])
    assert (workload["kind"], workload["replicas"]) == ("Pod", 3)


def test_pods_without_claims_in_the_dump(tmp_path: Path) -> None:
    found = twin(tmp_path, *NODES, *HOLDING[3:])
    assert "workloads" not in found.configuration
    assert found.notes == ["pods whose claims, templates or DeviceClasses are not in the dump are left out: 3"]


def test_claims_of_classes_that_are_not_in_the_dump(tmp_path: Path) -> None:
    asked = {"name": "gpu", "exactly": {"deviceClassName": "acme-gpu"}}
    objects = [claim("c-0", [("n-a", "gpu-0")], asked), HOLDING[3], claim("c-9", [("n-b", "gpu-0")], asked)]
    found = twin(tmp_path, *NODES, *objects)
    assert "workloads" not in found.configuration
    assert found.notes == ["pods whose claims, templates or DeviceClasses are not in the dump are left out: 2"]


def test_labels_that_nobody_knows_when_there_are_no_nodes(tmp_path: Path) -> None:
    (workload,) = workloads(tmp_path, *NODES[2:], HOLDING[0], pod("p-0", "c-0", "n-a", nodeSelector={"disk": "ssd"}))
    assert "nodeSelector" not in workload


def test_claims_of_devices_that_are_not_there(tmp_path: Path) -> None:
    found = twin(tmp_path, *NODES, claim("c-0", [("fabric", "gpu-7")]), pod("p-0", "c-0", "n-a"))
    assert "workloads" not in found.configuration
    assert found.notes == [
        f"devices of {DRIVER} that claims hold and that are in no ResourceSlice are left out: 1",
        "pods that hold devices which are not in the twin are left out: 1",
    ]


def test_claims_of_devices_that_their_driver_has_withdrawn(tmp_path: Path) -> None:
    """The pod stays, with another device of the pool."""
    held = [claim("c-0", [("n-a", "vf-0")]), pod("p-0", "c-0", "n-a")]
    found = twin(tmp_path, *NODES, *held, keep_placement="devices")
    (workload,) = found.configuration["workloads"]
    assert workload["nodeSelector"] == {"kubernetes.io/hostname": "x1-0"}
    assert "selectors" not in workload["claims"][0]["requests"][0]
    assert found.notes == [
        f"devices of {DRIVER} that claims hold and that are in no ResourceSlice are left out: 1",
        "devices that no attribute tells apart are not kept: 1",
    ]


def test_shared_claims(tmp_path: Path) -> None:
    shared = [{"name": "gpu", "resourceClaimName": "pair"}]
    pods = [pod(f"p-{number}", None, "n-a", resourceClaims=shared) for number in range(2)]
    found = twin(tmp_path, *NODES, claim("pair", [("n-a", "gpu-0")]), *pods)
    assert found.configuration["claims"] == [
        {
            "name": "shared-claim-1",
            "namespace": "default",
            "requests": [{"name": "request-1", "deviceClass": DRIVER}],
        }
    ]
    assert found.configuration["workloads"][0]["claims"] == [{"name": "claim-1", "claim": "shared-claim-1"}]


def test_tolerations_that_every_pod_has_are_left_out(tmp_path: Path) -> None:
    tolerations = [
        {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
        {"key": "nvidia.com/gpu", "operator": "Exists"},
        {"key": "acme.com/team", "operator": "Equal", "value": "red", "effect": "NoSchedule"},
    ]
    tainted = [node("n-a", None, [{"key": "acme.com/team", "value": "red", "effect": "NoSchedule"}]), gpus("n-a")]
    found = twin(tmp_path, *tainted, HOLDING[0], pod("p-0", "c-0", "n-a", tolerations=tolerations))
    taint = {"key": "twin/taint-1", "value": "value-1", "effect": "NoSchedule"}
    assert found.configuration["nodePools"][0]["taints"] == [taint]
    assert found.configuration["workloads"][0]["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists"},
        taint,
    ]


def test_affinity_that_is_a_label(tmp_path: Path) -> None:
    expressions = [{"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["z1"]}]
    terms = {"nodeSelectorTerms": [{"matchExpressions": expressions}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    labelled = [node("n-a", {"topology.kubernetes.io/zone": "z1"}), gpus("n-a")]
    (workload,) = workloads(tmp_path, *labelled, HOLDING[0], pod("p-0", "c-0", "n-a", affinity=affinity))
    assert workload["nodeSelector"] == {"topology.kubernetes.io/zone": "z1"}


def test_expressions_name_the_twins_devices(tmp_path: Path) -> None:
    mine = f"GPU-{uuid('n-b', 1)}"
    asked = request(selectors=[{"cel": {"expression": f"device.attributes['{DRIVER}'].uuid == \"{mine}\""}}])
    (workload,) = workloads(tmp_path, *NODES, claim("c", [("n-b", "gpu-1")], asked), pod("p", "c", "n-b"))
    (selector,) = workload["claims"][0]["requests"][0]["selectors"]
    assert mine not in selector
    assert selector.startswith(f"device.attributes['{DRIVER}'].uuid == \"GPU-")


def test_what_drivers_are_told_stays_unless_names_are_kept(tmp_path: Path) -> None:
    told = claim("c-0", [("n-a", "gpu-0")])
    told["spec"]["devices"]["config"] = [{"opaque": {"driver": DRIVER, "parameters": {"token": "secret"}}}]
    (workload,) = workloads(tmp_path, *NODES, told, HOLDING[3])
    assert "config" not in workload["claims"][0]
    (workload,) = workloads(tmp_path, *NODES, told, HOLDING[3], keep_names=True)
    assert workload["claims"][0]["config"] == [{"driver": DRIVER, "parameters": {"token": "secret"}}]


def test_classes(tmp_path: Path) -> None:
    own = CLASS | {"metadata": {"name": "acme-gpu"}}
    asked = {"name": "gpu", "exactly": {"deviceClassName": "acme-gpu"}}
    found = twin(tmp_path, *NODES, CLASS, own, claim("c-0", [("n-a", "gpu-0")], asked), HOLDING[3])
    assert found.configuration["deviceClasses"] == [
        {"name": "class-1", "selectors": [f"device.driver == '{DRIVER}'"]},
    ]
    assert found.configuration["workloads"][0]["claims"][0]["requests"][0]["deviceClass"] == "class-1"


def test_nothing_of_pods_but_what_they_ask_for(tmp_path: Path) -> None:
    twin(tmp_path, *NODES, *HOLDING)
    assert "secret" not in (tmp_path / "stacks/Pulumi.t.yaml").read_text()


# Pools.


def pools(folder: Path, *objects: Object, **options: Any) -> list[Object]:
    found: list[Object] = twin(folder, *objects, **options).configuration["nodePools"]
    return found


def test_taints_of_devices_are_faults(tmp_path: Path) -> None:
    sick = {"key": "example.com/unhealthy", "value": "xid", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}
    names = [f"n-{number}" for number in range(3)]
    slices = [gpus("n-0"), gpus("n-1", taints={1: [sick]}), gpus("n-2", taints={1: [sick]})]
    (pool,) = pools(tmp_path, *map(node, names), *slices, keep_names=True)
    taint = {"key": "example.com/unhealthy", "value": "xid", "effect": "NoExecute"}
    assert pool["faults"] == [{"nodes": [1, 2], "devices": ["gpu-1"], "taint": taint}]


def test_nodes_that_are_not_ready(tmp_path: Path) -> None:
    lost = node("n-b", None, [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}])
    lost["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]
    (pool,) = pools(tmp_path, node("n-a"), lost, gpus("n-a"), gpus("n-b"))
    assert pool["faults"] == [{"nodes": [1], "notReady": True}]
    assert "taints" not in pool


def test_cordoned_nodes(tmp_path: Path) -> None:
    cordoned = node("n-b", None, [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}])
    cordoned["spec"]["unschedulable"] = True
    first, second = pools(tmp_path, node("n-a"), cordoned, gpus("n-a"), gpus("n-b"))
    assert "taints" not in first
    assert second["taints"] == [{"key": "twin/cordoned", "effect": "NoSchedule"}]


def test_nodes_of_an_nvlink_clique_are_together(tmp_path: Path) -> None:
    label = "nvidia.com/gpu.clique"
    cliques = {"n-0": "one.1", "n-1": "two.1", "n-2": "one.1", "n-3": "two.1"}
    nodes = [node(name, {label: f"{uuid(clique)}.1"}) for name, clique in cliques.items()]
    found = twin(tmp_path, *nodes, *(gpus(name) for name in cliques))
    (pool,) = found.configuration["nodePools"]
    assert pool["nodesPerClique"] == 2
    assert found.nodes == {"n-0": "x1-0", "n-2": "x1-1", "n-1": "x1-2", "n-3": "x1-3"}


def test_labels_that_nobody_looks_at_do_not_part_nodes(tmp_path: Path) -> None:
    nodes = [
        node(
            f"n-{number}",
            {
                "acme.com/serial": f"s{number}",
                "nvidia.com/gfd.timestamp": f"175000000{number}",
                "nvidia.com/gpu-driver-upgrade-state": f"upgrade-{number}",
            },
        )
        for number in range(3)
    ]
    (pool,) = pools(tmp_path, *nodes, *(gpus(f"n-{number}") for number in range(3)))
    assert (pool["nodes"], "labels" in pool) == (3, False)


def test_zones_part_nodes(tmp_path: Path) -> None:
    nodes = [node(f"n-{zone}", {"topology.kubernetes.io/zone": zone}) for zone in "ab"]
    found = pools(tmp_path, *nodes, gpus("n-a"), gpus("n-b"))
    assert [pool["labels"] for pool in found] == [
        {"topology.kubernetes.io/zone": "a"},
        {"topology.kubernetes.io/zone": "b"},
    ]


def test_a_thousand_nodes_are_one_pool_in_bulk(tmp_path: Path) -> None:
    names = [f"ip-10-0-{number // 256}-{number % 256}" for number in range(1000)]
    (pool,) = pools(tmp_path, *map(node, names), *(gpus(name, 8) for name in names))
    assert (pool["nodes"], pool["gpusPerNode"], pool["provisioning"]) == (1000, 8, "bulk")


def test_serial_numbers_that_nobody_knows_of(tmp_path: Path) -> None:
    slices = [gpus(f"n-{number}", 4) for number in range(3)]
    for place, entry in enumerate(slices):
        for index, device in enumerate(entry["spec"]["devices"]):
            device["attributes"]["asic"] = {"string": f"AB{place}X{index}"}
    found = twin(tmp_path, *slices)
    (pool,) = found.configuration["nodePools"]
    assert found.catalogue["models"][pool["gpu"]]["attributes"]["asic"] == {"string": "{hex}"}


def test_rules(tmp_path: Path) -> None:
    rule = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "DeviceTaintRule",
        "metadata": {"name": "maintenance"},
        "spec": {"deviceSelector": {"pool": "n-b"}, "taint": {"key": "acme.com/x", "effect": "NoExecute"}},
    }
    found = twin(tmp_path, *NODES, rule)
    assert found.configuration["deviceTaintRules"] == [
        {"name": "rule-1", "pool": "x1-1", "taint": {"key": "twin/taint-1", "effect": "NoExecute"}}
    ]


def test_pools_that_are_not_named_after_their_node(tmp_path: Path) -> None:
    """Rules name the pool, and so do the results of claims, which tell where a claim without a pod is."""
    slices = [gpus(name) for name in ("n-a", "n-b")]
    for entry in slices:
        entry["spec"]["pool"]["name"] += "-gpus"
    rule = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "DeviceTaintRule",
        "metadata": {"name": "maintenance"},
        "spec": {"deviceSelector": {"pool": "n-b-gpus"}, "taint": {"key": "acme.com/x", "effect": "NoExecute"}},
    }
    held = claim("c-0", [("n-b-gpus", "gpu-0")])
    found = twin(tmp_path, *NODES[:2], *slices, rule, held, keep_placement="nodes", keep_names=True)
    (written,) = found.configuration["deviceTaintRules"]
    assert (written["driver"], written["pool"]) == (DRIVER, found.nodes["n-b"])
    assert found.configuration["workloads"][0]["nodeSelector"] == {"kubernetes.io/hostname": found.nodes["n-b"]}


@pytest.mark.parametrize(
    ("version", "selector", "count"),
    [
        ("v1", {}, 0),
        ("v1", {"deviceSelector": {}}, 1),
        # In these versions of Kubernetes, a missing selector selects all devices, as an empty one does.
        ("v1beta2", {}, 1),
    ],
)
def test_rules_without_a_selector(tmp_path: Path, version: str, selector: Object, count: int) -> None:
    rule = {
        "apiVersion": f"resource.k8s.io/{version}",
        "kind": "DeviceTaintRule",
        "metadata": {"name": "all"},
        "spec": {"taint": {"key": "acme.com/x", "effect": "NoSchedule"}} | selector,
    }
    found = twin(tmp_path, *NODES, rule)
    assert len(found.configuration.get("deviceTaintRules", [])) == count
    assert found.notes == (
        [] if count else ["DeviceTaintRules without a deviceSelector taint no device and are left out: 1"]
    )


@pytest.mark.parametrize(
    "selector", [{"deviceClassName": "a"}, {"selectors": [{"cel": {"expression": "true"}}]}, {"selectors": [{}]}]
)
def test_rules_that_select_by_more_than_names(tmp_path: Path, selector: Object) -> None:
    rule = {
        "apiVersion": "resource.k8s.io/v1alpha3",
        "kind": "DeviceTaintRule",
        "metadata": {"name": "some"},
        "spec": {"deviceSelector": selector, "taint": {"key": "acme.com/x", "effect": "NoSchedule"}},
    }
    found = twin(tmp_path, *NODES, rule)
    assert "deviceTaintRules" not in found.configuration
    assert found.notes == ["DeviceTaintRules that select devices by class or CEL are left out: 1"]


def test_devices_that_their_driver_sorts_by_name(tmp_path: Path) -> None:
    entry = gpus("n-a", 12)
    entry["spec"]["devices"].sort(key=lambda device: str(device["name"]))
    found = twin(tmp_path, entry)
    (pool,) = found.configuration["nodePools"]
    assert pool["gpusPerNode"] == 12
    assert found.catalogue["models"][pool["gpu"]]["sortedByName"] is True
