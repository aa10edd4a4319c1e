"""A fleet from nothing to nothing, with `pulumi`."""

from tests.bench.measurements import Measurements, Quantity
from tests.bench.processes import PeakMemory
from tests.bench.stack import POOL, BenchStack, component_peaks, pool, workload

CLUSTER = Quantity("fleet", "cluster creation")
UP = Quantity("fleet", "up")
AGAIN = Quantity("fleet", "up, again")
PREVIEW = Quantity("fleet", "preview of a driver roll")
ROLL = Quantity("fleet", "driver roll")
GROW = Quantity("fleet", "grow by 10 %")
LAST_NODE = Quantity("fleet", "a pod on the last node")
DESTROY = Quantity("fleet", "destroy, with the cluster")
STATE = Quantity("fleet", "state", "kB")
MEMORY = Quantity("fleet", "peak memory", "MB")

NEW_DRIVER = "999.1.0"


def measure_fleet(stack: BenchStack, nodes: int, measurements: Measurements) -> None:
    """Measure every step of a fleet's life, and what it takes of memory and disk."""
    with PeakMemory() as memory:
        _create(stack, nodes, measurements)
        _change(stack, nodes, measurements)
        for component, size in component_peaks(stack).items():
            measurements.add(Quantity("fleet", f"peak memory of {component}", "MB"), nodes, size / 1e6)
        with measurements.timed(DESTROY, nodes):
            stack.project.destroy()
    measurements.add(MEMORY, nodes, memory.peak / 1e6)


def _create(stack: BenchStack, nodes: int, measurements: Measurements) -> None:
    stack.configure()
    with measurements.timed(CLUSTER, nodes):
        stack.project.up()
    stack.configure(pool(nodes))
    with measurements.timed(UP, nodes):
        stack.project.up()
    stack.wait_until_ready(nodes)
    with measurements.timed(AGAIN, nodes):
        stack.project.up("--expect-no-changes")
    state = stack.project.run("pulumi", "stack", "export").stdout
    measurements.add(STATE, nodes, len(state.encode()) / 1e3)


def _change(stack: BenchStack, nodes: int, measurements: Measurements) -> None:
    new_driver = {"attributes": {"driverVersion": {"version": NEW_DRIVER}}}
    stack.configure(pool(nodes) | new_driver)
    with measurements.timed(PREVIEW, nodes):
        stack.project.run("pulumi", "preview")
    with measurements.timed(ROLL, nodes):
        stack.project.up()
    assert driver_versions(stack, nodes - 1) == {NEW_DRIVER}
    grown = nodes + nodes // 10
    stack.configure(pool(grown) | new_driver)
    with measurements.timed(GROW, nodes):
        stack.project.up()
    stack.wait_until_ready(grown)
    probe = workload("probe", 1, nodeSelector={"kubernetes.io/hostname": f"{POOL}-{grown - 1}"})
    stack.configure(pool(grown) | new_driver, workloads=(probe,))
    with measurements.timed(LAST_NODE, nodes):
        stack.project.up()


def driver_versions(stack: BenchStack, node: int) -> set[str]:
    """Return the driver versions of the devices of a node, given by its number."""
    devices = [device for entry in stack.slices_of(f"{POOL}-{node}") for device in entry["spec"]["devices"]]
    return {device["attributes"]["driverVersion"]["version"] for device in devices}
