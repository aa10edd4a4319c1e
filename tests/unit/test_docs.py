"""The documents say what the program does: tables, examples and messages against the catalogue, stacks and models."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic.fields import FieldInfo

from tests.e2e.project import SCENARIOS, STACKS
from tests.unit.conftest import ROOT
from topology.checks.validation import ConfigurationError, load
from topology.objects import tuning
from topology.objects.slices import resource_slices
from topology.schema import (
    capacity,
    claims,
    devices,
    faults,
    hosts,
    manifests,
    placeholders,
    priorities,
    programs,
    queues,
    stack,
    workloads,
)
from topology.schema.base import Model
from topology.schema.catalogue import ENTRIES, built_in
from topology.schema.devices import DeviceModel
from topology.schema.profiles import SEPARATOR, base_names, profiles_of
from topology.schema.stack import Topology

Configuration = dict[str, Any]
Row = dict[str, str]
Rows = list[Row]

NONE = "\N{EN DASH}"
SECTIONS: dict[str, type[Model]] = {  # of docs/configuration.md: the model whose keys are in the table there
    "Keys": Topology,
    "`cluster`": stack.Cluster,
    "`cluster.existing`": stack.Existing,
    "`deviceClasses`": devices.DeviceClass,
    "`nodePools`": stack.NodePool,
    "`nodePools[].devices[]`": stack.Devices,
    "`fabricPools`": stack.FabricPool,
    "`fabricPools[].devices[]`": stack.FabricDevices,
    "`mig[]`": stack.MigDevices,
    "`taints[]`": hosts.Taint,
    "`nodePools[].faults[]`": faults.Fault,
    "Device taint": faults.DeviceTaint,
    "`deviceTaintRules`": faults.DeviceTaintRule,
    "`schedulers`": programs.Scheduler,
    "`controllers`": programs.Controller,
    "`queues`": queues.Queue,
    "`queues[].flavors[]`": queues.Flavor,
    "`queues[].flavors[].quotas`": queues.Quota,
    "`priorityClasses`": priorities.PriorityClass,
    "`claims`": claims.SharedClaim,
    "`workloads`": workloads.Workload,
    "`workloads[].podGroup`": workloads.PodGroup,
    "`manifests`": manifests.Manifests,
    "`workloads[].claims[]`": claims.Claim,
    "`requests[]`": claims.DeviceRequest,
    "`firstAvailable[]`": claims.DeviceSubRequest,
    "`requests[].tolerations[]`": claims.DeviceToleration,
    "`derivedAttributes[]`": claims.DerivedAttribute,
    "`constraints[]`": claims.DeviceConstraint,
    "`config[]`": claims.OpaqueConfig,
    "`containers[]`": workloads.Container,
    "`containers[].claims[]`": workloads.ContainerClaim,
    "`expect`": workloads.Expectation,
    "`workloads[].tolerations[]`": claims.Toleration,
    "Model": devices.DeviceModel,
    "Attribute": devices.DeviceAttribute,
    "Capacity": capacity.DeviceCapacity,
    "Node allocatable resource": capacity.NodeAllocatableResource,
    "Node allocatable mapping": capacity.NodeAllocatableMapping,
    "Node allocatable overhead": capacity.NodeAllocatableOverhead,
    "Request policy": capacity.RequestPolicy,
    "Range": capacity.CapacityRange,
    "Node": hosts.NodeShape,
    "Partition": devices.Partition,
    "Sibling": devices.Sibling,
    "MIG profile": devices.MigProfile,
    "Host": hosts.Host,
    "Slot": hosts.Slot,
    "Driver": devices.Driver,
}


def read(name: str) -> str:
    return (ROOT / name).read_text()


@cache
def tables(document: str) -> dict[str, Rows]:
    """Return the rows of the tables of a document, by the heading above them and the names of their columns."""
    found: dict[str, Rows] = {}
    heading, columns = "", None
    for line in read(document).splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        if not line.startswith("|"):
            columns = None
        elif columns is None:
            columns = cells(line)
        elif not line.startswith("|---"):
            found.setdefault(heading, []).append(dict(zip(columns, cells(line), strict=True)))
    return found


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]


def names(cell: str) -> list[str]:
    """Return what stands between backticks."""
    return re.findall(r"`([^`]+)`", cell)


def name(cell: str) -> str:
    (found,) = names(cell)
    return found


def examples(document: str) -> dict[str, str]:
    """Return the YAML files that a document shows, each by the name in its first line."""
    blocks = re.findall(r"^```yaml\n# (\S+)\n(.*?)^```", read(document), flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) == read(document).count("```yaml"), "each example begins with the name of its file"
    return dict(blocks)


def loaded(stack: str, folder: Path = ROOT) -> Topology:
    """Load a stack's configuration as the program does."""
    settings = yaml.safe_load((folder / "stacks" / f"Pulumi.{stack}.yaml").read_text())["config"]
    raw: Configuration = {key.removeprefix("kwok-dra:"): value for key, value in settings.items()}
    raw.setdefault("cluster", {})["name"] = f"kwok-dra-{stack}"
    return load(raw, folder)


