"""Kueue as a controller of a stack, its view of the device classes, and the objects of the stack's queues.

https://kueue.sigs.k8s.io/docs/
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from topology.kubernetes.cel import CelDevice, CelError, compile_selector
from topology.kubernetes.objects import Manifest, given
from topology.kubernetes.quantities import number
from topology.kubernetes.reading import entries, part
from topology.objects.inventory import device_pools
from topology.objects.local_webhooks import PORT
from topology.schema.devices import DeviceClass
from topology.schema.features_used import consumes_counters
from topology.schema.manifests import Document, ManifestFile
from topology.schema.programs import Controller
from topology.schema.queues import Flavor, Queue, Quota
from topology.schema.stack import Topology

GROUP = "kueue.x-k8s.io"
API_VERSION = f"{GROUP}/v1beta2"

CONFIGURATION_KEY = "controller_manager_config.yaml"
"""The key of the ConfigMap in which Kueue's manifests and its chart have its Configuration."""

NAMESPACE, SERVICE = "kueue-system", "kueue-webhook-service"

SECRET = "kueue-webhook-server-cert"
CERTIFICATE_SECRET = (NAMESPACE, SECRET)
"""The Secret in which Kueue keeps the certificate that it makes for its webhooks, as `tls.crt`, `tls.key`, `ca.crt`.

It serves the files of `{certificates}`, which are to be those of the Secret: it replaces a Secret whose CA it has not
made itself. https://github.com/open-policy-agent/cert-controller/blob/v0.16.0/pkg/rotator/rotator.go
"""

FRAMEWORKS = ("batch/job", "pod", "deployment")
"""The kinds of workloads of a stack, as Kueue names their integrations; the user's `config` can have others."""

CONVERTED = ("clusterqueues", "cohorts", "localqueues", "multikueueclusters", "workloads")
"""The kinds that Kueue converts: https://github.com/kubernetes-sigs/kueue/tree/v0.19.2/config/components/crd."""

MAPPINGS_MAX = 16
"""https://github.com/kubernetes-sigs/kueue/blob/v0.19.2/pkg/config/validation.go, validateDeviceClassMappings"""

COUNTER = "memory"
"""The counter of partitions, such as MIG devices, that stands for how much of a device they are."""


# The controller.


def controller(topology: Topology, written: Controller, built: Path) -> Controller:
    """Return Kueue as it runs beside the cluster of a stack, with the user's `config` merged into what is derived.

    `built` has the program and the `manifests` of its module: its CRDs and webhooks are created, the latter only for
    the frameworks that the configuration names. Kueue turns down an own certificate's CA for the address of a webhook,
    so they point to a Service, of type ExternalName.
    """
    config = configuration(topology, written.config)
    frameworks = part(config, "integrations", "frameworks")
    own = [Document("", manifest) for manifest in _manifests(built / "manifests", frameworks)]
    return written.model_copy(
        update={
            "binary": str(built / "kueue"),
            "args": ["--config={folder}/config.yaml"],
            "files": {"config.yaml": config},
            "manifests": [ManifestFile("Kueue", own), *written.manifests],
            "ready": "http://127.0.0.1:{port.health}/readyz",
        }
    )


def configuration(topology: Topology, config: Mapping[str, Any]) -> Manifest:
    """Return Kueue's Configuration: what is derived from the stack, in which `config` replaces single keys.

    https://kueue.sigs.k8s.io/docs/reference/kueue-config.v1beta2/
    """
    derived = {
        "apiVersion": "config.kueue.x-k8s.io/v1beta2",
        "kind": "Configuration",
        "namespace": NAMESPACE,
        "health": {"healthProbeBindAddress": "127.0.0.1:{port.health}"},
        "metrics": {"bindAddress": "127.0.0.1:{port.metrics}"},
        "webhook": {"host": "127.0.0.1", "port": PORT, "certDir": "{certificates}"},
        "leaderElection": {"leaderElect": False},
        "clientConnection": {"qps": 5000, "burst": 10000},
        "internalCertManagement": {"enable": True, "webhookServiceName": SERVICE, "webhookSecretName": SECRET},
        "integrations": {"frameworks": list(FRAMEWORKS)},
        "resources": {"deviceClassMappings": _mappings(topology)},
        # The server of this feature works in a pod only.
        "featureGates": {"VisibilityOnDemand": False},
    }
    return _merged(derived, config)


def own_configuration(topology: Topology) -> list[Manifest]:
    """Return the ConfigMap in which Kueue's manifests have its Configuration, of that of the stack's own Kueue.

    It has only the part `resources`. Where others run Kueue, it is not known.
    """
    found = _own_configuration(topology)
    if found is None or topology.cluster.existing:
        return []
    kept = {name: found.get(name) for name in ("apiVersion", "kind", "resources")}
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "kueue-manager-config", "namespace": NAMESPACE},
            "data": {CONFIGURATION_KEY: yaml.safe_dump(kept, sort_keys=False)},
        }
    ]


