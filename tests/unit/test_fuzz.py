"""Every configuration leads to clear errors or to objects with exactly its values."""

import copy
import json
from functools import cache
from pathlib import Path

import pytest
import yaml
from hypothesis import strategies as st

from cluster.local import paths
from tests import hostile
from tests.hostile import Configuration, try_all
from tests.rendering import rendered
from topology.checks.validation import ConfigurationError, load
from topology.objects.kwok_stages import stages_for
from topology.objects.kwokctl_config import kwokctl_configuration
from topology.schema.settings import raw_configuration
from topology.schema.stack import Topology
from topology.schema.user_files import UnreadableError, content

ROOT = Path(__file__).resolve().parents[2]
SLOW = ("a100-mig", "b200", "mixed", "mi300x")  # to render
KEYS = {str(field.alias) for field in Topology.model_fields.values()}


def stacks() -> list[Configuration]:
    """Return the configurations of the committed stacks, without the namespace."""
    found = []
    for file in sorted(ROOT.glob("stacks/Pulumi.*.yaml")):
        stack = file.name.split(".")[1]
        if stack not in SLOW:
            settings = {key: json.dumps(value) for key, value in yaml.safe_load(file.read_text())["config"].items()}
            found.append(raw_configuration(settings, "kwok-dra", stack))
    return found


WRITTEN_OUT: Configuration = {
    "cluster": {"name": "x", "kubeVersion": "1.37.2", "kubeApiserverPort": 6443, "readyTimeoutSeconds": 60},
    "deviceClasses": [{"name": "gpu", "selectors": ["true"], "extendedResourceName": "example.com/gpu"}],
    "nodePools": [
        {
            "name": "a",
            "nodes": 2,
            "gpu": {
                "driver": "gpu.example.com",
                "deviceName": "gpu-{index}",
                "sliceName": "{node}-{driver}-{suffix}",
                "attributes": {"model": {"string": "{pcieRoot}"}, "numbers": {"ints": [1, "{index*2+1}"]}},
                "capacity": {
                    "memory": {
                        "value": "80Gi",
                        "requestPolicy": {"default": "1Gi", "validRange": {"min": "1Gi", "max": "8Gi", "step": "1Gi"}},
                    },
                    "cores": {"value": 8, "requestPolicy": {"default": "1", "validValues": ["1", "2"]}},
                },
                "allowMultipleAllocations": True,
                "bindingConditions": ["example.com/attached"],
                "bindingFailureConditions": ["example.com/failed"],
                "slot": "gpu",
                "node": {
                    "labels": {"example.com/node": "{node}"},
                    "capacity": {"example.com/x": 2},
                    "taints": [{"key": "example.com/gpu", "value": "x", "effect": "NoSchedule"}],
                },
                "unverified": {"capacity.memory": "nobody knows"},
            },
            "host": {
                "slots": [
                    {
                        "pcieRoot": "pci0000:16",
                        "numaNode": 0,
                        "gpu": "0000:18:00.0",
                        "nic": ["0000:19:00.0"],
                        "nicPcieRoot": "pci0000:17",
                    }
                ]
            },
            "capacity": {"memory": "1Ti"},
            "taints": [],
            "faults": [{"nodes": [0], "devices": ["gpu-0"], "taint": {"key": "example.com/broken"}}],
        },
        {
            "name": "cut",
            "gpu": {
                "driver": "mig.example.com",
                "mig": [
                    {
                        "name": "1g.10gb",
                        "id": 1,
                        "size": 1,
                        "placements": [0],
                        "multiprocessors": 1,
                        "copyEngines": 1,
                        "decoders": 1,
                        "jpegEngines": 1,
                        "ofaEngines": 1,
                        "memory": "10Gi",
                    }
                ],
            },
            "gpusPerNode": 2,
            "mig": [{"gpus": [0], "profiles": {"1g.10gb": 1}}],
        },
    ],
    "workloads": [
        {
            "name": "w",
            "claims": [
                {"name": "c", "requests": [{"name": "r", "deviceClass": "gpu", "capacity": {"memory": "2Gi"}}]},
            ],
            "tolerations": [{"key": "example.com/gpu", "operator": "Equal", "value": "x", "effect": "NoSchedule"}],
            "readyTimeoutSeconds": 60,
        }
    ],
}


def outcome(configuration: Configuration, folder: Path = ROOT) -> Topology | None:
    """Return the topology; None after clear errors, each one line that begins with a key."""
    try:
        topology = load(configuration, folder)
    except ConfigurationError as error:
        first, *lines = str(error).split("\n")
        assert first.startswith("the configuration has ")
        assert len(lines) == len(error.problems) > 0
        for line in lines:
            assert line.startswith("  kwok-dra:")
            assert line.isprintable()
            assert "Value error" not in line and "Assertion failed" not in line
        return None
    return topology


