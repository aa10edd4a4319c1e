"""Devices that claims hold and no ResourceSlice has are like others of their pool, if these tell what they are."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.real_slices import dump, node, resource_slice, texts
from twin.dump import Dump
from twin.notes import Notes
from twin.withdrawn import with_withdrawn

Object = dict[str, Any]
DRIVER = "nic.example.com"


def port(card: str, function: int, number: int) -> Object:
    """Return a port of a card; the ports of a card have a root and a NUMA node in common."""
    return {
        "name": f"pci-0000-{card}-00-{function}",
        "attributes": texts(
            address=f"0000:{card}:00.{function}",
            root=f"pci0000:{card}",
            interface=f"rdma{number}",
            ip=f"10.0.0.{number + 1}/16",
            vendor="X",
        )
        | {"place": {"int": number}, "numa": {"int": number // 4}},
    }


PORTS = [port(card, function, 2 * place + function) for place, card in enumerate(("0c", "2a")) for function in (0, 1)]


def restored(folder: Path, published: list[Object], *held: str, pool: str = "n") -> tuple[Dump, list[str]]:
    """Return the dump with the devices, and the notes."""
    results = [{"request": "nic", "driver": DRIVER, "pool": pool, "device": name} for name in held]
    request = {"name": "nic", "exactly": {"deviceClassName": DRIVER}}
    claim = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"name": "c", "namespace": "default"},
        "spec": {"devices": {"requests": [request]}},
        "status": {"allocation": {"devices": {"results": results}}},
    }
    notes = Notes()
    return with_withdrawn(dump(folder, node("n"), resource_slice("n", DRIVER, published), claim), notes), notes.lines()


def of_all(folder: Path, published: list[Object], *held: str) -> list[Object]:
    found, _ = restored(folder, published, *held)
    devices = [device for entry in found.slices for device in entry.spec.devices]
    return [{"name": device.name, "attributes": device.attributes} for device in devices]


@pytest.mark.parametrize("place", range(4))
def test_a_port_is_known_by_the_other_one_of_its_card(tmp_path: Path, place: int) -> None:
    others = [entry for index, entry in enumerate(PORTS) if index != place]
    assert of_all(tmp_path, others, PORTS[place]["name"]) == PORTS


def test_it_is_told(tmp_path: Path) -> None:
    _, notes = restored(tmp_path, PORTS[1:], PORTS[0]["name"])
    assert notes == ["devices that claims hold and no ResourceSlice has are made like others: 1"]


@pytest.mark.parametrize(
    ("published", "held"),
    [
        (PORTS[2:], PORTS[0]["name"]),  # No other port of the card tells its root.
        ([], PORTS[0]["name"]),
        (PORTS[1:2], PORTS[0]["name"]),
        (PORTS, "port-0"),
        ([PORTS[1], PORTS[2] | {"capacity": {"queues": {"value": "8"}}}], PORTS[0]["name"]),
        (PORTS, "pci-0000-ff-00-0"),
        ([PORTS[1], {"name": "x", "attributes": texts(other="x")}], PORTS[0]["name"]),
        ([{"name": f"nic-{place}", "attributes": texts(address=f"0000:0{place}:00.0")} for place in (1, 2)], "nic-0"),
        ([{"name": f"nic-{place}", "attributes": {"numa": {"int": place // 2}}} for place in (1, 2, 3)], "nic-0"),
        ([{"name": f"nic-{place}", "attributes": texts(serial=f"A{place // 2}")} for place in (0, 2)], "nic-1"),
        ([{"name": f"nic-{letter}", "attributes": texts(colour=letter)} for letter in "bc"], "nic-a"),
    ],
)
def test_what_is_not_known_is_not_made_up(tmp_path: Path, published: list[Object], held: str) -> None:
    assert of_all(tmp_path, published, held) == [
        {"name": device["name"], "attributes": device["attributes"]} for device in published
    ]
    assert restored(tmp_path, published, held)[1] == []


def test_numbers_go_on(tmp_path: Path) -> None:
    devices = [{"name": f"nic-{place}", "attributes": texts(serial=f"A0{place}B")} for place in range(8, 12)]
    assert of_all(tmp_path, devices[:1] + devices[2:], "nic-9") == devices


def test_devices_of_other_pools_are_none_of_this_one(tmp_path: Path) -> None:
    found, notes = restored(tmp_path, PORTS[1:], PORTS[0]["name"], pool="fabric")
    assert len(found.slices[0].spec.devices) == 3
    assert notes == []
