"""From the raw configuration of a stack to a `Topology`, or to one message that lists every problem."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from topology.checks import preflight
from topology.kubernetes import limits
from topology.kubernetes.objects import DEFAULT_NAMESPACE
from topology.schema.base import Model, Problem
from topology.schema.catalogue import ENTRIES, Catalogue, built_in, read
from topology.schema.features_used import apis_written, completed, features_used
from topology.schema.stack import Topology
from topology.schema.user_files import UnreadableError
from topology.schema.values import suggestion


class ConfigurationError(Exception):
    """The configuration is not valid; `problems` lists everything that is wrong with it, in the order of its keys."""

    def __init__(self, problems: list[Problem]) -> None:
        """Keep the problems and make the message of them."""
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = [f"the configuration has {count}; nothing was created or changed"]
        lines += [f"  kwok-dra:{_printable(problem.path)}: {_printable(problem.message)}" for problem in problems]
        super().__init__("\n".join(lines))


def _printable(text: str) -> str:
    """Write what is no character to be seen as an escape, so that each problem is one line, and only that."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


class LookResult(NamedTuple):
    """The topology with what an existing cluster says of itself, and what is in the way there."""

    topology: Topology
    problems: list[Problem]
    answers: bool
    """Whether the version of the cluster is known."""
    classes: frozenset[str] = frozenset()
    """The DeviceClasses that somebody else has made there exactly as the stack would."""


Look = Callable[[Topology, Path], LookResult]
"""Looks at an existing cluster; the path of its kubeconfig is relative to the folder."""


def load(raw: Mapping[str, object], folder: Path = Path(), look: Look | None = None) -> Topology:
    """Build the topology that `raw`, the stack's configuration by key, describes.

    Added are the device classes that the charts of its drivers ship, and the gates and APIs that the cluster needs.
    Files that `raw` names lie below `folder`. `look` reads an existing cluster; without it nothing is known of one.

    Raises:
        ConfigurationError: something is wrong; the error names every problem, not just the first.
    """
    catalogue, problems = _catalogue(raw, folder)
    problems += _inconsistencies(raw, catalogue)
    try:
        topology = Topology.model_validate(raw, context={**catalogue._asdict(), "folder": folder})
    except ValidationError as error:
        problems += [Problem(_path(details["loc"]), _message(details)) for details in error.errors()]
    else:
        topology = _with_shipped_classes(topology, catalogue)
        found = LookResult(topology, [], answers=False) if problems else _looked_up(topology, folder, look)
        topology = found.topology
        problems += found.problems + (preflight.problems(topology) if found.answers else [])
        if not problems:
            left = [entry for entry in topology.device_classes if entry.name not in found.classes]
            topology = topology.model_copy(update={"device_classes": left})
            cluster = completed(topology.cluster, features_used(topology), apis_written(topology))
            topology = topology.model_copy(update={"cluster": cluster})
    if problems:
        raise ConfigurationError(sorted(dict.fromkeys(problems), key=_place))
    return topology


def _catalogue(raw: Mapping[str, object], folder: Path) -> tuple[Catalogue, list[Problem]]:
    """Return the catalogue with the stack's own files, and what is wrong with them."""
    catalogue = built_in()
    problems = []
    names = raw.get("catalogue")
    for index, name in enumerate(names if isinstance(names, list) else []):
        if not isinstance(name, str):
            continue  # The models tell.
        try:
            catalogue = catalogue.extended(read(folder, name))
        except (UnreadableError, ValidationError) as error:
            problems += [Problem(f"catalogue[{index}]", message) for message in _messages_of(error, name)]
    return catalogue, problems


def _messages_of(error: Exception, name: str) -> list[str]:
    if isinstance(error, ValidationError):
        return [f"{name!r}: {_path(details['loc'])}: {_message(details)}" for details in error.errors()]
    return [str(error)]


