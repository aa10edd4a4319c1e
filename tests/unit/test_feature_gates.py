"""The feature gates and group versions of each Kubernetes version, with figures from its source.

https://github.com/kubernetes/kubernetes/blob/v1.34.2/pkg/features/kube_features.go
https://github.com/kubernetes/kubernetes/blob/v1.35.1/pkg/features/kube_features.go
https://github.com/kubernetes/kubernetes/blob/v1.36.3/pkg/features/kube_features.go
https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/features/kube_features.go
https://github.com/kubernetes/kubernetes/blob/v1.38.0-beta.0/pkg/features/kube_features.go
"""

import pytest

from topology.kubernetes import limits
from topology.kubernetes.feature_gates import (
    FEATURES,
    GATES,
    State,
    gate_problems,
    gates_for,
    is_obsolete,
    lacking,
    runtime_config_for,
)

MINORS = range(limits.KUBERNETES_MINOR_MIN, limits.KUBERNETES_MINOR_MAX + 1)

# The default of each gate in 1.34 to 1.38: - does not exist, 0 off, 1 on, L locked on.
DEFAULTS = {
    "CompositePodGroup": "---00",
    "DRAAdminAccess": "11LLL",
    "DRAConsumableCapacity": "00111",
    "DRADerivedAttributes": "---00",
    "DRADeviceBindingConditions": "0011L",
    "DRADeviceCompatibilityGroups": "---00",
    "DRADeviceTaintRules": "-001L",
    "DRADeviceTaints": "0011L",
    "DRAExtendedResource": "001LL",
    "DRAFractionalCapacityRange": "---11",
    "DRAListTypeAttributes": "--000",
    "DRANodeAllocatableResources": "--000",
    "DRAOptionalNodeOperations": "---00",
    "DRAPartitionableDevices": "0011L",
    "DRAPartitionableDevicesType": "---00",
    "DRAPrioritizedList": "111LL",
    "DRAResourceClaimDeviceStatus": "111LL",
    "DRAResourceClaimGranularStatusAuthorization": "--111",
    "DRAResourcePoolStatus": "--000",
    "DRASchedulerFilterTimeout": "11111",
    "DRAWorkloadResourceClaims": "--000",
    "DynamicResourceAllocation": "1LLL-",
    "GangScheduling": "-00--",
    "GenericWorkload": "-0000",
    "NodeDeclaredFeatures": "-01LL",
    "PodGroupPreemptionPolicy": "---0-",
    "ResourceHealthStatus": "00111",
    "ResourceHealthStatusMessage": "--111",
    "SchedulerPreQueueingHints": "---01",
    "TaintTolerationComparisonOperators": "-0000",
    "TopologyAwareWorkloadScheduling": "--000",
    "WorkloadAwarePreemption": "--0--",
    "WorkloadWithJob": "--000",
}

# defaultKubernetesFeatureGateDependencies, the same in all versions that have both gates.
DEPENDENCIES = {
    "CompositePodGroup": {"GenericWorkload", "TopologyAwareWorkloadScheduling"},
    "DRAAdminAccess": {"DynamicResourceAllocation"},
    "DRAConsumableCapacity": {"DynamicResourceAllocation"},
    "DRADerivedAttributes": {"DynamicResourceAllocation"},
    "DRADeviceBindingConditions": {"DynamicResourceAllocation", "DRAResourceClaimDeviceStatus"},
    "DRADeviceCompatibilityGroups": {"DynamicResourceAllocation", "DRAPartitionableDevices"},
    "DRADeviceTaintRules": {"DRADeviceTaints"},
    "DRADeviceTaints": {"DynamicResourceAllocation"},
    "DRAExtendedResource": {"DynamicResourceAllocation"},
    "DRAFractionalCapacityRange": {"DRAConsumableCapacity"},
    "DRAListTypeAttributes": {"DynamicResourceAllocation"},
    "DRANodeAllocatableResources": {"DynamicResourceAllocation"},
    "DRAOptionalNodeOperations": {"DynamicResourceAllocation", "NodeDeclaredFeatures"},
    "DRAPartitionableDevices": {"DynamicResourceAllocation"},
    "DRAPartitionableDevicesType": {"DynamicResourceAllocation", "DRAPartitionableDevices", "DRAResourcePoolStatus"},
    "DRAPrioritizedList": {"DynamicResourceAllocation"},
    "DRAResourceClaimDeviceStatus": set(),
    "DRAResourceClaimGranularStatusAuthorization": {"DynamicResourceAllocation", "DRAResourceClaimDeviceStatus"},
    "DRAResourcePoolStatus": {"DynamicResourceAllocation"},
    "DRASchedulerFilterTimeout": {"DynamicResourceAllocation"},
    "DRAWorkloadResourceClaims": {"DynamicResourceAllocation", "GenericWorkload"},
    "DynamicResourceAllocation": set(),
    "GangScheduling": {"GenericWorkload"},
    "GenericWorkload": set(),
    "NodeDeclaredFeatures": set(),
    "PodGroupPreemptionPolicy": {"GenericWorkload"},
    "SchedulerPreQueueingHints": set(),
    "TaintTolerationComparisonOperators": set(),
    "ResourceHealthStatus": {"DynamicResourceAllocation"},
    "ResourceHealthStatusMessage": {"ResourceHealthStatus"},
    "TopologyAwareWorkloadScheduling": {"GenericWorkload"},
    "WorkloadAwarePreemption": {"GangScheduling"},
    "WorkloadWithJob": {"GenericWorkload"},
}

