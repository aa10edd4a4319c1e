"""What can be known before the run: what the API server would refuse, and claims that nothing can satisfy."""

from collections import Counter
from collections.abc import Iterator, Sequence

from topology.checks.allocation import values_of
from topology.checks.manifests import manifest_problems, misshapen_manifests
from topology.checks.satisfiability import selections, unsatisfiable_claims
from topology.kubernetes import limits
from topology.kubernetes.api_versions import RESOURCE_API_GROUP, is_removed
from topology.kubernetes.feature_gates import FEATURES, gate_problems, lacking
from topology.kubernetes.quantities import number
from topology.objects import mig, nodes
from topology.objects.inventory import Device, DevicePool, device_pools, host_of, mig_profiles_on
from topology.objects.slices import SLICES_MAX, resource_slices
from topology.schema.base import Problem
from topology.schema.devices import DeviceModel
from topology.schema.features_used import apis_needed, apis_written, completed, consumes_counters, features_used
from topology.schema.placeholders import ADDRESS_PLACEHOLDERS, fill, used_in
from topology.schema.stack import Cluster, Devices, NodePool, Topology
from topology.schema.values import has_long_number, is_dns_label, is_dns_subdomain, is_label_value, suggestion

FEWEST_KUBERNETES_WITH_COUNTERS_BY_DRIVER = 37
"""Before it, the scheduler mixes up the counters of two drivers that name a pool alike, after the node.

https://github.com/kubernetes/kubernetes/pull/140435
"""

FIRST_STRICTER_KUBERNETES = 38
"""From it on, the API server limits the capacities of a request, and the digits of numbers in versions.

https://github.com/kubernetes/api/blob/v0.38.0-beta.0/resource/v1/types.go
https://github.com/kubernetes/kubernetes/blob/v1.38.0-beta.0/pkg/apis/resource/validation/validation.go
"""


def problems(topology: Topology) -> list[Problem]:
    """Return what is wrong with a topology whose parts are valid by themselves."""
    if misshapen := list(misshapen_manifests(topology)):
        return misshapen
    found = [*_versions(topology), *_capacities(topology), *_containers(topology), *manifest_problems(topology)]
    for index, pool in enumerate(topology.node_pools):
        found += _pool(pool, f"nodePools[{index}]", topology.cluster.minor)
        found += _faults(pool, f"nodePools[{index}]", topology.cluster)
        found += _bindings(pool, f"nodePools[{index}]", topology.cluster)
    return found or list(unsatisfiable_claims(topology))


# Versions.


def _versions(topology: Topology) -> Iterator[Problem]:
    cluster = topology.cluster
    features = features_used(topology)
    missing = lacking(features, cluster.minor)
    for feature, since in missing.items():
        remedy = "use a cluster with" if cluster.existing else "set kwok-dra:cluster.kubeVersion to"
        yield Problem(
            features[feature],
            f"uses {feature}, which Kubernetes {cluster.kube_version} does not have: {remedy} 1.{since} or newer",
        )
    for feature, path in features.items():
        if cluster.kube_feature_gates.get(FEATURES[feature].gate) is False:
            yield Problem(
                f"cluster.kubeFeatureGates.{FEATURES[feature].gate}",
                f"has to be on for {feature}, which {path} uses: leave the gate out, or what uses it",
            )
    there = {feature: path for feature, path in features.items() if feature not in missing}
    for gate, message in gate_problems(completed(cluster, there).kube_feature_gates, cluster.minor):
        yield Problem(f"cluster.kubeFeatureGates.{gate}", message)
    if is_removed(f"{RESOURCE_API_GROUP}/{cluster.served_resource_api}", cluster.minor) and not cluster.existing:
        yield Problem(
            "cluster.resourceApi",
            f"is {cluster.resource_api}, which Kubernetes 1.{cluster.minor} does not serve any more: set it to v1, or "
            "leave it out",
        )
    users = dict.fromkeys(apis_needed(cluster, there), "a feature that is used or turned on")
    users |= {f"resource.k8s.io/{cluster.served_resource_api}": "cluster.resourceApi"}
    users |= apis_written(topology)
    users |= {"resource.k8s.io/v1": "the scheduler"}
    for api, user in users.items():
        if cluster.kube_runtime_config.get(api) is False:
            yield Problem(
                f"cluster.kubeRuntimeConfig.{api}", f"has to be served for {user}: leave it out, or set it to true"
            )


# Claims: what newer versions check.


