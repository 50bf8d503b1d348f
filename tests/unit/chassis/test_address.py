"""Where a channel goes when a sidecar takes the calls of a process that nothing redirects to it."""

from __future__ import annotations

import pytest

from chassis.address import through

RETRIEVER = "retriever.rag.svc.cluster.local:50052"


@pytest.mark.parametrize(
    ("proxy", "address", "dialled"),
    [
        ("", RETRIEVER, ""),
        ("127.0.0.9", RETRIEVER, "127.0.0.9:50052"),
        ("127.0.0.9", "127.0.0.1:8001", "127.0.0.9:8001"),
        ("127.0.0.9", "unix:/run/retriever.sock", ""),  # this machine's own: no sidecar stands there
    ],
)
def test_a_call_goes_to_the_sidecar_s_listener_of_the_same_port(proxy, address, dialled):
    assert through(proxy, address) == dialled