Needs = tuple[list[str], list[str]] | int
"""The gates to set and the group versions to serve, or the first version that has the feature."""


def needs(*gates: str, serve: str | None = None) -> Needs:
    return list(gates), [serve] if serve else []


NOTHING = needs()
V1ALPHA3 = "resource.k8s.io/v1alpha3"
GROUPS_V1ALPHA2 = "scheduling.k8s.io/v1alpha2"
GROUPS_V1BETA1 = "scheduling.k8s.io/v1beta1"

# What each feature needs in 1.34 to 1.38.
EXPECTED: dict[str, list[Needs]] = {
    "admin access": [NOTHING] * 5,
    "binding conditions": [needs("DRADeviceBindingConditions")] * 2 + [NOTHING] * 3,
    "compatibility groups": [37, 37, 37, *[needs("DRADeviceCompatibilityGroups")] * 2],
    "consumable capacity": [needs("DRAConsumableCapacity")] * 2 + [NOTHING] * 3,
    "derived attributes": [37, 37, 37, *[needs("DRADerivedAttributes")] * 2],
    "device status": [NOTHING] * 5,
    "device taint rules": [
        needs("DRADeviceTaints", serve=V1ALPHA3),
        needs("DRADeviceTaintRules", "DRADeviceTaints", serve=V1ALPHA3),
        needs("DRADeviceTaintRules", serve="resource.k8s.io/v1beta2"),
        NOTHING,
        NOTHING,
    ],
    "device taints": [needs("DRADeviceTaints", serve=V1ALPHA3), needs("DRADeviceTaints")] + [NOTHING] * 3,
    "extended resources": [needs("DRAExtendedResource")] * 2 + [NOTHING] * 3,
    "gang scheduling": [
        36,
        36,
        needs("GangScheduling", "GenericWorkload", serve=GROUPS_V1ALPHA2),
        *[needs("GenericWorkload", serve=GROUPS_V1BETA1)] * 2,
    ],
    "list attributes": [36, 36, *[needs("DRAListTypeAttributes")] * 3],
    "list attributes in constraints": [37, 37, 37, *[needs("DRAListTypeAttributes")] * 2],
    "node allocatable resources": [37, 37, 37, *[needs("DRANodeAllocatableResources")] * 2],
    "optional node operations": [37, 37, 37, *[needs("DRAOptionalNodeOperations")] * 2],
    "partitionable devices": [needs("DRAPartitionableDevices")] * 2 + [NOTHING] * 3,
    "pod groups": [
        36,
        36,
        needs("GenericWorkload", serve=GROUPS_V1ALPHA2),
        *[needs("GenericWorkload", serve=GROUPS_V1BETA1)] * 2,
    ],
    "prioritized list": [NOTHING] * 5,
    "resource pool status": [36, 36, *[needs("DRAResourcePoolStatus", serve=V1ALPHA3)] * 3],
    "toleration comparisons": [35, *[needs("TaintTolerationComparisonOperators")] * 4],
    "workload resource claims": [
        36,
        36,
        needs("DRAWorkloadResourceClaims", "GenericWorkload", serve=GROUPS_V1ALPHA2),
        *[needs("DRAWorkloadResourceClaims", "GenericWorkload", serve=GROUPS_V1BETA1)] * 2,
    ],
}
CASES = [(use, minor, expected) for use in EXPECTED for minor, expected in zip(MINORS, EXPECTED[use], strict=True)]


