"""The configuration of a stack as typed models: every key, every default, every rule.

The models check each part by itself; `topology.validation.load` checks in addition that the parts fit together, and
turns every problem into one readable message.
"""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from topology import limits
from topology.gpu import Gpu
from topology.model import Model
from topology.values import (
    ApiName,
    CelExpression,
    DnsLabel,
    DnsSubdomain,
    FeatureGate,
    Quantity,
    ResourceName,
    problem,
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
    kube_apiserver_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    ready_timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = 300


class DeviceClass(Model):
    """A DeviceClass: devices for which every CEL selector is true."""

    name: DnsSubdomain
    selectors: Annotated[list[CelExpression], Field(max_length=limits.DEVICE_SELECTORS_MAX)] = []


class NodePool(Model):
    """`nodes` fake nodes named `<name>-0` and up, each with `gpus_per_node` devices of one kind.

    `capacity` is a node's; what is given here is put over the defaults, which are the seed page's.
    """

    name: DnsLabel
    nodes: Annotated[int, Field(ge=0, le=limits.CLUSTER_NODES_MAX)] = 1
    gpu: Gpu
    gpus_per_node: Annotated[int, Field(ge=1, le=limits.SLICE_DEVICES_MAX)] = 1
    capacity: dict[ResourceName, Quantity] = {}

    def node_names(self) -> list[str]:
        """Return the names of the pool's nodes, in order."""
        return [f"{self.name}-{index}" for index in range(self.nodes)]

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        longest = f"{self.name}-{max(self.nodes - 1, 0)}"
        if len(longest) > limits.DNS_LABEL_MAX:
            raise problem(
                f"the node name {longest!r} is longer than {limits.DNS_LABEL_MAX} characters, the most that the label "
                "kubernetes.io/hostname can hold: shorten the pool's name"
            )
        if problems := self.gpu.problems_on(longest, self.gpus_per_node - 1):
            raise problem("; ".join(problems))
        return self


class DeviceRequest(Model):
    """A request of a claim: `count` devices of a class for which every CEL selector is true."""

    name: DnsLabel
    device_class: str
    count: Annotated[int, Field(ge=1, le=limits.ALLOCATION_RESULTS_MAX)] = 1
    selectors: Annotated[list[CelExpression], Field(max_length=limits.DEVICE_SELECTORS_MAX)] = []


class Claim(Model):
    """A claim that each pod of a workload makes from a ResourceClaimTemplate of its own.

    `template` names that ResourceClaimTemplate; without it, it is called `<workload>-<claim>`.
    """

    name: DnsLabel
    template: DnsSubdomain | None = None
    requests: Annotated[list[DeviceRequest], Field(min_length=1, max_length=limits.DEVICE_REQUESTS_MAX)]

    @model_validator(mode="after")
    def _fits_one_allocation(self) -> Self:
        devices = sum(request.count for request in self.requests)
        if devices > limits.ALLOCATION_RESULTS_MAX:
            raise problem(
                f"asks for {devices} devices; the Kubernetes API allows one claim {limits.ALLOCATION_RESULTS_MAX}: "
                "spread them over several claims"
            )
        return self


class Workload(Model):
    """A Deployment of `replicas` fake pods, each with the `claims`.

    Its pods have to be available after `ready_timeout_seconds`, or the update fails and says why.
    """

    name: DnsLabel
    replicas: Annotated[int, Field(ge=0, le=limits.CLUSTER_PODS_MAX)] = 1
    claims: Annotated[list[Claim], Field(min_length=1)]
    ready_timeout_seconds: Annotated[int, Field(ge=1, le=86_400)] = 120

    def template_name(self, claim: Claim) -> str:
        """Return the name of the ResourceClaimTemplate of `claim`."""
        return claim.template or f"{self.name}-{claim.name}"


class Topology(Model):
    """A whole stack: one cluster, its device classes, node pools and workloads."""

    cluster: Cluster
    device_classes: list[DeviceClass] = []
    node_pools: list[NodePool] = []
    workloads: list[Workload] = []
