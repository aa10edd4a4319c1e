"""Claims of every form against the nodes of a stack, and how many pods the nodes have room for."""

from typing import Any

import pytest
import yaml

from topology.checks.validation import ConfigurationError, load
from topology.kubernetes import cel

Configuration = dict[str, Any]

DRIVER = "own.example.com"
INDEX = f"device.attributes['{DRIVER}'].index"
REQUEST = "workloads[0].claims[0].requests[0]"
TOGETHER = "not even an empty node of a can satisfy them all at once: ask for less, or loosen selectors and constraints"


def devices(count: int = 1, **values: Any) -> Configuration:
    """Return a pool of nodes with `count` devices each."""
    model = {"driver": DRIVER, "attributes": {"index": {"int": "{index}"}}} | values.pop("model", {})
    return {"gpu": model, "gpusPerNode": count} | values


def shared(count: int = 1) -> Configuration:
    """Return a pool of nodes with `count` devices that claims can share."""
    return devices(count, model={"allowMultipleAllocations": True, "capacity": {"memory": 8}})


def index(value: int) -> Configuration:
    """Return a request's selector for device number `value`."""
    return {"selectors": [f"{INDEX} == {value}"]}


def claim(*requests: Configuration, name: str = "c", **values: Any) -> Configuration:
    """Return a claim; each request is for one device unless it sets something else."""
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
    """Return containers, each of which requests one of the amounts of the resource `name`."""
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
        # Alternatives: if none fits, each has a message.
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
        # Admin access takes no device away, but needs devices.
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
                "workloads[0].containers: ask for example.com/some, which no node and no device class provides. "
                "Device classes provide example.com/any; set a class's extendedResourceName"
            ],
        ),
        (
            stack(devices(2), containers=asking("example.com/any", 1), claims=[claim({"count": 2})]),
            [f"workloads[0].claims: {TOGETHER}"],
        ),
        # Shared claims are checked if they are used.
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
            ["claims[0].requests[0].selectors[0]: must evaluate to bool, but evaluates to int"],
        ),
    ],
)
def test_what_no_node_can_satisfy(configuration: Configuration, expected: list[str]) -> None:
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
        *(
            stack(
                devices(2),
                claims=[
                    claim(either(*one), constraints=[{"requests": ["r0/a0"], "matchAttribute": f"{DRIVER}/index"}])
                ],
            )
            for one in (({"count": 2}, {"count": 2}), (NONE, {"count": 2}))
        ),
        stack(devices(2), claims=[claim(ALL)]),
        stack(devices(2), claims=[claim(ALL | index(0), {})]),
        stack(devices(2), claims=[claim(ADMIN | ALL, {"count": 2})], namespace="admin"),
        stack(devices(2), claims=[claim({})], containers=asking("example.com/any", 1)),
        stack(devices(2, capacity={"example.com/plain": 3}), containers=asking("example.com/plain", 1)),
        stack(devices(2), claims=[USE, claim({})], shared_claims=[claim({})]),
        # An unused shared claim.
        stack(devices(2), claims=[claim({})], shared_claims=[claim({"count": 3})]),
        # All claims are expected to be pending.
        stack(devices(2), claims=[claim({"count": 3})], replicas=2, expect={"pending": 2}),
        stack(claims=[claim({})], expect={"pending": 1}),
        # More claims may be pending than necessary.
        stack(devices(2), claims=[claim({})], replicas=2, expect={"pending": 2}),
        # Pods that already have faulty devices may keep them.
        stack(devices(2, faults=[{"devices": ["gpu-0", "gpu-1"], "gone": True}]), claims=[claim({})]),
    ],
)
def test_what_a_node_may_satisfy(configuration: Configuration) -> None:
    load(configuration)


