"""The Stages that KWOK plays besides its own."""

import yaml

from components import kwokctl
from topology.stages import NOT_READY, STAGES_FILE, stages


def test_a_node_is_not_ready_as_long_as_it_has_the_annotation() -> None:
    """Over KWOK's own Stages, whose weight is 0, and with the same patch every time."""
    (stage,) = yaml.safe_load_all(stages())
    assert (stage["apiVersion"], stage["kind"]) == ("kwok.x-k8s.io/v1alpha1", "Stage")
    spec = stage["spec"]
    assert spec["resourceRef"] == {"apiGroup": "v1", "kind": "Node"}
    assert spec["selector"] == {"matchAnnotations": NOT_READY}
    assert spec["weight"] > 0
    (condition,) = yaml.safe_load(spec["next"]["statusTemplate"])["conditions"]
    assert (condition["type"], condition["status"]) == ("Ready", "False")
    assert "{{" not in spec["next"]["statusTemplate"]


def test_both_sides_mean_the_same_file() -> None:
    assert kwokctl.STAGES_FILE == STAGES_FILE
