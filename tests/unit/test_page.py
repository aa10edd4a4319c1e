"""The page for the browser."""

from collections import Counter
from html.parser import HTMLParser
from typing import Any

import pytest

from tests.unit import live_fleet as live
from topology.schema.stack import Topology
from views.page import page

Object = dict[str, Any]
Attributes = dict[str, str | None]
VOID = {"meta", "wbr"}


class Page(HTMLParser):
    """The parsed page; parsing fails if elements are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, Attributes]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute twice in {attrs}"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data.strip())

    @property
    def text(self) -> str:
        """The visible text, in one line."""
        return " ".join(word for word in self.words if word)

    def devices(self) -> list[Attributes]:
        """Return the attributes of each device's box."""
        return [attributes for _, attributes in self.elements if attributes.get("title")]

    def titles(self) -> list[str]:
        """Return the details of each device."""
        return [attributes["title"] or "" for attributes in self.devices()]


def drawn(topology: Topology, objects: list[Object]) -> Page:
    return Page(page(topology, objects, "2026-01-02 03:04:05"))


def test_a_fleet() -> None:
    topology = live.topology({"name": "l4", "nodes": 2, "gpu": "l4", "gpusPerNode": 2})
    found = drawn(topology, [*live.objects(topology), *live.claimed("training", live.result("l4-1", "gpu-1"))])
    for text in (
        "1 of 1 claims allocated, 1 of 1 pods running, 1 of 4 devices in use on 2 nodes",
        "As of 2026-01-02 03:04:05.",
        "training · 1",
        "free · 3",
        "2 nodes · 4 devices · 1 allocated · 3 free",
        "l4-0 gpu.nvidia.com gpu-0 free gpu-1 free",
        "l4-1 gpu.nvidia.com gpu-0 free gpu-1 training",
        "training training-x training-x-c default Running l4-1 allocated,reserved gpu: gpu-1",
    ):
        assert text in found.text, text
    (held,) = (title for title in found.titles() if "held" in title)
    lines = held.splitlines()
    assert lines[:3] == [
        "gpu-1 on l4-1 (gpu.nvidia.com)",
        "held by training: claim default/training-x-c",
        "  pod default/training-x",
    ]
    assert {"productName: NVIDIA L4", "pcieRoot: pci0000:26", "memory: 23034Mi"} <= set(lines)


def test_the_page_is_self_contained() -> None:
    topology = live.topology({"name": "l4", "gpu": "l4"})
    text = page(topology, live.objects(topology), "now")
    assert "http" not in text
    assert "url(" not in text
    assert "@import" not in text
    elements = Page(text).elements
    assert not {"src", "href", "onclick"} & {name for _, attributes in elements for name in attributes}
    assert not {"link", "img", "iframe", "object"} & {tag for tag, _ in elements}


def test_names_never_become_elements() -> None:
    """The name of a node or workload cannot run a script in a browser."""
    evil = "</script><script>alert(1)</script>\"'&"
    topology = live.topology({"name": "l4", "gpu": "l4"})
    objects = live.objects(topology)
    for entry in objects:
        for device in entry["spec"].get("devices", []):
            device["name"] = evil
            device["attributes"]["productName"] = {"string": evil}
            device["taints"] = [{"key": evil, "effect": "NoSchedule"}]
    objects += live.claimed("training", live.result("l4-0", evil), name=evil)
    objects += live.claimed("training", reason=evil)
    objects.append(live.claim(evil, ownerReferences=[{"kind": "Pod", "uid": "gone"}]))
    text = page(topology, objects, evil)
    found = Page(text)
    assert Counter(tag for tag, _ in found.elements)["script"] == 1
    assert "<script>alert" not in text
    assert evil in found.text
    assert any(f"productName: {evil}" in title for title in found.titles())


@pytest.mark.parametrize("when", ["$body", "${size}", "$"])
def test_placeholders_of_the_template_in_the_data_stay(when: str) -> None:
    topology = live.topology({"name": "l4", "gpu": "l4"})
    assert f"As of {when}." in Page(page(topology, live.objects(topology), when)).text


def test_pending_claims_and_their_reasons() -> None:
    topology = live.topology({"name": "l4", "gpu": "l4"})
    objects = live.objects(topology)
    for index in range(7):
        objects += live.claimed("training", name=str(index))
    found = drawn(topology, objects)
    assert (
        "Pending claims workload pods reason training 7: training-0, training-1, training-2, training-3, training-4 …"
        " no place" in found.text
    )


# GPUs in parts.


