"""Incomplete, invalid and hostile dumps: each becomes a stack, or one message and no file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit import real_slices
from tests.unit.real_slices import amounts, node, resource_slice, texts
from topology.checks.validation import load
from twin import __main__ as command
from twin import parsing

Object = dict[str, Any]
Run = Callable[..., tuple[int, str, str]]


def gpu(name: str = "gpu-0", **attributes: str) -> Object:
    return {"name": name, "attributes": texts(type="gpu", **attributes), "capacity": amounts(memory="80Gi")}


def slices(*names: str) -> list[Object]:
    return [resource_slice(name, "gpu.example.org", [gpu()]) for name in names]


def text_of(*objects: Object) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that makes the twin `new` from files with these contents, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def make(*contents: str | bytes, options: tuple[str, ...] = ()) -> tuple[int, str, str]:
        names = []
        for number, content in enumerate(contents):
            file = tmp_path / f"dump-{number}"
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
            names.append(file.name)
        monkeypatch.setattr("sys.argv", ["twin", "--stack", "new", "read", *options, *names])
        code = command.main()
        said = capsys.readouterr()
        return code, said.out, said.err

    return make


def refused(result: tuple[int, str, str], folder: Path) -> str:
    """Check that the command has printed one message and written no file, and return the message."""
    code, out, err = result
    assert (code, out) == (1, "")
    assert "Traceback" not in err
    assert [file.name for file in folder.iterdir() if not file.name.startswith("dump-")] == []
    return err.strip()


def made(result: tuple[int, str, str], folder: Path) -> tuple[Object, str]:
    """Check that the command has written a valid stack, and return its configuration and the output."""
    code, out, err = result
    assert (code, err) == (0, "")
    config = yaml.safe_load((folder / "stacks/Pulumi.new.yaml").read_text())["config"]
    raw = {key.removeprefix("kwok-dra:"): value for key, value in config.items()}
    load({"cluster": {"name": "x"}, **raw}, folder)
    return raw, out


# Files that are not dumps.


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "dump-0: no ResourceSlice, so there are no devices to simulate: run `kubectl get nodes,"),
        ("{}", "dump-0 is neither a Kubernetes object nor a list of objects: run `kubectl get"),
        ("[1, 2]", "dump-0 is neither a Kubernetes object nor a list of objects"),
        ("hello", "dump-0 is neither a Kubernetes object nor a list of objects"),
        ('{"kind": "List", "items": [', "dump-0 is not valid JSON: line 1: "),
        ('{"kind": "List", "items": 7}', "dump-0: items is not a list: "),
        (
            '{"kind": "List", "items": [7]}',
            "dump-0, items[0] is not a Kubernetes object: use kubectl's output unchanged",
        ),
        ("kind: List\nitems: [", "dump-0 is neither JSON nor YAML: line 3: did not find expected node content"),
        ("kind: List\nitems: []\nkind: List\n", "dump-0 repeats the key kind in line 3: put --- between"),
        ("a: &a [*a]", "dump-0 has the alias *a in line 1, which kubectl never writes: "),
        ("a: &a {b: [1]}\nc: [*a, *a]", "dump-0 has the alias *a in line 2"),
        ("? [1]\n: 2", "dump-0 has a key that is not a string in line 1: "),
        (b"\xff\xfe\x00", "dump-0 is not UTF-8 (byte 0)"),
        ("[" * 100_000, "dump-0 is nested too deeply"),
        ("a: " + "[" * 1_000, "dump-0 is neither JSON nor YAML"),
        ('{"a": ' + "9" * 5000 + "}", "a number that is too long"),
    ],
)
def test_no_dump(run: Run, tmp_path: Path, content: str | bytes, message: str) -> None:
    assert message in refused(run(content), tmp_path)


def test_billions_of_aliases(run: Run, tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 10)]
    assert "has the alias *a0 in line 2" in refused(run("\n".join(lines)), tmp_path)


def test_a_hundred_megabytes(run: Run, tmp_path: Path) -> None:
    lines = b"- {apiVersion: v1, kind: ConfigMap, metadata: {name: x}}\n"
    content = b"kind: List\nitems:\n" + lines * (100 * 2**20 // len(lines))
    message = refused(run(content), tmp_path)
    assert message == (
        "dump-0 has 100 MiB; the maximum is 64 MiB: use `-o json`, which is parsed much faster, or write one file per "
        "kind"
    )


def test_a_hundred_megabytes_in_json(run: Run, tmp_path: Path) -> None:
    """The limit for YAML does not apply to JSON, where most of a dump can be ignored."""
    image = {"names": ["x" * 2**20]}
    nodes = [node(f"n-{number}") for number in range(100)]
    for entry in nodes:
        entry["status"]["images"] = [image]
    content = text_of(*nodes, *slices(*(f"n-{number}" for number in range(100))))
    assert len(content) > 100 * 2**20
    raw, _ = made(run(content), tmp_path)
    assert [pool["nodes"] for pool in raw["nodePools"]] == [100]


def test_too_much_json(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "JSON_BYTES_MAX", 100)
    message = refused(run(text_of(*slices("n"))), tmp_path)
    assert message == "dump-0 has 0 MiB; the maximum is 0 MiB: write one file per kind"


# Invalid objects.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spec": "none"}, "dump-0, items[0]: ResourceSlice n-gpu.example.org-x7k2p: spec: "),
        ({"spec": None}, "dump-0, items[0]: ResourceSlice n-gpu.example.org-x7k2p: spec: "),
        ({"metadata": {}}, "dump-0, items[0]: ResourceSlice (without a name): metadata.name: field required"),
        ({"metadata": 1}, "dump-0, items[0]: ResourceSlice (without a name): metadata: "),
        ({"apiVersion": "v1"}, ": v1 has no kind ResourceSlice: remove it"),
        ({"apiVersion": "resource.k8s.io/v1alpha3"}, ": resource.k8s.io/v1alpha3 is not supported, only v1, v1beta2"),
        ({"apiVersion": "apps/v1"}, ": apps/v1 has no kind ResourceSlice: remove it"),
        ({"apiVersion": None}, ": None has no kind ResourceSlice: remove it"),
    ],
)
def test_wrong_objects(run: Run, tmp_path: Path, change: Object, message: str) -> None:
    (entry,) = slices("n")
    assert message in refused(run(text_of(entry | change)), tmp_path)


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ({"name": "gpu-0", "attributes": {"a": {"string": 7.5}}}, "spec.devices.0.attributes.a.string"),
        ({"name": "gpu-0", "capacity": {"memory": {"value": "many"}}}, "'many' is not a quantity"),
        ({"name": "gpu-0", "capacity": {"memory": "1e999999999"}}, "is larger than any quantity"),
        ({"name": "gpu-0", "capacity": {"memory": {"value": "-1Ei"}}}, "cannot be simulated"),
        ({"name": "gpu-0", "attributes": {"a": {}}}, "cannot be simulated"),
        ({"name": "Not A Label"}, "cannot be simulated"),
        ({"name": "gpu-0", "attributes": {"a": {"string": "{foo}"}}}, "cannot be simulated"),
        ({"attributes": {}}, "spec.devices.0.name: field required"),
        (7, "spec.devices.0: "),
    ],
)
def test_wrong_devices(run: Run, tmp_path: Path, device: Any, message: str) -> None:
    assert message in refused(run(text_of(resource_slice("n", "gpu.example.org", [device]))), tmp_path)


def test_very_many_devices_that_have_nothing_in_common(run: Run, tmp_path: Path) -> None:
    devices = [gpu(f"gpu-{number * number}", odd=f"{number * number % 977}") for number in range(300)]
    raw, _ = made(run(text_of(resource_slice("n", "gpu.example.org", devices))), tmp_path)
    (pool,) = raw["nodePools"]
    assert pool["gpusPerNode"] + sum(entry["count"] for entry in pool["devices"]) == 300


def test_more_devices_than_a_node_can_have(run: Run, tmp_path: Path) -> None:
    devices = [gpu(f"gpu-{number}") for number in range(5000)]
    message = refused(run(text_of(resource_slice("n", "gpu.example.org", devices))), tmp_path)
    assert message.endswith("a node has 5000 devices of gpu.example.org; the maximum is 4096")


def test_more_nodes_than_a_cluster_can_have(run: Run, tmp_path: Path) -> None:
    message = refused(run(text_of(*slices(*(f"n-{number}" for number in range(20_001))))), tmp_path)
    assert "nodes: Input should be less than or equal to 20000" in message


def test_secrets(run: Run, tmp_path: Path) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "token", "namespace": "ml"},
        "data": {"a": "b"},
    }
    message = refused(run(text_of(*slices("n"), secret)), tmp_path)
    assert message.startswith(
        "dump-0, items[1]: Secret ml/token: a dump must not contain Secrets: remove them, or run `kubectl"
    )


def test_secrets_in_a_list_of_their_own(run: Run, tmp_path: Path) -> None:
    secrets = {"apiVersion": "v1", "kind": "SecretList", "items": [{"metadata": {"name": "token"}}]}
    assert "Secret token: a dump must not contain Secrets" in refused(
        run(text_of(*slices("n")), json.dumps(secrets)), tmp_path
    )


def test_two_nodes_of_one_name(run: Run, tmp_path: Path) -> None:
    content = text_of(node("n"), node("n", {"kubernetes.io/arch": "arm64"}), *slices("n"))
    message = refused(run(content), tmp_path)
    assert message == (
        "dump-0, items[1]: Node n appears twice, with different content: a dump shows one cluster at one time; remove "
        "one of the two"
    )


def test_no_file(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["twin", "--stack", "new", "read", "nowhere.json"])
    assert command.main() == 1
    assert list(tmp_path.iterdir()) == []


def test_a_stack_that_is_there(run: Run, tmp_path: Path) -> None:
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks/Pulumi.new.yaml").write_text("mine")
    code, _, err = run(text_of(*slices("n")))
    assert code == 1
    assert err == "stacks/Pulumi.new.yaml already exists: remove it, or choose another name with STACK=…\n"
    assert (tmp_path / "stacks/Pulumi.new.yaml").read_text() == "mine"


def test_a_stack_with_a_name_that_is_none(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["twin", "--stack", "../up", "read", "dump"])
    assert command.main() == 1


# Missing and duplicate objects.


def test_without_nodes(run: Run, tmp_path: Path) -> None:
    raw, said = made(run(text_of(*slices("b", "a"))), tmp_path)
    assert [(pool["nodes"], pool["gpusPerNode"]) for pool in raw["nodePools"]] == [(2, 1)]
    assert "note" not in said


def test_without_nodes_these_are_as_the_catalogue_has_them(run: Run, tmp_path: Path) -> None:
    attributes = texts(accelerator="tpu-v6e-slice", brand="Google", topology="2x4", tpuGen="v6e")
    chips = [
        {
            "name": str(index),
            "attributes": attributes
            | {"index": {"int": index}, "chipCount": {"int": 8}, "uuid": {"string": f"tpu-{real_slices.uuid('n')}"}},
        }
        for index in range(8)
    ]
    raw, _ = made(run(text_of(resource_slice("n", "tpu.google.com", chips))), tmp_path)
    assert raw["nodePools"] == [{"name": "tpu-v6e", "nodes": 1, "gpu": "tpu-v6e", "gpusPerNode": 8}]


def test_slices_of_absent_nodes(run: Run, tmp_path: Path) -> None:
    raw, said = made(run(text_of(node("a"), *slices("a", "gone"))), tmp_path)
    assert [pool["nodes"] for pool in raw["nodePools"]] == [1]
    assert "note: nodes that have ResourceSlices but are not in the dump are left out: 1" in said


def test_no_slice_of_any_node(run: Run, tmp_path: Path) -> None:
    assert refused(run(text_of(node("a"), *slices("gone"))), tmp_path) == (
        "no node in the dump has devices: a twin needs all ResourceSlices, and the nodes that can use them; nodes that "
        "have ResourceSlices but are not in the dump are left out: 1"
    )


def test_nodes_without_devices(run: Run, tmp_path: Path) -> None:
    _, said = made(run(text_of(node("a"), node("control-plane"), *slices("a"))), tmp_path)
    assert "note: nodes without devices are left out: 1 of 2" in said


def test_only_pools_without_all_of_their_slices(run: Run, tmp_path: Path) -> None:
    (entry,) = slices("a")
    entry["spec"]["pool"]["resourceSliceCount"] = 3
    assert refused(run(text_of(entry)), tmp_path).endswith(
        "; devices of gpu.example.org in incomplete pools are left out, as the scheduler allocates none: 1"
    )


@pytest.mark.parametrize("version", ["v1", "v1beta2", "v1beta1"])
def test_versions(run: Run, tmp_path: Path, version: str) -> None:
    device = (
        gpu() if version != "v1beta1" else {"name": "gpu-0", "basic": {k: v for k, v in gpu().items() if k != "name"}}
    )
    raw, _ = made(run(text_of(resource_slice("a", "gpu.example.org", [device], version))), tmp_path)
    assert raw["nodePools"][0]["gpu"] == "gpu"


def test_versions_that_are_mixed(run: Run, tmp_path: Path) -> None:
    """An object in two versions is one object."""
    old = {"name": "gpu-0", "basic": {key: value for key, value in gpu().items() if key != "name"}}
    objects = [resource_slice("a", "gpu.example.org", [old], "v1beta1"), *slices("a", "b")]
    raw, _ = made(run(text_of(objects[0]), text_of(*objects[1:])), tmp_path)
    assert [pool["nodes"] for pool in raw["nodePools"]] == [2]


def test_several_documents_in_a_file(run: Run, tmp_path: Path) -> None:
    parts = [yaml.safe_dump(json.loads(text_of(entry))) for entry in (node("a"), *slices("a"))]
    made(run("---\n".join(parts)), tmp_path)


def test_outputs_of_kubectl_one_after_the_other(run: Run, tmp_path: Path) -> None:
    made(run(text_of(node("a")) + "\n" + text_of(*slices("a"))), tmp_path)


def test_other_kinds_are_not_looked_at(run: Run, tmp_path: Path) -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}
    others: list[Object] = [service, {"kind": "Odd"}, {"apiVersion": "x"}]
    made(run(text_of(*others, *slices("a"))), tmp_path)


def test_a_kind_that_is_no_text(run: Run, tmp_path: Path) -> None:
    made(run(text_of({"apiVersion": "v1", "kind": ["Node"]}, *slices("a"))), tmp_path)


# Texts that try to become YAML, or control the terminal.

HOSTILE = "a\nkwok-dra:cluster: {}\x1b[2J"
ESCAPED = r"a\nkwok-dra:cluster: {}\x1b[2J"


def test_a_driver_cannot_leave_its_comment(run: Run, tmp_path: Path) -> None:
    incomplete = resource_slice("b", HOSTILE, [gpu()], pool={"name": "b", "resourceSliceCount": 2})
    _, said = made(run(text_of(node("a"), *slices("a"), incomplete)), tmp_path)
    note = f"devices of {ESCAPED} in incomplete pools are left out, as the scheduler allocates none: 1"
    assert said.splitlines()[0] == f"note: {note}"
    text = (tmp_path / "stacks/Pulumi.new.yaml").read_text()
    assert text.splitlines()[1] == f"# Note: {note}."
    assert list(yaml.safe_load(text)) == ["config"]


def test_a_node_cannot_leave_its_comment(run: Run, tmp_path: Path) -> None:
    made(run(text_of(node(HOSTILE), *slices(HOSTILE)), options=("--keep-names",)), tmp_path)
    text = (tmp_path / "stacks/Pulumi.new.yaml").read_text()
    assert text.splitlines()[1] == f"# a-kwok-dra-cluster-2-0 is {ESCAPED}."
    assert list(yaml.safe_load(text)) == ["config"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "Secret", "metadata": {"name": "\x1b[2J"}}, r"dump-0, items[0]: Secret \x1b[2J: a dump must not "),
        ({"apiVersion": "\x1b[2J"}, r"\x1b[2J has no kind ResourceSlice"),
        ({"spec": {"driver": "\x1b[2J", "nodeName": "n", "pool": {"name": "n"}, "devices": [gpu()]}}, r"\x1b[2J"),
    ],
)
def test_messages_do_not_control_the_terminal(run: Run, tmp_path: Path, change: Object, message: str) -> None:
    (entry,) = slices("n")
    said = refused(run(text_of(entry | change)), tmp_path)
    assert message in said
    assert all(line.isprintable() for line in said.splitlines())


# Private data.


def test_nothing_that_tells_who_it_is(run: Run, tmp_path: Path) -> None:
    run(text_of(*real_slices.aws_a100("ip-10-0-0-1.corp"), *real_slices.oci_nics("ip-10-0-0-2.corp")))
    text = (tmp_path / "stacks/Pulumi.new.yaml").read_text() + (tmp_path / "stacks/new-devices.yaml").read_text()
    for private in ("ip-10", "corp", "10.1.2.3", "secret", "registry.example.com", "cloud://", "60:5e:65", "nodeid"):
        assert private not in text
    for node_name in ("ip-10-0-0-1.corp", "ip-10-0-0-2.corp"):
        assert real_slices.uuid(node_name) not in text


def test_names_that_are_kept(run: Run, tmp_path: Path) -> None:
    run(text_of(*real_slices.intel("rpl-s")), options=("--keep-names",))
    text = (tmp_path / "stacks/Pulumi.new.yaml").read_text()
    assert "# rpl-s-0 is rpl-s.\n" in text
    assert yaml.safe_load(text)["config"]["kwok-dra:nodePools"][0]["name"] == "rpl-s"
