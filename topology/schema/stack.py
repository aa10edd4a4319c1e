"""The configuration of a stack as typed models: every key, every default, every rule.

The models check each part alone; `topology.checks.validation.load` also checks that the parts fit together, and
reports every problem in a readable message.
"""

import re
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    GetPydanticSchema,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from topology.kubernetes import limits
from topology.kubernetes.api_versions import RESOURCE_API_VERSIONS
from topology.kubernetes.objects import DEFAULT_SCHEDULER
from topology.schema.base import Model, WrittenModel
from topology.schema.claims import SharedClaim
from topology.schema.devices import Attributes, DeviceClass, DeviceModel, NamedDeviceModel
from topology.schema.faults import DeviceTaintRule, Fault
from topology.schema.hosts import NamedHost, Taint
from topology.schema.manifests import Manifests
from topology.schema.priorities import PriorityClass
from topology.schema.programs import Controller, Scheduler
from topology.schema.queues import Queue
from topology.schema.reach import DeviceReach, Reach
from topology.schema.values import (
    EACH_ONCE,
    ApiName,
    DnsLabel,
    FeatureGate,
    LabelKey,
    LabelValue,
    Quantity,
    ResourceName,
    problem,
    shown,
)
from topology.schema.workloads import Provisioning, Workload

DEFAULT_KUBERNETES_VERSION = "1.37.2"


def _kubernetes_version(value: str) -> str:
    release = re.fullmatch(r"1\.([0-9]+)\.[0-9]+", value)
    if not release or not limits.KUBERNETES_MINOR_MIN <= int(release[1]) <= limits.KUBERNETES_MINOR_MAX:
        raise problem(
            f"{value!r} is not a supported Kubernetes version: use a release from 1.{limits.KUBERNETES_MINOR_MIN} to "
            f"1.{limits.KUBERNETES_MINOR_MAX} with its patch number, such as {DEFAULT_KUBERNETES_VERSION}"
        )
    return value


class Existing(Model):
    """An existing cluster in which KWOK runs: a `context` of the file `kubeconfig`.

    The program uses it only with `allow: true`.
    """

    kubeconfig: Annotated[str, Field(min_length=1)]
    context: Annotated[str, Field(min_length=1)]
    allow: bool = False


class Reached(Existing):
    """An existing cluster that has answered: the kubeconfig of its context alone, and the UID of the cluster."""

    content: dict[str, Any]
    uid: str


class Cluster(Model):
    """The cluster that kwokctl creates, or an `existing` one, for which `name` is the name of the stack's fleet.

    Keys that kwokctl also has are named as in its KwokctlConfiguration.
    """

    name: DnsLabel
    existing: Existing | None = None
    runtime: Literal["binary", "docker", "podman", "nerdctl", "kind"] = "binary"
    tuning: Literal["fleet", "stock"] = "fleet"
    kube_version: Annotated[str, AfterValidator(_kubernetes_version)] = DEFAULT_KUBERNETES_VERSION
    kube_feature_gates: dict[FeatureGate, bool] = {}
    kube_runtime_config: dict[ApiName, bool] = {}
    resource_api: Literal["auto", "v1", "v1beta2", "v1beta1"] = "auto"
    kube_apiserver_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    ready_timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = 300

    @property
    def minor(self) -> int:
        """The `37` of Kubernetes 1.37.2."""
        return self.release[0]

    @property
    def release(self) -> tuple[int, int]:
        """The `(37, 2)` of Kubernetes 1.37.2."""
        _, minor, patch = self.kube_version.split(".")
        return int(minor), int(patch)

    @property
    def served_resource_api(self) -> str:
        """The version of resource.k8s.io to use: `auto` is the newest, which every supported release serves."""
        return RESOURCE_API_VERSIONS[0] if self.resource_api == "auto" else self.resource_api

    @model_validator(mode="after")
    def _created_or_existing(self) -> Self:
        only_created = [
            "runtime",
            "tuning",
            "kube_version",
            "kube_feature_gates",
            "kube_runtime_config",
            "kube_apiserver_port",
        ]
        if self.existing and (extra := [key for key in only_created if key in self.model_fields_set]):
            keys = ", ".join(map(to_camel, extra))
            raise problem(f"has {keys} beside existing, but cannot configure an existing cluster: remove {keys}")
        return self


