"""Field types of the configuration: Kubernetes' naming rules, quantities and versions, each said in words."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from topology.kubernetes import limits
from topology.kubernetes.quantities import canonical, number

# The patterns of k8s.io/apimachinery/pkg/util/validation and k8s.io/apimachinery/pkg/api/resource.
_DNS_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_SUBDOMAIN = rf"{_DNS_LABEL}(\.{_DNS_LABEL})*"
_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_DOMAIN = rf"(?=[^/]{{1,{limits.DNS_SUBDOMAIN_MAX}}}/){_DNS_SUBDOMAIN}"
# A quota of an extended resource has `requests.` before its name.
_RESOURCE_DOMAIN = rf"(?!requests\.)(?!.*kubernetes\.io/)(?=[^/]{{1,{limits.DNS_SUBDOMAIN_MAX - 9}}}/){_DNS_SUBDOMAIN}"
_LABEL_VALUE = r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"
_DEVICE_DOMAIN = rf"(?=[^/]{{1,{limits.DEVICE_DOMAIN_MAX}}}/){_DNS_SUBDOMAIN}"
_DEVICE_ID = rf"[A-Za-z_][A-Za-z0-9_]{{0,{limits.DEVICE_ID_MAX - 1}}}"
_QUANTITY = r"[+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][-+]?[0-9]{1,2})?"
_SEMANTIC_VERSION = (  # https://semver.org/#is-there-a-suggested-regular-expression-regex-to-check-a-semver-string
    r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"
    r"(-((0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(\+([0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*))?"
)


def problem(message: str) -> PydanticCustomError:
    """Make the error that a validator raises: `message` says what is wrong, what is allowed and what to do."""
    return PydanticCustomError("kwok_dra", "{message}", {"message": message})


def suggestion(name: str, known: Iterable[str]) -> str:
    """End a sentence about an unknown `name` with the nearest known one, if there is one near."""
    nearest = get_close_matches(name, list(known), n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else "."


def _matches(value: str, pattern: str, longest: int) -> bool:
    return len(value) <= longest and re.fullmatch(pattern, value) is not None


def _matching(pattern: str, longest: int, rule: str) -> AfterValidator:
    def check(value: str) -> str:
        if not _matches(value, pattern, longest):
            raise problem(f"{value!r} is not {rule}")
        return value

    return AfterValidator(check)


def _quantity(value: object) -> object:
    """Let `96` stand for `"96"`: the API server keeps quantities as strings, and so must the state."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value


def _countable(value: str) -> str:
    if number(value) > limits.QUANTITY_MAX:
        raise problem(f"{value!r} is more than Kubernetes can count: use at most {limits.QUANTITY_MAX}")
    return value


def _not_too_long(expression: str) -> str:
    length = len(expression.encode())
    if length > limits.CEL_EXPRESSION_MAX:
        raise problem(f"may have at most {limits.CEL_EXPRESSION_MAX} bytes, but has {length}")
    return expression


def is_dns_label(value: str) -> bool:
    """Tell whether `value` is a DNS label."""
    return _matches(value, _DNS_LABEL, limits.DNS_LABEL_MAX)


def is_dns_subdomain(value: str) -> bool:
    """Tell whether `value` is a DNS subdomain."""
    return _matches(value, _DNS_SUBDOMAIN, limits.DNS_SUBDOMAIN_MAX)


def is_label_value(value: str) -> bool:
    """Tell whether `value` may be the value of a label."""
    return _matches(value, _LABEL_VALUE, limits.DNS_LABEL_MAX)


def has_long_number(version: str) -> bool:
    """Tell whether a semantic version has a number that Kubernetes 1.38 refuses, build metadata aside."""
    numbers = version.partition("+")[0].replace("-", ".", 1).split(".")
    return any(number.isdigit() and len(number) > limits.VERSION_DIGITS_MAX for number in numbers)


