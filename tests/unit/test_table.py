"""The table for the terminal."""

from typing import Any

import pytest
from rich.console import Console

from tests.unit import live_fleet as live
from topology.schema.stack import Topology
from topology.status.report import Report, report
from views import wording
from views.table import table

Object = dict[str, Any]


def shown(told: Report, width: int = 80, colour: bool = False) -> list[str]:
    """Return the lines that the terminal shows."""
    console = Console(width=width, force_terminal=colour, color_system="standard" if colour else None, highlight=False)
    with console.capture() as capture:
        console.print(table(told))
    return [line.rstrip() for line in capture.get().splitlines()]


@pytest.fixture
def topology() -> Topology:
    return live.topology(
        {"name": "h100", "nodes": 2, "gpu": "h100", "gpusPerNode": 8}, workloads=("training", "serving")
    )


@pytest.fixture
def objects(topology: Topology) -> list[Object]:
    return [
        *live.objects(topology),
        *live.claimed("training", *(live.result("h100-0", f"gpu-{index}") for index in range(4))),
        *live.claimed("serving", live.result("h100-1", "gpu-0"), live.result("h100-1", "gpu-7")),
    ]


def test_the_table(topology: Topology, objects: list[Object]) -> None:
    assert shown(report(topology, objects)) == [
        "2 of 2 claims allocated, 2 of 2 pods running, 6 of 16 devices in use on 2 nodes",
        "",
        "Pools",
        "pool  nodes  devices  allocated  free",
        "─────────────────────────────────────",
        "h100      2       16          6    10",
        "",
        "Claims",
        "workload, pod  phase    node    state     devices",
        "─────────────────────────────────────────────────────────────",
        "serving",
        "  serving-x    Running  h100-1  reserved  gpu: gpu-0, gpu-7",
        "training",
        "  training-x   Running  h100-0  reserved  gpu: gpu-0 to gpu-3",
    ]


def test_pending_claims_have_their_reasons_once(topology: Topology, objects: list[Object]) -> None:
    for index in range(5):
        objects += live.claimed("serving", name=str(index), reason="0/2 nodes are available: [red]too full[/red].")
    lines = shown(report(topology, objects))
    assert "  serving-0    Pending  -       pending   -" in lines
    assert lines[-2:] == [
        "serving (5 pods: serving-0, serving-1, serving-2 …)",
        "  0/2 nodes are available: [red]too full[/red].",
    ]


def test_past_a_hundred_claims_there_are_counts(topology: Topology, objects: list[Object]) -> None:
    for index in range(99):
        objects += live.claimed("training", name=str(index))
    lines = shown(report(topology, objects))
    begin = lines.index("Claims") + 3
    assert [line.split() for line in lines[begin : begin + 3]] == [
        ["serving", "reserved", "1"],
        ["training", "reserved", "1"],
        ["pending", "99"],
    ]
    assert "training (99 pods: training-0, training-1, training-2 …)" in lines


def test_the_drivers_of_a_pool_and_what_is_left_of_shared_devices() -> None:
    plain = {"name": "l4", "nodes": 1, "devices": 4, "allocated": 1, "free": 3, "tainted": 1}
    left = {"s-0/gpu-0": {"memory": "12Gi", "cores": "70"}, "s-0/gpu-1": {}}
    drivers = {
        "dra.cpu": {"devices": 8, "allocated": 0, "free": 8},
        "gpu.example.com": {"devices": 4, "allocated": 4, "free": 2, "left": left, "leftNotListed": 3},
    }
    shared = {"name": "s", "nodes": 1, "devices": 12, "allocated": 4, "free": 10, "drivers": drivers}
    lines = shown(Report([], [plain, shared], [], "", []), 100)
    assert lines[3:] == [
        "pool               nodes  devices  allocated  free  tainted  capacity left",
        "─────────────────────────────────────────────────────────────────────────────────────────────",
        "l4                     1        4          1     3        1",
        "s                      1       12          4    10",
        "  dra.cpu                       8          0     8",
        "  gpu.example.com               4          4     2           s-0/gpu-0: cores 70, memory 12Gi",
        "                                                             s-0/gpu-1: no limit",
        "                                                             3 more",
    ]


def test_leftovers_and_what_still_fits() -> None:
    topology = live.topology({"name": "h100", "gpu": "h100", "gpusPerNode": 1, "mig": "dynamic"})
    owners = [{"kind": "Pod", "uid": "uid of nobody"}]
    lines = shown(report(topology, [*live.objects(topology), live.claim("left", ownerReferences=owners)]))
    assert "pool  nodes  devices  allocated  free  still fits" in lines
    assert any("1g.10gb: 7" in line for line in lines)
    assert lines[-1] == "left   default    pending  its pod is gone"


@pytest.mark.parametrize("width", [80, 120, 200])
def test_no_line_is_too_long_and_nothing_is_lost(width: int) -> None:
    """Long names wrap; they are never truncated."""
    name = "a-workload-with-a-name-that-is-quite-long"
    topology = live.topology({"name": "another-long-name", "gpu": "h100", "gpusPerNode": 8}, workloads=(name,))
    results = [live.result("another-long-name-0", f"gpu-{index}") for index in (0, 2, 4, 6)]
    lines = shown(report(topology, [*live.objects(topology), *live.claimed(name, *results)]), width)
    assert max(map(len, lines)) <= width
    text = "".join("".join(lines).split())
    for part in (f"{name}-x", "another", "gpu-0", "gpu-6", "Running"):
        assert part in text


def test_colour_only_where_the_terminal_has_it(topology: Topology, objects: list[Object]) -> None:
    assert "\x1b[" in "".join(shown(report(topology, objects), colour=True))
    assert "\x1b" not in "".join(shown(report(topology, objects)))


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["gpu-0", "gpu-1", "gpu-2", "gpu-3"], "gpu-0 to gpu-3"),
        (["gpu-2", "gpu-10", "gpu-1"], "gpu-1, gpu-2, gpu-10"),
        (["gpu-0", "gpu-1", "gpu-2", "gpu-7"], "gpu-0 to gpu-2, gpu-7"),
        (["cpudevnuma000", "cpudevnuma001"], "cpudevnuma000, cpudevnuma001"),
        (["0", "1", "2"], "0 to 2"),
        (["nic-a", "gpu-0"], "gpu-0, nic-a"),
    ],
)
def test_runs_of_devices(names: list[str], told: str) -> None:
    devices = [{"request": "r", "device": name} for name in names]
    assert wording.devices_by_request(devices) == [("r", told)]


def test_remarks_about_a_device() -> None:
    device = {"request": "r", "device": "gpu-0", "taints": ["a=b:NoExecute"], "consumedCapacity": {"memory": "4Gi"}}
    assert wording.devices_by_request([device]) == [("r", "gpu-0 (a=b:NoExecute, memory 4Gi)")]
    gone = {"request": "r", "device": "gpu-0", "gone": True, "adminAccess": True}
    assert wording.devices_by_request([gone]) == [("r", "gpu-0 (gone, admin access)")]
