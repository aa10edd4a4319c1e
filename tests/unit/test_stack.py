"""From the settings that Pulumi holds to the raw configuration."""

from pathlib import Path

import pytest

from topology.schema.settings import emptied, raw_configuration


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


@pytest.mark.parametrize("text", ["", "encryptionsalt: v1:x\n"])
def test_a_stack_file_that_a_killed_pulumi_has_emptied(tmp_path: Path, text: str) -> None:
    """The next command of Pulumi adds its salt."""
    file = tmp_path / "Pulumi.s.yaml"
    file.write_text(text)
    assert "bring it back with `git checkout Pulumi.s.yaml`" in emptied(file)


def test_a_stack_file_that_configures_an_empty_cluster(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.s.yaml"
    assert not emptied(file)
    file.write_text("config:\n  p:nodePools: []\n")
    assert not emptied(file)
