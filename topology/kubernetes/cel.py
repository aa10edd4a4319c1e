"""The CEL expressions of device selectors, checked and evaluated as the API server and kube-scheduler do.

https://github.com/kubernetes/dynamic-resource-allocation/blob/v0.37.2/cel/compile.go
https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/cel/environment/base.go
"""

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import cache, partial, reduce
from itertools import product
from typing import Any, NamedTuple

from cel_expr_python import cel  # type: ignore[import-untyped]
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from semver import Version

from topology.kubernetes.quantities import number

_ATTRIBUTES = "device.attributes"
_CAPACITY = "device.capacity"
_INT64_MAX = 2**63 - 1
_ONLY_KUBERNETES = "cannot be checked here, only by Kubernetes"
_ANY_NAME = "ERROR"  # how the library calls google.protobuf.Any

# The library resolves has(device.driver) wrongly. The four fields of a device are always there.
_HAS_FIELD = re.compile(r"\bhas\(\s*device\s*\.\s*(driver|attributes|capacity|allowMultipleAllocations)\s*\)")

# To Kubernetes, domains that a device does not have are empty maps, except when iterating or looking for them.
_DOMAIN = re.compile(r"\bdevice\s*\.\s*(attributes|capacity)\s*\[(?!\s*\?)([^\[\]]*)\]")

