"""Proto JSON in and out, and refusals that name the field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from rag.orchestrator.v1 import filter_pb2, orchestrator_pb2
from rag.retriever.v1 import document_pb2, retriever_pb2

from chassis.errors import MalformedMessage
from gateway.json_message import MAX_DEPTH, parse_json, to_message
from gateway.json_printer import to_dict

MESSAGES: list[Any] = [
    orchestrator_pb2.AskRequest,
    orchestrator_pb2.AskResponse,
    document_pb2.DocumentInput,
    document_pb2.ListDocumentsRequest,
    retriever_pb2.RetrieveRequest,
    filter_pb2.Filter,
]

# Keys that exist somewhere, so that what is generated gets past the first level.
KEYS = sorted(
    {field.json_name for message in MESSAGES for field in message.DESCRIPTOR.fields}
    | {"value", "values", "operator", "stringValue", "timeValue", "filters", "a", "", "\x00"}
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("OPERATOR_EQ")
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
)


@pytest.mark.parametrize("kind", MESSAGES)
@given(value=VALUES)
def test_any_json_is_a_message_or_malformed(kind, value):
    try:
        message = to_message(value, kind.DESCRIPTOR)
    except MalformedMessage:
        return
    assert kind.FromString(message.SerializeToString()) == message


@given(value=VALUES)
def test_nothing_that_was_given_vanishes(value):
    """A filter that is taken has every condition that was sent: json_format alone would drop some."""
    try:
        message = to_message({"filter": value}, orchestrator_pb2.AskRequest.DESCRIPTOR)
    except MalformedMessage:
        return
    assert value is None or isinstance(value, dict)
    assert json_format.MessageToDict(message).get("filter", {}).keys() == {
        key for key, item in (value or {}).items() if item is not None
    }


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_bytes_are_json_or_malformed(raw):
    try:
        value = parse_json(raw)
    except MalformedMessage:
        return
    assert json.dumps(value).isascii()


@pytest.mark.parametrize(
    "raw", [b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-Infinity}', b'{"a":1,"a":2}', b"[1", b"9" * 5000]
)
def test_json_that_proto3_does_not_have_is_malformed(raw):
    with pytest.raises(MalformedMessage):
        parse_json(raw)


@pytest.mark.parametrize(("depth", "is_taken"), [(MAX_DEPTH, True), (MAX_DEPTH + 1, False), (100_000, False)])
def test_depth_is_bounded(depth, is_taken):
    raw = b"[" * depth + b"]" * depth
    if is_taken:
        assert parse_json(raw)
    else:
        with pytest.raises(MalformedMessage):
            parse_json(raw)


def test_half_of_a_surrogate_pair_is_malformed_and_a_whole_one_is_a_character():
    assert parse_json(rb'"\ud83d\ude00"') == "\N{GRINNING FACE}"
    with pytest.raises(MalformedMessage):
        parse_json(rb'{"a":["\ud83d"]}')


def test_every_fault_is_named():
    value = {"topK": "x", "filter": {"comparison": {"operator": "LIKE", "value": {"timeValue": 5}}}}
    with pytest.raises(MalformedMessage) as caught:
        to_message(value, orchestrator_pb2.AskRequest.DESCRIPTOR)
    for named in ("topK: an integer", "filter.comparison.operator: one of", "value.timeValue: an RFC 3339 time"):
        assert named in caught.value.message
    with pytest.raises(MalformedMessage, match="colour: AskRequest has no such field"):
        to_message({**value, "colour": 1}, orchestrator_pb2.AskRequest.DESCRIPTOR)


def test_a_hostile_key_is_shown_short_and_printable():
    with pytest.raises(MalformedMessage) as caught:
        to_message({"\x1b[31m" + "x" * 10_000: 1}, orchestrator_pb2.AskRequest.DESCRIPTOR)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 200


def test_a_response_has_its_defaults_and_leaves_absent_messages_out():
    shown = to_dict(orchestrator_pb2.AskResponse(text="x"))
    assert shown == {"text": "x", "citations": []}
