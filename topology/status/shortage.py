"""Which requests of a pending claim no node can satisfy: the scheduler does not name them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from topology.kubernetes import cel
from topology.kubernetes.objects import Object
from topology.status.live_objects import of_kind
from topology.status.occupancy import Occupancy, PoolName


class Shortage:
    """Compares the requests of claims with the live devices and classes."""

    def __init__(self, objects: Sequence[Object], pools: Mapping[PoolName, Occupancy]) -> None:
        """Use the slices and classes of `objects`, and the available devices of the `pools`."""
        self.pools = pools
        self.slices = [entry["spec"] for entry in of_kind(objects, "ResourceSlice")]
        self.classes = {
            entry["metadata"]["name"]: entry["spec"].get("selectors", []) for entry in of_kind(objects, "DeviceClass")
        }
        self._known: dict[str, str | None] = {}

    def of(self, claim: Object) -> list[str]:
        """Return a line for each request of a claim that no pool can satisfy now: what it wants, and what is free."""
        requests = claim.get("spec", {}).get("devices", {}).get("requests", [])
        found = []
        for request in requests:
            text = json.dumps(request, sort_keys=True)
            if text not in self._known:
                self._known[text] = self._shortage(request)
            found += [self._known[text]]
        return [line for line in found if line]

    def _shortage(self, request: Object) -> str | None:
        lines = [self._of_selection(entry) for entry in request.get("firstAvailable") or [request.get("exactly") or {}]]
        if not all(lines):
            return None
        return f"request {request['name']} wants {', or '.join(str(line) for line in lines)}"

    def _of_selection(self, selection: Object) -> str | None:
        name = selection.get("deviceClassName", "")
        count = selection.get("count", 1)
        selectors = [*self.classes.get(name, []), *selection.get("selectors", [])]
        expressions = [selector["cel"]["expression"] for selector in selectors]
        matching, free = self._most(expressions)
        if free >= count:
            return None
        wanted = f"{count} of {name}"
        if not matching:
            return f"{wanted}, but no device matches"
        return f"{wanted}, but no node has more than {free} free of {matching} that match"

    def _most(self, expressions: Sequence[str]) -> tuple[int, int]:
        """Return the most devices that match in one pool, and the most of them that are free in one pool."""
        matching: dict[PoolName, int] = {}
        free: dict[PoolName, int] = {}
        for pool, device in self._devices():
            if _matches(expressions, pool[0], device):
                matching[pool] = matching.get(pool, 0) + 1
                free[pool] = free.get(pool, 0) + (device["name"] in self.pools[pool].available)
        return max(matching.values(), default=0), max(free.values(), default=0)

    def _devices(self) -> Iterator[tuple[PoolName, Mapping[str, Any]]]:
        for spec in self.slices:
            for device in spec.get("devices", []):
                yield (spec["driver"], spec["pool"]["name"]), device


def _matches(expressions: Sequence[str], driver: str, device: Mapping[str, Any]) -> bool:
    facts = cel.CelDevice(
        driver,
        device.get("attributes", {}),
        device.get("capacity", {}),
        device.get("allowMultipleAllocations", False),
    )
    try:
        return all(cel.compile_selector(expression, list_attributes=True).matches(facts) for expression in expressions)
    except cel.CelError:
        return False
