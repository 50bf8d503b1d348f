"""askmesh doctor on the reranker: whether the one that was chosen can be had."""

from __future__ import annotations

import json
import socket

import pytest
from click.testing import CliRunner

from askmesh.cli import root


def finding(what, **environment):
    shown = CliRunner().invoke(root, ["doctor", "-o", "json"], env=environment)
    [found] = [each for each in json.loads(shown.output) if each["what"].startswith(what)]
    return found


@pytest.mark.parametrize("kind", ["none", "onnx"])
def test_a_reranker_that_needs_no_server_is_well(kind):
    assert finding("reranker", ASKMESH_RETRIEVER_RERANKER=kind)["verdict"] == "ok"


def test_a_triton_that_listens_is_well_and_one_that_does_not_is_named():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        chosen = {"ASKMESH_RETRIEVER_RERANKER": "triton", "ASKMESH_RETRIEVER_RERANKER_ADDRESS": address}
        assert finding("reranker", **chosen)["verdict"] == "ok"
    gone = finding("reranker", **chosen)
    assert (gone["verdict"], address in gone["detail"]) == ("warning", True)