def check(configuration: Configuration) -> None:
    topology = outcome(configuration)
    if topology is None:
        return
    objects = rendered(topology)
    written = json.dumps(objects)
    assert json.loads(written) == objects
    check_yaml(written)
    check_documents(topology)


@cache
def check_yaml(written: str) -> None:
    """Check that objects stay the same in YAML; most harm does not reach them, so they are often those of before."""
    objects = json.loads(written)
    assert list(yaml.load_all(yaml.dump_all(objects, Dumper=yaml.CSafeDumper), Loader=yaml.CSafeLoader)) == objects


def check_documents(topology: Topology) -> None:
    cluster = topology.cluster
    options = yaml.load(kwokctl_configuration(cluster), Loader=yaml.CSafeLoader)["options"]
    assert options["kubeVersion"] == f"v{cluster.kube_version}"
    gates = dict(flag.split("=") for flag in options.get("kubeFeatureGates", "").split(",") if flag)
    assert gates == {f"kube:{gate}": str(on).lower() for gate, on in cluster.kube_feature_gates.items()}
    apis = dict(flag.split("=") for flag in options.get("kubeRuntimeConfig", "").split(",") if flag)
    assert apis == {api: str(on).lower() for api, on in cluster.kube_runtime_config.items()}
    stages = yaml.load_all(stages_for(topology), Loader=yaml.CSafeLoader)
    assert {stage["kind"] for stage in stages} == {"Stage"}


STACKS = [*stacks(), WRITTEN_OUT]
# The smallest of the stacks that have a key.
PLACES = {path: stack for stack in sorted(STACKS, key=lambda stack: -len(str(stack))) for path in hostile.places(stack)}


def test_the_unchanged_stacks_are_valid() -> None:
    for stack in STACKS:
        assert outcome(stack)
        check(stack)


@pytest.mark.parametrize("path", PLACES)
def test_harm_in_each_place(path: str) -> None:
    for harm in (*hostile.HARMFUL, *hostile.ODD):
        configuration = copy.deepcopy(PLACES[path])
        parent, key = hostile.places(configuration)[path]
        parent[key] = harm
        check(configuration)


@pytest.mark.parametrize("path", [path for path in PLACES if not path.endswith("[]")])
def test_harm_as_each_key(path: str) -> None:
    for harm in hostile.HARMFUL:
        configuration = copy.deepcopy(PLACES[path])
        parent, key = hostile.places(configuration)[path]
        parent[harm] = parent.pop(key)
        check(configuration)


def test_harm_in_several_places() -> None:
    try_all(hostile.changed(STACKS), check, 3_000)


def test_anything_at_all() -> None:
    keys = st.one_of(st.sampled_from(sorted(KEYS)), hostile.texts)
    try_all(st.dictionaries(keys, hostile.values, max_size=4), check, 1_000)


def test_settings_of_pulumi() -> None:
    """Pulumi passes strings, some of which are JSON."""

    def check_settings(text: str) -> None:
        raw = raw_configuration({"kwok-dra:nodePools": text}, "kwok-dra", "dev")
        outcome(raw)

    as_json = hostile.values.map(json.dumps)
    deep = st.integers(1, 100_000).map(lambda depth: "[" * depth + "]" * depth)
    try_all(st.one_of(hostile.texts, as_json, deep), check_settings, 500)


def test_selectors() -> None:
    """An expression is rendered unchanged, or its error is reported."""

    def check_selector(expression: str) -> None:
        configuration = copy.deepcopy(WRITTEN_OUT)
        configuration["deviceClasses"][0]["selectors"] = [expression, "true"]
        configuration["workloads"] = []
        if topology := outcome(configuration):
            (found,) = (entry for entry in rendered(topology) if entry["metadata"]["name"] == "gpu")
            assert found["spec"]["selectors"] == [{"cel": {"expression": text}} for text in (expression, "true")]

    words = [
        "device.driver",
        "==",
        "'x'",
        "true",
        "(",
        ")",
        "[",
        "]",
        ".",
        "&&",
        "||",
        "!",
        "?",
        ":",
        "{",
        "}",
        " ",
        "\n",
    ]
    pieces = st.lists(st.sampled_from([*hostile.HARMFUL, *words, "é" * 6_000]))
    deep = st.integers(1, 2_000).map(lambda depth: "(" * depth + "true" + ")" * depth)
    try_all(st.one_of(pieces.map("".join), hostile.texts, deep), check_selector, 1_500)


