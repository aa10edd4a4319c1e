"""Twins whose pods run and wait as in the dump, whatever the scheduler chooses."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.real_slices import node, texts
from tests.unit.test_twin_workloads import CLASS, DRIVER, Object, claim, gpus, pod, request, twin
from twin import __main__ as command
from twin import settling
from twin.dump import DumpError
from twin.stack import Stack

HOST = "kubernetes.io/hostname"
PLACED = "pods keep their nodes or devices, so that others run or wait as in the dump: "
ROOM = "workloads with pods that wait in the dump, but have room in the twin, are expected to run: "
OPEN = "workloads whose pods may run or wait otherwise, as the scheduler may choose other devices"


def fleet(*nodes: tuple[str, int]) -> list[Object]:
    """Return nodes with so many GPUs, of which two have one root."""
    found = [CLASS]
    for name, count in nodes:
        entry = gpus(name, count)
        for index, device in enumerate(entry["spec"]["devices"]):
            device["attributes"]["root"] = {"string": f"root-{index // 2}"}
        found += [node(name), entry]
    return found


def holder(name: str, on: str, *devices: int, **spec: Any) -> list[Object]:
    """Return a pod that has these devices of its node."""
    made = claim(name, [(on, f"gpu-{index}") for index in devices], request(count=len(devices)))
    return [made, pod(name, name, on, owner="", **spec)]


def waiter(name: str, count: int = 1, **spec: Any) -> list[Object]:
    """Return a pod that waits for so many devices."""
    return [claim(name, None, request(count=count)), pod(name, name, owner="", **spec)]


def same_root(objects: list[Object]) -> list[Object]:
    constraint = {"requests": ["gpu"], "matchAttribute": f"{DRIVER}/root"}
    objects[0]["spec"]["devices"]["constraints"] = [constraint]
    return objects


def by_name(found: Stack) -> dict[str, Object]:
    """Return the workloads by the names of their pods."""
    return {entry["name"]: entry for entry in found.configuration["workloads"]}


def made(folder: Path, *objects: Object, **options: Any) -> Stack:
    return twin(folder, *objects, keep_names=True, **options)


def selectors(workload: Object) -> list[str]:
    found: list[str] = workload["claims"][0]["requests"][0].get("selectors", [])
    return found


def test_devices_are_kept_if_a_pod_would_have_room_beside_others(tmp_path: Path) -> None:
    """Each pod has a device of another root; two of one root would leave room for the third pod."""
    pods = [*holder("a", "n", 0), *holder("b", "n", 2), *same_root(waiter("w", 2))]
    found = made(tmp_path, *fleet(("n", 4)), *pods)
    kept = by_name(found)
    assert [len(selectors(kept[name])) for name in "ab"] == [1, 1]
    assert kept["w"]["expect"] == {"allocated": 0, "pending": 1}
    assert kept["w"]["after"] == ["a", "b"]
    assert found.notes == [f"{PLACED}2"]


def test_nothing_is_kept_if_all_devices_are_taken(tmp_path: Path) -> None:
    pods = [*holder("a", "n", 0, 1), *holder("b", "n", 2, 3), *waiter("w")]
    found = made(tmp_path, *fleet(("n", 4)), *pods)
    assert [selectors(one) for one in by_name(found).values()] == [[], [], []]
    assert found.notes == []


def test_nodes_are_kept_if_that_is_enough(tmp_path: Path) -> None:
    """Each node has one device left: on one node they would be two."""
    pods = [*holder("a", "n", 0), *holder("b", "m", 1), *waiter("w", 2)]
    found = made(tmp_path, *fleet(("n", 2), ("m", 2)), *pods)
    kept = by_name(found)
    assert [kept[name]["nodeSelector"] for name in "ab"] == [{HOST: found.nodes["n"]}, {HOST: found.nodes["m"]}]
    assert selectors(kept["a"]) == []
    assert found.notes == [f"{PLACED}2"]


def test_only_pods_that_matter_are_placed(tmp_path: Path) -> None:
    other = {"kind": "DeviceClass", "apiVersion": "resource.k8s.io/v1", "metadata": {"name": "other"}}
    other |= {"spec": {"selectors": [{"cel": {"expression": "device.driver == 'other.example.com'"}}]}}
    elsewhere = gpus("m", 2)
    elsewhere["spec"]["driver"] = "other.example.com"
    elsewhere["metadata"]["name"] = "m-other"
    asked = {"name": "gpu", "exactly": {"deviceClassName": "other"}}
    held = claim("o", [("m", "gpu-0")], asked)
    held["status"]["allocation"]["devices"]["results"][0]["driver"] = "other.example.com"
    pods = [*holder("a", "n", 0), *holder("b", "m", 1), *waiter("w", 2), held, pod("o", "o", "m", owner="")]
    found = made(tmp_path, *fleet(("n", 2), ("m", 2)), other, elsewhere, *pods)
    assert "nodeSelector" not in by_name(found)["o"]
    assert found.notes == [f"{PLACED}2"]


def test_large_pods_start_first(tmp_path: Path) -> None:
    """Small pods on both nodes would leave no room for the large one."""
    pods = [*holder("large", "n", 0, 1, 2, 3), *holder("s-0", "m", 0), *holder("s-1", "m", 1)]
    found = made(tmp_path, *fleet(("n", 4), ("m", 4)), *pods)
    small = by_name(found)["s"]
    assert (small["replicas"], small["after"]) == (2, ["large"])
    assert found.notes == []


def test_large_pods_start_before_one_that_waits(tmp_path: Path) -> None:
    """With it they would be one workload, which would start last, as it waits."""
    pods = [*holder("large-0", "n", 0, 1, 2, 3), *holder("s-0", "m", 0), *holder("s-1", "m", 1), *waiter("large-1", 4)]
    kept = by_name(found := made(tmp_path, *fleet(("n", 4), ("m", 4)), *pods))
    assert [(name, entry.get("after")) for name, entry in kept.items()] == [
        ("large", None),
        ("s", ["large"]),
        ("large-b", ["large", "s"]),
    ]
    assert not any("nodeSelector" in entry for entry in kept.values())
    assert found.notes == []


def test_pods_for_which_there_is_room_run(tmp_path: Path) -> None:
    """Whatever they wait for is not in the dump."""
    found = made(tmp_path, *fleet(("n", 4)), *holder("a", "n", 0), *waiter("w"))
    assert "expect" not in by_name(found)["w"]
    assert by_name(found)["w"]["after"] == ["a"]
    assert found.notes == [f"{PLACED}1", f"{ROOM}1"]


def test_pods_whose_claims_are_allocated_but_wait(tmp_path: Path) -> None:
    """The pod shares a claim, and its node has no CPU for it."""
    shared = [{"name": "gpu", "resourceClaimName": "s"}]
    cpu: Object = {
        "containers": [{"name": "main", "resources": {"claims": [{"name": "gpu"}], "requests": {"cpu": "100"}}}]
    }
    pods = [
        pod("a", None, "n", owner="", resourceClaims=shared, **cpu),
        pod("w", None, owner="", resourceClaims=shared, **cpu),
    ]
    found = made(tmp_path, *fleet(("n", 2)), claim("s", [("n", "gpu-0")]), *pods)
    kept = by_name(found)
    assert (kept["w"]["expect"], kept["w"]["after"]) == ({"running": 0}, ["a"])


def test_devices_that_cannot_be_kept_are_told(tmp_path: Path) -> None:
    objects = fleet(("n", 4))
    for device in objects[2]["spec"]["devices"]:
        del device["attributes"]["uuid"]
    pods = [*holder("a", "n", 0), *holder("b", "n", 2), *same_root(waiter("w", 2))]
    found = made(tmp_path, *objects, *pods)
    assert found.notes == [
        "devices that no attribute tells apart are not kept: 2",
        f"{PLACED}2",
        f"{OPEN} (KEEP_PLACEMENT=devices keeps those of all pods): 1",
    ]
    assert by_name(found)["w"]["expect"] == {"allocated": 0, "pending": 1}


def test_too_many_pods_are_not_placed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "PLACED_MAX", 1)
    pods = [*holder("a", "n", 0), *holder("b", "m", 1), *waiter("w", 2)]
    found = made(tmp_path, *fleet(("n", 2), ("m", 2)), *pods)
    assert "nodeSelector" not in by_name(found)["a"]
    assert found.notes == [f"{OPEN} (KEEP_PLACEMENT=devices keeps those of all pods): 1"]


def test_nothing_is_kept_if_nobody_wants_that(tmp_path: Path) -> None:
    pods = [*holder("a", "n", 0), *holder("b", "m", 1), *waiter("w", 2)]
    found = made(tmp_path, *fleet(("n", 2), ("m", 2)), *pods, keep_placement="none")
    assert "nodeSelector" not in by_name(found)["a"]
    assert found.notes == []


@pytest.mark.parametrize(("value", "kept"), [("", ""), ("0", "none"), ("1", "nodes"), ("devices", "devices")])
def test_what_a_user_asks_to_keep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, kept: str) -> None:
    asked: list[str] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEEP_PLACEMENT", value)
    monkeypatch.setattr("sys.argv", ["twin", "--stack", "new", "read", "dump.json"])
    monkeypatch.setattr(command, "read", lambda files: None)

    def make(dump: object, *, keep_names: bool, keep_placement: str) -> Stack:
        asked.append(keep_placement)
        raise DumpError("enough")

    monkeypatch.setattr(command, "stack", make)
    assert command.main() == 1
    assert asked == [kept]


def test_alternatives_keep_their_devices(tmp_path: Path) -> None:
    """Devices that the first alternative does not want are those of the second."""
    both = {
        "name": "gpu",
        "firstAvailable": [
            {"name": "two", "deviceClassName": DRIVER, "count": 2},
            {"name": "one", "deviceClassName": DRIVER},
        ],
    }
    held = claim("a", [("n", "gpu-3")], both)
    held["status"]["allocation"]["devices"]["results"][0]["request"] = "gpu/one"
    found = made(tmp_path, *fleet(("n", 4)), held, pod("a", "a", "n", owner=""), keep_placement="devices")
    (asked,) = by_name(found)["a"]["claims"][0]["requests"]
    assert [len(one["selectors"]) for one in asked["firstAvailable"]] == [1, 1]


@pytest.mark.parametrize("kept", ["", "nodes", "devices"])
def test_a_pod_whose_expression_fails_for_other_devices(tmp_path: Path, kept: str) -> None:
    """It could not start again, as the scheduler stops at a device without the attribute; so only its own are tried."""
    objects = fleet(("n", 2), ("m", 1))
    for device in (objects[2]["spec"]["devices"][1], objects[4]["spec"]["devices"][0]):
        device["attributes"] |= texts(port=f"mlx5_{device['name'][-1]}")
    asked = request(selectors=[{"cel": {"expression": f"device.attributes['{DRIVER}'].port == 'mlx5_1'"}}])
    found = made(tmp_path, *objects, claim("a", [("n", "gpu-1")], asked), pod("a", "a", "n"), keep_placement=kept)
    (workload,) = found.configuration["workloads"]
    pin, expression = selectors(workload)
    assert "orValue" in pin
    assert "orValue" not in expression
    assert "expect" not in workload


def test_an_attribute_that_some_devices_have_tells_them_from_all_others(tmp_path: Path) -> None:
    objects = fleet(("n", 3))
    for device in objects[2]["spec"]["devices"]:
        del device["attributes"]["uuid"]
    objects[2]["spec"]["devices"][1]["attributes"] |= texts(port="mlx5_1")
    found = made(tmp_path, *objects, *holder("a", "n", 1), *holder("b", "n", 0), keep_placement="devices")
    pin = f"device.driver == '{DRIVER}' && device.attributes['{DRIVER}'].?port.orValue('') in ['mlx5_1']"
    assert {name: selectors(entry) for name, entry in by_name(found).items()} == {"a": [pin], "b": []}
