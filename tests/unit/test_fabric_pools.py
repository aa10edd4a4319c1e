"""Devices that several nodes can use: what a stack may say, what is rendered, refused, counted and shown."""

from typing import Any

import pytest

from tests.unit import live_fleet as live
from tests.unit.test_page import Page
from topology.checks.validation import ConfigurationError, load
from topology.kubernetes.api_versions import convert
from topology.objects.isolation import isolated
from topology.objects.kwok_stages import failed_to_attach, stages_for
from topology.objects.names import created_by_stack
from topology.objects.removable import removable
from topology.objects.slices import content_digest, resource_slices
from topology.schema.features_used import features_used
from topology.schema.stack import Existing, Topology
from topology.status.expectations import unfit
from topology.status.report import details, report
from views import why
from views.page import page

Configuration = dict[str, Any]

DRIVER = "gpu.example.com"
FABRIC = {"example.com/fabric": "a"}
SELECTOR = {
    "nodeSelectorTerms": [{"matchExpressions": [{"key": "example.com/fabric", "operator": "In", "values": ["a"]}]}]
}
SLICES = ("resource.k8s.io", "ResourceSlice", "default")


def gpu(**more: Any) -> Configuration:
    attributes = {"uuid": {"string": "GPU-{uuid}"}, "pool": {"string": "{node}"}}
    return {"driver": DRIVER, "attributes": attributes} | more


def fabric(
    count: int = 3, name: str = "fabric", model: Configuration | str | None = None, **more: Any
) -> Configuration:
    """Return a pool of devices for the nodes with the label of the fabric, unless it is for others."""
    reach = {} if {"allNodes", "nodeSelector"} & more.keys() else {"nodeSelector": FABRIC}
    return {"name": name, "devices": [{"model": model or gpu(), "count": count}]} | reach | more


def per_device(*devices: Configuration) -> Configuration:
    return {"name": "fabric", "devices": [{"model": gpu()} | entry for entry in devices]}


def parts(name: str, size: int = 1) -> Configuration:
    """Return a part of a device whose other parts are models of their own."""
    part = {"deviceName": f"part-{name}", "consumesCounters": {"slots": 1}}
    return gpu(deviceName=f"part-{name}", counterSet="slots", counters={"slots": size + 1}, partitions=[part])


def asking(replicas: int = 1, **request: Any) -> Configuration:
    claims = [{"name": "c", "requests": [{"name": "gpu", "deviceClass": "any"} | request]}]
    return {"name": "training", "replicas": replicas, "claims": claims}


def stack(*fabrics: Configuration, **more: Any) -> Configuration:
    """Return a stack with two nodes of the fabric, and one that is not."""
    return {
        "cluster": {"name": "c"},
        "deviceClasses": [{"name": "any"}],
        "nodePools": [{"name": "host", "nodes": 2, "labels": FABRIC}, {"name": "own", "gpu": gpu()}],
        "fabricPools": list(fabrics),
        **more,
    }


def problems(configuration: Configuration) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        load(configuration)
    return [f"{problem.path}: {problem.message}" for problem in raised.value.problems]


def slices(configuration: Configuration, minor: int = 37) -> list[Configuration]:
    (pool, *_) = load(configuration).fabric_pools
    return resource_slices(pool, pool.name, minor)


# What is rendered.


@pytest.mark.parametrize(
    ("reach", "fields"),
    [({"nodeSelector": FABRIC}, {"nodeSelector": SELECTOR}), ({"allNodes": True}, {"allNodes": True})],
)
def test_a_pool_for_some_nodes_or_all(reach: Configuration, fields: Configuration) -> None:
    (found,) = slices(stack(fabric(2, **reach)))
    assert found["metadata"]["name"].startswith(f"fabric-{DRIVER}-")
    assert found["spec"].keys() == {"driver", "pool", "devices", *fields}
    assert found["spec"].items() >= fields.items()
    assert found["spec"]["pool"] == {"name": "fabric", "generation": 1, "resourceSliceCount": 1}
    devices = found["spec"]["devices"]
    assert [device["name"] for device in devices] == ["gpu-0", "gpu-1"]
    assert [device["attributes"]["pool"]["string"] for device in devices] == ["fabric", "fabric"]
    assert len({device["attributes"]["uuid"]["string"] for device in devices}) == 2


