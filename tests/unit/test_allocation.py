"""What the small version of the scheduler's allocator finds on an empty node."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from topology.checks import allocation
from topology.checks.allocation import (
    Candidate,
    Constraint,
    Room,
    Wanted,
    attribute_of,
    consumed,
    counters,
    has_capacity,
    satisfiable,
)
from topology.objects.inventory import Device, DevicePool, PhysicalDevice

DRIVER = "gpu.example.com"


def device(name: str, *, shared: bool = False, counters: Mapping[str, str] | None = None, **attributes: int) -> Device:
    """Return a device that consumes `counters` of the counter set `set`."""
    return Device(
        name,
        {key: {"int": value} for key, value in attributes.items()},
        {"memory": {"value": "80"}},
        {"set": counters} if counters else {},
        shared,
    )


def pool(*devices: Device, driver: str = DRIVER, **counters: str) -> DevicePool:
    """Return a pool with all devices on one physical device, whose counter set `set` has the `counters`."""
    physical = PhysicalDevice(list(devices), {"set": counters} if counters else {})
    return DevicePool(driver, "{node}-{suffix}", 1, [physical])


def room(pools: list[DevicePool]) -> Room:
    """Return the room of a node with these pools and without any pod."""
    return Room(counters(pools))


def wanted(*devices: Device, count: int = 1, request: str = "r", driver: str = DRIVER, **amounts: str) -> list[Wanted]:
    """Return `count` wanted devices out of the given ones."""
    candidates = [Candidate(driver, one) for one in devices]
    return [Wanted("claim", request, candidates, amounts)] * count


def same(attribute: str, *requests: str, distinct: bool = False) -> Constraint:
    return Constraint("claim", requests, f"{DRIVER}/{attribute}", distinct)


GPUS = [device(f"gpu-{number}", index=number, numa=number // 2) for number in range(4)]
NODE = pool(*GPUS)


@pytest.mark.parametrize(
    ("wants", "expected"),
    [
        ([], True),
        (wanted(*GPUS, count=4), True),
        (wanted(*GPUS, count=5), False),
        (wanted(), False),
        (wanted(*GPUS[:1], request="a") + wanted(*GPUS, count=3, request="b"), True),
        # Several requests for a device that only one of them can have.
        (wanted(*GPUS[:1], request="a") + wanted(*GPUS[:1], request="b"), False),
        (wanted(*GPUS, request="a", count=3) + wanted(*GPUS[:2], request="b", count=2), False),
        # The first request would take the only device of the second.
        (wanted(*GPUS[:2], request="a") + wanted(*GPUS[:1], request="b"), True),
        (wanted(*GPUS[:2], request="a") + wanted(*GPUS[1:3], request="b") + wanted(*GPUS[:2], request="c"), True),
    ],
)
def test_counts(wants: list[Wanted], expected: bool) -> None:
    assert satisfiable(wants, [], room([NODE])) is expected


@pytest.mark.parametrize(
    ("count", "constraints", "expected"),
    [
        (2, [same("numa")], True),
        (3, [same("numa")], False),
        (4, [same("index", distinct=True)], True),
        (2, [same("numa", distinct=True)], True),
        (3, [same("numa", distinct=True)], False),
        (2, [same("numa"), same("index", distinct=True)], True),
        (2, [same("numa"), same("numa", distinct=True)], False),
        # No device has the attribute, or it is another driver's.
        (1, [same("model")], False),
        (1, [same("model", distinct=True)], False),
        (1, [Constraint("claim", (), "nic.example.com/numa", False)], False),
        # Constraints on other requests and other claims.
        (3, [same("numa", "other")], True),
        (3, [Constraint("another", (), f"{DRIVER}/numa", False)], True),
    ],
)
def test_constraints(count: int, constraints: list[Constraint], expected: bool) -> None:
    assert satisfiable(wanted(*GPUS, count=count), constraints, room([NODE])) is expected


@pytest.mark.parametrize(
    ("requests", "expected"),
    [([], False), (["r"], False), (["r/small"], True), (["r/big"], False), (["other"], True)],
)
def test_a_constraint_may_be_on_one_alternative_of_a_request(requests: list[str], expected: bool) -> None:
    wants = wanted(*GPUS, count=3, request="r/big")
    assert satisfiable(wants, [same("numa", *requests)], room([NODE])) is expected


def test_derived_attributes_do_not_change_the_identity_of_a_device() -> None:
    one = wanted(device("gpu-0", a=1, b=1), device("gpu-1", a=2, b=1), request="one")
    two = wanted(device("gpu-0", a=1, b=1, c=1), device("gpu-1", a=1, b=3), request="two")
    assert satisfiable(one + two, [same("a")], room([NODE])) is True
    assert satisfiable(one + two, [same("b")], room([NODE])) is True
    assert satisfiable(one + two, [same("a"), same("b")], room([NODE])) is False


def listed(name: str, *values: int) -> Device:
    return Device(name, {"list": {"ints": list(values)}}, {})


@pytest.mark.parametrize(
    ("values", "match", "distinct"),
    [
        (([0, 1], [1, 2]), True, False),
        (([0, 1], [2, 3]), False, True),
        # Each pair has a value in common, but not all three.
        (([0, 1], [1, 2], [2, 0]), False, False),
        (([0, 1], [1, 2], [3, 1]), True, False),
        (([0, 1], [2], [3, 4]), False, True),
        # Each can have a distinct value, but the lists overlap.
        (([0, 1], [1, 2], [3]), False, False),
    ],
)
def test_constraints_treat_lists_as_sets(values: tuple[list[int], ...], match: bool, distinct: bool) -> None:
    found = [listed(f"gpu-{place}", *some) for place, some in enumerate(values)]
    wants = wanted(*found, count=len(found))
    assert satisfiable(wants, [same("list")], room([pool(*found)])) is match
    assert satisfiable(wants, [same("list", distinct=True)], room([pool(*found)])) is distinct


@pytest.mark.parametrize(("other", "expected"), [({"int": 1}, True), ({"int": 2}, False), ({"bools": [True]}, False)])
def test_a_value_is_a_list_of_one(other: Mapping[str, Any], expected: bool) -> None:
    found = [listed("gpu-0", 0, 1), Device("gpu-1", {"list": other}, {})]
    assert satisfiable(wanted(*found, count=2), [same("list")], room([pool(*found)])) is expected


def test_a_constraint_joins_requests_for_devices_of_different_drivers() -> None:
    def of(driver: str, number: int) -> Device:
        return Device(f"{driver}-{number}", {"resource.kubernetes.io/pcieRoot": {"string": f"pci0000:0{number}"}}, {})

    gpus, nics = [of("gpu", number) for number in (0, 1)], [of("nic", number) for number in (1, 2)]
    both = wanted(*gpus, request="gpu") + wanted(*nics, request="nic", driver="nic.example.com")
    pools = [pool(*gpus), pool(*nics, driver="nic.example.com")]
    root = Constraint("claim", ("gpu", "nic"), "resource.kubernetes.io/pcieRoot", False)
    assert satisfiable(both, [root], room(pools)) is True
    assert satisfiable(both + wanted(*gpus, request="gpu"), [root], room(pools)) is False


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (f"{DRIVER}/index", {("int", 0)}),
        (f"{DRIVER}/other", set()),
        ("nic.example.com/index", set()),
        ("x.y/index", {("int", 7)}),
        ("x.y/list", {("int", 1), ("int", 2)}),
    ],
)
def test_attributes_by_their_full_name(name: str, expected: object) -> None:
    found = Device("gpu-0", {"index": {"int": 0}, "x.y/index": {"int": 7}, "x.y/list": {"ints": [1, 2, 1]}}, {})
    assert attribute_of(Candidate(DRIVER, found), name) == expected


def test_values_of_different_types_differ() -> None:
    """A version differs from the same text as a string."""
    mixed = [Device(kind, {"version": {kind: "1.0.0"}}, {}) for kind in ("string", "version")]
    assert satisfiable(wanted(*mixed, count=2), [same("version")], room([pool(*mixed)])) is False


def halves(**counters: str) -> list[Device]:
    return [device(f"half-{number}", counters=counters) for number in (0, 1)]


@pytest.mark.parametrize(
    ("devices", "count", "expected"),
    [
        (halves(memory="40"), 2, True),
        (halves(memory="41"), 2, False),
        ([*halves(memory="40"), device("whole", counters={"memory": "80"})], 2, True),
        # Backtracking returns counters.
        ([device("whole", counters={"memory": "80"}), *halves(memory="40")], 2, True),
        ([*halves(memory="40"), device("whole", counters={"memory": "80"})], 3, False),
        ([device("a", counters={"memory": "80"}), device("b", counters={"slice": "1"})], 2, True),
        # A missing counter counts as used up.
        (halves(cores="1"), 1, False),
    ],
)
def test_counters(devices: list[Device], count: int, expected: bool) -> None:
    assert satisfiable(wanted(*devices, count=count), [], room([pool(*devices, memory="80", slice="1")])) is expected


def test_counters_of_one_name_on_two_devices() -> None:
    """Counter sets differ by name, and pools by driver."""
    first, second = (device(f"gpu-{name}", counters={"memory": "80"}) for name in "ab")
    pools = [pool(first, memory="80"), pool(second, memory="80", driver="other.example.com")]
    wants = wanted(first, request="a") + wanted(second, request="b", driver="other.example.com")
    assert satisfiable(wants, [], room(pools)) is True


SHARED = device("gpu-0", shared=True, counters={"slots": "1"})


@pytest.mark.parametrize(
    ("count", "amounts", "expected"),
    [
        (1, {}, True),
        # Without an amount and a default, a request consumes everything.
        (2, {}, False),
        (2, {"memory": "40"}, True),
        (3, {"memory": "40"}, False),
        # A shared device consumes its counters once.
        (8, {"memory": "10"}, True),
    ],
)
def test_shared_devices(count: int, amounts: dict[str, str], expected: bool) -> None:
    assert satisfiable(wanted(SHARED, count=count, **amounts), [], room([pool(SHARED, slots="1")])) is expected


def test_a_request_gets_a_shared_device_once_if_the_room_says_so() -> None:
    one_share_each = Room({}, one_share_each=True)
    both = [device(f"gpu-{number}", shared=True) for number in (0, 1)]
    assert satisfiable(wanted(*both, count=2, memory="10"), [], one_share_each) is True
    assert satisfiable(wanted(*both, count=3, memory="10"), [], one_share_each) is False
    other = wanted(*both, count=2, request="s", memory="10")
    assert satisfiable([*wanted(*both, count=2, memory="10"), *other], [], one_share_each) is True


def test_admin_access_needs_counters_too() -> None:
    whole, half = (
        Candidate(DRIVER, device("whole", counters={"memory": "80"})),
        Candidate(DRIVER, halves(memory="0")[0]),
    )
    left = room([pool(whole.device, half.device, memory="80")])
    left.take(whole, {})
    assert [left.fits(whole, {}), left.fits(half, {})] == [False, True]
    left.take(half, {})
    assert [left.has(half, {}), left.fits(half, {})] == [False, True]


def test_a_share_is_a_share_of_one_device() -> None:
    both = [device(f"gpu-{number}", shared=True) for number in (0, 1)]
    assert satisfiable(wanted(*both, count=2, memory="50"), [], room([pool(*both)])) is True
    assert satisfiable(wanted(*both, count=3, memory="50"), [], room([pool(*both)])) is False


RANGE = {"default": "10", "validRange": {"min": "10", "max": "40", "step": "15"}}
VALUES = {"default": "20", "validValues": ["10", "20", "40"]}


@pytest.mark.parametrize(
    ("policy", "requested", "expected"),
    [
        (None, None, "80"),
        (None, "30", "30"),
        ({}, None, "80"),
        ({"default": "5"}, None, "5"),
        ({"default": "5"}, "30", "30"),
        (RANGE, None, "10"),
        (RANGE, "1", "10"),
        (RANGE, "11", "25"),
        (RANGE, "25", "25"),
        (RANGE, "39", "40"),
        (RANGE, "41", None),
        ({"default": "10", "validRange": {"min": "10"}}, "11", "11"),
        ({"default": "10", "validRange": {"min": "10", "step": "10"}}, "71", "80"),
        ({"default": "1", "validRange": {"min": "500m", "step": "500m"}}, "600m", "1"),
        (VALUES, None, "20"),
        (VALUES, "11", "20"),
        (VALUES, "40", "40"),
        (VALUES, "41", None),
    ],
)
def test_how_much_a_request_consumes(
    policy: dict[str, Any] | None, requested: str | None, expected: str | None
) -> None:
    capacity: dict[str, Any] = {"value": "80"} | ({} if policy is None else {"requestPolicy": policy})
    taken = consumed(capacity, requested)
    if expected is None:
        assert taken > 80
    else:
        assert taken == Decimal(expected)


@pytest.mark.parametrize(
    ("amounts", "expected"),
    [
        ({}, True),
        ({"memory": "80"}, True),
        ({"memory": "81"}, False),
        ({"cores": "1"}, False),
        ({"memory": "8e1"}, True),
    ],
)
def test_what_has_enough_capacity(amounts: dict[str, str], expected: bool) -> None:
    assert has_capacity(device("gpu-0").capacity, amounts) is expected


MANY = [device(f"gpu-{number}", kind=number % 31, index=number) for number in range(310)]


@pytest.mark.parametrize(
    ("wants", "constraints", "expected"),
    [
        # One more device than there are, each of a separate request.
        ([one for number in range(12) for one in wanted(*MANY[:11], request=f"r{number}")], [], False),
        ([one for number in range(12) for one in wanted(*MANY[:12], request=f"r{number}")], [], True),
        # The request with one candidate comes first.
        (
            [one for number in range(11) for one in wanted(*MANY[: 1 if number == 10 else 12], request=f"r{number}")],
            [],
            True,
        ),
        (wanted(*MANY, count=32), [same("kind", distinct=True)], False),
        (wanted(*MANY, count=31), [same("kind", distinct=True)], True),
        (wanted(*MANY, count=11), [same("kind")], False),
        (wanted(*MANY, count=10), [same("kind")], True),
        (wanted(*MANY, count=2), [same("index")], False),
        (wanted(*MANY[:30], count=5, request="a") + wanted(*MANY[30:], count=6, request="b"), [same("kind")], False),
    ],
)
def test_what_is_found_without_a_search(wants: list[Wanted], constraints: list[Constraint], expected: bool) -> None:
    """A search over all permutations would exceed the limit."""
    assert satisfiable(wants, constraints, room([pool(*MANY)])) is expected


def test_too_hard_a_problem_is_given_up() -> None:
    """Each device has room for one claim, but a search would have to try all permutations."""
    many = [device(f"gpu-{number}", shared=True) for number in range(16)]
    assert satisfiable(wanted(*many, count=17, memory="50"), [], room([pool(*many)])) is None


def test_the_steps_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocation, "STEPS_MAX", 4)
    assert satisfiable(wanted(*GPUS, count=4), [], room([NODE])) is True
    monkeypatch.setattr(allocation, "STEPS_MAX", 3)
    assert satisfiable(wanted(*GPUS, count=4), [], room([NODE])) is None
