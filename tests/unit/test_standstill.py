"""When nothing can change any more in a cluster that only its own components change."""

from collections.abc import Sequence
from typing import Any

import pytest

from cluster.api import snapshot
from cluster.api.api_server import ApiServer
from cluster.fleet import standstill
from cluster.fleet.standstill import Standstill, wake_scheduler
from tests.unit.fake_api_server import FakeApiServer
from tests.unit.live_fleet import claim, live, result
from topology.status.evictions import FIT, Unfit
from topology.status.live_objects import LiveObjects
from topology.status.pending_changes import may_change, nodes_may_change
from topology.status.workload_progress import Expected

Object = dict[str, Any]

REFUSED = {"type": "PodScheduled", "status": "False", "lastTransitionTime": "2026-01-01T00:00:01Z"}
DEVICE = result("node-0", "gpu-0")
CREATED = "2026-01-01T00:00:00Z"


def pod(name: str, phase: str, spec: Object | None = None, status: Object | None = None, **metadata: Any) -> Object:
    """Return a pod with a claim, which the scheduler has bound unless it is pending, and else refused."""
    claims: Object = {"resourceClaims": [{"name": "c", "resourceClaimName": f"{name}-c"}], "containers": []}
    placed = {"conditions": [REFUSED]} if phase == "Pending" else {}
    bound = {} if phase == "Pending" else {"nodeName": "node-0"}
    labelled = {"creationTimestamp": CREATED, "resourceVersion": "1"} | metadata
    return live("Pod", name, claims | bound | (spec or {}), {"phase": phase} | placed | (status or {}), **labelled)


def claimed(name: str, *devices: Object, status: Object | None = None, by: Object | None = None, **more: Any) -> Object:
    """Return the claim of a pod, reserved for it if it has devices."""
    found = claim(f"{name}-c", *devices, **({"resourceVersion": "1"} | more))
    if devices:
        found["status"]["reservedFor"] = [by or {"resource": "pods", "name": name, "uid": f"uid of {name}"}]
    return found | {"status": found["status"] | (status or {})}


RUNS, HELD = pod("a", "Running"), claimed("a", DEVICE)
WAITS, FREE = pod("b", "Pending"), claimed("b")


def owned(kind: str, name: str = "job") -> Object:
    """Return the metadata of an object that a controller owns."""
    return {"ownerReferences": [{"kind": kind, "name": name, "uid": f"uid of {name}"}]}


def controller(kind: str, spec: Object, status: Object, name: str = "job", **metadata: Any) -> Object:
    """Return a controller that has observed its newest generation."""
    seen = {"observedGeneration": 1} | status
    return live(kind, name, spec, seen, **({"generation": 1, "resourceVersion": "1"} | metadata))


def expected(kind: str = "Pod", name: str = "a", seconds: int = 120) -> Expected:
    return Expected("workloads", "w", ((kind, "default", name),), 2, 0, seconds, 2)


def test_nothing_changes_where_pods_run_or_have_been_refused() -> None:
    ended = [pod(phase.lower(), phase) for phase in ("Succeeded", "Failed")]
    assert not may_change([expected()], LiveObjects([RUNS, HELD, WAITS, FREE, *ended]), FIT)


ATTACHING: Object = DEVICE | {"bindingConditions": ["Attached"], "shareID": "s"}


def conditions(status: str, **values: Any) -> Object:
    """Return the status of a claim whose device has the condition."""
    device: Object = ATTACHING | values | {"conditions": [{"type": "Attached", "status": status}]}
    return {"devices": [device]}


@pytest.mark.parametrize(
    ("objects", "changes"),
    [
        ([pod("a", "Running", deletionTimestamp="now"), HELD], True),
        ([pod("a", "Failed", deletionTimestamp="now")], True),
        ([pod("a", "Running", **owned("Job")), HELD], True),
        ([pod("a", "Succeeded", **owned("Job"))], False),
        # It is about to start.
        ([pod("a", "Pending", {"nodeName": "node-0"}, {"conditions": []}), HELD], True),
        ([pod("a", "Unknown"), HELD], True),
        # The scheduler has not looked at it yet, or its claims are not there.
        ([pod("b", "Pending", status={"conditions": []}), FREE], True),
        ([WAITS], True),
        # Something else is to happen before the scheduler decides.
        ([pod("b", "Pending", {"schedulingGates": [{"name": "queue"}]}), FREE], True),
        ([pod("b", "Pending", status={"nominatedNodeName": "node-0"}), FREE], True),
        # The scheduler creates this claim only for a pod that it binds.
        (
            [pod("b", "Pending", {"containers": [{"resources": {"limits": {"example.com/gpu": "1"}}}]}), FREE],
            False,
        ),
        ([RUNS, HELD, claimed("b", deletionTimestamp="now")], True),
        # The garbage collector is to delete it.
        ([RUNS, HELD, claimed("b", **owned("Pod", "gone"))], True),
        # The controller is to release it, for pods that are gone or have ended.
        ([HELD], True),
        ([pod("a", "Succeeded"), HELD], True),
        # The scheduler is binding the pod.
        ([pod("b", "Pending"), claimed("b", DEVICE)], True),
        ([RUNS, claimed("a", DEVICE, by={"resource": "podgroups", "name": "g", "uid": "u"})], False),
        # Devices are being attached.
        ([RUNS, claimed("a", ATTACHING)], True),
        ([RUNS, claimed("a", ATTACHING, status=conditions("False"))], True),
        ([RUNS, claimed("a", ATTACHING, status=conditions("True", shareID="t"))], True),
        ([RUNS, claimed("a", ATTACHING, status=conditions("True"))], False),
    ],
)
def test_pods_and_claims_that_are_to_change(objects: list[Object], changes: bool) -> None:
    assert may_change([expected("Deployment")], LiveObjects(objects), FIT) == changes