_LITERAL = re.compile(r"""\b(matches|duration|timestamp)\(\s*('[^'\\]*'|"[^"\\]*")\s*\)""")
_UNKNOWN_HERE = re.compile(r"undeclared reference to '(url|isURL|ip|isIP|cidr|isCIDR|format)\b")
_OPTIONAL_FIELD = re.compile(r"\bdevice\s*\.\s*\?")
_FIRST_ERROR = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*?)( expecting \{.*| \(in container ''\))?$", re.MULTILINE)


class CelError(Exception):
    """An expression is wrong, or cannot be evaluated for a device; `missing` is the name that the device lacks."""

    def __init__(self, message: str, missing: str | None = None) -> None:
        """Keep the qualified name, such as `gpu.example.com/model`, of the attribute or capacity that is missing."""
        self.missing = missing
        super().__init__(message)


class UncheckedError(CelError):
    """An expression uses what Kubernetes has and this module does not: it may well be right."""


class Device(NamedTuple):
    """What a selector sees of a device: attributes and capacity as in the API, domains left out or not."""

    driver: str
    attributes: Mapping[str, Mapping[str, Any]]
    capacity: Mapping[str, Mapping[str, Any]]
    allow_multiple_allocations: bool = False


class Expression:
    """A compiled expression."""

    def __init__(self, program: Any, domains: Iterable[str]) -> None:
        """Take the expression, compiled by the library, and the domains that it names."""
        self._program = program
        self._domains = sorted(domains)
        self._evaluate(_variables(Device("", {}, {})))  # now, because it may turn out not to be possible

    def value(self, device: Device) -> Any:
        """Evaluate the expression for `device`.

        Raises:
            CelError: the evaluation fails, which makes the scheduler give up on the pod.
        """
        variables = _variables(device)
        result = self._evaluate(variables)
        key = _missing_key(result)
        if key:
            raise self._missing(variables, key)
        value = result.plain_value()
        if result.type() == cel.Type.ERROR:
            raise CelError(_words(result))
        return value

    def _evaluate(self, variables: Mapping[str, Any]) -> Any:
        try:
            return self._program.eval(data=variables)
        except RuntimeError as error:
            raise UncheckedError(f"{_ONLY_KUBERNETES}: {error}") from None

    def _missing(self, variables: Mapping[str, Any], key: str) -> CelError:
        """Find the domain of the missing `key`: it is the one where having the key makes a difference."""
        for kind, word, value in ((_ATTRIBUTES, "attribute", None), (_CAPACITY, "capacity", _quantity("0"))):
            for domain in [*variables[kind], *self._domains]:
                variables[kind].setdefault(domain, {})[key] = value
                if _missing_key(self._evaluate(variables)) != key:
                    name = f"{domain}/{key}"
                    return CelError(f"the device has no {word} {name}", name)
        return CelError(f"no such key: {key}")


class Selector(Expression):
    """The compiled expression of a selector."""

    def matches(self, device: Device) -> bool:
        """Tell whether the selector lets `device` through.

        Raises:
            CelError: as `value`.
        """
        value = self.value(device)
        if not isinstance(value, bool):
            raise CelError(f"has to evaluate to true or false, but evaluates to {value!r}")
        return value


class Derived(Expression):
    """The compiled expression of a derived attribute."""

    def attribute(self, device: Device) -> dict[str, Any]:
        """Return the attribute that `device` has by it, as on the wire, such as `{"int": 1}` or `{"ints": [0, 1]}`.

        Raises:
            CelError: as `value`.
        """
        value = self.value(device)
        if not isinstance(value, list):
            return {_kind_of(value): _plain(value)}
        kinds = {_kind_of(item) for item in value} or {"string"}
        if len(kinds) > 1:
            raise CelError(f"has to evaluate to a list of values of one type, but evaluates to {value!r}")
        return {f"{kinds.pop()}s": [_plain(item) for item in value]}


def _kind_of(value: Any) -> str:
    for kind, name in ((bool, "bool"), (int, "int"), (str, "string"), (_Semver, "version")):
        if isinstance(value, kind):
            return name
    raise CelError(f"has to evaluate to a text, a whole number, a version or true or false, but evaluates to {value!r}")


def _plain(value: Any) -> Any:
    return value.canonical if isinstance(value, _Semver) else value


@cache
def compile_derived(expression: str, *, list_attributes: bool = False) -> Derived:
    """Check the `expression` of a derived attribute as the API server does, as `compile_selector` does.

    Raises:
        CelError: as there, but that it has to give an attribute.
        UncheckedError: as there.
    """
    scalar = rf"(BOOL|INT|STRING|DYN|{_ANY_NAME}|kubernetes\.Semver)"
    lists = rf"LIST<{scalar}>|" if list_attributes else ""
    kinds = "a text, a whole number, a version or bool" + (", or a list of these" if list_attributes else "")
    return Derived(*_compiled(expression, list_attributes, lists + scalar, kinds))


@cache
def compile_selector(expression: str, *, list_attributes: bool = False) -> Selector:
    """Check `expression` as the API server does, with the feature gate DRAListTypeAttributes or without.

    Whatever the gate, the scheduler evaluates with lists: it has to understand what was stored before.

    Raises:
        CelError: it does not parse, names what does not exist, confuses types or is not about true and false.
        UncheckedError: Kubernetes may understand it; this module does not.
    """
    return Selector(*_compiled(expression, list_attributes, f"BOOL|DYN|{_ANY_NAME}", "bool"))


def _compiled(expression: str, list_attributes: bool, kinds: str, wanted: str) -> tuple[Any, set[str]]:
    """Return the program, and the domains that the expression names; its type has to match the regex `kinds`."""
    plain = _HAS_FIELD.sub(lambda match: "true".ljust(len(match[0])), expression)
    _check(plain, list_attributes, kinds, wanted)
    try:
        program = _environment(True).compile(_DOMAIN.sub(r"device.\1[?\2].orValue({})", plain))
    except RuntimeError as error:
        raise UncheckedError(f"{_ONLY_KUBERNETES}: {error}") from None
    return program, {match[2].strip("\"' ") for match in _DOMAIN.finditer(plain)}


def _check(expression: str, list_attributes: bool, kinds: str, wanted: str) -> None:
    try:
        kind = _environment(list_attributes).compile(expression).return_type().name()
    except RuntimeError as error:
        raise _compile_error(expression, str(error)) from None
    _check_literals(expression)
    if not re.fullmatch(kinds, kind):
        raise CelError(f"has to evaluate to {wanted}, but evaluates to {kind.replace(_ANY_NAME, 'any').lower()}")


def _check_literals(expression: str) -> None:
    """Refuse what the API server's validators of literals do: texts that are no regular expression or time."""
    for function, literal in _LITERAL.findall(expression):
        call = f"''.matches({literal})" if function == "matches" else f"{function}({literal})"
        result = _environment(True).compile(call).eval(data=_variables(Device("", {}, {})))
        if result.type() == cel.Type.ERROR:
            raise CelError(f"{function}({literal}) is not possible: {_words(result)}")


def _words(error: Any) -> str:
    return re.sub(r"^[A-Z_]+: ", "", str(error.plain_value()))


def _compile_error(expression: str, message: str) -> CelError:
    unknown = _UNKNOWN_HERE.search(message) or _OPTIONAL_FIELD.search(expression)
    if unknown:
        return UncheckedError(f"{_ONLY_KUBERNETES}: it uses {unknown[unknown.lastindex or 0]}")
    first = _FIRST_ERROR.search(message)
    return CelError(f"{first[3]} (line {first[1]}, column {first[2]})" if first else message)


def _missing_key(result: Any) -> str | None:
    if result.type() != cel.Type.ERROR:
        return None
    found = re.fullmatch(r'NOT_FOUND: Key not found in map : "(.*)"', str(result.plain_value()))
    return found[1] if found else None


def _variables(device: Device) -> dict[str, Any]:
    return {
        "device.driver": device.driver,
        "device.allowMultipleAllocations": device.allow_multiple_allocations,
        _ATTRIBUTES: _by_domain(device.driver, device.attributes, _attribute),
        _CAPACITY: _by_domain(device.driver, device.capacity, lambda capacity: _quantity(str(capacity["value"]))),
    }


def _by_domain(
    driver: str, values: Mapping[str, Mapping[str, Any]], convert: Callable[[Mapping[str, Any]], Any]
) -> dict[str, dict[str, Any]]:
    domains: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        domain, _, identifier = name.rpartition("/")
        domains.setdefault(domain or driver, {})[identifier] = convert(value)
    return domains


def _attribute(attribute: Mapping[str, Any]) -> Any:
    [(kind, value)] = attribute.items()
    if kind == "version":
        return _semver(value)
    return [_semver(version) for version in value] if kind == "versions" else value


# Quantities and versions are messages to the library, so that it can tell their types apart. They are equal if their
# texts are, which are therefore canonical.


def _message_classes(*names: str) -> tuple[Any, descriptor_pool.DescriptorPool]:
    file = descriptor_pb2.FileDescriptorProto(name="kubernetes.proto", package="kubernetes")
    for name in names:
        field = {"name": "canonical", "number": 1, "type": "TYPE_STRING", "label": "LABEL_OPTIONAL"}
        file.message_type.add(name=name).field.add(**field)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = [pool.FindMessageTypeByName(f"kubernetes.{name}") for name in names]
    return [message_factory.GetMessageClass(descriptor) for descriptor in found], pool


(_Quantity, _Semver), _POOL = _message_classes("Quantity", "Semver")
_VALUES: Mapping[str, Callable[[str], Any]] = {"Quantity": Decimal, "Semver": Version.parse}


def _value(message: Any) -> Any:
    return _VALUES[message.DESCRIPTOR.name](message.canonical)


def _compare(left: Any, right: Any) -> int:
    if left.DESCRIPTOR.name != right.DESCRIPTOR.name:
        raise TypeError(f"cannot compare a {left.DESCRIPTOR.name} to a {right.DESCRIPTOR.name}")
    a, b = _value(left), _value(right)
    return int(a > b) - int(a < b)


def _valid(function: Callable[..., Any]) -> Callable[..., bool]:
    def check(*arguments: Any) -> bool:
        try:
            function(*arguments)
        except ValueError:
            return False
        return True

    return check


# https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/cel/library/quantity.go


@cache
def _quantity(text: str) -> Any:
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
def _semver(text: str, normalize: bool = False) -> Any:
    version = Version.parse(_normalized(text) if normalize else text)
    return _Semver(canonical=str(version.replace(build=None)))


def _normalized(text: str) -> str:
    parts = [re.sub(r"^0+(?=[0-9])", "", part) for part in text.removeprefix("v").split(".", 2)]
    if len(parts) < 3 and re.search(r"[-+]", parts[-1]):
        raise ValueError("short version cannot contain PreRelease/Build meta data")
    return ".".join([*parts, "0", "0"][: max(3, len(parts))])


# https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/cel/library/lists.go and regex.go


def _same(left: Any, right: Any) -> bool:
    """Compare as CEL does, where 1 is 1.0, but not true."""
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _positions(items: list[Any], item: Any) -> list[int]:
    return [index for index, each in enumerate(items) if _same(each, item)]


def _includes(target: Any, item: Any) -> bool:
    return bool(_positions(target if isinstance(target, list) else [target], item))


def _find_all(text: str, pattern: str, most: int = -1) -> list[str]:
    found = [match[0] for match in re.finditer(pattern, text)]
    return found if most < 0 else found[:most]


# The environment: the library's own extensions, and what Kubernetes adds to them.

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
_BOOL, _DOUBLE, _DYN, _INT, _STRING = (
    cel.Type.BOOL,
    cel.Type.DOUBLE,
    cel.Type.DYN,
    cel.Type.INT,
    cel.Type.STRING,
)
_QUANTITY, _SEMVER, _ANY = map(cel.Type, ("kubernetes.Quantity", "kubernetes.Semver", "google.protobuf.Any"))
_LIST, _STRINGS = cel.Type.List(_DYN), cel.Type.List(_STRING)


@cache
def _environment(list_attributes: bool) -> Any:
    attribute = _DYN if list_attributes else _ANY
    domains = {_ATTRIBUTES: attribute, _CAPACITY: _QUANTITY}
    variables = {name: cel.Type.Map(_STRING, cel.Type.Map(_STRING, kind)) for name, kind in domains.items()}
    functions = _quantity_functions() + _semver_functions() + _other_functions()
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
        _function("quantity", _global(_quantity, _QUANTITY, _STRING)),
        _function("isQuantity", _global(_valid(_quantity), _BOOL, _STRING)),
        _function("sign", _global(lambda quantity: _compare(quantity, _quantity("0")), _INT, _QUANTITY)),
        _function("isInteger", _member(_is_integer, _BOOL, _QUANTITY)),
        _function("asInteger", _member(_as_integer, _INT, _QUANTITY)),
        _function("asApproximateFloat", _member(lambda quantity: float(_value(quantity)), _DOUBLE, _QUANTITY)),
        _function("add", _member(add, _QUANTITY, _QUANTITY, _QUANTITY), _member(add, _QUANTITY, _QUANTITY, _INT)),
        _function("sub", _member(sub, _QUANTITY, _QUANTITY, _QUANTITY), _member(sub, _QUANTITY, _QUANTITY, _INT)),
    ]


