"""From the raw configuration of a stack to a `Topology`, or to one message that lists every problem."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from topology import limits
from topology.configuration import Topology
from topology.model import Model
from topology.values import suggestion


class Problem(NamedTuple):
    """One thing that is wrong: the path of its key, such as `nodePools[0].gpu`, and what to do about it."""

    path: str
    message: str


class ConfigurationError(Exception):
    """The configuration is not valid; `problems` lists everything that is wrong with it, in the order of its keys."""

    def __init__(self, problems: list[Problem]) -> None:
        """Keep the problems and make the message of them."""
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = [f"the configuration has {count}; nothing was created or changed"]
        lines += [f"  kwok-dra:{problem.path}: {problem.message}" for problem in problems]
        super().__init__("\n".join(lines))


def load(raw: Mapping[str, object]) -> Topology:
    """Build the topology that `raw`, the stack's configuration by key, describes.

    Raises:
        ConfigurationError: something is wrong; the error names every problem, not just the first.
    """
    problems = list(_inconsistencies(raw))
    try:
        topology = Topology.model_validate(raw)
    except ValidationError as error:
        problems += [Problem(_path(details["loc"]), _message(details)) for details in error.errors()]
    if problems:
        raise ConfigurationError(sorted(problems, key=_place))
    return topology


def _place(problem: Problem) -> list[tuple[int, str]]:
    """Sort `nodePools[10]` after `nodePools[2]`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", problem.path)]


# The rules between the parts. They read the raw configuration, so that they hold beside errors elsewhere in it, and
# leave what has the wrong shape to the models.


def _inconsistencies(raw: Mapping[str, object]) -> Iterator[Problem]:
    for key in ("deviceClasses", "nodePools", "workloads"):
        yield from _duplicates(_each("", raw, key), "name")
    yield from _too_many_nodes(raw)
    names = [entry.get("name") for _, entry in _each("", raw, "deviceClasses")]
    classes = [name for name in names if isinstance(name, str)]
    for path, workload in _each("", raw, "workloads"):
        yield from _duplicates(_each(f"{path}.", workload, "claims"), "name")
        for claim_path, claim in _each(f"{path}.", workload, "claims"):
            yield from _duplicates(_each(f"{claim_path}.", claim, "requests"), "name")
            yield from _unknown_classes(_each(f"{claim_path}.", claim, "requests"), classes)
    yield from _shared_templates(raw)


def _each(prefix: str, parent: Mapping[str, Any], key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    items = parent.get(key)
    for index, item in enumerate(items if isinstance(items, list) else []):
        if isinstance(item, dict):
            yield f"{prefix}{key}[{index}]", item


def _duplicates(items: Iterator[tuple[str, Mapping[str, Any]]], key: str) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for path, item in items:
        value = item.get(key)
        if isinstance(value, str) and first.setdefault(value, path) != path:
            yield Problem(
                f"{path}.{key}",
                f"{value!r} is the {key} of {first[value]} already: give each its own",
            )


def _unknown_classes(requests: Iterator[tuple[str, Mapping[str, Any]]], classes: list[str]) -> Iterator[Problem]:
    for path, request in requests:
        name = request.get("deviceClass")
        if isinstance(name, str) and name not in classes:
            known = f"Name one of {', '.join(classes)}, or" if classes else "There are none yet:"
            yield Problem(
                f"{path}.deviceClass",
                f"there is no device class {name!r}{suggestion(name, classes)} {known} "
                "add the class to kwok-dra:deviceClasses",
            )


def _too_many_nodes(raw: Mapping[str, object]) -> Iterator[Problem]:
    most = limits.CLUSTER_NODES_MAX
    counts = [pool.get("nodes", 1) for _, pool in _each("", raw, "nodePools")]
    total = sum(count for count in counts if isinstance(count, int) and count <= most)
    if total > most:
        yield Problem("nodePools", f"have {total} nodes together; Kubernetes supports at most {most} in a cluster")


def _shared_templates(raw: Mapping[str, object]) -> Iterator[Problem]:
    """Two claims of one template name would be one object made twice, with the last one's requests."""
    claims = (
        (path, {"template": claim.get("template") or f"{workload.get('name')}-{claim.get('name')}"})
        for workload_path, workload in _each("", raw, "workloads")
        for path, claim in _each(f"{workload_path}.", workload, "claims")
        if claim.get("template") or (workload.get("name") and claim.get("name"))
    )
    yield from _duplicates(claims, "template")


# From pydantic's errors to words.

_MESSAGES = {
    "bool_type": "has to be true or false, but is {input}",
    "dict_type": "has to be a mapping of keys to values, but is {input}",
    "greater_than_equal": "has to be at least {ge}, but is {input}",
    "int_type": "has to be a whole number, but is {input}",
    "less_than_equal": "may be at most {le}, but is {input}",
    "list_type": "has to be a list, but is {input}",
    "literal_error": "{input} is not possible here; use one of {expected}",
    "missing": "is required",
    "model_type": "has to be a mapping of keys to values, but is {input}",
    "string_too_long": "may have at most {max_length} characters, but has more",
    "string_too_short": "must not be empty",
    "string_type": "has to be a text, but is {input}",
    "too_long": "may have at most {max_length} entries, but has {actual_length}",
    "too_short": "has to have at least {min_length} entry, but has {actual_length}",
}


def _message(details: ErrorDetails) -> str:
    if details["type"] == "extra_forbidden":
        *parents, key = details["loc"]
        known = sorted(_known_keys(tuple(parents)))
        return f"there is no such key{suggestion(str(key), known)} The keys here are {', '.join(known)}"
    template = _MESSAGES.get(details["type"], details["msg"].replace("{", "{{").replace("}", "}}"))
    return template.format(input=_shown(details["input"]), **details.get("ctx", {}))


def _shown(value: object) -> str:
    """Write a value as the user's YAML has it, not as Python does."""
    return repr(value) if isinstance(value, str) else json.dumps(value, default=str)


def _path(location: tuple[int | str, ...]) -> str:
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location if part != "[key]"]
    return "".join(parts).removeprefix(".")


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    model: type[Model] = Topology
    for part in location:
        field = next((field for field in model.model_fields.values() if field.alias == part), None)
        nested = _nested_model(field.annotation) if field else None
        model = nested or model
    return [str(field.alias) for field in model.model_fields.values()]


def _nested_model(annotation: object) -> type[Model] | None:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    return next((model for argument in get_args(annotation) if (model := _nested_model(argument))), None)
