"""The wire formats of the versions of resource.k8s.io.

https://github.com/kubernetes/api/blob/v0.37.2/resource/v1/types.go
https://github.com/kubernetes/api/blob/v0.37.2/resource/v1beta2/types.go
https://github.com/kubernetes/api/blob/v0.37.2/resource/v1beta1/types.go
"""

import copy
from typing import Any

import pytest

from topology.kubernetes.api_versions import RESOURCE_API_VERSIONS, as_v1, convert, is_removed

Object = dict[str, Any]

TOLERATION = {"key": "example.com/broken", "operator": "Exists"}
EXACTLY: Object = {
    "deviceClassName": "gpu.example.com",
    "selectors": [{"cel": {"expression": "true"}}],
    "allocationMode": "ExactCount",
    "count": 2,
    "adminAccess": True,
    "tolerations": [TOLERATION],
    "capacity": {"requests": {"memory": "1Gi"}},
    "derivedAttributes": [{"name": "example.com/numa", "expression": "0"}],
}
EITHER: Object = {"name": "b", "firstAvailable": [{"name": "big", "deviceClassName": "gpu.example.com", "count": 1}]}
# All fields of a Device except its name.
BODY: Object = {
    "attributes": {"index": {"int": 0}},
    "capacity": {"memory": {"value": "80Gi", "requestPolicy": {"default": "1Gi"}}},
    "consumesCounters": [{"counterSet": "gpu-0", "counters": {"memory": {"value": "10Gi"}}}],
    "nodeName": "node-0",
    "nodeSelector": {"nodeSelectorTerms": []},
    "allNodes": False,
    "taints": [{"key": "example.com/broken", "effect": "NoSchedule"}],
    "bindsToNode": True,
    "bindingConditions": ["Ready"],
    "bindingFailureConditions": ["Failed"],
    "allowMultipleAllocations": True,
    "nodeAllocatableResources": {"cpu": {"mapping": {"deviceMultiplier": "1"}}},
}
COUNTERS = [{"name": "gpu-0", "counters": {"memory": {"value": "80Gi"}}}]
POOL = {"name": "node-0", "generation": 1, "resourceSliceCount": 2}


def manifest(version: str, kind: str, spec: Object) -> Object:
    """Return an object of resource.k8s.io with metadata."""
    return {
        "apiVersion": f"resource.k8s.io/{version}",
        "kind": kind,
        "metadata": {"name": "x", "labels": {"basic": "exactly"}},
        "spec": spec,
    }


def devices_of(requests: list[Object]) -> Object:
    return {"devices": {"requests": requests, "constraints": [{"matchAttribute": "example.com/numa"}]}}


# Each kind with its spec in v1 and v1beta2, and in v1beta1.
SPECS: list[tuple[str, Object, Object]] = [
    (
        "DeviceClass",
        {"selectors": [{"cel": {"expression": "true"}}], "extendedResourceName": "example.com/gpu"},
        {"selectors": [{"cel": {"expression": "true"}}], "extendedResourceName": "example.com/gpu"},
    ),
    (
        "ResourceClaim",
        devices_of([{"name": "a", "exactly": EXACTLY}, EITHER]),
        devices_of([{"name": "a"} | EXACTLY, EITHER]),
    ),
    (
        "ResourceClaimTemplate",
        {"metadata": {"labels": {"x": "y"}}, "spec": devices_of([{"name": "a", "exactly": EXACTLY}, EITHER])},
        {"metadata": {"labels": {"x": "y"}}, "spec": devices_of([{"name": "a"} | EXACTLY, EITHER])},
    ),
    (
        "ResourceSlice",
        {"driver": "gpu.example.com", "pool": POOL, "devices": [{"name": "gpu-0"} | BODY, {"name": "gpu-1"}]},
        {
            "driver": "gpu.example.com",
            "pool": POOL,
            "devices": [{"name": "gpu-0", "basic": BODY}, {"name": "gpu-1", "basic": {}}],
        },
    ),
    # The lists may be missing: slices with counters have no devices, and claims may have no requests.
    (
        "ResourceSlice",
        {"driver": "gpu.example.com", "pool": POOL, "sharedCounters": COUNTERS},
        {"driver": "gpu.example.com", "pool": POOL, "sharedCounters": COUNTERS},
    ),
    ("ResourceClaim", {}, {}),
    ("ResourceClaim", {"devices": {}}, {"devices": {}}),
    ("ResourceClaimTemplate", {"spec": {"devices": {}}}, {"spec": {"devices": {}}}),
]