def mig_objects(topology: Topology) -> list[Object]:
    node = "h100-0"
    return [
        *live.objects(topology),
        *live.claimed("training", live.result(node, "gpu-0")),
        *live.claimed("serving", live.result(node, "gpu-1-mig-3g40gb-9-4"), live.result(node, "gpu-1-mig-1g10gb-19-0")),
    ]


def test_memory_slices_and_their_holders() -> None:
    topology = live.topology(
        {"name": "h100", "gpu": "h100", "gpusPerNode": 3, "mig": "dynamic"}, workloads=("training", "serving")
    )
    found = drawn(topology, mig_objects(topology))
    places = {
        (attributes["title"] or "").split()[0]: attributes["style"]
        for attributes in found.devices()
        if "held" in (attributes["class"] or "")
    }
    assert places == {
        "gpu-0": "grid-column:1/span 8",
        "gpu-1-mig-1g10gb-19-0": "grid-column:1/span 1",
        "gpu-1-mig-3g40gb-9-4": "grid-column:5/span 4",
    }
    empty = [attributes for _, attributes in found.elements if (attributes.get("class") or "").startswith("empty")]
    assert [entry["style"] for entry in empty] == [
        *(f"grid-column:{place}" for place in (2, 3, 4)),
        *(f"grid-column:{place}" for place in range(1, 9)),
    ]
    assert "gpu-0 whole training: the whole GPU" in found.text
    assert "gpu-1 1g 3g.40gb serving: 1g.10gb, 3g.40gb" in found.text
    devices = [device["name"] for entry in live.objects(topology) for device in entry["spec"].get("devices", [])]
    assert sorted(title.split()[0] for title in found.titles()) == sorted(devices)


def test_static_mig() -> None:
    pool = {"name": "a", "gpu": "a100-40gb", "gpusPerNode": 2, "mig": [{"gpus": [0], "profiles": {"1g.5gb": 7}}]}
    topology = live.topology(pool)
    found = drawn(topology, live.objects(topology))
    assert len(found.titles()) == 8
    classes = Counter(attributes.get("class") for _, attributes in found.elements)
    assert (classes["gpu"], classes["empty uncut"], classes["tile free"]) == (1, 1, 1)
    assert {attributes["style"] for _, attributes in found.elements if attributes.get("class") == "slices"} == {"--n:8"}


def test_other_partitions_are_in_their_gpu() -> None:
    driver = "gpu.example.com"
    topology = live.topology({"name": "p", "gpu": "example-gpu-partitionable", "gpusPerNode": 2}, device_class=driver)
    held = live.claimed("training", live.result("p-0", "gpu-0-partition-1", driver))
    found = drawn(topology, [*live.objects(topology), *held])
    text = "gpu-0 partition-0 free partition-1 training partition-2 free partition-3 free full taken by other parts"
    assert text in found.text
    assert [attributes.get("class") for _, attributes in found.elements].count("gpu") == 2
    bar = [attributes["style"] for tag, attributes in found.elements if tag == "i"]
    assert bar == ["width:12.50%"]


def test_shared_devices_show_how_much_is_consumed() -> None:
    driver = "gpu.example.com"
    topology = live.topology(
        {"name": "s", "gpu": "example-gpu-shared"}, workloads=("training", "serving"), device_class=driver
    )
    objects = live.objects(topology)
    for workload, memory in (("training", "20Gi"), ("serving", "40Gi")):
        consumed = {"memory": memory, "compute": "20"}
        shared = live.result("s-0", "gpu-0", driver, shareID=workload, consumedCapacity=consumed)
        objects += live.claimed(workload, shared)
    found = drawn(topology, objects)
    assert "gpu-0 serving training compute 40 % memory 75 %" in found.text
    assert "1 node · 1 device · 1 allocated · 1 free Capacity left: s-0/gpu-0: compute 60, memory 20Gi" in found.text
    assert "in use, with capacity left · 1" in found.text
    (title,) = found.titles()
    assert "left: compute 60, memory 20Gi" in title.splitlines()
    assert "  memory: 20Gi" in title
    assert "held by serving: claim default/serving-x-c" in title
    widths = [attributes["style"] for tag, attributes in found.elements if tag == "i"]
    assert widths == ["width:37.50%"] * 2 + ["width:20.0%"] * 2 + ["width:50.0%", "width:25.0%"]


def test_the_legend_counts_free_devices_as_the_pools_do() -> None:
    driver = "gpu.example.com"
    topology = live.topology({"name": "s", "gpu": "example-gpu-shared", "gpusPerNode": 3}, device_class=driver)
    shares = [
        live.result("s-0", gpu, driver, shareID=gpu, consumedCapacity={"memory": memory, "compute": "10"})
        for gpu, memory in (("gpu-0", "80Gi"), ("gpu-1", "10Gi"))
    ]
    found = drawn(topology, [*live.objects(topology), *live.claimed("training", *shares)])
    for text in ("3 devices · 2 allocated · 2 free", " free · 1 ", " in use, with capacity left · 1 "):
        assert text in found.text, text


