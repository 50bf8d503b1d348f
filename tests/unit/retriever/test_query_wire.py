"""A query as it comes in."""

from __future__ import annotations

import pytest
from rag.retriever.v1 import retriever_pb2 as pb

from retriever.search.embedded.words import match_expression
from retriever.wire.retrieval import to_query


@pytest.mark.parametrize("asked", ["Mu\u0308nchen", "M\u00fcnchen"])
def test_a_letter_and_its_mark_are_one(asked):
    query = to_query(pb.RetrieveRequest(collection="docs", query=asked), 5)
    assert match_expression(query.text) == '"m\u00fcnchen"'


def test_composing_makes_no_query_longer():
    asked = "\u0958" * 100  # its composed form is two signs
    assert to_query(pb.RetrieveRequest(collection="docs", query=asked), 5).text == asked