def _capacities(topology: Topology) -> Iterator[Problem]:
    most = limits.REQUEST_CAPACITIES_MAX
    if topology.cluster.minor < FIRST_STRICTER_KUBERNETES:
        return
    for path, selection in selections(topology):
        if len(selection.capacity) > most:
            yield Problem(
                f"{path}.capacity",
                f"has {len(selection.capacity)} entries; since Kubernetes 1.{FIRST_STRICTER_KUBERNETES} "
                f"the API allows a request {most}: leave some out",
            )


# Containers: what they use of shared claims, which say elsewhere what they ask for.


def _containers(topology: Topology) -> Iterator[Problem]:
    shared = {(claim.namespace, claim.name): [entry.name for entry in claim.requests] for claim in topology.claims}
    for index, workload in enumerate(topology.workloads):
        requests = {claim.name: shared[workload.namespace, claim.claim] for claim in workload.claims if claim.claim}
        for place, container in enumerate(workload.containers):
            for position, used in enumerate(container.claims):
                known = requests.get(used.name)
                if known and used.request and used.request not in known:
                    yield Problem(
                        f"workloads[{index}].containers[{place}].claims[{position}].request",
                        f"claim {used.name} has no request {used.request!r}{suggestion(used.request, known)} "
                        f"Name one of {', '.join(known)}",
                    )


# Pools: what their devices come to on a node.


def _pool(pool: NodePool, path: str, minor: int) -> Iterator[Problem]:
    entries = list(zip(_paths(pool, path), pool.all_devices(), strict=True))
    found = [problem for key, devices in entries for problem in _devices(devices, pool, key)]
    yield from found
    if not found:
        node = f"{pool.name}-{max(pool.nodes - 1, 0)}"
        for devices_of_driver in device_pools(pool, node):
            yield from _device_pool(devices_of_driver, path, minor)
        yield from _slices(pool, path, node, minor)
        yield from _counters_mixed_up(pool, path, minor)
        yield from _node(pool, path, node)
        yield from _tainted_too_often(pool, path)


def _faults(pool: NodePool, path: str, cluster: Cluster) -> Iterator[Problem]:
    """Yield what there is of faults without effect."""
    for index, fault in enumerate(pool.faults):
        key = f"{path}.faults[{index}]"
        if fault.not_ready and (lack := _lacking_stages(cluster)):
            yield Problem(f"{key}.notReady", f"needs {lack}: leave it out")
        if fault.attach_fails:
            yield from _attachable(pool, f"{key}.attachFails")
        for node in fault.nodes or []:
            if node >= pool.nodes:
                there = f"here there are 0 to {pool.nodes - 1}" if pool.nodes else "the pool has none"
                yield Problem(f"{key}.nodes", f"there is no node {node}: {there}")


def _tainted_too_often(pool: NodePool, path: str) -> Iterator[Problem]:
    most = limits.DEVICE_TAINTS_MAX
    if sum(fault.taint is not None for fault in pool.faults) <= most:
        return
    for node in pool.node_names():
        for device in (device for devices in device_pools(pool, node) for device in devices.devices):
            if len(device.taints) > most:
                yield Problem(
                    f"{path}.faults",
                    f"give device {device.name} of node {node} {len(device.taints)} taints; the Kubernetes API allows "
                    f"a device {most}: leave some out",
                )
                return


def _bindings(pool: NodePool, path: str, cluster: Cluster) -> Iterator[Problem]:
    for key, devices in zip(_paths(pool, path), pool.all_devices(), strict=True):
        if devices.model.binding_conditions and (lack := _lacking_stages(cluster)):
            yield Problem(key, f"has bindingConditions, which need {lack}: leave them out")


def _lacking_stages(cluster: Cluster) -> str:
    """Say what is needed for KWOK to play the program's own Stages; empty where it does.

    Those of claims would be played for all claims of a cluster, real ones included.
    """
    if cluster.existing:
        return "a cluster that the stack creates, for KWOK's Stages in it, but it is an existing one"
    return "" if cluster.runtime == "binary" else f"cluster.runtime: binary, but it is {cluster.runtime}"


def _attachable(pool: NodePool, path: str) -> Iterator[Problem]:
    models = [devices.model for devices in pool.all_devices()]
    most = limits.BINDING_FAILURE_CONDITIONS_MAX
    if not any(model.binding_conditions for model in models):
        yield Problem(path, "is about devices with bindingConditions, which the pool has none of: leave it out")
    elif any(len(model.binding_failure_conditions) == most for model in models):
        yield Problem(
            path,
            f"adds a condition to bindingFailureConditions, of which the Kubernetes API allows {most}: leave one out",
        )


