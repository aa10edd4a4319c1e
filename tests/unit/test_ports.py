"""Ports that clusters choose, on the real network of this machine."""

import socket
from pathlib import Path

import pytest

from topology import ports

OPTIONS = {option for options in ports.OF_COMPONENTS.values() for option in options}


def test_each_option_gets_a_port_of_its_own() -> None:
    chosen = ports.choose({})
    assert chosen.keys() == OPTIONS
    assert len(set(chosen.values())) == len(OPTIONS)


def test_a_port_that_is_fixed_stays() -> None:
    assert ports.choose({"kubeApiserverPort": 6443})["kubeApiserverPort"] == 6443


def test_clusters_that_do_not_run_keep_theirs() -> None:
    """Nothing else tells that these ports are somebody's: a second choice has hardly ever one of the first."""
    first, second = (set(ports.choose({}).values()) for _ in range(2))
    assert len(first & second) < 2


def test_ports_that_are_taken_or_fixed_are_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    lowest = min(ports.choose({}).values())
    monkeypatch.setattr(ports, "RANGE", range(lowest, lowest + 12))
    fixed = lowest + 1
    with socket.create_server(("127.0.0.1", lowest)):
        chosen = ports.choose({"kubeApiserverPort": fixed})
    assert lowest not in chosen.values()
    assert list(chosen.values()).count(fixed) == 1


@pytest.mark.parametrize(("ephemeral", "usable"), [("10010 60999", range(10000, 10010)), ("1024 65535", ports.RANGE)])
def test_ports_of_connections_are_left_to_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ephemeral: str, usable: range
) -> None:
    """Unless there are no others."""
    (tmp_path / "range").write_text(ephemeral.replace(" ", "\t") + "\n")
    monkeypatch.setattr(ports, "EPHEMERAL", tmp_path / "range")
    assert set(ports.choose({}).values()) <= set(usable)


def test_a_machine_that_does_not_tell_of_ports_of_connections(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ports, "EPHEMERAL", tmp_path / "range")
    assert ports.choose({}).keys() == OPTIONS


def test_why_a_port_cannot_be_used() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert ports.taken(port) == "Address already in use"
    assert not ports.taken(port)