def test_a_pool_of_several_drivers() -> None:
    pool = {"name": "p", "devices": [{"model": "l4", "count": 2}, {"model": "connectx-7", "count": 1}]}
    topology = live.topology(pool)
    found = drawn(topology, [*live.objects(topology), *live.claimed("training", live.result("p-0", "gpu-0"))])
    for text in (
        "1 node · 3 devices · 1 allocated · 2 free",
        "dra.net: 1 device · 0 allocated · 1 free gpu.nvidia.com: 2 devices · 1 allocated · 1 free",
        "free · 2",
    ):
        assert text in found.text, text
    assert "capacity left" not in found.text.lower()


# What is wrong with a fleet.


def test_faults_and_claims_of_others() -> None:
    topology = live.topology({"name": "l4", "nodes": 3, "gpu": "l4", "gpusPerNode": 4})
    objects = [entry for entry in live.objects(topology) if "l4-2" not in entry["metadata"]["name"]]
    (node,) = (entry for entry in objects if entry["metadata"]["name"] == "l4-1")
    node["spec"] = {"unschedulable": True}
    node["status"] = {"conditions": [{"type": "Ready", "status": "Unknown"}]}
    (slices,) = (entry for entry in objects if entry["spec"].get("nodeName") == "l4-0")
    slices["spec"]["devices"][0]["taints"] = [{"key": "example.com/xid", "value": "79", "effect": "NoSchedule"}]
    objects += [
        live.claim("mine", live.result("l4-0", "gpu-1"), namespace="other"),
        live.claim("watching", live.result("l4-0", "gpu-2", adminAccess=True)),
        live.claim("lost", live.result("l4-0", "gpu-9")),
    ]
    found = drawn(topology, objects)
    for text in (
        "2 of 3 nodes",
        "l4-1 cordoned, not ready",
        "l4-2 not in the cluster",
        "gpu-0 unavailable example.com/ xid= 79: NoSchedule",
        "gpu-1 other claims",
        "gpu-2 other claims (admin) free",
        "gpu-9 other claims gone",
        "held, but no longer published · 1",
    ):
        assert text in found.text, text
    assert any("held by a claim of others: claim other/mine" in title for title in found.titles())


# Large fleets.


@pytest.fixture(scope="module")
def thousand() -> tuple[Topology, str]:
    workloads = [f"w{index:02}" for index in range(20)]
    topology = live.topology({"name": "h100", "nodes": 1000, "gpu": "h100", "gpusPerNode": 8}, workloads=workloads)
    objects = live.objects(topology)
    for index in range(0, 1000, 2):
        results = [live.result(f"h100-{index}", f"gpu-{gpu}") for gpu in range(8)]
        objects += live.claimed(workloads[index // 2 % 20], *results, name=str(index))
    return topology, page(topology, objects, "now")


def test_every_device_of_a_thousand_nodes_is_drawn_once(thousand: tuple[Topology, str]) -> None:
    found = Page(thousand[1])
    named = Counter(title.partition(" (")[0] for title in found.titles())
    assert named == {f"gpu-{gpu} on h100-{node}": 1 for node in range(1000) for gpu in range(8)}
    states = Counter(str(attributes["class"]).split()[0] for attributes in found.devices())
    assert states == {"held": 4000, "free": 4000}
    assert len({word for attributes in found.devices() for word in str(attributes["class"]).split()}) == 2 + 6 + 3 + 20


def test_the_page_of_a_thousand_nodes_is_not_too_large(thousand: tuple[Topology, str]) -> None:
    assert len(thousand[1].encode()) < 4_000_000
    assert "w00 allocated,reserved 25" in Page(thousand[1]).text


def test_free_parts_are_only_counted_in_a_large_fleet() -> None:
    topology = live.topology({"name": "h100", "nodes": 60, "gpu": "h100", "gpusPerNode": 8, "mig": "dynamic"})
    found = drawn(topology, [*live.objects(topology), *live.claimed("training", live.result("h100-7", "gpu-3"))])
    assert [title.splitlines()[0] for title in found.titles()] == ["gpu-3 on h100-7 (gpu.nvidia.com)"]
    assert "Still fits, each kind on its own:" in found.text
    slices = [attributes for _, attributes in found.elements if attributes.get("class") == "slices"]
    assert len(slices) == 480
