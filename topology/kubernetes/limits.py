"""Limits of the Kubernetes API, of Kubernetes and of this program, each with its source."""

# https://github.com/kubernetes/api/blob/v0.37.2/resource/v1/types.go
ALLOCATION_RESULTS_MAX = 32  # AllocationResultsMaxSize: devices of one claim
DEVICE_ATTRIBUTES_AND_CAPACITIES_MAX = 32  # ResourceSliceMaxAttributesAndCapacitiesPerDevice
DEVICE_ATTRIBUTE_VALUES_MAX = 48  # ResourceSliceMaxAttributeValuesPerDevice: counts each value of a list
DEVICE_ATTRIBUTE_VALUE_MAX = 64  # DeviceAttributeMaxValueLength, bytes of a string or version
DEVICE_DOMAIN_MAX = 63  # DeviceMaxDomainLength: the domain in an attribute's or capacity's name
DEVICE_ID_MAX = 32  # DeviceMaxIDLength: the C identifier in an attribute's or capacity's name
DEVICE_REQUESTS_MAX = 32  # DeviceRequestsMaxSize: requests of one claim
DEVICE_SELECTORS_MAX = 32  # DeviceSelectorsMaxSize: selectors of one class or request
CEL_EXPRESSION_MAX = 10 * 1024  # CELSelectorExpressionMaxLength, bytes
SLICE_DEVICES_MAX = 128  # ResourceSliceMaxDevices
SLICE_ADVANCED_DEVICES_MAX = 64  # ResourceSliceMaxDevicesWithAdvancedFeatures: with counters, taints or lists
SLICE_COUNTER_SETS_MAX = 8  # ResourceSliceMaxCounterSets
SLICE_COUNTERS_MAX = 32  # ResourceSliceMaxSharedCounters: of all counter sets of a slice, only in Kubernetes 1.34
COUNTERS_PER_SET_MAX = 32  # ResourceSliceMaxCountersPerCounterSet
COMPATIBILITY_GROUPS_MAX = 2  # DeviceCompatibilityGroupsMaxSize
BINDING_CONDITIONS_MAX = 4  # BindingConditionsMaxSize
BINDING_FAILURE_CONDITIONS_MAX = 4  # BindingFailureConditionsMaxSize
REQUEST_POLICY_VALUES_MAX = 10  # CapacityRequestPolicyDiscreteMaxOptions
DEVICE_CONFIG_MAX = 32  # DeviceConfigMaxSize: configurations of one claim
OPAQUE_PARAMETERS_MAX = 10 * 1024  # OpaqueParametersMaxLength, bytes of JSON
DEVICE_TAINTS_MAX = 16  # DeviceTaintsMaxLength
DEVICE_TOLERATIONS_MAX = 16  # DeviceTolerationsMaxLength
DERIVED_ATTRIBUTES_MAX = 32  # DeviceDerivedAttributesMaxSize: of one request
FIRST_AVAILABLE_MAX = 8  # FirstAvailableDeviceRequestMaxSize
CLAIM_CONSUMERS_MAX = 256  # ResourceClaimReservedForMaxSize: pods that share one claim
DEVICE_CONSTRAINTS_MAX = 32  # DeviceConstraintsMaxSize: constraints of one claim
DRIVER_NAME_MAX = 63  # DriverNameMaxLength

# https://github.com/kubernetes/api/blob/v0.38.0-beta.0/resource/v1/types.go
REQUEST_CAPACITIES_MAX = 32  # MaxCapacityRequirements: since Kubernetes 1.38

# https://github.com/kubernetes/kubernetes/blob/v1.38.0-beta.0/pkg/apis/resource/validation/validation.go
VERSION_DIGITS_MAX = 18  # numericIdentifier, since Kubernetes 1.38: a longer number may not fit into an int64

# https://github.com/kubernetes/api/blob/v0.37.2/scheduling/v1beta1/types.go
POD_GROUP_CLAIMS_MAX = 4  # MaxPodGroupResourceClaims

# https://github.com/kubernetes/apimachinery/blob/v0.37.2/pkg/util/validation/validation.go
DNS_LABEL_MAX = 63
DNS_SUBDOMAIN_MAX = 253

# https://github.com/kubernetes/apimachinery/blob/v0.37.2/pkg/api/resource/quantity.go, `maxAllowed`: the API server
# lowers larger quantities to this.
QUANTITY_MAX = 2**63 - 1

# https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/apis/core/validation/validation.go,
# ValidateResourceQuantityValue: checks in thousandths whether an extended resource is an integer.
RESOURCE_COUNT_MAX = QUANTITY_MAX // 1_000

# https://docs.nvidia.com/datacenter/tesla/mig-user-guide/: MIG divides the memory of a GPU into four, eight or, for an
# RTX PRO 6000 Blackwell, twelve slices
MIG_MEMORY_SLICES = 12

# https://kubernetes.io/docs/setup/best-practices/cluster-large/
SUPPORTED_NODES_MAX = 5_000
CLUSTER_PODS_MAX = 150_000

# Ours: twice the nodes of the largest fleet that docs/performance.md measures.
CLUSTER_NODES_MAX = 20_000

# https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/apis/scheduling/types.go, HighestUserDefinablePriority
PRIORITY_MAX = 1_000_000_000

# Ours, far beyond any server: devices of one model on one node.
NODE_DEVICES_MAX = 4_096

# Ours: bare pods of a workload, each of which is a Pulumi resource.
BARE_PODS_MAX = 1_000

# The maximum of Linux for x86-64: CONFIG_NODES_SHIFT in arch/x86/Kconfig.
NUMA_NODES_MAX = 1_024

# Pulumi's wire format is a protobuf Struct, in which numbers are doubles.
# https://protobuf.dev/reference/protobuf/google.protobuf/#value
PULUMI_INTEGER_MAX = 2**53 - 1

# Releases whose kube-apiserver serves resource.k8s.io/v1 by default. KWOK v0.8.0 was tested with all but 1.38, of which
# only the source of a beta exists.
# https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/
KUBERNETES_MINOR_MIN = 34
KUBERNETES_MINOR_MAX = 38
