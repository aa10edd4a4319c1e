"""Templates of the catalogue, such as `{index}` in a device's name or attribute, which is filled in per device."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydantic import AfterValidator

from topology.schema.values import problem

_PLACEHOLDER = re.compile(r"\{(\w*)(?:\*([0-9]{1,9}))?(?:\+([0-9]{1,9}))?\}")

NODE_PLACEHOLDERS = frozenset({"node", "count"})
ADDRESS_PLACEHOLDERS = frozenset({"pcieRoot", "pcieBus", "pciBusID", "pciName"})
DEVICE_PLACEHOLDERS = ADDRESS_PLACEHOLDERS | frozenset(
    {"index", "count", "node", "driver", "device", "uuid", "deviceUuid", "nodeUuid", "hex", "mac", "numaNode"}
)
NUMBER_PLACEHOLDERS = frozenset({"index", "count", "numaNode"})
NAME_PLACEHOLDERS = frozenset({"index", "pciName", "numaNode"})
SLICE_PLACEHOLDERS = frozenset({"node", "driver", "suffix"})


def fill(template: str, values: Mapping[str, object]) -> str:
    """Replace each `{name}` of `template` that is a key of `values`; `{index*8+128}` computes with a number."""
    if "{" not in template:
        return template
    return "".join(piece if place % 2 == 0 else _value(piece, values) for place, piece in enumerate(_pieces(template)))


@lru_cache(maxsize=4096)
def _pieces(template: str) -> Sequence[Any]:
    """Return texts and, between them, placeholders; cached, as all devices of a fleet share a few templates."""
    pieces: list[Any] = []
    end = 0
    for match in _PLACEHOLDER.finditer(template):
        computes = (int(match[2] or 1), int(match[3] or 0)) if match[2] or match[3] else None
        pieces += [template[end : match.start()], (match[0], match[1], computes)]
        end = match.end()
    return [*pieces, template[end:]]


def _value(placeholder: tuple[str, str, tuple[int, int] | None], values: Mapping[str, object]) -> str:
    written, name, computes = placeholder
    if name not in values:
        return written
    if computes is None:
        return str(values[name])
    multiplier, addend = computes
    return str(int(str(values[name])) * multiplier + addend)


def used_in(template: str) -> set[str]:
    """Return the names of the placeholders in `template`."""
    return {match[1] for match in _PLACEHOLDER.finditer(template)}


def template(allowed: frozenset[str], required: frozenset[str] = frozenset()) -> AfterValidator:
    """Return the validator of a text that may use the `allowed` placeholders and must use the `required` ones."""

    def check(value: str) -> str:
        used = used_in(value)
        computed = {match[1] for match in _PLACEHOLDER.finditer(value) if match[2] or match[3]}
        if not computed <= NUMBER_PLACEHOLDERS:
            raise problem(f"{value!r} may compute only with the numbers {_braced(NUMBER_PLACEHOLDERS)}")
        if not required <= used <= allowed:
            raise problem(
                f"{value!r} may use only the placeholders {_braced(allowed)}"
                + (f" and must use {_braced(required)}" if required else "")
            )
        return value

    return AfterValidator(check)


def _braced(names: frozenset[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in sorted(names))
