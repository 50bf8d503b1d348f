"""The ports the rig's servers are given: nobody else comes to have them between that and their start."""

from __future__ import annotations

import socket

import pytest

from askmesh.rig import ports
from askmesh.rig.ports import NoPorts, free_ports


def test_no_outgoing_connection_can_come_to_have_one():
    first_outgoing = int(ports.OUTGOING.read_text().split()[0])
    assert all(ports.FIRST <= port < first_outgoing for port in free_ports(50))


def test_none_is_given_twice():
    first, second = free_ports(200), free_ports(200)
    assert len({*first, *second}) == 400


@pytest.mark.parametrize("host", ["127.0.0.1", "127.64.0.9", ""])
def test_one_that_is_taken_at_any_address_is_not_given(monkeypatch, host):
    [port] = free_ports(1)
    monkeypatch.setattr(ports, "_given", set())
    monkeypatch.setattr(ports, "_candidates", lambda: range(port, port + 1))
    with socket.socket() as taken:
        taken.bind((host, port))
        with pytest.raises(NoPorts, match=f"no free port from {port}"):
            free_ports(1)
    assert free_ports(1) == [port]


def test_there_are_some_where_outgoing_connections_may_have_all(monkeypatch, tmp_path):
    everything = tmp_path / "ip_local_port_range"
    everything.write_text("1024\t65535\n")
    monkeypatch.setattr(ports, "OUTGOING", everything)
    assert len(free_ports(10)) == 10
