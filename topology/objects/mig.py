"""MIG devices: the partitions of an NVIDIA GPU with Multi-Instance GPU.

Names, attributes, capacities and counters are those of NVIDIA's DRA driver:
https://github.com/kubernetes-sigs/dra-driver-nvidia-gpu/blob/main/cmd/gpu-kubelet-plugin/mig.go and partitions.go.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from topology.kubernetes.quantities import number
from topology.schema.devices import MigProfile

# In the order of `nvmlGpuInstanceProfileInfo_t`.
ENGINES = ("multiprocessors", "copy_engines", "decoders", "encoders", "jpeg_engines", "ofa_engines")
PARENT_ATTRIBUTES = frozenset(
    {
        "productName",
        "brand",
        "architecture",
        "cudaComputeCapability",
        "driverVersion",
        "cudaDriverVersion",
        "addressingMode",
        "resource.kubernetes.io/pciBusID",
        "resource.kubernetes.io/pcieRoot",
        "resource.kubernetes.io/numaNode",
    }
)
"""The attributes that a MIG device inherits from its GPU."""


def device_name(gpu: str, profile: MigProfile, placement: int) -> str:
    """Return the driver's name of a MIG device, such as `gpu-0-mig-1g12gb-19-0`."""
    label = re.sub(r"[^a-z0-9-]", "-", profile.name.replace(".", ""))
    return f"{gpu}-mig-{label}-{profile.id}-{placement}"


def capacity(profile: MigProfile) -> dict[str, str]:
    """Return the capacity of a MIG device of `profile`: the number of each kind of engine, and the memory."""
    engines = {_camel(engine): str(getattr(profile, engine)) for engine in ENGINES}
    return engines | {"memory": profile.memory}


def whole_capacity(profiles: Iterable[MigProfile]) -> dict[str, str]:
    """Return what the driver publishes for the whole GPU: the maximum of each capacity over all profiles."""
    whole: dict[str, str] = {}
    for profile in profiles:
        for name, value in capacity(profile).items():
            whole[name] = max(whole.get(name, "0"), value, key=number)
    return whole


def counters(capacities: Mapping[str, str], placement: int, size: int) -> dict[str, str]:
    """Return the counters for `capacities` and for `size` memory slices, the first of which is `placement`."""
    slices = {f"memory-slice-{index}": "1" for index in range(placement, placement + size)}
    return {_dns(name): value for name, value in capacities.items()} | slices


def memory_slices(profiles: Iterable[MigProfile]) -> int:
    """Return how many memory slices a GPU with `profiles` has."""
    return max(profile.size for profile in profiles)


def placed(wanted: Sequence[MigProfile]) -> list[tuple[MigProfile, int]] | None:
    """Return each of the profiles with a placement on one GPU; None if they do not fit together."""
    # The largest profiles first: they have the fewest placements.
    return _place(sorted(wanted, key=lambda profile: (-profile.size, profile.id)), frozenset())


def _place(wanted: list[MigProfile], taken: frozenset[int]) -> list[tuple[MigProfile, int]] | None:
    if not wanted:
        return []
    profile, *rest = wanted
    for placement in profile.placements:
        slices = frozenset(range(placement, placement + profile.size))
        if not slices & taken and (others := _place(rest, taken | slices)) is not None:
            return [(profile, placement), *others]
    return None


def overcommitted(wanted: Sequence[MigProfile], whole: Mapping[str, str]) -> list[str]:
    """Return the capacities of the `whole` GPU that devices of the profiles exceed together."""
    return [
        name
        for name, most in whole.items()
        if sum(number(capacity(profile)[name]) for profile in wanted) > number(most)
    ]


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.title() for other in others)


def _dns(name: str) -> str:
    return re.sub(r"([a-z0-9])([A-Z])", r"\1-\2", name).lower()
