"""The parts of the bench that need no cluster."""

import json
import os
import re
import signal
import subprocess
import sys
from argparse import ArgumentTypeError
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from xml.etree import ElementTree

import pytest
import yaml
from rich.console import Console

from tests.bench import fleet, page, peers, pods, profile, settings, stack
from tests.bench.__main__ import main, parse, parts_of
from tests.bench.bars import bars
from tests.bench.limits import LIMITS, Limit, verdicts
from tests.bench.measurements import Measurements, Quantity
from tests.bench.plot import plot
from tests.bench.processes import PeakMemory, Process, own_folder, running, started_by, working_in
from tests.bench.processes import parse as parse_stat
from tests.bench.report import document, limits_table, tables
from tests.e2e.project import ROOT, wait_until
from topology.objects import tuning
from topology.objects.nodes import node
from topology.objects.slices import resource_slices

SVG = "{http://www.w3.org/2000/svg}"
SLEEP = [sys.executable, "-c", "import time; time.sleep(3600)"]


@pytest.fixture
def measurements() -> Measurements:
    return Measurements(tell=lambda _: None)


def text_of(*renderables: object) -> str:
    """Return what a terminal shows."""
    console = Console(width=120)
    with console.capture() as capture:
        console.print(*renderables)
    return capture.get()


# Measurements and limits.


def test_medians_are_by_quantity_and_number_of_nodes(measurements: Measurements) -> None:
    for nodes, value in [(100, 3.0), (10, 1.0), (100, 9.0), (100, 4.0)]:
        measurements.add(fleet.UP, nodes, value)
    assert list(measurements.medians(fleet.UP).items()) == [(10, 1.0), (100, 4.0)]


def test_asking_for_what_was_not_measured_leaves_no_trace(measurements: Measurements) -> None:
    """Or tables had rows of nothing."""
    assert measurements.medians(fleet.UP) == {}
    assert not measurements.samples


def test_what_fails_is_no_sample(measurements: Measurements) -> None:
    with pytest.raises(AssertionError), measurements.timed(fleet.UP, 10):
        raise AssertionError
    assert measurements.medians(fleet.UP) == {}


def test_a_limit_is_about_its_number_of_nodes(measurements: Measurements) -> None:
    measurements.add(fleet.UP, 100, 1000)
    measurements.add(peers.POSTS, 100, 1)
    assert list(verdicts(measurements)) == []


def test_a_limit_needs_both_quantities(measurements: Measurements) -> None:
    measurements.add(fleet.UP, 1000, 15)
    assert list(verdicts(measurements)) == []


@pytest.mark.parametrize(("seconds", "holds"), [(11.0, True), (11.5, True), (12.0, False)])
def test_a_ratio_may_be_as_large_as_its_limit(measurements: Measurements, seconds: float, holds: bool) -> None:
    measurements.add(fleet.UP, 1000, seconds)
    measurements.add(peers.POSTS, 1000, 10)
    [verdict] = verdicts(measurements)
    assert (verdict.limit.name, verdict.holds) == ("fleet: up, 1,000 nodes / 8 connections of POSTs", holds)


def test_a_ratio_between_two_sizes(measurements: Measurements) -> None:
    for nodes, seconds in [(1000, 10.0), (5000, 61.0)]:
        measurements.add(fleet.UP, nodes, seconds)
    [verdict] = verdicts(measurements)
    assert (verdict.limit.name, verdict.holds) == ("fleet: up, 5,000 nodes / up, 1,000 nodes", False)


def test_a_ratio_between_two_parts_names_both(measurements: Measurements) -> None:
    measurements.add(fleet.AGAIN, 1000, 1.5)
    measurements.add(page.AGAIN, 1, 1)
    names = [verdict.limit.name for verdict in verdicts(measurements) if verdict.limit.base]
    assert names == ["fleet: up, again, 1,000 nodes / page: up, again, 1 node"]


def test_a_ratio_of_pods_per_second_is_that_of_the_times(measurements: Measurements) -> None:
    """A stack takes at most three quarters of the time of kubectl on a stock cluster."""
    measurements.add(pods.KUBECTL_ON_STOCK, 500, 76)
    measurements.add(pods.UP, 500, 100)
    assert [verdict.holds for verdict in verdicts(measurements)] == [False]
    measurements.samples[pods.KUBECTL_ON_STOCK][500] = [74]
    assert [verdict.holds for verdict in verdicts(measurements)] == [True]


