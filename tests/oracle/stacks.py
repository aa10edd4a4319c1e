"""Small random stacks whose pods compete for devices."""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any, NamedTuple

from hypothesis import strategies as st

Configuration = dict[str, Any]

DRIVERS = ("a.example.com", "b.example.com")
CLASSES: list[Configuration] = [
    *({"name": driver, "selectors": [f"device.driver == '{driver}'"]} for driver in DRIVERS),
    {"name": "any"},
]
WORN, KEPT = "example.com/worn", "example.com/kept"
"""The taints of devices and of nodes."""

SHARED = "shared"
ADMIN = "admin"
"""A claim of several workloads, and the namespace of those with admin access."""

memory = st.sampled_from(["1Gi", "2Gi", "4Gi", "6Gi", "8Gi"])
effects = st.sampled_from(["NoSchedule", "NoExecute", "None"])


def rarely(values: st.SearchStrategy[Any], otherwise: Any, times: int = 4) -> st.SearchStrategy[Any]:
    """Return one of the values, about once in so many times."""
    return st.sampled_from(range(times)).flatmap(lambda number: values if number == times - 2 else st.just(otherwise))


# Devices and nodes.


def _shared_memory(whole: str) -> st.SearchStrategy[Configuration]:
    policy = {"default": "2Gi", "validRange": {"min": "1Gi", "step": "1Gi", "max": whole}}
    return st.sampled_from([{"value": whole}, {"value": whole, "requestPolicy": policy}])


@st.composite
def _models(draw: st.DrawFn, driver: str) -> Configuration:
    attributes = {
        "model": {"string": draw(st.sampled_from(["m1", "m2"]))},
        "numa": {"int": draw(st.integers(0, 1))},
        "index": {"int": "{index}"},
    }
    common: Configuration = {"driver": driver, "attributes": attributes}
    kind = draw(st.sampled_from(["plain", "plain", "shared", "cut", "shared-cut"]))
    if kind == "plain":
        return common | {"deviceName": "dev-{index}", "capacity": {"memory": draw(memory)}}
    if kind == "shared":
        capacity = {"memory": draw(_shared_memory("8Gi"))}
        return common | {"deviceName": "dev-{index}", "allowMultipleAllocations": True, "capacity": capacity}
    part: Configuration = {"capacity": {"memory": "4Gi"}, "consumesCounters": {"memory": "4Gi"}}
    whole: Configuration = {"capacity": {"memory": "8Gi"}}
    if kind == "shared-cut":
        part["capacity"], whole["capacity"] = ({"memory": draw(_shared_memory(size))} for size in ("4Gi", "8Gi"))
        common["allowMultipleAllocations"] = True
    halves = [{"deviceName": f"cut-{{index}}-half-{place}"} | part for place in range(2)]
    wholes = [{"deviceName": "cut-{index}-whole"} | whole] if draw(st.booleans()) else []
    counters = {"counterSet": "cut-{index}", "counters": {"memory": "8Gi"}}
    return common | counters | {"deviceName": "cut-{index}", "partitions": [*wholes, *halves]}


@st.composite
def _devices(draw: st.DrawFn, name: str, effect: str) -> Configuration:
    entries = [
        {"model": draw(_models(draw(st.sampled_from(DRIVERS)))), "count": draw(st.integers(1, 2))}
        for _ in range(draw(st.integers(1, 2)))
    ]
    pool: Configuration = {"name": name, "devices": entries}
    if worn := draw(rarely(st.lists(st.sampled_from(device_names(entries)), min_size=1, max_size=2, unique=True), [])):
        pool["faults"] = [{"taint": {"key": WORN, "effect": effect}, "devices": worn}]
    return pool


@st.composite
def _pools(draw: st.DrawFn, name: str, nodes: int, effect: str) -> Configuration:
    pool = draw(_devices(name, effect)) | {"nodes": nodes, "labels": {"zone": name}}
    pool["taints"] = draw(rarely(st.just([{"key": KEPT}]), [], 6))
    if "faults" in pool:
        pool["faults"][0] |= draw(rarely(st.just({"nodes": [0]}), {}))
    return pool


@st.composite
def _fabrics(draw: st.DrawFn, pools: Sequence[str], effect: str) -> Configuration:
    """Return a pool of devices for all nodes, or those of one pool; or one entry for these, and the next for all."""
    fabric = draw(_devices("pf", effect))
    some = {"nodeSelector": {"zone": draw(st.sampled_from(pools))}}
    if draw(rarely(st.just(True), False)):
        reach = [some, {"allNodes": True}]
        fabric["devices"] = [entry | reach[place] for place, entry in enumerate(fabric["devices"])]
        return fabric
    return fabric | draw(st.sampled_from([some, {"allNodes": True}]))


def device_names(entries: Sequence[Configuration]) -> list[str]:
    """Return the names of the devices of a node: the numbers go on where models have one template."""
    numbers: dict[tuple[str, str], Iterator[int]] = {}
    found = []
    for entry in entries:
        model = entry["model"]
        for _ in range(entry["count"]):
            number = next(numbers.setdefault((model["driver"], model["deviceName"]), count()))
            templates = [part["deviceName"] for part in model.get("partitions", [])] or [model["deviceName"]]
            found += [template.replace("{index}", str(number)) for template in templates]
    return list(dict.fromkeys(found))


