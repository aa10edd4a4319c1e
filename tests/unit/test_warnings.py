"""Warnings about extended resources that Kubernetes does not serve as one expects."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from topology.checks.validation import load

Object = dict[str, Any]
NAME = "example.com/gpu"
IMPLICIT = "deviceclass.resource.kubernetes.io/gpu"
MAPPED: Object = {"nodeAllocatableResources": {"cpu": {"mapping": {"deviceMultiplier": 1}}}}
OVERHEAD: Object = {"nodeAllocatableResources": {"memory": {"overhead": {"perPod": "1Gi"}}}}
NVIDIA = {"gpu": "l4", "capacity": {"nvidia.com/gpu": 4}}


def pool(name: str = "a", capacity: Object | None = None, driver: str = "example.com", **model: Any) -> Object:
    return {"name": name, "gpu": {"driver": driver} | model, "capacity": capacity or {}}


def device_class(name: str = "gpu", selector: str = "true", resource: str = NAME) -> Object:
    return {"name": name, "selectors": [selector]} | ({"extendedResourceName": resource} if resource else {})


def requesting(resource: str) -> Object:
    return {"name": "w", "containers": [{"name": "x", "resources": {resource: 1}}]}


def warnings(*pools: Object, folder: Path = Path(), **values: Any) -> list[str]:
    found: list[str] = []
    configuration = {"cluster": {"name": "x"}, "deviceClasses": [device_class()], "nodePools": [*pools]}
    load(configuration | values, folder, warn=found.append)
    return found


def hidden(resource: str, name: str = "gpu") -> str:
    return (
        f"the nodes of pool a have {resource} in their capacity, and device class {name} provides it too: to pods that "
        f"request {resource}, the scheduler gives this capacity and never the devices of these nodes. To have it "
        f"allocate the devices, set {resource}: 0 in the pool's capacity"
    )


def refused(resource: str) -> str:
    return (
        f"Kubernetes 1.37 cannot run pods that request {resource} with the devices of device class gpu in pool a, "
        "which have nodeAllocatableResources: the API server refuses the status that the scheduler writes for such "
        "pods. Request these devices with claims. Kubernetes 1.38 corrects this: "
        "https://github.com/kubernetes/kubernetes/pull/141556"
    )


@pytest.mark.parametrize(
    ("pools", "values", "expected"),
    [
        ([pool()], {}, []),
        # A node's own resource, whether the pool or the model has it.
        ([pool(capacity={NAME: 2})], {}, [hidden(NAME)]),
        ([pool(node={"capacity": {NAME: 2}})], {}, [hidden(NAME)]),
        ([pool(capacity={IMPLICIT: 2})], {}, [hidden(IMPLICIT)]),
        ([{"name": "a"} | NVIDIA], {"deviceClasses": []}, [hidden("nvidia.com/gpu", "gpu.nvidia.com")]),
        # The remedy: the pool's capacity overrides that of the model.
        ([pool(node={"capacity": {NAME: 2}}, capacity={NAME: 0})], {}, []),
        # The class matches no device of the node, or none without an error.
        ([pool(capacity={NAME: 2}), pool("b", driver="b.io")], {"deviceClasses": [device_class(selector="false")]}, []),
        (
            [pool(capacity={NAME: 2})],
            {"deviceClasses": [device_class(selector="device.attributes['example.com'].x")]},
            [],
        ),
        ([pool(capacity={NAME: 2}) | {"nodes": 0}], {}, []),
        # Devices of a faulty node count: the fault goes away.
        ([pool(capacity={NAME: 2}) | {"faults": [{"devices": ["gpu-0"], "gone": True}]}], {}, [hidden(NAME)]),
        # Devices that use resources of their node.
        ([pool(**MAPPED)], {}, [refused(NAME)]),
        ([pool(**OVERHEAD)], {}, [refused(NAME)]),
        ([pool(**MAPPED)], {"cluster": {"name": "x", "kubeVersion": "1.38.0"}}, []),
        ([pool(**MAPPED)], {"deviceClasses": [device_class(resource="")]}, []),
        (
            [pool(**MAPPED)],
            {"deviceClasses": [device_class(resource="")], "workloads": [requesting(IMPLICIT)]},
            [refused(IMPLICIT)],
        ),
        ([pool(**MAPPED), pool("b", driver="b.io")], {"deviceClasses": [device_class(selector="false")]}, []),
        ([pool(capacity={NAME: 2}, **MAPPED)], {}, [hidden(NAME)]),
        # Two classes with one name.
        (
            [pool()],
            {"deviceClasses": [device_class("b"), device_class("a"), device_class("c", resource="example.com/c")]},
            [
                "device classes a and b have one extendedResourceName, example.com/gpu: the scheduler uses only the "
                "newest of them, or the first by name if they were created in the same second"
            ],
        ),
        # More nodes than Kubernetes promises to support.
        ([pool() | {"nodes": 2500}, pool("b") | {"nodes": 2500}], {}, []),
        (
            [pool() | {"nodes": 2500}, pool("b") | {"nodes": 2501}],
            {},
            [
                "the stack has 5001 nodes, and Kubernetes supports at most 5000 in a cluster "
                "(https://kubernetes.io/docs/setup/best-practices/cluster-large/): a real cluster of this size may "
                "behave differently. docs/performance.md says how much memory it needs"
            ],
        ),
    ],
)
def test_warnings(pools: list[Object], values: Object, expected: list[str]) -> None:
    assert warnings(*pools, **values) == expected


def test_classes_and_pods_of_manifests(tmp_path: Path) -> None:
    def written(kind: str, version: str, name: str, spec: Object) -> Object:
        return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}

    selectors = [{"cel": {"expression": "device.driver == 'example.com'"}}]
    objects = [
        written("DeviceClass", "resource.k8s.io/v1", "own", {"selectors": selectors, "extendedResourceName": NAME}),
        written("Pod", "v1", "p", {"containers": [{"name": "x", "resources": {"limits": {IMPLICIT: 1}}}]}),
        written("Pod", "v1", "q", {"containers": [{"name": "x", "resources": {"limits": ["odd"]}}]}),
    ]
    (tmp_path / "a.yaml").write_text(yaml.safe_dump_all(objects))
    manifests = [{"name": "m", "files": ["a.yaml"]}]
    plain = [device_class(resource="")]
    assert warnings(pool(capacity={NAME: 2}), folder=tmp_path, manifests=manifests, deviceClasses=plain) == [
        hidden(NAME, "own")
    ]
    assert refused(IMPLICIT) in warnings(pool(**MAPPED), folder=tmp_path, manifests=manifests, deviceClasses=plain)
    shared = warnings(pool(), folder=tmp_path, manifests=manifests)
    assert [text.partition(":")[0] for text in shared] == [
        f"device classes gpu and own have one extendedResourceName, {NAME}"
    ]
