"""Public reports of claims that could get no devices: what is refused of them before anything is created, and why."""

import re
from pathlib import Path

import pytest

from tests.answers import topology
from topology.checks.validation import ConfigurationError
from topology.schema.stack import Topology

REFUSED = {
    # Every pod of the class is pending, also one that could run on another node.
    ("device-without-attribute", "refused"): [
        (
            "workloads[0].claims[0].requests[0]",
            ["class gpu.nvidia.com", "comes with driver", "gpu.nvidia.com/type", "device gpu-0 of pool fake"],
        ),
        ("workloads[1].claims[0].requests[0]", ["gpu-0 of pool fake", "under kwok-dra:deviceClasses"]),
    ],
    ("all-partitions", "refused"): [("workloads[1].claims", ["empty node of cut"])],
    ("all-nics", "refused"): [("manifests[1].files[0]", ["document 1", "Pod large", "empty node of large"])],
    ("channel-per-pod", "each-pod-refused"): [("workloads[0].replicas", ["is 6", "at most 2 such pods"])],
    ("channel-per-pod", "shared-refused"): [("workloads[0].replicas", ["is 5", "at most 4 such pods"])],
    ("group-claim", "refused"): [("workloads[0].replicas", ["node can hold at most 1 such pod"])],
    ("two-classes", "refused"): [("workloads[0].replicas", ["can hold at most 1 such pod"])],
    ("queue-sample", "as-published"): [
        ("manifests[1].files[0]", ["document 1", "Job", "generateName", "metadata.name"])
    ],
    ("queue-sample", "queue"): [
        ("manifests[0].files[0]", ["document 1", "LocalQueue team", "kueue.x-k8s.io", "CustomResourceDefinition"])
    ],
    ("misshapen-claims", "flat"): [
        (
            "manifests[0].files[0]",
            ["ResourceClaimTemplate flat", "spec.spec.devices.requests[0]", "'deviceClassName'", "exactly"],
        )
    ],
    ("misshapen-claims", "outside"): [("manifests[0].files[0]", ["ResourceClaim outside: spec", "'tolerations'"])],
    ("misshapen-claims", "double"): [("manifests[0].files[0]", ["ResourceClaim double: spec", "'spec'"])],
    ("misshapen-claims", "ancient"): [("manifests[0].files[0]", ["ResourceClaim ancient", "resource.k8s.io/v1alpha2"])],
    ("misshapen-claims", "source"): [
        ("manifests[0].files[0]", ["document 2", "Pod old", "resourceClaims[0]", "'source'"])
    ],
    ("job-with-two-claims", "all"): [("manifests[0].files[1]", ["Job turns", "empty node of node"])],
    ("job-with-two-claims", "slip"): [
        ("manifests[0].files[0]", ["ResourceClaim shared", "selectors[0]", "'expression'", "cel"])
    ],
}
"""The key and parts of the message of each problem, by case and stack."""


@pytest.mark.parametrize(("case", "stack"), REFUSED)
def test_what_cannot_work_is_refused(case: str, stack: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        topology(case, stack, tmp_path)
    wanted = REFUSED[case, stack]
    assert [problem.path for problem in raised.value.problems] == [path for path, _ in wanted]
    for problem, (_, parts) in zip(raised.value.problems, wanted, strict=True):
        assert [part for part in parts if part not in problem.message] == []
        assert "did you mean" not in problem.message


def test_two_classes_for_one_extended_resource_are_warned_of(tmp_path: Path) -> None:
    told: list[str] = []
    topology("two-classes", "one-waits", tmp_path, told.append)
    assert len(told) == 1
    assert "gpu.nvidia.com and shared.example.org" in told[0]
    assert "nvidia.com/gpu" in told[0].split("extendedResourceName")[1]
    topology("two-classes", "only-shared", tmp_path, told.append)
    assert len(told) == 1


def test_the_version_of_the_file_is_the_one_that_counts(tmp_path: Path) -> None:
    """The flat request of v1 is right in v1beta1."""
    (applied,) = topology("misshapen-claims", "v1beta1", tmp_path).manifests
    assert applied.objects()[0]["apiVersion"] == "resource.k8s.io/v1beta1"


def test_only_the_scheduler_knows_that_a_gang_is_too_greedy(tmp_path: Path) -> None:
    assert not topology("gang-with-alternatives", "unexpected", tmp_path).workloads[0].expect.model_fields_set


EXPECT = re.compile(r"expect: \{(\w+): (\d+)\}")


@pytest.mark.parametrize(
    ("case", "stack", "mended"),
    [
        ("channel-per-pod", "each-pod-refused", "each-pod"),
        ("channel-per-pod", "shared-refused", "shared"),
        ("group-claim", "refused", "one-waits"),
        ("two-classes", "refused", "one-waits"),
    ],
)
def test_the_remedy_that_a_message_names_works(case: str, stack: str, mended: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        topology(case, stack, tmp_path)
    remedy = EXPECT.search(str(raised.value))
    assert remedy
    expect = topology(case, mended, tmp_path).workloads[0].expect
    assert expect.model_dump(exclude_unset=True) == {remedy[1]: int(remedy[2])}


def claims_expected(loaded: Topology) -> list[tuple[int, int]]:
    return [(entry.expected_allocated, entry.expected_pending) for entry in loaded.workloads]


def test_a_shared_claim_counts_for_each_pod(tmp_path: Path) -> None:
    assert claims_expected(topology("channel-per-pod", "shared", tmp_path)) == [(9, 1)]
    assert claims_expected(topology("channel-per-pod", "each-pod", tmp_path)) == [(4, 8)]
