"""Groups pods that are alike into workloads."""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from topology.kubernetes.objects import Key, given
from twin.configuration import Written
from twin.placement import Kept
from twin.pools import BULK_FROM
from twin.recognition import slug, unused

_PODS_IN_TIME, _PODS_PER_SECOND = 500, 5


class Holder(NamedTuple):
    """A pod: its configuration, how many claims it has and how many are allocated, and whether it has a node."""

    key: Key
    owner: str
    workload: Written
    claims: int
    allocated: int
    runs: bool
    has_devices: bool
    """Whether it is known which devices it has."""
    kept: Kept
    is_held: bool
    """Whether it waits for quota."""


class Group(NamedTuple):
    """A workload, and the pods that it is made of."""

    workload: Written
    pods: Sequence[Holder]

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.workload["name"])

    @property
    def running(self) -> int:
        """How many of its pods have all of their claims, and a node."""
        return sum(pod.runs and pod.allocated == pod.claims for pod in self.pods)

    @property
    def is_held(self) -> bool:
        """Whether all of its pods wait for quota."""
        return all(pod.is_held for pod in self.pods)

    @property
    def expectation(self) -> Written:
        """The expectation that the pods come to what they are in the dump; empty if all of them run."""
        total, allocated = (
            sum(numbers) for numbers in zip(*((pod.claims, pod.allocated) for pod in self.pods), strict=True)
        )
        waiting = sum(not pod.runs and pod.allocated == pod.claims for pod in self.pods)
        claims = {"allocated": allocated, "pending": total - allocated} if allocated < total else {}
        return claims | ({"running": self.running} if waiting else {})


def grouped(pods: Sequence[Holder], keep_names: bool) -> list[Group]:
    """Return a group for all pods that are alike and keep the same; if names are kept, and of Jobs, of one owner."""
    found: dict[tuple[str, str, str], list[Holder]] = defaultdict(list)
    for pod in pods:
        is_one = "podGroup" in pod.workload or pod.workload.get("kind") == "Job"
        owner = pod.owner if keep_names or is_one else ""
        found[owner, json.dumps(pod.workload, sort_keys=True), pod.kept].append(pod)
    taken: set[str] = set()
    templates: Counter[tuple[str, str]] = Counter()
    groups = []
    for place, some in enumerate(found.values(), 1):
        name = unused(slug(some[0].owner, 50) or "workload" if keep_names else f"workload-{place}", taken)
        taken.add(name)
        groups.append(Group(_workload(name, some[0].workload, len(some), templates), some))
    return groups


def _workload(name: str, pod: Written, replicas: int, templates: Counter[tuple[str, str]]) -> Written:
    claims = [_with_template(name, claim, pod["namespace"], templates) for claim in pod["claims"]]
    namespace = None if pod["namespace"] == "default" else pod["namespace"]
    rest = {key: value for key, value in pod.items() if key not in ("kind", "namespace", "claims", "podGroup")}
    bulk = "bulk" if pod.get("kind") == "Pod" and replicas >= BULK_FROM else None
    first = {"name": name, **given(kind=pod.get("kind"), namespace=namespace), "replicas": replicas}
    return first | given(podGroup=pod.get("podGroup"), claims=claims) | rest | given(provisioning=bulk)


def _with_template(name: str, claim: Written, namespace: str, templates: Counter[tuple[str, str]]) -> Written:
    """Omit `template` where it is the default, or where another workload has the template already."""
    template = claim.get("template")
    if template is None:
        return claim
    templates[namespace, template] += 1
    if template == f"{name}-{claim['name']}" or templates[namespace, template] > 1:
        return {key: value for key, value in claim.items() if key != "template"}
    return claim


def in_order(groups: Sequence[Group], order: Mapping[str, int], running: Collection[str]) -> list[Written]:
    """Return the workloads with their expectations, and with `after`.

    Those of the `order` start by its numbers, then those of which some pods wait, then those of which all do, and last
    those that wait for quota. Those of `running` are expected to run, whatever they do in the dump.
    """
    tiers: dict[tuple[int, int], list[Written]] = defaultdict(list)
    for group in groups:
        expectation = group.expectation
        waits = (1 if expectation.get("allocated") else 3 if group.is_held else 2) if expectation else 0
        expected = given(expect={} if group.name in running else expectation)
        tiers[waits, order.get(group.name, 0)].append(group.workload | expected)
    found: list[Written] = []
    before: list[str] = []
    for _, tier in sorted(tiers.items(), key=lambda entry: entry[0]):
        found += [workload | given(after=before) for workload in tier]
        before = [*before, *(str(workload["name"]) for workload in tier)]
    return _with_timeout(found)


def _with_timeout(workloads: Iterable[Written]) -> list[Written]:
    """Extend the timeout of all workloads if there are many pods, as any pod can be the last to be scheduled."""
    found = list(workloads)
    pods = sum(workload["replicas"] for workload in found)
    late = {} if pods < _PODS_IN_TIME else {"readyTimeoutSeconds": 120 + pods // _PODS_PER_SECOND}
    return [workload | late for workload in found]
