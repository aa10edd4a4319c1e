"""Templates of the catalogue, such as `{index}` in a device's name or attribute, which is filled in per device."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from pydantic import AfterValidator

from topology.schema.values import problem

_PLACEHOLDER = re.compile(
    r"\{(\w*)(?://([1-9][0-9]{0,8}))?(?:%([1-9][0-9]{0,8}))?(?:\*([0-9]{1,9}))?(?:\+([0-9]{1,9}))?(?::0([1-9]))?\}"
)

NODE_PLACEHOLDERS = frozenset({"node", "count"})
ADDRESS_PLACEHOLDERS = frozenset({"pcieRoot", "pcieBus", "pciBusID", "pciName", "busNumber", "deviceNumber"})
DEVICE_PLACEHOLDERS = ADDRESS_PLACEHOLDERS | frozenset(
    {"index", "count", "node", "driver", "device", "uuid", "deviceUuid", "nodeUuid", "hex", "mac", "numaNode"}
)
NUMBER_PLACEHOLDERS = frozenset({"index", "count", "numaNode"})
NAME_PLACEHOLDERS = frozenset({"index", "pciName", "numaNode"})
SLICE_PLACEHOLDERS = frozenset({"node", "driver", "suffix"})
# What is meant as a placeholder: it begins with the name of one, or computes. Other braces are text.
_NAMES = "|".join(DEVICE_PLACEHOLDERS | SLICE_PLACEHOLDERS)
_MEANT = re.compile(rf"\{{(?:(?:{_NAMES})\b[^{{}}]*|\w+[/%*+][^{{}}\s]*)\}}")
EXAMPLE = "{index//4%4*8+128:03}"
"""A computation with all its parts: divide, take the remainder, multiply, add, and pad with zeros to three digits."""


class Formula(NamedTuple):
    """What a placeholder computes of a number; the operations have Python's meaning."""

    divisor: int = 1
    modulus: int | None = None
    factor: int = 1
    addend: int = 0
    width: int = 0

    def of(self, number: int) -> int:
        """Return the number that it computes."""
        quotient = number // self.divisor
        return (quotient if self.modulus is None else quotient % self.modulus) * self.factor + self.addend

    def placeholder(self, name: str) -> str:
        """Return the placeholder that computes it of the number `name`."""
        parts = (("//", self.divisor, 1), ("%", self.modulus, None), ("*", self.factor, 1), ("+", self.addend, 0))
        written = "".join(f"{sign}{value}" for sign, value, default in parts if value != default)
        return f"{{{name}{written}{f':0{self.width}' if self.width else ''}}}"


_Piece = tuple[str, str, Formula | None]
"""A placeholder as it is written, its name, and what it computes."""


def fill(template: str, values: Mapping[str, object]) -> str:
    """Replace each `{name}` of `template` that is a key of `values`; `{index*8+128}` computes with a number."""
    if "{" not in template:
        return template
    return "".join([piece if isinstance(piece, str) else _value(piece, values) for piece in _pieces(template)])


@lru_cache(maxsize=4096)
def _pieces(template: str) -> Sequence[str | _Piece]:
    """Return texts and, between them, placeholders; cached, as all devices of a fleet share a few templates."""
    pieces: list[str | _Piece] = []
    end = 0
    for match in _PLACEHOLDER.finditer(template):
        pieces += [template[end : match.start()], (match[0], match[1], _formula(match))]
        end = match.end()
    return [*pieces, template[end:]]


def _formula(match: re.Match[str]) -> Formula | None:
    divisor, modulus, factor, addend, width = match.groups()[1:]
    remainder = int(modulus) if modulus else None
    found = Formula(int(divisor or 1), remainder, int(factor or 1), int(addend or 0), int(width or 0))
    return None if found == Formula() else found


def _value(placeholder: _Piece, values: Mapping[str, object]) -> str:
    written, name, formula = placeholder
    if name not in values:
        return written
    if formula is None:
        return str(values[name])
    return f"{formula.of(int(str(values[name]))):0{formula.width}}"


def used_in(template: str) -> set[str]:
    """Return the names of the placeholders in `template`."""
    return {match[1] for match in _PLACEHOLDER.finditer(template)}


def template(allowed: frozenset[str], required: frozenset[str] = frozenset()) -> AfterValidator:
    """Return the validator of a text that may use the `allowed` placeholders and must use the `required` ones."""

    def check(value: str) -> str:
        for meant in _MEANT.findall(value):
            if not _PLACEHOLDER.fullmatch(meant):
                numbers = _braced(NUMBER_PLACEHOLDERS & allowed)
                computing = f"; {numbers} can compute with up to 9 digits, as in {EXAMPLE}" if numbers else ""
                raise problem(f"{value!r} has {meant}, which is not a placeholder: use {_braced(allowed)}{computing}")
        computed = {match[1] for match in _PLACEHOLDER.finditer(value) if _formula(match)}
        if not computed <= NUMBER_PLACEHOLDERS:
            raise problem(f"{value!r} may compute only with the numbers {_braced(NUMBER_PLACEHOLDERS)}")
        used = used_in(value)
        if not required <= used <= allowed:
            raise problem(
                f"{value!r} may use only the placeholders {_braced(allowed)}"
                + (f" and must use {_braced(required)}" if required else "")
            )
        return value

    return AfterValidator(check)


def _braced(names: frozenset[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in sorted(names))