# The stacks.


def numbers_of(stack: str) -> dict[str, str]:
    topology = loaded(stack)
    slices = [
        entry
        for pool in topology.pools.values()
        for name in pool.pool_names()
        for entry in resource_slices(pool, name, topology.cluster.minor)
    ]
    return {
        "nodes": str(sum(pool.nodes for pool in topology.node_pools)),
        "devices": str(sum(len(entry["spec"].get("devices", [])) for entry in slices)),
        "claims": str(sum(workload.replicas * len(workload.claims) for workload in topology.workloads)),
    }


def test_every_stack_is_in_the_readme_with_its_numbers() -> None:
    told = {
        name(row["stack"]): {key: row[key] for key in ("nodes", "devices", "claims")}
        for row in tables("README.md")["Stacks"]
    }
    assert told == {stack: numbers_of(stack) for stack in STACKS}


# The scenarios.


def test_every_scenario_is_in_the_table_with_its_numbers() -> None:
    told = {name(row.pop("scenario")): row for row in map(dict, tables("docs/scenarios.md")["Scenarios"])}
    assert set(told) == set(SCENARIOS)
    for scenario, row in told.items():
        assert row.pop("what it shows")
        applied = loaded(scenario).applied
        assert all(entry.expect.model_fields_set for entry in applied), "each says what it expects"
        numbers = numbers_of(scenario)
        assert row == {
            "nodes": numbers["nodes"],
            "devices": numbers["devices"],
            "allocated": str(sum(entry.expected_allocated or 0 for entry in applied)),
            "pending": str(sum(entry.expected_pending for entry in applied)),
        }


