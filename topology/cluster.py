"""The document that kwokctl makes the cluster of."""

import yaml

from topology.configuration import Cluster


def kwokctl_configuration(cluster: Cluster) -> str:
    """Render `cluster` as a KwokctlConfiguration in YAML.

    Keys: https://kwok.sigs.k8s.io/docs/generated/apis/, config.kwok.x-k8s.io/v1alpha1.
    """
    options: dict[str, object] = {
        "runtime": cluster.runtime,
        "kubeVersion": f"v{cluster.kube_version}",
    }
    if cluster.runtime == "binary":
        # The default is every interface, and etcd asks for no authentication.
        options["bindAddress"] = "127.0.0.1"
    if cluster.kube_feature_gates:
        options["kubeFeatureGates"] = _flags(cluster.kube_feature_gates, prefix="kube:")
    if cluster.kube_runtime_config:
        options["kubeRuntimeConfig"] = _flags(cluster.kube_runtime_config)
    if cluster.kube_apiserver_port:
        options["kubeApiserverPort"] = cluster.kube_apiserver_port
    document = {
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
        "kind": "KwokctlConfiguration",
        "options": options,
    }
    return yaml.safe_dump(document, sort_keys=False)


def _flags(values: dict[str, bool], prefix: str = "") -> str:
    return ",".join(f"{prefix}{key}={str(value).lower()}" for key, value in sorted(values.items()))
