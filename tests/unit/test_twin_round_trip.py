"""The twin of a dump of every stack in the repository renders the same objects as the stack."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.simulated import live
from topology.checks.validation import load
from topology.kubernetes.objects import Manifest
from topology.objects import claims, kueue, pods
from topology.objects.slices import resource_slices
from topology.schema.settings import raw_configuration
from topology.schema.stack import Topology
from twin.dump import Dump, read
from twin.stack import Stack, stack
from twin.writing import write

ROOT = Path(__file__).resolve().parents[2]
STACKS = sorted(file.name.split(".")[1] for file in ROOT.glob("stacks/Pulumi.*.yaml"))
Configuration = dict[str, Any]
NOTES = {
    "schedulers": ["pods of other schedulers are placed by kube-scheduler, which serves their names too: 3"],
}
"""What the twin of a stack does not have."""


def configured(folder: Path, name: str) -> Topology:
    config = yaml.safe_load((folder / "stacks" / f"Pulumi.{name}.yaml").read_text())["config"]
    settings = {key: json.dumps(value) for key, value in config.items()}
    return load(raw_configuration(settings, "kwok-dra", name), folder)


def dumped(topology: Topology, file: Path) -> Dump:
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": live(topology)}))
    return read([file])


def twin_of(topology: Topology, folder: Path, *, keep_names: bool) -> tuple[Stack, Topology]:
    """Return the twin, and the topology that its files configure."""
    found = stack(dumped(topology, folder / "dump.json"), keep_names=keep_names)
    write(found, "again", folder, keep_names)
    return found, configured(folder, "again")


def devices_of(topology: Topology) -> dict[str, list[Manifest]]:
    """Return the objects that a twin must have unchanged."""
    names = [(pool, name) for pool in topology.node_pools for name in pool.node_names()]
    objects = [entry for entry in live(topology) if entry["kind"] in ("Node", "DeviceTaintRule")]
    return {
        "nodes": sorted(objects, key=lambda entry: (entry["kind"], entry["metadata"]["name"])),
        "slices": sorted(
            (entry for pool, name in names for entry in resource_slices(pool, name)),
            key=lambda entry: str(entry["metadata"]["name"]),
        ),
        "classes": sorted(
            (claims.device_class(entry) for entry in topology.device_classes),
            key=lambda entry: str(entry["metadata"]["name"]),
        ),
    }


def workloads_of(topology: Topology) -> dict[str, Any]:
    """Return the objects of workloads, except Jobs, whose pods have ended unless Kueue holds them."""
    return {
        workload.name: [
            workload.expected_allocated,
            workload.expected_pending,
            [claims.resource_claim_template(workload, claim) for claim in workload.claims if not claim.claim],
            pods.workload_objects(workload),
        ]
        for workload in topology.workloads
        if workload.kind != "Job" or workload.queue
    }


@pytest.mark.parametrize("name", STACKS)
def test_the_twin_of_a_stack_has_the_same_objects(name: str, tmp_path: Path) -> None:
    topology = configured(ROOT, name)
    found, twin = twin_of(topology, tmp_path, keep_names=True)
    assert found.notes == NOTES.get(name, [])
    assert devices_of(twin) == devices_of(topology)
    assert workloads_of(twin) == workloads_of(topology)
    assert kueue.objects(twin) == kueue.objects(topology)
    assert kueue.own_configuration(twin) == kueue.own_configuration(topology)
    assert [claims.resource_claim(claim) for claim in twin.claims] == [
        claims.resource_claim(claim) for claim in topology.claims
    ]


# Stacks that define devices in their configuration; all others use only the catalogue.
WRITTEN_OUT = {
    "compatibility-groups",
    "derived-attributes",
    "fabric",
    "list-attributes",
    "node-allocatable-resources",
    "optional-node-operations",
    "prioritized-list",
}


@pytest.mark.parametrize("name", sorted(set(STACKS) - WRITTEN_OUT))
def test_devices_of_the_catalogue_are_recognised(name: str, tmp_path: Path) -> None:
    found = stack(dumped(configured(ROOT, name), tmp_path / "dump.json"))
    assert found.catalogue == {}


@pytest.mark.parametrize("name", STACKS)
def test_a_twin_without_names_is_its_own_twin(name: str, tmp_path: Path) -> None:
    first = tmp_path / "first"
    second = tmp_path / "second"
    first.mkdir()
    second.mkdir()
    topology = configured(ROOT, name)
    found, twin = twin_of(topology, first, keep_names=False)
    again, _ = twin_of(twin, second, keep_names=False)
    notes = NOTES | {"opaque-config": ["config of claims is left out: 1"]}
    assert found.notes == notes.get(name, [])
    assert again.notes == (NOTES["schedulers"] if name == "schedulers" else [])
    assert again.configuration == found.configuration
    assert again.catalogue == found.catalogue
    assert counts(twin) == counts(topology)


def counts(topology: Topology) -> list[Any]:
    """Return the numbers of nodes, classes and claims."""
    of_claims = [
        (workload.replicas, workload.expected_allocated, workload.expected_pending)
        for workload in topology.workloads
        if workload.kind != "Job" or workload.queue
    ]
    return [
        sum(len(pool.node_names()) for pool in topology.node_pools),
        len(topology.device_classes),
        [sum(column) for column in zip(*of_claims, strict=True)],
    ]


def test_another_version_of_a_driver_is_the_same_model(tmp_path: Path) -> None:
    pool = {"name": "p", "gpu": "a100-40gb", "gpusPerNode": 8, "attributes": {"driverVersion": {"version": "590.1.2"}}}
    topology = load({"cluster": {"name": "x"}, "nodePools": [pool]})
    (found,) = stack(dumped(topology, tmp_path / "dump.json")).configuration["nodePools"]
    assert (found["gpu"], found["attributes"]) == ("a100-40gb", pool["attributes"])


def test_another_product_is_another_model(tmp_path: Path) -> None:
    pool = {"name": "p", "gpu": "a100-40gb", "attributes": {"productName": {"string": "NVIDIA A800-SXM4-40GB"}}}
    topology = load({"cluster": {"name": "x"}, "nodePools": [pool]})
    (found,) = stack(dumped(topology, tmp_path / "dump.json")).configuration["nodePools"]
    assert found["gpu"] == "nvidia-a800-sxm4-40gb"


@pytest.mark.parametrize(
    ("model", "more"),
    [
        *((f"l4@{release}", {}) for release in ("25.12", "25.12-r570", "25.8", "25.3")),
        ("a40@passthrough", {}),
        ("h100@fabric-partitions", {}),
        ("h100@shares-10", {}),
        ("h100@shares-memory", {"mig": "dynamic"}),
        ("l40s@vgpu", {"gpusPerNode": 2}),
        ("l4@list-attributes", {}),
        ("a30@25.12", {"mig": "dynamic", "gpusPerNode": 2}),
        ("rtx-pro-6000", {"mig": [{"profiles": {"2g.48gb": 2}}]}),
    ],
)
def test_a_profile_is_recognised(model: str, more: dict[str, Any], tmp_path: Path) -> None:
    pool = {"name": "p", "gpu": model, "gpusPerNode": 8, **more}
    found = stack(dumped(load({"cluster": {"name": "x"}, "nodePools": [pool]}), tmp_path / "dump.json"))
    (twin,) = found.configuration["nodePools"]
    assert "models" not in found.catalogue
    assert {key: value for key, value in twin.items() if key in ("gpu", "gpusPerNode", "mig", "devices")} == {
        key: value for key, value in pool.items() if key != "name"
    }
