"""Compares a twin with its dump: what the scheduler sees of both, and what must not be in a twin.

It reads the dump as plain objects, and the twin as what its files configure and the program renders of them: nothing of
the package `twin` is used but its result.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

from tests.twins import devices, identities, nodes, pods
from tests.twins.cluster import Cluster, Device, DeviceKey, key_of
from tests.twins.made import Twin
from tests.twins.missing import unsaid
from tests.twins.scheduling import outcome_is_certain
from tests.unit.simulated import live
from topology.schema.catalogue import built_in
from topology.schema.claims import ClaimSpec

Object = dict[str, Any]
_OF_NO_NODE = "without a nodeName|of no single node"
RUNS = 4
"""How many times the pods of a twin are scheduled."""


def differences(objects: Sequence[Object], twin: Twin, runs: int = RUNS) -> list[str]:
    """Return what is wrong with the twin of a dump with these objects, one line each."""
    check = Check(objects, twin)
    return [*check.of_devices(), *check.of_classes(), *check.of_pods(), *check.of_privacy(), *check.of_schedules(runs)]


class Check:
    """A dump and its twin, as the scheduler sees them."""

    def __init__(self, objects: Sequence[Object], twin: Twin) -> None:
        self._objects = objects
        self._twin = twin
        self.dump = Cluster(objects)
        self.copy = Cluster(live(twin.topology))
        self.nodes = {name: other for name, other in twin.nodes.items() if name in self.dump.nodes}
        self.pairs, self.missing, self.extra = devices.paired(self.dump, self.copy, self.nodes)
        self.keys: dict[DeviceKey, DeviceKey] = {pair.original.key: pair.copy.key for pair in self.pairs}
        self.back = self._back()
        self.keys |= self.back

    # Nodes and devices.

    def of_devices(self) -> Iterator[str]:
        """Yield what is wrong with nodes and devices."""
        yield from self._of_the_mapping()
        yield from nodes.compare(self.dump, self.copy, self._twin.topology, self.nodes)
        private = [*self.dump.nodes, *identities.serials(self.dump)]
        yield from devices.compare(self.pairs, private, empty_may_go=self._twin.says("empty"))
        yield from self._missing_devices()
        yield from self._taints()

    def _of_the_mapping(self) -> Iterator[str]:
        if len(set(self.nodes.values())) < len(self.nodes):
            yield f"several nodes have one counterpart: {self.nodes}"
        if other := self.copy.nodes.keys() - set(self.nodes.values()):
            yield f"nodes are only in the twin: {', '.join(sorted(other))}"
        if gone := set(self.nodes.values()) - self.copy.nodes.keys():
            yield f"nodes have a counterpart that is not in the twin: {', '.join(sorted(gone))}"
        with_devices = {name for device in self.dump.devices.values() for name in device.nodes}
        left = with_devices - self.nodes.keys()
        if left and not self._twin.says(_OF_NO_NODE):
            yield f"nodes with devices are left out without a note: {', '.join(sorted(left))}"

    def _missing_devices(self) -> Iterator[str]:
        """Yield devices that one of the two has; a twin may have devices again that are in use and not published."""
        of_fabrics = [device for device in self.missing if not device.is_of_node]
        wrong = [device for device in self.missing if device.is_of_node]
        if not self._twin.says(_OF_NO_NODE):
            wrong += of_fabrics
        if wrong:
            yield f"devices of the dump are not in the twin: {_told(wrong)}"
        extra = [device for device in self.extra if device.key not in self.back.values()]
        if extra:
            yield f"devices are only in the twin: {_told(extra)}"
        gone = self._withdrawn().keys() - self.back.keys()
        if gone and not self._twin.says("in no (Resource)?Slice"):
            yield f"{len(gone)} devices that claims hold are in no slice, and neither in the twin nor in a note"

    def _back(self) -> dict[DeviceKey, DeviceKey]:
        """Return the devices that are in use in the dump and not published, but are in the twin."""
        extra = {(node, one.key[0], one.key[2]): one.key for one in self.extra for node in one.nodes}
        places = {key: (node, key[0], key[2]) for key, node in self._withdrawn().items()}
        return {key: extra[place] for key, place in places.items() if place in extra}

    def _withdrawn(self) -> dict[DeviceKey, str]:
        """Return the devices that claims hold but that are in no slice, with their node's name in the twin."""
        nodes = {key[:2]: device.nodes for key, device in self.dump.devices.items() if device.is_of_node}
        held = {key_of(one) for pod in self.dump.pods for claim in pod.claims for one in claim.results}
        gone = {key: nodes[key[:2]] for key in held if key not in self.dump.devices and key[:2] in nodes}
        return {key: self.nodes[name] for key, names in gone.items() for name in names if name in self.nodes}

    def _taints(self) -> Iterator[str]:
        kept = self._twin.mode.keep_names
        before = {pair.copy.key: pair.original.taints for pair in self.pairs}
        after = {pair.copy.key: pair.copy.taints for pair in self.pairs}
        yield from devices.compare_taints(before, after, kept=kept)
        if self.dump.has_nodes:
            names = {name: other for name, other in self.nodes.items() if other in self.copy.nodes}
            of_nodes = {other: self.dump.taints(name) for name, other in names.items()}
            yield from devices.compare_taints(
                of_nodes, {other: self.copy.taints(other) for other in of_nodes}, kept=kept
            )

    # Classes.

    def of_classes(self) -> Iterator[str]:
        """Yield the classes of the dump that the twin does not have; without names, any other one may be that class."""
        published = {key: key for key in self.keys.values() if key not in self.back.values()}
        there = [(name, self._facts_of_class(self.copy, name, published)) for name in self.copy.classes]
        for name in self.dump.classes:
            facts = self._facts_of_class(self.dump, name, self.keys)
            named = name in self.copy.classes or self._twin.mode.keep_names
            found = [entry for entry in there if entry[1] == facts and (entry[0] == name or not named)]
            if found:
                there.remove(found[0])
            else:
                near = [other for other in there if other[0] == name]
                yield f"the DeviceClass {name} is not in the twin: {facts}, but {near or 'nothing'}"

    @cached_property
    def _same(self) -> dict[DeviceKey, DeviceKey]:
        return {key: key for key in self.keys.values()}

    def _facts_of_class(self, cluster: Cluster, name: str, keys: dict[DeviceKey, DeviceKey]) -> str:
        spec = cluster.classes[name]
        found = cluster.selected([one["cel"]["expression"] for one in spec.get("selectors") or []])
        sets = [sorted(keys[key] for key in some if key in keys) for some in found]
        return f"{spec.get('extendedResourceName')}, selects {sets[0]}, fails for {sets[1]}"

    # Pods.

    @cached_property
    def _asks(self) -> tuple[pods.Asks, pods.Asks]:
        same_nodes = {name: name for name in self.copy.nodes}
        return pods.Asks(self.dump, self.keys, self.nodes), pods.Asks(self.copy, self._same, same_nodes)

    @cached_property
    def matches(self) -> tuple[list[tuple[pods.Ask, pods.Ask]], list[pods.Ask], list[str]]:
        """The pods with their counterparts, those that are only in the twin, and what is wrong with the others."""
        before, after = self._asks[0].all, self._asks[1].all
        found, wrong = pods.matched(before, after, self._rules)
        left = [copy for place, copy in enumerate(after) if place not in found.values()]
        return [(before[one], after[place]) for one, place in found.items()], left, wrong

    @property
    def _rules(self) -> pods.Rules:
        kept = self._twin.mode.keep_placement
        reach = {key: device.nodes for key, device in self.copy.devices.items()}
        back = frozenset(self.back.values())
        may_run, any_nodes = self._twin.says("have room in the twin"), self._twin.says("affinit")
        return pods.Rules(bool(kept), kept == "devices", self._distinct(), reach, back, may_run, any_nodes)

    def _distinct(self) -> frozenset[DeviceKey]:
        """Return the devices whose pool has an attribute with another text or number on each device."""
        found: set[DeviceKey] = set()
        for pool in {key[:2] for key in self.dump.devices}:
            some = [device for key, device in self.dump.devices.items() if key[:2] == pool]
            names = {name for device in some for name in device.published.get("attributes") or {}}
            values = [[(device.published.get("attributes") or {}).get(name) for device in some] for name in names]
            if any(_are_distinct(one) for one in values):
                found |= {self.keys[device.key] for device in some if device.key in self.keys}
        return frozenset(found)

    def of_pods(self) -> Iterator[str]:
        """Yield what is wrong with pods, claims and expectations, and what is left out without a word."""
        found, extra, wrong = self.matches
        if extra or not self._twin.says("pods (with|whose|that)\\b.* left out"):
            yield from wrong
        yield from (f"a pod is only in the twin: {copy.told}" for copy in extra)
        yield from unsaid(self.dump, self._twin, [(one.pod, other.pod) for one, other in found])

    def of_schedules(self, runs: int) -> Iterator[str]:
        """Yield expectations that depend on the order in which pods come, or the nodes that the scheduler chooses."""
        if not self._twin.says("keep_placement"):
            yield from outcome_is_certain(self._twin.topology, self.copy, runs)

    # Privacy.

    def of_privacy(self) -> Iterator[str]:
        """Yield the identities and, unless they are kept, the names of the dump that are in the twin's files."""
        kept = self._twin.mode.keep_names
        found = identities.identities(self._objects, self.dump)
        if kept:
            named = "\n".join(name for entry in self._objects for name in identities.all_names(entry))
            found = {one for one in found if one not in named}
        for one in identities.leaked(found, self._twin.text):
            yield f"the identity {one} is in the files of the twin"
        if kept:
            return
        catalogue = built_in()
        shipped = catalogue.device_classes({key[0] for key in self.dump.devices})
        labels = {key for model in catalogue.models.values() for key in model.node.labels}
        for one in identities.leaked(identities.names(self._objects, self.dump, {*shipped, *labels}), self._twin.text):
            yield f"the name {one} is in the files of the twin"
        for what, name in _names(self._twin):
            if not identities.PSEUDONYM.fullmatch(name) and name not in shipped:
                yield f"the {what} {name} of the twin is no pseudonym"


def _told(some: Iterable[Device]) -> str:
    return ", ".join(sorted("/".join(device.key) for device in some))


def _are_distinct(values: Sequence[Any]) -> bool:
    texts = [str(value) for value in values]
    return all(value and {"string", "int"} & value.keys() for value in values) and len(set(texts)) == len(texts)


def _names(twin: Twin) -> Iterator[tuple[str, str]]:
    """Yield the names in a twin that are pseudonyms, as they are nobody else's."""
    for device_class in twin.topology.device_classes:
        yield "class", device_class.name
    for claim in twin.topology.claims:
        yield from (("claim", claim.name), *_requests(claim))
    for workload in twin.topology.workloads:
        yield "workload", workload.name
        yield from (("container", container.name) for container in workload.containers)
        for own in workload.claims:
            yield from (("claim", own.name), *_requests(own))
        if workload.namespace != "default":
            yield "namespace", workload.namespace


def _requests(claim: ClaimSpec) -> Iterator[tuple[str, str]]:
    for request in claim.requests:
        yield "request", request.name
        yield from (("alternative", one.name) for one in request.first_available)
