"""The devices of a pool, as its ResourceSlices publish them: what the API server or the scheduler would refuse."""

from collections import Counter
from collections.abc import Iterator, Sequence

from topology.checks.allocation import values_of
from topology.kubernetes import limits
from topology.objects.inventory import Device, DevicePool, device_pools
from topology.objects.slices import SLICES_MAX, resource_slices
from topology.schema.base import Problem
from topology.schema.features_used import consumes_counters
from topology.schema.placeholders import fill
from topology.schema.stack import Pool
from topology.schema.values import has_long_number, is_dns_label, is_dns_subdomain

FEWEST_KUBERNETES_WITH_COUNTERS_BY_DRIVER = 37
"""Earlier schedulers confuse the counters of two drivers whose pools have the same name, that of the node.

https://github.com/kubernetes/kubernetes/pull/140435
"""

FIRST_STRICTER_KUBERNETES = 38
"""From this version on, the API server limits the capacities of a request and the digits of numbers in versions.

https://github.com/kubernetes/api/blob/v0.38.0-beta.0/resource/v1/types.go
https://github.com/kubernetes/kubernetes/blob/v1.38.0-beta.0/pkg/apis/resource/validation/validation.go
"""


def published_device_problems(pool: Pool, path: str, name: str, minor: int) -> Iterator[Problem]:
    """Yield what is wrong with one of the `pool_names` of the pool at `path`, as published in Kubernetes 1.`minor`."""
    for devices_of_driver in device_pools(pool, name):
        yield from _device_pool(devices_of_driver, path, minor)
    yield from _slices(pool, path, name, minor)
    yield from _confused_counters(pool, path, minor)


def _device_pool(pool: DevicePool, path: str, minor: int) -> Iterator[Problem]:
    yield from _names([device.name for device in pool.devices], "deviceName", f"devices of {pool.driver}", path)
    yield from _names(_counter_sets(pool), "counterSet", f"counter sets of {pool.driver}", path)
    told: set[str] = set()
    for device in pool.devices:
        for message in (*_device(device, pool.driver), *_long_numbers(device, minor)):
            if message not in told:
                told.add(message)
                yield Problem(path, f"device {device.name}: {message}")
    for physical in pool.physical_devices:
        advanced = any(device.is_advanced for device in physical.devices)
        most = limits.SLICE_ADVANCED_DEVICES_MAX if advanced else limits.SLICE_DEVICES_MAX
        if len(physical.devices) > most:
            yield Problem(
                path,
                f"has {len(physical.devices)} partitions of one device; the Kubernetes API allows at most "
                f"{most} devices{' with counters, taints or lists' if advanced else ''} per ResourceSlice: remove some",
            )
            return


def _counter_sets(pool: DevicePool) -> list[str]:
    """Return the names of the counter sets, once if it is that of parts of one device that are for different nodes."""
    sets = [(name, str(counters), one) for one in pool.physical_devices for name, counters in one.counter_sets.items()]
    again = Counter((name, str([device.selection for device in one.devices[:1]])) for name, _, one in sets)
    different = dict.fromkeys((name, counters) for name, counters, _ in sets)
    return [name for name, _ in (*different, *(entry for entry, count in again.items() if count > 1))]


def _names(names: Sequence[str], key: str, what: str, path: str) -> Iterator[Problem]:
    """Yield the first name that is not a DNS label, and the first one that is not unique."""
    wrong = [name for name in names if not is_dns_label(name)]
    if wrong:
        yield Problem(
            path,
            f"{key} gives {wrong[0]!r}, which is not a DNS label: use at most {limits.DNS_LABEL_MAX} lower-case "
            "letters, digits and '-', beginning and ending with a letter or digit",
        )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        yield Problem(
            path,
            f"{key} gives several {what} in one pool the name {twice[0]!r}: use {{index}} in it, or a different name "
            "for each model",
        )


def _device(device: Device, driver: str) -> Iterator[str]:
    size = len(device.attributes) + len(device.capacity)
    if size > limits.DEVICE_ATTRIBUTES_AND_CAPACITIES_MAX:
        yield (
            f"has {size} attributes and capacities; the Kubernetes API allows at most "
            f"{limits.DEVICE_ATTRIBUTES_AND_CAPACITIES_MAX} per device: remove some"
        )
    for kind, entries in (("attributes", device.attributes), ("capacity", device.capacity)):
        for name in entries:
            if f"{driver}/{name}" in entries:
                yield f"{kind}.{name} and {kind}.{driver}/{name} are the same name to the scheduler: remove one"
    values = sum(len(values_of(attribute)) for attribute in device.attributes.values())
    if values > limits.DEVICE_ATTRIBUTE_VALUES_MAX:
        yield (
            f"has {values} attribute values, including those in lists; the Kubernetes API allows at most "
            f"{limits.DEVICE_ATTRIBUTE_VALUES_MAX} per device: remove some"
        )
    for name, attribute in device.attributes.items():
        length = max(len(str(value).encode()) for _, value in values_of(attribute))
        if length > limits.DEVICE_ATTRIBUTE_VALUE_MAX:
            most = limits.DEVICE_ATTRIBUTE_VALUE_MAX
            yield (
                f"attributes.{name} has {length} bytes; the Kubernetes API allows at most {most} bytes per string: "
                "make it shorter"
            )


def _long_numbers(device: Device, minor: int) -> Iterator[str]:
    if minor < FIRST_STRICTER_KUBERNETES:
        return
    most = limits.VERSION_DIGITS_MAX
    for name, attribute in device.attributes.items():
        versions = sorted(str(value) for kind, value in values_of(attribute) if kind == "version")
        for version in filter(has_long_number, versions):
            yield (
                f"attributes.{name} has the version {version}; since Kubernetes 1.{FIRST_STRICTER_KUBERNETES} the API "
                f"allows at most {most} digits per number of a version: make it shorter"
            )


def _slices(pool: Pool, path: str, node: str, minor: int) -> Iterator[Problem]:
    names = [entry["metadata"]["name"] for entry in resource_slices(pool, node, minor)]
    wrong = [name for name in names if not is_dns_subdomain(name)]
    if wrong:
        yield Problem(
            path,
            f"sliceName gives {wrong[0]!r}, which is not a DNS subdomain: use at most {limits.DNS_SUBDOMAIN_MAX} "
            "lower-case letters, digits, '-' and '.'",
        )
    if len(names) > SLICES_MAX:
        yield Problem(path, f"has {len(names)} ResourceSlices in one pool; at most {SLICES_MAX} fit: use fewer devices")
    drivers: dict[str, str] = {}
    for devices in device_pools(pool, node):
        # The random suffixes of two drivers may be equal.
        name = fill(devices.slice_name, {"node": node, "driver": devices.driver})
        if other := drivers.get(name):
            yield Problem(
                path,
                f"sliceName gives slices of {other} and of {devices.driver} the same names: use {{driver}} in it",
            )
        drivers[name] = devices.driver


def _confused_counters(pool: Pool, path: str, minor: int) -> Iterator[Problem]:
    drivers = sorted({devices.model.driver for devices in pool.all_devices() if consumes_counters(devices)})
    if len(drivers) > 1 and minor < FEWEST_KUBERNETES_WITH_COUNTERS_BY_DRIVER:
        yield Problem(
            path,
            f"has partitionable devices of {' and '.join(drivers)} in one pool, whose counters the scheduler confuses "
            f"before Kubernetes 1.{FEWEST_KUBERNETES_WITH_COUNTERS_BY_DRIVER}: set kwok-dra:cluster.kubeVersion to "
            "that version or newer, or put them into different pools",
        )
