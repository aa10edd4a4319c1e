"""Makes the twin of a dump: the configuration of a stack."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from topology.checks.validation import ConfigurationError, load, printable, with_shipped_classes
from topology.kubernetes.objects import given
from topology.objects.inventory import device_pools
from topology.schema.catalogue import Catalogue, built_in
from topology.schema.hosts import Host
from topology.schema.stack import FabricPool, NodePool, Pool, Topology
from twin.claims import ClaimSpecs
from twin.classes import Classes
from twin.configuration import Written
from twin.device_names import with_plain_names
from twin.device_objects import DeviceSelector, DeviceTaintRule, SliceSpec
from twin.dump import Dump, DumpError
from twin.expressions import Expressions
from twin.fleet import fleet
from twin.identities import UUID, texts
from twin.labels import KeptLabels
from twin.notes import Notes
from twin.placement import Kept, Placement
from twin.pools import Pooling, Pools
from twin.pseudonyms import Names
from twin.queues import Queues, kueue, with_held_pods
from twin.recognition import Models
from twin.settling import settled
from twin.slices import PoolName
from twin.withdrawn import with_withdrawn
from twin.workloads import TwinFleet, Workloads


class Stack(NamedTuple):
    """A twin: its configuration by key, the content of its own catalogue file, and how it differs from the dump."""

    configuration: Written
    catalogue: Written
    notes: list[str]
    nodes: dict[str, str]
    """The twin's name of each node."""


def stack(dump: Dump, *, keep_names: bool = False, keep_placement: Kept = "") -> Stack:
    """Return the twin of `dump`.

    Raises:
        DumpError: no node has devices, or something cannot be simulated.
    """
    catalogue, notes = built_in(), Notes()
    dump = with_plain_names(with_withdrawn(with_held_pods(dump), notes))
    models = Models(dict(catalogue.models))
    names, kept = Names(keep_names), KeptLabels(catalogue, dump)
    found = fleet(dump, kept, models.identities, notes)
    try:
        pools = Pooling(catalogue, models, names, kept, notes).pools(found)
    except ValueError as error:
        raise DumpError(f"the dump contains what cannot be simulated: {_reason(error)}") from None
    classes = Classes(dump.classes, catalogue.device_classes(found.drivers), names)
    expressions = Expressions(lambda: _renamed(found.slices, pools, models, catalogue), models.identities, notes)
    specs = ClaimSpecs(names, classes.name, expressions.of)
    rules = _rules(dump, notes)
    of_nodes = {(one.spec.driver, one.spec.pool.name): one.spec.node_name for one in dump.slices if one.spec.node_name}
    configuration = given(
        deviceClasses=[_with_expressions(entry, expressions) for entry in classes.all(notes)],
        nodePools=pools.pools,
        fabricPools=pools.fabrics,
        deviceTaintRules=[_rule(rule, of_nodes, pools, names) for rule in rules],
    )
    own = given(hosts=pools.hosts, models=models.written)
    nodes = {node.name: node for node in found.nodes}
    twin_fleet = TwinFleet(nodes, pools.nodes, of_nodes, found.devices, classes.known, classes.extended_resources)
    controllers = kueue(dump, classes.name, expressions.of)
    topology = _topology(configuration | controllers, catalogue.extended(own)) if controllers else None
    queues = Queues(dump, topology, names, kept, classes.name, notes)
    configuration |= (controllers if queues.written else {}) | queues.written
    made = Workloads(dump, twin_fleet, specs, Placement(found.slices, rules), names, kept, queues, notes)

    def with_workloads(claims: list[Written], workloads: list[Written]) -> Topology:
        keys = made.scheduling.written | {"claims": claims, "workloads": workloads}
        return _topology(configuration | keys, catalogue.extended(own))

    claims, workloads = settled(made, with_workloads, keep_placement, notes)
    configuration |= made.scheduling.written | given(claims=claims, workloads=workloads)
    return Stack(configuration, own, notes.lines(), pools.nodes)


