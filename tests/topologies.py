"""Configurations as somebody might write them: all kinds of devices and workloads, at the edges of what is right."""

from typing import Any

from hypothesis import strategies as st

from tests import hostile
from topology.schema.catalogue import built_in
from topology.schema.values import NODE_RESOURCES

Configuration = dict[str, Any]

OWN_NAMESPACES = ("team", "x-1")
MODELS = sorted(built_in().models)


def _text(pattern: str) -> st.SearchStrategy[str]:
    return st.from_regex(rf"(?a:{pattern})", fullmatch=True)


def _mostly(usual: st.SearchStrategy[Any], rare: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 7).flatmap(lambda number: usual if number else rare)


labels = _mostly(_text("[a-z]([-a-z0-9]{0,8}[a-z0-9])?"), _text("[a-z0-9][-a-z0-9]{0,40}[a-z0-9]"))
domains = _mostly(_text("[a-z]{1,5}[.](com|example[.]org)"), _text("[a-z0-9]([-a-z0-9.]{0,55}[a-z0-9])?"))
identifiers = _mostly(_text("[a-z][A-Za-z0-9_]{0,10}"), _text("[A-Za-z_][A-Za-z0-9_]{31}"))
qualified = identifiers | st.tuples(domains, identifiers).map("/".join)
fully_qualified = st.tuples(domains, identifiers).map("/".join)
_name = _text("[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
label_keys = _name | st.tuples(domains | st.just("a" * 253), _name).map("/".join)
label_values = st.just("") | _name
quantities = st.one_of(
    st.integers(0, 2**20).map(str),
    st.integers(0, 2**20),
    _text("[0-9]{1,4}([.][0-9]{1,4})?(m|k|M|G|Ki|Mi|Gi|Ti|u|n)?"),
    st.sampled_from(["0", "1e3", "1E-3", "9223372036854775807", "1Ei", "0.5", "1e18", "7999P", "0.0000000001"]),
)
counts = st.integers(1, 4) | st.integers(1, 300)
resources = st.sampled_from(["cpu", "memory", "ephemeral-storage", "hugepages-2Mi", "pods", "example.com/gpu", "x"])
versions = _text("(0|[1-9][0-9]{0,3})[.](0|[1-9][0-9]?)[.](0|[1-9][0-9]?)(-[a-z][a-z0-9]{0,5})?([+][a-z0-9]{1,4})?")
attributes = st.one_of(
    st.fixed_dictionaries({"string": st.text(max_size=64)}),
    st.fixed_dictionaries({"string": st.sampled_from(["{uuid}", "{node}-{index}", "GPU-{uuid}", "", "{mac}"])}),
    st.fixed_dictionaries({"int": st.integers(-(2**53) + 1, 2**53 - 1) | st.just("{index}")}),
    st.fixed_dictionaries({"bool": st.booleans()}),
    st.fixed_dictionaries({"version": versions}),
    st.fixed_dictionaries({"strings": st.lists(st.text(max_size=8), min_size=1, max_size=3)}),
    st.fixed_dictionaries({"ints": st.lists(st.integers(-9, 9), min_size=1, max_size=3)}),
    st.fixed_dictionaries({"bools": st.lists(st.booleans(), min_size=1, max_size=3)}),
    st.fixed_dictionaries({"versions": st.lists(versions, min_size=1, max_size=3)}),
)
many_attributes = st.dictionaries(qualified, attributes, max_size=4)


def _some(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[Configuration]:
    """Return some of the keys."""
    return st.fixed_dictionaries({}, optional=keys)


def _with(required: dict[str, st.SearchStrategy[Any]], **keys: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(required, optional=keys)


# Devices and nodes.

policies = st.one_of(
    _with({}, default=quantities),
    _with({"default": st.just("1"), "validValues": st.just(["1", "2", "4"])}),
    _with({"default": st.just("2"), "validRange": _with({"min": st.just("1")}, max=st.just("4"), step=st.just("1"))}),
)
capacities = st.dictionaries(qualified, quantities, max_size=3)
shared_capacities = st.dictionaries(
    qualified, quantities | st.fixed_dictionaries({"value": quantities, "requestPolicy": policies}), max_size=3
)
node_taints = _with(
    {"key": label_keys}, value=label_values, effect=st.sampled_from(["NoSchedule", "PreferNoSchedule", "NoExecute"])
)
node_shapes = _some(
    labels=st.dictionaries(label_keys, label_values | st.just("{node}"), max_size=2),
    capacity=st.dictionaries(resources, quantities, max_size=2),
    taints=st.lists(node_taints, max_size=2),
)
overheads = _some(perPod=quantities, perContainer=quantities)
node_resources = st.dictionaries(
    st.sampled_from(["cpu", "memory", "hugepages-2Mi", "hugepages-x y"]),
    _some(mapping=st.fixed_dictionaries({"deviceMultiplier": quantities}), overhead=overheads),
    max_size=2,
)
slice_names = st.sampled_from(["{node}-{driver}-{suffix}", "{node}.{suffix}", "x-{suffix}-{driver}-{node}"])


def _models(driver: str) -> st.SearchStrategy[Configuration]:
    """Return devices of a driver, written out."""
    common = {"driver": st.just(driver), "attributes": many_attributes, "node": node_shapes}
    whole = st.one_of(
        _with(common | {"capacity": capacities}, sliceName=slice_names, deviceName=st.just("dev{index}-x")),
        _with(common | {"capacity": shared_capacities, "allowMultipleAllocations": st.just(True)}),
        _with(
            common
            | {
                "bindingConditions": st.lists(label_keys, min_size=1, max_size=2),
                "bindingFailureConditions": st.lists(label_keys, min_size=1, max_size=2),
            },
            bindsToNode=st.booleans(),
        ),
        _with(common | {"skipNodeOperations": st.sampled_from([["*"], ["NodeUnprepareResources"]])}),
        _with(common | {"nodeAllocatableResources": node_resources}, firstGeneration=st.integers(0, 2**40)),
    )
    parts = st.lists(
        _some(
            attributes=many_attributes,
            capacity=capacities,
            consumesCounters=st.fixed_dictionaries({"memory": st.integers(0, 8)}),
            compatibilityGroups=st.lists(labels, max_size=2),
        ),
        min_size=1,
        max_size=3,
    ).map(lambda found: [{"deviceName": f"d{{index}}-{place}", **part} for place, part in enumerate(found)])
    counters = {"counterSet": st.just("set-{index}"), "counters": st.fixed_dictionaries({"memory": quantities})}
    return whole | _with(common | counters | {"partitions": parts})


@st.composite
def _devices(draw: st.DrawFn, drivers: list[str]) -> Configuration:
    """Return the keys `gpu` and so on of a pool."""
    if draw(st.booleans()):
        gpu = draw(st.sampled_from(MODELS))
        model = built_in().models[gpu]
        keys: Configuration = {"gpu": gpu, "gpusPerNode": draw(st.integers(1, 8))}
        if not model.host and model.slot:
            keys["host"] = draw(st.sampled_from(sorted(built_in().hosts)))
        if draw(st.booleans()) and model.mig:
            names = st.sampled_from([profile.name for profile in model.mig])
            cut = st.fixed_dictionaries({"profiles": st.dictionaries(names, st.integers(1, 2), min_size=1, max_size=2)})
            keys["mig"] = draw(st.just("dynamic") | cut.map(lambda one: [one]))
        return keys
    driver = draw(domains)
    drivers.append(driver)
    return {"gpu": draw(_models(driver)), "gpusPerNode": draw(counts)}


device_taints = _with(
    {"key": label_keys}, value=label_values, effect=st.sampled_from(["None", "NoSchedule", "NoExecute"])
)
faults = st.one_of(
    _with({"taint": device_taints}, nodes=st.just([0])),
    st.just({"notReady": True}),
    st.just({"gone": True, "nodes": [0]}),
)


def _many_taints(count: int) -> list[Configuration]:
    return [{"taint": {"key": f"example.com/fault-{number}"}} for number in range(count)]


pool_keys = _some(
    nodes=_mostly(st.integers(1, 3), st.just(0)),
    labels=st.dictionaries(label_keys, label_values, max_size=2),
    capacity=st.dictionaries(resources, quantities, max_size=2),
    taints=st.lists(node_taints, max_size=2),
    faults=st.lists(faults, max_size=2) | st.integers(15, 18).map(_many_taints),
    attributes=many_attributes,
    nodesPerClique=st.integers(1, 2),
)


# Claims and workloads.

tolerations = st.one_of(
    _with({"operator": st.just("Exists")}, key=label_keys, effect=st.sampled_from(["NoSchedule", "NoExecute"])),
    _with(
        {"key": label_keys, "effect": st.just("NoExecute")}, value=label_values, tolerationSeconds=st.integers(0, 2**40)
    ),
)
expressions = st.sampled_from(
    [
        "true",
        "device.driver != ''",
        "device.attributes['gpu.nvidia.com'].?productName.orValue('') != 'x'",
        'device.driver.startsWith("a") || true',
        "device.capacity['gpu.nvidia.com'].?memory.hasValue() || true",
        "[1, 2].exists(number, number > 1)",
        "'é\\n' != device.driver",
        "device.driver.matches('^[a-z.]+$')",
    ]
)
parameters = st.dictionaries(hostile.texts.filter(lambda text: len(text) < 1_000), hostile.values, max_size=2)


def _selections(classes: list[str]) -> st.SearchStrategy[Configuration]:
    return _with(
        {"deviceClass": st.sampled_from(classes)},
        count=st.integers(1, 3),
        selectors=st.lists(expressions, max_size=2),
        capacity=st.dictionaries(qualified, quantities, min_size=1, max_size=1),
        tolerations=st.lists(tolerations, max_size=2),
    )


def _named(entries: list[Configuration], prefix: str) -> list[Configuration]:
    return [{"name": f"{prefix}{place}"} | entry for place, entry in enumerate(entries)]


@st.composite
def _claims(draw: st.DrawFn, classes: list[str], admin: bool) -> Configuration:
    """Return what a claim asks for."""
    alternatives = st.lists(_selections(classes), min_size=1, max_size=3).map(
        lambda found: {"firstAvailable": _named(found, "alt-")}
    )
    exact = _selections(classes)
    if admin:
        exact |= exact.map(lambda found: found | {"adminAccess": True})
    every = st.sampled_from(classes).map(lambda name: {"deviceClass": name, "allocationMode": "All"})
    requests = _named(draw(st.lists(exact | alternatives | every, min_size=1, max_size=3)), "r")
    names = [entry["name"] for entry in requests]
    names += [f"{entry['name']}/{one['name']}" for entry in requests for one in entry.get("firstAvailable", [])]
    some = _mostly(st.lists(st.sampled_from(names), unique=True, max_size=3), st.just(names * 2))
    constraints = st.one_of(
        st.fixed_dictionaries({"matchAttribute": fully_qualified, "requests": some}),
        st.fixed_dictionaries({"distinctAttribute": fully_qualified, "requests": some}),
    )
    configs = st.fixed_dictionaries({"driver": domains, "parameters": parameters, "requests": some})
    more = _some(constraints=st.lists(constraints, max_size=2), config=st.lists(configs, max_size=1))
    return {"requests": requests} | draw(more)


@st.composite
def _workloads(draw: st.DrawFn, name: str, classes: list[str], shared: list[Configuration]) -> Configuration:
    namespace = draw(st.sampled_from(["default", *OWN_NAMESPACES]))
    claims = _named(
        draw(st.lists(_claims(classes, namespace != "default"), min_size=1, max_size=2)),
        draw(st.sampled_from(["c", "claim-"])),
    )
    here = [claim["name"] for claim in shared if claim["namespace"] == namespace]
    if draw(st.booleans()) and here:
        claims.append({"name": "shared", "claim": draw(st.sampled_from(here))})
    replicas = draw(st.integers(0, 3))
    workload: Configuration = {"name": name, "namespace": namespace, "claims": claims, "replicas": replicas}
    workload |= draw(
        _some(
            kind=st.sampled_from(["Deployment", "Job", "Pod"]),
            tolerations=st.lists(tolerations, max_size=2),
            nodeSelector=st.dictionaries(label_keys, label_values, max_size=1),
        )
    )
    per_pod = len(claims)
    if draw(st.booleans()):
        resource = st.tuples(domains, identifiers).map("/".join)
        numbers = st.integers(1, 4) | st.just(2**53)
        using: Configuration = {"name": "main", "claims": [{"name": claims[0]["name"]}]}
        extended = draw(st.dictionaries(resource, numbers, max_size=1))
        of_node = draw(st.dictionaries(st.sampled_from(NODE_RESOURCES), quantities, max_size=2))
        workload["containers"] = [using | {"resources": extended | of_node}, {"name": "side"}]
        per_pod += bool(extended)
    if draw(st.booleans()):
        workload["podGroup"] = draw(_some(minCount=st.integers(1, 3), claims=st.just([claims[0]["name"]])))
    # What the scheduler finds no devices for may well be what is wanted.
    return workload | {"expect": {"allocated": 0, "pending": replicas * per_pod}}


@st.composite
def configurations(draw: st.DrawFn) -> Configuration:
    """Return a configuration, most of the time a right one."""
    drivers: list[str] = []
    pools = [
        {"name": f"{draw(labels)}{place}"} | draw(_devices(drivers)) | draw(pool_keys)
        for place in range(draw(st.integers(1, 2)))
    ]
    shipped = {entry.name for driver in built_in().drivers.values() for entry in driver.device_classes}
    own: list[Configuration] = [
        {"name": f"class{place}", "selectors": [f"device.driver == '{name}'"]} for place, name in enumerate(drivers)
    ]
    own += draw(
        st.lists(
            _with({"selectors": st.lists(expressions, max_size=2)}, extendedResourceName=fully_qualified), max_size=2
        ).map(lambda found: _named(found, "own.class"))
    )
    catalogued = [built_in().models[pool["gpu"]].driver for pool in pools if isinstance(pool["gpu"], str)]
    classes: list[str] = [entry["name"] for entry in own]
    classes += sorted(shipped & set(built_in().device_classes(catalogued)))
    stack: Configuration = {
        "cluster": {"name": "x", "resourceApi": draw(st.sampled_from(["auto", "v1", "v1beta2", "v1beta1"]))},
        "nodePools": pools,
        "deviceClasses": own,
        "deviceTaintRules": draw(
            st.lists(_with({"taint": device_taints}, driver=domains, pool=labels, device=labels), max_size=2).map(
                lambda found: _named(found, "rule.")
            )
        ),
    }
    if not classes:
        return stack
    shared = [
        {"name": f"shared.{place}", "namespace": namespace} | draw(_claims(classes, namespace != "default"))
        for place, namespace in enumerate(draw(st.lists(st.sampled_from(["default", *OWN_NAMESPACES]), max_size=2)))
    ]
    names = [f"{draw(labels)}{place}" for place in range(draw(st.integers(0, 2)))]
    return stack | {"claims": shared, "workloads": [draw(_workloads(name, classes, shared)) for name in names]}
