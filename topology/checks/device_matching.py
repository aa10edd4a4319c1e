"""Which devices of a node match a request: its CEL expressions and the capacity that it asks for."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from topology.checks.allocation import Candidate, has_capacity
from topology.kubernetes import cel
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

    @cached_property
    def criteria(self) -> Hashable:
        """Everything that decides which devices match, without the keys of the configuration."""
        return (
            tuple(selector.expression for selector in (*self.class_selectors, *self.selectors)),
            tuple((attribute.name, attribute.expression) for attribute in self.derived),
            tuple(sorted(self.amounts.items())),
        )


class NodeDevices:
    """The devices of a node. Nodes with the same devices share an instance, so each selector is evaluated once."""

    def __init__(self, pools: Sequence[DevicePool]) -> None:
        """Keep the devices by pool, one pool per driver."""
        self.pools = pools
        self._candidates = [Candidate(pool.driver, device) for pool in pools for device in pool.devices]
        self._known: dict[Hashable, list[Candidate]] = {}

    def matching(self, wanted: Alternative, pool: NodePool) -> list[Candidate]:
        """Return the devices that match, with their derived attributes; `pool` is named in errors.

        Raises:
            AbortedError: an expression fails for a device.
            UncheckedError: only Kubernetes can evaluate a derived attribute.
        """
        if wanted.criteria not in self._known:
            self._known[wanted.criteria] = [
                _with_derived(wanted.derived, candidate, pool)
                for candidate in self._candidates
                if all(_matches(one, candidate, pool, wanted) for one in (*wanted.class_selectors, *wanted.selectors))
                and has_capacity(candidate.device.capacity, wanted.amounts)
            ]
        return self._known[wanted.criteria]


def _matches(selector: Selector, candidate: Candidate, pool: NodePool, wanted: Alternative) -> bool:
    shipped = selector.device_class if selector.device_class and selector.device_class.driver else None
    try:
        with _aborting(wanted.path if shipped else selector.path, candidate, pool, shipped):
            return cel.compile_selector(selector.expression, list_attributes=True).matches(_as_cel_device(candidate))
    except cel.UncheckedError:
        return True


def _with_derived(derived: Sequence[Derived], candidate: Candidate, pool: NodePool) -> Candidate:
    """Add the attributes that a request derives; a derived attribute replaces one of the same name."""
    attributes = dict(candidate.device.attributes)
    for entry in derived:
        with _aborting(entry.path, candidate, pool):
            compiled = cel.compile_derived(entry.expression, list_attributes=True)
            attributes[entry.name] = compiled.attribute(_as_cel_device(candidate))
    return candidate._replace(device=replace(candidate.device, attributes=attributes)) if derived else candidate


def _as_cel_device(candidate: Candidate) -> cel.CelDevice:
    driver, device = candidate
    return cel.CelDevice(driver, device.attributes, device.capacity, device.allow_multiple_allocations)


@contextmanager
def _aborting(path: str, candidate: Candidate, pool: NodePool, shipped: DeviceClass | None = None) -> Iterator[None]:
    """Turn a failed evaluation into an `AbortedError` that names the expression at `path` and the device.

    The expression of a `shipped` class is in no key: `path` is that of a request for the class.
    """
    device = candidate.device
    of_class = f"class {shipped.name}, which comes with driver {shipped.driver}, " if shipped else ""
    try:
        yield
    except cel.UncheckedError:
        raise
    except cel.CelError as error:
        if error.missing is None:
            raise AbortedError(
                Problem(path, f"{of_class}{error}, for device {device.name} of pool {pool.name}")
            ) from None
        raise AbortedError(
            Problem(
                path,
                f"{of_class}names {error.missing}, which device {device.name} of pool {pool.name} does not have"
                f"{_hint_for_class(shipped) if shipped else _hint(error.missing, candidate)}",
            )
        ) from None


def _hint_for_class(shipped: DeviceClass) -> str:
    return (
        ". The scheduler stops at such a device, even if another node could run the pod: give the device this "
        f"attribute, or replace the class with one of the same name, {shipped.name}, under kwok-dra:deviceClasses"
    )


def _hint(missing: str, candidate: Candidate) -> str:
    """Return what to write instead of the `missing` attribute or capacity."""
    driver, device = candidate
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
