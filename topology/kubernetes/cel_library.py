"""The CEL environment of Kubernetes for devices: quantities, versions, and functions for lists and regular expressions.

No library provides it: cel-expr-python has the extensions of the CEL project, but none of those of Kubernetes.
"""

import operator
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache, partial, reduce
from itertools import product
from typing import Any

import re2
from cel_expr_python import cel
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from semver import Version

from topology.kubernetes.quantities import number

ATTRIBUTES = "device.attributes"
CAPACITY = "device.capacity"
ANY_NAME = "ERROR"
"""The name by which cel-expr-python calls the type google.protobuf.Any."""

_INT64_MAX = 2**63 - 1

# Quantities and versions are protobuf messages, so that cel-expr-python can tell their types apart. Messages are equal
# if their texts are equal, so the texts are canonical.


def _message_classes(*names: str) -> tuple[Any, descriptor_pool.DescriptorPool]:
    file = descriptor_pb2.FileDescriptorProto(name="kubernetes.proto", package="kubernetes")
    for name in names:
        field = {"name": "canonical", "number": 1, "type": "TYPE_STRING", "label": "LABEL_OPTIONAL"}
        file.message_type.add(name=name).field.add(**field)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    descriptors = [pool.FindMessageTypeByName(f"kubernetes.{name}") for name in names]
    return [message_factory.GetMessageClass(descriptor) for descriptor in descriptors], pool


(_Quantity, Semver), _POOL = _message_classes("Quantity", "Semver")
_VALUES: Mapping[str, Callable[[str], Any]] = {"Quantity": Decimal, "Semver": Version.parse}


def _value(message: Any) -> Any:
    return _VALUES[message.DESCRIPTOR.name](message.canonical)


def _compare(left: Any, right: Any) -> int:
    if left.DESCRIPTOR.name != right.DESCRIPTOR.name:
        raise TypeError(f"cannot compare a {left.DESCRIPTOR.name} to a {right.DESCRIPTOR.name}")
    a, b = _value(left), _value(right)
    return int(a > b) - int(a < b)


def _is_valid(parse: Callable[..., Any]) -> Callable[..., bool]:
    def check(*arguments: Any) -> bool:
        try:
            parse(*arguments)
        except ValueError:
            return False
        return True

    return check


# https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/cel/library/quantity.go


@cache
def quantity(text: str) -> Any:
    """Return the CEL value of a quantity.

    Raises:
        ValueError: `text` is not a quantity.
    """
    return _quantity_of(number(text))


def _quantity_of(value: Decimal) -> Any:
    return _Quantity(canonical=str((value + 0).normalize()))


def _is_integer(quantity: Any) -> bool:
    value = _value(quantity)
    return bool(abs(value) <= _INT64_MAX and value == value.to_integral_value())


def _as_integer(quantity: Any) -> int:
    if not _is_integer(quantity):
        raise ValueError("cannot convert value to integer")
    return int(_value(quantity))


