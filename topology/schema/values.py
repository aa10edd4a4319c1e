"""Field types of the configuration: Kubernetes' rules for names, quantities and versions, with their messages."""

import json
import re
from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError
from semver import Version

from topology.kubernetes import limits
from topology.kubernetes.quantities import canonical, number
from topology.schema.profiles import SEPARATOR, base_names, profiles_of

# The patterns of k8s.io/apimachinery/pkg/util/validation and k8s.io/apimachinery/pkg/api/resource.
_DNS_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_SUBDOMAIN = rf"{_DNS_LABEL}(\.{_DNS_LABEL})*"
_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_DOMAIN = rf"(?=[^/]{{1,{limits.DNS_SUBDOMAIN_MAX}}}/){_DNS_SUBDOMAIN}"
# A resource quota puts `requests.` before the name of an extended resource.
_RESOURCE_DOMAIN = rf"(?!requests\.)(?!.*kubernetes\.io/)(?=[^/]{{1,{limits.DNS_SUBDOMAIN_MAX - 9}}}/){_DNS_SUBDOMAIN}"
_PREFIXED_NAME = rf"({_DOMAIN}/)?{_NAME}"
_PREFIXED_NAME_MAX = limits.DNS_SUBDOMAIN_MAX + 1 + 63
_LABEL_VALUE = rf"({_NAME})?"
_DEVICE_DOMAIN = rf"(?=[^/]{{1,{limits.DEVICE_DOMAIN_MAX}}}/){_DNS_SUBDOMAIN}"
_DEVICE_ID = rf"[A-Za-z_][A-Za-z0-9_]{{0,{limits.DEVICE_ID_MAX - 1}}}"
_QUANTITY = r"[+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][-+]?[0-9]{1,2})?"


def problem(message: str) -> PydanticCustomError:
    """Return the error that a validator raises: `message` says what is wrong, what is allowed and what to do."""
    return PydanticCustomError("kwok_dra", "{message}", {"message": message})


LEVELS_SHOWN = 5
"""The levels of an invalid value that its message shows."""


def shown(value: object) -> str:
    """Write an invalid value as in the user's YAML, not as in Python."""
    if isinstance(value, str):
        return repr(value)
    return json.dumps(_shallow(value, LEVELS_SHOWN), default=str, ensure_ascii=False)


def _shallow(value: object, levels: int) -> object:
    """Replace what is nested deeper by `…`, and keys by strings."""
    if not levels and value:
        return "…" if isinstance(value, dict | list) else value
    if isinstance(value, dict):
        return {str(key): _shallow(held, levels - 1) for key, held in value.items()}
    return [_shallow(held, levels - 1) for held in value] if isinstance(value, list) else value


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown `name`: the closest known name, if one is close.

    Domains are not compared: names of the same domain have most of their letters in common.
    """
    by_last_part = {other.rpartition("/")[2]: other for other in known}
    nearest = get_close_matches(name.rpartition("/")[2], by_last_part, n=1)
    return f"; did you mean {by_last_part[nearest[0]]!r}?" if nearest else "."


def choice(name: str, known: Collection[str], remedy: str) -> str:
    """Return the end of a sentence about an unknown `name`: the known names, and a `remedy` other than these."""
    names = f"Name one of {', '.join(known)}, or" if known else "There are none yet:"
    return f"{suggestion(name, known)} {names} {remedy}"


def unknown(kind: str, name: str, owner: str, known: Collection[str]) -> str:
    """Return the end of a sentence about an unknown `name`, with the names of this kind that the `owner` has."""
    names = ", ".join(known) or "none"
    return f"{kind} {name!r} that {owner} does not have{suggestion(name, known)} Its {kind}s are {names}"


def duplicate(values: Sequence[str]) -> str | None:
    """Return the first value that occurs more than once, or None."""
    return next((value for value in values if values.count(value) > 1), None)


def _each_once(values: list[str]) -> list[str]:
    if (value := duplicate(values)) is not None:
        raise problem(f"lists {value!r} more than once: list each value once")
    return values


EACH_ONCE = AfterValidator(_each_once)
"""Validates that a list of texts has no duplicates."""


def _matches(value: str, pattern: str, longest: int) -> bool:
    return len(value) <= longest and re.fullmatch(pattern, value) is not None


def _matching(pattern: str, longest: int, rule: str) -> AfterValidator:
    def check(value: str) -> str:
        if not _matches(value, pattern, longest):
            raise problem(f"{value!r} is not {rule}")
        return value

    return AfterValidator(check)


def _quantity(value: object) -> object:
    """Turn `96` into `"96"`: the API server stores quantities as strings, and so must the state."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value


def _countable(value: str) -> str:
    if number(value) > limits.QUANTITY_MAX:
        raise problem(f"{value!r} is more than Kubernetes can represent: use at most {limits.QUANTITY_MAX}")
    return value


def _not_too_long(expression: str) -> str:
    length = len(expression.encode())
    if length > limits.CEL_EXPRESSION_MAX:
        raise problem(f"must have at most {limits.CEL_EXPRESSION_MAX} bytes, but has {length}")
    return expression


def _semantic_version(value: str) -> str:
    most = limits.DEVICE_ATTRIBUTE_VALUE_MAX
    if len(value) > most or not Version.is_valid(value):
        raise problem(
            f"{value!r} is not a semantic version: use MAJOR.MINOR.PATCH without leading zeros, such as 12.9.0, "
            f"in at most {most} characters"
        )
    return value


