"""Workloads and claims: the messages for invalid ones, and the properties of valid ones."""

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
    "is not a resource that containers can request: use cpu, memory, ephemeral-storage, the extended resource of a "
    "device class, such as example.com/gpu, or deviceclass.resource.kubernetes.io/ and the name of the class"
)
DEFAULT = (
    "needs a namespace that allows it, and the stack does not change default: set another namespace, such as "
    "namespace: admin, which the stack creates with the label that allows it"
)


def stack(*workloads: Configuration, **values: Any) -> Configuration:
    """Return a stack of a node with eight devices, and workloads named `a`, `b` and so on with one claim each."""
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
    """Return the keys of a Job with `count` pods that all use the same claims."""
    return {"replicas": count, "claims": list(claims) or [USE], "kind": "Job"}


Cases = list[tuple[Configuration, str]]

REQUESTS: Cases = [
    (
        claiming(),
        "workloads[0].claims[0]: has no requests: add at least one, or name a shared claim of kwok-dra:claims",
    ),
    (claiming({"name": "gpu"}), f"{REQUEST}: must have exactly one of deviceClass and firstAvailable"),
    (
        claiming(GPU | {"firstAvailable": [GPU]}),
        f"{REQUEST}: must have exactly one of deviceClass and firstAvailable",
    ),
    (
        claiming({"name": "gpu", "firstAvailable": [GPU], "adminAccess": True, "count": 2}),
        f"{REQUEST}: has adminAccess, count beside firstAvailable: set it per alternative; adminAccess needs "
        "deviceClass\n"
        f"{REQUEST}.adminAccess: {DEFAULT}",
    ),
    (
        claiming(GPU | {"allocationMode": "All", "count": 1}),
        f"{REQUEST}: has a count, which allocationMode: All ignores: remove one of them",
    ),
    (
        claiming(GPU | {"allocationMode": "Most"}),
        f"{REQUEST}.allocationMode: must be one of 'ExactCount' or 'All', but is 'Most'",
    ),
    (
        claiming({"name": "gpu", "firstAvailable": [GPU | {"name": f"gpu-{n}"} for n in range(9)]}),
        f"{REQUEST}.firstAvailable: must have at most 8 entries, but has 9",
    ),
    (
        claiming({"name": "gpu", "firstAvailable": [GPU, OTHER, GPU]}),
        f"{REQUEST}.firstAvailable[2].name: 'gpu' is already the name of {REQUEST}.firstAvailable[0]: give each its "
        "own",
    ),
    (
        claiming({"name": "gpu", "firstAvailable": [GPU | {"name": "big/one"}]}),
        f"{REQUEST}.firstAvailable[0].name: 'big/one' {LABEL}",
    ),
    (
        claiming({"name": "gpu", "firstAvailable": [GPU, OTHER | {"deviceClass": "gpus"}]}),
        f"{REQUEST}.firstAvailable[1].deviceClass: there is no device class 'gpus'; did you mean 'gpu'? Name one of "
        "gpu, or add the class to kwok-dra:deviceClasses",
    ),
    (
        claiming({"name": "one", "firstAvailable": [GPU | {"count": 1}, OTHER | {"count": 17}]}, GPU | {"count": 16}),
        "workloads[0].claims[0]: requests 33 devices; the Kubernetes API allows at most 32 per claim: spread them over "
        "several claims",
    ),
    (
        claiming(GPU | {"tolerations": [{"key": "a", "effect": "NoSchedule", "tolerationSeconds": 5}]}),
        f"{TOLERATION}: has tolerationSeconds, which requires effect: NoExecute: set that, or remove the seconds",
    ),
    (
        claiming(GPU | {"tolerations": [{"value": "a"}]}),
        f"{TOLERATION}: needs a key; without a key, use operator: Exists, which tolerates all taints",
    ),
    (
        claiming(GPU | {"tolerations": [{"operator": "Exists"}] * 17}),
        f"{REQUEST}.tolerations: must have at most 16 entries, but has 17",
    ),
    (
        claiming(GPU, config=[{"driver": "gpu.example.com", "parameters": {"text": "ä" * 5120}}]),
        "workloads[0].claims[0].config[0]: has parameters of 10251 bytes as JSON; the Kubernetes API allows at most "
        "10240: shorten them",
    ),
    (
        claiming(GPU, config=[{"driver": "gpu.example.com", "parameters": {}, "requests": ["gpus"]}]),
        "workloads[0].claims[0]: config[0] names a request 'gpus' that the claim does not have; did you mean 'gpu'? "
        "Its requests are gpu",
    ),
    (
        claiming(GPU, config=[{"driver": "GPU", "parameters": []}]),
        "workloads[0].claims[0].config[0].driver: 'GPU' is not a driver name: use a DNS subdomain of at most 63 "
        "characters, such as gpu.example.com\n"
        "workloads[0].claims[0].config[0].parameters: must be a mapping of keys to values, but is []",
    ),
]

