"""The Kubernetes objects of the dev stack, compared with the documentation page that it reproduces."""

from typing import Any

import pytest

from tests.seed_page import as_v1, manifests, without_suffix
from topology.checks.validation import load
from topology.kubernetes.objects import Manifest
from topology.objects import claims, nodes, pods
from topology.objects.slices import resource_slices
from topology.schema.stack import Topology

Configuration = dict[str, Any]


def rendered(topology: Topology) -> list[Manifest]:
    """Render everything, in the order of the page."""
    pools = [(pool, name) for pool in topology.node_pools for name in pool.node_names()]
    return [
        *(claims.device_class(device_class) for device_class in topology.device_classes),
        *(nodes.node(*node) for node in pools),
        *(entry for pool, name in pools for entry in resource_slices(pool, name)),
        *(
            claims.resource_claim_template(workload, claim)
            for workload in topology.workloads
            for claim in workload.claims
        ),
        *(pods.workload_objects(workload)[0] for workload in topology.workloads),
    ]


def fields(value: object, path: str = "") -> dict[str, object]:
    """Flatten to one entry per field, with the value's type, so that `1`, `True` and `"1"` differ."""
    if isinstance(value, dict) and value:
        return {key: found for name in value for key, found in fields(value[name], f"{path}.{name}").items()}
    if isinstance(value, list) and value:
        return {
            key: found for index, entry in enumerate(value) for key, found in fields(entry, f"{path}[{index}]").items()
        }
    return {path: (type(value).__name__, value)}


@pytest.mark.parametrize("position", range(5), ids=[manifest["kind"] for manifest in manifests()])
def test_the_dev_stack_is_the_page(dev: Configuration, position: int) -> None:
    made, page = rendered(load(dev)), manifests()
    assert len(made) == len(page)
    assert fields(without_suffix(made[position])) == fields(without_suffix(as_v1(page[position])))
