"""Features whose gates are off in Kubernetes: what is rendered, what the cluster needs, what is refused."""

from typing import Any

import pytest

from topology.checks.validation import ConfigurationError, load
from topology.kubernetes.counters import are_compatible
from topology.objects.claims import resource_claim_template
from topology.objects.device_taints import device_taint_rules
from topology.objects.nodes import declared_features
from topology.objects.slices import Manifest, resource_slices
from topology.schema.stack import Topology
from topology.status.occupancy import Holding, occupancy

Configuration = dict[str, Any]

DRIVER = "gpu.example.com"
POOL = "nodePools[0]"
MODEL = f"{POOL}.devices[0].model"
REQUEST = "workloads[0].claims[0].requests[0]"


def gpu(**values: Any) -> Configuration:
    """Return an inline device."""
    return {"driver": DRIVER, "attributes": {"index": {"int": "{index}"}}} | values


def stack(*devices: Configuration, claim: Configuration | None = None, minor: int = 37, **more: Any) -> Configuration:
    """Return a stack of a node with the devices, and a pod with a claim for one of them."""
    requests = {"requests": [{"name": "r", "deviceClass": DRIVER}]}
    return {
        "cluster": {"name": "c", "kubeVersion": f"1.{minor}.0"},
        "nodePools": [{"name": "p", "devices": [{"model": model} for model in devices or (gpu(),)]}],
        "workloads": [{"name": "w", "claims": [{"name": "c"} | requests | (claim or {})]}],
    } | more


def request(**values: Any) -> Configuration:
    """Return a claim with one request."""
    return {"requests": [{"name": "r", "deviceClass": DRIVER} | values]}


def slices(topology: Topology) -> list[Manifest]:
    pool = topology.node_pools[0]
    return resource_slices(pool, "p-0", topology.cluster.minor)


def gates(topology: Topology) -> list[str]:
    """Return the gates that the cluster gets, all of which are to be turned on."""
    assert all(topology.cluster.kube_feature_gates.values())
    return sorted(topology.cluster.kube_feature_gates)


def problems(configuration: Configuration) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        load(configuration)
    return [f"{problem.path}: {problem.message}" for problem in raised.value.problems]


# List attributes.

LISTS = {
    "strings": {"strings": ["{device}", "b"]},
    "versions": {"versions": ["1.0.0"]},
    "ints": {"ints": ["{index*2+1}", 7]},
    "bools": {"bools": [True, False]},
}
INCLUDES = f"device.attributes['{DRIVER}'].ints.includes(7)"


def test_list_attributes() -> None:
    topology = load(stack(gpu(attributes=LISTS), minor=36))
    (found,) = slices(topology)
    assert found["spec"]["devices"][0]["attributes"] == LISTS | {
        "strings": {"strings": ["gpu-0", "b"]},
        "ints": {"ints": [1, 7]},
    }
    assert gates(topology) == ["DRAListTypeAttributes"]


@pytest.mark.parametrize(
    "configuration",
    [
        stack(gpu(partitions=[{"deviceName": "part", "attributes": LISTS}])),
        stack(gpu(attributes=LISTS), claim=request(selectors=[INCLUDES])),
        stack(claim=request(selectors=[f"device.attributes['{DRIVER}'].index.includes(0)"])),
        stack(deviceClasses=[{"name": "c", "selectors": ["device.driver.includes('a')"]}]),
        stack(nodePools=[{"name": "p", "gpu": gpu(), "attributes": {"numbers": {"ints": [1]}}}]),
    ],
)
def test_what_uses_list_attributes(configuration: Configuration) -> None:
    assert gates(load(configuration)) == ["DRAListTypeAttributes"]
    assert (
        "uses list attributes, which Kubernetes 1.35.0 does not have"
        in problems(configuration | {"cluster": {"name": "c", "kubeVersion": "1.35.0"}})[0]
    )


