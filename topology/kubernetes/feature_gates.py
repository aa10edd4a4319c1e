"""The feature gates and group versions that each Kubernetes version needs for the features that a stack uses.

The gates come from `defaultVersionedKubernetesFeatureGates` and `defaultKubernetesFeatureGateDependencies`:
https://github.com/kubernetes/kubernetes/blob/v1.34.2/pkg/features/kube_features.go
https://github.com/kubernetes/kubernetes/blob/v1.35.1/pkg/features/kube_features.go
https://github.com/kubernetes/kubernetes/blob/v1.36.3/pkg/features/kube_features.go
https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/features/kube_features.go
https://github.com/kubernetes/kubernetes/blob/v1.38.0-beta.0/pkg/features/kube_features.go

The group versions come from the informers in pkg/scheduler/scheduler.go and cmd/kube-controller-manager/app/ of the
same releases: if one of them is not served, the scheduler never becomes ready.

All versions are minor versions: 36 means Kubernetes 1.36.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import NamedTuple, TypeVar

from topology.kubernetes import limits
from topology.kubernetes.api_versions import RESOURCE_API_GROUP

_T = TypeVar("_T")


class State(Enum):
    """The default of a gate. A locked gate is on and cannot be turned off."""

    OFF = "off"
    ON = "on"
    LOCKED = "locked"


class Gate(NamedTuple):
    """A feature gate: the gates that it needs, and its default since each version; None since its removal.

    Versions before the oldest supported one are left out.
    """

    states: Mapping[int, State | None]
    needs: tuple[str, ...] = ()


class Feature(NamedTuple):
    """A feature that a stack can use: its gate, and its first version.

    `serves` has the group version that the control plane needs for it since each version.
    """

    gate: str
    since: int = limits.KUBERNETES_MINOR_MIN
    serves: Mapping[int, str | None] = {}


_DRA = "DynamicResourceAllocation"
OFF, ON, LOCKED = State

GATES: Mapping[str, Gate] = {
    _DRA: Gate({34: ON, 35: LOCKED, 38: None}),
    "DRAAdminAccess": Gate({34: ON, 36: LOCKED}, (_DRA,)),
    "DRAConsumableCapacity": Gate({34: OFF, 36: ON}, (_DRA,)),
    "DRADerivedAttributes": Gate({37: OFF}, (_DRA,)),
    "DRADeviceBindingConditions": Gate({34: OFF, 36: ON, 38: LOCKED}, (_DRA, "DRAResourceClaimDeviceStatus")),
    "DRADeviceCompatibilityGroups": Gate({37: OFF}, (_DRA, "DRAPartitionableDevices")),
    "DRADeviceTaintRules": Gate({35: OFF, 37: ON, 38: LOCKED}, ("DRADeviceTaints",)),
    "DRADeviceTaints": Gate({34: OFF, 36: ON, 38: LOCKED}, (_DRA,)),
    "DRAExtendedResource": Gate({34: OFF, 36: ON, 37: LOCKED}, (_DRA,)),
    "DRAFractionalCapacityRange": Gate({37: ON}, ("DRAConsumableCapacity",)),
    "DRAListTypeAttributes": Gate({36: OFF}, (_DRA,)),
    "DRANodeAllocatableResources": Gate({36: OFF}, (_DRA,)),
    "DRAOptionalNodeOperations": Gate({37: OFF}, (_DRA, "NodeDeclaredFeatures")),
    "DRAPartitionableDevices": Gate({34: OFF, 36: ON, 38: LOCKED}, (_DRA,)),
    "DRAPartitionableDevicesType": Gate({37: OFF}, (_DRA, "DRAPartitionableDevices", "DRAResourcePoolStatus")),
    "DRAPrioritizedList": Gate({34: ON, 37: LOCKED}, (_DRA,)),
    "DRAResourceClaimDeviceStatus": Gate({34: ON, 37: LOCKED}),
    "DRAResourceClaimGranularStatusAuthorization": Gate({36: ON}, (_DRA, "DRAResourceClaimDeviceStatus")),
    "DRAResourcePoolStatus": Gate({36: OFF}, (_DRA,)),
    "DRASchedulerFilterTimeout": Gate({34: ON}, (_DRA,)),
    "DRAWorkloadResourceClaims": Gate({36: OFF}, (_DRA, "GenericWorkload")),
    "ResourceHealthStatus": Gate({34: OFF, 36: ON}, (_DRA,)),
    "ResourceHealthStatusMessage": Gate({36: ON}, ("ResourceHealthStatus",)),
    # Gates outside DRA that its gates need or that are used with it.
    "CompositePodGroup": Gate({37: OFF}, ("GenericWorkload", "TopologyAwareWorkloadScheduling")),
    "GangScheduling": Gate({35: OFF, 37: None}, ("GenericWorkload",)),
    "GenericWorkload": Gate({35: OFF}),
    "NodeDeclaredFeatures": Gate({35: OFF, 36: ON, 37: LOCKED}),
    "PodGroupPreemptionPolicy": Gate({37: OFF, 38: None}, ("GenericWorkload",)),
    "SchedulerPreQueueingHints": Gate({37: OFF, 38: ON}),
    "TaintTolerationComparisonOperators": Gate({35: OFF}),
    "TopologyAwareWorkloadScheduling": Gate({36: OFF}, ("GenericWorkload",)),
    "WorkloadAwarePreemption": Gate({36: OFF, 37: None}, ("GangScheduling",)),
    "WorkloadWithJob": Gate({36: OFF}, ("GenericWorkload",)),
}

_V1 = f"{RESOURCE_API_GROUP}/v1"
_V1BETA2 = f"{RESOURCE_API_GROUP}/v1beta2"
_V1ALPHA3 = f"{RESOURCE_API_GROUP}/v1alpha3"

# The group version of 1.35 has no PodGroups yet.
_POD_GROUPS = {
    35: "scheduling.k8s.io/v1alpha1",
    36: "scheduling.k8s.io/v1alpha2",
    37: "scheduling.k8s.io/v1beta1",
}

FEATURES: Mapping[str, Feature] = {
    "admin access": Feature("DRAAdminAccess"),
    "binding conditions": Feature("DRADeviceBindingConditions"),
    "compatibility groups": Feature("DRADeviceCompatibilityGroups", since=37),
    "consumable capacity": Feature("DRAConsumableCapacity"),
    "derived attributes": Feature("DRADerivedAttributes", since=37),
    "device status": Feature("DRAResourceClaimDeviceStatus"),
    # In 1.34 this gate also enables the rules, and the control plane reads them.
    "device taint rules": Feature("DRADeviceTaintRules", serves={34: _V1ALPHA3, 36: _V1BETA2, 37: _V1}),
    "device taints": Feature("DRADeviceTaints", serves={34: _V1ALPHA3, 35: None}),
    "extended resources": Feature("DRAExtendedResource"),
    "gang scheduling": Feature("GangScheduling", since=36, serves=_POD_GROUPS),
    "list attributes": Feature("DRAListTypeAttributes", since=36),
    # In 1.36 the scheduler never satisfies a constraint on a list: AllocatorFeatures leaves the gate out in
    # https://github.com/kubernetes/kubernetes/blob/v1.36.3/pkg/scheduler/framework/plugins/dynamicresources/dynamicresources.go
    "list attributes in constraints": Feature("DRAListTypeAttributes", since=37),
    # 1.36 has a different field instead: nodeAllocatableResourceMappings.
    "node allocatable resources": Feature("DRANodeAllocatableResources", since=37),
    "optional node operations": Feature("DRAOptionalNodeOperations", since=37),
    "partitionable devices": Feature("DRAPartitionableDevices"),
    "pod groups": Feature("GenericWorkload", since=36, serves=_POD_GROUPS),
    "prioritized list": Feature("DRAPrioritizedList"),
    "resource pool status": Feature("DRAResourcePoolStatus", since=36, serves={36: _V1ALPHA3}),
    "toleration comparisons": Feature("TaintTolerationComparisonOperators", since=35),
    "workload resource claims": Feature("DRAWorkloadResourceClaims", since=36, serves=_POD_GROUPS),
}


def lacking(uses: Iterable[str], minor: int) -> dict[str, int]:
    """Return the features in `uses` that the version does not have, each with the first version that has it."""
    return {use: FEATURES[use].since for use in uses if FEATURES[use].since > minor}


def gates_for(uses: Iterable[str], minor: int) -> dict[str, bool]:
    """Return the gates to set for the features in `uses`: the gates that they need and that are off by default."""
    needed = {gate for use in uses for gate in _with_needs(FEATURES[use].gate)}
    return {gate: True for gate in sorted(needed) if _state(gate, minor) is OFF}


def runtime_config_for(uses: Iterable[str], resource_api: str, minor: int) -> dict[str, bool]:
    """Return the group versions to serve for the features in `uses` and for `resource_api`, besides the default ones.

    `resource_api` is one of `api_versions.RESOURCE_API_VERSIONS`.
    """
    needed = {served(use, minor) for use in uses} | {f"{RESOURCE_API_GROUP}/{resource_api}"}
    return {api: True for api in sorted(filter(None, needed - {_V1}))}


def served(use: str, minor: int) -> str | None:
    """Return the group version in which the control plane reads the objects of a feature; None for the default."""
    return _as_of(FEATURES[use].serves, minor)


def gate_problems(gates: Mapping[str, bool], minor: int) -> Iterator[tuple[str, str]]:
    """Yield each gate with which the version does not start, and what to do; `gates` has all gates that are set.

    Gates that are not in `GATES` are not checked. Kubernetes 1.34 starts without the gates that another gate needs,
    but the feature does not work.
    """
    for gate, value in gates.items():
        if gate in GATES and (problem := _refusal(gate, value, minor)):
            yield gate, problem
    if not gates.keys() & {"AllAlpha", "AllBeta"}:  # They set all other gates.
        yield from _unmet_needs(gates, minor)


def is_obsolete(gate: str, minor: int) -> bool:
    """Tell whether Kubernetes 1.`minor` no longer has the gate, which an earlier version locked."""
    return gate in GATES and _is_fixed(gate, minor) and _state(gate, minor) is None


def _refusal(gate: str, value: bool, minor: int) -> str | None:
    fixed = _is_fixed(gate, minor)
    if fixed and not value:
        return f"is always on in Kubernetes 1.{minor} and cannot be turned off: leave it out"
    if fixed or _state(gate, minor) is not None:
        return None
    first = min(GATES[gate].states)
    if minor < first:
        return f"does not exist in Kubernetes 1.{minor} yet: leave it out, or use Kubernetes 1.{first} or later"
    return f"no longer exists in Kubernetes 1.{minor}: leave it out"


def _unmet_needs(gates: Mapping[str, bool], minor: int) -> Iterator[tuple[str, str]]:
    """Report each gate that is on without a gate that it needs: under the name of the one that the stack sets."""
    on = {gate for gate in GATES if _is_on(gate, gates, minor)}
    unmet = [(gate, need) for gate in sorted(on) for need in GATES[gate].needs if need not in on]
    for gate, need in unmet:
        if gate in gates:
            yield gate, f"needs {need}, which is off: set {need} to true, or leave {gate} out"
        else:
            yield need, f"is needed by {gate}, which is on by default: set {gate} to false too, or leave {need} out"


def _is_on(gate: str, gates: Mapping[str, bool], minor: int) -> bool:
    state = _state(gate, minor)
    return _is_fixed(gate, minor) or (state is not None and gates.get(gate, state is ON))


def _is_fixed(gate: str, minor: int) -> bool:
    """Tell whether the feature is always on: the gate is locked, or was locked before it was removed."""
    return any(state is LOCKED for since, state in GATES[gate].states.items() if since <= minor)


def _with_needs(gate: str) -> set[str]:
    return {gate}.union(*(_with_needs(need) for need in GATES[gate].needs))


def _state(gate: str, minor: int) -> State | None:
    return _as_of(GATES[gate].states, minor)


def _as_of(history: Mapping[int, _T | None], minor: int) -> _T | None:
    """Return the newest entry that is not newer than `minor`."""
    return history[max(since)] if (since := [version for version in history if version <= minor]) else None
