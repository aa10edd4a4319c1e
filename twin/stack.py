"""Makes the twin of a dump: the configuration of a stack."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from topology.checks.validation import ConfigurationError, load, printable
from topology.kubernetes.objects import given
from topology.objects.inventory import device_pools
from topology.schema.catalogue import Catalogue, built_in
from topology.schema.hosts import Host
from topology.schema.stack import NodePool
from topology.schema.values import NODE_RESOURCES
from twin.claims import ClaimSpecs
from twin.classes import Classes
from twin.configuration import Written
from twin.device_objects import DeviceSelector, DeviceTaintRule
from twin.dump import Dump, DumpError
from twin.expressions import Expressions
from twin.fleet import FleetNode, fleet
from twin.labels import KeptLabels
from twin.notes import Notes
from twin.placement import Kept, Placement
from twin.pools import Pooling, Pools
from twin.pseudonyms import Names
from twin.recognition import Models
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
    catalogue = built_in()
    models = Models(dict(catalogue.models))
    names, notes, kept = Names(keep_names), Notes(), KeptLabels(catalogue, dump)
    nodes = fleet(dump, kept, models.identities, notes)
    try:
        pools = Pooling(catalogue, models, names, kept, notes).pools(nodes)
    except ValueError as error:
        raise DumpError(f"the dump contains what cannot be simulated: {_reason(error)}") from None
    drivers = {driver.driver for node in nodes for driver in node.drivers}
    classes = Classes(dump.classes, catalogue.device_classes(drivers), names)
    expressions = Expressions(lambda: _renamed(dump, nodes, pools, models, catalogue))
    specs = ClaimSpecs(names, classes.name, expressions.of)
    node_resources = {name for name in NODE_RESOURCES if all(name in node.capacity for node in nodes)}
    twin_fleet = TwinFleet(
        pools.nodes, _devices(dump, nodes), classes.known, classes.extended_resources, node_resources
    )
    placement = Placement(dump, keep_placement)
    claims, workloads = Workloads(dump, twin_fleet, specs, placement, names, kept, notes).all()
    configuration = given(
        deviceClasses=[_with_expressions(entry, expressions) for entry in classes.all()],
        nodePools=pools.pools,
        deviceTaintRules=[_rule(rule, pools.nodes, names) for rule in _rules(dump, notes)],
        claims=claims,
        workloads=workloads,
    )
    return Stack(configuration, given(hosts=pools.hosts, models=models.written), notes.lines(), pools.nodes)


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


def _reason(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    details = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, details['loc']))}: {details['msg']}"


def _devices(dump: Dump, nodes: Sequence[FleetNode]) -> dict[tuple[str, str], set[str]]:
    """Return the names of the devices that are in the twin, by their driver and pool."""
    there = {node.name for node in nodes}
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for entry in dump.slices:
        if entry.spec.node_name in there:
            found[entry.spec.driver, entry.spec.pool.name] |= {device.name for device in entry.spec.devices}
    return found


def _rules(dump: Dump, notes: Notes) -> list[DeviceTaintRule]:
    if any(rule.selects_nothing for rule in dump.rules):
        notes.add("DeviceTaintRules without a deviceSelector taint no device and are left out")
    return [rule for rule in dump.rules if not rule.selects_nothing]


def _rule(rule: DeviceTaintRule, nodes: Mapping[str, str], names: Names) -> Written:
    selector = rule.spec.device_selector or DeviceSelector()
    taint = names.taint(rule.spec.taint)
    pool = selector.pool and (nodes.get(selector.pool) or names.of("node", selector.pool))
    where = given(driver=selector.driver, pool=pool, device=selector.device)
    return {"name": names.of("rule", rule.name), **where, "taint": taint}


def _with_expressions(entry: Written, expressions: Expressions) -> Written:
    return entry | given(selectors=[expressions.of(text) for text in entry.get("selectors", [])])


def _renamed(
    dump: Dump, nodes: Sequence[FleetNode], pools: Pools, models: Models, catalogue: Catalogue
) -> dict[str, str]:
    """Return the twin's text for each node name and each string attribute that differs in the twin."""
    hosts = catalogue.hosts | {name: Host.model_validate(host) for name, host in pools.hosts.items()}  # type: ignore[operator]
    context = {"models": models.known, "hosts": hosts}
    configured = [NodePool.model_validate(pool, context=context) for pool in pools.pools]
    made = {
        (driver.driver, node, device.name): device.attributes
        for pool in configured
        for node in pool.node_names()
        for driver in device_pools(pool, node)
        for device in driver.devices
    }
    found = dict(pools.nodes)
    for entry in dump.slices:
        node = pools.nodes.get(entry.spec.node_name or "", "")
        for device in entry.spec.devices:
            attributes = made.get((entry.spec.driver, node, device.name), {})
            for name, value in device.attributes.items():
                text, new = value.get("string"), attributes.get(name, {}).get("string")
                if isinstance(text, str) and isinstance(new, str) and text != new:
                    found[text] = new
    return found
