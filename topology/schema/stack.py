"""The configuration of a stack as typed models: every key, every default, every rule.

The models check each part by itself; `topology.checks.validation.load` checks in addition that the parts fit together,
and turns every problem into one readable message.
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
from topology.schema.base import Model, WrittenModel
from topology.schema.claims import SharedClaim
from topology.schema.devices import Attributes, DeviceClass, DeviceModel, NamedDeviceModel
from topology.schema.faults import DeviceTaintRule, Fault
from topology.schema.hosts import NamedHost, Taint
from topology.schema.manifests import Manifests
from topology.schema.values import ApiName, DnsLabel, FeatureGate, LabelKey, LabelValue, Quantity, ResourceName, problem
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
    """A cluster that is there already, in which KWOK runs: a `context` of a `kubeconfig`, a file.

    It is used only if the configuration says so: `allow`.
    """

    kubeconfig: Annotated[str, Field(min_length=1)]
    context: Annotated[str, Field(min_length=1)]
    allow: bool = False


class Reached(Existing):
    """The same, once it has answered: a kubeconfig of the context alone, and the UID by which the cluster is known."""

    content: dict[str, Any]
    uid: str


class Cluster(Model):
    """The cluster that kwokctl creates, or an `existing` one, in which `name` is that of the stack's fleet.

    Keys that kwokctl has too are named as in its KwokctlConfiguration.
    """

    name: DnsLabel
    existing: Existing | None = None
    runtime: Literal["binary", "docker", "podman", "nerdctl", "kind"] = "binary"
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
        """The version of resource.k8s.io to use: `auto` is the newest, which every supported Kubernetes serves."""
        return RESOURCE_API_VERSIONS[0] if self.resource_api == "auto" else self.resource_api

    @model_validator(mode="after")
    def _made_or_existing(self) -> Self:
        made_of = ["runtime", "kube_version", "kube_feature_gates", "kube_runtime_config", "kube_apiserver_port"]
        if self.existing and (extra := [key for key in made_of if key in self.model_fields_set]):
            keys = ", ".join(map(to_camel, extra))
            raise problem(
                f"has {keys} beside existing, but a cluster that is there already is what it is: leave it out"
            )
        return self


class MigDevices(Model):
    """How GPUs are cut once and for all: so many MIG devices of each profile, on each of the `gpus` (default: all)."""

    gpus: list[Annotated[int, Field(ge=0)]] | None = None
    profiles: Annotated[dict[str, Annotated[int, Field(ge=1, le=limits.MIG_MEMORY_SLICES)]], Field(min_length=1)]


def _mig_mode(value: object, as_list: ValidatorFunctionWrapHandler) -> object:
    if value == "dynamic":
        return value
    if not isinstance(value, list):
        raise problem(f"has to be dynamic or a list such as [{{profiles: {{1g.10gb: 7}}}}], but is {value!r}")
    return as_list(value)


# To pydantic only the list: of a union it would tell what is wrong for each of its types.
Mig = Annotated[
    Literal["dynamic"] | list[MigDevices],
    GetPydanticSchema(lambda _, handler: handler.generate_schema(list[MigDevices])),
    WrapValidator(_mig_mode),
]


class Devices(Model):
    """`count` devices of one model on each node.

    `attributes` go over the model's, such as another `driverVersion`. `mig` is for GPUs in MIG mode: `dynamic` offers
    every profile at every placement, as the driver does with its feature gate DynamicMIG; a list cuts them beforehand.
    """

    model: NamedDeviceModel
    count: Annotated[int, Field(ge=1, le=limits.NODE_DEVICES_MAX)] = 1
    mig: Mig | None = None
    attributes: Attributes = {}

    @cached_property
    def merged(self) -> DeviceModel:
        """The model with the attributes given here."""
        return self.model.model_copy(update={"attributes": self.model.attributes | self.attributes})


def _each_once(values: list[str]) -> list[str]:
    if twice := [value for value in values if values.count(value) > 1]:
        raise problem(f"has {twice[0]} twice: name each once")
    return values


class NodePool(WrittenModel):
    """`nodes` fake nodes named `<name>-0` and up, each with the same devices.

    `gpu`, `gpus_per_node`, `mig` and `attributes` are short for the first entry of `devices`. `host` says where devices
    are on PCIe. `capacity`, `labels` and `taints` are a node's: the first two go over what models and host have, taints
    stand for theirs. `declared_features` are those of the nodes' kubelets, if not what the devices need. With
    `nodes_per_clique`, so many nodes share an NVLink clique. `faults` are what is wrong with nodes and devices.
    `provisioning` says what a resource of the stack is: each of the `objects`, or, in `bulk`, a batch of nodes.
    """

    name: DnsLabel
    nodes: Annotated[int, Field(ge=0, le=limits.CLUSTER_NODES_MAX)] = 1
    gpu: NamedDeviceModel | None = None
    gpus_per_node: Annotated[int, Field(ge=1, le=limits.NODE_DEVICES_MAX)] = 1
    mig: Mig | None = None
    attributes: Attributes = {}
    devices: list[Devices] = []
    host: NamedHost | None = None
    nodes_per_clique: Annotated[int, Field(ge=1)] | None = None
    labels: dict[LabelKey, LabelValue] = {}
    capacity: dict[ResourceName, Quantity] = {}
    taints: list[Taint] | None = None
    declared_features: Annotated[list[FeatureGate], AfterValidator(_each_once)] | None = None
    faults: list[Fault] = []
    provisioning: Provisioning = "objects"

    def node_names(self, first: int = 0) -> list[str]:
        """Return the names of the pool's nodes from the `first` on, in order, without those that are gone."""
        return [name for name in self._all_names()[first:] if not self._is_gone(name)]

    def gone_nodes(self) -> list[str]:
        """Return the names of the nodes that are not there, as a fault says."""
        return [name for name in self._all_names() if self._is_gone(name)]

    def not_ready_nodes(self) -> list[str]:
        """Return the names of the nodes that are not ready, as a fault says."""
        return [name for name in self.node_names() if self.is_not_ready(name)]

    def is_not_ready(self, node: str) -> bool:
        """Tell whether a node, given by its name, is not ready."""
        return any(fault.not_ready for fault in self.faults_on(node))

    def _all_names(self) -> list[str]:
        return [f"{self.name}-{index}" for index in range(self.nodes)]

    def _is_gone(self, name: str) -> bool:
        return any(fault.gone and fault.devices is None for fault in self.faults_on(name))

    def faults_on(self, node: str) -> list[Fault]:
        """Return the faults of a node, given by its name, and of its devices."""
        index = node.removeprefix(f"{self.name}-")
        return [fault for fault in self.faults if index.isdigit() and fault.is_on(int(index))]

    def all_devices(self) -> list[Devices]:
        """Return what each node has, in order."""
        return [*self._gpus, *self.devices]

    @cached_property
    def _gpus(self) -> list[Devices]:
        """The first entry, where it is given in short."""
        if self.gpu is None:
            return []
        return [
            Devices.model_construct(model=self.gpu, count=self.gpus_per_node, mig=self.mig, attributes=self.attributes)
        ]

    @property
    def drivers(self) -> list[str]:
        """The drivers of the pool's devices, in order."""
        return list(dict.fromkeys(devices.model.driver for devices in self.all_devices()))

    @model_validator(mode="after")
    def _has_devices(self) -> Self:
        if self.gpu is None and not self.devices:
            raise problem("has no devices: give it a gpu, such as gpu: h100, or a list of devices")
        if self.gpu is None and (extra := {"gpus_per_node", "mig", "attributes"} & self.model_fields_set):
            keys = ", ".join(sorted(to_camel(key) for key in extra))
            raise problem(f"without gpu there can be no {keys} either; put that into the entries of devices")
        return self

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        longest = f"{self.name}-{max(self.nodes - 1, 0)}"
        if len(longest) > limits.DNS_LABEL_MAX:
            raise problem(
                f"the node name {longest!r} is longer than {limits.DNS_LABEL_MAX} characters, the most that the label "
                "kubernetes.io/hostname can hold: shorten the pool's name"
            )
        return self


class Topology(Model):
    """A whole stack: one cluster, its device classes, node pools, shared claims, workloads and manifests.

    `catalogue` names YAML files beside the stack with further hosts, models and drivers. `device_classes` go over those
    that the charts of the pools' drivers ship; `validation.load` adds the latter.
    """

    cluster: Cluster
    catalogue: list[str] = []
    device_classes: list[DeviceClass] = []
    node_pools: list[NodePool] = []
    device_taint_rules: list[DeviceTaintRule] = []
    claims: list[SharedClaim] = []
    workloads: list[Workload] = []
    manifests: list[Manifests] = []

    @property
    def applied(self) -> list[Workload | Manifests]:
        """What may make pods: in the outputs, a manifest's are of the workload of its name."""
        return [*self.workloads, *self.manifests]
