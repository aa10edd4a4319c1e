"""Who was preempted by whom, as the events of the scheduler tell, and what waits and messages make of it."""

from typing import Any

import pytest
from rich.console import Console

from tests.unit import live_fleet as live
from topology.checks.validation import load
from topology.schema.stack import Topology
from topology.status.evictions import Unfit
from topology.status.live_objects import LiveObjects
from topology.status.report import report
from topology.status.workload_progress import Expected, progress
from views.table import table

Object = dict[str, Any]
BY = {"pod": "high-1", "namespace": "default", "workload": "high"}


def stack(kind: str = "Deployment") -> Topology:
    claims = [{"name": "c", "requests": [{"name": "gpu", "deviceClass": live.DRIVER}]}]
    low = {"name": "low", "claims": claims, "priority": "batch", "kind": kind}
    return load(
        {
            "cluster": {"name": "x"},
            "nodePools": [{"name": "n", "gpu": "l4", "gpusPerNode": 4}],
            "priorityClasses": [{"name": "batch", "value": -1}],
            "workloads": [low, {"name": "high", "claims": claims}, {"name": "low-high", "claims": claims}],
        }
    )


def owned(kind: str, name: str, *owner: str) -> Object:
    """Return a controller, with its owner's kind and name."""
    owners = {"ownerReferences": [{"kind": owner[0], "name": owner[1], "uid": "u"}]} if owner else {}
    status = {"observedGeneration": 1, "updatedReplicas": 1}
    return live.live(kind, name, {"replicas": 1}, status, generation=1, **owners)


def event(victim: str, by: str = "pod 1-2-3", node: str = "n-0", **values: Any) -> Object:
    """Return an event as the scheduler writes it."""
    about = {"kind": "Pod", "namespace": "default", "name": victim, "uid": f"uid of {victim}"}
    message = f"Preempted by {by} on node {node}"
    metadata = {"name": f"{victim}.1", "namespace": "default"}
    return {"kind": "Event", "metadata": metadata, "involvedObject": about, "message": message} | values


@pytest.fixture
def objects() -> list[Object]:
    """The controllers of the stack, and a pod that has preempted others."""
    pod, claim = live.claimed("high", live.result("n-0", "gpu-0"), name="1")
    pod["metadata"]["uid"] = "1-2-3"
    return [
        *live.objects(stack()),
        owned("Deployment", "low"),
        owned("ReplicaSet", "low-7d9", "Deployment", "low"),
        owned("Deployment", "low-high"),
        owned("ReplicaSet", "low-high-7d9", "Deployment", "low-high"),
        owned("Deployment", "high"),
        pod,
        claim,
    ]


def preempted(objects: list[Object], kind: str = "Deployment") -> list[Object]:
    return report(stack(kind), objects).preempted


def test_a_pod_that_another_has_preempted(objects: list[Object]) -> None:
    assert preempted([*objects, event("low-7d9-x2vbn")]) == [
        {"pod": "low-7d9-x2vbn", "namespace": "default", "workload": "low", "node": "n-0", "by": BY}
    ]


def test_they_are_sorted_and_listed_once(objects: list[Object]) -> None:
    """Whatever the order of the events; the longest name of a controller decides."""
    events = [event(f"low-{name}-bbbbb") for name in ("high-7d9", "7d9")] + [event("low-7d9-aaaaa")] * 2
    found = [(entry["workload"], entry["pod"]) for entry in preempted([*events, *objects])]
    assert found == [("low", "low-7d9-aaaaa"), ("low", "low-7d9-bbbbb"), ("low-high", "low-high-7d9-bbbbb")]
    assert report(stack(), [*objects, *events]).summary.endswith(", 3 pods preempted")
    assert "preempted" not in report(stack(), objects).summary


@pytest.mark.parametrize(
    ("kind", "controller", "pod"),
    [
        ("Job", [owned("Job", "low")], "low-x2vbn"),
        ("Job", [owned("Job", "low")], "low-12-x2vbn"),
        ("Pod", [], "low-0"),
    ],
)
def test_names_of_pods(objects: list[Object], kind: str, controller: list[Object], pod: str) -> None:
    others = [entry for entry in objects if entry["metadata"]["name"] not in ("low", "low-7d9")]
    (found,) = preempted([*others, *controller, event(pod)], kind)
    assert (found["pod"], found["workload"]) == (pod, "low")


def test_the_pods_of_a_stateful_set_have_an_index_and_pods_have_none(objects: list[Object]) -> None:
    controller = owned("StatefulSet", "low-set", "Deployment", "low")
    (found,) = preempted([*objects, controller, event("low-set-12"), event("low-set-abcde"), event("high-1-1-abcde")])
    assert (found["pod"], found["workload"]) == ("low-set-12", "low")


