"""The configuration of a stack as typed models: every key, every default, every rule.

The models check each part by itself; `topology.validation.load` checks in addition that the parts fit together, and
turns every problem into one readable message.
"""

import re
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    GetPydanticSchema,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from topology import limits
from topology.api_versions import RESOURCE_API_VERSIONS
from topology.devices import Attributes, DeviceClass, DeviceModel, NamedDeviceModel, NamedHost, Taint
from topology.model import Model
from topology.values import (
    ApiName,
    CelExpression,
    DnsLabel,
    DnsSubdomain,
    FeatureGate,
    FullyQualifiedName,
    LabelKey,
    LabelValue,
    QualifiedName,
    Quantity,
    ResourceName,
    problem,
    suggestion,
)

DEFAULT_KUBERNETES_VERSION = "1.37.2"


def _kubernetes_version(value: str) -> str:
    release = re.fullmatch(r"1\.([0-9]+)\.[0-9]+", value)
    if not release or not limits.KUBERNETES_MINOR_MIN <= int(release[1]) <= limits.KUBERNETES_MINOR_MAX:
        raise problem(
            f"{value!r} is not a supported Kubernetes version: use a release from 1.{limits.KUBERNETES_MINOR_MIN} to "
            f"1.{limits.KUBERNETES_MINOR_MAX} with its patch number, such as {DEFAULT_KUBERNETES_VERSION}"
        )
    return value


class Cluster(Model):
    """The cluster that kwokctl creates. Keys that kwokctl has too are named as in its KwokctlConfiguration."""

    name: DnsLabel
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
        return int(self.kube_version.split(".")[1])

    @property
    def served_resource_api(self) -> str:
        """The version of resource.k8s.io to use: `auto` is the newest, which every supported Kubernetes serves."""
        return RESOURCE_API_VERSIONS[0] if self.resource_api == "auto" else self.resource_api


class MigDevices(Model):
    """How GPUs are cut once and for all: so many MIG devices of each profile, on each of the `gpus` (default: all)."""

    gpus: list[Annotated[int, Field(ge=0)]] | None = None
    profiles: Annotated[dict[str, Annotated[int, Field(ge=1)]], Field(min_length=1)]


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

    @property
    def merged(self) -> DeviceModel:
        """The model with the attributes given here."""
        return self.model.model_copy(update={"attributes": self.model.attributes | self.attributes})


class NodePool(Model):
    """`nodes` fake nodes named `<name>-0` and up, each with the same devices.

    `gpu`, `gpus_per_node`, `mig` and `attributes` are short for the first entry of `devices`. `host` says where devices
    are on PCIe. `capacity`, `labels` and `taints` are a node's: the first two go over what models and host have, taints
    stand for theirs. With `nodes_per_clique`, so many nodes share an NVLink clique.
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

    def node_names(self) -> list[str]:
        """Return the names of the pool's nodes, in order."""
        return [f"{self.name}-{index}" for index in range(self.nodes)]

    def all_devices(self) -> list[Devices]:
        """Return what each node has, in order."""
        if self.gpu is None:
            return self.devices
        gpus = Devices.model_construct(
            model=self.gpu, count=self.gpus_per_node, mig=self.mig, attributes=self.attributes
        )
        return [gpus, *self.devices]

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


class DeviceRequest(Model):
    """A request of a claim: `count` devices of a class for which every CEL selector is true.

    `capacity` is how much it takes of devices that several claims may share.
    """

    name: DnsLabel
    device_class: str
    count: Annotated[int, Field(ge=1, le=limits.ALLOCATION_RESULTS_MAX)] = 1
    selectors: Annotated[list[CelExpression], Field(max_length=limits.DEVICE_SELECTORS_MAX)] = []
    capacity: dict[QualifiedName, Quantity] = {}


class DeviceConstraint(Model):
    """What the devices of the `requests` (default: all of the claim) have in common, or what differs between them."""

    requests: list[DnsLabel] = []
    match_attribute: FullyQualifiedName | None = None
    distinct_attribute: FullyQualifiedName | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.match_attribute is None) == (self.distinct_attribute is None):
            raise problem("has to have exactly one of matchAttribute and distinctAttribute")
        if len(self.requests) > len(set(self.requests)):
            raise problem("has a request twice: name each once, or leave requests out for all of the claim")
        return self


class Claim(Model):
    """A claim that each pod of a workload makes from a ResourceClaimTemplate of its own.

    `template` names that ResourceClaimTemplate; without it, it is called `<workload>-<claim>`.
    """

    name: DnsLabel
    template: DnsSubdomain | None = None
    requests: Annotated[list[DeviceRequest], Field(min_length=1, max_length=limits.DEVICE_REQUESTS_MAX)]
    constraints: Annotated[list[DeviceConstraint], Field(max_length=limits.DEVICE_CONSTRAINTS_MAX)] = []

    @model_validator(mode="after")
    def _fits_one_allocation(self) -> Self:
        devices = sum(request.count for request in self.requests)
        if devices > limits.ALLOCATION_RESULTS_MAX:
            raise problem(
                f"asks for {devices} devices; the Kubernetes API allows one claim {limits.ALLOCATION_RESULTS_MAX}: "
                "spread them over several claims"
            )
        return self

    @model_validator(mode="after")
    def _constraints_are_about_requests(self) -> Self:
        known = [request.name for request in self.requests]
        for index, constraint in enumerate(self.constraints):
            for name in constraint.requests:
                if name not in known:
                    raise problem(
                        f"constraints[{index}] is about a request {name!r} that the claim does not have"
                        f"{suggestion(name, known)} Its requests are {', '.join(known)}"
                    )
        return self


class Toleration(Model):
    """A pod's toleration of a node's taint."""

    key: LabelKey | None = None
    operator: Literal["Exists", "Equal"] = "Equal"
    value: LabelValue | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None

    @model_validator(mode="after")
    def _fits_its_operator(self) -> Self:
        if self.operator == "Exists" and self.value:
            raise problem("has a value, which operator: Exists does not look at: leave it out, or use Equal")
        if self.operator == "Equal" and self.key is None:
            raise problem("needs a key; without one it has to have operator: Exists, for all taints")
        return self


class Workload(Model):
    """A Deployment of `replicas` fake pods, each with the `claims`, on nodes that `node_selector` allows.

    Its pods have to be available after `ready_timeout_seconds`, or the update fails and says why.
    """

    name: DnsLabel
    replicas: Annotated[int, Field(ge=0, le=limits.CLUSTER_PODS_MAX)] = 1
    claims: Annotated[list[Claim], Field(min_length=1)]
    node_selector: dict[LabelKey, LabelValue] = {}
    tolerations: list[Toleration] = []
    ready_timeout_seconds: Annotated[int, Field(ge=1, le=86_400)] = 120

    def template_name(self, claim: Claim) -> str:
        """Return the name of the ResourceClaimTemplate of `claim`."""
        return claim.template or f"{self.name}-{claim.name}"


class Topology(Model):
    """A whole stack: one cluster, its device classes, node pools and workloads.

    `catalogue` names YAML files beside the stack with further hosts, models and drivers. `device_classes` go over those
    that the charts of the pools' drivers ship; `validation.load` adds the latter.
    """

    cluster: Cluster
    catalogue: list[str] = []
    device_classes: list[DeviceClass] = []
    node_pools: list[NodePool] = []
    workloads: list[Workload] = []