def test_a_limit_is_kept_when_the_worst_pair_of_a_run_keeps_it(measurements: Measurements) -> None:
    """Pairs are of one run: the slowest `up` is not compared with the fastest POSTs of another."""
    for up, posts in [(10, 10), (22, 20), (6, 5)]:
        measurements.add(fleet.UP, 1000, up)
        measurements.add(peers.POSTS, 1000, posts)
    [verdict] = verdicts(measurements)
    assert (verdict.median, verdict.worst, verdict.holds) == (1.1, 1.2, False)
    measurements.samples[fleet.UP][1000][2] = 5.5
    assert [verdict.holds for verdict in verdicts(measurements)] == [True]


def test_a_run_that_was_not_finished_is_no_pair(measurements: Measurements) -> None:
    for up in (11, 30):
        measurements.add(fleet.UP, 1000, up)
    measurements.add(peers.POSTS, 1000, 10)
    [verdict] = verdicts(measurements)
    assert verdict.worst == 1.1


def test_the_names_of_the_limits_differ() -> None:
    assert len({limit.name for limit in LIMITS}) == len(LIMITS)


# The report.


def test_tables_have_a_column_for_each_size(measurements: Measurements) -> None:
    measurements.add(fleet.UP, 10, 2.04)
    measurements.add(fleet.UP, 100, 3)
    measurements.add(fleet.UP, 100, 5)
    measurements.add(fleet.STATE, 100, 88.8)
    shown = text_of(*tables(measurements))
    rows = [line.split("│")[1:-1] for line in shown.splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["up, s", "2.0", "4.0 (3.0-5.0)"],
        ["state, kB", "-", "88.8"],
    ]
    assert "10 nodes" in shown


def test_what_exceeds_its_limit_is_named(measurements: Measurements) -> None:
    for megabytes in (901, 1001, 902):
        measurements.add(fleet.MEMORY, 10_000, megabytes)
    shown = text_of(limits_table(list(verdicts(measurements))))
    assert [word.strip() for word in shown.splitlines()[-2].split("│")[1:-1]] == [
        "fleet: peak memory, 10,000 nodes, MB",
        "902.00",
        "1001.00",
        "1000",
        "exceeded",
    ]


def test_the_document_has_every_sample(measurements: Measurements) -> None:
    quantity = Quantity("fleet", "up")
    for value in (1.0, 2.0, 6.0):
        measurements.add(quantity, 10, value)
    limit = Limit(quantity, 10, most=1)
    content = document(measurements, list(verdicts(measurements, [limit])), "bulk")
    assert json.loads(json.dumps(content)) == {
        "kubernetes": "1.37.2",
        "processors": os.cpu_count(),
        "provisioning": "bulk",
        "measurements": [
            {"part": "fleet", "name": "up", "unit": "s", "nodes": 10, "median": 2.0, "samples": [1.0, 2.0, 6.0]}
        ],
        "limits": [{"limit": "fleet: up, 10 nodes, s", "median": 2.0, "worst": 6.0, "most": 1, "holds": False}],
    }


# The plot.


def test_ten_times_as_much_is_as_far_everywhere() -> None:
    """Both scales are logarithmic, and seconds grow upwards."""
    drawn = ElementTree.fromstring(plot({"a <b>": {10: 0.1, 100: 1, 1000: 10}}))
    dots = [(float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in drawn.iter(f"{SVG}circle")]
    (x0, y0), (x1, y1), (x2, y2) = dots
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert x0 < x1
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.2)
    assert y0 > y1
    assert "a <b>" in {text.text for text in drawn.iter(f"{SVG}text")}


def test_names_are_in_the_order_of_the_lines_ends() -> None:
    lines = {"fast": {10: 1.0, 1000: 2.0}, "slow": {10: 0.5, 1000: 9.0}}
    drawn = ElementTree.fromstring(plot(lines))
    places = {text.text: float(text.attrib["y"]) for text in drawn.iter(f"{SVG}text")}
    assert places["slow"] < places["fast"]


def test_one_point_can_be_drawn() -> None:
    """The scale then spans a power of ten."""
    assert "NaN" not in plot({"up": {10: 1.0}})


# Processes.


def test_a_process_may_be_called_anything() -> None:
    fields = ["S", "7", "8", "9", *["0"] * 17, "3", "0"]
    assert parse_stat(f"42 (a) b (c) {' '.join(fields)}") == Process(42, 7, 9, 3 * os.sysconf("SC_PAGE_SIZE"))


def test_daemons_and_what_they_started_do_not_count() -> None:
    bench, pulumi, plugin = Process(2, 1, 5, 0), Process(3, 2, 5, 0), Process(4, 3, 5, 0)
    daemon, below, other = Process(6, 3, 6, 0), Process(7, 6, 6, 0), Process(8, 1, 5, 0)
    assert started_by(2, [other, below, daemon, plugin, pulumi, bench]) == [pulumi, plugin]


