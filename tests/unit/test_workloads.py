"""Workloads and claims: what is said about those that are wrong, and what those that are right come to."""

import json
from typing import Any

import pytest

from topology.checks.validation import ConfigurationError, load
from topology.schema.workloads import Workload, in_order

Configuration = dict[str, Any]

CLASS = {"deviceClass": "gpu"}
GPU = {"name": "gpu", **CLASS}
OTHER = {"name": "other", **CLASS}
CLAIM = {"name": "c", "requests": [GPU]}
SHARED = {"name": "one", "requests": [GPU]}
USE = {"name": "c", "claim": "one"}
TOLERATION = "workloads[0].claims[0].requests[0].tolerations[0]"
REQUEST = "workloads[0].claims[0].requests[0]"
LABEL = (
    "is not a DNS label: use at most 63 lower-case letters, digits and '-', beginning and ending with a letter or digit"
)
RESOURCE = (
    "is not what a container can ask for: use cpu, memory, ephemeral-storage, the extended resource of a device class, "
    "such as example.com/gpu, or deviceclass.resource.kubernetes.io/ and the name of the class"
)
DEFAULT = (
    "needs a namespace that allows it, and default is not the stack's to change: set a namespace of its own, such as "
    "namespace: admin, which the stack makes with the label that allows it"
)


def stack(*workloads: Configuration, **values: Any) -> Configuration:
    """Return a stack of a node with eight devices, and workloads called `a`, `b` and so on with one claim each."""
    named = [{"name": name, "claims": [CLAIM]} | given for name, given in zip("abcdef", workloads, strict=False)]
    return {
        "cluster": {"name": "x"},
        "deviceClasses": [{"name": "gpu", "selectors": []}],
        "nodePools": [{"name": "pool", "gpu": {"driver": "own.example.com"}, "gpusPerNode": 8}],
        "workloads": named,
        **values,
    }


def claiming(*requests: Configuration, **values: Any) -> Configuration:
    """Return a stack of one workload, whose claim has these requests."""
    return stack({"claims": [{"name": "c", "requests": list(requests)} | values]})


def using(*containers: Configuration, **values: Any) -> Configuration:
    """Return a stack of one workload with these containers."""
    return stack({"containers": [{"name": f"c{index}"} | given for index, given in enumerate(containers)]} | values)


def problems(configuration: Configuration) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        load(configuration)
    return [f"{problem.path}: {problem.message}" for problem in raised.value.problems]


def pods(count: int, *claims: Configuration) -> Configuration:
    """Return what a workload of so many pods has, that all wait for each other's devices."""
    return {"replicas": count, "claims": list(claims) or [USE], "kind": "Job"}


Cases = list[tuple[Configuration, str]]

