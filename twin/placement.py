"""Where pods and claims are kept: on the nodes that they were on, or with the very devices that they had."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

from twin.dump import Dump
from twin.objects import Device, ResourceClaim, Result

Kept = Literal["", "nodes", "devices"]
"""What is kept: nothing, the nodes of pods, or the devices of claims too."""

_Pool = tuple[str, str]


class Placement:
    """Tells by which selectors a claim gets the devices that it had."""

    def __init__(self, dump: Dump, kept: Kept) -> None:
        """Take the devices of the dump."""
        self.kept = kept
        self._devices: dict[_Pool, dict[str, Device]] = defaultdict(dict)
        self._telling: dict[_Pool, str | None] = {}
        for entry in dump.slices:
            self._devices[entry.spec.driver, entry.spec.pool.name] |= {one.name: one for one in entry.spec.devices}

    def selectors(self, claim: ResourceClaim | None) -> dict[str, str]:
        """Return a CEL expression for each request whose devices have something that no other of the node has."""
        if self.kept != "devices" or claim is None or claim.status.allocation is None:
            return {}
        by_request: dict[str, list[Result]] = defaultdict(list)
        for result in claim.status.allocation.devices.results:
            by_request[result.request].append(result)
        found = {request: self._selector(results) for request, results in by_request.items()}
        return {request: selector for request, selector in found.items() if selector}

    def _selector(self, results: Sequence[Result]) -> str | None:
        pools = {(result.driver, result.pool) for result in results}
        if len(pools) != 1:
            return None
        (pool,) = pools
        name = self._telling_attribute(pool)
        if name is None:
            return None
        devices = [self._devices[pool][result.device] for result in results]
        values = [_literal(device.attributes[name]) for device in devices]
        domain, _, own = name.rpartition("/")
        attribute = f"device.attributes['{domain or pool[0]}'].?{own}"
        empty = "''" if values[0].startswith("'") else "-1"
        return f"device.driver == '{pool[0]}' && {attribute}.orValue({empty}) in [{', '.join(values)}]"

    def _telling_attribute(self, pool: _Pool) -> str | None:
        """Return an attribute that all devices of a pool have, each with a value of its own; a text if there is one."""
        if pool not in self._telling:
            devices = list(self._devices[pool].values())
            names = [name for name in devices[0].attributes if _tells(name, devices)] if devices else []
            names.sort(key=lambda name: "string" not in devices[0].attributes[name])
            self._telling[pool] = names[0] if names else None
        return self._telling[pool]


def _tells(name: str, devices: Sequence[Device]) -> bool:
    values = [device.attributes.get(name, {}) for device in devices]
    kinds = {kind for value in values for kind in value}
    texts = [str(value) for value in values]
    return kinds in ({"string"}, {"int"}) and all(values) and len(set(texts)) == len(texts)


def _literal(value: Mapping[str, object]) -> str:
    return f"'{value['string']}'" if "string" in value else str(value["int"])
