"""Priorities: classes, the pods that name them, who gives way to whom, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from topology.checks import preflight
from topology.checks.validation import ConfigurationError, load
from topology.objects import pod_groups, pods, priorities
from topology.schema.stack import Existing
from topology.status.report import kinds

Object = dict[str, Any]
EVENTS = "Event=/api/v1/events?fieldSelector=reason%3DPreempted"
CLAIMS = [{"name": "gpu", "requests": [{"name": "gpu", "deviceClass": "gpu.example.com"}]}]
LOW, HIGH = {"name": "low", "value": -5}, {"name": "high", "value": 10}


def workload(name: str = "a", **values: Any) -> Object:
    return {"name": name, "claims": CLAIMS} | values


def stack(*workloads: Object, **values: Any) -> Object:
    pools = [{"name": "n", "gpu": "example-gpu", "gpusPerNode": 8}]
    return {"cluster": {"name": "x"}, "nodePools": pools, "workloads": list(workloads), **values}


def written(folder: Path, *objects: Object) -> list[Object]:
    """Return the entry for a file of objects."""
    (folder / "a.yaml").write_text(yaml.safe_dump_all(objects))
    return [{"name": "written", "files": ["a.yaml"]}]


def class_object(name: str, **values: Any) -> Object:
    return {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, **values}


OWN_CLASS = class_object("own", value=7)


def pod_object(**spec: Any) -> Object:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}


def refused(raw: Object, folder: Path = Path()) -> dict[str, str]:
    with pytest.raises(ConfigurationError) as error:
        load(raw, folder)
    return {problem.path: problem.message for problem in error.value.problems}


def test_classes() -> None:
    never = {"name": "idle", "value": 0, "preemptionPolicy": "Never", "globalDefault": True}
    assert priorities.priority_classes(load(stack(priorityClasses=[HIGH, never]))) == [
        class_object("high", value=10, preemptionPolicy="PreemptLowerPriority"),
        class_object("idle", value=0, preemptionPolicy="Never", globalDefault=True),
    ]


@pytest.mark.parametrize("kind", ["Deployment", "Job", "Pod"])
def test_pods_name_their_class_and_scheduler(kind: str) -> None:
    plain, named = load(
        stack(
            workload("a", kind=kind),
            workload("b", kind=kind, priority="high", scheduler="packing"),
            priorityClasses=[HIGH],
            schedulers=[{"name": "packing"}],
        )
    ).workloads
    (made,) = pods.workload_objects(named)
    spec = made["spec"] if kind == "Pod" else made["spec"]["template"]["spec"]
    assert (spec["priorityClassName"], spec["schedulerName"]) == ("high", "packing")
    assert not {"priorityClassName", "schedulerName"} & {*str(pods.workload_objects(plain)).split("'")}


def test_a_group_has_the_priority_of_its_pods() -> None:
    """The scheduler of 1.37 refuses a group that has another one; that of 1.36 knows none."""
    grouped = workload(priority="high", podGroup={})
    (group,) = load(stack(grouped, priorityClasses=[HIGH])).workloads
    assert [pod_groups.pod_groups(group, minor)[0]["spec"].get("priorityClassName") for minor in (36, 37)] == [
        None,
        "high",
    ]


def test_events_are_read_only_where_pods_have_priorities(tmp_path: Path) -> None:
    def reads(raw: Object) -> bool:
        return EVENTS in kinds(load(raw, tmp_path))

    assert not reads(stack(workload()))
    assert reads(stack(workload(), priorityClasses=[HIGH]))
    assert reads(stack(workload(priority="system-node-critical")))
    assert reads(stack(manifests=written(tmp_path, class_object("own", value=1))))
    assert reads(stack(manifests=written(tmp_path, pod_object(priorityClassName="system-node-critical"))))
    assert not reads(stack(manifests=written(tmp_path, pod_object())))
    groups = "PodGroup=/apis/scheduling.k8s.io/v1beta1/podgroups"
    assert groups in kinds(load(stack(workload(podGroup={}), priorityClasses=[HIGH])))
    assert groups not in kinds(load(stack(workload(podGroup={}))))


@pytest.mark.parametrize(
    ("workloads", "giving_way"),
    [
        ([workload("a", priority="low"), workload("b", after=["a"])], {"a"}),
        ([workload("a", priority="low"), workload("b", priority="low", after=["a"])], set()),
        ([workload("a", priority="high"), workload("b", after=["a"])], set()),
        ([workload("a", priority="low"), workload("b", priority="high")], set()),
        (
            [
                workload("c", priority="high", after=["b"]),
                workload("b", priority="high", after=["a"]),
                workload("a", priority="low"),
            ],
            {"a"},
        ),
    ],
)
def test_who_gives_way(workloads: list[Object], giving_way: set[str]) -> None:
    assert priorities.outranked(load(stack(*workloads, priorityClasses=[LOW, HIGH]))) == giving_way


def test_pods_of_manifests_give_way_and_preempt(tmp_path: Path) -> None:
    pods_of_file = written(tmp_path, pod_object(priorityClassName="own"), class_object("own", value=7))
    before = stack(workload("a"), manifests=[pods_of_file[0] | {"after": ["a"]}])
    after = stack(workload("a", priority="high", after=["written"]), manifests=pods_of_file, priorityClasses=[HIGH])
    found = [priorities.outranked(load(raw, tmp_path)) for raw in (before, after)]
    assert found == [{"a"}, {"written"}]
    two = written(tmp_path, pod_object(priorityClassName="own"), pod_object() | {"metadata": {"name": "q"}}, OWN_CLASS)
    behind = workload("a", priority="five", after=["written"])
    five = [{"name": "five", "value": 5}]
    assert priorities.outranked(load(stack(behind, manifests=two, priorityClasses=five), tmp_path)) == {"written"}
    none = stack(workload("a", after=["written"]), manifests=written(tmp_path, OWN_CLASS))
    assert priorities.outranked(load(none, tmp_path)) == set()
    pods_by_default = [workload("a", priority="low"), workload("b", after=["a"])]
    default = load(stack(*pods_by_default, priorityClasses=[LOW | {"globalDefault": True}]))
    assert priorities.outranked(default) == set()


NAMED = "Name one of high, system-cluster-critical, system-node-critical, or add the class to kwok-dra:priorityClasses"


def test_unknown_classes(tmp_path: Path) -> None:
    raw = stack(
        workload(priority="hihg"),
        priorityClasses=[HIGH],
        manifests=written(tmp_path, pod_object(priorityClassName="none")),
    )
    assert refused(raw, tmp_path) == {
        "workloads[0].priority": f"there is no priority class 'hihg'; did you mean 'high'? {NAMED}",
        "manifests[0].files[0]": "document 1: pods of Pod p have priorityClassName 'none', which does not exist. "
        f"{NAMED}",
    }


def test_what_the_api_server_says_better_is_not_said_here(tmp_path: Path) -> None:
    """A name that is empty means the default; the value of a class of the user's is not checked."""
    objects = written(tmp_path, pod_object(priorityClassName="own"), class_object("own", value="7"))
    assert priorities.outranked(load(stack(workload("a", after=["written"]), manifests=objects), tmp_path)) == set()
    tolerant = pod_object(priorityClassName="", tolerations=[{"operator": "Exists"}])
    assert load(stack(manifests=written(tmp_path, tolerant)), tmp_path)


