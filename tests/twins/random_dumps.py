"""Random dumps of small fleets, with pods.

What the pods of a dump have fits, and what waits in it can never fit: it asks for too much, or for a device in use.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from tests.twins.random_devices import Driver, Object, drivers

NODE_NAMES = (
    "node-{0}",
    "ip-10-0-{0}-7.ec2.internal",
    "10.20.30.{0}",
    "cn-east.10.0.4.{0}",
    "gpu{0}.example.org",
    "w{0}0a",
)
SPACE = "team-blue-7"
RACK = "corp.example/rack"
WORN = {"key": "corp.example/worn", "effect": "NoSchedule"}


def _rarely(draw: st.DrawFn, one_in: int = 6) -> bool:
    return draw(st.integers(1, one_in)) == one_in


# Nodes.


@dataclass
class Machine:
    """A node with its drivers; `free` are the devices that nobody has, by driver."""

    number: int
    name: str
    drivers: Sequence[Driver]
    objects: list[Object] = field(default_factory=list)
    free: dict[str, list[Object]] = field(default_factory=dict)
    is_open: bool = True
    """Whether a pod without tolerations may run there."""

    def pool(self, driver: Driver) -> str:
        """Return the name of the driver's pool there."""
        return f"{self.name}-nics" if driver.kind == "nic" else self.name


@st.composite
def _machine(draw: st.DrawFn, number: int, name: str, there: Sequence[Driver]) -> Machine:
    machine = Machine(number, name, there)
    cordoned, ready = _rarely(draw), not _rarely(draw, 8)
    taints = [{"key": "corp.example/gpu", "value": "team-7", "effect": "NoSchedule"}] if _rarely(draw, 3) else []
    machine.is_open = not cordoned and ready and not taints
    if number and _rarely(draw, 10):
        machine.is_open = False  # The dump does not have the Node.
    else:
        machine.objects.append(_node(name, number, cordoned, ready, taints))
    for driver in there:
        devices = driver.devices(number, name)
        if _rarely(draw, 5):
            devices[0]["taints"] = [WORN]
        incomplete = bool(number) and _rarely(draw, 12)
        machine.free[driver.name] = [] if incomplete else [one for one in devices if not one.get("taints")]
        machine.objects += _slices(driver, machine, devices, missing=int(incomplete))
        if _rarely(draw, 8):
            machine.objects += _of_another_generation(driver, machine, devices)
    return machine


def _node(name: str, number: int, cordoned: bool, ready: bool, taints: Sequence[Object]) -> Object:
    labels = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": "z1", RACK: f"rack-{number}x"}
    amounts = {"cpu": "64", "memory": "263855000Ki", "pods": "110", "ephemeral-storage": "100Gi"}
    conditions = [{"type": "Ready", "status": "True" if ready else "Unknown"}]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": list(taints)} | ({"unschedulable": True} if cordoned else {}),
        "status": {"allocatable": amounts, "capacity": amounts, "conditions": conditions},
    }