def _with_shipped_classes(topology: Topology, catalogue: Catalogue) -> Topology:
    shipped = catalogue.device_classes(driver for pool in topology.node_pools for driver in pool.drivers)
    own = {device_class.name: device_class for device_class in topology.device_classes}
    return topology.model_copy(update={"device_classes": list((own | shipped | own).values())})


def _looked_up(topology: Topology, folder: Path, look: Look | None) -> LookResult:
    """Return what `look` finds in an existing cluster; nothing is in the way in a cluster that the stack creates."""
    if look and topology.cluster.existing:
        return look(topology, folder)
    return LookResult(topology, [], answers=topology.cluster.existing is None)


def _place(problem: Problem) -> list[tuple[int, str]]:
    """Sort `nodePools[10]` after `nodePools[2]`: a longer number is a larger one."""
    return [(len(part) if place % 2 else 0, part) for place, part in enumerate(re.split(r"([0-9]+)", problem.path))]


APPLIED = ("workloads", "manifests")
"""What comes after each other, and what the outputs call a workload."""

# The rules between the parts. They read the raw configuration, so that they hold beside errors elsewhere in it, and
# leave what has the wrong shape to the models.


def _inconsistencies(raw: Mapping[str, object], catalogue: Catalogue) -> Iterator[Problem]:
    for keys in (["deviceClasses"], ["nodePools"], APPLIED):
        yield from _duplicates([entry for key in keys for entry in _each("", raw, key)], "name")
    yield from _too_many_nodes(raw)
    names = [entry.get("name") for _, entry in _each("", raw, "deviceClasses")]
    classes = [name for name in names if isinstance(name, str)]
    classes += catalogue.device_classes(_drivers(raw, catalogue))
    models_known = all(isinstance(model, dict) or model in catalogue.models for model in _models(raw))
    yield from _duplicates(_each("", raw, "claims"), "name", in_namespaces=True)
    for path, workload in _each("", raw, "workloads"):
        yield from _duplicates(_each(f"{path}.", workload, "claims"), "name")
        yield from _duplicates(_each(f"{path}.", workload, "containers"), "name")
    for path, claim, namespace in _claims(raw):
        yield from _duplicates(_each(f"{path}.", claim, "requests"), "name")
        for request_path, request in _each(f"{path}.", claim, "requests"):
            alternatives = list(_each(f"{request_path}.", request, "firstAvailable"))
            yield from _duplicates(alternatives, "name")
            if models_known:  # A model that is not known would bring classes that are not known either.
                yield from _unknown_classes([(request_path, request), *alternatives], classes)
            if namespace == DEFAULT_NAMESPACE:
                yield from _admin_access(request_path, request)
    yield from _shared_templates(raw)
    yield from _shared_claims(raw)
    yield from _order(raw)


def _claims(raw: Mapping[str, object]) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """Go through the shared claims and those of workloads, each with its namespace."""
    for path, claim in _each("", raw, "claims"):
        yield path, claim, _namespace(claim)
    for path, workload in _each("", raw, "workloads"):
        for claim_path, claim in _each(f"{path}.", workload, "claims"):
            yield claim_path, claim, _namespace(workload)


def _namespace(entry: Mapping[str, Any]) -> str:
    return str(entry.get("namespace", DEFAULT_NAMESPACE))


