"""A cluster as the scheduler sees it, read from plain objects: those of a dump, or those that a stack renders."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from tests.twins.selection import (
    Evaluated,
    Object,
    Taint,
    evaluated,
    required_nodes,
    selects_node,
    tolerates,
)
from topology.kubernetes.api_versions import as_v1
from topology.kubernetes.cel import CelDevice
from topology.kubernetes.objects import IMPLICIT_EXTENDED_RESOURCE
from topology.kubernetes.quantities import number
from topology.objects.pod_groups import POD_GROUP_LABEL

Name = tuple[str, str]
"""Namespace and name."""
DeviceKey = tuple[str, str, str]
"""Driver, pool and name."""

RESOURCE_KINDS = ("ResourceSlice", "DeviceClass", "ResourceClaim", "ResourceClaimTemplate")
ENDED = ("Succeeded", "Failed")
CORDON: Taint = ("node.kubernetes.io/unschedulable", "", "NoSchedule")
NOT_READY: Taint = ("node.kubernetes.io/not-ready", "", "NoSchedule")
CORDONED = "twin/cordoned"
"""The key of the taint that stands for a cordon in twins."""

# `taintKeyToNodeConditionMap` in
# https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/controller/nodelifecycle/node_lifecycle_controller.go
OF_CONTROLLERS = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/")


class Device(NamedTuple):
    """A device that the scheduler can allocate: its pool is complete."""

    key: DeviceKey
    published: Object
    nodes: frozenset[str]
    is_of_node: bool
    """Whether its ResourceSlice has a nodeName."""
    counter_sets: Mapping[str, Object]
    taints: frozenset[Taint]
    """Its own, and those of DeviceTaintRules."""
    skipped: Sequence[str] = ()
    """The operations on nodes that it does not need."""

    @property
    def seen(self) -> CelDevice:
        """What CEL expressions see of it."""
        shared = bool(self.published.get("allowMultipleAllocations"))
        attributes, capacity = (self.published.get(key) or {} for key in ("attributes", "capacity"))
        return CelDevice(self.key[0], attributes, capacity, shared)


class Claim(NamedTuple):
    """A claim of a pod, or all its extended resources that are devices."""

    spec: Object
    allocated: bool
    results: Sequence[Object] = ()
    shared: Name | None = None
    """Its name, if pods name it; for claims of templates and extended resources, None."""
    is_extended: bool = False


class Pod(NamedTuple):
    """A pod that has devices or waits for them, or a claim that is allocated and whose pod is not there."""

    name: Name
    spec: Object
    claims: Sequence[Claim]
    node: str | None
    resources: Mapping[str, Any]
    """The amounts that its containers request, except of devices."""
    gang: int | None = None
    is_bare_claim: bool = False


class Cluster:
    """The objects of a cluster."""

    def __init__(self, objects: Iterable[Object]) -> None:
        """Index the objects, each as one of resource.k8s.io/v1."""
        self.by_kind: dict[str, list[Any]] = defaultdict(list)
        for entry in objects:
            self.by_kind[entry["kind"]].append(as_v1(dict(entry)) if entry["kind"] in RESOURCE_KINDS else entry)
        self.has_nodes = bool(self.by_kind["Node"])
        slices = self.by_kind["ResourceSlice"]
        named = {entry["spec"]["nodeName"] for entry in slices if entry["spec"].get("nodeName")}
        nodes = self.by_kind["Node"] or [{"metadata": {"name": name}} for name in sorted(named)]
        self.nodes: dict[str, Object] = {entry["metadata"]["name"]: entry for entry in nodes}
        self.classes = {entry["metadata"]["name"]: entry.get("spec") or {} for entry in self.by_kind["DeviceClass"]}
        self.claims = {named_as(entry): entry for entry in self.by_kind["ResourceClaim"]}
        self.templates = {
            named_as(entry): entry["spec"].get("spec") or {} for entry in self.by_kind["ResourceClaimTemplate"]
        }
        self.groups = {named_as(entry): entry for entry in self.by_kind["PodGroup"]}
        self.devices = {device.key: device for device in self._devices()}
        self._seen = {key: device.seen for key, device in self.devices.items()}
        self._evaluated: dict[tuple[str, ...], Evaluated] = {}

    # Devices.

    def _devices(self) -> Iterator[Device]:
        for specs in self.pools.values():
            sets = {one["name"]: one["counters"] for spec in specs for one in spec.get("sharedCounters") or []}
            for spec in specs:
                for published in spec.get("devices") or []:
                    key = (spec["driver"], spec["pool"]["name"], published["name"])
                    nodes = self._reach(published if spec.get("perDeviceNodeSelection") else spec)
                    taints = frozenset([*map(taint_of, published.get("taints") or []), *self._of_rules(key)])
                    skipped = sorted(spec.get("skipNodeOperations") or [])
                    yield Device(key, published, nodes, bool(spec.get("nodeName")), sets, taints, skipped)

    @cached_property
    def pools(self) -> dict[tuple[str, str], list[Object]]:
        """The specs of the slices of each pool that is complete: the newest generation, if all slices are there."""
        pools: dict[tuple[str, str], list[Object]] = defaultdict(list)
        for entry in sorted(self.by_kind["ResourceSlice"], key=named_as):
            spec = entry["spec"]
            pools[spec["driver"], spec["pool"]["name"]].append(spec)
        newest = {pool: _newest(specs) for pool, specs in pools.items()}
        return {pool: specs for pool, specs in newest.items() if len(specs) >= slice_count(specs[0])}

    def _reach(self, spec: Object) -> frozenset[str]:
        if spec.get("nodeName"):
            return frozenset({spec["nodeName"]} & self.nodes.keys())
        selector = spec.get("nodeSelector") or {}
        return frozenset(
            name for name, node in self.nodes.items() if spec.get("allNodes") or selects_node(selector, node)
        )

    def _of_rules(self, key: DeviceKey) -> Iterator[Taint]:
        """Yield the taints of rules; since Kubernetes 1.37.1 a rule without a selector has none."""
        for rule in self.by_kind["DeviceTaintRule"]:
            selector = rule["spec"].get("deviceSelector")
            if selector is None and rule.get("apiVersion") == "resource.k8s.io/v1":
                continue
            wanted = [(selector or {}).get(name) for name in ("driver", "pool", "device")]
            if all(value in (None, own) for value, own in zip(wanted, key, strict=True)):
                yield taint_of(rule["spec"]["taint"])

    def selected(self, expressions: Iterable[str]) -> Evaluated:
        """Return the devices that expressions select."""
        key = tuple(expressions)
        if key not in self._evaluated:
            self._evaluated[key] = evaluated(key, self._seen)
        return self._evaluated[key]

    def expressions(self, selection: Object) -> list[str]:
        """Return the expressions of a selection's class, and its own."""
        return [*cel(self.classes[selection["deviceClassName"]]), *cel(selection)]

    def priority(self, spec: Object) -> int:
        """Return the priority of a pod."""
        classes = {entry["metadata"]["name"]: entry for entry in self.by_kind["PriorityClass"]}
        return int(spec.get("priority") or classes.get(spec.get("priorityClassName"), {}).get("value", 0))

    # Nodes.

    def taints(self, name: str) -> frozenset[Taint]:
        """Return a node's taints; those of controllers are `CORDON` and `NOT_READY`."""
        node = self.nodes[name]
        spec = node.get("spec") or {}
        found = {taint_of(entry) for entry in spec.get("taints") or []}
        cordoned = spec.get("unschedulable") or any(key in (CORDON[0], CORDONED) for key, _, _ in found)
        kept = {taint for taint in found if not taint[0].startswith((*OF_CONTROLLERS, CORDONED))}
        return frozenset(kept | ({CORDON} if cordoned else set()) | (set() if self.is_ready(name) else {NOT_READY}))

    def is_ready(self, name: str) -> bool:
        """Tell whether a node is ready, as far as is known."""
        conditions = (self.nodes[name].get("status") or {}).get("conditions") or []
        return all(entry["status"] == "True" for entry in conditions if entry["type"] == "Ready")

    def declared(self, name: str) -> list[str] | None:
        """Return the features that a node declares; None if it does not say."""
        found: list[str] | None = (self.nodes[name].get("status") or {}).get("declaredFeatures")
        return found

    def capacity(self, name: str) -> dict[str, Any]:
        """Return how much there is of each resource of a node."""
        status = self.nodes[name].get("status") or {}
        amounts = status.get("allocatable") or status.get("capacity") or {}
        return {key: number(str(amount)) for key, amount in amounts.items()}

    def admitting(self, spec: Object) -> frozenset[str]:
        """Return the nodes that labels and taints let a pod run on."""
        wanted = (spec.get("nodeSelector") or {}).items()
        required = required_nodes(spec)
        tolerations = [_of_a_cordon(entry) for entry in spec.get("tolerations") or []]
        return frozenset(
            name
            for name, node in self.nodes.items()
            if wanted <= (node["metadata"].get("labels") or {}).items()
            and (required is None or selects_node(required, node))
            and all(tolerates(tolerations, taint) for taint in self.taints(name))
        )

    # Pods.

    @cached_property
    def pods(self) -> list[Pod]:
        """The pods that have or want devices, sorted by name."""
        found = [pod for entry in self.live_pods if (pod := self._pod(entry)).claims]
        return sorted([*found, *self._bare_claims()], key=lambda pod: pod.name)

    @cached_property
    def live_pods(self) -> list[Object]:
        """The pods that have not ended."""
        return [pod for pod in self.by_kind["Pod"] if is_live(pod)]

    def _pod(self, pod: Object) -> Pod:
        name, spec = named_as(pod), pod["spec"]
        requested = [(place, *amount) for place, one in enumerate(spec["containers"]) for amount in requests(one)]
        devices = [one for one in requested if self._is_device(one[1], pod)]
        resources: dict[str, Any] = defaultdict(int)
        for one in requested:
            if one not in devices:
                resources[one[1]] += one[2]
        claims = [*self._claims(pod), *self._extended(pod, devices)]
        return Pod(name, spec, claims, spec.get("nodeName"), resources, self._gang(pod))

    def _claims(self, pod: Object) -> Iterator[Claim]:
        for entry in pod["spec"].get("resourceClaims") or []:
            key = self.claim_of(pod, entry)
            claim = self.claims.get(key) if key else None
            template = self.templates.get((named_as(pod)[0], entry.get("resourceClaimTemplateName") or ""))
            named = key if entry.get("resourceClaimName") else None
            if claim:
                yield Claim(template or claim["spec"], bool(_allocation(claim)), results_of(claim), named)
            elif template:
                yield Claim(template, bool(pod["spec"].get("nodeName")))
            else:
                yield Claim({}, False, (), named)

    def claim_of(self, pod: Object, entry: Object) -> Name | None:
        """Return the name of the ResourceClaim of an entry of `resourceClaims`, if there is one."""
        made = {
            one["name"]: one.get("resourceClaimName")
            for one in (pod.get("status") or {}).get("resourceClaimStatuses") or []
        }
        name = entry.get("resourceClaimName") or made.get(entry["name"])
        return (named_as(pod)[0], name) if name else None

    def extended_claim_of(self, pod: Object) -> Name | None:
        """Return the name of the ResourceClaim of a pod's extended resources, if there is one."""
        status = (pod.get("status") or {}).get("extendedResourceClaimStatus")
        return (named_as(pod)[0], status["resourceClaimName"]) if status else None

    def _is_device(self, resource: str, pod: Object) -> bool:
        """Tell whether an extended resource of a pod is a device: a device plugin serves those of other pods."""
        if pod["spec"].get("nodeName") and not self.extended_claim_of(pod):
            return False
        return self.class_of(resource) is not None

    def class_of(self, resource: str) -> str | None:
        """Return the DeviceClass that serves an extended resource, if any."""
        prefix, _, name = resource.partition("/")
        if prefix == IMPLICIT_EXTENDED_RESOURCE:
            return name
        found = [name for name, spec in self.classes.items() if spec.get("extendedResourceName") == resource]
        return min(found, default=None)

    def _extended(self, pod: Object, devices: Sequence[tuple[int, str, Any]]) -> Iterator[Claim]:
        if not devices:
            return
        wanted = [
            {
                "name": f"{place}-{resource}",
                "exactly": {"deviceClassName": self.class_of(resource), "count": int(count)},
            }
            for place, resource, count in devices
        ]
        claim = self.claims.get(self.extended_claim_of(pod) or ("", ""), {})
        spec = {"devices": {"requests": wanted}}
        yield Claim(spec, bool(_allocation(claim)), results_of(claim), is_extended=True)

    def _gang(self, pod: Object) -> int | None:
        """Return how many pods of a pod's group are scheduled together; 0 if any number, None without a group."""
        label = (pod["metadata"].get("labels") or {}).get(POD_GROUP_LABEL)
        own = (pod["spec"].get("schedulingGroup") or {}).get("podGroupName") or label
        group = self.groups.get((named_as(pod)[0], own or ""))
        if group is None:
            return None
        return ((group["spec"].get("schedulingPolicy") or {}).get("gang") or {}).get("minCount") or 0

    def _bare_claims(self) -> Iterator[Pod]:
        used = self._used()
        for name, claim in self.claims.items():
            if name not in used and _allocation(claim) and devices_of(claim["spec"]).get("requests"):
                results = results_of(claim)
                nodes = {node for one in results if (node := self._node_of(one))}
                node = min(nodes, default=None)
                yield Pod(name, {}, [Claim(claim["spec"], True, results)], node, {}, is_bare_claim=True)

    def _node_of(self, result: Object) -> str | None:
        device = self.devices.get(key_of(result))
        return min(device.nodes, default=None) if device and device.is_of_node else None

    def _used(self) -> set[Name | None]:
        """Return the claims of pods; a pod that has ended does not use the claims that it names."""
        found = {
            self.claim_of(pod, entry)
            for pod in self.by_kind["Pod"]
            for entry in pod["spec"].get("resourceClaims") or []
            if is_live(pod) or not entry.get("resourceClaimName")
        }
        return found | {self.extended_claim_of(pod) for pod in self.by_kind["Pod"]}


