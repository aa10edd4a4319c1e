"""The KwokctlConfiguration from which kwokctl creates a cluster."""

import shlex
from typing import Any

import pytest
import yaml

from tests.seed_page import shell_blocks
from topology.checks.validation import load
from topology.objects.kwokctl_config import kwokctl_configuration, left_out
from topology.schema.stack import DEFAULT_KUBERNETES_VERSION, Cluster


def options(**cluster: object) -> dict[str, Any]:
    """Return the options that kwokctl reads for a configuration of `cluster`."""
    document = yaml.safe_load(kwokctl_configuration(Cluster.model_validate({"name": "x"} | cluster)))
    patches = document.pop("componentsPatches", None)
    binary = document["options"]["runtime"] == "binary"
    alone = {"key": "leader-elect", "value": "false"}
    controllers = {"key": "controllers", "value": "*,-ttl-controller"}
    wanted = [
        {"name": "kwok-controller", "extraArgs": [{"key": "config", "value": "stages.yaml"}]},
        {"name": "kube-controller-manager", "extraArgs": [controllers, alone]},
        {"name": "kube-scheduler", "extraArgs": [alone]},
    ]
    assert patches == (wanted if binary else None)
    assert document.keys() == {"apiVersion", "kind", "options"}
    assert (document["apiVersion"], document["kind"]) == ("config.kwok.x-k8s.io/v1alpha1", "KwokctlConfiguration")
    found: dict[str, Any] = document["options"]
    return found


def test_a_stock_cluster_has_the_limits_and_controllers_of_kwokctl() -> None:
    """What is left is needed: by faults, by what KWOK plays, and on a machine with a lot to do."""
    document = yaml.safe_load(kwokctl_configuration(Cluster(name="x", tuning="stock")))
    alone = {"key": "leader-elect", "value": "false"}
    assert "disableQPSLimits" not in document["options"]
    assert document["componentsPatches"] == [
        {"name": "kwok-controller", "extraArgs": [{"key": "config", "value": "stages.yaml"}]},
        {"name": "kube-controller-manager", "extraArgs": [alone]},
        {"name": "kube-scheduler", "extraArgs": [alone]},
    ]


def test_the_defaults_listen_on_loopback_only() -> None:
    assert options() == {
        "runtime": "binary",
        "kubeVersion": f"v{DEFAULT_KUBERNETES_VERSION}",
        "bindAddress": "127.0.0.1",
        "disableQPSLimits": True,
        "kubeControllerManagerNodeMonitorPeriodMilliseconds": 1000,
    }


@pytest.mark.parametrize("runtime", ["docker", "podman", "nerdctl", "kind"])
def test_a_container_must_listen_for_its_host(runtime: str) -> None:
    """The host cannot reach 127.0.0.1 inside a container."""
    assert "bindAddress" not in options(runtime=runtime)


def test_kubelets_accept_no_prefix() -> None:
    """Kind also passes the gates to kubelets."""
    assert options(runtime="kind", kubeFeatureGates={"A": True})["kubeFeatureGates"] == "A=true"
    assert options(runtime="docker", kubeFeatureGates={"A": True})["kubeFeatureGates"] == "kube:A=true"


def test_the_dev_stack_has_the_flags_of_the_example(dev: dict[str, Any]) -> None:
    flags = dict(flag.removeprefix("--").split("=", 1) for flag in shlex.split(shell_blocks()[0])[3:])
    found = options(**dev["cluster"])
    assert flags == {
        "kube-feature-gates": found["kubeFeatureGates"],
        "kube-runtime-config": found["kubeRuntimeConfig"],
    }
    assert flags["kube-feature-gates"] == "kube:DynamicResourceAllocation=true"
    assert flags["kube-runtime-config"] == "resource.k8s.io/v1beta1=true"


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        ({"kubeVersion": "1.36.3"}, {"kubeVersion": "v1.36.3"}),
        ({"kubeApiserverPort": 6443}, {"kubeApiserverPort": 6443}),
        # Sorted: a different order of the same flags must not replace the cluster.
        ({"kubeFeatureGates": {"B": False, "A": True}}, {"kubeFeatureGates": "kube:A=true,kube:B=false"}),
        ({"kubeFeatureGates": {"No": True}}, {"kubeFeatureGates": "kube:No=true"}),
        ({"kubeRuntimeConfig": {"b/v1": False, "api/all": True}}, {"kubeRuntimeConfig": "api/all=true,b/v1=false"}),
    ],
)
def test_options(cluster: dict[str, object], expected: dict[str, object]) -> None:
    assert options(**cluster) == options() | expected