@pytest.mark.parametrize("version", ["v1", "v1beta2", "v1beta1"])
def test_devices_that_are_for_different_nodes(version: str) -> None:
    entries: list[Configuration] = [{"count": 2, "nodeName": "host-0"}, {"nodeSelector": FABRIC}, {"allNodes": True}]
    (found,) = (convert(entry, version) for entry in slices(stack(per_device(*entries))))
    assert found["spec"]["perDeviceNodeSelection"] is True
    assert not {"nodeName", "nodeSelector", "allNodes"} & found["spec"].keys()
    told = [device.get("basic", device) for device in found["spec"]["devices"]]
    reach = [{key: one[key] for key in ("nodeName", "nodeSelector", "allNodes") if key in one} for one in told]
    assert reach == [{"nodeName": "host-0"}, {"nodeName": "host-0"}, {"nodeSelector": SELECTOR}, {"allNodes": True}]
    assert [device["name"] for device in found["spec"]["devices"]] == [f"gpu-{index}" for index in range(4)]


def test_parts_of_one_device_for_different_nodes() -> None:
    entries = per_device(*({"model": parts(name), "nodeName": f"host-{place}"} for place, name in enumerate("ab")))
    counters, published = (entry["spec"] for entry in slices(stack(entries)))
    assert counters["sharedCounters"] == [{"name": "slots", "counters": {"slots": {"value": "2"}}}]
    assert {one["name"]: one["nodeName"] for one in published["devices"]} == {"part-a": "host-0", "part-b": "host-1"}
    sharing = [asking(replicas=3) | {"expect": {"allocated": 2, "pending": 1}}]
    load(stack(entries, workloads=sharing, nodePools=[{"name": "host", "nodes": 2, "labels": FABRIC}]))


def test_slices_have_as_many_devices_as_the_api_allows() -> None:
    """The limits of a slice are those of nodes: 128 devices, 64 if one has a taint; counters have their own slices."""
    assert [len(entry["spec"]["devices"]) for entry in slices(stack(fabric(300)))] == [128, 128, 44]
    worn = fabric(100, faults=[{"devices": ["gpu-99"], "taint": {"key": "worn"}}])
    assert [len(entry["spec"]["devices"]) for entry in slices(stack(worn))] == [99, 1]
    cut = fabric(2, model="example-gpu-partitionable")
    counters, devices = slices(stack(cut))
    assert counters["spec"].keys() >= {"sharedCounters", "nodeSelector"}
    assert len(devices["spec"]["devices"]) == 10
    together = slices(stack(cut), minor=34)
    assert [entry["spec"].keys() >= {"sharedCounters", "devices"} for entry in together] == [True]


def test_each_driver_has_a_pool_of_that_name() -> None:
    both = fabric() | {"devices": [{"model": gpu()}, {"model": gpu(driver="nic.example.com")}]}
    found = slices(stack(both))
    assert [(entry["spec"]["driver"], entry["spec"]["pool"]["name"]) for entry in found] == [
        (DRIVER, "fabric"),
        ("nic.example.com", "fabric"),
    ]


def test_the_catalogue_s_models_and_classes() -> None:
    topology = load(stack(fabric(8, model="h100")))
    (found,) = resource_slices(topology.fabric_pools[0], "fabric")
    assert found["spec"]["devices"][0]["attributes"]["resource.kubernetes.io/pcieRoot"] == {"string": "pci0000:15"}
    assert "gpu.nvidia.com" in {entry.name for entry in topology.device_classes}


def test_faults_of_devices() -> None:
    attached = gpu(bindingConditions=["ready"], bindingFailureConditions=["failed"], bindsToNode=True)
    faults = [{"devices": ["gpu-0"], "attachFails": True}, {"devices": ["gpu-1"], "gone": True}]
    topology = load(stack(fabric(model=attached, faults=[*faults, {"taint": {"key": "k", "effect": "NoExecute"}}])))
    (found,) = resource_slices(topology.fabric_pools[0], "fabric")
    first, last = found["spec"]["devices"]
    assert first["bindingFailureConditions"] == ["failed", "kwok-dra/attach-fails"]
    assert (last["name"], last["bindsToNode"], last["bindingConditions"]) == ("gpu-2", True, ["ready"])
    assert last["taints"] == [{"key": "k", "effect": "NoExecute"}]
    assert unfit(topology).devices == [("", "fabric", "", "k", "")]
    assert "claim-attach-fails" in stages_for(topology)
    assert failed_to_attach("fabric") == "kwok-dra/attach-fails=fabric"