def named_as(entry: Object) -> Name:
    """Return the namespace and name of an object."""
    return entry["metadata"].get("namespace") or "default", entry["metadata"]["name"]


def is_live(pod: Object) -> bool:
    """Tell whether a pod has not ended."""
    return (pod.get("status") or {}).get("phase") not in ENDED


def taint_of(entry: Object) -> Taint:
    """Return a taint of a node or device."""
    return entry["key"], entry.get("value") or "", entry["effect"]


def cel(spec: Object) -> list[str]:
    """Return the CEL expressions of a class or a selection."""
    return [entry["cel"]["expression"] for entry in spec.get("selectors") or [] if entry.get("cel")]


def amounts_of(selection: Object) -> Mapping[str, str]:
    """Return the capacity that a selection asks for."""
    found: Mapping[str, str] = (selection.get("capacity") or {}).get("requests") or {}
    return found


def key_of(result: Object) -> DeviceKey:
    """Return the device of an allocation result."""
    return result["driver"], result["pool"], result["device"]


def devices_of(spec: Object) -> Object:
    """Return what a claim's spec says of devices."""
    found: Object = spec.get("devices") or {}
    return found


def results_of(claim: Object) -> Sequence[Object]:
    """Return the allocation results of a claim."""
    found: Sequence[Object] = ((_allocation(claim) or {}).get("devices") or {}).get("results") or []
    return found


def _allocation(claim: Object) -> Object | None:
    found: Object | None = (claim.get("status") or {}).get("allocation")
    return found


def requests(container: Object) -> list[tuple[str, Any]]:
    """Return the resources that a container requests; a limit is a request too."""
    resources = container.get("resources") or {}
    amounts = (resources.get("limits") or {}) | (resources.get("requests") or {})
    return [(name, number(str(amount))) for name, amount in amounts.items() if number(str(amount))]


def slice_count(spec: Object) -> int:
    """Return how many slices the pool of a slice has."""
    return int(spec["pool"].get("resourceSliceCount", 1))


def _newest(specs: Sequence[Object]) -> list[Object]:
    newest = max(spec["pool"].get("generation", 0) for spec in specs)
    return [spec for spec in specs if spec["pool"].get("generation", 0) == newest]


def _of_a_cordon(toleration: Object) -> Object:
    return {**toleration, "key": CORDON[0]} if toleration.get("key") == CORDONED else toleration
