"""ResourceSlices: their devices, counters and names."""

import re
from typing import Any

import pytest

from topology.kubernetes import limits
from topology.objects.slices import SLICES_MAX, Manifest, content_digest, first_generation, resource_slices
from topology.schema.stack import NodePool
from topology.schema.values import is_dns_subdomain

DRIVER = "gpu.example.com"

Values = dict[str, Any]


def gpu(**values: Any) -> Values:
    return {"driver": DRIVER, "attributes": {"index": {"int": "{index}"}}} | values


def parts(count: int, **values: Any) -> Values:
    """Return a device with `count` partitions, which share counters."""
    partitions = [{"deviceName": f"gpu-{{index}}-{number}"} for number in range(count)]
    return gpu(partitions=partitions, counterSet="gpu-{index}-set", counters={"memory": 1}) | values


PROFILE = {"id": 19, "size": 1, "placements": [0], "multiprocessors": 14, "copyEngines": 1, "decoders": 0}
MIG_GPU = gpu(mig=[PROFILE | {"name": "1g.5gb", "jpegEngines": 0, "ofaEngines": 0, "memory": "5Gi"}])


def pool_of(**values: Any) -> NodePool:
    return NodePool.model_validate({"name": "n", "nodes": 9} | values)


def slices_of(minor: int = limits.KUBERNETES_MINOR_MAX, **values: Any) -> list[Manifest]:
    return resource_slices(pool_of(**values), "n-0", minor)


def shape(slices: list[Manifest]) -> list[tuple[int, int]]:
    """Return the numbers of counter sets and of devices in each slice."""
    return [(len(one["spec"].get("sharedCounters", [])), len(one["spec"].get("devices", []))) for one in slices]


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        ({"gpu": gpu()}, [(0, 1)]),
        ({"gpu": gpu(), "gpusPerNode": 128}, [(0, 128)]),
        ({"gpu": gpu(), "gpusPerNode": 129}, [(0, 128), (0, 1)]),
        ({"gpu": gpu(), "gpusPerNode": 4096}, [(0, 128)] * 32),
        ({"gpu": parts(1)}, [(1, 0), (0, 1)]),
        ({"gpu": parts(8), "gpusPerNode": 8}, [(8, 0), (0, 64)]),
        ({"gpu": parts(8), "gpusPerNode": 9}, [(8, 0), (1, 0), (0, 64), (0, 8)]),
        # The partitions of a device stay together.
        ({"gpu": parts(10), "gpusPerNode": 10}, [(8, 0), (2, 0), (0, 60), (0, 40)]),
        # One device with counters lowers the limit of its slice.
        ({"gpu": gpu(), "gpusPerNode": 64, "devices": [{"model": parts(1)}]}, [(1, 0), (0, 64), (0, 1)]),
        ({"gpu": gpu(), "gpusPerNode": 63, "devices": [{"model": parts(1)}]}, [(1, 0), (0, 64)]),
        ({"gpu": gpu(partitions=[{"deviceName": f"{n}-{{index}}"} for n in "ab"]), "gpusPerNode": 64}, [(0, 128)]),
        # Each GPU in MIG mode has its own slice, after the slices of other GPUs.
        ({"gpu": MIG_GPU, "gpusPerNode": 8, "mig": "dynamic"}, [(8, 0), *[(0, 2)] * 8]),
        ({"gpu": MIG_GPU, "gpusPerNode": 9, "mig": "dynamic"}, [(8, 0), (1, 0), *[(0, 2)] * 9]),
        ({"gpu": MIG_GPU, "mig": "dynamic", "devices": [{"model": MIG_GPU, "count": 3}]}, [(1, 0), (0, 3), (0, 2)]),
        ({"gpu": MIG_GPU, "gpusPerNode": 3, "mig": [{"profiles": {"1g.5gb": 1}}]}, [(0, 3)]),
    ],
)
def test_devices_per_slice(pool: Values, expected: list[tuple[int, int]]) -> None:
    slices = slices_of(**pool)
    assert shape(slices) == expected
    assert {one["spec"]["pool"]["resourceSliceCount"] for one in slices} == {len(expected)}
    names = [device["name"] for one in slices for device in one["spec"].get("devices", [])]
    assert len(set(names)) == len(names) == sum(devices for _, devices in expected)


