"""Twins of random dumps: what the scheduler sees of them, and what must not be in them."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.hostile import try_all
from tests.twins.checker import differences
from tests.twins.made import MODES, twin_of
from tests.twins.random_devices import KINDS
from tests.twins.random_dumps import dumps

DUMPS = 44
"""How many dumps are made with each kind of driver."""


@pytest.mark.parametrize("kind", KINDS)
def test_the_scheduler_sees_the_same_in_random_fleets(kind: str, tmp_path: Path) -> None:
    modes = list(MODES.values())
    seen: Counter[str] = Counter()
    dump = tmp_path / "dump.json"

    def check(objects: list[dict[str, Any]]) -> None:
        seen.update({entry["kind"] for entry in objects})
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        dump.write_text(text)
        shutil.rmtree(tmp_path / "stacks", ignore_errors=True)
        found = differences(objects, twin_of(dump, tmp_path, modes[len(text) % len(modes)]), runs=2)
        assert not found, "\n".join(found)

    try_all(dumps(kind), check, DUMPS, shrink=False)
    assert [what for what in ("Node", "ResourceSlice", "Pod", "ResourceClaim") if seen[what] < DUMPS // 4] == []
