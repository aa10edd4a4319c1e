"""The Stages that KWOK plays besides those that kwokctl gives it."""

import yaml

from topology.manifests import Manifest

STAGES_FILE = "stages.yaml"
"""In the cluster's folder, where kwok-controller runs. kwokctl leaves its own Stages out where its document has any:
`Save` in https://github.com/kubernetes-sigs/kwok/blob/v0.8.0/pkg/kwokctl/runtime/cluster.go
"""

NOT_READY = {"kwok-dra/not-ready": "true"}
"""The annotation of a Node that is to be NotReady."""


def stages() -> str:
    """Render the Stages in YAML.

    https://kwok.sigs.k8s.io/docs/user/stages-configuration/
    """
    return yaml.safe_dump_all([_node_not_ready()], sort_keys=False)


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


def _stage(name: str, resource: Manifest, spec: Manifest) -> Manifest:
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {"resourceRef": resource} | spec,
    }