def test_what_changes_the_generation() -> None:
    digests = [
        content_digest(load(stack(one)).fabric_pools[0], DRIVER, 37)
        for one in (fabric(), fabric(2), fabric(allNodes=True), fabric(faults=[{"gone": True}]))
    ]
    assert len(set(digests)) == 4


def test_names_of_what_is_created() -> None:
    topology = load(stack(fabric(200)))
    names = [entry["metadata"]["name"] for entry in resource_slices(topology.fabric_pools[0], "fabric")]
    created = created_by_stack(topology, {"ResourceSlice"})
    assert [created[*SLICES, name] for name in names] == ["fabricPools[0]"] * 2
    # An update deletes them before it waits for claims, which may need other devices.
    assert [entry[3] for entry in removable(topology) if entry[1] == "ResourceSlice"] == names


def test_features() -> None:
    assert features_used(load(stack(fabric()))) == {}
    assert features_used(load(stack(per_device({"allNodes": True})))) == {"partitionable devices": "fabricPools[0]"}


def test_only_nodes_of_the_fleet_can_use_devices_in_an_existing_cluster() -> None:
    entries = per_device({"nodeName": "host-0"}, {"allNodes": True}, {"nodeSelector": FABRIC})
    topology = load(stack(fabric(name="some"), fabric(name="every", allNodes=True), entries))
    existing = Existing(kubeconfig="k", context="c")
    found = isolated(
        topology.model_copy(update={"cluster": topology.cluster.model_copy(update={"existing": existing})})
    )
    fleet = {"kwok-dra/fleet": "c"}
    some, every, other = found.fabric_pools
    assert (some.node_selector, every.node_selector) == (FABRIC | fleet, fleet)
    assert every.reach("every").keys() == {"nodeSelector"}
    assert [sorted(entry.selection) for entry in other.devices] == [["nodeName"], ["nodeSelector"], ["nodeSelector"]]
    assert [entry.node_selector for entry in other.devices] == [{}, fleet, FABRIC | fleet]
    assert other.selection == {}