@pytest.mark.parametrize("constraint", ["matchAttribute", "distinctAttribute"])
def test_constraints_about_lists_are_newer(constraint: str) -> None:
    def of(attribute: str, minor: int) -> Configuration:
        constraints = [{constraint: f"{DRIVER}/{attribute}"}]
        return stack(gpu(attributes=LISTS | {"one": {"int": 1}}), claim={"constraints": constraints}, minor=minor)

    load(of("ints", 37))
    load(of("one", 36))
    assert problems(of("ints", 36)) == [
        "workloads[0].claims[0]: uses list attributes in constraints, which Kubernetes 1.36.0 does not have: set "
        "kwok-dra:cluster.kubeVersion to a release since 1.37, such as 1.37.2"
    ]


def test_selectors_see_lists() -> None:
    (said,) = problems(stack(gpu(attributes=LISTS), claim=request(selectors=[INCLUDES.replace("7", "8")])))
    assert said.startswith(f"{REQUEST}: wants 1 device of class {DRIVER} matching its selectors, but no node")


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        (
            {"a": {"strings": []}},
            f"{MODEL}.attributes.a.strings: must have at least 1 entry, but has 0",
        ),
        (
            {"a": {"ints": list(range(40))}, "b": {"ints": list(range(9))}},
            f"{POOL}: device gpu-0: has 49 attribute values, including those in lists; the Kubernetes API allows at "
            "most 48 per device: remove some",
        ),
        (
            {"a": {"strings": ["a", "b" * 65]}},
            f"{POOL}: device gpu-0: attributes.a has 65 bytes; the Kubernetes API allows at most 64 bytes per string: "
            "make it shorter",
        ),
        (
            {"a": {"strings": ["{pcieRoot}"]}},
            f"{MODEL}: uses {{pcieRoot}}, which depends on its slot: set slot: gpu or slot: nic",
        ),
    ],
)
def test_limits_of_list_attributes(attributes: Configuration, expected: str) -> None:
    assert problems(stack(gpu(attributes=attributes))) == [expected]


def test_fewer_devices_with_lists_are_in_a_slice() -> None:
    topology = load(stack(nodePools=[{"name": "p", "gpu": gpu(attributes=LISTS), "gpusPerNode": 65}]))
    assert [len(found["spec"]["devices"]) for found in slices(topology)] == [64, 1]


# Derived attributes.

NUMA = {"attributes": {"index": {"int": "{index}"}, "numa": {"string": "n{index}"}, "ints": {"ints": [0, 1]}}}
MATCH = {"constraints": [{"matchAttribute": "derived/x"}]}


def deriving(*expressions: str, count: int = 1, **claim: Any) -> Configuration:
    """Return a claim with a request for each of the expressions, which derives `derived/x` by it."""
    requests = [
        {"name": f"r{place}", "deviceClass": DRIVER, "count": count, "derivedAttributes": derived("derived/x", text)}
        for place, text in enumerate(expressions)
    ]
    return {"requests": requests} | MATCH | claim


def derived(name: str, expression: str) -> list[Configuration]:
    return [{"name": name, "expression": expression}]


def two(claim: Configuration, **more: Any) -> Configuration:
    """Return a stack of a node with two devices and a claim."""
    return stack(nodePools=[{"name": "p", "gpu": gpu(**NUMA), "gpusPerNode": 2}], claim=claim, **more)


ATTRIBUTES = f"device.attributes['{DRIVER}']"
NAMES = f"{DRIVER}/index, {DRIVER}/ints, {DRIVER}/numa"


def test_derived_attributes() -> None:
    configuration = stack(claim=deriving("1", "1 + 0")) | {"nodePools": [{"name": "p", "gpu": gpu(), "gpusPerNode": 2}]}
    topology = load(configuration)
    assert gates(topology) == ["DRADerivedAttributes"]
    (first, _) = resource_claim_template(topology.workloads[0], topology.workloads[0].claims[0])["spec"]["spec"][
        "devices"
    ]["requests"]
    assert first["exactly"]["derivedAttributes"] == [{"name": "derived/x", "expression": "1"}]


