"""From the raw configuration of a stack to a `Topology`, or to one message that lists every problem."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from topology.checks import preflight
from topology.checks.warnings import warnings_of
from topology.kubernetes import limits
from topology.kubernetes.naming import natural_key
from topology.kubernetes.objects import DEFAULT_NAMESPACE
from topology.schema.base import Model, Problem
from topology.schema.catalogue import ENTRIES, Catalogue, built_in, read
from topology.schema.features_used import apis_written, completed, features_used
from topology.schema.stack import Topology
from topology.schema.user_files import UnreadableError
from topology.schema.values import choice, shown, suggestion


class ConfigurationError(Exception):
    """The configuration is not valid; `problems` lists all its problems in the order of its keys."""

    def __init__(self, problems: list[Problem]) -> None:
        """Keep the problems and compose the message."""
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = [f"the configuration has {count}; nothing was created or changed"]
        lines += [f"  kwok-dra:{printable(problem.path)}: {printable(problem.message)}" for problem in problems]
        super().__init__("\n".join(lines))


def printable(text: str) -> str:
    """Escape the characters that are not printable, so that each problem takes exactly one line."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


class LookResult(NamedTuple):
    """The topology with the facts of an existing cluster, and the conflicts with objects there."""

    topology: Topology
    problems: list[Problem]
    answers: bool
    """Whether the version of the cluster is known."""
    classes: frozenset[str] = frozenset()
    """The DeviceClasses that exist there exactly as the stack would create them."""


Look = Callable[[Topology, Path], LookResult]
"""Examines an existing cluster; the path of its kubeconfig is relative to the folder."""


def load(
    raw: Mapping[str, object],
    folder: Path = Path(),
    look: Look | None = None,
    warn: Callable[[str], object] | None = None,
) -> Topology:
    """Build the topology that `raw`, the stack's configuration by key, describes.

    It includes the device classes that the charts of its drivers ship, and the gates and APIs that the cluster needs.
    Files that `raw` names are in `folder`. `look` examines an existing cluster; without it, that is not checked. `warn`
    is called with each warning about a valid stack.

    Raises:
        ConfigurationError: the configuration is not valid; the error lists every problem.
    """
    catalogue, problems = _catalogue(raw, folder)
    problems += _inconsistencies(raw, catalogue)
    try:
        topology = Topology.model_validate(raw, context={**catalogue._asdict(), "folder": folder})
    except ValidationError as error:
        problems += [Problem(_path(details["loc"]), _message(details)) for details in error.errors()]
    else:
        topology = with_shipped_classes(topology, catalogue)
        found = LookResult(topology, [], answers=False) if problems else _looked_up(topology, folder, look)
        topology = found.topology
        problems += found.problems + (preflight.problems(topology) if found.answers else [])
        if not problems:
            if warn:
                for message in warnings_of(topology):
                    warn(message)
            left = [entry for entry in topology.device_classes if entry.name not in found.classes]
            topology = topology.model_copy(update={"device_classes": left})
            cluster = completed(topology.cluster, features_used(topology), apis_written(topology))
            topology = topology.model_copy(update={"cluster": cluster})
    if problems:
        raise ConfigurationError(sorted(dict.fromkeys(problems), key=lambda problem: natural_key(problem.path)))
    return topology


def _catalogue(raw: Mapping[str, object], folder: Path) -> tuple[Catalogue, list[Problem]]:
    """Return the catalogue with the stack's own files, and the problems of these."""
    catalogue = built_in()
    problems = []
    names = raw.get("catalogue")
    for index, name in enumerate(names if isinstance(names, list) else []):
        if not isinstance(name, str):
            continue  # The models report it.
        try:
            catalogue = catalogue.extended(read(folder, name))
        except (UnreadableError, ValidationError) as error:
            problems += [Problem(f"catalogue[{index}]", message) for message in _messages_of(error, name)]
    return catalogue, problems


