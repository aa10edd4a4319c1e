"""Ports that clusters reserve, on the real network of this machine."""

import socket
from pathlib import Path

import pytest

from cluster.local import ports

OPTIONS = {option for options in ports.OF_COMPONENTS.values() for option in options}


def choose(fixed: dict[str, int]) -> dict[str, int]:
    """Choose ports for a cluster that is never created."""
    with ports.reserved(fixed) as chosen:
        return chosen


def test_each_option_gets_a_port_of_its_own() -> None:
    chosen = choose({})
    assert chosen.keys() == OPTIONS
    assert len(set(chosen.values())) == len(OPTIONS)


def test_a_port_that_is_fixed_stays() -> None:
    assert choose({"kubeApiserverPort": 6443})["kubeApiserverPort"] == 6443


def test_clusters_that_do_not_run_keep_their_ports() -> None:
    """Nothing shows that these ports belong to a cluster: a second choice rarely has one of them."""
    first, second = (set(choose({}).values()) for _ in range(2))
    assert len(first & second) < 2


def test_clusters_that_start_at_once_choose_different_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them listens yet. The marks end with the block."""
    lowest = min(choose({}).values())
    monkeypatch.setattr(ports, "RANGE", range(lowest, lowest + 3 * len(OPTIONS)))
    with ports.reserved({}) as first, ports.reserved({}) as second:
        assert not set(first.values()) & set(second.values())
        fixed = {"kubeApiserverPort": first["kubeApiserverPort"]}
        with pytest.raises(ports.PortTakenError, match=r"port \d+ cannot be used \(Address already in use\)"):
            choose(fixed)
    assert choose(fixed).keys() == OPTIONS


def test_a_fixed_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ports.PortTakenError, match=rf"port {port} cannot be used \(Address already in use\)"):
            choose({"kubeApiserverPort": port})


def test_ports_that_are_taken_or_fixed_are_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    lowest = min(choose({}).values())
    monkeypatch.setattr(ports, "RANGE", range(lowest, lowest + 12))
    fixed = lowest + 1
    with socket.create_server(("127.0.0.1", lowest)):
        chosen = choose({"kubeApiserverPort": fixed})
    assert lowest not in chosen.values()
    assert list(chosen.values()).count(fixed) == 1


@pytest.mark.parametrize(("ephemeral", "usable"), [("10010 60999", range(10000, 10010)), ("1024 65535", ports.RANGE)])
def test_ephemeral_ports_are_not_chosen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ephemeral: str, usable: range
) -> None:
    """Unless every port is ephemeral."""
    (tmp_path / "range").write_text(ephemeral.replace(" ", "\t") + "\n")
    monkeypatch.setattr(ports, "EPHEMERAL", tmp_path / "range")
    assert set(choose({}).values()) <= set(usable)


def test_a_machine_that_hides_its_ephemeral_ports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ports, "EPHEMERAL", tmp_path / "range")
    assert choose({}).keys() == OPTIONS


def test_why_a_port_cannot_be_used() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert ports.taken(port) == "Address already in use"
    assert not ports.taken(port)
