"""Checks and evaluates the CEL expressions of device selectors as the API server and kube-scheduler do.

https://github.com/kubernetes/dynamic-resource-allocation/blob/v0.37.2/cel/compile.go
https://github.com/kubernetes/apiserver/blob/v0.37.2/pkg/cel/environment/base.go
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

from cel_expr_python import cel

from topology.kubernetes.cel_library import ANY_NAME, ATTRIBUTES, CAPACITY, Semver, environment, quantity, semver

_ONLY_KUBERNETES = "only Kubernetes can check this"
_SCALARS = "a string, an integer, a version or a boolean"

# cel-expr-python resolves has(device.driver) wrongly. A device always has these four fields.
_HAS_FIELD = re.compile(r"\bhas\(\s*device\s*\.\s*(driver|attributes|capacity|allowMultipleAllocations)\s*\)")

# Kubernetes treats a domain that a device does not have as an empty map, except in iterations and with `in`.
_DOMAIN = re.compile(r"\bdevice\s*\.\s*(attributes|capacity)\s*\[(?!\s*\?)([^\[\]]*)\]")

_LITERAL = re.compile(
    r"""\b(matches|find|findAll|duration|timestamp)\(\s*"""
    r"""([rR]'[^']*'|[rR]"[^"]*"|'(?:[^'\\]|\\\\)*'|"(?:[^"\\]|\\\\)*")\s*[,)]"""
)
_UNKNOWN_HERE = re.compile(r"undeclared reference to '(url|isURL|ip|isIP|cidr|isCIDR|format)\b")
_OPTIONAL_FIELD = re.compile(r"\bdevice\s*\.\s*\?")
_FIRST_ERROR = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*?)( expecting \{.*| \(in container ''\))?$", re.MULTILINE)


class CelError(Exception):
    """An expression is invalid, or its evaluation for a device fails."""

    def __init__(self, message: str, missing: str | None = None) -> None:
        """Set `missing` to the qualified name, such as `gpu.example.com/model`, that the device does not have."""
        self.missing = missing
        super().__init__(message)


class UncheckedError(CelError):
    """An expression uses something that Kubernetes supports and this module does not: it may be valid."""


class CelDevice(NamedTuple):
    """What a selector sees of a device: attributes and capacity as in the API, with or without their domains."""

    driver: str
    attributes: Mapping[str, Mapping[str, Any]]
    capacity: Mapping[str, Mapping[str, Any]]
    allow_multiple_allocations: bool = False


class Expression:
    """A compiled expression."""

    def __init__(self, program: Any, domains: Iterable[str]) -> None:
        """Take the compiled `program` and the domains that the expression names.

        Raises:
            UncheckedError: the program cannot run here.
        """
        self._program = program
        self._domains = sorted(domains)
        self._evaluate(_variables(_NO_DEVICE))

    def value(self, device: CelDevice) -> Any:
        """Evaluate the expression for `device`.

        Raises:
            CelError: the evaluation fails. The scheduler then does not schedule the pod.
        """
        variables = _variables(device)
        result = self._evaluate(variables)
        key = _missing_key(result)
        if key:
            raise self._missing(variables, key)
        value = result.plain_value()
        if result.type() == cel.Type.ERROR:
            raise CelError(_reason(result))
        return value

    def _evaluate(self, variables: Mapping[str, Any]) -> Any:
        try:
            return self._program.eval(data=variables)
        except RuntimeError as error:
            raise UncheckedError(f"{_ONLY_KUBERNETES}: {error}") from None

    def _missing(self, variables: Mapping[str, Any], key: str) -> CelError:
        """Find the domain of the missing `key`: the one in which adding the key changes the result."""
        for kind, word, value in ((ATTRIBUTES, "attribute", None), (CAPACITY, "capacity", quantity("0"))):
            for domain in [*variables[kind], *self._domains]:
                variables[kind].setdefault(domain, {})[key] = value
                if _missing_key(self._evaluate(variables)) != key:
                    name = f"{domain}/{key}"
                    return CelError(f"the device has no {word} {name}", name)
        return CelError(f"no such key: {key}")


class Selector(Expression):
    """The compiled expression of a selector."""

    def matches(self, device: CelDevice) -> bool:
        """Tell whether the selector matches `device`.

        Raises:
            CelError: as in `value`, or the result is not a boolean.
        """
        value = self.value(device)
        if not isinstance(value, bool):
            raise CelError(f"must evaluate to true or false, but evaluates to {value!r}")
        return value


class Derived(Expression):
    """The compiled expression of a derived attribute."""

    def attribute(self, device: CelDevice) -> dict[str, Any]:
        """Return the derived attribute of `device` as in the API, such as `{"int": 1}` or `{"ints": [0, 1]}`.

        Raises:
            CelError: as in `value`, or the result cannot be an attribute.
        """
        value = self.value(device)
        if not isinstance(value, list):
            return {_kind_of(value): _plain(value)}
        kinds = {_kind_of(item) for item in value} or {"string"}
        if len(kinds) > 1:
            raise CelError(f"must evaluate to a list of values of one type, but evaluates to {value!r}")
        return {f"{kinds.pop()}s": [_plain(item) for item in value]}


def _kind_of(value: Any) -> str:
    for kind, name in ((bool, "bool"), (int, "int"), (str, "string"), (Semver, "version")):
        if isinstance(value, kind):
            return name
    raise CelError(f"must evaluate to {_SCALARS}, but evaluates to {value!r}")


def _plain(value: Any) -> Any:
    return value.canonical if isinstance(value, Semver) else value


@cache
def compile_derived(expression: str, *, list_attributes: bool = False) -> Derived:
    """Check the `expression` of a derived attribute as the API server does; see `compile_selector`.

    Raises:
        CelError: as in `compile_selector`, but the result must be an attribute.
        UncheckedError: as in `compile_selector`.
    """
    scalar = rf"(BOOL|INT|STRING|DYN|{ANY_NAME}|kubernetes\.Semver)"
    lists = rf"LIST<{scalar}>|" if list_attributes else ""
    wanted = _SCALARS + (", or a list of one of these" if list_attributes else "")
    return Derived(*_compiled(expression, list_attributes, lists + scalar, wanted))


@cache
def compile_selector(expression: str, *, list_attributes: bool = False) -> Selector:
    """Check `expression` as the API server does, with or without the feature gate DRAListTypeAttributes.

    The scheduler evaluates with lists even if the gate is off, because stored objects may use them.

    Raises:
        CelError: the expression has a syntax error, an unknown name or a wrong type, or its result is not a boolean.
        UncheckedError: this module cannot check the expression, but Kubernetes may accept it.
    """
    return Selector(*_compiled(expression, list_attributes, f"BOOL|DYN|{ANY_NAME}", "bool"))


def _compiled(expression: str, list_attributes: bool, kinds: str, wanted: str) -> tuple[Any, set[str]]:
    """Return the program and the domains that the expression names; its type must match the regex `kinds`."""
    plain = _HAS_FIELD.sub(lambda match: "true".ljust(len(match[0])), expression)
    _check(plain, list_attributes, kinds, wanted)
    try:
        program = environment(True).compile(_DOMAIN.sub(r"device.\1[?\2].orValue({})", plain))
    except RuntimeError as error:
        raise UncheckedError(f"{_ONLY_KUBERNETES}: {error}") from None
    return program, {match[2].strip("\"' ") for match in _DOMAIN.finditer(plain)}


def _check(expression: str, list_attributes: bool, kinds: str, wanted: str) -> None:
    try:
        kind = environment(list_attributes).compile(expression).return_type().name()
    except RuntimeError as error:
        raise _compile_error(expression, str(error)) from None
    _check_literals(expression)
    if not re.fullmatch(kinds, kind):
        raise CelError(f"must evaluate to {wanted}, but evaluates to {kind.replace(ANY_NAME, 'any').lower()}")


def _check_literals(expression: str) -> None:
    """Refuse what the API server refuses before any evaluation: invalid regular expressions, durations and times."""
    for function, literal in _LITERAL.findall(expression):
        call = f"{function}({literal})"
        target = "" if function in ("duration", "timestamp") else "''."
        result = environment(True).compile(target + call).eval(data=_variables(_NO_DEVICE))
        if result.type() == cel.Type.ERROR:
            raise CelError(f"{call} fails: {_reason(result)}")


def _reason(error: Any) -> str:
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
    match = re.fullmatch(r'NOT_FOUND: Key not found in map : "(.*)"', str(result.plain_value()))
    return match[1] if match else None


_NO_DEVICE = CelDevice("", {}, {})


def _variables(device: CelDevice) -> dict[str, Any]:
    return {
        "device.driver": device.driver,
        "device.allowMultipleAllocations": device.allow_multiple_allocations,
        ATTRIBUTES: _by_domain(device.driver, device.attributes, _attribute),
        CAPACITY: _by_domain(device.driver, device.capacity, lambda capacity: quantity(str(capacity["value"]))),
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
        return semver(value)
    return [semver(version) for version in value] if kind == "versions" else value