@pytest.mark.parametrize(
    ("configuration", "most"),
    [
        (stack(devices(8, nodes=3), claims=[claim({"count": 3})]), 6),
        # The total of several pools.
        (stack(devices(8, nodes=2), devices(4), claims=[claim({"count": 4})]), 5),
        # Requests for the same devices add up; otherwise the scarcest devices decide.
        (stack(devices(8), claims=[claim({}, {}), claim({"count": 2}, name="d")]), 2),
        (stack(devices(8), claims=[claim({}, index(0))]), 1),
        (stack(devices(8), claims=[claim({"count": 4}, {"count": 2, "selectors": [f"{INDEX} < 6"]})]), 1),
        (stack(devices(8, nodes=2), claims=[claim(ALL)]), 2),
        (stack(devices(8, nodes=2), claims=[claim(ALL | index(3))]), 2),
        # The smallest count of the alternatives, out of the devices that match any of them.
        (stack(devices(8), claims=[claim(either({"count": 8}, {"count": 2}))]), 4),
        (stack(devices(8), claims=[claim(either({"count": 2}, {"count": 9}, NONE))]), 4),
        (stack(devices(8), claims=[claim(either(index(0), index(1)))]), 2),
        # Selectors may distinguish nodes.
        (stack(NAMED | {"nodes": 4}, claims=[claim({"selectors": [f"{NODE} == 'a-2'"]})]), 8),
        (stack(NAMED | {"nodes": 4}, claims=[claim({"selectors": [f"{NODE} != 'a-0' || {INDEX} == 3"]})]), 25),
        # Only nodes on which the pods may run count.
        (stack(devices(2), devices(2, labels={"b": ""}), claims=[claim({})], nodeSelector={"b": ""}), 2),
        (stack(devices(2, nodes=4), claims=[claim({})], nodeSelector={"kubernetes.io/hostname": "a-2"}), 2),
        (stack(devices(2), devices(2, taints=[{"key": "b"}]), claims=[claim({})]), 2),
        (stack(devices(2, nodes=4, faults=[{"nodes": [0, 3], "gone": True}]), claims=[claim({})]), 4),
        (stack(devices(8), containers=asking("example.com/any", 1, 2)), 2),
        (stack(devices(8), containers=asking("deviceclass.resource.kubernetes.io/any", 1), claims=[claim({})]), 4),
        # Pods that share a claim run on the node that has its devices.
        (stack(devices(8, nodes=3), claims=[USE, claim({"count": 2})], shared_claims=[claim({})]), 3),
        (stack(devices(8, nodes=3), claims=[GROUP, claim({"count": 2}, name="d")], podGroup={"claims": ["c"]}), 2),
        (stack(devices(8, nodes=3), claims=[GROUP, claim({"count": 2}, name="d")], podGroup={}), 3),
        (stack(devices(8, nodes=3), claims=[GROUP, claim(index(0), name="d")], podGroup={"claims": ["c"]}), 1),
        # A node has room for 110 pods.
        (stack(shared(), claims=[claim({})]), 110),
        (stack(devices(1, nodes=2), claims=[USE], shared_claims=[claim({})]), 110),
        (stack(devices(3, nodes=2), claims=[GROUP], podGroup={"claims": ["c"], "minCount": 110}), 110),
        (stack(devices(nodes=2, capacity={"pods": 7}), claims=[claim(ADMIN)], namespace="admin"), 14),
        # A node needs cpu and memory for each pod.
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
def test_how_many_pods_fit(configuration: Configuration, most: int) -> None:
    (workload,) = configuration["workloads"]
    load(configuration | {"workloads": [workload | {"replicas": most}]})
    (problem,) = problems(configuration | {"workloads": [workload | {"replicas": most + 1}]})
    assert problem.startswith(f"workloads[0].replicas: is {most + 1}, but ")
    assert f" can hold at most {most} such pod" in problem
    remedy = yaml.safe_load(problem.rpartition("expect: ")[2])
    load(configuration | {"workloads": [workload | {"replicas": most + 1, "expect": remedy}]})


@pytest.mark.parametrize(
    ("workload", "expected"),
    [
        (
            {"replicas": 5},
            "is 5, but a, b can hold at most 3 such pods: ask for fewer, give the pools more nodes or devices, or "
            "declare that the rest stay pending with expect: {pending: 2}",
        ),
        (
            {"replicas": 5, "expect": {"pending": 1}},
            "is 5, but a, b can hold at most 3 such pods: ask for fewer, give the pools more nodes or devices, or "
            "declare that the rest stay pending with expect: {pending: 2}",
        ),
        ({"replicas": 5, "expect": {"pending": 2}}, None),
        # A gang runs with its minimum count, or not at all.
        ({"replicas": 5, "podGroup": {"minCount": 3}, "expect": {"pending": 2}}, None),
        ({"replicas": 5, "kind": "Job", "podGroup": {"minCount": 3}}, None),
        ({"replicas": 5, "podGroup": {"minCount": 4}, "expect": {"pending": 5}}, None),
        ({"replicas": 5, "expect": {"pending": 3}}, None),
        # The pods of a Job take turns.
        ({"replicas": 5, "kind": "Job"}, None),
        (
            {"replicas": 2, "kind": "Pod", "nodeSelector": {"b": ""}},
            "is 2, but b can hold at most 1 such pod: ask for fewer, give the pools more nodes or devices, or declare "
            "that the rest stay pending with expect: {pending: 1}",
        ),
        # Each pod adds as many pending claims as it has of its own.
        (
            {
                "replicas": 2,
                "claims": [claim({}), claim({}, name="d"), USE],
                "containers": asking("example.com/any", 1),
            },
            "is 2, but a, b can hold at most 1 such pod: ask for fewer, give the pools more nodes or devices, or "
            "declare that the rest stay pending with expect: {pending: 3}",
        ),
    ],
)
def test_message_for_too_many_pods(workload: Configuration, expected: str | None) -> None:
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
def test_a_gang_that_does_not_fit(values: Configuration) -> None:
    configuration = stack(devices(3), claims=[claim({})], replicas=5, podGroup={"minCount": 4}, **values)
    assert problems(configuration) == [
        "workloads[0].podGroup.minCount: is 4, but a can hold at most 3 such pods, so that none would run: ask for "
        "fewer, give the pools more nodes or devices, or declare that all stay pending with "
        "expect: {allocated: 0, pending: 5}"
    ]


# How many evaluations a large stack takes.

SMALL = "device.attributes['own.example.com'].index < 2"
UUIDS = {"attributes": {"index": {"int": "{index}"}, "uuid": {"string": "GPU-{uuid}"}}}


def many(pools: list[Configuration], requests: list[Configuration]) -> Configuration:
    """Return a stack with a workload per request, whose class has a selector."""
    return {
        "cluster": {"name": "x"},
        "deviceClasses": [{"name": "any", "selectors": [f"device.driver == '{DRIVER}'"]}],
        "nodePools": [{"name": f"pool-{place}"} | pool for place, pool in enumerate(pools)],
        "workloads": [{"name": f"job-{place}", "claims": [claim(request)]} for place, request in enumerate(requests)],
    }


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        (many([devices(8, model=UUIDS)] * 20, [{}] * 20), 8),
        # Each kind of node, and each set of selectors.
        (many([devices(8, model=UUIDS), devices(4, model=UUIDS)] * 10, [{}] * 20), 8 + 4),
        (many([devices(8, model=UUIDS)] * 20, [{}, {"selectors": [SMALL]}] * 10), 8 + 2 * 8),
        # The same selectors with another count match the same devices, those with a capacity do not.
        (many([devices(8)] * 20, [{}, {"count": 2}] * 10), 8),
        (many([shared(8)] * 20, [{}, {"capacity": {"memory": 1}}] * 10), 2 * 8),
        # A selector that may distinguish nodes is evaluated for each of them.
        (
            many(
                [devices(2, nodes=3, model=UUIDS), devices(2, nodes=1, model=UUIDS)],
                [{"selectors": ["device.attributes['own.example.com'].uuid != 'GPU-0'"]}] * 20,
            ),
            2 * 2 * 4,
        ),
    ],
)
def test_each_selector_is_evaluated_once_per_kind_of_node(
    configuration: Configuration, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated: list[Any] = []
    value = cel.Expression.value

    def counted(expression: cel.Expression, device: Any) -> Any:
        evaluated.append(device)
        return value(expression, device)

    monkeypatch.setattr(cel.Expression, "value", counted)
    load(configuration)
    assert len(evaluated) == expected


def test_a_shared_claim_is_told_with_the_workload_that_uses_it() -> None:
    pools = [devices(1), devices(4, labels={"pool": "b"})]
    asking = stack(*pools, claims=[USE], shared_claims=[claim({"count": 5})], nodeSelector={"pool": "b"})
    (told,) = problems(asking)
    assert "but no node that the pods of job may run on (b) has more than 4" in told


def test_a_selector_finds_a_device_of_a_pool_with_one_node() -> None:
    """Pools of the same devices share what is known of them, unless a selector names what differs."""
    pools = [devices(1, labels={"pool": name}, model={"attributes": {"node": {"string": "{node}"}}}) for name in "ab"]
    selector = {"selectors": [f"{NODE} == 'b-0'"]}
    load(stack(*pools, claims=[claim(selector)], nodeSelector={"pool": "b"}))
    assert problems(stack(*pools, claims=[claim(selector)], nodeSelector={"pool": "a"})) == [
        f"{REQUEST}: wants 1 device of class any matching its selectors, but no node that its pods may run on (a) has "
        "any: name another class, or loosen what it asks for"
    ]


@pytest.mark.parametrize(("version", "works"), [("1.35.0", True), ("1.36.0", False), ("1.37.2", False)])
def test_a_request_gets_a_shared_device_once_since_kubernetes_1_36(version: str, works: bool) -> None:
    twice = claim({"count": 2, "capacity": {"memory": "1"}})
    configuration = stack(shared(), claims=[twice]) | {"cluster": {"name": "x", "kubeVersion": version}}
    if works:
        load(configuration)
    else:
        few = "wants 2 devices of class any with memory 1, but no node of a has more than 1"
        assert problems(configuration)[0].startswith(f"{REQUEST}: {few}")