# Claims and workloads.


class Place(NamedTuple):
    """What claims and workloads can name: drivers and pools, the effect of taints, and numbers for new names."""

    drivers: Sequence[str]
    pools: Sequence[str]
    effect: str
    numbers: Iterator[int]


@st.composite
def _selections(draw: st.DrawFn, place: Place, may_be_admin: bool = False) -> Configuration:
    device_class = draw(st.sampled_from([*place.drivers, *place.drivers, "any"]))
    found: Configuration = {"deviceClass": device_class}
    if draw(rarely(st.just(True), False, 6)):
        found["allocationMode"] = "All"
    else:
        found["count"] = draw(st.sampled_from([1, 1, 1, 2, 1, 3]))
    if device_class != "any":
        found["selectors"] = draw(rarely(st.sampled_from(_selectors(device_class)).map(lambda one: [one]), []))
    if amount := draw(rarely(memory, "")):
        found["capacity"] = {"memory": amount}
    if draw(rarely(st.just(True), False)):
        tolerated = {} if place.effect == "None" else {"effect": place.effect}
        found["tolerations"] = [{"key": WORN, "operator": "Exists"} | tolerated]
    if may_be_admin and draw(st.booleans()):
        found["adminAccess"] = True
    return found


def _selectors(driver: str) -> list[str]:
    attributes = f"device.attributes['{driver}']"
    return [
        *(f"{attributes}.model == '{model}'" for model in ("m1", "m2")),
        *(f"{attributes}.{name} == {value}" for name in ("numa", "index") for value in (0, 1)),
        f"device.capacity['{driver}'].memory.compareTo(quantity('4Gi')) >= 0",
    ]


@st.composite
def _claims(draw: st.DrawFn, name: str, place: Place, admin: bool = False) -> Configuration:
    requests = []
    for _ in range(draw(st.sampled_from([1, 1, 2]))):
        request: Configuration = {"name": f"r{next(place.numbers)}"}
        if draw(rarely(st.just(True), False)):
            request["firstAvailable"] = [{"name": one} | draw(_selections(place)) for one in "xy"]
        else:
            request |= draw(_selections(place, admin))
        requests.append(request)
    claim = {"name": name, "requests": requests}
    if draw(rarely(st.just(True), False)):
        kind = draw(st.sampled_from(["matchAttribute", "distinctAttribute"]))
        driver, attribute = draw(st.sampled_from(place.drivers)), draw(st.sampled_from(["model", "numa", "index"]))
        names = [request["name"] for request in requests]
        names += [f"{one['name']}/{other['name']}" for one in requests for other in one.get("firstAvailable", [])]
        some = draw(rarely(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True), []))
        claim["constraints"] = [{kind: f"{driver}/{attribute}", "requests": some}]
    return claim


@st.composite
def _workloads(draw: st.DrawFn, name: str, place: Place, has_shared: bool) -> Configuration:
    admin = draw(rarely(st.just(True), False, 6))
    claims = [draw(_claims(f"c{number}", place, admin)) for number in range(draw(st.sampled_from([1, 1, 2])))]
    workload: Configuration = {
        "name": name,
        "kind": draw(st.sampled_from(["Pod", "Deployment"])),
        "replicas": draw(st.integers(1, 3)),
        "claims": claims,
    }
    if any(request.get("adminAccess") for claim in claims for request in claim["requests"]):
        workload["namespace"] = ADMIN
    elif has_shared and draw(st.booleans()):
        claims.append({"name": "s", "claim": SHARED})
    workload["nodeSelector"] = draw(rarely(st.sampled_from(place.pools).map(lambda pool: {"zone": pool}), {}))
    if draw(rarely(st.just(False), True)):
        workload["tolerations"] = [{"key": KEPT, "operator": "Exists", "effect": "NoSchedule"}]
    return workload


@st.composite
def stacks(draw: st.DrawFn) -> Configuration:
    """Return a stack of one to three nodes and one to four workloads, in which each request has a name of its own."""
    effect = draw(effects)
    nodes = draw(st.sampled_from([[1], [2], [3], [1, 1], [1, 2]]))
    pools = [draw(_pools(f"p{'ab'[place]}", number, effect)) for place, number in enumerate(nodes)]
    names = [pool["name"] for pool in pools]
    fabrics = [draw(_fabrics(names, effect))] if draw(rarely(st.just(True), False)) else []
    drivers = sorted({entry["model"]["driver"] for pool in [*pools, *fabrics] for entry in pool["devices"]})
    place = Place(drivers, names, effect, count())
    shared = [draw(_claims(SHARED, place))] if draw(rarely(st.just(True), False)) else []
    letters = "abcd"[: draw(st.integers(1, 4))]
    return {
        "cluster": {"name": "oracle"},
        "deviceClasses": CLASSES,
        "nodePools": pools,
        "fabricPools": fabrics,
        "claims": shared,
        "workloads": [draw(_workloads(f"w{letter}", place, bool(shared))) for letter in letters],
    }


def patient(stack: Configuration) -> Configuration:
    """Return the stack with workloads that may all wait: it is not refused for what nodes lack."""
    return stack | {
        "workloads": [
            entry | {"expect": {"allocated": 0, "pending": entry["replicas"] * len(entry["claims"])}}
            for entry in stack["workloads"]
        ]
    }
