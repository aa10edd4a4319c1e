"""What the pods on a node leave of its resources, such as cpu and memory."""

from collections import defaultdict
from collections.abc import Container, Iterator, Mapping
from decimal import Decimal
from typing import Any

from topology.kubernetes.objects import Object
from topology.kubernetes.quantities import number, written
from topology.kubernetes.reading import entries, part
from topology.status.live_objects import LiveObjects, has_ended

Resources = Mapping[str, Decimal]


class NodeResources:
    """The requests of the pods on each node."""

    def __init__(self, live: LiveObjects) -> None:
        """Add up the requests of the `live` pods that have a node and have not ended."""
        self._used: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
        for pod in live.pods:
            if not has_ended(pod):
                used = self._used[pod["spec"].get("nodeName", "")]
                _add(used, requested(pod["spec"]))
                for amounts in _of_devices(pod["status"]):
                    _add(used, amounts)

    def lacking(self, spec: Mapping[str, Any], node: Object, of_devices: Container[str]) -> Iterator[str]:
        """Yield the resources of which a node has less left than a pod with this `spec` requests.

        A device class provides resources `of_devices`, unless the node has them itself.
        """
        allocatable = node["status"].get("allocatable") or {}
        for name, amount in requested(spec).items():
            whole = str(allocatable.get(name, "0"))
            left = number(whole) - self._used[node["metadata"]["name"]][name]
            if amount and amount > left and (number(whole) or name not in of_devices):
                yield f"has {written(left, whole)} of {name} left, and the pod requests {written(amount, whole)}"


def requested(spec: Mapping[str, Any]) -> Resources:
    """Return what a pod requests of a node, as the scheduler adds it up.

    https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers
    https://kubernetes.io/docs/tasks/configure-pod-container/assign-pod-level-resources/
    """
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for container in entries(spec, "containers"):
        _add(sums, _of_container(container))
    most: dict[str, Decimal] = defaultdict(Decimal)
    sidecars: dict[str, Decimal] = defaultdict(Decimal)
    for container in entries(spec, "initContainers"):
        own = _of_container(container)
        if container.get("restartPolicy") == "Always":
            _add(sidecars, own)
            _add(sums, own)
        else:
            _raise(most, {name: amount + sidecars[name] for name, amount in own.items()})
    _raise(sums, most)
    total = defaultdict(Decimal, {**sums, **_of_container(spec), "pods": Decimal(1)})
    _add(total, _of(spec.get("overhead")))
    return total


def _of_devices(status: Mapping[str, Any]) -> Iterator[Resources]:
    """Yield what the devices of a pod use of its node; Kubernetes 1.36 has only `resources`."""
    for claim in entries(status, "nodeAllocatableResourceClaimStatuses"):
        yield _of(claim.get("resources"))
        for entry in (*entries(claim, "mapping"), *entries(claim, "overhead")):
            of_containers = [entry.get("perContainer")] * len(claim.get("containers") or [])
            for amount in (entry.get("quantity"), entry.get("perPod"), *of_containers):
                yield _of({entry["name"]: amount or 0})


def _of_container(container: Mapping[str, Any]) -> Resources:
    return {**_of(part(container, "resources", "limits")), **_of(part(container, "resources", "requests"))}


def _of(amounts: Mapping[str, Any] | None) -> Resources:
    return {name: number(str(amount)) for name, amount in (amounts or {}).items()}


def _add(total: dict[str, Decimal], amounts: Resources) -> None:
    for name, amount in amounts.items():
        total[name] += amount


def _raise(total: dict[str, Decimal], amounts: Resources) -> None:
    for name, amount in amounts.items():
        total[name] = max(total[name], amount)