@pytest.mark.parametrize("minor", [35, 36, 37])
def test_counters_have_their_own_slices(minor: int) -> None:
    """The API server rejects a slice with both counters and devices."""
    assert shape(slices_of(minor, gpu=parts(2))) == [(1, 0), (0, 2)]
    assert not [one for one in slices_of(minor, gpu=parts(2)) if {"devices", "sharedCounters"} <= one["spec"].keys()]


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        ({"gpu": gpu(), "gpusPerNode": 129}, [(0, 128), (0, 1)]),
        ({"gpu": parts(8), "gpusPerNode": 9}, [(8, 64), (1, 8)]),
        ({"gpu": parts(1), "gpusPerNode": 9}, [(8, 8), (1, 1)]),
        ({"gpu": MIG_GPU, "gpusPerNode": 8, "mig": "dynamic"}, [(1, 2)] * 8),
        # A slice may have 32 counters, and 8 sets have 40.
        ({"gpu": parts(1, counters={f"c{n}": 1 for n in range(5)}), "gpusPerNode": 8}, [(6, 6), (2, 2)]),
        ({"gpu": parts(1, counters={f"c{n}": 1 for n in range(32)}), "gpusPerNode": 2}, [(1, 1), (1, 1)]),
    ],
)
def test_in_kubernetes_1_34_counters_are_with_their_devices(pool: Values, expected: list[tuple[int, int]]) -> None:
    slices = slices_of(34, **pool)
    assert shape(slices) == expected
    for one in slices:
        sets = {entry["name"] for entry in one["spec"].get("sharedCounters", [])}
        for device in one["spec"]["devices"]:
            assert {entry["counterSet"] for entry in device.get("consumesCounters", [])} <= sets


ATTACHED = gpu(bindingConditions=["a", "b"], bindingFailureConditions=["c"], bindsToNode=True)


def test_binding_conditions() -> None:
    (one,) = slices_of(gpu=ATTACHED)
    (plain,) = slices_of(gpu=gpu())
    (device,) = one["spec"]["devices"]
    assert device == plain["spec"]["devices"][0] | {
        "bindingConditions": ["a", "b"],
        "bindingFailureConditions": ["c"],
        "bindsToNode": True,
    }
    assert plain["spec"]["devices"][0].keys() <= {"name", "attributes", "capacity"}


def test_all_partitions_of_a_device_have_its_binding_conditions() -> None:
    conditions = {"bindingConditions": ["a"], "bindingFailureConditions": ["c"]}
    for pool in ({"gpu": parts(2) | conditions}, {"gpu": MIG_GPU | conditions, "mig": "dynamic"}):
        *_, last = slices_of(**pool)
        assert [device["bindingConditions"] for device in last["spec"]["devices"]] == [["a"]] * 2


def test_a_complete_slice() -> None:
    device = gpu(allowMultipleAllocations=True, capacity={"memory": {"value": 8, "requestPolicy": {"default": 1}}})
    (one,) = slices_of(gpu=device)
    assert one == {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceSlice",
        "metadata": {"name": one["metadata"]["name"]},
        "spec": {
            "driver": DRIVER,
            "nodeName": "n-0",
            "pool": {"name": "n-0", "generation": 1, "resourceSliceCount": 1},
            "devices": [
                {
                    "name": "gpu-0",
                    "attributes": {"index": {"int": 0}},
                    "capacity": {"memory": {"value": "8", "requestPolicy": {"default": "1"}}},
                    "allowMultipleAllocations": True,
                }
            ],
        },
    }


def test_complete_slices_with_counters() -> None:
    counters, devices = slices_of(gpu=parts(1))
    pool = {"name": "n-0", "generation": 1, "resourceSliceCount": 2}
    assert counters["spec"] == {
        "driver": DRIVER,
        "nodeName": "n-0",
        "pool": pool,
        "sharedCounters": [{"name": "gpu-0-set", "counters": {"memory": {"value": "1"}}}],
    }
    consumed = [{"counterSet": "gpu-0-set", "counters": {"memory": {"value": "1"}}}]
    assert devices["spec"] == {
        "driver": DRIVER,
        "nodeName": "n-0",
        "pool": pool,
        "devices": [{"name": "gpu-0-0", "attributes": {"index": {"int": 0}}, "consumesCounters": consumed}],
    }


def test_each_driver_has_a_pool() -> None:
    nic = {"driver": "nic.example.com", "firstGeneration": 5}
    slices = slices_of(gpu=gpu(), gpusPerNode=129, devices=[{"model": nic, "count": 2}])
    assert [one["spec"]["driver"] for one in slices] == [DRIVER, DRIVER, "nic.example.com"]
    assert [one["spec"]["pool"] for one in slices] == [
        {"name": "n-0", "generation": 1, "resourceSliceCount": 2},
        {"name": "n-0", "generation": 1, "resourceSliceCount": 2},
        {"name": "n-0", "generation": 5, "resourceSliceCount": 1},
    ]
    assert first_generation(pool_of(gpu=gpu(), devices=[{"model": nic}]), "nic.example.com") == 5


# Names.


