"""The order of names that contain numbers."""

import random

import pytest

from topology.kubernetes.naming import natural_key


@pytest.mark.parametrize(
    "expected",
    [
        ["node-0", "node-2", "node-10", "node-100"],
        ["2", "10", "a"],
        ["a", "a1", "a1-2", "a1-10", "a2", "b"],
        ["n-08", "n-9", "n-010"],
        ["nodePools[2].gpu", "nodePools[10].gpu"],
        ["n-1²", "n-2", "n-²"],  # digits to str.isdigit, but not to int
        ["n-" + "9" * 5000, "n-1" + "0" * 5000],  # longer than int reads
    ],
)
def test_numbers_are_compared_by_value(expected: list[str]) -> None:
    shuffled = random.Random(0).sample(expected, len(expected))
    assert sorted(shuffled, key=natural_key) == expected


def test_leading_zeros_do_not_count() -> None:
    assert natural_key("n-007") == natural_key("n-7")
    assert natural_key("n-000") == natural_key("n-0")