def _messages_of(error: Exception, name: str) -> list[str]:
    if isinstance(error, ValidationError):
        return [f"{name!r}: {_path(details['loc'])}: {_message(details)}" for details in error.errors()]
    return [str(error)]


def with_shipped_classes(topology: Topology, catalogue: Catalogue) -> Topology:
    """Return the topology with the device classes that the charts of its drivers ship, unless it replaces them."""
    shipped = catalogue.device_classes(driver for pool in topology.pools.values() for driver in pool.drivers)
    own = {device_class.name: device_class for device_class in topology.device_classes}
    return topology.model_copy(update={"device_classes": list((own | shipped | own).values())})


def _looked_up(topology: Topology, folder: Path, look: Look | None) -> LookResult:
    """Return what `look` finds in an existing cluster; a cluster that the stack creates has no conflicts."""
    if look and topology.cluster.existing:
        return look(topology, folder)
    return LookResult(topology, [], answers=topology.cluster.existing is None)


POOLS = ("nodePools", "fabricPools")
"""The keys whose entries have devices."""

PROGRAMS = ("schedulers", "controllers")
"""The keys whose entries are components of the cluster."""

APPLIED = ("workloads", "manifests")
"""The keys whose entries `after` orders, and which the outputs call workloads."""

# The rules between the parts. They read the raw configuration, so that they apply despite errors elsewhere; the models
# report values of the wrong type.


def _inconsistencies(raw: Mapping[str, object], catalogue: Catalogue) -> Iterator[Problem]:
    for keys in (["deviceClasses"], ["priorityClasses"], ["queues"], PROGRAMS, POOLS, APPLIED):
        yield from _duplicates([entry for key in keys for entry in _each("", raw, key)], "name")
    yield from _too_many_nodes(raw)
    yield from _without_devices(raw)
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
            if models_known:  # An unknown model would bring unknown classes.
                yield from _unknown_classes([(request_path, request), *alternatives], classes)
            if namespace == DEFAULT_NAMESPACE:
                yield from _admin_access(request_path, request)
    yield from _shared_templates(raw)
    yield from _shared_claims(raw)
    yield from _order(raw)


def _claims(raw: Mapping[str, object]) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """Yield the shared claims and those of workloads, each with its namespace."""
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
    """Yield the device models of the pools, by name or written out."""
    for path, pool in (entry for key in POOLS for entry in _each("", raw, key)):
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
    """Yield the entries whose name is taken; with `in_namespaces`, names are unique per namespace."""
    first: dict[tuple[str, str], str] = {}
    for path, item in items:
        value = item.get(key)
        if not isinstance(value, str):
            continue
        holder = first.setdefault((_namespace(item) if in_namespaces else "", value), path)
        if holder != path:
            yield Problem(f"{path}.{key}", f"{value!r} is already the {key} of {holder}: give each its own")


def _unknown_classes(requests: Iterable[tuple[str, Mapping[str, Any]]], classes: list[str]) -> Iterator[Problem]:
    for path, request in requests:
        name = request.get("deviceClass")
        if isinstance(name, str) and name not in classes:
            known = choice(name, classes, "add the class to kwok-dra:deviceClasses")
            yield Problem(f"{path}.deviceClass", f"there is no device class {name!r}{known}")


def _too_many_nodes(raw: Mapping[str, object]) -> Iterator[Problem]:
    most = limits.CLUSTER_NODES_MAX
    counts = [pool.get("nodes", 1) for _, pool in _each("", raw, "nodePools")]
    total = sum(count for count in counts if isinstance(count, int) and count <= most)
    if total > most:
        yield Problem(
            "nodePools",
            f"have {total} nodes in total, and a stack can have at most {most}: use fewer, or divide them among stacks",
        )


def _without_devices(raw: Mapping[str, object]) -> Iterator[Problem]:
    for path, pool in _each("", raw, "nodePools"):
        if pool.get("gpu") is None and not pool.get("devices") and not raw.get("fabricPools"):
            yield Problem(
                path,
                "has no devices: set gpu, such as gpu: h100, or add devices; or add devices that all nodes or those "
                "with some labels can use to kwok-dra:fabricPools",
            )