# Files and folders.


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project's folder, next to which there are files that it must not read."""
    folder = tmp_path / "project"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "b").write_text("inside")
    for place in (tmp_path / "secret", tmp_path / "project-too"):
        place.write_text("outside")
    for name, target in (
        ("out", tmp_path),
        ("loop", folder / "loop"),
        ("in", folder / "a"),
        ("s", tmp_path / "secret"),
    ):
        (folder / name).symlink_to(target)
    return folder


def test_no_path_leaves_the_project(project: Path) -> None:
    def check_path(name: str) -> None:
        try:
            assert content(project, name) == b"inside"
        except UnreadableError as error:
            assert name in ("", ".") or repr(name) in str(error)

    parts = ["a", "b", "..", ".", "", "~", "out", "in", "loop", "s", "secret", "project-too", "project", str(project)]
    paths = st.lists(st.sampled_from([*parts, *hostile.HARMFUL]), max_size=6).map("/".join)
    try_all(st.one_of(paths, hostile.texts), check_path, 2_000)


@pytest.mark.parametrize("path", ["../secret", "out/secret", "s", "a/../../secret", "/etc/passwd", "a\0", "loop", "a"])
@pytest.mark.parametrize("key", ["manifests[0].files[0]", "catalogue[0]"])
def test_a_path_that_is_refused(project: Path, key: str, path: str) -> None:
    manifests = [{"name": "m", "files": [path]}] if key.startswith("manifests") else []
    with pytest.raises(ConfigurationError) as raised:
        load({"cluster": {"name": "x"}, "manifests": manifests, "catalogue": [] if manifests else [path]}, project)
    (problem,) = raised.value.problems
    assert problem.path == key
    outside, unreadable = f"{path!r} is outside the project's folder", f"the file {path!r} cannot be read"
    assert problem.message.startswith((outside, unreadable, f"{path!r} is not the path of a file"))


def test_no_name_of_a_cluster_leaves_the_state_directory(tmp_path: Path) -> None:
    def check_name(name: str) -> None:
        if topology := outcome({"cluster": {"name": name}}):
            file = paths.kubeconfig(tmp_path, topology.cluster.name).resolve()
            assert file == tmp_path / "clusters" / name / "kubeconfig.yaml"
            assert "/" not in name

    try_all(st.one_of(hostile.texts, st.from_regex(r"[a-z0-9./-]{1,70}", fullmatch=True)), check_name, 1_000)


YAML_TEXTS = [
    "&a [*a]",
    "&a {kind: List, items: [*a]}",
    "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}, data: &a {b: *a}}",
    "models: &a {x: *a}",
    "models: {x: {driver: 2026-13-99}}",
    "models: {x: {driver: 2026-12-09, attributes: {2026-12-09: {string: x}}}}",
    "models: {? [a] : 1}",
    "models: {x: {driver: !!binary aGFybQ==}}",
    "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}, data: !!binary aGFybQ==}",
    "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}, data: {a: .nan}}",
    "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}, 1: x, true: y, null: z}",
    "models: {x: {driver: !!python/object/apply:os.getcwd []}}",
    "{a: " * 2_000,
    "[" * 2_000 + "]" * 2_000,
    "1" * 5_000,
    "%YAML 9.9\n---\nx",
    "a: b: c",
    "\t- x",
]


def test_files_with_anything_in_them(project: Path) -> None:
    entries = st.fixed_dictionaries(
        {
            "apiVersion": st.just("v1") | hostile.texts,
            "kind": st.just("ConfigMap") | hostile.texts,
            "metadata": st.just({"name": "x"}) | hostile.values,
        },
        optional={"data": hostile.values, "spec": hostile.values},
    )
    models = st.fixed_dictionaries({"models": st.dictionaries(hostile.texts, hostile.values)})

    def check_files(text: bytes) -> None:
        (project / "file.yaml").write_bytes(text)
        outcome({"cluster": {"name": "x"}, "manifests": [{"name": "m", "files": ["file.yaml"]}]}, project)
        outcome({"cluster": {"name": "x"}, "catalogue": ["file.yaml"]}, project)

    written = st.one_of(entries, models, hostile.values).map(hostile.as_yaml)
    texts = st.one_of(st.sampled_from(YAML_TEXTS), hostile.texts).map(lambda text: text.encode(errors="replace"))
    try_all(st.one_of(written, texts, st.binary()), check_files, 1_500)
