"""Valid configurations, and the exact messages for invalid ones."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from topology.checks.validation import ConfigurationError, load
from topology.schema.base import Model
from topology.schema.catalogue import built_in
from topology.schema.devices import DeviceModel
from topology.schema.profiles import base_names
from topology.schema.stack import DEFAULT_KUBERNETES_VERSION, Cluster, NodePool, Topology

ROOT = Path(__file__).resolve().parents[2]
Configuration = dict[str, Any]
Names = tuple[str, str, str | None]  # of a workload, its claim and the claim's template
MISSING = object()

POOL = "nodePools[0]"
GPU = f"{POOL}.gpu"
CLASS = "deviceClasses[0]"
WORKLOAD = "workloads[0]"
CLAIM = f"{WORKLOAD}.claims[0]"
REQUEST = f"{CLAIM}.requests[0]"

DNS_LABEL = (
    "is not a DNS label: use at most 63 lower-case letters, digits and '-', beginning and ending with a letter or digit"
)
DNS_SUBDOMAIN = (
    "is not a DNS subdomain: use at most 253 lower-case letters, digits, '-' and '.', such as gpu.example.com"
)
DRIVER = "is not a driver name: use a DNS subdomain of at most 63 characters, such as gpu.example.com"
QUANTITY = "is not a quantity: use a number with an optional unit, such as 96, 500m or 80Gi"
TOO_LARGE = "is more than Kubernetes can represent: use at most 9223372036854775807"
RESOURCE = "is not a resource name: use a name such as cpu, optionally after a domain, such as example.com/gpu"
QUALIFIED = (
    "is not a qualified name: use a C identifier of at most 32 characters, optionally after a domain of at most 63, "
    "such as productName or gpu.example.com/productName"
)
VERSION = (
    "is not a semantic version: use MAJOR.MINOR.PATCH without leading zeros, such as 12.9.0, in at most 64 characters"
)
KUBERNETES = (
    "is not a supported Kubernetes version: use a release from 1.34 to 1.38 with its patch number, such as 1.37.2"
)
RUNTIMES = "one of 'binary', 'docker', 'podman', 'nerdctl' or 'kind'"
CLASSES = "Name one of kwok.x-k8s.io, or add the class to kwok-dra:deviceClasses"
ONE_VALUE = (
    "must have exactly one of string, int, bool and version, or of their lists strings, ints, bools and versions, "
    "such as {string: gpu}"
)
INT = "must be a whole number or a placeholder such as {index} or {index//4%4*8+128:03}, but is"
MAPPING = "must be a mapping of keys to values, but is"
WHOLE = "must be a whole number, but is"
TEXT = "must be a string, but is"


def get(configuration: Any, key: str) -> Any:
    """Return the value at `key`, a path as in messages, such as `nodePools[0].gpu`."""
    for part in re.findall(r"[^.\[\]]+", key):
        configuration = configuration[int(part) if part.isdigit() else part]
    return configuration


def put(configuration: Configuration, key: str, value: object) -> Configuration:
    """Set `key`, or remove it; its last part is the key of a mapping or the first entry of a list."""
    parent, _, last = key.removesuffix("[0]").rpartition(".")
    if key.endswith("[0]"):
        get(configuration, key.removesuffix("[0]"))[0] = value
    elif value is MISSING:
        del get(configuration, parent)[last]
    else:
        get(configuration, parent)[last] = value
    return configuration


def problems(configuration: Configuration) -> list[str]:
    """Return the problems, as `key: message`, and check that the text of the error consists of them."""
    with pytest.raises(ConfigurationError) as raised:
        load(configuration)
    found = [f"{problem.path}: {problem.message}" for problem in raised.value.problems]
    count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
    heading = f"the configuration has {count}; nothing was created or changed"
    assert str(raised.value).split("\n") == [heading, *(f"  kwok-dra:{problem}" for problem in found)]
    return found


def device(**values: object) -> Configuration:
    """Return an inline device."""
    return {"driver": "gpu.example.com"} | values


def keys_of(model: type[Model]) -> str:
    """Return a model's keys as messages list them."""
    return ", ".join(sorted(str(field.alias) for field in model.model_fields.values()))


