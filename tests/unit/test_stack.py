"""From the settings that Pulumi holds to the raw configuration."""

import pytest

from topology.stack import raw_configuration


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
