"""Query parameters as the message they stand for."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rag.retriever.v1 import document_pb2, retriever_pb2

from chassis.errors import MalformedMessage
from gateway.json_message import to_message
from gateway.transcoder import query_fields


def listed(query):
    fields = query_fields(query, document_pb2.ListDocumentsRequest.DESCRIPTOR)
    return to_message(fields, document_pb2.ListDocumentsRequest.DESCRIPTOR)


def test_repeated_scalars_are_repeated_parameters():
    fields = query_fields("embedding.values=1&embedding.values=0.5", retriever_pb2.RetrieveRequest.DESCRIPTOR)
    assert fields == {"embedding": {"values": ["1", "0.5"]}}


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False)])
def test_booleans_are_words(text, value):
    found = listed(f"filter.comparison.value.boolValue={text}")
    assert found.filter.comparison.value.bool_value is value


@pytest.mark.parametrize("text", ["1", "TRUE", "", "yes"])
def test_other_words_are_no_booleans(text):
    with pytest.raises(MalformedMessage, match="true or false"):
        listed(f"filter.comparison.value.boolValue={text}")


def test_a_time_is_text():
    found = listed("filter.comparison.value.timeValue=2024-01-01T00:00:00Z")
    assert found.filter.comparison.value.time_value.ToJsonString() == "2024-01-01T00:00:00Z"


def test_a_field_and_its_message_do_not_mix():
    with pytest.raises(MalformedMessage):
        listed('filter={"and":{}}&filter.comparison.field=a&filter=1')


@pytest.mark.parametrize(
    "query",
    [
        "filter." + "not." * 3_000 + "comparison.field=a",
        "filter." + "not." * 60 + "not=" + '{"not":' * 60 + "{}" + "}" * 60,
    ],
    ids=["dots", "dots and JSON"],
)
def test_a_parameter_that_leads_too_deep_is_malformed(query):
    with pytest.raises(MalformedMessage, match="deep"):
        listed(query)


def test_a_filter_as_deep_as_filters_may_be_is_read():
    assert listed("filter." + "not." * 8 + "comparison.field=a").filter.HasField("not")


@given(st.text(st.sampled_from('abfilter.comparsonvalue=&{}[]"%01+page_tokenSizek'), max_size=60))
def test_any_query_is_a_message_or_malformed(query):
    with contextlib.suppress(MalformedMessage):
        assert isinstance(listed(query), document_pb2.ListDocumentsRequest)
