"""Schedulers that pods name: unknown ones, and those that decide otherwise than kube-scheduler with its defaults."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit import live_fleet as live
from topology.checks.outlook import outlook
from topology.checks.validation import ConfigurationError, load
from topology.schema.stack import Topology
from topology.status.report import details, report
from views import why

Object = dict[str, Any]
OTHER_FILTERS = {"profiles": [{"plugins": {"filter": {"disabled": [{"name": "DynamicResources"}]}}}]}
STRATEGY = {"name": "NodeResourcesFit", "args": {"scoringStrategy": {"type": "MostAllocated"}}}
OTHER_SCORES = {"profiles": [{"plugins": {"score": {"disabled": [{"name": "*"}]}}, "pluginConfig": [STRATEGY]}]}
DECIDING_OTHERWISE = [
    {"binary": "sh"},
    {"config": OTHER_FILTERS},
    {"config": {"extenders": [{"urlPrefix": "http://127.0.0.1:1"}]}},
    {"config": {"profiles": [{"pluginConfig": [{"name": "NodeAffinity", "args": {"addedAffinity": {}}}]}]}},
]
TELLS = "0/1 nodes are available: 1 cannot allocate all claims."


def stack(workload: Object | None = None, gpus: int = 1, **values: Any) -> Object:
    """Return a stack with a workload that is too large for its node by default, and a scheduler named `own`."""
    claims = [{"name": "c", "requests": [{"name": "gpu", "deviceClass": live.DRIVER, "count": 2}]}]
    return {
        "cluster": {"name": "x"},
        "nodePools": [{"name": "n", "gpu": "l4", "gpusPerNode": gpus}],
        "schedulers": [{"name": "own"}],
        "workloads": [{"name": "training", "claims": claims, "scheduler": "own"} | (workload or {})],
        **values,
    }


def refused(raw: Object, folder: Path = Path()) -> dict[str, str]:
    with pytest.raises(ConfigurationError) as error:
        load(raw, folder)
    return {problem.path: problem.message for problem in error.value.problems}


def remedy(*names: str) -> str:
    return f"Name one of {', '.join(names)}, or add a scheduler that serves it to kwok-dra:schedulers"


# Names.


def test_a_name_that_nobody_serves() -> None:
    assert refused(stack({"scheduler": "onw"}, 2)) == {
        "workloads[0].scheduler": "is onw, which no scheduler of the cluster serves; did you mean 'own'? "
        + remedy("default-scheduler", "own")
    }


def test_the_default_scheduler_under_another_name() -> None:
    renamed = {"name": "default-scheduler", "config": {"profiles": [{"schedulerName": "packing"}]}}
    assert refused(stack({"scheduler": None}, 2, schedulers=[renamed])) == {
        "workloads[0].scheduler": f"is default-scheduler, which no scheduler of the cluster serves. {remedy('packing')}"
    }
    assert load(stack({"scheduler": "packing"}, 2, schedulers=[renamed]))


@pytest.mark.parametrize(
    ("name", "spec", "problems"),
    [("own", {}, 0), ("onw", {}, 1), ("onw", {"nodeName": "n-0"}, 0), ("default-scheduler", {}, 0)],
)
def test_pods_of_manifests(tmp_path: Path, name: str, spec: Object, problems: int) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"schedulerName": name} | spec}
    pod["spec"]["tolerations"] = [{"operator": "Exists"}]  # type: ignore[index]
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(pod))
    raw = stack(gpus=2, manifests=[{"name": "m", "files": ["a.yaml"]}])
    assert (refused(raw, tmp_path).keys() if problems else load(raw, tmp_path) and set()) == (
        {"manifests[0].files[0]"} if problems else set()
    )


def test_pods_that_are_not_there_yet_need_no_scheduler(tmp_path: Path) -> None:
    spec = {"replicas": 0, "template": {"spec": {"schedulerName": "onw"}}}
    idle = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(idle))
    assert load(stack(gpus=2, manifests=[{"name": "m", "files": ["a.yaml"]}]), tmp_path)


def test_a_name_that_is_served_twice() -> None:
    schedulers = [
        {"name": "a", "config": {"profiles": [{}, {}]}},
        {"name": "b", "config": {"profiles": [{"schedulerName": "default-scheduler"}]}},
        {"name": "c", "binary": "sh", "schedulerNames": ["d", "a"]},
    ]
    own = "give each scheduler, and each of its profiles, a name of its own"
    assert refused(stack({"scheduler": None}, 2, schedulers=schedulers)) == {
        "schedulers[0]": f"serves the schedulerName a twice: {own}",
        "schedulers[1]": f"serves the schedulerName default-scheduler, as does the cluster's own kube-scheduler: {own}",
        "schedulers[2]": f"serves the schedulerName a, as does schedulers[0]: {own}",
    }


# What is known of where pods can run.


@pytest.mark.parametrize("scheduler", [{}, {"config": OTHER_SCORES}])
def test_pods_that_cannot_run_are_refused_where_nodes_are_found_as_usual(scheduler: Object) -> None:
    message = refused(stack(schedulers=[{"name": "own"} | scheduler]))["workloads[0].claims[0].requests[0]"]
    assert message.startswith("wants 2 devices")


@pytest.mark.parametrize("scheduler", DECIDING_OTHERWISE)
def test_pods_of_other_schedulers_are_not_refused(scheduler: Object, tmp_path: Path) -> None:
    """Neither those of workloads nor those of manifests, whatever they ask for and do not tolerate."""
    schedulers = [{"name": "own"} | scheduler]
    assert load(stack(schedulers=schedulers))
    container = {"name": "c", "resources": {"limits": {"example.com/none": 1}}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}
    (tmp_path / "a.yaml").write_text(
        yaml.safe_dump(pod | {"spec": {"schedulerName": "own", "containers": [container]}})
    )
    manifests = [{"name": "m", "files": ["a.yaml"]}]
    assert load(stack(schedulers=schedulers, manifests=manifests), tmp_path)
    assert len(refused(stack(gpus=2, manifests=manifests), tmp_path)) == 1


@pytest.mark.parametrize("scheduler", DECIDING_OTHERWISE)
def test_how_their_pods_turn_out_is_not_known(scheduler: Object) -> None:
    found = outlook(load(stack(gpus=2, schedulers=[{"name": "own"} | scheduler])), {"training": 1})
    assert found.undecided.keys() == {"training"}
    assert not outlook(load(stack(gpus=2)), {"training": 1}).undecided


# What is told of pods that wait.


def waiting(topology: Topology, scheduler: str, **spec: Any) -> list[Object]:
    """Return the live stack with a pod that asks for more than there is, and that a scheduler has refused."""
    pod, claim = live.claimed("training", reason=TELLS)
    pod["spec"] |= {"schedulerName": scheduler} | spec
    exactly = {"deviceClassName": live.DRIVER, "count": 2}
    claim["spec"] = {"devices": {"requests": [{"name": "gpu", "exactly": exactly}]}}
    return [*live.objects(topology), live.live("DeviceClass", live.DRIVER, {}, {}), pod, claim]


def told(topology: Topology, objects: list[Object]) -> tuple[str, why.Answer]:
    """Return the reason of the only claim, and the answer about its pod."""
    claims = report(topology, objects).claims
    assert isinstance(claims, list)
    (answer,) = why.answers(details(topology, objects), "training-x", "")
    return str(claims[0]["reason"]), answer


@pytest.mark.parametrize("scheduler", DECIDING_OTHERWISE)
def test_other_schedulers_speak_for_themselves(scheduler: Object) -> None:
    topology = load(stack(schedulers=[{"name": "own"} | scheduler]))
    reason, answer = told(topology, waiting(topology, "own"))
    assert reason == TELLS
    assert answer.state == (
        f"waits. Scheduler own says: {TELLS} It decides otherwise than kube-scheduler with its defaults, so that "
        "kwok-dra knows no more."
    )
    assert (answer.nodes, answer.changes) == ((), ())


def test_another_kube_scheduler_is_explained() -> None:
    topology = load(stack(gpus=2, schedulers=[{"name": "own", "config": OTHER_SCORES}]))
    short = topology.model_copy(update={"node_pools": load(stack(gpus=1, workloads=[])).node_pools})
    reason, answer = told(short, waiting(short, "own"))
    assert "no node has more than 1 free of 1 that match" in reason
    assert answer.state == f"waits. Scheduler own says: {TELLS}"
    assert answer.nodes


@pytest.mark.parametrize(
    ("scheduler", "nobody"), [("own", ""), ("lost", ", and the stack has no scheduler that serves this name")]
)
def test_a_scheduler_that_does_not_answer(scheduler: str, nobody: str) -> None:
    topology = load(stack(gpus=2))
    objects = waiting(topology, scheduler)
    objects[-2]["status"].pop("conditions")
    reason, answer = told(topology, objects)
    assert reason == f"not yet considered by scheduler {scheduler}"
    assert answer.state == f"is Pending: scheduler {scheduler} has not considered it yet{nobody}"
