"""Pools: their device models, the MIG devices of their GPUs, and their nodes."""

from collections import Counter
from collections.abc import Iterator

from topology.checks.faults import fault_problems, missing_for_stages, numbered, too_many_taints
from topology.checks.published_devices import published_device_problems
from topology.kubernetes import limits
from topology.kubernetes.feature_gates import FEATURES
from topology.kubernetes.quantities import number
from topology.objects import mig, nodes
from topology.objects.inventory import host_of, mig_profiles_on
from topology.schema.base import Problem
from topology.schema.devices import DeviceModel
from topology.schema.placeholders import ADDRESS_PLACEHOLDERS, used_in
from topology.schema.stack import Cluster, Devices, NodePool, Pool
from topology.schema.values import is_label_value, suggestion


def pool_problems(pool: Pool, path: str, cluster: Cluster) -> Iterator[Problem]:
    """Yield what is wrong with the pool at `path`: its devices, what is published of them, its nodes and faults."""
    entries = list(zip(_paths(pool, path), pool.all_devices(), strict=True))
    found = [problem for key, devices in entries for problem in _devices(devices, pool, key)]
    yield from found
    if not found:
        last = f"{pool.name}-{max(pool.nodes - 1, 0)}" if isinstance(pool, NodePool) else pool.name
        yield from published_device_problems(pool, path, last, cluster.minor)
        if isinstance(pool, NodePool):
            yield from _node(pool, path, last)
        yield from too_many_taints(pool, path)
    for key, devices in entries:
        if devices.model.binding_conditions and (lack := missing_for_stages(cluster)):
            yield Problem(key, f"has bindingConditions, which need {lack} them")
    yield from fault_problems(pool, path, cluster)


def _paths(pool: Pool, path: str) -> list[str]:
    shorthand = [path] if isinstance(pool, NodePool) and pool.gpu else []
    further = len(pool.all_devices()) - len(shorthand)
    return shorthand + [f"{path}.devices[{index}]" for index in range(further)]


def _devices(devices: Devices, pool: Pool, path: str) -> Iterator[Problem]:
    model_key = f"{path}.model" if ".devices[" in path else f"{path}.gpu"
    if devices.mig:
        yield from _mig(devices, f"{path}.mig")
    needed = _placeholders(devices.merged) & ADDRESS_PLACEHOLDERS
    braced = " and ".join(f"{{{name}}}" for name in sorted(needed))
    slot, host = devices.model.slot, host_of(pool)
    if needed and not slot:
        yield Problem(model_key, f"uses {braced}, which depends on its slot: set slot: gpu or slot: nic")
    elif needed and not host:
        yield Problem(
            model_key,
            f"uses {braced}, but the pool has no host: set kwok-dra:{path.partition('.')[0]}.host",
        )
    elif host and slot and not host.addresses[slot]:
        yield Problem(
            model_key,
            f"has slot: {slot}, but no slot of the host has a {slot}: give the slots addresses, or use another host",
        )


def _placeholders(model: DeviceModel) -> set[str]:
    attributes = [model.attributes, *(partition.attributes for partition in model.partitions)]
    texts: list[str | None] = [text for some in attributes for attribute in some.values() for text in attribute.texts]
    texts += [model.device_name, model.counter_set, *(partition.device_name for partition in model.partitions)]
    return {name for text in texts for name in used_in(text or "")}


def _mig(devices: Devices, path: str) -> Iterator[Problem]:
    if not devices.model.mig:
        yield Problem(path, "is not possible: this model has no MIG profiles; remove it, or use another model")
        return
    known = [profile.name for profile in devices.model.mig]
    unknown = False
    for place, cut in enumerate(devices.mig if isinstance(devices.mig, list) else []):
        for name in cut.profiles:
            if name not in known:
                unknown = True
                yield Problem(
                    f"{path}[{place}].profiles.{name}",
                    f"this model has no such MIG profile{suggestion(name, known)} Use one of {', '.join(known)}",
                )
        for gpu in cut.gpus or []:
            if gpu >= devices.count:
                yield Problem(
                    f"{path}[{place}].gpus", f"there is no GPU {gpu}: a node has {numbered('GPU', devices.count)}"
                )
    if not unknown:
        yield from _mig_geometry(devices, path)


def _mig_geometry(devices: Devices, path: str) -> Iterator[Problem]:
    whole = mig.whole_capacity(devices.model.mig)
    told: set[tuple[str, ...]] = set()
    for index in range(devices.count):
        wanted = mig_profiles_on(devices, index)
        names = tuple(sorted(profile.name for profile in wanted))
        if names in told:
            continue
        told.add(names)
        asked = " + ".join(f"{count} x {name}" for name, count in Counter(names).items())
        if short := mig.overcommitted(wanted, whole):
            yield Problem(
                path, f"{asked} need more {', '.join(short)} than GPU {index} has: use fewer or smaller profiles"
            )
        elif mig.placed(wanted) is None:
            yield Problem(path, f"{asked} do not fit on GPU {index} together: use fewer or smaller profiles")


def _node(pool: NodePool, path: str, name: str) -> Iterator[Problem]:
    gate = FEATURES["node allocatable resources"].gate
    maps = any(devices.model.node_allocatable_resources for devices in pool.all_devices())
    if maps and gate not in nodes.declared_features(pool):
        yield Problem(
            f"{path}.declaredFeatures",
            f"must include {gate}: without it, the API server refuses devices with nodeAllocatableResources. Add it, "
            "or remove declaredFeatures",
        )
    node = nodes.node(pool, name)
    for key, value in node["metadata"]["labels"].items():
        if not is_label_value(value):
            yield Problem(
                path,
                f"gives its nodes the label {key} with the value {value!r}: use at most {limits.DNS_LABEL_MAX} "
                "letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
            )
    for resource, amount in node["status"]["capacity"].items():
        if not (resource == "pods" or "/" in resource):
            continue
        if number(amount) % 1:
            yield Problem(path, f"gives its nodes {amount} of {resource}, which must be a whole number")
        elif number(amount) > limits.RESOURCE_COUNT_MAX:
            most = limits.RESOURCE_COUNT_MAX
            yield Problem(path, f"gives its nodes {amount} of {resource}; Kubernetes counts up to {most}: give fewer")
    taints = Counter((taint["key"], taint["effect"]) for taint in node["spec"].get("taints", []))
    for (key, effect), count in taints.items():
        if count > 1:
            yield Problem(
                f"{path}.taints", f"has {count} taints {key} with effect {effect}; a node can have only one: keep one"
            )
