"""The dumps of tests/data/twins, and what is right of each: counted by hand from the dump and its source."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tests.twins.made import objects_of

FOLDER = Path(__file__).resolve().parents[1] / "data" / "twins"
GPU = "gpu.nvidia.com"
NPU = "npu.rebellions.ai"
HAMI = "hami-core-gpu.project-hami.io"
SRIOV = "sriovnetwork.k8snetworkplumbingwg.io"


class Case(NamedTuple):
    """What the twin of a dump has: nodes, devices by driver, and claims; extended resources of a pod are a claim."""

    nodes: int
    devices: Mapping[str, int]
    allocated: int
    pending: int
    held: int
    """The devices, or shares of devices, that the allocated claims have."""


CASES = {
    "aks-gb300-ib-only": Case(2, {GPU: 8, "dra.net": 8}, allocated=4, pending=0, held=6),
    "aks-gb300-two-fabrics": Case(4, {GPU: 16, "dra.net": 16}, allocated=2, pending=1, held=16),
    "alibaba-erdma-device-plugin-gpus": Case(2, {"dra.net": 2}, allocated=2, pending=0, held=2),
    "composable-fabric-devices": Case(3, {GPU: 11}, allocated=2, pending=0, held=2),
    "cpu-individual-list-attributes": Case(1, {"dra.cpu": 12}, allocated=2, pending=1, held=8),
    # Of the three nodes with devices, one has an incomplete pool.
    "gke-broken-slices": Case(2, {GPU: 7}, allocated=1, pending=1, held=4),
    "hami-consumable-cores": Case(1, {HAMI: 1}, allocated=1, pending=1, held=1),
    "hami-one-gpu": Case(1, {HAMI: 1}, allocated=1, pending=1, held=1),
    "hygon-hcu": Case(1, {"dra.hygon.com": 2}, allocated=8, pending=1, held=8),
    "neuron-trn2": Case(1, {"neuron.aws.com": 16}, allocated=4, pending=2, held=8),
    "nvidia-a30-dynamic-mig": Case(1, {GPU: 13}, allocated=2, pending=2, held=2),
    "nvidia-a40-vfio": Case(1, {GPU: 6}, allocated=2, pending=0, held=2),
    "nvidia-vgpu-l40s": Case(1, {GPU: 16}, allocated=3, pending=1, held=3),
    # The two ports that pods have are in no slice of the dump.
    "oke-h100-nics-in-use": Case(2, {GPU: 16, "dra.net": 30}, allocated=2, pending=0, held=4),
    "rebellions-npu": Case(2, {NPU: 8}, allocated=3, pending=1, held=4),
    "rebellions-two-cards": Case(1, {NPU: 2}, allocated=2, pending=1, held=2),
    "sriov-extended-resources": Case(2, {SRIOV: 16}, allocated=3, pending=0, held=7),
    "taint-rule-without-selector": Case(1, {GPU: 2}, allocated=2, pending=0, held=2),
}


def dump_of(case: str) -> Path:
    """Return the file of a dump."""
    return FOLDER / f"{case}.yaml"


@cache
def objects(case: str) -> list[dict[str, Any]]:
    """Return the objects of a dump, which nobody changes."""
    return objects_of(dump_of(case))
