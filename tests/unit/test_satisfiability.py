"""Claims of every form against the nodes of a stack, and how many pods those have room for."""

from typing import Any

import pytest

from topology.checks.validation import ConfigurationError, load

Configuration = dict[str, Any]

DRIVER = "own.example.com"
INDEX = f"device.attributes['{DRIVER}'].index"
REQUEST = "workloads[0].claims[0].requests[0]"
TOGETHER = "not even an empty node of a can satisfy them all at once: ask for less, or loosen selectors and constraints"


def devices(count: int = 1, **values: Any) -> Configuration:
    """Return a pool of nodes with so many devices."""
    model = {"driver": DRIVER, "attributes": {"index": {"int": "{index}"}}} | values.pop("model", {})
    return {"gpu": model, "gpusPerNode": count} | values


def shared(count: int = 1) -> Configuration:
    """Return a pool of nodes with devices that claims can share."""
    return devices(count, model={"allowMultipleAllocations": True, "capacity": {"memory": 8}})


def index(value: int) -> Configuration:
    """Return a request's selector of the device of that number."""
    return {"selectors": [f"{INDEX} == {value}"]}


def claim(*requests: Configuration, name: str = "c", **values: Any) -> Configuration:
    """Return a claim, whose requests are for one device each unless they say otherwise."""
    plain = [{} if "firstAvailable" in request else {"deviceClass": "any"} for request in requests]
    numbered = [
        {"name": f"r{place}"} | kind | request
        for place, (kind, request) in enumerate(zip(plain, requests, strict=True))
    ]
    return {"name": name, "requests": numbered} | values


def either(*alternatives: Configuration) -> Configuration:
    """Return a request for the first of some alternatives."""
    return {
        "firstAvailable": [{"name": f"a{place}", "deviceClass": "any"} | one for place, one in enumerate(alternatives)]
    }


def stack(*pools: Configuration, claims: Any = (), shared_claims: Any = (), **workload: Any) -> Configuration:
    """Return a stack of pools and one workload."""
    return {
        "cluster": {"name": "x"},
        "deviceClasses": [
            {"name": "any", "selectors": [], "extendedResourceName": "example.com/any"},
            {"name": "none", "selectors": ["false"]},
        ],
        "nodePools": [{"name": name} | pool for name, pool in zip("ab", pools, strict=False)],
        "claims": [entry | {"name": name} for name, entry in zip(("one", "two"), shared_claims, strict=False)],
        "workloads": [{"name": "job", "claims": list(claims)} | workload],
    }


def problems(configuration: Configuration) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        load(configuration)
    return [f"{problem.path}: {problem.message}" for problem in raised.value.problems]


def asking(name: str, *counts: int | str) -> list[Configuration]:
    """Return containers that ask for so much of a resource each."""
    return [{"name": f"x{place}", "resources": {name: count}} for place, count in enumerate(counts)]