REQUESTS: Cases = [
    (
        claiming(),
        "workloads[0].claims[0]: has no requests: give it at least one, or name a shared claim of kwok-dra:claims",
    ),
    (claiming({"name": "gpu"}), f"{REQUEST}: has to have exactly one of deviceClass and firstAvailable"),
    (
        claiming(GPU | {"firstAvailable": [GPU]}),
        f"{REQUEST}: has to have exactly one of deviceClass and firstAvailable",
    ),
    (
        claiming({"name": "gpu", "firstAvailable": [GPU], "adminAccess": True, "count": 2}),
        f"{REQUEST}: has adminAccess, count beside firstAvailable: put that into the alternatives\n"
        f"{REQUEST}.adminAccess: {DEFAULT}",
    ),
    (
        claiming(GPU | {"allocationMode": "All", "count": 1}),
        f"{REQUEST}: has a count, which allocationMode: All does not look at: leave one of them out",
    ),
    (
        claiming(GPU | {"allocationMode": "Most"}),
        f"{REQUEST}.allocationMode: 'Most' is not possible here; use one of 'ExactCount' or 'All'",
    ),
    (
        claiming({"name": "gpu", "firstAvailable": [GPU | {"name": f"gpu-{n}"} for n in range(9)]}),
        f"{REQUEST}.firstAvailable: may have at most 8 entries, but has 9",
    ),
    (
        claiming({"name": "gpu", "firstAvailable": [GPU, OTHER, GPU]}),
        f"{REQUEST}.firstAvailable[2].name: 'gpu' is the name of {REQUEST}.firstAvailable[0] already: give each its "
        f"own",
    ),
    (
        claiming({"name": "gpu", "firstAvailable": [GPU | {"name": "big/one"}]}),
        f"{REQUEST}.firstAvailable[0].name: 'big/one' {LABEL}",
    ),
    (
        claiming({"name": "gpu", "firstAvailable": [GPU, OTHER | {"deviceClass": "gpus"}]}),
        f"{REQUEST}.firstAvailable[1].deviceClass: there is no device class 'gpus'; did you mean 'gpu'? Name one of "
        f"gpu, "
        "or add the class to kwok-dra:deviceClasses",
    ),
    (
        claiming({"name": "one", "firstAvailable": [GPU | {"count": 1}, OTHER | {"count": 17}]}, GPU | {"count": 16}),
        "workloads[0].claims[0]: asks for 33 devices; the Kubernetes API allows one claim 32: spread them over several "
        "claims",
    ),
    (
        claiming(GPU | {"tolerations": [{"key": "a", "effect": "NoSchedule", "tolerationSeconds": 5}]}),
        f"{TOLERATION}: has tolerationSeconds, which need effect: NoExecute",
    ),
    (
        claiming(GPU | {"tolerations": [{"value": "a"}]}),
        f"{TOLERATION}: needs a key; without one it has to have operator: Exists, for all taints",
    ),
    (
        claiming(GPU | {"tolerations": [{"operator": "Exists"}] * 17}),
        f"{REQUEST}.tolerations: may have at most 16 entries, but has 17",
    ),
    (
        claiming(GPU, config=[{"driver": "gpu.example.com", "parameters": {"text": "ä" * 5120}}]),
        "workloads[0].claims[0].config[0]: has parameters of 10251 bytes as JSON; the Kubernetes API allows 10240: "
        "leave some out",
    ),
    (
        claiming(GPU, config=[{"driver": "gpu.example.com", "parameters": {}, "requests": ["gpus"]}]),
        "workloads[0].claims[0]: config[0] is about a request 'gpus' that the claim does not have; did you mean 'gpu'? "
        "Its requests are gpu",
    ),
    (
        claiming(GPU, config=[{"driver": "GPU", "parameters": []}]),
        "workloads[0].claims[0].config[0].driver: 'GPU' is not a driver name: use a DNS subdomain of at most 63 "
        "characters, such as gpu.example.com\n"
        "workloads[0].claims[0].config[0].parameters: has to be a mapping of keys to values, but is []",
    ),
]

