"""Twins of dumps of real fleets on a real scheduler: what is allocated, what waits, and what a change brings."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.answers import topology
from tests.e2e.live_stack import MINOR, LiveCluster
from tests.e2e.project import Project
from tests.twins.cases import CASES, dump_of, objects
from tests.twins.cluster import Cluster, key_of
from tests.twins.made import MODES, Twin, configured, twin_of
from topology.checks.validation import load
from topology.kubernetes.feature_gates import gates_for, runtime_config_for
from topology.status.report import Report

Configuration = dict[str, Any]
Changed = Callable[[str, Callable[[Configuration], None]], Report]

FEATURES = ("compatibility groups", "list attributes", "node allocatable resources", "optional node operations")
CLUSTER = {
    "kubeFeatureGates": gates_for(FEATURES, MINOR),
    "kubeRuntimeConfig": runtime_config_for(FEATURES, "v1", MINOR),
}
POOLS = [{"name": "none", "nodes": 0, "gpu": "example-gpu-attached"}]
"""For a cluster in which devices are attached."""
UNTOLD = ("nvidia-a40-vfio", "nvidia-vgpu-l40s")
"""The dumps with devices that no attribute tells apart."""


@pytest.fixture(scope="module")
def cluster(new_project: Callable[[], Project]) -> Iterator[LiveCluster]:
    cluster = LiveCluster(new_project(), cluster=CLUSTER, nodePools=POOLS)
    yield cluster
    cluster.close()


@pytest.fixture
def changed(cluster: LiveCluster, tmp_path: Path) -> Changed:
    """Return a function that changes the twin of a case, brings it up and returns the report."""

    def report(case: str, change: Callable[[Configuration], None]) -> Report:
        twin_of(dump_of(case), tmp_path)
        configuration = configured(tmp_path)
        change(configuration)
        with cluster.stack(load(configuration, tmp_path)) as live:
            found = live.report()
        assert not found.unexpected
        return found

    return report


def claims(found: Report) -> list[dict[str, Any]]:
    assert isinstance(found.claims, list)
    return found.claims


def states(found: Report) -> Counter[str]:
    """Count the claims by their state: an allocated one may be reserved, too."""
    return Counter(str(claim["state"]).partition(",")[0] for claim in claims(found))


def held(found: Report) -> list[dict[str, Any]]:
    """Return the devices, or the shares of devices, that claims have."""
    return [device for claim in claims(found) for device in claim["devices"]]


@pytest.mark.parametrize("mode", ["default", "devices"])
@pytest.mark.parametrize("case", CASES)
def test_claims_are_allocated_as_in_the_dump(cluster: LiveCluster, tmp_path: Path, case: str, mode: str) -> None:
    twin = twin_of(dump_of(case), tmp_path, MODES[mode])
    with cluster.stack(twin.topology) as live:
        found = live.report()
    assert not found.unexpected
    right = CASES[case]
    assert states(found) == +Counter(allocated=right.allocated, pending=right.pending)
    assert len(held(found)) == right.held
    if mode == "devices" and case not in UNTOLD:
        now = Counter((device["pool"], device["device"]) for device in held(found))
        assert not held_in_the_dump(case, twin) - now


def held_in_the_dump(case: str, twin: Twin) -> Counter[tuple[str, str]]:
    """Return the published devices of nodes that claims hold, by the twin's names; extended resources may differ."""
    dump = Cluster(objects(case))
    return Counter(
        (twin.nodes[result["pool"]], result["device"])
        for pod in dump.pods
        for claim in pod.claims
        for result in claim.results
        if not claim.is_extended and result["pool"] in twin.nodes and key_of(result) in dump.devices
    )


# What if.


def request_of(configuration: Configuration, name: str, amount: str) -> dict[str, Any]:
    """Return the request for such an amount of a capacity."""
    claims = [
        *configuration.get("claims", []),
        *(claim for entry in configuration["workloads"] for claim in entry["claims"]),
    ]
    return next(
        request
        for claim in claims
        for request in claim.get("requests", [])
        if str(request.get("capacity", {}).get(name)) == amount
    )


def all_run(configuration: Configuration) -> None:
    """Expect every claim to be allocated."""
    for workload in configuration["workloads"]:
        workload.pop("expect", None)


def test_a_second_gpu_has_room_for_the_claim_that_waits(changed: Changed) -> None:
    def change(configuration: Configuration) -> None:
        configuration["nodePools"][0]["gpusPerNode"] = 2
        all_run(configuration)

    found = changed("hami-one-gpu", change)
    assert states(found) == Counter(allocated=2)
    assert len({device["shareID"] for device in held(found)}) == 3


@pytest.mark.parametrize(("cores", "consumed"), [("40", "40"), ("39.5", "40")])
def test_fewer_cores_fit_on_one_gpu(changed: Changed, cores: str, consumed: str) -> None:
    """Amounts are rounded up to a whole step."""

    def change(configuration: Configuration) -> None:
        request_of(configuration, "cores", "60")["capacity"]["cores"] = cores
        all_run(configuration)

    found = changed("hami-one-gpu", change)
    assert states(found) == Counter(allocated=2)
    assert Counter(device["consumedCapacity"]["cores"] for device in held(found)) == Counter({"30": 2, consumed: 1})