def with_attribute(**value: object) -> Configuration:
    """Return a device with an attribute `model`."""
    return device(attributes={"model": value})


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (f"{POOL}.nodes", -1, "must be at least 0, but is -1"),
        (f"{POOL}.nodes", 20_001, "must be at most 20000, but is 20001"),
        (f"{POOL}.nodes", 10**30, f"must be at most 20000, but is {10**30}"),
        (f"{POOL}.nodes", "1", f"{WHOLE} '1'"),
        (f"{POOL}.nodes", 1.5, f"{WHOLE} 1.5"),
        (f"{POOL}.nodes", True, f"{WHOLE} true"),
        (f"{POOL}.nodes", None, f"{WHOLE} null"),
        (f"{POOL}.gpusPerNode", 0, "must be at least 1, but is 0"),
        (f"{POOL}.gpusPerNode", 4097, "must be at most 4096, but is 4097"),
        (f"{WORKLOAD}.replicas", -1, "must be at least 0, but is -1"),
        (f"{WORKLOAD}.replicas", 150_001, "must be at most 150000, but is 150001"),
        (f"{WORKLOAD}.readyTimeoutSeconds", 0, "must be at least 1, but is 0"),
        (f"{WORKLOAD}.readyTimeoutSeconds", 86_401, "must be at most 86400, but is 86401"),
        (f"{REQUEST}.count", 0, "must be at least 1, but is 0"),
        (f"{REQUEST}.count", 33, "must be at most 32, but is 33"),
        ("cluster.readyTimeoutSeconds", 0, "must be at least 1, but is 0"),
        ("cluster.readyTimeoutSeconds", 3601, "must be at most 3600, but is 3601"),
        ("cluster.kubeApiserverPort", 0, "must be at least 1, but is 0"),
        ("cluster.kubeApiserverPort", 65_536, "must be at most 65535, but is 65536"),
        ("cluster.kubeApiserverPort", "6443", f"{WHOLE} '6443'"),
    ],
)
def test_wrong_numbers(dev: Configuration, key: str, value: object, message: str) -> None:
    assert problems(put(dev, key, value)) == [f"{key}: {message}"]


@pytest.mark.parametrize(
    ("key", "name", "rule"),
    [
        ("cluster.name", "Dev_1", DNS_LABEL),
        # Names become parts of file names, YAML and shell environments: none of these is allowed.
        ("cluster.name", "$(reboot)", DNS_LABEL),
        ("cluster.name", "a\nb: c", DNS_LABEL),
        ("cluster.name", "../etc", DNS_LABEL),
        ("cluster.name", "a\n", DNS_LABEL),
        ("cluster.kubeVersion", "1.33.9", KUBERNETES),
        ("cluster.kubeVersion", "1.39.0", KUBERNETES),
        ("cluster.kubeVersion", "1.38.0-beta.0", KUBERNETES),
        ("cluster.kubeVersion", "v1.37.2", KUBERNETES),
        ("cluster.kubeVersion", "1.37", KUBERNETES),
        ("cluster.kubeVersion", "1.37.2\n", KUBERNETES),
        (f"{POOL}.name", "", DNS_LABEL),
        (f"{POOL}.name", "-node", DNS_LABEL),
        (f"{POOL}.name", "n" * 64, DNS_LABEL),
        (f"{WORKLOAD}.name", "fake.pod", DNS_LABEL),
        (f"{CLAIM}.name", "gpu_0", DNS_LABEL),
        (f"{CLAIM}.template", "", DNS_SUBDOMAIN),
        (f"{CLAIM}.template", "single gpu", DNS_SUBDOMAIN),
        (f"{REQUEST}.name", "GPU", DNS_LABEL),
    ],
)
def test_wrong_names(dev: Configuration, key: str, name: str, rule: str) -> None:
    assert problems(put(dev, key, name)) == [f"{key}: {name!r} {rule}"]


