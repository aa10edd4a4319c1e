"""Groups the pods that have or need devices into workloads."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from topology.kubernetes.naming import natural_key
from topology.kubernetes.objects import IMPLICIT_EXTENDED_RESOURCE, Key, given
from topology.kubernetes.quantities import canonical, number
from topology.objects.nodes import KWOK_TOLERATION, NODE_TYPE
from topology.objects.pod_groups import POD_GROUP_LABEL
from twin.claim_objects import ClaimSpec, ResourceClaim
from twin.claims import ClaimSpecs
from twin.configuration import Written
from twin.dump import Dump
from twin.labels import HOSTNAME, KeptLabels, selected
from twin.notes import Notes
from twin.placement import Placement
from twin.pod_objects import ENDED, Container, Pod, PodClaim, PodGroup, Toleration
from twin.pools import BULK_FROM
from twin.pseudonyms import Names
from twin.recognition import unused

_PODS_IN_TIME, _PODS_PER_SECOND = 500, 5

# The tolerations that an admission plugin adds to every pod:
# https://github.com/kubernetes/kubernetes/blob/v1.37.2/plugin/pkg/admission/defaulttolerationseconds/admission.go
_BY_DEFAULT = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_SECONDS_BY_DEFAULT = 300


class TwinFleet(NamedTuple):
    """What pods find in the twin: its node names by those of the dump, and the dump's devices by driver and pool."""

    nodes: Mapping[str, str]
    devices: Mapping[tuple[str, str], set[str]]
    classes: set[str]
    extended_resources: set[str]
    """The extended resources that DeviceClasses serve."""
    node_resources: set[str]
    """The resources that are known of every node; a pod that requests any other fits no node."""


class _Holder(NamedTuple):
    """A pod: its configuration, and how many claims it has and how many of them are allocated."""

    owner: str
    workload: Written
    claims: int
    allocated: int
    node: str | None
    min_count: int | None = None