CONTAINERS: Cases = [
    (
        stack({"podGroup": {"claims": ["d"]}}),
        "workloads[0]: podGroup.claims names a claim 'd' that the workload does not have. Its claims are c",
    ),
    (
        stack({"podGroup": {"claims": ["c", "c"]}}),
        "workloads[0].podGroup.claims: lists 'c' more than once: list each value once",
    ),
    (
        stack({"podGroup": {"minCount": 2}}),
        "workloads[0]: podGroup.minCount is 2, but replicas is 1: the pods would wait forever; set minCount to at most "
        "replicas",
    ),
    (stack({"podGroup": {"minCount": 0}}), "workloads[0].podGroup.minCount: must be at least 1, but is 0"),
    (
        stack({"podGroup": {"claims": list("cdefg")}}),
        "workloads[0].podGroup.claims: must have at most 4 entries, but has 5",
    ),
    (
        stack({"kind": "Pod", "replicas": 1001}),
        "workloads[0]: has 1001 bare pods, each a Pulumi resource; at most 1000 are allowed: use provisioning: bulk, "
        "or kind Deployment or Job",
    ),
    (
        stack({"kind": "Job", "provisioning": "bulk"}),
        "workloads[0]: is of kind Job, which is a single object: remove provisioning",
    ),
    (stack({"claims": []}), "workloads[0]: has no claims: add claims, or containers with extended resources"),
    (
        using({"claims": [{"name": "d"}]}),
        "workloads[0]: container c0 uses a claim 'd' that the workload does not have. Its claims are c",
    ),
    (
        using({"claims": [{"name": "c", "request": "gpus"}]}),
        "workloads[0]: container c0 uses a request 'gpus' that claim c does not have; did you mean 'gpu'? Its "
        "requests are gpu",
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
        "workloads[0].containers[0]: uses claim c twice: list it once for all of its requests, or once per request",
    ),
    (
        using({"claims": [{"name": "c", "request": "gpu"}] * 2}),
        "workloads[0].containers[0]: uses claim c twice: list it once for all of its requests, or once per request",
    ),
    (
        using({"name": "x"}, {"name": "x"}),
        "workloads[0].containers[1].name: 'x' is already the name of workloads[0].containers[0]: give each its own",
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
        "workloads[0].containers[0]: requests 0 of x.y/gpu: remove it, or request more",
    ),
    (
        using({"resources": {"cpu": "0m"}}),
        "workloads[0].containers[0]: requests 0 of cpu: remove it, or request more",
    ),
    (
        using({"resources": {"x.y/gpu": "1500m"}}),
        "workloads[0].containers[0]: requests 1500m of x.y/gpu: the amount of an extended resource must be a whole "
        "number, at most 9223372036854775",
    ),
    (
        using({"resources": {"x.y/gpu": 10**16}}),
        "workloads[0].containers[0]: requests 10P of x.y/gpu: the amount of an extended resource must be a whole "
        "number, at most 9223372036854775",
    ),
    (
        using({"resources": {"memory": "much"}}),
        "workloads[0].containers[0].resources.memory: 'much' is not a quantity: use a number with an optional unit, "
        "such as 96, 500m or 80Gi",
    ),
    (
        stack({"claims": [], "containers": [{"name": "c0", "resources": {"cpu": 1}}]}),
        "workloads[0]: has no claims: add claims, or containers with extended resources",
    ),
]

