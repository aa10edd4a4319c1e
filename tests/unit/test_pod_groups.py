"""Groups of pods: their objects, the gates that they need, and the count of their claims."""

from typing import Any

import pytest

from topology.checks.validation import ConfigurationError, load
from topology.objects import pod_groups, pods
from topology.schema.workloads import Workload

Configuration = dict[str, Any]
VERSIONS = [(36, "scheduling.k8s.io/v1alpha2"), (37, "scheduling.k8s.io/v1beta1")]
GPU = {"name": "gpu", "deviceClass": "kwok.x-k8s.io"}


@pytest.fixture
def grouped(dev: Configuration) -> Configuration:
    """Return the dev stack with a group of two pods, which share a claim and have one each."""
    dev["nodePools"][0] |= {"gpusPerNode": 4}
    dev["workloads"] = [
        {
            "name": "job",
            "namespace": "n",
            "replicas": 2,
            "podGroup": {"minCount": 2, "claims": ["a"]},
            "claims": [
                {"name": "a", "template": "given", "requests": [GPU]},
                {"name": "b", "requests": [GPU]},
            ],
        }
    ]
    return dev


def workload(configuration: Configuration, **values: Any) -> Workload:
    configuration["workloads"][0] |= values
    return load(configuration).workloads[0]


@pytest.mark.parametrize(("minor", "version"), VERSIONS)
def test_a_gang_with_a_claim(grouped: Configuration, minor: int, version: str) -> None:
    assert pod_groups.pod_groups(workload(grouped), minor) == [
        {
            "apiVersion": version,
            "kind": "PodGroup",
            "metadata": {"name": "job", "namespace": "n"},
            "spec": {
                "schedulingPolicy": {"gang": {"minCount": 2}},
                "resourceClaims": [{"name": "a", "resourceClaimTemplateName": "given"}],
            },
        }
    ]


def test_a_group_without_a_gang_and_with_a_shared_claim(grouped: Configuration) -> None:
    grouped["claims"] = [{"name": "one", "namespace": "n", "requests": [GPU]}]
    claims = [{"name": "c", "claim": "one"}]
    (found,) = pod_groups.pod_groups(workload(grouped, podGroup={"claims": ["c"]}, claims=claims), 37)
    assert found["spec"] == {
        "schedulingPolicy": {"basic": {}},
        "resourceClaims": [{"name": "c", "resourceClaimName": "one"}],
    }


def test_a_workload_without_a_group(grouped: Configuration) -> None:
    assert pod_groups.pod_groups(workload(grouped, podGroup=None), 37) == []
    (made,) = pods.workload_objects(workload(grouped))
    assert made["spec"]["template"]["metadata"]["labels"] == {"app": "job"}


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_pods_name_their_group(grouped: Configuration, kind: str) -> None:
    (made,) = pods.workload_objects(workload(grouped, kind=kind))
    template = made["spec"]["template"]
    assert template["metadata"]["labels"] == {"app": "job", "pod-group": "job"}
    assert made["spec"].get("selector", {"matchLabels": {"app": "job"}}) == {"matchLabels": {"app": "job"}}
    # The entry equals that of the PodGroup; otherwise each pod would have its own claim.
    assert template["spec"]["resourceClaims"][0] == {"name": "a", "resourceClaimTemplateName": "given"}


def test_bare_pods_name_their_group(grouped: Configuration) -> None:
    made = pods.workload_objects(workload(grouped, kind="Pod"))
    assert [pod["metadata"]["labels"] for pod in made] == [{"app": "job", "pod-group": "job"}] * 2


def test_the_policy_applies_to_pods_that_name_a_group() -> None:
    policy, binding = pod_groups.admission_policy()
    assert policy["spec"]["matchConstraints"]["objectSelector"] == {
        "matchExpressions": [{"key": "pod-group", "operator": "Exists"}]
    }
    (mutation,) = policy["spec"]["mutations"]
    assert mutation["applyConfiguration"]["expression"] == (
        "Object{spec: Object.spec{schedulingGroup: "
        "Object.spec.schedulingGroup{podGroupName: object.metadata.labels['pod-group']}}}"
    )
    assert binding["spec"] == {"policyName": policy["metadata"]["name"]}


@pytest.mark.parametrize(
    ("version", "group", "gates", "api"),
    [
        ("1.36.3", {}, ["GenericWorkload"], "scheduling.k8s.io/v1alpha2"),
        ("1.36.3", {"minCount": 2}, ["GangScheduling", "GenericWorkload"], "scheduling.k8s.io/v1alpha2"),
        ("1.36.3", {"claims": ["a"]}, ["DRAWorkloadResourceClaims", "GenericWorkload"], "scheduling.k8s.io/v1alpha2"),
        ("1.37.2", {"minCount": 2}, ["GenericWorkload"], "scheduling.k8s.io/v1beta1"),
        (
            "1.37.2",
            {"minCount": 2, "claims": ["a"]},
            ["DRAWorkloadResourceClaims", "GenericWorkload"],
            "scheduling.k8s.io/v1beta1",
        ),
    ],
)
def test_gates_and_apis_of_the_cluster(
    grouped: Configuration, version: str, group: Configuration, gates: list[str], api: str
) -> None:
    grouped["cluster"] = {"name": "x", "kubeVersion": version}
    grouped["workloads"][0]["podGroup"] = group
    cluster = load(grouped).cluster
    assert cluster.kube_feature_gates == dict.fromkeys(gates, True)
    assert cluster.kube_runtime_config == {api: True}


def test_versions_without_groups(grouped: Configuration) -> None:
    grouped["cluster"]["kubeVersion"] = "1.35.1"
    with pytest.raises(ConfigurationError) as raised:
        load(grouped)
    paths = {"": "pod groups", ".claims": "workload resource claims", ".minCount": "gang scheduling"}
    assert [f"{problem.path}: {problem.message}" for problem in raised.value.problems] == [
        f"workloads[0].podGroup{path}: uses {feature}, which Kubernetes 1.35.1 does not have: set "
        "kwok-dra:cluster.kubeVersion to a release since 1.36, such as 1.37.2"
        for path, feature in paths.items()
    ]


def test_every_pod_counts_the_claim_of_its_group(grouped: Configuration) -> None:
    assert workload(grouped).expected_allocated == 4


def test_more_pods_share_a_claim_as_a_group_than_individually(grouped: Configuration) -> None:
    grouped["claims"] = [{"name": "one", "namespace": "n", "requests": [GPU]}]
    grouped["nodePools"][0]["capacity"] = {"pods": 300}
    values: Configuration = {"replicas": 257, "claims": [{"name": "c", "claim": "one"}]}
    assert workload(grouped, **values, podGroup={"claims": ["c"]}).replicas == 257
    with pytest.raises(ConfigurationError) as raised:
        workload(grouped, podGroup={})
    (problem,) = raised.value.problems
    assert problem.message.startswith("is shared by 257 pods; the Kubernetes API allows at most 256")
