"""Limits of the Kubernetes API and of Kubernetes itself, each with its source."""

# https://github.com/kubernetes/api/blob/v0.37.2/resource/v1/types.go
ALLOCATION_RESULTS_MAX = 32  # AllocationResultsMaxSize: devices of one claim
DEVICE_ATTRIBUTES_AND_CAPACITIES_MAX = 32  # ResourceSliceMaxAttributesAndCapacitiesPerDevice
DEVICE_ATTRIBUTE_VALUE_MAX = 64  # DeviceAttributeMaxValueLength, bytes of a string or version
DEVICE_ID_MAX = 32  # DeviceMaxIDLength: the C identifier in an attribute's or capacity's name
DEVICE_REQUESTS_MAX = 32  # DeviceRequestsMaxSize: requests of one claim
DEVICE_SELECTORS_MAX = 32  # DeviceSelectorsMaxSize: selectors of one class or request
CEL_EXPRESSION_MAX = 10 * 1024  # CELSelectorExpressionMaxLength, bytes
SLICE_DEVICES_MAX = 128  # ResourceSliceMaxDevices
DRIVER_NAME_MAX = 63  # DriverNameMaxLength

# https://github.com/kubernetes/apimachinery/blob/v0.37.2/pkg/util/validation/validation.go
DNS_LABEL_MAX = 63
DNS_SUBDOMAIN_MAX = 253

# https://kubernetes.io/docs/setup/best-practices/cluster-large/
CLUSTER_NODES_MAX = 5_000
CLUSTER_PODS_MAX = 150_000

# Pulumi's wire format is a protobuf Struct, whose numbers are doubles.
# https://protobuf.dev/reference/protobuf/google.protobuf/#value
PULUMI_INTEGER_MAX = 2**53 - 1

# Releases whose kube-apiserver serves resource.k8s.io/v1 by default and which KWOK v0.8.0 was tried with.
# https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/
KUBERNETES_MINOR_MIN = 34
KUBERNETES_MINOR_MAX = 37