class Workloads:
    """Makes workloads from pods, and the claims that they share."""

    def __init__(
        self,
        dump: Dump,
        fleet: TwinFleet,
        specs: ClaimSpecs,
        placement: Placement,
        names: Names,
        kept: KeptLabels,
        notes: Notes,
    ) -> None:
        """Index the dump, and start without shared claims."""
        self._claims = {claim.key: claim for claim in dump.claims}
        self._templates = {template.key: template.spec.spec for template in dump.templates}
        self._groups = {group.key: group for group in dump.groups}
        self._labels_are_known = bool(dump.nodes)
        self._pods = sorted(dump.pods, key=lambda pod: [natural_key(part) for part in pod.key])
        self._fleet = fleet
        self._specs = specs
        self._placement = placement
        self._names = names
        self._kept = kept
        self._notes = notes
        self._shared: dict[Key, Written] = {}
        self._used: set[Key] = set()

    def all(self) -> tuple[list[Written], list[Written]]:
        """Return the shared claims and the workloads."""
        holders = [holder for pod in self._pods if (holder := self._holder(pod))]
        holders += [self._holder_of(claim) for claim in self._without_pods()]
        if self._placement.kept:
            holders = [self._pinned(holder) for holder in holders]
        workloads = _named(_grouped(holders, self._names.kept), self._names)
        return list(self._shared.values()), _with_timeout(_in_order(workloads))

    # Pods.

    def _holder(self, pod: Pod) -> _Holder | None:
        """Return the configuration of a pod; None if the twin does not have it: it needs no devices, or is left out."""
        statuses = {status.name: status.resource_claim_name for status in pod.status.resource_claim_statuses}
        self._used |= {(pod.metadata.namespace, name) for name in statuses.values() if name}
        if pod.status.phase in ENDED:
            return None
        found = [self._claim(pod, claim, statuses.get(claim.name)) for claim in pod.spec.resource_claims]
        if not all(found):
            self._notes.add("pods whose claims, templates or DeviceClasses are not in the dump are left out")
            return None
        claims = [written for written, _ in filter(None, found)]
        objects = [entry for _, entry in filter(None, found)]
        extended = self._extended(pod)
        if extended:
            objects.append(self._extended_claim(pod))
        if not objects:
            return None
        if not all(self._is_there(entry) for entry in objects if entry):
            self._notes.add("pods with allocated devices that are not in the twin are left out")
            return None
        allocated = sum(1 for entry in objects if entry and entry.status.allocation)
        group = self._group(pod)
        workload = {"namespace": self._namespace(pod.metadata.namespace), "claims": claims} | given(
            podGroup=self._pod_group(group, pod),
            containers=self._containers(pod, extended),
            nodeSelector=self._node_selector(pod),
            tolerations=[self._names.toleration(one) for one in _tolerations(pod.spec.tolerations)],
        )
        kind = {} if _has_controller(pod) else {"kind": "Pod"}
        gang = group.spec.scheduling_policy.gang if group else None
        min_count = gang.min_count if gang else None
        return _Holder(_owner(pod), kind | workload, len(objects), allocated, pod.spec.node_name, min_count)

    def _claim(self, pod: Pod, claim: PodClaim, name: str | None) -> tuple[Written, ResourceClaim | None] | None:
        """Return the configuration of a pod's claim, and its ResourceClaim if any; None if its spec is unknown."""
        namespace = pod.metadata.namespace
        own = {"name": self._names.of("claim", claim.name)}
        if claim.resource_claim_name:
            key = (namespace, claim.resource_claim_name)
            if key not in self._claims or not self._has_classes(self._claims[key].spec):
                return None
            self._used.add(key)
            return own | {"claim": self._share(self._claims[key])}, self._claims[key]
        found = self._claims.get((namespace, name or ""))
        template = (namespace, claim.resource_claim_template_name or "")
        spec = self._templates.get(template) or (found.spec if found else None)
        if spec is None or not self._has_classes(spec):
            return None
        kept = {"template": claim.resource_claim_template_name} if self._names.kept else {}
        return own | kept | self._specs.spec(spec, self._placement.selectors(found)), found

    def _has_classes(self, spec: ClaimSpec) -> bool:
        """Return whether the classes of all requests are known."""
        selections = [
            selection
            for request in spec.devices.requests
            for selection in ([request.exactly] if request.exactly else request.first_available)
        ]
        return all(selection.device_class_name in self._fleet.classes for selection in selections)

    def _share(self, claim: ResourceClaim) -> str:
        name = self._names.of("shared-claim", claim.name)
        written = {"name": name, "namespace": self._namespace(claim.metadata.namespace)}
        self._shared.setdefault(claim.key, written | self._specs.spec(claim.spec, self._placement.selectors(claim)))
        return name

    def _is_there(self, claim: ResourceClaim) -> bool:
        """Return whether the devices that are allocated to a claim are in the twin."""
        return all(
            result.device in self._fleet.devices.get((result.driver, result.pool), ()) for result in claim.results
        )

    def _namespace(self, name: str) -> str:
        if name == "default":
            return name
        named = self._names.of("namespace", name)
        return f"twin-{named}" if named.startswith("kube-") else named

    # Extended resources.

    def _extended(self, pod: Pod) -> set[str]:
        """Return the extended resources of a pod that are, or will be, allocated as devices."""
        if not pod.status.extended_resource_claim_status and pod.spec.node_name:
            return set()  # The node's device plugin provides them.
        asked = {name for container in pod.spec.containers for name in container.resources.requests}
        return {name for name in asked if self._is_extended(name)}

    def _is_extended(self, name: str) -> bool:
        return name in self._fleet.extended_resources or name.startswith(f"{IMPLICIT_EXTENDED_RESOURCE}/")

    def _extended_claim(self, pod: Pod) -> ResourceClaim | None:
        status = pod.status.extended_resource_claim_status
        key = (pod.metadata.namespace, status.resource_claim_name if status else "")
        self._used.add(key)
        return self._claims.get(key)

    # The other fields of a pod.

    def _group(self, pod: Pod) -> PodGroup | None:
        own = pod.spec.scheduling_group
        name = (own and own.pod_group_name) or pod.metadata.labels.get(POD_GROUP_LABEL)
        return self._groups.get((pod.metadata.namespace, name or ""))

    def _pod_group(self, group: PodGroup | None, pod: Pod) -> Written | None:
        if group is None:
            return None
        gang = group.spec.scheduling_policy.gang
        names = {claim.name for claim in group.spec.resource_claims}
        claims = [self._names.of("claim", claim.name) for claim in pod.spec.resource_claims if claim.name in names]
        return given(minCount=gang and gang.min_count, claims=claims) or {"claims": []}

    def _containers(self, pod: Pod, extended: set[str]) -> list[Written] | None:
        containers = pod.spec.containers
        names = [claim.name for claim in pod.spec.resource_claims]
        written = [self._container(container, extended) for container in containers]
        uses_all = len(containers) == 1 and _uses(containers[0]) == [(name, None) for name in names]
        return None if uses_all and "resources" not in written[0] else written  # The default is the same.

    def _container(self, container: Container, extended: set[str]) -> Written:
        claims = [
            {"name": self._names.of("claim", claim.name)}
            | given(request=claim.request and self._specs.request_name(claim.request))
            for claim in container.resources.claims
        ]
        resources = {
            name: canonical(amount)
            for name, amount in container.resources.requests.items()
            if name in extended | self._fleet.node_resources and number(amount)
        }
        return {"name": self._names.of("container", container.name)} | given(claims=claims, resources=resources)

    def _node_selector(self, pod: Pod) -> dict[str, str]:
        found = {}
        for key, value in selected(pod).items():
            if key == HOSTNAME and value in self._fleet.nodes:
                found[key] = self._fleet.nodes[value]
            elif key != HOSTNAME and (key, value) not in NODE_TYPE.items() and self._labels_are_known:
                label = self._names.label_key(key, self._kept)
                found[label] = self._names.label_value(key, value, self._kept)
        return found

    # Claims whose pods are not in the dump.

    def _without_pods(self) -> list[ResourceClaim]:
        return [
            claim
            for key, claim in sorted(self._claims.items())
            if key not in self._used
            and claim.status.allocation
            and claim.spec.devices.requests
            and self._is_there(claim)
            and self._has_classes(claim.spec)
        ]

    def _holder_of(self, claim: ResourceClaim) -> _Holder:
        spec = self._specs.spec(claim.spec, self._placement.selectors(claim))
        written = {"name": self._names.of("claim", "claim"), **spec}
        workload = {"kind": "Pod", "namespace": self._namespace(claim.metadata.namespace), "claims": [written]}
        return _Holder(claim.name, workload, 1, 1, next((result.pool for result in claim.results), None))

    # The nodes of pods.

    def _pinned(self, holder: _Holder) -> _Holder:
        node = self._fleet.nodes.get(holder.node or "")
        if node is None or not holder.allocated:
            return holder
        selector = holder.workload.get("nodeSelector", {}) | {HOSTNAME: node}
        return holder._replace(workload=holder.workload | {"nodeSelector": selector})


