"""The nodes that are not ready and whose pods are evicted."""

from typing import Any

import pytest

from topology.checks.validation import load
from topology.status.expectations import evicting_nodes

Pool = dict[str, Any]


def pool(nodes: int, not_ready: int = 0, name: str = "a", zone: str | None = None, **values: Any) -> Pool:
    """Return a pool whose first nodes are not ready."""
    labels = {"topology.kubernetes.io/zone": zone} if zone else {}
    faults = [{"nodes": list(range(not_ready)), "notReady": True}] if not_ready else []
    return {"name": name, "nodes": nodes, "gpu": "example-gpu", "labels": labels, "faults": faults} | values


@pytest.mark.parametrize(
    ("pools", "evicting"),
    [
        ([pool(2)], ""),
        ([pool(2, 1)], "a-0"),
        ([pool(3, 2)], "a-0 a-1"),
        # No node is ready: something else is wrong.
        ([pool(1, 1)], ""),
        ([pool(2, 2)], ""),
        ([pool(1, 1, zone="x"), pool(1, 1, "b", "y")], ""),
        # Too many nodes of a zone are not ready.
        ([pool(5, 3)], ""),
        ([pool(6, 3)], "a-0 a-1 a-2"),
        ([pool(4, 3), pool(4, name="b")], "a-0 a-1 a-2"),
        ([pool(4, 3, zone="x"), pool(4, name="b", zone="y")], ""),
        # No node of a zone is ready, but there are other zones.
        ([pool(3, 3, zone="x"), pool(1, name="b", zone="y")], "a-0 a-1 a-2"),
        ([pool(3, 3), pool(1, name="b")], ""),
        # Nodes that are gone do not count.
        ([pool(2, 1, faults=[{"nodes": [0], "notReady": True}, {"nodes": [1], "gone": True}])], ""),
        ([pool(3, 1, faults=[{"nodes": [0], "notReady": True}, {"nodes": [0], "gone": True}])], ""),
    ],
)
def test_evicting_nodes(pools: list[Pool], evicting: str) -> None:
    topology = load({"cluster": {"name": "x"}, "nodePools": pools})
    assert evicting_nodes(topology) == evicting.split()
