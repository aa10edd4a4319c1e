"""Dumps that are incomplete, wrong or hostile: each becomes a stack, or one message and no file."""

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
    """Make the twin `new` of files with these contents, in an empty folder."""
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
    """Check that there is one message and no file, and return the message."""
    code, out, err = result
    assert (code, out) == (1, "")
    assert "Traceback" not in err
    assert [file.name for file in folder.iterdir() if not file.name.startswith("dump-")] == []
    return err.strip()


def made(result: tuple[int, str, str], folder: Path) -> tuple[Object, str]:
    """Check that there is a stack, which is valid, and return its configuration and what was said."""
    code, out, err = result
    assert (code, err) == (0, "")
    config = yaml.safe_load((folder / "Pulumi.new.yaml").read_text())["config"]
    raw = {key.removeprefix("kwok-dra:"): value for key, value in config.items()}
    load({"cluster": {"name": "x"}, **raw}, folder)
    return raw, out


# What is no dump.


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "dump-0: there is no ResourceSlice, so there are no devices to simulate: print `kubectl get nodes,"),
        ("{}", "dump-0 is no Kubernetes object, nor a list of them: print `kubectl get"),
        ("[1, 2]", "dump-0 is no Kubernetes object"),
        ("hello", "dump-0 is no Kubernetes object"),
        ('{"kind": "List", "items": [', "dump-0 is not JSON: line 1: "),
        ('{"kind": "List", "items": 7}', "dump-0: items is no list"),
        ('{"kind": "List", "items": [7]}', "dump-0, items[0] is no Kubernetes object"),
        ("kind: List\nitems: [", "dump-0 is neither JSON nor YAML: line 3: did not find expected node content"),
        ("kind: List\nitems: []\nkind: List\n", "dump-0 has the key kind twice, in line 3 for the second time"),
        ("a: &a [*a]", "dump-0 has the alias *a in line 1, which kubectl does not write"),
        ("a: &a {b: [1]}\nc: [*a, *a]", "dump-0 has the alias *a in line 2"),
        ("? [1]\n: 2", "dump-0 has a key that is no text, in line 1"),
        (b"\xff\xfe\x00", "dump-0 is not UTF-8 (byte 0)"),
        ("[" * 100_000, "dump-0 is not what kubectl prints: it is nested too deep"),
        ("a: " + "[" * 1_000, "dump-0 is neither JSON nor YAML"),
        ('{"a": ' + "9" * 5000 + "}", "a number too long"),
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
        "dump-0 has 100 MiB, and 64 are the most: print it with `-o json`, which is read much faster, or give it in "
        "parts, a file for each kind"
    )


def test_a_hundred_megabytes_in_json(run: Run, tmp_path: Path) -> None:
    """What is not wanted of a dump may be as large as it will."""
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
    assert message == "dump-0 has 0 MiB, and 0 are the most: give it in parts, a file for each kind"


# Objects that are wrong.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spec": "none"}, "dump-0, items[0]: ResourceSlice n-gpu.example.org-x7k2p: spec: "),
        ({"spec": None}, "dump-0, items[0]: ResourceSlice n-gpu.example.org-x7k2p: spec: "),
        ({"metadata": {}}, "dump-0, items[0]: ResourceSlice (without a name): metadata.name: field required"),
        ({"metadata": 1}, "dump-0, items[0]: ResourceSlice (without a name): metadata: "),
        ({"apiVersion": "v1"}, "no ResourceSlice is of v1: take it out"),
        ({"apiVersion": "resource.k8s.io/v1alpha3"}, "is of resource.k8s.io/v1alpha3, which is not read: v1, v1beta2"),
        ({"apiVersion": "apps/v1"}, "no ResourceSlice is of apps/v1"),
        ({"apiVersion": None}, "no ResourceSlice is of None"),
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
    assert message.endswith("a node has 5000 devices of gpu.example.org; 4096 are the most")


def test_more_nodes_than_a_cluster_can_have(run: Run, tmp_path: Path) -> None:
    message = refused(run(text_of(*slices(*(f"n-{number}" for number in range(5001))))), tmp_path)
    assert "nodes: Input should be less than or equal to 5000" in message


def test_secrets(run: Run, tmp_path: Path) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "token", "namespace": "ml"},
        "data": {"a": "b"},
    }
    message = refused(run(text_of(*slices("n"), secret)), tmp_path)
    assert message.startswith(
        "dump-0, items[1]: Secret ml/token: no twin is made of a dump with secrets: take them out"
    )


def test_secrets_in_a_list_of_their_own(run: Run, tmp_path: Path) -> None:
    secrets = {"apiVersion": "v1", "kind": "SecretList", "items": [{"metadata": {"name": "token"}}]}
    assert "Secret token: no twin" in refused(run(text_of(*slices("n")), json.dumps(secrets)), tmp_path)


