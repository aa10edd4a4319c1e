"""Finds what gives a claim the devices that it has in the dump: CEL expressions, and tolerations of their taints."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from topology.checks.node_selection import repelling
from twin.claim_objects import ResourceClaim, Result
from twin.device_objects import DeviceTaintRule, SliceDevice, SliceSpec
from twin.objects import Taint
from twin.pod_objects import Toleration
from twin.slices import PoolName

Kept = Literal["", "none", "nodes", "devices"]
"""What a twin keeps: what decides who runs, nothing, the nodes of pods, or also the devices of claims."""

# What a CEL string in single quotes can contain as it is.
_LITERAL = re.compile(r"[^'\\\r\n]+")


class Pin(NamedTuple):
    """What a request needs to get its devices of the dump; no `selector` if no attribute tells them apart."""

    selector: str | None
    tolerations: Sequence[Toleration]


class Placement:
    """Returns what gives claims the devices that they have in the dump."""

    def __init__(self, slices: Iterable[SliceSpec], rules: Iterable[DeviceTaintRule]) -> None:
        """Take the slices whose devices can be allocated, and the rules that taint them."""
        self._devices: dict[PoolName, dict[str, SliceDevice]] = defaultdict(dict)
        self._rules = list(rules)
        self._counted: dict[PoolName, Counter[tuple[str, str]]] = {}
        for spec in slices:
            self._devices[spec.driver, spec.pool.name] |= {one.name: one for one in spec.devices}

    def pins(self, claim: ResourceClaim) -> dict[str, Pin]:
        """Return a pin for each request that has devices."""
        by_request: dict[str, list[Result]] = defaultdict(list)
        for result in claim.results:
            by_request[result.request.partition("/")[0]].append(result)
        tolerated = {
            request.name: [one for selection in request.selections for one in selection.tolerations]
            for request in claim.spec.devices.requests
        }
        return {
            request: Pin(self._selector(results), self._tolerations(results, tolerated.get(request, [])))
            for request, results in by_request.items()
        }

    def is_barred(self, claim: ResourceClaim) -> bool:
        """Tell whether a claim has a device that it could not get now, for want of a toleration."""
        return any(pin.tolerations for pin in self.pins(claim).values())

    def _tolerations(self, results: Sequence[Result], tolerated: Sequence[Toleration]) -> list[Toleration]:
        return missing_tolerations(tolerated, [taint for result in results for taint in self._taints(result)])

    def _taints(self, result: Result) -> list[Taint]:
        device = self._devices[result.driver, result.pool].get(result.device)
        rules = [rule.spec.taint for rule in self._rules if _selects(rule, result)]
        return [*(device.taints if device else []), *rules]

    def _selector(self, results: Sequence[Result]) -> str | None:
        pool, *others = {(result.driver, result.pool) for result in results}
        devices = [self._devices[pool].get(result.device) for result in results]
        found = [] if others else [_literals(device) for device in devices if device]
        for name in found[0] if len(found) == len(results) else ():
            values = [literals.get(name, "") for literals in found]
            if all(self._holders(pool)[name, value] == 1 for value in values):
                domain, _, own = name.rpartition("/")
                attribute = f"device.attributes['{domain or pool[0]}'].?{own}"
                empty = "''" if values[0].startswith("'") else "-1"
                return f"device.driver == '{pool[0]}' && {attribute}.orValue({empty}) in [{', '.join(values)}]"
        return None

    def _holders(self, pool: PoolName) -> Counter[tuple[str, str]]:
        """Return how many devices of a pool have a value of an attribute, by the attribute and the value."""
        if pool not in self._counted:
            found = map(_literals, self._devices[pool].values())
            self._counted[pool] = Counter(one for literals in found for one in literals.items())
        return self._counted[pool]


def missing_tolerations(tolerations: Sequence[Toleration], taints: Sequence[Taint]) -> list[Toleration]:
    """Return what else a pod, or a request for devices, has to tolerate beside `taints`."""
    known = [one.model_dump() for one in tolerations]
    missing = repelling(known, [taint.model_dump() for taint in dict.fromkeys(taints) if taint.effect != "None"])
    return [Toleration(key=taint["key"], value=taint["value"] or None, effect=taint["effect"]) for taint in missing]


def _selects(rule: DeviceTaintRule, result: Result) -> bool:
    selector = rule.spec.device_selector
    wanted = (selector.driver, selector.pool, selector.device) if selector else ()
    return all(
        one in (None, name) for one, name in zip(wanted, (result.driver, result.pool, result.device), strict=False)
    )


def _literals(device: SliceDevice) -> dict[str, str]:
    """Return the attributes of a device that CEL can compare with a literal, strings first."""
    texts = {name: value.get("string") for name, value in device.attributes.items()}
    found = {name: f"'{text}'" for name, text in texts.items() if isinstance(text, str) and _LITERAL.fullmatch(text)}
    return found | {name: str(value["int"]) for name, value in device.attributes.items() if value.get("int", -1) != -1}
