"""Which devices of a node match a request: its CEL expressions and the capacity that it asks for."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from topology.checks.allocation import Candidate, counters, has_capacity
from topology.kubernetes import cel
from topology.kubernetes.objects import Object
from topology.objects.inventory import DevicePool
from topology.schema.base import Problem
from topology.schema.devices import DeviceClass
from topology.schema.stack import NodePool
from topology.schema.values import suggestion


class Selector(NamedTuple):
    """A CEL expression, the key that holds it, and the `device_class` that it belongs to, if any."""

    path: str
    expression: str
    device_class: DeviceClass | None = None


class Derived(NamedTuple):
    """The CEL expression of the derived attribute `name`, and the key that holds it."""

    path: str
    expression: str
    name: str


class AbortedError(Exception):
    """An expression fails for a device, so the scheduler gives up on the pod."""

    def __init__(self, problem: Problem) -> None:
        """Keep the problem, which names the expression and the device."""
        super().__init__(problem.message)
        self.problem = problem


@dataclass(frozen=True)
class Alternative:
    """One way to satisfy a request: `count` devices (None: all devices of a node) that match every selector."""

    path: str
    device_class: str
    count: int | None
    class_selectors: Sequence[Selector]
    selectors: Sequence[Selector] = ()
    amounts: Mapping[str, str] = field(default_factory=dict)
    derived: Sequence[Derived] = ()
    tolerations: Sequence[Object] = ()
    """Those of a live request. Configured ones need none: a taint is a fault, which a device in use may get later."""
    name: str = ""
    """The name of an entry of `firstAvailable`; else empty."""

    @property
    def all_selectors(self) -> Sequence[Selector]:
        """The selectors of the class, then those of the request."""
        return (*self.class_selectors, *self.selectors)

    @cached_property
    def criteria(self) -> Hashable:
        """Everything that decides which devices match, without the keys of the configuration."""
        return (
            tuple(selector.expression for selector in self.all_selectors),
            tuple((attribute.name, attribute.expression) for attribute in self.derived),
            tuple(sorted(self.amounts.items())),
        )


class NodeDevices:
    """The devices that a node can use. Nodes with the same ones share an instance: each selector is evaluated once."""

    def __init__(self, pools: Sequence[DevicePool]) -> None:
        """Keep the devices by pool: one for each driver on the node, and those of fabric pools."""
        self.counters = counters(pools)
        self._candidates = [Candidate(pool.driver, device, pool.fabric) for pool in pools for device in pool.devices]
        self._known: dict[Hashable, list[Candidate]] = {}

    def matching(self, wanted: Alternative, pool: NodePool) -> list[Candidate]:
        """Return the devices that match, with their derived attributes; `pool` is named in errors.

        Raises:
            AbortedError: an expression fails for a device.
            UncheckedError: only Kubernetes can evaluate a derived attribute.
        """
        if wanted.criteria not in self._known:
            self._known[wanted.criteria] = [
                _with_all_derived(wanted.derived, candidate, pool)
                for candidate in self._candidates
                if all(_matches(one, candidate, pool, wanted) for one in wanted.all_selectors)
                and has_capacity(candidate.device.capacity, wanted.amounts)
            ]
        return self._known[wanted.criteria]


def _with_all_derived(derived: Sequence[Derived], candidate: Candidate, pool: NodePool) -> Candidate:
    for entry in derived:
        with _aborting(entry.path, candidate, pool):
            candidate = with_derived(entry, candidate)
    return candidate


def _matches(selector: Selector, candidate: Candidate, pool: NodePool, wanted: Alternative) -> bool:
    shipped = selector.device_class if selector.device_class and selector.device_class.driver else None
    with _aborting(wanted.path if shipped else selector.path, candidate, pool, shipped):
        return is_selected(selector, candidate)


def is_selected(selector: Selector, candidate: Candidate) -> bool:
    """Tell whether a selector selects a device, as far as that can be told without Kubernetes.

    Raises:
        CelError: the evaluation fails.
    """
    try:
        return cel.compile_selector(selector.expression, list_attributes=True).matches(_as_cel_device(candidate))
    except cel.UncheckedError:
        return True


def with_derived(derived: Derived, candidate: Candidate) -> Candidate:
    """Return the device with an attribute that a request derives, which replaces one of the same name.

    Raises:
        CelError: the evaluation fails.
    """
    compiled = cel.compile_derived(derived.expression, list_attributes=True)
    attributes = {**candidate.device.attributes, derived.name: compiled.attribute(_as_cel_device(candidate))}
    return candidate._replace(device=replace(candidate.device, attributes=attributes))


def _as_cel_device(candidate: Candidate) -> cel.CelDevice:
    device = candidate.device
    return cel.CelDevice(candidate.driver, device.attributes, device.capacity, device.allow_multiple_allocations)


@contextmanager
def _aborting(path: str, candidate: Candidate, pool: NodePool, shipped: DeviceClass | None = None) -> Iterator[None]:
    """Turn a failed evaluation into an `AbortedError` that names the expression at `path` and the device.

    The expression of a `shipped` class is in no key: `path` is that of a request for the class.
    """
    device = f"device {candidate.device.name} of pool {candidate.pool or pool.name}"
    of_class = f"class {shipped.name}, which comes with driver {shipped.driver}, " if shipped else ""
    try:
        yield
    except cel.UncheckedError:
        raise
    except cel.CelError as error:
        if error.missing is None:
            message = f"{error}, for {device}"
        else:
            hint = _hint_for_class(shipped) if shipped else _hint(error.missing, candidate)
            message = f"names {error.missing}, which {device} does not have{hint}"
        raise AbortedError(Problem(path, f"{of_class}{message}")) from None


def _hint_for_class(shipped: DeviceClass) -> str:
    return (
        ". The scheduler stops at such a device, even if another node could run the pod: give the device this "
        f"attribute, or replace the class with one of the same name, {shipped.name}, under kwok-dra:deviceClasses"
    )


def _hint(missing: str, candidate: Candidate) -> str:
    """Return what to write instead of the `missing` attribute or capacity."""
    driver, device, _ = candidate
    for kind, entries in (("attributes", device.attributes), ("capacity", device.capacity)):
        if missing in (_full_name(driver, name) for name in entries):
            domain, _, name = missing.rpartition("/")
            return f" there: write device.{kind}['{domain}'].{name}"
    names = sorted(_full_name(driver, name) for name in (*device.attributes, *device.capacity))
    return (
        f"{suggestion(missing, names)} The scheduler stops at such a device: check device.driver first, "
        f"or use .?name.orValue(…). It has {', '.join(names)}"
    )


def _full_name(driver: str, name: str) -> str:
    return name if "/" in name else f"{driver}/{name}"


def attribute_names(candidate: Candidate) -> list[str]:
    """Return the full names of the attributes of a device."""
    return [_full_name(candidate.driver, name) for name in candidate.device.attributes]
