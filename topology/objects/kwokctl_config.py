"""The configuration from which kwokctl creates the cluster."""

import yaml

from topology.kubernetes.api_versions import is_removed
from topology.kubernetes.feature_gates import is_obsolete
from topology.objects.kwok_stages import STAGES_FILE
from topology.objects.tuning import KUBE_SCHEDULER, KWOK, MANAGER, STOCK
from topology.schema.stack import Cluster

NODE_MONITOR_PERIOD_MILLISECONDS = 1_000
"""kwokctl multiplies it by its `heartbeatFactor`, 5, so the controller manager checks every 5 s, its default, for nodes
that are not ready: https://github.com/kubernetes-sigs/kwok/blob/v0.8.0/pkg/kwokctl/cmd/create/cluster/cluster.go
"""

CONTROLLERS = "*,-ttl-controller"
"""All controllers but one. With more than a hundred nodes, the TTL controller annotates every node with how long its
kubelet may cache secrets, and again whenever the cluster grows; fake nodes have no kubelets.
https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/controller/ttl/ttl_controller.go
"""

ALONE = {"key": "leader-elect", "value": "false"}
"""Each component runs once and needs no leader election: on a busy machine, a leader that renews its lease too late
exits, and nothing restarts it.
https://github.com/kubernetes/kubernetes/blob/v1.37.2/cmd/kube-controller-manager/app/controllermanager.go
"""


FIRST_KUBERNETES_WITH_LESS = 38
"""Older versions get everything that the user sets: a different configuration would replace running clusters."""


def left_out(cluster: Cluster) -> list[str]:
    """Return the feature gates and APIs that the user sets, but that the Kubernetes version no longer has.

    A component does not start with an unknown gate. The features of these gates are always on.
    """
    if cluster.minor < FIRST_KUBERNETES_WITH_LESS:
        return []
    gates = sorted(gate for gate in cluster.kube_feature_gates if is_obsolete(gate, cluster.minor))
    return gates + sorted(api for api in cluster.kube_runtime_config if is_removed(api, cluster.minor))


def kwokctl_configuration(cluster: Cluster) -> str:
    """Render `cluster` as a KwokctlConfiguration in YAML.

    It is without the settings of `topology/objects/tuning.py`: a cluster gets these when it is created, so that other
    settings in a later release replace no running cluster.

    Keys: https://kwok.sigs.k8s.io/docs/generated/apis/, config.kwok.x-k8s.io/v1alpha1.
    """
    options: dict[str, object] = {
        "runtime": cluster.runtime,
        "kubeVersion": f"v{cluster.kube_version}",
    }
    if cluster.runtime == "binary":
        # By default, components listen on every interface, and etcd has no authentication.
        options["bindAddress"] = "127.0.0.1"
    if cluster.tuning != STOCK:
        # The default limits are 20 claims and pods per second in the controller manager, and 50 bindings in the
        # scheduler.
        options["disableQPSLimits"] = True
    options["kubeControllerManagerNodeMonitorPeriodMilliseconds"] = NODE_MONITOR_PERIOD_MILLISECONDS
    removed = left_out(cluster)
    if gates := _without(removed, cluster.kube_feature_gates):
        # kind also passes them to kubelets, which accept no prefix:
        # https://kind.sigs.k8s.io/docs/user/configuration/#feature-gates
        prefix = "" if cluster.runtime == "kind" else "kube:"
        options["kubeFeatureGates"] = _flags(gates, prefix)
    if apis := _without(removed, cluster.kube_runtime_config):
        options["kubeRuntimeConfig"] = _flags(apis)
    if cluster.kube_apiserver_port:
        options["kubeApiserverPort"] = cluster.kube_apiserver_port
    document: dict[str, object] = {
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
        "kind": "KwokctlConfiguration",
        "options": options,
    }
    if cluster.runtime == "binary":
        controllers = [] if cluster.tuning == STOCK else [{"key": "controllers", "value": CONTROLLERS}]
        document["componentsPatches"] = [
            {"name": KWOK, "extraArgs": [{"key": "config", "value": STAGES_FILE}]},
            {"name": MANAGER, "extraArgs": [*controllers, ALONE]},
            {"name": KUBE_SCHEDULER, "extraArgs": [ALONE]},
        ]
    return yaml.safe_dump(document, sort_keys=False)


def _without(removed: list[str], values: dict[str, bool]) -> dict[str, bool]:
    return {key: value for key, value in values.items() if key not in removed}


def _flags(values: dict[str, bool], prefix: str = "") -> str:
    return ",".join(f"{prefix}{key}={str(value).lower()}" for key, value in sorted(values.items()))
