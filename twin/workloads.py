"""Makes workloads from the pods that have or need devices."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from topology.kubernetes.naming import natural_key
from topology.kubernetes.objects import IMPLICIT_EXTENDED_RESOURCE, Key, given
from topology.kubernetes.quantities import canonical, number
from topology.objects.nodes import KWOK_TOLERATION, NODE_TYPE
from topology.objects.pod_groups import POD_GROUP_LABEL
from topology.schema.values import ContainerResourceName
from twin.claim_objects import ClaimSpec, ResourceClaim
from twin.claims import ClaimSpecs, toleration
from twin.configuration import Written
from twin.dump import Dump
from twin.fleet import FleetNode
from twin.grouping import Group, Holder, grouped
from twin.labels import HOSTNAME, KeptLabels, selected, selects_more
from twin.notes import Notes
from twin.objects import Taint
from twin.placement import Kept, Placement, missing_tolerations
from twin.pod_objects import ENDED, Container, Pod, PodClaim, PodGroup, Toleration
from twin.pseudonyms import Names
from twin.queues import Queues, is_held
from twin.scheduling import Scheduling
from twin.slices import PoolName

# The tolerations that an admission plugin adds to every pod:
# https://github.com/kubernetes/kubernetes/blob/v1.37.2/plugin/pkg/admission/defaulttolerationseconds/admission.go
_BY_DEFAULT = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_SECONDS_BY_DEFAULT = 300
_KWOK = Toleration.model_validate(dict(KWOK_TOLERATION))
_NOT_READY = [Taint(key=_BY_DEFAULT[0], effect=effect) for effect in ("NoSchedule", "NoExecute")]

_REQUESTABLE = TypeAdapter[str](ContainerResourceName)

_LEFT_OUT: Mapping[str, Callable[[Pod], object]] = {
    "affinity and anti-affinity to other pods": lambda pod: (
        pod.spec.affinity.pod_affinity or pod.spec.affinity.pod_anti_affinity
    ),
    "node affinity other than required labels": selects_more,
    "topology spread constraints": lambda pod: pod.spec.topology_spread_constraints,
    "requests of init containers": lambda pod: any(one.resources.requests for one in pod.spec.init_containers),
    "requests and overhead of pods as a whole": lambda pod: pod.spec.resources.requests or pod.spec.overhead,
    "host ports": lambda pod: any(one.ports for one in (*pod.spec.containers, *pod.spec.init_containers)),
    "volumes that tie pods to nodes": lambda pod: pod.spec.volumes,
}
"""What the scheduler considers about pods, and twins do not have."""


@dataclass(frozen=True)
class TwinFleet:
    """What pods find in the twin: its nodes by their names in the dump, and the dump's devices by driver and pool."""

    nodes: Mapping[str, FleetNode]
    names: Mapping[str, str]
    """The twin's name of each node."""
    pools: Mapping[PoolName, str]
    """The node of each pool of devices that are devices of one node."""
    devices: Mapping[PoolName, set[str]]
    classes: set[str]
    extended_resources: set[str]
    """The extended resources that DeviceClasses serve."""

    @cached_property
    def resources(self) -> set[str]:
        """The resources of which some node has some."""
        return {name for node in self.nodes.values() for name in offered(node)}


def offered(node: FleetNode) -> set[str]:
    """Return the resources of which a node has some."""
    return {name for name, amount in node.capacity.items() if number(amount)}


