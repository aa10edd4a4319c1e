"""DeviceClasses: those that do not come with the drivers of the twin anyway."""

from collections.abc import Iterable, Mapping
from typing import Any

from topology.kubernetes.objects import given
from topology.schema.devices import DeviceClass as ConfiguredClass
from twin.claims import expressions
from twin.objects import DeviceClass
from twin.pseudonyms import Names

Written = dict[str, Any]


class Classes:
    """The classes of a twin."""

    def __init__(self, found: Iterable[DeviceClass], shipped: Mapping[str, ConfiguredClass], names: Names) -> None:
        """Take the classes of the dump, and those that come with its drivers."""
        self._found = sorted(found, key=lambda entry: entry.name)
        self._shipped = shipped
        self._names = names

    @property
    def extended_resources(self) -> set[str]:
        """The extended resources that stand for a class."""
        return {entry.spec.extended_resource_name for entry in self._found if entry.spec.extended_resource_name}

    @property
    def known(self) -> set[str]:
        """The names of all classes that there are, in the dump or with its drivers."""
        return {entry.name for entry in self._found} | self._shipped.keys()

    def name(self, name: str) -> str:
        """Return what a class is called; those that come with drivers are called so everywhere."""
        return name if name in self._shipped else self._names.of("class", name)

    def all(self) -> list[Written]:
        """Write the classes that are not as their drivers ship them."""
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
