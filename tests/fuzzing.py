"""Messages of any contract with any values their types allow, and what an answer to them may be."""

from __future__ import annotations

import re

import grpc
from google.protobuf.descriptor import FieldDescriptor
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from hypothesis import strategies as st

MAX_DEPTH = 4
NEVER = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL}
PYTHON_WORDS = re.compile(r"(?i)Traceback|Error\(|Exception|object at 0x|NoneType|\.py\b|sqlite|self\.|<class")
PLAUSIBLE = {
    "collection": "docs",
    "query": "the key",
    "question": "What opens the gate?",
    "document_id": "a.txt",
}  # past the first checks

TEXTS = st.one_of(
    st.sampled_from(
        ["docs", "a.txt", "year", "", " ", "*", "..", "a/b", "\0", "\u202e", "x" * 600, "é" * 3_000, "'; --"]
    ),
    st.text(max_size=40),
)
INTEGERS = st.one_of(st.sampled_from([0, 1, -1, 5, 100, 101, 2**31 - 1, -(2**31)]), st.integers(-(2**31), 2**31 - 1))
LONGS = st.one_of(INTEGERS, st.sampled_from([2**63 - 1, -(2**63)]), st.integers(-(2**63), 2**63 - 1))
FLOATS = st.floats(width=32)
SCALARS = {
    FieldDescriptor.TYPE_STRING: TEXTS,
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=200),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_INT32: INTEGERS,
    FieldDescriptor.TYPE_INT64: LONGS,
    FieldDescriptor.TYPE_UINT64: st.one_of(st.sampled_from([0, 1, 2**63, 2**64 - 1]), st.integers(0, 2**64 - 1)),
    FieldDescriptor.TYPE_DOUBLE: st.floats(),
    FieldDescriptor.TYPE_FLOAT: FLOATS,
    FieldDescriptor.TYPE_ENUM: INTEGERS,
}


@st.composite
def messages(draw, kind, depth=MAX_DEPTH):
    """A message of this kind with any of its fields set to anything their types allow."""
    message = kind()
    for field in kind.DESCRIPTOR.fields:
        if draw(st.integers(0, 2)):
            _fill(draw, message, field, depth)
        if field.name in PLAUSIBLE and draw(st.booleans()):
            setattr(message, field.name, PLAUSIBLE[field.name])
    return message


def _fill(draw, message, field, depth):
    if field.message_type is None:
        values = SCALARS[field.type]
        if field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(values, max_size=4)))
        else:
            setattr(message, field.name, draw(values))
    elif depth:
        _fill_message(draw, message, field, depth - 1)


def _fill_message(draw, message, field, depth):
    kind = field.message_type
    target = getattr(message, field.name)
    if kind.GetOptions().map_entry:
        for key in draw(st.lists(TEXTS, max_size=3)):
            inner = kind.fields_by_name["value"].message_type._concrete_class
            target[key].CopyFrom(draw(messages(inner, depth)))
    elif field.is_repeated:
        target.extend(draw(st.lists(messages(kind._concrete_class, depth), max_size=3)))
    else:
        target.CopyFrom(draw(messages(kind._concrete_class, depth)))


def check(error):
    """A call ended well, or with a reason of the contract and in no words of Python's."""
    if error is None:
        return
    assert error.code() not in NEVER, error.details()
    assert not PYTHON_WORDS.search(error.details()), error.details()
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details), "every refusal has a reason"
    assert (info.domain, bool(info.reason)) == ("askmesh", True)