def _own_configuration(topology: Topology) -> Manifest | None:
    written = [entry.config for entry in topology.controllers if entry.name == "kueue"]
    return configuration(topology, written[0]) if written else None


def _merged(derived: Mapping[str, Any], config: Mapping[str, Any]) -> Manifest:
    both = {name for name in derived if isinstance(derived[name], dict) and isinstance(config.get(name), dict)}
    return {**derived, **config, **{name: _merged(derived[name], config[name]) for name in sorted(both)}}


def _manifests(folder: Path, frameworks: Any) -> Iterator[Manifest]:
    """Yield the objects that Kueue needs before it starts."""
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    yield {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": NAMESPACE}}
    yield {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVICE, "namespace": NAMESPACE},
        "spec": {"type": "ExternalName", "externalName": "localhost"},
    }
    names = {str(name).rpartition("/")[2] for name in _listed(frameworks)}
    for file in (*sorted((folder / "crd/bases").glob("*.yaml")), folder / "webhook/manifests.yaml"):
        for entry in filter(None, yaml.load_all(file.read_bytes(), Loader=yaml.CSafeLoader)):
            yield _webhooks(entry, names) if "webhooks" in entry else _definition(entry)


def _listed(value: Any) -> list[Any]:
    """Return what should be a list in the user's configuration, of which Kueue itself tells what is wrong."""
    return value if isinstance(value, list) else []


def _definition(entry: Manifest) -> Manifest:
    """Return a CRD without its descriptions, which are most of it, and with the webhook that converts it."""
    spec = _undescribed(entry["spec"])
    if spec["names"]["plural"] in CONVERTED:
        webhook = {"clientConfig": _client("/convert"), "conversionReviewVersions": ["v1"]}
        spec |= {"conversion": {"strategy": "Webhook", "webhook": webhook}}
    return {**entry, "spec": spec}


def _undescribed(value: Any) -> Any:
    if isinstance(value, dict):
        kept = (name for name in value if name != "description" or isinstance(value[name], dict))
        return {name: _undescribed(value[name]) for name in kept}
    return [_undescribed(entry) for entry in value] if isinstance(value, list) else value


def _client(path: str) -> Manifest:
    return {"service": {"name": SERVICE, "namespace": NAMESPACE, "path": path, "port": PORT}}


def _webhooks(entry: Manifest, frameworks: set[str]) -> Manifest:
    """Return the webhooks for Kueue's own objects and for the `frameworks`, under the names that Kueue expects."""
    elsewhere = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", NAMESPACE]}
    others = {"namespaceSelector": {"matchExpressions": [elsewhere]}}
    hooks = [
        hook | {"clientConfig": _client(hook["clientConfig"]["service"]["path"])} | ({} if is_own else others)
        for hook in entry["webhooks"]
        if (is_own := hook["rules"][0]["apiGroups"] == [GROUP]) or hook["name"][1:].removesuffix(".kb.io") in frameworks
    ]  # The name is `mjob.kb.io` for the framework `job`.
    return {**entry, "metadata": {"name": f"kueue-{entry['metadata']['name']}"}, "webhooks": hooks}


# The resources of quotas.


def resource(device_class: str) -> str:
    """Return the resource by which quotas count the devices of a class: `nvidia.com/gpu` for `gpu.nvidia.com`."""
    first, _, rest = device_class.partition(".")
    return f"{rest}/{first}" if rest else first


def resources(topology: Topology) -> dict[str, str]:
    """Return the resource by which Kueue counts each device class, by the name of the class."""
    config = _own_configuration(topology) or configuration(topology, {})
    return {
        str(name): str(mapping.get("name"))
        for mapping in entries(config, "resources", "deviceClassMappings")
        for name in _listed(mapping.get("deviceClassNames"))
    }


def _mappings(topology: Topology) -> list[Manifest]:
    """Return Kueue's deviceClassMappings: a resource for each class, those with a quota first, up to the limit.

    Classes of partitions of different sizes are counted by how much of `COUNTER` they are, not by their number. Kueue
    admits no pod that requests such a class as an extended resource.
    """
    parts = list(_partitions(topology))
    quotas = {name for queue in topology.queues for flavor in queue.flavors for name in flavor.quotas}
    found = [_mapping(entry, parts) for entry in topology.device_classes]
    return sorted(found, key=lambda mapping: mapping["name"] not in quotas)[:MAPPINGS_MAX]


class _Partition(NamedTuple):
    """A device, with how much it consumes of `COUNTER` and how much there is of it; None if it has no such counter."""

    device: CelDevice
    consumes: str | None
    of: str | None


