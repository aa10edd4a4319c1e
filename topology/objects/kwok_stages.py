"""The Stages that KWOK plays in addition to those of kwokctl."""

import re

import yaml

from topology.kubernetes.objects import NOT_READY, Manifest
from topology.objects.device_taints import rule_version
from topology.schema.stack import Topology

STAGES_FILE = "stages.yaml"
"""A file in the cluster's folder, the working directory of kwok-controller. It is separate because kwokctl omits its
own Stages if its configuration has any:
`Save` in https://github.com/kubernetes-sigs/kwok/blob/v0.8.0/pkg/kwokctl/runtime/cluster.go
"""

ATTACH_FAILS = "kwok-dra/attach-fails"
"""The binding failure condition that marks a device whose attachment fails: a Stage sees only the claim, whose
allocation includes the conditions of the ResourceSlice. Also the label of the DeviceTaintRules of failed devices; its
value is the name of the device's pool without its number: for the nodes of a node pool, the name of that.
"""


def failed_to_attach(pool_name: str) -> str:
    """Return the label selector of the DeviceTaintRules of failed devices in a pool of resource.k8s.io."""
    return f"{ATTACH_FAILS}={re.sub('-[0-9]+$', '', pool_name)}"


def stages(taint_rules: str | None = None) -> str:
    """Render the Stages in YAML; `taint_rules` is the group version of DeviceTaintRules if devices are attached.

    https://kwok.sigs.k8s.io/docs/user/stages-configuration/
    """
    claims = [_claim_attached(), _claim_attach_fails(taint_rules)] if taint_rules else []
    return yaml.safe_dump_all([_node_not_ready(), *claims], sort_keys=False)


def _node_not_ready() -> Manifest:
    """Render the Stage that makes a Node NotReady while it has the annotation, and changes nothing else.

    KWOK's own Stages have weight 0, so this one overrides them. When the annotation is removed, the Stage that makes a
    new Node ready applies again. The patch has no times: KWOK would apply one that changes on every run without end.
    """
    ready = {"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "a fault says so"}
    return _stage(
        "node-not-ready",
        {"apiGroup": "v1", "kind": "Node"},
        {
            "selector": {"matchAnnotations": NOT_READY},
            "weight": 1,
            "next": {"statusTemplate": yaml.safe_dump({"conditions": [ready]})},
        },
    )


# Devices that are attached to a node before a pod is bound to it.

_CLAIM = {"apiGroup": "resource.k8s.io/v1", "kind": "ResourceClaim"}
_RESULTS = ".status.allocation.devices.results[]?"

# The status keeps a device with its conditions until the claim is deallocated.
_STATUS = """
{{ $now := Now }}
devices:
{{ range .status.allocation.devices.results }}
{{ if .bindingConditions }}
- driver: {{ .driver | Quote }}
  pool: {{ .pool | Quote }}
  device: {{ .device | Quote }}
  {{ with .shareID }}
  shareID: {{ . | Quote }}
  {{ end }}
  conditions:
  {{ if has "kwok-dra/attach-fails" .bindingFailureConditions }}
  - type: {{ index .bindingFailureConditions 0 | Quote }}
    status: "True"
    reason: AttachFailed
    message: a fault says so
    lastTransitionTime: {{ $now | Quote }}
  {{ else }}
  {{ range .bindingConditions }}
  - type: {{ . | Quote }}
    status: "True"
    reason: Attached
    message: ""
    lastTransitionTime: {{ $now | Quote }}
  {{ end }}
  {{ end }}
{{ end }}
{{ end }}
"""

# The rule is for the first failed device of a claim; the others get theirs when the scheduler tries them again.
_RULE = """
{{ $failed := dict }}
{{ range .status.allocation.devices.results }}
{{ if and .bindingConditions (has "kwok-dra/attach-fails" .bindingFailureConditions) (not $failed) }}
{{ $failed = . }}
{{ end }}
{{ end }}
apiVersion: VERSION
kind: DeviceTaintRule
metadata:
  name: {{ printf "attach-failed.%s.%s.%s" $failed.device $failed.pool $failed.driver | Quote }}
  labels:
    kwok-dra/attach-fails: {{ regexReplaceAll "-[0-9]+$" $failed.pool "" | Quote }}
spec:
  deviceSelector:
    driver: {{ $failed.driver | Quote }}
    pool: {{ $failed.pool | Quote }}
    device: {{ $failed.device | Quote }}
  taint: {key: kwok-dra/attach-failed, effect: NoSchedule}
"""


def _claim_attached() -> Manifest:
    """Render the Stage that sets the binding conditions of a claim's devices, as a driver's controller does."""
    return _claim_stage("claim-attached", "NotIn", [_status_step()])


def _claim_attach_fails(taint_rules: str) -> Manifest:
    """Render the Stage that sets a binding failure condition for devices with an `attachFails` fault.

    The scheduler deallocates the claim and would allocate the same device again. So the Stage taints the device first,
    which KEP-5007 leaves to drivers.
    """
    rule = _RULE.replace("VERSION", taint_rules)
    return _claim_stage("claim-attach-fails", "In", [{"apply": {"template": rule}}, _status_step()])


def _status_step() -> Manifest:
    return {"patch": {"subresource": "status", "root": "status", "template": _STATUS, "type": "merge"}}


def _claim_stage(name: str, operator: str, steps: list[Manifest]) -> Manifest:
    expressions = [
        {"key": f"{_RESULTS}.bindingConditions[]?", "operator": "Exists"},
        {"key": f"{_RESULTS}.bindingFailureConditions[]?", "operator": operator, "values": [ATTACH_FAILS]},
        {"key": ".status.devices[]?", "operator": "DoesNotExist"},
    ]
    return _stage(name, _CLAIM, {"selector": {"matchExpressions": expressions}, "steps": steps})


def _stage(name: str, resource: Manifest, spec: Manifest) -> Manifest:
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {"resourceRef": resource} | spec,
    }


def stages_for(topology: Topology) -> str:
    """Render the Stages that a stack adds to KWOK's own, in YAML."""
    attached = any(
        devices.model.binding_conditions for pool in topology.pools.values() for devices in pool.all_devices()
    )
    return stages(rule_version(topology.cluster.minor) if attached else None)