@pytest.mark.parametrize(
    ("expressions", "count", "fits"),
    [
        ((f"{ATTRIBUTES}.index",), 2, False),
        ((f"{ATTRIBUTES}.index / 2",), 2, True),
        (("device.driver",), 2, True),
        ((f"semver('1.0.' + string({ATTRIBUTES}.index))",), 2, False),
        # Other types are other values, and a list is a set.
        (("1", "'1'"), 1, False),
        (("[0, 1]", "1"), 1, True),
        ((f"{ATTRIBUTES}.ints", "2"), 1, False),
        ((f"{ATTRIBUTES}.ints.filter(x, x > 1)", "2"), 1, False),
        # One device for two requests, which derive different things.
        ((f"{ATTRIBUTES}.index == 0 ? 'a' : 'b'", f"{ATTRIBUTES}.numa == 'n0' ? 'a' : 'c'"), 1, False),
        ((f"{ATTRIBUTES}.index == 0 ? 'a' : 'b'", f"{ATTRIBUTES}.numa == 'n1' ? 'a' : 'c'"), 1, True),
    ],
)
def test_constraints_about_derived_attributes(expressions: tuple[str, ...], count: int, fits: bool) -> None:
    configuration = two(deriving(*expressions, count=count))
    if fits:
        load(configuration)
    else:
        assert problems(configuration)[0].startswith("workloads[0].claims: not even an empty node")


def test_derived_attributes_stand_for_those_of_the_device() -> None:
    name = f"{DRIVER}/index"
    requests = [{"name": "r", "deviceClass": DRIVER, "count": 2, "derivedAttributes": derived(name, "7")}]
    load(two({"requests": requests, "constraints": [{"matchAttribute": name}]}))
    assert problems(two({"requests": requests, "constraints": [{"distinctAttribute": name}]}))


def test_a_derived_attribute_that_cannot_be_checked_here_is_left_to_kubernetes() -> None:
    load(two(deriving("url('https://example.com').getHost()", count=2)))


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        (
            deriving("1", constraints=[{"matchAttribute": "derived/y"}]),
            "workloads[0].claims[0]: request r0 derives derived/x, but no constraint on it uses that: name it in a "
            "matchAttribute or distinctAttribute, or remove it",
        ),
        (
            deriving("1", "1", constraints=[{"matchAttribute": "derived/x", "requests": ["r0"]}]),
            "workloads[0].claims[0]: request r1 derives derived/x, but no constraint on it uses that: name it in a "
            "matchAttribute or distinctAttribute, or remove it",
        ),
        (
            request(derivedAttributes=derived("derived/x", "1") * 2) | MATCH,
            f"{REQUEST}: derives derived/x twice: give each attribute its own name",
        ),
        (
            request(derivedAttributes=derived("x", "1")) | MATCH,
            f"{REQUEST}.derivedAttributes[0].name: 'x' is not a fully qualified attribute name: put the domain before "
            "it, such as resource.kubernetes.io/pcieRoot",
        ),
        (
            deriving("1.5"),
            f"{REQUEST}.derivedAttributes[0].expression: must evaluate to a string, an integer, a version or a "
            "boolean, or a list of one of these, but evaluates to double",
        ),
        (
            deriving(f"{ATTRIBUTES}.nuna"),
            f"{REQUEST}.derivedAttributes[0].expression: names {DRIVER}/nuna, which device gpu-0 of pool p does not "
            f"have; did you mean '{DRIVER}/numa'? The scheduler stops at such a device: check device.driver first, or "
            f"use .?name.orValue(…). It has {NAMES}",
        ),
        (
            deriving(f"{ATTRIBUTES}.ints.map(x, x == 1 ? dyn('a') : dyn(x))"),
            f"{REQUEST}.derivedAttributes[0].expression: must evaluate to a list of values of one type, but "
            "evaluates to [0, 'a'], for device gpu-0 of pool p",
        ),
        (
            deriving("dyn(1.5)"),
            f"{REQUEST}.derivedAttributes[0].expression: must evaluate to a string, an integer, a version or a "
            "boolean, but evaluates to 1.5, for device gpu-0 of pool p",
        ),
    ],
)
def test_what_is_wrong_with_derived_attributes(claim: Configuration, expected: str) -> None:
    assert problems(two(claim)) == [expected]


