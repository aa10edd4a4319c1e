"""Which pods will be evicted: from nodes that are gone or not ready, and from devices with a NoExecute taint."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from topology.checks.node_selection import tolerates
from topology.kubernetes.objects import Object
from topology.status.live_objects import allocated_devices

NODE_NOT_READY = "node.kubernetes.io/not-ready"

TaintedDevices = tuple[str, str, str, str, str]
"""Driver, pool and device, where an empty one stands for any, and the key and value of the taint."""


class Unfit(NamedTuple):
    """What pods cannot stay on."""

    nodes: Sequence[str] = ()
    """Nodes that are gone."""
    devices: Sequence[TaintedDevices] = ()
    """Devices with a NoExecute taint."""
    not_ready: Sequence[str] = ()
    """Nodes with the taint `NODE_NOT_READY`, which pods tolerate for some time."""

    def evicts(self, pod: Object, claims: Iterable[Object], seconds: int) -> bool:
        """Tell whether a pod with these claims will be evicted within so many `seconds`."""
        node = pod["spec"].get("nodeName")
        if node in self.nodes or (node in self.not_ready and _seconds_on_not_ready(pod) < seconds):
            return True
        results = [result for claim in claims for result in allocated_devices(claim)]
        return any(_seconds_on_device(result, *device) < seconds for result in results for device in self.devices)


def _seconds_on_not_ready(pod: Object) -> float:
    """Return how long a pod may stay on a node that is not ready: its first toleration of that taint decides.

    Pods that specify none get one of 300 s at admission, from the plugin DefaultTolerationSeconds.
    https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/apis/core/v1/helper/helpers.go, GetMatchingTolerations
    """
    for toleration in pod["spec"].get("tolerations") or []:
        if tolerates(toleration, {"key": NODE_NOT_READY, "effect": "NoExecute"}):
            seconds = toleration.get("tolerationSeconds")
            return math.inf if seconds is None else float(seconds)
    return 0


def stays_for_some_time(pod: Object, node: Object) -> bool:
    """Tell whether a pod tolerates a NoExecute taint of its node for a limited time; `Unfit` knows nodes not ready."""
    limited = [entry for entry in pod["spec"].get("tolerations") or [] if "tolerationSeconds" in entry]
    evicting = [
        taint
        for taint in node["spec"].get("taints") or []
        if taint["effect"] == "NoExecute" and taint["key"] != NODE_NOT_READY
    ]
    return any(tolerates(toleration, taint) for toleration in limited for taint in evicting)


def _seconds_on_device(result: Object, driver: str, pool: str, device: str, taint: str, value: str) -> float:
    """Return how long a pod may keep an allocated device once the device has the NoExecute taint.

    A toleration without an effect lets the scheduler allocate the device, but does not protect the pod from eviction:
    https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/controller/devicetainteviction/device_taint_eviction.go
    """
    found = (result["driver"], result["pool"], result["device"])
    if any(wanted not in ("", name) for wanted, name in zip((driver, pool, device), found, strict=True)):
        return math.inf
    tolerated = [
        toleration.get("tolerationSeconds")
        for toleration in result.get("tolerations") or []
        if toleration.get("effect") == "NoExecute"
        and tolerates(toleration, {"key": taint, "value": value, "effect": "NoExecute"})
    ]
    return math.inf if None in tolerated else min(tolerated, default=0)


FIT = Unfit()
"""Nothing: every pod can stay."""
