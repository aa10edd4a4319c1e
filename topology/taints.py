"""Taints of devices, and DeviceTaintRules."""

from topology.configuration import Topology
from topology.faults import DeviceTaint, DeviceTaintRule
from topology.features import FEATURES
from topology.manifests import RESOURCE_API_VERSION, Manifest, given


def taint(configuration: DeviceTaint) -> Manifest:
    """Render a taint of a device."""
    return {"key": configuration.key, "effect": configuration.effect} | given(value=configuration.value)


def device_taint_rules(topology: Topology) -> list[Manifest]:
    """Render the DeviceTaintRules in the version that the control plane reads them in."""
    minor = topology.cluster.minor
    served = FEATURES["device taint rules"].serves
    version = served[max(since for since in served if since <= minor)] or RESOURCE_API_VERSION
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