def test_a_long_name_is_cut(objects: list[Object]) -> None:
    long = f"low-{'x' * 60}"
    (found,) = preempted([*objects, owned("ReplicaSet", long, "Deployment", "low"), event(f"{long[:58]}b2345")])
    assert found["workload"] == "low"


@pytest.mark.parametrize(
    "other",
    [
        event("low-7d9-aaaaa", by="pod 4-5-6"),
        event("elsewhere-7d9-aaaaa"),
        event("low-7d9-aaaaa-bbbbb"),
        event("low-7d9-0"),
        event("low-7d9-aaaaa", message="Preempted to accommodate a workload"),
        event("low-7d9-aaaaa", involvedObject={"kind": "Workload", "namespace": "default", "name": "low-7d9-aaaaa"}),
        event("low-7d9-aaaaa", involvedObject={"kind": "Pod", "namespace": "other", "name": "low-7d9-aaaaa"}),
    ],
    ids=["preemptor", "workload", "suffixes", "index", "message", "kind", "namespace"],
)
def test_events_that_are_of_no_concern(objects: list[Object], other: Object) -> None:
    assert preempted([*objects, other]) == []


def test_a_pod_that_waited_for_its_node_and_stays(objects: list[Object]) -> None:
    (found,) = preempted([*objects, event("low-7d9-aaaaa", node="n-0 (in kube-scheduler memory).")])
    assert found["node"] == "n-0"


def test_a_group_of_pods_preempts(objects: list[Object]) -> None:
    objects[-2]["spec"]["schedulingGroup"] = {"podGroupName": "gang"}
    group = live.live("PodGroup", "gang", {}, {}, uid="7-8-9")
    assert preempted([*objects, group, event("low-7d9-aaaaa", by="podgroup 4-5-6", node="cluster")]) == []
    (found,) = preempted([*objects, group, event("low-7d9-aaaaa", by="podgroup 7-8-9", node="cluster")])
    assert found["by"] == {"podGroup": "gang", "namespace": "default", "workload": "high"}
    assert "node" not in found


def test_the_preemptor_may_be_of_nobody(objects: list[Object]) -> None:
    objects[-2]["metadata"].pop("ownerReferences")
    (found,) = preempted([*objects, event("low-7d9-aaaaa")])
    assert found["by"] == {"pod": "high-1", "namespace": "default"}


def test_the_table(objects: list[Object]) -> None:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(table(report(stack(), [*objects, event("low-7d9-aaaaa")])))
    lines = [line.rstrip() for line in capture.get().splitlines()]
    place = lines.index("Preempted pods")
    assert lines[place + 1].split() == ["pod", "workload", "node", "preempted", "by"]
    assert lines[place + 3] == "low-7d9-aaaaa  low       n-0   pod high-1 of high"


def test_a_bare_pod_that_was_preempted_is_told(objects: list[Object]) -> None:
    assert report(stack("Pod"), [*objects, event("low-0")]).unexpected[:3] == [
        "workload low: 0 of 1 pods run (kwok-dra:workloads readyTimeoutSeconds)",
        "  pod low-0: gone or failed, and no controller creates such pods again",
        "  pod low-0: preempted by pod high-1 of high",
    ]


# Waits.


def expected(**values: Any) -> Expected:
    found = Expected("workloads", "low", (("Deployment", "default", "low"),), 1, 1, 120, 2)
    return found._replace(**values)


def running(pods: int) -> list[Object]:
    """Return a Deployment with two pods, of which so many run."""
    status = {"observedGeneration": 1, "updatedReplicas": 2}
    found = [live.live("Deployment", "low", {"replicas": 2}, status, generation=1)]
    for index in range(2):
        results = [live.result("n-0", f"gpu-{index}")] if index < pods else []
        found += live.claimed("low", *results, name=str(index))
    return found


@pytest.mark.parametrize(("pods", "gives_way", "meets"), [(2, True, True), (2, False, False), (1, True, True)])
def test_a_workload_that_gives_way_may_have_all_its_pods(pods: int, gives_way: bool, meets: bool) -> None:
    wanted = expected(gives_way=gives_way)
    assert progress(wanted, LiveObjects(running(pods))).meets(wanted) == meets


def test_a_workload_that_gives_way_has_settled() -> None:
    wanted = expected(gives_way=True)
    assert not progress(wanted, LiveObjects(running(0))).meets(wanted)
    assert not progress(wanted, LiveObjects(running(2)[:-2])).meets(wanted)
    assert not progress(wanted, LiveObjects(running(2)), Unfit(["n-0"])).meets(wanted)


def test_a_pod_for_which_others_are_preempted_does_not_wait() -> None:
    objects = running(1)
    assert progress(expected(), LiveObjects(objects)).meets(expected())
    objects[-2]["status"]["nominatedNodeName"] = "n-0"
    assert not progress(expected(), LiveObjects(objects)).meets(expected())