@pytest.mark.parametrize(
    ("key", "value", "rest"),
    [
        ("cluster", [], f": {MAPPING} []"),
        ("cluster.name", 7, f": {TEXT} 7"),
        ("cluster.runtime", "vm", f": must be {RUNTIMES}, but is 'vm'"),
        ("cluster.kubeVersion", 1.37, f": {TEXT} 1.37"),
        ("cluster.kubeFeatureGates", ["X"], f': {MAPPING} ["X"]'),
        ("cluster.kubeFeatureGates", {"X": "true"}, ".X: must be true or false, but is 'true'"),
        (
            "cluster.kubeFeatureGates",
            {"A=true,B": True},
            ".A=true,B: 'A=true,B' is not the name of a feature gate: use one such as DynamicResourceAllocation",
        ),
        (
            "cluster.kubeRuntimeConfig",
            {"a,b": True},
            ".a,b: 'a,b' is not an API to serve: use one such as resource.k8s.io/v1beta1",
        ),
        ("nodePools", {}, ": must be a list, but is {}"),
        (POOL, "kwok-node", f": {MAPPING} 'kwok-node'"),
        (f"{POOL}.capacity", {"cpu": "lots"}, f".cpu: 'lots' {QUANTITY}"),
        (f"{POOL}.capacity", {"cpu": -1}, f".cpu: '-1' {QUANTITY}"),
        (f"{POOL}.capacity", {"cpu": True}, f".cpu: {TEXT} true"),
        (f"{POOL}.capacity", {"cpu": "1e999999999"}, f".cpu: '1e999999999' {QUANTITY}"),
        (f"{POOL}.capacity", {"cpu": "8Ei"}, f".cpu: '8Ei' {TOO_LARGE}"),
        (f"{POOL}.capacity", {"cpu": 10**40}, f".cpu: '1{'0' * 40}' {TOO_LARGE}"),
        (f"{POOL}.nodes", [[[[[["deep"]]]]]], f': {WHOLE} [[[[["…"]]]]]'),
        (f"{POOL}.capacity", {"a b": 1}, f".a b: 'a b' {RESOURCE}"),
        (f"{REQUEST}.capacity", {"a b": 1}, f".a b: 'a b' {QUALIFIED}"),
        (f"{REQUEST}.capacity", {"a/b/c": 1}, f".a/b/c: 'a/b/c' {QUALIFIED}"),
        (f"{CLASS}.selectors", "true", ": must be a list, but is 'true'"),
        (f"{CLASS}.selectors", [""], "[0]: must not be empty"),
        (f"{CLASS}.selectors", ["x" * 10_241], "[0]: must have at most 10240 bytes, but has 10241"),
        (f"{CLASS}.selectors", ["true"] * 33, ": must have at most 32 entries, but has 33"),
        (
            f"{REQUEST}.deviceClass",
            "kwok.x-k8s",
            f": there is no device class 'kwok.x-k8s'; did you mean 'kwok.x-k8s.io'? {CLASSES}",
        ),
        (f"{REQUEST}.deviceClass", "gpu", f": there is no device class 'gpu'. {CLASSES}"),
        (f"{REQUEST}.selectors", [4], f"[0]: {TEXT} 4"),
    ],
)
def test_other_wrong_values(dev: Configuration, key: str, value: object, rest: str) -> None:
    assert problems(put(dev, key, value)) == [f"{key}{rest}"]


