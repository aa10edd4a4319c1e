"""Whether a device matches the CEL selectors of a request."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

from topology.checks.allocation import Candidate
from topology.kubernetes import cel
from topology.schema.base import Problem
from topology.schema.stack import NodePool
from topology.schema.values import suggestion


class _Selector(NamedTuple):
    """A CEL expression and the key where it is."""

    path: str
    expression: str


class _Derived(NamedTuple):
    """The CEL expression of an attribute called `name`, and the key where it is."""

    path: str
    expression: str
    name: str


class _Aborted(Exception):
    """A selector names what a device does not have, which makes the scheduler give up on the pod."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def _matches(selector: _Selector, candidate: Candidate, pool: NodePool) -> bool:
    try:
        with _aborting(selector.path, candidate, pool):
            return cel.compile_selector(selector.expression, list_attributes=True).matches(_as_cel_device(candidate))
    except cel.UncheckedError:
        return True


def _with_derived(derived: Sequence[_Derived], candidate: Candidate, pool: NodePool) -> Candidate:
    """Give the device what a request derives for it; that stands for an attribute of the device of the same name."""
    attributes = dict(candidate.device.attributes)
    for entry in derived:
        with _aborting(entry.path, candidate, pool):
            compiled = cel.compile_derived(entry.expression, list_attributes=True)
            attributes[entry.name] = compiled.attribute(_as_cel_device(candidate))
    return candidate._replace(device=replace(candidate.device, attributes=attributes)) if derived else candidate


def _as_cel_device(candidate: Candidate) -> cel.Device:
    driver, device = candidate
    return cel.Device(driver, device.attributes, device.capacity, device.allow_multiple_allocations)


@contextmanager
def _aborting(path: str, candidate: Candidate, pool: NodePool) -> Iterator[None]:
    """Have what the scheduler gives up at say where it is: the expression at `path`, evaluated for the device."""
    device = candidate.device
    try:
        yield
    except cel.UncheckedError:
        raise
    except cel.CelError as error:
        if error.missing is None:
            raise _Aborted(Problem(path, f"{error}, for device {device.name} of pool {pool.name}")) from None
        raise _Aborted(
            Problem(
                path,
                f"names {error.missing}, which device {device.name} of pool {pool.name} does not have"
                f"{_hint(error.missing, candidate)}",
            )
        ) from None


def _hint(missing: str, candidate: Candidate) -> str:
    """Say what a device has instead of an attribute or capacity that it lacks."""
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


def _attribute_names(candidate: Candidate) -> list[str]:
    return [_full_name(candidate.driver, name) for name in candidate.device.attributes]
