"""The values of quantities."""

from decimal import Decimal

import pytest

from topology.kubernetes.quantities import number


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [
        ("0", "0"),
        ("96", "96"),
        ("+1.50", "1.5"),
        (".5", "0.5"),
        ("5.", "5"),
        ("500m", "0.5"),
        ("1k", "1000"),
        ("1.5G", "1500000000"),
        ("1Ki", "1024"),
        ("23034Mi", "24152899584"),
        ("0.5Gi", "536870912"),
        ("1E", "1000000000000000000"),
        ("1Ei", "1152921504606846976"),
        ("1e3", "1000"),
        ("1E-3", "0.001"),
        ("5u", "0.000005"),
        ("7n", "0.000000007"),
        ("-1", "-1"),
    ],
)
def test_numbers(quantity: str, expected: str) -> None:
    assert number(quantity) == Decimal(expected)


def test_nothing_is_rounded() -> None:
    """As floats, the two would be equal, and a device would satisfy a claim for one byte more than it has."""
    assert number("8192Pi") < number("9223372036854775809")


@pytest.mark.parametrize("text", ["", "Gi", "1 Gi", "1gi", "1K", "1mi", "1e", "1.2.3", "0x10", "1Gi\n", "nan", "1_0"])
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        number(text)
