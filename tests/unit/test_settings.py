"""Reading the raw configuration from Pulumi's settings."""

from pathlib import Path

import pytest
import yaml

from topology.schema.settings import STACKS, raw_configuration, stack_file, unusable

ROOT = Path(__file__).resolve().parents[2]


def test_keys_of_the_project_are_taken_and_read() -> None:
    settings = {
        "kwok-dra:nodePools": '[{"name": "a"}]',
        "kwok-dra:cluster": '{"kubeVersion": "1.37.2"}',
        "kwok-dra:typo": "not JSON",
        "kwok-dra-else:nodePools": "[]",
        "pulumi:disable-default-providers": '["kubernetes"]',
    }
    assert raw_configuration(settings, "kwok-dra", "dev") == {
        "nodePools": [{"name": "a"}],
        "cluster": {"kubeVersion": "1.37.2", "name": "kwok-dra-dev"},
        "typo": "not JSON",
    }


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [('{"name": "mine"}', {"name": "mine"}), ("[]", []), ("wrong", "wrong"), (None, {"name": "p-s"})],
)
def test_the_cluster_has_a_name_unless_it_is_no_mapping(cluster: str | None, expected: object) -> None:
    settings = {} if cluster is None else {"p:cluster": cluster}
    assert raw_configuration(settings, "p", "s")["cluster"] == expected


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the path of the file of stack `s` in a project; the file does not exist yet."""
    (tmp_path / STACKS).mkdir()
    return tmp_path / stack_file("s")


@pytest.mark.parametrize("text", ["", "encryptionsalt: v1:x\n"])
def test_a_stack_file_that_a_killed_pulumi_has_emptied(file: Path, tmp_path: Path, text: str) -> None:
    """The next command of Pulumi adds its salt."""
    file.write_text(text)
    assert "restore it with `git checkout stacks/Pulumi.s.yaml`" in unusable("s", tmp_path)


def test_a_settings_file_that_is_no_yaml(tmp_path: Path) -> None:
    """Pulumi says so itself; what reads a running stack comes without it."""
    (tmp_path / STACKS).mkdir()
    (tmp_path / stack_file("s")).write_text("config:\n  a: b: c\n")
    said = unusable("s", tmp_path)
    assert said.startswith("'stacks/Pulumi.s.yaml' is not YAML: mapping values are not allowed here")
    assert "line 2" in said


def test_a_stack_file_that_configures_an_empty_cluster(file: Path, tmp_path: Path) -> None:
    assert not unusable("s", tmp_path)
    file.write_text("config:\n  p:nodePools: []\n")
    assert not unusable("s", tmp_path)


def test_a_stack_file_where_an_earlier_release_had_it(file: Path, tmp_path: Path) -> None:
    (tmp_path / "Pulumi.s.yaml").write_text("config:\n  p:nodePools: []\n")
    assert unusable("s", tmp_path).endswith("Move it: `mv Pulumi.s.yaml stacks/`")
    (tmp_path / "Pulumi.s.yaml").rename(file)
    assert not unusable("s", tmp_path)


def test_the_folder_of_stack_files_is_that_of_the_project() -> None:
    project = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
    assert project["stackConfigDir"] == STACKS
    assert (ROOT / stack_file("dev")).resolve() == ROOT / "Pulumi.dev.yaml"


@pytest.mark.parametrize("file", sorted((ROOT / STACKS).glob("Pulumi.*.yaml")), ids=lambda file: file.name)
def test_pulumi_adds_nothing_but_its_salt_to_a_stack_file(file: Path) -> None:
    """It writes the file anew, and YAML aliases as what they stand for: git would show a change after `make up`."""
    assert not [token for token in yaml.scan(file.read_text()) if isinstance(token, yaml.AliasToken)]
