"""`make catalogue`: the table of the models, and the pages in docs/catalogue/."""

import sys
from functools import cache
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from tests.unit.conftest import ROOT
from topology.schema.catalogue import Catalogue, built_in
from views import catalogue
from views.catalogue import PAGES, pages, table, write

DRIVER = "npu.furiosa.ai"
PAGE = """\
# `npu.furiosa.ai`

What the driver publishes for a node, as the catalogue has it: of each kind of model one example, with its first two
devices. `make catalogue ARGS=--write` writes this page.

## `rngd`

```yaml
apiVersion: resource.k8s.io/v1
kind: ResourceSlice
metadata: {name: node-0-npu.furiosa.ai-22jt6}
spec:
  driver: npu.furiosa.ai
  nodeName: node-0
  pool: {name: node-0, generation: 1, resourceSliceCount: 1}
  devices:
  - name: npu0
    attributes:
      uuid: {string: 9d1a4bfb-5661-5011-d268-1d52d096193f}
  - name: npu1
    attributes:
      uuid: {string: e7819990-17c6-cd70-9dc7-37c04d79d048}
```
"""


@cache
def made() -> dict[str, str]:
    return pages(built_in())


def test_the_pages_are_those_of_the_catalogue() -> None:
    found = {file.name: file.read_text(encoding="utf-8") for file in (ROOT / PAGES).iterdir()}
    stale = sorted(name for name in made().keys() | found.keys() if made().get(name) != found.get(name))
    assert not stale, f"run make catalogue ARGS=--write: {', '.join(stale)} differ from the catalogue"


def test_a_page() -> None:
    assert made()[f"{DRIVER}.md"] == PAGE


def test_models_that_differ_in_values_have_one_section() -> None:
    page = made()["npu.rebellions.ai.md"]
    assert page.count("## ") == 1
    assert "\nThe same with other values: `rbln-ca25`, `rbln-cr13`.\n" in page


def test_counters_are_shown_with_their_devices() -> None:
    page = made()["gpu.example.com.md"]
    (partitionable,) = (part for part in page.split("## ") if part.startswith("`example-gpu-partitionable`"))
    counters, devices = yaml.safe_load_all(partitionable.split("```")[1].removeprefix("yaml"))
    assert [found["name"] for found in counters["spec"]["sharedCounters"]] == ["gpu-0-counters", "gpu-1-counters"]
    assert [found["name"] for found in devices["spec"]["devices"]] == ["gpu-0-partition-0", "gpu-0-partition-1"]


def test_the_table() -> None:
    npu = {"driver": "npu.example.com", "unverified": {"attributes.npu.example.com/cores": "", "mig[3g].memory": ""}}
    found = Catalogue().extended(
        {"models": {"npu-1": {**npu, "profiles": {"0.9": {}, "0.8": {}}}, "nic": {"driver": "nic.example.com"}}}
    )
    console = Console(width=60)
    with console.capture() as capture:
        console.print(table(found))
    assert [line.rstrip() for line in capture.get().splitlines()] == [
        "driver, model    profiles  unverified",
        "────────────────────────────────────────────────",
        "nic.example.com",
        "  nic",
        "npu.example.com",
        "  npu-1          0.9, 0.8  cores, mig[3g].memory",
    ]


def test_pages_of_drivers_that_are_gone_are_removed(tmp_path: Path) -> None:
    write(tmp_path / "pages", {"old.md": "old", "kept.md": "old"})
    write(tmp_path / "pages", {"new.md": "new", "kept.md": "new"})
    assert {file.name: file.read_text() for file in (tmp_path / "pages").iterdir()} == {
        "new.md": "new",
        "kept.md": "new",
    }


def test_pages_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "gone" / "pages"
    monkeypatch.setattr(catalogue, "PAGES", folder)
    monkeypatch.setattr(sys, "argv", ["catalogue", "--write"])
    with pytest.raises(SystemExit, match=f"^{folder} cannot be written: No such file or directory$"):
        catalogue.main()