def _paths(pool: NodePool, path: str) -> list[str]:
    return ([path] if pool.gpu else []) + [f"{path}.devices[{index}]" for index in range(len(pool.devices))]


def _devices(devices: Devices, pool: NodePool, path: str) -> Iterator[Problem]:
    model_key = f"{path}.model" if ".devices[" in path else f"{path}.gpu"
    if devices.mig:
        yield from _mig(devices, f"{path}.mig")
    needed = _placeholders(devices.merged) & ADDRESS_PLACEHOLDERS
    if needed and not devices.model.slot:
        yield Problem(
            model_key, f"uses {_braced(needed)} and so has to say in which slot it is: slot: gpu or slot: nic"
        )
    elif needed and not host_of(pool):
        yield Problem(
            model_key,
            f"uses {_braced(needed)}, but nothing says what host its nodes are: set "
            f"kwok-dra:{path.partition('.')[0]}.host",
        )
    elif (host := host_of(pool)) and devices.model.slot and not host.addresses[devices.model.slot]:
        slot = devices.model.slot
        yield Problem(model_key, f"is in slot {slot}, but no slot of the host has a {slot}: give its slots addresses")


def _placeholders(model: DeviceModel) -> set[str]:
    attributes = [model.attributes, *(partition.attributes for partition in model.partitions)]
    texts: list[str | None] = [text for some in attributes for attribute in some.values() for text in attribute.texts]
    texts += [model.device_name, model.counter_set, *(partition.device_name for partition in model.partitions)]
    return {name for text in texts for name in used_in(text or "")}


def _braced(names: set[str]) -> str:
    return " and ".join(f"{{{name}}}" for name in sorted(names))


def _mig(devices: Devices, path: str) -> Iterator[Problem]:
    if not devices.model.mig:
        yield Problem(path, "is not possible: this model has no MIG profiles; leave it out, or use another model")
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
                    f"{path}[{place}].gpus", f"there is no GPU {gpu}: here a node has GPUs 0 to {devices.count - 1}"
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
                path, f"{asked} need more {', '.join(short)} than GPU {index} has: ask it for fewer or smaller ones"
            )
        elif mig.placed(wanted) is None:
            yield Problem(path, f"{asked} have no place on GPU {index} all together: ask it for fewer or smaller ones")


def _device_pool(pool: DevicePool, path: str, minor: int) -> Iterator[Problem]:
    counter_sets = [name for physical in pool.physical_devices for name in physical.counter_sets]
    yield from _names([device.name for device in pool.devices], "deviceName", f"devices of {pool.driver}", path)
    yield from _names(counter_sets, "counterSet", f"counter sets of {pool.driver}", path)
    told: set[str] = set()
    for device in pool.devices:
        for message in (*_device(device, pool.driver), *_long_numbers(device, minor)):
            if message not in told:
                told.add(message)
                yield Problem(path, f"device {device.name}: {message}")
    for physical in pool.physical_devices:
        advanced = any(device.is_advanced for device in physical.devices)
        most = limits.SLICE_ADVANCED_DEVICES_MAX if advanced else limits.SLICE_DEVICES_MAX
        if len(physical.devices) > most:
            yield Problem(
                path,
                f"has {len(physical.devices)} partitions of one device; the Kubernetes API allows a ResourceSlice "
                f"{most} devices{' with counters, taints or lists' if advanced else ''}: leave some out",
            )
            return


def _names(names: Sequence[str], key: str, what: str, path: str) -> Iterator[Problem]:
    """Yield the names, filled in, that are no DNS labels or are there twice; of many like that, the first."""
    wrong = [name for name in names if not is_dns_label(name)]
    if wrong:
        yield Problem(
            path,
            f"{key} gives {wrong[0]!r}, which is not a DNS label: use at most {limits.DNS_LABEL_MAX} lower-case "
            "letters, digits and '-', beginning and ending with a letter or digit",
        )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        yield Problem(
            path,
            f"{key} gives several {what} on a node the name {twice[0]!r}: use {{index}} in it, or other names for "
            "each model",
        )