NODE = f"device.attributes['{DRIVER}'].node"
NAMED = devices(8, model={"attributes": {"index": {"int": "{index}"}, "node": {"string": "{node}"}}})
NONE = {"deviceClass": "none"}
DISK = {"ephemeral-storage": "3Gi"}
ADMIN = {"adminAccess": True}
ALL = {"allocationMode": "All"}
USE = {"name": "u", "claim": "one"}
GROUP = claim({"count": 3})
HAS_NONE = "but no node of a has any: name another class, or loosen what it asks for"


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        # Alternatives: each is named where none can be had.
        (
            stack(devices(2), claims=[claim(either({"count": 3}, NONE))]),
            [
                f"{REQUEST}.firstAvailable[0]: wants 3 devices of class any, but no node of a has more than 2: ask for "
                "fewer, or give nodes more",
                f"{REQUEST}.firstAvailable[1]: wants 1 device of class none, {HAS_NONE}",
            ],
        ),
        (
            stack(devices(2), claims=[claim(either({"count": 2}, index(0)), {}, {})]),
            [f"workloads[0].claims: {TOGETHER}"],
        ),
        (
            stack(devices(2), claims=[claim(either({"selectors": ["device."]}, {}))]),
            [
                f"{REQUEST}.firstAvailable[0].selectors[0]: Syntax error: no viable alternative at input '.' (line 1, "
                "column 8)"
            ],
        ),
        # All of a node's devices.
        (stack(devices(2), claims=[claim(NONE | ALL)]), [f"{REQUEST}: wants all devices of class none, {HAS_NONE}"]),
        (stack(devices(2), claims=[claim(ALL, {})]), [f"workloads[0].claims: {TOGETHER}"]),
        # Admin access takes nothing away, but there has to be something.
        (
            stack(devices(2), claims=[claim(ADMIN | {"count": 3})], namespace="admin"),
            [
                f"{REQUEST}: wants 3 devices of class any, but no node of a has more than 2: ask for fewer, or give "
                f"nodes "
                "more"
            ],
        ),
        # Extended resources.
        (
            stack(devices(2), containers=asking("example.com/any", 1, 2)),
            [
                "workloads[0].containers: wants 3 devices of class any, but no node of a has more than 2: ask for "
                "fewer, "
                "or give nodes more"
            ],
        ),
        (
            stack(devices(2), containers=asking("deviceclass.resource.kubernetes.io/none", 1)),
            [f"workloads[0].containers: wants 1 device of class none, {HAS_NONE}"],
        ),
        (
            stack(
                devices(2), devices(2, capacity={"cpu": 40}), claims=[claim({})], containers=asking("cpu", 60, "40500m")
            ),
            [
                "workloads[0].containers: ask for cpu: 60 + 40500m, but no node of a, b has more than 96: ask for "
                "less, or give the pools more capacity"
            ],
        ),
        (
            stack(devices(2), claims=[claim({})], containers=asking("ephemeral-storage", "1Gi")),
            [
                "workloads[0].containers: ask for ephemeral-storage: 1Gi, but no node of a has more than 0: ask for "
                "less, or give the pools more capacity"
            ],
        ),
        (
            stack(devices(2), containers=asking("example.com/some", 1)),
            [
                "workloads[0].containers: ask for example.com/some, which no node has and no device class stands "
                "for; did "
                "you mean 'example.com/any'? Device classes stand for example.com/any; set a class's "
                "extendedResourceName"
            ],
        ),
        (
            stack(devices(2), containers=asking("example.com/any", 1), claims=[claim({"count": 2})]),
            [f"workloads[0].claims: {TOGETHER}"],
        ),
        # Shared claims are looked at where they are used.
        (
            stack(devices(2), claims=[USE], shared_claims=[claim({"count": 3})]),
            [
                "claims[0].requests[0]: wants 3 devices of class any, but no node of a has more than 2: ask for "
                "fewer, or "
                "give nodes more"
            ],
        ),
        (
            stack(devices(2), claims=[USE, claim({})], shared_claims=[claim({"count": 2})]),
            [f"workloads[0].claims: {TOGETHER}"],
        ),
        (
            stack(devices(2), claims=[claim({})], shared_claims=[claim({"selectors": ["1"]})]),
            ["claims[0].requests[0].selectors[0]: has to evaluate to bool, but evaluates to int"],
        ),
    ],
)
def test_what_no_node_can_give(configuration: Configuration, expected: list[str]) -> None:
    assert problems(configuration) == expected


