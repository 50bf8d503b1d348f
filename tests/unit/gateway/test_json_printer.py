"""The printer's plans against protobuf's own json_format, for every message a service answers with."""

from __future__ import annotations

from google.protobuf import json_format
from google.protobuf.any_pb2 import Any
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import ErrorInfo
from hypothesis import given
from hypothesis import strategies as st
from rag.orchestrator.v1 import filter_pb2, orchestrator_pb2
from rag.retriever.v1 import backup_pb2, collection_pb2, document_pb2, maintenance_pb2, retriever_pb2

from gateway.json_printer import to_dict

FILES = (backup_pb2, collection_pb2, document_pb2, filter_pb2, maintenance_pb2, orchestrator_pb2, retriever_pb2)
MESSAGES = [each for file in FILES for each in file.DESCRIPTOR.message_types_by_name.values()]
SCALARS = {
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_DOUBLE: st.floats(),
    FieldDescriptor.CPPTYPE_ENUM: st.integers(0, 40),  # also of a later version
    FieldDescriptor.CPPTYPE_FLOAT: st.floats(width=32),
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
}
WELL_KNOWN = {
    "google.protobuf.Any": st.text(max_size=8).map(lambda reason: packed(ErrorInfo(reason=reason))),
    "google.protobuf.Duration": st.integers(-1_000, 1_000).map(lambda number: Duration(seconds=number)),
    "google.protobuf.Timestamp": st.integers(0, 1 << 33).map(lambda number: Timestamp(seconds=number)),
}


def packed(message):
    """As a status carries its details; json_format refuses an Any of no type, or of one it does not know."""
    holder = Any()
    holder.Pack(message)
    return holder


def values(field, depth):
    if field.message_type is not None:
        return messages(field.message_type, depth - 1)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return st.binary(max_size=8) if field.type == FieldDescriptor.TYPE_BYTES else st.text(max_size=8)
    return SCALARS[field.cpp_type]


@st.composite
def messages(draw, descriptor, depth=3):
    """A message with some of its fields set, to a depth."""
    if (known := WELL_KNOWN.get(descriptor.full_name)) is not None:
        return draw(known)
    made = GetMessageClass(descriptor)()
    fields = list(descriptor.fields)
    chosen = (
        st.lists(st.sampled_from(fields), max_size=8, unique_by=lambda field: field.number) if fields else st.just([])
    )
    for field in draw(chosen):
        if field.message_type is not None and depth == 0:
            continue
        place = getattr(made, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for key in draw(st.sets(st.text(max_size=4), max_size=2)):
                set_entry(place, key, draw(values(field.message_type.fields_by_name["value"], depth)))
        elif field.is_repeated:
            place.extend(draw(st.lists(values(field, depth), max_size=2)))
        elif field.message_type is not None:
            place.CopyFrom(draw(values(field, depth)))
            place.SetInParent()
        else:
            setattr(made, field.name, draw(values(field, depth)))
    return made


def set_entry(place, key, value):
    if hasattr(value, "DESCRIPTOR"):
        place[key].CopyFrom(value)
    else:
        place[key] = value


@given(message=st.sampled_from(MESSAGES).flatmap(messages))
def test_it_prints_what_json_format_prints(message):
    assert to_dict(message) == json_format.MessageToDict(message, always_print_fields_with_no_presence=True)


def test_every_scalar_of_the_contracts_is_drawn():
    """A field of a new type would go untested."""
    fields = {field.cpp_type for message in MESSAGES for field in message.fields}
    assert fields <= {*SCALARS, FieldDescriptor.CPPTYPE_STRING, FieldDescriptor.CPPTYPE_MESSAGE}