CONTAINERS: Cases = [
    (
        stack({"podGroup": {"claims": ["d"]}}),
        "workloads[0]: podGroup.claims has a claim 'd' that the workload does not have. Its claims are c",
    ),
    (stack({"podGroup": {"claims": ["c", "c"]}}), "workloads[0]: podGroup.claims has claim c twice: name each once"),
    (
        stack({"podGroup": {"minCount": 2}}),
        "workloads[0]: podGroup.minCount is 2, but it has 1 pod (replicas): they would wait for the others for good",
    ),
    (stack({"podGroup": {"minCount": 0}}), "workloads[0].podGroup.minCount: has to be at least 1, but is 0"),
    (
        stack({"podGroup": {"claims": list("cdefg")}}),
        "workloads[0].podGroup.claims: may have at most 4 entries, but has 5",
    ),
    (
        stack({"kind": "Pod", "replicas": 1001}),
        "workloads[0]: has 1001 bare pods, each a Pulumi resource; there can be 1000: use provisioning: bulk, or kind "
        "Deployment or Job",
    ),
    (
        stack({"kind": "Job", "provisioning": "bulk"}),
        "workloads[0]: is of kind Job, which is one object: leave provisioning out",
    ),
    (stack({"claims": []}), "workloads[0]: has no claims: give it claims, or containers with extended resources"),
    (
        using({"claims": [{"name": "d"}]}),
        "workloads[0]: container c0 uses a claim 'd' that the workload does not have. Its claims are c",
    ),
    (
        using({"claims": [{"name": "c", "request": "gpus"}]}),
        "workloads[0]: container c0 uses a request 'gpus' that claim c does not have; did you mean 'gpu'? They are gpu",
    ),
    (
        using({}, {"claims": [USE | {"name": "c", "request": "gpus"}]}),
        "workloads[0].containers[1].claims[0].claim: there is no such key. The keys here are name, request",
    ),
    (
        using({}, {"claims": [{"name": "c", "request": "gpus"}]}, claims=[USE]) | {"claims": [SHARED]},
        "workloads[0].containers[1].claims[0].request: claim c has no request 'gpus'; did you mean 'gpu'? Name one "
        "of gpu",
    ),
    (
        using({"claims": [{"name": "c"}, {"name": "c", "request": "gpu"}]}),
        "workloads[0].containers[0]: uses claim c twice: name it once for all of its requests, or each request once",
    ),
    (
        using({"claims": [{"name": "c", "request": "gpu"}] * 2}),
        "workloads[0].containers[0]: uses claim c twice: name it once for all of its requests, or each request once",
    ),
    (
        using({"name": "x"}, {"name": "x"}),
        "workloads[0].containers[1].name: 'x' is the name of workloads[0].containers[0] already: give each its own",
    ),
    (using({"resources": {"gpu": 1}}), f"workloads[0].containers[0].resources.gpu: 'gpu' {RESOURCE}"),
    (
        using({"resources": {"cpu.kubernetes.io/x": 1}}),
        f"workloads[0].containers[0].resources.cpu.kubernetes.io/x: 'cpu.kubernetes.io/x' {RESOURCE}",
    ),
    (
        using({"resources": {"requests.x.y/gpu": 1}}),
        f"workloads[0].containers[0].resources.requests.x.y/gpu: 'requests.x.y/gpu' {RESOURCE}",
    ),
    (
        using({"resources": {"x.y/gpu": 0}}),
        "workloads[0].containers[0]: asks for x.y/gpu: 0: leave it out, or ask for more",
    ),
    (
        using({"resources": {"cpu": "0m"}}),
        "workloads[0].containers[0]: asks for cpu: 0: leave it out, or ask for more",
    ),
    (
        using({"resources": {"x.y/gpu": "1500m"}}),
        "workloads[0].containers[0]: asks for x.y/gpu: 1500m: an extended resource is a whole number, 9223372036854775 "
        "at most",
    ),
    (
        using({"resources": {"x.y/gpu": 10**16}}),
        "workloads[0].containers[0]: asks for x.y/gpu: 10P: an extended resource is a whole number, 9223372036854775 "
        "at most",
    ),
    (
        using({"resources": {"memory": "much"}}),
        "workloads[0].containers[0].resources.memory: 'much' is not a quantity: use a number with an optional unit, "
        "such as 96, 500m or 80Gi",
    ),
    (
        stack({"claims": [], "containers": [{"name": "c0", "resources": {"cpu": 1}}]}),
        "workloads[0]: has no claims: give it claims, or containers with extended resources",
    ),
]