# The configuration of the dev stack before versions that removed gates.
DEV_DOCUMENT = """\
apiVersion: config.kwok.x-k8s.io/v1alpha1
kind: KwokctlConfiguration
options:
  runtime: binary
  kubeVersion: v{version}
  bindAddress: 127.0.0.1
  disableQPSLimits: true
  kubeControllerManagerNodeMonitorPeriodMilliseconds: 1000
  kubeFeatureGates: kube:DynamicResourceAllocation=true
  kubeRuntimeConfig: resource.k8s.io/v1beta1=true
componentsPatches:
- name: kwok-controller
  extraArgs:
  - key: config
    value: stages.yaml
- name: kube-controller-manager
  extraArgs:
  - key: controllers
    value: '*,-ttl-controller'
  - &id001
    key: leader-elect
    value: 'false'
- name: kube-scheduler
  extraArgs:
  - *id001
"""


@pytest.mark.parametrize("version", ["1.34.2", "1.35.1", "1.36.3", "1.37.2"])
def test_older_versions_get_the_same_text_as_before(dev: dict[str, Any], version: str) -> None:
    """A different text replaces the cluster and everything in it."""
    dev["cluster"]["kubeVersion"] = version
    cluster = load(dev).cluster
    assert kwokctl_configuration(cluster) == DEV_DOCUMENT.format(version=version)
    assert left_out(cluster) == []


def test_gates_that_a_version_removed_are_omitted(dev: dict[str, Any]) -> None:
    """Components of Kubernetes 1.38 do not start with a removed gate."""
    dev["cluster"]["kubeVersion"] = "1.38.0"
    cluster = load(dev).cluster
    assert left_out(cluster) == ["DynamicResourceAllocation", "resource.k8s.io/v1beta1"]
    assert not yaml.safe_load(kwokctl_configuration(cluster))["options"].keys() & {
        "kubeFeatureGates",
        "kubeRuntimeConfig",
    }


def test_gates_that_a_version_has_stay() -> None:
    gates = {"DynamicResourceAllocation": True, "DRAAdminAccess": True, "SomethingElse": False}
    apis = {"resource.k8s.io/v1beta1": False, "resource.k8s.io/v1beta2": True, "scheduling.k8s.io/v1alpha2": True}
    found = options(kubeVersion="1.38.0", kubeFeatureGates=gates, kubeRuntimeConfig=apis)
    assert found["kubeFeatureGates"] == "kube:DRAAdminAccess=true,kube:SomethingElse=false"
    assert found["kubeRuntimeConfig"] == "resource.k8s.io/v1beta2=true"
    # 1.37 does not start with v1alpha2 either, but its text must not change.
    found = options(kubeVersion="1.37.2", kubeFeatureGates=gates, kubeRuntimeConfig=apis)
    assert "scheduling.k8s.io/v1alpha2=true" in found["kubeRuntimeConfig"]


def test_the_same_cluster_is_the_same_text(dev: dict[str, Any]) -> None:
    """The text is an input of the Command resource, and a changed one replaces the cluster."""
    first = kwokctl_configuration(load(dev).cluster)
    dev["cluster"] = dict(reversed(dev["cluster"].items()))
    assert kwokctl_configuration(load(dev).cluster) == first
