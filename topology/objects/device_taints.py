"""Taints of devices, and DeviceTaintRules."""

from topology.kubernetes.feature_gates import served
from topology.kubernetes.objects import RESOURCE_API_VERSION, Manifest, given
from topology.schema.faults import DeviceTaint, DeviceTaintRule
from topology.schema.stack import Topology

FIRST_KUBERNETES_WITH_RULES_FOR_NONE = (37, 1)
"""From this version on, a DeviceTaintRule without a `deviceSelector` selects no device. An empty selector selects all.

https://github.com/kubernetes/kubernetes/blob/v1.37.1/staging/src/k8s.io/dynamic-resource-allocation/resourceslice/tracker/tracker.go
"""


def taint(configuration: DeviceTaint) -> Manifest:
    """Render a taint of a device."""
    return {"key": configuration.key, "effect": configuration.effect} | given(value=configuration.value)


def device_taint_rules(topology: Topology) -> list[Manifest]:
    """Render the DeviceTaintRules in the version that the control plane serves."""
    version = rule_version(topology.cluster.minor)
    return [_device_taint_rule(rule, version) for rule in topology.device_taint_rules]


def rule_version(minor: int) -> str:
    """Return the group version of DeviceTaintRules in Kubernetes 1.`minor`."""
    return served("device taint rules", minor) or RESOURCE_API_VERSION


def _device_taint_rule(rule: DeviceTaintRule, version: str) -> Manifest:
    return {
        "apiVersion": version,
        "kind": "DeviceTaintRule",
        "metadata": {"name": rule.name},
        "spec": {
            "deviceSelector": given(driver=rule.driver, pool=rule.pool, device=rule.device),
            "taint": taint(rule.taint),
        },
    }
