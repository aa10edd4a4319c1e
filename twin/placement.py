"""Selects the devices that a claim has in the dump, for twins that keep them."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

from twin.claim_objects import ResourceClaim, Result
from twin.device_objects import SliceDevice
from twin.dump import Dump

Kept = Literal["", "nodes", "devices"]
"""What a twin keeps: nothing, the nodes of pods, or also the devices of claims."""

_Pool = tuple[str, str]
# What a CEL string in single quotes can contain as it is.
_LITERAL = re.compile(r"[^'\\\r\n]*")


class Placement:
    """Returns selectors that give claims the devices that they have in the dump."""

    def __init__(self, dump: Dump, kept: Kept) -> None:
        """Take the devices of the dump."""
        self.kept = kept
        self._devices: dict[_Pool, dict[str, SliceDevice]] = defaultdict(dict)
        self._distinct: dict[_Pool, str | None] = {}
        for entry in dump.slices:
            self._devices[entry.spec.driver, entry.spec.pool.name] |= {one.name: one for one in entry.spec.devices}

    def selectors(self, claim: ResourceClaim | None) -> dict[str, str]:
        """Return a CEL expression for each request whose devices have an attribute that tells them apart."""
        if self.kept != "devices" or claim is None:
            return {}
        by_request: dict[str, list[Result]] = defaultdict(list)
        for result in claim.results:
            by_request[result.request].append(result)
        found = {request: self._selector(results) for request, results in by_request.items()}
        return {request: selector for request, selector in found.items() if selector}

    def _selector(self, results: Sequence[Result]) -> str | None:
        pools = {(result.driver, result.pool) for result in results}
        if len(pools) != 1:
            return None
        (pool,) = pools
        name = self._distinct_attribute(pool)
        if name is None:
            return None
        devices = [self._devices[pool][result.device] for result in results]
        values = [_literal(device.attributes[name]) for device in devices]
        domain, _, own = name.rpartition("/")
        attribute = f"device.attributes['{domain or pool[0]}'].?{own}"
        empty = "''" if values[0].startswith("'") else "-1"
        return f"device.driver == '{pool[0]}' && {attribute}.orValue({empty}) in [{', '.join(values)}]"

    def _distinct_attribute(self, pool: _Pool) -> str | None:
        """Return an attribute that has another value on each device of a pool, preferably a string."""
        if pool not in self._distinct:
            devices = list(self._devices[pool].values())
            names = [name for name in devices[0].attributes if _is_distinct(name, devices)] if devices else []
            names.sort(key=lambda name: "string" not in devices[0].attributes[name])
            self._distinct[pool] = names[0] if names else None
        return self._distinct[pool]


def _is_distinct(name: str, devices: Sequence[SliceDevice]) -> bool:
    values = [device.attributes.get(name, {}) for device in devices]
    kinds = {kind for value in values for kind in value}
    texts = [str(entry) for value in values for entry in value.values()]
    is_literal = all(_LITERAL.fullmatch(text) for text in texts)
    return kinds in ({"string"}, {"int"}) and is_literal and len(set(texts)) == len(texts) == len(devices)


def _literal(value: Mapping[str, object]) -> str:
    return f"'{value['string']}'" if "string" in value else str(value["int"])