DnsLabel = Annotated[
    str,
    _matching(
        _DNS_LABEL,
        limits.DNS_LABEL_MAX,
        f"a DNS label: use at most {limits.DNS_LABEL_MAX} lower-case letters, digits and '-', "
        "beginning and ending with a letter or digit",
    ),
]
DnsSubdomain = Annotated[
    str,
    _matching(
        _DNS_SUBDOMAIN,
        limits.DNS_SUBDOMAIN_MAX,
        f"a DNS subdomain: use at most {limits.DNS_SUBDOMAIN_MAX} lower-case letters, digits, '-' "
        "and '.', such as gpu.example.com",
    ),
]
DriverName = Annotated[
    str,
    _matching(
        _DNS_SUBDOMAIN,
        limits.DRIVER_NAME_MAX,
        f"a driver name: use a DNS subdomain of at most {limits.DRIVER_NAME_MAX} characters, such as gpu.example.com",
    ),
]
QualifiedName = Annotated[
    str,
    _matching(
        rf"({_DEVICE_DOMAIN}/)?{_DEVICE_ID}",
        limits.DNS_LABEL_MAX + 1 + limits.DEVICE_ID_MAX,
        f"a qualified name: use a C identifier of at most {limits.DEVICE_ID_MAX} characters, optionally after a domain "
        f"of at most {limits.DEVICE_DOMAIN_MAX}, such as productName or gpu.example.com/productName",
    ),
]
Quantity = Annotated[
    str,
    BeforeValidator(_quantity),
    _matching(
        _QUANTITY,
        64,
        "a quantity: use a number with an optional unit, such as 96, 500m or 80Gi",
    ),
    AfterValidator(_countable),
    AfterValidator(canonical),  # What the API server would change, every update would change back.
]
ResourceName = Annotated[
    str,
    _matching(
        rf"({_DOMAIN}/)?{_NAME}",
        limits.DNS_SUBDOMAIN_MAX + 1 + 63,
        "a resource name: use a name such as cpu, optionally after a domain, such as example.com/gpu",
    ),
]
ExtendedResourceName = Annotated[
    str,
    _matching(
        # https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/apis/core/helper/helpers.go, IsExtendedResourceName
        rf"{_RESOURCE_DOMAIN}/{_NAME}",
        limits.DNS_SUBDOMAIN_MAX + 1 + 63,
        "an extended resource: put a domain other than kubernetes.io before its name, such as example.com/gpu",
    ),
]
NODE_RESOURCES = ("cpu", "memory", "ephemeral-storage")
"""What containers ask for of the node itself."""

ContainerResourceName = Annotated[
    str,
    _matching(
        # What stands for a class without an extended resource name of its own:
        # https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#extended-resource
        rf"{'|'.join(NODE_RESOURCES)}|(deviceclass\.resource\.kubernetes\.io|{_RESOURCE_DOMAIN})/{_NAME}",
        limits.DNS_SUBDOMAIN_MAX + 1 + 63,
        "what a container can ask for: use cpu, memory, ephemeral-storage, the extended resource of a device class, "
        "such as example.com/gpu, or deviceclass.resource.kubernetes.io/ and the name of the class",
    ),
]
LabelKey = Annotated[
    str,
    _matching(
        rf"({_DOMAIN}/)?{_NAME}",
        limits.DNS_SUBDOMAIN_MAX + 1 + 63,
        "a label's key: use a name such as nvidia.com/gpu.product",
    ),
]
LabelValue = Annotated[
    str,
    _matching(
        _LABEL_VALUE,
        limits.DNS_LABEL_MAX,
        "a label's value: use at most 63 letters, digits, '-', '_' and '.', "
        "beginning and ending with a letter or digit",
    ),
]
FullyQualifiedName = Annotated[
    str,
    _matching(
        rf"{_DEVICE_DOMAIN}/{_DEVICE_ID}",
        limits.DNS_LABEL_MAX + 1 + limits.DEVICE_ID_MAX,
        "a fully qualified attribute name: put the domain before it, such as resource.kubernetes.io/pcieRoot",
    ),
]
PciAddress = Annotated[
    str, _matching(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", 12, "a PCI address: use one such as 0000:18:00.0")
]
PciRoot = Annotated[
    str, _matching(r"pci[0-9a-f]{4}:[0-9a-f]{2}", 10, "a PCIe root complex: use one such as pci0000:16")
]
SemanticVersion = Annotated[
    str,
    _matching(
        _SEMANTIC_VERSION,
        limits.DEVICE_ATTRIBUTE_VALUE_MAX,
        f"a semantic version: use MAJOR.MINOR.PATCH without leading zeros, such as 12.9.0, "
        f"in at most {limits.DEVICE_ATTRIBUTE_VALUE_MAX} characters",
    ),
]
FeatureGate = Annotated[
    str,
    _matching(r"[A-Za-z][A-Za-z0-9]*", 128, "the name of a feature gate: use one such as DynamicResourceAllocation"),
]
ApiName = Annotated[
    str,
    _matching(r"[a-z0-9./-]+", 253, "an API to serve: use one such as resource.k8s.io/v1beta1"),
]
CelExpression = Annotated[str, Field(min_length=1), AfterValidator(_not_too_long)]


def named(section: str, what: str, example: str) -> BeforeValidator:
    """Make the validator that puts the entry of the catalogue's `section` in the place of its name.

    The catalogue is the validation's context. A mapping is left as it is: `what`, written out in place.
    """

    def look_up(value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str):
            if isinstance(value, dict):
                return value
            raise problem(f"has to be the name of a {what} or one written out in place, but is {value!r}")
        entries = (info.context or {}).get(section, {})
        if value not in entries:
            raise problem(
                f"there is no {what} {value!r} in the catalogue{suggestion(value, entries)} "
                f"Name one of {', '.join(sorted(entries))}, or write it out in place: {example}"
            )
        return entries[value]

    return BeforeValidator(look_up)