# What is refused.


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        (
            stack({"name": "fabric", "devices": [{"model": gpu()}]}),
            "fabricPools[0]: does not say which nodes can use its devices: set nodeSelector, such as nodeSelector: "
            "{example.com/fabric: a}, or allNodes: true; or set nodeSelector, allNodes or nodeName in each entry of "
            "devices",
        ),
        (
            stack(per_device({"nodeName": "host-0"}, {})),
            "fabricPools[0]: does not say which nodes can use its devices: set nodeSelector, such as nodeSelector: "
            "{example.com/fabric: a}, or allNodes: true; or set nodeSelector, allNodes or nodeName in each entry of "
            "devices",
        ),
        (
            stack(per_device({"nodeName": "host-0"}) | {"allNodes": True}),
            "fabricPools[0]: has allNodes, which applies to all of its devices: remove it, or remove nodeSelector, "
            "allNodes and nodeName from the entries of devices",
        ),
        (
            stack(fabric(allNodes=True, nodeSelector=FABRIC)),
            "fabricPools[0]: has nodeSelector and allNodes, of which only one is possible: remove the other",
        ),
        (
            stack(per_device({"nodeName": "host-0", "allNodes": True})),
            "fabricPools[0].devices[0]: has allNodes and nodeName, of which only one is possible: remove the other",
        ),
        (stack(fabric() | {"devices": []}), "fabricPools[0].devices: must have at least 1 entry, but has 0"),
        (
            stack(fabric(nodeName="host-0")),
            "fabricPools[0].nodeName: there is no such key; did you mean 'name'? The keys here are allNodes, "
            "devices, faults, host, name, nodeSelector",
        ),
        (
            stack(fabric(name="host")),
            "fabricPools[0].name: 'host' is already the name of nodePools[0]: give each its own",
        ),
        (
            stack(fabric(name="host-1")),
            "fabricPools[0].name: 'host-1' is also a node of pool host, whose devices are in a pool of that name: "
            "choose another name",
        ),
        (
            stack(fabric(faults=[{"nodes": [0], "taint": {"key": "k"}}])),
            "fabricPools[0].faults[0]: is about nodes, and a fabric pool has none: use taint, gone or attachFails of "
            "devices",
        ),
        (
            stack(fabric(faults=[{"notReady": True}])),
            "fabricPools[0].faults[0]: is about nodes, and a fabric pool has none: use taint, gone or attachFails of "
            "devices",
        ),
        (
            stack(fabric(model=gpu(deviceName="gpu"))),
            f"fabricPools[0]: deviceName gives several devices of {DRIVER} in one pool the name 'gpu': use {{index}} "
            "in it, or a different name for each model",
        ),
        (
            stack(per_device({"model": parts("{index}"), "count": 2, "nodeName": "host-0"})),
            f"fabricPools[0]: counterSet gives several counter sets of {DRIVER} in one pool the name 'slots': use "
            "{index} in it, or a different name for each model",
        ),
        (
            stack(per_device(*({"model": parts("ab"[size], size), "nodeName": f"host-{size}"} for size in (0, 1)))),
            f"fabricPools[0]: counterSet gives several counter sets of {DRIVER} in one pool the name 'slots': use "
            "{index} in it, or a different name for each model",
        ),
        (
            stack(fabric(model=gpu(nodeAllocatableResources={"cpu": {"mapping": {"deviceMultiplier": 1}}}))),
            "fabricPools[0].devices[0]: has nodeAllocatableResources, but nodes of pool host, which can use the "
            "devices, "
            "do not declare DRANodeAllocatableResources, and the API server refuses such devices: add it to the pool's "
            "declaredFeatures",
        ),
        (
            stack(nodePools=[{"name": "host"}]),
            "nodePools[0]: has no devices: set gpu, such as gpu: h100, or add devices; or add devices that all nodes "
            "or those with some labels can use to kwok-dra:fabricPools",
        ),
        (
            stack(fabric(), workloads=[asking(count=4)]),
            "workloads[0].claims[0].requests[0]: wants 4 devices of class any, but no node of host, own has more than "
            "3: ask for fewer, or give nodes more",
        ),
        (
            stack(fabric(), workloads=[asking(replicas=5)]),
            "workloads[0].replicas: is 5, but host, own can hold at most 4 such pods: ask for fewer, give the pools "
            "more nodes or devices, or declare that the rest stay pending with expect: {pending: 1}",
        ),
        (
            stack(fabric(), workloads=[asking(selectors=[f"device.attributes['{DRIVER}'].size > 1"])]),
            "workloads[0].claims[0].requests[0].selectors[0]: names gpu.example.com/size, which device gpu-0 of pool "
            "fabric does not have. The scheduler stops at such a device: check device.driver first, or use "
            ".?name.orValue(…). It has gpu.example.com/pool, gpu.example.com/uuid",
        ),
    ],
)
def test_what_is_wrong(configuration: Configuration, expected: str) -> None:
    assert problems(configuration) == [expected]


@pytest.mark.parametrize(
    "configuration",
    [
        stack(fabric(), workloads=[asking(count=3)]),
        stack(fabric(), workloads=[asking(replicas=4)]),
        stack(fabric(allNodes=True), workloads=[asking(count=4)]),
        stack(per_device({"nodeName": "own-0"}, {"allNodes": True}), workloads=[asking(count=3)]),
        # Pods on any node of the fabric share the claim.
        stack(
            fabric(),
            claims=[{"name": "s", "requests": [{"name": "gpu", "deviceClass": "any", "count": 3}]}],
            workloads=[{"name": "w", "replicas": 200, "claims": [{"name": "c", "claim": "s"}]}],
        ),
    ],
)
def test_devices_of_fabrics_satisfy_claims(configuration: Configuration) -> None:
    load(configuration, warn=pytest.fail)


def test_a_device_is_for_the_nodes_that_it_names() -> None:
    only_first = per_device({"nodeName": "host-0"}, {"nodeName": "host-1", "count": 2})
    message = problems(stack(only_first, workloads=[asking(count=3)]))[0]
    assert "no node of host, own has more than 2" in message


@pytest.mark.parametrize(
    ("pool", "count"),
    [
        (fabric(nodeSelector={"example.com/fabric": "b"}), 3),
        (per_device({"nodeName": "host-7", "count": 2}, {"allNodes": True}), 2),
    ],
)
def test_devices_that_no_node_can_use_are_warned_of(pool: Configuration, count: int) -> None:
    said: list[str] = []
    load(stack(pool), warn=said.append)
    assert said == [
        f"no node of kwok-dra:nodePools can use {count} devices of fabric pool fabric: none has all labels of "
        "nodeSelector, or the name in nodeName"
    ]


# What is reported.