def test_pods_that_will_be_evicted() -> None:
    """Within the time of any workload."""
    gone, broken = Unfit(nodes=["node-0"]), Unfit(devices=[("", "", "gpu-0", "broken", "")])
    found = LiveObjects([RUNS, HELD])
    assert may_change([expected()], found, gone)
    assert may_change([expected()], found, broken)
    assert not may_change([expected()], LiveObjects([pod("a", "Succeeded")]), gone)
    tolerant: Object = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "tolerationSeconds": 300}
    stays = LiveObjects([pod("a", "Running", {"tolerations": [tolerant]}), HELD])
    for seconds, changes in ((120, False), (400, True)):
        entries = [expected(), expected(seconds=seconds)]
        assert may_change(entries, stays, Unfit(not_ready=["node-0"])) == changes


def rolling(replicas: int = 1, set_seen: int = 1, generation: int = 1, **status: int) -> list[Object]:
    """Return a Deployment whose older pod runs and whose newer one waits."""
    counts = {"updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1} | status
    sets = [
        controller("ReplicaSet", {"replicas": 1}, {}, "old", **owned("Deployment")),
        controller(
            "ReplicaSet", {"replicas": replicas}, {"observedGeneration": set_seen}, "new", **owned("Deployment")
        ),
        controller("ReplicaSet", {"replicas": 0}, {}, "older", **owned("Deployment")),
        controller("ReplicaSet", {"replicas": 9}, {}, "other"),
    ]
    pods = [pod("a", "Running", **owned("ReplicaSet", "old")), HELD, pod("b", "Pending", **owned("ReplicaSet", "new"))]
    deployment = controller("Deployment", {"replicas": 1}, counts, generation=generation)
    return [deployment, *sets, *pods, FREE]


@pytest.mark.parametrize(
    ("kind", "objects", "changes"),
    [
        ("CronJob", [controller("CronJob", {}, {})], True),
        # Nothing creates these again.
        ("Pod", [], False),
        ("Deployment", [], False),
        ("Deployment", [controller("Deployment", {"replicas": 1}, {})], True),
        ("Deployment", [controller("Deployment", {"replicas": 0}, {})], False),
        ("StatefulSet", [controller("StatefulSet", {"replicas": 1}, {})], True),
        (
            "StatefulSet",
            [
                controller("StatefulSet", {"replicas": 2, "podManagementPolicy": "Parallel"}, {"updatedReplicas": 1}),
                pod("b", "Pending", **owned("StatefulSet")),
                FREE,
            ],
            True,
        ),
        # The newer one of its pods has been refused.
        (
            "StatefulSet",
            [
                controller("StatefulSet", {"replicas": 2}, {"updatedReplicas": 1}),
                *(pod(name, phase, **owned("StatefulSet")) for name, phase in (("a", "Running"), ("b", "Pending"))),
                HELD,
                FREE,
            ],
            False,
        ),
        ("Job", [controller("Job", {"completions": 1}, {})], True),
        ("Job", [controller("Job", {"completions": 1}, {"conditions": [{"type": "Failed", "status": "True"}]})], False),
        ("Deployment", rolling(), False),
        ("Deployment", rolling(replicas=2), True),
        ("Deployment", rolling(set_seen=0), True),
        ("Deployment", rolling(generation=2), True),
        # It waits for minReadySeconds.
        ("Deployment", rolling(availableReplicas=0), True),
        # No pod has been refused, so the next step is near.
        (
            "Deployment",
            [*rolling()[:-2], pod("b", "Running", **owned("ReplicaSet", "new")), claimed("b", DEVICE)],
            True,
        ),
    ],
)
def test_controllers_that_are_to_create_pods(kind: str, objects: list[Object], changes: bool) -> None:
    assert may_change([expected(), expected(kind, "job")], LiveObjects(objects), FIT) == changes


def node(ready: str | None = "True", *taints: Object, **metadata: Any) -> Object:
    """Return a node that says whether it is ready."""
    status = {"conditions": [{"type": "Disk", "status": "False"}, {"type": "Ready", "status": ready}]} if ready else {}
    return live("Node", "node-0", {"taints": list(taints)}, status, **metadata)


FAULTY: Object = {"annotations": {"kwok-dra/not-ready": "true"}}
EVICTING: Object = {"key": "maintenance", "effect": "NoExecute"}


def tolerating(seconds: int | None, key: str | None = "maintenance") -> Object:
    """Return a running pod that tolerates the taint, for some time only if it is given."""
    toleration: Object = {"operator": "Exists"} | ({"key": key} if key else {})
    return pod("a", "Running", {"tolerations": [toleration | ({"tolerationSeconds": seconds} if seconds else {})]})


@pytest.mark.parametrize(
    ("found", "running", "changes"),
    [
        (node(), RUNS, False),
        (node("True", EVICTING), RUNS, False),
        (node("False"), RUNS, True),
        (node("Unknown"), RUNS, True),
        (node(None), RUNS, True),
        (node("True", {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}), RUNS, True),
        (node("False", **FAULTY), RUNS, False),
        (node("True", **FAULTY), RUNS, True),
        (node("True", EVICTING), tolerating(60), True),
        (node("True", EVICTING), tolerating(60, None), True),
        (node("True", EVICTING), tolerating(None), False),
        (node(), tolerating(60, None), False),
        (node("True", EVICTING), tolerating(60, "else"), False),
        (node("True", EVICTING | {"effect": "NoSchedule"}), tolerating(60), False),
        # `Unfit` says when these are evicted.
        (
            node("False", EVICTING | {"key": "node.kubernetes.io/not-ready"}, **FAULTY),
            tolerating(60, "node.kubernetes.io/not-ready"),
            False,
        ),
    ],
)
def test_nodes_that_are_to_change(found: Object, running: Object, changes: bool) -> None:
    assert nodes_may_change([found], [running, pod("b", "Pending"), pod("c", "Running", {"nodeName": "x"})]) == changes


class Watch:
    """A cluster at which a standstill looks; its time passes with each look."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *objects: Object) -> None:
        self.objects: Sequence[Object] = objects or (RUNS, HELD, WAITS, FREE)
        self.nodes = [node()]
        self.autoscalers: list[Object] = []
        self.now = 1000.0
        self.standstill = Standstill()
        monkeypatch.setattr(
            snapshot, "must_read", lambda _, kinds: {"Node": self.nodes}.get(kinds[0], self.autoscalers)
        )

    def look(self, after: float = 0.0) -> bool:
        """Look again after some time."""
        self.now += after
        return self.standstill.has_come(ApiServer(), [expected()], LiveObjects(self.objects), FIT, self.now)

    def comes_after(self, step: float = 1.0) -> float:
        """Look until the standstill comes, and return how long that took."""
        begin = self.now
        while not self.look(step):
            assert self.now < begin + 1000
        return self.now - begin


def test_when_the_standstill_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    assert not watch.look()
    assert not watch.look(3)
    assert not watch.look(4)
    assert watch.standstill.seconds == 0
    assert watch.comes_after() == 8
    assert watch.standstill.seconds == 15


@pytest.mark.parametrize(
    "objects",
    [
        (RUNS, HELD, pod("b", "Pending", resourceVersion="2"), FREE),
        (RUNS, HELD, WAITS, claimed("b", resourceVersion="2")),
        (RUNS, HELD, WAITS, FREE, pod("c", "Succeeded")),
    ],
)
def test_a_change_defers_it(monkeypatch: pytest.MonkeyPatch, objects: Sequence[Object]) -> None:
    watch = Watch(monkeypatch)
    assert not any([watch.look(), *(watch.look(1) for _ in range(14))])
    watch.objects = objects
    assert watch.comes_after() == 16


def test_something_under_way_defers_it(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    still = watch.objects
    watch.look()
    watch.objects = (RUNS, HELD, pod("b", "Pending", status={"nominatedNodeName": "x"}), FREE)
    assert not any(watch.look(1) for _ in range(100))
    watch.objects = still
    assert watch.comes_after() == 16


@pytest.mark.parametrize("changed", [node("Unknown"), node("True", EVICTING)])
def test_a_change_of_a_node_defers_it(monkeypatch: pytest.MonkeyPatch, changed: Object) -> None:
    watch = Watch(monkeypatch)
    assert not any([watch.look(), *(watch.look(1) for _ in range(14))])
    watch.nodes = [changed]
    assert not watch.look(1)
    watch.nodes = [node()]
    assert watch.comes_after() == 16


def test_the_status_that_a_node_reports_does_not_defer_it(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    watch.look()
    watch.nodes = [node(resourceVersion="2")]
    assert watch.comes_after() == 15


def test_long_intervals_between_reads_count_little(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    watch.look()
    assert watch.comes_after(step=60) == 180


@pytest.mark.parametrize(
    ("refused", "needed"),
    [
        (["2026-01-01T00:00:02Z"], 15),
        (["2026-01-01T00:00:04Z"], 18),
        (["2026-01-01T00:00:01Z", "2026-01-01T00:00:20Z"], 50),
        ([None], 15),
    ],
)
def test_a_slow_scheduler_has_more_time(
    monkeypatch: pytest.MonkeyPatch, refused: list[str | None], needed: int
) -> None:
    other = {"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-02T00:00:00Z"}
    waiting = [
        pod(str(place), "Pending", status={"conditions": [other, REFUSED | {"lastTransitionTime": at}]})
        for place, at in enumerate(refused)
    ]
    watch = Watch(monkeypatch, *waiting, *(claimed(str(place)) for place in range(len(refused))))
    watch.look()
    assert watch.comes_after() == watch.standstill.seconds == needed


def sharing() -> Sequence[Object]:
    """Return the objects of a cluster in which a pod has a share of a device, and another pod was refused."""
    return RUNS, claimed("a", DEVICE | {"shareID": "s"}), WAITS, FREE


def test_where_devices_are_shared_the_scheduler_tries_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[ApiServer] = []
    monkeypatch.setattr(standstill, "wake_scheduler", woken.append)
    watch = Watch(monkeypatch, *sharing())
    watch.look()
    assert watch.comes_after() == 30
    assert len(woken) == 1
    assert watch.standstill.seconds == 15
    watch.objects = (*sharing()[:2], pod("b", "Pending", resourceVersion="2"), FREE)
    assert watch.comes_after() == 31
    assert len(woken) == 2


def test_where_others_change_the_cluster_the_scheduler_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[ApiServer] = []
    monkeypatch.setattr(standstill, "wake_scheduler", woken.append)
    watch = Watch(monkeypatch, *sharing())
    watch.standstill = Standstill(comes=False)
    assert not any(watch.look(1) for _ in range(100))
    assert len(woken) == 1


def test_where_nothing_can_come_of_it_nodes_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    watch.standstill = Standstill(comes=False)
    monkeypatch.setattr(snapshot, "must_read", pytest.fail)
    assert not any(watch.look(1) for _ in range(100))


@pytest.mark.parametrize(
    "objects", [(RUNS, HELD, WAITS, FREE), (RUNS, claimed("a", DEVICE | {"shareID": "s"}))], ids=["whole", "none waits"]
)
def test_where_it_cannot_have_refused_in_vain(monkeypatch: pytest.MonkeyPatch, objects: Sequence[Object]) -> None:
    watch = Watch(monkeypatch, *objects)
    watch.look()
    assert watch.comes_after() == 15


def test_the_scheduler_is_woken_by_a_device_class_that_stays_as_it_is() -> None:
    path = "/apis/resource.k8s.io/v1/deviceclasses/gpu.example.com"
    api = FakeApiServer({path: {"metadata": {"name": "gpu.example.com", "annotations": {"a": "b"}}}})
    wake_scheduler(api)
    assert api.written == [f"PATCH {path}"] * 2
    assert api.objects[path]["metadata"]["annotations"] == {"a": "b"}
    wake_scheduler(nothing := FakeApiServer())
    assert not nothing.written


def test_an_autoscaler_has_time_for_its_next_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    watch.autoscalers = [live("HorizontalPodAutoscaler", "a", {}, {})]
    watch.look()
    assert watch.comes_after() == watch.standstill.seconds == 18


@pytest.mark.parametrize(("sizes", "needed"), [([1], 15), ([2], 17), ([2, 9, 1], 33)])
def test_a_pod_group_has_more_time(monkeypatch: pytest.MonkeyPatch, sizes: list[int], needed: int) -> None:
    """The scheduler multiplies its longest wait by the square root of the size."""
    names = [(f"g{group}", f"g{group}-{member}") for group, size in enumerate(sizes) for member in range(size)]
    pods = [pod(name, "Pending", {"schedulingGroup": {"podGroupName": group}}) for group, name in names]
    watch = Watch(monkeypatch, *pods, *(claimed(name) for _, name in names))
    watch.look()
    assert needed <= watch.comes_after() <= needed + 1
    assert watch.standstill.seconds == needed