def _partitions(topology: Topology) -> Iterator[_Partition]:
    """Yield the devices of one node of each pool, if the stack has devices that share counters."""
    if not any(consumes_counters(devices) for pool in topology.pools.values() for devices in pool.all_devices()):
        return
    for pool in topology.pools.values():
        for found in (entry for name in pool.pool_names()[:1] for entry in device_pools(pool, name)):
            for physical in found.physical_devices:
                for one in physical.devices:
                    consumed = _only_counter(one.consumes_counters)
                    device = CelDevice(found.driver, one.attributes, one.capacity, one.allow_multiple_allocations)
                    yield _Partition(device, consumed, _only_counter(physical.counter_sets))


def _only_counter(sets: Mapping[str, Mapping[str, str]]) -> str | None:
    return next((counters[COUNTER] for counters in sets.values() if COUNTER in counters), None)


def _mapping(device_class: DeviceClass, parts: Sequence[_Partition]) -> Manifest:
    mapping = {"name": resource(device_class.name), "deviceClassNames": [device_class.name]}
    matching = [] if device_class.extended_resource_name else [one for one in parts if _matches(device_class, one)]
    sizes = {one.consumes for one in matching}
    if None in sizes or len(sizes) < 2 or all(number(one.consumes or "0") == number(one.of or "0") for one in matching):
        return mapping
    selector = " && ".join(f"({expression})" for expression in device_class.selectors) or "true"
    cel = {"cel": {"expression": selector}}
    counter = {"name": COUNTER, "driver": matching[0].device.driver, "deviceSelector": cel}
    return {**mapping, "name": f"{mapping['name']}.{COUNTER}", "sources": [{"counter": counter}]}


def _matches(device_class: DeviceClass, one: _Partition) -> bool:
    try:
        selectors = [compile_selector(text, list_attributes=True) for text in device_class.selectors]
        return all(selector.matches(one.device) for selector in selectors)
    except CelError:
        return False


# The objects of queues.


def is_used(topology: Topology) -> bool:
    """Tell whether Kueue, which is there, may hold jobs or pods of the stack; a label alone does not bring it."""
    definitions = (part(entry, "spec", "group") for manifests in topology.manifests for entry in manifests.objects())
    runs = any(GROUP in one.api_groups for one in topology.controllers) or GROUP in definitions
    return runs or bool(topology.queues) or any(workload.queue for workload in topology.workloads)


def objects(topology: Topology) -> list[Manifest]:
    """Render the ResourceFlavors, ClusterQueues and LocalQueues of the stack, in the order of their creation."""
    return [manifest for manifest, _ in objects_by_path(topology)]


def objects_by_path(topology: Topology) -> list[tuple[Manifest, str]]:
    """Return the `objects`, each with its key in the configuration."""
    queues = [(queue, f"queues[{index}]") for index, queue in enumerate(topology.queues)]
    flavors: dict[str, tuple[Manifest, str]] = {}
    for queue, path in queues:
        for place, flavor in enumerate(queue.flavors):
            flavors.setdefault(flavor.name, (_flavor(flavor), f"{path}.flavors[{place}]"))
    return [
        *flavors.values(),
        *((_cluster_queue(queue), path) for queue, path in queues),
        *((_local_queue(queue.name, namespace), path) for queue, path in queues for namespace in queue.namespaces),
    ]


def _object(kind: str, metadata: Manifest, spec: Manifest) -> Manifest:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def _flavor(flavor: Flavor) -> Manifest:
    return _object("ResourceFlavor", {"name": flavor.name}, given(nodeLabels=flavor.node_labels))


def _local_queue(name: str, namespace: str) -> Manifest:
    return _object("LocalQueue", {"name": name, "namespace": namespace}, {"clusterQueue": name})


def _cluster_queue(queue: Queue) -> Manifest:
    groups: dict[tuple[str, ...], list[Manifest]] = {}
    for flavor in queue.flavors:
        quotas = [_quota(name, quota) for name, quota in sorted(flavor.quotas.items())]
        groups.setdefault(tuple(sorted(flavor.quotas)), []).append({"name": flavor.name, "resources": quotas})
    spec = {
        "namespaceSelector": {},
        "resourceGroups": [
            {"coveredResources": list(covered), "flavors": flavors} for covered, flavors in groups.items()
        ],
    } | given(
        cohortName=queue.cohort,
        queueingStrategy=queue.queueing_strategy,
        preemption=queue.preemption,
        flavorFungibility=queue.flavor_fungibility,
        fairSharing=queue.fair_sharing,
    )
    return _object("ClusterQueue", {"name": queue.name}, spec)


def _quota(name: str, quota: Quota) -> Manifest:
    return {"name": name, "nominalQuota": quota.nominal_quota} | given(
        borrowingLimit=quota.borrowing_limit, lendingLimit=quota.lending_limit
    )