@pytest.mark.parametrize(
    ("gpu", "rest"),
    [
        (4, ": must be the name of a device model or define one inline, but is 4"),
        ({}, ".driver: is required"),
        (device(driver="GPU"), f".driver: 'GPU' {DRIVER}"),
        (device(driver="d" * 64), f".driver: '{'d' * 64}' {DRIVER}"),
        (
            device(deviceName="{node}-{index}"),
            ".deviceName: '{node}-{index}' may use only the placeholders {index}, {numaNode}, {pciName}",
        ),
        (
            device(sliceName="{node}"),
            ".sliceName: '{node}' may use only the placeholders {driver}, {node}, {suffix} "
            "and must use {node}, {suffix}",
        ),
        (
            with_attribute(string="{id}"),
            ".attributes.model.string: '{id}' may use only the placeholders {busNumber}, {count}, {device}, "
            "{deviceNumber}, {deviceUuid}, {driver}, {hex}, {index}, {mac}, {node}, {nodeUuid}, {numaNode}, "
            "{pciBusID}, {pciName}, {pcieBus}, {pcieRoot}, {uuid}",
        ),
        (
            with_attribute(string="{uuid*2}"),
            ".attributes.model.string: '{uuid*2}' may compute only with the numbers {count}, {index}, {numaNode}",
        ),
        *(
            (
                device(deviceName=f"gpu-{wrong}"),
                f".deviceName: 'gpu-{wrong}' has {wrong}, which is not a placeholder: use {{index}}, {{numaNode}}, "
                "{pciName}; {index}, {numaNode} can compute with up to 9 digits, as in {index//4%4*8+128:03}",
            )
            for wrong in ("{index/4}", "{index-1}", "{index//0}", "{index:3}", "{index+300002100600}", "{indx*2.5}")
        ),
        (
            device(sliceName="{node}-{suffix:2}"),
            ".sliceName: '{node}-{suffix:2}' has {suffix:2}, which is not a placeholder: use {driver}, {node}, "
            "{suffix}",
        ),
        (with_attribute(int="{index/4}"), f".attributes.model.int: {INT} '{{index/4}}'"),
        (with_attribute(int="x{index}"), f".attributes.model.int: {INT} 'x{{index}}'"),
        (with_attribute(int="{uuid}"), f".attributes.model.int: {INT} '{{uuid}}'"),
        (with_attribute(string=None), f".attributes.model: {ONE_VALUE}"),
        (with_attribute(bool=None), f".attributes.model: {ONE_VALUE}"),
        (with_attribute(version="1.2.1٣"), f".attributes.model.version: '1.2.1٣' {VERSION}"),
        (
            with_attribute(int=2**53),
            ".attributes.model.int: must be from -9007199254740991 to 9007199254740991, because Pulumi passes "
            "numbers as doubles",
        ),
        (with_attribute(), f".attributes.model: {ONE_VALUE}"),
        (with_attribute(string="L4", int=4), f".attributes.model: {ONE_VALUE}"),
        (with_attribute(int="4"), f".attributes.model.int: {INT} '4'"),
        (with_attribute(int=True), f".attributes.model.int: {INT} true"),
        (with_attribute(int=1.0), f".attributes.model.int: {INT} 1.0"),
        (with_attribute(bool="yes"), ".attributes.model.bool: must be true or false, but is 'yes'"),
        (with_attribute(version="8.9"), f".attributes.model.version: '8.9' {VERSION}"),
        (with_attribute(version="08.9.0"), f".attributes.model.version: '08.9.0' {VERSION}"),
        (with_attribute(version=8.9), f".attributes.model.version: {TEXT} 8.9"),
        (device(attributes=[]), f".attributes: {MAPPING} []"),
        (device(attributes={"model": "L4"}), f".attributes.model: {MAPPING} 'L4'"),
        (device(attributes={"1st": {"int": 1}}), f".attributes.1st: '1st' {QUALIFIED}"),
        (device(attributes={"a/b/c": {"int": 1}}), f".attributes.a/b/c: 'a/b/c' {QUALIFIED}"),
        (device(capacity={"c" * 33: 1}), f".capacity.{'c' * 33}: '{'c' * 33}' {QUALIFIED}"),
        (device(capacity={"a/b/c": 1}), f".capacity.a/b/c: 'a/b/c' {QUALIFIED}"),
        (device(attributes={f"{'d' * 64}/a": {"int": 1}}), f".attributes.{'d' * 64}/a: '{'d' * 64}/a' {QUALIFIED}"),
        (device(capacity={"memory": "80 GB"}), f".capacity.memory.value: '80 GB' {QUANTITY}"),
        (
            device(nodeAllocatableResources={"gpu": {"mapping": {"deviceMultiplier": 1}}}),
            ".nodeAllocatableResources.gpu: 'gpu' is not a resource of the node that devices can use: use cpu, memory "
            "or hugepages with their size, such as hugepages-2Mi",
        ),
        (["l4"], ': must be the name of a device model or define one inline, but is ["l4"]'),
        (True, ": must be the name of a device model or define one inline, but is true"),
        (device(node={"capacity": {"gpu!": 8}}), f".node.capacity.gpu!: 'gpu!' {RESOURCE}"),
        (
            device(attributes={f"a{number}": {"int": number} for number in range(32)}, capacity={"memory": 1}),
            ": has 33 attributes and capacities; the Kubernetes API allows at most 32 per device: remove some",
        ),
    ],
)
def test_wrong_devices(dev: Configuration, gpu: object, rest: str) -> None:
    assert problems(put(dev, GPU, gpu)) == [f"{GPU}{rest}"]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("kwok-l5", "; did you mean 'kwok-l4'?"), ("quantum", "."), ("{input}", ".")],
)
def test_unknown_gpu_models(dev: Configuration, name: str, nearest: str) -> None:
    assert problems(put(dev, GPU, name)) == [
        f"{GPU}: there is no device model {name!r} in the catalogue{nearest} Name one of "
        f"{', '.join(sorted(base_names(built_in().models)))}, or define it inline: "
        "{driver: …, attributes: {…}, capacity: {…}}"
    ]