class MigDevices(Model):
    """Static MIG devices: how many of each profile, on each of the `gpus` (default: all)."""

    gpus: list[Annotated[int, Field(ge=0)]] | None = None
    profiles: Annotated[dict[str, Annotated[int, Field(ge=1, le=limits.MIG_MEMORY_SLICES)]], Field(min_length=1)]


def _mig_mode(value: object, as_list: ValidatorFunctionWrapHandler) -> object:
    if value == "dynamic":
        return value
    if not isinstance(value, list):
        raise problem(f"must be dynamic or a list such as [{{profiles: {{1g.10gb: 7}}}}], but is {shown(value)}")
    return as_list(value)


# Pydantic sees only the list: for a union it would report an error for each type.
Mig = Annotated[
    Literal["dynamic"] | list[MigDevices],
    GetPydanticSchema(lambda _, handler: handler.generate_schema(list[MigDevices])),
    WrapValidator(_mig_mode),
]


class Devices(Model):
    """`count` devices of one model on each node.

    `attributes` override the model's, such as `driverVersion`. `mig` is for GPUs in MIG mode: `dynamic` offers every
    profile at every placement, as the driver does with its feature gate DynamicMIG; a list creates static MIG devices.
    """

    model: NamedDeviceModel
    count: Annotated[int, Field(ge=1, le=limits.NODE_DEVICES_MAX)] = 1
    mig: Mig | None = None
    attributes: Attributes = {}

    @property
    def selection(self) -> dict[str, Any]:
        """The fields of each device that say which nodes can use it; empty if those of its ResourceSlice do."""
        return {}

    @cached_property
    def merged(self) -> DeviceModel:
        """The model with `attributes` applied."""
        return self.model.model_copy(update={"attributes": self.model.attributes | self.attributes})


class Pool(WrittenModel):
    """Devices that drivers publish together: in ResourceSlices, those of a driver as one pool of resource.k8s.io.

    `host` defines where they are on PCIe.
    """

    name: DnsLabel
    host: NamedHost | None = None
    faults: list[Fault] = []

    def all_devices(self) -> list[Devices]:
        """Return the devices, in order."""
        raise NotImplementedError

    def pool_names(self) -> list[str]:
        """Return the names of the pools of resource.k8s.io that each driver has: one for each node, or one."""
        raise NotImplementedError

    def reach(self, name: str) -> dict[str, Any]:
        """Return the fields of the ResourceSlices of such a pool that say which nodes can use the devices."""
        raise NotImplementedError

    def faults_on(self, name: str) -> list[Fault]:
        """Return the faults of such a pool, or of its node."""
        raise NotImplementedError

    @property
    def drivers(self) -> list[str]:
        """The drivers of the pool's devices, in order."""
        return list(dict.fromkeys(devices.model.driver for devices in self.all_devices()))