def test_a_derived_list_needs_list_attributes() -> None:
    assert problems(stack(claim=deriving("[1]"))) == [
        f"{REQUEST}.derivedAttributes[0].expression: must evaluate to a string, an integer, a version or a boolean, "
        "but evaluates to list<int>"
    ]
    load(stack(claim=deriving("[1]"), cluster={"name": "c", "kubeFeatureGates": {"DRAListTypeAttributes": True}}))


def test_an_alternative_derives_by_its_full_name() -> None:
    alternative = {"name": "a", "deviceClass": DRIVER, "derivedAttributes": derived("derived/x", "1")}
    requests = [{"name": "r", "firstAvailable": [alternative]}]
    for about in ("r", "r/a"):
        load(two({"requests": requests, "constraints": [{"matchAttribute": "derived/x", "requests": [about]}]}))


# Compatibility groups.


def cut(*groups: list[str], counters: int = 9, **more: Any) -> Configuration:
    """Return a device that is published in parts with such compatibility groups, each of which takes one counter."""
    partitions = [
        {"deviceName": f"part-{place}", "consumesCounters": {"memory": 1}, "compatibilityGroups": some}
        for place, some in enumerate(groups)
    ]
    return gpu(counterSet="set-{index}", counters={"memory": counters}, partitions=partitions) | more


def test_compatibility_groups() -> None:
    topology = load(stack(cut(["a"], [], ["b", "c"])))
    assert gates(topology) == ["DRADeviceCompatibilityGroups"]
    found = [device["consumesCounters"][0] for device in slices(topology)[1]["spec"]["devices"]]
    assert [entry.get("compatibilityGroups") for entry in found] == [["a"], None, ["b", "c"]]
    assert (
        "uses compatibility groups, which Kubernetes 1.36.0 does not have" in problems(stack(cut(["a"]), minor=36))[0]
    )
    assert gates(load(stack(cut([])))) == []


@pytest.mark.parametrize(
    ("groups", "together"),
    [
        ([["a"], ["a"]], True),
        ([["a"], ["b"]], False),
        ([["a"], []], False),
        ([[], []], True),
        ([["a", "b"], ["b", "c"], ["b"]], True),
        ([["a", "b"], ["b", "c"], ["c", "a"]], False),
    ],
)
def test_compatible_parts(groups: list[list[str]], together: bool) -> None:
    assert are_compatible(groups) is together
    everything = stack(cut(*groups), claim=request(count=len(groups)))
    if together:
        load(everything)
    else:
        assert problems(everything)[0].startswith("workloads[0].claims: not even an empty node of p can satisfy them")


def test_parts_of_different_devices_are_never_compared() -> None:
    other = cut(["b"], deviceName="other-{index}", counterSet="other", attributes={})
    other["partitions"][0]["deviceName"] = "other-part"
    load(stack(cut(["a"]), other, claim=request(count=2)))


def test_incompatible_parts_are_not_free() -> None:
    specs = [entry["spec"] for entry in slices(load(stack(cut(["a"], ["b"], ["a", "b"], []))))]
    name = (DRIVER, "p-0")
    empty = occupancy([{"spec": spec} for spec in specs], {})[name]
    assert (empty.free, empty.fits) == (4, {"part": 2})
    held = occupancy([{"spec": spec} for spec in specs], {(*name, "part-0"): [Holding(("", "c"), {})]})[name]
    assert (sorted(held.available), held.fits) == (["part-2"], {"part": 1})


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (
            gpu(partitions=[{"deviceName": "part", "compatibilityGroups": ["a"]}]),
            f"{MODEL}: partition part has compatibilityGroups, which need shared counters: add counterSet and "
            "counters to the model, or remove the groups",
        ),
        (cut(["a", "a"]), f"{MODEL}.partitions[0].compatibilityGroups: lists 'a' more than once: list each value once"),
        (
            cut(["a", "b", "c"]),
            f"{MODEL}.partitions[0].compatibilityGroups: must have at most 2 entries, but has 3",
        ),
    ],
)
def test_what_is_wrong_with_compatibility_groups(model: Configuration, expected: str) -> None:
    assert problems(stack(model)) == [expected]


