"""Taints of devices, and DeviceTaintRules."""

from topology.configuration import Topology
from topology.faults import DeviceTaint, DeviceTaintRule
from topology.features import served
from topology.manifests import RESOURCE_API_VERSION, Manifest, given


def taint(configuration: DeviceTaint) -> Manifest:
    """Render a taint of a device."""
    return {"key": configuration.key, "effect": configuration.effect} | given(value=configuration.value)


def device_taint_rules(topology: Topology) -> list[Manifest]:
    """Render the DeviceTaintRules in the version that the control plane reads them in."""
    version = served("device taint rules", topology.cluster.minor) or RESOURCE_API_VERSION
    return [_device_taint_rule(rule, version) for rule in topology.device_taint_rules]


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