def checked(found: Stack, name: str, folder: Path) -> None:
    """Check the twin's configuration as `pulumi up` does; `folder` has its catalogue file.

    Raises:
        DumpError: something cannot be simulated.
    """
    try:
        load({"cluster": {"name": name}, **found.configuration}, folder)
    except ConfigurationError as error:
        problems = "\n".join(printable(f"  {problem.path}: {problem.message}") for problem in error.problems[:10])
        raise DumpError(f"the dump contains what cannot be simulated; in the twin's keys:\n{problems}") from None


def _topology(configuration: Written, catalogue: Catalogue) -> Topology:
    """Return what a stack is, with the classes that its drivers ship."""
    topology = Topology.model_validate({"cluster": {"name": "twin"}, **configuration}, context=catalogue._asdict())
    return with_shipped_classes(topology, catalogue)


def _reason(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    details = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, details['loc']))}: {details['msg']}"


def _rules(dump: Dump, notes: Notes) -> list[DeviceTaintRule]:
    """Return the rules that a stack can have."""
    found = []
    for rule in dump.rules:
        selector = rule.spec.device_selector
        if rule.selects_nothing:
            notes.add("DeviceTaintRules without a deviceSelector taint no device and are left out", rule.name)
        elif selector and (selector.device_class_name or selector.selectors):
            notes.add("DeviceTaintRules that select devices by class or CEL are left out", rule.name)
        else:
            found.append(rule)
    return found


def _rule(rule: DeviceTaintRule, of_nodes: Mapping[PoolName, str], pools: Pools, names: Names) -> Written:
    """Return a rule; in the twin, all pools of a node have its name, so that the driver may have to tell them apart."""
    selector = rule.spec.device_selector or DeviceSelector()
    known, driver, pool = pools.nodes | pools.fabric_names, selector.driver, selector.pool
    if pool and pool not in known:
        drivers = [one for one, name in of_nodes if name == pool]
        driver = driver or (drivers[0] if len(drivers) == 1 else None)
        pool = next((node for (_, name), node in of_nodes.items() if name == pool), pool)
    where = given(driver=driver, pool=pool and (known.get(pool) or names.of("node", pool)), device=selector.device)
    return {"name": names.of("rule", rule.name), **where, "taint": names.taint(rule.spec.taint)}


def _with_expressions(entry: Written, expressions: Expressions) -> Written:
    return entry | given(selectors=[expressions.of(text) for text in entry.get("selectors", [])])


def _renamed(slices: Iterable[SliceSpec], pools: Pools, models: Models, catalogue: Catalogue) -> dict[str, set[str]]:
    """Return the twin's texts for each node name, and for each text of the devices' attributes."""
    hosts = catalogue.hosts | {name: Host.model_validate(host) for name, host in pools.hosts.items()}  # type: ignore[operator]
    context = {"models": models.known, "hosts": hosts}
    configured: list[Pool] = [NodePool.model_validate(pool, context=context) for pool in pools.pools]
    configured += [FabricPool.model_validate(pool, context=context) for pool in pools.fabrics]
    made = {
        (driver.driver, name, device.name): device.attributes
        for pool in configured
        for name in pool.pool_names()
        for driver in device_pools(pool, name)
        for device in driver.devices
    }
    found: dict[str, set[str]] = defaultdict(set, {name: {new} for name, new in pools.nodes.items()})
    for spec in slices:
        name = pools.nodes.get(spec.node_name) if spec.node_name else pools.fabric_names.get(spec.pool.name)
        for device in spec.devices:
            attributes = made.get((spec.driver, name or "", device.name), {})
            for key, value in device.attributes.items():
                for text, new in zip(texts(value), texts(attributes.get(key, {})), strict=False):
                    found[text].add(new)
                    before, *identity, after = ("", *UUID.split(text))[-3:]
                    if identity and new.startswith(before) and new.endswith(after):
                        found[identity[0]].add(new.removeprefix(before).removesuffix(after))
    return found
