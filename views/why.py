"""Why a pod or a claim waits, node by node, for the terminal or as JSON."""

from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from topology.kubernetes.objects import DEFAULT_SCHEDULER, Object, key
from topology.schema.values import suggestion
from topology.status.live_objects import NEEDS_NO_NODE, claim_keys, is_allocated, is_refused, refusal, scheduler_of
from topology.status.queues import held_by
from topology.status.report import Details
from topology.status.why import Verdict, Why
from views import wording

NODES_LISTED_MAX = 3
"""At most this many nodes are named that turn the pod down for the same reasons."""

NODE_GROUPS_MAX = 20
"""At most this many nodes, or groups of nodes with the same reasons, are shown."""

DECIDES_OTHERWISE = "It decides otherwise than kube-scheduler with its defaults, so that kwok-dra knows no more."

UNKNOWN = "nothing that kwok-dra knows of is in the way: the scheduler knows more, or has not looked again"


class UnknownNameError(Exception):
    """No pod or claim has the name; the message says which there are."""


class Answer(NamedTuple):
    """What is known about a pod; `nodes` and `changes` only if it waits for a node."""

    pod: str
    state: str
    nodes: Sequence[Verdict] = ()
    changes: Sequence[str] = ()

    def as_json(self) -> dict[str, object]:
        """Return the answer for programs."""
        nodes = [{"node": verdict.node, "reasons": verdict.reasons} for verdict in self.nodes]
        return {"pod": self.pod, "state": self.state, "nodes": nodes, "wouldRun": list(self.changes)}


def answers(found: Details, pod: str, claim: str) -> list[Answer]:
    """Return what is known about the pod, or about each pod that uses the claim, named `name` or `namespace/name`.

    Raises:
        UnknownNameError: there is none of this name.
    """
    if pod:
        return [_answer(found, entry) for entry in _named(found.live.pods, "pod", pod)]
    claims = {key(one): one for one in _named(found.live.claims.values(), "claim", claim)}
    users = [entry for entry in found.live.pods if not claims.keys().isdisjoint(claim_keys(entry))]
    if not users:
        pending = "pending, and no pod uses it: a claim is allocated only for a pod"
        state = "allocated, but no pod uses it" if any(map(is_allocated, claims.values())) else pending
        raise UnknownNameError(f"claim {claim} is {state}")
    return [_answer(found, entry) for entry in users]


def _named(entries: Collection[Object], kind: str, name: str) -> list[Object]:
    found = [entry for entry in entries if name in (key(entry)[1], "/".join(key(entry)))]
    if not found:
        known = [key(entry)[1] for entry in entries]
        raise UnknownNameError(f"there is no {kind} {name} in the cluster{suggestion(name, known)} See make status")
    return found


def _answer(found: Details, pod: Object) -> Answer:
    name = "/".join(key(pod))
    phase, node = pod["status"].get("phase", "Unknown"), pod["spec"].get("nodeName")
    if node:
        claims = [found.live.claims[claim] for claim in claim_keys(pod) if claim in found.live.claims]
        pending = [key(claim)[1] for claim in claims if not is_allocated(claim)]
        but = f", but it has no devices for {', '.join(sorted(pending))}: {NEEDS_NO_NODE}" if pending else ""
        return Answer(name, f"is {phase} on node {node}{but}")
    if phase != "Pending":
        return Answer(name, f"is {phase}")
    if held_by(pod):
        return Answer(name, f"waits. {refusal(pod)}")
    if gates := [str(gate["name"]) for gate in pod["spec"].get("schedulingGates") or []]:
        return Answer(name, f"waits until its schedulingGates are removed: {', '.join(gates)}")
    scheduler = scheduler_of(pod)
    if not is_refused(pod):
        is_served = found.topology.cluster.existing or scheduler in found.topology.scheduler_names
        nobody = "" if is_served else ", and the stack has no scheduler that serves this name"
        return Answer(name, f"is {phase}: scheduler {scheduler} has not considered it yet{nobody}")
    who = "The scheduler" if scheduler == DEFAULT_SCHEDULER else f"Scheduler {scheduler}"
    says = f"waits. {who} says: {refusal(pod)}"
    if not found.topology.filters_as_stock(scheduler):
        return Answer(name, f"{says}{'' if says.endswith('.') else '.'} {DECIDES_OTHERWISE}")
    why = Why(pod, found.live, found.shortage)
    return Answer(name, says, why.verdicts, why.changes())


def text(answer: Answer) -> RenderableType:
    """Return an answer for the terminal."""
    parts: list[RenderableType] = [Text.assemble("Pod ", (answer.pod, "bold"), f" {answer.state}")]
    if answer.nodes:
        parts += [Text(), *_nodes(answer.nodes)]
    if answer.changes:
        parts += [Text(), Text("It would run", style="bold cyan")]
        parts += [Text(f"  {change}") for change in answer.changes]
    return Group(*parts)


def _nodes(verdicts: Sequence[Verdict]) -> Iterator[RenderableType]:
    """Yield the nodes and their reasons, nodes with the same reasons together."""
    together: dict[tuple[str, ...], list[str]] = {}
    for verdict in verdicts:
        together.setdefault(tuple(verdict.reasons), []).append(verdict.node)
    for found, names in islice(together.items(), NODE_GROUPS_MAX):
        count = f" ({len(names)} nodes)" if len(names) > NODES_LISTED_MAX else ""
        yield Text(wording.first(names, NODES_LISTED_MAX) + count, style="bold")
        reasons = found or [UNKNOWN]
        yield from (Padding(Text(reason, style="yellow"), (0, 0, 0, 2)) for reason in reasons)
    more = sum(len(names) for names in islice(together.values(), NODE_GROUPS_MAX, None))
    if more:
        yield Text(f"and {more} more (FORMAT=json lists all)", style="bold")
