"""Shows the catalogue: `python -m views.catalogue` prints its models, `--write` writes a page for each driver."""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from topology.checks.validation import load
from topology.objects.slices import resource_slices
from topology.schema.catalogue import Catalogue, built_in
from topology.schema.devices import DeviceModel
from topology.schema.profiles import base_names, profiles_of
from views.table import listing

PAGES = Path("docs/catalogue")
DEVICES_SHOWN = 2
_DEVICES_WITHOUT_HOST = 4
_HOST_OF_NICS = "hgx-h100"  # for models that have none of their own
_INTRODUCTION = """\
# `{driver}`

What the driver publishes for a node, as the catalogue has it: of each kind of model one example, with its first two
devices. `make catalogue ARGS=--write` writes this page.
"""


def main() -> None:
    """Print the table, or write the pages."""
    parser = argparse.ArgumentParser(prog="make catalogue", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {PAGES}/<driver>.md")
    if not parser.parse_args().write:
        Console(highlight=False, emoji=False).print(table(built_in()))
        return
    try:
        write(PAGES, pages(built_in()))
    except OSError as error:
        sys.exit(f"{error.filename} cannot be written: {error.strerror}")


def table(catalogue: Catalogue) -> Table:
    """Return the models by driver, with their profiles and the values that nobody published."""
    made = listing(["driver, model", "profiles", "unverified"])
    for driver, names in _by_driver(catalogue).items():
        made.add_row(Text(driver, style="bold"))
        for name in names:
            paths = catalogue.models[name].unverified
            missing = [path.removeprefix("attributes.").removeprefix(f"{driver}/") for path in paths]
            made.add_row(f"  {name}", ", ".join(profiles_of(name, catalogue.models)), Text(", ".join(missing)))
    return made


def _by_driver(catalogue: Catalogue) -> dict[str, list[str]]:
    drivers: dict[str, list[str]] = {}
    for name in base_names(catalogue.models):
        drivers.setdefault(catalogue.models[name].driver, []).append(name)
    return dict(sorted(drivers.items()))


def write(folder: Path, written: Mapping[str, str]) -> None:
    """Write the pages, by the names of their files, and remove those of drivers that are gone.

    Raises:
        OSError: a file cannot be written or removed.
    """
    folder.mkdir(exist_ok=True)
    for gone in {file.name for file in folder.glob("*.md")} - written.keys():
        (folder / gone).unlink()
    for name, page in written.items():
        (folder / name).write_text(page, encoding="utf-8")


def pages(catalogue: Catalogue) -> dict[str, str]:
    """Return the page of each driver that has models, by the name of its file."""
    return {f"{driver}.md": _page(driver, names, catalogue) for driver, names in _by_driver(catalogue).items()}


def _page(driver: str, names: Iterable[str], catalogue: Catalogue) -> str:
    kinds: dict[object, list[str]] = {}
    for name in names:
        kinds.setdefault(_kind(catalogue.models[name]), []).append(name)
    return "\n".join([_INTRODUCTION.format(driver=driver), *(_section(*alike) for alike in kinds.values())])


def _kind(model: DeviceModel) -> object:
    """Return what models have in common whose devices differ only in values."""
    parts = [(frozenset(part.attributes), frozenset(part.capacity)) for part in model.partitions[:1]]
    return (frozenset(model.attributes), frozenset(model.capacity), *parts, len(model.siblings), bool(model.mig))


def _section(name: str, *others: str) -> str:
    alike = f"The same with other values: {', '.join(f'`{other}`' for other in others)}.\n\n" if others else ""
    shown = yaml.safe_dump_all(map(_shortened, _slices(name)), sort_keys=False, default_flow_style=None, width=120)
    return f"## `{name}`\n\n{alike}```yaml\n{shown}```\n"


def _slices(name: str) -> list[dict[str, Any]]:
    """Return the first slice with devices of a node with such a model, and the node's first one with counters."""
    model = built_in().models[name]
    pool: dict[str, Any] = {"name": "node", "gpu": name, "gpusPerNode": _DEVICES_WITHOUT_HOST}
    if model.slot:
        host = next((known for known, found in built_in().hosts.items() if found is model.host), _HOST_OF_NICS)
        pool |= {"host": host, "gpusPerNode": len(built_in().hosts[host].addresses[model.slot])}
    (node_pool,) = load({"cluster": {"name": "catalogue"}, "nodePools": [pool]}).node_pools
    slices = resource_slices(node_pool, "node-0")
    first = next(place for place, entry in enumerate(slices) if "devices" in entry["spec"])
    return [entry for place, entry in enumerate(slices) if place in (0, first)]


def _shortened(entry: Mapping[str, Any]) -> Any:
    lists = {key: entry["spec"][key][:DEVICES_SHOWN] for key in ("sharedCounters", "devices") if key in entry["spec"]}
    # Values that devices share would be YAML aliases.
    return json.loads(json.dumps({**entry, "spec": {**entry["spec"], **lists}}))


if __name__ == "__main__":
    main()
