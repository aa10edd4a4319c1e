"""What each setting of the control plane is worth: none of them, each alone and all, on a fleet that pods fill.

A variant is a copy of `topology/objects/tuning.py` in the bench's own project, with some of the settings.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.measurements import Measurements, Quantity, seconds
from tests.bench.pods import GPUS_PER_NODE, NAME, kubectl_apply, objects
from tests.bench.processes import processor_seconds
from tests.bench.stack import BenchStack, component_peaks, pool, workload
from tests.e2e.project import ROOT
from topology.objects.tuning import FLAGS, variables

TUNING = Path("topology", "objects", "tuning.py")
NONE, ALL = "none", "all"
TOGETHER = {
    "tls-private-key-file": "tls-cert-file",
    "GOMEMLIMIT": "GOGC",
    "election-timeout": "heartbeat-interval",
}
"""The settings that mean nothing without another one, and that one."""


SELECTION = """
FLAGS = tuple(flag for flag in FLAGS if flag.key in {kept})
all_variables = variables


def variables(memory: int) -> list[Variable]:
    return [variable for variable in all_variables(memory) if variable.name in {kept}]
"""
"""What a copy of the module ends with: only the settings that are `kept`."""


def variants() -> dict[str, set[str]]:
    """Return the settings of each variant."""
    names = [flag.key for flag in FLAGS] + [variable.name for variable in variables(memory=0)]
    alone: dict[str, set[str]] = {}
    for name in names:
        alone.setdefault(TOGETHER.get(name, name), set()).add(name)
    return {NONE: set(), **alone, ALL: set(names)}


def measure_settings(stack: BenchStack, pods: int, measurements: Measurements) -> None:
    """Measure the control plane's start and the pods, in each variant: time, processor time and memory."""
    for variant, kept in variants().items():
        with only(stack, kept):
            _measure(stack, variant, pods, measurements)


@contextmanager
def only(stack: BenchStack, kept: Collection[str]) -> Iterator[None]:
    """Have new clusters of the stack with some of the settings, for the length of the block."""
    file, text = stack.project.source / TUNING, (ROOT / TUNING).read_text()
    file.write_text(text + SELECTION.format(kept=sorted(kept)))
    yield
    file.write_text(text)


def _measure(stack: BenchStack, variant: str, pods: int, measurements: Measurements) -> None:
    nodes = pods // GPUS_PER_NODE
    fleet, deployment = pool(nodes, gpus=GPUS_PER_NODE), workload(NAME, pods)
    with stack.cluster():
        measurements.add(Quantity("settings", f"{variant}: start, processor time"), nodes, processor_time(stack))
        stack.configure(fleet)
        stack.project.up()
        stack.wait_until_ready(nodes)
        file, before = stack.write("deployment.json", *objects(fleet, deployment)), processor_time(stack)
        rate = pods / seconds(kubectl_apply, stack, file, pods)
        spent = processor_time(stack) - before
        measurements.add(Quantity("settings", f"{variant}: pods", "pods/s"), nodes, rate)
        measurements.add(Quantity("settings", f"{variant}: pods, processor time"), nodes, spent)
        measurements.add(
            Quantity("settings", f"{variant}: peak memory", "MB"), nodes, sum(component_peaks(stack).values()) / 1e6
        )


def processor_time(stack: BenchStack) -> float:
    """Return the processor time of all components so far."""
    return sum(map(processor_seconds, stack.project.pids().values()))