class NodePool(Pool):
    """`nodes` fake nodes named `<name>-0` and up, each with the same devices.

    `gpu`, `gpus_per_node`, `mig` and `attributes` are a shorthand for the first entry of `devices`. `capacity` and
    `labels` of the nodes override those of models and host; `taints` replace theirs. `declared_features` are those of
    the kubelets, by default what the devices need. `nodes_per_clique` is the number of nodes that share an NVLink
    clique. `faults` are the faults of nodes and devices. `provisioning` defines what each resource of the stack
    represents: one of the `objects`, or, with `bulk`, a batch of nodes.
    """

    nodes: Annotated[int, Field(ge=0, le=limits.CLUSTER_NODES_MAX)] = 1
    gpu: NamedDeviceModel | None = None
    gpus_per_node: Annotated[int, Field(ge=1, le=limits.NODE_DEVICES_MAX)] = 1
    mig: Mig | None = None
    attributes: Attributes = {}
    devices: list[Devices] = []
    nodes_per_clique: Annotated[int, Field(ge=1)] | None = None
    labels: dict[LabelKey, LabelValue] = {}
    capacity: dict[ResourceName, Quantity] = {}
    taints: list[Taint] | None = None
    declared_features: Annotated[list[FeatureGate], EACH_ONCE] | None = None
    provisioning: Provisioning = "objects"

    def node_names(self, first: int = 0) -> list[str]:
        """Return the names of the pool's nodes from index `first` on, in order, without those that are gone."""
        return [name for name in self._all_names()[first:] if not self._is_gone(name)]

    def gone_nodes(self) -> list[str]:
        """Return the names of the nodes that a fault makes gone."""
        return [name for name in self._all_names() if self._is_gone(name)]

    def not_ready_nodes(self) -> list[str]:
        """Return the names of the nodes that a fault makes NotReady."""
        return [name for name in self.node_names() if self.is_not_ready(name)]

    def is_not_ready(self, node: str) -> bool:
        """Tell whether a fault makes a node, given by its name, NotReady."""
        return any(fault.not_ready for fault in self.faults_on(node))

    def _all_names(self) -> list[str]:
        return [f"{self.name}-{index}" for index in range(self.nodes)]

    def _is_gone(self, name: str) -> bool:
        return any(fault.gone and fault.is_of_nodes for fault in self.faults_on(name))

    def pool_names(self) -> list[str]:
        """Return the names of the nodes: drivers name their pools after these."""
        return self.node_names()

    def faults_on(self, name: str) -> list[Fault]:
        """Return the faults of a node, given by its name, and of its devices."""
        index = name.removeprefix(f"{self.name}-")
        return [fault for fault in self.faults if index.isdecimal() and fault.is_on(int(index))]

    def reach(self, name: str) -> dict[str, Any]:
        """Return the fields of the ResourceSlices of a node, by which it alone can use the devices."""
        return {"nodeName": name}

    def all_devices(self) -> list[Devices]:
        """Return the devices of each node, in order."""
        return [*self._gpus, *self.devices]

    @cached_property
    def _gpus(self) -> list[Devices]:
        """The first entry of the devices, if the pool uses the shorthand."""
        if self.gpu is None:
            return []
        return [
            Devices.model_construct(model=self.gpu, count=self.gpus_per_node, mig=self.mig, attributes=self.attributes)
        ]

    @model_validator(mode="after")
    def _shorthand_is_whole(self) -> Self:
        if self.gpu is None and (extra := {"gpus_per_node", "mig", "attributes"} & self.model_fields_set):
            keys = ", ".join(sorted(to_camel(key) for key in extra))
            of_devices = keys.replace("gpusPerNode", "count")
            raise problem(f"has {keys} without gpu: set gpu, or set {of_devices} in the entries of devices instead")
        return self

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        longest = f"{self.name}-{max(self.nodes - 1, 0)}"
        if len(longest) > limits.DNS_LABEL_MAX:
            raise problem(
                f"the node name {longest!r} is longer than {limits.DNS_LABEL_MAX} characters, the limit of the label "
                "kubernetes.io/hostname: shorten the pool's name"
            )
        return self


class FabricDevices(DeviceReach, Devices):
    """`count` devices of one model in a fabric pool, and the nodes that can use them if the pool does not say so."""