def test_every_scenario_has_a_section_with_lines_of_its_configuration() -> None:
    sections = re.split(r"^## (.+)$", read("docs/scenarios.md"), flags=re.MULTILINE)[1:]
    told = dict(zip(sections[::2], sections[1::2], strict=True))
    assert list(told) == [name(row["scenario"]) for row in tables("docs/scenarios.md")["Scenarios"]]
    for scenario, text in told.items():
        blocks = re.findall(r"^```yaml\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
        assert blocks
        stack = read(f"stacks/Pulumi.{scenario}.yaml")
        files = [stack, *map(read, re.findall(r"manifests/[a-z-]+\.yaml", stack))]
        configuration_lines = "\n".join(map(str.strip, "\n".join(files).splitlines()))
        for block in blocks:
            assert "\n".join(map(str.strip, block.splitlines())) in configuration_lines


# The catalogue.


def models_told() -> dict[str, Row]:
    rows = [row for found in tables("docs/catalogue.md").values() for row in found if "model" in row]
    assert len(rows) == len({row["model"] for row in rows})
    return {name(row["model"]): row for row in rows}


def test_every_model_is_listed() -> None:
    assert set(models_told()) == set(base_names(built_in().models))


@pytest.mark.parametrize("model", base_names(built_in().models))
def test_what_is_said_about_a_model(model: str) -> None:
    found = built_in().models[model]
    row = models_told()[model]
    host = [f"`{known}`" for known, entry in built_in().hosts.items() if entry is found.host]
    assert row["driver"] == f"`{found.driver}`"
    assert row["memory"] == (" / ".join(memory_of(found)) or NONE)
    assert row["host"] == (host[0] if host else NONE)
    assert row["per host"] == (str(len(found.host.slots)) if found.host else NONE)
    assert row["parts"] == (parts_of(found) or NONE)


def memory_of(model: DeviceModel) -> list[str]:
    capacities = [model.capacity, *(partition.capacity for partition in model.partitions)]
    return list(dict.fromkeys(capacity["memory"].value for capacity in capacities if "memory" in capacity))


def parts_of(model: DeviceModel) -> str:
    if model.mig:
        return f"MIG: {', '.join(profile.name for profile in model.mig)}"
    partitions = [f"{len(model.partitions)} partitions"] if model.partitions else []
    return ", ".join(partitions + (["shared"] if model.allow_multiple_allocations else []))


def test_drivers_and_their_device_classes() -> None:
    rows = tables("docs/catalogue.md")["Drivers and their DeviceClasses"]
    told = {name(row["driver"]): (names(row["DeviceClasses"]), names(row["extended resource"])) for row in rows}
    assert told == {driver: classes_of(driver) for driver in drivers()}


def drivers() -> set[str]:
    return set(built_in().drivers) | {model.driver for model in built_in().models.values()}


def classes_of(driver: str) -> tuple[list[str], list[str]]:
    """Return the names of the classes, and each extended resource with the class that has it."""
    shipped = built_in().drivers[driver].device_classes if driver in built_in().drivers else []
    extended = [(entry.extended_resource_name, entry.name) for entry in shipped if entry.extended_resource_name]
    return [entry.name for entry in shipped], [text for pair in extended for text in pair]


def test_hosts() -> None:
    told = {
        name(row["host"]): (int(row["places"]), [int(node) for node in row["NUMA nodes"].split(", ")])
        for row in tables("docs/catalogue.md")["Hosts"]
    }
    assert told == {
        host: (len(entry.slots), sorted({slot.numa_node for slot in entry.slots}))
        for host, entry in built_in().hosts.items()
    }


def test_profiles() -> None:
    models = built_in().models
    told = {
        name(row["profile"]): {known for text in names(row["models"]) for known in told_models(text)}
        for row in tables("docs/catalogue.md")["Profiles"]
    }
    found: dict[str, set[str]] = {}
    for known in base_names(models):
        for profile in profiles_of(known, models):
            found.setdefault(profile, set()).add(known)
    assert told == found


def told_models(text: str) -> list[str]:
    """Return the models that a cell of the table names: one, or all of a driver."""
    of_driver = [known for known in base_names(built_in().models) if built_in().models[known].driver == text]
    return of_driver or [text]


def test_everything_that_is_not_known_for_sure_is_listed_with_its_reason() -> None:
    catalogue = built_in()
    told = sorted(
        (known, name(row["path"]), row["reason"])
        for row in tables("docs/catalogue.md")["What is not known for sure"]
        for entry in names(row["model or host"])
        for known in (all_with(entry) if entry.startswith(SEPARATOR) else [entry])
    )
    assert told == sorted(
        (known, path, reason)
        for section in (catalogue.hosts, catalogue.models, catalogue.drivers)
        for known, entry in section.items()
        for path, reason in entry.unverified.items()
        if (path, reason) not in unverified_of_base(known)
    )


def all_with(profile: str) -> list[str]:
    """Return the models with a profile, such as `@passthrough`."""
    return [known for known in built_in().models if known.endswith(profile)]


def unverified_of_base(known: str) -> set[tuple[str, str]]:
    """Return what a profile has in common with its model."""
    base, separator, _ = known.partition(SEPARATOR)
    return set(built_in().models[base].unverified.items()) if separator else set()


# The configuration.


def models_of(annotation: object) -> Iterator[type[Model]]:
    """Find the models that a type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        yield annotation
    for argument in get_args(annotation):
        yield from models_of(argument)


def all_models() -> set[type[Model]]:
    found: set[type[Model]] = set()
    left: list[type[Model]] = [Topology, *ENTRIES.values()]
    while left:
        model = left.pop()
        found.add(model)
        fields = model.model_fields.values()
        left += [nested for field in fields for nested in models_of(field.annotation) if nested not in found]
    return found


def test_every_model_of_the_configuration_has_a_table() -> None:
    assert set(SECTIONS.values()) == all_models()


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_is_in_the_reference_with_its_default(section: str) -> None:
    rows = {name(row["key"]): row for row in tables("docs/configuration.md")[section]}
    fields = in_order(SECTIONS[section])
    assert list(rows) == sorted(rows, key=list(fields).index), "as many as there are, in their order"
    assert set(rows) == set(fields)
    for key, row in rows.items():
        if (section, key) not in (("Keys", "cluster"), ("`cluster`", "name")):  # The program fills these in.
            assert is_default(row["default"], fields[key]), f"{key}: {row['default']}"


def in_order(model: type[Model]) -> dict[str, FieldInfo]:
    """Return the fields by key: the name first, then the model's own in their order, then those of its base."""
    first = ["name", *model.__annotations__]
    keys = sorted(model.model_fields, key=lambda key: first.index(key) if key in first else len(first))
    return {str(model.model_fields[key].alias): model.model_fields[key] for key in keys}


def is_default(cell: str, field: FieldInfo) -> bool:
    """Tell whether a table's cell is about the default of `field`; what None stands for is said in words."""
    if field.is_required() or field.default is None:
        return (cell == "required") == field.is_required()
    default = {} if isinstance(field.default, Model) else field.default
    return cell == f"`{default if isinstance(default, str) and default else json.dumps(default)}`"


def test_every_placeholder_is_in_the_reference() -> None:
    allowed = {
        "attributes": placeholders.DEVICE_PLACEHOLDERS,
        "numbers": placeholders.NUMBER_PLACEHOLDERS,
        "names": placeholders.NAME_PLACEHOLDERS,
        "labels": placeholders.NODE_PLACEHOLDERS,
        "slices": placeholders.SLICE_PLACEHOLDERS,
    }
    rows = tables("docs/configuration.md")["Placeholders"]
    told = {name(row["placeholder"]).strip("{}"): set(row["where"].split(", ")) for row in rows}
    assert told == {
        placeholder: {where for where, some in allowed.items() if placeholder in some}
        for placeholder in frozenset().union(*allowed.values())
    }


# Examples.


def test_the_examples_of_the_reference_are_right(tmp_path: Path) -> None:
    files = examples("docs/configuration.md")
    for file, content in files.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(content)
    stacks = [file.split(".")[1] for file in files if "Pulumi." in file]
    found = {stack: loaded(stack, tmp_path) for stack in stacks}
    assert {"npu", "in-place", "mig", "roll"} <= set(found)
    first, *_ = resource_slices(found["npu"].node_pools[0], "npu-0")
    assert [device["attributes"]["resource.kubernetes.io/pcieRoot"] for device in first["spec"]["devices"]] == [
        {"string": "pci0000:16"},
        {"string": "pci0000:97"},
    ]


def test_what_if_is_a_stack(tmp_path: Path) -> None:
    (tmp_path / "stacks").mkdir()
    for file, content in examples("docs/twin.md").items():
        (tmp_path / file).write_text(content)
    assert [pool.nodes for pool in loaded("ours", tmp_path).node_pools] == [40]


# Messages.


def refused(
    pool: Configuration | None = None,
    request: Configuration | None = None,
    constraint: Configuration | None = None,
    workload: Configuration | None = None,
    cluster: Configuration | None = None,
    **more: object,
) -> Configuration:
    """Return a stack of a node with eight H100 and a claim for one of them, with something wrong put into it."""
    asked = {"name": "r", "deviceClass": "gpu.nvidia.com"} | (request or {})
    claim = {"name": "c", "requests": [asked], "constraints": [constraint] if constraint else []}
    return {
        "cluster": {"name": "c"} | (cluster or {}),
        "nodePools": [{"name": "p", "gpu": "h100", "gpusPerNode": 8} | (pool or {})],
        "workloads": [{"name": "w", "claims": [claim]} | (workload or {})],
        **more,
    }


NVIDIA = "device.attributes['gpu.nvidia.com']"
ENGINES = dict.fromkeys(("multiprocessors", "copyEngines", "decoders", "jpegEngines", "ofaEngines"), 0)
HALF = {"name": "3g.40gb", "id": 9, "size": 4, "placements": [0], "memory": "40Gi", **ENGINES}
WHOLE = {"name": "7g.80gb", "id": 0, "size": 8, "placements": [0], "memory": "80Gi", **ENGINES}
REFUSED = [
    refused({"devices": [{"model": "h101"}]}),
    refused(catalogue=["none.yaml"]),
    refused(catalogue=["Pulumi.yaml"]),
    refused(request={"deviceClass": "npu.example.org"}),
    refused({"gpu": {"driver": "gpu.nvidia.com", "deviceName": "gpu-{pciName}", "slot": "gpu"}}),
    refused({"mig": [{"profiles": {"1g.10gb": 8}}]}),
    refused({"gpu": {"driver": "gpu.nvidia.com", "mig": [HALF, WHOLE]}, "mig": [{"profiles": {HALF["name"]: 2}}]}),
    refused(request={"count": 9}),
    refused(request={"deviceClass": "mig.nvidia.com"}),
    refused(request={"selectors": [f"{NVIDIA}.memory == '80Gi'"]}),
    refused(request={"selectors": ["device.capacity['gpu.nvidia.com'].memory >= quantity('80Gi')"]}),
    refused(request={"count": 5}, constraint={"matchAttribute": "resource.kubernetes.io/numaNode"}),
    refused(constraint={"matchAttribute": "gpu.nvidia.com/pcieRoot"}),
    refused(workload={"replicas": 9}),
    refused(workload={"nodeSelector": {"zone": "a"}}),
    refused({"taints": [{"key": "gpu"}]}, workloads=[], manifests=[{"name": "m", "files": ["manifests/batch.yaml"]}]),
    refused({"mig": "dynamic"}, cluster={"kubeFeatureGates": {"DRAPartitionableDevices": False}}),
    refused(cluster={"kubeFeatureGates": {"DynamicResourceAllocation": False}}),
    refused(cluster={"kubeFeatureGates": {"DRAListTypeAttributes": True}, "kubeVersion": "1.35.1"}),
    refused({"mig": "dynamic", "devices": [{"model": "example-gpu-partitionable"}]}, cluster={"kubeVersion": "1.36.3"}),
    refused(cluster={"kubeVersion": "1.38.0", "resourceApi": "v1beta1"}),
    refused({"attributes": {"build": {"version": f"1.0.{'9' * 19}"}}}, cluster={"kubeVersion": "1.38.0"}),
    refused(request={"capacity": {f"c{number}": 1 for number in range(33)}}, cluster={"kubeVersion": "1.38.0"}),
]
"""For every message of the second table of docs/troubleshooting.md, a stack that is refused with it."""


def messages_told() -> list[str]:
    rows = tables("docs/troubleshooting.md")["When the configuration is refused"]
    return [message for row in rows for message in names(row["message"])]


def is_said(message: str, said: str) -> bool:
    """Tell whether `said` has the message in it, in which … stands for anything."""
    return re.search(".*".join(map(re.escape, message.split("…"))), said) is not None


def test_the_messages_of_the_troubleshooting_page_are_the_program_s() -> None:
    said = []
    for raw in REFUSED:
        with pytest.raises(ConfigurationError) as raised:
            load(raw, ROOT)
        (problem,) = raised.value.problems
        said.append(problem.message)
    told = messages_told()
    assert [message for message in told if not any(is_said(message, text) for text in said)] == []
    assert [text for text in said if not any(is_said(message, text) for message in told)] == []


# Links.


DOCUMENTS = ["README.md", "CONTRIBUTING.md", *(f"docs/{file.name}" for file in sorted((ROOT / "docs").glob("*.md")))]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    links = re.findall(r"\]\(((?!https?:)[^)]+)\)", read(document))
    for target, _, anchor in (link.partition("#") for link in links):
        file = (ROOT / document).parent / target if target else ROOT / document
        assert file.is_file(), target
        assert not anchor or anchor in anchors(file), f"{target}#{anchor}"


def anchors(file: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a file."""
    headings = re.findall(r"^#+ (.*)$", file.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_package_is_in_contributing() -> None:
    told = [row["package"].strip("`/") for row in tables("CONTRIBUTING.md")["Where things are"]]
    files = [file.relative_to(ROOT) for file in ROOT.glob("*/**/__init__.py")]
    packages = {str(file.parent) for file in files if not file.parts[0].startswith(".")}
    assert sorted(told) == sorted({*packages, "__main__.py", "toolchain", "manifests"} - {"cluster", "topology"})


def test_every_page_is_in_the_index() -> None:
    links = re.findall(r"\]\(([^)]+)\)", read("docs/README.md"))
    assert sorted(["README.md", *links]) == sorted(file.name for file in (ROOT / "docs").glob("*.md"))


def test_the_settings_of_the_control_plane_are_in_their_table() -> None:
    rows = tables("docs/performance.md")["Settings of the control plane"]
    told = {name.partition("=")[::2] for row in rows for name in names(row["setting"])}
    wanted = {(f"--{flag.key}", flag.value) for flag in tuning.FLAGS if not flag.value.startswith("pki/")}
    wanted |= {("--tls-cert-file", ""), ("--tls-private-key-file", ""), ("GOMEMLIMIT", "")}
    wanted |= {(entry.name, entry.value) for entry in tuning.variables(0) if entry.name == "GOGC"}
    assert {(key, "" if value == "true" else value) for key, value in wanted} <= told