@pytest.mark.parametrize(
    ("key", "nearest", "known"),
    [
        ("nodePool", "nodePools", keys_of(Topology)),
        ("{index}", None, keys_of(Topology)),
        (
            "cluster.version",
            "kubeVersion",
            "existing, kubeApiserverPort, kubeFeatureGates, kubeRuntimeConfig, kubeVersion, name, readyTimeoutSeconds, "
            "resourceApi, runtime, tuning",
        ),
        (f"{CLASS}.selector", "selectors", "extendedResourceName, name, selectors"),
        (
            f"{POOL}.gpus",
            "gpu",
            keys_of(NodePool),
        ),
        (
            f"{GPU}.nodeCapacity",
            "capacity",
            keys_of(DeviceModel),
        ),
        (f"{GPU}.attributes.model.str", "string", "bool, bools, int, ints, string, strings, version, versions"),
        (
            f"{WORKLOAD}.replica",
            "replicas",
            "after, claims, containers, expect, kind, name, namespace, nodeSelector, podGroup, priority, provisioning, "
            "queue, readyTimeoutSeconds, replicas, scheduler, tolerations",
        ),
        (f"{CLAIM}.request", "requests", "claim, config, constraints, name, requests, template"),
        (
            f"{REQUEST}.deviceClassName",
            "deviceClass",
            "adminAccess, allocationMode, capacity, count, derivedAttributes, deviceClass, firstAvailable, name, "
            "selectors, tolerations",
        ),
    ],
)
def test_unknown_keys(dev: Configuration, key: str, nearest: str | None, known: str) -> None:
    if key.startswith(GPU):
        put(dev, GPU, with_attribute(string="L4"))
    hint = f"; did you mean {nearest!r}?" if nearest else "."
    assert problems(put(dev, key, 1)) == [f"{key}: there is no such key{hint} The keys here are {known}"]


@pytest.mark.parametrize(
    "parent", ["deviceClasses", "nodePools", "workloads", f"{WORKLOAD}.claims", f"{CLAIM}.requests"]
)
def test_duplicate_names(dev: Configuration, parent: str) -> None:
    entries = get(dev, parent)
    entries.append(copy.deepcopy(entries[0]))
    name = entries[0]["name"]
    assert f"{parent}[1].name: {name!r} is already the name of {parent}[0]: give each its own" in problems(dev)


@pytest.mark.parametrize(
    ("first", "second", "template"),
    [
        # Both given, one given and one derived, and both derived from different names.
        (("a", "x", "shared"), ("b", "y", "shared"), "shared"),
        (("a", "x", None), ("b", "y", "a-x"), "a-x"),
        (("a", "b-x", None), ("a-b", "x", None), "a-b-x"),
    ],
)
def test_claims_with_the_same_template(dev: Configuration, first: Names, second: Names, template: str) -> None:
    requests = [{"name": "gpu", "deviceClass": "kwok.x-k8s.io"}]
    dev["workloads"] = [
        {"name": workload, "claims": [{"name": claim, "requests": requests} | ({"template": given} if given else {})]}
        for workload, claim, given in (first, second)
    ]
    assert problems(dev) == [
        f"workloads[1].claims[0].template: {template!r} is already the template of workloads[0].claims[0]: "
        "give each its own"
    ]


def test_a_node_name_that_is_too_long(dev: Configuration) -> None:
    """The pool's name alone would be short enough."""
    put(dev, f"{POOL}.name", "n" * 62)
    assert problems(dev) == [
        f"{POOL}: the node name '{'n' * 62}-0' is longer than 63 characters, the limit of the label "
        "kubernetes.io/hostname: shorten the pool's name"
    ]


def test_a_claim_for_too_many_devices(dev: Configuration) -> None:
    """Each request alone would be small enough."""
    request = {"deviceClass": "kwok.x-k8s.io", "count": 17}
    put(dev, f"{CLAIM}.requests", [{"name": "a"} | request, {"name": "b"} | request])
    assert problems(dev) == [
        f"{CLAIM}: requests 34 devices; the Kubernetes API allows at most 32 per claim: spread them over several claims"
    ]