@pytest.mark.parametrize(
    "configuration",
    [
        stack(devices(2), claims=[claim(either(NONE, {"count": 3}, {"count": 2}))]),
        stack(devices(2), claims=[claim(either({"count": 2}, {"count": 1}), {})]),
        stack(
            devices(2),
            claims=[claim(either({}), constraints=[{"requests": ["r0/a0"], "matchAttribute": f"{DRIVER}/index"}])],
        ),
        stack(devices(2), claims=[claim(ALL)]),
        stack(devices(2), claims=[claim(ALL | index(0), {})]),
        stack(devices(2), claims=[claim(ADMIN | ALL, {"count": 2})], namespace="admin"),
        stack(devices(2), claims=[claim({})], containers=asking("example.com/any", 1)),
        stack(devices(2, capacity={"example.com/plain": 3}), containers=asking("example.com/plain", 1)),
        stack(devices(2), claims=[USE, claim({})], shared_claims=[claim({})]),
        # Nobody uses it.
        stack(devices(2), claims=[claim({})], shared_claims=[claim({"count": 3})]),
        # That none can be had is what is expected.
        stack(devices(2), claims=[claim({"count": 3})], replicas=2, expect={"pending": 2}),
        stack(claims=[claim({})], expect={"pending": 1}),
        # More may be pending than have to.
        stack(devices(2), claims=[claim({})], replicas=2, expect={"pending": 2}),
        # Devices with a fault may be those of pods that are there already.
        stack(devices(2, faults=[{"devices": ["gpu-0", "gpu-1"], "gone": True}]), claims=[claim({})]),
    ],
)
def test_what_some_node_may_give(configuration: Configuration) -> None:
    load(configuration)


@pytest.mark.parametrize(
    ("configuration", "most"),
    [
        (stack(devices(8, nodes=3), claims=[claim({"count": 3})]), 6),
        # What pools have together.
        (stack(devices(8, nodes=2), devices(4), claims=[claim({"count": 4})]), 5),
        # Requests of the same devices are added up; of others the scarcest counts.
        (stack(devices(8), claims=[claim({}, {}), claim({"count": 2}, name="d")]), 2),
        (stack(devices(8), claims=[claim({}, index(0))]), 1),
        (stack(devices(8), claims=[claim({"count": 4}, {"count": 2, "selectors": [f"{INDEX} < 6"]})]), 1),
        (stack(devices(8, nodes=2), claims=[claim(ALL)]), 2),
        (stack(devices(8, nodes=2), claims=[claim(ALL | index(3))]), 2),
        # The least that an alternative takes, of all that they may take.
        (stack(devices(8), claims=[claim(either({"count": 8}, {"count": 2}))]), 4),
        (stack(devices(8), claims=[claim(either({"count": 2}, {"count": 9}, NONE))]), 4),
        (stack(devices(8), claims=[claim(either(index(0), index(1)))]), 2),
        # Selectors may tell nodes apart.
        (stack(NAMED | {"nodes": 4}, claims=[claim({"selectors": [f"{NODE} == 'a-2'"]})]), 8),
        (stack(NAMED | {"nodes": 4}, claims=[claim({"selectors": [f"{NODE} != 'a-0' || {INDEX} == 3"]})]), 25),
        # Nodes on which pods may run.
        (stack(devices(2), devices(2, labels={"b": ""}), claims=[claim({})], nodeSelector={"b": ""}), 2),
        (stack(devices(2, nodes=4), claims=[claim({})], nodeSelector={"kubernetes.io/hostname": "a-2"}), 2),
        (stack(devices(2), devices(2, taints=[{"key": "b"}]), claims=[claim({})]), 2),
        (stack(devices(2, nodes=4, faults=[{"nodes": [0, 3], "gone": True}]), claims=[claim({})]), 4),
        (stack(devices(8), containers=asking("example.com/any", 1, 2)), 2),
        (stack(devices(8), containers=asking("deviceclass.resource.kubernetes.io/any", 1), claims=[claim({})]), 4),
        # All that share a claim are on its node, which has its devices.
        (stack(devices(8, nodes=3), claims=[USE, claim({"count": 2})], shared_claims=[claim({})]), 3),
        (stack(devices(8, nodes=3), claims=[GROUP, claim({"count": 2}, name="d")], podGroup={"claims": ["c"]}), 2),
        (stack(devices(8, nodes=3), claims=[GROUP, claim({"count": 2}, name="d")], podGroup={}), 3),
        (stack(devices(8, nodes=3), claims=[GROUP, claim(index(0), name="d")], podGroup={"claims": ["c"]}), 1),
        # A node takes 110 pods.
        (stack(shared(), claims=[claim({})]), 110),
        (stack(devices(1, nodes=2), claims=[USE], shared_claims=[claim({})]), 110),
        (stack(devices(3, nodes=2), claims=[GROUP], podGroup={"claims": ["c"], "minCount": 110}), 110),
        (stack(devices(nodes=2, capacity={"pods": 7}), claims=[claim(ADMIN)], namespace="admin"), 14),
        # And as many as it has cpu and memory for.
        (stack(devices(8, nodes=2), claims=[claim({})], containers=asking("cpu", 40)), 4),
        (
            stack(
                devices(8), devices(capacity=DISK), claims=[claim({})], containers=asking("ephemeral-storage", "1Gi")
            ),
            1,
        ),
        (stack(devices(8, capacity={"memory": "7Gi"}), claims=[claim({})], containers=asking("memory", "2000Mi")), 3),
    ],
)
def test_how_many_pods_there_is_room_for(configuration: Configuration, most: int) -> None:
    (workload,) = configuration["workloads"]
    load(configuration | {"workloads": [workload | {"replicas": most}]})
    (problem,) = problems(configuration | {"workloads": [workload | {"replicas": most + 1}]})
    assert problem.startswith(f"workloads[0].replicas: is {most + 1}, but ")
    assert f" can hold at most {most} such pod" in problem