def _uses(container: Container) -> list[tuple[str, str | None]]:
    return [(claim.name, claim.request) for claim in container.resources.claims]


def _has_controller(pod: Pod) -> bool:
    return any(owner.kind != "PodGroup" for owner in pod.metadata.owner_references)


def _owner(pod: Pod) -> str:
    """Return the name of a pod's owner, such as a Deployment; of a bare pod its own name without the number."""
    for owner in pod.metadata.owner_references:
        if owner.kind == "ReplicaSet":
            return owner.name.removesuffix(f"-{pod.metadata.labels.get('pod-template-hash', '')}")
        return owner.name
    return re.sub(r"-[0-9]+$", "", pod.name)


def _tolerations(tolerations: Iterable[Toleration]) -> list[Written]:
    found = [one.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True) for one in tolerations]
    return [one for one in found if one != _KWOK and not _is_by_default(one)]


_KWOK = dict(KWOK_TOLERATION)


def _is_by_default(toleration: Written) -> bool:
    return toleration.get("key") in _BY_DEFAULT and toleration.get("tolerationSeconds") == _SECONDS_BY_DEFAULT


# From pods to workloads: equal pods become replicas.


def _grouped(holders: Sequence[_Holder], by_owner: bool) -> list[list[_Holder]]:
    groups: dict[tuple[str, str], list[_Holder]] = defaultdict(list)
    for holder in holders:
        group = holder.owner if by_owner or "podGroup" in holder.workload else ""
        groups[group, json.dumps(holder.workload, sort_keys=True)].append(holder)
    return list(groups.values())


