"""Deployments, Jobs and bare pods."""

from typing import Any

import pytest

from topology.checks.validation import load
from topology.objects import pods
from topology.schema.workloads import Workload

Configuration = dict[str, Any]


def test_a_pod_uses_each_of_its_claims(dev: Configuration) -> None:
    request = dev["workloads"][0]["claims"][0]["requests"]
    dev["nodePools"][0] |= {"gpusPerNode": 2, "nodes": 3}
    dev["workloads"] = [
        {
            "name": "job",
            "replicas": 3,
            "claims": [{"name": "a", "requests": request}, {"name": "b", "template": "given", "requests": request}],
        }
    ]
    deployment = pods.workload_objects(load(dev).workloads[0])[0]
    assert deployment["spec"]["replicas"] == 3
    pod = deployment["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"] == {"claims": [{"name": "a"}, {"name": "b"}]}
    assert pod["resourceClaims"] == [
        {"name": "a", "resourceClaimTemplateName": "job-a"},
        {"name": "b", "resourceClaimTemplateName": "given"},
    ]


def test_where_pods_may_run(dev: Configuration) -> None:
    dev["workloads"][0] |= {
        "replicas": 0,
        "nodeSelector": {"pool": "big"},
        "tolerations": [{"operator": "Exists"}, {"key": "a", "value": "b", "effect": "NoExecute"}],
    }
    pod = pods.workload_objects(load(dev).workloads[0])[0]["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"pool": "big"}
    assert pod["tolerations"] == [
        {"key": "kwok.x-k8s.io/node", "operator": "Exists", "effect": "NoSchedule"},
        {"operator": "Exists"},
        {"key": "a", "operator": "Equal", "value": "b", "effect": "NoExecute"},
    ]


def workload(dev: Configuration, **values: Any) -> Workload:
    """Return the dev stack's workload with other values, on a node with room for it."""
    dev["nodePools"][0] |= {"nodes": 8}
    dev["workloads"][0] |= values
    return load(dev).workloads[0]


def test_a_deployment(dev: Configuration) -> None:
    (made,) = pods.workload_objects(workload(dev, replicas=3, namespace="n"))
    assert (made["apiVersion"], made["kind"]) == ("apps/v1", "Deployment")
    assert made["metadata"] == {"name": "fake-pod", "namespace": "n"}
    assert made["spec"].keys() == {"replicas", "selector", "template"}
    assert made["spec"]["selector"]["matchLabels"] == made["spec"]["template"]["metadata"]["labels"]


def test_a_job_runs_all_its_pods_at_once(dev: Configuration) -> None:
    template = pods.workload_objects(workload(dev))[0]["spec"]["template"]
    (made,) = pods.workload_objects(workload(dev, kind="Job", replicas=3, namespace="n"))
    assert made == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "fake-pod", "namespace": "n"},
        "spec": {
            "completions": 3,
            "parallelism": 3,
            "template": template | {"spec": template["spec"] | {"restartPolicy": "Never"}},
        },
    }


def test_bare_pods(dev: Configuration) -> None:
    template = pods.workload_objects(workload(dev))[0]["spec"]["template"]
    made = pods.workload_objects(workload(dev, kind="Pod", replicas=2, namespace="n"))
    assert made == [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": template["metadata"] | {"name": f"fake-pod-{index}", "namespace": "n"},
            "spec": template["spec"],
        }
        for index in range(2)
    ]


@pytest.mark.parametrize("kind", ["Deployment", "Job", "Pod"])
def test_a_workload_of_no_pods(dev: Configuration, kind: str) -> None:
    assert len(pods.workload_objects(workload(dev, kind=kind, replicas=0))) == (kind != "Pod")


def test_containers_with_parts_of_claims_and_extended_resources(dev: Configuration) -> None:
    dev["deviceClasses"][0]["extendedResourceName"] = "example.com/gpu"
    dev["nodePools"][0] |= {"gpusPerNode": 8, "capacity": {"example.com/gpu": 2000}}
    containers = [
        {"name": "one", "claims": [{"name": "gpu0", "request": "gpu"}]},
        {"name": "two", "claims": [{"name": "gpu0"}], "resources": {"example.com/gpu": 2}},
        {"name": "three", "resources": {"cpu": 0.5, "memory": "2048Mi", "example.com/gpu": 1000}},
        {"name": "four"},
    ]
    (made,) = pods.workload_objects(workload(dev, containers=containers))
    quantities = {"example.com/gpu": "2"}
    assert made["spec"]["template"]["spec"]["containers"] == [
        {"name": "one", "image": "fake-image", "resources": {"claims": [{"name": "gpu0", "request": "gpu"}]}},
        {
            "name": "two",
            "image": "fake-image",
            "resources": {"claims": [{"name": "gpu0"}], "limits": quantities, "requests": quantities},
        },
        {
            "name": "three",
            "image": "fake-image",
            "resources": {
                "limits": {"example.com/gpu": "1k"},  # as the API server writes it
                "requests": {"cpu": "500m", "memory": "2Gi", "example.com/gpu": "1k"},
            },
        },
        {"name": "four", "image": "fake-image", "resources": {}},
    ]


def test_a_pod_of_extended_resources_alone_has_no_claims(dev: Configuration) -> None:
    dev["deviceClasses"][0]["extendedResourceName"] = "example.com/gpu"
    containers = [{"name": "one", "resources": {"example.com/gpu": 1}}]
    (made,) = pods.workload_objects(workload(dev, claims=[], containers=containers))
    assert "resourceClaims" not in made["spec"]["template"]["spec"]


def test_pods_that_share_a_claim(dev: Configuration) -> None:
    dev["claims"] = [{"name": "one", "requests": dev["workloads"][0]["claims"][0]["requests"]}]
    (made,) = pods.workload_objects(workload(dev, claims=[{"name": "c", "claim": "one"}]))
    assert made["spec"]["template"]["spec"]["resourceClaims"] == [{"name": "c", "resourceClaimName": "one"}]
