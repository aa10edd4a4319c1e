"""Random stacks on a real scheduler, each compared with what is found by trying everything."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings

from cluster.fleet.standstill import wake_scheduler
from tests.e2e.live_stack import LiveCluster, LiveStack
from tests.e2e.project import wait_until
from tests.oracle.brute_force import Object, TooManyError
from tests.oracle.judge import FITTING, Figures, can_run, judge_pods, judge_refusal, workloads_of
from tests.oracle.stacks import Configuration, patient, stacks
from tests.rendering import rendered
from topology.checks.validation import ConfigurationError, load
from topology.schema.base import Problem
from topology.schema.stack import Topology
from topology.status.live_objects import is_refused
from topology.status.report import report

ALL_CHECKS = list(HealthCheck)
LAST_TRY_SECONDS = 15
"""The scheduler looks at a pod again at the latest after podMaxBackoffSeconds, 10 s: only then it is wrong."""


def run(cluster: LiveCluster, numbers: Iterable[int]) -> Figures:
    """Compare the stacks with these numbers."""
    figures = Figures()
    for number in numbers:
        stack = drawn(number)
        found = compare(cluster, stack)
        if found.disagreements:
            found.disagreements[-1] += f"\nin stack {number}: {_compact(stack)}"
        figures.add(found)
    return figures


def drawn(number: int) -> Configuration:
    """Return the stack with a number: always the same one, and none that resembles its neighbours."""
    found: list[Configuration] = []

    @seed(number)
    @settings(max_examples=2, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=ALL_CHECKS)
    @given(stacks())
    def keep(stack: Configuration) -> None:
        found.append(stack)

    keep()
    return found[-1]  # The first one is the simplest, whatever the number.


def compare(cluster: LiveCluster, stack: Configuration) -> Figures:
    """Compare what the program says of a stack, before and after it is there."""
    topology = load(patient(stack))
    problems = refused(stack)
    objects = rendered(topology)
    found = judge_refusal(topology, objects, problems)
    found.counts.update(["stacks", "stacks refused" if problems else "stacks accepted"])
    if not problems:
        found.counts.update(_hopeless(topology, objects))
    with cluster.stack(topology) as live:
        wait_until(lambda: _is_settled(live.read(), topology))
        then, pods = _last_judged(live)
    found.add(then)
    for problem in problems:
        if why := _refused_in_vain(problem, topology, pods):
            found.disagreements.append(why)
    return found


def _compact(stack: Configuration) -> str:
    parts = {key: stack[key] for key in ("nodePools", "fabricPools", "claims", "workloads") if stack.get(key)}
    return f"\n{yaml.safe_dump(parts, default_flow_style=None, sort_keys=False, width=160)}"


def refused(stack: Configuration) -> Sequence[Problem]:
    """Return why the stack is refused, if it is."""
    try:
        load(stack)
    except ConfigurationError as error:
        return error.problems
    return []


def _hopeless(topology: Topology, objects: Sequence[Object]) -> Iterable[str]:
    """Yield a figure for each workload that could have been refused."""
    for index in range(len(topology.workloads)):
        try:
            if not can_run(topology, objects, index):
                yield "accepted: no node can serve the pod"
        except TooManyError:
            yield "accepted: too many ways to try"


def _is_settled(objects: Sequence[Object], topology: Topology) -> bool:
    """Tell whether there are all pods, and each has a node or was refused one after its claims had been created."""
    pods = [entry for entry in objects if entry["kind"] == "Pod"]
    return len(pods) == sum(entry.replicas for entry in topology.workloads) and all(
        entry["spec"].get("nodeName") or _is_refused(entry) for entry in pods
    )


def _is_refused(pod: Object) -> bool:
    used = [entry for entry in pod["spec"]["resourceClaims"] if "resourceClaimTemplateName" in entry]
    made = [entry for entry in pod["status"].get("resourceClaimStatuses") or [] if entry.get("resourceClaimName")]
    return is_refused(pod) and len(used) == len(made)


def _last_judged(live: LiveStack) -> tuple[Figures, Sequence[Object]]:
    """Judge the pods, again and again while something differs.

    The scheduler counts what a claim consumes of a shared device twice while it writes the claim, and looks at a pod
    that it has refused for that only after an event, or after five minutes. `GatherAllocatedState` in
    https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/scheduler/framework/plugins/dynamicresources/dra_manager.go
    """
    overlooked = 0
    end = time.monotonic() + LAST_TRY_SECONDS
    while True:
        objects = live.read()
        found = judge_pods(objects, _reasons(live.topology, objects))
        if found.disagreements and time.monotonic() > end and not overlooked and found.counts[FITTING]:
            overlooked = found.counts[FITTING]
            wake_scheduler(live.api)
            end = time.monotonic() + LAST_TRY_SECONDS
        elif not found.disagreements or time.monotonic() > end:
            found.counts["pods that the scheduler looked at again only when woken"] += overlooked
            return found, [entry for entry in objects if entry["kind"] == "Pod"]
        time.sleep(0.2)


def _reasons(topology: Topology, objects: Sequence[Object]) -> Mapping[str, str]:
    claims = report(topology, objects).claims
    assert isinstance(claims, list)
    return {claim["pod"]: claim["reason"] for claim in claims if "reason" in claim}


def _refused_in_vain(problem: Problem, topology: Topology, pods: Sequence[Object]) -> str:
    """Return what is wrong with a refusal if the pods that it is about run."""
    running = Counter(pod["metadata"]["labels"]["app"] for pod in pods if pod["spec"].get("nodeName"))
    entries = [topology.workloads[index] for index in workloads_of(problem, topology)]
    if all(running[entry.name] >= (entry.replicas if problem.path.endswith(".replicas") else 1) for entry in entries):
        return f"refused, but runs: {problem.path}: {problem.message}"
    return ""