def state_in(gate: str, minor: int) -> State | None:
    """Read the history of a gate as Kubernetes does: the last change counts."""
    state = None
    for since, changed in sorted(GATES[gate].states.items()):
        state = changed if since <= minor else state
    return state


def test_the_gates_have_the_defaults_of_the_source() -> None:
    signs = {None: "-", State.OFF: "0", State.ON: "1", State.LOCKED: "L"}
    assert {gate: "".join(signs[state_in(gate, minor)] for minor in MINORS) for gate in GATES} == DEFAULTS


def test_the_gates_have_the_dependencies_of_the_source() -> None:
    assert {gate: set(needs) for gate, (_, needs) in GATES.items()} == DEPENDENCIES


def test_every_feature_is_tested() -> None:
    assert EXPECTED.keys() == FEATURES.keys()


@pytest.mark.parametrize(("use", "minor", "expected"), CASES)
def test_what_a_feature_needs(use: str, minor: int, expected: Needs) -> None:
    if isinstance(expected, int):
        assert lacking([use], minor) == {use: expected}
        return
    gates, apis = expected
    assert lacking([use], minor) == {}
    assert gates_for([use], minor) == dict.fromkeys(gates, True)
    assert runtime_config_for([use], "v1", minor) == dict.fromkeys(apis, True)


@pytest.mark.parametrize("minor", MINORS)
def test_nothing_is_needed_for_nothing(minor: int) -> None:
    assert lacking([], minor) == gates_for([], minor) == runtime_config_for([], "v1", minor) == {}


@pytest.mark.parametrize("step", [1, -1])
def test_several_features_are_put_together_in_order(step: int) -> None:
    """A different order of the same flags must not replace the cluster."""
    uses = ["workload resource claims", "resource pool status", "device taint rules"][::step]
    assert list(gates_for(uses, 36).items()) == [
        ("DRADeviceTaintRules", True),
        ("DRAResourcePoolStatus", True),
        ("DRAWorkloadResourceClaims", True),
        ("GenericWorkload", True),
    ]
    assert list(runtime_config_for(uses, "v1beta1", 36).items()) == [
        ("resource.k8s.io/v1alpha3", True),
        ("resource.k8s.io/v1beta1", True),
        ("resource.k8s.io/v1beta2", True),
        ("scheduling.k8s.io/v1alpha2", True),
    ]
    assert lacking(["admin access", "derived attributes", *uses], 35) == {
        "derived attributes": 37,
        "resource pool status": 36,
        "workload resource claims": 36,
    }


@pytest.mark.parametrize("minor", MINORS)
@pytest.mark.parametrize("version", ["v1beta1", "v1beta2"])
def test_beta_versions_are_served_when_asked_for(version: str, minor: int) -> None:
    """None of 1.34 to 1.38 serves them by default. A check before this refuses v1beta1 in 1.38, which removed it.

    https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/controlplane/instance.go
    """
    assert runtime_config_for([], version, minor) == {f"resource.k8s.io/{version}": True}


@pytest.mark.parametrize("minor", MINORS)
def test_what_features_need_is_no_problem(minor: int) -> None:
    there = [use for use in FEATURES if not lacking([use], minor)]
    assert list(gate_problems(gates_for(there, minor), minor)) == []


YET = "does not exist in Kubernetes 1.{} yet: leave it out, or use Kubernetes 1.{} or later"
GONE = "no longer exists in Kubernetes 1.{}: leave it out"
FIXED = "is always on in Kubernetes 1.{} and cannot be turned off: leave it out"
NEEDS = "needs {0}, which is off: set {0} to true, or leave {1} out"
NEEDED = "is needed by {0}, which is on by default: set {0} to false too, or leave {1} out"