def is_dns_label(value: str) -> bool:
    """Tell whether `value` is a DNS label."""
    return _matches(value, _DNS_LABEL, limits.DNS_LABEL_MAX)


def is_dns_subdomain(value: str) -> bool:
    """Tell whether `value` is a DNS subdomain."""
    return _matches(value, _DNS_SUBDOMAIN, limits.DNS_SUBDOMAIN_MAX)


def is_label_value(value: str) -> bool:
    """Tell whether `value` is valid as the value of a label."""
    return _matches(value, _LABEL_VALUE, limits.DNS_LABEL_MAX)


def has_long_number(version: str) -> bool:
    """Tell whether a semantic version has a number, outside its build metadata, that Kubernetes 1.38 refuses."""
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
    _matching(_QUANTITY, 64, "a quantity: use a number with an optional unit, such as 96, 500m or 80Gi"),
    AfterValidator(_countable),
    AfterValidator(canonical),  # Otherwise every update would undo what the API server normalizes.
]
ResourceName = Annotated[
    str,
    _matching(
        _PREFIXED_NAME,
        _PREFIXED_NAME_MAX,
        "a resource name: use a name such as cpu, optionally after a domain, such as example.com/gpu",
    ),
]
ExtendedResourceName = Annotated[
    str,
    _matching(
        # https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/apis/core/helper/helpers.go, IsExtendedResourceName
        rf"{_RESOURCE_DOMAIN}/{_NAME}",
        _PREFIXED_NAME_MAX,
        "an extended resource: put a domain other than kubernetes.io before its name, such as example.com/gpu",
    ),
]
NODE_RESOURCES = ("cpu", "memory", "ephemeral-storage")
"""The resources of the node itself that containers can request."""

ContainerResourceName = Annotated[
    str,
    _matching(
        # The implicit extended resource of a class:
        # https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#extended-resource
        rf"{'|'.join(NODE_RESOURCES)}|(deviceclass\.resource\.kubernetes\.io|{_RESOURCE_DOMAIN})/{_NAME}",
        _PREFIXED_NAME_MAX,
        "a resource that containers can request: use cpu, memory, ephemeral-storage, the extended resource of a device "
        "class, such as example.com/gpu, or deviceclass.resource.kubernetes.io/ and the name of the class",
    ),
]
LabelKey = Annotated[
    str, _matching(_PREFIXED_NAME, _PREFIXED_NAME_MAX, "a label's key: use a name such as nvidia.com/gpu.product")
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
# https://github.com/kubernetes/kubernetes/blob/v1.37.2/pkg/apis/core/helper/helpers.go, IsNodeAllocatableResourceName
NodeAllocatableName = Annotated[
    str,
    _matching(
        r"cpu|memory|hugepages-.+",
        _PREFIXED_NAME_MAX,
        "a resource of the node that devices can use: use cpu, memory or hugepages with their size, such as "
        "hugepages-2Mi",
    ),
]
MigProfileName = Annotated[
    str,
    # https://github.com/NVIDIA/go-nvlib/blob/main/pkg/nvlib/device/mig_profile.go
    _matching(
        r"[1-9]g\.[0-9]+gb(\+me(\.all)?|\+gfx|-me)?",
        63,
        "the name of a MIG profile: use one such as 1g.10gb or 1g.10gb+me",
    ),
]
ProfileName = Annotated[
    str,
    _matching(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", 63, "the name of a profile: use one such as 25.12 or passthrough"),
]
PciAddress = Annotated[
    str, _matching(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", 12, "a PCI address: use one such as 0000:18:00.0")
]
PciRoot = Annotated[
    str, _matching(r"pci[0-9a-f]{4}:[0-9a-f]{2}", 10, "a PCIe root complex: use one such as pci0000:16")
]
SemanticVersion = Annotated[str, AfterValidator(_semantic_version)]
FeatureGate = Annotated[
    str,
    _matching(r"[A-Za-z][A-Za-z0-9]*", 128, "the name of a feature gate: use one such as DynamicResourceAllocation"),
]
ApiName = Annotated[str, _matching(r"[a-z0-9./-]+", 253, "an API to serve: use one such as resource.k8s.io/v1beta1")]
CelExpression = Annotated[str, Field(min_length=1), AfterValidator(_not_too_long)]
Selectors = Annotated[list[CelExpression], Field(max_length=limits.DEVICE_SELECTORS_MAX)]


def named(section: str, what: str, example: str) -> BeforeValidator:
    """Return the validator that replaces a name with the entry of that name in the catalogue's `section`.

    The catalogue is the context of the validation. A mapping stays as it is: it defines `what` inline.
    """

    def look_up(value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str):
            if isinstance(value, dict):
                return value
            raise problem(f"must be the name of a {what} or define one inline, but is {shown(value)}")
        entries = (info.context or {}).get(section, {})
        if value in entries:
            return entries[value]
        name, _, profile = value.partition(SEPARATOR)
        if name in entries and name != value:
            raise problem(f"names the {unknown('profile', profile, name, profiles_of(name, entries))}")
        known = choice(value, sorted(base_names(entries)), f"define it inline: {example}")
        raise problem(f"there is no {what} {value!r} in the catalogue{known}")

    return BeforeValidator(look_up)
