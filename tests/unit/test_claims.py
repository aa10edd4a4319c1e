"""DeviceClasses, ResourceClaims and ResourceClaimTemplates."""

from typing import Any

import pytest

from topology.checks.validation import load
from topology.objects import claims

Configuration = dict[str, Any]


def test_the_requests_of_a_claim(dev: Configuration) -> None:
    requests = [
        {"name": "one", "deviceClass": "kwok.x-k8s.io"},
        {"name": "more", "deviceClass": "kwok.x-k8s.io", "count": 3, "selectors": ["true", "1 == 1"]},
    ]
    dev["nodePools"][0]["gpusPerNode"] = 4
    dev["workloads"] = [{"name": "job", "claims": [{"name": "a", "requests": requests}]}]
    workload = load(dev).workloads[0]
    template = claims.resource_claim_template(workload, workload.claims[0])
    assert template["metadata"] == {"name": "job-a", "namespace": "default"}
    assert template["spec"]["spec"]["devices"]["requests"] == [
        {
            "name": "one",
            "exactly": {"deviceClassName": "kwok.x-k8s.io", "allocationMode": "ExactCount", "count": 1},
        },
        {
            "name": "more",
            "exactly": {
                "deviceClassName": "kwok.x-k8s.io",
                "allocationMode": "ExactCount",
                "count": 3,
                "selectors": [{"cel": {"expression": "true"}}, {"cel": {"expression": "1 == 1"}}],
            },
        },
    ]


def test_a_class_without_selectors(dev: Configuration) -> None:
    dev["deviceClasses"][0]["selectors"] = []
    assert claims.device_class(load(dev).device_classes[0])["spec"] == {"selectors": []}


def test_an_extended_resource(dev: Configuration) -> None:
    dev["deviceClasses"][0] |= {"selectors": [], "extendedResourceName": "example.com/gpu"}
    assert claims.device_class(load(dev).device_classes[0])["spec"] == {
        "selectors": [],
        "extendedResourceName": "example.com/gpu",
    }


def test_a_claim_with_everything(dev: Configuration) -> None:
    requests = [
        {"name": "one", "deviceClass": "kwok.x-k8s.io", "capacity": {"memory": "10Gi", "example.com/cores": 2}},
        {"name": "two", "deviceClass": "kwok.x-k8s.io"},
    ]
    constraints = [
        {"matchAttribute": "resource.kubernetes.io/pcieRoot"},
        {"requests": ["two"], "distinctAttribute": "gpu.example.com/index"},
    ]
    dev["workloads"][0] |= {
        "replicas": 0,
        "claims": [{"name": "all", "requests": requests, "constraints": constraints}],
    }
    workload = load(dev).workloads[0]
    assert claims.resource_claim_template(workload, workload.claims[0])["spec"]["spec"]["devices"] == {
        "requests": [
            {
                "name": "one",
                "exactly": {
                    "deviceClassName": "kwok.x-k8s.io",
                    "allocationMode": "ExactCount",
                    "count": 1,
                    "capacity": {"requests": {"memory": "10Gi", "example.com/cores": "2"}},
                },
            },
            {
                "name": "two",
                "exactly": {"deviceClassName": "kwok.x-k8s.io", "allocationMode": "ExactCount", "count": 1},
            },
        ],
        "constraints": constraints,
    }


ANY = {"deviceClass": "kwok.x-k8s.io"}
RENDERED = {"deviceClassName": "kwok.x-k8s.io", "allocationMode": "ExactCount", "count": 1}
TOLERATIONS: list[Configuration] = [
    {"operator": "Exists"},
    {"key": "a", "value": "b", "effect": "NoExecute", "tolerationSeconds": 0},
]


@pytest.mark.parametrize(
    ("request_", "rendered"),
    [
        ({}, {"exactly": RENDERED}),
        ({"allocationMode": "All"}, {"exactly": {"deviceClassName": "kwok.x-k8s.io", "allocationMode": "All"}}),
        ({"adminAccess": True}, {"exactly": RENDERED | {"adminAccess": True}}),
        ({"adminAccess": False}, {"exactly": RENDERED}),
        (
            {"tolerations": TOLERATIONS},
            {"exactly": RENDERED | {"tolerations": [TOLERATIONS[0], {"operator": "Equal"} | TOLERATIONS[1]]}},
        ),
        (
            {"firstAvailable": [{"name": "a", "count": 2} | ANY, {"name": "b", "selectors": ["true"]} | ANY]},
            {
                "firstAvailable": [
                    RENDERED | {"name": "a", "count": 2},
                    RENDERED | {"name": "b", "selectors": [{"cel": {"expression": "true"}}]},
                ]
            },
        ),
    ],
)
def test_forms_of_requests(dev: Configuration, request_: Configuration, rendered: Configuration) -> None:
    """They are the same in a template and in a shared claim."""
    asked = {"name": "r"} | ({} if "firstAvailable" in request_ else ANY) | request_
    dev["claims"] = [{"name": "one", "namespace": "admin", "requests": [asked]}]
    dev["workloads"][0] |= {"replicas": 0, "namespace": "admin", "claims": [{"name": "c", "requests": [asked]}]}
    topology = load(dev)
    spec = {"devices": {"requests": [{"name": "r"} | rendered]}}
    assert claims.resource_claim(topology.claims[0]) == {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"name": "one", "namespace": "admin"},
        "spec": spec,
    }
    workload = topology.workloads[0]
    template = claims.resource_claim_template(workload, workload.claims[0])
    assert template["metadata"] == {"name": "fake-pod-c", "namespace": "admin"}
    assert template["spec"] == {"spec": spec}


def test_parameters_for_drivers(dev: Configuration) -> None:
    parameters = {"apiVersion": "gpu.example.com/v1", "sharing": {"strategy": "TimeSlicing", "share": [1, 2.5, None]}}
    config = [
        {"driver": "gpu.example.com", "parameters": parameters},
        {"driver": "gpu.example.com", "parameters": {}, "requests": ["gpu"]},
    ]
    dev["workloads"][0]["claims"][0]["config"] = config
    workload = load(dev).workloads[0]
    assert claims.resource_claim_template(workload, workload.claims[0])["spec"]["spec"]["devices"]["config"] == [
        {"opaque": {"driver": "gpu.example.com", "parameters": parameters}},
        {"requests": ["gpu"], "opaque": {"driver": "gpu.example.com", "parameters": {}}},
    ]