def test_the_peak_is_of_all_processes_together() -> None:
    one = [sys.executable, "-c", "import time; held = bytearray(100_000_000); print(flush=True); time.sleep(3600)"]
    with PeakMemory() as memory:
        started = [subprocess.Popen(one, stdout=subprocess.PIPE) for _ in range(2)]
        wait_until(lambda: memory.peak > 200_000_000)
        for process in started:
            process.kill()
            process.communicate()
    assert not started_by(os.getpid(), running())


def test_nothing_stays() -> None:
    """Also of a bench that fails, and what has a session of its own."""
    with pytest.raises(KeyboardInterrupt), own_folder() as folder:
        (folder / "file").write_text("")
        process = subprocess.Popen(SLEEP, env={"HOME": str(folder / "home")}, start_new_session=True)
        wait_until(lambda: working_in(folder) == [process.pid])
        raise KeyboardInterrupt
    assert process.wait() == -9
    assert not folder.exists()


# The profile.


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("pulumi up --yes", "CLI"),
        ("/t/bin/pulumi-language-python 127.0.0.1:1", "language host"),
        ("/v/bin/python -u /t/bin/pulumi-language-python-exec --monitor 127.0.0.1:1", "the program"),
        ("/v/bin/python -m pip list -v --format json", "pip list"),
        ("/v/bin/python -m commands.batch create", "Commands"),
        ("/t/pulumi/plugins/resource-command-v1.2.1/pulumi-resource-command 127.0.0.1:1", "plugins"),
        ("/k/bin/kube-apiserver --etcd-servers=http://127.0.0.1:1", "kube-apiserver"),
        ("/k/bin/kube-controller-manager --kubeconfig=/k", "kube-controller-manager"),
        ("/t/bin/kwok --config /k/kwok.yaml", "kwok-controller"),
        ("/t/bin/kwokctl create cluster", "kwokctl"),
        ("kubectl get pods", "others"),
    ],
)
def test_kinds_of_processes(command: str, kind: str) -> None:
    assert profile.kind_of(command.split()) == kind


def test_processor_time(tmp_path: Path) -> None:
    """Only what works in the folder counts, and only from then on."""
    busy = [sys.executable, "-c", "while True: pass"]
    started = [subprocess.Popen(busy, env={"HOME": str(tmp_path / "home")}), subprocess.Popen(busy, env={})]
    try:
        with profile.ProcessorTime(tmp_path) as earlier:
            wait_until(lambda: earlier.by_kind()["others"] > 0.5)
        started[0].send_signal(signal.SIGSTOP)
        wait_until(lambda: " T " in Path(f"/proc/{started[0].pid}/stat").read_text())
        with profile.ProcessorTime(tmp_path) as later:
            pass
        assert later.by_kind()["others"] == 0
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert sum(earlier.by_kind().values()) == earlier.by_kind()["others"]


def test_the_picture_of_the_profile(measurements: Measurements) -> None:
    for nodes, values in {1: {"CLI": 1, "etcd": 3}, 1000: {"CLI": 2, profile.IDLE: 2}}.items():
        measurements.add(profile.WALL, nodes, 2)
        for kind, value in values.items():
            measurements.add(Quantity("profile", kind), nodes, value)
    drawn = ElementTree.fromstring(bars(profile.shares(measurements)))
    titled = [entry for entry in drawn.iter(f"{SVG}rect") if entry.find(f"{SVG}title") is not None]
    assert [entry.findtext(f"{SVG}title") for entry in titled] == [
        "CLI: 1.0 s", "etcd: 3.0 s", "CLI: 2.0 s", "no process: 2.0 s",
    ]  # fmt: skip
    widths = [float(entry.attrib["width"]) for entry in titled]
    assert widths[1] == pytest.approx(3 * widths[0], rel=0.01)
    assert widths[2] == pytest.approx(widths[3])
    texts = [entry.text for entry in drawn.iter(f"{SVG}text")]
    assert texts == ["2.0 s: dev stack, up", "2.0 s: 1,000 nodes, up again", "CLI", "etcd", "no process"]


# The settings.


def test_settings_are_measured_alone_and_together() -> None:
    found = settings.variants()
    first, *_, last = found
    assert (first, last) == ("none", "all")
    assert found["none"] == set()
    assert found["all"] == {flag.key for flag in tuning.FLAGS} | {"GOGC", "GOMEMLIMIT"}
    assert found["tls-cert-file"] == {"tls-cert-file", "tls-private-key-file"}
    assert found["GOGC"] == {"GOGC", "GOMEMLIMIT"}


