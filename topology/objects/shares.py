"""Consumable shares: NVIDIA's GPUs and MIG devices of which several claims use a part each.

https://github.com/kubernetes-sigs/dra-driver-nvidia-gpu/blob/main/cmd/gpu-kubelet-plugin/consumable_shares.go
"""

from collections.abc import Mapping
from typing import Any

from topology.kubernetes.quantities import canonical, number

_STEP = 2**20
Capacity = Mapping[str, Mapping[str, Any]]


def with_shares(capacity: Capacity, shares: int | str) -> Capacity:
    """Return a device's `capacity` as the driver publishes it with its option consumableShares.

    A claim that requests no memory gets all of it with `memory`, and otherwise none; of a number of shares it gets one.
    """
    memory = canonical(f"{int(number(capacity['memory']['value'])) // _STEP}Mi")
    least = "1Mi" if shares == "memory" else "0"
    policy = _policy(memory if shares == "memory" else "0", least, memory, "1Mi")
    of_shares = {"shares": _policy("1", "1", str(shares), "1")} if isinstance(shares, int) else {}
    return {**capacity, "memory": policy, **of_shares}


def _policy(default: str, least: str, most: str, step: str) -> dict[str, Any]:
    valid = {"min": least, "max": most, "step": step}
    return {"value": most, "requestPolicy": {"default": default, "validRange": valid}}