SHARING: Cases = [
    (
        stack({"claims": [USE | {"template": "mine"}]}, claims=[SHARED]),
        "workloads[0].claims[0]: names a shared claim, which says everything else: leave only name and claim",
    ),
    (stack(claims=[{"name": "one"}]), "claims[0].requests: is required"),
    (
        stack(claims=[{"name": "one", "requests": []}]),
        "claims[0].requests: has to have at least 1 entry, but has 0",
    ),
    (
        stack(claims=[SHARED, SHARED | {"namespace": "b"}, SHARED | {"namespace": "b"}]),
        "claims[2].name: 'one' is the name of claims[1] already: give each its own",
    ),
    (
        stack(claims=[{"name": "one", "requests": [GPU, GPU]}]),
        "claims[0].requests[1].name: 'gpu' is the name of claims[0].requests[0] already: give each its own",
    ),
    (
        stack(claims=[{"name": "one", "requests": [GPU | {"deviceClass": "gpus"}]}]),
        "claims[0].requests[0].deviceClass: there is no device class 'gpus'; did you mean 'gpu'? Name one of gpu, or "
        "add "
        "the class to kwok-dra:deviceClasses",
    ),
    (
        stack({"claims": [USE]}),
        "workloads[0].claims[0].claim: there is no shared claim 'one' in namespace default. There are none yet: add it "
        "to kwok-dra:claims",
    ),
    (
        stack({"claims": [USE | {"claim": "ones"}]}, claims=[SHARED]),
        "workloads[0].claims[0].claim: there is no shared claim 'ones' in namespace default; did you mean 'one'? "
        "Name one "
        "of one, or add it to kwok-dra:claims",
    ),
    (
        stack({"claims": [USE], "namespace": "b"}, claims=[SHARED, SHARED | {"namespace": "c"}]),
        "workloads[0].claims[0].claim: there is no shared claim 'one' in namespace b. It is in default, c: pods share "
        "claims of their own namespace only",
    ),
    # 256 are possible; a pod that uses a claim twice is one.
    (
        stack(pods(200), pods(57, USE, USE | {"name": "d"}), claims=[SHARED]),
        "claims[0]: is shared by 257 pods; the Kubernetes API allows 256: ask for fewer replicas, or spread the pods "
        "over several claims",
    ),
]

NAMESPACES: Cases = [
    (
        stack({"namespace": "kube-system"}),
        "workloads[0].namespace: 'kube-system' belongs to Kubernetes itself: use default, or a namespace of your own",
    ),
    (
        stack(claims=[SHARED | {"namespace": "kube-public"}]),
        "claims[0].namespace: 'kube-public' belongs to Kubernetes itself: use default, or a namespace of your own",
    ),
    (claiming(GPU | {"adminAccess": True}), f"{REQUEST}.adminAccess: {DEFAULT}"),
    (
        stack(claims=[{"name": "one", "requests": [OTHER, GPU | {"adminAccess": True}]}]),
        f"claims[0].requests[1].adminAccess: {DEFAULT}",
    ),
    # Their names are those of Pulumi's components too.
    (
        stack({}, {"name": "a", "namespace": "else"}),
        "workloads[1].name: 'a' is the name of workloads[0] already: give each its own\n",
    ),
]

ORDER: Cases = [
    (
        stack({}, {"after": ["c"]}),
        "workloads[1].after[0]: there is no workload 'c'. Name one of a, b, or leave it out",
    ),
    (
        stack({"name": "first"}, {"after": ["firts"]}),
        "workloads[1].after[0]: there is no workload 'firts'; did you mean 'first'? Name one of first, b, or leave "
        "it out",
    ),
    (stack({"after": ["a"]}), "workloads[0].after[0]: is the workload itself: leave it out, or name another"),
    (
        stack({}, {"after": ["a", "d"]}, {"after": ["b"]}, {"after": ["c"]}),
        "workloads: come after each other in a circle, b after d after c after b: take one of these out of its after",
    ),
]

EXPECTATIONS: Cases = [
    (
        stack({"replicas": 2, "expect": {"pending": 3}}),
        "workloads[0]: expects 0 claims allocated and 3 pending, but its 2 pods have 2 together",
    ),
    (
        stack({"replicas": 2, "expect": {"allocated": 1}}),
        "workloads[0]: expects 1 claims allocated and 0 pending, but its 2 pods have 2 together",
    ),
    (stack({"expect": {"pending": -1}}), "workloads[0].expect.pending: has to be at least 0, but is -1"),
    (
        stack({"kind": "DaemonSet"}),
        "workloads[0].kind: 'DaemonSet' is not possible here; use one of 'Deployment', 'Job' or 'Pod'",
    ),
]


@pytest.mark.parametrize(
    ("configuration", "expected"), [*REQUESTS, *CONTAINERS, *SHARING, *NAMESPACES, *ORDER, *EXPECTATIONS]
)
def test_what_is_wrong(configuration: Configuration, expected: str) -> None:
    assert problems(configuration) == expected.strip().split("\n")