def _device(device: Device, driver: str) -> Iterator[str]:
    size = len(device.attributes) + len(device.capacity)
    if size > limits.DEVICE_ATTRIBUTES_AND_CAPACITIES_MAX:
        yield (
            f"has {size} attributes and capacities; the Kubernetes API allows a device "
            f"{limits.DEVICE_ATTRIBUTES_AND_CAPACITIES_MAX} together"
        )
    for kind, entries in (("attributes", device.attributes), ("capacity", device.capacity)):
        for name in entries:
            if f"{driver}/{name}" in entries:
                yield f"{kind}.{name} and {kind}.{driver}/{name} are one name to the scheduler: leave one out"
    values = sum(len(values_of(attribute)) for attribute in device.attributes.values())
    if values > limits.DEVICE_ATTRIBUTE_VALUES_MAX:
        yield (
            f"has {values} values of attributes; the Kubernetes API allows a device "
            f"{limits.DEVICE_ATTRIBUTE_VALUES_MAX}, those in lists included: leave some out"
        )
    for name, attribute in device.attributes.items():
        length = max(len(str(value).encode()) for _, value in values_of(attribute))
        if length > limits.DEVICE_ATTRIBUTE_VALUE_MAX:
            most = limits.DEVICE_ATTRIBUTE_VALUE_MAX
            yield f"attributes.{name} has {length} bytes; the Kubernetes API allows a string {most}"


def _long_numbers(device: Device, minor: int) -> Iterator[str]:
    if minor < FIRST_STRICTER_KUBERNETES:
        return
    most = limits.VERSION_DIGITS_MAX
    for name, attribute in device.attributes.items():
        versions = sorted(str(value) for kind, value in values_of(attribute) if kind == "version")
        for version in filter(has_long_number, versions):
            yield (
                f"attributes.{name} has the version {version}; since Kubernetes "
                f"1.{FIRST_STRICTER_KUBERNETES} the API allows a number in it {most} digits: make it shorter"
            )


def _slices(pool: NodePool, path: str, node: str, minor: int) -> Iterator[Problem]:
    names = [entry["metadata"]["name"] for entry in resource_slices(pool, node, minor)]
    wrong = [name for name in names if not is_dns_subdomain(name)]
    if wrong:
        yield Problem(
            path,
            f"sliceName gives {wrong[0]!r}, which is not a DNS subdomain: use at most {limits.DNS_SUBDOMAIN_MAX} "
            "lower-case letters, digits, '-' and '.'",
        )
    if len(names) > SLICES_MAX:
        yield Problem(path, f"has {len(names)} ResourceSlices on a node; {SLICES_MAX} is the most: use fewer devices")
    drivers: dict[str, str] = {}
    for devices in device_pools(pool, node):
        # Suffixes differ, but five characters only nearly always.
        name = fill(devices.slice_name, {"node": node, "driver": devices.driver})
        if other := drivers.get(name):
            yield Problem(
                path,
                f"sliceName gives slices of {other} and of {devices.driver} the same names: use {{driver}} in it",
            )
        drivers[name] = devices.driver


def _counters_mixed_up(pool: NodePool, path: str, minor: int) -> Iterator[Problem]:
    drivers = sorted({devices.model.driver for devices in pool.all_devices() if consumes_counters(devices)})
    if len(drivers) > 1 and minor < FEWEST_KUBERNETES_WITH_COUNTERS_BY_DRIVER:
        yield Problem(
            path,
            f"has partitionable devices of {' and '.join(drivers)} on one node, whose counters the scheduler mixes up "
            f"before Kubernetes 1.{FEWEST_KUBERNETES_WITH_COUNTERS_BY_DRIVER}: set kwok-dra:cluster.kubeVersion to "
            "that or newer, or put them on different nodes",
        )


def _node(pool: NodePool, path: str, name: str) -> Iterator[Problem]:
    gate = FEATURES["node allocatable resources"].gate
    maps = any(devices.model.node_allocatable_resources for devices in pool.all_devices())
    if maps and gate not in nodes.declared_features(pool):
        yield Problem(
            f"{path}.declaredFeatures",
            f"has to have {gate}, without which the API server refuses devices with nodeAllocatableResources: add it, "
            "or leave declaredFeatures out",
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
            yield Problem(path, f"gives its nodes {amount} of {resource}, which comes in whole numbers only")
        elif number(amount) > limits.RESOURCE_COUNT_MAX:
            yield Problem(
                path,
                f"gives its nodes {amount} of {resource}, of which Kubernetes can count {limits.RESOURCE_COUNT_MAX}",
            )
    taints = Counter((taint["key"], taint["effect"]) for taint in node["spec"].get("taints", []))
    for (key, effect), count in taints.items():
        if count > 1:
            yield Problem(f"{path}.taints", f"has {count} taints {key} with effect {effect}: a node can have only one")