def _admin_access(path: str, request: Mapping[str, Any]) -> Iterator[Problem]:
    if request.get("adminAccess") is True:
        yield Problem(
            f"{path}.adminAccess",
            f"needs a namespace that allows it, and the stack does not change {DEFAULT_NAMESPACE}: set another "
            "namespace, such as namespace: admin, which the stack creates with the label that allows it",
        )


def _shared_templates(raw: Mapping[str, object]) -> Iterator[Problem]:
    """Yield the claims whose ResourceClaimTemplate has the same name as that of another claim."""
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
    """Yield unknown names of shared claims, and shared claims with more pods than can share one."""
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
                f"is shared by {count} pods; the Kubernetes API allows at most {limits.CLAIM_CONSUMERS_MAX}: use fewer "
                "replicas, or spread the pods over several claims",
            )


def _no_shared_claim(name: str, namespace: str, known: list[tuple[str, str]]) -> str:
    here = [other for place, other in known if place == namespace]
    message = f"there is no shared claim {name!r} in namespace {namespace}"
    if elsewhere := [place for place, other in known if other == name]:
        hint = suggestion(name, here)
        return f"{message}{hint} It is in {', '.join(elsewhere)}: pods share only claims of their own namespace"
    return message + choice(name, here, "add it to kwok-dra:claims")


def _order(raw: Mapping[str, object]) -> Iterator[Problem]:
    """Yield the entries of `after` that name nothing, name themselves or form a cycle."""
    workloads = {str(entry.get("name")): (path, entry) for key in APPLIED for path, entry in _each("", raw, key)}
    predecessors: dict[str, list[str]] = {}
    for name, (path, workload) in workloads.items():
        after = workload.get("after")
        predecessors[name] = []
        others = [known for known in workloads if known != name]
        for place, other in enumerate(after if isinstance(after, list) else []):
            if other == name:
                yield Problem(f"{path}.after[{place}]", "is the workload itself: remove it, or name another")
            elif isinstance(other, str) and other not in workloads:
                remedy = f"Name one of {', '.join(others)}, or remove it" if others else "Remove it"
                yield Problem(
                    f"{path}.after[{place}]", f"there is no workload {other!r}{suggestion(other, others)} {remedy}"
                )
            elif isinstance(other, str):
                predecessors[name].append(other)
    try:
        TopologicalSorter(predecessors).prepare()
    except CycleError as error:
        cycle = " → ".join(reversed(error.args[1]))
        yield Problem("workloads", f"form a cycle ({cycle}): remove one `after` entry")


# Messages for the errors of pydantic.

_MESSAGES = {
    "bool_type": "must be true or false, but is {input}",
    "dict_type": "must be a mapping of keys to values, but is {input}",
    "greater_than_equal": "must be at least {ge}, but is {input}",
    "int_type": "must be a whole number, but is {input}",
    "less_than": "must be less than {lt}, but is {input}",
    "less_than_equal": "must be at most {le}, but is {input}",
    "list_type": "must be a list, but is {input}",
    "literal_error": "must be one of {expected}, but is {input}",
    "missing": "is required",
    "model_type": "must be a mapping of keys to values, but is {input}",
    "string_too_short": "must not be empty",
    "string_type": "must be a string, but is {input}",
    "too_long": "must have at most {max_length} entries, but has {actual_length}",
    "too_short": "must have at least {min_length} entry, but has {actual_length}",
}


def _message(details: ErrorDetails) -> str:
    if details["type"] == "extra_forbidden":
        *parents, key = details["loc"]
        known = sorted(_known_keys(tuple(parents)))
        return f"there is no such key{suggestion(str(key), known)} The keys here are {', '.join(known)}"
    template = _MESSAGES.get(details["type"], details["msg"].replace("{", "{{").replace("}", "}}"))
    return template.format(input=shown(details["input"]), **details.get("ctx", {}))


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