def test_the_versions_are_newest_first() -> None:
    assert RESOURCE_API_VERSIONS == ("v1", "v1beta2", "v1beta1")


@pytest.mark.parametrize(("kind", "v1", "v1beta1"), SPECS)
def test_conversion(kind: str, v1: Object, v1beta1: Object) -> None:
    internal = manifest("v1", kind, v1)
    assert convert(internal, "v1") == internal
    assert convert(internal, "v1beta2") == manifest("v1beta2", kind, v1)
    assert convert(internal, "v1beta1") == manifest("v1beta1", kind, v1beta1)


@pytest.mark.parametrize(("kind", "v1"), [(kind, v1) for kind, v1, _ in SPECS])
@pytest.mark.parametrize("version", RESOURCE_API_VERSIONS)
def test_conversion_loses_nothing(kind: str, v1: Object, version: str) -> None:
    internal = manifest("v1", kind, v1)
    assert as_v1(convert(internal, version)) == internal


@pytest.mark.parametrize(("kind", "v1"), [(kind, v1) for kind, v1, _ in SPECS])
def test_newer_fields_in_the_oldest_version_stay(kind: str, v1: Object) -> None:
    """A v1beta1 manifest with `exactly` already has the shape of v1."""
    assert as_v1(manifest("v1beta1", kind, v1)) == manifest("v1", kind, v1)


@pytest.mark.parametrize(("kind", "v1"), [(kind, v1) for kind, v1, _ in SPECS])
@pytest.mark.parametrize("version", RESOURCE_API_VERSIONS)
def test_the_input_stays_the_same(kind: str, v1: Object, version: str) -> None:
    internal = manifest("v1", kind, v1)
    before = copy.deepcopy(internal)
    convert(internal, version)
    assert internal == before


@pytest.mark.parametrize(
    ("api_version", "kind"),
    [
        ("v1", "Node"),
        ("apps/v1", "Deployment"),
        ("example.com/v1", "ResourceSlice"),
        ("resource.k8s.io.example.com/v1", "ResourceSlice"),
        # These kinds do not exist in all versions, so they are rendered in the version that the cluster has.
        ("resource.k8s.io/v1", "DeviceTaintRule"),
        ("resource.k8s.io/v1alpha3", "ResourcePoolStatusRequest"),
    ],
)
@pytest.mark.parametrize("version", RESOURCE_API_VERSIONS)
def test_anything_else_is_not_converted(api_version: str, kind: str, version: str) -> None:
    other = {"apiVersion": api_version, "kind": kind, "spec": {"devices": [{"name": "x", "exactly": {"count": 1}}]}}
    assert convert(copy.deepcopy(other), version) == other


@pytest.mark.parametrize(
    ("api", "since"),
    [
        ("resource.k8s.io/v1beta1", 38),
        ("resource.k8s.io/v1beta1/resourceclaims", 38),
        ("resource.k8s.io/v1beta2", 39),
        ("scheduling.k8s.io/v1alpha1", 36),
        ("scheduling.k8s.io/v1alpha2", 37),
        ("resource.k8s.io/v1", None),
        ("resource.k8s.io/v1alpha3", None),
        ("scheduling.k8s.io/v1beta1", None),
        ("networking.k8s.io/v1beta1", None),
        ("api/all", None),
        ("v1", None),
    ],
)
def test_apis_that_are_removed(api: str, since: int | None) -> None:
    """Figures of `APILifecycleRemoved` in https://github.com/kubernetes/api/tree/v0.38.0-beta.0/resource."""
    assert [minor for minor in range(34, 40) if is_removed(api, minor)] == list(range(since or 40, 40))