# Optional node operations.


def test_optional_node_operations() -> None:
    topology = load(stack(gpu(skipNodeOperations=["*"]), {"driver": "nic.example.com"}))
    assert gates(topology) == ["DRAOptionalNodeOperations"]
    assert [entry["spec"].get("skipNodeOperations") for entry in slices(topology)] == [["*"], None]
    assert declared_features(topology.node_pools[0]) == ["DRAOptionalNodeOperations"]


@pytest.mark.parametrize(("pool", "expected"), [({}, []), ({"declaredFeatures": ["B", "A"]}, ["A", "B"])])
def test_features_that_nodes_declare(pool: Configuration, expected: list[str]) -> None:
    topology = load(stack(nodePools=[{"name": "p", "gpu": gpu()} | pool]))
    assert declared_features(topology.node_pools[0]) == expected


def test_an_older_kubelet_declares_nothing() -> None:
    pool = {"name": "p", "gpu": gpu(skipNodeOperations=["*"]), "declaredFeatures": []}
    assert declared_features(load(stack(nodePools=[pool])).node_pools[0]) == []


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        (
            ["NodePrepareResources"],
            ": skips NodePrepareResources without NodeUnprepareResources: add it, or use '*' for both",
        ),
        (["*", "*"], ".skipNodeOperations: lists '*' more than once: list each value once"),
    ],
)
def test_what_is_wrong_with_skipped_operations(operations: list[str], expected: str) -> None:
    assert problems(stack(gpu(skipNodeOperations=operations))) == [MODEL + expected]


@pytest.mark.parametrize("operations", [["NodePrepareResources", "NodeUnprepareResources"], ["NodeUnprepareResources"]])
def test_operations_that_can_be_skipped(operations: list[str]) -> None:
    load(stack(gpu(skipNodeOperations=operations)))


def test_a_feature_is_declared_once() -> None:
    assert problems(stack(nodePools=[{"name": "p", "gpu": gpu(), "declaredFeatures": ["A", "A"]}])) == [
        f"{POOL}.declaredFeatures: lists 'A' more than once: list each value once"
    ]


# Node allocatable resources.

BY_CAPACITY = {"mapping": {"capacityKey": "cpu", "capacityMultiplier": 2}}
BY_DEVICE = {"mapping": {"deviceMultiplier": "1Gi"}, "overhead": {"perPod": "100m", "perContainer": 1}}


def mapped(**resources: Any) -> Configuration:
    """Return a device whose allocations count for such resources of the node."""
    return gpu(capacity={"cpu": 8}, nodeAllocatableResources=resources)