def test_rules_between_workloads_hold_beside_other_errors() -> None:
    wrong = stack({"after": ["b"]}, {"after": ["a"], "replicas": -1, "claims": [USE]}, pods(300), claims=[SHARED, 4])
    assert [problem.partition(": ")[0] for problem in problems(wrong)] == [
        "claims[0]",
        "claims[1]",
        "workloads",
        "workloads[1].replicas",
    ]


@pytest.mark.parametrize(
    "configuration",
    [
        stack({"claims": [USE]}, claims=[SHARED]),
        stack({"claims": [USE], "namespace": "b"}, claims=[SHARED, SHARED | {"namespace": "b"}]),
        stack(pods(256), claims=[SHARED]),
        stack({}, {"namespace": "b", "claims": [CLAIM | {"template": "a-c"}]}),
        # One that is shared needs no template.
        stack({"name": "a", "claims": [USE | {"name": "b-c"}]}, {"name": "a-b"}, claims=[SHARED]),
        stack({"after": ["b", "c"]}, {"after": ["c"]}, {}),
        stack({"namespace": "b", "claims": [{"name": "c", "requests": [GPU | {"adminAccess": True}]}]}),
        claiming(GPU, config=[{"driver": "gpu.example.com", "parameters": {"text": "x" * 10_229}}]),
        claiming(
            {"name": "r", "firstAvailable": [GPU]},
            constraints=[{"requests": ["r", "r/gpu"], "matchAttribute": "a.b/c"}],
        )
        | {"nodePools": [{"name": "p", "gpu": {"driver": "gpu.example.com", "attributes": {"a.b/c": {"int": 1}}}}]},
        using({"claims": [{"name": "c", "request": "gpu"}]}, {"claims": [{"name": "c"}]}),
        using({"claims": [{"name": "c", "request": "gpu"}, {"name": "c", "request": "other"}]}, claims=[USE])
        | {"claims": [SHARED | {"requests": [GPU, OTHER]}]},
        using({"resources": {"deviceclass.resource.kubernetes.io/gpu": 2}}, claims=[]),
    ],
)
def test_what_is_right(configuration: Configuration) -> None:
    load(configuration)


@pytest.mark.parametrize(
    ("values", "allocated", "pending"),
    [
        ({}, 6, 0),
        ({"expect": {"pending": 2}}, 4, 2),
        ({"expect": {"allocated": 0, "pending": 6}}, 0, 6),
        ({"replicas": 0}, 0, 0),
        # All the extended resources of a pod are one claim.
        (
            {
                "containers": [
                    {"name": "x", "resources": {"x.y/a": 1, "x.y/b": 2}},
                    {"name": "y", "resources": {"x.y/a": 1}},
                ]
            },
            9,
            0,
        ),
    ],
)
def test_what_a_workload_expects(values: Configuration, allocated: int, pending: int) -> None:
    claims = [CLAIM, CLAIM | {"name": "d"}]
    workload = Workload.model_validate({"name": "a", "replicas": 3, "claims": claims} | values)
    assert (workload.expected_allocated, workload.expected_pending) == (allocated, pending)


def test_without_containers_there_is_one_that_uses_every_claim() -> None:
    workload = Workload.model_validate({"name": "a", "claims": [CLAIM, CLAIM | {"name": "d"}]})
    (container,) = workload.all_containers()
    assert json.loads(container.model_dump_json(exclude_defaults=True)) == {
        "name": "fake-container",
        "claims": [{"name": "c"}, {"name": "d"}],
    }


def test_workloads_come_after_those_that_they_name() -> None:
    after = {"a": ["c", "b"], "b": ["c"], "c": [], "d": []}
    workloads = [
        Workload.model_validate({"name": name, "claims": [CLAIM], "after": named}) for name, named in after.items()
    ]
    order = [workload.name for workload in in_order(workloads)]
    assert sorted(order) == sorted(after)
    assert all(order.index(other) < order.index(name) for name, named in after.items() for other in named)