def test_pods_with_an_extended_resource_instead_of_claims(changed: Changed) -> None:
    def change(configuration: Configuration) -> None:
        container = {"name": "main", "resources": {"rebellions.ai/npu": "1"}}
        configuration["workloads"] = [{"name": "pods", "replicas": 2, "containers": [container]}]

    found = changed("rebellions-two-cards", change)
    assert states(found) == Counter(allocated=2)
    assert sorted(device["device"] for device in held(found)) == ["rbln0", "rbln1"]


def test_a_tenant_that_takes_two_of_eight_slices(changed: Changed) -> None:
    def change(configuration: Configuration) -> None:
        tenants = [entry for entry in configuration["workloads"] if "expect" not in entry or entry["replicas"] > 1]
        request = tenants[0]["claims"][0]["requests"][0]
        large = request | {"capacity": request["capacity"] | {"slices": "2"}}
        first = {"name": "large", "claims": [{"name": "c", "requests": [large]}]}
        others = {"name": "others", "replicas": 8, "claims": [{"name": "c", "requests": [request]}], "after": ["large"]}
        configuration["workloads"] = [first, others | {"expect": {"allocated": 6, "pending": 2}}]

    found = changed("hygon-hcu", change)
    assert states(found) == Counter(allocated=7, pending=2)
    assert Counter(device["consumedCapacity"]["slices"] for device in held(found)) == {"1": 6, "2": 1}
    assert all("slices" in claim["reason"] for claim in claims(found) if claim["state"] == "pending")


def test_claims_without_capacity_take_whole_cards(changed: Changed) -> None:
    def change(configuration: Configuration) -> None:
        request = configuration["workloads"][0]["claims"][0]["requests"][0]
        whole = {key: value for key, value in request.items() if key not in ("capacity", "selectors")}
        claim = {"name": "c", "requests": [whole]}
        expect = {"allocated": 2, "pending": 1}
        configuration["workloads"] = [{"name": "whole", "replicas": 3, "claims": [claim], "expect": expect}]

    found = changed("hygon-hcu", change)
    assert sorted(device["device"] for device in held(found)) == sorted({device["device"] for device in held(found)})
    assert {(device["consumedCapacity"]["cores"], device["consumedCapacity"]["slices"]) for device in held(found)} == {
        ("120", "1")
    }


def test_profiles_of_two_families_are_on_two_cards(changed: Changed) -> None:
    found = changed("nvidia-vgpu-l40s", lambda _: None)
    small, large = cards_of(found, "12q"), cards_of(found, "24q")
    assert (small.total(), large.total()) == (2, 1)
    assert not small.keys() & large.keys()


def test_more_profiles_of_one_family(changed: Changed) -> None:
    def change(configuration: Configuration) -> None:
        desks, *others = sorted(configuration["workloads"], key=lambda entry: -entry["replicas"])
        more = desks | {"name": "more", "replicas": 4, "after": [entry["name"] for entry in configuration["workloads"]]}
        more |= {"expect": {"allocated": 2, "pending": 2}}
        configuration["workloads"] = [desks, *others, more]

    found = changed("nvidia-vgpu-l40s", change)
    assert states(found) == Counter(allocated=5, pending=3)
    assert list(cards_of(found, "12q").values()) == [4]
    assert found.pools[0]["free"] <= 1


def cards_of(found: Report, profile: str) -> Counter[str]:
    """Count the vGPUs of a profile that claims have by the number of their card."""
    return Counter(str(one["device"]).split("-")[2] for one in held(found) if f"-{profile}-" in str(one["device"]))


# Rules that taint devices.


@pytest.mark.parametrize("stack", ["empty", "own"])
def test_a_rule_with_an_empty_selector_taints_all_devices(cluster: LiveCluster, tmp_path: Path, stack: str) -> None:
    found, rule = ruled(cluster, tmp_path, stack)
    assert states(found) == Counter(pending=2)
    assert found.pools[0]["tainted"] == 2
    assert all("taint" in claim["reason"] for claim in claims(found))
    assert rule["spec"]["deviceSelector"] == {}


def test_a_rule_without_a_selector_taints_none(cluster: LiveCluster, tmp_path: Path) -> None:
    found, rule = ruled(cluster, tmp_path, "none")
    assert states(found) == Counter(allocated=2)
    assert not found.pools[0].get("tainted")
    assert not any("taints" in device for device in held(found))
    assert "deviceSelector" not in rule["spec"]


def ruled(cluster: LiveCluster, folder: Path, stack: str) -> tuple[Report, dict[str, Any]]:
    """Bring up a stack, and return the report and its DeviceTaintRule."""
    with cluster.stack(topology("taint-rule-selectors", stack, folder)) as live:
        found = live.report()
        rule = live.api.get("/apis/resource.k8s.io/v1/devicetaintrules/drill").checked().object
    assert not found.unexpected
    return found, rule