def test_two_nodes_of_one_name(run: Run, tmp_path: Path) -> None:
    content = text_of(node("n"), node("n", {"kubernetes.io/arch": "arm64"}), *slices("n"))
    message = refused(run(content), tmp_path)
    assert message == (
        "dump-0, items[1]: Node n is there twice, and not the same: a dump is of one cluster at one moment, so take "
        "one of them out"
    )


def test_no_file(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["twin", "--stack", "new", "read", "nowhere.json"])
    assert command.main() == 1
    assert list(tmp_path.iterdir()) == []


def test_a_stack_that_is_there(run: Run, tmp_path: Path) -> None:
    (tmp_path / "Pulumi.new.yaml").write_text("mine")
    code, _, err = run(text_of(*slices("n")))
    assert code == 1
    assert err == "Pulumi.new.yaml is there already: take it away, or give the twin another name with STACK=…\n"
    assert (tmp_path / "Pulumi.new.yaml").read_text() == "mine"


def test_a_stack_with_a_name_that_is_none(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["twin", "--stack", "../up", "read", "dump"])
    assert command.main() == 1


# What is missing, or there too often.


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
    assert "note: ResourceSlices of 1 nodes that are not in the dump are left out" in said


def test_no_slice_of_any_node(run: Run, tmp_path: Path) -> None:
    assert refused(run(text_of(node("a"), *slices("gone"))), tmp_path).startswith("no node of the dump has devices")


def test_nodes_without_devices(run: Run, tmp_path: Path) -> None:
    _, said = made(run(text_of(node("a"), node("control-plane"), *slices("a"))), tmp_path)
    assert "note: 1 of 2 nodes have no devices and are left out" in said


def test_devices_of_no_node(run: Run, tmp_path: Path) -> None:
    fabric = resource_slice("a", "fabric.example.org", [gpu()], allNodes=True)
    del fabric["spec"]["nodeName"]
    _, said = made(run(text_of(node("a"), *slices("a"), fabric)), tmp_path)
    assert "note: 1 ResourceSlices of fabric.example.org are of no single node" in said


def test_older_generations(run: Run, tmp_path: Path) -> None:
    old = resource_slice("a", "gpu.example.org", [gpu(), gpu("gpu-1")])
    new = resource_slice("a", "gpu.example.org", [gpu()])
    old["metadata"]["name"] = "older"
    old["spec"]["pool"] = {"name": "a", "generation": 36, "resourceSliceCount": 1}
    raw, _ = made(run(text_of(old, new)), tmp_path)
    assert [pool["gpusPerNode"] for pool in raw["nodePools"]] == [1]


def test_a_pool_without_all_of_its_slices(run: Run, tmp_path: Path) -> None:
    (entry,) = slices("a")
    entry["spec"]["pool"]["resourceSliceCount"] = 3
    _, said = made(run(text_of(entry)), tmp_path)
    assert "note: of some pools of gpu.example.org not all ResourceSlices are there" in said


@pytest.mark.parametrize("version", ["v1", "v1beta2", "v1beta1"])
def test_versions(run: Run, tmp_path: Path, version: str) -> None:
    device = (
        gpu() if version != "v1beta1" else {"name": "gpu-0", "basic": {k: v for k, v in gpu().items() if k != "name"}}
    )
    raw, _ = made(run(text_of(resource_slice("a", "gpu.example.org", [device], version))), tmp_path)
    assert raw["nodePools"][0]["gpu"] == "gpu"


def test_versions_that_are_mixed(run: Run, tmp_path: Path) -> None:
    """The same object in two versions is the same object."""
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


# What everybody may see.


def test_nothing_that_tells_who_it_is(run: Run, tmp_path: Path) -> None:
    run(text_of(*real_slices.aws_a100("ip-10-0-0-1.corp"), *real_slices.oci_nics("ip-10-0-0-2.corp")))
    text = (tmp_path / "Pulumi.new.yaml").read_text() + (tmp_path / "new-devices.yaml").read_text()
    for private in ("ip-10", "corp", "10.1.2.3", "secret", "registry.example.com", "cloud://", "60:5e:65", "nodeid"):
        assert private not in text
    for node_name in ("ip-10-0-0-1.corp", "ip-10-0-0-2.corp"):
        assert real_slices.uuid(node_name) not in text


def test_names_that_are_kept(run: Run, tmp_path: Path) -> None:
    run(text_of(*real_slices.intel("rpl-s")), options=("--keep-names",))
    text = (tmp_path / "Pulumi.new.yaml").read_text()
    assert "# rpl-s-0 is rpl-s.\n" in text
    assert yaml.safe_load(text)["config"]["kwok-dra:nodePools"][0]["name"] == "rpl-s"