class FabricPool(Pool, Reach):
    """Devices of no single node, such as GPUs of a fabric, which several nodes can use: a pool of resource.k8s.io.

    `faults` are the faults of its devices.
    """

    devices: Annotated[list[FabricDevices], Field(min_length=1)]

    def all_devices(self) -> list[Devices]:
        """Return the devices, in order."""
        return [*self.devices]

    def pool_names(self) -> list[str]:
        """Return the pool's name."""
        return [self.name]

    def reach(self, name: str) -> dict[str, Any]:
        """Return the fields of the pool's ResourceSlices that say which nodes can use the devices."""
        return self.selection or {"perDeviceNodeSelection": True}

    def faults_on(self, name: str) -> list[Fault]:
        """Return the faults of the pool's devices."""
        return self.faults

    @model_validator(mode="after")
    def _has_nodes(self) -> Self:
        said = [bool(devices.selection) for devices in self.devices]
        if not self.selection and not all(said):
            raise problem(
                "does not say which nodes can use its devices: set nodeSelector, such as nodeSelector: "
                "{example.com/fabric: a}, or allNodes: true; or set nodeSelector, allNodes or nodeName in each entry "
                "of devices"
            )
        if self.selection and any(said):
            raise problem(
                f"has {next(iter(self.selection))}, which applies to all of its devices: remove it, or remove "
                "nodeSelector, allNodes and nodeName from the entries of devices"
            )
        return self


class Topology(Model):
    """A whole stack: one cluster with its programs, device classes, pools, queues, shared claims, workloads, manifests.

    `catalogue` names YAML files in the project's folder with further hosts, models and drivers. `device_classes`
    override those that the charts of the pools' drivers ship; `validation.load` adds the latter.
    """

    cluster: Cluster
    catalogue: list[str] = []
    device_classes: list[DeviceClass] = []
    node_pools: list[NodePool] = []
    fabric_pools: list[FabricPool] = []
    device_taint_rules: list[DeviceTaintRule] = []
    schedulers: list[Scheduler] = []
    controllers: list[Controller] = []
    queues: list[Queue] = []
    priority_classes: list[PriorityClass] = []
    claims: list[SharedClaim] = []
    workloads: list[Workload] = []
    manifests: list[Manifests] = []

    @property
    def pools(self) -> dict[str, Pool]:
        """All pools, each by its key, such as `nodePools[0]`."""
        nodes = {f"nodePools[{index}]": pool for index, pool in enumerate(self.node_pools)}
        return nodes | {f"fabricPools[{index}]": pool for index, pool in enumerate(self.fabric_pools)}

    @property
    def programs(self) -> dict[str, Scheduler | Controller]:
        """The schedulers and controllers, by their path in the configuration."""
        schedulers = {f"schedulers[{index}]": program for index, program in enumerate(self.schedulers)}
        return schedulers | {f"controllers[{index}]": program for index, program in enumerate(self.controllers)}

    @property
    def scheduler_names(self) -> dict[str, Scheduler | None]:
        """The scheduler of each name that pods can have; None for the cluster's own kube-scheduler as it is."""
        own: dict[str, Scheduler | None] = {DEFAULT_SCHEDULER: None}
        if any(scheduler.name == DEFAULT_SCHEDULER for scheduler in self.schedulers):
            own = {}
        return own | {name: scheduler for scheduler in self.schedulers for name in scheduler.served}

    def filters_as_stock(self, scheduler: str | None) -> bool:
        """Tell whether the scheduler of that name finds the same nodes fit as kube-scheduler with its defaults."""
        name = scheduler or DEFAULT_SCHEDULER
        found = self.scheduler_names.get(name)
        return found.filters_as_stock if found else name in self.scheduler_names

    @property
    def is_left_alone(self) -> bool:
        """Whether nothing changes the cluster but the stack, the components of Kubernetes and KWOK, and Kueue."""
        return not self.cluster.existing and not any(program.binary for program in self.programs.values())

    @property
    def applied(self) -> list[Workload | Manifests]:
        """What can create pods: the outputs show the entries of `manifests` as workloads."""
        return [*self.workloads, *self.manifests]