class _Claim(NamedTuple):
    """A claim of a pod: its spec, and the ResourceClaim if it is in the dump."""

    of_pod: PodClaim
    spec: ClaimSpec
    found: ResourceClaim | None


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
        queues: Queues,
        notes: Notes,
    ) -> None:
        """Index the dump; a claim that is allocated, but whose pod is not in the dump, gets one."""
        self._claims = {claim.key: claim for claim in dump.claims}
        self._templates = {template.key: template.spec.spec for template in dump.templates}
        self._groups = {group.key: group for group in dump.groups}
        self._labels_are_known = bool(dump.nodes)
        self._fleet = fleet
        self._specs = specs
        self._placement = placement
        self._names = names
        self._kept = kept
        self._queues = queues
        self._notes = notes
        self.scheduling = Scheduling(dump.priorities, names, notes)
        self._shared: dict[Key, Written] = {}
        self._hosts = {node.metadata.labels.get(HOSTNAME, node.name): node.name for node in dump.nodes}
        pods = sorted(dump.pods, key=lambda pod: [natural_key(part) for part in pod.key])
        self._pods = [pod for pod in pods if pod.status.phase not in ENDED] + list(self._pods_of_claims(pods))

    def all(self, placed: Mapping[Key, Kept], kept: Kept) -> tuple[list[Written], list[Group]]:
        """Return the shared claims and the workloads; `placed` says what some pods keep, `kept` what all others do."""
        self._shared = {}
        holders = [holder for pod in self._pods if (holder := self._holder(pod, placed.get(pod.key, kept)))]
        return list(self._shared.values()), grouped(holders, self._names.kept)

    def _pods_of_claims(self, pods: Sequence[Pod]) -> Iterator[Pod]:
        """Yield a pod for each claim that is allocated and that no pod uses."""
        used: set[tuple[str, str | None]] = set()
        for pod in pods:
            claims = pod.spec.resource_claims if pod.status.phase not in ENDED else []
            names = [one.resource_claim_name for one in claims]
            names += [one.resource_claim_name for one in pod.status.resource_claim_statuses]
            names += [_extended_name(pod)]
            used |= {(pod.metadata.namespace, name) for name in names}
        for key, claim in sorted(self._claims.items()):
            if key not in used and claim.status.allocation and claim.spec.devices.requests:
                pools = [(result.driver, result.pool) for result in claim.results]
                node = next((self._fleet.pools[pool] for pool in pools if pool in self._fleet.pools), None)
                status = {"name": "claim", "resourceClaimName": claim.name}
                yield Pod.model_validate(
                    {
                        "metadata": {"name": claim.name, "namespace": claim.metadata.namespace},
                        "spec": {"nodeName": node, "resourceClaims": [{"name": "claim"}]},
                        "status": {"phase": "Running", "resourceClaimStatuses": [status]},
                    }
                )

    # Pods.

    def _holder(self, pod: Pod, kept: Kept) -> Holder | None:
        """Return the configuration of a pod; None if the twin does not have it."""
        extended = self._extended(pod)
        claims = [claim for name in pod.spec.resource_claims if (claim := self._claim(pod, name))]
        found = [claim.found for claim in claims] + ([self._extended_claim(pod)] if extended else [])
        queue = self._queue(pod, extended, claims)
        if why := self._why_left_out(pod, extended, found, queue):
            self._notes.add(f"pods {why}", pod.key)
            return None
        self._note_fields(pod, claims, queue)
        containers = self._containers(pod, extended)
        # For resources that nodes provide, the program counts a claim too.
        if not extended and any("/" in name for one in containers or [] for name in one.get("resources", {})):
            found.append(None)
        allocated = sum(bool(claim.status.allocation if claim else pod.spec.node_name) for claim in found)
        workload = {
            "namespace": self._names.namespace(pod.metadata.namespace),
            "claims": [self._written(pod, claim, kept) for claim in claims],
        } | given(
            kind=_kind(pod),
            podGroup=self._pod_group(self._group(pod), pod),
            containers=containers,
            **self._place(pod, kept, bool(allocated)),
            **self.scheduling.of(pod),
            queue=queue,
        )
        runs = bool(pod.spec.node_name) or pod.status.phase != "Pending"
        has_devices = any(claim.results for claim in found if claim)
        return Holder(pod.key, _owner(pod), workload, len(found), allocated, runs, has_devices, kept, is_held(pod))

    def _queue(self, pod: Pod, extended: set[str], claims: Sequence[_Claim]) -> str | None:
        requests = [entry for container in pod.spec.containers for entry in container.resources.requests.items()]
        requested = {name for name, amount in requests if self._keeps(name, amount, extended, pod)}
        specs = [None if claim.of_pod.resource_claim_name else claim.spec for claim in claims]
        return self._queues.of(pod, specs, requested)

    def _why_left_out(
        self, pod: Pod, extended: set[str], claims: Sequence[ResourceClaim | None], queue: str | None
    ) -> str | None:
        """Return the note about a pod that the twin does not have."""
        host = selected(pod).get(HOSTNAME)
        if not pod.spec.resource_claims and not extended:
            return "without devices are left out, and what they use of nodes is free"
        if is_held(pod) and queue is None:
            return "that queues of Kueue hold are left out"
        if pod.spec.scheduling_gates and not is_held(pod):
            return "with schedulingGates are left out"
        if host and self._host(host) not in self._fleet.nodes:
            return "that select nodes which are not in the twin are left out"
        if len(claims) < len(pod.spec.resource_claims) + bool(extended) or not all(map(self._is_served, extended)):
            return "whose claims, templates or DeviceClasses are not in the dump are left out"
        # A claim of a pool whose driver has withdrawn the device gets another one of the pool.
        if not all(
            self._fleet.devices.get((one.driver, one.pool)) for claim in claims if claim for one in claim.results
        ):
            return "that hold devices which are not in the twin are left out"
        return None

    def _note_fields(self, pod: Pod, claims: Sequence[_Claim], queue: str | None) -> None:
        if queue is None and self._queues.names_one(pod):
            self._notes.add("queues of Kueue are left out", pod.key)
        for what in (what for what, has in _LEFT_OUT.items() if has(pod)):
            self._notes.add(f"{what} are left out", pod.key)
        for claim in claims:
            if claim.spec.devices.config and not self._names.kept:
                self._notes.add("config of claims is left out", (pod.key, claim.of_pod.name))

    # Claims.

    def _claim(self, pod: Pod, claim: PodClaim) -> _Claim | None:
        """Return a claim of a pod; None if its spec or one of its classes is unknown."""
        statuses = {status.name: status.resource_claim_name for status in pod.status.resource_claim_statuses}
        namespace = pod.metadata.namespace
        found = self._claims.get((namespace, claim.resource_claim_name or statuses.get(claim.name) or ""))
        template = self._templates.get((namespace, claim.resource_claim_template_name or ""))
        spec = template or (found.spec if found else None)
        selections = (
            [selection for request in spec.devices.requests for selection in request.selections] if spec else []
        )
        if spec is None or not all(one.device_class_name in self._fleet.classes for one in selections):
            return None
        return _Claim(claim, spec, found)

    def _written(self, pod: Pod, claim: _Claim, kept: Kept) -> Written:
        pins = {}
        if claim.found and (kept == "devices" or self._placement.is_barred(claim.found)):
            pins = self._placement.pins(claim.found)
            if not all(pin.selector for pin in pins.values()):
                self._notes.add("devices that no attribute tells apart are not kept", claim.found.key)
        written = self._specs.spec(claim.spec, pins)
        own = {"name": self._names.of("claim", claim.of_pod.name)}
        if claim.of_pod.resource_claim_name and claim.found:
            return own | {"claim": self._share(claim.found, written, bool(pins))}
        template = claim.of_pod.resource_claim_template_name if self._names.kept else None
        return own | given(template=template) | written

    def _share(self, claim: ResourceClaim, written: Written, is_pinned: bool) -> str:
        name = self._names.of("shared-claim", claim.name)
        if is_pinned or claim.key not in self._shared:
            namespace = self._names.namespace(claim.metadata.namespace)
            self._shared[claim.key] = {"name": name, "namespace": namespace} | written
        return name

    # Extended resources.

    def _extended(self, pod: Pod) -> set[str]:
        """Return the extended resources of a pod that are, or will be, allocated as devices."""
        if not pod.status.extended_resource_claim_status and pod.spec.node_name:
            return set()  # The node's device plugin provides them.
        asked = {name for container in pod.spec.containers for name in container.resources.requests}
        return {name for name in asked if name in self._fleet.extended_resources or _class_of(name)}

    def _is_served(self, resource: str) -> bool:
        return (_class_of(resource) or "") in {"", *self._fleet.classes}

    def _extended_claim(self, pod: Pod) -> ResourceClaim | None:
        return self._claims.get((pod.metadata.namespace, _extended_name(pod)))

    # The other fields of a pod.

    def _group(self, pod: Pod) -> PodGroup | None:
        own = pod.spec.scheduling_group
        name = (own and own.pod_group_name) or pod.metadata.labels.get(POD_GROUP_LABEL)
        return self._groups.get((pod.metadata.namespace, name or ""))

    def _pod_group(self, group: PodGroup | None, pod: Pod) -> Written | None:
        if group is None:
            return None
        if group.spec.scheduling_constraints:
            self._notes.add("schedulingConstraints of PodGroups are left out", group.key)
        gang = group.spec.scheduling_policy.gang
        names = {claim.name for claim in group.spec.resource_claims}
        claims = [self._names.of("claim", claim.name) for claim in pod.spec.resource_claims if claim.name in names]
        return given(minCount=gang and gang.min_count, claims=claims) or {"claims": []}

    def _containers(self, pod: Pod, extended: set[str]) -> list[Written] | None:
        containers = pod.spec.containers
        names = [claim.name for claim in pod.spec.resource_claims]
        written = [self._container(container, extended, pod) for container in containers]
        uses_all = len(containers) == 1 and _uses(containers[0]) == [(name, None) for name in names]
        return None if uses_all and "resources" not in written[0] else written  # The default is the same.

    def _container(self, container: Container, extended: set[str], pod: Pod) -> Written:
        claims = [
            {"name": self._names.of("claim", claim.name)}
            | given(request=claim.request and self._specs.request_name(claim.request))
            for claim in container.resources.claims
        ]
        resources = {}
        for name, amount in container.resources.requests.items():
            own = self._specs.resource_name(name)
            if self._keeps(name, amount, extended, pod):
                resources[own] = canonical(amount)
            elif number(amount):
                self._notes.add(f"requests for {own} are left out", pod.key)
        return {"name": self._names.of("container", container.name)} | given(claims=claims, resources=resources)

    def _keeps(self, resource: str, amount: str, extended: set[str], pod: Pod) -> bool:
        return bool(number(amount)) and (resource in extended or self._is_of_nodes(resource, pod))

    def _is_of_nodes(self, resource: str, pod: Pod) -> bool:
        """Tell whether nodes of the twin provide a resource, that of the pod in particular if it has one."""
        node = self._fleet.nodes.get(pod.spec.node_name or "")
        return _can_request(resource) and resource in (offered(node) if node else self._fleet.resources)

    def _place(self, pod: Pod, kept: Kept, has_devices: bool) -> Written:
        """Return the nodeSelector and the tolerations of a pod.

        A pod that has devices stays on its node if it is to be kept there, or could not start there now.
        """
        selector = selected(pod)
        tolerations = [one for one in pod.spec.tolerations if one != _KWOK and not _is_by_default(one)]
        node = self._fleet.nodes.get(pod.spec.node_name or "")
        if node and has_devices:
            taints = [*(node.taints or []), *(_NOT_READY if node.not_ready else [])]
            missing = missing_tolerations([*tolerations, _KWOK], taints)  # All pods of a stack tolerate KWOK's taint.
            is_selected = all(node.labels.get(key) == value for key, value in self._labels(selector).items())
            if missing or not is_selected:
                self._notes.add("pods that could not start on their nodes now are kept there", pod.key)
            if kept in ("nodes", "devices") or missing or not is_selected:
                selector = (selector if is_selected else {}) | {HOSTNAME: node.name}
            tolerations += missing
        return {
            "nodeSelector": self._node_selector(selector),
            "tolerations": [toleration(one, self._names) for one in tolerations],
        }

    def _labels(self, selector: Mapping[str, str]) -> dict[str, str]:
        """Return the labels that a pod selects, as far as the dump has any, without those of every simulated node."""
        found = selector.items() - NODE_TYPE.items() if self._labels_are_known else ()
        return {key: value for key, value in sorted(found) if key != HOSTNAME}

    def _host(self, hostname: str) -> str:
        return self._hosts.get(hostname, hostname)

    def _node_selector(self, selector: Mapping[str, str]) -> Written:
        node = self._fleet.names.get(self._host(selector.get(HOSTNAME, "")))
        return given(**{HOSTNAME: node}) | self._names.labels(self._labels(selector), self._kept)