def test_node_allocatable_resources() -> None:
    topology = load(stack(mapped(cpu=BY_CAPACITY, memory=BY_DEVICE)))
    (device,) = slices(topology)[0]["spec"]["devices"]
    assert device["nodeAllocatableResources"] == {
        "cpu": {"mapping": {"capacityKey": "cpu", "capacityMultiplier": "2"}},
        "memory": {
            "mapping": {"deviceMultiplier": "1Gi"},
            "overhead": {"perPod": "100m", "perContainer": "1"},
        },
    }
    assert gates(topology) == declared_features(topology.node_pools[0]) == ["DRANodeAllocatableResources"]
    (said,) = problems(stack(mapped(cpu=BY_CAPACITY), minor=36))
    assert "uses node allocatable resources, which Kubernetes 1.36.0 does not have" in said


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({"cpu": {}}, ".nodeAllocatableResources.cpu: must have a mapping, an overhead or both"),
        (
            {"cpu": {"mapping": {"capacityKey": "cpu"}}},
            ".nodeAllocatableResources.cpu.mapping: must have either capacityKey and capacityMultiplier, or "
            "deviceMultiplier",
        ),
        (
            {"cpu": {"mapping": {}}},
            ".nodeAllocatableResources.cpu.mapping: must have either capacityKey and capacityMultiplier, or "
            "deviceMultiplier",
        ),
        (
            {"cpu": {"mapping": {"deviceMultiplier": 1} | BY_CAPACITY["mapping"]}},
            ".nodeAllocatableResources.cpu.mapping: must have either capacityKey and capacityMultiplier, or "
            "deviceMultiplier",
        ),
        (
            {"cpu": {"mapping": {"deviceMultiplier": 0}}},
            ".nodeAllocatableResources.cpu.mapping: must have a multiplier above zero",
        ),
        ({"cpu": {"overhead": {}}}, ".nodeAllocatableResources.cpu.overhead: must have perPod, perContainer or both"),
        (
            {"cpu": {"mapping": {"capacityKey": "cores", "capacityMultiplier": 1}}},
            ": maps the capacity cores to the node's cpu, but has no such capacity: add it, or name one that it has "
            "(cpu)",
        ),
    ],
)
def test_what_is_wrong_with_node_allocatable_resources(resources: Configuration, expected: str) -> None:
    assert problems(stack(mapped(**resources))) == [MODEL + expected]


def test_other_resources_and_parts_are_not_mapped() -> None:
    (said,) = problems(stack(mapped(pods=BY_CAPACITY)))
    assert "'pods' is not a resource of the node that devices can use" in said
    parts = mapped(cpu=BY_CAPACITY) | {"partitions": [{"deviceName": "part"}]}
    assert problems(stack(parts)) == [
        f"{MODEL}: has nodeAllocatableResources, which apply to whole devices only: remove partitions and mig"
    ]


def test_nodes_have_to_declare_them() -> None:
    pool = {"name": "p", "gpu": mapped(cpu=BY_CAPACITY), "declaredFeatures": []}
    assert problems(stack(nodePools=[pool])) == [
        f"{POOL}.declaredFeatures: must include DRANodeAllocatableResources: without it, the API server refuses "
        f"devices with nodeAllocatableResources. Add it, or remove declaredFeatures"
    ]


# Binding conditions.


def attached(conditions: list[str], failures: list[str], **values: Any) -> Configuration:
    """Return a device that has to be attached."""
    return gpu(bindingConditions=conditions, bindingFailureConditions=failures, **values)


@pytest.mark.parametrize(
    ("minor", "expected", "served"),
    [
        (34, ["DRADeviceBindingConditions", "DRADeviceTaints"], {"resource.k8s.io/v1alpha3": True}),
        (
            35,
            ["DRADeviceBindingConditions", "DRADeviceTaintRules", "DRADeviceTaints"],
            {"resource.k8s.io/v1alpha3": True},
        ),
        (36, ["DRADeviceTaintRules"], {"resource.k8s.io/v1beta2": True}),
        (37, [], {}),
    ],
)
def test_binding_conditions_need_taint_rules(minor: int, expected: list[str], served: dict[str, bool]) -> None:
    topology = load(stack(attached(["a"], ["b"]), minor=minor))
    assert gates(topology) == expected
    assert topology.cluster.kube_runtime_config == served


@pytest.mark.parametrize(
    ("conditions", "failures", "expected"),
    [
        (list("abcd"), list("efgh"), []),
        (list("abcde"), ["f"], [f"{MODEL}.bindingConditions: must have at most 4 entries, but has 5"]),
        (["f"], list("abcde"), [f"{MODEL}.bindingFailureConditions: must have at most 4 entries, but has 5"]),
        (["a"], [], [f"{MODEL}: must have both bindingConditions and bindingFailureConditions, or neither"]),
        ([], ["a"], [f"{MODEL}: must have both bindingConditions and bindingFailureConditions, or neither"]),
        (
            ["a", "b"],
            ["c", "b"],
            [f"{MODEL}: lists b more than once in bindingConditions and bindingFailureConditions"],
        ),
        (
            ["a", "a"],
            ["b"],
            [f"{MODEL}: lists a more than once in bindingConditions and bindingFailureConditions"],
        ),
    ],
)
def test_limits_of_binding_conditions(conditions: list[str], failures: list[str], expected: list[str]) -> None:
    configuration = stack(attached(conditions, failures))
    if expected:
        assert problems(configuration) == expected
    else:
        load(configuration)