def _arithmetic(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def calculate(left: Any, right: Any) -> Any:
        return _quantity_of(operation(_value(left), right if isinstance(right, int) else _value(right)))

    return calculate


# https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/cel/library/semverlib.go


@cache
def semver(text: str, normalize: bool = False) -> Any:
    """Return the CEL value of a semantic version, which ignores build metadata; `v1.0` needs `normalize`.

    Raises:
        ValueError: `text` is not a semantic version.
    """
    version = Version.parse(_normalized(text) if normalize else text)
    return Semver(canonical=str(version.replace(build=None)))


def _normalized(text: str) -> str:
    parts = [re.sub(r"^0+(?=[0-9])", "", part) for part in text.removeprefix("v").split(".", 2)]
    if len(parts) < 3 and re.search(r"[-+]", parts[-1]):
        raise ValueError("short version cannot contain PreRelease/Build meta data")
    return ".".join([*parts, "0", "0"][: max(3, len(parts))])


# https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/cel/library/lists.go


def _same(left: Any, right: Any) -> bool:
    """Compare as CEL does: 1 equals 1.0, but not true."""
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _positions(items: list[Any], item: Any) -> list[int]:
    return [index for index, each in enumerate(items) if _same(each, item)]


def _includes(target: Any, item: Any) -> bool:
    return bool(_positions(target if isinstance(target, list) else [target], item))


# https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/cel/library/regex.go. Go's regexp has the syntax of RE2.

_REGEX_OPTIONS = re2.Options()
_REGEX_OPTIONS.log_errors = False


def _find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    """Return the matches of `pattern`, but as in Go no empty one that touches the match before it."""
    try:
        regex = re2.compile(pattern, _REGEX_OPTIONS)
    except re2.error as error:
        raise ValueError(f"Illegal regex: {error.args[0].decode()}") from None
    matches = []
    end = -1
    for match in regex.finditer(text):
        if match.span() != (end, end):
            matches.append(match[0])
        end = match.end()
    return matches if limit < 0 else matches[:limit]


# The environment: extensions of cel-expr-python, and the functions that Kubernetes adds to them.

_CONFIGURATION = """
extensions:
- {name: bindings}
- {name: lists}
- {name: optional}
- {name: sets}
- {name: strings, version: 2}
- {name: two-var-comprehensions}
stdlib:
  exclude_functions: [{name: _<_}, {name: _<=_}, {name: _>_}, {name: _>=_}]
"""
_BOOL, _DOUBLE, _INT, _STRING, _DYN = cel.Type.BOOL, cel.Type.DOUBLE, cel.Type.INT, cel.Type.STRING, cel.Type.DYN
_QUANTITY, _SEMVER, _ANY = map(cel.Type, ("kubernetes.Quantity", "kubernetes.Semver", "google.protobuf.Any"))
_LIST, _STRINGS = cel.Type.List(_DYN), cel.Type.List(_STRING)


@cache
def environment(list_attributes: bool) -> Any:
    """Return the environment of device selectors, with or without the feature gate DRAListTypeAttributes."""
    attribute = _DYN if list_attributes else _ANY
    domains = {ATTRIBUTES: attribute, CAPACITY: _QUANTITY}
    variables = {name: cel.Type.Map(_STRING, cel.Type.Map(_STRING, kind)) for name, kind in domains.items()}
    functions = _quantity_functions() + _semver_functions() + _list_functions() + _regex_functions()
    if list_attributes:
        functions.append(_function("includes", _member(_includes, _BOOL, _DYN, _DYN)))
    return cel.NewEnv(
        descriptor_pool=_POOL,
        config=cel.NewEnvConfigFromYaml(_CONFIGURATION),
        variables={"device.driver": _STRING, "device.allowMultipleAllocations": _BOOL, **variables},
        extensions=[cel.CelExtension("kubernetes", functions)],
        functions=_comparisons() + _orderings(),
    )


def _function(name: str, *overloads: Callable[..., Any]) -> Any:
    return cel.FunctionDecl(name, [overload(id=f"{name}_{index}") for index, overload in enumerate(overloads)])


def _global(implementation: Callable[..., Any] | None, returns: Any, *parameters: Any) -> Callable[..., Any]:
    more = {"impl": implementation} if implementation else {}
    return partial(cel.Overload, return_type=returns, parameters=list(parameters), is_member=False, **more)


def _member(implementation: Callable[..., Any] | None, returns: Any, *parameters: Any) -> Callable[..., Any]:
    return partial(_global(implementation, returns, *parameters), is_member=True)


def _quantity_functions() -> list[Any]:
    add, sub = _arithmetic(operator.add), _arithmetic(operator.sub)
    return [
        _function("quantity", _global(quantity, _QUANTITY, _STRING)),
        _function("isQuantity", _global(_is_valid(quantity), _BOOL, _STRING)),
        _function("sign", _global(lambda value: _compare(value, quantity("0")), _INT, _QUANTITY)),
        _function("isInteger", _member(_is_integer, _BOOL, _QUANTITY)),
        _function("asInteger", _member(_as_integer, _INT, _QUANTITY)),
        _function("asApproximateFloat", _member(lambda value: float(_value(value)), _DOUBLE, _QUANTITY)),
        _function("add", _member(add, _QUANTITY, _QUANTITY, _QUANTITY), _member(add, _QUANTITY, _QUANTITY, _INT)),
        _function("sub", _member(sub, _QUANTITY, _QUANTITY, _QUANTITY), _member(sub, _QUANTITY, _QUANTITY, _INT)),
    ]


def _semver_functions() -> list[Any]:
    valid = _is_valid(semver)
    return [
        _function("semver", _global(semver, _SEMVER, _STRING), _global(semver, _SEMVER, _STRING, _BOOL)),
        _function("isSemver", _global(valid, _BOOL, _STRING), _global(valid, _BOOL, _STRING, _BOOL)),
        _function("major", _member(lambda version: _value(version).major, _INT, _SEMVER)),
        _function("minor", _member(lambda version: _value(version).minor, _INT, _SEMVER)),
        _function("patch", _member(lambda version: _value(version).patch, _INT, _SEMVER)),
    ]


def _list_functions() -> list[Any]:
    return [
        _function("isSorted", _member(lambda items: items == sorted(items), _BOOL, _LIST)),
        _function("sum", _member(lambda items: reduce(operator.add, items) if items else 0, _DYN, _LIST)),
        _function("min", _member(min, _DYN, _LIST)),
        _function("max", _member(max, _DYN, _LIST)),
        _function("indexOf", _member(lambda items, item: [*_positions(items, item), -1][0], _INT, _LIST, _DYN)),
        _function("lastIndexOf", _member(lambda items, item: [-1, *_positions(items, item)][-1], _INT, _LIST, _DYN)),
    ]


def _regex_functions() -> list[Any]:
    find_all = partial(_member, _find_all, _STRINGS, _STRING, _STRING)
    return [
        _function("find", _member(lambda *texts: [*_find_all(*texts), ""][0], _STRING, _STRING, _STRING)),
        _function("findAll", find_all(), find_all(_INT)),
    ]


def _comparisons() -> list[Any]:
    """Declare the functions that quantities and versions share: at run time, both are messages."""
    implementations: dict[str, tuple[Callable[[Any, Any], Any], Any]] = {
        "compareTo": (_compare, _INT),
        "isGreaterThan": (lambda left, right: _compare(left, right) > 0, _BOOL),
        "isLessThan": (lambda left, right: _compare(left, right) < 0, _BOOL),
    }
    return [
        _function(name, _member(function, kind, _QUANTITY, _QUANTITY), _member(None, kind, _SEMVER, _SEMVER))
        for name, (function, kind) in implementations.items()
    ]


def _orderings() -> list[Any]:
    """Declare `<` and the like also for numbers of different types, which cel-expr-python implements but refuses."""
    numbers = product((_INT, cel.Type.UINT, _DOUBLE), repeat=2)
    others = (_BOOL, _STRING, cel.Type.BYTES, cel.Type.DURATION, cel.Type.TIMESTAMP)
    kinds = [*numbers, *((kind, kind) for kind in others)]
    return [
        _function(name, *(_global(None, _BOOL, *pair) for pair in kinds)) for name in ("_<_", "_<=_", "_>_", "_>=_")
    ]
