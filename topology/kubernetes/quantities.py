"""Parses Kubernetes quantities and writes them in canonical form.

No library serves: `kubernetes.utils.quantity` accepts texts that Kubernetes refuses, such as `1K` and `nan`, and does
not choose the unit of the canonical form.

https://github.com/kubernetes/apimachinery/blob/v0.37.2/pkg/api/resource/quantity.go
"""

import re
from collections.abc import Sequence
from decimal import ROUND_UP, Decimal
from functools import lru_cache

_QUANTITY = re.compile(r"([-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))([num]|[kMGTPE]|[KMGTPE]i|[eE][-+]?[0-9]+)?")
_UNITS = {"": Decimal(1), "m": Decimal("1e-3"), "u": Decimal("1e-6"), "n": Decimal("1e-9")}
_UNITS |= {unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", 1)}
_UNITS |= {f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", 1)}


@lru_cache(maxsize=4096)
def number(quantity: str) -> Decimal:
    """Return the value of a quantity such as `80Gi`, `500m` or `1e3`.

    Raises:
        ValueError: `quantity` is not a quantity.
    """
    match = _QUANTITY.fullmatch(quantity)
    if not match:
        raise ValueError(f"{quantity!r} is not a quantity")
    digits, unit = match[1], match[2] or ""
    return Decimal(digits) * _UNITS[unit] if unit in _UNITS else Decimal(digits + unit)


def canonical(quantity: str) -> str:
    """Return `quantity` as the API server writes it, `79Gi` for `80896Mi`: an integer with the largest possible unit.

    https://github.com/kubernetes/apimachinery/blob/v0.37.2/pkg/api/resource/quantity.go, `CanonicalizeBytes`
    """
    value = number(quantity)
    if quantity.endswith("i") and abs(value) >= 1024:
        return _with_unit(value.to_integral_value(ROUND_UP), 1024, _BINARY_UNITS)
    if quantity[-1].isdigit() and "e" in quantity.lower():
        return _with_unit(_in_nanos(value), 1000, _EXPONENTS)
    return _with_unit(_in_nanos(value), 1000, _DECIMAL_UNITS)


def written(value: Decimal, like: str) -> str:
    """Return `value` as a quantity, in binary units if the quantity `like` has one."""
    if not like.endswith("i") or value % 1024:
        return canonical(f"{value:f}")
    return canonical(f"{value / 1024:f}Ki")


_BINARY_UNITS = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL_UNITS = ("n", "u", "m", "", "k", "M", "G", "T", "P", "E")
_EXPONENTS = ("e-9", "e-6", "e-3", "", *(f"e{power}" for power in range(3, 31, 3)))


def _in_nanos(value: Decimal) -> Decimal:
    return (value * 10**9).to_integral_value(ROUND_UP)


def _with_unit(whole: Decimal, base: int, units: Sequence[str]) -> str:
    """Write `whole`, counted in the smallest unit; each unit is `base` times the unit before it."""
    power = 0
    while whole and whole % base == 0 and power < len(units) - 1:
        whole, power = whole / base, power + 1
    return f"{whole:f}{units[power]}" if whole else "0"