def test_all_problems_are_reported_at_once_and_in_order(dev: Configuration) -> None:
    """Invalid values, unknown keys and parts that do not fit together, regardless of their order in the file."""
    put(dev, f"{REQUEST}.deviceClass", "gpu")
    put(dev, f"{POOL}.nodes", -1)
    put(dev, "cluster.kubeApiserverPort", 0)
    put(dev, "nodePool", [])
    found = problems(dict(reversed(dev.items())))
    assert [problem.partition(":")[0] for problem in found] == [
        "cluster.kubeApiserverPort",
        "nodePool",
        f"{POOL}.nodes",
        f"{REQUEST}.deviceClass",
    ]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        # Optional keys, and their extremes.
        ("catalogue", []),
        ("cluster.kubeVersion", "1.34.0"),
        ("cluster.kubeVersion", "1.38.99"),
        ("cluster.runtime", "kind"),
        ("cluster.kubeApiserverPort", 65_535),
        ("cluster.readyTimeoutSeconds", 3600),
        ("cluster.kubeFeatureGates", {"AllAlpha": False, "DRAAdminAccess": True}),
        ("cluster.kubeRuntimeConfig", {"api/all": True, "resource.k8s.io/v1alpha3": False}),
        (f"{CLASS}.selectors", MISSING),
        (f"{CLASS}.selectors", ["true"] * 32),
        (f"{POOL}.name", "n" * 61),
        (f"{POOL}.nodes", 20_000),
        (f"{POOL}.gpusPerNode", 4096),
        (
            f"{POOL}.capacity",
            {"cpu": 0.5, "memory": "1.5Ti", "pods": "1e3", "example.com/gpu": 0, "hugepages-2Mi": "0"},
        ),
        (f"{WORKLOAD}.replicas", 0),
        (f"{WORKLOAD}.name", "1-1"),
        (f"{CLAIM}.template", MISSING),
        (f"{CLAIM}.template", "single-gpu.v1"),
        (f"{REQUEST}.selectors", ['device.attributes["gpu.kwok.x-k8s"].type == "gpu"']),
    ],
)
def test_valid_values(dev: Configuration, key: str, value: object) -> None:
    load(put(dev, key, value))


@pytest.mark.parametrize(
    "gpu",
    [
        device(),
        device(deviceName="{index}", sliceName="{suffix}.{node}"),
        device(deviceName="gpu", sliceName="{node}-{driver}-{suffix}", node={"capacity": {"x.y/gpu": 8}}),
        device(attributes={"a": {"int": -1}, "b": {"int": "{index*8+128}"}, "c": {"bool": False}}),
        device(attributes={"gpu.example.com/_x": {"string": "{node}/{index}"}}),
        device(attributes={f"{'d' * 63}/{'a' * 32}": {"string": "{uuid}"}}),
        device(attributes={"a": {"version": "0.0.0-rc.1+build.5"}, "b": {"string": "x" * 64}}),
        device(capacity={"memory": "80Gi", "cores": 132, "fraction": 0.25, "whole": {"value": "1e3"}}),
        device(attributes={f"a{number}": {"int": number} for number in range(31)}, capacity={"memory": 1}),
        device(allowMultipleAllocations=True, capacity={"a": {"value": 1, "requestPolicy": {"default": 1}}}),
    ],
)
def test_inline_devices(dev: Configuration, gpu: object) -> None:
    dev["workloads"] = []
    load(put(dev, GPU, gpu))


@pytest.mark.parametrize("nodes", [0, 1])
def test_empty_pools_and_workloads(dev: Configuration, nodes: int) -> None:
    dev["nodePools"][0]["nodes"] = nodes
    dev["workloads"][0]["replicas"] = 0
    load(dev)
    del dev["workloads"]
    load(dev)
    del dev["nodePools"], dev["deviceClasses"]
    load(dev)


def test_only_the_name_of_the_cluster_is_required() -> None:
    """The program adds it."""
    assert load({"cluster": {"name": "x"}}) == Topology(cluster=Cluster(name="x"))