def _semver_functions() -> list[Any]:
    valid = _valid(_semver)
    return [
        _function("semver", _global(_semver, _SEMVER, _STRING), _global(_semver, _SEMVER, _STRING, _BOOL)),
        _function("isSemver", _global(valid, _BOOL, _STRING), _global(valid, _BOOL, _STRING, _BOOL)),
        _function("major", _member(lambda version: _value(version).major, _INT, _SEMVER)),
        _function("minor", _member(lambda version: _value(version).minor, _INT, _SEMVER)),
        _function("patch", _member(lambda version: _value(version).patch, _INT, _SEMVER)),
    ]


def _other_functions() -> list[Any]:
    return [
        _function("isSorted", _member(lambda items: items == sorted(items), _BOOL, _LIST)),
        _function("sum", _member(lambda items: reduce(operator.add, items) if items else 0, _DYN, _LIST)),
        _function("min", _member(min, _DYN, _LIST)),
        _function("max", _member(max, _DYN, _LIST)),
        _function("indexOf", _member(lambda items, item: [*_positions(items, item), -1][0], _INT, _LIST, _DYN)),
        _function("lastIndexOf", _member(lambda items, item: [-1, *_positions(items, item)][-1], _INT, _LIST, _DYN)),
        _function("find", _member(lambda *texts: [*_find_all(*texts), ""][0], _STRING, _STRING, _STRING)),
        _function(
            "findAll",
            _member(_find_all, _STRINGS, _STRING, _STRING),
            _member(_find_all, _STRINGS, _STRING, _STRING, _INT),
        ),
    ]


def _comparisons() -> list[Any]:
    """Declare what quantities and versions share: to the library's runtime, which both call, both are messages."""
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
    """Declare `<` and the like over numbers of different types too, which the library has, but does not let pass."""
    numbers = product((_INT, cel.Type.UINT, _DOUBLE), repeat=2)
    others = (_BOOL, _STRING, cel.Type.BYTES, cel.Type.DURATION, cel.Type.TIMESTAMP)
    kinds = [*numbers, *((kind, kind) for kind in others)]
    return [
        _function(name, *(_global(None, _BOOL, *pair) for pair in kinds)) for name in ("_<_", "_<=_", "_>_", "_>=_")
    ]