def _each(prefix: str, parent: Mapping[str, Any], key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    items = parent.get(key)
    for index, item in enumerate(items if isinstance(items, list) else []):
        if isinstance(item, dict):
            yield f"{prefix}{key}[{index}]", item


def _models(raw: Mapping[str, object]) -> Iterator[dict[str, Any] | str]:
    """Go through the device models of the pools, by name or written out."""
    for path, pool in _each("", raw, "nodePools"):
        models = [pool.get("gpu"), *(entry.get("model") for _, entry in _each(f"{path}.", pool, "devices"))]
        yield from (model for model in models if isinstance(model, dict | str))


def _drivers(raw: Mapping[str, object], catalogue: Catalogue) -> Iterator[str]:
    for model in _models(raw):
        if isinstance(model, dict):
            yield str(model.get("driver"))
        elif model in catalogue.models:
            yield catalogue.models[model].driver


def _duplicates(
    items: Iterable[tuple[str, Mapping[str, Any]]], key: str, *, in_namespaces: bool = False
) -> Iterator[Problem]:
    """Yield what has a name that is taken; `in_namespaces`, another namespace may have it too."""
    first: dict[tuple[str, str], str] = {}
    for path, item in items:
        value = item.get(key)
        if not isinstance(value, str):
            continue
        holder = first.setdefault((_namespace(item) if in_namespaces else "", value), path)
        if holder != path:
            yield Problem(f"{path}.{key}", f"{value!r} is the {key} of {holder} already: give each its own")


def _unknown_classes(requests: Iterable[tuple[str, Mapping[str, Any]]], classes: list[str]) -> Iterator[Problem]:
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


def _admin_access(path: str, request: Mapping[str, Any]) -> Iterator[Problem]:
    if request.get("adminAccess") is True:
        yield Problem(
            f"{path}.adminAccess",
            f"needs a namespace that allows it, and {DEFAULT_NAMESPACE} is not the stack's to change: set a namespace "
            "of its own, such as namespace: admin, which the stack makes with the label that allows it",
        )


def _shared_templates(raw: Mapping[str, object]) -> Iterator[Problem]:
    """Two claims of one template name would be one object made twice, with the last one's requests."""
    claims = (
        (
            path,
            {
                "template": claim.get("template") or f"{workload.get('name')}-{claim.get('name')}",
                "namespace": _namespace(workload),
            },
        )
        for workload_path, workload in _each("", raw, "workloads")
        for path, claim in _each(f"{workload_path}.", workload, "claims")
        if claim.get("template") or (workload.get("name") and claim.get("name") and not claim.get("claim"))
    )
    yield from _duplicates(claims, "template", in_namespaces=True)


def _shared_claims(raw: Mapping[str, object]) -> Iterator[Problem]:
    """Yield names of shared claims that are not there, and shared claims with more pods than can share one."""
    shared = {(_namespace(claim), str(claim.get("name"))): path for path, claim in _each("", raw, "claims")}
    pods: Counter[str] = Counter()
    for path, workload in _each("", raw, "workloads"):
        namespace = _namespace(workload)
        group = workload.get("podGroup")
        names = group.get("claims") if isinstance(group, dict) else None
        used: set[str] = set()
        of_group: set[str] = set()
        for claim_path, claim in _each(f"{path}.", workload, "claims"):
            name = claim.get("claim")
            if isinstance(name, str) and (namespace, name) in shared:
                used.add(shared[namespace, name])
                if isinstance(names, list) and claim.get("name") in names:
                    of_group.add(shared[namespace, name])
            elif isinstance(name, str):
                yield Problem(f"{claim_path}.claim", _no_shared_claim(name, namespace, list(shared)))
        replicas = workload.get("replicas", 1)
        pods.update(dict.fromkeys(used - of_group, replicas if type(replicas) is int else 0))
        pods.update(used & of_group)
    for path, count in pods.items():
        if count > limits.CLAIM_CONSUMERS_MAX:
            yield Problem(
                path,
                f"is shared by {count} pods; the Kubernetes API allows {limits.CLAIM_CONSUMERS_MAX}: ask for fewer "
                "replicas, or spread the pods over several claims",
            )


def _no_shared_claim(name: str, namespace: str, known: list[tuple[str, str]]) -> str:
    here = [other for place, other in known if place == namespace]
    message = f"there is no shared claim {name!r} in namespace {namespace}{suggestion(name, here)}"
    if elsewhere := [place for place, other in known if other == name]:
        return f"{message} It is in {', '.join(elsewhere)}: pods share claims of their own namespace only"
    if here:
        return f"{message} Name one of {', '.join(here)}, or add it to kwok-dra:claims"
    return f"{message} There are none yet: add it to kwok-dra:claims"


def _order(raw: Mapping[str, object]) -> Iterator[Problem]:
    """Yield what of `after` is no order."""
    workloads = {str(entry.get("name")): (path, entry) for key in APPLIED for path, entry in _each("", raw, key)}
    predecessors: dict[str, list[str]] = {}
    for name, (path, workload) in workloads.items():
        after = workload.get("after")
        predecessors[name] = []
        for place, other in enumerate(after if isinstance(after, list) else []):
            if other == name:
                yield Problem(f"{path}.after[{place}]", "is the workload itself: leave it out, or name another")
            elif isinstance(other, str) and other not in workloads:
                yield Problem(
                    f"{path}.after[{place}]",
                    f"there is no workload {other!r}{suggestion(other, workloads)} "
                    f"Name one of {', '.join(workloads)}, or leave it out",
                )
            elif isinstance(other, str):
                predecessors[name].append(other)
    try:
        TopologicalSorter(predecessors).prepare()
    except CycleError as error:
        circle = " after ".join(reversed(error.args[1]))
        yield Problem("workloads", f"come after each other in a circle, {circle}: take one of these out of its after")


# From pydantic's errors to words.

_MESSAGES = {
    "bool_type": "has to be true or false, but is {input}",
    "dict_type": "has to be a mapping of keys to values, but is {input}",
    "greater_than_equal": "has to be at least {ge}, but is {input}",
    "int_type": "has to be a whole number, but is {input}",
    "less_than": "has to be less than {lt}, but is {input}",
    "less_than_equal": "may be at most {le}, but is {input}",
    "list_type": "has to be a list, but is {input}",
    "literal_error": "{input} is not possible here; use one of {expected}",
    "missing": "is required",
    "model_type": "has to be a mapping of keys to values, but is {input}",
    "string_too_short": "must not be empty",
    "string_type": "has to be a text, but is {input}",
    "too_long": "may have at most {max_length} entries, but has {actual_length}",
    "string_pattern_mismatch": "{input} does not match {pattern}",
    "too_short": "has to have at least {min_length} entry, but has {actual_length}",
}


LEVELS_SHOWN = 5
"""Of a value that is of no use, so much is in the message."""


def _message(details: ErrorDetails) -> str:
    if details["type"] == "extra_forbidden":
        *parents, key = details["loc"]
        known = sorted(_known_keys(tuple(parents)))
        return f"there is no such key{suggestion(str(key), known)} The keys here are {', '.join(known)}"
    template = _MESSAGES.get(details["type"], details["msg"].replace("{", "{{").replace("}", "}}"))
    return template.format(input=_shown(details["input"]), **details.get("ctx", {}))


def _shown(value: object) -> str:
    """Write a value as the user's YAML has it, not as Python does."""
    return (
        repr(value)
        if isinstance(value, str)
        else json.dumps(_shallow(value, LEVELS_SHOWN), default=str, ensure_ascii=False)
    )


def _shallow(value: object, levels: int) -> object:
    """Leave out what is nested deeper; keys become texts."""
    if not levels and value:
        return "…" if isinstance(value, dict | list) else value
    if isinstance(value, dict):
        return {str(key): _shallow(held, levels - 1) for key, held in value.items()}
    return [_shallow(held, levels - 1) for held in value] if isinstance(value, list) else value


def _path(location: tuple[int | str, ...]) -> str:
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location if part != "[key]"]
    return "".join(parts).removeprefix(".")


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    model: type[Model] = ENTRIES.get(str(location[0]), Topology) if location else Topology
    for part in location:
        field = next((field for field in model.model_fields.values() if field.alias == part), None)
        nested = _nested_model(field.annotation) if field else None
        model = nested or model
    return [str(field.alias) for field in model.model_fields.values()]


def _nested_model(annotation: object) -> type[Model] | None:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    return next((model for argument in get_args(annotation) if (model := _nested_model(argument))), None)