SHARING: Cases = [
    (
        stack({"claims": [USE | {"template": "mine"}]}, claims=[SHARED]),
        "workloads[0].claims[0]: names a shared claim, which defines everything else: keep only name and claim",
    ),
    (stack(claims=[{"name": "one"}]), "claims[0].requests: is required"),
    (
        stack(claims=[{"name": "one", "requests": []}]),
        "claims[0].requests: must have at least 1 entry, but has 0",
    ),
    (
        stack(claims=[SHARED, SHARED | {"namespace": "b"}, SHARED | {"namespace": "b"}]),
        "claims[2].name: 'one' is already the name of claims[1]: give each its own",
    ),
    (
        stack(claims=[{"name": "one", "requests": [GPU, GPU]}]),
        "claims[0].requests[1].name: 'gpu' is already the name of claims[0].requests[0]: give each its own",
    ),
    (
        stack(claims=[{"name": "one", "requests": [GPU | {"deviceClass": "gpus"}]}]),
        "claims[0].requests[0].deviceClass: there is no device class 'gpus'; did you mean 'gpu'? Name one of gpu, or "
        "add the class to kwok-dra:deviceClasses",
    ),
    (
        stack({"claims": [USE]}),
        "workloads[0].claims[0].claim: there is no shared claim 'one' in namespace default. There are none yet: add it "
        "to kwok-dra:claims",
    ),
    (
        stack({"claims": [USE | {"claim": "ones"}]}, claims=[SHARED]),
        "workloads[0].claims[0].claim: there is no shared claim 'ones' in namespace default; did you mean 'one'? "
        "Name one of one, or add it to kwok-dra:claims",
    ),
    (
        stack({"claims": [USE], "namespace": "b"}, claims=[SHARED, SHARED | {"namespace": "c"}]),
        "workloads[0].claims[0].claim: there is no shared claim 'one' in namespace b. It is in default, c: pods share "
        "only claims of their own namespace",
    ),
    # 256 are allowed; a pod that uses a claim twice counts once.
    (
        stack(pods(200), pods(57, USE, USE | {"name": "d"}), claims=[SHARED]),
        "claims[0]: is shared by 257 pods; the Kubernetes API allows at most 256: use fewer replicas, or spread the "
        "pods over several claims",
    ),
]

NAMESPACES: Cases = [
    (
        stack({"namespace": "kube-system"}),
        "workloads[0].namespace: 'kube-system' is reserved for Kubernetes: use default, or a namespace of your own",
    ),
    (
        stack(claims=[SHARED | {"namespace": "kube-public"}]),
        "claims[0].namespace: 'kube-public' is reserved for Kubernetes: use default, or a namespace of your own",
    ),
    (claiming(GPU | {"adminAccess": True}), f"{REQUEST}.adminAccess: {DEFAULT}"),
    (
        stack(claims=[{"name": "one", "requests": [OTHER, GPU | {"adminAccess": True}]}]),
        f"claims[0].requests[1].adminAccess: {DEFAULT}",
    ),
    # The names are also those of Pulumi components.
    (
        stack({}, {"name": "a", "namespace": "else"}),
        "workloads[1].name: 'a' is already the name of workloads[0]: give each its own\n",
    ),
]

ORDER: Cases = [
    (
        stack({}, {"after": ["c"]}),
        "workloads[1].after[0]: there is no workload 'c'. Name one of a, or remove it",
    ),
    (
        stack({"name": "first"}, {"after": ["firts"]}),
        "workloads[1].after[0]: there is no workload 'firts'; did you mean 'first'? Name one of first, or remove it",
    ),
    (stack({"after": ["a"]}), "workloads[0].after[0]: is the workload itself: remove it, or name another"),
    (
        stack({}, {"after": ["a", "d"]}, {"after": ["b"]}, {"after": ["c"]}),
        "workloads: form a cycle (b → d → c → b): remove one `after` entry",
    ),
]

EXPECTATIONS: Cases = [
    (
        stack({"replicas": 2, "expect": {"pending": 3}}),
        "workloads[0]: expects 0 allocated and 3 pending claims, but its 2 pods have 2 claims in total: "
        "make allocated and pending add up to 2",
    ),
    (
        stack({"replicas": 2, "expect": {"allocated": 1}}),
        "workloads[0]: expects 1 allocated and 0 pending claims, but its 2 pods have 2 claims in total: "
        "make allocated and pending add up to 2",
    ),
    (
        stack({"replicas": 2, "expect": {"running": 3}}),
        "workloads[0]: expects 3 running pods, but replicas is 2: expect at most that many",
    ),
    (stack({"expect": {"pending": -1}}), "workloads[0].expect.pending: must be at least 0, but is -1"),
    (
        stack({"kind": "DaemonSet"}),
        "workloads[0].kind: must be one of 'Deployment', 'Job' or 'Pod', but is 'DaemonSet'",
    ),
]


@pytest.mark.parametrize(
    ("configuration", "expected"), [*REQUESTS, *CONTAINERS, *SHARING, *NAMESPACES, *ORDER, *EXPECTATIONS]
)
def test_invalid_workloads(configuration: Configuration, expected: str) -> None:
    assert problems(configuration) == expected.strip().split("\n")


def test_rules_between_workloads_are_checked_despite_other_errors() -> None:
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
        # A shared claim needs no template.
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
def test_valid_workloads(configuration: Configuration) -> None:
    load(configuration)


@pytest.mark.parametrize(
    ("values", "allocated", "pending"),
    [
        ({}, 6, 0),
        ({"expect": {"pending": 2}}, 4, 2),
        ({"expect": {"allocated": 0, "pending": 6}}, 0, 6),
        ({"replicas": 0}, 0, 0),
        # All extended resources of a pod are one claim.
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


def test_without_containers_one_container_uses_every_claim() -> None:
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