def _named(groups: Sequence[list[_Holder]], names: Names) -> list[tuple[Written, int]]:
    """Return a workload for each group of pods, with the number of its allocated claims."""
    taken: set[str] = set()
    templates: Counter[tuple[str, str]] = Counter()
    found = []
    for place, holders in enumerate(groups, 1):
        name = unused(_label(holders[0].owner) if names.kept else f"workload-{place}", taken)
        taken.add(name)
        found.append((_workload(name, holders, templates), sum(holder.allocated for holder in holders)))
    return found


def _label(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name)[:50].strip("-") or "workload"


def _workload(name: str, holders: Sequence[_Holder], templates: Counter[tuple[str, str]]) -> Written:
    first = holders[0].workload
    claims = [_with_template(name, claim, first["namespace"], templates) for claim in first["claims"]]
    namespace = {} if first["namespace"] == "default" else {"namespace": first["namespace"]}
    kind = {key: first[key] for key in ("kind",) if key in first}
    rest = {key: value for key, value in first.items() if key not in ("kind", "namespace", "claims", "podGroup")}
    bulk = {"provisioning": "bulk"} if "kind" in first and len(holders) >= BULK_FROM else {}
    total = sum(holder.claims for holder in holders)
    pending = total - sum(holder.allocated for holder in holders)
    expect = {"expect": {"allocated": total - pending, "pending": pending}} if pending else {}
    group = {"podGroup": first["podGroup"]} if "podGroup" in first else {}
    replicas = {"replicas": len(holders)}
    return {"name": name, **kind, **namespace, **replicas, **group, **given(claims=claims), **rest, **bulk, **expect}


def _with_template(name: str, claim: Written, namespace: str, templates: Counter[tuple[str, str]]) -> Written:
    """Omit `template` where it is the default, or where another workload has the template already."""
    template = claim.get("template")
    if template is None:
        return claim
    templates[namespace, template] += 1
    if template == f"{name}-{claim['name']}" or templates[namespace, template] > 1:
        return {key: value for key, value in claim.items() if key != "template"}
    return claim


def _in_order(workloads: Sequence[tuple[Written, int]]) -> list[Written]:
    """Order workloads by `after`: those with all claims allocated come first, those with none last."""
    tiers: list[list[Written]] = [[], [], []]
    for workload, allocated in workloads:
        tiers[0 if "expect" not in workload else 1 if allocated else 2].append(workload)
    found: list[Written] = []
    for tier in tiers:
        before = [workload["name"] for workload in found]
        found += [workload | given(after=before) for workload in tier]
    return found


def _with_timeout(workloads: Sequence[Written]) -> list[Written]:
    """Extend the timeout of all workloads if there are many pods, as any pod can be the last to be scheduled."""
    pods = sum(workload["replicas"] for workload in workloads)
    if pods < _PODS_IN_TIME:
        return list(workloads)
    return [workload | {"readyTimeoutSeconds": 120 + pods // _PODS_PER_SECOND} for workload in workloads]