@pytest.mark.parametrize(
    ("minor", "gates", "expected"),
    [
        # The flags of KWOK's DRA page, and a gate that is not in the table.
        (34, {"DynamicResourceAllocation": True}, []),
        (37, {"DynamicResourceAllocation": True, "SomethingElse": False}, []),
        # Gates that do not exist.
        (35, {"GangScheduling": True, "GenericWorkload": True}, []),
        (37, {"GangScheduling": True, "GenericWorkload": True}, [("GangScheduling", GONE.format(37))]),
        (37, {"WorkloadAwarePreemption": False}, [("WorkloadAwarePreemption", GONE.format(37))]),
        (37, {"GenericWorkload": True, "PodGroupPreemptionPolicy": True}, []),
        (38, {"PodGroupPreemptionPolicy": False}, [("PodGroupPreemptionPolicy", GONE.format(38))]),
        (36, {"SchedulerPreQueueingHints": True}, [("SchedulerPreQueueingHints", YET.format(36, 37))]),
        (38, {"SchedulerPreQueueingHints": False}, []),
        (34, {"DRADeviceTaintRules": True}, [("DRADeviceTaintRules", YET.format(34, 35))]),
        (36, {"DRADerivedAttributes": False}, [("DRADerivedAttributes", YET.format(36, 37))]),
        # Gates that are locked.
        (36, {"DRAAdminAccess": False}, [("DRAAdminAccess", FIXED.format(36))]),
        (35, {"DRAAdminAccess": False}, []),
        (38, {"DRADeviceTaints": True, "DRAPartitionableDevices": True}, []),
        (38, {"DRADeviceTaints": False}, [("DRADeviceTaints", FIXED.format(38))]),
        (38, {"DRAConsumableCapacity": False, "DRAFractionalCapacityRange": False}, []),
        # A gate that was locked before its removal still satisfies the gates that need it.
        (38, {"DynamicResourceAllocation": True, "DRAListTypeAttributes": True}, []),
        (38, {"DynamicResourceAllocation": False}, [("DynamicResourceAllocation", FIXED.format(38))]),
        # Gates that are on while a gate that they need is off by default or turned off.
        (36, {"DRAWorkloadResourceClaims": True, "GenericWorkload": True}, []),
        (
            36,
            {"DRAWorkloadResourceClaims": True},
            [("DRAWorkloadResourceClaims", NEEDS.format("GenericWorkload", "DRAWorkloadResourceClaims"))],
        ),
        (
            36,
            {"DRADeviceTaintRules": True, "DRADeviceTaints": False},
            [("DRADeviceTaintRules", NEEDS.format("DRADeviceTaints", "DRADeviceTaintRules"))],
        ),
        (35, {"DRADeviceTaintRules": True, "DRADeviceTaints": True}, []),
        (36, {"DRADeviceTaints": False}, []),
        # A gate that is on by default counts too: turning off a gate that it needs is a problem.
        (
            37,
            {"DRADeviceTaints": False},
            [("DRADeviceTaints", NEEDED.format("DRADeviceTaintRules", "DRADeviceTaints"))],
        ),
        (37, {"DRADeviceTaints": False, "DRADeviceTaintRules": False}, []),
        (
            36,
            {"DRAResourceClaimDeviceStatus": False},
            [
                ("DRAResourceClaimDeviceStatus", NEEDED.format(gate, "DRAResourceClaimDeviceStatus"))
                for gate in ("DRADeviceBindingConditions", "DRAResourceClaimGranularStatusAuthorization")
            ],
        ),
        (35, {"DRAResourceClaimDeviceStatus": False}, []),
        # These set gates by group.
        (36, {"AllAlpha": True, "DRAWorkloadResourceClaims": True}, []),
        (36, {"AllBeta": False, "DRAResourceClaimDeviceStatus": False}, []),
        (37, {"AllAlpha": True, "GangScheduling": True}, [("GangScheduling", GONE.format(37))]),
    ],
)
def test_gate_problems(minor: int, gates: dict[str, bool], expected: list[tuple[str, str]]) -> None:
    assert list(gate_problems(gates, minor)) == expected


@pytest.mark.parametrize("minor", MINORS)
def test_gates_that_are_obsolete(minor: int) -> None:
    """Gates that were locked before their removal; other removed gates were never on by default."""
    found = [gate for gate in GATES if is_obsolete(gate, minor)]
    assert found == (["DynamicResourceAllocation"] if minor == 38 else [])
    assert not is_obsolete("SomethingElse", minor)
