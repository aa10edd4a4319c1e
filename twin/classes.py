"""Converts DeviceClasses to configuration, except those that the twin's drivers ship."""

from collections.abc import Iterable, Mapping

from topology.kubernetes.naming import natural_key
from topology.kubernetes.objects import given
from topology.schema.devices import DeviceClass as ConfiguredClass
from twin.claims import expressions
from twin.configuration import Written
from twin.device_objects import DeviceClass
from twin.notes import Notes
from twin.pseudonyms import Names


class Classes:
    """The DeviceClasses of a twin."""

    def __init__(self, found: Iterable[DeviceClass], shipped: Mapping[str, ConfiguredClass], names: Names) -> None:
        """Take the classes of the dump, and those that its drivers ship."""
        self._found = sorted(found, key=lambda entry: natural_key(entry.name))
        self._shipped = shipped
        self._names = names

    @property
    def extended_resources(self) -> set[str]:
        """The extended resources that the classes serve."""
        served = {name: entry.extended_resource_name for name, entry in self._shipped.items()}
        served |= {entry.name: entry.spec.extended_resource_name for entry in self._found}
        return {name for name in served.values() if name}

    @property
    def known(self) -> set[str]:
        """The names of all classes, in the dump and shipped by its drivers."""
        return {entry.name for entry in self._found} | self._shipped.keys()

    def name(self, name: str) -> str:
        """Return a class's name in the twin; the names of shipped classes are public and stay."""
        return name if name in self._shipped else self._names.of("class", name)

    def all(self, notes: Notes) -> list[Written]:
        """Return the classes that differ from those that their drivers ship."""
        for entry in self._found:
            if entry.spec.config:
                notes.add("config of DeviceClasses is left out", entry.name)
        return [written for entry in self._found if (written := self._written(entry)) != self._as_shipped(entry.name)]

    def _written(self, entry: DeviceClass) -> Written:
        return {"name": self.name(entry.name)} | given(
            selectors=expressions(entry.spec.selectors), extendedResourceName=entry.spec.extended_resource_name
        )

    def _as_shipped(self, name: str) -> Written | None:
        shipped = self._shipped.get(name)
        if shipped is None:
            return None
        return {"name": name} | given(
            selectors=list(shipped.selectors), extendedResourceName=shipped.extended_resource_name
        )
