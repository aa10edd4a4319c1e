"""Twins of random dumps: what the scheduler sees of them, and what must not be in them."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.hostile import try_all
from tests.twins.checker import differences
from tests.twins.made import MODES, twin_of
from tests.twins.random_devices import KINDS
from tests.twins.random_dumps import dumps

DUMPS = 300
Case = tuple[list[dict[str, Any]], str]


def test_the_scheduler_sees_the_same_in_random_fleets(tmp_path: Path) -> None:
    seen: Counter[str] = Counter()
    dump = tmp_path / "dump.json"

    def check(case: Case) -> None:
        objects, mode = case
        seen.update({mode, *(entry["kind"] for entry in objects)})
        seen.update({kind for kind in KINDS if f'"{kind}.example.org"' in json.dumps(objects)})
        dump.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
        shutil.rmtree(tmp_path / "stacks", ignore_errors=True)
        found = differences(objects, twin_of(dump, tmp_path, MODES[mode]), runs=2)
        assert not found, "\n".join(found)

    try_all(st.tuples(dumps(), st.sampled_from(sorted(MODES))), check, DUMPS, shrink=False)
    wanted = [*MODES, *KINDS, "Pod", "ResourceClaim", "Node", "ResourceSlice"]
    assert [what for what in wanted if seen[what] < DUMPS // 20] == []