@pytest.mark.parametrize("name", ["{node}-{driver}-{suffix}", "{suffix}.{driver}.{node}", "{node}-{suffix}-{driver}"])
def test_names_are_sorted_as_the_devices_are(name: str) -> None:
    """The scheduler examines the slices by name."""
    slices = slices_of(gpu=gpu(sliceName=name), gpusPerNode=4096)
    names = [one["metadata"]["name"] for one in slices]
    assert names == sorted(names)
    assert len(set(names)) == len(names) == 32
    assert all(is_dns_subdomain(name) for name in names)
    indexes = [device["attributes"]["index"]["int"] for one in slices for device in one["spec"]["devices"]]
    assert indexes == list(range(4096))


def test_names_are_sorted_up_to_the_maximum_number_of_slices() -> None:
    slices = slices_of(gpu=parts(33), gpusPerNode=600)
    names = [one["metadata"]["name"] for one in slices]
    assert len(names) == 75 + 600 <= SLICES_MAX
    assert names == sorted(set(names))


def test_names_do_not_change() -> None:
    """A name that changed with each run or with Python's hash seed would replace the slice in every update."""
    slices = [one for node in ("n-0", "n-1") for one in resource_slices(pool_of(gpu=gpu(), gpusPerNode=129), node)]
    assert [one["metadata"]["name"] for one in slices] == [
        "n-0-gpu.example.com-22s4x",
        "n-0-gpu.example.com-247xh",
        "n-1-gpu.example.com-229nv",
        "n-1-gpu.example.com-24jvl",
    ]


def test_all_placeholders_of_a_name() -> None:
    (one,) = slices_of(gpu=gpu(sliceName="{suffix}.{driver}.{node}.{suffix}"))
    assert re.fullmatch(r"([2-9b-z]{5})\.gpu\.example\.com\.n-0\.\1", one["metadata"]["name"])


def test_more_devices_keep_the_names() -> None:
    few, many = (slices_of(gpu=gpu(), gpusPerNode=count) for count in (1, 300))
    assert few[0]["metadata"] == many[0]["metadata"]


def test_devices_that_a_driver_lists_by_name() -> None:
    names = [
        [device["name"] for device in slices_of(gpu=gpu(sortedByName=by_name), gpusPerNode=12)[0]["spec"]["devices"]]
        for by_name in (False, True)
    ]
    assert names == [[f"gpu-{number}" for number in range(12)], sorted(f"gpu-{number}" for number in range(12))]


# The digest that increments the generation.

POOL: Values = {"gpu": gpu(), "gpusPerNode": 2}


@pytest.mark.parametrize(
    ("change", "minor", "differs"),
    [
        ({}, 37, False),
        ({"nodes": 1}, 37, False),
        ({"labels": {"a": "b"}, "capacity": {"cpu": 1}, "taints": []}, 37, False),
        ({"devices": [{"model": {"driver": "nic.example.com"}}]}, 37, False),
        # There, only the counters are in other slices.
        ({}, 34, False),
        ({"gpusPerNode": 3}, 37, True),
        ({"attributes": {"x": {"int": 1}}}, 37, True),
        ({"gpu": gpu(capacity={"memory": 1})}, 37, True),
        ({"gpu": gpu(allowMultipleAllocations=True)}, 37, True),
        ({"gpu": gpu(deviceName="other-{index}")}, 37, True),
        ({"gpu": gpu(attributes={"index": {"string": "{index}"}})}, 37, True),
    ],
)
def test_the_digest_changes_with_the_devices(change: Values, minor: int, differs: bool) -> None:
    before, after = content_digest(pool_of(**POOL), DRIVER, 37), content_digest(pool_of(**POOL | change), DRIVER, minor)
    assert (before != after) is differs


def test_the_digest_ignores_nodes_that_are_not_ready() -> None:
    pools = [pool_of(gpu=gpu()), pool_of(gpu=gpu(), faults=[{"notReady": True}])]
    assert len({content_digest(pool, DRIVER, 37) for pool in pools}) == 1
    assert content_digest(pool_of(gpu=gpu(), faults=[{"gone": True, "devices": ["x"]}]), DRIVER, 37) not in (
        content_digest(pools[0], DRIVER, 37)
    )


def test_the_digest_includes_counters() -> None:
    pools = [pool_of(gpu=parts(1)), pool_of(gpu=parts(1, counters={"memory": 2}))]
    digests = {content_digest(pool, DRIVER, minor) for pool in pools for minor in (34, 35)}
    assert len(digests) == 4


def test_the_digest_is_of_one_driver() -> None:
    one, two = (
        pool_of(gpu=gpu(), devices=[{"model": {"driver": "nic.example.com"}, "count": count}]) for count in (1, 2)
    )
    assert content_digest(one, DRIVER, 37) == content_digest(two, DRIVER, 37)
    assert content_digest(one, "nic.example.com", 37) != content_digest(two, "nic.example.com", 37)
