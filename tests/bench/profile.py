"""Where the time of an update goes: the processor time of each kind of process, and the time that nothing uses."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.bench.measurements import Measurements, Quantity, seconds
from tests.bench.pods import GPUS_PER_NODE, NAME
from tests.bench.processes import Watcher, processor_seconds, working_in
from tests.bench.stack import BenchStack, pool, workload
from tests.e2e.project import Project

WALL = Quantity("profile", "in all")
IDLE = "no process"
OTHERS = "others"
NOOP_NODES = 1000
UPDATES = {1: "dev stack, up", NOOP_NODES: "1,000 nodes, up again"}
"""The updates by number of nodes; the third one has a number that depends on the pods."""
KINDS = {
    "pulumi-language-python-exec": "the program",
    "commands.": "Commands",
    "pip": "pip list",
    "pulumi-language-python": "language host",
    "pulumi-resource": "plugins",
    "pulumi": "CLI",
    "kwokctl": "kwokctl",
    "kube-apiserver": "kube-apiserver",
    "etcd": "etcd",
    "kube-controller-manager": "kube-controller-manager",
    "kube-scheduler": "kube-scheduler",
    "kwok": "kwok-controller",
}
"""What processes are called that have a word in their command which begins like this; the first that fits counts."""


class ProcessorTime(Watcher):
    """While it is entered, the processor time of all processes that work in a folder, by kind."""

    samples_per_second = 20

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last: dict[int, tuple[str, float]] = {}
        self.look()
        self._before = dict(self._last)

    def __exit__(self, *_: object) -> None:
        """Take the last sample."""
        super().__exit__()
        self.look()

    def by_kind(self) -> Mapping[str, float]:
        """Return the seconds of each kind, in the order of `KINDS`; what ends within a sample's time does not count."""
        found = dict.fromkeys((*KINDS.values(), OTHERS), 0.0)
        for pid, (kind, time) in self._last.items():
            found[kind] += time - self._before.get(pid, (kind, 0))[1]
        return found

    def look(self) -> None:
        """Note the processor time of each process; what has ended keeps that of its last sample."""
        for pid in working_in(self._folder):
            with suppress(OSError):
                words = Path("/proc", str(pid), "cmdline").read_text().split("\0")
                self._last[pid] = kind_of(words), processor_seconds(pid)


def kind_of(words: list[str]) -> str:
    """Return what kind of process has this command."""
    names = [Path(word).name for word in words[:4]]
    return next((kind for begin, kind in KINDS.items() if any(name.startswith(begin) for name in names)), OTHERS)


class Profile:
    """The dev stack's `up`, an `up` of 1,000 nodes that changes nothing, and the `up` of pods that fill a fleet."""

    def __init__(self, folder: Path, stack: BenchStack, pods: int) -> None:
        self._dev = Project(folder / "profiled")
        self._dev.select()
        self._stack = stack
        self._pods = pods

    def measure(self, measurements: Measurements) -> None:
        """Measure one update after the other, each in a cluster of its own."""
        _measure(self._dev, 1, measurements)
        self._dev.destroy()
        with self._stack.cluster(pool(NOOP_NODES)):
            _measure(self._stack.project, NOOP_NODES, measurements)
        nodes = self._pods // GPUS_PER_NODE
        fleet = pool(nodes, gpus=GPUS_PER_NODE)
        with self._stack.cluster(fleet):
            self._stack.configure(fleet, workloads=(workload(NAME, self._pods),))
            _measure(self._stack.project, nodes, measurements)


def shares(measurements: Measurements) -> dict[str, dict[str, float]]:
    """Return what the picture shows of what was measured: the medians of each update, by kind of process."""
    kinds = [Quantity("profile", kind) for kind in (*KINDS.values(), OTHERS, IDLE)]
    return {
        f"{wall:.1f} s: {UPDATES.get(nodes, 'up of pods')}": {
            kind.name: measurements.medians(kind).get(nodes, 0) for kind in kinds
        }
        for nodes, wall in measurements.medians(WALL).items()
    }


def _measure(project: Project, nodes: int, measurements: Measurements) -> None:
    with ProcessorTime(project.folder) as processor:
        wall = seconds(project.up)
    measurements.add(WALL, nodes, wall)
    used = processor.by_kind()
    for kind, time in used.items():
        measurements.add(Quantity("profile", kind), nodes, time)
    measurements.add(Quantity("profile", IDLE), nodes, max((os.cpu_count() or 1) * wall - sum(used.values()), 0))
