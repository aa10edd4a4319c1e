"""The catalogue: device models, hosts and drivers by name, from `topology/catalogue/*.yaml` and the user's files."""

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import TypeAdapter

from topology.schema import profiles
from topology.schema.base import Model
from topology.schema.devices import DeviceClass, DeviceModel, Driver
from topology.schema.hosts import Host
from topology.schema.user_files import UnreadableError, content, parsed
from topology.schema.values import suggestion


class Catalogue(NamedTuple):
    """Everything that a stack can name."""

    hosts: Mapping[str, Host] = {}
    models: Mapping[str, DeviceModel] = {}
    drivers: Mapping[str, Driver] = {}

    def extended(self, content: Mapping[str, Any]) -> "Catalogue":
        """Return the catalogue with the entries of another file, which override those of the same name.

        Raises:
            pydantic.ValidationError: an entry is not valid.
        """
        extended = self
        for section in _SECTIONS:
            written = content.get(section) or {}
            new = extended._valid(section, written)
            if section == "models":
                new |= extended._valid(section, profiles.expanded(written, new))
            kept = profiles.without(getattr(extended, section), written)
            extended = extended._replace(**{section: {**kept, **new}})
        return extended

    def _valid(self, section: str, written: Any) -> dict[str, Any]:
        return _SECTIONS[section].validate_python({section: written}, context=self._asdict())[section]

    def device_classes(self, drivers: Iterable[str]) -> dict[str, DeviceClass]:
        """Return the DeviceClasses that the charts of `drivers` ship, by name."""
        return {
            device_class.name: device_class.shipped_by(driver)
            for driver in sorted(set(drivers))
            if driver in self.drivers
            for device_class in self.drivers[driver].device_classes
        }


ENTRIES: Mapping[str, type[Model]] = {"hosts": Host, "models": DeviceModel, "drivers": Driver}
"""The model of each section's entries; an entry may name entries of earlier sections."""

# With the section as a key, so that the location of an error begins with it.
_SECTIONS: dict[str, TypeAdapter[dict[str, dict[str, Any]]]] = {
    section: TypeAdapter(dict[str, dict[str, entry]])  # type: ignore[valid-type]
    for section, entry in ENTRIES.items()
}


# The loader in C needs a tenth of the time.
_LOADER: type[yaml.SafeLoader | yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def built_in() -> Catalogue:
    """Return the catalogue of `topology/catalogue/*.yaml`, in which keys that begin with `x-` hold YAML anchors."""
    catalogue = Catalogue()
    for file in sorted(files("topology").joinpath("catalogue").iterdir(), key=lambda entry: entry.name):
        catalogue = catalogue.extended(yaml.load(file.read_text(), Loader=_LOADER))
    return catalogue


def read(folder: Path, name: str) -> dict[str, Any]:
    """Read a catalogue file of the user, a path relative to `folder`.

    Raises:
        UnreadableError: the file cannot be read, or is not a catalogue file.
    """
    text = content(folder, name)
    found = parsed(name, lambda: yaml.safe_load(text))
    sections = ", ".join(ENTRIES)
    if not isinstance(found, dict) or not found.keys() & ENTRIES.keys():
        raise UnreadableError(f"{name!r} has none of the keys {sections}: see topology/catalogue for examples")
    if unknown := [key for key in found if key not in ENTRIES and not str(key).startswith("x-")]:
        raise UnreadableError(
            f"{name!r} has an unknown key {unknown[0]!r}{suggestion(str(unknown[0]), ENTRIES)} Use {sections}, and "
            "keys that begin with x- for anchors"
        )
    return found


def with_files(folder: Path, names: Iterable[str]) -> Catalogue:
    """Return the catalogue with the user's files, which must be valid."""
    catalogue = built_in()
    for name in names:
        catalogue = catalogue.extended(read(folder, name))
    return catalogue
