"""The Stages that KWOK plays besides those that kwokctl gives it."""

import yaml

from topology.kubernetes.objects import Manifest
from topology.objects.device_taints import rule_version
from topology.schema.stack import Topology

STAGES_FILE = "stages.yaml"
"""In the cluster's folder, where kwok-controller runs. kwokctl leaves its own Stages out where its document has any:
`Save` in https://github.com/kubernetes-sigs/kwok/blob/v0.8.0/pkg/kwokctl/runtime/cluster.go
"""

NOT_READY = {"kwok-dra/not-ready": "true"}
"""The annotation of a Node that is to be NotReady."""

ATTACH_FAILS = "kwok-dra/attach-fails"
"""The binding failure condition by which KWOK knows a device that is to fail: a Stage sees the claim alone, with what
its allocation has from the ResourceSlice. Also the label of the DeviceTaintRules of devices that have failed, whose
value is the node pool: the node without its number.
"""


def stages(taint_rules: str | None = None) -> str:
    """Render the Stages in YAML; `taint_rules` is the group version of DeviceTaintRules if devices are to be attached.

    https://kwok.sigs.k8s.io/docs/user/stages-configuration/
    """
    claims = [_claim_attached(), _claim_attach_fails(taint_rules)] if taint_rules else []
    return yaml.safe_dump_all([_node_not_ready(), *claims], sort_keys=False)


def _node_not_ready() -> Manifest:
    """Render what makes a Node NotReady as long as it has the annotation, and leaves all else of it as it is.

    KWOK's own Stages have weight 0, so this one goes over them, and the one that makes a new Node ready does it again
    for a Node that has lost the annotation. There are no times in it: a patch that changed something every time would
    be played without end.
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

# With its conditions a device of a claim is there until the claim is deallocated.
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

# Of several devices of a claim the first; the others when they have been tried again.
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
    """Render what makes the binding conditions of a claim's devices true, as a driver's controller does."""
    return _claim_stage("claim-attached", "NotIn", [_status_step()])


def _claim_attach_fails(taint_rules: str) -> Manifest:
    """Render what makes a binding failure condition true of devices that a fault says fail.

    The scheduler takes a claim that failed back and allocates it anew, the same device first. So its controller taints
    the device before, as KEP-5007 leaves it to drivers.
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
    """Render the Stages that KWOK plays for a stack besides its own, in YAML."""
    attached = any(devices.model.binding_conditions for pool in topology.node_pools for devices in pool.all_devices())
    return stages(rule_version(topology.cluster.minor) if attached else None)
