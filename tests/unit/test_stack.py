"""From the settings that Pulumi holds to the raw configuration."""

import pytest

from topology.stack import raw_configuration, unconfigured


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


def test_a_stack_file_that_a_killed_pulumi_has_emptied() -> None:
    """All that is left are the defaults of Pulumi.yaml."""
    defaults = {"p:cluster": "{}", "p:nodePools": "[]", "pulumi:disable-default-providers": '["kubernetes"]'}
    said = unconfigured(defaults, "p", "s")
    assert "bring it back with `git checkout Pulumi.s.yaml`" in said
    assert not unconfigured(defaults | {"p:cluster": '{"name": "empty"}'}, "p", "s")
