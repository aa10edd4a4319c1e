"""The Stages that KWOK plays in addition to those of kwokctl."""

from typing import Any

import pytest
import yaml

from cluster.local import kwok_cluster
from topology.checks.validation import load
from topology.kubernetes.objects import NOT_READY
from topology.objects.kwok_stages import ATTACH_FAILS, STAGES_FILE, stages, stages_for


def test_a_node_is_not_ready_while_it_has_the_annotation() -> None:
    """The Stage overrides KWOK's own, whose weight is 0, and its patch never changes."""
    (stage,) = yaml.safe_load_all(stages())
    assert (stage["apiVersion"], stage["kind"]) == ("kwok.x-k8s.io/v1alpha1", "Stage")
    spec = stage["spec"]
    assert spec["resourceRef"] == {"apiGroup": "v1", "kind": "Node"}
    assert spec["selector"] == {"matchAnnotations": NOT_READY}
    assert spec["weight"] > 0
    (condition,) = yaml.safe_load(spec["next"]["statusTemplate"])["conditions"]
    assert (condition["type"], condition["status"]) == ("Ready", "False")
    assert "{{" not in spec["next"]["statusTemplate"]


def test_the_cluster_reads_the_file_that_is_rendered() -> None:
    assert kwok_cluster.STAGES_FILE == STAGES_FILE


@pytest.mark.parametrize(("minor", "version"), [(36, "v1beta2"), (37, "v1")])
def test_stages_that_attach_the_devices_of_a_stack(minor: int, version: str) -> None:
    def played(model: str) -> dict[str, Any]:
        cluster = {"name": "c", "kubeVersion": f"1.{minor}.0"}
        topology = load({"cluster": cluster, "nodePools": [{"name": "p", "gpu": model}]})
        return {stage["metadata"]["name"]: stage["spec"] for stage in yaml.safe_load_all(stages_for(topology))}

    assert list(played("example-gpu")) == ["node-not-ready"]
    attached = played("example-gpu-attached")
    assert list(attached) == ["node-not-ready", "claim-attached", "claim-attach-fails"]
    rule = attached["claim-attach-fails"]["steps"][0]["apply"]["template"]
    assert f"apiVersion: resource.k8s.io/{version}\nkind: DeviceTaintRule\n" in rule


def attaching() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the specs of the Stages claim-attached and claim-attach-fails."""
    _, attached, fails = yaml.safe_load_all(stages("resource.k8s.io/v1"))
    return attached["spec"], fails["spec"]


def test_a_claim_is_attached_or_fails_once() -> None:
    for spec, operator in zip(attaching(), ("NotIn", "In"), strict=True):
        assert spec["resourceRef"] == {"apiGroup": "resource.k8s.io/v1", "kind": "ResourceClaim"}
        binding, failure, told = spec["selector"]["matchExpressions"]
        assert (binding["key"], binding["operator"]) == (
            ".status.allocation.devices.results[]?.bindingConditions[]?",
            "Exists",
        )
        assert failure == {
            "key": ".status.allocation.devices.results[]?.bindingFailureConditions[]?",
            "operator": operator,
            "values": [ATTACH_FAILS],
        }
        assert told == {"key": ".status.devices[]?", "operator": "DoesNotExist"}


def test_a_device_is_tainted_before_its_failure_is_reported() -> None:
    attached, fails = attaching()
    (status,) = attached["steps"]
    rule, same = fails["steps"]
    assert same == status
    assert status["patch"]["subresource"] == "status"
    template = rule["apply"]["template"]
    assert "apiVersion: resource.k8s.io/v1\nkind: DeviceTaintRule" in template
    for text in (template, status["patch"]["template"]):
        assert f'has "{ATTACH_FAILS}" .bindingFailureConditions' in text
    assert f"{ATTACH_FAILS}: " in template, "the label by which the rules are deleted"
