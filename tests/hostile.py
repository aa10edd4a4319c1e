"""Inputs that mean harm, and a way to try many of them: the same ones on every run."""

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

T = TypeVar("T")
Configuration = dict[str, Any]
Place = tuple[Any, Any]
"""A mapping or list, and a key or index in it."""

HARMFUL = [
    # shell
    "$(touch pwned)",
    "`touch pwned`",
    "'; touch pwned; '",
    '"; touch pwned; "',
    "x && touch pwned",
    "x | tee pwned",
    "--help",
    "-rf",
    "${IFS}",
    "*",
    "%s%n",
    # YAML
    "\nkind: Secret",
    "x: y",
    "- x",
    "{a: b}",
    "# comment",
    "&anchor",
    "*alias",
    "!!python/object/apply:os.system ['touch pwned']",
    "---\n",
    "no",
    "~",
    "0x10",
    "1e3",
    "2026-01-01",
    "<<",
    # CEL, Go templates, jsonpath, selectors
    "') || true || ('",
    'device.driver == "x" || true',
    "true) || (true",
    "true\n|| true",
    "// true",
    "{{ .Env }}",
    "{.metadata}",
    "{index*999999999+999999999}",
    "{node}",
    "a,b=c",
    # paths
    "../../etc/passwd",
    "/etc/passwd",
    "~/.kube/config",
    "file:///etc/passwd",
    "a/../../..",
    "a\\..\\b",
    # text and terminals
    "",
    " ",
    "\0",
    "a\0b",
    "a\n",
    "a\r\nb",
    "\x1b[2J",
    "\x85",
    "\u2028",
    "\u202e",
    "\ufeff",
    "²",
    "٣",
    "ß",
    "é" * 40,
    "a" * 64,
    "a" * 254,
    "x/" + "a" * 300,
    # quantities and numbers
    "1e999999999",
    "1e-999999999",
    "1" * 60,
    "." + "1" * 60,
    "9223372036854775808",
    "1e30Ki",
    "-1",
    "+1",
    "NaN",
    "9" * 5000,
]

ODD: list[Any] = [None, True, 0, -1, 1.5, 2**31, 2**53, 2**63, 10**30, 10**400, [], {}, [[]], [None], {"a": None}]
"""Values of other types and sizes."""

texts = st.one_of(st.sampled_from(HARMFUL), st.text(max_size=20), st.text(alphabet="aZ0-_./:{}$'\"\\\n ", max_size=20))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from(ODD[:9]),
    st.floats(),
    texts,
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def try_all(inputs: st.SearchStrategy[T], check: Callable[[T], None], count: int, *, shrink: bool = True) -> None:
    """Check so many of the `inputs`; `shrink` looks for the smallest one that fails."""
    tried = 0

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=list(Phase) if shrink else [Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs)
    def run(one: T) -> None:
        nonlocal tried
        tried += 1
        check(one)

    run()
    assert tried >= count, f"only {tried} inputs were tried"


@st.composite
def changed(draw: st.DrawFn, originals: list[Configuration]) -> Configuration:
    """Return one of the configurations with harm in one to three places of it."""
    configuration = copy.deepcopy(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 3))):
        parent, key = draw(st.sampled_from(list(places(configuration).values())))
        match draw(st.sampled_from(["value", "text", "part", "other", "key", "none"])):
            case "value":
                parent[key] = draw(values)
            case "text":
                parent[key] = draw(texts)
            case "part":
                parent[key] = draw(st.sampled_from(["{}{}", "{1}{0}", "{0}{1}{0}"])).format(parent[key], draw(texts))
            case "other":
                other, place = draw(st.sampled_from(list(places(configuration).values())))
                parent[key] = copy.deepcopy(other[place])
            case "key" if isinstance(parent, dict):
                parent[draw(texts)] = parent[key]
            case _:
                del parent[key]
        if not configuration:
            break
    return configuration


def places(value: Any, path: str = "") -> dict[str, Place]:
    """Return every place in a configuration by its path, such as `nodePools[].name`: of those alike the first."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found: dict[str, Place] = {}
    for key, held in items:
        here = f"{path}[]" if isinstance(value, list) else f"{path}.{key}".removeprefix(".")
        found = {here: (value, key)} | places(held, here) | found
    return found


def as_yaml(value: Any) -> bytes:
    """Write a value as a YAML file."""
    return yaml.safe_dump(value, allow_unicode=True).encode(errors="replace")