def _slices(
    driver: Driver, machine: Machine, devices: Sequence[Object], *, missing: int = 0, generation: int = 3
) -> Iterator[Object]:
    """Yield the slices of a driver on a node: counters have one of their own."""
    contents: list[Object] = [{"devices": list(devices)}]
    if driver.kind == "parts":
        sets = [{"name": f"set-{number}", "counters": {"memory": {"value": "40Gi"}}} for number in driver.numbers]
        contents.insert(0, {"sharedCounters": sets})
    for place, content in enumerate(contents):
        count = len(contents) + missing
        spec = {
            "driver": driver.name,
            "nodeName": machine.name,
            "pool": {"name": machine.pool(driver), "generation": generation, "resourceSliceCount": count},
            **content,
        }
        name = f"{machine.name}-{driver.name}-{generation}-{place}"
        yield {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": name}, "spec": spec}


def _of_another_generation(driver: Driver, machine: Machine, devices: Sequence[Object]) -> Iterator[Object]:
    """Yield slices that the driver has not deleted yet, with one device more."""
    gone = driver.devices(machine.number + 9, machine.name)[0] | {"name": "gone-1"}
    yield from _slices(driver, machine, [*devices, gone], generation=2)


# Pods.


def _resource(kind: str, name: str, spec: Object, *, space: str | None = SPACE, **more: Any) -> Object:
    metadata = {"name": name} | ({"namespace": space} if space else {})
    return {"apiVersion": "resource.k8s.io/v1", "kind": kind, "metadata": metadata, "spec": spec, **more}


def _device_class(driver: Driver) -> Object:
    selectors = [{"cel": {"expression": f"device.driver == '{driver.name}'"}}]
    return _resource("DeviceClass", driver.device_class, {"selectors": selectors}, space=None)


def _wish(driver: Driver, count: int = 1, *, attribute: str = "", text: str = "", **more: Any) -> Object:
    """Return a request for so many devices of a driver, all of them with a text in an attribute."""
    wish: Object = {"deviceClassName": driver.device_class, "count": count, **more}
    if attribute:
        domain, _, name = attribute.rpartition("/")
        expression = f"device.attributes['{domain or driver.name}'].{name} == '{text}'"
        wish["selectors"] = [{"cel": {"expression": expression}}]
    if driver.kind == "shared":
        wish["capacity"] = {"requests": {"cores": "60"}}
    return wish


def _spec(wish: Object, constraint: Object | None = None, alternative: Object | None = None) -> Object:
    """Return the spec of a claim; `alternative` is a wish that comes first and that nothing can fulfil."""
    request: Object = {"name": "req-of-4", "exactly": wish}
    if alternative:
        request = {
            "name": "req-of-4",
            "firstAvailable": [{"name": "first-1", **alternative}, {"name": "second-2", **wish}],
        }
    return {"devices": {"requests": [request]} | ({"constraints": [constraint]} if constraint else {})}


def _claim(name: str, driver: Driver, spec: Object, machine: Machine | None, devices: Sequence[Object]) -> Object:
    """Return a claim, allocated if there is a machine."""
    claim = _resource("ResourceClaim", name, spec, status={})
    if machine:
        request = "req-of-4/second-2" if "firstAvailable" in spec["devices"]["requests"][0] else "req-of-4"
        place = {"driver": driver.name, "pool": machine.pool(driver), "request": request}
        shared = {"consumedCapacity": {"cores": "60", "slices": "4"}} if driver.kind == "shared" else {}
        results = [{**place, "device": device["name"], **shared} for device in devices]
        fields = [{"key": "metadata.name", "operator": "In", "values": [machine.name]}]
        selector = {"nodeSelectorTerms": [{"matchFields": fields}]}
        claim["status"] = {"allocation": {"devices": {"results": results}, "nodeSelector": selector}}
    return claim


def _pod(name: str, machine: Machine | None, claim: Mapping[str, str], made: str | None, **spec: Any) -> Object:
    """Return a pod with a claim, which exists as `made` if it is of a template."""
    container = {
        "name": "main-1",
        "image": "x",
        "resources": {"claims": [{"name": "c-of-3"}], "requests": {"cpu": "1"}},
    }
    status: Object = {"phase": "Running" if machine else "Pending"}
    if made:
        status["resourceClaimStatuses"] = [{"name": "c-of-3", "resourceClaimName": made}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": SPACE},
        "spec": {"containers": [container], "resourceClaims": [{"name": "c-of-3", **claim}], **spec}
        | ({"nodeName": machine.name} if machine else {}),
        "status": status,
    }


def _with_template(
    name: str, driver: Driver, spec: Object, machine: Machine | None, devices: Sequence[Object] = (), **more: Any
) -> list[Object]:
    """Return a pod with its claim and the template of this."""
    template = _resource("ResourceClaimTemplate", f"{name}-template", {"spec": spec})
    claim = _claim(f"{name}-c-x7k2p", driver, spec, machine, devices)
    named = {"resourceClaimTemplateName": f"{name}-template"}
    return [template, claim, _pod(name, machine, named, claim["metadata"]["name"], **more)]


def _sharing(name: str, driver: Driver, spec: Object, machine: Machine, devices: Sequence[Object]) -> list[Object]:
    """Return two pods with one claim."""
    claim = _claim(f"{name}-claim", driver, spec, machine, devices)
    named = {"resourceClaimName": f"{name}-claim"}
    return [claim, *(_pod(f"{name}-{number}", machine, named, None) for number in range(2))]


@st.composite
def _holder(draw: st.DrawFn, number: int, machine: Machine, driver: Driver) -> list[Object]:
    """Return a pod, two of them or none, with devices of a driver that are free; perhaps another pod waits for them."""
    name, free = f"train-{number}-abc", machine.free[driver.name]
    kind = draw(st.sampled_from(["any", "named", "named", "same", "first", "shared", "alone", "rack"]))
    devices, spec = free[:1], _spec(_wish(driver))
    waiting: list[Object] = []
    if kind == "named" and (texts := _texts_of_one(devices[0], free)):
        attribute = draw(st.sampled_from(sorted(texts)))
        spec = _spec(_wish(driver, attribute=attribute, text=texts[attribute]))
        if attribute in ("uuid", "mac") and driver.kind not in ("siblings", "parts") and draw(st.booleans()):
            waiting = _with_template(f"waits-{number}-abc", driver, spec, None)
    elif kind == "same" and driver.kind in ("whole", "nic") and driver.identities and len(free) > 1:
        one = driver.identities[0]
        constraint = "distinctAttribute" if one.scope == "device" else "matchAttribute"
        qualified = one.name if "/" in one.name else f"{driver.name}/{one.name}"
        devices, spec = free[:2], _spec(_wish(driver, 2), {constraint: qualified})
    elif kind == "first":
        spec = _spec(_wish(driver), None, _wish(driver, 32))
    machine.free[driver.name] = [one for one in free if not any(_same_thing(one, other) for other in devices)]
    if kind == "shared":
        return _sharing(name, driver, spec, machine, devices)
    if kind == "alone":
        return [_claim(f"{name}-claim", driver, spec, machine, devices)]
    more = {"nodeSelector": {RACK: f"rack-{machine.number}x"}} if kind == "rack" else {}
    return [*_with_template(name, driver, spec, machine, devices, **more, **draw(_fields())), *waiting]


def _texts_of_one(device: Object, others: Sequence[Object]) -> dict[str, str]:
    """Return the texts that no other device of the node has, by attribute."""
    texts = {name: value["string"] for name, value in device["attributes"].items() if "string" in value}
    return {
        name: text
        for name, text in texts.items()
        if name not in ("model", "type") and [one["attributes"][name]["string"] for one in others].count(text) == 1
    }


_FIELDS: Sequence[Object] = (
    {"priorityClassName": "high-1", "priority": 1000},
    {"initContainers": [{"name": "init-1", "image": "x", "resources": {"requests": {"cpu": "4"}}}]},
    {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": RACK, "whenUnsatisfiable": "DoNotSchedule"}]},
    {"tolerations": [{"key": "corp.example/gpu", "operator": "Exists"}]},
    {"schedulerName": "corp-scheduler"},
)


@st.composite
def _fields(draw: st.DrawFn) -> Object:
    """Return a field of pods that scheduling considers, or none."""
    return dict(draw(st.sampled_from(_FIELDS))) if _rarely(draw, 4) else {}


def _same_thing(device: Object, other: Object) -> bool:
    """Tell whether devices are parts of one GPU, or one GPU under two names."""
    uuids = [(one["attributes"].get("parentUUID") or one["attributes"].get("uuid") or {}) for one in (device, other)]
    return device["name"] == other["name"] or (bool(uuids[0]) and uuids[0] == uuids[1])


@st.composite
def _pods(draw: st.DrawFn, machines: Sequence[Machine]) -> list[Object]:
    """Return pods: those on nodes that are open have devices, and the others wait in vain."""
    found: list[Object] = []
    there = [machine for machine in machines if machine.is_open]
    for number in range(draw(st.integers(0, 3)) if there else 0):
        machine = draw(st.sampled_from(there))
        driver = draw(st.sampled_from(list(machine.drivers)))
        if machine.free[driver.name]:
            found += draw(_holder(number, machine, driver))
    driver = machines[0].drivers[0]
    if draw(st.booleans()):
        found += _with_template("too-much-9", driver, _spec(_wish(driver, 32)), None)
    if _rarely(draw):
        found.append({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "plain-3"}, "spec": {"containers": []}})
    return found


@st.composite
def _rules(draw: st.DrawFn, machines: Sequence[Machine]) -> list[Object]:
    """Return a DeviceTaintRule for a device that nobody has, if any."""
    machine = draw(st.sampled_from(machines))
    driver = draw(st.sampled_from(list(machine.drivers)))
    free = machine.free[driver.name]
    if not free or not _rarely(draw, 5):
        return []
    selector = {"driver": driver.name, "pool": machine.pool(driver), "device": free[-1]["name"]}
    return [_resource("DeviceTaintRule", "rule-of-5", {"deviceSelector": selector, "taint": WORN}, space=None)]


@st.composite
def dumps(draw: st.DrawFn, kind: str) -> list[Object]:
    """Return the objects of a dump: one or two kinds of machines, all of them with a driver of that kind."""
    found = draw(drivers(kind))
    kinds = [found, found[:1]]
    pattern = draw(st.sampled_from(NODE_NAMES))
    machines = [
        draw(_machine(number, pattern.format(number + 3), draw(st.sampled_from(kinds))))
        for number in range(draw(st.integers(1, 4)))
    ]
    pods = draw(_pods(machines))
    classes = [_device_class(driver) for driver in found]
    of_machines = [entry for machine in machines for entry in machine.objects]
    return [*of_machines, *classes, *pods, *draw(_rules(machines))]