def test_several_pools_and_workloads(dev: Configuration) -> None:
    """Names must be unique only among names of the same kind."""
    request = {"name": "x", "deviceClass": "x.example.com"}
    claims = [{"name": name, "requests": [request]} for name in ("x", "y")]
    dev |= {
        "deviceClasses": [{"name": "x"}, {"name": "x.example.com"}],
        "nodePools": [{"name": name, "gpu": "kwok-l4", "gpusPerNode": 2} for name in ("x", "x-0")],
        "workloads": [{"name": "x", "claims": claims}, {"name": "y", "claims": claims}],
    }
    workloads = load(dev).workloads
    templates = [workload.template_name(claim) for workload in workloads for claim in workload.claims]
    assert templates == ["x-x", "x-y", "y-x", "y-y"]


def test_the_dev_stack_is_the_design(dev: Configuration) -> None:
    """The example of "Contracts" in the design, which omits the cluster."""
    design = yaml.safe_load("""
        nodePools:
          - name: kwok-node
            nodes: 1
            gpu: kwok-l4
            gpusPerNode: 1
        deviceClasses:
          - name: kwok.x-k8s.io
            selectors: ["device.driver == 'gpu.kwok.x-k8s'"]
        workloads:
          - name: fake-pod
            replicas: 1
            claims:
              - name: gpu0
                template: single-gpu
                requests:
                  - {name: gpu, deviceClass: kwok.x-k8s.io}
    """)
    topology = load(dev)
    assert load(design | {"cluster": {"name": "x"}}).model_copy(update={"cluster": topology.cluster}) == topology


def test_the_default_version_is_the_one_that_is_built() -> None:
    built = re.search(r"^\s*k8s\.io/kubernetes v(\S+)", (ROOT / "toolchain/cluster/go.mod").read_text(), re.MULTILINE)
    assert built and built[1] == DEFAULT_KUBERNETES_VERSION == Cluster(name="x").kube_version


def test_the_project_file_knows_the_same_keys() -> None:
    """Pulumi checks the types only of the keys that it knows."""
    keys = set(yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]) - {"pulumi:disable-default-providers"}
    assert keys == {str(field.alias) for field in Topology.model_fields.values()}


def test_a_class_without_a_name_is_not_suggested(dev: Configuration) -> None:
    assert not [problem for problem in problems(put(dev, f"{CLASS}.name", MISSING)) if "None" in problem]


def test_a_request_without_any_classes(dev: Configuration) -> None:
    (problem,) = problems(put(dev, "deviceClasses", []))
    assert problem.endswith(". There are none yet: add the class to kwok-dra:deviceClasses")


def test_problems_come_in_the_order_of_the_keys(dev: Configuration) -> None:
    dev["nodePools"] = [{"name": f"n{i}", "gpu": "kwok-l4", "nodes": -1 if i in (2, 10) else 1} for i in range(11)]
    assert [problem.split(":")[0] for problem in problems(dev)] == ["nodePools[2].nodes", "nodePools[10].nodes"]


def test_workloads_without_names_share_no_template(dev: Configuration) -> None:
    for key in ("name", "claims"):
        del dev["workloads"][0][key]
    dev["workloads"][0]["claims"] = [{"requests": [{"name": "gpu", "deviceClass": "kwok.x-k8s.io"}]}]
    dev["workloads"] *= 2
    assert not [problem for problem in problems(dev) if "template" in problem]


def test_all_pools_together_have_a_limit(dev: Configuration) -> None:
    dev["nodePools"] = [{"name": f"n{number}", "gpu": "kwok-l4", "nodes": 10_001} for number in range(2)]
    assert problems(dev) == [
        "nodePools: have 20002 nodes in total, and a stack can have at most 20000: use fewer, or divide them among "
        "stacks"
    ]


def test_each_problem_is_one_line() -> None:
    with pytest.raises(ConfigurationError) as raised:
        load({"cluster": {"name": "x"}, "a\n  kwok-dra:b": 1, "nodePools": "\x1b[2J"})
    _, *lines = str(raised.value).split("\n")
    assert [line.partition(": ")[0] for line in lines] == ["  kwok-dra:a\\n  kwok-dra:b", "  kwok-dra:nodePools"]
    assert all(line.isprintable() for line in lines)


def test_problems_are_in_the_order_of_numbers() -> None:
    """Also with digits of other scripts, and with numbers that are too long to convert."""
    keys = ["²", "9" * 5_000, "٣", "a10", "a9"]
    with pytest.raises(ConfigurationError) as raised:
        load({"cluster": {"name": "x"}} | dict.fromkeys(keys))
    assert [problem.path for problem in raised.value.problems] == ["9" * 5_000, "a9", "a10", "²", "٣"]