def test_an_existing_cluster_may_have_other_classes_and_schedulers() -> None:
    topology = load(stack(workload()))
    existing = topology.cluster.model_copy(update={"existing": Existing(kubeconfig="k", context="c")})
    given = topology.workloads[0].model_copy(update={"priority": "theirs", "scheduler": "theirs"})
    changed = topology.model_copy(update={"cluster": existing, "workloads": [given]})
    assert len(preflight.problems(topology.model_copy(update={"workloads": [given]}))) == 2
    assert preflight.problems(changed) == []


def test_what_the_api_server_refuses(tmp_path: Path) -> None:
    default = {"globalDefault": True}
    assert refused(stack(priorityClasses=[{"name": "system-own", "value": 1}, HIGH | default, LOW | default])) == {
        "priorityClasses[0].name": "'system-own' begins with system-, which is reserved for Kubernetes: choose another "
        "name",
        "priorityClasses[2].globalDefault": "is true, as in priorityClasses[1], but a cluster has one default: set one "
        "of them to false",
    }
    assert refused(stack(priorityClasses=[HIGH, HIGH])) == {
        "priorityClasses[1].name": "'high' is already the name of priorityClasses[0]: give each its own"
    }
    assert refused(stack(priorityClasses=[HIGH | {"value": 10**9 + 1}])) == {
        "priorityClasses[0].value": "must be at most 1000000000, but is 1000000001"
    }
    assert (
        "must be at least"
        in refused(stack(priorityClasses=[HIGH | {"value": -(10**9) - 1}]))["priorityClasses[0].value"]
    )
    twice = stack(priorityClasses=[HIGH], manifests=written(tmp_path, class_object("high", value=1)))
    assert refused(twice, tmp_path) == {
        "manifests[0].files[0]": "document 1: the stack already creates PriorityClass high for priorityClasses[0]: "
        "remove it from the file, or from there"
    }