def test_a_fault_adds_a_failure_condition() -> None:
    def with_failures(names: str) -> Configuration:
        pool = {"name": "p", "gpu": attached(["x"], list(names)), "faults": [{"attachFails": True}]}
        return stack(nodePools=[pool])

    load(with_failures("abc"))
    assert problems(with_failures("abcd")) == [
        f"{POOL}.faults[0].attachFails: adds a condition to bindingFailureConditions; the Kubernetes API allows at "
        f"most 4: remove one"
    ]


def test_attaching_needs_the_binary_runtime() -> None:
    assert problems(stack(attached(["a"], ["b"]), cluster={"name": "c", "runtime": "docker"})) == [
        f"{POOL}.devices[0]: has bindingConditions, which need cluster.runtime: binary, but it is docker: set it to "
        "binary, or remove them"
    ]


# Kubernetes 1.38: the same stacks, with less to be told.


@pytest.mark.parametrize("minor", [37, 38])
def test_rules_that_select_everything_have_an_empty_selector(minor: int) -> None:
    """Since Kubernetes 1.37.1 a rule without one selects nothing."""
    rules = [{"name": "all", "taint": {"key": "k"}}, {"name": "one", "pool": "p-0", "taint": {"key": "k"}}]
    topology = load(stack(minor=minor, deviceTaintRules=rules))
    everything, one = device_taint_rules(topology)
    assert (everything["apiVersion"], everything["spec"]["deviceSelector"]) == ("resource.k8s.io/v1", {})
    assert one["spec"]["deviceSelector"] == {"pool": "p-0"}
    assert gates(topology) == []


@pytest.mark.parametrize("gate", ["DRADeviceBindingConditions", "DRADeviceTaintRules", "DRAPartitionableDevices"])
def test_gates_that_are_locked_in_1_38(gate: str) -> None:
    def of(value: bool) -> Configuration:
        return stack(cluster={"name": "c", "kubeVersion": "1.38.0", "kubeFeatureGates": {gate: value}})

    assert gates(load(of(True))) == [gate]
    assert problems(of(False)) == [
        f"cluster.kubeFeatureGates.{gate}: is always on in Kubernetes 1.38 and cannot be turned off: leave it out"
    ]


def test_gates_that_are_general_in_1_38_and_can_be_turned_off() -> None:
    off = {"DRAConsumableCapacity": False, "DRAFractionalCapacityRange": False}
    topology = load(stack(cluster={"name": "c", "kubeVersion": "1.38.0", "kubeFeatureGates": off}))
    assert topology.cluster.kube_feature_gates == off


def test_groups_of_groups_in_1_38() -> None:
    """Beta, and off: a gate that is set, with those that it needs."""
    on = dict.fromkeys(["CompositePodGroup", "GenericWorkload", "TopologyAwareWorkloadScheduling"], True)
    cluster = load(stack(cluster={"name": "c", "kubeVersion": "1.38.0", "kubeFeatureGates": on})).cluster
    assert cluster.kube_runtime_config == {"scheduling.k8s.io/v1beta1": True}
    del on["TopologyAwareWorkloadScheduling"]
    assert problems(stack(cluster={"name": "c", "kubeVersion": "1.38.0", "kubeFeatureGates": on})) == [
        "cluster.kubeFeatureGates.CompositePodGroup: needs TopologyAwareWorkloadScheduling, which is off: set "
        "TopologyAwareWorkloadScheduling to true, or leave CompositePodGroup out"
    ]
