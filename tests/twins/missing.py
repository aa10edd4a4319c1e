"""What a twin does not have of its dump, and says nothing about."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tests.twins.cluster import Cluster, Pod, devices_of, named_as, requests
from tests.twins.made import Twin

# Fields of pods that scheduling considers and that a stack cannot have, each with what a note says of them.
_FIELDS: dict[str, tuple[Callable[[Mapping[str, Any]], Any], str]] = {
    "affinity between pods": (
        lambda spec: [key for key in ("podAffinity", "podAntiAffinity") if (spec.get("affinity") or {}).get(key)],
        "affinit",
    ),
    "topology spread constraints": (lambda spec: spec.get("topologySpreadConstraints"), "spread"),
    "priorities": (lambda spec: spec.get("priority") or spec.get("priorityClassName"), "priorit"),
    "requests of init containers": (
        lambda spec: [name for one in spec.get("initContainers") or [] for name in requests(one)],
        "init",
    ),
    "host ports": (
        lambda spec: [
            port for one in spec.get("containers") or [] for port in one.get("ports") or [] if port.get("hostPort")
        ],
        "port",
    ),
    "volumes": (
        lambda spec: [one for one in spec.get("volumes") or [] if {"persistentVolumeClaim", "ephemeral"} & one.keys()],
        "volume",
    ),
    "other schedulers": (
        lambda spec: spec.get("schedulerName") not in (None, "", "default-scheduler"),
        "scheduler",
    ),
    "scheduling gates": (lambda spec: spec.get("schedulingGates"), "gate"),
    "overhead": (lambda spec: spec.get("overhead"), "overhead"),
}


def unsaid(dump: Cluster, twin: Twin, pods: Sequence[tuple[Pod, Pod]]) -> Iterator[str]:
    """Yield what is in the dump, not in the twin and in no note; `pods` are those that both have."""
    yield from _of_fleet(dump, twin)
    yield from _of_pods(dump, twin, [one for one, _ in pods])
    for name, (find, word) in _FIELDS.items():
        having = [pod for pod, copy in pods if find(pod.spec) and not find(copy.spec)]
        if having and not twin.says(word):
            yield f"no note tells of {name}: {'/'.join(having[0].name)}"
    yield from _resources(twin, pods)
    yield from _config(dump, twin, pods)


def _of_fleet(dump: Cluster, twin: Twin) -> Iterator[str]:
    left = dump.nodes.keys() - twin.nodes.keys()
    if left and not twin.says("node"):
        yield f"nodes are left out, and no note says so: {', '.join(sorted(left))}"
    named = {spec["nodeName"] for specs in dump.pools.values() for spec in specs if spec.get("nodeName")}
    if named - dump.nodes.keys() and not twin.says("not in the dump"):
        yield f"nodes of ResourceSlices are not in the dump: {', '.join(sorted(named - dump.nodes.keys()))}"
    slices = [entry["spec"] for entry in dump.by_kind["ResourceSlice"] if entry["spec"].get("devices")]
    if {(spec["driver"], spec["pool"]["name"]) for spec in slices} - dump.pools.keys() and not twin.says("incomplete"):
        yield "pools are incomplete, and no note says so"
    nothing = [rule for rule in dump.by_kind["DeviceTaintRule"] if rule["spec"].get("deviceSelector") is None]
    if nothing and not twin.topology.device_taint_rules and not twin.says("devicetaintrule"):
        yield "a DeviceTaintRule is left out, and no note says so"


def _of_pods(dump: Cluster, twin: Twin, there: Sequence[Pod]) -> Iterator[str]:
    with_devices = {pod.name for pod in dump.pods}
    without = [entry for entry in dump.live_pods if named_as(entry) not in with_devices]
    if without and not twin.says("pods without devices"):
        yield f"pods without devices are left out, and no note says so: {named_as(without[0])[1]}"
    used = {dump.claim_of(pod, one) for pod in dump.by_kind["Pod"] for one in pod["spec"].get("resourceClaims") or []}
    used |= {dump.extended_claim_of(pod) for pod in dump.by_kind["Pod"]}
    idle = [name for name in dump.claims if name not in used | with_devices]
    if idle and not twin.says("claim"):
        yield f"ResourceClaims of no pod are left out, and no note says so: {'/'.join(idle[0])}"
    grouped = [pod for pod in there if pod.gang is not None]
    if dump.groups and not grouped and not twin.says("group"):
        yield "PodGroups are left out, and no note says so"


def _resources(twin: Twin, pods: Sequence[tuple[Pod, Pod]]) -> Iterator[str]:
    """Yield the resources that pods of the dump request and those of the twin do not."""
    missing = {
        name
        for original, copy in pods
        for name, amount in original.resources.items()
        if copy.resources.get(name, 0) != amount
    }
    for name in sorted(missing):
        if not twin.says(rf"{re.escape(name)}|resources\b"):
            yield f"no note tells of the requests for {name}"


def _config(dump: Cluster, twin: Twin, pods: Sequence[tuple[Pod, Pod]]) -> Iterator[str]:
    """Yield configuration for drivers that claims or classes of the dump have and those of the twin do not."""
    of_claims = any(
        len(devices_of(claim.spec).get("config") or []) > len(devices_of(other.spec).get("config") or [])
        for original, copy in pods
        for claim, other in zip(original.claims, copy.claims, strict=True)
    )
    of_classes = any(spec.get("config") for spec in dump.classes.values())
    if (of_claims or of_classes) and not twin.says("config"):
        yield f"no note tells of config of {'claims' if of_claims else 'classes'}"