@pytest.mark.parametrize(
    ("workload", "expected"),
    [
        (
            {"replicas": 5},
            "is 5, but a, b can hold at most 3 such pods: ask for fewer, give the pools more nodes or devices, or say "
            "that the rest is to wait with expect: {pending: 2}",
        ),
        (
            {"replicas": 5, "expect": {"pending": 1}},
            "is 5, but a, b can hold at most 3 such pods: ask for fewer, give the pools more nodes or devices, or say "
            "that the rest is to wait with expect: {pending: 2}",
        ),
        ({"replicas": 5, "expect": {"pending": 2}}, None),
        # Of a gang so many or none.
        ({"replicas": 5, "podGroup": {"minCount": 3}, "expect": {"pending": 2}}, None),
        ({"replicas": 5, "kind": "Job", "podGroup": {"minCount": 3}}, None),
        ({"replicas": 5, "podGroup": {"minCount": 4}, "expect": {"pending": 5}}, None),
        ({"replicas": 5, "expect": {"pending": 3}}, None),
        # The pods of a job run one after the other.
        ({"replicas": 5, "kind": "Job"}, None),
        (
            {"replicas": 2, "kind": "Pod", "nodeSelector": {"b": ""}},
            "is 2, but b can hold at most 1 such pod: ask for fewer, give the pools more nodes or devices, or say that "
            "the rest is to wait with expect: {pending: 1}",
        ),
        # As many as the pods have claims of their own.
        (
            {
                "replicas": 2,
                "claims": [claim({}), claim({}, name="d"), USE],
                "containers": asking("example.com/any", 1),
            },
            "is 2, but a, b can hold at most 1 such pod: ask for fewer, give the pools more nodes or devices, or say "
            "that "
            "the rest is to wait with expect: {pending: 3}",
        ),
    ],
)
def test_what_is_said_about_too_many_pods(workload: Configuration, expected: str | None) -> None:
    configuration = stack(
        devices(4 if "containers" in workload else 2),
        devices(1, labels={"b": ""}),
        shared_claims=[claim({})],
        **{"claims": [claim({})]} | workload,
    )
    if expected is None:
        load(configuration)
    else:
        assert problems(configuration) == [f"workloads[0].replicas: {expected}"]


@pytest.mark.parametrize("values", [{}, {"kind": "Job"}, {"expect": {"pending": 2}}])
def test_a_gang_for_which_there_is_no_room(values: Configuration) -> None:
    configuration = stack(devices(3), claims=[claim({})], replicas=5, podGroup={"minCount": 4}, **values)
    assert problems(configuration) == [
        "workloads[0].podGroup.minCount: is 4, but a can hold at most 3 such pods, so that none would run: ask for "
        "fewer, give the pools more nodes or devices, or say that all are to wait with "
        "expect: {allocated: 0, pending: 5}"
    ]
