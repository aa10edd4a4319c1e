"""Nodes and the names of their slices."""

import re
from typing import Any

import pytest

from topology.checks.validation import load
from topology.kubernetes.objects import NOT_READY, Manifest
from topology.objects import nodes
from topology.objects.slices import resource_slices
from topology.schema.stack import Topology

Configuration = dict[str, Any]


@pytest.fixture
def bigger(dev: Configuration) -> Topology:
    """Return the dev stack with two nodes that have four devices each."""
    gpu = {
        "driver": "gpu.example.com",
        "deviceName": "dev{index}",
        "attributes": {
            "index": {"int": "{index}"},
            "generation": {"int": 3},
            "uuid": {"string": "{node}/{index}"},
            "healthy": {"bool": False},
            "gpu.example.com/driver": {"version": "1.2.3"},
        },
        "capacity": {"memory": "80Gi", "cores": 132},
        "node": {"capacity": {"example.com/gpu": 2, "cpu": 8}},
    }
    dev["deviceClasses"][0]["selectors"] = []
    dev["nodePools"] = [{"name": "big", "nodes": 2, "gpusPerNode": 4, "gpu": gpu, "capacity": {"cpu": 4, "pods": "7"}}]
    dev["workloads"] = [{"name": "job", "replicas": 2, "claims": dev["workloads"][0]["claims"]}]
    return load(dev)


def test_each_node_has_its_name_and_hostname(bigger: Topology) -> None:
    pool = bigger.node_pools[0]
    rendered = [nodes.node(pool, name)["metadata"] for name in pool.node_names()]
    assert [metadata["name"] for metadata in rendered] == ["big-0", "big-1"]
    assert [metadata["labels"]["kubernetes.io/hostname"] for metadata in rendered] == ["big-0", "big-1"]


def test_a_fault_makes_nodes_not_ready(dev: Configuration) -> None:
    dev["nodePools"][0] |= {"nodes": 3, "faults": [{"nodes": [1], "notReady": True}]}
    pool = load(dev).node_pools[0]
    names = pool.node_names()
    assert [NOT_READY.items() <= nodes.node(pool, name)["metadata"]["annotations"].items() for name in names] == (
        [False, True, False]
    )
    assert pool.not_ready_nodes() == [names[1]]


def test_the_pool_overrides_the_model_and_the_model_the_example(bigger: Topology) -> None:
    status = nodes.node(bigger.node_pools[0], "big-0")["status"]
    expected = {"cpu": "4", "memory": "1T", "pods": "7", "example.com/gpu": "2"}
    assert status["capacity"] == status["allocatable"] == expected


def test_a_slice_has_the_devices_of_its_node(bigger: Topology) -> None:
    pool = bigger.node_pools[0]
    slices = [entry["spec"] for name in pool.node_names() for entry in resource_slices(pool, name)]
    assert slices == [
        {
            "driver": "gpu.example.com",
            "nodeName": node,
            "pool": {"name": node, "generation": 1, "resourceSliceCount": 1},
            "devices": [
                {
                    "name": f"dev{index}",
                    "attributes": {
                        "index": {"int": index},
                        "generation": {"int": 3},
                        "uuid": {"string": f"{node}/{index}"},
                        "healthy": {"bool": False},
                        "gpu.example.com/driver": {"version": "1.2.3"},
                    },
                    "capacity": {"memory": {"value": "80Gi"}, "cores": {"value": "132"}},
                }
                for index in range(4)
            ],
        }
        for node in ("big-0", "big-1")
    ]


def test_a_node_has_the_settings_of_its_devices_host_and_pool(dev: Configuration) -> None:
    def shape(**values: Any) -> Configuration:
        return {"driver": f"{values['labels']['by']}.example.com", "node": values}

    slots = [{"pcieRoot": "pci0000:16", "numaNode": 0, "gpu": "0000:18:00.0", "nic": "0000:19:00.0"}]
    dev["workloads"] = []
    dev["nodePools"] = [
        {
            "name": "big",
            "gpu": shape(labels={"by": "gpu", "gpus": "{count}", "on": "{node}"}, capacity={"x.y/a": 1, "x.y/b": 1}),
            "gpusPerNode": 3,
            "devices": [
                {"model": shape(labels={"by": "nic"}, capacity={"x.y/b": 2, "x.y/c": 2}), "count": 2},
            ],
            "host": {
                "slots": slots,
                "node": {"labels": {"by": "host", "host": "h-{count}"}, "capacity": {"x.y/a": 7, "x.y/h": 7}},
            },
            "labels": {"kubernetes.io/arch": "arm64", "mine": ""},
            "capacity": {"x.y/c": 3},
        }
    ]
    node = nodes.node(load(dev).node_pools[0], "big-0")
    page = nodes.node(load(dev | {"nodePools": [{"name": "big", "gpu": "kwok-l4"}]}).node_pools[0], "big-0")
    labels = {"by": "nic", "gpus": "3", "on": "big-0", "host": "h-5", "kubernetes.io/arch": "arm64", "mine": ""}
    assert node["metadata"]["labels"] == page["metadata"]["labels"] | labels
    amounts = {"x.y/a": "1", "x.y/b": "2", "x.y/c": "3", "x.y/h": "7"}
    assert node["status"]["capacity"] == {"cpu": "96", "memory": "1T", "pods": "110"} | amounts


TAINT = {"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}  # kwok-l4's


@pytest.mark.parametrize(
    ("pool", "taints"),
    [
        ({"gpu": "kwok-l4"}, [TAINT]),
        # The API server rejects a node with duplicate taints.
        ({"gpu": "kwok-l4", "devices": [{"model": "kwok-l4"}]}, [TAINT]),
        ({"gpu": {"driver": "gpu.example.com"}}, None),
        ({"gpu": "kwok-l4", "taints": []}, None),
        ({"gpu": "kwok-l4", "taints": [{"key": "mine"}]}, [{"key": "mine", "effect": "NoSchedule"}]),
        (
            {"gpu": "kwok-l4", "taints": [{"key": "a", "value": "b", "effect": "NoExecute"}]},
            [{"key": "a", "value": "b", "effect": "NoExecute"}],
        ),
    ],
)
def test_taints(dev: Configuration, pool: Configuration, taints: list[Manifest] | None) -> None:
    dev |= {"workloads": [], "nodePools": [{"name": "big"} | pool]}
    assert nodes.node(load(dev).node_pools[0], "big-0")["spec"].get("taints") == taints


def test_nodes_share_a_clique(dev: Configuration) -> None:
    dev["workloads"] = []
    dev["nodePools"] = [{"name": name, "nodes": 5, "gpu": "kwok-l4", "nodesPerClique": 2} for name in ("a", "b")]
    pools = load(dev).node_pools
    cliques = [nodes.node_labels(pool, name)["nvidia.com/gpu.clique"] for pool in pools for name in pool.node_names()]
    assert [cliques.index(clique) for clique in cliques] == [0, 0, 2, 2, 4, 5, 5, 7, 7, 9]
    assert all(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.0", clique) for clique in cliques)