@pytest.fixture
def topology() -> Topology:
    return load(stack(fabric(), workloads=[asking()]))


def objects(topology: Topology, *more: Configuration) -> list[Configuration]:
    return [*live.objects(topology), live.live("DeviceClass", "any", {}, {}), *more]


def waiting(count: int) -> list[Configuration]:
    pod, claim = live.claimed("training", name="late", reason="0/3 nodes are available: 3 cannot allocate all claims.")
    exactly = {"deviceClassName": "any", "count": count}
    claim["spec"] = {"devices": {"requests": [{"name": "gpu", "exactly": exactly}]}}
    return [pod, claim]


def running(*devices: str) -> list[Configuration]:
    pod, claim = live.claimed("training", *(live.result("fabric", device, DRIVER) for device in devices), name="first")
    pod["spec"]["nodeName"] = "host-1"
    claim["status"]["reservedFor"] = [{"resource": "pods", "name": pod["metadata"]["name"]}]
    return [pod, claim]


def test_counts(topology: Topology) -> None:
    found = report(topology, objects(topology, *running("gpu-0", "gpu-1")))
    assert found.pools == [
        {"name": "fabric", "nodes": 2, "devices": 3, "allocated": 2, "free": 1, "fabric": True},
        {"name": "host", "nodes": 2, "devices": 0, "allocated": 0, "free": 0},
        {"name": "own", "nodes": 1, "devices": 1, "allocated": 0, "free": 1},
    ]
    assert found.summary == "1 of 1 claims allocated, 1 of 1 pods running, 2 of 4 devices in use on 3 nodes"
    (claim,) = found.claims
    assert isinstance(claim, dict)
    assert (claim["node"], [device["pool"] for device in claim["devices"]]) == ("host-1", ["fabric"] * 2)


def test_a_node_can_use_devices_of_fabrics_beside_its_own() -> None:
    topology = load(stack(fabric(allNodes=True), workloads=[asking()]))
    (answer,) = why.answers(
        details(topology, objects(topology, *running("gpu-0", "gpu-1"), *waiting(2))), "training-late", ""
    )
    assert {verdict.node: verdict.reasons for verdict in answer.nodes} == {
        "host-0": [
            "request gpu wants 2 of any: 1 of 3 that match can be allocated; gpu-0, gpu-1: in use by pod training-first"
        ],
        "host-1": [
            "request gpu wants 2 of any: 1 of 3 that match can be allocated; gpu-0, gpu-1: in use by pod training-first"
        ],
        "own-0": [],
    }


def test_the_reason_of_a_pod_that_waits(topology: Topology) -> None:
    found = report(topology, objects(topology, *running("gpu-0"), *waiting(3)))
    (reason,) = (claim["reason"] for claim in found.claims if isinstance(claim, dict) and "reason" in claim)
    assert reason.endswith("request gpu wants 3 of any, but no node has more than 2 free of 3 that match")


def test_devices_that_are_for_different_nodes_are_told_apart() -> None:
    topology = load(stack(per_device({"nodeName": "host-0"}, {"nodeName": "host-1", "count": 2}), workloads=[asking()]))
    (answer,) = why.answers(details(topology, objects(topology, *waiting(2))), "training-late", "")
    assert [verdict.node for verdict in answer.nodes if not verdict.reasons] == ["host-1"]
    assert report(topology, objects(topology)).pools[0]["nodes"] == 2


def test_a_rule_taints_devices_of_a_fabric(topology: Topology) -> None:
    rule = live.live(
        "DeviceTaintRule",
        "r",
        {"deviceSelector": {"pool": "fabric"}, "taint": {"key": "k", "effect": "NoSchedule"}},
        {},
    )
    ruled = load(
        stack(fabric(), workloads=[asking()], deviceTaintRules=[{"name": "r", "pool": "fabric", "taint": {"key": "k"}}])
    )
    pool = report(ruled, objects(topology, rule)).pools[0]
    assert pool | {"free": 0, "tainted": 3} == pool


def test_the_picture(topology: Topology) -> None:
    shown = Page(page(topology, objects(topology, *running("gpu-0")), "now"))
    assert "fabric for 2 nodes · 3 devices · 1 allocated · 2 free" in shown.text
    titles = [str(device["title"]).split("\n")[0] for device in shown.devices()]
    assert titles == [*(f"gpu-{index} on fabric ({DRIVER})" for index in range(3)), f"gpu-0 on own-0 ({DRIVER})"]
