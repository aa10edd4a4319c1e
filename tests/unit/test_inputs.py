"""How programs get values from their Commands, and from their previous runs."""

import io
import json
import random
import sys

import pytest

from commands.inputs import packed, unpacked, values
from topology.objects.removable import folded, node_reference

VARIABLE_MAX = 128 * 1024  # MAX_ARG_STRLEN: https://man7.org/linux/man-pages/man2/execve.2.html


def test_values_come_on_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"KWOK_DRA_A": [1], "KWOK_DRA_B": null, "KWOK_DRA_C": 0}'))
    assert values("KWOK_DRA_B", "KWOK_DRA_A") == [None, [1]]


def test_the_previous_release_had_them_in_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KWOK_DRA_A", "[1]")
    monkeypatch.setenv("KWOK_DRA_B", "null")
    assert values("KWOK_DRA_B", "KWOK_DRA_A") == [None, [1]]


@pytest.mark.parametrize("references", [[], [["v1", "Node", "", "gpu-", 0, 3], ["batch/v1", "Job", "ä", "train"]]])
def test_what_is_printed_is_read_again(references: list[list[object]]) -> None:
    assert unpacked(packed(references)) == unpacked(json.dumps(references)) == references


def test_what_is_printed_fits_into_a_variable() -> None:
    """The nodes of a cluster of 5,000, of which every other one is gone, and the objects of large manifests."""
    digits = random.Random(0)
    nodes = [node_reference(f"{'a' * 58}-{number}") for number in range(0, 5_000, 2)]
    others = [("v1", "ConfigMap", "default", f"config-{digits.getrandbits(40):010x}") for _ in range(5_000)]
    assert len(json.dumps(folded([*others, *nodes]))) > 3 * VARIABLE_MAX
    assert len(packed(folded([*others, *nodes]))) < VARIABLE_MAX
