"""A stack that is the twin of the fleet in a dump."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from topology.checks.validation import ConfigurationError, load
from topology.kubernetes.objects import given
from topology.objects.inventory import device_pools
from topology.schema.catalogue import Catalogue, built_in
from topology.schema.hosts import Host
from topology.schema.stack import NodePool
from topology.schema.values import NODE_RESOURCES
from twin.claims import ClaimSpecs
from twin.classes import Classes
from twin.dump import Dump, DumpError
from twin.expressions import Expressions
from twin.fleet import FleetNode, fleet
from twin.labels import KeptLabels, is_public_taint
from twin.notes import Notes
from twin.objects import DeviceSelector, DeviceTaintRule
from twin.placement import Kept, Placement
from twin.pools import Pooling, Pools
from twin.pseudonyms import Names
from twin.recognition import Models
from twin.workloads import Fleet, Workloads

Written = dict[str, Any]


class Stack(NamedTuple):
    """A twin: its configuration by key, the catalogue file beside it, and what of the dump is not in it."""

    configuration: Written
    catalogue: Written
    notes: list[str]
    nodes: dict[str, str]
    """The twin's name of each node."""


def stack(dump: Dump, *, keep_names: bool = False, keep_placement: Kept = "") -> Stack:
    """Return the twin of the fleet in `dump`.

    Raises:
        DumpError: there is none.
    """
    catalogue = built_in()
    models = Models(dict(catalogue.models))
    names, notes, kept = Names(keep_names), Notes(), KeptLabels(catalogue, dump)
    nodes = fleet(dump, kept, models.identities, notes)
    try:
        pools = Pooling(catalogue, models, names, kept, notes).pools(nodes)
    except ValueError as error:
        raise DumpError(_words(error)) from None
    drivers = {driver.driver for node in nodes for driver in node.drivers}
    classes = Classes(dump.classes, catalogue.device_classes(drivers), names)
    expressions = Expressions(lambda: _renamed(dump, nodes, pools, models, catalogue))
    specs = ClaimSpecs(names, classes.name, expressions.of)
    node_resources = {name for name in NODE_RESOURCES if all(name in node.capacity for node in nodes)}
    there = Fleet(pools.nodes, _devices(dump, nodes), classes.known, classes.extended_resources, node_resources)
    placement = Placement(dump, keep_placement)
    claims, workloads = Workloads(dump, there, specs, placement, names, kept, notes).all()
    configuration = given(
        deviceClasses=[_with_expressions(entry, expressions) for entry in classes.all()],
        nodePools=pools.pools,
        deviceTaintRules=[_rule(rule, pools.nodes, names) for rule in _rules(dump, notes)],
        claims=claims,
        workloads=workloads,
    )
    return Stack(configuration, given(hosts=pools.hosts, models=models.written), notes.lines(), pools.nodes)


def checked(found: Stack, name: str, folder: Path) -> None:
    """Check what is written as `pulumi up` will.

    Raises:
        DumpError: something of the dump cannot be simulated.
    """
    try:
        load({"cluster": {"name": name}, **found.configuration}, folder)
    except ConfigurationError as error:
        problems = "\n".join(f"  {problem.path}: {problem.message}" for problem in error.problems[:10])
        raise DumpError(f"the dump has what cannot be simulated; of the twin it would be:\n{problems}") from None


def _words(error: ValueError) -> str:
    errors = getattr(error, "errors", None)
    if errors is None:
        return f"the dump has what cannot be simulated: {error}"
    details = errors(include_url=False)[0]
    path = ".".join(map(str, details["loc"]))
    return f"the dump has what cannot be simulated: {path}: {details['msg']}"


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
    taint = rule.spec.taint
    key, value = names.taint(taint.key, taint.value, is_public_taint(taint.key))
    pool = selector.pool and (nodes.get(selector.pool) or names.of("node", selector.pool))
    where = given(driver=selector.driver, pool=pool, device=selector.device)
    return {
        "name": names.of("rule", rule.name),
        **where,
        "taint": {"key": key} | given(value=value) | {"effect": taint.effect},
    }


def _with_expressions(entry: Written, expressions: Expressions) -> Written:
    return entry | given(selectors=[expressions.of(text) for text in entry.get("selectors", [])])


def _renamed(
    dump: Dump, nodes: Sequence[FleetNode], pools: Pools, models: Models, catalogue: Catalogue
) -> dict[str, str]:
    """Return what the texts of devices' attributes have become that are not the same in the twin: identities."""
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