def test_a_variant_has_some_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "topology" / "objects").mkdir(parents=True)
    made = cast("stack.BenchStack", SimpleNamespace(project=SimpleNamespace(source=tmp_path)))
    with settings.only(made, {"GOGC"}):
        text = (tmp_path / settings.TUNING).read_text()
    names: dict[str, Any] = {"__name__": "tuning"}
    exec(text, names)
    assert names["FLAGS"] == ()
    assert names["variables"](2**30) == [entry for entry in tuning.variables(2**30) if entry.name == "GOGC"]
    assert (tmp_path / settings.TUNING).read_text() == (ROOT / settings.TUNING).read_text()


# The peers.


def test_peers_are_as_users_have_them_and_the_limit_is_ours() -> None:
    assert {quantity: tuning for quantity, (_, tuning) in peers.PEERS.items()} == {
        peers.KUBECTL: "stock",
        peers.SCALE: "stock",
        peers.POSTS: "fleet",
    }
    assert pods.CLUSTERS_OF_KUBECTL == {pods.KUBECTL: "fleet", pods.KUBECTL_ON_STOCK: "stock"}


def test_what_kwokctl_fills_in_is_the_object_of_that_node() -> None:
    """All names of the node are placeholders, and nothing else is another one."""
    pool = peers.node_pool(2)
    filled = peers.template(node(pool, stack.POOL)).replace("{{ Name }}", "h100-1")
    assert json.loads(filled) == node(pool, "h100-1")


def test_what_kwokctl_fills_in_is_a_slice_but_for_its_name_and_uuids() -> None:
    pool = peers.node_pool(2)
    [template] = resource_slices(pool, stack.POOL)
    [expected] = resource_slices(pool, "h100-1")
    filled = json.loads(peers.template(template).replace("{{ Name }}", "h100-1"))
    for entry in (filled, expected):
        del entry["metadata"]["name"]
        for device in entry["spec"]["devices"]:
            del device["attributes"]["uuid"]
    assert filled == expected


def test_templates_survive_yaml() -> None:
    content = yaml.safe_load(yaml.safe_dump(peers.scalable("node", '{"name": "{{ Name }}"}')))
    assert content["template"] == '{"name": "{{ Name }}"}'


def test_slices_have_their_node_as_owner() -> None:
    [entry] = peers.slices(peers.node_pool(1), "h100-0", "some-uid")
    [owner] = entry["metadata"]["ownerReferences"]
    assert (owner["name"], owner["uid"]) == ("h100-0", "some-uid")


def test_pods_come_from_a_template_and_fill_the_fleet() -> None:
    template, deployment = pods.objects(stack.pool(1, gpus=pods.GPUS_PER_NODE), stack.workload(pods.NAME, 10))
    assert (template["kind"], deployment["kind"]) == ("ResourceClaimTemplate", "Deployment")
    assert deployment["spec"]["replicas"] == 10


# The command line.


def test_everything_is_measured_by_default() -> None:
    options = parse([])
    assert options.parts == ["page", "fleet", "pods"]
    assert options.nodes == [10, 100, 1000, 5000, 10_000]
    assert options.runs == 5


def test_lists_are_separated_by_commas() -> None:
    options = parse(["--parts", "fleet,page", "--nodes", "10,50"])
    assert (options.parts, options.nodes) == (["fleet", "page"], [10, 50])


def test_an_unknown_part_is_answered_with_the_known() -> None:
    with pytest.raises(
        ArgumentTypeError, match="there is no part 'pages': use some of page, fleet, pods, profile, settings"
    ):
        parts_of("pages")


def test_a_bench_of_nothing_exceeds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.bench.__main__.chosen", lambda options, folder: iter(()))
    assert main(["--json", str(tmp_path / "results.json")]) == 0


def test_an_exceeded_limit_makes_it_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was measured is in the file all the same."""

    def slow(measurements: Measurements) -> None:
        measurements.add(fleet.AGAIN, 1000, 4)

    monkeypatch.setattr("tests.bench.__main__.chosen", lambda options, folder: iter([slow]))
    files = (tmp_path / "new" / "results.json", tmp_path / "plot.svg")
    assert main(["--runs", "1", "--json", str(files[0]), "--plot", str(files[1])]) == 1
    assert [limit["holds"] for limit in json.loads(files[0].read_text())["limits"]] == [False]
    assert "pulumi up, again" in files[1].read_text()


def test_everything_is_in_the_document() -> None:
    """All that is measured, and every option."""
    known = set(re.findall(r"`([^`\n]+)`", (ROOT / "docs" / "performance.md").read_text()))
    values = [value for module in (fleet, page, peers, pods) for value in vars(module).values()]
    measured = {value.name for value in values if isinstance(value, Quantity)} - {"by hand"}
    assert not measured - known
    assert not {f"--{option}" for option in vars(parse([]))} - known
