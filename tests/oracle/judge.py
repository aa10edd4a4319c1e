"""Compares what the program says of a stack with what is found by trying everything."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.oracle.brute_force import Fleet, Object, Outcome, Pod, TooManyError
from topology.kubernetes.quantities import number
from topology.schema.base import Problem
from topology.schema.stack import Topology

FITTING = "pods that wait: a node can serve them"
WORD = re.compile(r"[A-Za-z0-9](?:[\w.-]*\w)?")


@dataclass
class Figures:
    """How often the two agree, and where they do not."""

    counts: Counter[str] = field(default_factory=Counter)
    disagreements: list[str] = field(default_factory=list)

    def add(self, other: "Figures") -> None:
        """Add the figures of a further stack."""
        self.counts += other.counts
        self.disagreements += other.disagreements

    def __str__(self) -> str:
        """Return a line for each figure."""
        lines = [f"{count:6} {what}" for what, count in sorted(self.counts.items())]
        return "\n".join([*lines, f"{len(self.disagreements):6} disagreements", *self.disagreements])


# What is refused.


def judge_refusal(topology: Topology, objects: Sequence[Object], problems: Iterable[Problem]) -> Figures:
    """Check for each problem that the empty nodes of `objects` cannot run the pods that it is about."""
    found = Figures()
    for problem in problems:
        all_pods = problem.path.endswith(".replicas")
        found.counts["refused: " + ("too many pods" if all_pods else "no node can serve the pod")] += 1
        try:
            if all(can_run(topology, objects, index, all_pods=all_pods) for index in workloads_of(problem, topology)):
                found.disagreements.append(f"refused, but nodes can serve it: {problem.path}: {problem.message}")
        except TooManyError:
            found.counts["refused: too many ways to try"] += 1
    return found


def workloads_of(problem: Problem, topology: Topology) -> list[int]:
    """Return the workloads that a problem may be about: those with the claim if it is at a shared one."""
    found = re.match(r"(workloads|claims)\[([0-9]+)\]", problem.path)
    assert found, problem
    index = int(found[2])
    if found[1] == "workloads":
        return [index]
    name = topology.claims[index].name
    return [
        place for place, entry in enumerate(topology.workloads) if any(claim.claim == name for claim in entry.claims)
    ]


def can_run(topology: Topology, objects: Sequence[Object], index: int, *, all_pods: bool = False) -> bool:
    """Tell whether empty nodes can run a pod of a workload, or all of them at once."""
    workload, fleet = topology.workloads[index], Fleet(objects)
    manifest = _pod(objects, workload.name)
    if all_pods:
        return fleet.holds(manifest, workload.replicas)
    return fleet.outcome(fleet.pod(manifest)) is Outcome.FITS


def _pod(objects: Sequence[Object], workload: str) -> Object:
    for entry in objects:
        metadata = entry["metadata"]
        if (entry["kind"], metadata["name"]) == ("Deployment", workload):
            return {"metadata": metadata, "spec": entry["spec"]["template"]["spec"]}
        if (entry["kind"], metadata["name"]) == ("Pod", f"{workload}-0"):
            return entry
    raise LookupError(workload)


# Why pods wait.


def judge_pods(objects: Sequence[Object], reasons: Mapping[str, str]) -> Figures:
    """Check for each pod that waits, given why, that it has to, and that what is named is in its way."""
    found = Figures()
    fleet = Fleet(objects)
    for entry in objects:
        if entry["kind"] != "Pod":
            continue
        name = entry["metadata"]["name"]
        if entry["spec"].get("nodeName"):
            found.counts["pods that run"] += 1
            continue
        found.counts["pods that wait"] += 1
        try:
            _judge_pod(fleet, fleet.pod(entry), name, reasons.get(name, ""), found)
        except TooManyError:
            found.counts["pods that wait: too many ways to try"] += 1
    return found


def _judge_pod(fleet: Fleet, pod: Pod, name: str, reason: str, found: Figures) -> None:
    outcome = fleet.outcome(pod)
    if outcome is Outcome.FITS:
        found.counts[FITTING] += 1
        found.disagreements.append(f"{name} waits, but {_first_fitting(fleet, pod)} can serve it: {reason}")
        return
    scheduler, *clauses = reason.split("; ")
    judges = [_Clause(fleet, pod, clause) for clause in clauses]
    if outcome is Outcome.ERROR or not fleet.admitting(pod):
        kind = "error of the scheduler" if outcome is Outcome.ERROR else "no node admits the pod"
        wrong = [f"it is about {kind}"] if clauses or not scheduler else []
    elif not clauses and _has_admin_access(pod):
        kind, wrong = "none: admin access", []
    else:
        kind = ", ".join(sorted({judge.kind for judge in judges})) or "nothing named"
        wrong = [line for judge in judges for line in judge.wrong()] + ([] if clauses else ["it names nothing"])
    found.counts[f"reasons: {kind}"] += 1
    if wrong:
        found.disagreements.append(f"{name}: {', '.join(wrong)}: {reason}")


def _has_admin_access(pod: Pod) -> bool:
    """Tell whether the product leaves constraints and further requests to the allocator, which goes by their order."""
    return any(selection.get("adminAccess") for request in pod.requests for _, selection in request.alternatives)


def _first_fitting(fleet: Fleet, pod: Pod) -> str:
    return next(node for node in fleet.admitting(pod) if fleet.on(node, pod) is Outcome.FITS)


class _Clause:
    """A part of a reason, such as "request r1 wants 2 of a, but no node has more than 1 free of 2 that match"."""

    def __init__(self, fleet: Fleet, pod: Pod, text: str) -> None:
        self.fleet = fleet
        self.pod = pod
        self.text = text
        words = set(WORD.findall(text))
        self.admitting = fleet.admitting(pod)
        self.nodes = [node for node in fleet.nodes if node in words]
        self.requests = [request for request in pod.requests if request.name in words]
        self.holders = [holder for holder in fleet.holders if holder[1] in words]

    @property
    def kind(self) -> str:
        """What the clause is about."""
        if "Attribute" in self.text:
            return "constraint"
        if self.requests:
            return "request" if len(self.requests) == 1 else "requests together"
        return "holder" if self.holders else "node" if self.nodes else "nothing named"

    def wrong(self) -> Iterator[str]:
        """Yield what of it is not so."""
        yield from (f"{node} is not for the pod" for node in self.nodes if node not in self.admitting)
        match self.kind:
            case "constraint":
                free = [self.fleet.on(node, self.pod.only(self._names())) for node in self.nodes or self.admitting]
                if Outcome.FITS not in free:
                    yield "no constraint is in the way"
            case "nothing named":
                yield "it names nothing"
            case "node" if re.search(r"\bfree devices for it\b", self.text):
                yield "no node has devices for it"
            case "request" | "requests together":
                yield from self._of_requests()
        yield from self._of_devices()
        yield from self._of_holders()

    def _names(self) -> list[str]:
        return [request.name for request in self.requests or self.pod.requests]

    def _of_requests(self) -> Iterator[str]:
        alone = self.pod.only(self._names())
        if not any(self._is_short(alone, nodes) for nodes in (self.nodes, self.admitting) if nodes):
            yield f"{' and '.join(self._names())} can be satisfied"
        told = re.findall(r"more than ([0-9]+) free of ([0-9]+)", self.text)
        counted = list(self._counted())
        if told and not all(pair in counted for pair in told):
            yield f"{counted} are free, of all that match"

    def _is_short(self, pod: Pod, nodes: Sequence[str]) -> bool:
        return all(self.fleet.on(node, pod) is not Outcome.FITS for node in nodes)

    def _counted(self) -> Iterator[tuple[str, str]]:
        """Yield how many devices are free for each alternative, on the node with most of these, and how many match."""
        for request in self.requests:
            for _, selection in request.alternatives:
                free = [self.fleet.usable(node, request, selection) for node in self.admitting]
                matching = [len(self.fleet.matching(node, selection)) for node in self.admitting]
                most, of = max(zip(free, matching, strict=True))
                yield str(most), str(of)

    def _of_devices(self) -> Iterator[str]:
        """Yield what is not so of the devices that are named, on the node that is named."""
        devices = [device for node in self.nodes for device in self.fleet.devices[node]]
        for name, taint in re.findall(r"([\w.-]+) has taint ([\w./=:-]+)", self.text):
            worn = [device.published.get("taints") or [] for device in devices if device.name == name]
            taints = [_written(one) for some in worn for one in some]
            if taint not in taints:
                yield f"{name} has {taints}"
        for name, amount, capacity in re.findall(r"([\w.-]+) has (\w+) of ([\w./-]+) left", self.text):
            left = [self.fleet.left(device, capacity) for device in devices if device.name == name]
            if number(amount) not in left:
                yield f"{name} has {left} of {capacity} left"
        for name in re.findall(r"([\w.-]+) is in use", self.text):
            if not any(device.name == name and device.place in dict(self.fleet.held) for device in devices):
                yield f"{name} is not in use"

    def _of_holders(self) -> Iterator[str]:
        there = {device.place for node in self.nodes or self.admitting for device in self.fleet.devices[node]}
        for holder in self.holders:
            if there.isdisjoint(self.fleet.holders[holder]):
                yield f"{holder[1]} holds nothing there"


def _written(taint: Object) -> str:
    value: Any = taint.get("value") or ""
    return f"{taint['key']}{'=' if value else ''}{value}:{taint['effect']}"