def _extended_name(pod: Pod) -> str:
    """Return the name of the claim for a pod's extended resources; empty if there is none."""
    status = pod.status.extended_resource_claim_status
    return status.resource_claim_name if status else ""


def _class_of(resource: str) -> str | None:
    """Return the class whose devices a resource implies, if any."""
    prefix, _, name = resource.partition("/")
    return name if prefix == IMPLICIT_EXTENDED_RESOURCE else None


def _can_request(resource: str) -> bool:
    """Tell whether containers of a stack can request a resource."""
    try:
        return bool(_REQUESTABLE.validate_python(resource))
    except ValidationError:
        return False


def _uses(container: Container) -> list[tuple[str, str | None]]:
    return [(claim.name, claim.request) for claim in container.resources.claims]


def _kind(pod: Pod) -> str | None:
    """Return the kind of a pod's workload, None for a Deployment; Kueue admits a Job that it holds as a whole."""
    owners = {owner.kind for owner in pod.metadata.owner_references} - {"PodGroup"}
    return "Pod" if not owners else "Job" if "Job" in owners and is_held(pod) else None


def _owner(pod: Pod) -> str:
    """Return the name of a pod's owner, such as a Deployment; of a bare pod its own name without the number."""
    for owner in pod.metadata.owner_references:
        if owner.kind == "ReplicaSet":
            return owner.name.removesuffix(f"-{pod.metadata.labels.get('pod-template-hash', '')}")
        return owner.name
    return re.sub(r"-[0-9]+$", "", pod.name)


def _is_by_default(found: Toleration) -> bool:
    return found.key in _BY_DEFAULT and found.toleration_seconds == _SECONDS_BY_DEFAULT
